"""RS2-SAM2 from pixels and tokens to mask logits, rebuilt on transformers' SAM 2.

Rong et al. 2025, "RS2-SAM2: Customized SAM2 for Referring Remote Sensing Image Segmentation".
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as functional
from torch import nn

from ovseg_ros.errors import OvsegError
from ovseg_ros.segmentation.rs2sam2.architecture import CHANNELS, Architecture
from ovseg_ros.segmentation.rs2sam2.fusion import CrossAttention
from ovseg_ros.segmentation.rs2sam2.image_encoder import SteeredBlocks
from ovseg_ros.segmentation.rs2sam2.union_encoder import UnionEncoder

NEEDS = "RS2-SAM2 needs transformers 5.10 or newer: pip install 'transformers>=5.10,<6'"
HEADS = 8


class MaskPromptGenerator(nn.Module):
    """A coarse mask out of the union encoder's patches and class token."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.vmtoken = CrossAttention(width, HEADS)
        self.mask_linear = nn.Linear(width, width)
        self.mask_product = nn.Linear(width, 1)

    def forward(self, summary: torch.Tensor, patches: torch.Tensor) -> torch.Tensor:
        """(B, 1, C) class token and (B, g * g, C) patches -> (B, 1, g, g) probabilities."""
        token = self.mask_linear(summary * self.vmtoken(summary, patches))
        side = round(patches.shape[1] ** 0.5)
        mask: torch.Tensor = self.mask_product(patches * token).sigmoid()
        return mask.view(-1, 1, side, side)


class Rs2Sam2Network(nn.Module):
    """All parts that take part when one image is asked one thing.

    Raises:
        OvsegError: if transformers is too old.
    """

    def __init__(self, sizes: Architecture) -> None:
        super().__init__()
        try:
            from transformers import Sam2Model
        except ImportError as error:
            raise OvsegError(NEEDS) from error
        self.sizes = sizes
        self.union_encoder = UnionEncoder(sizes)
        self.prompt = MaskPromptGenerator(sizes.width)
        self.sparse_prompt = nn.Sequential(
            nn.Linear(sizes.width, sizes.width), nn.ReLU(), nn.Linear(sizes.width, CHANNELS)
        )
        self.words = nn.Linear(sizes.width, CHANNELS)
        self.sam: Any = Sam2Model(sizes.sam_config())
        self.steering = SteeredBlocks([block.dim_out for block in self.sam.vision_encoder.backbone.blocks])
        self.decoder_fusion = CrossAttention(CHANNELS, HEADS)

    def forward(
        self, image: torch.Tensor, small: torch.Tensor, ids: torch.Tensor, read: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Find what the texts mean; each image has one text.

        Args:
            image: (B, 3, S, S) normalised, for SAM 2.
            small: (B, 3, s, s) the same image for the union encoder.
            ids: (B, W) int64 tokens. Texts of different lengths can't share a batch: SAM 2's half has no mask for
                padding.
            read: (B, W) bool, False for tokens that the union encoder doesn't attend to.

        Returns:
            (B, 1, S / 4, S / 4) mask logits, of which more than 0.5 is inside, and the (B, 1, g, g) probabilities that
            prompted them.
        """
        summary, patches, words = self.union_encoder(small, ids, read)
        words = self.words(words)
        prompt = self.prompt(summary, patches)
        stages = self.steering(self.sam.vision_encoder.backbone, image, words)
        coarse, middle, fine = self.sam.vision_encoder.neck(stages)[0][-3:]
        positions = self.sam.get_image_wide_positional_embeddings()
        logits = self.sam.mask_decoder(
            image_embeddings=self._fused(coarse, positions, words),
            image_positional_embeddings=positions.expand(len(image), -1, -1, -1),
            sparse_prompt_embeddings=self.sparse_prompt(summary)[:, None],
            dense_prompt_embeddings=self._dense_prompt(prompt),
            multimask_output=False,
            high_resolution_features=[self.sam.mask_decoder.conv_s0(fine), self.sam.mask_decoder.conv_s1(middle)],
        )[0]
        return logits[:, 0], prompt

    def _fused(self, features: torch.Tensor, positions: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
        """(B, 256, h, w) features and (1, 256, h, w) positions -> features times what they find in the words."""
        features = features + self.sam.no_memory_embedding.view(1, -1, 1, 1)
        cells = features.flatten(2).transpose(1, 2)
        seen = self.decoder_fusion(cells + positions.flatten(2).transpose(1, 2), words)
        return (cells * seen).transpose(1, 2).view_as(features)

    def _dense_prompt(self, prompt: torch.Tensor) -> torch.Tensor:
        """(B, 1, g, g) probabilities -> (B, 256, h, w); SAM 2 expects logits, the published code gives it these."""
        encoder = self.sam.prompt_encoder
        resized = functional.interpolate(
            prompt, encoder.mask_input_size, mode="bilinear", align_corners=False, antialias=True
        )
        embedded: torch.Tensor = encoder.mask_embed(resized)
        return embedded
