"""A sentence about the things in a map, and which of them it means."""

from __future__ import annotations

from ovseg_ros.referring.answers import Answer, Candidate, Status
from ovseg_ros.referring.expressions import Condition, Description, Rank, Ranking, Relation, Request, Wanted
from ovseg_ros.referring.map_scene import MapScene
from ovseg_ros.referring.parser import parse_request
from ovseg_ros.referring.regions import format_regions, inside_place, place_of, read_regions
from ovseg_ros.referring.resolver import resolve
from ovseg_ros.referring.scene import Boxes, Scene, Viewpoint

__all__ = [
    "Answer",
    "Boxes",
    "Candidate",
    "Condition",
    "Description",
    "MapScene",
    "Rank",
    "Ranking",
    "Relation",
    "Request",
    "Scene",
    "Status",
    "Viewpoint",
    "Wanted",
    "format_regions",
    "inside_place",
    "parse_request",
    "place_of",
    "read_regions",
    "resolve",
]
