"""One scene of a run: its frames through a map of short range, judged every few frames against all that there is."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from ovseg_ros.errors import OvsegError
from ovseg_ros.evaluation.oracle import OracleSpace
from ovseg_ros.evaluation.scene import Scene
from ovseg_ros.evaluation.search_volume.cones import Cone, half_field_of_view
from ovseg_ros.evaluation.search_volume.counts import Step
from ovseg_ros.evaluation.search_volume.judge import Judge
from ovseg_ros.evaluation.search_volume.result import SearchResult
from ovseg_ros.evaluation.search_volume.settings import SearchSettings
from ovseg_ros.evaluation.search_volume.volume import SceneVolume
from ovseg_ros.evaluation.semseg.scene_run import Progress, Segment, readable
from ovseg_ros.evaluation.truth import GroundTruth
from ovseg_ros.evaluation.voxel_truth import seen_in_any
from ovseg_ros.mapping import SemanticMap
from ovseg_ros.types import InvalidFrameError, LanguageSpace, RgbdFrame, Segmentation


@torch.inference_mode()
def run_scene(
    scene: Scene, segment: Segment, space: LanguageSpace, settings: SearchSettings, device: str, progress: Progress
) -> SearchResult:
    """Search a scene for all its classes at once.

    Args:
        scene: frames and truth.
        segment: frame -> features.
        space: the features' language.
        settings: of the run.
        device: where maps live.
        progress: wraps the frame numbers, which are gone through twice.

    Raises:
        OvsegError: no frame could be used, or the scene has no truth.
    """
    started = time.perf_counter()
    names, used = scene.class_names, range(0, len(scene.frames), settings.every)
    truth = scene.ground_truth(settings.voxel_size, readable(scene.frames, used))
    volume = scene_volume(truth, readable(scene.frames, progress(used)), settings, device)
    oracle = OracleSpace(names)
    model = _Search(SemanticMap(settings.mapping, space=space.id, device=device), space)
    true = _Search(SemanticMap(settings.mapping, space=oracle.id, device=device), oracle)
    judge = Judge(volume, names, settings)
    skipped: Counter[str] = Counter()
    cone: Cone | None = None
    for number, index in enumerate(progress(used), start=1):
        try:
            frame = scene.frames[index]
            cone = cone or cone_of(frame, model.map, settings)
            model.map.integrate(frame, segment(frame))
            if frame.semantics is not None:
                true.map.integrate(frame, oracle.segment(frame))
        except InvalidFrameError as error:
            skipped[error.cause] += 1
        if cone is not None and (number % settings.search.period == 0 or number == len(used)):
            for search in (model, true):
                if not search.map.is_empty:
                    search.steps.append(judge.step(judge.moment(search.map, search.space), cone, number))
    if cone is None or not model.steps:
        raise OvsegError(f"no frame of {scene.name} could be used: {dict(skipped)}: check depth, poses, map.max_depth")
    facts = {
        "frames": len(used) - sum(skipped.values()),
        "skipped": dict(skipped),
        "cells": len(volume.keys),
        "rays": int(model.steps[-1].rays.sum()),
        "half_angle_degrees": math.degrees(cone.half_angle),
        "cone_radius": cone.radius,
        "seconds": time.perf_counter() - started,
        "space": space.id,
        "prompts": settings.rules.words.describe(space),
    }
    return SearchResult(scene.name, names, tuple(model.steps), tuple(true.steps), facts, settings.numbers_depend_on())


@dataclass(frozen=True)
class _Search:
    """A map that grows, and what it was worth after each period."""

    map: SemanticMap
    space: LanguageSpace
    steps: list[Step] = field(default_factory=list)


def cone_of(frame: RgbdFrame, semantic_map: SemanticMap, settings: SearchSettings) -> Cone:
    """As wide as configured, or as the frame's camera; it starts as a circle that the rays of one frontier lie in."""
    rays, half_angle = semantic_map.layers.rays, settings.search.half_angle
    assert rays is not None
    opening = half_field_of_view(frame.intrinsics) if half_angle is None else math.radians(half_angle)
    return Cone(opening, rays.config.max_ortho_cells * rays.cell_size)


def scene_volume(truth: GroundTruth, frames: Iterable[RgbdFrame], settings: SearchSettings, device: str) -> SceneVolume:
    """What frames see at full range, and the truth there; unlabelled where the settings leave out what they didn't see.

    Raises:
        OvsegError: there is no truth where they look.
    """
    explored = SemanticMap(settings.exploring, space="explored", device=device)
    nothing = Segmentation(torch.zeros(1, 1, 1), "explored")
    seen = np.zeros(len(truth.labels), dtype=np.bool_)
    for frame in frames:
        try:
            explored.integrate(frame, nothing)
        except InvalidFrameError:
            continue
        if settings.seen_only:
            view = (frame.depth.cpu().numpy(), frame.intrinsics, frame.pose.cpu().numpy())
            seen[~seen] = seen_in_any(truth.points[~seen], [view])
    if settings.seen_only:
        truth = replace(truth, labels=np.where(seen, truth.labels, 0).astype(np.int32))
    assert explored.layers.occupancy is not None
    ignored = settings.ignoring.ignored(truth.class_names, truth.background)
    return SceneVolume.of(truth, ignored, explored.layers.occupancy)
