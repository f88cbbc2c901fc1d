"""Words and SAM 3's scores, in terms that questions understand."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as functional

from ovseg_ros.errors import OvsegError
from ovseg_ros.segmentation.sam3.concepts import Concepts
from ovseg_ros.vocabulary import GENERIC_NEGATIVES, normalise

NAME = "sam3"
LOGIT_SCALE = 20.0
"""With it, a concept alone at a place reaches the default score of a match (0.3) at a mean score of 0.51, whether 1 or
100 others were asked for: the authors' threshold for an instance is 0.5."""

SHOWN_CONCEPTS = 12
SHOWN_CHARACTERS = 60


class Sam3Space:
    """The LanguageSpace of one set of weights and one vocabulary of N asked concepts.

    Scores are no cosines, so the space has one axis for each concept and one for everything else. A word of the
    vocabulary is the axis of its concept; a fused score vector points towards the concepts that were seen, and towards
    "else" as far as none was, or a distractor was.
    """

    def __init__(self, weights: str, concepts: Concepts) -> None:
        """Wrap the digest of the ``weights`` and the ``concepts`` whose scores the channels are."""
        self._concepts = concepts
        self._id = f"{NAME}/{weights}-{concepts.digest}"
        self._axes = dict.fromkeys(GENERIC_NEGATIVES, len(concepts.asked))
        self._axes |= {word: axis for axis, concept in enumerate(concepts.asked) for word in concept.prompts}

    @property
    def id(self) -> str:
        """``sam3/`` and digests of weights and vocabulary: channels of another vocabulary mean other things."""
        return self._id

    @property
    def concepts(self) -> Concepts:
        """What the channels are."""
        return self._concepts

    @property
    def logit_scale(self) -> float:
        """Chosen, not learned: see LOGIT_SCALE."""
        return LOGIT_SCALE

    @property
    def same_meaning(self) -> float:
        """Words of one concept have the cosine 1, all others 0."""
        return 0.5

    def encode_text(self, texts: Sequence[str]) -> torch.Tensor:
        """M texts -> (M, N + 1) float32: the axis of the concept that each names; "object" and its like name the rest.

        Raises:
            OvsegError: naming the first text that was not asked for while mapping.
        """
        axes = []
        for text in texts:
            axis = self._axes.get(normalise(text))
            if axis is None:
                names = self._concepts.vocabulary.names
                more = f" and {len(names) - SHOWN_CONCEPTS} more" if len(names) > SHOWN_CONCEPTS else ""
                raise OvsegError(
                    f"SAM 3 was not asked for {text[:SHOWN_CHARACTERS]!r} while this was seen, only for "
                    f"{', '.join(names[:SHOWN_CONCEPTS])}{more}: add it with set_vocabulary and look again"
                )
            axes.append(axis)
        return functional.one_hot(torch.tensor(axes, dtype=torch.int64), len(self._concepts.asked) + 1).float()

    def align(self, features: torch.Tensor) -> torch.Tensor:
        """(V, C) fused scores, distractors last -> (V, N + 1) float32 unit vectors on the same device."""
        scores = features.float().clamp(0.0, 1.0)
        count = len(self._concepts.asked)
        asked, distractors = scores[:, :count], scores[:, count:]
        rest = 1.0 - asked.amax(dim=1, keepdim=True)
        return functional.normalize(
            torch.cat((asked, torch.cat((rest, distractors), 1).amax(1, keepdim=True)), 1), dim=1
        )
