"""MapSession: what clear and load mean for frames on their way, and which files it takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from ovseg_ros.errors import OvsegError
from ovseg_ros.mapping import MappingConfig, SemanticMap, storage
from ovseg_ros.mapping.online_compression import FIT_FRAMES
from ovseg_ros.query import GoalConfig
from ovseg_ros.referring import Status
from ovseg_ros.ros.session import MapSession
from ovseg_ros.ros.snapshots import frontier_snapshot, plan_snapshot, ray_snapshot
from ovseg_ros.ros.things import MapThings
from ovseg_ros.types import Intrinsics, InvalidFrameError, RgbdFrame, Segmentation
from ovseg_ros.vocabulary import Vocabulary

CHANNELS = 3


class Space:
    """Every text is the same direction."""

    id = "one-word/1"
    logit_scale = 10.0
    same_meaning = 0.8

    def encode_text(self, texts: Sequence[str]) -> torch.Tensor:
        return torch.eye(CHANNELS)[:1].repeat(len(texts), 1)

    def align(self, features: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.normalize(features, dim=1)


class Backend:
    """Constant features; ``meanwhile`` happens while the model is at work."""

    space = Space()
    vocabulary = Vocabulary.from_names(["wall"])

    def __init__(self) -> None:
        self.calls = 0
        self.meanwhile: Callable[[], object] = lambda: None

    def __call__(self, rgb: torch.Tensor) -> Segmentation:
        self.calls += 1
        self.meanwhile()
        return Segmentation(torch.ones(CHANNELS, 2, 2), self.space.id)


def frame() -> RgbdFrame:
    return RgbdFrame(
        rgb=torch.zeros(4, 4, 3, dtype=torch.uint8),
        depth=torch.full((4, 4), 2.0),
        intrinsics=Intrinsics(4.0, 4.0, 1.5, 1.5, 4, 4),
        pose=torch.eye(4, dtype=torch.float64),
        stamp_ns=1,
    )


def looking_far() -> RgbdFrame:
    """A wall on the left, nothing within range on the right."""
    depth = torch.full((24, 32), 2.0)
    depth[:, 10:] = torch.inf
    camera, pose = Intrinsics(30.0, 30.0, 15.5, 11.5, 32, 24), torch.eye(4, dtype=torch.float64)
    return RgbdFrame(torch.zeros(24, 32, 3, dtype=torch.uint8), depth, camera, pose, stamp_ns=1)


@pytest.fixture
def backend() -> Backend:
    return Backend()


@pytest.fixture
def session(backend: Backend) -> MapSession:
    return MapSession(backend, MappingConfig(), device="cpu", frame_id="map")


def integrate(session: MapSession, generation: int | None = None) -> None:
    session.integrate(frame(), lambda *_: None, generation=session.generation if generation is None else generation)


def test_a_frame_that_clear_overtakes_in_the_model_is_discarded(session: MapSession, backend: Backend) -> None:
    integrate(session)
    assert session.map_bytes > 0
    assert session.gpu_bytes is None
    backend.meanwhile = session.clear
    with pytest.raises(InvalidFrameError) as refused:
        integrate(session)
    assert refused.value.cause == "cleared"
    assert session.voxel_count == 0
    backend.meanwhile = lambda: None
    integrate(session)
    assert session.voxel_count > 0


def test_a_frame_that_load_overtakes_in_the_queue_is_discarded_before_the_model(
    session: MapSession, backend: Backend, tmp_path: Path
) -> None:
    integrate(session)
    saved = session.save(str(tmp_path / "a.ovmap"))
    waiting = session.generation
    assert session.load(str(tmp_path / "a.ovmap")) == saved
    assert session.generation > waiting, "a loaded map of equal revision must be told from the one before"
    with pytest.raises(InvalidFrameError, match="before the map was cleared or loaded"):
        integrate(session, waiting)
    assert backend.calls == 1
    assert session.revision == saved[0]


def test_a_map_of_other_channels_is_refused_and_the_present_one_stays(session: MapSession, tmp_path: Path) -> None:
    integrate(session)
    other = SemanticMap(MappingConfig(), space=Space.id, vocabulary=Backend.vocabulary)
    other.integrate(frame(), Segmentation(torch.ones(CHANNELS + 2, 2, 2), Space.id))
    other.integrate(frame(), Segmentation(torch.ones(CHANNELS + 2, 2, 2), Space.id))
    path = tmp_path / "other.ovmap"
    storage.save(other, path)
    generation = session.generation
    with pytest.raises(OvsegError, match="features of 5 channels"):
        session.load(str(path))
    assert (session.revision, session.generation) == (1, generation)


def test_what_is_out_of_range_is_answered_beside_the_places(backend: Backend) -> None:
    session = MapSession(backend, MappingConfig(layers="rays", max_depth=3.0), device="cpu", frame_id="map")
    session.integrate(looking_far(), lambda *_: None, generation=session.generation)
    answers = session.ask(["wall"], min_score=0.1, max_matches=1)
    assert len(answers.matches) == len(answers.rays) == 1
    assert answers.rays[0].direction[2] > 0.8


def test_there_is_a_place_or_a_reason(backend: Backend) -> None:
    config = GoalConfig()
    session = MapSession(backend, MappingConfig(layers="rays", max_depth=3.0), device="cpu", frame_id="map")
    refused = session.locate("wall", None, config, min_score=0.1)
    assert (refused.revision, refused.found, refused.located) == (0, None, None)
    assert "nothing in the map fits 'wall'" in refused.sentence
    session.integrate(looking_far(), lambda *_: None, generation=session.generation)
    refused = session.locate("wall", (0.0, 0.0), config, min_score=0.1)
    assert (refused.revision, refused.stamp_ns, refused.frame_id) == (1, 1, "map")
    assert refused.located is None
    assert refused.found is not None and refused.found.query == "wall"
    assert "no floor was seen" in refused.sentence


def test_a_compressed_map_is_loaded(tmp_path: Path, backend: Backend) -> None:
    session = MapSession(backend, MappingConfig(feature_components=2), device="cpu", frame_id="map")
    for _ in range(FIT_FRAMES):
        integrate(session)
    saved = session.save(str(tmp_path / "compressed.ovmap"))
    assert storage.load(tmp_path / "compressed.ovmap").codec is not None
    session.clear()
    assert session.load(str(tmp_path / "compressed.ovmap")) == saved
    assert len(session.labelled_cloud().labels) == saved[1]


def test_questions_are_answered_while_the_model_looks_at_a_picture(session: MapSession, backend: Backend) -> None:
    integrate(session)
    answered: list[int] = []
    limits = {"min_score": 0.0, "max_matches": 3}
    backend.meanwhile = lambda: answered.append(session.ask(["wall"], **limits).revision)
    answers = session.ask_picture(np.zeros((16, 16, 3), np.uint8), None, **limits)
    assert (answered, answers.revision, answers.frame_id) == ([1], 1, "map")


def test_questions_are_answered_while_the_model_looks_things_up(backend: Backend) -> None:
    backend.vocabulary = Vocabulary.from_names(["chair"])
    intrinsics = Intrinsics(32.0, 32.0, 15.5, 15.5, 32, 32)
    seen = RgbdFrame(
        torch.zeros(32, 32, 3, dtype=torch.uint8), torch.full((32, 32), 2.0), intrinsics, torch.eye(4).double(), 1
    )
    answered: list[int] = []
    for views in (2, 0):
        config = MappingConfig(voxel_size=0.15, views=views)
        session = MapSession(backend, config, device="cpu", frame_id="map")
        session.integrate(seen, lambda *_: None, generation=session.generation)
        things = MapThings()
        plain, _ = things.refer(session, "the chair", None)
        assert plain.status is Status.FOUND
        if not views:
            with pytest.raises(OvsegError, match="keeps no pictures"):
                things.refer(session, "the chair", None, verify=True)
            continue
        backend.meanwhile = lambda s=session: answered.append(s.ask(["chair"], min_score=0.0, max_matches=1).revision)
        verified, _ = things.refer(session, "the chair", None, verify=True)
        backend.meanwhile = lambda: None
        assert answered == [1]
        assert [candidate.index for candidate in verified.candidates] == [0]
        assert "looked up in pictures" in verified.message


def test_the_newest_image_is_labelled_until_the_map_is_cleared(session: MapSession) -> None:
    assert session.labelled_image() is None
    session.integrate(frame(), lambda *_: None, generation=session.generation, camera_frame="camera")
    image = session.labelled_image()
    assert image is not None
    assert (image.frame_id, image.stamp_ns, image.names) == ("camera", 1, ("wall",))
    assert image.rgb.shape == (4, 4, 3)
    assert (image.labels == 1).all()
    session.clear()
    assert session.labelled_image() is None


def test_the_layers_are_read_as_they_are(backend: Backend) -> None:
    plain = MapSession(backend, MappingConfig(), device="cpu", frame_id="map")
    assert plain.read(lambda m, _: frontier_snapshot(m)) is None
    assert plain.read(lambda m, s: ray_snapshot(m, s, 5)) is None
    assert plain.read(lambda m, _: plan_snapshot(m, -1.0, 1.0)) is None

    session = MapSession(backend, MappingConfig(layers="rays", max_depth=3.0), device="cpu", frame_id="map")
    session.integrate(looking_far(), lambda *_: None, generation=session.generation)
    frontiers = session.read(lambda m, _: frontier_snapshot(m))
    rays = session.read(lambda m, s: ray_snapshot(m, s, 5))
    plan = session.read(lambda m, _: plan_snapshot(m, -3.0, 3.0))
    assert frontiers is not None
    assert rays is not None
    assert plan is not None
    assert len(frontiers.positions) > 0
    assert 0 < len(rays.keys) <= 5
    assert len(rays.origins) == len(rays.directions) == len(rays.weights) == len(rays.keys)
    assert (rays.labels == 1).all()
    assert {0, 100} <= set(plan.cells.flatten().tolist())
    assert frontiers.frame_id == rays.frame_id == plan.frame_id == "map"
