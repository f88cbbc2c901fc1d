"""RayFronts' own code as the peer, unmodified, from a checkout of https://github.com/RayFronts/RayFronts.

`import rayfronts` would pull in every encoder, dataset and viewer of theirs. The mapper needs none of them: their
classes are only named in annotations. So the packages get bare modules that lead to the checkout's files but don't run
its ``__init__``, and what is never called is stubbed. The mappers, their base class, geometry3d and utils run as they
are. The mapper with all layers needs RayFronts' C++ extension and OpenVDB's Python module too.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import yaml
from peers import Voxels

from ovseg_ros.errors import OvsegError
from ovseg_ros.geometry import pack_keys, voxel_indices
from ovseg_ros.types import Intrinsics, RgbdFrame

MAPPER = Path("rayfronts/mapping/semantic_voxel_map.py")
LAYERS_CONFIG = Path("rayfronts/configs/mapping/semantic_ray_frontiers_map.yaml")
LAYERS_NEED = ("openvdb", "rayfronts_cpp")
PACKAGES = ("rayfronts", "rayfronts.mapping")
NAMED_ONLY = {
    "rayfronts.visualizers": ("Mapping3DVisualizer",),
    "rayfronts.image_encoders": ("ImageEncoder", "ImageSpatialEncoder"),
}
EVALUATOR_NAMES_ONLY = ("rerun", "rayfronts.datasets", "rayfronts_cpp")
RAYS_PER_FRAME = 1000
"""Rays that a frame casts at most, as in ours. Without that limit, its default, it takes gigabytes for some frames."""


class RayFrontsMap:
    """SemanticVoxelMap with every pixel and a merge every frame.

    Raises:
        OvsegError: ``checkout`` is none.
    """

    def __init__(self, checkout: Path, camera: Intrinsics, voxel_size: float) -> None:
        mapping = _load(checkout, "rayfronts.mapping.semantic_voxel_map")
        self._voxel_size = voxel_size
        # Without an encoder it would drop the features; given features, it never calls the encoder.
        self._map: Any = mapping.SemanticVoxelMap(
            _matrix(camera), device="cpu", encoder=object(), max_pts_per_frame=-1, vox_size=voxel_size,
            vox_accum_period=1,
        )  # fmt: skip

    def integrate(self, frame: RgbdFrame, features: torch.Tensor) -> None:
        _process(self._map, frame, features)

    def voxels(self) -> Voxels:
        keys = pack_keys(voxel_indices(self._map.global_vox_xyz, self._voxel_size))
        return Voxels(keys, self._map.global_vox_conf[:, 0], self._map.global_vox_feat)


class RayFrontiersMap:
    """SemanticRayFrontiersMap, the mapper with all layers, set up by its own configuration file.

    Args:
        checkout: of RayFronts.
        camera: of all frames.
        voxel_size: metres.
        settings: what else differs from the file, under the file's names.

    Raises:
        OvsegError: ``checkout`` is none, what the mapper needs beside it isn't there, or it has no such setting.
    """

    def __init__(
        self, checkout: Path, camera: Intrinsics, voxel_size: float, settings: Mapping[str, object] | None = None
    ) -> None:
        try:
            mapping = _load(checkout, "rayfronts.mapping.semantic_ray_frontiers_map")
        except ModuleNotFoundError as error:
            if error.name not in LAYERS_NEED:
                raise
            raise OvsegError(
                f"RayFronts' mapper with all layers needs the module {error.name}, which isn't there: build it "
                "(benchmarks/rayfronts_extension) and name the folder with --extension"
            ) from error
        config = _own_settings(checkout / LAYERS_CONFIG)
        changes = {"vox_size": voxel_size, "max_rays_per_frame": RAYS_PER_FRAME} | dict(settings or {})
        unknown = ", ".join(sorted(changes.keys() - config.keys()))
        if unknown:
            raise OvsegError(f"RayFronts has no setting {unknown}: take one of {', '.join(config)}")
        self._map: Any = mapping.SemanticRayFrontiersMap(
            _matrix(camera), device="cpu", encoder=object(), **config | changes
        )

    def integrate(self, frame: RgbdFrame, features: torch.Tensor) -> None:
        _process(self._map, frame, features)

    def counts(self) -> dict[str, int]:
        """How many of each it holds."""
        held = {
            "voxels": self._map.global_vox_xyz,
            "frontiers": self._map.frontiers,
            "rays": self._map.global_rays_orig_angles,
        }
        return {name: 0 if rows is None else len(rows) for name, rows in held.items()}


def cosines(checkout: Path, queries: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    """RayFronts' cosines of (Q, C) queries with (N, C) voxel features: (N, Q)."""
    result: torch.Tensor = _load(checkout, "rayfronts.utils").compute_cos_sim(queries, features)
    return result


def evaluator(checkout: Path, script: str = "semseg_eval") -> ModuleType:
    """A file of scripts/, whose functions then run on the CPU too. It needs hydra-core and scikit-learn.

    Raises:
        OvsegError: ``checkout`` is none, or one of the two isn't installed.
    """
    _load(checkout, "rayfronts.geometry3d")
    for name in EVALUATOR_NAMES_ONLY:
        _bare_module(name)
    if not torch.cuda.is_available():
        # Tensors that are moved to the GPU without asking whether there is one stay where they are.
        torch.Tensor.cuda = lambda self: self  # type: ignore[assignment, method-assign]
    sys.path.append(str(checkout.resolve() / "scripts"))
    try:
        return importlib.import_module(script)
    except ModuleNotFoundError as error:
        raise OvsegError(
            f"RayFronts' evaluation needs the module {error.name}: pip install hydra-core scikit-learn"
        ) from error


def check_checkout(checkout: Path) -> None:
    """Raise OvsegError unless the folder holds RayFronts' mapper."""
    if not (checkout / MAPPER).is_file():
        raise OvsegError(
            f"{checkout} has no {MAPPER}: clone https://github.com/RayFronts/RayFronts and name its folder"
        )


def _own_settings(file: Path) -> dict[str, object]:
    """The mapper's own entries of a Hydra file: those that neither Hydra nor other files give their value."""
    entries: dict[str, object] = yaml.safe_load(file.read_text())
    return {
        name: value
        for name, value in entries.items()
        if name not in ("defaults", "_target_") and not str(value).startswith("${")
    }


def _matrix(camera: Intrinsics) -> torch.Tensor:
    return torch.tensor([[camera.fx, 0.0, camera.cx], [0.0, camera.fy, camera.cy], [0.0, 0.0, 1.0]])


def _process(mapper: Any, frame: RgbdFrame, features: torch.Tensor) -> None:
    rgb = frame.rgb.permute(2, 0, 1)[None].float() / 255
    mapper.process_posed_rgbd(rgb, frame.depth[None, None], frame.pose.float()[None], feat_img=features[None])


def _load(checkout: Path, module: str) -> ModuleType:
    check_checkout(checkout)
    for name in PACKAGES:
        _bare_module(name, __path__=[str(checkout.resolve() / name.replace(".", "/"))])
    for name, used in NAMED_ONLY.items():
        _bare_module(name, **dict.fromkeys(used, object))
    _bare_module("torch_scatter", scatter=scatter)
    return importlib.import_module(module)


def _bare_module(name: str, **contents: object) -> None:
    """Make ``import name`` give a module with these contents."""
    vars(sys.modules.setdefault(name, ModuleType(name))).update(contents)


def scatter(src: torch.Tensor, index: torch.Tensor, dim: int, out: torch.Tensor, reduce: str = "sum") -> torch.Tensor:
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
