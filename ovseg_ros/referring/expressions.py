"""What a sentence asks for, as data: what the parser makes, and what anything else that understands language may make.

A description is a noun with conditions; conditions name other descriptions, so they nest as sentences do:
"the mug left of the laptop on the desk" is mug (left of: laptop (on: desk)).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from ovseg_ros.errors import OvsegError

MAX_DEPTH = 6
"""Descriptions within descriptions."""

Choice = TypeVar("Choice", bound=StrEnum)


class Relation(StrEnum):
    """How a thing may stand to another one, to two others for BETWEEN."""

    NEAR = "near"
    NEXT_TO = "next to"
    FAR = "far from"
    LEFT = "left of"
    RIGHT = "right of"
    FRONT = "in front of"
    BEHIND = "behind"
    ON = "on"
    ABOVE = "above"
    UNDER = "under"
    INSIDE = "in"
    BETWEEN = "between"
    AGAINST = "against"

    @property
    def needs_direction(self) -> bool:
        """Whether it depends on where one looks from."""
        return self in (Relation.LEFT, Relation.RIGHT, Relation.FRONT, Relation.BEHIND)

    @property
    def anchors(self) -> int:
        """How many other things it takes."""
        return 2 if self is Relation.BETWEEN else 1


class Rank(StrEnum):
    """By what the things that fit are put in order, the most so first."""

    LARGEST = "largest"
    SMALLEST = "smallest"
    TALLEST = "tallest"
    SHORTEST = "shortest"
    HIGHEST = "highest"
    LOWEST = "lowest"
    CLOSEST = "closest"
    FARTHEST = "farthest"
    LEFTMOST = "leftmost"
    RIGHTMOST = "rightmost"


class Wanted(StrEnum):
    """What kind of answer is asked for."""

    ONE = "one"
    ALL = "all"
    COUNT = "count"


@dataclass(frozen=True)
class Condition:
    """A relation that must hold, or with ``negated`` must not hold, to `Relation.anchors` other things."""

    relation: Relation
    anchors: tuple[Description, ...]
    negated: bool = False


@dataclass(frozen=True)
class Ranking:
    """Which of several: the ``position``-th (1 is the first) by ``rank``.

    Attributes:
        rank: the order.
        anchor: what CLOSEST and FARTHEST measure from; None: from where one looks.
        position: from 1.
    """

    rank: Rank
    anchor: Description | None = None
    position: int = 1


@dataclass(frozen=True)
class Description:
    """A thing, by its name and what is said of it.

    Attributes:
        noun: name, with a colour or not ("red chair"), a colour alone, or "thing" for anything.
        conditions: relations to other things.
        without: names or colours that it must not have ("the chair that is not red").
        ranking: which of those that fit; None: no order is given.
    """

    noun: str
    conditions: tuple[Condition, ...] = ()
    without: tuple[str, ...] = ()
    ranking: Ranking | None = None


@dataclass(frozen=True)
class Request:
    """A sentence, understood.

    Attributes:
        text: as it was said.
        wanted: one thing, all that fit, or how many.
        target: what fits.
    """

    text: str
    wanted: Wanted
    target: Description

    @classmethod
    def from_json(cls, content: Any, text: str) -> Request:
        """Read what `to_json` wrote, or what a language model was told to write.

        Raises:
            OvsegError: naming what is wrong with it.
        """
        fields = _fields(content, "the request", {"wanted", "target"})
        return cls(text, _choice(Wanted, fields.get("wanted", Wanted.ONE)), _description(fields.get("target"), 0))

    def to_json(self) -> dict[str, Any]:
        """Plain dictionaries, lists and texts."""
        return {"wanted": self.wanted.value, "target": _plain(self.target)}


def _plain(description: Description) -> dict[str, Any]:
    content: dict[str, Any] = {"noun": description.noun}
    if description.conditions:
        content["conditions"] = [
            {"relation": c.relation.value, "anchors": [_plain(anchor) for anchor in c.anchors], "negated": c.negated}
            for c in description.conditions
        ]
    if description.without:
        content["without"] = list(description.without)
    if description.ranking:
        ranking = description.ranking
        content["ranking"] = {"rank": ranking.rank.value, "position": ranking.position}
        if ranking.anchor:
            content["ranking"]["anchor"] = _plain(ranking.anchor)
    return content


def _description(content: Any, depth: int) -> Description:
    if depth > MAX_DEPTH:
        raise OvsegError(f"descriptions are nested more than {MAX_DEPTH} deep: say it more simply")
    fields = _fields(content, "a description", {"noun", "conditions", "without", "ranking"})
    without = _list(fields.get("without"), "without")
    noun = fields.get("noun")
    if not all(isinstance(word, str) and word.strip() for word in (noun, *without)):
        raise OvsegError(f"a description needs a noun, and words in without, got {content!r:.100}: write texts")
    return Description(
        str(noun),
        tuple(_condition(entry, depth) for entry in _list(fields.get("conditions"), "conditions")),
        tuple(without),
        _ranking(fields["ranking"], depth) if fields.get("ranking") is not None else None,
    )


def _condition(content: Any, depth: int) -> Condition:
    fields = _fields(content, "a condition", {"relation", "anchors", "negated"})
    relation = _choice(Relation, fields.get("relation"))
    anchors = tuple(_description(entry, depth + 1) for entry in _list(fields.get("anchors"), "anchors"))
    if len(anchors) != relation.anchors:
        raise OvsegError(f"{relation.value!r} takes {relation.anchors} anchors, got {len(anchors)}: name each of them")
    return Condition(relation, anchors, fields.get("negated", False) is True)


def _ranking(content: Any, depth: int) -> Ranking:
    fields = _fields(content, "a ranking", {"rank", "anchor", "position"})
    position = fields.get("position", 1)
    if type(position) is not int or position < 1:
        raise OvsegError(f"position must be a whole number from 1, got {position!r:.100}: 1 is the first")
    anchor = fields.get("anchor")
    return Ranking(
        _choice(Rank, fields.get("rank")), None if anchor is None else _description(anchor, depth + 1), position
    )


def _fields(content: Any, what: str, names: set[str]) -> Mapping[str, Any]:
    if not isinstance(content, dict) or not set(content) <= names:
        raise OvsegError(f"{what} should have {', '.join(sorted(names))} and nothing else, got {content!r:.100}")
    return content


def _list(content: Any, name: str) -> list[Any]:
    if content is None:
        return []
    if not isinstance(content, list):
        raise OvsegError(f"{name} should be a list, got {content!r:.100}")
    return content


def _choice(kind: type[Choice], value: Any) -> Choice:
    try:
        return kind(value)
    except ValueError as error:
        raise OvsegError(f"{value!r:.100} is none of {', '.join(kind)}: choose one") from error
