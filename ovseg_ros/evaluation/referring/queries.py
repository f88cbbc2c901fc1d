"""Questions about a generated room whose answers are beyond doubt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator

from ovseg_ros.evaluation.referring.candidates import VIEWED, Candidates
from ovseg_ros.evaluation.referring.polygons import Floats, rectangle
from ovseg_ros.evaluation.referring.relations import Relations
from ovseg_ros.evaluation.referring.things import STRUCTURE, things_of
from ovseg_ros.evaluation.referring.truth import Truth
from ovseg_ros.evaluation.referring.wording import say
from ovseg_ros.query.colours import split_colour
from ovseg_ros.referring import Description, Rank, Relation, Request, Status, Viewpoint, Wanted
from ovseg_ros.referring.lexicon import THING
from ovseg_ros.simulation import Room
from ovseg_ros.simulation.room import GRID_STEP

VIEWPOINTS = 3
EYES = 1.4
CLEARANCE = 0.3
"""Metres: how high somebody's eyes are, and what they keep away from things."""

EASY = 2
"""Other things of the class, up to which a question is an easy one."""

SIMILAR = 1.05
"""Ratio of distances to an anchor up to which two things fit a relation equally well that may be stronger for one."""

SURPLUS = 4
"""Questions are drawn from so many times as many as are wanted."""

REGIONS = (("kitchen", "hall"), ("sleeping area", "dining area"), ("office", "corridor"))
FADING = frozenset(Relation) - {Relation.ON, Relation.ABOVE, Relation.UNDER, Relation.INSIDE, Relation.AGAINST}


@dataclass(frozen=True)
class Query:
    """A sentence and what it must be answered with.

    Attributes:
        text: as somebody might say it.
        kind: what it tries.
        meaning: what it asks for, with plain names.
        status: expected.
        targets: indices of the things that are meant; all candidates of an ambiguous one, none of an absent one.
        anchors: indices of the things that they are described by.
        viewpoint: of who asks; None: it doesn't matter.
        others: how many things there are of the target's class besides it.
    """

    text: str
    kind: str
    meaning: Request
    status: Status
    targets: tuple[int, ...]
    anchors: tuple[int, ...]
    viewpoint: Viewpoint | None
    others: int

    @property
    def answerable(self) -> bool:
        """Whether there is one thing to find."""
        return self.status is Status.FOUND and self.meaning.wanted is Wanted.ONE

    @property
    def relates(self) -> bool:
        """Whether it says more than what the thing is and what colour it has."""
        return bool(self.meaning.target.conditions or self.meaning.target.ranking)


class RoomQuestions:
    """What may be asked about a room.

    Args:
        room: with its true geometry.
        rng: decides viewpoints, which questions are taken, and their words.
    """

    def __init__(self, room: Room, rng: Generator) -> None:
        self.things = things_of(room)
        self.regions = _regions(room, rng)
        self._views = _viewpoints(room, rng)
        relations = Relations(self.things)
        self._truths: dict[int | None, Truth] = {None: Truth(relations, self.regions)}
        self._truths |= {i: Truth(relations, self.regions, view) for i, view in enumerate(self._views)}
        self._rng = rng

    def draw(self, per_kind: int) -> list[Query]:
        """At most so many questions of each kind; where there are enough, two thirds are about one of several."""
        queries: list[Query] = []
        for kind, tried in Candidates(self.things, tuple(self.regions), self._rng).kinds().items():
            found = list(self._judged(kind, tried, SURPLUS * per_kind))
            several = [query for query in found if query.others]
            single = [query for query in found if not query.others]
            chosen = several[: max(per_kind - len(single), 2 * per_kind // 3)]
            queries += chosen + single[: per_kind - len(chosen)]
        return queries

    def _judged(self, kind: str, tried: Iterator[Description], enough: int) -> Iterator[Query]:
        """Those that have the kind of answer which the kind asks for."""
        seen: set[tuple[Description, int | None]] = set()
        for description in tried:
            view = int(self._rng.integers(len(self._views))) if needs_viewpoint(description) else None
            if (description, view) in seen:
                continue
            seen.add((description, view))
            query = self._judge(kind, description, view)
            if query is not None:
                yield query
                enough -= 1
            if enough <= 0:
                return

    def _judge(self, kind: str, description: Description, view: int | None) -> Query | None:
        truth = self._truths[view]
        verdict = truth.of(description)
        targets = tuple(int(i) for i in np.flatnonzero(verdict == 1))
        status = _expected(kind, len(targets))
        if (verdict == 0).any() or status is None:
            return None
        if kind == "ambiguous" and not self._comparable(description, truth, targets):
            return None
        if kind == "chained" and not _reads_one_way(description, truth, targets):
            return None
        if kind in ("unrelated", "count") and not (truth.of(Description(description.noun)) == 1).any():
            return None
        wanted = {"all": Wanted.ALL, "count": Wanted.COUNT}.get(kind, Wanted.ONE)
        return Query(
            text=say(description, wanted, self._rng),
            kind=kind,
            meaning=Request(kind, wanted, description),
            status=status,
            targets=targets,
            anchors=tuple(sorted(_anchors_of(description, truth, self.regions))),
            viewpoint=None if view is None else self._views[view],
            others=self._count(description.noun) - 1 if targets else 0,
        )

    def _count(self, noun: str) -> int:
        """How many things there are of a class."""
        label = " ".join(split_colour(noun.split())[1])
        return sum(label == thing.label or (label == THING and thing.label not in STRUCTURE) for thing in self.things)

    def _comparable(self, description: Description, truth: Truth, targets: tuple[int, ...]) -> bool:
        """Whether nothing speaks for one of several more than for another."""
        for condition in description.conditions:
            if condition.relation not in FADING or condition.negated:
                continue
            anchors = np.flatnonzero(truth.of(condition.anchors[0]) == 1)
            reach = [np.linalg.norm(self.things[i].centre - self.things[anchors[0]].centre) for i in targets]
            if len(anchors) != 1 or condition.relation is Relation.BETWEEN or max(reach) > SIMILAR * min(reach):
                return False
        return True


def needs_viewpoint(description: Description) -> bool:
    """Whether the answer depends on where one looks from."""
    ranking = description.ranking
    placed = ranking is not None and (
        ranking.rank in VIEWED or (ranking.rank in (Rank.CLOSEST, Rank.FARTHEST) and ranking.anchor is None)
    )
    return placed or any(
        condition.relation.needs_direction or any(map(needs_viewpoint, condition.anchors))
        for condition in description.conditions
    )


def _expected(kind: str, count: int) -> Status | None:
    """The right answer to a question of a kind that so many things fit; None if it is no such question."""
    if kind in ("absent target", "absent anchor", "unrelated"):
        return Status.NOT_FOUND if count == 0 else None
    if kind == "ambiguous":
        return Status.AMBIGUOUS if count > 1 else None
    if kind == "count" or (kind == "all" and count):
        return Status.FOUND
    return Status.FOUND if count == 1 and kind != "all" else None


def _reads_one_way(description: Description, truth: Truth, targets: tuple[int, ...]) -> bool:
    """Whether "the mug left of the laptop on the desk" names no other mug if it is the mug that is on the desk."""
    (outer,) = description.conditions
    (anchor,) = outer.anchors
    flat = replace(outer, anchors=(replace(anchor, conditions=()),))
    other = truth.of(replace(description, conditions=(flat, *anchor.conditions)))
    return set(np.flatnonzero(other >= 0)) <= set(targets)


def _anchors_of(description: Description, truth: Truth, regions: Mapping[str, Floats]) -> set[int]:
    """Indices of all that a description measures its target by."""
    anchors = [anchor for condition in description.conditions for anchor in condition.anchors]
    if description.ranking and description.ranking.anchor:
        anchors.append(description.ranking.anchor)
    found: set[int] = set()
    for anchor in anchors:
        if anchor.noun not in regions:
            found |= {int(i) for i in np.flatnonzero(truth.of(anchor) == 1)} | _anchors_of(anchor, truth, regions)
    return found


def _regions(room: Room, rng: Generator) -> dict[str, Floats]:
    """The room cut in two across its longer side, both halves with a name."""
    half = room.size[:2] / 2
    axis = int(half.argmax())
    upper, lower = half.copy(), -half
    cut = rng.uniform(-0.2, 0.2) * half[axis]
    upper[axis] = lower[axis] = cut
    names = REGIONS[int(rng.integers(len(REGIONS)))]
    return {names[0]: rectangle(-half, upper), names[1]: rectangle(lower, half)}


def _viewpoints(room: Room, rng: Generator) -> list[Viewpoint]:
    """Places to stand at the edge of the free floor, looking at the middle of the room."""
    free, origin = room.free_space(CLEARANCE)
    places = np.argwhere(free) * GRID_STEP + origin
    reach = np.linalg.norm(places, axis=1)
    outer = places[reach >= np.quantile(reach, 0.7)]
    chosen = outer[rng.integers(len(outer), size=VIEWPOINTS)]
    return [Viewpoint(np.array([x, y, EYES]), float(np.arctan2(-y, -x))) for x, y in chosen]
