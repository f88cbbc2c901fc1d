"""What one step of a search gives: counts from which every number is read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ovseg_ros.evaluation.search_volume.volume import EMPTY, UNLABELLED, SceneVolume

Counted = NDArray[np.int64]


@dataclass(frozen=True)
class Counts:
    """Cells of each class.

    Attributes:
        tp: (K,) claimed rightly.
        fp: (K,) claimed wrongly.
        fn: (K,) not claimed.
    """

    tp: Counted
    fp: Counted
    fn: Counted

    @property
    def truths(self) -> Counted:
        """(K,) cells that truly are of the class."""
        return self.tp + self.fn

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn)


@dataclass(frozen=True)
class Step:
    """A map at one moment. U is the unobserved volume without unlabelled surfaces.

    Attributes:
        frames: used so far.
        observed: over the labelled surface that the map has observed: its voxels' labels.
        surface: over the labelled surface in U: the classes' search volumes. A cell may be in several.
        empty: (K,) cells of U without a surface that are in the search volume of each class.
        volume: cells of U.
        labelled: those of them with a labelled surface.
        rays: (K,) rays of each class. A class without any has all of U as its search volume.
    """

    frames: int
    observed: Counts
    surface: Counts
    empty: Counted
    volume: int
    labelled: int
    rays: Counted

    @property
    def unobserved(self) -> Counts:
        """Over all of U."""
        return Counts(self.surface.tp, self.surface.fp + self.empty, self.surface.fn)

    def without_rays(self) -> Step:
        """The same moment as if there were no ray: every class may be anywhere in U."""
        truths = self.surface.truths
        everything = Counts(truths, self.labelled - truths, np.zeros_like(truths))
        empty = np.full_like(truths, self.volume - self.labelled)
        return Step(self.frames, self.observed, everything, empty, self.volume, self.labelled, np.zeros_like(self.rays))


def count_step(
    volume: SceneVolume,
    frames: int,
    observed: torch.Tensor,
    answers: torch.Tensor,
    claims: Iterable[tuple[int, torch.Tensor]],
    rays: Counted,
) -> Step:
    """Compare a map with the truth.

    Args:
        volume: V cells with their true labels.
        frames: used so far.
        observed: (V,) bool: which cells the map knows.
        answers: (V,) label ids of the map's voxels, 0 for none.
        claims: numbers of classes, counted from 0, each with its search volume among the n cells that aren't observed:
            (n,) bool.
        rays: (K,) rays of each class; a class with rays but no entry in ``claims`` claims nothing.
    """
    classes, hidden = volume.class_count, volume.labels[~observed]
    tp, wrong, empty = (np.zeros(classes, dtype=np.int64) for _ in range(3))
    truths = _per_class(hidden, classes)
    total, labelled = int((hidden != UNLABELLED).sum()), int((hidden > 0).sum())
    blind = rays == 0
    tp[blind], wrong[blind], empty[blind] = truths[blind], labelled - truths[blind], total - labelled
    for number, claim in claims:
        inside = hidden[claim]
        tp[number] = int((inside == number + 1).sum())
        wrong[number] = int((inside > 0).sum()) - tp[number]
        empty[number] = int((inside == EMPTY).sum())
    return Step(
        frames=frames,
        observed=_compared(volume.labels[observed], answers[observed], classes),
        surface=Counts(tp, wrong, truths - tp),
        empty=empty,
        volume=total,
        labelled=labelled,
        rays=rays,
    )


def _compared(truth: torch.Tensor, answers: torch.Tensor, classes: int) -> Counts:
    """(n,) true and (n,) answered labels, counted where there is a true class."""
    truth, answers = truth[truth > 0], answers[truth > 0]
    tp = _per_class(truth[truth == answers], classes)
    return Counts(tp, _per_class(answers, classes) - tp, _per_class(truth, classes) - tp)


def _per_class(labels: torch.Tensor, classes: int) -> Counted:
    """(n,) labels -> (K,) how many are of each class."""
    counts: Counted = torch.bincount(labels.clamp(min=0), minlength=classes + 1)[1:].cpu().numpy()
    return counts
