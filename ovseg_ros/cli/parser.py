"""The command line of `ovseg`: verbs, their options, and what goes together."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ovseg_ros import __version__
from ovseg_ros.cli import refer, regions, verbs
from ovseg_ros.cli.vocabulary import add_vocabulary_arguments, run_vocabulary

WRITTEN = ("replica", "scannet", "posed_rgbd", "semantic_nerf", "scannetpp", "tum")
RECORDINGS = ("auto", *WRITTEN, "seven_scenes", "rosbag")
DATASETS = (*RECORDINGS, "rooms")
BAG_STORAGES, BAG_DEPTHS = ("sqlite3", "mcap"), ("32FC1", "16UC1")
BAG_ROLES = ("rgb", "depth", "camera_info", "pose")
MAP_LAYERS = ("voxels", "occupancy", "frontiers", "rays")
DEMO_ROOMS, DEMO_SEED = 1, 7
BEGINNING = """\
to begin:
  ovseg demo                               a generated room, mapped and asked; nothing else is needed
  ovseg map MY_BAG -o my.ovmap             a map of a recording or a rosbag2
  ovseg query my.ovmap couch "blue chair"  where these are, in metres

`ovseg VERB --help` has the options of a verb and an example. Exit status: 0, 1 (failed; one line says why),
2 (bad arguments)."""

EVALUATION = "eval"


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of a verb, with the verb's function as ``run``; exits with status 2 where they make no sense."""
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    # argparse before Python 3.13 takes no words of a list that may be empty once an option has come between.
    words = [] if options.verb != "query" or any(word.startswith("-") for word in rest) else rest
    if rest and not words:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if options.verb == "demo":
        _check_demo(parser, options)
    if options.verb == "query":
        options.text += words
        _check_query(parser, options)
    if options.verb == "segment" and not options.text and not options.vocabulary:
        parser.error("segment: name what may be in the image, or give a --vocabulary")
    return options


def _check_demo(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Generated rooms and recordings take different options; none is ignored in silence."""
    if options.sequence is None and options.ask:
        parser.error("demo: --ask goes with a recording; of a generated room the questions are drawn from the truth")
    if options.sequence is not None and (options.rooms, options.seed) != (DEMO_ROOMS, DEMO_SEED):
        parser.error("demo: --rooms and --seed are of generated rooms: drop them, or the recording")


def _check_query(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    if not options.text and options.image is None:
        parser.error("query: say what to look for, in words or with --image")
    if options.verify and not options.text:
        parser.error("query: --verify is of answers to words")
    if options.box is not None and options.image is None:
        parser.error("query: --box is of the picture that --image names")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ovseg",
        description="A 3D memory for robots that can be asked questions in words.",
        epilog=BEGINNING,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"ovseg_ros {__version__}")
    group = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    demo = _verb(
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
        type=_positive,
        default=DEMO_ROOMS,
        metavar="N",
        help="how many generated rooms (default %(default)s)",
    )
    demo.add_argument(
        "--seed",
        type=_count,
        default=DEMO_SEED,
        metavar="N",
        help="of the first room; training never uses seeds below 100000 (default %(default)s)",
    )
    demo.add_argument(
        "--frames", type=_positive, default=80, metavar="N", help="images of a generated room (default %(default)s)"
    )
    demo.add_argument(
        "-o",
        "--out",
        type=Path,
        default=Path("demo_output"),
        metavar="FOLDER",
        help="where maps, pictures and logs go (default %(default)s)",
    )
    _add_model(demo)
    _add_voxel_size(demo)

    rooms = _verb(
        group,
        "rooms",
        verbs.rooms,
        "generate a recording of a furnished room with ground truth",
        example="ovseg rooms my_room --seed 3",
    )
    rooms.add_argument("out", type=Path, metavar="FOLDER", help="new folder")
    rooms.add_argument(
        "--seed",
        type=_count,
        default=0,
        metavar="N",
        help="which room: the same seed, the same room (default %(default)s)",
    )
    rooms.add_argument(
        "--frames", type=_positive, default=80, metavar="N", help="images along the path (default %(default)s)"
    )
    rooms.add_argument(
        "--size", type=_size, default=(320, 240), metavar="WxH", help="of the images, pixels (default 320x240)"
    )
    rooms.add_argument("--layout", choices=WRITTEN, default="replica", help="of the files (default %(default)s)")
    rooms.add_argument("--no-noise", action="store_true", help="exact depth (default: the noise of a depth camera)")

    map_ = _verb(
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
        type=_topic,
        metavar="ROLE=NAME",
        help=f"of a bag, where it has several; ROLE is one of {', '.join(BAG_ROLES)}",
    )
    map_.add_argument(
        "--slop", type=float, metavar="S", help="of a bag: seconds between colour and depth at most (default 0.05)"
    )
    map_.add_argument("--every", type=_positive, default=1, metavar="N", help="use every N-th frame (default: all)")
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
        type=_count,
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
        type=_count,
        default=0,
        metavar="N",
        help="pictures kept in the map at most, for --verify of query and refer (default: none)",
    )
    map_.add_argument("-o", "--out", type=Path, required=True, metavar="MAP", help="file to write, NAME.ovmap")
    _add_vocabulary(map_, "what the map is asked about, and all that a model like sam3 finds")
    _add_model(map_)
    _add_voxel_size(map_)

    record = _verb(
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

    query = _verb(
        group,
        "query",
        verbs.query,
        "ask a saved map",
        example="ovseg query flat.ovmap couch 'blue chair' --picture answers.png",
    )
    query.add_argument("map", type=Path, metavar="MAP", help="map file, NAME.ovmap")
    query.add_argument("text", nargs="*", metavar="TEXT", help="what to look for; quote what has several words")
    query.add_argument("--image", type=Path, metavar="PNG", help="look for what this picture shows")
    query.add_argument(
        "--box",
        nargs=4,
        type=int,
        metavar=("LEFT", "TOP", "RIGHT", "BOTTOM"),
        help="of the thing in the picture, pixels: better than cutting it out (default: the whole picture)",
    )
    query.add_argument(
        "--verify",
        action="store_true",
        help="look answers up with the map's backend in the pictures that the map keeps (ovseg map --views)",
    )
    query.add_argument("--max-matches", type=_positive, metavar="N", help="per question (default 5)")
    query.add_argument("--min-score", type=float, metavar="S", help="0 to 1; weaker matches don't count (default 0.3)")
    query.add_argument("--picture", type=Path, metavar="PNG", help="draw the answers into a picture of the map")
    query.add_argument("--view", choices=("top", "corner"), default="top", help="of the picture (default %(default)s)")

    about = _verb(
        group,
        "refer",
        refer.refer,
        "say what a sentence means in a saved map, a picture or a recording",
        example='ovseg refer flat.ovmap "the chair next to the window" --from 0 0 90',
    )
    refer.add_arguments(about, DATASETS)

    rooms_of = _verb(
        group,
        "regions",
        regions.regions,
        "find the rooms of a saved map, for sentences such as 'the chairs in the kitchen'",
        example="ovseg regions flat.ovmap -o flat.yaml",
    )
    regions.add_arguments(rooms_of)

    locate = _verb(
        group,
        "locate",
        verbs.locate,
        "say where a robot should stand to face something in a saved map",
        example="ovseg locate flat.ovmap couch --robot 0 0 --picture goal.png",
    )
    locate.add_argument("map", type=Path, metavar="MAP", help="made with --layers occupancy, or more")
    locate.add_argument("text", metavar="TEXT", help='what to face: "couch", "red chair"')
    locate.add_argument(
        "--robot",
        nargs=2,
        type=float,
        metavar=("X", "Y"),
        help="where the robot is, metres (default: anywhere will do)",
    )
    locate.add_argument(
        "--clearance", type=float, metavar="M", help="from the middle of the robot to whatever isn't free (default 0.3)"
    )
    locate.add_argument("--picture", type=Path, metavar="PNG", help="draw the place into a plan of the free space")

    info = _verb(group, "info", verbs.info, "say what is in a map", example="ovseg info flat.ovmap")
    info.add_argument("map", type=Path, metavar="MAP", help="map file, NAME.ovmap")

    merge_ = _verb(
        group,
        "merge",
        verbs.merge,
        "add maps that are in one frame",
        example="ovseg merge upstairs.ovmap downstairs.ovmap -o house.ovmap",
    )
    merge_.add_argument("maps", nargs="+", type=Path, metavar="MAP", help="map files, NAME.ovmap")
    merge_.add_argument("-o", "--out", type=Path, required=True, metavar="MAP", help="file to write, NAME.ovmap")
    merge_.add_argument(
        "--transform",
        nargs=7,
        type=float,
        metavar=("X", "Y", "Z", "QX", "QY", "QZ", "QW"),
        help="where the second map's frame lies in the first's, metres and a unit quaternion; two maps only",
    )

    export = _verb(
        group,
        "export",
        verbs.export,
        "write a map as a point cloud for other tools",
        example="ovseg export flat.ovmap flat.ply --colour label",
    )
    export.add_argument("map", type=Path, metavar="MAP", help="map file, NAME.ovmap")
    export.add_argument("out", type=Path, metavar="OUT", help="file to write, NAME.ply, or folder for openlex3d")
    export.add_argument(
        "--format",
        choices=("ply", "openlex3d"),
        default="ply",
        help="a point cloud, or a scene's predictions for the OpenLex3D benchmark (default %(default)s)",
    )
    export.add_argument(
        "--colour",
        type=_colour,
        default="rgb",
        metavar="rgb|label|query:TEXT",
        help="of a PLY's points: as seen, by likeliest name, or by score for words (default %(default)s)",
    )
    _add_vocabulary(export, "for --colour label, or that words of a query compete with (default: the map's)")

    segment = _verb(
        group,
        "segment",
        verbs.segment,
        "label one image",
        example="ovseg segment photo.jpg chair table floor -o labels.png --vocabulary household",
    )
    segment.add_argument("image", type=Path, metavar="IMAGE", help="picture to label")
    segment.add_argument(
        "text",
        nargs="*",
        metavar="TEXT",
        help="what may be in it; quote what has several words (default: all that --vocabulary has)",
    )
    segment.add_argument("-o", "--out", type=Path, required=True, metavar="PNG", help="picture to write")
    _add_vocabulary(segment, "whose words count for TEXT, and whose other concepts compete with it")
    _add_model(segment)

    vocabulary = _verb(
        group,
        "vocabulary",
        run_vocabulary,
        "check a vocabulary file as a model reads it, or list those of this package",
        example="ovseg vocabulary check household --backend openseg",
    )
    add_vocabulary_arguments(vocabulary)

    # Only for `ovseg --help`: whoever types it never comes here.
    group.add_parser(
        EVALUATION, help="score a model on a data set, as evaluation_3d/semseg_eval.py (Hydra's arguments)"
    )

    _verb(
        group,
        "backends",
        verbs.backends,
        "list the models: what is installed, which weights, which licence",
        example="ovseg backends --json",
    )
    return parser


def _verb(
    group: Any, name: str, run: Callable[[argparse.Namespace], dict[str, Any]], summary: str, *, example: str
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = group.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=f"example: {example}",
    )
    parser.add_argument("--json", action="store_true", help="print JSON for machines instead of text for people")
    parser.set_defaults(run=run)
    return parser


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--backend", default="openseg", metavar="NAME", help="model, one of `ovseg backends` (default %(default)s)"
    )
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="where it runs; auto takes a GPU if there is one (default %(default)s)",
    )


def _add_vocabulary(parser: argparse.ArgumentParser, use: str) -> None:
    parser.add_argument(
        "--vocabulary", default="", metavar="FILE|NAME", help=f"words, see ovseg vocabulary list: {use}"
    )


def _add_voxel_size(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--voxel-size", type=float, default=0.05, metavar="M", help="edge of a voxel, metres (default %(default)s)"
    )


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number of at least 1")
    return int(text)


def _count(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number of at least 0")
    return int(text)


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.lower().partition("x")
    return _positive(width), _positive(height)


def _topic(text: str) -> tuple[str, str]:
    role, _, name = text.partition("=")
    if role not in BAG_ROLES or not name:
        raise argparse.ArgumentTypeError(f"{text!r} must be ROLE=NAME with one of {', '.join(BAG_ROLES)}")
    return role, name


def _colour(text: str) -> str:
    kind, colon, words = text.partition(":")
    if text not in ("rgb", "label") and not (kind == "query" and colon and words):
        raise argparse.ArgumentTypeError(f"{text!r} must be rgb, label or query:TEXT")
    return text
