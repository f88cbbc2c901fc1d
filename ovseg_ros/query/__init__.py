"""A semantic map and words in, answers out."""

from __future__ import annotations

from ovseg_ros.query.coverage import look_again, partly_asked
from ovseg_ros.query.directions import RayMatch, ask_rays
from ovseg_ros.query.goal_types import GoalConfig, Located, NoGoalError
from ovseg_ros.query.goals import locate
from ovseg_ros.query.labelling import label_features, label_voxels
from ovseg_ros.query.map_index import space_of
from ovseg_ros.query.matches import Match, ask
from ovseg_ros.query.similarity import score_voxels

__all__ = [
    "GoalConfig",
    "Located",
    "Match",
    "NoGoalError",
    "RayMatch",
    "ask",
    "ask_rays",
    "label_features",
    "label_voxels",
    "locate",
    "look_again",
    "partly_asked",
    "score_voxels",
    "space_of",
]
