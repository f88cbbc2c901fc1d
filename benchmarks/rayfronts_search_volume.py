"""Our search volume evaluation beside RayFronts' own, on the same arrays and rays.

    python benchmarks/rayfronts_search_volume.py --rayfronts ~/RayFronts

Numbers must be equal where RayFronts has no defect; the size of each known defect's effect is printed below them. Needs
hydra-core and scikit-learn, which RayFronts' scripts import, and pandas and matplotlib for its summary of curves.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np
import torch
from rayfronts_peer import evaluator
from rayfronts_search_peer import IN_SUMMARY, THEIRS, mended_axes, opening, summary_areas, their_claims, their_metrics
from search_scenes import Claims, Scene, random_scene, room_scene

from ovseg_ros.errors import OvsegError
from ovseg_ros.evaluation.search_volume.cones import Cone
from ovseg_ros.evaluation.search_volume.counts import Step
from ovseg_ros.evaluation.search_volume.judge import Moment
from ovseg_ros.evaluation.search_volume.metrics import METRICS, areas, truths

LIMIT = 1e-6
OWN_HALF_ANGLE, OWN_RADIUS = 45.0, 4.0
"""Degrees, and voxels: half of TartanGround's field of view, and RayFronts' frontiers there."""
CHUNK = 10_000
"""Cells that RayFronts holds against its cones at a time."""
SHOWN = ("recall", "SCV", "SCV-recall", "search-volume", "F1")


def difference(scene: Scene, step: Step, theirs: dict[str, Any]) -> dict[str, float]:
    """Largest over the classes that the scene has; F only where some claim is right: RayFronts has NaN elsewhere."""
    present, right = truths(step) > 0, step.unobserved.tp > 0
    result = {}
    for name, key in THEIRS.items():
        ours, peers = METRICS[name](step), theirs[key].double().numpy()
        chosen = present & right if name.startswith("F") else present
        if not (np.isnan(ours) == np.isnan(peers))[chosen].all():
            result[name] = math.inf
        else:
            result[name] = float(np.nan_to_num(np.abs(ours - peers))[chosen].max(initial=0.0))
    return result


def compare(peer: ModuleType, checkout: Path, scene: Scene) -> dict[str, Any]:
    """Metrics of the same claims, search volumes of the same cones, and areas under the same curves."""
    worst: dict[str, float] = dict.fromkeys(THEIRS, 0.0)
    steps, theirs, volumes_equal = [], [], True
    for place, moment in enumerate(scene.moments):
        claims = scene.our_claims(moment)
        steps.append(scene.step(place, claims))
        theirs.append((scene.frames[place], their_metrics(peer, scene, moment, claims)))
        found = difference(scene, steps[-1], theirs[-1][1])
        worst = {name: max(worst[name], found[name]) for name in worst}
        volumes_equal &= same_cones_same_volumes(peer, scene, moment, claims)
    ours = {name: float(np.nanmean(values)) for name, values in areas(steps).items()}
    summary = summary_areas(checkout, theirs, scene.volume.class_count)
    return {
        "steps": len(steps),
        "metrics": worst,
        "search_volumes_equal": volumes_equal,
        "areas": {name: {"ours": ours[name], "rayfronts": summary[name]} for name in IN_SUMMARY},
        "difference": max(*worst.values(), *(abs(ours[name] - summary[name]) for name in IN_SUMMARY)),
    }


def same_cones_same_volumes(peer: ModuleType, scene: Scene, moment: Moment, claims: Claims) -> bool:
    """Whether RayFronts' votes and threshold make our search volumes of our cones."""
    places, known = scene.volume.centres[~moment.observed], moment.labels > 0
    if not known.any():
        return True
    middle = moment.origins.mean(dim=0)
    inside = scene.cone.contains(places - middle, moment.origins[known] - middle, moment.directions[known]).T
    parts = torch.split(inside, CHUNK, dim=1)
    with mock.patch.object(peer.eval_utils.g3d, "get_voxels_infront_planes_mask", side_effect=parts):
        theirs = their_claims(peer, scene, moment)
    return theirs.keys() == claims.keys() and all(bool((theirs[key] == claims[key]).all()) for key in claims)


def defects(peer: ModuleType, room: Scene) -> dict[str, Any]:
    """How far each known defect moves the numbers on a room."""
    size = room.volume.voxel_size
    own = replace(room, cone=Cone(math.radians(OWN_HALF_ANGLE), OWN_RADIUS * size))
    theirs = [their_claims(peer, room, moment) for moment in room.moments]
    steps = [room.step(place, claims) for place, claims in enumerate(theirs)]
    numbers = [their_metrics(peer, room, *pair) for pair in zip(room.moments, theirs, strict=True)]
    asked = [step.unobserved.truths > 0 for step in steps]
    undefined = [np.isnan(found["unobsrv_f1"].numpy()[known]) for found, known in zip(numbers, asked, strict=True)]
    place = len(room.moments) // 2
    claims = room.our_claims(room.moments[place])
    order = np.random.default_rng(0).permutation(int((room.volume.labels != 0).sum()))
    shuffled = their_metrics(peer, room, room.moments[place], claims, order)
    return {
        "cones": {"of_this_camera": effect(peer, room, theirs), "of_its_own_configuration": effect(peer, own)},
        "axis_of_cone": axes(peer),
        "F1_undefined": {"class_steps": sum(map(len, undefined)), "nan": int(sum(map(np.sum, undefined)))},
        "mSCV_with_absent_classes": {
            "mSCV": float(np.mean([float(found["mSCV"]) for found in numbers])),
            "of_classes_present": float(np.mean([np.mean(METRICS["SCV"](step)[truths(step) > 0]) for step in steps])),
        },
        "unsorted_truth": {
            "SCV-recall": float(np.nanmean(METRICS["SCV-recall"](room.step(place, claims)))),
            "shuffled": float(np.nanmean(shuffled["unobsrv_srchcutvol_recall"].numpy())),
        },
    }


def effect(peer: ModuleType, scene: Scene, theirs: Sequence[Claims] | None = None) -> dict[str, Any]:
    """Areas under our curves, with our cones and RayFronts' of the same rays, and how far its cones open."""
    theirs = theirs or [their_claims(peer, scene, moment) for moment in scene.moments]
    steps: dict[str, list[Step]] = {"ours": [], "rayfronts": [], "rayfronts_axes_mended": []}
    for place, moment in enumerate(scene.moments):
        steps["ours"].append(scene.step(place, scene.our_claims(moment)))
        steps["rayfronts"].append(scene.step(place, theirs[place]))
        with mended_axes(peer):
            steps["rayfronts_axes_mended"].append(scene.step(place, their_claims(peer, scene, moment)))
    shown = {
        name: {key: float(np.nanmean(values)) for key, values in areas(found).items() if key in SHOWN}
        for name, found in steps.items()
    }
    half_angle, radius, size = scene.cone.half_angle, scene.cone.radius, scene.volume.voxel_size
    return {
        "half_angle_degrees": {"meant": math.degrees(half_angle), "found": opening(peer, half_angle, radius, size)},
        "areas": shown,
    }


def axes(peer: ModuleType) -> dict[str, dict[str, float]]:
    """Polar angle of a ray -> that of RayFronts' cone, and what its "rotation" does to volumes."""
    rays = torch.tensor([[0.0, 0, 0, 30, phi] for phi in range(0, 181, 15)])
    poses = peer.eval_utils.g3d.rays_to_pose_4x4(rays).double()
    cones = torch.rad2deg(torch.acos(torch.nn.functional.normalize(poses[:, :3, 2], dim=1)[:, 2]))
    scale = torch.linalg.det(poses[:, :3, :3])
    return {
        f"{phi:.0f}": {"polar": round(found, 1), "determinant": round(size, 2)}
        for phi, found, size in zip(rays[:, 4].tolist(), cones.tolist(), scale.tolist(), strict=True)
    }


def measure(options: argparse.Namespace) -> dict[str, Any]:
    peer = evaluator(options.rayfronts, "srchvol_eval")
    room = room_scene(options.seed, options.frames, options.max_depth, options.voxel_size)
    scenes = {"random": random_scene(np.random.default_rng(0)), "room": room}
    return {
        "equal": {name: compare(peer, options.rayfronts, scene) for name, scene in scenes.items()},
        "limit": LIMIT,
        "defects": defects(peer, room),
        "room": {"seed": options.seed, "frames": options.frames, "max_depth": options.max_depth},
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n\n")[0])
    parser.add_argument("--rayfronts", type=Path, required=True, metavar="PATH", help="a checkout of RayFronts")
    parser.add_argument("--seed", type=int, default=9001, help="of the room (default %(default)s)")
    parser.add_argument("--frames", type=int, default=60, help="of that room (default %(default)s)")
    parser.add_argument("--max-depth", type=float, default=1.5, help="metres (default %(default)s)")
    parser.add_argument("--voxel-size", type=float, default=0.1, help="metres (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object without line breaks")
    options = parser.parse_args(arguments)
    try:
        with torch.inference_mode():
            result = measure(options)
    except OvsegError as error:
        parser.error(str(error))
    print(json.dumps(result, indent=None if options.json else 1))
    rows = result["equal"].values()
    return int(any(row["difference"] > LIMIT or not row["search_volumes_equal"] for row in rows))


if __name__ == "__main__":
    raise SystemExit(main())
