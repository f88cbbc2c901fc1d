"""The space that a search goes through: the cells of a scene that its frames, at full depth range, tell anything of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ovseg_ros.errors import OvsegError
from ovseg_ros.evaluation.truth import GroundTruth
from ovseg_ros.geometry import pack_keys, unpack_keys, voxel_centres, voxel_indices
from ovseg_ros.mapping.occupancy import UNOBSERVED, OccupancyGrid

EMPTY, UNLABELLED = 0, -1
"""Instead of a label id: no surface is there; a surface is there that is of no class, or of one that is ignored."""


@dataclass(frozen=True)
class SceneVolume:
    """V cells of a scene, and what is truly there.

    Attributes:
        keys: (V,) int64 packed indices, ascending.
        labels: (V,) int64 label ids, id i + 1 the i-th class; else EMPTY or UNLABELLED.
        class_count: K classes.
        voxel_size: metres.
    """

    keys: torch.Tensor
    labels: torch.Tensor
    class_count: int
    voxel_size: float

    @classmethod
    def of(cls, truth: GroundTruth, ignored: tuple[str, ...], explored: OccupancyGrid) -> SceneVolume:
        """The cells that ``explored`` knows, occupied or free, within the box around the truth.

        A cell is of the class that most of its points have; ignored classes have no say where there are others.

        Args:
            truth: labelled points of the surface.
            ignored: classes that become unlabelled.
            explored: what all frames at full range say; it has the size of the cells.

        Raises:
            OvsegError: there is no truth, or no cell of it was seen.
        """
        size, device = explored.voxel_size, explored.device
        surface = truth.without(ignored).voxelised(size, unlabelled_votes=False)
        cells = voxel_indices(torch.from_numpy(surface.points), size).to(device)
        if not len(cells):
            raise OvsegError("there is no ground truth where the frames look: check dataset.truth and poses")
        low, high = cells.amin(dim=0), cells.amax(dim=0)
        known = (explored.window(low, high - low + 1) != UNOBSERVED).nonzero() + low
        keys = pack_keys(known)
        volume = cls(keys, torch.full_like(keys, EMPTY), len(truth.class_names), size)
        rows = volume.rows_of(pack_keys(cells))
        labels = torch.from_numpy(surface.labels).long().to(device)
        labels = torch.where(labels == 0, UNLABELLED, labels)
        volume.labels[rows[rows >= 0]] = labels[rows >= 0]
        if not (volume.labels > 0).any():
            raise OvsegError("no labelled surface lies in cells that the frames see: check dataset.truth and poses")
        return volume

    @property
    def centres(self) -> torch.Tensor:
        """(V, 3) float64 metres."""
        return voxel_centres(unpack_keys(self.keys), self.voxel_size)

    @property
    def present(self) -> NDArray[np.bool_]:
        """(K,) which classes have a cell."""
        found: NDArray[np.bool_] = (
            torch.bincount(self.labels.clamp(min=0), minlength=self.class_count + 1).cpu().numpy()[1:] > 0
        )
        return found

    def rows_of(self, keys: torch.Tensor) -> torch.Tensor:
        """(n,) packed keys -> (n,) int64 rows of cells, -1 for those outside."""
        rows = torch.searchsorted(self.keys, keys).clamp(max=max(0, len(self.keys) - 1))
        return torch.where(self.keys[rows] == keys, rows, -1) if len(self.keys) else torch.full_like(keys, -1)

    def observed(self, occupancy: OccupancyGrid) -> torch.Tensor:
        """(V,) bool: of which cells a map's occupancy knows anything."""
        return occupancy.log_odds(self.keys) != UNOBSERVED

    def answers(self, keys: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """(n,) packed keys of a map's voxels and (n,) their label ids -> (V,) int64 label ids of cells, 0 for none."""
        rows = self.rows_of(keys)
        result = torch.zeros_like(self.labels)
        result[rows[rows >= 0]] = labels[rows >= 0].long()
        return result
