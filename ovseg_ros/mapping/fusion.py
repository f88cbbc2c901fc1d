"""The fusion operator: the sum of a feature image over voxels, without ever making that image.

Bilinear upsampling and summing over the pixels of a voxel are both linear in the feature grid ``F``, so

    sum per voxel = W @ F,    W: sparse (voxels, cells), F: (cells, channels),

where row v of ``W`` holds the bilinear taps of all pixels that fell into voxel v. ``W`` depends on
depth, camera and pose only; it can be built while the model still computes ``F``.

Neighbouring pixels mostly fall into the same voxel and between the same cells. So pixels are first
gathered into runs along image rows, and everything that sorts or adds works on runs.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ovseg_ros.geometry import KEY_BITS, KEY_LIMIT, pack_keys, unpack_keys
from ovseg_ros.mapping.config import MappingConfig
from ovseg_ros.mapping.sparse_rows import ProductRows, SparseMatrix
from ovseg_ros.types import Intrinsics

NO_VOXEL = -1
"""Key of pixels without a usable reading; packed keys are never negative."""

NEGLIGIBLE_WEIGHT = 1e-9
"""Taps below this (in pixels) are rounding residue of weights that are zero."""


@dataclass(frozen=True)
class PixelRuns:
    """Stretches of pixels of one image row that share voxel and feature grid interval.

    Attributes:
        rows: (R,) int64 row of `FusionOperator.keys` that each run belongs to.
        v: (R,) int64 image row.
        first: (R,) int64 first image column.
        end: (R,) int64 image column after the last.
    """

    rows: torch.Tensor
    v: torch.Tensor
    first: torch.Tensor
    end: torch.Tensor

    def sums(self, prefix: torch.Tensor) -> torch.Tensor:
        """Sums over the runs' columns of what ``prefix`` (W + 1,) holds the running sums of: (R,)."""
        return prefix[self.end] - prefix[self.first]


@dataclass(frozen=True)
class FusionOperator:
    """Where the pixels of one frame fall: everything about its fusion that the geometry decides.

    Attributes:
        keys: (V,) int64 distinct packed voxel keys, ascending.
        counts: (V,) float32 pixels per voxel.
        feature_keys: (M,) int64 distinct packed keys of the feature voxels, ascending: ``keys`` unless
            features are kept on a coarser level.
        feature_counts: (M,) float32 pixels per feature voxel.
        matrix: (M, h * w); every row sums to the feature voxel's count.
        runs: the pixels that take part.
    """

    keys: torch.Tensor
    counts: torch.Tensor
    feature_keys: torch.Tensor
    feature_counts: torch.Tensor
    matrix: SparseMatrix
    runs: PixelRuns

    def sum_features(self, features: torch.Tensor) -> ProductRows:
        """(C, h, w) float features -> (M, C) float32: sums over pixels of the bilinearly upsampled features."""
        return ProductRows(self.matrix, features.flatten(1).T.to(torch.float32).contiguous())

    def sum_colours(self, rgb: torch.Tensor) -> torch.Tensor:
        """(H, W, 3) uint8 colours -> (V, 3) float32 sums over pixels."""
        height, width, _ = rgb.shape
        running = torch.zeros(height, width + 1, 3, dtype=torch.int32, device=rgb.device)
        torch.cumsum(rgb, dim=1, dtype=torch.int32, out=running[:, 1:])
        running = running.view(-1, 3)
        start = self.runs.v * (width + 1)
        of_runs = (running[start + self.runs.end] - running[start + self.runs.first]).double()
        sums = [torch.bincount(self.runs.rows, of_runs[:, i], minlength=len(self.keys)) for i in range(3)]
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
    pixel_keys = _pixel_keys(depth, intrinsics, pose, config)
    left, _, _ = grid_intervals(depth.shape[1], grid[1], depth.device)
    keys, runs = _find_runs(pixel_keys, left)
    counts = torch.bincount(runs.rows, runs.end - runs.first, minlength=len(keys)).float()
    if config.feature_block == 1:
        matrix = _bilinear_weights(runs, runs.rows, len(keys), tuple(depth.shape), grid)
        return FusionOperator(keys, counts, keys, counts, matrix, runs)
    feature_keys, row_of_voxel = torch.unique(coarse_keys(keys, config.feature_block), return_inverse=True)
    feature_counts = torch.bincount(row_of_voxel, counts, minlength=len(feature_keys))
    matrix = _bilinear_weights(runs, row_of_voxel[runs.rows], len(feature_keys), tuple(depth.shape), grid)
    return FusionOperator(keys, counts, feature_keys, feature_counts, matrix, runs)


def coarse_keys(keys: torch.Tensor, block: int) -> torch.Tensor:
    """(n,) packed voxel keys -> (n,) packed keys of the blocks of ``block`` voxels along each axis they lie in."""
    return pack_keys(torch.div(unpack_keys(keys), block, rounding_mode="floor"))


def _pixel_keys(depth: torch.Tensor, intrinsics: Intrinsics, pose: torch.Tensor, config: MappingConfig) -> torch.Tensor:
    """(H, W) int64 packed key of the voxel that each pixel falls into, NO_VOXEL where its reading can't be used."""
    usable = torch.isfinite(depth) & (depth > 0) & (depth >= config.min_depth) & (depth <= config.max_depth)
    # In float64, because 1 km from the origin float32 coordinates are 0.06 mm apart and would round to other voxels.
    reach = torch.where(usable, depth, 0.0).double()
    height, width = depth.shape
    u = (torch.arange(width, device=depth.device, dtype=torch.float64) - intrinsics.cx) / intrinsics.fx
    v = (torch.arange(height, device=depth.device, dtype=torch.float64) - intrinsics.cy) / intrinsics.fy
    # One axis at a time and in place: a frame's worth of triples would be read and written from memory many times.
    axes = []
    for along_u, along_v, along_z, origin in pose[:3].double().tolist():
        axis = (along_u * u)[None, :] + (along_v * v + along_z)[:, None]
        axes.append(axis.mul_(reach).add_(origin).div_(config.voxel_size).round_())
    for axis, (first, last) in zip(axes, config.region_voxels, strict=True):
        low, high = torch.aminmax(axis)
        if low < first or high > last:
            usable &= (axis >= first) & (axis <= last)
    # pack_keys, in place: x and y together are exact in float64.
    x, y, z = axes
    keys = x.add_(KEY_LIMIT).mul_(1 << KEY_BITS).add_(y.add_(KEY_LIMIT)).long()
    keys.mul_(1 << KEY_BITS).add_(z.add_(KEY_LIMIT).long())
    return keys.masked_fill_(~usable, NO_VOXEL)


def _find_runs(pixel_keys: torch.Tensor, left: torch.Tensor) -> tuple[torch.Tensor, PixelRuns]:
    """(H, W) voxel keys and the (W,) cell left of each column -> (V,) distinct keys, and the runs of their pixels."""
    height, width = pixel_keys.shape
    begins = torch.ones(height, width, dtype=torch.bool, device=pixel_keys.device)
    torch.ne(pixel_keys[:, 1:], pixel_keys[:, :-1], out=begins[:, 1:])
    begins[:, 1:] |= left[1:] != left[:-1]
    start = begins.flatten().nonzero().squeeze(1)
    v = torch.div(start, width, rounding_mode="floor")
    first = start - v * width
    # The next run begins in the same row or at the beginning of the next.
    length = torch.diff(start, append=start.new_full((1,), height * width))
    run_keys = pixel_keys.flatten()[start]
    used = (run_keys != NO_VOXEL).nonzero().squeeze(1)
    keys, rows = torch.unique(run_keys[used], return_inverse=True)
    first = first[used]
    return keys, PixelRuns(rows, v[used], first, first + length[used])


def _bilinear_weights(
    runs: PixelRuns, rows: torch.Tensor, voxels: int, image: tuple[int, ...], grid: tuple[int, int]
) -> SparseMatrix:
    """Runs of pixels and the (R,) feature voxel of each -> (voxels, cells) matrix of summed bilinear taps.

    All pixels of one grid interval use the same four cells, with weights that are linear in
    (1, fx, fy, fx * fy). So runs are first summed per (voxel, interval) pair, of which there are
    far fewer, and only the pairs are expanded to taps.
    """
    height, width = image
    grid_height, grid_width = grid
    cells = grid_height * grid_width
    top, next_row, fraction_y = grid_intervals(height, grid_height, rows.device)
    left, next_column, fraction_x = grid_intervals(width, grid_width, rows.device)

    pairs, pair_of_run = torch.unique(rows * cells + top[runs.v] * grid_width + left[runs.first], return_inverse=True)
    length = (runs.end - runs.first).double()
    run_x = runs.sums(torch.nn.functional.pad(fraction_x.cumsum(0), (1, 0)))
    fy = fraction_y[runs.v]
    count, sum_x, sum_y, sum_xy = (
        torch.bincount(pair_of_run, values, minlength=len(pairs)) for values in (length, run_x, fy * length, fy * run_x)
    )

    row, interval = pairs // cells, pairs % cells
    y0, x0 = interval // grid_width, interval % grid_width
    y1, x1 = next_row[y0], next_column[x0]
    tap_cells = torch.stack((y0 * grid_width + x0, y0 * grid_width + x1, y1 * grid_width + x0, y1 * grid_width + x1))
    tap_weights = torch.stack((count - sum_x - sum_y + sum_xy, sum_x - sum_xy, sum_y - sum_xy, sum_xy))
    entries = row * cells + tap_cells

    matters = tap_weights > NEGLIGIBLE_WEIGHT
    entries, entry_of_tap = torch.unique(entries[matters], return_inverse=True)
    values = torch.bincount(entry_of_tap, tap_weights[matters], minlength=len(entries))
    row_starts = torch.searchsorted(entries, cells * torch.arange(voxels + 1, device=rows.device))
    return SparseMatrix(row_starts, entries % cells, values.float())


def grid_intervals(size: int, cells: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
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
