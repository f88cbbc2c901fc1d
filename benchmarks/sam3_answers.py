"""What SAM 3 says about one image, by our path and by a plain call of transformers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from sam3_weights import Inputs

from ovseg_ros.segmentation.sam3.network import Sam3Network


@dataclass(frozen=True)
class Answers:
    """What a model says to P prompts with Q queries each, in probabilities.

    Attributes:
        scores: (P, Q), times presence.
        presence: (P,).
        masks: (P, Q, h, w).
        dense: (P, h, w).
    """

    scores: torch.Tensor
    presence: torch.Tensor
    masks: torch.Tensor
    dense: torch.Tensor

    def differences(self, other: Answers) -> dict[str, float]:
        """The largest of each, by name."""
        return {name: float((value - getattr(other, name)).abs().max()) for name, value in vars(self).items()}


@torch.inference_mode()
def our_answers(model: Any, inputs: Inputs) -> Answers:
    """By the path of the backend: image and texts apart, every mask drawn."""
    network = Sam3Network(model)
    mask = inputs.ids != 0
    image = network.encode_image(inputs.rgb)
    found = network.detect(image, network.encode_text(inputs.ids, mask), mask)
    prompts, queries = found.scores.shape
    masks, dense = network.draw(image, found, torch.arange(prompts), torch.arange(queries).expand(prompts, -1))
    return Answers(found.scores, found.presence, masks, dense)


@torch.inference_mode()
def plain_answers(model: Any, inputs: Inputs) -> Answers:
    """By one plain call of transformers, without boxes."""
    pixels = Sam3Network(model).pixels(inputs.rgb)
    output = model(
        pixel_values=pixels.expand(len(inputs.ids), -1, -1, -1), input_ids=inputs.ids, attention_mask=inputs.ids != 0
    )
    presence = output.presence_logits.sigmoid()
    return Answers(
        scores=output.pred_logits.sigmoid() * presence,
        presence=presence.squeeze(-1),
        masks=output.pred_masks.sigmoid(),
        dense=output.semantic_seg[:, 0].sigmoid(),
    )
