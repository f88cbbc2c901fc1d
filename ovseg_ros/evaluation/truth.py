"""What a map is held against: labelled points, wherever a data set keeps its labels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from ovseg_ros.datasets import LabelledMesh
from ovseg_ros.errors import OvsegError
from ovseg_ros.evaluation.oracle import OracleSpace
from ovseg_ros.evaluation.voxel_truth import POINTS_PER_SQUARE_METRE, sample_surface
from ovseg_ros.geometry import pack_keys, unpack_keys, voxel_centres, voxel_indices
from ovseg_ros.mapping import MappingConfig, SemanticMap
from ovseg_ros.types import InvalidFrameError, RgbdFrame

BACKGROUND = ("wall", "floor", "ceiling", "door", "window")
"""What most published tables leave out when they say "without background"."""


@dataclass(frozen=True)
class GroundTruth:
    """Labelled points of one scene.

    Attributes:
        points: (N, 3) float64 metres, world frame.
        labels: (N,) int32; 0 = unlabelled, id i + 1 = ``class_names[i]``.
        class_names: K names.
        background: those of the names that are stuff rather than things.
        votes: (N,) int64 observations behind each point, where a place may have several points of different labels;
            None where each point counts once.

    Raises:
        OvsegError: sizes disagree, or a label has no name.
    """

    points: NDArray[np.float64]
    labels: NDArray[np.int32]
    class_names: tuple[str, ...]
    background: tuple[str, ...] = BACKGROUND
    votes: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        count = len(self.labels)
        if self.points.shape != (count, 3) or self.labels.shape != (count,):
            raise OvsegError(
                f"a ground truth needs one label per point, got points {self.points.shape} and labels "
                f"{self.labels.shape}"
            )
        if count and (self.labels.min() < 0 or self.labels.max() > len(self.class_names)):
            raise OvsegError(
                f"labels {self.labels.min()} to {self.labels.max()} do not fit {len(self.class_names)} class names: "
                "0 is unlabelled, id i + 1 is the i-th name"
            )

    @property
    def present(self) -> NDArray[np.bool_]:
        """(K,) which classes have a point."""
        found: NDArray[np.bool_] = np.bincount(self.labels, minlength=len(self.class_names) + 1)[1:] > 0
        return found

    def kept(self, mask: NDArray[np.bool_]) -> GroundTruth:
        """Only the points of a (N,) mask."""
        votes = None if self.votes is None else self.votes[mask]
        return replace(self, points=self.points[mask], labels=self.labels[mask], votes=votes)

    def without(self, names: Iterable[str]) -> GroundTruth:
        """The points of these classes become unlabelled."""
        dropped = [self.class_names.index(name) + 1 for name in set(names) & set(self.class_names)]
        return replace(self, labels=np.where(np.isin(self.labels, dropped), 0, self.labels).astype(np.int32))

    def voxelised(self, voxel_size: float, *, unlabelled_votes: bool) -> GroundTruth:
        """One point in the centre of each voxel, in the order of the keys, with the label that most points in it have.

        Ties go to the lower id.

        Args:
            voxel_size: metres.
            unlabelled_votes: whether unlabelled points vote like others; else they count only where they are alone.
        """
        keys = pack_keys(voxel_indices(torch.from_numpy(self.points), voxel_size)).numpy()
        voxels, voxel_of_point = np.unique(keys, return_inverse=True)
        size = len(self.class_names) + 1
        pairs, pair_of_point = np.unique(voxel_of_point * size + self.labels, return_inverse=True)
        votes = np.bincount(pair_of_point, weights=self.votes, minlength=len(pairs))
        voxel, label = np.divmod(pairs, size)
        if not unlabelled_votes:
            votes[label == 0] = 0
        order = np.lexsort((label, -votes, voxel))
        _, first = np.unique(voxel[order], return_index=True)
        centres = voxel_centres(unpack_keys(torch.from_numpy(voxels)), voxel_size).numpy()
        return replace(self, points=centres, labels=label[order][first].astype(np.int32), votes=None)


def vertex_truth(mesh: LabelledMesh, background: tuple[str, ...] = BACKGROUND) -> GroundTruth:
    """The vertices of a dense mesh, as reconstructed scans are."""
    return GroundTruth(mesh.vertices.astype(np.float64), mesh.labels, mesh.class_names, background)


def surface_truth(mesh: LabelledMesh, background: tuple[str, ...] = BACKGROUND, *, seed: int = 0) -> GroundTruth:
    """Points spread evenly over the triangles: for meshes whose vertices are few and only at corners."""
    points, labels = sample_surface(mesh, POINTS_PER_SQUARE_METRE, seed)
    return GroundTruth(points, labels, mesh.class_names, background)


def image_truth(
    frames: Iterable[RgbdFrame],
    class_names: tuple[str, ...],
    voxel_size: float,
    background: tuple[str, ...] = BACKGROUND,
    *,
    max_depth: float = 10.0,
) -> GroundTruth:
    """Label images lifted through depth: for each voxel one point per class seen in it, its pixels as votes.

    Args:
        frames: with label images; damaged ones are left out.
        class_names: what the labels mean.
        voxel_size: metres.
        background: those of the names that are stuff.
        max_depth: metres up to which pixels are lifted.

    Raises:
        OvsegError: a frame has no label image.
    """
    space = OracleSpace(class_names)
    lifted = SemanticMap(MappingConfig(voxel_size=voxel_size, max_depth=max_depth), space=space.id)
    for frame in frames:
        try:
            lifted.integrate(frame, space.segment(frame))
        except InvalidFrameError:
            continue
    if lifted.is_empty:
        return GroundTruth(np.empty((0, 3)), np.empty(0, np.int32), class_names, background)
    votes = (lifted.features * lifted.weights[:, None]).round().long()
    voxel, label = votes.nonzero(as_tuple=True)
    return GroundTruth(
        points=lifted.centres[voxel].numpy(),
        labels=(label + 1).int().numpy(),
        class_names=class_names,
        background=background,
        votes=votes[voxel, label].numpy(),
    )
