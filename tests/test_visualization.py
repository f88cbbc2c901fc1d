"""Pictures show what is there, where it is: pixels are read back, not only sizes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from painted_rooms import Painting

from ovseg_ros.datasets.ply import read_binary_ply
from ovseg_ros.errors import OvsegError
from ovseg_ros.geometry import pack_keys
from ovseg_ros.mapping import MappingConfig, SemanticMap
from ovseg_ros.visualization import (
    Mark,
    Stand,
    heat_colours,
    label_colours,
    overlay,
    read_picture,
    render_map,
    render_stand,
    write_picture,
    write_point_cloud,
)
from ovseg_ros.visualization.plans import COLOURS
from ovseg_ros.visualization.splatting import splat
from ovseg_ros.visualization.views import near_walls, view_from_above, view_from_corner
from ovseg_ros.vocabulary import Vocabulary

FREE_COLOUR, OCCUPIED_COLOUR = COLOURS[0], COLOURS[100]
RED, GREEN, BLUE, GREY = (220, 20, 20), (20, 200, 20), (20, 20, 220), (150, 150, 150)


def box_room() -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """4 x 3 x 2.5 m: red floor, blue ceiling, grey walls, and a green block in the corner (-x, -y)."""
    parts: list[tuple[tuple[int, int, int], NDArray[np.int64]]] = []
    x, y, z = np.arange(80), np.arange(60), np.arange(50)
    grid = lambda *axes: np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)  # noqa: E731
    parts.append((RED, grid(x, y, [0])))
    parts.append((BLUE, grid(x, y, [49])))
    inner = z[1:-1]
    parts += [(GREY, grid([0, 79], y, inner)), (GREY, grid(x[1:-1], [0, 59], inner))]
    parts.append((GREEN, grid(x[5:25], y[5:20], z[1:12])))
    indices = np.concatenate([part for _, part in parts])
    colours = np.concatenate([np.tile(np.array(colour, np.uint8), (len(part), 1)) for colour, part in parts])
    return indices, colours


def make_map() -> SemanticMap:
    indices, colours = box_room()
    count = len(indices)
    columns = {
        "keys": pack_keys(torch.from_numpy(indices)),
        "weights": torch.ones(count),
        "colours": torch.from_numpy(colours).float(),
        "features": torch.zeros(count, 1),
        "last_seen": torch.zeros(count, dtype=torch.int64),
    }
    return SemanticMap.from_columns(
        columns, config=MappingConfig(voxel_size=0.05), space="test", vocabulary=Vocabulary(()), revision=1
    )


def is_like(image: NDArray[np.uint8], colour: tuple[int, int, int]) -> NDArray[np.bool_]:
    """Pixels of this hue, whatever the shading."""
    direction = np.array(colour) / np.linalg.norm(colour)
    length = np.linalg.norm(image.astype(float), axis=2)
    return (image @ direction / np.maximum(length, 1) > 0.99) & (length > 40)


def test_nearest_point_wins_whatever_the_order() -> None:
    pixels = np.array([[2.0, 2.0], [3.0, 2.0], [2.0, 3.0]])
    depths = np.array([2.0, 1.0, 3.0])
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
        seen, depth = splat(pixels[order], depths[order], 3, (6, 6))
        names = np.where(seen >= 0, np.array(order)[seen], -1)
        assert names[2].tolist() == [-1, 0, 1, 1, 1, -1]
        assert names[4].tolist() == [-1, 2, 2, 2, -1, -1]
        assert depth[2, 2] == 1.0 and depth[4, 1] == 3.0 and np.isinf(depth[0, 0])


def test_nearest_wins_among_points_on_one_pixel() -> None:
    pixels = np.full((4, 2), 2.0)
    seen, _ = splat(pixels, np.array([3.0, 1.0, 2.0, 4.0]), 1, (5, 5))
    assert seen[2, 2] == 1


def test_points_outside_the_picture_are_left_out() -> None:
    seen, _ = splat(np.array([[-50.0, 1.0], [1.0, 400.0], [0.0, 0.0]]), np.ones(3), 3, (4, 4))
    assert seen[0, 0] == 2 and set(np.unique(seen)) == {-1, 2}


def test_view_from_above_looks_below_the_ceiling() -> None:
    image = render_map(make_map(), "top")
    assert image.shape[1] == 1600 and image.dtype == np.uint8
    assert not is_like(image, BLUE).any()
    assert is_like(image, RED).mean() > 0.3
    rows, columns = np.nonzero(is_like(image, GREEN) & (np.arange(1600) < 900)[None, :])
    red_rows, red_columns = np.nonzero(is_like(image, RED))
    # The block stands at small x and small y: left, and low in a picture whose y points up.
    assert columns.mean() < red_columns.mean() and np.median(rows) > red_rows.mean()


def test_ceiling_comes_back_when_nothing_is_cut() -> None:
    assert is_like(render_map(make_map(), "top", cut_height=10.0), BLUE).mean() > 0.3


def test_view_from_above_is_to_scale() -> None:
    indices, colours = box_room()
    rendering = view_from_above(indices, colours, 0.05, (800, 600))
    pixels, _ = rendering.project(np.array([[1.0, 1.0, 0.0], [2.0, 1.0, 1.0], [1.0, 2.0, 0.0]]))
    scale = rendering.pixels_per_metre
    assert scale == pytest.approx(200.0)
    np.testing.assert_allclose(pixels[1] - pixels[0], [scale, 0], atol=1e-9)
    np.testing.assert_allclose(pixels[2] - pixels[0], [0, -scale], atol=1e-9)


def test_corner_view_looks_into_the_room() -> None:
    image = render_map(make_map(), "corner")
    assert not is_like(image, BLUE).any()
    assert is_like(image, RED).mean() > 0.08
    assert is_like(image, GREEN).mean() > 0.01


def test_near_walls_go_and_far_walls_stay() -> None:
    indices, _ = box_room()
    low = indices[indices[:, 2] < 40]
    gone = near_walls(low, 0.05, np.array([0.4, -0.8, 0.7]))
    x, y, z = low.T
    wall_height = z > 5
    assert gone[(x == 79) & wall_height & (y > 5) & (y < 55)].all()
    assert gone[(y == 0) & wall_height & (x > 5) & (x < 75)].all()
    assert not gone[(x == 0) & (y > 5)].any() and not gone[(y == 59) & (x < 74)].any()
    assert not gone[(x > 5) & (x < 70) & (y > 5) & (y < 55)].any()


def test_projection_of_the_corner_view_agrees_with_its_pixels() -> None:
    indices, colours = box_room()
    low = indices[:, 2] < 40
    rendering = view_from_corner(indices[low], colours[low], 0.05, (1000, 800))
    top_of_block, _ = rendering.project(np.array([[14.5 * 0.05, 12 * 0.05, 11.5 * 0.05]]))
    column, row = np.rint(top_of_block[0]).astype(int)
    assert is_like(rendering.image, GREEN)[row, column]
    height, width = rendering.image.shape[:2]
    pixels, _ = rendering.project(indices[low & (indices[:, 0] < 70)] * 0.05)
    assert (pixels >= 0).all() and (pixels < [width, height]).all()


@pytest.mark.parametrize("view", ["top", "corner"])
def test_marks_lie_where_the_answers_are(view: str) -> None:
    plain_map, position = make_map(), (2.0, 1.5, 0.05)
    marked = render_map(plain_map, view, [Mark("chair", position, 0.9), Mark("unicorn", None)])
    moved = render_map(plain_map, view, [Mark("chair", (2.5, 1.5, 0.05), 0.9), Mark("unicorn", None)])
    disc = np.all(marked == label_colours(2)[1], axis=2) & (np.arange(1600) < 1100)[None, :]
    other = np.all(moved == label_colours(2)[1], axis=2) & (np.arange(1600) < 1100)[None, :]
    assert disc.sum() > 200
    step = np.argwhere(other).mean(axis=0) - np.argwhere(disc).mean(axis=0)
    assert step[1] > 50
    legend = marked[:, 1150:]
    assert np.all(legend == label_colours(2)[2], axis=2).sum() > 200


def test_truth_is_shown_beside_the_answer() -> None:
    mark = Mark("chair", (1.0, 1.0, 0.1), 0.9, truth=(3.0, 2.0, 0.1))
    bare = render_map(make_map(), "top", [Mark("chair", (1.0, 1.0, 0.1), 0.9)])
    shown = render_map(make_map(), "top", [mark])
    colour = label_colours(1)[1]
    assert np.all(shown[:, :1100] == colour, axis=2).sum() > np.all(bare[:, :1100] == colour, axis=2).sum() + 200


def test_given_colours_replace_the_maps_own() -> None:
    colours = np.tile(np.array(BLUE, np.uint8), (make_map().voxel_count, 1))
    image = render_map(make_map(), "top", colours=colours)
    assert not is_like(image, GREEN)[:900].any() and is_like(image, BLUE).mean() > 0.3


def test_a_tiny_map_can_be_drawn() -> None:
    whole = make_map()
    columns = {name: column[:1] for name, column in whole.columns.items()}
    single = SemanticMap.from_columns(columns, config=whole.config, space="test", vocabulary=Vocabulary(()), revision=1)
    for view in ("top", "corner"):
        assert is_like(render_map(single, view), RED).any()


def test_what_cannot_be_drawn_is_said() -> None:
    with pytest.raises(OvsegError, match="map is empty"):
        render_map(SemanticMap())
    with pytest.raises(OvsegError, match="no view 'side'"):
        render_map(make_map(), "side")  # type: ignore[arg-type]
    with pytest.raises(OvsegError, match="do not fit"):
        render_map(make_map(), colours=np.zeros((2, 3), np.uint8))
    with pytest.raises(OvsegError, match="no voxel lies below"):
        render_map(make_map(), cut_height=-5.0)


def test_pictures_are_written_as_rgb(tmp_path: Path) -> None:
    image = np.zeros((10, 12, 3), np.uint8)
    image[..., 0] = 255
    write_picture(tmp_path / "red.png", image)
    assert cv2.imread(str(tmp_path / "red.png"))[0, 0].tolist() == [0, 0, 255]
    for path in (tmp_path / "none" / "red.png", tmp_path / "red.unknown"):
        with pytest.raises(OvsegError, match="cannot write"):
            write_picture(path, image)


def test_pictures_are_read_as_rgb(tmp_path: Path) -> None:
    image = np.zeros((10, 12, 3), np.uint8)
    image[..., 0] = 255
    write_picture(tmp_path / "red.png", image)
    np.testing.assert_array_equal(read_picture(tmp_path / "red.png"), image)
    (tmp_path / "text.png").write_text("not a picture")
    with pytest.raises(OvsegError, match="is not an image"):
        read_picture(tmp_path / "text.png")
    with pytest.raises(OvsegError, match="does not exist"):
        read_picture(tmp_path / "none.png")


def test_overlay_colours_labels_and_names_them() -> None:
    rgb = np.full((60, 80, 3), 90, np.uint8)
    labels = np.zeros((60, 80), np.int32)
    labels[:, 50:] = 3
    image = overlay(rgb, labels, ("wall", "chair", "lamp"))
    assert image.shape == (720, 960 + 420, 3)
    palette = label_colours(3)
    assert np.abs(image[300, 200].astype(int) - 90).max() <= 1
    expected = 0.45 * 90 + 0.55 * palette[3]
    np.testing.assert_allclose(image[300, 900], expected, atol=1.5)
    chips = image[:, 960:]
    assert np.all(chips == palette[3], axis=2).sum() > 300
    assert not np.all(chips == palette[1], axis=2).any()
    with pytest.raises(OvsegError, match="do not fit"):
        overlay(rgb, labels, ("wall",))


def test_point_cloud_carries_colour_label_and_score(tmp_path: Path) -> None:
    semantic_map = make_map()
    count = semantic_map.voxel_count
    labels = (np.arange(count) % 5).astype(np.int32)
    scores = np.linspace(0, 1, count, dtype=np.float32)
    write_point_cloud(tmp_path / "rgb.ply", semantic_map)
    cloud = read_binary_ply(tmp_path / "rgb.ply")
    points, triangles, comments = cloud.vertices, cloud.triangles, cloud.comments
    np.testing.assert_allclose(np.stack([points[axis] for axis in "xyz"], 1), semantic_map.centres, atol=1e-5)
    assert (points["red"][0], points["green"][0], points["blue"][0]) == RED
    assert len(triangles) == 0 and comments == ("frame map",)
    write_point_cloud(tmp_path / "label.ply", semantic_map, labels=labels)
    points = read_binary_ply(tmp_path / "label.ply").vertices
    np.testing.assert_array_equal(points["label"], labels)
    np.testing.assert_array_equal(points["red"], label_colours(4)[labels][:, 0])
    write_point_cloud(tmp_path / "score.ply", semantic_map, scores=scores)
    points = read_binary_ply(tmp_path / "score.ply").vertices
    np.testing.assert_array_equal(points["score"], scores)
    np.testing.assert_array_equal(points["red"], heat_colours(scores)[:, 0])
    with pytest.raises(OvsegError, match="do not fit"):
        write_point_cloud(tmp_path / "bad.ply", semantic_map, labels=labels[:3])
    with pytest.raises(OvsegError, match="cannot write"):
        write_point_cloud(tmp_path / "none" / "bad.ply", semantic_map)


def test_label_colours_are_fixed_and_distinct() -> None:
    np.testing.assert_array_equal(label_colours(5), label_colours(40)[:6])
    assert len(np.unique(label_colours(64), axis=0)) == 65


def test_heat_grows_brighter() -> None:
    brightness = heat_colours(np.array([0.0, 0.3, 0.6, 1.0, np.nan])).sum(axis=1, dtype=int)
    assert (np.diff(brightness[:4]) > 0).all() and brightness[4] == brightness[0]
    red, _, blue = heat_colours(np.array([0.6]))[0]
    assert red > blue


def test_a_stand_shows_free_space_the_thing_and_where_the_robot_looks() -> None:
    world = Painting().room((0, 0), (6, 5)).box((4, 2, 0.1), (4.4, 2.4, 0.8), name="chair")
    stand = Stand("chair", (2.0, 1.0), 0.0, 0.5, (4.2, 2.2), (0.5, 0.5), (1.0, 4.0), (0.2, 1.5))
    image = render_stand(world.map(), stand).astype(int)
    # The room, 6.1 m wide with its walls, fills 1000 pixels from the margin of 40 on; y is up.
    pixel = lambda x, y: image[round(70 + (5.05 - y) * 1000 / 6.1), round(40 + (x + 0.05) * 1000 / 6.1)]  # noqa: E731
    assert pixel(5.0, 4.5).tolist() == list(FREE_COLOUR)
    assert pixel(4.1, 2.1).tolist() == list(OCCUPIED_COLOUR)
    red, _, blue = image[..., 0], image[..., 1], image[..., 2]
    bluest = np.argwhere(blue - red > 120)
    arrow = bluest[np.abs(bluest[:, 0] - (70 + 4.05 * 1000 / 6.1)) < 3]
    centre = 40 + 2.05 * 1000 / 6.1
    assert arrow[:, 1].max() - centre > 0.3 * 1000 / 6.1
    reddest = np.argwhere(red - blue > 120)
    reddest = reddest[reddest[:, 0] < 70 + 5.1 * 1000 / 6.1]
    assert reddest[:, 1].max() == pytest.approx(40 + 4.5 * 1000 / 6.1, abs=4)
    with pytest.raises(OvsegError, match=r"mapping\.layers:=occupancy"):
        render_stand(world.map("voxels"), stand)
    with pytest.raises(OvsegError, match="nothing is known of the space from 20 to 21 m"):
        render_stand(world.map(), replace(stand, heights=(20.0, 21.0)))
