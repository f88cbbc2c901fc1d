"""One scene through model and map, judged under a protocol; beside it the bound that true labels reach."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray

from ovseg_ros.errors import OvsegError
from ovseg_ros.evaluation.oracle import OracleSpace
from ovseg_ros.evaluation.protocols import Ignoring, Judgement, Protocol
from ovseg_ros.evaluation.scene import Frames, Scene
from ovseg_ros.evaluation.semseg.result import Answers, SceneResult, VariantResult
from ovseg_ros.evaluation.semseg.settings import RunSettings
from ovseg_ros.evaluation.transfer import MAX_DISTANCE_VOXELS, neighbour_labels
from ovseg_ros.evaluation.truth import GroundTruth
from ovseg_ros.evaluation.voxel_truth import seen_in_any
from ovseg_ros.mapping import SemanticMap
from ovseg_ros.query.similarity import map_index
from ovseg_ros.types import InvalidFrameError, LanguageSpace, RgbdFrame, Segmentation

Segment = Callable[[RgbdFrame], Segmentation]
Progress = Callable[[Iterable[int]], Iterable[int]]


@dataclass(frozen=True)
class ScoredVoxels:
    """A map's voxels in the order of their keys.

    Attributes:
        centres: (M, 3) float64 metres.
        cosines: (M, K) with the class names; zeros where a feature says nothing.
        scale: what the space multiplies cosines with.
    """

    centres: NDArray[np.float64]
    cosines: torch.Tensor
    scale: float


@dataclass(frozen=True)
class SceneRun:
    """One judged scene: its numbers, its map, and the judgement of the protocol's own variant, to be drawn."""

    result: SceneResult
    semantic_map: SemanticMap
    centres: NDArray[np.float64]
    judgement: Judgement


@torch.inference_mode()
def run_scene(
    scene: Scene, segment: Segment, space: LanguageSpace, settings: RunSettings, device: str, progress: Progress = iter
) -> SceneRun:
    """Map a scene and judge the map.

    Args:
        scene: frames and truth.
        segment: frame -> features.
        space: the features' language.
        settings: of the run.
        device: where maps live.
        progress: wraps the frame numbers.

    Raises:
        OvsegError: no frame could be used, or the scene has no truth.
    """
    started = time.perf_counter()
    protocol, names, voxel_size = settings.rules, scene.class_names, settings.voxel_size
    used = range(0, len(scene.frames), settings.every)
    truth = scene.ground_truth(voxel_size, readable(scene.frames, used))
    oracle = OracleSpace([name for name, present in zip(names, truth.present, strict=True) if present])
    if not oracle.class_names:
        raise OvsegError(f"the ground truth of {scene.name} has no label: check dataset.truth and the class list")
    maps = _Maps(
        model=SemanticMap(settings.mapping, space=space.id, device=device),
        true=SemanticMap(settings.mapping, space=oracle.id, device=device),
        seen=np.zeros(len(truth.labels), dtype=np.bool_),
    )
    for index in progress(used):
        try:
            frame = scene.frames[index]
            maps.model.integrate(frame, segment(frame))
            if frame.semantics is not None:
                maps.true.integrate(frame, oracle.segment(_relabelled(frame, names, oracle.class_names)))
        except InvalidFrameError as error:
            maps.skipped[error.cause] += 1
            maps.reasons.setdefault(error.cause, f"frame {index}: {error}")
            continue
        if settings.seen_only:
            view = (frame.depth.cpu().numpy(), frame.intrinsics, frame.pose.cpu().numpy())
            maps.seen[~maps.seen] = seen_in_any(truth.points[~maps.seen], [view])
    if maps.model.is_empty:
        raise OvsegError(f"no frame of {scene.name} could be used: {'; '.join(maps.reasons.values())}")
    if settings.seen_only:
        truth = truth.kept(maps.seen)
    if not truth.present.any():
        raise OvsegError(f"{scene.name} has no labelled truth where its frames look: check dataset.truth and poses")
    voxels = scored_voxels(maps.model, space, protocol.words.encode(space, names))
    bound = None if maps.true.is_empty else _true_voxels(maps.true, oracle, names)
    judged = {
        variant.variant: _judge(protocol, truth, voxels, bound, variant, voxel_size) for variant in protocol.variants
    }
    facts = {
        "frames": len(used) - sum(maps.skipped.values()),
        "skipped": dict(maps.skipped),
        "voxels": maps.model.voxel_count,
        "seconds": time.perf_counter() - started,
        "space": space.id,
        "prompts": protocol.words.describe(space),
        "bound": "the label of the nearest truth" if bound is None else "label images through the map",
    }
    variants = {name: entry for name, (entry, _) in judged.items()}
    result = SceneResult(scene.name, names, variants, facts, settings.numbers_depend_on())
    return SceneRun(result, maps.model, voxels.centres, next(iter(judged.values()))[1])


@dataclass(frozen=True)
class _Maps:
    """What grows with the frames: the model's map, that of true labels, and which points of the truth were seen."""

    model: SemanticMap
    true: SemanticMap
    seen: NDArray[np.bool_]
    skipped: Counter[str] = field(default_factory=Counter)
    reasons: dict[str, str] = field(default_factory=dict)


def scored_voxels(semantic_map: SemanticMap, space: LanguageSpace, texts: torch.Tensor) -> ScoredVoxels:
    """All voxels of a map beside (K, D) unit text features."""
    order = semantic_map.keys.argsort()
    index = map_index(semantic_map, space)
    cosines = index.expand(torch.cat(list(index.cosines(texts.to(semantic_map.device))), dim=1))
    return ScoredVoxels(semantic_map.centres[order].cpu().numpy(), cosines.T[order].contiguous(), space.logit_scale)


def _true_voxels(true_map: SemanticMap, oracle: OracleSpace, names: tuple[str, ...]) -> ScoredVoxels:
    """Voxels scored by the oracle, which knows some of the names, with a column for each name."""
    voxels = scored_voxels(true_map, oracle, oracle.encode_text(oracle.class_names))
    cosines = voxels.cosines.new_zeros(len(voxels.cosines), len(names))
    cosines[:, [names.index(name) for name in oracle.class_names]] = voxels.cosines
    return ScoredVoxels(voxels.centres, cosines, voxels.scale)


def _judge(
    protocol: Protocol,
    truth: GroundTruth,
    voxels: ScoredVoxels,
    bound: ScoredVoxels | None,
    variant: Ignoring,
    voxel_size: float,
) -> tuple[VariantResult, Judgement]:
    def label(allowed: NDArray[np.bool_]) -> NDArray[np.int32]:
        return protocol.labelling.labels(voxels.cosines, allowed, voxels.scale)

    def true_label(allowed: NDArray[np.bool_]) -> NDArray[np.int32]:
        if bound is not None:
            return protocol.labelling.labels(bound.cosines, allowed, bound.scale)
        reach = MAX_DISTANCE_VOXELS * voxel_size
        labels, _ = neighbour_labels(voxels.centres, truth.points, truth.labels, reach=reach)
        return np.where(np.append(False, allowed)[labels], labels, 0).astype(np.int32)

    def answers(
        centres: NDArray[np.float64], labeller: Callable[[NDArray[np.bool_]], NDArray[np.int32]]
    ) -> tuple[Answers, Judgement]:
        judged = protocol.judge(truth, centres, labeller, variant, voxel_size)
        grounded = protocol.judge(truth, centres, labeller, variant, voxel_size, grounded=True)
        return Answers(judged.confusion, grounded.confusion, judged.coverage), judged

    model, judged = answers(voxels.centres, label)
    best, _ = answers((bound or voxels).centres, true_label)
    return VariantResult(model, best, judged.scored, judged.present), judged


def readable(frames: Frames, used: Iterable[int]) -> Iterable[RgbdFrame]:
    """Those of the frames that aren't damaged."""
    for index in used:
        try:
            yield frames[index]
        except InvalidFrameError:
            continue


def _relabelled(frame: RgbdFrame, names: tuple[str, ...], taught: tuple[str, ...]) -> RgbdFrame:
    """The frame with label ids of the ``taught`` names in place of those of all names; the rest is unlabelled."""
    assert frame.semantics is not None
    ids = [taught.index(name) + 1 if name in taught else 0 for name in names]
    lookup = torch.tensor([0, *ids], dtype=torch.int32, device=frame.semantics.device)
    return replace(frame, semantics=lookup[frame.semantics.long()])
