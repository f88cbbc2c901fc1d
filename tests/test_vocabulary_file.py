"""Vocabulary files: what they say, who is asked what for it, and where they can be given."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from word_space import SPACE, WordSpace, word

from ovseg_ros.cli import main
from ovseg_ros.errors import OvsegError
from ovseg_ros.mapping import SemanticMap, merge, storage
from ovseg_ros.meanings import words_of
from ovseg_ros.query import label_voxels, score_voxels
from ovseg_ros.segmentation import PixelLabeller, label_image, language_space, load_segmenter
from ovseg_ros.segmentation.radseg.labelling import class_probabilities
from ovseg_ros.segmentation.sam3.concepts import Concepts
from ovseg_ros.simulation import RoomSequence
from ovseg_ros.types import Segmentation
from ovseg_ros.visualization import write_picture
from ovseg_ros.vocabulary import Vocabulary, plural_of, singular
from ovseg_ros.vocabulary_file import Entry, VocabularyFile, packaged_vocabularies, read_vocabulary

SHOP = """
concepts:
  - {name: floor, stuff: true}
  - {name: Chair, synonyms: [seat], kinds: [office chair, armchair]}
  - {name: fan, say: ceiling fan, synonyms: [ventilator], overlaps: [lamp]}
  - {name: drinking glass, plurals: false}
  - lamp
  - {name: door handle, priority: 1}
distractors: [mirror image]
"""


@pytest.fixture
def shop(tmp_path: Path) -> VocabularyFile:
    path = tmp_path / "shop.yaml"
    path.write_text(SHOP)
    return read_vocabulary(str(path))


def test_every_key_is_understood(shop: VocabularyFile) -> None:
    assert [entry.name for entry in shop.concepts] == ["floor", "chair", "fan", "drinking glass", "lamp", "door handle"]
    vocabulary = shop.vocabulary
    assert vocabulary.names == tuple(entry.name for entry in shop.concepts)
    assert vocabulary.asked == (
        ("floor",),
        ("chair", "seat", "office chair", "armchair", "chairs", "seats", "office chairs", "armchairs"),
        ("ceiling fan", "ventilator", "ceiling fans", "ventilators"),
        ("drinking glass",),
        ("lamp", "lamps"),
        ("door handle", "door handles"),
    )
    assert vocabulary.synonyms[2][0] == "fan" and vocabulary.unsaid == {"fan"}
    assert shop.without_plurals.vocabulary.asked[1] == ("chair", "seat", "office chair", "armchair")
    assert shop.entries[2].overlaps == ("lamp",)


def test_sam3_is_asked_without_plurals_and_draws_as_the_file_says(shop: VocabularyFile) -> None:
    concepts = Concepts.from_file(shop)
    assert concepts.channels == ("floor", "chair", "fan", "drinking glass", "lamp", "door handle", "NOT mirror image")
    chair, fan = concepts.entries[1:3]
    assert chair.prompts == ("chair", "seat", "office chair", "armchair")
    assert fan.prompts == ("ceiling fan", "ventilator") and fan.words[0] == "fan"
    assert (concepts.entries[0].stuff, concepts.entries[5].priority) == (True, 1)
    assert concepts.vocabulary.asked[2] == fan.prompts and concepts.vocabulary.names[2] == "fan"
    assert concepts.looking_for(concepts.vocabulary).prompts == concepts.prompts


@pytest.mark.parametrize(
    ("name", "count"), [("household", 43), ("replica", 51), ("scannet20", 19), ("scannet200", 200)]
)
def test_vocabularies_of_the_package(name: str, count: int) -> None:
    file = read_vocabulary(name)
    assert len(file.concepts) == len(file.vocabulary) == count
    assert {entry.name for entry in file.concepts if entry.stuff} >= {"wall", "floor"}
    assert name in packaged_vocabularies()


def test_an_installed_package_finds_its_vocabularies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "share/ovseg_ros/config/vocabularies"
    folder.mkdir(parents=True)
    (folder / "garage.yaml").write_text("concepts: [car]\n")
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"/nowhere:{tmp_path}")
    assert read_vocabulary("garage").vocabulary.asked == (("car", "cars"),)


def test_a_text_file_has_a_concept_on_each_line_and_no_more_than_it_says(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("Sofa, couch\n\nlamp\n")
    assert read_vocabulary(str(path)).vocabulary == Vocabulary((("sofa", "couch"), ("lamp",)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[cup]", "should hold the lists concepts and distractors"),
        ("concepts: cup", "concepts in .* should be a list"),
        ("concepts: []", r"0 concepts to look for"),
        ("distractors: [cup]", r"0 concepts to look for"),
        ("concepts: [yes]", "the entry True in .* should be a name"),
        ("concepts: [{synonyms: [mug]}]", "should be a name or a mapping"),
        ("concepts: [{name: cup, colour: red}]", "unknown key 'colour': there are name, synonyms, kinds, say, plurals"),
        ("concepts: [{name: cup, stuff: 1}]", "stuff of 'cup' .* should be of type bool, got '1'"),
        ("concepts: [{name: no}]", "name of 'False' .* should be of type str"),
        ("concepts: [{name: cup, kinds: [5]}]", "kinds of 'cup' .* should be words"),
        ("concepts: [{name: cup, overlaps: [mug]}]", "'cup' overlaps 'mug', which is no other concept"),
        ("concepts: [{name: cup, say: ' '}]", "needs a letter or digit"),
        ("concepts: [{name: fan, say: heater}, heater]", "'heater' is asked for twice, as 'fan' and as 'heater'"),
        ("concepts: [{", "can't be read"),
    ],
)
def test_wrong_files_are_refused_with_their_path(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(content)
    with pytest.raises(OvsegError, match=message) as caught:
        read_vocabulary(str(path))
    assert "mine.yaml" in str(caught.value) and "\n" not in str(caught.value)


def test_an_unknown_vocabulary_names_the_known_ones() -> None:
    with pytest.raises(OvsegError, match="no vocabulary 'kitchen' \\(household, replica, scannet20, scannet200\\)"):
        read_vocabulary("kitchen")


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("bookshelf", 1),
        ("book shelves", 1),
        ("book-shelf", 1),
        ("books", 0),
        ("trashcans", 2),
        ("shelf", None),
        ("boo kshelf", 1),
        ("glasses", 3),
    ],
)
def test_names_are_known_however_their_parts_are_joined(text: str, number: int | None) -> None:
    words = Vocabulary((("book",), ("bookcase", "bookshelf"), ("trash can",), ("glasses",)))
    assert words.number_of(text) == number


@pytest.mark.parametrize(
    ("one", "several"),
    [
        ("washing machine", "washing machines"),
        ("box", "boxes"),
        ("shelf", "shelves"),
        ("knife", "knives"),
        ("lavatory", "lavatories"),
        ("toy", "toys"),
        ("couch", "couches"),
        ("office person", "office people"),
        ("toilet paper", "toilet paper"),
        ("blinds", "blinds"),
        ("bus", "buses"),
    ],
)
def test_plurals(one: str, several: str) -> None:
    assert plural_of(one) == several
    assert plural_of(several) == several


NOUNS = st.sampled_from(("cup", "cups", "box", "boxes", "glass", "glasses", "mug", "sofa", "clothes", "tv"))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(NOUNS, min_size=1, max_size=3), min_size=1, max_size=4))
def test_made_plurals_never_take_a_word_from_another_concept(groups: list[list[str]]) -> None:
    flat = [noun for group in groups for noun in dict.fromkeys(group)]
    if len(set(flat)) < len(flat):
        with pytest.raises(OvsegError, match="asked for twice"):
            VocabularyFile.of("", [Entry(group[0], tuple(group[1:])) for group in groups])
        return
    vocabulary = VocabularyFile.of("", [Entry(group[0], tuple(group[1:])) for group in groups]).vocabulary
    words = [name for group in vocabulary.asked for name in group]
    assert len(set(words)) == len(words)
    for group, own in zip(vocabulary.asked, groups, strict=True):
        assert all(name in own or singular(name) in own for name in group) and set(own) <= set(group)


def test_a_bare_name_is_understood_and_never_asked_for() -> None:
    """'orange' is what people say; the map is asked for 'piano', and told that 'orange' was meant."""
    words = Vocabulary((("orange", "piano"), ("table",)), frozenset({"orange"}))
    features = torch.stack((word("piano"), word("orange"), word("table")))
    semantic_map = filled(features, words)
    piano, orange, table = score_voxels(semantic_map, SPACE, ["oranges"])[0].tolist()
    assert piano > 0.9 and orange < 0.5 and table < 0.01
    labels, _ = label_voxels(semantic_map, SPACE)
    assert labels[[0, 2]].tolist() == [1, 2]


def test_maps_keep_which_names_are_not_asked_for(tmp_path: Path) -> None:
    words = Vocabulary((("orange", "piano"), ("table",)), frozenset({"orange"}))
    semantic_map = filled(word("piano")[None], words)
    storage.save(semantic_map, tmp_path / "a.ovmap")
    loaded = storage.load(tmp_path / "a.ovmap")
    assert loaded.vocabulary == words
    other = filled(word("table")[None], Vocabulary((("fan", "chair"),), frozenset({"fan"})))
    assert merge(loaded, other).vocabulary.asked == (("piano",), ("table",), ("chair",))


def filled(features: torch.Tensor, vocabulary: Vocabulary) -> SemanticMap:
    count = len(features)
    columns = {
        "keys": torch.arange(count),
        "weights": torch.ones(count),
        "colours": torch.zeros(count, 3),
        "last_seen": torch.zeros(count, dtype=torch.int64),
        "features": features,
    }
    config = SemanticMap().config
    return SemanticMap.from_columns(columns, config=config, space=SPACE.id, vocabulary=vocabulary, revision=1)


def test_the_best_word_of_a_concept_counts_in_maps_and_images() -> None:
    """A place that is half plant, half piano: nearer to the second word of "chair" than to any first word."""
    words = Vocabulary((("table",), ("chair", "piano"), ("plant",)))
    mixed = word("piano") + 0.8 * word("plant")
    labels, confidence = label_voxels(filled(mixed[None], words), SPACE)
    assert labels.tolist() == [2] and 0.5 < float(confidence[0]) < 1.0
    image = Segmentation(mixed[:, None, None].repeat(1, 2, 3), SPACE.id)
    labelled = PixelLabeller(SPACE, ["plant", "chair"], words)(image, 4, 6)
    assert labelled.labels.unique().tolist() == [2]
    assert labelled.confidence[0, 0] == pytest.approx(float(confidence[0]), abs=0.02)
    (bare,) = PixelLabeller(SPACE, ["plant", "chair"], Vocabulary(()))(image, 4, 6).labels.unique().tolist()
    assert bare == 1


def test_words_of_a_text_are_those_of_its_concept_and_no_two_texts_share_one() -> None:
    words = Vocabulary((("chair", "stool"), ("fan", "piano"), ("sofa", "couch")), frozenset({"fan"}))
    assert words_of(["chair", "sofas", "fan", "table"], words, SPACE) == [
        ("chair", "stool"),
        ("sofas", "sofa", "couch"),
        ("piano",),
        ("table",),
    ]
    assert words_of(["armchair", "chair"], words, SPACE) == [("armchair",), ("chair", "stool")], "the name has it"
    assert words_of(["armchair", "stool"], words, SPACE) == [("armchair",), ("stool", "chair")]
    assert words_of(["armchair"], words, SPACE) == [("armchair", "chair", "stool")]

    class Near(WordSpace):
        same_meaning = 0.4

    assert words_of(["stool", "armchair"], Vocabulary((("chair",),)), Near()) == [("stool",), ("armchair", "chair")]


def test_radseg_gives_a_concept_what_its_best_word_deserves() -> None:
    features, texts = torch.randn(8, 3, 4), torch.randn(5, 8)
    owners = torch.tensor([0, 0, 1, 2, 2])
    cells = torch.nn.functional.normalize(features.flatten(1), dim=0)
    cosines = torch.nn.functional.normalize(texts, dim=1) @ cells
    best = torch.stack((cosines[:2].amax(dim=0), cosines[2], cosines[3:].amax(dim=0)))
    probabilities = class_probabilities(features, texts, owners)
    torch.testing.assert_close(probabilities, (100 * best).softmax(dim=0).view(3, 3, 4), atol=1e-4, rtol=1e-4)


def test_the_embedded_space_judges_meaning_by_the_words_around() -> None:
    space = load_segmenter("openseg", "cpu").space
    for text, name in (("couch", "sofa"), ("lavatory", "toilet"), ("roof", "ceiling")):
        assert space.means_the_same(text, name), text
    for text, name in (("piano", "table"), ("guitar", "laptop"), ("horse", "teddy bear"), ("bicycle", "chair")):
        assert not space.means_the_same(text, name), text


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("image") / "room.png"
    write_picture(path, np.asarray(RoomSequence(5, 2, 160, 120)[1].rgb))
    return path


@pytest.fixture
def words(tmp_path: Path) -> Path:
    path = tmp_path / "words.yaml"
    path.write_text("concepts: [{name: boundary, synonyms: [wall], stuff: true}, {name: ground, synonyms: [floor]}]\n")
    return path


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main([*arguments, "--json"]) == 0
    content: dict[str, Any] = json.loads(capsys.readouterr().out)
    return content


def test_one_image_by_the_words_of_a_file(
    image: Path, words: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["-o", str(tmp_path / "labels.png"), "--device", "cpu"]
    shares = printed(capsys, "segment", str(image), "--vocabulary", str(words), *out)["shares"]
    assert set(shares) == {"boundary", "ground"} and shares["boundary"] > 0.3 and shares["ground"] > 0.05
    shares = printed(capsys, "segment", str(image), "ground", "--vocabulary", str(words), *out)["shares"]
    assert set(shares) == {"ground"} and 0.05 < shares["ground"] < 0.6
    with pytest.raises(SystemExit, match="2"):
        main(["segment", str(image), *out])
    assert "give a --vocabulary" in capsys.readouterr().err


def test_a_map_by_the_words_of_a_file_and_by_others_afterwards(
    words: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, cloud = tmp_path / "a.ovmap", tmp_path / "a.ply"
    main(["rooms", str(tmp_path / "room"), "--seed", "5", "--frames", "4", "--size", "160x120"])
    capsys.readouterr()
    printed(capsys, "map", str(tmp_path / "room"), "-o", str(out), "--voxel-size", "0.1", "--vocabulary", str(words))
    semantic_map = storage.load(out)
    assert semantic_map.vocabulary.synonyms == (("boundary", "wall"), ("ground", "floor", "grounds", "floors"))
    labels, _ = label_voxels(semantic_map, language_space(str(semantic_map.space)))
    assert set(labels.unique().tolist()) == {1, 2}
    more = "household"
    printed(capsys, "export", str(out), str(cloud), "--colour", "label", "--vocabulary", more)
    semantic_map.set_vocabulary(read_vocabulary(more).vocabulary)
    expected, _ = label_voxels(semantic_map, language_space(str(semantic_map.space)))
    assert written_labels(cloud) == expected.tolist() and len(set(expected.tolist())) > 4


def written_labels(cloud: Path) -> list[int]:
    header, _, body = cloud.read_bytes().partition(b"end_header\n")
    kinds = {"float": "<f4", "uchar": "u1", "ushort": "<u2", "int": "<i4", "uint": "<u4", "short": "<i2"}
    fields = [line.split()[1:] for line in header.decode().splitlines() if line.startswith("property")]
    return list(np.frombuffer(body, np.dtype([(name, kinds[kind]) for kind, name in fields]))["label"].tolist())


def test_a_prompted_model_looks_for_texts_that_are_new_to_it() -> None:
    class Prompted:
        space, vocabulary = SPACE, Vocabulary((("chair", "stool"),))

        def look_for(self, vocabulary: Vocabulary) -> None:
            self.vocabulary = vocabulary

        def __call__(self, rgb: torch.Tensor) -> Segmentation:
            return Segmentation(word("plant")[:, None, None].repeat(1, 2, 2), SPACE.id)

    model = Prompted()
    labels, shares = label_image(model, np.zeros((4, 4, 3), np.uint8), ["Stool", "plant"])
    assert model.vocabulary.synonyms == (("chair", "stool"), ("plant",))
    assert (labels == 2).all() and shares == {"Stool": 0.0, "plant": 1.0}
