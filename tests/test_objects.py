"""Objects: which sightings are the same thing, what a thing keeps, and that nothing is lost on the way to a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mapping_scenes import SPACE, TensorWork, camera, depth_frame, random_map
from word_space import SPACE as WORDS
from word_space import VOCABULARY, word

from ovseg_ros.errors import OvsegError
from ovseg_ros.geometry import pack_keys
from ovseg_ros.mapping import MappingConfig, SemanticMap, merge, storage
from ovseg_ros.mapping.objects import ObjectLayer
from ovseg_ros.mapping.sightings import Sightings
from ovseg_ros.query import ask
from ovseg_ros.types import InstanceMask, InvalidFrameError, RgbdFrame, Segmentation

Thing = tuple[range, str, float, int | None]
"""Voxels along x, name, score, track."""


def keys_of(voxels: Sequence[int]) -> torch.Tensor:
    return pack_keys(torch.tensor([[x, 0, 0] for x in voxels]))


def thing(start: int, end: int, name: str = "chair", score: float = 0.8, track: int | None = None) -> Thing:
    return range(start, end), name, score, track


def seen(*things: Thing, also: Sequence[int] = ()) -> Sightings:
    """A frame that sees each voxel of the things, and of ``also``, with ten pixels."""
    voxels = sorted({*also, *(voxel for voxels, *_ in things for voxel in voxels)})
    inside = torch.tensor([[10.0 * (voxel in of_one) for voxel in voxels] for of_one, *_ in things])
    inside = inside.view(len(things), len(voxels))
    names = tuple({name: score} for _, name, score, _ in things)
    tracks = tuple(track for *_, track in things)
    return Sightings(keys_of(voxels), torch.full((len(voxels),), 10.0), inside, torch.zeros_like(inside), names, tracks)


def layer_of(*frames: Sightings) -> ObjectLayer:
    layer = ObjectLayer(voxel_size=0.1)
    for number, frame in enumerate(frames):
        layer.observe(frame, number)
    return layer


def spans(layer: ObjectLayer) -> dict[int, tuple[str, int, int]]:
    """Id -> name, first and last voxel along x."""
    result = {}
    for entry in layer:
        x = ((entry.keys >> 42) - (1 << 20)).tolist()
        result[entry.id] = (entry.label, x[0], x[-1])
    return result


def test_an_object_says_what_it_is_and_where():
    layer = layer_of(*[seen(thing(2, 6, score=0.6)), seen(thing(2, 6, score=0.8)), seen(thing(2, 6, "stool", 0.4))])
    (entry,) = layer
    assert (entry.id, entry.label, entry.voxel_count, entry.view_count) == (0, "chair", 4, 3)
    assert entry.label_scores == pytest.approx({"chair": 1.4 / 3, "stool": 0.4 / 3})
    assert entry.score == pytest.approx(1.4 / 3)
    assert entry.centre == pytest.approx((0.35, 0, 0)) and entry.size == pytest.approx((0.4, 0.1, 0.1))
    assert (entry.first_seen_ns, entry.last_seen_ns) == (0, 2)


def test_what_is_seen_once_is_not_shown_yet():
    assert len(layer_of(seen(thing(0, 9)))) == 0
    assert len(layer_of(seen(thing(0, 9)), seen(thing(0, 9)))) == 1


def test_two_touching_things_stay_two():
    side_by_side = seen(thing(0, 10), thing(10, 20))
    assert spans(layer_of(*[side_by_side] * 9)) == {0: ("chair", 0, 9), 1: ("chair", 10, 19)}


def test_one_mask_over_two_things_now_and_then_does_not_join_them():
    both, one = seen(thing(0, 10), thing(10, 20)), seen(thing(0, 20))
    layer = layer_of(*[both] * 12, *[one] * 4, *[both] * 9)
    assert spans(layer) == {0: ("chair", 0, 9), 1: ("chair", 10, 19)}


def test_halves_seen_apart_become_one_by_the_older_id():
    layer = layer_of(*[seen(thing(0, 10, "sofa"))] * 3, *[seen(thing(10, 20, "sofa"))] * 3)
    assert len(layer) == 2
    for number in range(6, 12):
        layer.observe(seen(thing(0, 20, "sofa")), number)
    assert spans(layer) == {0: ("sofa", 0, 19)}
    (entry,) = layer
    assert (entry.view_count, entry.first_seen_ns, entry.last_seen_ns) == (12, 0, 11)


def test_a_thing_on_another_is_not_swallowed_while_the_other_covers_it():
    cushion, sofa = thing(4, 8, "cushion"), thing(0, 20, "sofa")
    layer = layer_of(*[seen(sofa, cushion)] * 4, *[seen(sofa)] * 20)
    assert spans(layer) == {0: ("cushion", 4, 7), 1: ("sofa", 0, 19)} or spans(layer) == {
        0: ("sofa", 0, 19),
        1: ("cushion", 4, 7),
    }


def test_a_part_is_the_thing_only_by_the_same_name():
    whole = [seen(thing(0, 20))] * 3
    assert len(layer_of(*whole, *[seen(thing(0, 6), also=range(6, 20))] * 3)) == 1
    assert len(layer_of(*whole, *[seen(thing(0, 6, "book"), also=range(6, 20))] * 3)) == 2


def test_another_name_for_the_same_place_is_the_same_thing():
    layer = layer_of(*[seen(thing(0, 10))] * 3, *[seen(thing(0, 10, "armchair"))] * 2)
    assert [(entry.label, entry.view_count) for entry in layer] == [("chair", 5)]


def test_synonyms_in_one_frame_are_one_thing_with_both_names():
    layer = layer_of(*[seen(thing(0, 20, "sofa", 0.9), thing(0, 20, "couch", 0.5))] * 3)
    assert [entry.label_scores for entry in layer] == [pytest.approx({"sofa": 0.9, "couch": 0.5})]


def test_voxels_that_are_seldom_the_things_do_not_stay():
    bleeding = seen(thing(0, 14))
    layer = layer_of(bleeding, *[seen(thing(0, 10), also=range(10, 14))] * 4)
    assert spans(layer) == {0: ("chair", 0, 9)}


def test_a_followed_thing_moves_and_another_does_not():
    moved = layer_of(*[seen(thing(0, 10, track=7))] * 3, *[seen(thing(50, 60, track=7), also=range(10))] * 3)
    assert spans(moved) == {0: ("chair", 50, 59)}
    assert len(layer_of(*[seen(thing(0, 10))] * 3, *[seen(thing(50, 60))] * 3)) == 2


def test_a_removed_voxel_is_in_no_object_and_an_empty_object_is_gone():
    layer = layer_of(*[seen(thing(0, 10), thing(20, 30))] * 3)
    layer.remove(keys_of([*range(5), *range(20, 30), 77]))
    assert spans(layer) == {0: ("chair", 5, 9)}
    for number in (3, 4):
        layer.observe(seen(thing(20, 30)), number)
    assert sorted(spans(layer)) == [0, 2]


def test_the_work_depends_on_what_a_frame_sees():
    elements = []
    for others in (1, 200):
        layer = layer_of(seen(*(thing(1000 + 50 * i, 1040 + 50 * i) for i in range(others))), seen(thing(0, 10)))
        with TensorWork() as work:
            layer.observe(seen(thing(0, 10)), 9)
        elements.append(work.elements)
    # The look-up table moves a stretch at a time whenever it has grown.
    assert elements[1] < 2 * elements[0] + 20_000


@st.composite
def frames(draw: st.DrawFn) -> list[list[Thing]]:
    one = st.tuples(
        st.integers(0, 40), st.integers(1, 12), st.sampled_from(["chair", "table"]), st.sampled_from([0.4, 0.7])
    ).map(lambda values: thing(values[0], values[0] + values[1], values[2], values[3]))
    return draw(st.lists(st.lists(one, max_size=5), min_size=1, max_size=12))


@settings(deadline=None, max_examples=20)
@given(frames(), st.randoms(use_true_random=False))
def test_the_order_of_sightings_does_not_matter(walk, random):
    shuffled = [random.sample(one, len(one)) for one in walk]
    one, other = (layer_of(*(seen(*things, also=range(50)) for things in order)) for order in (walk, shuffled))
    assert _content(one) == _content(other)


@settings(deadline=None, max_examples=20)
@given(frames())
def test_ids_grow_and_every_voxel_is_of_something_seen(walk):
    layer, ever = ObjectLayer(0.1), set()
    hit: set[int] = set()
    for number, things in enumerate(walk):
        layer.observe(seen(*things, also=range(50)), number)
        hit |= {voxel for voxels, *_ in things for voxel in voxels}
        ids = [entry.id for entry in layer]
        assert ids == sorted(set(ids))
        ever |= set(ids)
        for entry in layer:
            assert torch.isin(entry.keys, keys_of(sorted(hit))).all()
            assert entry.voxel_count and entry.view_count >= 2 and entry.last_seen_ns <= number
            assert len(torch.unique(entry.keys)) == entry.voxel_count
    gone = ever - {entry.id for entry in layer}
    for number in (100, 101):
        layer.observe(seen(thing(500, 520, "new")), number)
    assert max(entry.id for entry in layer) > max(ever, default=-1)
    assert not gone & {entry.id for entry in layer}


@settings(deadline=None, max_examples=15)
@given(frames())
def test_columns_bring_back_the_same_objects_that_go_on_alike(walk):
    layer = layer_of(*(seen(*things, also=range(50)) for things in walk))
    again = ObjectLayer.from_columns(layer.columns, 0.1)
    assert _content(again) == _content(layer)
    keys = keys_of(range(50))
    assert torch.equal(again.ids_of(keys), layer.ids_of(keys))
    again.remove(keys_of(range(20)))
    layer.remove(keys_of(range(20)))
    assert _content(again) == _content(layer)


def _content(layer: ObjectLayer) -> list[tuple[object, ...]]:
    return [
        (entry.id, dict(entry.label_scores), entry.keys.tolist(), entry.view_count, entry.first_seen_ns)
        for entry in layer
    ]


VIEW = camera(24, 32)
POSE = torch.eye(4, dtype=torch.float64)


def two_chairs(x: float = 0.0, left: bool = True) -> tuple[RgbdFrame, Segmentation]:
    """A wall 1 m away, whose left and right halves are a chair each."""
    pose = POSE.clone()
    pose[0, 3] = x
    masks = torch.zeros(2, 6, 8, dtype=torch.bool)
    masks[0, :, :4], masks[1, :, 4:] = True, True
    instances = tuple(InstanceMask(mask, 0.9, "chair") for mask in masks[0 if left else 1 :])
    features = word("chair")[:, None, None].expand(-1, 6, 8)
    return depth_frame(torch.ones(24, 32), VIEW, pose, 5), Segmentation(features, WORDS.id, instances)


def map_of(*steps: tuple[RgbdFrame, Segmentation], config: MappingConfig | None = None) -> SemanticMap:
    semantic_map = SemanticMap(config, vocabulary=VOCABULARY)
    for frame, segmentation in steps:
        semantic_map.integrate(frame, segmentation)
    return semantic_map


def test_masks_become_objects_of_the_voxels_behind_them():
    semantic_map = map_of(two_chairs(), two_chairs())
    first, second = semantic_map.objects
    # The cells beside the border between the masks say nothing: 20 of 32 columns, at 28.8 pixels a metre.
    assert second.centre[0] - first.centre[0] == pytest.approx(20 / 28.8, abs=0.06)
    assert torch.isin(first.keys, semantic_map.keys).all()
    assert not torch.isin(first.keys, second.keys).any()


def test_touching_chairs_are_two_answers_and_without_masks_one():
    with_masks = ask(map_of(two_chairs(), two_chairs()), WORDS, "chair")
    assert sorted(match.object_id for match in with_masks) == [0, 1]
    plain = [(frame, Segmentation(segmentation.features, segmentation.space)) for frame, segmentation in [two_chairs()]]
    (match,) = ask(map_of(*plain), WORDS, "chair")
    assert match.object_id == -1


def test_an_answer_by_another_word_names_the_object_it_is():
    semantic_map = map_of(*[two_chairs()] * 2)
    semantic_map.remove(next(iter(semantic_map.objects)).keys)
    (match,) = ask(semantic_map, WORDS, "something black")
    assert match.object_id == 1


def test_a_mask_of_another_size_or_score_is_refused_and_the_map_stays():
    frame, segmentation = two_chairs()
    semantic_map = map_of((frame, segmentation))
    for bad in (
        InstanceMask(torch.ones(3, 4, dtype=torch.bool), 0.5, "x"),
        InstanceMask(torch.ones(6, 8) > 0, 1.5, "x"),
    ):
        with pytest.raises(InvalidFrameError, match="an instance needs a mask of 6x8 cells"):
            semantic_map.integrate(frame, Segmentation(segmentation.features, segmentation.space, (bad,)))
    assert semantic_map.revision == 1


def test_masks_over_nothing_in_range_are_no_objects():
    semantic_map = SemanticMap(MappingConfig(layers="occupancy"))
    _, segmentation = two_chairs()
    for _ in range(2):
        semantic_map.integrate(depth_frame(torch.full((24, 32), 9.0), VIEW, POSE), segmentation)
    assert semantic_map.is_empty and len(semantic_map.objects) == 0


def test_what_shows_through_a_thin_thing_is_none_of_it():
    frame, segmentation = two_chairs()
    depth = frame.depth.clone()
    depth[:, 14:18] = 0.6
    pole = torch.zeros(6, 8, dtype=torch.bool)
    pole[:, 3:5] = True
    instance = InstanceMask(pole, 0.9, "lamp")
    masked = Segmentation(segmentation.features, segmentation.space, (instance,))
    (lamp,) = map_of(*[(depth_frame(depth, VIEW, POSE), masked)] * 2).objects
    assert lamp.centre[2] == pytest.approx(0.6) and lamp.size[2] == pytest.approx(0.05)


def test_a_map_that_forgets_voxels_forgets_them_in_objects():
    semantic_map = map_of(*[two_chairs()] * 2)
    first, second = semantic_map.objects
    semantic_map.remove(first.keys)
    assert [entry.id for entry in semantic_map.objects] == [second.id]
    semantic_map.clear()
    assert len(semantic_map.objects) == 0 and "objects.next_id" not in semantic_map.columns


def test_what_is_seen_through_leaves_its_object():
    semantic_map = map_of(*[two_chairs()] * 2, config=MappingConfig(layers="occupancy"))
    before = sum(entry.voxel_count for entry in semantic_map.objects)
    _, segmentation = two_chairs()
    behind = depth_frame(torch.full((24, 32), 3.0), VIEW, POSE, 9)
    for _ in range(8):
        semantic_map.integrate(behind, Segmentation(segmentation.features, segmentation.space))
    after = list(semantic_map.objects)
    assert sum(entry.voxel_count for entry in after) < before / 2
    assert all(torch.isin(entry.keys, semantic_map.keys).all() for entry in after)


def test_a_file_keeps_objects_and_refuses_broken_ones(tmp_path: Path):
    semantic_map = map_of(*[two_chairs()] * 3)
    storage.save(semantic_map, tmp_path / "a.ovmap")
    loaded = storage.load(tmp_path / "a.ovmap")
    assert _content(loaded.objects) == _content(semantic_map.objects)
    assert len(storage_round_trip(random_map(), tmp_path).objects) == 0
    for name, value in {"numbers": -1, "ids": 99, "hits": float("nan"), "views": 0, "names": 5, "words": 0}.items():
        columns = semantic_map.columns
        columns[f"objects.{name}"] = columns[f"objects.{name}"].clone().fill_(value)
        with pytest.raises(OvsegError, match="object"):
            SemanticMap.from_columns(
                columns, config=semantic_map.config, space=SPACE, vocabulary=VOCABULARY, revision=1
            )


def storage_round_trip(semantic_map: SemanticMap, folder: Path) -> SemanticMap:
    storage.save(semantic_map, folder / "b.ovmap")
    return storage.load(folder / "b.ovmap")


def test_merging_finds_the_same_things_and_keeps_the_ids_of_the_first():
    first = map_of(*[two_chairs(left=False)] * 2)
    second = map_of(*[two_chairs()] * 3)
    merged = merge(first, second)
    assert [(entry.id, entry.view_count) for entry in merged.objects] == [(0, 5), (1, 3)]
    ours = next(iter(first.objects))
    assert torch.equal(next(iter(merged.objects)).keys, ours.keys)
    shift = POSE.clone()
    shift[0, 3] = 10.0
    assert len(merge(first, second, shift).objects) == 3
    moved = [entry.centre[0] for entry in merge(first.empty_copy(), second, shift).objects]
    assert moved == pytest.approx([entry.centre[0] + 10 for entry in second.objects])
