"""The 3D memory: a sparse voxel map of mean features and colours."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from ovseg_ros.errors import OvsegError
from ovseg_ros.geometry import unpack_keys, voxel_centres
from ovseg_ros.mapping.columns import VoxelColumns
from ovseg_ros.mapping.config import MappingConfig
from ovseg_ros.mapping.fusion import FusionOperator, build_fusion_operator
from ovseg_ros.mapping.voxel_hash import VoxelHash
from ovseg_ros.types import InvalidFrameError, RgbdFrame, Segmentation
from ovseg_ros.vocabulary import Vocabulary


class SemanticMap:
    """Voxels that hold the mean feature and colour of every pixel that ever fell into them.

    The work of `integrate` depends on the frame, not on the size of the map. Properties that are
    tensors are views of the map's own memory: read them, don't write them, and don't keep them
    across an `integrate`.

    Example:
        >>> semantic_map = SemanticMap(MappingConfig(voxel_size=0.1), space="my-model/1")
        >>> semantic_map.voxel_count, semantic_map.revision
        (0, 0)
    """

    def __init__(
        self,
        config: MappingConfig | None = None,
        *,
        space: str | None = None,
        vocabulary: Vocabulary | None = None,
        device: torch.device | str = "cpu",
        frame_id: str = "map",
    ) -> None:
        """Make an empty map.

        Args:
            config: voxel size, depth range and feature precision.
            space: id of the feature space; None takes that of the first frame.
            vocabulary: concepts that answers are calibrated against.
            device: where the map lives; frames and features are brought there.
            frame_id: name of the world frame, z up.
        """
        self.config = config or MappingConfig()
        self.vocabulary = vocabulary or Vocabulary(())
        self.frame_id = frame_id
        self.device = torch.device(device)
        self._space = space
        self._revision = 0
        self._columns = self._empty_columns(0)
        self._hash = VoxelHash(self.device)

    @classmethod
    def from_columns(
        cls,
        columns: Mapping[str, torch.Tensor],
        *,
        config: MappingConfig,
        space: str | None,
        vocabulary: Vocabulary,
        revision: int,
        device: torch.device | str = "cpu",
        frame_id: str = "map",
    ) -> SemanticMap:
        """Rebuild a map from what `columns` returned; the tensors are copied, keys must be distinct."""
        restored = cls(config, space=space, vocabulary=vocabulary, device=device, frame_id=frame_id)
        count = len(columns["keys"])
        slots = torch.arange(count, device=restored.device)
        restored._columns = restored._empty_columns(columns["features"].shape[1])
        restored._columns.reserve(count)
        restored._columns.write(slots, {name: column.to(restored.device) for name, column in columns.items()})
        restored._columns.count = count
        restored._hash.insert(restored.keys, slots)
        restored._revision = revision
        return restored

    def integrate(self, frame: RgbdFrame, segmentation: Segmentation) -> None:
        """Fuse one frame: the mean over all pixels so far, per voxel, of features and colour.

        Args:
            frame: depth, colour, camera and pose.
            segmentation: (C, h, w) features whose grid covers the frame's image.

        Raises:
            InvalidFrameError: "no_depth" (no reading within the configured range) or "features"
                (not finite, or not C channels). The map is as it was.
            OvsegError: the features are of another space than the map's. The map is as it was.
        """
        features = self._checked_features(segmentation)
        channels, *grid = features.shape
        operator = build_fusion_operator(
            frame.depth.to(self.device), frame.intrinsics, frame.pose.to(self.device), (grid[0], grid[1]), self.config
        )
        if not len(operator.keys):
            raise InvalidFrameError(
                "no_depth",
                f"the frame has no depth reading between {self.config.min_depth} and {self.config.max_depth} m: "
                "check the depth topic, its unit and mapping.max_depth",
            )
        feature_sums = operator.sum_features(features)
        colour_sums = operator.sum_colours(frame.rgb.to(self.device))

        columns = self._columns if self._columns.count else self._empty_columns(channels)
        found = self._hash.lookup(operator.keys)
        known = found >= 0
        slots = torch.where(known, found, columns.count + torch.cumsum(~known, dim=0) - 1)
        new = len(slots) - int(known.sum())
        columns.reserve(columns.count + new)
        rows = _merged_rows(columns, slots, known, operator, feature_sums, colour_sums, frame.stamp_ns)

        # Everything that can fail has been done: from here on the map changes.
        self._hash.insert(operator.keys[~known], slots[~known])
        columns.write(slots, rows)
        columns.count += new
        self._columns = columns
        self._space = segmentation.space
        self._revision += 1

    def clear(self) -> None:
        """Forget all voxels. The revision grows, so that nothing computed before is taken for current."""
        self._columns = self._empty_columns(0)
        self._hash = VoxelHash(self.device)
        self._revision += 1

    @property
    def space(self) -> str | None:
        """Id of the feature space; None until one is given or a frame brings it."""
        return self._space

    @property
    def revision(self) -> int:
        """Grows by one with each integrated frame; kept by save and load."""
        return self._revision

    @property
    def voxel_count(self) -> int:
        """Voxels in the map, N below."""
        return self._columns.count

    @property
    def keys(self) -> torch.Tensor:
        """(N,) int64 packed voxel indices, in the order in which voxels were first seen."""
        return self._columns["keys"]

    @property
    def centres(self) -> torch.Tensor:
        """(N, 3) float64 voxel centres in the map frame, metres."""
        return voxel_centres(unpack_keys(self.keys), self.config.voxel_size)

    @property
    def weights(self) -> torch.Tensor:
        """(N,) float32 pixels that each voxel's means are taken over."""
        return self._columns["weights"]

    @property
    def colours(self) -> torch.Tensor:
        """(N, 3) uint8 mean red, green, blue."""
        return self._columns["colours"].round().to(torch.uint8)

    @property
    def features(self) -> torch.Tensor:
        """(N, C) mean features in the configured precision."""
        return self._columns["features"]

    @property
    def last_seen(self) -> torch.Tensor:
        """(N,) int64 newest stamp of a frame that saw the voxel, nanoseconds."""
        return self._columns["last_seen"]

    @property
    def columns(self) -> dict[str, torch.Tensor]:
        """All that is stored per voxel, by name, as views; the inverse of `from_columns`."""
        return self._columns.views()

    def _empty_columns(self, channels: int) -> VoxelColumns:
        return VoxelColumns(channels, self.config.torch_feature_dtype, self.device)

    def _checked_features(self, segmentation: Segmentation) -> torch.Tensor:
        """(C, h, w) float32 features on the map's device, fit to be fused."""
        if self._space is not None and segmentation.space != self._space:
            raise OvsegError(
                f"features of {segmentation.space!r} can't be fused into a map of {self._space!r}: "
                "use the backend and weights that the map was built with, or clear the map"
            )
        features = segmentation.features
        channels = self.features.shape[1] if self.voxel_count else None
        if features.dim() != 3 or 0 in features.shape or channels not in (None, len(features)):
            raise InvalidFrameError(
                "features",
                f"features must be ({channels or 'C'}, h, w), got {tuple(features.shape)}: check the backend's output",
            )
        features = features.to(self.device, torch.float32)
        limit = torch.finfo(self.config.torch_feature_dtype).max
        if not (features.abs() <= limit).all():
            raise InvalidFrameError(
                "features",
                f"features are not finite or exceed {limit:g}, the limit of {self.config.feature_dtype}: "
                "check the model's weights and precision",
            )
        return features


def _merged_rows(
    columns: VoxelColumns,
    slots: torch.Tensor,
    known: torch.Tensor,
    operator: FusionOperator,
    feature_sums: torch.Tensor,
    colour_sums: torch.Tensor,
    stamp_ns: int,
) -> dict[str, torch.Tensor]:
    """The frame's voxels after fusion: weights added, means taken over all pixels, newest stamp."""
    before = torch.where(known, columns.read("weights", slots), 0.0)
    after = before + operator.counts
    stamps = torch.full_like(slots, stamp_ns)
    return {
        "keys": operator.keys,
        "weights": after,
        "colours": _merged_mean(columns.read("colours", slots), before, colour_sums, after),
        "features": _merged_mean(columns.read("features", slots), before, feature_sums, after),
        "last_seen": torch.where(known, torch.maximum(columns.read("last_seen", slots), stamps), stamps),
    }


def _merged_mean(mean: torch.Tensor, before: torch.Tensor, sums: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """(n, C) means over ``before`` pixels and (n, C) sums of new ones -> (n, C) float32 means over ``after``."""
    return torch.addcmul(sums, mean.float(), before[:, None]).div_(after[:, None])
