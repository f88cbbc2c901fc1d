"""Answers to sentences, looked up in the pictures of the map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ovseg_ros.query.verification import combined, verify
from ovseg_ros.query.views import ThingView
from ovseg_ros.referring.answers import Answer, Status
from ovseg_ros.referring.expressions import Wanted
from ovseg_ros.referring.lexicon import THING
from ovseg_ros.referring.resolver import SAME
from ovseg_ros.types import Referrer

VERIFIED = 5
"""Candidates that are looked up, the best."""


def to_verify(answer: Answer) -> tuple[int, ...]:
    """Places in the scene of the candidates worth looking up.

    None where all that fit are meant, or how many do, or where any thing will do.
    """
    request = answer.request
    if request is None or request.wanted is not Wanted.ONE or request.target.noun == THING:
        return ()
    return tuple(candidate.index for candidate in answer.candidates[:VERIFIED])


def verify_answer(answer: Answer, views: Mapping[int, Sequence[ThingView]], referrer: Referrer) -> Answer:
    """Put the best candidates in a new order, by what a model sees of the target's noun in their pictures.

    The relations stay as geometry decided them: pictures show them from one side only.

    Args:
        answer: from `resolve`.
        views: for each place of `to_verify`, the pictures of that thing.
        referrer: marks the noun in pictures.

    Returns:
        The answer with scores from `combined`; an ambiguous one is found if the pictures tell which it is.
    """
    if answer.request is None or not any(views.values()):
        return answer
    looked_up, rest = answer.candidates[: len(views)], answer.candidates[len(views) :]
    seen = verify([views[candidate.index] for candidate in looked_up], referrer, answer.request.target.noun)
    scored = [
        replace(candidate, score=combined(candidate.score, value))
        for candidate, value in zip(looked_up, seen, strict=True)
    ]
    scored.sort(key=lambda candidate: -candidate.score)
    rest = tuple(replace(candidate, score=combined(candidate.score, None)) for candidate in rest)
    verified = replace(answer, candidates=(*scored, *rest), message=f"{answer.message} (looked up in pictures)")
    if answer.status is Status.AMBIGUOUS and scored[1].score < SAME * scored[0].score:
        return replace(verified, status=Status.FOUND, message="found: the pictures tell which")
    return verified
