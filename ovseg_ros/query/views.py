"""The pictures of a map in which a thing is seen best."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ovseg_ros.errors import OvsegError
from ovseg_ros.mapping import SemanticMap
from ovseg_ros.mapping.view import View

VIEWS_PER_THING = 3

MIN_SHARE = 0.2
"""Of a thing's voxels, that a picture must show."""

AGAIN = 0.5
"""What a voxel that a better picture shows counts in the next one, so that they show different sides."""


@dataclass(frozen=True)
class ThingView:
    """A thing in a picture.

    Attributes:
        view: the picture.
        mask: (h, w) bool, where the thing is, on the grid of the view's depth image.
        share: of its voxels that are seen, 0..1.
    """

    view: View
    mask: torch.Tensor
    share: float


def check_has_views(semantic_map: SemanticMap) -> None:
    """Raise an OvsegError where nothing can be looked up."""
    if not len(semantic_map.views):
        raise OvsegError(
            "the map keeps no pictures to look answers up in: map with views (--views 40, mapping.views), or ask "
            "without verifying"
        )


def best_views(semantic_map: SemanticMap, keys: torch.Tensor, count: int = VIEWS_PER_THING) -> tuple[ThingView, ...]:
    """The pictures that show most voxels of a thing, and then most of those that the others don't.

    A picture shows a voxel if a reading of its depth image fell into it: what is hidden, or wasn't there yet, isn't
    seen, and the farther away a thing is, the fewer readings hit its voxels.

    Args:
        semantic_map: that keeps pictures (`MappingConfig.views`).
        keys: (n,) int64 packed voxels of the thing, n > 0.
        count: pictures at most.

    Returns:
        The best first; none where no picture shows enough of it.
    """
    keys = keys.cpu()
    views = list(semantic_map.views)
    if not views:
        return ()
    hits = torch.stack([torch.isin(keys, view.seen) for view in views]).float()
    shares = hits.mean(dim=1)
    worth = torch.ones(len(keys))
    chosen: list[int] = []
    while len(chosen) < min(count, len(views)):
        gains = torch.where(shares >= MIN_SHARE, hits @ worth, 0.0)
        gains[chosen] = 0.0
        best = int(gains.argmax())
        if not gains[best]:
            break
        chosen.append(best)
        worth *= 1.0 - (1.0 - AGAIN) * hits[best]
    return tuple(ThingView(views[i], torch.isin(views[i].voxels(), keys), float(shares[i])) for i in chosen)
