"""The words and options of verbs that make recordings and maps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ovseg_ros.cli import verbs
from ovseg_ros.cli.arguments import (
    BAG_DEPTHS,
    BAG_ROLES,
    BAG_STORAGES,
    DATASETS,
    DEMO_ROOMS,
    DEMO_SEED,
    MAP_LAYERS,
    RECORDINGS,
    WRITTEN,
    add_model,
    add_vocabulary,
    add_voxel_size,
    count,
    positive,
    size,
    topic,
    verb,
)


def add_sources(group: Any) -> None:
    """Verbs that make recordings and maps."""
    demo = verb(
        group,
        "demo",
        verbs.demo,
        "see a room through real ROS 2 nodes, map it, ask it questions",
        example="ovseg demo my_bag --ask chair 'red box'",
    )
    demo.add_argument("sequence", nargs="?", type=Path, help="a recording or a bag to play instead of a generated room")
    demo.add_argument(
        "--dataset", choices=RECORDINGS, default="auto", help="layout of the recording (default: look at the folder)"
    )
    demo.add_argument(
        "--ask", nargs="+", metavar="TEXT", help="what to ask about a recording (default: eight household things)"
    )
    demo.add_argument(
        "--rooms",
        type=positive,
        default=DEMO_ROOMS,
        metavar="N",
        help="how many generated rooms (default %(default)s)",
    )
    demo.add_argument(
        "--seed",
        type=count,
        default=DEMO_SEED,
        metavar="N",
        help="of the first room; training never uses seeds below 100000 (default %(default)s)",
    )
    demo.add_argument(
        "--frames", type=positive, default=80, metavar="N", help="images of a generated room (default %(default)s)"
    )
    demo.add_argument(
        "-o",
        "--out",
        type=Path,
        default=Path("demo_output"),
        metavar="FOLDER",
        help="where maps, pictures and logs go (default %(default)s)",
    )
    add_model(demo)
    add_voxel_size(demo)

    rooms = verb(
        group,
        "rooms",
        verbs.rooms,
        "generate a recording of a furnished room with ground truth",
        example="ovseg rooms my_room --seed 3",
    )
    rooms.add_argument("out", type=Path, metavar="FOLDER", help="new folder")
    rooms.add_argument(
        "--seed",
        type=count,
        default=0,
        metavar="N",
        help="which room: the same seed, the same room (default %(default)s)",
    )
    rooms.add_argument(
        "--frames", type=positive, default=80, metavar="N", help="images along the path (default %(default)s)"
    )
    rooms.add_argument(
        "--size", type=size, default=(320, 240), metavar="WxH", help="of the images, pixels (default 320x240)"
    )
    rooms.add_argument("--layout", choices=WRITTEN, default="replica", help="of the files (default %(default)s)")
    rooms.add_argument("--no-noise", action="store_true", help="exact depth (default: the noise of a depth camera)")

    map_ = verb(
        group,
        "map",
        verbs.map_,
        "build a map from a recording, without ROS",
        example="ovseg map my_bag -o flat.ovmap --topic depth=/camera/depth_registered",
    )
    map_.add_argument("sequence", help="a recording or a bag; with --dataset rooms the seed of a room")
    map_.add_argument("--dataset", choices=DATASETS, default="auto", help="layout (default: look at the folder)")
    map_.add_argument(
        "--topic",
        action="append",
        default=[],
        type=topic,
        metavar="ROLE=NAME",
        help=f"of a bag, where it has several; ROLE is one of {', '.join(BAG_ROLES)}",
    )
    map_.add_argument(
        "--slop", type=float, metavar="S", help="of a bag: seconds between colour and depth at most (default 0.05)"
    )
    map_.add_argument("--every", type=positive, default=1, metavar="N", help="use every N-th frame (default: all)")
    map_.add_argument(
        "--keyframe-distance",
        type=float,
        default=0.0,
        metavar="M",
        help="of these, use those where the camera moved farther since the last one used",
    )
    map_.add_argument(
        "--keyframe-angle", type=float, default=0.0, metavar="DEGREES", help="or turned further (default: off)"
    )
    map_.add_argument(
        "--keyframe-period", type=float, default=0.0, metavar="S", help="or so many seconds passed (default: off)"
    )
    map_.add_argument(
        "--max-depth",
        type=float,
        default=5.0,
        metavar="M",
        help="ignore farther readings, metres (default %(default)s)",
    )
    map_.add_argument(
        "--feature-dtype",
        choices=("float32", "float16"),
        default="float32",
        help="precision of features; float16 takes 3 bytes a number instead of 4 (default %(default)s)",
    )
    map_.add_argument(
        "--feature-voxel-size",
        type=float,
        default=0.0,
        metavar="M",
        help="share features in larger voxels, metres, a multiple of --voxel-size (default: don't)",
    )
    map_.add_argument(
        "--feature-components",
        type=count,
        default=0,
        metavar="K",
        help="compress features to K numbers (default: don't)",
    )
    map_.add_argument(
        "--layers",
        choices=MAP_LAYERS,
        default="voxels",
        help="what the map holds; each includes those before (default %(default)s)",
    )
    map_.add_argument(
        "--region",
        nargs=6,
        type=float,
        default=(),
        metavar=("X0", "Y0", "Z0", "X1", "Y1", "Z1"),
        help="map only this box: lowest x y z, highest x y z, metres (default: everything)",
    )
    map_.add_argument(
        "--memory-limit",
        type=float,
        default=0.0,
        metavar="MB",
        help="megabytes of the map in memory while it grows; the rest waits in TMPDIR (default: no limit)",
    )
    map_.add_argument(
        "--views",
        type=count,
        default=0,
        metavar="N",
        help="pictures kept in the map at most, for --verify of query and refer (default: none)",
    )
    map_.add_argument("-o", "--out", type=Path, required=True, metavar="MAP", help="file to write, NAME.ovmap")
    add_vocabulary(map_, "what the map is asked about, and all that a model like sam3 finds")
    add_model(map_)
    add_voxel_size(map_)

    record = verb(
        group,
        "record",
        verbs.record,
        "write a bag that `ros2 bag play` plays, without ROS",
        example="ovseg record my_room -o my_bag --storage mcap",
    )
    record.add_argument("sequence", help="a recording; with --dataset rooms the seed of a room")
    record.add_argument("--dataset", choices=DATASETS, default="auto", help="layout (default: look at the folder)")
    record.add_argument("-o", "--out", type=Path, required=True, metavar="BAG", help="new folder")
    record.add_argument("--storage", choices=BAG_STORAGES, default="sqlite3", help="of the bag (default %(default)s)")
    record.add_argument(
        "--depth", choices=BAG_DEPTHS, default="32FC1", help="in metres, or whole millimetres (default %(default)s)"
    )
