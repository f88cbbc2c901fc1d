"""The fusion operator: the sum of a feature image over voxels, without ever making that image.

Bilinear upsampling and summing over the pixels of a voxel are both linear in the feature grid ``F``, so

    sum per voxel = W @ F,    W: sparse (voxels, cells), F: (cells, channels),

where row v of ``W`` holds the bilinear taps of all pixels that fell into voxel v. ``W`` depends on
depth, camera and pose only; it can be built while the model still computes ``F``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ovseg_ros.geometry import in_key_range, pack_keys, transform_points, unproject, voxel_indices
from ovseg_ros.mapping.config import MappingConfig
from ovseg_ros.types import Intrinsics

NEGLIGIBLE_WEIGHT = 1e-9
"""Taps below this (in pixels) are rounding residue of weights that are zero."""


@dataclass(frozen=True)
class FusionOperator:
    """Where the pixels of one frame fall: everything about its fusion that the geometry decides.

    Attributes:
        keys: (V,) int64 distinct packed voxel keys, ascending.
        counts: (V,) float32 pixels per voxel.
        matrix: (V, h * w) float32 sparse, coalesced; every row sums to the voxel's count.
        pixels: (P,) int64 row-major indices of the pixels with a usable reading.
        rows: (P,) int64 row of `keys` that each of them belongs to.
    """

    keys: torch.Tensor
    counts: torch.Tensor
    matrix: torch.Tensor
    pixels: torch.Tensor
    rows: torch.Tensor

    def sum_features(self, features: torch.Tensor) -> torch.Tensor:
        """(C, h, w) float features -> (V, C) float32: sums over pixels of the bilinearly upsampled features."""
        cells = features.flatten(1).T.to(torch.float32).contiguous()
        return self.matrix @ cells

    def sum_colours(self, rgb: torch.Tensor) -> torch.Tensor:
        """(H, W, 3) uint8 colours -> (V, 3) float32 sums over pixels."""
        colours = rgb.reshape(-1, 3)[self.pixels].double()
        sums = [torch.bincount(self.rows, colours[:, i], minlength=len(self.keys)) for i in range(3)]
        return torch.stack(sums, dim=-1).float()


def build_fusion_operator(
    depth: torch.Tensor,
    intrinsics: Intrinsics,
    pose: torch.Tensor,
    grid: tuple[int, int],
    config: MappingConfig,
) -> FusionOperator:
    """Build the operator of one frame.

    Args:
        depth: (H, W) metres along the optical axis; readings that are not finite, not positive or
            outside the configured range take no part.
        intrinsics: of the depth image.
        pose: (4, 4) float64 camera -> world, optical axes.
        grid: (h, w) of the feature grid that covers the image.
        config: voxel size and depth range.

    Returns:
        The operator, on the device of ``depth``; it has no voxels where the frame has no usable depth.
    """
    usable = torch.isfinite(depth) & (depth > 0) & (depth >= config.min_depth) & (depth <= config.max_depth)
    pixels = usable.flatten().nonzero().squeeze(1)
    # In float64, because 1 km from the origin float32 coordinates are 0.06 mm apart and would round to other voxels.
    points = unproject(depth.double(), intrinsics).reshape(-1, 3)[pixels]
    indices = voxel_indices(transform_points(pose, points), config.voxel_size)
    in_range = in_key_range(indices)
    pixels, indices = pixels[in_range], indices[in_range]

    keys, rows, counts = torch.unique(pack_keys(indices), return_inverse=True, return_counts=True)
    matrix = _bilinear_weights(pixels, rows, len(keys), tuple(depth.shape), grid)
    return FusionOperator(keys, counts.float(), matrix, pixels, rows)


def _bilinear_weights(
    pixels: torch.Tensor, rows: torch.Tensor, voxels: int, image: tuple[int, ...], grid: tuple[int, int]
) -> torch.Tensor:
    """(P,) pixels and their voxel rows -> (voxels, cells) sparse matrix of summed bilinear taps.

    All pixels of one grid interval use the same four cells, with weights that are linear in
    (1, fx, fy, fx * fy). So pixels are first summed per (voxel, interval) pair, of which there are
    far fewer, and only the pairs are expanded to taps.
    """
    height, width = image
    grid_height, grid_width = grid
    cells = grid_height * grid_width
    top, next_row, fraction_y = _grid_intervals(height, grid_height, pixels.device)
    left, next_column, fraction_x = _grid_intervals(width, grid_width, pixels.device)

    v, u = pixels // width, pixels % width
    pairs, pair_of_pixel = torch.unique(rows * cells + top[v] * grid_width + left[u], return_inverse=True)
    fx, fy = fraction_x[u], fraction_y[v]
    count = torch.bincount(pair_of_pixel, minlength=len(pairs)).double()
    sum_x, sum_y, sum_xy = (torch.bincount(pair_of_pixel, values, minlength=len(pairs)) for values in (fx, fy, fx * fy))

    row, interval = pairs // cells, pairs % cells
    y0, x0 = interval // grid_width, interval % grid_width
    y1, x1 = next_row[y0], next_column[x0]
    tap_cells = torch.stack((y0 * grid_width + x0, y0 * grid_width + x1, y1 * grid_width + x0, y1 * grid_width + x1))
    tap_weights = torch.stack((count - sum_x - sum_y + sum_xy, sum_x - sum_xy, sum_y - sum_xy, sum_xy))
    entries = row * cells + tap_cells

    matters = tap_weights > NEGLIGIBLE_WEIGHT
    entries, entry_of_tap = torch.unique(entries[matters], return_inverse=True)
    values = torch.bincount(entry_of_tap, tap_weights[matters], minlength=len(entries))
    # torch.unique has sorted the entries and made them distinct: the matrix is coalesced as it is.
    return torch.sparse_coo_tensor(
        torch.stack((entries // cells, entries % cells)),
        values.float(),
        size=(voxels, cells),
        is_coalesced=True,
        check_invariants=False,
    )


def _grid_intervals(size: int, cells: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Where the pixels of one image axis lie between the cell centres of the grid (align_corners=False).

    Returns:
        For each pixel the (size,) int64 cell before it and its (size,) float64 fraction of the way to
        the next; and for each cell the (cells,) int64 next one. Pixels beyond the outermost centres
        are clamped to them.
    """
    position = (torch.arange(size, dtype=torch.float64, device=device) + 0.5) * (cells / size) - 0.5
    position = position.clamp(0.0, cells - 1.0)
    first = position.floor().long().clamp(max=max(cells - 2, 0))
    following = (torch.arange(cells, device=device) + 1).clamp(max=cells - 1)
    return first, following, position - first
