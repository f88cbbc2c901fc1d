"""What a request means in a scene: candidates, how the answer is to be taken, and whose left and right it is about."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ovseg_ros.referring.expressions import Request


class Status(StrEnum):
    """How the answer is to be taken."""

    FOUND = "found"
    AMBIGUOUS = "ambiguous"
    NOT_FOUND = "not_found"
    NOT_UNDERSTOOD = "not_understood"


class FrameOfReference(StrEnum):
    """Whose left, right and front the answer is about."""

    NONE = "none"
    VIEWPOINT = "viewpoint"
    ANCHOR = "anchor"


@dataclass(frozen=True)
class Support:
    """What speaks for a candidate: it stands so to these things of the scene."""

    relation: str
    anchors: tuple[int, ...]


@dataclass(frozen=True)
class Candidate:
    """One thing that may be meant.

    Attributes:
        index: in the scene.
        score: 0..1.
        support: for each relation and rank of the target that has anchors, those that fit best.
    """

    index: int
    score: float
    support: tuple[Support, ...]


@dataclass(frozen=True)
class Answer:
    """What a request means in a scene.

    Attributes:
        request: as it was understood; None if it wasn't.
        status: how to take it.
        candidates: best first; all that count for ALL and COUNT.
        frame: whose left, right and front were used.
        message: one sentence.
    """

    request: Request | None
    status: Status
    candidates: tuple[Candidate, ...]
    frame: FrameOfReference
    message: str

    @property
    def count(self) -> int:
        """How many things fit."""
        return len(self.candidates)
