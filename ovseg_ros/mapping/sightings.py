"""One frame's instance masks, brought to voxels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from ovseg_ros.mapping.fusion import FusionOperator
from ovseg_ros.types import InstanceMask, InvalidFrameError

CORE_SHARE = 0.25
"""A mask of which less than this is left without its outermost cells is thin or small: its outermost cells count."""

DEPTH_STEP = 0.07
"""Of the natural logarithm of depth; a thing has no gap of such a step, 14 cm at 2 m."""

GAP_SHARE = 0.02
"""Of the pixels in a mask's fullest step; fewer in a step are a gap."""

SAME_MASK = 0.9
"""Intersection over union, in voxels, from which two masks of one frame are one thing by two names."""


@dataclass(frozen=True)
class Sightings:
    """I instances in one frame that saw V voxels.

    Attributes:
        keys: (V,) int64 distinct packed keys of all voxels that the frame saw.
        pixels: (V,) float32 pixels per voxel, positive.
        inside: (I, V) float32 pixels of each voxel that are safely in each mask.
        edge: (I, V) float32 pixels at the border of each mask, which say neither yes nor no.
        names: for each instance the names it was given, with their scores in 0..1.
        tracks: for each instance a number that a model follows it by, or None.
    """

    keys: torch.Tensor
    pixels: torch.Tensor
    inside: torch.Tensor
    edge: torch.Tensor
    names: tuple[Mapping[str, float], ...]
    tracks: tuple[int | None, ...]

    def distinct(self) -> Sightings:
        """Each thing that has voxels once, with all its names, in an order that doesn't depend on the one given."""
        present = (self.inside > 0).float()
        sizes = present.sum(dim=1)
        shared = present @ present.T
        same = (shared > SAME_MASK * (sizes[:, None] + sizes - shared)).tolist()
        first_voxel, mass = present.argmax(dim=1).tolist(), self.inside.sum(dim=1).tolist()
        names = [max(of_one.items(), key=lambda item: (item[1], item[0])) for of_one in self.names]
        order = sorted(
            sizes.nonzero().flatten().tolist(),
            key=lambda i: (-names[i][1], names[i][0], -mass[i], first_voxel[i], self._track_order(i)),
        )
        kept: list[int] = []
        merged: dict[int, dict[str, float]] = {}
        for i in order:
            first = next((j for j in kept if same[i][j]), i)
            if first == i:
                kept.append(i)
            of_one = merged.setdefault(first, {})
            for name, score in self.names[i].items():
                of_one[name] = max(score, of_one.get(name, 0.0))
        tracks = tuple(self.tracks[i] for i in kept)
        return Sightings(
            self.keys, self.pixels, self.inside[kept], self.edge[kept], tuple(merged[i] for i in kept), tracks
        )

    def _track_order(self, instance: int) -> int:
        track = self.tracks[instance]
        return -1 if track is None else track


def find_sightings(
    instances: Sequence[InstanceMask], grid: tuple[int, int], operator: FusionOperator, depth: torch.Tensor
) -> Sightings:
    """Count the pixels of each mask in each voxel; a pixel takes the cell of the mask that it lies in.

    Args:
        instances: at least one; masks cover the image.
        grid: (h, w) that masks must have.
        operator: where the pixels of the frame fall.
        depth: (H, W) metres of the frame.

    Raises:
        InvalidFrameError: "instances", a mask of another size, or a score outside 0..1.
    """
    for instance in instances:
        if tuple(instance.mask.shape) != grid or not 0.0 <= instance.score <= 1.0:
            raise InvalidFrameError(
                "instances",
                f"an instance needs a mask of {grid[0]}x{grid[1]} cells, like the features, and a score of 0 to 1, got "
                f"{tuple(instance.mask.shape)} and {instance.score}: check the backend's output",
            )
    masks = torch.stack([instance.mask.to(operator.keys.device, torch.bool) for instance in instances])
    depth = depth.to(operator.keys.device)
    of_runs = _pixels_of_runs(masks, operator, depth)
    safe = _pixels_of_runs(_cores(masks), operator, depth)
    safe *= _main_depths(safe, depth[operator.runs.v, operator.runs.first])
    voxels = safe.new_zeros(len(masks), len(operator.keys))
    return Sightings(
        keys=operator.keys,
        pixels=operator.counts,
        inside=voxels.index_add(1, operator.runs.rows, safe),
        edge=voxels.index_add(1, operator.runs.rows, of_runs - safe),
        names=tuple({instance.label: float(instance.score)} for instance in instances),
        tracks=tuple(instance.track for instance in instances),
    )


def _cores(masks: torch.Tensor) -> torch.Tensor:
    """(I, h, w) bool masks without their outermost cells, whole where hardly anything would be left.

    Masks and depth never agree to the pixel: what is a cell from the border may already be the wall behind.
    """
    # The image's own border is none of the mask: max_pool2d pads with less than anything.
    outside = torch.nn.functional.max_pool2d((~masks).float()[:, None], 3, stride=1, padding=1)[:, 0] > 0
    cores = masks & ~outside
    small = cores.sum(dim=(1, 2)) < CORE_SHARE * masks.sum(dim=(1, 2))
    return torch.where(small[:, None, None], masks, cores)


def _pixels_of_runs(masks: torch.Tensor, operator: FusionOperator, depth: torch.Tensor) -> torch.Tensor:
    """(I, h, w) bool -> (I, R) float32 pixels of each run in each mask."""
    _, rows, columns = masks.shape
    height, width = depth.shape
    runs = operator.runs
    row, column = (
        ((2 * torch.arange(size, device=masks.device) + 1) * cells) // (2 * size)
        for size, cells in ((height, rows), (width, columns))
    )
    running = torch.nn.functional.pad(masks[:, :, column].cumsum(dim=2), (1, 0)).flatten(1)
    start = row[runs.v] * (width + 1)
    return (running[:, start + runs.end] - running[:, start + runs.first]).float()


def _main_depths(pixels: torch.Tensor, depth: torch.Tensor) -> torch.Tensor:
    """Which runs are as far away as most of each mask, without a gap in depth: what shows through it isn't.

    Args:
        pixels: (I, R) of each run in each mask.
        depth: (R,) metres.

    Returns:
        (I, R) bool.
    """
    steps = (depth.log() / DEPTH_STEP).floor().long()
    steps = steps - steps.min() if len(steps) else steps
    count = int(steps.max()) + 1 if len(steps) else 1
    histogram = pixels.new_zeros(len(pixels), count).index_add_(1, steps, pixels)
    most = histogram.argmax(dim=1, keepdim=True)
    gap = histogram <= GAP_SHARE * histogram.gather(1, most)
    stretch = gap.cumsum(dim=1)
    main = ~gap & (stretch == stretch.gather(1, most))
    return main[:, steps]
