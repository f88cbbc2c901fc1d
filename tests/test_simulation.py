"""Generated rooms: exact, repeatable, plausible."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from ovseg_ros.errors import OvsegError
from ovseg_ros.simulation import (
    CLASS_NAMES,
    CLASSES,
    DepthNoise,
    RoomRenderer,
    RoomSequence,
    default_intrinsics,
    generate_room,
    walk,
)
from ovseg_ros.simulation.furniture import BUILDERS
from ovseg_ros.simulation.materials import sample_finish

STRUCTURE = {"wall", "floor", "ceiling"}
CAMERA = default_intrinsics(80, 60)


def test_there_are_at_least_35_classes_and_each_can_be_built() -> None:
    assert len(CLASS_NAMES) >= 35
    assert set(BUILDERS) | STRUCTURE == set(CLASS_NAMES)
    rng = np.random.default_rng(0)
    for entry in CLASSES:
        if entry.name in STRUCTURE:
            continue
        sizes = []
        for _ in range(6):
            model = BUILDERS[entry.name](rng, sample_finish(rng, entry))
            assert np.isfinite(model.vertices).all()
            assert model.triangles.max() == len(model.vertices) - 1
            assert model.lower[2] > -0.06, f"{entry.name} reaches below the floor"
            sizes.append(tuple(model.upper - model.lower))
        assert len(set(sizes)) > 1, f"every {entry.name} has the same size"


def test_names_synonyms_and_held_out_words_are_all_different() -> None:
    words = [word for entry in CLASSES for word in (entry.name, *entry.synonyms, *entry.held_out)]
    assert len(words) == len(set(words))


def test_the_same_seed_gives_the_same_room_and_pictures() -> None:
    first, second = (RoomSequence(seed=11, frames=3, width=80, height=60) for _ in range(2))
    assert np.array_equal(first.room.vertices, second.room.vertices)
    for index in (2, 0):
        assert (first[index].rgb == second[index].rgb).all()
        assert np.array_equal(first[index].depth.numpy(), second[index].depth.numpy(), equal_nan=True)
    assert not np.array_equal(first.room.vertices, generate_room(12).vertices)


def test_colour_alone_does_not_give_the_class_away() -> None:
    colours: dict[str, set[str]] = {}
    for seed in range(60):
        for entry in generate_room(seed).objects:
            colours.setdefault(entry.label, set()).add(entry.colour)
    assert len(colours["refrigerator"] - {"", "white", "grey", "black"}) >= 1
    assert len(colours["chair"]) >= 6


def test_things_stand_inside_the_room_and_not_inside_each_other() -> None:
    for seed in range(25):
        room = generate_room(seed)
        half = room.size / 2
        solid = [entry for entry in room.objects if entry.label not in STRUCTURE | {"rug"}]
        for entry in solid:
            assert (entry.lower[:2] >= -half[:2] - 0.01).all() and (entry.upper[:2] <= half[:2] + 0.01).all()
            assert entry.lower[2] >= -0.06 and entry.upper[2] <= room.size[2] + 0.01
        volumes = []
        for index, first in enumerate(solid):
            for second in solid[index + 1 :]:
                overlap = np.minimum(first.upper, second.upper) - np.maximum(first.lower, second.lower)
                if (overlap > 0).all() and not (first.label in ("bed", "sofa") or second.label in ("bed", "sofa")):
                    volumes.append(float(np.prod(overlap)))
        assert max(volumes, default=0.0) < 1e-3, f"two things of room {seed} share {max(volumes):.4f} m3"


def test_rooms_hold_the_whole_vocabulary_between_them() -> None:
    seen: Counter[str] = Counter()
    for seed in range(150):
        seen.update({entry.label for entry in generate_room(seed).objects})
    assert set(seen) == set(CLASS_NAMES)
    assert min(seen.values()) >= 8, seen.most_common()[-3:]


def test_labels_instances_and_depth_agree_with_the_room() -> None:
    sequence = RoomSequence(seed=4, frames=4, width=80, height=60)
    by_id = {entry.instance_id: entry for entry in sequence.room.objects}
    for index in range(4):
        view = sequence.view(index)
        pose = sequence.poses[index]
        v, u = np.nonzero(view.instances)
        z = view.clean_depth[v, u]
        rays = np.stack(
            (
                (u - sequence.intrinsics.cx) / sequence.intrinsics.fx,
                (v - sequence.intrinsics.cy) / sequence.intrinsics.fy,
                np.ones(len(u)),
            ),
            axis=1,
        )
        points = rays * z[:, None] @ pose[:3, :3].T + pose[:3, 3]
        for instance in np.unique(view.instances[v, u]):
            entry = by_id[int(instance)]
            chosen = view.instances[v, u] == instance
            assert (view.labels[v, u][chosen] == entry.label_id).all()
            assert (points[chosen] >= entry.lower - 5e-3).all() and (points[chosen] <= entry.upper + 5e-3).all()


def test_the_mesh_carries_the_labels_of_the_room() -> None:
    room = generate_room(8)
    mesh = room.mesh()
    assert len(mesh.vertices) == len(mesh.labels) == len(mesh.colours) == len(mesh.instances)
    for entry in room.objects:
        own = mesh.instances == entry.instance_id
        assert (mesh.labels[own] == entry.label_id).all()
        assert np.allclose(mesh.vertices[own].min(axis=0), entry.lower, atol=1e-4)


def test_depth_noise_has_the_stated_range_error_and_drops_edges() -> None:
    flat = np.full((200, 200), 3.0, dtype=np.float32)
    noisy = DepthNoise(disparity_step=1e-6).apply(flat, np.random.default_rng(0))
    sigma = 0.0012 + 0.0019 * (3.0 - 0.4) ** 2
    assert np.nanstd(noisy) == pytest.approx(sigma, rel=0.05)
    quantised = DepthNoise(scale=0.0).apply(flat, np.random.default_rng(0))
    assert np.abs(quantised - 3.0).max() <= 0.5 * 0.0015 * 9.0 + 1e-6
    step = flat.copy()
    step[:, 100:] = 2.0
    dropped = np.isnan(DepthNoise().apply(step, np.random.default_rng(0)))
    assert 0.5 < dropped[:, 99:101].mean() < 0.9 and dropped[:, :98].sum() == 0
    assert np.isnan(DepthNoise().apply(np.full((2, 2), 20.0, np.float32), np.random.default_rng(0))).all()


def test_noise_can_be_off() -> None:
    view = RoomRenderer(generate_room(3), CAMERA).render(walk(generate_room(3), 2, np.random.default_rng(0))[0])
    assert np.array_equal(view.depth, view.clean_depth, equal_nan=True)


def test_the_walk_is_continuous_and_keeps_clear_of_things() -> None:
    for seed in range(12):
        room = generate_room(seed)
        poses = walk(room, 60, np.random.default_rng(seed))
        steps = np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1)
        assert steps.max() < 0.6, "a person can't jump"
        assert np.allclose(poses[:, :3, :3] @ poses[:, :3, :3].transpose(0, 2, 1), np.eye(3), atol=1e-9)
        assert np.allclose(np.linalg.det(poses[:, :3, :3]), 1.0)
        assert (poses[:, 2, 1] < 0).all(), "image rows run downwards, so the camera's y axis points down"
        for entry in room.objects:
            if entry.label in STRUCTURE | {"rug"}:
                continue
            inside = ((poses[:, :3, 3] > entry.lower) & (poses[:, :3, 3] < entry.upper)).all(axis=1)
            assert not inside.any(), f"the camera of room {seed} is inside the {entry.label}"


def test_shadows_and_light_reach_the_picture() -> None:
    sequence = RoomSequence(seed=4, frames=6, width=80, height=60)
    means = [float(sequence[index].rgb.float().mean()) for index in range(6)]
    assert all(60 < mean < 200 for mean in means)
    assert all(float(sequence[index].rgb.float().std()) > 15 for index in range(6))


@pytest.mark.parametrize("arguments", [{"seed": -1}, {"seed": 0, "frames": 0}, {"seed": 0, "width": 8}])
def test_impossible_requests_are_refused_with_their_values(arguments: dict[str, int]) -> None:
    with pytest.raises(OvsegError, match="at least 1 frame"):
        RoomSequence(**arguments)
