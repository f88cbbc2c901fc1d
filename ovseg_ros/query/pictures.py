"""A picture in place of words: where in the map does it look like this?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as functional

from ovseg_ros.errors import OvsegError
from ovseg_ros.mapping import SemanticMap
from ovseg_ros.query.calibration import (
    LIKENESS,
    LIKENESS_SLOPE,
    MAX_MATCHES,
    MAX_PICTURE_SIDE,
    MIN_PICTURE_SIDE,
    MIN_SCORE,
    VOXEL_SCORE,
    check_limits,
)
from ovseg_ros.query.map_index import space_of
from ovseg_ros.query.matches import Candidates, Match, matches_of
from ovseg_ros.query.similarity import map_index
from ovseg_ros.types import ConceptSpace, LanguageSpace, Segmenter

QUERY = "picture"
"""The query of a match with a picture."""

WORKING_SIDE = 1280
"""Longer sides are scaled down to this first: maps are made of camera images of about this size."""

MIDDLE = 0.5
"""Share of the box, along each side, that is taken for the thing: what is nearer to the border often isn't."""

BACKGROUND_SAMPLES = 4096
"""Features, evenly spread over the map, of which the mean is taken."""


@dataclass(frozen=True)
class PictureQuery:
    """What a model sees in the middle of a picture.

    Attributes:
        feature: (C,) mean feature, as maps hold them.
        space: id of its space.
    """

    feature: torch.Tensor
    space: str


def look_at(segmenter: Segmenter, rgb: torch.Tensor, box: Sequence[int] | None = None) -> PictureQuery:
    """Run the model over a picture. Takes as long as a frame; needs no map.

    Args:
        segmenter: the backend that the map was built with.
        rgb: (H, W, 3) uint8; 16 to 8192 pixels on each side.
        box: left, top, right, bottom of the thing in the picture, pixels, right and bottom exclusive; None: all of it.
            What is around the thing helps to recognise it, so a whole image with a box is better than a crop.

    Raises:
        OvsegError: it isn't such a picture or box, or the model's space has words only.
    """
    check_has_pictures(segmenter.space)
    left, top, right, bottom = _checked(rgb, box)
    height, width = rgb.shape[:2]
    features = segmenter(_reduced(rgb)).features
    across = _middle_cells(left / width, right / width, features.shape[2])
    down = _middle_cells(top / height, bottom / height, features.shape[1])
    return PictureQuery(features[:, down, across].float().mean(dim=(1, 2)), segmenter.space.id)


def check_has_pictures(space: LanguageSpace) -> None:
    """Raise an OvsegError where pictures can't be compared with what a map holds."""
    if isinstance(space, ConceptSpace):
        raise OvsegError(
            f"{space.id!r} scores the concepts that it is asked for and has no feature for a picture: ask in words, or "
            "map with a backend of language features such as openseg or radseg"
        )


def ask_picture(
    semantic_map: SemanticMap,
    space: LanguageSpace,
    picture: PictureQuery,
    *,
    min_score: float = MIN_SCORE,
    max_matches: int = MAX_MATCHES,
) -> tuple[Match, ...]:
    """Find what looks like a picture.

    A voxel's score grows with the cosine between its feature and the picture's, both after the mean feature of the map
    is taken away: what all of the map has in common says nothing.

    Args:
        semantic_map: where to look.
        space: the language space that the map's features are of.
        picture: from `look_at` with a model of that space.
        min_score: 0..1; weaker voxels and matches don't count.
        max_matches: at most this many.

    Returns:
        Matches with the query "picture", the best first; none where nothing looks like it.

    Raises:
        OvsegError: an argument breaks a limit, or the map or the picture is of another space.
    """
    check_limits(min_score, max_matches)
    space = space_of(semantic_map, space)
    if picture.space != space.id:
        raise OvsegError(
            f"the picture was seen by {picture.space!r}, the map holds features of {space.id!r}: look at it with the "
            "backend and weights that the map was built with"
        )
    wanted = space.align(picture.feature[None].to(semantic_map.device))[0]
    background = _mean_direction(semantic_map, space)
    candidates = []
    for part in semantic_map.parts():
        scores = _scores(part, space, wanted, background)
        candidates.append(Candidates.chosen(part, scores, torch.ones_like(scores), min(min_score, VOXEL_SCORE)))
    found = Candidates.joined(candidates)
    matches = matches_of(semantic_map, QUERY, found, min_score=min_score, max_matches=max_matches)
    return tuple(entry.match for entry in matches)


def _scores(
    semantic_map: SemanticMap, space: LanguageSpace, wanted: torch.Tensor, background: torch.Tensor
) -> torch.Tensor:
    """(N,) 0..1 from the picture's (D,) unit feature and the map's (D,) mean."""
    if not semantic_map.voxel_count:
        return torch.zeros(0, device=semantic_map.device)
    index = map_index(semantic_map, space)
    direction = functional.normalize(wanted - background, dim=0)
    products = torch.cat(list(index.cosines(torch.stack((direction, background)))), dim=1)
    along, common = index.expand(products)
    # The length of a unit feature without the mean follows from its product with the mean.
    length = (1.0 - 2.0 * common + background.square().sum()).clamp(min=1e-6).sqrt()
    cosine = (along - direction @ background) / length
    says_something = (along != 0) | (common != 0)
    return torch.where(says_something, torch.sigmoid(LIKENESS_SLOPE * (cosine - LIKENESS)), 0.0)


def _mean_direction(semantic_map: SemanticMap, space: LanguageSpace) -> torch.Tensor:
    """(D,) mean of the unit features of voxels spread over the map."""
    step = max(1, semantic_map.feature_voxel_count // BACKGROUND_SAMPLES)
    samples = [chunk[::step].float() for chunk in semantic_map.feature_chunks()]
    stored = torch.cat(samples) if samples else torch.zeros(0, semantic_map.channels, device=semantic_map.device)
    features = semantic_map.codec.decode(stored) if semantic_map.codec else stored
    return space.align(features).sum(dim=0) / max(1, len(features))


def _checked(rgb: torch.Tensor, box: Sequence[int] | None) -> tuple[int, int, int, int]:
    """The box, that of the whole picture for None."""
    if rgb.dtype != torch.uint8 or rgb.dim() != 3 or rgb.shape[2] != 3:
        raise OvsegError(f"a picture is (H, W, 3) uint8, got {tuple(rgb.shape)} {rgb.dtype}: convert it")
    height, width = rgb.shape[:2]
    if not (min(height, width) >= MIN_PICTURE_SIDE and max(height, width) <= MAX_PICTURE_SIDE):
        raise OvsegError(
            f"a picture needs {MIN_PICTURE_SIDE} to {MAX_PICTURE_SIDE} pixels on each side, got {width}x{height}: "
            "give a larger part of the image with a box, or a smaller image"
        )
    left, top, right, bottom = (0, 0, width, height) if box is None else (int(value) for value in box)
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
        raise OvsegError(
            f"the box {left} {top} {right} {bottom} isn't one in a picture of {width}x{height} pixels: give left, top, "
            "right and bottom, of which right and bottom are larger"
        )
    return left, top, right, bottom


def _reduced(rgb: torch.Tensor) -> torch.Tensor:
    scale = WORKING_SIDE / max(rgb.shape[:2])
    if scale >= 1.0:
        return rgb
    size = [max(MIN_PICTURE_SIDE, round(side * scale)) for side in rgb.shape[:2]]
    image = functional.interpolate(
        rgb.permute(2, 0, 1)[None].float(), size, mode="bilinear", align_corners=False, antialias=True
    )
    return image[0].permute(1, 2, 0).round().to(torch.uint8)


def _middle_cells(start: float, end: float, cells: int) -> slice:
    """The cells of a grid over 0..1 whose centres lie in the middle of a stretch, or the one that its centre is in."""
    centre, reach = (start + end) / 2, MIDDLE * (end - start) / 2
    first, last = round((centre - reach) * cells), round((centre + reach) * cells)
    return slice(first, last) if last > first else slice(int(centre * cells), int(centre * cells) + 1)
