"""Published sentences about scans: their files, read as they are, and scored under their own protocols."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ovseg_ros.datasets.ply import write_binary_ply
from ovseg_ros.errors import OvsegError
from ovseg_ros.evaluation.referring import (
    read_nyu40_classes,
    read_referit3d,
    read_scan,
    read_scanrefer,
    score_given_boxes,
    score_predicted_boxes,
)
from ovseg_ros.evaluation.referring.references import NR3D_COLUMNS, SR3D_COLUMNS

NR3D = dict(
    zip(
        NR3D_COLUMNS,
        ("7", "scene0011_00-office_chair-2-3-5", "the chair left of the desk", "True", "s1", "l1", "scene0011_00",
         "office chair", "3", "['the', 'chair', 'left', 'of', 'the', 'desk']", "nr3d", "True", "True", "True",
         "False", "False"),
        strict=True,
    )
)  # fmt: skip
SR3D = dict(
    zip(
        SR3D_COLUMNS,
        ("scene0011_00", "3", "[5, 6]", "the chair closest to the desk", "scene0011_00-chair-3-3-5-6", "horizontal",
         "closest", "chair", "['desk']", "[9]", "['the', 'chair', 'closest', 'to', 'the', 'desk']", "sr3d", "True"),
        strict=True,
    )
)  # fmt: skip


def write_csv(path: Path, rows: Sequence[dict[str, str]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_sentences_of_referit3d_are_read(tmp_path: Path) -> None:
    rows = [NR3D, NR3D | {"mentions_target_class": "False"}, NR3D | {"correct_guess": "False"}]
    (heard,) = read_referit3d(write_csv(tmp_path / "nr3d.csv", rows))
    assert (heard.scan, heard.target, heard.name) == ("scene0011_00", 3, "office chair")
    assert (heard.distractors, heard.easy, heard.view_dependent) == (1, True, True)
    (made,) = read_referit3d(write_csv(tmp_path / "sr3d.csv", [SR3D]))
    assert (made.distractors, made.easy, made.view_dependent) == (2, False, False)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"target_id": "4"}, "line 2 .* disagrees with target_id"),
        ({"stimulus_id": "scene0011_00-chair-2-3"}, "line 2"),
        ({"tokens": "the chair"}, "line 2"),
        ({"mentions_target_class": "perhaps"}, "neither True nor False"),
        ({"utterance": " "}, "a sentence"),
    ],
)
def test_rows_that_make_no_sense_are_named(tmp_path: Path, change: dict[str, str], complaint: str) -> None:
    with pytest.raises(OvsegError, match=complaint):
        read_referit3d(write_csv(tmp_path / "nr3d.csv", [NR3D | change]))


def test_files_of_another_kind_are_refused(tmp_path: Path) -> None:
    short = {key: value for key, value in NR3D.items() if key != "tokens"}
    with pytest.raises(OvsegError, match="lacks the columns tokens"):
        read_referit3d(write_csv(tmp_path / "nr3d.csv", [short]))
    with pytest.raises(OvsegError, match="can't be read"):
        read_referit3d(tmp_path / "none.csv")
    for content in ("", "{}", "[]", "[1]", '[{"scene_id": "a"}]'):
        (tmp_path / "bad.json").write_text(content)
        with pytest.raises(OvsegError, match=r"bad\.json"):
            read_scanrefer(tmp_path / "bad.json")
    (tmp_path / "bad.tsv").write_text("id\tcategory\n1\twall\n")
    with pytest.raises(OvsegError, match="raw_category"):
        read_nyu40_classes(tmp_path / "bad.tsv")


def scanrefer(number: str, name: str, text: str, annotation: str = "0") -> dict[str, object]:
    return {
        "scene_id": "scene0011_00", "object_id": number, "object_name": name, "ann_id": annotation,
        "description": text, "token": text.split(),
    }  # fmt: skip


def test_sentences_of_scanrefer_are_read(tmp_path: Path) -> None:
    entries = [
        scanrefer("3", "office_chair", "the chair near the desk"),
        scanrefer("3", "office_chair", "this chair is near the desk", "1"),
        scanrefer("5", "chair", "the chair far from the desk"),
        scanrefer("9", "desk", "the desk"),
    ]
    (tmp_path / "val.json").write_text(json.dumps(entries))
    (tmp_path / "labels.tsv").write_text(
        "id\traw_category\tnyu40class\n1\toffice chair\tchair\n2\tchair\tchair\n3\tdesk\tdesk\n"
    )
    plain = read_scanrefer(tmp_path / "val.json")
    assert [reference.unique for reference in plain] == [None] * 4
    counted = read_scanrefer(tmp_path / "val.json", read_nyu40_classes(tmp_path / "labels.tsv"))
    assert [reference.unique for reference in counted] == [False, False, False, True]
    assert counted[0].name == "office chair"
    (tmp_path / "val.json").write_text(json.dumps([scanrefer("three", "chair", "the chair")]))
    with pytest.raises(OvsegError, match="whole number"):
        read_scanrefer(tmp_path / "val.json")


SCANNED = {3: ("office chair", 0.0), 5: ("chair", 4.0), 9: ("desk", 1.0)}


def write_scan(folder: Path) -> Path:
    """Cubes of half a metre on a line along y, which the alignment turns to x."""
    folder.mkdir()
    corners = 0.25 * np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    points = np.concatenate([corners + np.array([0, -at, 0]) for _, at in SCANNED.values()])
    vertices = np.empty(len(points), np.dtype([("x", "f4"), ("y", "f4"), ("z", "f4")]))
    vertices["x"], vertices["y"], vertices["z"] = points.T
    write_binary_ply(folder / f"{folder.name}_vh_clean_2.ply", vertices, np.array([[0, 1, 2]], np.int32))
    segments = {"segIndices": np.repeat([10, 11, 12], 8).tolist()}
    (folder / f"{folder.name}_vh_clean_2.0.010000.segs.json").write_text(json.dumps(segments))
    groups = [
        {"id": number, "objectId": number, "segments": [10 + place], "label": name}
        for place, (number, (name, _)) in enumerate(SCANNED.items())
    ]
    (folder / f"{folder.name}.aggregation.json").write_text(json.dumps({"segGroups": groups}))
    (folder / f"{folder.name}.txt").write_text("axisAlignment = 0 -1 0 5 1 0 0 0 0 0 1 0 0 0 0 1\nnumDepthFrames = 3\n")
    return folder


def test_given_and_predicted_boxes_are_scored_apart(tmp_path: Path) -> None:
    scan = read_scan(write_scan(tmp_path / "scene0011_00"))
    assert (scan.ids, scan.names) == ((3, 5, 9), ("office chair", "chair", "desk"))
    np.testing.assert_allclose(scan.boxes.centres, [[0, 0, 0], [4, 0, 0], [1, 0, 0]], atol=1e-6)
    scans = {"scene0011_00": scan}
    rows = [NR3D | {"utterance": text} for text in ("the chair near the desk", "the chair far from the desk", "?")]
    given = score_given_boxes(read_referit3d(write_csv(tmp_path / "nr3d.csv", rows)), scans)
    assert given["protocol"] == "referit3d-given-boxes-and-names"
    assert given["all"] == {"sentences": 3, "accuracy": pytest.approx(1 / 3)}
    assert given["hard"]["sentences"] == 0
    (tmp_path / "val.json").write_text(
        json.dumps([scanrefer("3", "office_chair", "the chair near the desk"), scanrefer("9", "desk", "the desk")])
    )
    references = read_scanrefer(tmp_path / "val.json", {"desk": "desk"})
    loose = replace(scan, lower=scan.lower - 0.05, upper=scan.upper + 0.1)  # a half of it is 0.125 of 0.65 ** 3
    predicted = score_predicted_boxes(references, scans, {"scene0011_00": loose})
    assert predicted["protocol"] == "scanrefer-predicted-boxes"
    assert predicted["unique"] == {"sentences": 2, "Acc@0.25": 1.0, "Acc@0.5": 0.0}
    with pytest.raises(OvsegError, match="no map of scene0011_00"):
        score_predicted_boxes(references, scans, {})
    with pytest.raises(OvsegError, match="give all scans"):
        score_given_boxes(references, {})


def test_scans_that_are_incomplete_are_refused(tmp_path: Path) -> None:
    folder = write_scan(tmp_path / "scene0011_00")
    (folder / "scene0011_00.txt").write_text("axisAlignment = 1 0 0\n")
    with pytest.raises(OvsegError, match="4x4"):
        read_scan(folder)
    (folder / "scene0011_00_vh_clean_2.0.010000.segs.json").write_text('{"segIndices": [1]}')
    (folder / "scene0011_00.txt").unlink()
    with pytest.raises(OvsegError, match="don't fit"):
        read_scan(folder)
    (folder / "scene0011_00.aggregation.json").unlink()
    with pytest.raises(OvsegError, match=r"aggregation\.json"):
        read_scan(folder)
