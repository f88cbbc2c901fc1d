"""Maps of scores: each concept's mean over the pixels that were asked for it, whatever else was asked in between."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mapping_scenes import TensorWork, camera, depth_frame, plain_sums, random_frame, random_map, random_segmentation
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from test_eviction import frame as frame_along
from test_eviction import there_and_back

from ovseg_ros.cli import main
from ovseg_ros.errors import OvsegError
from ovseg_ros.geometry import unpack_keys
from ovseg_ros.mapping import MappingConfig, SemanticMap, Submaps, merge, storage
from ovseg_ros.mapping.concepts import MAX_VOCABULARIES, ConceptChannels
from ovseg_ros.query import Match, ask, ask_rays, label_voxels, look_again, partly_asked, score_voxels
from ovseg_ros.segmentation.sam3.space import Sam3Space
from ovseg_ros.types import InvalidFrameError, RgbdFrame, Segmentation
from ovseg_ros.vocabulary import Vocabulary

NAMES = ("bed", "chair", "cup", "door", "lamp")
SPACE = Sam3Space("sam3/tests")
CONFIG = MappingConfig(voxel_size=0.2)
CONFIGS = {
    "float32": CONFIG,
    "float16": replace(CONFIG, feature_dtype="float16"),
    "coarse": replace(CONFIG, feature_voxel_size=0.6),
}

vocabularies = st.lists(
    st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True).map(tuple), min_size=1, max_size=5
)


def scores(concepts: Sequence[str], values: torch.Tensor | None = None, seed: int = 0) -> Segmentation:
    if values is None:
        values = torch.rand(len(concepts), 3, 4, generator=torch.Generator().manual_seed(seed))
    return Segmentation(values, SPACE.id, concepts=tuple(concepts))


def constant(**values: float) -> Segmentation:
    """The same scores all over the image."""
    return scores(tuple(values), torch.tensor([*values.values()])[:, None, None].expand(-1, 3, 4))


def wall(x: float = 0.0, stamp_ns: int = 1) -> RgbdFrame:
    """A wall 2 m ahead of a camera at ``x``, which sees 2 m of it."""
    pose = torch.eye(4, dtype=torch.float64)
    pose[0, 3] = x
    return depth_frame(torch.full((24, 32), 2.0), camera(24, 32), pose, stamp_ns)


def frames_of(asked: Sequence[tuple[str, ...]], seed: int = 0) -> list[tuple[RgbdFrame, Segmentation]]:
    rng = np.random.default_rng(seed)
    return [(random_frame(rng, 9, 12, distance=0.2), scores(concepts, seed=i)) for i, concepts in enumerate(asked)]


def mapped(frames: Sequence[tuple[RgbdFrame, Segmentation]], config: MappingConfig = CONFIG) -> SemanticMap:
    semantic_map = SemanticMap(config)
    for frame, segmentation in frames:
        semantic_map.integrate(frame, segmentation)
    return semantic_map


def by_voxel(semantic_map: SemanticMap) -> dict[str, torch.Tensor]:
    """Each concept's scores, by ascending keys."""
    features = semantic_map.features[semantic_map.keys.argsort()]
    return dict(zip(semantic_map.concepts, features.T, strict=True))


def assert_same_scores(ours: SemanticMap, theirs: SemanticMap, tolerance: float = 1e-5) -> None:
    assert torch.equal(ours.keys.sort().values, theirs.keys.sort().values)
    expected = by_voxel(theirs)
    assert set(ours.concepts) == set(theirs.concepts)
    for name, column in by_voxel(ours).items():
        torch.testing.assert_close(column, expected[name], rtol=tolerance, atol=tolerance, equal_nan=True, msg=name)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@given(asked=vocabularies, seed=st.integers(0, 1000))
@settings(deadline=None, max_examples=15)
def test_scores_are_means_over_the_pixels_that_were_asked(
    config: MappingConfig, asked: list[tuple[str, ...]], seed: int
) -> None:
    frames = frames_of(asked, seed)
    semantic_map = mapped(frames, config)
    sums: dict[tuple[tuple[int, ...], str], tuple[float, float]] = {}
    for frame, segmentation in frames:
        for index, (pixels, features, _) in plain_sums(frame, segmentation.features, config).items():
            for name, value in zip(segmentation.concepts, features, strict=True):
                place = (tuple(axis // config.feature_block for axis in index), name)
                count, total = sums.get(place, (0.0, 0.0))
                sums[place] = count + pixels, total + value
    assert semantic_map.concepts == tuple(dict.fromkeys(name for concepts in asked for name in concepts))
    blocks = torch.div(unpack_keys(semantic_map.keys), config.feature_block, rounding_mode="floor").tolist()
    seen = [[sums.get((tuple(block), name), (0.0, 0.0)) for name in semantic_map.concepts] for block in blocks]
    expected = torch.tensor(
        [[total / count if count else np.nan for count, total in row] for row in seen], dtype=torch.float64
    )
    torch.testing.assert_close(semantic_map.features.double(), expected, rtol=1e-4, atol=1e-4, equal_nan=True)


@given(asked=vocabularies, data=st.data())
@settings(deadline=None, max_examples=15)
def test_the_order_within_a_vocabulary_does_not_matter(asked: list[tuple[str, ...]], data: st.DataObject) -> None:
    frames = frames_of([*asked, *asked])
    shuffled = []
    for frame, segmentation in frames:
        order = data.draw(st.permutations(range(len(segmentation.concepts))))
        names = [segmentation.concepts[i] for i in order]
        shuffled.append((frame, scores(names, segmentation.features[order])))
    plain, other = mapped(frames), mapped(shuffled)
    assert_same_scores(other, plain, tolerance=1e-6)
    assert other.tables.channels == plain.tables.channels


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@given(asked=vocabularies, split=st.integers(0, 5))
@settings(deadline=None, max_examples=10)
def test_merging_equals_having_been_asked_all(config: MappingConfig, asked: list[tuple[str, ...]], split: int) -> None:
    frames = frames_of(asked)
    tolerance = 2e-3 if config.feature_dtype == "float16" else 1e-5
    whole, first, second = mapped(frames, config), mapped(frames[:split], config), mapped(frames[split:], config)
    assert_same_scores(merge(first, second), whole, tolerance)
    merged = merge(second, first)
    assert_same_scores(merged, whole, tolerance)
    for semantic_map in (merged, whole):
        semantic_map.integrate(*frames[0])
    assert_same_scores(merged, whole, tolerance)


def test_submaps_may_be_asked_different_things() -> None:
    frames = frames_of([("bed", "cup"), ("door",), ("cup", "bed"), ("lamp", "door")])
    submaps = Submaps(SemanticMap(CONFIG))
    for frame, segmentation in frames:
        submaps.begin(frame.pose)
        submaps.integrate(frame, segmentation)
    assert_same_scores(submaps.fused(), mapped(frames))


def test_a_map_that_outgrows_memory_keeps_what_was_asked_where() -> None:
    """Tiles go to disk when fewer concepts have been asked for than when they come back, or are read there."""
    first, second = tuple(f"a{i}" for i in range(140)), ("a3", *(f"b{i}" for i in range(40)))
    config = MappingConfig(voxel_size=0.1, max_depth=3.0, layers="occupancy")
    unlimited, limited = SemanticMap(config), SemanticMap(replace(config, memory_limit=2.0))

    def in_one_piece() -> SemanticMap:
        return SemanticMap.from_columns(
            limited.columns, config=config, space=SPACE.id, vocabulary=Vocabulary(()), revision=0,
            concepts=limited.concept_channels,
        )  # fmt: skip

    def answers(semantic_map: SemanticMap) -> list[Match]:
        matches = ask(semantic_map, SPACE, ["b0", "a0"], min_score=0.1)
        return [replace(match, score=round(match.score, 6)) for match in matches]

    for number, x in enumerate(there_and_back(40)):
        frame, _ = frame_along(number, x)
        segmentation = scores(second if number in (9, 10, 11, 12) else first, seed=number)
        for semantic_map in (unlimited, limited):
            semantic_map.integrate(frame, segmentation)
        if number == 8:
            assert limited.evicted_voxel_count, "some tiles should be narrower than the map becomes"
        if number == 12:
            assert 0.0 < unlimited.asked_share("b0") == limited.asked_share("b0") < 1.0
            assert_same_scores(in_one_piece(), unlimited, 0.0)
            assert answers(limited) == answers(unlimited) != []
    assert_same_scores(in_one_piece(), unlimited, 0.0)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_a_file_keeps_what_was_asked(tmp_path: Path, config: MappingConfig) -> None:
    frames = frames_of([("bed", "cup"), ("door", "café 椅子"), ("cup", "bed")])
    original = mapped(frames, config)
    storage.save(original, tmp_path / "a.ovmap")
    loaded = storage.load(tmp_path / "a.ovmap")
    assert loaded.concepts == original.concepts == ("bed", "cup", "door", "café 椅子")
    for semantic_map in (original, loaded):
        semantic_map.integrate(frames[0][0], scores(["lamp", "door"]))
    assert all(torch.equal(loaded.columns[name], column) for name, column in original.columns.items())
    assert_same_scores(loaded, original, 0.0)
    original.clear()
    storage.save(original, tmp_path / "a.ovmap")
    assert storage.load(tmp_path / "a.ovmap").concepts == ()


@pytest.mark.parametrize(
    ("concepts", "message"),
    [
        ('[["bed", "cup"]]', "take 3 columns, features has the shape"),
        ('[["bed", "cup"], ["door"], ["lamp"]]', "take 7 columns"),
        ('[["bed", "bed"], ["door"]]', "distinct names"),
        ('[["bed", ""], ["door"]]', "distinct names"),
        ('[["bed", "cup"], ["cup", "bed"]]', "the same vocabulary is listed twice"),
        ('[["bed", "cup"], []]', "header: concepts"),
        ('[["bed", 2], ["door"]]', "header: concepts"),
        ('{"bed": 1}', "header: concepts"),
        ("[[", "header"),
        (json.dumps([[str(i)] for i in range(257)]), "at most 256 vocabularies"),
        (json.dumps([[str(i) for i in range(4097)]]), "at most 4096 concepts"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, concepts: str, message: str) -> None:
    path = tmp_path / "a.ovmap"
    storage.save(mapped(frames_of([("bed", "cup"), ("door",)])), path)
    with safe_open(path, framework="pt") as file:
        header = dict(file.metadata())
    save_file(load_file(path), path, header | {"concepts": concepts})
    with pytest.raises(OvsegError, match=f"damaged.*{message}"):
        storage.load(path)


def test_what_does_not_go_together_is_refused_and_the_map_stays() -> None:
    rng = np.random.default_rng(0)
    named, unnamed = mapped(frames_of([("bed", "cup")])), random_map(config=CONFIG)
    before = {name: column.clone() for name, column in named.columns.items()}
    view = random_frame(rng)
    language = replace(random_segmentation(rng), space=SPACE.id)
    for semantic_map, segmentation, message in (
        (named, language, "features of a language can't be fused into a map of scores of named concepts"),
        (unnamed, replace(scores(["bed"]), space=unnamed.space), "scores of named concepts can't be fused into a map"),
        (named, scores(["bed", "bed"]), "distinct names"),
        (named, scores(["bed", ""]), "distinct names"),
        (
            SemanticMap(replace(CONFIG, feature_components=1)),
            scores(["bed", "cup"]),
            "need no compression: set it to 0",
        ),
    ):
        with pytest.raises(OvsegError, match=message):
            semantic_map.integrate(view, segmentation)
    with pytest.raises(InvalidFrameError, match=r"must be \(2, h, w\), got \(3"):
        named.integrate(view, replace(scores(["bed", "cup", "door"]), concepts=("bed", "cup")))
    nothing = depth_frame(torch.full((24, 32), torch.nan), camera(24, 32), torch.eye(4).double())
    with pytest.raises(InvalidFrameError, match="no depth"):
        named.integrate(nothing, scores(["lamp"]))
    assert named.concepts == ("bed", "cup") and named.revision == 1
    assert all(torch.equal(named.columns[name], column) for name, column in before.items())
    with pytest.raises(OvsegError, match="language features and one of scores"):
        merge(named, SemanticMap.from_tables(
            unnamed.tables, config=CONFIG, space=SPACE.id, vocabulary=Vocabulary(()), revision=1
        ))  # fmt: skip


def test_a_map_takes_so_many_vocabularies_and_no_more() -> None:
    view = wall()
    first = mapped([(view, scores(["thing 0"]))]).columns
    semantic_map = SemanticMap.from_columns(
        first | {"features": torch.nn.functional.pad(first["features"], (0, 2 * MAX_VOCABULARIES - 2))},
        config=CONFIG, space=SPACE.id, vocabulary=Vocabulary(()), revision=1,
        concepts=ConceptChannels(tuple((f"thing {number}",) for number in range(MAX_VOCABULARIES))),
    )  # fmt: skip
    with pytest.raises(OvsegError, match=r"at most 256 vocabularies, .* clear the map, or repeat an earlier"):
        semantic_map.integrate(view, scores(["one more"]))
    semantic_map.integrate(view, scores(["thing 7"]))
    assert len(semantic_map.concepts) == MAX_VOCABULARIES
    semantic_map.clear()
    assert semantic_map.concepts == () and semantic_map.empty_copy().concepts == ()
    semantic_map.integrate(view, scores(["one more"]))
    assert semantic_map.concepts == ("one more",)
    semantic_map.remove(semantic_map.keys.clone())
    with pytest.raises(OvsegError, match="or clear the map"):
        semantic_map.integrate(view, replace(scores(["a"]), concepts=()))


def test_only_the_first_frame_of_a_vocabulary_depends_on_the_size_of_the_map() -> None:
    def work(turns: int) -> list[int]:
        semantic_map = SemanticMap(replace(CONFIG, voxel_size=0.05))
        for turn in range(turns):
            semantic_map.integrate(wall(3.0 * turn), scores(["bed", "cup"]))
        elements = []
        for concepts in (["door"], ["door"], ["cup", "bed"]):
            with TensorWork() as counted:
                semantic_map.integrate(wall(), scores(concepts))
            elements.append(counted.elements)
        return elements

    small, large = work(2), work(12)
    assert large[0] > 2 * small[0]
    assert large[1:] == pytest.approx(small[1:], rel=0.05)


def two_looks() -> SemanticMap:
    """A wall; the left of it was asked for a cup and a lamp, the right of it for a cup and a door."""
    semantic_map = SemanticMap(replace(CONFIG, voxel_size=0.1), vocabulary=Vocabulary((("cup", "mug"), ("door",))))
    semantic_map.integrate(wall(0.0), constant(cup=0.9, lamp=0.0))
    semantic_map.integrate(wall(5.0), constant(cup=0.02, door=0.8))
    return semantic_map


def test_what_was_not_asked_for_is_not_found_and_not_zero() -> None:
    semantic_map = two_looks()
    left = semantic_map.centres[:, 0] < 2.5
    assert semantic_map.concepts == ("cup", "lamp", "door")
    for name, value, other in (("cup", 0.9, 0.02), ("lamp", 0.0, np.nan), ("door", np.nan, 0.8)):
        column = semantic_map.features[:, semantic_map.concepts.index(name)]
        expected = torch.where(left, value, other).float()
        torch.testing.assert_close(column, expected, equal_nan=True, rtol=1e-4, atol=1e-5)
    share = float(left.float().mean())
    assert [semantic_map.asked_share(name) for name in ("cup", "lamp", "door", "bed")] == pytest.approx(
        [1.0, share, 1.0 - share, 0.0]
    )
    asked = ask(semantic_map, SPACE, ["mug", "door", "lamp"], min_score=0.0001)
    assert {match.query for match in asked} == {"mug", "door"}
    found = {match.query: match.position[0] for match in ask(semantic_map, SPACE, ["mug", "door"])}
    assert found["mug"] < 2.5 < found["door"]
    assert (score_voxels(semantic_map, SPACE, "door")[0, left] < 1e-6).all()
    # A cup of 0.02 is nothing: without the floor it would be a label where the door isn't in the vocabulary.
    labels, confidence = label_voxels(semantic_map, SPACE)
    assert torch.equal(labels, torch.where(left, 1, 2))
    semantic_map.set_vocabulary(Vocabulary.from_names(["cup"]))
    labels, confidence = label_voxels(semantic_map, SPACE)
    assert torch.equal(labels, left.long()) and torch.equal(confidence > 0, left)


def test_answers_say_where_less_than_all_was_asked() -> None:
    semantic_map = two_looks()
    share = semantic_map.asked_share("door")
    assert partly_asked(semantic_map, ["cup", "mug", "red door", "red thing"]) == {"red door": share}
    assert look_again({"cup": 0.309, "lamp": 0.0}) == (
        "'cup' was asked for in 30 % of the map only: look again; "
        "'lamp' was asked for in 0 % of the map only: look again"
    )
    semantic_map.set_vocabulary(Vocabulary.from_names(["sofa", "door"]))
    assert partly_asked(semantic_map, "sofa") == {"sofa": 0.0}
    assert ask(semantic_map, SPACE, "sofa") == ()
    assert partly_asked(random_map(), "sofa") == {}
    with pytest.raises(OvsegError, match=r"not asked for 'mug'.*only for cup, lamp, door, sofa"):
        ask(semantic_map, SPACE, "mug")


def test_a_saved_map_is_asked_without_the_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    semantic_map = two_looks()
    storage.save(semantic_map, tmp_path / "room.ovmap")
    assert main(["query", str(tmp_path / "room.ovmap"), "door", "mug"]) == 0
    percent = int(100 * semantic_map.asked_share("door"))
    assert f"'door' was asked for in {percent} % of the map only: look again" in capsys.readouterr().out
    assert main(["query", str(tmp_path / "room.ovmap"), "--json", "door", "mug"]) == 0
    answers = json.loads(capsys.readouterr().out)
    assert [match["query"] for match in answers["matches"]] == ["door", "mug"]
    assert answers["partly_asked"] == {"door": semantic_map.asked_share("door")}


def test_another_vocabulary_shows_at_once() -> None:
    semantic_map = two_looks()
    revision = semantic_map.revision
    before, _ = label_voxels(semantic_map, SPACE)
    semantic_map.set_vocabulary(Vocabulary.from_names(["lamp", "door"]))
    after, _ = label_voxels(semantic_map, SPACE)
    assert semantic_map.revision == revision + 1
    assert set(before.tolist()) == {1, 2} and set(after.tolist()) == {0, 2}
    # Scores of what is no longer looked for are still there.
    assert ask(semantic_map, SPACE, "cup")


def test_rays_keep_what_was_asked() -> None:
    depth = torch.full((24, 32), 2.0)
    depth[:, 10:] = torch.inf
    pose = torch.eye(4, dtype=torch.float64)
    turned = torch.tensor([[-1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, -1, 0], [0, 0, 0, 1]], dtype=torch.float64)
    config = MappingConfig(voxel_size=0.1, layers="rays", max_depth=3.0)

    def look(towards: torch.Tensor) -> RgbdFrame:
        return depth_frame(depth, camera(24, 32), towards, 1)

    ahead, behind = (look(pose), constant(cup=0.9)), (look(turned), constant(door=0.9, bed=0.0))
    whole = mapped([ahead, behind], config)
    merged = merge(mapped([ahead], config), mapped([behind], config))
    for semantic_map in (whole, merged):
        rays = semantic_map.layers.rays
        assert rays is not None
        forward = rays.directions[:, 2] > 0
        assert 0 < forward.sum() < len(rays)
        expected = torch.where(forward[:, None], torch.tensor([0.9, np.nan, np.nan]), torch.tensor([np.nan, 0.9, 0.0]))
        torch.testing.assert_close(semantic_map.ray_features, expected, equal_nan=True, rtol=1e-4, atol=1e-5)
        (cup,) = ask_rays(semantic_map, SPACE, ["cup"], max_matches=1, min_score=0.1)
        (door,) = ask_rays(semantic_map, SPACE, ["door"], max_matches=1, min_score=0.1)
        assert cup.direction[2] > 0.5 and door.direction[2] < -0.5
