"""Words and SAM 3's scores, in terms that questions understand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
import torch.nn.functional as functional

from ovseg_ros.errors import OvsegError
from ovseg_ros.segmentation.sam3.concepts import DISTRACTOR
from ovseg_ros.vocabulary import GENERIC_NEGATIVES, SHOWN_CHARACTERS, Vocabulary, normalise

NAME = "sam3"
LOGIT_SCALE = 20.0
"""With it, a concept alone at a place reaches the default score of a match (0.3) at a mean score of 0.51, whether 1 or
100 others were asked for: the authors' threshold for an instance is 0.5."""

FLOOR = 0.05
"""Lower mean scores are nothing seen: an instance of the threshold, 0.5, in less than one image of ten."""

SHOWN_CONCEPTS = 12

NO_WORDS = Vocabulary(())


@dataclass(frozen=True)
class Sam3Space:
    """The ConceptSpace of one set of weights; with channels, the LanguageSpace of features that have these.

    Scores are no cosines, so the space has an axis for each of N concepts and one for everything else. The concepts are
    the channels without the distractors, then what the vocabulary has beside these. A word is the axis of its
    concept; a fused score vector points towards the concepts that were seen, and towards "else" as far as none was, or
    a distractor was.

    Attributes:
        id: ``sam3/`` and a digest of the weights, see `space_id`.
        channels: names of the C scores; those of distractors begin with `DISTRACTOR`.
        vocabulary: words for them.
    """

    id: str
    channels: tuple[str, ...] = ()
    vocabulary: Vocabulary = NO_WORDS

    def for_concepts(self, concepts: Sequence[str], vocabulary: Vocabulary) -> Sam3Space:
        """The space for features whose channels are the scores of ``concepts``, NaN where one wasn't asked for.

        All words of a group of ``vocabulary`` stand for the first of them that is a channel; for none if none is.
        """
        return replace(self, channels=tuple(concepts), vocabulary=vocabulary)

    @property
    def logit_scale(self) -> float:
        """Chosen, not learned: see LOGIT_SCALE."""
        return LOGIT_SCALE

    @property
    def same_meaning(self) -> float:
        """Words of one concept have the cosine 1, all others 0."""
        return 0.5

    @cached_property
    def concepts(self) -> tuple[str, ...]:
        """The N names that words stand for, in the order of their axes."""
        seen = [name for name in self.channels if not name.startswith(DISTRACTOR)]
        known = set(seen)
        return (*seen, *(group[0] for group in self.vocabulary.synonyms if known.isdisjoint(group)))

    def encode_text(self, texts: Sequence[str]) -> torch.Tensor:
        """M texts -> (M, N + 1) float32: the axis of the concept that each names; "object" and its like name the rest.

        Raises:
            OvsegError: naming the first text that was not asked for while mapping.
        """
        axes = []
        for text in texts:
            axis = self._axes.get(normalise(text))
            if axis is None:
                raise OvsegError(
                    f"SAM 3 was not asked for {text[:SHOWN_CHARACTERS]!r} while this was seen, only for "
                    f"{self._shown()}: add it with set_vocabulary and look again"
                )
            axes.append(axis)
        return functional.one_hot(torch.tensor(axes, dtype=torch.int64), len(self.concepts) + 1).float()

    def align(self, features: torch.Tensor) -> torch.Tensor:
        """(V, C) fused scores -> (V, N + 1) float32 unit vectors on the same device; NaN is nothing seen.

        Raises:
            OvsegError: these are no scores of C channels.
        """
        if features.shape[1] != len(self.channels):
            raise OvsegError(
                f"{features.shape[1]} scores aren't those of {len(self.channels)} named concepts: map again, the names "
                "come with what is segmented"
            )
        # NaN is not above the floor.
        scores = torch.where(features >= FLOOR, features.float(), 0.0).clamp(max=1.0)
        asked = [column for column, name in enumerate(self.channels) if not name.startswith(DISTRACTOR)]
        aligned = functional.pad(scores[:, asked], (0, len(self.concepts) + 1 - len(asked)))
        distracted = functional.pad(scores[:, self._distractors], (0, 1)).amax(dim=1)
        aligned[:, -1] = torch.maximum(1.0 - aligned.amax(dim=1), distracted)
        return functional.normalize(aligned, dim=1)

    @cached_property
    def _axes(self) -> dict[str, int]:
        """The axis of each word."""
        own = {name: axis for axis, name in enumerate(self.concepts)}
        axes = dict.fromkeys(GENERIC_NEGATIVES, len(own))
        for group in self.vocabulary.synonyms:
            axes |= dict.fromkeys(group, next(own[word] for word in group if word in own))
        return axes | own

    @cached_property
    def _distractors(self) -> list[int]:
        """The channels that compete; what was a distractor once and is asked for now doesn't compete with itself."""
        return [
            column
            for column, name in enumerate(self.channels)
            if name.startswith(DISTRACTOR) and name.removeprefix(DISTRACTOR) not in self._axes
        ]

    def _shown(self) -> str:
        names = self.concepts
        more = f" and {len(names) - SHOWN_CONCEPTS} more" if len(names) > SHOWN_CONCEPTS else ""
        return ", ".join(names[:SHOWN_CONCEPTS]) + more if names else "nothing so far"


def space_id(weights: str) -> str:
    """The id of the space of weights with this digest."""
    return f"{NAME}/{weights}"
