"""A sentence about the things in a map, and which of them it means."""

from __future__ import annotations

from ovseg_ros.referring.answers import Answer, Candidate, Status
from ovseg_ros.referring.expressions import Condition, Description, Rank, Ranking, Relation, Request, Wanted
from ovseg_ros.referring.in_images import ImageAnswer, find_in_image
from ovseg_ros.referring.in_recordings import Place, Search, find_in_recording, find_in_views
from ovseg_ros.referring.map_scene import MapScene
from ovseg_ros.referring.parser import parse_request
from ovseg_ros.referring.regions import format_regions, inside_place, place_of, read_regions
from ovseg_ros.referring.resolver import resolve
from ovseg_ros.referring.scene import Boxes, Scene, Viewpoint
from ovseg_ros.referring.verification import to_verify, verify_answer

__all__ = [
    "Answer",
    "Boxes",
    "Candidate",
    "Condition",
    "Description",
    "ImageAnswer",
    "MapScene",
    "Place",
    "Rank",
    "Ranking",
    "Relation",
    "Request",
    "Scene",
    "Search",
    "Status",
    "Viewpoint",
    "Wanted",
    "find_in_image",
    "find_in_recording",
    "find_in_views",
    "format_regions",
    "inside_place",
    "parse_request",
    "place_of",
    "read_regions",
    "resolve",
    "to_verify",
    "verify_answer",
]
