"""Scores of concepts by name: what the columns of a map mean whose vocabulary changes while it is made.

An image only has scores of the concepts that it was asked for, and a mean over all images is no mean over those. So
every image brings a column of ones, too, for the set it was asked for. Filling what is absent with 0 is linear, so one
fusion operator serves all columns, and what a voxel saw of a concept is its mean divided by the mean of the ones of
all sets that hold it: its mean over the pixels that were asked. No ones are no answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from ovseg_ros.errors import OvsegError
from ovseg_ros.vocabulary import MAX_CONCEPTS

MAX_VOCABULARIES = 256
"""Sets of concepts that one map was asked for: each costs a number per feature."""


@dataclass(frozen=True)
class ConceptChannels:
    """The layout of columns. It only ever grows: columns stay where they are when another set is `including`-ed.

    Columns go by vocabulary: first the scores of its concepts that no earlier one has, then its *asked* column.

    Attributes:
        vocabularies: sets of concepts that were asked for together, in order of first use; none for a map of language
            features, whose columns are as they come.

    Raises:
        OvsegError: naming what makes these no vocabularies, or the limit they exceed.

    Example:
        >>> layout = ConceptChannels((("cup", "door"),)).including(["sofa", "cup"])
        >>> layout.concepts, layout.columns
        (('cup', 'door', 'sofa'), 5)
        >>> layout.including(["door", "cup"]) is layout
        True
    """

    vocabularies: tuple[tuple[str, ...], ...] = ()

    def __post_init__(self) -> None:
        for vocabulary in self.vocabularies:
            if not vocabulary or not all(vocabulary) or len(set(vocabulary)) < len(vocabulary):
                raise OvsegError(
                    f"concepts asked for together need distinct names of at least a character, got {vocabulary}: "
                    "check the backend's output"
                )
        if len(set(map(frozenset, self.vocabularies))) < len(self.vocabularies):
            raise OvsegError("the same vocabulary is listed twice: the map was written by another program")
        if len(self.vocabularies) > MAX_VOCABULARIES:
            raise OvsegError(
                f"a map takes scores for at most {MAX_VOCABULARIES} vocabularies, this would be another: "
                "clear the map, or repeat an earlier vocabulary"
            )
        if len(self.concepts) > MAX_CONCEPTS:
            raise OvsegError(
                f"a map takes scores of at most {MAX_CONCEPTS} concepts in all, got {len(self.concepts)}: "
                "clear the map, or ask for fewer"
            )

    def including(self, concepts: Sequence[str]) -> ConceptChannels:
        """The layout that has room for this set, too; this one if it has already, in whatever order.

        Raises:
            OvsegError: a limit is exceeded, or these are no distinct names.
        """
        if frozenset(concepts) in self._numbers and len(set(concepts)) == len(concepts):
            return self
        return ConceptChannels((*self.vocabularies, tuple(concepts)))

    @cached_property
    def concepts(self) -> tuple[str, ...]:
        """C names, in the order of their columns."""
        return tuple(dict.fromkeys(name for vocabulary in self.vocabularies for name in vocabulary))

    @property
    def columns(self) -> int:
        """Numbers per stored feature: a score for each concept and a share for each vocabulary."""
        return len(self.concepts) + len(self.vocabularies)

    def encode(self, scores: torch.Tensor, concepts: Sequence[str]) -> torch.Tensor:
        """(n, h, w) scores of one of the vocabularies, in any order -> (columns, h, w) to be fused."""
        encoded = scores.new_zeros(self.columns, *scores.shape[1:])
        encoded[[self._scores[name] for name in concepts]] = scores
        encoded[self._asked[self._numbers[frozenset(concepts)]]] = 1.0
        return encoded

    def decode(self, rows: torch.Tensor) -> torch.Tensor:
        """(v, columns) fused -> (v, C) float32 mean scores where they were asked for, NaN where they never were."""
        scores = rows[:, [*self._scores.values()]].float()
        asked = rows[:, self._asked].float() @ self._holds.to(rows.device)
        return torch.where(asked > 0, scores / asked, torch.nan)

    def was_asked(self, rows: torch.Tensor, concept: str) -> torch.Tensor:
        """(v, columns) fused -> (v,) bool: whether one of the `concepts` was ever asked for."""
        asked = [column for column, names in zip(self._asked, self.vocabularies, strict=True) if concept in names]
        return (rows[:, asked] > 0).any(dim=1)

    def check_columns(self, columns: Mapping[str, torch.Tensor]) -> None:
        """Raise an OvsegError unless the features of voxels and rays, by name, are as wide as this layout."""
        for name in ("features", "rays.features"):
            column = columns.get(name)
            # A table of rays is as wide as the first ray was.
            if column is None or (name != "features" and not len(column)):
                continue
            if column.shape[1:] != (self.columns,):
                raise OvsegError(
                    f"scores of {len(self.concepts)} concepts in {len(self.vocabularies)} vocabularies take "
                    f"{self.columns} columns, {name} has the shape {tuple(column.shape)}: save the map again"
                )

    def move(self, rows: torch.Tensor, source: ConceptChannels) -> torch.Tensor:
        """(v, source.columns) rows of another layout, all of whose vocabularies this one has -> (v, columns)."""
        if source.vocabularies == self.vocabularies:
            return rows
        targets = [0] * source.columns
        for name, column in source._scores.items():
            targets[column] = self._scores[name]
        for column, names in zip(source._asked, source.vocabularies, strict=True):
            targets[column] = self._asked[self._numbers[frozenset(names)]]
        moved = rows.new_zeros(len(rows), self.columns)
        moved[:, targets] = rows
        return moved

    @cached_property
    def _numbers(self) -> dict[frozenset[str], int]:
        """Which vocabulary each set is."""
        return {frozenset(names): number for number, names in enumerate(self.vocabularies)}

    @cached_property
    def _scores(self) -> dict[str, int]:
        """Column of each concept's score."""
        first: dict[str, int] = {}
        for number, names in enumerate(self.vocabularies):
            for name in names:
                if name not in first:
                    first[name] = len(first) + number
        return first

    @cached_property
    def _asked(self) -> list[int]:
        """Asked column of each vocabulary."""
        known: set[str] = set()
        columns = []
        for number, names in enumerate(self.vocabularies):
            known.update(names)
            columns.append(len(known) + number)
        return columns

    @cached_property
    def _holds(self) -> torch.Tensor:
        """(vocabularies, C) float32: 1 where a vocabulary holds a concept."""
        return torch.tensor(
            [[name in names for name in self.concepts] for names in map(set, self.vocabularies)]
        ).float()
