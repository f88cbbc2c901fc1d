"""A semantic map and words in, answers out."""

from __future__ import annotations

from ovseg_ros.query.boxes import UprightBox, upright_box
from ovseg_ros.query.clusters import ClusteredObjects, LabelledVoxels, has_instances, labelled_voxels, map_objects
from ovseg_ros.query.coverage import look_again, partly_asked
from ovseg_ros.query.directions import RayMatch, ask_rays
from ovseg_ros.query.goal_types import GoalConfig, Located, NoGoalError
from ovseg_ros.query.goals import locate
from ovseg_ros.query.labelling import label_features, label_voxels
from ovseg_ros.query.map_index import space_of
from ovseg_ros.query.matches import FoundMatch, Match, ask, find
from ovseg_ros.query.pictures import PictureQuery, ask_picture, check_has_pictures, look_at
from ovseg_ros.query.room_segmentation import Room, segment_rooms
from ovseg_ros.query.similarity import score_voxels
from ovseg_ros.query.structure import is_structure
from ovseg_ros.query.verification import Unverified, combined, gather, verify, verify_matches
from ovseg_ros.query.views import ThingView, best_views, check_has_views

__all__ = [
    "ClusteredObjects",
    "FoundMatch",
    "GoalConfig",
    "LabelledVoxels",
    "Located",
    "Match",
    "NoGoalError",
    "PictureQuery",
    "RayMatch",
    "Room",
    "ThingView",
    "Unverified",
    "UprightBox",
    "ask",
    "ask_picture",
    "ask_rays",
    "best_views",
    "check_has_pictures",
    "check_has_views",
    "combined",
    "find",
    "gather",
    "has_instances",
    "is_structure",
    "label_features",
    "label_voxels",
    "labelled_voxels",
    "locate",
    "look_again",
    "look_at",
    "map_objects",
    "partly_asked",
    "score_voxels",
    "segment_rooms",
    "space_of",
    "upright_box",
    "verify",
    "verify_matches",
]
