"""Searches of which every moment is kept: random cells, and generated rooms with true labels in place of a model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ovseg_ros.evaluation.oracle import OracleSpace
from ovseg_ros.evaluation.search_volume.cones import Cone, claimed
from ovseg_ros.evaluation.search_volume.counts import Step, count_step
from ovseg_ros.evaluation.search_volume.judge import Judge, Moment
from ovseg_ros.evaluation.search_volume.scene_run import cone_of, scene_volume
from ovseg_ros.evaluation.search_volume.settings import SearchEntries, SearchSettings
from ovseg_ros.evaluation.search_volume.volume import UNLABELLED, SceneVolume
from ovseg_ros.evaluation.semseg.settings import DatasetSettings, MapSettings
from ovseg_ros.evaluation.truth import surface_truth
from ovseg_ros.geometry import pack_keys
from ovseg_ros.mapping import SemanticMap
from ovseg_ros.simulation import RoomSequence

THRESHOLD, PERIOD = 0.05, 10

Claims = dict[int, torch.Tensor]
"""Number of a class -> which of the cells that aren't observed it is searched for in."""


@dataclass(frozen=True)
class Scene:
    """What is compared: a volume, moments of a search, and the cones of its rays."""

    volume: SceneVolume
    moments: tuple[Moment, ...]
    frames: tuple[int, ...]
    cone: Cone
    first_pose: torch.Tensor

    def our_claims(self, moment: Moment) -> Claims:
        places = self.volume.centres[~moment.observed]
        return {
            label - 1: claimed(self.cone.votes(places, *rays_of(moment, label)), THRESHOLD) for label in labels(moment)
        }

    def step(self, place: int, claims: Claims) -> Step:
        moment = self.moments[place]
        rays = torch.bincount(moment.labels, minlength=self.volume.class_count + 1)[1:].numpy()
        return count_step(self.volume, self.frames[place], moment.observed, moment.answers, claims.items(), rays)


def labels(moment: Moment) -> list[int]:
    found: list[int] = torch.unique(moment.labels[moment.labels > 0]).tolist()
    return found


def rays_of(moment: Moment, label: int) -> tuple[torch.Tensor, torch.Tensor]:
    chosen = moment.labels == label
    return moment.origins[chosen], moment.directions[chosen]


def random_scene(generator: np.random.Generator, *, classes: int = 12, moments: int = 5) -> Scene:
    """A block of cells with surfaces, gaps and unlabelled ones, of which more is known moment by moment."""
    cells = torch.from_numpy(np.unique(generator.integers(0, 24, (9000, 3)), axis=0))
    marks = generator.choice([0, UNLABELLED, 1], size=len(cells), p=[0.5, 0.1, 0.4])
    named = generator.integers(1, classes, len(cells))  # One class is nowhere.
    volume = SceneVolume(pack_keys(cells), torch.from_numpy(np.where(marks == 1, named, marks)), classes, 0.1)
    order = generator.random(len(cells))
    found = []
    for share in np.linspace(0.1, 0.7, moments):
        observed = torch.from_numpy(order < share)
        answers = torch.from_numpy(np.where(generator.random(len(cells)) < 0.6, named, 0)) * observed
        count = 60
        directions = torch.from_numpy(generator.standard_normal((count, 3)))
        directions /= directions.norm(dim=1, keepdim=True)
        origins = torch.from_numpy(generator.uniform(0, 2.4, (count, 3)))
        of_rays = torch.from_numpy(generator.integers(0, classes - 2, count))  # Some classes have no ray.
        found.append(Moment(observed, answers, origins, directions, of_rays))
    frames = tuple(range(10, 10 * moments + 1, 10))
    return Scene(volume, tuple(found), frames, Cone(math.radians(25), 0.2), torch.eye(4, dtype=torch.float64))


def room_scene(seed: int, frames: int, max_depth: float, voxel_size: float) -> Scene:
    """A generated room through a map with rays, true labels in place of a model."""
    room = RoomSequence(seed, frames)
    settings = SearchSettings(
        DatasetSettings("replica", Path(), seen=True),
        Path(),
        map=MapSettings(voxel_size=voxel_size, max_depth=max_depth),
        search=SearchEntries(period=PERIOD),
    )
    volume = scene_volume(surface_truth(room.mesh()), (room[index] for index in range(frames)), settings, "cpu")
    oracle = OracleSpace(room.class_names)
    semantic_map = SemanticMap(settings.mapping, space=oracle.id)
    judge = Judge(volume, room.class_names, settings)
    moments, numbers = [], []
    for index in range(frames):
        frame = room[index]
        semantic_map.integrate(frame, oracle.segment(frame))
        if (index + 1) % settings.search.period == 0:
            moment = judge.moment(semantic_map, oracle)
            moments.append(Moment(**{name: values.clone() for name, values in vars(moment).items()}))
            numbers.append(index + 1)
    cone = cone_of(room[0], semantic_map, settings)
    return Scene(volume, tuple(moments), tuple(numbers), cone, room[0].pose)
