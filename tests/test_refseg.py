"""RRSIS-D and RefSegRS as they are published, read without running anything in them, and the scores of their field."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from ovseg_ros.datasets.run_lengths import decode_mask
from ovseg_ros.errors import OvsegError
from ovseg_ros.evaluation.refseg.command import main
from ovseg_ros.evaluation.refseg.plain_pickle import read_plain_pickle
from ovseg_ros.evaluation.refseg.refsegrs import RefSegRs
from ovseg_ros.evaluation.refseg.rrsisd import Rrsisd
from ovseg_ros.evaluation.refseg.score import RefScores, evaluate, squashed
from ovseg_ros.types import RefPrediction


def encode(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """COCO's run lengths, number by number."""
    runs: list[int] = []
    inside = False
    for pixel in mask.T.flatten():
        if not runs or pixel != inside:
            runs += [0] if not runs and pixel else []
            runs.append(0)
            inside = bool(pixel)
        runs[-1] += 1
    text = ""
    for index, run in enumerate(runs):
        rest = run - runs[index - 2] if index > 2 else run
        while True:
            digit, rest = rest & 31, rest >> 5
            done = rest == (-1 if digit & 16 else 0)
            text += chr(48 + (digit if done else digit | 32))
            if done:
                break
    return {"size": list(mask.shape), "counts": text}


def box_mask(top: int, left: int, height: int, width: int, side: int = 20) -> NDArray[np.bool_]:
    mask = np.zeros((side, side), dtype=bool)
    mask[top : top + height, left : left + width] = True
    return mask


SHIP, FIELD, ROAD = box_mask(2, 3, 5, 9), box_mask(8, 0, 12, 20), box_mask(0, 15, 20, 3)


@pytest.fixture
def rrsisd(tmp_path: Path) -> Path:
    """Three things, the field in two parts that overlap; the ship has two sentences."""
    images = tmp_path / "images" / "rrsisd" / "JPEGImages"
    images.mkdir(parents=True)
    (tmp_path / "rrsisd").mkdir()
    for number, mask in ((1, SHIP), (2, ROAD)):
        cv2.imwrite(str(images / f"{number:05}.jpg"), np.repeat(255 * mask[..., None].astype(np.uint8), 3, axis=2))
    parts = [encode(box_mask(8, 0, 12, 12)), encode(box_mask(8, 10, 12, 10))]
    instances = {
        "images": [{"id": n, "file_name": f"{n:05}.jpg", "height": 20, "width": 20} for n in (1, 2)],
        "annotations": [
            {"id": 11, "image_id": 1, "category_id": 1, "segmentation": [encode(SHIP)]},
            {"id": 12, "image_id": 1, "category_id": 2, "segmentation": parts},
            {"id": 13, "image_id": 2, "category_id": 3, "segmentation": [encode(ROAD)]},
        ],
        "categories": [{"id": 1, "name": "ship"}],
    }
    (tmp_path / "rrsisd" / "instances.json").write_text(json.dumps(instances))

    def reference(number: int, image: int, split: str, *sentences: str) -> dict[str, Any]:
        entries = [{"raw": text, "sent": text, "sent_id": 0, "tokens": text.split()} for text in sentences]
        return {"ref_id": number, "ann_id": number, "image_id": image, "split": split, "sentences": entries,
                "sent_ids": (0,), "file_name": f"{image:05}.jpg", "category_id": 1}  # fmt: skip

    references = [
        reference(11, 1, "test", "the ship at the top", "a ship"),
        reference(12, 1, "val", "the field"),
        reference(13, 2, "testA", "the road"),
    ]
    (tmp_path / "rrsisd" / "refs(unc).p").write_bytes(pickle.dumps(references))
    return tmp_path


@pytest.fixture
def refsegrs(tmp_path: Path) -> Path:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for name, mask in (("1057", SHIP), ("9", FIELD)):
        cv2.imwrite(str(tmp_path / "images" / f"{name}.tif"), np.full((20, 20, 3), 90, np.uint8))
        cv2.imwrite(str(tmp_path / "masks" / f"{name}.tif"), np.where(mask, 51, 50).astype(np.uint8))
    (tmp_path / "output_phrase_test.txt").write_text("1057 road along  the ship\n9 field\n")
    return tmp_path


class Oracle:
    """Answers with masks in turn, squashed as the truth is."""

    def __init__(self, masks: Sequence[NDArray[np.bool_]]) -> None:
        self._masks = list(masks)

    def refer(
        self, rgb: torch.Tensor, expressions: Sequence[str], size: tuple[int, int] | None = None
    ) -> RefPrediction:
        assert rgb.shape == (20, 20, 3) and len(expressions) == 1 and size is not None and size[0] == size[1]
        return RefPrediction(torch.from_numpy(squashed(self._masks.pop(0), size[0]))[None], torch.ones(1))


def test_rrsisd_is_read_as_published(rrsisd: Path) -> None:
    test = Rrsisd(rrsisd, "test")
    assert [sample.expression for sample in test.samples] == ["the ship at the top", "a ship", "the road"]
    assert [sample.image.name for sample in test.samples] == ["00001.jpg", "00001.jpg", "00002.jpg"]
    assert (test.mask(test.samples[0]) == SHIP).all() and (test.mask(test.samples[2]) == ROAD).all()
    assert Rrsisd(rrsisd, "train").samples == []
    val = Rrsisd(rrsisd, "val")
    doubly = box_mask(8, 10, 12, 2)
    assert (val.mask(val.samples[0]) == (FIELD & ~doubly)).all()


def test_refsegrs_is_read_as_published(refsegrs: Path) -> None:
    test = RefSegRs(refsegrs, "test")
    assert [sample.expression for sample in test.samples] == ["road along  the ship", "field"]
    assert [sample.image.name for sample in test.samples] == ["1057.tif", "9.tif"]
    assert (test.mask(test.samples[0]) == SHIP).all() and (test.mask(test.samples[1]) == FIELD).all()


def test_scores_are_those_of_plain_loops(rrsisd: Path) -> None:
    said = [SHIP, box_mask(2, 3, 5, 4), np.zeros((20, 20), dtype=bool)]
    truth = [SHIP, SHIP, ROAD]
    table = evaluate(Rrsisd(rrsisd, "test"), Oracle(said), size=40).table()
    ious, inside, either = [], 0, 0
    for one, other in zip(said, truth, strict=True):
        inside, either = inside + (one & other).sum(), either + (one | other).sum()
        ious.append((one & other).sum() / (one | other).sum())
    assert ious == pytest.approx([1, 4 / 9, 0])
    assert table["mIoU"] == pytest.approx(sum(ious) / 3)
    assert table["oIoU"] == pytest.approx(inside / either)
    assert [table[f"Pr@{x}"] for x in (0.5, 0.6, 0.7, 0.8, 0.9)] == pytest.approx([1 / 3] * 5)
    assert evaluate(Rrsisd(rrsisd, "test"), Oracle(said), limit=1, size=40).table()["Pr@0.9"] == 1


def test_an_iou_at_the_threshold_counts_and_nothing_about_nothing_does_not() -> None:
    scores = RefScores(np.array([5, 0, 9]), np.array([10, 0, 10]))
    assert scores.ious.tolist() == [0.5, 0.0, 0.9]
    assert [scores.table()[name] for name in ("Pr@0.5", "Pr@0.6", "Pr@0.9")] == pytest.approx([2 / 3, 1 / 3, 1 / 3])


def test_masks_are_squashed_by_the_pixel_under_the_centre() -> None:
    mask = np.arange(5)[None] == np.array([[0], [1], [4]])
    assert squashed(mask, 5).tolist() == mask[[0, 0, 1, 2, 2]].tolist()
    assert (squashed(SHIP, 40) == SHIP.repeat(2, 0).repeat(2, 1)).all()


@settings(deadline=None, max_examples=60)
@given(arrays.arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 90)), fill=st.booleans()))
def test_run_lengths_are_decoded(mask: NDArray[np.bool_]) -> None:
    entry = encode(mask)
    assert (decode_mask(entry, "a mask") == mask).all()
    column_wise = mask.T.ravel()
    changes = np.flatnonzero(np.diff(column_wise, prepend=False))
    listed = np.diff(changes, prepend=0, append=mask.size).tolist()
    assert (decode_mask({**entry, "counts": listed}, "a mask") == mask).all()


@pytest.mark.parametrize(
    ("size", "counts", "area", "first", "total"),
    [
        ([5, 7], "4320:0F01", 12, [1, 2, 5], 178),
        (
            [40, 60],
            "Y6>j0000000K[O0<0D0<0D0<0D0<0D0<0D0<0D0<0D0<0D0<0D0<0D0<0D0e0500000030M0000MYO0<0D0<0D0<0D0<0D0<0D0<0D0<0"
            "D0<0D0<0D0<0D0<0D0<0D0g030000Xc0",
            698,
            [65, 66, 67],
            808496,
        ),
        ([3, 4], "01;", 1, [0], 0),
        ([3, 4], "<", 0, [], 0),
        ([3, 4], "0<", 12, [0, 1, 2], 66),
    ],
)
def test_run_lengths_of_pycocotools(size: list[int], counts: str, area: int, first: list[int], total: int) -> None:
    """Written by pycocotools 2.0.11."""
    pixels = np.flatnonzero(decode_mask({"size": size, "counts": counts}, "a mask"))
    assert (len(pixels), pixels[:3].tolist(), pixels.sum()) == (area, first, total)


@pytest.mark.parametrize(
    "entry",
    [
        {}, [1.0, 2.0], {"size": [3, 4]}, {"size": [3, -4], "counts": "<"}, {"size": [3, 4], "counts": [13]},
        {"size": [3, 4], "counts": ["12"]},
        {"size": [3, 4], "counts": "01"}, {"size": [3, 4], "counts": ""}, {"size": [3, 4], "counts": "\x00"},
        {"size": [3, 4], "counts": "P"}, {"size": [3, 4], "counts": "é"}, {"size": [3, 4], "counts": "PPPPPPPPPP1"},
        {"size": [1 << 20, 1 << 20], "counts": "PPPPPPPPP1"}, {"size": [3, 4], "counts": "=O"},
        {"size": [3, 4], "counts": "\\" + 13 * "P" + "0"},
    ],
)  # fmt: skip
def test_run_lengths_that_are_none_are_refused(entry: Any) -> None:
    with pytest.raises(OvsegError, match=r"fetch (it|the file) again"):
        decode_mask(entry, "annotation 7")


@settings(deadline=None, max_examples=60)
@given(st.text(alphabet=[chr(code) for code in range(40, 120)], max_size=20))
def test_any_run_lengths_are_decoded_or_refused(counts: str) -> None:
    with contextlib.suppress(OvsegError):
        assert decode_mask({"size": [3, 4], "counts": counts}, "annotation 7").shape == (3, 4)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=10,
)


@settings(deadline=None, max_examples=40)
@given(content=PLAIN, protocol=st.integers(0, 4))
def test_plain_pickles_are_read(tmp_path_factory: pytest.TempPathFactory, content: Any, protocol: int) -> None:
    path = tmp_path_factory.mktemp("pickles") / "a.p"
    if protocol < 3:  # These have no bytes: pickle calls a function to make them.
        content = json.loads(json.dumps(content, default=lambda data: data.decode("latin-1")))
    path.write_bytes(pickle.dumps(content, protocol))
    assert read_plain_pickle(path) == content


class Hostile:
    def __reduce__(self) -> Any:
        return os.mkdir, ("pwned",)


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps(Hostile()),
        pickle.dumps([{"ref_id": np.int64(3)}]),
        pickle.dumps({"path": Path("a")}),
        b"cos\nsystem\n(S'mkdir pwned'\ntR.",
        b"(S'mkdir pwned'\nios\nsystem\n.",
        b"\x82\x01.",
        b"Pid\n.",
        b"",
        b"nothing",
        pickle.dumps([1, 2])[:-2],
        b"\x80\x04}]b.",
    ],
)
def test_pickles_that_ask_for_code_are_refused(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "refs(unc).p").write_bytes(content)
    with pytest.raises(OvsegError, match=r"refs\(unc\).p is not a pickle of plain lists and dictionaries"):
        read_plain_pickle(tmp_path / "refs(unc).p")
    assert not (tmp_path / "pwned").exists()


def spoil_references(change: Callable[[list[dict[str, Any]]], object]) -> Callable[[Path], None]:
    def spoil(root: Path) -> None:
        path = root / "rrsisd" / "refs(unc).p"
        references = pickle.loads(path.read_bytes())
        change(references)
        path.write_bytes(pickle.dumps(references))

    return spoil


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda root: (root / "rrsisd" / "refs(unc).p").unlink(),
            r"has no rrsisd/refs\(unc\).p: it needs images/rrsisd",
        ),
        (lambda root: (root / "rrsisd" / "instances.json").unlink(), "has no rrsisd/instances.json"),
        (lambda root: (root / "rrsisd" / "instances.json").write_text("[]"), "instances.json is not as published"),
        (spoil_references(lambda references: references[0].update(image_id=9)), "does not fit instances.json"),
        (spoil_references(lambda references: references[0].update(ann_id=[9])), "does not fit instances.json"),
        (spoil_references(lambda references: references[0].pop("sentences")), "does not fit instances.json"),
        (spoil_references(lambda references: references.clear()), "there are no expressions to ask about"),
        (
            lambda root: (root / "images/rrsisd/JPEGImages/00001.jpg").unlink(),
            "00001.jpg can't be read: fetch it again",
        ),
    ],
)
def test_what_is_not_rrsisd_is_refused(rrsisd: Path, spoil: Callable[[Path], object], message: str) -> None:
    spoil(rrsisd)
    with pytest.raises(OvsegError, match=message):
        evaluate(Rrsisd(rrsisd, "test"), Oracle([SHIP] * 3), size=20)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda root: (root / "output_phrase_test.txt").unlink(), "has no output_phrase_test.txt: it needs images/"),
        (
            lambda root: (root / "output_phrase_test.txt").write_text("9 field\n\n"),
            "line 2 of .* has no number and words",
        ),
        (lambda root: (root / "output_phrase_test.txt").write_bytes(b"9 \xff\n"), "can't be read"),
        (lambda root: (root / "masks" / "9.tif").unlink(), "9.tif can't be read: fetch it again"),
    ],
)
def test_what_is_not_refsegrs_is_refused(refsegrs: Path, spoil: Callable[[Path], object], message: str) -> None:
    spoil(refsegrs)
    with pytest.raises(OvsegError, match=message):
        evaluate(RefSegRs(refsegrs, "test"), Oracle([SHIP] * 3), size=20)


@pytest.mark.parametrize("kind", [Rrsisd, RefSegRs])
def test_a_split_that_is_none_is_refused(kind: Callable[[Path, str], object], tmp_path: Path) -> None:
    with pytest.raises(OvsegError, match="has no split 'testing': choose one of train, val, test"):
        kind(tmp_path, "testing")


def test_the_command_scores_a_model(rrsisd: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from rs2sam2_model import save_small_model

    weights = save_small_model(rrsisd / "weights")
    words = ["--dataset", "rrsisd", "--path", str(rrsisd), "--weights", str(weights), "--size", "64"]
    assert main([*words, "--json", "-o", str(rrsisd / "scores.json")]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["samples"] == 3 and printed["split"] == "test" and 0 <= printed["oIoU"] <= 1
    written = json.loads((rrsisd / "scores.json").read_text())
    assert [entry["expression"] for entry in written["of_each"]] == ["the ship at the top", "a ship", "the road"]
    assert np.mean([entry["iou"] for entry in written["of_each"]]) == pytest.approx(printed["mIoU"])
    assert main([*words, "--limit", "1"]) == 0
    assert "rrsisd test, 1 expressions, at 64 pixels, %" in capsys.readouterr().out
    assert main([*words[:2], "--path", str(rrsisd / "nowhere")]) == 1
    assert capsys.readouterr().err.startswith("error: RRSIS-D at")
