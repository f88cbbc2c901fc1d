"""RADSeg+: the outlines of a coarse prediction, drawn anew by SAM's mask decoder on RADIO's SAM features."""

from __future__ import annotations

import torch
import torch.nn.functional as functional

from ovseg_ros.segmentation.radseg.config import DEFAULT_SAM
from ovseg_ros.segmentation.radseg.labelling import Prediction, predict
from ovseg_ros.segmentation.radseg.regions import (
    LEAST_PROBABILITY,
    Regions,
    coarse_labels,
    find_regions,
    halved,
)
from ovseg_ros.segmentation.radseg.sam_decoder import SamDecoder
from ovseg_ros.segmentation.upsampling import upsampled

PATCH = 16
MASK_PROMPT_SIZE = 256
MASK_PROMPT_SCALE = 0.005
"""Of a probability, given to the decoder as a mask logit."""

LEAST_IOU = 0.9
"""Masks that the decoder itself thinks worse of are not used."""


def sam_input_size(height: int, width: int) -> tuple[int, int]:
    """Rows and columns to which an image is resized before RADIO makes SAM features of it.

    The long side gets 1024 pixels, the short one whole patches.
    """
    longest = max(height, width)
    rows, columns = (max(1, side * 64 // longest) * PATCH for side in (height, width))
    return rows, columns


class MaskRefiner:
    """Refines predictions with a SAM.

    Example:
        >>> refiner = MaskRefiner.load("facebook/sam-vit-huge", device="cuda")  # doctest: +SKIP
        >>> refiner(sam_features, denoise(probabilities, size), size).labels  # doctest: +SKIP
    """

    def __init__(self, decoder: SamDecoder) -> None:
        self._decoder = decoder

    @classmethod
    def load(cls, model: str = DEFAULT_SAM, *, device: str = "cpu") -> MaskRefiner:
        """With the weights of a local folder or Hugging Face id; errors as of `SamDecoder.load`."""
        return cls(SamDecoder.load(model, device=device))

    @torch.inference_mode()
    def __call__(self, sam_features: torch.Tensor, probabilities: torch.Tensor, size: tuple[int, int]) -> Prediction:
        """Label an image.

        Each class's connected regions prompt the decoder with box, likeliest pixel and mask. A pixel gets the class
        with the largest product of mask and class probability; where no accepted mask covers it, it keeps its label.

        Args:
            sam_features: (1280, h, w) of RADIO's `sam` head for the image at `sam_input_size`.
            probabilities: (N, h', w') denoised class probabilities on the patch grid.
            size: rows and columns of the image.

        Returns:
            Refined labels; the confidence is that of the coarse prediction, as the reference thresholds it.

        Raises:
            OvsegError: for features that this SAM can't take.
        """
        coarse = predict(probabilities, size)
        halves = coarse_labels(probabilities, coarse.labels)
        labels, best = coarse.labels, torch.zeros(size, device=probabilities.device)
        embedding = None
        for label in torch.unique(halves).tolist():
            if label == 0:
                continue
            _, probability = next(upsampled(probabilities[label - 1 : label], size))
            half = halved(probability, size)[0]
            if half.amax() < LEAST_PROBABILITY:
                continue
            regions = find_regions(halves == label, half)
            if not len(regions.boxes):
                continue
            if embedding is None:
                embedding = self._decoder.embed(sam_features)
            logits = self._draw(
                embedding, regions, half, (PATCH * sam_features.shape[1], PATCH * sam_features.shape[2]), size
            )
            score = torch.where(logits > 0, logits.sigmoid() * probability[0], 0.0)
            labels = torch.where(score > best, label, labels)
            best = torch.maximum(best, score)
        return Prediction(labels, coarse.confidence)

    def _draw(
        self,
        embedding: torch.Tensor,
        regions: Regions,
        half: torch.Tensor,
        frame: tuple[int, int],
        size: tuple[int, int],
    ) -> torch.Tensor:
        """(H, W) largest mask logit over the accepted masks of one class's regions; -inf without any.

        Args:
            embedding: (1, D, 64, 64) of the image.
            regions: of the class.
            half: (rows, columns) probability of the class at half resolution.
            frame: rows and columns of the image that the embedding is of.
            size: H and W.
        """
        device = embedding.device
        rows, columns = _scaled(half.shape[0], half.shape[1], self._decoder.image_size)
        scale = torch.tensor([columns / half.shape[1], rows / half.shape[0]], device=device)
        prompt = functional.interpolate(
            half[None, None], _scaled(*size, MASK_PROMPT_SIZE), mode="bilinear", align_corners=False
        )[0, 0]
        prompt = torch.where(prompt > LEAST_PROBABILITY, MASK_PROMPT_SCALE * prompt, 0.0)
        prompt = functional.pad(prompt, (0, MASK_PROMPT_SIZE - prompt.shape[1], 0, MASK_PROMPT_SIZE - prompt.shape[0]))
        largest = torch.full(size, -torch.inf, device=device)
        drawn = self._decoder(
            embedding, regions.boxes.to(device) * scale.repeat(2), regions.points.to(device) * scale, prompt
        )
        for masks, iou in drawn:
            masks = _in_image(masks[iou > LEAST_IOU], self._decoder.image_size, frame, size)
            if len(masks):
                largest = torch.maximum(largest, masks.amax(dim=0))
        return largest


def _scaled(rows: int, columns: int, longest: int) -> tuple[int, int]:
    """A size whose long side is ``longest``, rounded as SAM does."""
    scale = longest / max(rows, columns)
    return int(rows * scale + 0.5), int(columns * scale + 0.5)


def _in_image(masks: torch.Tensor, padded: int, frame: tuple[int, int], size: tuple[int, int]) -> torch.Tensor:
    """(R, 256, 256) logits of a padded frame -> (R, H, W) of the image inside it."""
    if not len(masks):
        return masks
    masks = functional.interpolate(masks[None], (padded, padded), mode="bilinear", align_corners=False)
    masks = masks[..., : frame[0], : frame[1]]
    return functional.interpolate(masks, size, mode="bilinear", align_corners=False)[0]
