"""Where a protocol compares truth and prediction."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ovseg_ros.evaluation.transfer import MAX_DISTANCE_VOXELS, neighbour_labels
from ovseg_ros.evaluation.truth import GroundTruth

SAME_VOXEL = 0.01
"""Voxels between two centres that are one."""


@dataclass(frozen=True)
class Places:
    """At which places the truth is asked for.

    Attributes:
        voxels: at voxel centres, where the points of a voxel vote; else at every point.
        unlabelled_votes: whether unlabelled points vote in their voxel; unlabelled pixels of label images never do.
        ignored_votes: whether points of ignored classes vote as such, or as unlabelled ones.
        seen: only at points that some used frame saw: its depth there is right to 2 cm (`voxel_truth.DEPTH_TOLERANCE`).
    """

    voxels: bool = False
    unlabelled_votes: bool = False
    ignored_votes: bool = True
    seen: bool = False

    def of(self, truth: GroundTruth, ignored: tuple[str, ...], voxel_size: float) -> GroundTruth:
        """The truth at these places."""
        if not (self.voxels or truth.votes is not None):
            return truth
        voting = truth if self.ignored_votes else truth.without(ignored)
        return voting.voxelised(voxel_size, unlabelled_votes=self.unlabelled_votes and truth.votes is None)


@dataclass(frozen=True)
class Matching:
    """Which prediction answers for which place.

    Attributes:
        neighbours: the nearest predicted voxels that vote for a place's label.
        reach: how far they may be, in voxels.
        labelled_only: whether voxels without a label are taken out before.
        at_predictions: the places are the predicted voxels, and each takes the label of the nearest truth.
    """

    neighbours: int = 1
    reach: float = math.inf
    labelled_only: bool = False
    at_predictions: bool = False

    def match(
        self, truth: GroundTruth, centres: NDArray[np.float64], labels: NDArray[np.int32], voxel_size: float
    ) -> tuple[GroundTruth, NDArray[np.int32]]:
        """Bring truth and prediction together.

        Args:
            truth: at the protocol's places.
            centres: (M, 3) metres, of the map's voxels.
            labels: (M,) their label ids, 0 for none.
            voxel_size: metres.

        Returns:
            N places with their true labels, and (N,) predicted label ids, 0 for none.
        """
        reach = self.reach * voxel_size
        if self.labelled_only:
            centres, labels = centres[labels > 0], labels[labels > 0]
        if self.at_predictions:
            nearest, _ = neighbour_labels(centres, truth.points, truth.labels, neighbours=self.neighbours, reach=reach)
            return replace(truth, points=centres, labels=nearest, votes=None), labels
        answers, _ = neighbour_labels(truth.points, centres, labels, neighbours=self.neighbours, reach=reach)
        return truth, answers


def coverage(truth: GroundTruth, centres: NDArray[np.float64], labels: NDArray[np.int32], voxel_size: float) -> float:
    """Share of labelled truth with a labelled voxel within `MAX_DISTANCE_VOXELS`; NaN without truth."""
    points = truth.points[truth.labels > 0]
    _, found = neighbour_labels(points, centres[labels > 0], labels[labels > 0], reach=MAX_DISTANCE_VOXELS * voxel_size)
    return float(found.mean()) if len(found) else math.nan
