"""Which things of a room a description is true of, where that is beyond doubt.

The judge of `ovseg_ros.referring`: it shares the words for relations with it (`Description`) and nothing of how they
are decided. Sentences are taken apart with three-valued logic, so that a doubt about any part that matters is a doubt
about the whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from itertools import product

import numpy as np

from ovseg_ros.evaluation.referring.polygons import Floats, area, outside
from ovseg_ros.evaluation.referring.relations import Relations, Verdicts, verdicts
from ovseg_ros.evaluation.referring.things import STRUCTURE, Thing
from ovseg_ros.query.colours import split_colour
from ovseg_ros.referring import Condition, Description, Rank, Relation, Viewpoint
from ovseg_ros.referring.lexicon import THING

SIZE_RATIO = 1.4
HEIGHT_STEP = 0.1
PLACE_STEP = 0.15
DISTANCE_STEP = (0.3, 0.25)
BEARING_STEP = np.deg2rad(10.0)
"""By how much one must be larger, taller, higher, nearer or more to the left than the next: metres, or a ratio."""

IN_SIGHT = np.deg2rad(75.0)
"""Left and right are asked for among things no farther from where somebody looks."""


class Truth:
    """What is true of N things.

    Args:
        relations: between the things of one room.
        regions: name of a part of the room -> (K, 2) its outline.
        viewpoint: whose left and right; None: nothing may be asked that needs one.

    Attributes:
        of: description -> (N,) verdicts on each thing.
    """

    def __init__(self, relations: Relations, regions: Mapping[str, Floats], viewpoint: Viewpoint | None = None) -> None:
        self._things = relations.things
        self._regions = regions
        self._viewpoint = viewpoint
        self._relations = relations
        # The same parts come up in thousands of descriptions of a room.
        self.of = cache(self._of)
        self._noun = cache(self._named)
        self._condition = cache(self._conditioned)
        self._related = cache(lambda relation: relations.of(relation, viewpoint))
        self._between = cache(relations.between)

    def _of(self, description: Description) -> Verdicts:
        """(N,) verdicts on each thing."""
        result = self._noun(description.noun)
        for word in description.without:
            result = np.minimum(result, -self._noun(word))
        for condition in description.conditions:
            holds = self._condition(replace(condition, negated=False))
            result = np.minimum(result, -holds if condition.negated else holds)
        return self._ranked(description, result) if description.ranking else result

    def _named(self, noun: str) -> Verdicts:
        colour, words = split_colour(noun.split())
        label = " ".join(words)
        named = [
            thing.label == label or (label in ("", THING) and thing.label not in STRUCTURE) for thing in self._things
        ]
        result = verdicts(np.array(named), ~np.array(named))
        if colour is None:
            return result
        right = np.array([thing.colour == colour.term for thing in self._things])
        wrong = np.array([thing.colour not in ("", colour.term) for thing in self._things])
        return np.minimum(result, verdicts(right, wrong))

    def _conditioned(self, condition: Condition) -> Verdicts:
        noun = condition.anchors[0].noun
        if condition.relation is Relation.INSIDE:
            shares = [(outside(thing.points, self._regions[noun]) == 0).mean() for thing in self._things]
            return verdicts(np.array(shares) >= 0.95, np.array(shares) <= 0.05)
        anchors = [self.of(anchor) for anchor in condition.anchors]
        result = np.full(len(self._things), -1, np.int8)
        if condition.relation is Relation.BETWEEN:
            possible = [np.flatnonzero(verdict >= 0) for verdict in anchors]
            for first, second in product(*possible):
                if first != second:
                    sure = np.minimum(anchors[0][first], anchors[1][second])
                    holds = self._between(min(first, second), max(first, second))
                    result = np.maximum(result, np.minimum(holds, sure))
            return result
        return np.minimum(self._related(condition.relation), anchors[0]).max(axis=1)

    def _ranked(self, description: Description, fits: Verdicts) -> Verdicts:
        """The one at the asked place, if the order around it is beyond doubt; else nothing is clear."""
        ranking = description.ranking
        assert ranking is not None
        doubt = np.where(fits >= 0, 0, -1).astype(np.int8)
        distances = self._distances(ranking.anchor)
        if ranking.anchor is not None:
            fits = np.where(self.of(ranking.anchor) == 1, -1, fits)
        chosen = [int(i) for i in np.flatnonzero(fits == 1)]
        if (fits == 0).any() or len(chosen) < 2 or distances is None:
            return doubt
        if ranking.position > len(chosen):
            return np.full(len(fits), -1, np.int8)
        order = sorted(chosen, key=lambda i: -self._amount(ranking.rank, distances, i))
        place = ranking.position - 1
        for before, after in ((place - 1, place), (place, place + 1)):
            if before >= 0 and after < len(order):
                more, less = order[before], order[after]
                if not self._clearly(ranking.rank, distances, more, less):
                    return doubt
        result = np.full(len(fits), -1, np.int8)
        result[order[place]] = 1
        return result

    def _distances(self, anchor: Description | None) -> Floats | None:
        """(N,) metres to the one thing that an anchor is, or to who looks; None where that is in doubt."""
        if anchor is None:
            if self._viewpoint is None:
                return np.zeros(len(self._things))
            start = self._viewpoint.position[None, :2]
            return np.array([outside(start, thing.footprint)[0] for thing in self._things])
        verdict = self.of(anchor)
        if (verdict == 0).any() or (verdict == 1).sum() != 1:
            return None
        return self._relations.distance[:, int(verdict.argmax())]

    def _amount(self, rank: Rank, distances: Floats, index: int) -> float:
        """The more, the more so."""
        thing = self._things[index]
        match rank:
            case Rank.LARGEST | Rank.SMALLEST:
                amount = area(thing.footprint) * (thing.top - thing.bottom)
            case Rank.TALLEST | Rank.SHORTEST:
                amount = thing.top - thing.bottom
            case Rank.HIGHEST | Rank.LOWEST:
                amount = thing.top + thing.bottom
            case Rank.CLOSEST | Rank.FARTHEST:
                amount = float(distances[index])
            case Rank.LEFTMOST | Rank.RIGHTMOST:
                amount = self._bearing(thing)
        fewest = (Rank.SMALLEST, Rank.SHORTEST, Rank.LOWEST, Rank.CLOSEST, Rank.RIGHTMOST)
        return -amount if rank in fewest else amount

    def _clearly(self, rank: Rank, distances: Floats, more: int, less: int) -> bool:
        """Whether one is so beyond doubt before the other."""
        ahead, behind = self._amount(rank, distances, more), self._amount(rank, distances, less)
        high, low = max(abs(ahead), abs(behind)), min(abs(ahead), abs(behind))
        one, other = self._things[more], self._things[less]
        match rank:
            case Rank.LARGEST | Rank.SMALLEST:
                return high >= SIZE_RATIO * low
            case Rank.TALLEST | Rank.SHORTEST:
                return high >= low + max(HEIGHT_STEP, HEIGHT_STEP * high)
            case Rank.HIGHEST | Rank.LOWEST:
                sign = 1 if rank is Rank.HIGHEST else -1
                return min(sign * (one.bottom - other.bottom), sign * (one.top - other.top)) >= PLACE_STEP
            case Rank.CLOSEST | Rank.FARTHEST:
                return high >= low + max(DISTANCE_STEP[0], DISTANCE_STEP[1] * low)
            case Rank.LEFTMOST | Rank.RIGHTMOST:
                seen = max(abs(self._bearing(one)), abs(self._bearing(other))) <= IN_SIGHT
                return seen and ahead - behind >= BEARING_STEP

    def _bearing(self, thing: Thing) -> float:
        """Radians to the left of where somebody looks."""
        assert self._viewpoint is not None, "left and right are somebody's"
        x, y = thing.centre - self._viewpoint.position[:2]
        return float((np.arctan2(y, x) - self._viewpoint.yaw + np.pi) % (2 * np.pi) - np.pi)
