"""RayFronts' own code as the peer, unmodified, from a checkout of https://github.com/RayFronts/RayFronts.

`import rayfronts` would pull in every encoder, dataset and viewer of theirs. The mapper needs none of them: their
classes are only named in annotations. So the packages get bare modules that lead to the checkout's files but don't run
its ``__init__``, and what is never called is stubbed. The mapper, its base class, geometry3d and utils run as they are.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from peers import Voxels

from ovseg_ros.errors import OvsegError
from ovseg_ros.geometry import pack_keys, voxel_indices
from ovseg_ros.types import Intrinsics, RgbdFrame

MAPPER = Path("rayfronts/mapping/semantic_voxel_map.py")
PACKAGES = ("rayfronts", "rayfronts.mapping")
NAMED_ONLY = {"rayfronts.visualizers": "Mapping3DVisualizer", "rayfronts.image_encoders": "ImageSpatialEncoder"}


class RayFrontsMap:
    """SemanticVoxelMap with every pixel and a merge every frame.

    Raises:
        OvsegError: ``checkout`` is none.
    """

    def __init__(self, checkout: Path, camera: Intrinsics, voxel_size: float) -> None:
        mapping = _load(checkout, "rayfronts.mapping.semantic_voxel_map")
        matrix = torch.tensor([[camera.fx, 0.0, camera.cx], [0.0, camera.fy, camera.cy], [0.0, 0.0, 1.0]])
        self._voxel_size = voxel_size
        # Without an encoder it would drop the features; given features, it never calls the encoder.
        self._map: Any = mapping.SemanticVoxelMap(
            matrix, device="cpu", encoder=object(), max_pts_per_frame=-1, vox_size=voxel_size, vox_accum_period=1
        )

    def integrate(self, frame: RgbdFrame, features: torch.Tensor) -> None:
        rgb = frame.rgb.permute(2, 0, 1)[None].float() / 255
        self._map.process_posed_rgbd(rgb, frame.depth[None, None], frame.pose.float()[None], feat_img=features[None])

    def voxels(self) -> Voxels:
        keys = pack_keys(voxel_indices(self._map.global_vox_xyz, self._voxel_size))
        return Voxels(keys, self._map.global_vox_conf[:, 0], self._map.global_vox_feat)


def cosines(checkout: Path, queries: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    """RayFronts' cosines of (Q, C) queries with (N, C) voxel features: (N, Q)."""
    result: torch.Tensor = _load(checkout, "rayfronts.utils").compute_cos_sim(queries, features)
    return result


def check_checkout(checkout: Path) -> None:
    """Raise OvsegError unless the folder holds RayFronts' mapper."""
    if not (checkout / MAPPER).is_file():
        raise OvsegError(
            f"{checkout} has no {MAPPER}: clone https://github.com/RayFronts/RayFronts and name its folder"
        )


def _load(checkout: Path, module: str) -> ModuleType:
    check_checkout(checkout)
    for name in PACKAGES:
        _bare_module(name, __path__=[str(checkout.resolve() / name.replace(".", "/"))])
    for name, used in NAMED_ONLY.items():
        _bare_module(name, **{used: object})
    _bare_module("torch_scatter", scatter=scatter)
    return importlib.import_module(module)


def _bare_module(name: str, **contents: object) -> None:
    """Make ``import name`` give a module with these contents."""
    vars(sys.modules.setdefault(name, ModuleType(name))).update(contents)


def scatter(src: torch.Tensor, index: torch.Tensor, dim: int, out: torch.Tensor, reduce: str) -> torch.Tensor:
    """torch_scatter.scatter as far as the mapper calls it (torch_scatter 2.1.2, scatter.py).

    Its sum and mean are Python around ``Tensor.scatter_add_`` too: nothing is lost by restating them.
    """
    shape = [1] * src.dim()
    shape[dim] = -1
    index = index.view(shape)
    out.scatter_add_(dim, index.expand_as(src), src)
    if reduce == "mean":
        counts = torch.zeros_like(out[..., :1]).scatter_add_(dim, index, torch.ones_like(src[..., :1]))
        out /= counts.clamp(min=1)
    return out
