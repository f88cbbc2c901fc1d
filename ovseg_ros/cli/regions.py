"""`ovseg regions`: the rooms of a map, as places that sentences can name."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ovseg_ros.cli.shared import space_id

SURE = 0.5
"""A thing is listed that is in a room, and more than a few voxels of noise, as far as this."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's words and options."""
    parser.add_argument("map", type=Path, metavar="MAP", help="made with --layers occupancy, or more")
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        required=True,
        metavar="YAML",
        help="places with rectangles; give them better names there",
    )
    parser.add_argument(
        "--door-width", type=float, default=1.0, metavar="M", help="openings up to this wide part rooms (default 1.0)"
    )
    parser.add_argument(
        "--floor", type=float, metavar="Z", help="height of the floor, metres (default: the highest seen)"
    )
    parser.add_argument("--picture", type=Path, metavar="PNG", help="write the rooms' names into a picture of the map")


def regions(options: argparse.Namespace) -> dict[str, Any]:
    """Find the rooms of a map, and what stands in each."""
    from collections import Counter

    import numpy as np

    from ovseg_ros.files import write_text
    from ovseg_ros.mapping import storage
    from ovseg_ros.query import segment_rooms
    from ovseg_ros.referring import MapScene, format_regions, inside_place, place_of
    from ovseg_ros.referring.lexicon import THING
    from ovseg_ros.segmentation import language_space

    semantic_map = storage.load(options.map)
    rooms = segment_rooms(semantic_map, door_width=options.door_width, floor=options.floor)
    scene = MapScene(semantic_map, language_space(space_id(semantic_map.space)))
    places = {f"room {number}": place_of(room) for number, room in enumerate(rooms, 1)}
    found, lines = [], []
    for (name, place), room in zip(places.items(), rooms, strict=True):
        sure = inside_place(scene.boxes, place) * scene.fit(THING)
        things = Counter(scene.things[i].label for i in np.flatnonzero(sure >= SURE))
        found.append({"name": name, "area": room.area, "things": dict(things)})
        words = ", ".join(f"{count} {label}" if count > 1 else label for label, count in things.most_common())
        lines.append(f"{name:10} {room.area:6.1f} m2  {words or 'nothing that has a name'}")
    write_text(options.out, format_regions(places))
    lines.append(
        f"{len(rooms)} rooms in {options.out}: give them names there, then ovseg refer --regions {options.out}"
    )
    if options.picture is not None:
        from ovseg_ros.visualization.pictures import Mark, render_map, write_picture

        marks = [Mark(name, room.middle, note=f"{room.area:.1f} m2") for name, room in zip(places, rooms, strict=True)]
        write_picture(options.picture, render_map(semantic_map, "top", marks))
        lines.append(f"picture: {options.picture}")
    return {"rooms": found, "out": str(options.out), "text": "\n".join(lines)}
