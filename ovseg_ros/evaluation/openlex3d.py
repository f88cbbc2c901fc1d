"""Maps as predictions for the OpenLex3D benchmark (Kassab et al., arXiv 2503.19764), in the files that it reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import open3d as o3d
import torch

from ovseg_ros.errors import OvsegError
from ovseg_ros.mapping import SemanticMap
from ovseg_ros.query.map_index import space_of
from ovseg_ros.types import ConceptSpace, LanguageSpace

EMBEDDINGS, INDEX, CLOUD = "embeddings.npy", "index.npy", "point_cloud.pcd"
ROWS = 1 << 16
"""Features that are aligned at a time."""


def check_openlex3d(space: LanguageSpace) -> None:
    """Raise an OvsegError if features of this space can't be compared with words that weren't known while mapping."""
    if isinstance(space, ConceptSpace):
        raise OvsegError(
            f"OpenLex3D asks for words of its own, {space.id} only has scores of the concepts that it was asked for: "
            "take a backend of language features, such as radseg"
        )


def write_openlex3d(folder: Path, semantic_map: SemanticMap, space: LanguageSpace) -> None:
    """Write one scene.

    ``point_cloud.pcd`` has a coloured point for each of N voxels, at its centre in metres in the map's frame, which
    has to be the ground truth's. ``embeddings.npy`` has (M, D) float32 features in the space of texts, of unit norm or
    zero, and ``index.npy`` the (N,) int64 rows of the voxels; M is N unless features are kept on coarser voxels.

    Args:
        folder: made if it isn't there.
        semantic_map: what is in memory of it is written.
        space: the language space that its features are of.

    Raises:
        OvsegError: the map is empty, the space isn't its own or isn't of language features, or the files can't be
            written.
    """
    check_openlex3d(space)
    space = space_of(semantic_map, space)
    if semantic_map.is_empty:
        raise OvsegError("the map is empty, so there is nothing to export: map some frames first")
    cloud = o3d.t.geometry.PointCloud(o3d.core.Tensor.from_numpy(semantic_map.centres.float().cpu().numpy()))
    cloud.point.colors = o3d.core.Tensor.from_numpy(semantic_map.colours.cpu().numpy())
    coarse = semantic_map.config.feature_block > 1
    rows = semantic_map.feature_rows.cpu().numpy() if coarse else np.arange(semantic_map.voxel_count)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write_embeddings(folder / EMBEDDINGS, semantic_map, space)
        np.save(folder / INDEX, rows.astype(np.int64))
    except OSError as error:
        raise OvsegError(f"cannot write into {folder}: {error.strerror}, choose another folder") from error
    if not o3d.t.io.write_point_cloud(folder / CLOUD, cloud):
        raise OvsegError(f"cannot write {folder / CLOUD}: check that the disk has room")


@torch.inference_mode()
def _write_embeddings(path: Path, semantic_map: SemanticMap, space: LanguageSpace) -> None:
    """Part by part into the file: in the space of texts they may take more memory than the map."""
    codec, file, start = semantic_map.codec, None, 0
    for part in (part for chunk in semantic_map.feature_chunks() for part in torch.split(chunk, ROWS)):
        aligned = space.align(codec.decode(part) if codec else part.float()).cpu().numpy()
        if file is None:
            shape = (semantic_map.feature_voxel_count, aligned.shape[1])
            file = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
        file[start : start + len(aligned)] = aligned
        start += len(aligned)
    if file is not None:
        file.flush()
