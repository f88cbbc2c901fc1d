"""A sentence and posed images: what a model finds in them, brought to one place in the world.

For cameras that look at the thing from several poses, such as a drone's that look down.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch

from ovseg_ros.errors import OvsegError
from ovseg_ros.mapping import MappingConfig, VoxelVotes
from ovseg_ros.mapping.view import View
from ovseg_ros.query import UprightBox, upright_box
from ovseg_ros.query.components import connected_voxels
from ovseg_ros.types import InvalidFrameError, Referrer, RgbdFrame

MIN_SHARE = 0.5
MIN_VIEWS = 2
MAX_GAP = 1
"""Empty voxels that may lie between two of one thing."""

Look = tuple[str, Callable[[], tuple[RgbdFrame, torch.Tensor]]]
"""The name of a frame for errors, and what gives it with its (H, W) bool mask or raises an InvalidFrameError."""


@dataclass(frozen=True)
class Place:
    """Where a thing is.

    Attributes:
        box: around its voxels, in the frame of the poses.
        keys: (n,) int64 its packed voxels.
        shares: (n,) float32: of the views that judged each voxel, the part in which it was inside the mask.
        views: the most that judged one of its voxels.
        voxel_size: metres.
    """

    box: UprightBox
    keys: torch.Tensor
    shares: torch.Tensor
    views: int
    voxel_size: float

    @property
    def score(self) -> float:
        """Mean share, 0..1."""
        return float(self.shares.mean())


@dataclass(frozen=True)
class Search:
    """What came of looking through a recording.

    Attributes:
        place: None if no voxel was inside often enough.
        frames: frames looked at.
        masks: of these, frames in which the model found something.
        skipped: cause -> number of frames that could not be used.
    """

    place: Place | None
    frames: int
    masks: int
    skipped: dict[str, int] = field(default_factory=dict)


def find_in_recording(
    sequence: Sequence[RgbdFrame],
    referrer: Referrer,
    expression: str,
    config: MappingConfig,
    *,
    every: int = 1,
    min_share: float = MIN_SHARE,
    device: str = "cpu",
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> Search:
    """Ask a model about each frame, and say where its masks agree.

    A model that knows nothing of the other images may mean other things in some of them. So each view gives each voxel
    that it sees one vote. Of the connected parts that enough views call inside, the place is the one that most views
    agree on; votes decide between equals. A large mask that is wrong in two views doesn't outweigh a small thing.

    Args:
        sequence: frames with depth and poses; damaged ones are skipped and counted.
        referrer: the model.
        expression: "the bridge on the left".
        config: voxel size, depth range and region.
        every: use every n-th frame.
        min_share: of a voxel's views, the part that must have it inside, above 0 and at most 1.
        device: where votes are counted.
        progress: wraps the frame numbers, as tqdm does.

    Raises:
        OvsegError: for a ``min_share`` out of range, an expression that the model can't take, or a recording of which
            no frame could be used.
    """
    if not 0 < min_share <= 1:
        raise OvsegError(f"min_share must be above 0 and at most 1, got {min_share}: 0.5 asks for half of the views")

    def looks() -> Iterator[Look]:
        for number in progress(range(0, len(sequence), every)):
            yield f"frame {number}", partial(_look_at_frame, sequence, number, referrer, expression)

    return _search(looks(), VoxelVotes(config, device), min_share, "the recording")


def find_in_views(views: Sequence[View], referrer: Referrer, expression: str, config: MappingConfig) -> Search:
    """`find_in_recording` over the pictures that a map keeps, at the resolution of their depth.

    Args:
        views: of `SemanticMap.views`.
        referrer: the model; it sees the pictures whole.
        expression: "the bridge on the left".
        config: of the map.

    Raises:
        OvsegError: there are no pictures, or an expression that the model can't take.
    """
    if not views:
        raise OvsegError(
            f"the map keeps no pictures to look for {expression[:60]!r} in: map with views (mapping.views)"
        )
    looks = ((f"picture {i}", partial(_look_at_view, view, referrer, expression)) for i, view in enumerate(views))
    return _search(looks, VoxelVotes(config), MIN_SHARE, "the map's pictures")


def _look_at_frame(
    sequence: Sequence[RgbdFrame], number: int, referrer: Referrer, expression: str
) -> tuple[RgbdFrame, torch.Tensor]:
    frame = sequence[number]
    return frame, referrer.refer(frame.rgb, [expression]).masks[0]


def _look_at_view(view: View, referrer: Referrer, expression: str) -> tuple[RgbdFrame, torch.Tensor]:
    size = (view.depth_codes.shape[0], view.depth_codes.shape[1])
    return view.coarse_frame(), referrer.refer(view.rgb(), [expression], size).masks[0].cpu()


def _search(looks: Iterable[Look], votes: VoxelVotes, min_share: float, source: str) -> Search:
    """Let every look vote; those without a usable frame are counted and left out."""
    skipped: Counter[str] = Counter()
    reason = "it has none"
    frames = masks = 0
    for name, look in looks:
        try:
            frame, mask = look()
            votes.add(frame, mask)
            frames, masks = frames + 1, masks + bool(mask.any())
        except InvalidFrameError as error:
            skipped[error.cause] += 1
            reason = f"{name}: {error}"
    if not frames:
        raise OvsegError(f"no frame of {source} could be used: {reason}")
    return Search(_place(votes, min_share, min(MIN_VIEWS, frames)), frames, masks, dict(skipped))


def _place(votes: VoxelVotes, min_share: float, min_views: int) -> Place | None:
    shares = votes.inside / votes.views
    chosen = ((votes.views >= min_views) & (shares >= min_share)).nonzero().squeeze(1)
    if not len(chosen):
        return None
    keys, inside = votes.keys[chosen], votes.inside[chosen]
    parts, counts = connected_voxels(keys.cpu().numpy(), MAX_GAP), inside.cpu().numpy()
    agreeing = np.zeros(parts.max() + 1, counts.dtype)
    np.maximum.at(agreeing, parts, counts)
    best = np.lexsort((np.bincount(parts, counts), agreeing))[-1]
    within = torch.from_numpy(parts == best).to(chosen.device)
    rows = chosen[within]
    return Place(
        box=upright_box(keys[within], votes.config.voxel_size),
        keys=keys[within],
        shares=shares[rows],
        views=int(votes.views[rows].max()),
        voxel_size=votes.config.voxel_size,
    )
