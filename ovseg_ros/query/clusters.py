"""Things in a map whose model gives no masks: voxels of one name that hang together, with identities that stay."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from ovseg_ros.mapping import MapObject, SemanticMap
from ovseg_ros.query.calibration import MAX_GAP, MIN_OBJECT_VOXELS, OBJECT_OVERLAP, VOXEL_SCORE
from ovseg_ros.query.components import connected_voxels
from ovseg_ros.query.labelling import label_voxels
from ovseg_ros.types import LanguageSpace
from ovseg_ros.vocabulary import STRUCTURE


@dataclass(frozen=True)
class LabelledVoxels:
    """The voxels of a map that may belong to things, on the CPU: a copy that outlives the map's next frame.

    Attributes:
        keys: (n,) int64 packed.
        labels: (n,) int64 index into ``names`` plus one.
        confidence: (n,) float32 0..1.
        last_seen: (n,) int64 nanoseconds.
        names: of the labels.
        voxel_size: metres.
    """

    keys: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    confidence: npt.NDArray[np.float32]
    last_seen: npt.NDArray[np.int64]
    names: tuple[str, ...]
    voxel_size: float


def labelled_voxels(semantic_map: SemanticMap, space: LanguageSpace) -> LabelledVoxels:
    """Label the voxels that are in memory, and leave out walls, floors and what is nothing for certain."""
    names = semantic_map.vocabulary.names
    structure = [i + 1 for i, group in enumerate(semantic_map.vocabulary.synonyms) if STRUCTURE & set(group)]
    labels, confidence = label_voxels(semantic_map, space)
    things = (labels > 0) & (confidence >= VOXEL_SCORE) & ~torch.isin(labels, labels.new_tensor(structure))
    columns = (semantic_map.keys, labels, confidence, semantic_map.last_seen)
    keys, ids, sure, seen = (column[things].cpu().numpy() for column in columns)
    return LabelledVoxels(keys, ids, sure, seen, names, semantic_map.config.voxel_size)


class ClusteredObjects:
    """The things of one map, found anew whenever it has changed. What overlaps a thing found before keeps its id."""

    def __init__(self) -> None:
        self._objects: tuple[MapObject, ...] = ()
        self._next = 0

    def update(self, voxels: LabelledVoxels) -> tuple[MapObject, ...]:
        """The things that the voxels make up, by rising id. ``view_count`` is how often they were found."""
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
    """Connected voxels of one label; the ids mean nothing yet."""
    things = []
    for label in np.unique(voxels.labels):
        of_label = np.flatnonzero(voxels.labels == label)
        component = connected_voxels(voxels.keys[of_label], MAX_GAP)
        counts = np.bincount(component)
        order = np.argsort(component, kind="stable")
        for members in np.split(of_label[order], np.cumsum(counts)[:-1]):
            if len(members) >= MIN_OBJECT_VOXELS:
                things.append(_thing(voxels, members, voxels.names[label - 1]))
    return things


def _thing(voxels: LabelledVoxels, members: npt.NDArray[np.int64], name: str) -> MapObject:
    keys = torch.from_numpy(np.sort(voxels.keys[members]))
    newest = int(voxels.last_seen[members].max())
    score = float(voxels.confidence[members].mean())
    return MapObject(0, {name: score}, keys, voxels.voxel_size, 1, newest, newest)


def map_objects(semantic_map: SemanticMap, space: LanguageSpace) -> tuple[MapObject, ...]:
    """The things of a map by rising id: those of the model's masks or, where it gives none, clusters of one name."""
    if has_instances(semantic_map):
        return tuple(semantic_map.objects)
    return ClusteredObjects().update(labelled_voxels(semantic_map, space))


def has_instances(semantic_map: SemanticMap) -> bool:
    """Whether the things of a map come from masks of a model: one that scores concepts gives some."""
    return bool(semantic_map.concepts) or len(semantic_map.objects) > 0
