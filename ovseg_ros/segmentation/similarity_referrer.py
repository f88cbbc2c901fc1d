"""What words mean in an image, for every backend of language features: the pixels that they name best."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as functional

from ovseg_ros.errors import OvsegError
from ovseg_ros.segmentation.labels import AskedWords
from ovseg_ros.types import ConceptSpace, Referrer, RefPrediction, Segmenter

MASK_PROBABILITY = 0.3
"""Of an expression against all other words, from which a pixel is in its mask."""


class SimilarityReferrer:
    """A `Referrer` made of a segmenter: probable pixels are the mask, their mean probability is its score.

    It knows nouns. Relations and colours in an expression count only as far as the space of texts has them.
    """

    def __init__(self, segmenter: Segmenter) -> None:
        """Wrap a backend of language features.

        Raises:
            OvsegError: the backend scores concepts.
        """
        if isinstance(segmenter.space, ConceptSpace):
            raise OvsegError(
                f"{segmenter.space.id!r} has no features to compare words with: verify with a backend of language "
                "features such as openseg or radseg"
            )
        self._segmenter = segmenter

    def refer(
        self, rgb: torch.Tensor, expressions: Sequence[str], size: tuple[int, int] | None = None
    ) -> RefPrediction:
        """As of `Referrer`; the image is segmented once."""
        space = self._segmenter.space
        segmentation = self._segmenter(rgb)
        maps = []
        for expression in expressions:
            words = AskedWords.encode(space, [expression], self._segmenter.vocabulary)
            cosines = words.cosines(segmentation, space)
            maps.append(torch.softmax(space.logit_scale * cosines, dim=0)[0])
        shape = size or (rgb.shape[0], rgb.shape[1])
        probability = functional.interpolate(torch.stack(maps)[None], shape, mode="bilinear", align_corners=False)[0]
        masks = probability >= MASK_PROBABILITY
        sums = torch.where(masks, probability, 0.0).sum(dim=(1, 2))
        return RefPrediction(masks, sums / masks.sum(dim=(1, 2)).clamp(min=1))


def referrer_of(segmenter: Segmenter) -> Referrer:
    """The backend itself if it is a `Referrer`, else one made of it.

    Raises:
        OvsegError: as `SimilarityReferrer`.
    """
    return segmenter if isinstance(segmenter, Referrer) else SimilarityReferrer(segmenter)
