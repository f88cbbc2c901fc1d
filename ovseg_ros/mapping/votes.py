"""In how many views each voxel was inside a mask: masks of one thing, from image to map."""

from __future__ import annotations

import torch

from ovseg_ros.mapping.columns import Column
from ovseg_ros.mapping.config import MappingConfig
from ovseg_ros.mapping.fusion import build_fusion_operator
from ovseg_ros.mapping.sightings import find_sightings
from ovseg_ros.mapping.voxel_table import VoxelTable
from ovseg_ros.types import InstanceMask, InvalidFrameError, RgbdFrame


class VoxelVotes:
    """Counts views, one vote a view however many pixels a voxel has in it.

    A view that sees only a mask's border in a voxel gives it no vote: masks and depth never agree to the pixel.

    Args:
        config: voxel size, depth range and region.
        device: where the counts live.
    """

    def __init__(self, config: MappingConfig, device: str | torch.device = "cpu") -> None:
        self.config = config
        columns = {"views": Column(torch.int32), "inside": Column(torch.int32)}
        self._table = VoxelTable(columns, torch.device(device))

    def __len__(self) -> int:
        return len(self._table)

    @property
    def keys(self) -> torch.Tensor:
        """(V,) int64 packed keys of the voxels that were judged."""
        return self._table.column("keys")

    @property
    def views(self) -> torch.Tensor:
        """(V,) int32: views that judged each."""
        return self._table.column("views")

    @property
    def inside(self) -> torch.Tensor:
        """(V,) int32: of these, views in which at least half of its pixels were in the mask."""
        return self._table.column("inside")

    def add(self, frame: RgbdFrame, mask: torch.Tensor) -> None:
        """Count a view.

        Args:
            frame: with depth and pose.
            mask: (H, W) bool of its image; an empty one votes against all that is seen.

        Raises:
            InvalidFrameError: "no_depth", no reading within the configured range and region; "instances", a mask of
                another size.
        """
        depth = frame.depth.to(self._table.device)
        operator = build_fusion_operator(depth, frame.intrinsics, frame.pose, (1, 1), self.config)
        if not len(operator.keys):
            raise InvalidFrameError(
                "no_depth",
                f"no depth reading lies within {self.config.min_depth} to {self.config.max_depth} m and the region: "
                "check the depth image's unit and max_depth",
            )
        instance = InstanceMask(mask, score=1.0, label="")
        seen = find_sightings([instance], (frame.intrinsics.height, frame.intrinsics.width), operator, depth)
        certain = seen.pixels - seen.edge[0]
        judged = certain > 0
        places = self._table.find_or_reserve(operator.keys[judged])
        votes = {"views": torch.ones_like(judged[judged]), "inside": (2 * seen.inside[0] >= certain)[judged]}
        self._table.write(
            places,
            {
                name: vote + torch.where(places.known, self._table.read_places(name, places), 0)
                for name, vote in votes.items()
            },
        )
