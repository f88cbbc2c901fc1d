"""The whole system in one sentence: frames are segmented, fused into a map, and the map is asked."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ovseg_ros.keyframes import EVERY_FRAME, KeyframeConfig, KeyframeSelector
from ovseg_ros.mapping import MappingConfig, SemanticMap
from ovseg_ros.types import InvalidFrameError, RgbdFrame, Segmenter, segment


@dataclass(frozen=True)
class MappingReport:
    """What happened while a map was built.

    Attributes:
        frames: frames in the map.
        seconds: wall time, reading and segmentation included.
        skipped: cause -> number of frames that could not be used.
        reasons: cause -> what to do about it, as the first such frame said.
        passed_over: frames that were no keyframes.
    """

    frames: int
    seconds: float
    skipped: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    passed_over: int = 0


@runtime_checkable
class PosedSequence(Protocol):
    """A recording that knows its poses without decoding or rendering images."""

    def pose_at(self, index: int) -> tuple[NDArray[np.float64], int]:
        """(4, 4) camera -> world and stamp in nanoseconds of frame ``index``."""


def build_map(
    sequence: Sequence[RgbdFrame],
    segmenter: Segmenter,
    config: MappingConfig,
    *,
    every: int = 1,
    keyframes: KeyframeConfig = EVERY_FRAME,
    device: str = "cpu",
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> tuple[SemanticMap, MappingReport]:
    """Map a recording.

    Args:
        sequence: frames with poses; damaged ones are skipped and counted.
        segmenter: turns colour into features.
        config: of the map.
        every: use every n-th frame.
        keyframes: which of these reach the model; the poses of a PosedSequence are asked before its images.
        device: where the map lives.
        progress: wraps the frame numbers, as tqdm does.
    """
    semantic_map = SemanticMap(config, space=segmenter.space.id, vocabulary=segmenter.vocabulary, device=device)
    skipped: Counter[str] = Counter()
    reasons: dict[str, str] = {}
    selector = KeyframeSelector(keyframes)
    frames = passed_over = 0
    started = time.perf_counter()
    for number in progress(range(0, len(sequence), every)):
        try:
            if not (keyframes.every_frame or selector.due(*_pose_at(sequence, number))):
                passed_over += 1
                continue
            frame = sequence[number]
            segmentation = segment(segmenter, frame)
            semantic_map.integrate(frame, segmentation)
            selector.accept(frame.pose.cpu().numpy(), frame.stamp_ns)
            frames += 1
        except InvalidFrameError as error:
            skipped[error.cause] += 1
            reasons.setdefault(error.cause, f"frame {number}: {error}")
    seconds = time.perf_counter() - started
    return semantic_map, MappingReport(frames, seconds, dict(skipped), reasons, passed_over)


def _pose_at(sequence: Sequence[RgbdFrame], number: int) -> tuple[NDArray[np.float64], int]:
    if isinstance(sequence, PosedSequence):
        return sequence.pose_at(number)
    frame = sequence[number]
    return frame.pose.cpu().numpy(), frame.stamp_ns
