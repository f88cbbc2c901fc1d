"""Semantic rays against their definition, pixel by pixel and frontier by frontier in float64."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mapping_scenes import camera, random_pose

from ovseg_ros.errors import OvsegError
from ovseg_ros.geometry import in_key_range, pack_keys, unpack_keys, voxel_centres
from ovseg_ros.mapping.layer_config import RayConfig
from ovseg_ros.mapping.rays import SemanticRays
from ovseg_ros.types import Intrinsics, InvalidFrameError

CELL = 0.25


@dataclass(frozen=True)
class View:
    depth: torch.Tensor
    features: torch.Tensor
    intrinsics: Intrinsics
    pose: torch.Tensor


def random_view(
    rng: np.random.Generator,
    image: tuple[int, int] = (12, 16),
    grid: tuple[int, int] = (3, 4),
    pose: torch.Tensor | None = None,
) -> View:
    """Infinite depth but for a few rectangles of other readings."""
    height, width = image
    depth = np.full(image, np.inf, np.float32)
    for reading in (2.0, np.nan, -np.inf, 0.0):
        v, u = rng.integers(height), rng.integers(width)
        depth[v : v + rng.integers(4), u : u + rng.integers(4)] = reading
    features = torch.from_numpy(rng.normal(size=(3, *grid)).astype(np.float32))
    return View(
        torch.from_numpy(depth), features, camera(height, width), random_pose(rng, 1.0) if pose is None else pose
    )


def frontier_keys_around(rng: np.random.Generator, pose: torch.Tensor, count: int = 300) -> torch.Tensor:
    """Distinct cells within 6 m of the camera, to all sides."""
    offsets = torch.from_numpy(rng.uniform(-6.0, 6.0, (count, 3)))
    return torch.unique(pack_keys(torch.round((pose[:3, 3] + offsets) / CELL).long()))


def cast(rays: SemanticRays, view: View, keys: torch.Tensor) -> None:
    frontiers = voxel_centres(unpack_keys(keys), rays.cell_size)
    rays.cast(view.depth, view.features, view.intrinsics, view.pose, frontiers, keys)


def rays_of(view: View, keys: torch.Tensor, config: RayConfig | None = None) -> SemanticRays:
    rays = SemanticRays(config or RayConfig(), CELL)
    cast(rays, view, keys)
    return rays


def plain_bin(direction: np.ndarray, degrees: float) -> int:
    """Nearest band, then nearest azimuth in it; bins are numbered from the south, and from 180 degrees."""
    bands = 2 * round(90 / degrees) + 1
    centres = np.linspace(-90, 90, bands)
    sizes = [max(1, round(360 / (180 / (bands - 1)) * np.cos(np.radians(centre)))) for centre in centres]
    band = int(np.argmin(np.abs(centres - np.degrees(np.arcsin(direction[2])))))
    azimuth = np.degrees(np.arctan2(direction[1], direction[0]))
    apart = (azimuth - 180 - np.arange(sizes[band]) * 360 / sizes[band] + 180) % 360 - 180
    return sum(sizes[:band]) + int(np.argmin(np.abs(apart)))


def plain_rays(
    view: View, keys: torch.Tensor, config: RayConfig
) -> tuple[dict[tuple[int, int], list[np.ndarray]], int]:
    """The sums (weight, weight * direction, weight * feature) of one cast by frontier and bin; and rays unmatched."""
    depth, pose, intrinsics = view.depth.numpy(), view.pose.numpy(), view.intrinsics
    image = torch.nn.functional.interpolate(
        view.features[None].double(), size=depth.shape, mode="bilinear", align_corners=False
    )[0].numpy()
    offsets = unpack_keys(keys).numpy() * CELL - pose[:3, 3]
    side, cast, matches = config.erosion, 0, []
    for v, u in np.ndindex(*depth.shape):
        window = depth[max(v - side, 0) : v + side + 1, max(u - side, 0) : u + side + 1]
        if window.size != (2 * side + 1) ** 2 or not np.isposinf(window).all():
            continue
        cast += 1
        ray = np.array([(u - intrinsics.cx) / intrinsics.fx, (v - intrinsics.cy) / intrinsics.fy, 1.0])
        ray = pose[:3, :3] @ ray / np.linalg.norm(ray)
        distance, ortho = np.linalg.norm(offsets, axis=1), np.linalg.norm(np.cross(ray, offsets), axis=1)
        allowed = (offsets @ ray > 0) & (distance >= 2 * CELL) & (distance <= config.max_distance)
        allowed &= ortho <= config.max_ortho_cells * CELL
        cost = (ortho / (config.max_ortho_cells * CELL) + distance / config.max_distance) / 2
        cost[~allowed] = np.inf
        if allowed.any():
            best = int(np.argmin(cost))
            matches.append((keys[best].item(), ray, 1 - cost[best], image[:, v, u]))
    total = sum(weight for _, _, weight, _ in matches)
    sums: dict[tuple[int, int], list[np.ndarray]] = {}
    for key, ray, weight, feature in matches:
        added = [np.array(part) * weight / total for part in (1.0, ray, feature)]
        identity = key, plain_bin(ray, config.angle_bin_degrees)
        sums[identity] = [a + b for a, b in zip(sums.get(identity, [0.0] * 3), added, strict=True)]
    return sums, cast - len(matches)


def add_sums(parts: list[dict[tuple[int, int], list[np.ndarray]]]) -> dict[tuple[int, int], list[np.ndarray]]:
    total: dict[tuple[int, int], list[np.ndarray]] = {}
    for part in parts:
        for ray, sums in part.items():
            total[ray] = [a + b for a, b in zip(total.get(ray, [0.0] * 3), sums, strict=True)]
    return total


def by_identity(rays: SemanticRays) -> dict[str, torch.Tensor]:
    """The columns in the order of frontier and bin."""
    columns = rays.columns
    order = np.lexsort((columns["bins"], columns["frontier_keys"]))
    return {name: column[order.tolist()] for name, column in columns.items()}


def assert_same_rays(one: SemanticRays, other: SemanticRays, tolerance: float = 0.0) -> None:
    for name, column in by_identity(one).items():
        torch.testing.assert_close(column, by_identity(other)[name], rtol=tolerance, atol=tolerance, msg=name)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32),
    image=st.tuples(st.integers(1, 14), st.integers(1, 14)),
    grid=st.tuples(st.integers(1, 5), st.integers(1, 17)),
    distance=st.sampled_from([0.0, 3.0, 1000.0]),
    erosion=st.integers(0, 2),
    degrees=st.sampled_from([10.0, 30.0, 45.0, 90.0]),
    ortho=st.sampled_from([0.5, 1.0, 1.9]),
)
def test_equals_the_definition(seed, image, grid, distance, erosion, degrees, ortho):
    rng = np.random.default_rng(seed)
    config = RayConfig(angle_bin_degrees=degrees, erosion=erosion, max_ortho_cells=ortho, max_distance=5.0)
    rays, parts, unmatched = SemanticRays(config, CELL), [], 0
    pose = random_pose(rng, distance)
    keys = frontier_keys_around(rng, pose)
    for _ in range(2):
        view = random_view(rng, image, grid, pose)
        cast(rays, view, keys)
        sums, missed = plain_rays(view, keys, config)
        parts.append(sums)
        unmatched += missed
    expected = add_sums(parts)
    columns = by_identity(rays)
    assert list(zip(columns["frontier_keys"].tolist(), columns["bins"].tolist(), strict=True)) == sorted(expected)
    assert rays.unmatched == unmatched
    for i, identity in enumerate(sorted(expected)):
        weight, direction, feature = expected[identity]
        assert columns["weights"][i].item() == pytest.approx(weight)
        np.testing.assert_allclose(columns["mean_directions"][i], direction / weight, atol=1e-7)
        np.testing.assert_allclose(columns["features"][i], feature / weight, atol=1e-5)
    assert torch.equal(columns["origins"], voxel_centres(unpack_keys(columns["frontier_keys"]), CELL))


def test_weights_of_a_cast_add_up_to_one():
    rng = np.random.default_rng(0)
    view = random_view(rng)
    rays = rays_of(view, frontier_keys_around(rng, view.pose))
    assert len(rays) > 5
    assert rays.weights.sum().item() == pytest.approx(1.0)
    torch.testing.assert_close(rays.directions.norm(dim=-1), torch.ones(len(rays), dtype=torch.float64))


def test_order_of_casts_does_not_matter():
    rng = np.random.default_rng(1)
    views = [random_view(rng) for _ in range(4)]
    keys = torch.unique(torch.cat([frontier_keys_around(rng, view.pose) for view in views]))
    forwards, backwards = SemanticRays(RayConfig(), CELL), SemanticRays(RayConfig(), CELL)
    for view in views:
        cast(forwards, view, keys)
    for view in reversed(views):
        cast(backwards, view, keys)
    assert len(forwards) > 20
    assert_same_rays(forwards, backwards, 1e-5)


def test_frame_casts_no_more_than_the_limit():
    rng = np.random.default_rng(4)
    view = random_view(rng, (24, 32))
    keys = frontier_keys_around(rng, view.pose)
    rays = rays_of(view, keys, RayConfig(max_rays_per_frame=50, angle_bin_degrees=5.0))
    assert 0 < len(rays) <= 50 - rays.unmatched
    again = rays_of(view, keys, RayConfig(max_rays_per_frame=50, angle_bin_degrees=5.0))
    assert_same_rays(rays, again)


def test_lightest_rays_are_forgotten_first():
    rng = np.random.default_rng(5)
    views = [random_view(rng, (24, 32)) for _ in range(3)]
    keys = torch.unique(torch.cat([frontier_keys_around(rng, view.pose) for view in views]))
    everything, bounded = rays_of(views[0], keys), rays_of(views[0], keys, RayConfig(max_rays=10))
    assert len(everything) > 20 and len(bounded) == 10
    torch.testing.assert_close(bounded.weights.sort().values, everything.weights.sort().values[-10:])
    for view in views[1:]:
        cast(bounded, view, keys)
        assert len(bounded) == 10


def test_rays_whose_frontier_is_gone_are_pruned():
    rng = np.random.default_rng(6)
    view = random_view(rng, pose=random_pose(rng, 1000.0))
    keys = frontier_keys_around(rng, view.pose)
    rays, before = rays_of(view, keys), by_identity(rays_of(view, keys))
    kept = keys[::2]
    stays = torch.isin(before["frontier_keys"], kept)
    assert 0 < stays.sum() < len(stays)
    assert rays.prune(kept.flip(0)) == (~stays).sum()
    for name, column in by_identity(rays).items():
        assert torch.equal(column, before[name][stays])
    assert rays.prune(kept) == 0
    rays.prune(keys[:0])
    assert len(rays) == 0


def test_pruned_rays_start_anew():
    rng = np.random.default_rng(7)
    view = random_view(rng)
    keys = frontier_keys_around(rng, view.pose)
    rays = rays_of(view, keys)
    rays.prune(keys[::2])
    rays.prune(keys[:0])
    cast(rays, dataclasses.replace(view, features=view.features[:2]), keys)
    assert_same_rays(rays, rays_of(dataclasses.replace(view, features=view.features[:2]), keys))


def test_nothing_to_see_or_nowhere_to_start_changes_nothing():
    rng = np.random.default_rng(8)
    view = random_view(rng)
    keys = frontier_keys_around(rng, view.pose)
    rays, before = rays_of(view, keys), rays_of(view, keys)
    unmatched = rays.unmatched
    for reading in (1.0, torch.nan, -torch.inf, 0.0):
        cast(rays, dataclasses.replace(view, depth=torch.full((12, 16), reading)), keys)
    cast(rays, random_view(rng, (4, 30)), keys)
    assert rays.unmatched == unmatched
    cast(rays, dataclasses.replace(view, depth=torch.full((12, 16), torch.inf)), keys[:0])
    assert rays.unmatched == unmatched + 8 * 12
    assert_same_rays(rays, before)


def single_ray(frontier: list[float], pose: torch.Tensor | None = None) -> SemanticRays:
    """One pixel that looks along +z of a camera at the origin, and one frontier."""
    view = View(
        torch.full((1, 1), torch.inf), torch.ones(2, 1, 1), Intrinsics(1.0, 1.0, 0.0, 0.0, 1, 1), torch.eye(4).double()
    )
    key = pack_keys(torch.round(torch.tensor([frontier]) / CELL).long())
    return rays_of(view if pose is None else dataclasses.replace(view, pose=pose), key, RayConfig(erosion=0))


@pytest.mark.parametrize(
    ("frontier", "matched"),
    [
        ([0, 0, 4], True),
        ([0, 0.25, 4], True),
        ([0, 0.5, 4], False),
        ([0, 0, -4], False),
        ([0, 0, 0.5], True),
        ([0, 0, 0.25], False),
        ([0, 0, 14.75], True),
        ([0, 0, 15.25], False),
        ([0, 0, 0], False),
    ],
)
def test_limits_of_a_match(frontier, matched):
    rays = single_ray(frontier)
    assert (len(rays), rays.unmatched) == ((1, 0) if matched else (0, 1))
    if matched:
        assert rays.origins.tolist() == [frontier]
        assert rays.directions.tolist() == [[0, 0, 1]]
        assert rays.weights.tolist() == [1.0] and rays.features.tolist() == [[1.0, 1.0]]
        assert rays.spread.item() < 1e-6


def test_frontiers_that_no_key_can_name_are_left_out():
    pose = torch.eye(4).double()
    pose[:3, 3] = torch.tensor([0.0, 0.0, 70_000.0])
    index = torch.round(torch.tensor([[0.0, 0.0, 70_004.0]]).double() / CELL).long()
    assert in_key_range(index).all()
    rays = single_ray([0, 0, 70_004], pose)
    assert (len(rays), rays.unmatched) == (0, 1)


@pytest.mark.parametrize("half_angle", [3.0, 10.0])
def test_direction_and_spread_describe_a_cone(half_angle):
    size = 61
    intrinsics = Intrinsics(100.0, 100.0, 30.0, 30.0, size, size)
    offset = torch.arange(size) - 30.0
    angle = torch.atan(torch.hypot(offset[:, None], offset[None]) / 100.0)
    depth = torch.where(angle <= np.radians(half_angle), torch.inf, 1.0)
    pose = torch.eye(4).double()
    pose[:3, :3] = torch.tensor([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
    # One wide cell: every ray of the cone meets it, and at nearly the same cost.
    rays = SemanticRays(RayConfig(erosion=0, max_rays_per_frame=5000, max_distance=15.0), 5.0)
    view = View(depth, torch.ones(1, 2, 2), intrinsics, pose)
    cast(rays, view, pack_keys(torch.tensor([[2, 0, 0]])))
    assert len(rays) == 1 and rays.unmatched == 0
    torch.testing.assert_close(rays.directions[0], torch.tensor([1.0, 0.0, 0.0]).double(), atol=1e-6, rtol=0)
    assert 0.9 * half_angle < np.degrees(rays.spread.item()) < 1.02 * half_angle


@pytest.mark.parametrize("features", [torch.full((3, 3, 4), torch.nan), torch.ones(2, 3, 4), torch.ones(3, 4)])
def test_unusable_features_leave_the_rays_as_they_were(features):
    rng = np.random.default_rng(9)
    view = random_view(rng)
    keys = frontier_keys_around(rng, view.pose)
    rays, before = rays_of(view, keys), rays_of(view, keys)
    with pytest.raises(InvalidFrameError) as error:
        cast(rays, dataclasses.replace(view, features=features), keys)
    assert error.value.cause == "features"
    assert_same_rays(rays, before)
    assert rays.unmatched == before.unmatched


def test_columns_round_trip():
    rng = np.random.default_rng(10)
    view = random_view(rng)
    keys = frontier_keys_around(rng, view.pose)
    rays = rays_of(view, keys)
    restored = SemanticRays.from_columns(rays.columns, rays.config, CELL)
    for name, column in rays.columns.items():
        assert torch.equal(restored.columns[name], column) and restored.columns[name].dtype == column.dtype
    cast(rays, view, keys)
    cast(restored, view, keys)
    assert_same_rays(rays, restored)
    rays.clear()
    assert len(rays) == rays.unmatched == 0
    empty = SemanticRays.from_columns(rays.columns, rays.config, CELL)
    assert len(empty) == 0


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("features", lambda column: column * torch.nan),
        ("features", lambda column: column[0]),
        ("weights", torch.neg),
        ("weights", torch.Tensor.float),
        ("origins", lambda column: column[1:]),
        ("origins", lambda column: column / 0),
        ("mean_directions", lambda column: column * 2),
        ("bins", lambda column: column + 46),
        ("bins", torch.neg),
        ("frontier_keys", lambda column: column[:1].expand(len(column))),
        ("frontier_keys", torch.neg),
    ],
)
def test_damaged_columns_are_refused(name, damage):
    rng = np.random.default_rng(11)
    view = random_view(rng)
    rays = rays_of(view, frontier_keys_around(rng, view.pose, 2000))
    with pytest.raises(OvsegError, match="rays"):
        SemanticRays.from_columns({**rays.columns, name: damage(rays.columns[name])}, rays.config, CELL)
    with pytest.raises(OvsegError, match=name):
        SemanticRays.from_columns({k: v for k, v in rays.columns.items() if k != name}, rays.config, CELL)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("angle_bin_degrees", 0.0),
        ("angle_bin_degrees", float("nan")),
        ("angle_bin_degrees", 120.0),
        ("max_rays_per_frame", 0),
        ("max_rays", 0),
        ("erosion", -1),
        ("max_ortho_cells", 2.0),
        ("max_distance", float("inf")),
    ],
)
def test_config_out_of_range_is_refused(name, value):
    with pytest.raises(OvsegError, match=f"{name}.*{value}"):
        RayConfig(**{name: value})


@pytest.mark.parametrize("cell_size", [0.0, 8.0, float("nan")])
def test_cells_beyond_the_largest_distance_are_refused(cell_size):
    with pytest.raises(OvsegError, match="max_distance"):
        SemanticRays(RayConfig(max_distance=15.0), cell_size)
