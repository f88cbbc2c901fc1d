"""A protocol: every choice between frames and a number, under one id."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ovseg_ros.evaluation.confusion import Confusion
from ovseg_ros.evaluation.protocols.ignoring import Ignoring
from ovseg_ros.evaluation.protocols.labelling import Labelling
from ovseg_ros.evaluation.protocols.matching import Matching, Places, coverage
from ovseg_ros.evaluation.protocols.scoring import Scoring
from ovseg_ros.evaluation.protocols.words import Words
from ovseg_ros.evaluation.truth import GroundTruth

Labeller = Callable[[NDArray[np.bool_]], NDArray[np.int32]]
"""(K,) allowed classes -> (M,) label ids of the map's voxels, in the order of their keys."""


@dataclass(frozen=True)
class Judgement:
    """One map under one protocol.

    Attributes:
        confusion: over the protocol's places; ignored classes have no truth in it.
        scored: (K,) the classes that are not ignored.
        present: (K,) the classes that the ground truth has.
        coverage: share of the scored truth that has a labelled voxel within two voxels; NaN without truth.
        truth: the places, with what is true there.
        answers: (N,) what the map says there, 0 for nothing.
        labels: (M,) what the map's voxels are called.
    """

    confusion: Confusion
    scored: NDArray[np.bool_]
    present: NDArray[np.bool_]
    coverage: float
    truth: GroundTruth
    answers: NDArray[np.int32]
    labels: NDArray[np.int32]


@dataclass(frozen=True)
class Protocol:
    """How a map is turned into numbers.

    Attributes:
        id: printed beside every number.
        source: whose evaluation it repeats.
        every: of the frames, one in so many is used.
        voxel_size: metres, where the data set's configuration names none.
        words: class names to text features.
        labelling: scores to labels.
        places: where the truth is asked for.
        matching: which prediction answers there.
        variants: which classes are left out; the first is the protocol's own, the others are reported beside it.
        scoring: confusion to numbers.

    Example:
        >>> protocol("strict").variants[0].variant
        'with background'
    """

    id: str
    source: str
    every: int = 1
    voxel_size: float = 0.05
    words: Words = field(default_factory=Words)
    labelling: Labelling = field(default_factory=Labelling)
    places: Places = field(default_factory=Places)
    matching: Matching = field(default_factory=Matching)
    variants: tuple[Ignoring, ...] = (Ignoring("with background"),)
    scoring: Scoring = field(default_factory=Scoring)

    def judge(
        self,
        truth: GroundTruth,
        centres: NDArray[np.float64],
        label: Labeller,
        variant: Ignoring,
        voxel_size: float,
        *,
        grounded: bool = False,
    ) -> Judgement:
        """Compare a map with the truth.

        Args:
            truth: of the scene.
            centres: (M, 3) metres, of the map's voxels.
            label: names them.
            variant: one of `variants`.
            voxel_size: metres.
            grounded: whether voxels may be given only classes that the truth has, as a caption of the scene would
                tell them (Grounding mIoU of OpenSeg, for a scene instead of an image).
        """
        ignored = variant.ignored(truth.class_names, truth.background)
        scored, present = variant.scored(truth), truth.present
        allowed = self.labelling.allowed(scored, present)
        labels = label(allowed & present if grounded else allowed)
        places, answers = self.matching.match(self.places.of(truth, ignored, voxel_size), centres, labels, voxel_size)
        counted = places.without(ignored)
        charged = variant.charged(places.labels, scored)
        return Judgement(
            confusion=Confusion.of(counted.labels, answers, truth.class_names, charged),
            scored=scored,
            present=present,
            coverage=coverage(truth.without(ignored), centres, labels, voxel_size),
            truth=places,
            answers=answers,
            labels=labels,
        )
