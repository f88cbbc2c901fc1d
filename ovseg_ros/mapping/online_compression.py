"""When a map's features are compressed: after the first frames have shown what they are like."""

from __future__ import annotations

import torch

from ovseg_ros.mapping.compression import FeatureCodec, PcaFit
from ovseg_ros.mapping.tables import MapTables

FIT_FRAMES = 10
"""Fewer show too little: after 3 frames of a room the largest error on later ones is several times that after 10."""


class OnlineCompression:
    """Collects features until a codec can be fitted, then encodes the map once and every later frame."""

    def __init__(self, components: int, codec: FeatureCodec | None = None) -> None:
        """Start without features.

        Args:
            components: numbers per code; 0 never compresses.
            codec: of a map that is compressed already.
        """
        self.codec = codec
        self._components = components
        self._fit: PcaFit | None = None
        self._frames = 0

    @property
    def is_learning(self) -> bool:
        """Whether features will be compressed, but aren't yet."""
        return bool(self._components) and self.codec is None

    def encode(self, features: torch.Tensor) -> torch.Tensor:
        """(C, h, w) features of a frame -> (K, h, w) codes, or the features where there is no codec."""
        return self.codec.encode(features) if self.codec else features

    def learn(self, features: torch.Tensor, tables: MapTables) -> MapTables:
        """Take (C, h, w) features of a frame in; returns the tables, compressed ones as soon as there is a codec.

        Means of codes are codes of means, so compressing now equals having compressed from the start.
        """
        if not self.is_learning:
            return tables
        if self._fit is None:
            self._fit = PcaFit(len(features), features.device)
        self._fit.update(features)
        self._frames += 1
        if self._frames < FIT_FRAMES or self._fit.samples < self._components:
            return tables
        codec = self._fit.codec(self._components)
        compressed = tables.encoded(codec)
        self.codec, self._fit = codec, None
        return compressed
