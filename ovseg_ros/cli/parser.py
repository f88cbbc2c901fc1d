"""The command line of `ovseg`: verbs, their options, and what goes together."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ovseg_ros import __version__
from ovseg_ros.cli import refer, regions, verbs
from ovseg_ros.cli.arguments import (
    DATASETS,
    DEMO_ROOMS,
    DEMO_SEED,
    add_model,
    add_vocabulary,
    colour,
    positive,
    verb,
)
from ovseg_ros.cli.source_arguments import add_sources
from ovseg_ros.cli.vocabulary import add_vocabulary_arguments, run_vocabulary

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

    add_sources(group)
    _add_questions(group)
    _add_tools(group)
    return parser


def _add_questions(group: Any) -> None:
    """Verbs about saved maps."""
    query = verb(
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
    query.add_argument("--max-matches", type=positive, metavar="N", help="per question (default 5)")
    query.add_argument("--min-score", type=float, metavar="S", help="0 to 1; weaker matches don't count (default 0.3)")
    query.add_argument("--picture", type=Path, metavar="PNG", help="draw the answers into a picture of the map")
    query.add_argument("--view", choices=("top", "corner"), default="top", help="of the picture (default %(default)s)")

    about = verb(
        group,
        "refer",
        refer.refer,
        "say what a sentence means in a saved map, a picture or a recording",
        example='ovseg refer flat.ovmap "the chair next to the window" --from 0 0 90',
    )
    refer.add_arguments(about, DATASETS)

    rooms_of = verb(
        group,
        "regions",
        regions.regions,
        "find the rooms of a saved map, for sentences such as 'the chairs in the kitchen'",
        example="ovseg regions flat.ovmap -o flat.yaml",
    )
    regions.add_arguments(rooms_of)

    locate = verb(
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

    info = verb(group, "info", verbs.info, "say what is in a map", example="ovseg info flat.ovmap")
    info.add_argument("map", type=Path, metavar="MAP", help="map file, NAME.ovmap")

    merge_ = verb(
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

    export = verb(
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
        type=colour,
        default="rgb",
        metavar="rgb|label|query:TEXT",
        help="of a PLY's points: as seen, by likeliest name, or by score for words (default %(default)s)",
    )
    add_vocabulary(export, "for --colour label, or that words of a query compete with (default: the map's)")


def _add_tools(group: Any) -> None:
    """The others."""
    segment = verb(
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
    add_vocabulary(segment, "whose words count for TEXT, and whose other concepts compete with it")
    add_model(segment)

    vocabulary = verb(
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

    verb(
        group,
        "backends",
        verbs.backends,
        "list the models: what is installed, which weights, which licence",
        example="ovseg backends --json",
    )
