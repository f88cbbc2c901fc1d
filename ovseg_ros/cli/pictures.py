"""Questions with a picture in place of words, and answers looked up in the pictures that a map keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ovseg_ros.errors import OvsegError


def picture_matches(
    semantic_map: Any, path: Path, box: Sequence[int] | None, limits: Mapping[str, Any]
) -> tuple[Any, ...]:
    """What in a map looks like a picture, seen by the map's own backend.

    Args:
        semantic_map: a SemanticMap with features.
        path: of a PNG or JPEG file.
        box: left, top, right, bottom of the thing in it, pixels; None: all of it.
        limits: min_score and max_matches, where they are given.

    Raises:
        OvsegError: it isn't such a picture, or the map's space has words only.
    """
    import torch

    from ovseg_ros.datasets.image_header import claimed_size
    from ovseg_ros.query import ask_picture, check_has_pictures, look_at
    from ovseg_ros.query.calibration import MAX_PICTURE_SIDE
    from ovseg_ros.segmentation import backend_of, language_space, load_segmenter
    from ovseg_ros.visualization.pictures import read_picture

    space = language_space(semantic_map.space)
    check_has_pictures(space)
    if path.is_file() and (size := claimed_size(path)) and max(size) > MAX_PICTURE_SIDE:
        raise OvsegError(
            f"{path} has {size[0]}x{size[1]} pixels, the limit is {MAX_PICTURE_SIDE} a side: make it smaller"
        )
    rgb = torch.from_numpy(read_picture(path))
    picture = look_at(load_segmenter(backend_of(semantic_map.space)), rgb, box)
    return ask_picture(semantic_map, space, picture, **limits)


def verified_matches(
    semantic_map: Any, space: Any, queries: Sequence[str], limits: Mapping[str, Any]
) -> tuple[Any, ...]:
    """`ask`, with the answers looked up.

    Raises:
        OvsegError: the map keeps no pictures, or its backend can't look anything up.
    """
    from ovseg_ros.query import find, gather, verify_matches

    referrer = _referrer(semantic_map)
    return verify_matches(gather(semantic_map, find(semantic_map, space, queries, **limits)), referrer)


def verified_answer(semantic_map: Any, things: Sequence[Any], answer: Any) -> Any:
    """An `Answer` about things of a map, looked up.

    Raises:
        OvsegError: as `verified_matches`.
    """
    from ovseg_ros.query import best_views
    from ovseg_ros.referring import to_verify, verify_answer

    places = to_verify(answer)
    if not places:
        return answer
    referrer = _referrer(semantic_map)
    views = {place: best_views(semantic_map, things[place].keys) for place in places}
    return verify_answer(answer, views, referrer)


def _referrer(semantic_map: Any) -> Any:
    from ovseg_ros.query import check_has_views
    from ovseg_ros.segmentation import backend_of, load_segmenter, referrer_of

    check_has_views(semantic_map)
    return referrer_of(load_segmenter(backend_of(semantic_map.space)))
