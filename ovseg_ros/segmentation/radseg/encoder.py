"""RADSeg's image side (RADSeg, 2511.19704): windows through RADIO, merged, and aggregated over the image."""

from __future__ import annotations

import math

import torch

from ovseg_ros.segmentation.radseg.aggregation import aggregate_globally
from ovseg_ros.segmentation.radseg.backbone import Backbone
from ovseg_ros.segmentation.radseg.windows import Windows

TOKENS_AT_ONCE = {"cpu": 2048, "cuda": 65536}
"""How many patches go through the backbone together. More needs memory; fewer, and threads wait for each other more."""


class RadsegEncoder:
    """Images to dense features in the backbone's space.

    Args:
        backbone: on its device; it is prepared for inference here and of no use for anything else afterwards.
        windows: how images are cut.
        dtype: in which the backbone's blocks multiply; all else is float32.
        compile: have torch compile the blocks, on a GPU into CUDA graphs; the first image of each size takes minutes.
    """

    def __init__(self, backbone: Backbone, windows: Windows, dtype: torch.dtype, *, compile: bool = False) -> None:
        self._device = backbone.prefix.device
        self._windows = windows
        self._backbone = backbone
        backbone.prepare(dtype, compile=compile)

    @property
    def patch(self) -> int:
        """Pixels on a side of a feature cell."""
        return self._backbone.config.patch

    @torch.inference_mode()
    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Encode images of one size, each as if it were alone.

        Args:
            images: (B, 3, H, W) float32 in 0..1 on the backbone's device, at least a patch on each side.

        Returns:
            (B, C, h, w) float32; the grid spans the image, one cell per patch of the resized image.
        """
        images = self._windows.resize(images)
        cuts = self._windows.cut(images)
        patches = len(cuts) * cuts.shape[-2] * cuts.shape[-1] // self.patch**2
        groups = torch.chunk(cuts, math.ceil(patches / TOKENS_AT_ONCE[self._device.type]))
        # A compiled backbone may write its next result over the last.
        features = torch.cat([self._backbone(part).clone() for part in groups])
        return aggregate_globally(self._windows.merge(features, *images.shape[-2:]))

    @torch.inference_mode()
    def whole(self, images: torch.Tensor) -> torch.Tensor:
        """Encode images without windows or aggregation.

        Args:
            images: (B, 3, H, W) float32 in 0..1 on the backbone's device, whole patches on each side.

        Returns:
            (B, H / patch, W / patch, C) float32.
        """
        return self._backbone(images).clone()
