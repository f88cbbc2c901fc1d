"""Scores of voxels against a plain restatement, however the map keeps its features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from mapping_scenes import SPACE, random_frame, random_map, random_segmentation
from random_spaces import Directions, DirectSpace, RandomSpace

from ovseg_ros.mapping import MappingConfig, SemanticMap
from ovseg_ros.mapping.online_compression import FIT_FRAMES
from ovseg_ros.query import background, label_voxels, score_voxels
from ovseg_ros.query.background import Background
from ovseg_ros.query.feature_index import FeatureIndex
from ovseg_ros.query.map_index import MapIndex
from ovseg_ros.query.rows import SPARE, with_room
from ovseg_ros.query.similarity import competitors
from ovseg_ros.query.unit_features import FEW_TEXTS, UnitFeatures
from ovseg_ros.vocabulary import GENERIC_NEGATIVES, Vocabulary

VOCABULARY = Vocabulary.from_names(["chair", "table", "lamp"], synonyms={"chair": ["seat"]})
QUERIES = ["chair", "table", "zebra", "seat"]


CONFIGS = {
    "float32": MappingConfig(voxel_size=0.1),
    "float16": MappingConfig(voxel_size=0.1, feature_dtype="float16"),
    "coarse": MappingConfig(voxel_size=0.1, feature_voxel_size=0.3),
    "compressed": MappingConfig(voxel_size=0.1, feature_components=2),
    "all": MappingConfig(voxel_size=0.1, feature_components=3, feature_voxel_size=0.2, feature_dtype="float16"),
}


NOTHING, EVERYTHING = 0.0, 1e3


@pytest.fixture(params=[NOTHING, EVERYTHING], ids=["read", "kept"])
def kept_share(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> float:
    """Without and with kept logits of the vocabulary's concepts, whatever the size of the features."""
    monkeypatch.setattr(background, "KEPT_SHARE", request.param)
    return float(request.param)


def filled(config: MappingConfig) -> SemanticMap:
    semantic_map = random_map(frames=FIT_FRAMES, config=config)
    semantic_map.set_vocabulary(VOCABULARY)
    return semantic_map


def about(semantic_map: SemanticMap) -> dict[str, Any]:
    """What a map's columns leave out."""
    names = ("config", "space", "vocabulary", "revision", "codec")
    return {name: getattr(semantic_map, name) for name in names}


def plain_logits(semantic_map: SemanticMap, words: Sequence[str]) -> np.ndarray:
    features = semantic_map.features.double().numpy()
    features = features / np.linalg.norm(features, axis=1, keepdims=True)
    return 30.0 * RandomSpace().encode_text(words).double().numpy() @ features.T


@pytest.mark.parametrize("space", [RandomSpace(), DirectSpace()], ids=["aligned", "direct"])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_scores_are_the_softmax_against_the_other_concepts(config, space, kept_share):
    semantic_map = filled(config)
    groups = {"chair": ["chair", "seat"], "table": ["table"], "zebra": ["zebra"], "seat": ["seat", "chair"]}
    scores = score_voxels(semantic_map, space, QUERIES)
    assert scores.shape == (4, semantic_map.voxel_count) and scores.dtype == torch.float32
    negatives = [*VOCABULARY.synonyms, *((word,) for word in GENERIC_NEGATIVES)]
    for query, row in zip(QUERIES, scores, strict=True):
        noun = np.exp(plain_logits(semantic_map, groups[query])).max(axis=0)
        rivals = [group for group in negatives if not set(group) & set(groups[query])]
        others = sum(np.exp(plain_logits(semantic_map, group)).max(axis=0) for group in rivals)
        np.testing.assert_allclose(
            row, noun / (noun + others), atol=0.02 if "float16" in config.feature_dtype else 1e-3
        )


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_many_questions_at_once_are_answered_as_one_by_one(config, kept_share):
    semantic_map = filled(config)
    words = [f"word{i}" for i in range(FEW_TEXTS + 5)] + ["chair", "table"]
    scores = score_voxels(semantic_map, DirectSpace(), words)
    alone = torch.cat([score_voxels(semantic_map, DirectSpace(), word) for word in words])
    torch.testing.assert_close(scores, alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_labels_are_the_concepts_with_the_likeliest_name(config, kept_share):
    semantic_map = filled(config)
    labels, confidence = label_voxels(semantic_map, DirectSpace())
    chair, seat, *others = plain_logits(semantic_map, ["chair", "seat", "table", "lamp"])
    assert (seat > chair).any() and (chair > seat).any()
    logits = np.stack((np.maximum(chair, seat), *others))
    top = np.sort(logits, axis=0)
    clear = top[-1] - top[-2] > 0.1
    assert clear.mean() > 0.9
    assert (labels.numpy() == logits.argmax(axis=0) + 1)[clear].all()
    expected = np.exp(top[-1]) / np.exp(logits).sum(axis=0)
    np.testing.assert_allclose(confidence, expected, atol=0.02 if config.feature_dtype == "float16" else 1e-3)


def test_features_without_length_deserve_no_name_and_no_crash():
    semantic_map = SemanticMap.from_columns(
        {
            "keys": torch.arange(3),
            "weights": torch.ones(3),
            "colours": torch.zeros(3, 3),
            "last_seen": torch.zeros(3, dtype=torch.int64),
            "features": torch.tensor([[0.0, 0, 0, 0], [1, 0, 0, 0], [0, -5, 0, 0]]),
        },
        config=MappingConfig(),
        space=SPACE,
        vocabulary=VOCABULARY,
        revision=1,
    )
    labels, confidence = label_voxels(semantic_map, DirectSpace())
    assert labels[0] == 0 and confidence[0] == 0 and (labels[1:] > 0).all()
    assert score_voxels(semantic_map, DirectSpace(), ["chair"]).isfinite().all()


def test_a_direct_index_copies_no_features():
    semantic_map = filled(CONFIGS["float32"])
    index = MapIndex(semantic_map, DirectSpace(), competitors(VOCABULARY))
    stored = next(semantic_map.feature_chunks()).data_ptr()
    assert index._features.chunks[0].data_ptr() == stored


@pytest.mark.parametrize("space", [RandomSpace(), DirectSpace()], ids=["aligned", "direct"])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_an_index_follows_its_map(config, space, kept_share):
    """After each change the scores are those of a map that was never asked before."""
    rng = np.random.default_rng(5)
    semantic_map = filled(config)

    def scores_are_those_of_a_fresh_index():
        if semantic_map.is_empty:
            assert score_voxels(semantic_map, space, ["table"]).shape == (1, 0)
            return
        fresh = MapIndex(semantic_map, space, competitors(semantic_map.vocabulary))
        expected = fresh.probabilities([[query] for query in ("table", "zebra")])
        torch.testing.assert_close(score_voxels(semantic_map, space, ["table", "zebra"]), expected, atol=1e-5, rtol=0)

    def integrate():
        semantic_map.integrate(random_frame(rng, distance=rng.uniform(0.5, 3.0)), random_segmentation(rng))

    scores_are_those_of_a_fresh_index()
    for change in (
        integrate,
        integrate,
        lambda: semantic_map.remove(semantic_map.keys[::3].clone()),
        integrate,
        lambda: semantic_map.remove(semantic_map.keys[5:].clone()),
        integrate,
        semantic_map.clear,
        *[integrate] * (FIT_FRAMES + 2),
    ):
        change()
        scores_are_those_of_a_fresh_index()


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_an_index_made_for_labels_follows_its_map(config, kept_share):
    rng, space, semantic_map = np.random.default_rng(5), DirectSpace(), filled(config)
    with torch.inference_mode():
        label_voxels(semantic_map, space)
    for change in (
        lambda: semantic_map.integrate(random_frame(rng, distance=1.0), random_segmentation(rng)),
        lambda: semantic_map.remove(semantic_map.keys[::3].clone()),
    ):
        change()
        labels, confidence = label_voxels(semantic_map, space)
        assert len(labels) == semantic_map.voxel_count
        expected = label_voxels(SemanticMap.from_columns(semantic_map.columns, **about(semantic_map)), space)
        assert torch.equal(labels, expected[0])
        torch.testing.assert_close(confidence, expected[1], atol=1e-5, rtol=0)
    fresh = MapIndex(semantic_map, space, competitors(VOCABULARY)).probabilities([["table"]])
    torch.testing.assert_close(score_voxels(semantic_map, space, ["table"]), fresh, atol=1e-5, rtol=0)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_words_of_a_concept_count_whether_a_question_has_all_of_them_or_not(config, kept_share):
    semantic_map = filled(config)
    index = MapIndex(semantic_map, DirectSpace(), competitors(VOCABULARY))
    groups = [["chair"], ["seat", "chair"], ["seat", "zebra", "chair"], ["table", "lamp"], ["seat", "table"]]
    negatives = [*VOCABULARY.synonyms, *((word,) for word in GENERIC_NEGATIVES)]
    for group, row in zip(groups, index.probabilities(groups), strict=True):
        noun = np.exp(plain_logits(semantic_map, group)).max(axis=0)
        rivals = [rival for rival in negatives if not set(group) & set(rival)]
        others = sum(np.exp(plain_logits(semantic_map, rival)).max(axis=0) for rival in rivals)
        mine = sum(np.exp(plain_logits(semantic_map, own)).max(axis=0) for own in negatives if set(group) & set(own))
        # Nothing is left to tell a word's rivals apart where another word of its concept takes all.
        clear = noun / (mine + others) > 1e-2
        tolerance = 0.02 if "float16" in config.feature_dtype else 1e-3
        assert clear.any()
        np.testing.assert_allclose(row[clear], (noun / (noun + others))[clear], atol=tolerance)


def test_known_words_are_answered_without_reading_the_features(kept_share, monkeypatch):
    semantic_map, space = filled(CONFIGS["float32"]), DirectSpace()
    expected = score_voxels(semantic_map, space, ["chair", "table"])
    read: list[int] = []
    cosines = UnitFeatures.cosines

    def watched(features, texts):
        read.append(len(texts))
        return cosines(features, texts)

    monkeypatch.setattr(UnitFeatures, "cosines", watched)
    label_voxels(semantic_map, space)
    assert read == ([] if kept_share else [4])
    read.clear()
    assert torch.equal(score_voxels(semantic_map, space, ["chair", "table"]), expected)
    assert read == ([] if kept_share else [3])
    score_voxels(semantic_map, space, ["zebra"])
    assert read[-1] == 1


def test_what_is_kept_takes_a_quarter_of_the_features_memory_at_most():
    features = torch.randn(50, 64, generator=torch.Generator().manual_seed(0))
    for concepts, kept in ((16, True), (17, False)):
        negatives = [(f"word{i}",) for i in range(concepts)]
        space = Directions()
        index = FeatureIndex([features], space, negatives, torch.device("cpu"))
        assert index.probabilities([["word3"]]).shape == (1, 50)
        assert (index._background._kept is not None) is kept


@pytest.mark.parametrize("dim", [0, 1])
def test_there_is_room_for_more_but_not_for_far_more(dim):
    values = torch.rand(10, 10)
    assert with_room(values, 10, dim) is values and with_room(values, 4, dim) is values
    for count in (3, 11, 500):
        roomy = with_room(values, count, dim)
        assert count <= roomy.shape[dim] <= SPARE * count
        kept = min(count, 10)
        assert torch.equal(roomy.narrow(dim, 0, kept), values.narrow(dim, 0, kept))


def test_following_compares_only_what_has_changed(monkeypatch):
    compared: list[int] = []
    compare = Background._compared

    def watched(background, features, keep):
        compared.append(len(features))
        return compare(background, features, keep)

    monkeypatch.setattr(Background, "_compared", watched)
    rng, space, semantic_map = np.random.default_rng(5), DirectSpace(), filled(CONFIGS["float32"])
    score_voxels(semantic_map, space, ["table"])
    before = semantic_map.voxel_count
    frame = random_frame(rng)
    semantic_map.integrate(frame, random_segmentation(rng))
    score_voxels(semantic_map, space, ["table"])
    score_voxels(semantic_map, space, ["zebra"])
    assert compared == [before, int((semantic_map.last_seen == frame.stamp_ns).sum())]
    assert compared[1] < before
