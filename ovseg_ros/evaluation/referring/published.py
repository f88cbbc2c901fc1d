"""Scores on published sentences. Two protocols that must never share a column, and each says which it is.

ReferIt3D gives the boxes and asks which one is meant. ScanRefer gives the scan, and the boxes are predicted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ovseg_ros.errors import OvsegError
from ovseg_ros.evaluation.referring.references import Reference
from ovseg_ros.evaluation.referring.scans import AnnotatedScan
from ovseg_ros.evaluation.referring.score import SAME_BOX, TIGHT_BOX, overlaps
from ovseg_ros.referring import Scene, parse_request, resolve


def score_given_boxes(references: Sequence[Reference], scans: Mapping[str, AnnotatedScan]) -> dict[str, Any]:
    """ReferIt3D's protocol: accuracy of the choice among the given objects, with their names given too.

    Raises:
        OvsegError: a scan or an object that is spoken of isn't there.
    """
    right: list[bool] = []
    for reference in references:
        scan = _scan(reference, scans)
        chosen = _best(reference.text, scan)
        right.append(chosen is not None and scan.ids[chosen] == reference.target)
    groups = {
        "all": [True] * len(references),
        "easy": [reference.easy is True for reference in references],
        "hard": [reference.easy is False for reference in references],
        "view-dependent": [reference.view_dependent is True for reference in references],
        "view-independent": [reference.view_dependent is False for reference in references],
    }
    rows = {name: _row(members, {"accuracy": right}) for name, members in groups.items()}
    return {"protocol": "referit3d-given-boxes-and-names", **rows}


def score_predicted_boxes(
    references: Sequence[Reference], scans: Mapping[str, AnnotatedScan], maps: Mapping[str, Scene]
) -> dict[str, Any]:
    """ScanRefer's protocol: how far the box that a map answers with overlaps the annotated one, in the scan's axes.

    Raises:
        OvsegError: a scan, an object or a map that is spoken of isn't there.
    """
    overlap: list[float] = []
    for reference in references:
        scan = _scan(reference, scans)
        if reference.scan not in maps:
            raise OvsegError(f"there is no map of {reference.scan}: map it, or leave its sentences out")
        scene = maps[reference.scan]
        chosen = _best(reference.text, scene)
        at = [scan.ids.index(reference.target)]
        table = overlaps(scene.boxes, scan.lower[at], scan.upper[at])
        overlap.append(0.0 if chosen is None else float(table[chosen, 0]))
    groups = {
        "all": [True] * len(references),
        "unique": [reference.unique is True for reference in references],
        "multiple": [reference.unique is False for reference in references],
    }
    hits = {f"Acc@{limit}": [value >= limit for value in overlap] for limit in (SAME_BOX, TIGHT_BOX)}
    return {"protocol": "scanrefer-predicted-boxes", **{name: _row(members, hits) for name, members in groups.items()}}


def _scan(reference: Reference, scans: Mapping[str, AnnotatedScan]) -> AnnotatedScan:
    scan = scans.get(reference.scan)
    if scan is None or reference.target not in scan.ids:
        what = "its scan" if scan is None else f"object {reference.target}"
        raise OvsegError(f"{what} in {reference.scan} is missing for {reference.text!r:.60}: give all scans")
    return scan


def _best(text: str, scene: Scene) -> int | None:
    """Index of the first candidate, sure or not: both protocols ask for one; None where there is none."""
    try:
        candidates = resolve(parse_request(text), scene).candidates
    except OvsegError:
        return None
    return candidates[0].index if candidates else None


def _row(members: Sequence[bool], hits: Mapping[str, Sequence[bool]]) -> dict[str, Any]:
    chosen = np.flatnonzero(members)
    shares = {
        name: float(np.mean(np.array(values)[chosen])) if len(chosen) else math.nan for name, values in hits.items()
    }
    return {"sentences": len(chosen), **shares}
