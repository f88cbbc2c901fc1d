"""What arguments of several verbs look like, and what they may be."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

WRITTEN = ("replica", "scannet", "posed_rgbd", "semantic_nerf", "scannetpp", "tum")
RECORDINGS = ("auto", *WRITTEN, "seven_scenes", "rosbag")
DATASETS = (*RECORDINGS, "rooms")
BAG_STORAGES, BAG_DEPTHS = ("sqlite3", "mcap"), ("32FC1", "16UC1")
BAG_ROLES = ("rgb", "depth", "camera_info", "pose")
MAP_LAYERS = ("voxels", "occupancy", "frontiers", "rays")
DEMO_ROOMS, DEMO_SEED = 1, 7


def verb(
    group: Any, name: str, run: Callable[[argparse.Namespace], dict[str, Any]], summary: str, *, example: str
) -> argparse.ArgumentParser:
    """A verb with what all have: help, an example, --json."""
    parser: argparse.ArgumentParser = group.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=f"example: {example}",
    )
    parser.add_argument("--json", action="store_true", help="print JSON for machines instead of text for people")
    parser.set_defaults(run=run)
    return parser


def add_model(parser: argparse.ArgumentParser) -> None:
    """Which model, and where it runs."""
    parser.add_argument(
        "--backend", default="openseg", metavar="NAME", help="model, one of `ovseg backends` (default %(default)s)"
    )
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="where it runs; auto takes a GPU if there is one (default %(default)s)",
    )


def add_vocabulary(parser: argparse.ArgumentParser, use: str) -> None:
    """Words for the model; ``use`` says what they are for."""
    parser.add_argument(
        "--vocabulary", default="", metavar="FILE|NAME", help=f"words, see ovseg vocabulary list: {use}"
    )


def add_voxel_size(parser: argparse.ArgumentParser) -> None:
    """How fine the map is."""
    parser.add_argument(
        "--voxel-size", type=float, default=0.05, metavar="M", help="edge of a voxel, metres (default %(default)s)"
    )


def positive(text: str) -> int:
    """A whole number of at least 1."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number of at least 1")
    return int(text)


def count(text: str) -> int:
    """A whole number of at least 0."""
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number of at least 0")
    return int(text)


def size(text: str) -> tuple[int, int]:
    """WIDTHxHEIGHT."""
    width, _, height = text.lower().partition("x")
    return positive(width), positive(height)


def topic(text: str) -> tuple[str, str]:
    """ROLE=NAME."""
    role, _, name = text.partition("=")
    if role not in BAG_ROLES or not name:
        raise argparse.ArgumentTypeError(f"{text!r} must be ROLE=NAME with one of {', '.join(BAG_ROLES)}")
    return role, name


def colour(text: str) -> str:
    """rgb, label or query:TEXT."""
    kind, colon, words = text.partition(":")
    if text not in ("rgb", "label") and not (kind == "query" and colon and words):
        raise argparse.ArgumentTypeError(f"{text!r} must be rgb, label or query:TEXT")
    return text
