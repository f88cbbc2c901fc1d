"""What words mean in the space of a model: which name the same thing, and which concept's words fit best."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ovseg_ros.types import LanguageSpace, WordSpace
from ovseg_ros.vocabulary import Vocabulary


def encode_groups(space: LanguageSpace, groups: Sequence[Sequence[str]]) -> tuple[torch.Tensor, torch.Tensor]:
    """(W, D) unit vectors of all words of all groups, and (W,) int64 whose they are.

    Raises:
        OvsegError: the space can't take a word.
    """
    counts = torch.tensor([len(group) for group in groups], dtype=torch.int64)
    words = space.encode_text([word for group in groups for word in group])
    return words, torch.repeat_interleave(torch.arange(len(groups)), counts)


def best_of(scores: torch.Tensor, owners: torch.Tensor) -> torch.Tensor:
    """(W, ...) scores of words -> (K, ...) the largest of each concept's words.

    Args:
        scores: of W words.
        owners: (W,) int64 in rising order, from 0 to K - 1 without a gap.
    """
    counts = torch.bincount(owners.cpu()).tolist()
    if len(counts) == len(scores):
        return scores
    return torch.stack([part.amax(dim=0) for part in torch.split(scores, counts)])


def nearest_concepts(
    texts: Sequence[str], groups: Sequence[Sequence[str]], space: LanguageSpace
) -> list[tuple[int, float] | None]:
    """For each text the index of the group with the nearest word, and its cosine; None where it means something else.

    Raises:
        OvsegError: the space can't take a word.
    """
    if not groups or not texts:
        return [None] * len(texts)
    words, owners = encode_groups(space, groups)
    flat = [word for group in groups for word in group]
    cosines, nearest = (space.encode_text(texts) @ words.T).max(dim=1)
    return [
        (int(owners[word]), cosine) if same_meaning(space, text, flat[word], cosine) else None
        for text, word, cosine in zip(texts, nearest.tolist(), cosines.tolist(), strict=True)
    ]


def same_meaning(space: LanguageSpace, text: str, name: str, cosine: float) -> bool:
    """Whether a text with this cosine to a name is taken to name the same thing."""
    if isinstance(space, WordSpace):
        return space.means_the_same(text, name)
    return cosine >= space.same_meaning


def with_synonyms(names: tuple[str, ...], vocabulary: Vocabulary, space: LanguageSpace) -> tuple[str, ...]:
    """A noun's names and, if the vocabulary has a concept of the same meaning, the names of the nearest one.

    Training never saw most words that people use: "couch" says the same as "sofa" only as far as the space of
    texts knows it, and would lose against "sofa" everywhere.
    """
    groups = vocabulary.asked
    if any(not set(names).isdisjoint(group) for group in vocabulary.synonyms):
        return names
    found = [concept for concept in nearest_concepts(names, groups, space) if concept is not None]
    return (*names, *groups[max(found, key=lambda concept: concept[1])[0]]) if found else names


def words_of(texts: Sequence[str], vocabulary: Vocabulary, space: LanguageSpace) -> list[tuple[str, ...]]:
    """What to ask for each text: the words that the vocabulary has for it, or itself and the nearest concept's words.

    No word is asked for two texts: a concept goes to the text that names it, else to the nearest of them.

    Raises:
        OvsegError: the space can't take a word.
    """
    owner = {number: vocabulary.number_of(text) for number, text in enumerate(texts)}
    groups = vocabulary.asked
    claimed = set(owner.values())
    unnamed = [index for index in range(len(groups)) if index not in claimed]
    free = [number for number, index in owner.items() if index is None]
    nearest = nearest_concepts([texts[number] for number in free], [groups[index] for index in unnamed], space)
    claims = [(*concept, number) for number, concept in zip(free, nearest, strict=True) if concept is not None]
    for concept, _, number in sorted(claims, key=lambda claim: -claim[1]):
        if unnamed[concept] not in claimed:
            owner[number] = unnamed[concept]
            claimed.add(unnamed[concept])
    wanted, taken = [], set(texts)
    for number, text in enumerate(texts):
        index = owner[number]
        group = () if index is None else groups[index]
        own = [] if group and text in vocabulary.unsaid else [text]
        own += [word for word in group if word not in taken]
        taken.update(own)
        wanted.append(tuple(own) or (text,))
    return wanted
