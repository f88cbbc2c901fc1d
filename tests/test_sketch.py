"""What a sketch rules out must be what the features themselves rule out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mapping_scenes import random_frame, random_map, random_segmentation
from random_spaces import Directions

from ovseg_ros.mapping import MappingConfig, SemanticMap
from ovseg_ros.mapping.online_compression import FIT_FRAMES
from ovseg_ros.query import ask, feature_index
from ovseg_ros.query.feature_index import FeatureIndex
from ovseg_ros.query.map_index import MapIndex
from ovseg_ros.query.similarity import map_index
from ovseg_ros.query.sketch import GROWTH, NUMBERS, Sketch
from ovseg_ros.query.unit_features import UnitFeatures
from ovseg_ros.types import Segmentation
from ovseg_ros.vocabulary import Vocabulary

SPACE = Directions()
CHANNELS = 64
VOCABULARY = Vocabulary.from_names(["chair", "table", "lamp"], synonyms={"chair": ["seat"]})
NEGATIVES = (("chair", "seat"), ("table",), ("lamp",))
GROUPS = (("chair", "seat"), ("zebra",), ("zebra", "table"), ("seat",))


@pytest.fixture(autouse=True)
def small_features_are_sketched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_index, "SKETCHED_BYTES", 0)


def near_words(count: int, noise: float, seed: int = 0) -> torch.Tensor:
    """(count, 64) features as a model makes them: near the words of a few things, some of no length."""
    generator = torch.Generator().manual_seed(seed)
    words = SPACE.encode_text(["chair", "table", "lamp", "zebra", "sofa"])
    features = words[torch.randint(len(words), (count,), generator=generator)]
    features = features + noise * torch.randn(count, CHANNELS, generator=generator) / CHANNELS**0.5
    features *= 10.0 ** (4 * torch.rand(count, 1, generator=generator) - 2)
    features[::17] = 0.0
    return features


def asked_once(features: Sequence[torch.Tensor]) -> FeatureIndex:
    """An index that makes a sketch for the next question."""
    index = FeatureIndex(features, SPACE, NEGATIVES, torch.device("cpu"))
    index.probabilities([["zebra"]], 0.3)
    assert "_sketch" not in vars(index)
    return index


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32), noise=st.sampled_from([0.0, 0.1, 1.0, 10.0]), half=st.booleans())
def test_no_product_is_larger_than_the_sketch_says(seed: int, noise: float, half: bool) -> None:
    features = UnitFeatures(list(torch.split(near_words(100, noise, seed).to(torch.float16 if half else None), 33)))
    texts = 30.0 * SPACE.encode_text(["chair", "zebra", "something else"])
    for some in (texts, texts[:1]):
        most, exact = Sketch(features).at_most(some, slice(5, 90)), features.cosines(some)[:, 5:90]
        assert (most >= exact - 1e-4).all()
    if noise == 0.0:
        assert (most - exact)[:, features.scales[5:90] > 0].max() < 0.5


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("noise", [0.1, 2.0])
@pytest.mark.parametrize("unclear_share", [0.0, 1.0])
def test_what_is_likely_enough_is_exact_and_the_rest_is_less(
    kept: bool, noise: float, unclear_share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ovseg_ros.query.background.KEPT_SHARE", float(kept))
    monkeypatch.setattr(feature_index, "UNCLEAR_SHARE", unclear_share)
    monkeypatch.setattr(feature_index, "PICKED", 7)
    index = asked_once(torch.split(near_words(300, noise), 101))
    exact = index.probabilities(GROUPS)
    for at_least in (0.05, 0.3, 0.9):
        some = index.probabilities(GROUPS, at_least)
        likely = exact >= at_least
        assert likely.any() and not likely.all()
        torch.testing.assert_close(some[likely], exact[likely], atol=1e-6, rtol=0)
        assert ((some[~likely] == 0.0) | torch.isclose(some[~likely], exact[~likely], atol=1e-6)).all()
    assert torch.equal(index.probabilities(GROUPS, 0.0), exact)
    assert index.probabilities(GROUPS, 1.0).shape == exact.shape


def test_few_features_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_index, "UNCLEAR_SHARE", 1.0)
    index = asked_once([near_words(1000, 0.1)])
    index.probabilities([["sofa"]], 0.3)
    read: list[int] = []
    cosines = UnitFeatures.cosines

    def watched(features: UnitFeatures, texts: torch.Tensor) -> torch.Tensor:
        read.append(len(features))
        return cosines(features, texts)

    monkeypatch.setattr(UnitFeatures, "cosines", watched)
    hits = int((index.probabilities([["zebra"]], 0.3) >= 0.3).sum())
    assert 0 < hits <= sum(read) < 1.2 * hits
    read.clear()
    assert (index.probabilities([["giraffe"]], 0.3) < 0.3).all() and not sum(read)


def test_a_sketch_follows_the_map_and_is_made_anew_when_it_has_grown() -> None:
    rng, config = np.random.default_rng(5), MappingConfig(voxel_size=0.1)
    semantic_map = random_map(frames=0, config=config)

    def integrate() -> None:
        semantic_map.integrate(random_frame(rng, distance=rng.uniform(0.5, 3.0)), random_segmentation(rng, CHANNELS))

    integrate()
    index = MapIndex(semantic_map, SPACE, NEGATIVES)
    with torch.inference_mode():
        index.probabilities(GROUPS, 0.1)
        index.probabilities(GROUPS, 0.1)
    assert "_sketch" in vars(index)
    first, sketches = semantic_map.voxel_count, {id(index._sketch): index._sketch}
    for change in [integrate, lambda: semantic_map.remove(semantic_map.keys[::2].clone()), *[integrate] * 8]:
        change()
        assert index.follow(semantic_map)
        fresh = MapIndex(semantic_map, SPACE, NEGATIVES).probabilities(GROUPS)
        likely = fresh >= 0.1
        followed = index.probabilities(GROUPS, 0.1)
        torch.testing.assert_close(followed[likely], fresh[likely], atol=1e-5, rtol=0)
        assert (followed[~likely] < 0.1).all()
        sketches[id(index._sketch)] = index._sketch
    assert semantic_map.voxel_count > GROWTH * first
    assert 2 <= len(sketches) <= 4


def test_features_change_in_place_whether_in_inference_mode_or_not() -> None:
    features = near_words(200, 0.1)
    index = asked_once([features])
    rows = torch.tensor([3, 40, 41])
    for inference in (True, False):
        with torch.inference_mode(inference):
            index.probabilities(GROUPS, 0.3)
            features[rows] = features[rows + 100].clone()
            index.replace([features], rows)
            index.probabilities(GROUPS, 0.3)
    torch.testing.assert_close(index.probabilities(GROUPS)[:, rows], index.probabilities(GROUPS)[:, rows + 100])
    likely = index.probabilities(GROUPS) >= 0.3
    torch.testing.assert_close(index.probabilities(GROUPS, 0.3)[likely], index.probabilities(GROUPS)[likely])


def test_directions_of_things_long_gone_are_chosen_anew_once_they_are_of_no_use() -> None:
    generator = torch.Generator().manual_seed(1)
    # Things of one kind at first, then things of all kinds.
    features = near_words(200, 0.01)
    index = asked_once([features])
    index.probabilities([["zebra"]], 0.3)
    first = index._sketch
    features = torch.randn(200, CHANNELS, generator=generator) @ torch.diag(torch.linspace(0, 1, CHANNELS) ** 6)
    index.replace([features], torch.arange(200))
    assert index._sketch is first
    index.probabilities([["zebra"]], 0.01)
    assert "_sketch" not in vars(index)
    index.probabilities([["zebra"]], 0.01)
    index.probabilities([["zebra"]], 0.01)
    assert index._sketch is not first


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_feature_that_is_not_finite_hides_no_other(bad: float) -> None:
    features = near_words(300, 0.1)
    features[5, 7] = bad
    index = asked_once([features])
    exact = index.probabilities(GROUPS)
    likely = exact >= 0.3
    assert likely.any()
    torch.testing.assert_close(index.probabilities(GROUPS, 0.3)[likely], exact[likely], atol=1e-6, rtol=0)


@pytest.mark.parametrize("components", [0, 32])
def test_matches_are_those_of_all_features(components: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Things that are a little likely, at 0.2, count for matches too."""
    monkeypatch.setattr("ovseg_ros.query.background.KEPT_SHARE", 0.0)
    monkeypatch.setattr(feature_index, "UNCLEAR_SHARE", 1.0)
    config = MappingConfig(voxel_size=0.1, feature_components=components)
    rng, semantic_map = np.random.default_rng(3), SemanticMap(config, vocabulary=VOCABULARY)
    words = SPACE.encode_text(["chair", "table", "lamp", "zebra", "sofa"])
    for _ in range(FIT_FRAMES):
        # Between two things each, so that many a voxel is only a little likely.
        one, other = rng.integers(len(words), size=(2, 3, 5))
        features = torch.lerp(words[one], words[other], torch.from_numpy(rng.uniform(size=(3, 5, 1))).float())
        semantic_map.integrate(random_frame(rng), Segmentation(features.permute(2, 0, 1), SPACE.id))
    questions = ["chair", "zebra", "sofa", "seat", "giraffe", "zebra"]
    answers = [ask(semantic_map, SPACE, question, min_score=0.2) for question in questions]
    assert "_sketch" in vars(map_index(semantic_map, SPACE)) or components
    monkeypatch.setattr(feature_index, "SKETCHED_BYTES", 1 << 30)
    assert answers == [ask(semantic_map, SPACE, question, min_score=0.2) for question in questions]
    assert len(answers[0]) and len(answers[1])


def test_features_of_few_numbers_are_read_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    features = near_words(100, 0.1)
    assert features.shape[1] * features.element_size() < 4 * NUMBERS * features.element_size()
    index = FeatureIndex([features], SPACE, NEGATIVES, torch.device("cpu"))
    assert torch.equal(index.probabilities(GROUPS, 0.3), index.probabilities(GROUPS))
