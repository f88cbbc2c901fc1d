"""Sentences about generated rooms and about published scans, and how well they are answered."""

from ovseg_ros.evaluation.referring.published import score_given_boxes, score_predicted_boxes
from ovseg_ros.evaluation.referring.queries import Query, RoomQuestions
from ovseg_ros.evaluation.referring.references import (
    Reference,
    read_nyu40_classes,
    read_referit3d,
    read_scanrefer,
)
from ovseg_ros.evaluation.referring.scans import AnnotatedScan, read_scan
from ovseg_ros.evaluation.referring.score import Cause, Outcome, ask, overlaps, summary
from ovseg_ros.evaluation.referring.true_scene import TrueScene

__all__ = [
    "AnnotatedScan",
    "Cause",
    "Outcome",
    "Query",
    "Reference",
    "RoomQuestions",
    "TrueScene",
    "ask",
    "overlaps",
    "read_nyu40_classes",
    "read_referit3d",
    "read_scan",
    "read_scanrefer",
    "score_given_boxes",
    "score_predicted_boxes",
    "summary",
]
