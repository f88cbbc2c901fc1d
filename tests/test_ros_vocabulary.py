"""MapSession and its words: another vocabulary at run time, for models that are told what to look for and others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from sam3_model import save_tiny_model
from test_ros_session import Backend, frame, integrate

from ovseg_ros.errors import OvsegError
from ovseg_ros.mapping import MappingConfig
from ovseg_ros.query import partly_asked
from ovseg_ros.ros import services
from ovseg_ros.ros.labeller import ImageLabeller
from ovseg_ros.ros.session import MapSession
from ovseg_ros.segmentation import load_segmenter
from ovseg_ros.segmentation.sam3.concepts import Concept, Concepts
from ovseg_ros.segmentation.sam3.config import Sam3Config
from ovseg_ros.segmentation.sam3.segmenter import Sam3Segmenter
from ovseg_ros.simulation import RoomSequence
from ovseg_ros.types import RgbdFrame, Segmentation
from ovseg_ros.vocabulary import Vocabulary

CONCEPTS = Concepts.of(["chair", Concept("floor", stuff=True), Concept("door", distractor=True)])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Sam3Segmenter:
    folder = tmp_path_factory.mktemp("sam3")
    save_tiny_model(folder)
    # So low that a random model sees everything.
    return Sam3Segmenter(folder, CONCEPTS, Sam3Config(threshold=0.1, stuff_threshold=0.1), "cpu")


@pytest.fixture
def session(model: Sam3Segmenter) -> MapSession:
    model.set_vocabulary(CONCEPTS)
    return MapSession(model, MappingConfig(), device="cpu", frame_id="map")


def test_labels_of_images_have_the_words_of_a_vocabulary(tmp_path: Path) -> None:
    path = tmp_path / "words.yaml"
    path.write_text("concepts: [{name: boundary, synonyms: [wall]}, floor, ceiling]")
    model = load_segmenter("openseg", "cpu", str(path))
    image = RoomSequence(11, 2, 160, 120)[1].rgb.numpy()
    everything, chosen = ImageLabeller(model, ()), ImageLabeller(model, ("boundary",))
    assert everything.names == ("boundary", "floor", "ceiling")
    labels, confidence = chosen(image)
    assert ((labels == 1) == (everything(image)[0] == 1)).mean() > 0.95
    assert 0.2 < (labels == 1).mean() < 0.9 and (confidence[labels == 0] == 0).all()


def test_a_labeller_has_the_model_look_for_its_concepts(model: Sam3Segmenter) -> None:
    model.set_vocabulary(CONCEPTS)
    assert ImageLabeller(model, ("lamp", "chair")).names == ("lamp", "chair")
    assert model.vocabulary.names == ("chair", "floor", "lamp")


def test_a_name_that_is_not_said_is_what_the_map_knows(session: MapSession, model: Sam3Segmenter) -> None:
    session.set_vocabulary(["lamp"])
    model.set_vocabulary(Concepts.of([Concept("fan", ("ceiling fan",), said=False), "floor"]))
    session.read(lambda semantic_map, _: semantic_map.set_vocabulary(model.vocabulary))
    integrate(session)
    for query in ("fan", "ceiling fans"):
        assert session.read(lambda semantic_map, _, query=query: partly_asked(semantic_map, [query])) == {}
        assert "look again" not in said(session, query)
    assert concepts_of(session)[:1] == ("fan",)


def concepts_of(session: MapSession) -> tuple[str, ...]:
    return session.read(lambda semantic_map, _: semantic_map.concepts)


def vocabulary_of(session: MapSession) -> Vocabulary:
    return session.read(lambda semantic_map, _: semantic_map.vocabulary)


def elsewhere() -> RgbdFrame:
    view = frame()
    view.pose[0, 3] = 5.0
    return view


def said(session: MapSession, *queries: str) -> str:
    return services.summary(queries, session.ask(queries, min_score=0.01, max_matches=5))


def test_other_concepts_are_looked_for_and_the_map_knows_where(session: MapSession, model: Sam3Segmenter) -> None:
    integrate(session)
    revision = session.revision
    assert session.set_vocabulary(["Cup, mug", "lamp"]) == session.revision == revision + 1
    assert vocabulary_of(session).synonyms == (("cup", "mug"), ("lamp",))
    assert model.vocabulary == vocabulary_of(session)
    assert "no match for 'mug'; 'mug' was asked for in 0 % of the map only: look again" in said(session, "mug")
    assert not session.labelled_cloud().labels.any()
    assert session.scored_cloud("cup").scores.max() < 1e-6

    session.integrate(elsewhere(), lambda *_: None, generation=session.generation)
    assert concepts_of(session) == ("chair", "floor", "NOT door", "cup", "lamp")
    assert "'mug' was asked for in 50 % of the map only: look again" in said(session, "mug")
    assert "asked" not in said(session, "something red")
    cloud = session.labelled_cloud()
    there = cloud.centres[:, 0] > 2.5
    assert cloud.labels[there].any() and not cloud.labels[~there].any()
    with pytest.raises(OvsegError, match=r"not asked for 'sofa' .* only for chair, floor, cup, lamp: add it with"):
        session.ask(["sofa"], min_score=0.3, max_matches=5)


def test_a_frame_on_its_way_keeps_the_concepts_it_was_asked_for(session: MapSession, model: Sam3Segmenter) -> None:
    class Slow:
        """The same model; the vocabulary changes just after it has segmented."""

        space, vocabulary, look_for = model.space, model.vocabulary, model.look_for
        meanwhile: Callable[[], object]

        def __call__(self, rgb: torch.Tensor) -> Segmentation:
            segmentation = model(rgb)
            self.meanwhile()
            return segmentation

    backend = Slow()
    slow = MapSession(backend, MappingConfig(), device="cpu", frame_id="map")
    backend.meanwhile = lambda: slow.set_vocabulary(["cup"])
    integrate(slow)
    assert concepts_of(slow) == ("chair", "floor", "NOT door")
    image = slow.labelled_image()
    assert image is not None and image.names == ("cup",) and not image.labels.any()
    backend.meanwhile = lambda: None
    integrate(slow)
    assert concepts_of(slow)[3:] == ("cup",)
    assert slow.labelled_image() is not None, "words for the scores of the first image would not fit the second"


def test_a_loaded_map_brings_its_words(session: MapSession, model: Sam3Segmenter, tmp_path: Path) -> None:
    integrate(session)
    path = str(tmp_path / "a.ovmap")
    session.save(path)
    session.set_vocabulary(["cup"])
    session.load(path)
    assert vocabulary_of(session) == model.vocabulary == CONCEPTS.vocabulary
    assert model.concepts == CONCEPTS, "how concepts are drawn and what distracts is not forgotten meanwhile"


WRONG = [
    ([], "0 concepts to look for: give at least one"),
    ([""], "needs a letter or digit.*''"),
    (["cup, , mug"], "needs a letter or digit"),
    (["cup", "?!"], "needs a letter or digit"),
    (["cup", "CUP "], "'cup' is asked for twice"),
    (["sofa, couch", "couch"], "'couch' is asked for twice, as 'sofa' and as 'couch'"),
    (["x" * 201], "at most 200 characters"),
    (["cup\x00"], "control characters or broken text"),
    (["cup\ud800"], "control characters or broken text"),
    ([f"c{i}" for i in range(4097)], "4097 concepts are more than the limit of 4096"),
]


@pytest.mark.parametrize(("words", "message"), [*WRONG, (["q " * 39 + "q"], "has 81 tokens, SAM 3 takes 32")])
def test_wrong_words_change_nothing(
    session: MapSession, model: Sam3Segmenter, words: Sequence[str], message: str
) -> None:
    before = session.revision, vocabulary_of(session), model.concepts
    with pytest.raises(OvsegError, match=message):
        session.set_vocabulary(words)
    assert (session.revision, vocabulary_of(session), model.concepts) == before


def test_words_of_any_script_are_taken(session: MapSession) -> None:
    session.set_vocabulary(["Grüne  Tür", "椅子, 腰掛け", "صندلی\u200cها"])
    assert vocabulary_of(session).synonyms == (("grüne tür",), ("椅子", "腰掛け"), ("صندلی\u200cها",))
    integrate(session)
    assert "1 match" in said(session, "腰掛け") or "no match" in said(session, "腰掛け")


def test_language_features_are_labelled_anew_at_once() -> None:
    session = MapSession(Backend(), MappingConfig(), device="cpu", frame_id="map")
    integrate(session)
    for words in (["wall"], ["floor, ground", "ceiling"]):
        revision = session.revision
        assert session.set_vocabulary(words) == revision + 1
        image = session.labelled_image()
        assert image is not None and image.names == vocabulary_of(session).names
        assert session.labelled_cloud().confidence.max() == pytest.approx(1 / len(words))
    for words, message in WRONG:
        with pytest.raises(OvsegError, match=message):
            session.set_vocabulary(words)
    assert vocabulary_of(session).synonyms == (("floor", "ground"), ("ceiling",))


def test_words_that_a_language_model_refuses_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = Backend()
    session = MapSession(backend, MappingConfig(), device="cpu", frame_id="map")

    def refuse(texts: Sequence[str]) -> torch.Tensor:
        raise OvsegError(f"{texts[-1]!r} is too long")

    monkeypatch.setattr(backend.space, "encode_text", refuse)
    with pytest.raises(OvsegError, match="'couch' is too long"):
        session.set_vocabulary(["sofa, couch"])
    assert vocabulary_of(session).names == ("wall",) and session.revision == 0
