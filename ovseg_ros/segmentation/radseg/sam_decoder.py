"""The parts of SAM behind its image encoder: neck, prompt encoder and mask decoder, as transformers implements them.

The encoder's blocks, 99 % of the weights, are neither built nor read: RADIO's `sam` head stands in for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from ovseg_ros.errors import OvsegError
from ovseg_ros.segmentation.model_folder import model_folder, read_tensors, shortened
from ovseg_ros.segmentation.radseg.config import DEFAULT_SAM

REGIONS_AT_ONCE = 16

PARTS = {
    "vision_encoder.neck.": "neck.",
    "prompt_encoder.": "prompt_encoder.",
    "mask_decoder.": "mask_decoder.",
    # One matrix, which files hold under one or both of its names.
    "shared_image_embedding.": "prompt_encoder.shared_embedding.",
}


class SamDecoder(nn.Module):
    """Encoder features and prompts to masks, float32: SAM's huge model overflows in half precision."""

    def __init__(self, config: Any) -> None:
        """Build the parts for a transformers ``SamConfig``, with random weights."""
        from transformers.models.sam.modeling_sam import SamMaskDecoder, SamPromptEncoder, SamVisionNeck

        super().__init__()
        config.mask_decoder_config._attn_implementation = "sdpa"
        # As in SAM's own code; the library's configurations say 1e-6.
        config.mask_decoder_config.layer_norm_eps = 1e-5
        self.channels: int = config.vision_config.hidden_size
        self.grid: int = config.prompt_encoder_config.image_embedding_size
        self.image_size: int = config.prompt_encoder_config.image_size
        self.neck = SamVisionNeck(config.vision_config)
        self.prompt_encoder = SamPromptEncoder(config)
        self.mask_decoder = SamMaskDecoder(config.mask_decoder_config)

    @classmethod
    def load(cls, model: str = DEFAULT_SAM, *, device: str = "cpu") -> SamDecoder:
        """Read a SAM of transformers' layout.

        Args:
            model: local folder or Hugging Face id.
            device: where it runs.

        Raises:
            OvsegError: if files are missing (with the command that fetches them), damaged, or of another model.
        """
        try:
            from transformers import SamConfig
        except ImportError as error:
            raise OvsegError("SAM needs transformers: install it with pip install 'transformers>=5.10,<6'") from error
        folder = model_folder(model, ("config.json",))
        tensors = read_tensors(folder, PARTS)
        try:
            decoder = cls(SamConfig.from_pretrained(folder))
            decoder.load_state_dict(tensors)
        except (OSError, RuntimeError, ValueError) as error:
            raise OvsegError(
                f"{folder} holds no whole SAM ({shortened(error)}): give the folder or id of one"
            ) from error
        return decoder.float().eval().requires_grad_(False).to(device)

    def embed(self, features: torch.Tensor) -> torch.Tensor:
        """(C, h, w) features in place of the encoder's -> (1, D, 64, 64), zero-padded before the neck.

        Raises:
            OvsegError: if they aren't what this SAM takes.
        """
        channels, rows, columns = features.shape
        if channels != self.channels or max(rows, columns) > self.grid:
            raise OvsegError(
                f"SAM takes {self.channels} channels on at most {self.grid}x{self.grid} patches, got {channels} on "
                f"{rows}x{columns}: use facebook/sam-vit-huge with a RADIO checkpoint that has a sam head"
            )
        padded = nn.functional.pad(features.float(), (0, self.grid - columns, 0, self.grid - rows))
        embedding: torch.Tensor = self.neck(padded.permute(1, 2, 0)[None])
        return embedding

    def forward(
        self, embedding: torch.Tensor, boxes: torch.Tensor, points: torch.Tensor, mask_prompt: torch.Tensor
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Draw R regions that share a mask prompt, some at a time.

        Args:
            embedding: (1, D, 64, 64) as from `embed`.
            boxes: (R, 4) left, top, right, bottom in pixels of the 1024 x 1024 frame.
            points: (R, 2) column, row of a pixel inside.
            mask_prompt: (256, 256) logits.

        Yields:
            (r, 256, 256) mask logits and (r,) predicted IoU of the next r regions.
        """
        positions = self._positions(embedding)
        dense = self._embed_mask(mask_prompt)
        for corners, inside in zip(
            torch.split(boxes, REGIONS_AT_ONCE), torch.split(points, REGIONS_AT_ONCE), strict=True
        ):
            foreground = torch.ones(len(inside), 1, 1, device=inside.device)
            sparse, _ = self.prompt_encoder(inside[:, None, None], foreground, corners[:, None], None)
            masks, iou = self.mask_decoder(
                image_embeddings=embedding,
                image_positional_embeddings=positions,
                # The library's batch is of images, each with R prompts.
                sparse_prompt_embeddings=sparse.transpose(0, 1),
                dense_prompt_embeddings=dense,
                multimask_output=False,
            )
            yield masks[0, :, 0], iou[0, :, 0]

    def _embed_mask(self, prompt: torch.Tensor) -> torch.Tensor:
        """(256, 256) logits -> (1, D, 64, 64), normalised along the mask's columns.

        SAM itself normalises over channels. Trident and RADSeg+ give it the mask without a batch axis, which shifts
        the norms by one axis; what they publish was measured so.
        """
        layers = self.prompt_encoder.mask_embed
        x = prompt[None]
        for convolution, norm in ((layers.conv1, layers.layer_norm1), (layers.conv2, layers.layer_norm2)):
            x = convolution(x)
            x = nn.functional.layer_norm(x.mT, x.shape[1:2], eps=norm.eps).mT
            x = layers.activation(norm.weight[:, None, None] * x + norm.bias[:, None, None])
        embedded: torch.Tensor = layers.conv3(x)[None]
        return embedded

    def _positions(self, embedding: torch.Tensor) -> torch.Tensor:
        """(1, D, 64, 64) encodings of the patches' centres."""
        centres = (torch.arange(self.grid, device=embedding.device, dtype=embedding.dtype) + 0.5) / self.grid
        rows, columns = torch.meshgrid(centres, centres, indexing="ij")
        encoded: torch.Tensor = self.prompt_encoder.shared_embedding(torch.stack((columns, rows), dim=-1))
        return encoded.permute(2, 0, 1)[None]
