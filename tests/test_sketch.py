"""What a sketch rules out must be what the features themselves rule out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mapping_scenes import random_frame, random_map, random_segmentation
from random_spaces import Directions

from ovseg_ros.mapping import MappingConfig
from ovseg_ros.query import feature_index
from ovseg_ros.query.feature_index import FeatureIndex
from ovseg_ros.query.map_index import MapIndex
from ovseg_ros.query.sketch import GROWTH, NUMBERS, Sketch
from ovseg_ros.query.unit_features import UnitFeatures

SPACE = Directions()
CHANNELS = 64
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
    index = FeatureIndex(torch.split(near_words(300, noise), 101), SPACE, NEGATIVES, torch.device("cpu"))
    exact = index.probabilities(GROUPS)
    for at_least in (0.05, 0.3, 0.9):
        some = index.probabilities(GROUPS, at_least)
        likely = exact >= at_least
        assert likely.any() and not likely.all()
        torch.testing.assert_close(some[likely], exact[likely], atol=1e-6, rtol=0)
        assert (some[~likely] < at_least).all()
    assert torch.equal(index.probabilities(GROUPS, 0.0), exact)
    assert index.probabilities(GROUPS, 1.0).shape == exact.shape


def test_few_features_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_index, "UNCLEAR_SHARE", 1.0)
    index = FeatureIndex([near_words(1000, 0.1)], SPACE, NEGATIVES, torch.device("cpu"))
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


def test_features_of_few_numbers_are_read_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    features = near_words(100, 0.1)
    assert features.shape[1] * features.element_size() < 4 * NUMBERS * features.element_size()
    index = FeatureIndex([features], SPACE, NEGATIVES, torch.device("cpu"))
    assert torch.equal(index.probabilities(GROUPS, 0.3), index.probabilities(GROUPS))
