"""Things in a map whose model gives no masks: voxels of one name that belong together, with identities that stay."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from ovseg_ros.geometry import unpack_keys
from ovseg_ros.mapping import MapObject, SemanticMap
from ovseg_ros.query.calibration import OBJECT_OVERLAP, VOXEL_SCORE
from ovseg_ros.query.labelling import label_voxels
from ovseg_ros.query.pieces import pieces
from ovseg_ros.query.structure import WALLS, Plane, levels, walls
from ovseg_ros.query.surfaces import on_surface
from ovseg_ros.types import LanguageSpace
from ovseg_ros.vocabulary import STRUCTURE, Vocabulary


@dataclass(frozen=True)
class LabelledVoxels:
    """The voxels of a map with their likeliest names, on the CPU: a copy that outlives the map's next frame.

    Attributes:
        keys: (n,) int64 packed, ascending.
        weights: (n,) float32 of what was fused into each.
        labels: (n,) int64 index into the vocabulary plus one; 0: none.
        confidence: (n,) float32 0..1.
        last_seen: (n,) int64 nanoseconds.
        vocabulary: of the labels.
        voxel_size: metres.
    """

    keys: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    confidence: npt.NDArray[np.float32]
    last_seen: npt.NDArray[np.int64]
    vocabulary: Vocabulary
    voxel_size: float

    def only(self, chosen: npt.NDArray[np.bool_]) -> LabelledVoxels:
        """Those of (n,) that are chosen."""
        return replace(
            self,
            keys=self.keys[chosen],
            weights=self.weights[chosen],
            labels=self.labels[chosen],
            confidence=self.confidence[chosen],
            last_seen=self.last_seen[chosen],
        )


def labelled_voxels(semantic_map: SemanticMap, space: LanguageSpace) -> LabelledVoxels:
    """Label the voxels that are in memory."""
    labels, confidence = label_voxels(semantic_map, space)
    keys, order = semantic_map.keys.sort()
    return LabelledVoxels(
        keys=keys.cpu().numpy(),
        weights=semantic_map.weights[order].cpu().numpy(),
        labels=labels[order].cpu().numpy(),
        confidence=confidence[order].cpu().numpy(),
        last_seen=semantic_map.last_seen[order].cpu().numpy(),
        vocabulary=semantic_map.vocabulary,
        voxel_size=semantic_map.config.voxel_size,
    )


class ClusteredObjects:
    """The things of one map, found anew whenever it has changed. What overlaps a thing found before keeps its id."""

    def __init__(self) -> None:
        self._objects: tuple[MapObject, ...] = ()
        self._next = 0

    def update(self, voxels: LabelledVoxels) -> tuple[MapObject, ...]:
        """The things that the voxels make up, walls and floors among them (`is_structure`), by rising id.

        ``view_count`` is how often they were found.
        """
        found = _clusters(voxels)
        owners = self._owners(found)
        objects = []
        for thing, owner in zip(found, owners, strict=True):
            if owner is None:
                objects.append(replace(thing, id=self._next))
                self._next += 1
            else:
                views = owner.view_count + 1
                objects.append(replace(thing, id=owner.id, view_count=views, first_seen_ns=owner.first_seen_ns))
        self._objects = tuple(sorted(objects, key=lambda thing: thing.id))
        return self._objects

    def _owners(self, found: list[MapObject]) -> list[MapObject | None]:
        """Which earlier thing each one is: the one it shares most voxels with, each at most once."""
        result: list[MapObject | None] = [None] * len(found)
        if not found or not self._objects:
            return result
        known = np.concatenate([thing.keys.numpy() for thing in self._objects])
        number = np.repeat(np.arange(len(self._objects)), [thing.voxel_count for thing in self._objects])
        order = np.argsort(known)
        known, number = known[order], number[order]
        shared = np.zeros((len(found), len(self._objects)))
        for row, thing in enumerate(found):
            keys = thing.keys.numpy()
            place = np.minimum(np.searchsorted(known, keys), len(known) - 1)
            shared[row] = np.bincount(number[place[known[place] == keys]], minlength=len(self._objects))
        ours = np.array([thing.voxel_count for thing in found])[:, None]
        theirs = np.array([thing.voxel_count for thing in self._objects])
        overlap = shared / (ours + theirs - shared)
        while overlap.flat[best := int(overlap.argmax())] >= OBJECT_OVERLAP:
            mine, its = divmod(best, len(self._objects))
            result[mine] = self._objects[its]
            overlap[mine], overlap[:, its] = 0.0, 0.0
        return result


def _clusters(voxels: LabelledVoxels) -> list[MapObject]:
    """Things, and behind them walls and floors; the ids mean nothing yet."""
    voxels = voxels.only(on_surface(voxels.keys, voxels.weights))
    voxels = voxels.only((voxels.labels > 0) & (voxels.confidence >= VOXEL_SCORE))
    rows = unpack_keys(torch.from_numpy(voxels.keys)).numpy()
    structure: list[MapObject] = []
    planes: list[Plane] = []
    names: list[npt.NDArray[np.int64]] = []
    for label in np.unique(voxels.labels):
        of_label = np.flatnonzero(voxels.labels == label)
        words = set(voxels.vocabulary.synonyms[label - 1])
        if not words & STRUCTURE:
            names.append(of_label)
            continue
        found = (walls if words & WALLS else levels)(rows[of_label], voxels.voxel_size)
        structure += [_thing(voxels, of_label[plane.rows]) for plane in found]
        planes += found
    things = [
        _thing(voxels, of_label[members])
        for of_label in names
        for members in pieces(rows[of_label], planes, voxels.voxel_size)
    ]
    return things + structure


def _thing(voxels: LabelledVoxels, members: npt.NDArray[np.int64]) -> MapObject:
    keys = torch.from_numpy(np.sort(voxels.keys[members]))
    newest = int(voxels.last_seen[members].max())
    score = float(voxels.confidence[members].mean())
    name = voxels.vocabulary.names[voxels.labels[members[0]] - 1]
    return MapObject(0, {name: score}, keys, voxels.voxel_size, 1, newest, newest)


def map_objects(semantic_map: SemanticMap, space: LanguageSpace) -> tuple[MapObject, ...]:
    """The things of a map by rising id: those of the model's masks or, where it gives none, what its voxels make up."""
    if has_instances(semantic_map):
        return tuple(semantic_map.objects)
    return ClusteredObjects().update(labelled_voxels(semantic_map, space))


def has_instances(semantic_map: SemanticMap) -> bool:
    """Whether the things of a map come from masks of a model: one that scores concepts gives some."""
    return bool(semantic_map.concepts) or len(semantic_map.objects) > 0
