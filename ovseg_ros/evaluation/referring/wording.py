"""The many ways in which people say one thing: a description to a sentence, drawn at random.

Written without a look at the words the parser knows, so that what it doesn't know shows.
"""

from __future__ import annotations

from collections.abc import Sequence

from numpy.random import Generator

from ovseg_ros.referring import Condition, Description, Rank, Ranking, Relation, Wanted
from ovseg_ros.referring.lexicon import THING
from ovseg_ros.simulation import CLASSES
from ovseg_ros.vocabulary import plural_of

UNCOUNTED = ("luggage", "heating", "flooring", "ground")
"""Words without a plural."""

WORDS: dict[str, tuple[str, ...]] = {
    entry.name: tuple(
        word
        for word in (entry.name, entry.name, *entry.synonyms, *entry.held_out)
        if not word.endswith("s") and " of " not in word
    )
    for entry in CLASSES
}
"""Class -> words for one of it, the plain name twice as often as the others."""

RELATIONS: dict[Relation, tuple[str, ...]] = {
    Relation.NEAR: ("near", "close to", "by", "not far from", "near to"),
    Relation.NEXT_TO: ("next to", "beside", "right next to", "adjacent to", "alongside"),
    Relation.FAR: ("far from", "far away from", "a long way from"),
    Relation.LEFT: ("left of", "to the left of", "on the left of", "on the left side of", "to the left side of"),
    Relation.RIGHT: ("right of", "to the right of", "on the right of", "on the right side of", "to the right side of"),
    Relation.FRONT: ("in front of", "standing in front of"),
    Relation.BEHIND: ("behind", "right behind"),
    Relation.ON: ("on", "on top of", "lying on", "standing on", "placed on"),
    Relation.ABOVE: ("above", "over", "hanging above"),
    Relation.UNDER: ("under", "below", "beneath", "underneath"),
    Relation.INSIDE: ("in", "inside", "located in", "within"),
    Relation.BETWEEN: ("between", "in between", "standing between"),
    Relation.AGAINST: ("against", "leaning against", "touching", "right against", "standing against"),
}
ON_WALL = ("on", "hanging on", "mounted on")

LINKS = ("", "", "that is ", "which is ", "that's ")
DENIALS = ("not ", "that is not ", "which is not ", "that isn't ", "that's not ")

SUPERLATIVES: dict[Rank, tuple[str, ...]] = {
    Rank.LARGEST: ("largest", "biggest"),
    Rank.SMALLEST: ("smallest",),
    Rank.TALLEST: ("tallest",),
    Rank.SHORTEST: ("shortest",),
    Rank.HIGHEST: ("highest", "topmost"),
    Rank.LOWEST: ("lowest",),
    Rank.CLOSEST: ("closest", "nearest"),
    Rank.FARTHEST: ("farthest", "furthest", "most distant"),
    Rank.LEFTMOST: ("leftmost",),
    Rank.RIGHTMOST: ("rightmost",),
}
SIDES = {Rank.LEFTMOST: "left", Rank.RIGHTMOST: "right"}
ORDINALS = ("", "second ", "third ", "fourth ", "fifth ")

FRAMES: dict[Wanted, tuple[str, ...]] = {
    Wanted.ONE: (
        "{}", "the {}", "the {}", "where is the {}?", "Where is the {}", "find the {}", "show me the {}",
        "bring me the {}", "I am looking for the {}", "go to the {}", "please find the {}.", "could you find the {}?",
        "can you see the {}?", "take me to the {}", "Where can I find the {}?", "look for the {}", "drive to the {}!",
    ),
    Wanted.ALL: ("all {}", "all the {}", "show me all {}", "find all the {}", "where are the {}?", "list the {}"),
    Wanted.COUNT: ("how many {} are there?", "count the {}", "How many {} are there", "the number of {}"),
}  # fmt: skip
COUNTING = ("how many {} are {}?", "How many {} are there {}?", "count the {} {}", "how many {} do you see {}?")
CHOICES = ("which {} is {}?", "Which {} is {}?")


def say(description: Description, wanted: Wanted, rng: Generator) -> str:
    """A sentence that asks for what a description says, in words drawn by ``rng``."""
    if wanted is Wanted.ONE:
        asked = _question(description, rng) if rng.random() < 0.25 else None
        return asked or _pick(FRAMES[wanted], rng).format(_phrase(description, rng))
    if wanted is Wanted.COUNT and description.conditions:
        noun, *rest = _parts(description, rng, plural=True)
        return _pick(COUNTING, rng).format(noun, " ".join(rest).removeprefix("that are "))
    return _pick(FRAMES[wanted], rng).format(" ".join(_parts(description, rng, plural=True)))


def _question(description: Description, rng: Generator) -> str | None:
    """As in "which chair is near the table?", where the description says one thing only; else None."""
    ranking, conditions = description.ranking, description.conditions
    if description.noun == THING:
        if len(conditions) != 1 or ranking or conditions[0].negated:
            return None
        return _pick(("what is {}?", "What's {}?", "something {}"), rng).format(_clause(conditions[0], rng))
    if len(conditions) == 1 and not ranking and not description.without and not conditions[0].negated:
        return _pick(CHOICES, rng).format(_noun(description.noun, rng), _clause(conditions[0], rng))
    if ranking and not conditions and ranking.position == 1 and ranking.rank not in SIDES:
        most = _pick(SUPERLATIVES[ranking.rank], rng)
        rest = f"{most} {_measured_from(ranking, rng)}" if ranking.anchor else f"the {most}"
        return _pick(CHOICES, rng).format(_noun(description.noun, rng), rest)
    return None


def _phrase(description: Description, rng: Generator) -> str:
    return " ".join(_parts(description, rng))


def _parts(description: Description, rng: Generator, *, plural: bool = False) -> list[str]:
    """The noun with what stands before it, then each thing that is said of it."""
    noun = _noun(description.noun, rng, plural=plural)
    parts = [noun]
    for word in description.without:
        parts.append(_pick(DENIALS[1:], rng).replace("is", "are" if plural else "is", 1) + word)
    clauses: list[str] = []
    for number, condition in enumerate(description.conditions):
        link = "" if number or plural else _pick(DENIALS if condition.negated else LINKS, rng)
        if condition.negated and not link:
            link = "not " if number else "that are not "
        clauses.append(link + _clause(condition, rng))
    if clauses:
        parts.append(" and ".join(clauses))
    return _with_rank(parts, description.ranking, rng) if description.ranking else parts


def _with_rank(parts: list[str], ranking: Ranking, rng: Generator) -> list[str]:
    noun, *rest = parts
    ordinal = ORDINALS[ranking.position - 1]
    most = ordinal + _pick(SUPERLATIVES[ranking.rank], rng)
    side = SIDES.get(ranking.rank)
    if ranking.anchor:
        measured = _measured_from(ranking, rng)
        forms = [[f"{most} {noun}", measured], [f"{noun} {most}", measured], [f"{noun} that is {most}", measured]]
    elif side and not rest:
        forms = [[f"{most} {noun}"], [f"{ordinal}{noun} from the {side}"]]
        if ranking.position == 1:
            forms += [[f"{noun} on the far {side}"], [f"{noun} furthest to the {side}"]]
            forms.remove([f"{noun} from the {side}"])
    elif ranking.rank in (Rank.CLOSEST, Rank.FARTHEST) and not rest and not ordinal:
        word = "to" if ranking.rank is Rank.CLOSEST else "from"
        forms = [[f"{most} {noun}"], [f"{noun} {most} {word} {_pick(('me', 'you'), rng)}"]]
    else:
        forms = [[f"{most} {noun}"]]
    return [*forms[int(rng.integers(len(forms)))], *rest]


def _measured_from(ranking: Ranking, rng: Generator) -> str:
    assert ranking.anchor is not None
    return ("to " if ranking.rank is Rank.CLOSEST else "from ") + _anchor(ranking.anchor, rng)


def _clause(condition: Condition, rng: Generator) -> str:
    relation, anchors = condition.relation, condition.anchors
    hung = relation is Relation.ON and anchors[0].noun == "wall"
    words = _pick(ON_WALL if hung else RELATIONS[relation], rng)
    if condition.negated and "not" in words:
        words = "near"
    if relation is not Relation.BETWEEN:
        return f"{words} {_anchor(anchors[0], rng)}"
    if anchors[0] == anchors[1]:
        return f"{words} {_pick(('the', 'the two'), rng)} {_noun(anchors[0].noun, rng, plural=True)}"
    return f"{words} {_anchor(anchors[0], rng)} and {_anchor(anchors[1], rng)}"


def _anchor(description: Description, rng: Generator) -> str:
    return "the " + _phrase(description, rng)


def _noun(noun: str, rng: Generator, *, plural: bool = False) -> str:
    """A noun, as "red chair", in any words for a chair."""
    if noun == THING:
        return "things" if plural else _pick(("thing", "object"), rng)
    label = next((name for name in WORDS if noun == name or noun.endswith(" " + name)), "")
    if not label:
        return plural_of(noun) if plural else noun
    words = [word for word in WORDS[label] if not (plural and word in UNCOUNTED)]
    word = _pick(words, rng)
    return noun.removesuffix(label) + (plural_of(word) if plural else word)


def _pick(choices: Sequence[str], rng: Generator) -> str:
    return choices[int(rng.integers(len(choices)))]
