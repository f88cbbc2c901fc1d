"""SAM 3's parts, called one by one: the image once, each prompt once, masks only where something was found.

The order of calls is that of `Sam3Model` in transformers (Carion et al. 2025, "SAM 3: Segment Anything with Concepts").
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as functional

from ovseg_ros.errors import OvsegError
from ovseg_ros.segmentation.model_folder import shortened

NEEDS = "SAM 3 needs transformers 5.10 or newer: pip install 'transformers>=5.10,<6'"


def load_model(kind: Any, folder: Path, device: str, dtype: torch.dtype) -> Any:
    """Read a folder as a ``kind`` of transformers' models, in eval mode.

    Raises:
        OvsegError: if it holds another model, or not all of this one.
    """
    try:
        model, report = kind.from_pretrained(folder, local_files_only=True, dtype=dtype, output_loading_info=True)
    except Exception as error:  # Whatever a foreign or damaged folder sets off inside transformers.
        raise OvsegError(f"{folder} can't be loaded as SAM 3 ({shortened(error)}): fetch it again") from error
    wrong = sorted({*report["missing_keys"], *(str(key) for key in report["mismatched_keys"])})
    if wrong:
        # transformers would go on with random numbers in their place.
        raise OvsegError(
            f"{folder} lacks {len(wrong)} of SAM 3's tensors ({wrong[0]} is the first): it is another model, or a "
            "fine-tuned one that must be converted first, see docs/sam3.md"
        )
    return model.to(device).eval().requires_grad_(False)


@dataclass(frozen=True)
class ImageFeatures:
    """One image, encoded.

    Attributes:
        levels: pyramid of (1, C, h, w) features, finest first.
        positions: their encodings, of the same sizes.
        summary: (1, 1, C) what the geometry encoder adds to every text.
    """

    levels: tuple[torch.Tensor, ...]
    positions: tuple[torch.Tensor, ...]
    summary: torch.Tensor

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of masks."""
        return self.levels[0].shape[-2], self.levels[0].shape[-1]


@dataclass(frozen=True)
class Detections:
    """What P prompts found, before any mask.

    Attributes:
        scores: (P, Q) float32, the probability that a query is the concept, times its presence.
        presence: (P,) float32, the probability that the concept is in the image at all.
        queries: (P, Q, C) decoded queries.
        encoded: (P, h * w, C) image features that have seen the prompt.
        prompt: (P, T, C) text and geometry.
        prompt_mask: (P, T) bool, False for padding.
    """

    scores: torch.Tensor
    presence: torch.Tensor
    queries: torch.Tensor
    encoded: torch.Tensor
    prompt: torch.Tensor
    prompt_mask: torch.Tensor


class Sam3Network:
    """A `Sam3Model` of transformers, in eval mode, whose halves can be called apart. See `load`."""

    def __init__(self, model: Any) -> None:
        """Wrap a ``Sam3Model``."""
        self._model = model
        self._dtype: torch.dtype = model.dtype
        self._device: torch.device = model.device
        self._side = int(model.config.vision_config.backbone_config.image_size)
        self.text_length = int(model.config.text_config.max_position_embeddings)

    @classmethod
    def load(cls, folder: Path, device: str, dtype: torch.dtype) -> Sam3Network:
        """Read a folder in the format of transformers: an image model, or the published one for images and videos.

        Raises:
            OvsegError: if transformers is too old, or the folder holds another model, or not all of this one.
        """
        try:
            from transformers import Sam3Model
        except ImportError as error:
            raise OvsegError(NEEDS) from error
        return cls(load_model(Sam3Model, folder, device, dtype))

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return self._device

    def encode_text(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(P, T) int64 token ids and their (P, T) bool mask -> (P, T, C) features."""
        ids, mask = ids.to(self._device), mask.to(self._device)
        features: torch.Tensor = self._model.get_text_features(input_ids=ids, attention_mask=mask).pooler_output
        return features

    def encode_image(self, rgb: torch.Tensor) -> ImageFeatures:
        """(H, W, 3) uint8 -> its features, and the part of the prompt that depends on it alone."""
        return self.image_features(self._model.vision_encoder(self.pixels(rgb)))

    def pixels(self, rgb: torch.Tensor) -> torch.Tensor:
        """(H, W, 3) uint8 -> (1, 3, side, side) as the vision encoder reads it."""
        images = rgb.to(self._device).permute(2, 0, 1)[None].float()
        # Stretched to a square and rounded to bytes, as the published processor does.
        images = functional.interpolate(images, (self._side, self._side), mode="bilinear", antialias=True).round()
        return ((images - 127.5) / 127.5).to(self._dtype)

    def image_features(self, vision: Any) -> ImageFeatures:
        """What the vision encoder gave for one image -> what `detect` and `draw` need of it."""
        levels, positions = tuple(vision.fpn_hidden_states[:-1]), tuple(vision.fpn_position_encoding[:-1])
        return ImageFeatures(levels, positions, self._summary(levels[-1], positions[-1]))

    def _summary(self, features: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """(1, C, h, w) features and positions -> (1, 1, C), what the geometry encoder says where no box is given.

        The original model appends it to every text, `Sam3Model` only where there are boxes (one of padding will do).
        It depends on no text, so once an image is enough; and without a box the encoder needs no torchvision.
        """
        encoder = self._model.geometry_encoder
        summary: torch.Tensor = encoder.prompt_layer_norm(encoder.final_proj(encoder.cls_embed.weight[None]))
        for layer in encoder.layers:
            summary = layer(
                prompt_feats=summary,
                vision_feats=features.flatten(2).transpose(1, 2),
                vision_pos_encoding=positions.flatten(2).transpose(1, 2),
                prompt_mask=None,
            )
        summary = encoder.output_layer_norm(summary)
        return summary

    def detect(self, image: ImageFeatures, texts: torch.Tensor, mask: torch.Tensor) -> Detections:
        """Look for P prompts in one image, drawing nothing.

        Args:
            image: from `encode_image`.
            texts: (P, T, C) from `encode_text`.
            mask: (P, T) bool, False for padding.
        """
        count = len(texts)
        prompt = torch.cat((texts, image.summary.expand(count, -1, -1)), dim=1)
        prompt_mask = functional.pad(mask, (0, 1), value=True)
        encoded = self._model.detr_encoder(
            vision_features=[image.levels[-1].expand(count, -1, -1, -1)],
            text_features=prompt,
            vision_pos_embeds=[image.positions[-1].expand(count, -1, -1, -1)],
            text_mask=prompt_mask,
        )
        decoded = self._model.detr_decoder(
            vision_features=encoded.last_hidden_state,
            text_features=encoded.text_features,
            vision_pos_encoding=encoded.pos_embeds_flattened,
            text_mask=prompt_mask,
            spatial_shapes=encoded.spatial_shapes,
        )
        logits = self._model.dot_product_scoring(
            decoder_hidden_states=decoded.intermediate_hidden_states[-1:],
            text_features=encoded.text_features,
            text_mask=prompt_mask,
        )
        presence = decoded.presence_logits[-1].float().sigmoid()
        return Detections(
            scores=logits[-1].squeeze(-1).float().sigmoid() * presence,
            presence=presence.squeeze(-1),
            queries=decoded.intermediate_hidden_states[-1],
            encoded=encoded.last_hidden_state,
            prompt=prompt,
            prompt_mask=prompt_mask,
        )

    def draw(
        self, image: ImageFeatures, found: Detections, rows: torch.Tensor, queries: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Masks of K queries for each of R of the prompts.

        Args:
            image: as given to `detect`.
            found: as it came from there.
            rows: (R,) int64 which prompts.
            queries: (R, K) int64 which of their queries; K may be 0.

        Returns:
            (R, K, h, w) masks and (R, h, w) of the dense head, both float32 probabilities.
        """
        chosen = found.queries[rows]
        chosen = chosen.gather(1, queries.unsqueeze(-1).expand(-1, -1, chosen.shape[-1]))
        drawn = self._model.mask_decoder(
            decoder_queries=chosen,
            backbone_features=[level.expand(len(rows), -1, -1, -1) for level in image.levels],
            encoder_hidden_states=found.encoded[rows],
            prompt_features=found.prompt[rows],
            prompt_mask=found.prompt_mask[rows],
        )
        return drawn.pred_masks.float().sigmoid(), drawn.semantic_seg[:, 0].float().sigmoid()
