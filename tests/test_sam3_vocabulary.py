"""What SAM 3 is asked, how its scores become labels and answers, and where settings and weights come from."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from sam3_model import save_tiny_model

from ovseg_ros.errors import OvsegError
from ovseg_ros.segmentation import backends, language_space, load_segmenter
from ovseg_ros.segmentation.sam3 import locate
from ovseg_ros.segmentation.sam3.concepts import Concept, Concepts
from ovseg_ros.segmentation.sam3.config import CONFIG_VARIABLE, Sam3Config, read_config
from ovseg_ros.segmentation.sam3.merging import distinct_masks, label_maps, score_map
from ovseg_ros.segmentation.sam3.space import Sam3Space
from ovseg_ros.types import ConceptSpace
from ovseg_ros.vocabulary import Vocabulary

KITCHEN = Concepts.of(
    [Concept("Cup", ("mug",)), Concept("floor", stuff=True), Concept("steam", distractor=True), "door"]
)


def test_concepts_keep_their_order_and_distractors_come_last() -> None:
    assert [concept.name for concept in KITCHEN.entries] == ["cup", "floor", "door", "steam"]
    assert KITCHEN.prompts == ("cup", "mug", "floor", "door", "steam")
    assert KITCHEN.owners == (0, 0, 1, 2, 3)
    assert KITCHEN.vocabulary.synonyms == (("cup", "mug"), ("floor",), ("door",))
    assert Concepts.of([Concept("  Grüne   Tür ", ("grüne tür", "TÜR"))]).prompts == ("grüne tür", "tür")


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([], "0 concepts to look for: give at least one"),
        ([Concept("steam", distractor=True)], "0 concepts to look for"),
        (["cup", "  "], "needs a letter or digit.*'  '"),
        (["?!"], "needs a letter or digit"),
        (["x" * 201], "at most 200 characters"),
        (["cup", "Cup "], "'cup' is asked for twice, as 'cup' and as 'cup'"),
        ([Concept("cup", ("mug",)), Concept("pot", ("Mug",))], "'mug' is asked for twice, as 'cup' and as 'pot'"),
        ([f"c{i}" for i in range(4097)], "4097 concepts are more than the limit of 4096"),
    ],
)
def test_wrong_vocabularies_are_refused(entries: list[Any], message: str) -> None:
    with pytest.raises(OvsegError, match=message):
        Concepts.of(entries)


def boxes(*corners: tuple[int, int, int, int]) -> torch.Tensor:
    masks = torch.zeros(len(corners), 8, 8)
    for mask, (top, bottom, left, right) in zip(masks, corners, strict=True):
        mask[top:bottom, left:right] = 1.0
    return masks


def test_repeated_masks_go_and_touching_ones_stay() -> None:
    masks = boxes((0, 8, 0, 4), (0, 8, 0, 3), (0, 8, 4, 8), (0, 0, 0, 0), (0, 8, 1, 5))
    kept = distinct_masks(masks, torch.tensor([0.8, 0.9, 0.7, 0.99, 0.6]), 0.5)
    # The best is (1); (0) repeats it at 24/32; (4) shares 16 of 40 with it and 8 of 56 with (2); (3) is empty.
    assert kept.tolist() == [1, 2, 4]
    assert distinct_masks(masks[:0], torch.zeros(0), 0.5).tolist() == []


def test_a_crowd_of_weak_masks_never_beats_a_good_one() -> None:
    masks = torch.ones(5, 2, 2)
    assert (score_map(masks, torch.full((5,), 0.3)) == 0.3).all()


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 1000), st.permutations(range(4)))
def test_order_of_concepts_changes_no_label(seed: int, order: list[int]) -> None:
    scores = torch.rand(4, 3, 5, generator=torch.Generator().manual_seed(seed))
    concepts = [Concept("a"), Concept("b", priority=2), Concept("c", priority=2), Concept("d", priority=-1)]
    plain = label_maps(scores, concepts, 0.6)
    turned = label_maps(scores[order], [concepts[i] for i in order], 0.6)
    names = torch.tensor([0, *(i + 1 for i in order)])
    assert torch.equal(names[turned.label.long()], plain.label.long())
    assert torch.equal(turned.score, plain.score) and torch.equal(turned.margin, plain.margin)
    for row in range(3):
        for column in range(5):
            pixel = zip(concepts, scores[:, row, column].tolist(), strict=True)
            seen = [(c.priority, score, i + 1) for i, (c, score) in enumerate(pixel) if score >= 0.6]
            assert int(plain.label[row, column]) == (max(seen)[2] if seen else 0)


def test_label_score_and_margin_of_single_pixels() -> None:
    concepts = Concepts.of(["door", Concept("handle", priority=1), Concept("mirror image", distractor=True)])
    #           plain door, handle on a door, distractor wins, nothing
    scores = torch.tensor([[[0.9, 0.9, 0.5, 0.1]], [[0.1, 0.6, 0.0, 0.2]], [[0.2, 0.0, 0.8, 0.0]]])
    maps = label_maps(scores, concepts.entries, 0.25)
    assert maps.label.tolist() == [[1, 2, 0, 0]]
    assert maps.score.flatten().tolist() == pytest.approx([0.9, 0.6, 0.8, 0.2])
    assert maps.margin.flatten().tolist() == pytest.approx([0.7, -0.3, 0.3, 0.1])


def test_the_space_knows_the_words_that_were_asked() -> None:
    space = Sam3Space("sam3/w").for_concepts(KITCHEN.channels, KITCHEN.vocabulary)
    assert isinstance(space, ConceptSpace)
    cup, mug, door, thing = space.encode_text(["cup", " MUG ", "door", "object"])
    assert torch.equal(cup, mug) and cup @ door == 0 and thing.tolist() == [0, 0, 0, 1]
    assert space.encode_text([]).shape == (0, 4)
    for word in ("sofa", "steam", "NOT steam"):
        with pytest.raises(OvsegError, match=f"not asked for '{word}'.*only for cup, floor, door: .* set_vocabulary"):
            space.encode_text([word])
    with pytest.raises(OvsegError, match=r"not asked for 'cup' .*only for nothing so far"):
        Sam3Space("sam3/w").encode_text(["cup"])
    with pytest.raises(OvsegError, match="3 scores aren't those of 4 named concepts"):
        space.align(torch.zeros(1, 3))


def test_words_of_a_group_stand_for_what_was_asked_of_it() -> None:
    """A map that was asked for couches and benches, then is called by other words, and will be asked for a bed."""
    vocabulary = Vocabulary((("sofa", "couch", "settee"), ("bed", "cot"), ("bench", "pew")))
    space = Sam3Space("sam3/w").for_concepts(["couch", "bench", "chair"], vocabulary)
    words = ("couch", "sofa", "settee", "bench", "pew", "chair", "bed", "cot", "thing")
    assert space.encode_text(words).argmax(dim=1).tolist() == [0, 0, 0, 1, 1, 2, 3, 3, 4]
    aligned = space.align(torch.tensor([[0.9, 0.1, torch.nan], [torch.nan, torch.nan, 0.04]]))
    assert aligned.shape == (2, 5) and aligned[0].argmax() == 0
    assert aligned[0, 2:4].tolist() == [0, 0] and aligned[1].tolist() == [0, 0, 0, 0, 1]
    assert space.encode_text(["bed"]).shape == (1, 5)


def test_what_was_a_distractor_once_does_not_compete_with_itself() -> None:
    space = Sam3Space("sam3/w").for_concepts(["cup", "NOT mirror", "mirror"], Vocabulary((("mirror",),)))
    assert space.align(torch.tensor([[0.0, 0.9, 0.8]])).argmax() == 1
    assert space.for_concepts(["cup", "NOT mirror"], Vocabulary(())).align(torch.tensor([[0.3, 0.9]])).argmax() == 1


def test_scores_point_to_what_was_seen_and_else_to_the_rest() -> None:
    space = Sam3Space("sam3/w").for_concepts(KITCHEN.channels, KITCHEN.vocabulary)
    # cup seen; nothing seen; door, but a distractor more
    scores = torch.tensor([[0.9, 0.0, 0.1, 0.0], [0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.5, 0.9]])
    aligned = space.align(scores)
    assert aligned.norm(dim=1).tolist() == pytest.approx([1, 1, 1])
    assert (aligned @ space.encode_text(["cup", "floor", "door", "object"]).T).argmax(dim=1).tolist() == [0, 3, 3]


@pytest.mark.parametrize("others", [1, 100])
def test_a_map_of_scores_answers_from_about_one_half(others: int) -> None:
    """Through the questions' own door: voxels whose mean score for "cup" is 0.49, 0.53 and 0.9."""
    from ovseg_ros.query.feature_index import FeatureIndex
    from ovseg_ros.query.similarity import competitors

    concepts = Concepts.of(["cup", *(f"thing {i}" for i in range(others))])
    space = Sam3Space("sam3/w").for_concepts(concepts.channels, concepts.vocabulary)
    scores = torch.zeros(3, others + 1)
    scores[:, 0] = torch.tensor([0.49, 0.53, 0.9])
    index = FeatureIndex([scores], space, competitors(concepts.vocabulary), torch.device("cpu"))
    low, middle, high = index.probabilities([["cup"]])[0].tolist()
    assert low < 0.3 < middle < high
    assert high > 0.9


def test_settings_of_the_file_are_those_of_the_code(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = root / "config/backends/sam3.yaml"
    assert yaml.safe_load(path.read_text()) == asdict(Sam3Config())
    monkeypatch.setenv(CONFIG_VARIABLE, str(path))
    assert read_config() == Sam3Config()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("weight: x", "unknown entry 'weight'"),
        ("threshold: high", "'high' and should be float"),
        ("threshold: 1.5", "between 0 and 1, got 1.5"),
        ("prompts_at_once: 0", "at least 1, got 0"),
        ("dtype: int8", "'int8': choose one of"),
        ("[1]", "should hold entries"),
        ("a: [", "can't be read"),
    ],
)
def test_wrong_settings_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, message: str
) -> None:
    path = tmp_path / "sam3.yaml"
    path.write_text(content)
    monkeypatch.setenv(CONFIG_VARIABLE, str(path))
    with pytest.raises(OvsegError, match=message):
        read_config()


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose settings name a tiny model and a vocabulary."""
    folder = tmp_path / "model"
    save_tiny_model(folder)
    (tmp_path / "words.yaml").write_text("concepts: [cup, {name: floor, stuff: true}]\n")
    path = tmp_path / "sam3.yaml"
    path.write_text(f"weights: {folder}\nvocabulary: {tmp_path / 'words.yaml'}\nstuff_threshold: 0.4\n")
    monkeypatch.setenv(CONFIG_VARIABLE, str(path))
    return folder


def test_the_backend_by_its_name(installed: Path) -> None:
    segmenter = load_segmenter("sam3", "cpu")
    result = segmenter(torch.full((30, 40, 3), 90, dtype=torch.uint8))
    assert result.features.shape[0] == 2
    assert result.space == segmenter.space.id and result.space.startswith("sam3/")
    assert segmenter.space.encode_text(["floor"]).tolist() == [[0, 1, 0]]
    info = next(info for info in backends() if info.name == "sam3")
    assert info.installed and info.weights == str(installed)
    assert "SAM License" in info.licence
    space = language_space(result.space)
    assert isinstance(space, ConceptSpace)
    assert space.for_concepts(result.concepts, segmenter.vocabulary) == segmenter.space
    installed.joinpath("model.safetensors").unlink()
    info = next(info for info in backends() if info.name == "sam3")
    assert not info.installed and "missing" in info.weights
    assert language_space(result.space) == space, "a saved map answers where there is no model"


def test_gated_weights_say_how_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def refuse(*arguments: Any, **options: Any) -> str:
        raise OSError("403 Client Error. Access to model facebook/sam3 is restricted")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(OvsegError) as caught:
        locate.fetch_model("facebook/sam3")
    for part in ("is restricted", "https://huggingface.co/facebook/sam3", "hf auth login", "HF_TOKEN", "--local-dir"):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(OvsegError, match="there is no folder /nowhere/sam3") as caught:
        locate.fetch_model("/nowhere/sam3")
    assert "gated" not in str(caught.value)
