"""Small scenes and plain restatements of the formulas that the mapping tests share."""

from __future__ import annotations

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ovseg_ros.mapping import MappingConfig, SemanticMap
from ovseg_ros.types import Intrinsics, RgbdFrame, Segmentation

SPACE = "test-space/1"


def camera(height: int, width: int) -> Intrinsics:
    return Intrinsics(0.9 * width, 1.1 * width, 0.47 * width, 0.52 * height, width, height)


def random_pose(rng: np.random.Generator, distance: float) -> torch.Tensor:
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    pose = np.eye(4)
    pose[:3, :3] = rotation * np.linalg.det(rotation)
    pose[:3, 3] = rng.uniform(-distance, distance, 3)
    return torch.from_numpy(pose)


def random_depth(rng: np.random.Generator, height: int, width: int) -> torch.Tensor:
    """Two slanted surfaces with noise; a tenth of the pixels has one of the readings that mean none."""
    depth = 1.0 + np.linspace(0, 1.5, width)[None, :] + (np.arange(height) > height / 2)[:, None]
    depth = depth + rng.normal(0, 0.02, (height, width))
    bad = rng.random((height, width)) < 0.1
    depth[bad] = rng.choice([np.nan, np.inf, -np.inf, 0.0, -1.0], bad.sum())
    return torch.from_numpy(depth.astype(np.float32))


def depth_frame(depth: torch.Tensor, intrinsics: Intrinsics, pose: torch.Tensor, stamp_ns: int = 0) -> RgbdFrame:
    """A black frame, for what looks at depth only."""
    return RgbdFrame(torch.zeros(*depth.shape, 3, dtype=torch.uint8), depth.float(), intrinsics, pose, stamp_ns)


def random_frame(rng: np.random.Generator, height: int = 24, width: int = 32, distance: float = 2.0) -> RgbdFrame:
    return RgbdFrame(
        rgb=torch.from_numpy(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)),
        depth=random_depth(rng, height, width),
        intrinsics=camera(height, width),
        pose=random_pose(rng, distance),
        stamp_ns=int(rng.integers(1, 2**62)),
    )


def random_segmentation(rng: np.random.Generator, channels: int = 4, height: int = 3, width: int = 5) -> Segmentation:
    return Segmentation(torch.from_numpy(rng.normal(size=(channels, height, width)).astype(np.float32)), SPACE)


def random_map(seed: int = 0, frames: int = 3, config: MappingConfig | None = None) -> SemanticMap:
    rng = np.random.default_rng(seed)
    semantic_map = SemanticMap(config)
    for _ in range(frames):
        semantic_map.integrate(random_frame(rng), random_segmentation(rng))
    return semantic_map


def plain_sums(
    frame: RgbdFrame, features: torch.Tensor, config: MappingConfig
) -> dict[tuple[int, int, int], tuple[int, np.ndarray, np.ndarray]]:
    """Upsample, gather, add up, pixel by pixel in float64: voxel index -> (pixels, feature sum, colour sum)."""
    image = torch.nn.functional.interpolate(
        features[None].double(), size=tuple(frame.depth.shape), mode="bilinear", align_corners=False
    )[0].numpy()
    camera, pose = frame.intrinsics, frame.pose.numpy()
    sums: dict[tuple[int, int, int], tuple[int, np.ndarray, np.ndarray]] = {}
    for v, u in np.ndindex(*frame.depth.shape):
        z = float(frame.depth[v, u])
        if not (np.isfinite(z) and z > 0 and config.min_depth <= z <= config.max_depth):
            continue
        point = pose[:3, :3] @ [(u - camera.cx) / camera.fx * z, (v - camera.cy) / camera.fy * z, z] + pose[:3, 3]
        i, j, k = (int(index) for index in np.rint(point / config.voxel_size))
        count, feature, colour = sums.get((i, j, k), (0, 0.0, 0.0))
        sums[i, j, k] = count + 1, feature + image[:, v, u], colour + frame.rgb[v, u].numpy().astype(float)
    return sums


class TensorWork(TorchDispatchMode):
    """Adds up the elements that torch operations make or write, and remembers the largest tensor made."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0
        self.largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            writes = func._schema.is_mutable
            touched = [value.numel() for value in _tensors(args[1:] if writes else result)]
            self.elements += sum(touched)
            self.largest = max(self.largest, *touched, 0)
        return result


def _tensors(values: object) -> list[torch.Tensor]:
    if isinstance(values, torch.Tensor):
        return [values]
    return [tensor for value in values for tensor in _tensors(value)] if isinstance(values, list | tuple) else []
