"""Descriptions worth trying in a room: all kinds of them, few of which will have one clear answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from typing import TypeVar

from numpy.random import Generator

from ovseg_ros.evaluation.referring.things import STRUCTURE, Thing
from ovseg_ros.referring import Condition, Description, Rank, Ranking, Relation
from ovseg_ros.referring.lexicon import THING
from ovseg_ros.simulation import CLASS_NAMES

Item = TypeVar("Item")

ABSENT = ("piano", "bicycle", "microwave", "cat", "guitar", "surfboard")
TRIES = 3000
VIEWED = (Rank.LEFTMOST, Rank.RIGHTMOST)
"""Ranks that depend on where one looks from."""


class Candidates:
    """Draws descriptions of the things of a room, by kind.

    Args:
        things: of the room.
        regions: names of its parts.
        rng: decides what is drawn.
    """

    def __init__(self, things: Sequence[Thing], regions: Sequence[str], rng: Generator) -> None:
        movable = [thing for thing in things if thing.label not in STRUCTURE]
        self._labels = Counter(thing.label for thing in movable)
        self._coloured = Counter(f"{thing.colour} {thing.label}" for thing in movable if thing.colour)
        self._colourless = {thing.label for thing in movable if not thing.colour}
        self._regions = regions
        self._rng = rng

    def kinds(self) -> dict[str, Iterator[Description]]:
        """Kind -> what to try."""
        kinds = {relation.value: self._related(relation) for relation in Relation}
        kinds |= {"two relations": self._twice(), "chained": self._chained(), "not related": self._negated()}
        kinds |= {"colour": self._colours(), "not the colour": self._without()}
        kinds |= {rank.value: self._ranks(rank, (1,)) for rank in Rank}
        kinds |= {"ordinal": self._ordinals()}
        kinds |= {kind: self._several() for kind in ("all", "count", "ambiguous")}
        kinds |= {"absent target": self._absent_targets(), "absent anchor": self._absent_anchors()}
        kinds |= {"unrelated": self._several(plain=False)}
        return kinds

    def _related(self, relation: Relation) -> Iterator[Description]:
        targets = [*self._labels, *self._coloured, THING]
        pairs = self._shuffled(list(product(targets, self._anchor_nouns(relation))))
        for noun, anchors in pairs:
            yield Description(noun, (Condition(relation, tuple(Description(anchor) for anchor in anchors)),))

    def _anchor_nouns(self, relation: Relation) -> Sequence[tuple[str, ...]]:
        if relation is Relation.INSIDE:
            return [(name,) for name in self._regions]
        if relation is Relation.BETWEEN:
            twins = [(label, label) for label in self._labels if self._labels[label] == 2]
            return [(a, b) for a, b in product(self._labels, self._labels) if a < b] + twins
        extra = {Relation.ON: ["floor", "wall"], Relation.AGAINST: ["wall"], Relation.NEXT_TO: ["wall"]}
        nouns = [*self._labels, *extra.get(relation, [])]
        nouns += [noun for noun in self._coloured if self._labels[noun.split(" ", 1)[1]] > 1]
        definite = [noun for noun in nouns if noun in ("floor", "wall") or self._single(noun)]
        return [(noun,) for noun in (definite if relation.needs_direction else nouns)]

    def _single(self, noun: str) -> bool:
        """Whether the noun says which one is meant."""
        if noun in self._labels:
            return self._labels[noun] == 1
        return self._coloured[noun] == 1 and noun.split(" ", 1)[1] not in self._colourless

    def _condition(self) -> Condition:
        """Any relation to anything."""
        relation = self._pick(tuple(Relation))
        nouns = self._anchor_nouns(relation)
        chosen = self._pick(nouns) if nouns else ("wall",)
        return Condition(relation, tuple(Description(noun) for noun in chosen))

    def _noun(self) -> str:
        several = [label for label in self._labels if self._labels[label] > 1]
        return self._pick([*self._labels, *several * 4, THING])

    def _twice(self) -> Iterator[Description]:
        for _ in range(TRIES):
            first, second = self._condition(), self._condition()
            if (first.relation, first.anchors) != (second.relation, second.anchors):
                # "between the bed and the desk and near the door" is one "and" too many for anybody.
                if first.relation is Relation.BETWEEN:
                    first, second = second, first
                yield Description(self._noun(), (first, second))

    def _chained(self) -> Iterator[Description]:
        for _ in range(TRIES):
            outer, inner = self._condition(), self._condition()
            if outer.relation not in (Relation.BETWEEN, Relation.INSIDE) and inner.relation is not Relation.BETWEEN:
                anchor = replace(outer.anchors[0], conditions=(inner,))
                yield Description(self._noun(), (replace(outer, anchors=(anchor,)),))

    def _negated(self) -> Iterator[Description]:
        for _ in range(TRIES):
            yield Description(self._noun(), (replace(self._condition(), negated=True),))

    def _colours(self) -> Iterator[Description]:
        for noun in self._shuffled(list(self._coloured)):
            yield Description(noun)

    def _without(self) -> Iterator[Description]:
        for noun in self._shuffled(list(self._coloured)):
            colour, label = noun.split(" ", 1)
            yield Description(label, without=(colour,))

    def _ranks(self, rank: Rank, positions: tuple[int, ...]) -> Iterator[Description]:
        for _ in range(400):
            anchor = None
            if rank in (Rank.CLOSEST, Rank.FARTHEST) and self._rng.random() < 0.7:
                anchor = Description(self._pick([noun for noun in self._labels if self._single(noun)]))
            some = self._rng.random() < 0.3 and not anchor and rank not in VIEWED
            conditions = (self._condition(),) if some else ()
            ranking = Ranking(rank, anchor, self._pick(positions))
            yield Description(self._noun(), conditions, ranking=ranking)

    def _ordinals(self) -> Iterator[Description]:
        for rank in self._shuffled(list(Rank) * 3):
            yield from self._ranks(rank, (2, 3))

    def _several(self, *, plain: bool = True) -> Iterator[Description]:
        """Nouns, alone where ``plain``, with one relation or with none."""
        for _ in range(1500):
            alone = plain and self._rng.random() < 0.3
            noun = self._pick(list(self._coloured)) if self._rng.random() < 0.2 and self._coloured else self._noun()
            if not (alone and noun == THING):
                yield Description(noun, () if alone else (self._condition(),))

    def _absent_targets(self) -> Iterator[Description]:
        discoloured = [f"{self._pick(('red', 'blue', 'green'))} {label}" for label in self._labels]
        for noun in self._shuffled([*self._missing(), *ABSENT, *discoloured]):
            yield Description(noun, (self._condition(),) if self._rng.random() < 0.5 else ())

    def _absent_anchors(self) -> Iterator[Description]:
        for noun in self._shuffled([*self._missing(), *ABSENT]):
            relation = self._pick([r for r in Relation if r not in (Relation.INSIDE, Relation.BETWEEN)])
            yield Description(self._noun(), (Condition(relation, (Description(noun),)),))

    def _missing(self) -> list[str]:
        return [name for name in CLASS_NAMES if name not in self._labels and name not in STRUCTURE]

    def _shuffled(self, items: Sequence[Item]) -> list[Item]:
        return [items[i] for i in self._rng.permutation(len(items))]

    def _pick(self, items: Sequence[Item]) -> Item:
        return items[int(self._rng.integers(len(items)))]
