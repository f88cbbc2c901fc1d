"""The whole system in one sentence: frames are segmented, fused into a map, and the map is asked."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from ovseg_ros.mapping import MappingConfig, SemanticMap
from ovseg_ros.types import InvalidFrameError, RgbdFrame, Segmenter


@dataclass(frozen=True)
class MappingReport:
    """What happened while a map was built.

    Attributes:
        frames: frames in the map.
        seconds: wall time, reading and segmentation included.
        skipped: cause -> number of frames that could not be used.
        reasons: cause -> what to do about it, as the first such frame said.
    """

    frames: int
    seconds: float
    skipped: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)


def build_map(
    sequence: Sequence[RgbdFrame],
    segmenter: Segmenter,
    config: MappingConfig,
    *,
    every: int = 1,
    device: str = "cpu",
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> tuple[SemanticMap, MappingReport]:
    """Map a recording.

    Args:
        sequence: frames with poses; damaged ones are skipped and counted.
        segmenter: turns colour into features.
        config: of the map.
        every: use every n-th frame.
        device: where the map lives.
        progress: wraps the frame numbers, as tqdm does.
    """
    semantic_map = SemanticMap(config, space=segmenter.space.id, vocabulary=segmenter.vocabulary, device=device)
    skipped: Counter[str] = Counter()
    reasons: dict[str, str] = {}
    frames = 0
    started = time.perf_counter()
    for number in progress(range(0, len(sequence), every)):
        try:
            frame = sequence[number]
            segmentation = segmenter(frame.rgb)
            semantic_map.integrate(frame, segmentation)
            frames += 1
        except InvalidFrameError as error:
            skipped[error.cause] += 1
            reasons.setdefault(error.cause, f"frame {number}: {error}")
    seconds = time.perf_counter() - started
    return semantic_map, MappingReport(frames, seconds, dict(skipped), reasons)
