"""What is seen of each concept in one image; masks are drawn only where they can matter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ovseg_ros.errors import OvsegError
from ovseg_ros.segmentation.sam3.concepts import Concepts
from ovseg_ros.segmentation.sam3.config import Sam3Config
from ovseg_ros.segmentation.sam3.merging import distinct_masks, score_map
from ovseg_ros.segmentation.sam3.network import Detections, ImageFeatures, Sam3Network
from ovseg_ros.segmentation.sam3.prompts import EncodedPrompts


@dataclass(frozen=True)
class Sighting:
    """One concept in one image.

    Attributes:
        masks: (K, h, w) float32 probabilities of its distinct instances, best first.
        scores: (K,) float32.
        dense: (h, w) float32 maps of its dense head times presence, one for each prompt of stuff that is there.
    """

    masks: torch.Tensor
    scores: torch.Tensor
    dense: tuple[torch.Tensor, ...]

    @property
    def score_map(self) -> torch.Tensor:
        """(h, w) float32, the concept's score at each cell; 0 where it isn't."""
        layers = [*self.dense, score_map(self.masks, self.scores)] if len(self.scores) else list(self.dense)
        return torch.stack(layers).amax(dim=0) if layers else self.masks.new_zeros(self.masks.shape[1:])


def look(
    network: Sam3Network, image: ImageFeatures, concepts: Concepts, prompts: EncodedPrompts, config: Sam3Config
) -> list[Sighting]:
    """Look for all concepts in one image; one Sighting for each, in their order. ``prompts`` are theirs, encoded."""
    drawn = _Drawn(concepts)
    step = config.prompts_at_once
    for start in range(0, len(concepts.prompts), step):
        part = slice(start, start + step)
        found = network.detect(image, prompts.features[part], prompts.mask[part])
        _draw(network, image, found, concepts, concepts.owners[part], config, drawn)
    return [_sighting(drawn, index, image, config) for index in range(len(concepts))]


def check_colour_image(rgb: torch.Tensor) -> None:
    """Raise OvsegError unless ``rgb`` is (H, W, 3) uint8."""
    if rgb.dtype != torch.uint8 or rgb.dim() != 3 or rgb.shape[2] != 3 or 0 in rgb.shape:
        raise OvsegError(f"a colour image is (H, W, 3) uint8, got {tuple(rgb.shape)} {rgb.dtype}")


class _Drawn:
    """What was drawn for each concept of one image."""

    def __init__(self, concepts: Concepts) -> None:
        self.masks: list[list[torch.Tensor]] = [[] for _ in concepts.entries]
        self.scores: list[list[torch.Tensor]] = [[] for _ in concepts.entries]
        self.dense: list[list[torch.Tensor]] = [[] for _ in concepts.entries]


def _draw(
    network: Sam3Network,
    image: ImageFeatures,
    found: Detections,
    concepts: Concepts,
    owners: Sequence[int],
    config: Sam3Config,
    drawn: _Drawn,
) -> None:
    """Run the mask head for those prompts whose concepts can gain by it, and keep what it gives."""
    stuff = torch.tensor([concepts.entries[owner].stuff for owner in owners], device=found.presence.device)
    good = found.scores > config.threshold
    needed = good.any(dim=1) | (stuff & (found.presence > config.stuff_threshold))
    rows = needed.nonzero().flatten()
    if not len(rows):
        return
    counts = good[rows].sum(dim=1)
    scores, queries = found.scores[rows].topk(int(counts.max()), dim=1)
    masks, dense = network.draw(image, found, rows, queries)
    for row, (prompt, count) in enumerate(zip(rows.tolist(), counts.tolist(), strict=True)):
        owner = owners[prompt]
        drawn.masks[owner].append(masks[row, :count].clone())
        drawn.scores[owner].append(scores[row, :count])
        if concepts.entries[owner].stuff:
            drawn.dense[owner].append(dense[row] * found.presence[prompt])


def _sighting(drawn: _Drawn, index: int, image: ImageFeatures, config: Sam3Config) -> Sighting:
    device = image.summary.device
    if not drawn.masks[index]:
        return Sighting(torch.zeros(0, *image.grid, device=device), torch.zeros(0, device=device), ())
    masks, scores = torch.cat(drawn.masks[index]), torch.cat(drawn.scores[index])
    kept = distinct_masks(masks, scores, config.mask_overlap)
    return Sighting(masks[kept], scores[kept], tuple(drawn.dense[index]))
