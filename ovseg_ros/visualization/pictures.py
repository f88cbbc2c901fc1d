"""Pictures of a map with answers marked, and of an image with labels over it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from ovseg_ros.errors import OvsegError
from ovseg_ros.mapping import SemanticMap
from ovseg_ros.visualization.drawing import (
    FAINT,
    INK,
    WHITE,
    Colour,
    Image,
    draw_disc,
    draw_line,
    draw_ring,
    draw_scale_bar,
    draw_text,
    shorten,
)
from ovseg_ros.visualization.palette import label_colours
from ovseg_ros.visualization.views import Rendering, below_ceiling, indices_of, view_from_above, view_from_corner

WIDTH = 1600
MARGIN = 40
TITLE_HEIGHT = 84
FOOTER_HEIGHT = 96
LEGEND_WIDTH = 420
LEGEND_ROW = 58
DISC_RADIUS = 17
SUPERSAMPLING = 2
MAX_SCENE_HEIGHT = 1100
OVERLAY_OPACITY = 0.55
OVERLAY_MIN_WIDTH = 960

Position = tuple[float, float, float]


@dataclass(frozen=True)
class Mark:
    """An answer to show.

    Attributes:
        text: what was asked.
        position: of the answer in metres, map frame; None if nothing was found.
        score: 0..1, if there is one.
        truth: where it really is, if that is known; drawn as an open ring.
        note: a few more words for the legend.
    """

    text: str
    position: Position | None
    score: float | None = None
    truth: Position | None = None
    note: str = ""


def render_map(
    semantic_map: SemanticMap,
    view: Literal["top", "corner"] = "top",
    marks: Sequence[Mark] = (),
    *,
    colours: NDArray[np.uint8] | None = None,
    title: str = "",
    cut_height: float | None = None,
) -> NDArray[np.uint8]:
    """Draw a map on white, with the ceiling taken away.

    Args:
        semantic_map: the map; z is up.
        view: "top" is orthographic with a scale bar; "corner" is perspective without the near walls.
        marks: answers, numbered in this order, with a legend beside the picture.
        colours: (N, 3) uint8 RGB of the voxels; their mean colours if not given.
        title: written above.
        cut_height: voxels higher than this (metres, map frame) are left out; by default the ceiling goes.

    Returns:
        (H, 1600, 3) uint8 RGB.

    Raises:
        OvsegError: the map is empty, the view is unknown, or the colours don't fit.
    """
    if view not in ("top", "corner"):
        raise OvsegError(f"there is no view {view!r}: choose top or corner")
    if not semantic_map.voxel_count:
        raise OvsegError("the map is empty: there is nothing to draw before a frame has been integrated")
    colours = semantic_map.colours.cpu().numpy() if colours is None else colours
    if colours.shape != (semantic_map.voxel_count, 3):
        raise OvsegError(f"colours of shape {colours.shape} do not fit a map of {semantic_map.voxel_count} voxels")
    indices = indices_of(semantic_map.keys)
    voxel_size = semantic_map.config.voxel_size
    shown = below_ceiling(indices, voxel_size, cut_height)
    if not shown.any():
        raise OvsegError(f"no voxel lies below {cut_height} m: raise the height at which the map is cut")
    scene_width = WIDTH - 2 * MARGIN - (LEGEND_WIDTH + MARGIN if marks else 0)
    scene_height = _scene_height(indices[shown], view, scene_width)
    draw = view_from_above if view == "top" else view_from_corner
    size = (scene_width * SUPERSAMPLING, scene_height * SUPERSAMPLING)
    rendering = draw(indices[shown], colours[shown], voxel_size, size)
    height = max(TITLE_HEIGHT + scene_height + FOOTER_HEIGHT, TITLE_HEIGHT + LEGEND_ROW * (len(marks) + 2))
    canvas = np.full((height, WIDTH, 3), 255, dtype=np.uint8)
    small = cv2.resize(rendering.image, (scene_width, scene_height), interpolation=cv2.INTER_AREA)
    canvas[TITLE_HEIGHT : TITLE_HEIGHT + scene_height, MARGIN : MARGIN + scene_width] = small
    _draw_frame(canvas, semantic_map, title, rendering, TITLE_HEIGHT + scene_height)
    _draw_marks(canvas, rendering, marks)
    if marks:
        _draw_legend(canvas, marks, WIDTH - MARGIN - LEGEND_WIDTH)
    return canvas


def overlay(rgb: NDArray[np.uint8], labels: NDArray[np.int32], class_names: Sequence[str]) -> NDArray[np.uint8]:
    """Labels over a photo, with a legend of those present, the largest first.

    Args:
        rgb: (H, W, 3) uint8.
        labels: (H, W) label ids; 0 = unlabelled, id i + 1 is ``class_names[i]``.
        class_names: their names.

    Returns:
        (H', W', 3) uint8 RGB: the photo, enlarged if it is small, and the legend to its right.

    Raises:
        OvsegError: sizes differ, or a label has no name.
    """
    if rgb.shape[:2] != labels.shape or labels.max(initial=0) > len(class_names) or labels.min(initial=0) < 0:
        raise OvsegError(
            f"labels of shape {labels.shape} up to {labels.max(initial=0)} do not fit an image of shape {rgb.shape} "
            f"and {len(class_names)} names"
        )
    zoom = max(1, -(-OVERLAY_MIN_WIDTH // rgb.shape[1]))
    size = (rgb.shape[1] * zoom, rgb.shape[0] * zoom)
    photo = cv2.resize(rgb, size, interpolation=cv2.INTER_CUBIC).astype(np.float64)
    label_image = labels.repeat(zoom, axis=0).repeat(zoom, axis=1)
    palette = label_colours(len(class_names))
    opacity = np.where(label_image > 0, OVERLAY_OPACITY, 0.0)[..., None]
    blended = np.rint(photo * (1 - opacity) + palette[label_image] * opacity).astype(np.uint8)
    blended[_borders(label_image, width=zoom)] = WHITE
    present, counts = np.unique(labels[labels > 0], return_counts=True)
    present = present[np.argsort(-counts, kind="stable")]
    canvas = np.full((size[1], size[0] + LEGEND_WIDTH, 3), 255, dtype=np.uint8)
    canvas[:, : size[0]] = blended
    row_height = min(44.0, (size[1] - MARGIN) / max(len(present), 1))
    for row, label in enumerate(present):
        y = MARGIN + row * row_height
        colour = _colour(palette[label])
        left = size[0] + MARGIN // 2
        cv2.rectangle(canvas, (left, round(y - 10)), (left + 30, round(y + 10)), colour, -1, cv2.LINE_AA)
        percent = 100 * float(np.mean(labels == label))
        share = f"{percent:.0f} %" if percent >= 1 else "< 1 %"
        draw_text(canvas, shorten(class_names[label - 1], 17, LEGEND_WIDTH - 150), (left + 44, y), 17)
        draw_text(canvas, share, (size[0] + LEGEND_WIDTH - 70, y), 17, FAINT)
    return canvas


def read_picture(path: str | Path) -> NDArray[np.uint8]:
    """Read an image file as (H, W, 3) uint8 RGB.

    Raises:
        OvsegError: there is no such file, or it is not an image.
    """
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        reason = "is not an image that can be read" if Path(path).is_file() else "does not exist"
        raise OvsegError(f"{path} {reason}: give a PNG or JPEG file")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB).astype(np.uint8)


def write_picture(path: str | Path, image: NDArray[np.uint8]) -> None:
    """Write (H, W, 3) uint8 RGB; the ending of the name chooses the format.

    Raises:
        OvsegError: the folder is missing, the disk is full, or the ending is unknown.
    """
    try:
        written = Path(path).parent.is_dir() and cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    except cv2.error:
        written = False
    if not written:
        raise OvsegError(f"cannot write {path}: the folder must exist and the name end in .png or .jpg")


def _scene_height(indices: NDArray[np.int64], view: str, width: int) -> int:
    """As high as the scene needs at this width, within limits."""
    extent = np.ptp(indices, axis=0) + 1.0
    # From the corner a room looks about five sixths as high as wide, whatever its sides.
    share = extent[1] / extent[0] if view == "top" else 0.84
    return int(min(max(width * share, 320), MAX_SCENE_HEIGHT))


def _draw_frame(canvas: Image, semantic_map: SemanticMap, title: str, rendering: Rendering, bottom: int) -> None:
    draw_text(canvas, title, (MARGIN, TITLE_HEIGHT / 2), 26, INK, bold=True)
    size = f"{semantic_map.voxel_count:,} voxels of {100 * semantic_map.config.voxel_size:g} cm"
    if rendering.pixels_per_metre:
        draw_scale_bar(canvas, (MARGIN, bottom + 64), rendering.pixels_per_metre / SUPERSAMPLING)
        draw_text(canvas, size, (MARGIN + rendering.pixels_per_metre / SUPERSAMPLING + 190, bottom + 58), 16, FAINT)
    else:
        draw_text(canvas, size, (MARGIN, bottom + 58), 16, FAINT)


def _draw_marks(canvas: Image, rendering: Rendering, marks: Sequence[Mark]) -> None:
    palette = label_colours(len(marks))
    for number, mark in reversed(list(enumerate(marks, start=1))):
        colour = _colour(palette[number])
        truth = _on_canvas(rendering, mark.truth)
        answer = _on_canvas(rendering, mark.position)
        if truth and answer:
            draw_line(canvas, truth, answer, colour)
        if truth:
            draw_ring(canvas, truth, DISC_RADIUS + 6, colour)
        if answer:
            draw_disc(canvas, answer, DISC_RADIUS, colour, str(number))


def _draw_legend(canvas: Image, marks: Sequence[Mark], left: int) -> None:
    palette = label_colours(len(marks))
    room = LEGEND_WIDTH - 60
    for number, mark in enumerate(marks, start=1):
        y = TITLE_HEIGHT + LEGEND_ROW * (number - 0.5)
        draw_disc(canvas, (left + 20, y), DISC_RADIUS, _colour(palette[number]), str(number))
        draw_text(canvas, shorten(mark.text, 19, room), (left + 54, y - 11), 19)
        parts = [
            "not found" if mark.position is None else "",
            f"score {mark.score:.2f}" if mark.score is not None else "",
        ]
        words = ", ".join(part for part in (*parts, mark.note) if part)
        draw_text(canvas, shorten(words, 15, room), (left + 54, y + 13), 15, FAINT)
    if any(mark.truth for mark in marks):
        y = TITLE_HEIGHT + LEGEND_ROW * (len(marks) + 0.5)
        draw_ring(canvas, (left + 20, y), DISC_RADIUS - 4, FAINT)
        draw_text(canvas, "where it really is", (left + 54, y), 15, FAINT)


def _on_canvas(rendering: Rendering, position: Position | None) -> tuple[float, float] | None:
    if position is None:
        return None
    pixels, _ = rendering.project(np.array([position], dtype=np.float64))
    column, row = pixels[0] / SUPERSAMPLING
    return float(column) + MARGIN, float(row) + TITLE_HEIGHT


def _borders(label_image: NDArray[np.int32], width: int) -> NDArray[np.bool_]:
    """(H, W) labels -> (H, W) whether the label changes within ``width`` pixels to the right or below."""
    borders = np.zeros(label_image.shape, dtype=np.bool_)
    borders[:, :-width] |= label_image[:, :-width] != label_image[:, width:]
    borders[:-width] |= label_image[:-width] != label_image[width:]
    return borders


def _colour(row: NDArray[np.uint8]) -> Colour:
    return int(row[0]), int(row[1]), int(row[2])
