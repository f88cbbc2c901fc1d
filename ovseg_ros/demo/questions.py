"""What to ask about a generated room, and what the right answer is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ovseg_ros.simulation import CLASSES, RoomObject, RoomSequence

STRUCTURE = ("wall", "floor", "ceiling")
SEEN_SHARE = 0.01
"""A thing counts as present when it fills at least this share of some image."""

FOREIGN_WORDS = ("piano", "bicycle", "horse", "umbrella", "motorcycle", "guitar", "tree", "swimming pool")
"""Things no generated room has."""

QUESTION_COLOURS = ("red", "yellow", "green", "blue", "purple", "pink", "orange")


@dataclass(frozen=True)
class Question:
    """One question with its truth.

    Attributes:
        query: the words.
        kind: "name", "synonym", "colour" or "absent".
        answers: things of the room that the query means; none if it isn't there.
    """

    query: str
    kind: str
    answers: tuple[RoomObject, ...]

    def distance(self, position: NDArray[np.float64]) -> float | None:
        """Metres from a (3,) position to the box of the nearest right answer; None if there is none."""
        if not self.answers:
            return None
        gaps = [np.maximum(np.maximum(thing.lower - position, position - thing.upper), 0.0) for thing in self.answers]
        return float(min(np.linalg.norm(gap) for gap in gaps))


def choose_questions(sequence: RoomSequence, rng: Generator) -> tuple[Question, ...]:
    """Five plain names, two synonyms, a colour with a name where a room allows one, and two absent things.

    Names are drawn evenly from the classes that the camera saw; the structure of the room is not asked for.
    """
    things = _seen_things(sequence)
    labels = sorted({thing.label for thing in things})
    rng.shuffle(labels)
    by_label = {label: tuple(thing for thing in things if thing.label == label) for label in labels}
    questions = [Question(label, "name", by_label[label]) for label in labels[:5]]
    words = {entry.name: (*entry.synonyms, *entry.held_out) for entry in CLASSES}
    for label in (labels[5:] + labels[:5])[:2]:
        questions.append(Question(str(rng.choice(words[label])), "synonym", by_label[label]))
    questions += _colour_questions(things, rng)[:1]
    missing = [entry.name for entry in CLASSES if entry.name not in {thing.label for thing in sequence.room.objects}]
    questions.append(Question(str(rng.choice(missing)), "absent", ()))
    questions.append(Question(str(rng.choice(FOREIGN_WORDS)), "absent", ()))
    return tuple(questions)


def _seen_things(sequence: RoomSequence) -> list[RoomObject]:
    """Things of which some image shows enough, structure left out."""
    threshold = SEEN_SHARE * sequence.intrinsics.width * sequence.intrinsics.height
    most = np.zeros(len(sequence.room.objects) + 1, dtype=np.int64)
    for index in range(len(sequence)):
        counts = np.bincount(sequence.view(index).instances.ravel(), minlength=len(most))
        most = np.maximum(most, counts)
    return [
        thing
        for thing in sequence.room.objects
        if most[thing.instance_id] >= threshold and thing.label not in STRUCTURE
    ]


def _colour_questions(things: list[RoomObject], rng: Generator) -> list[Question]:
    """Such as "red chair" where a chair is red; every thing of that name and colour is a right answer."""
    named = [thing for thing in things if thing.colour in QUESTION_COLOURS and thing.label in _COLOURED_ALL_OVER]
    rng.shuffle(named)
    return [
        Question(
            f"{thing.colour} {thing.label}",
            "colour",
            tuple(other for other in named if (other.colour, other.label) == (thing.colour, thing.label)),
        )
        for thing in named
    ]


_COLOURED_ALL_OVER = frozenset(
    {
        "door", "curtain", "sofa", "chair", "stool", "table", "desk", "cabinet", "refrigerator", "oven",
        "washing machine", "rug", "trash can", "box", "suitcase", "ball", "vase", "backpack", "teddy bear",
        "fire extinguisher", "radiator", "bathtub", "bed",
    }
)  # fmt: skip
"""Classes whose named colour covers most of what one sees of them."""
