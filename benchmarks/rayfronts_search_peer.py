"""RayFronts' evaluation of search volumes on our arrays: its metrics, its cones, its summary of curves."""

from __future__ import annotations

import csv
import os
import re
import runpy
import shutil
import tempfile
from collections.abc import Iterable
from contextlib import AbstractContextManager, redirect_stdout
from io import StringIO
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray
from search_scenes import THRESHOLD, Claims, Scene

from ovseg_ros.errors import OvsegError
from ovseg_ros.evaluation.search_volume.judge import Moment

SUMMARY = "summarize_srchvol_eval.py"
THEIRS = {
    "recall": "unobsrv_recall",
    "SCV": "unobsrv_srchcutvol",
    "SCV-recall": "unobsrv_srchcutvol_recall",
    "search-volume": "unobsrv_srchvol",
    "F0.5": "unobsrv_f0.5",
    "F1": "unobsrv_f1",
    "F2": "unobsrv_f2",
    "IoU-observed": "obsrv_occ_iou",
    "IoU-unobserved": "unobsrv_iou",
    "IoU-scene": "scene_iou",
    "IoU-surface": "scene_occ_iou",
}
"""Our name of a number -> RayFronts'."""
IN_SUMMARY = ("IoU-observed", "SCV", "recall", "SCV-recall")
"""Of which RayFronts' summary takes areas."""


def their_metrics(
    peer: ModuleType, scene: Scene, moment: Moment, claims: Claims, order: NDArray[np.int64] | None = None
) -> dict[str, Any]:
    """RayFronts' metrics of the same claims; ``order`` shuffles the true voxels, which it wants sorted."""
    volume, centres = scene.volume, scene.volume.centres.float()
    surface = (volume.labels != 0).nonzero().squeeze(1)
    surface = surface if order is None else surface[torch.from_numpy(order)]
    truth = volume.labels.clamp(min=0)
    everywhere = torch.ones(int((~moment.observed).sum()), dtype=torch.bool)
    classes = sorted({*(truth.unique()[1:] - 1).tolist(), *claims})
    evaluation = SimpleNamespace(
        cfg=SimpleNamespace(k=0, mapping=SimpleNamespace(vox_size=volume.voxel_size)),
        num_classes=volume.class_count + 1,
    )
    answered = moment.observed & (moment.answers > 0)
    found: dict[str, Any] = peer.SrchVolEval.compute_srchvol_metrics(
        evaluation,
        centres[surface],
        truth[surface],
        centres[moment.observed],
        centres[answered],
        moment.answers[answered],
        centres[~moment.observed],
        torch.stack([claims.get(number, everywhere) for number in classes]),
        torch.tensor(classes) + 1,
    )
    return found


def their_claims(peer: ModuleType, scene: Scene, moment: Moment) -> Claims:
    """RayFronts' cones of the same rays, in its axes: those of the first camera, so that the pole is its view."""
    world = torch.linalg.inv(scene.first_pose)
    origins = moment.origins @ world[:3, :3].T + world[:3, 3]
    x, y, z = (moment.directions @ world[:3, :3].T).unbind(dim=1)
    angles = torch.stack((torch.atan2(y, x), torch.acos(z.clamp(-1, 1))), dim=1)
    places = scene.volume.centres[~moment.observed] @ world[:3, :3].T + world[:3, 3]
    known = moment.labels > 0
    if not known.any():
        return {}
    masks, found = peer.eval_utils.rays_to_searchvol(
        torch.cat((origins, torch.rad2deg(angles)), dim=1)[known].float(),
        moment.labels[known],
        places.float(),
        scene.volume.voxel_size,
        torch.rad2deg(torch.tensor(scene.cone.half_angle)),
        scene.cone.radius,
        THRESHOLD,
    )
    return dict(zip((found - 1).tolist(), masks, strict=True))


def summary_areas(checkout: Path, theirs: Iterable[tuple[int, dict[str, Any]]], classes: int) -> dict[str, float]:
    """What RayFronts' script makes of curves in its files: means over classes of the areas."""
    script = checkout.resolve() / "scripts" / SUMMARY
    names = {
        name: re.findall(r'"(\w+)"', block)
        for name, block in re.findall(r"^(exp_names|datasets|scene_names) = \[(.*?)\]", script.read_text(), re.M | re.S)
    }
    columns = [*(THEIRS[name] for name in IN_SUMMARY), "scene_gt_occ_vs_unobs_iou", "scene_tp", "scene_fn"]
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        first = Path(folder, "curves")
        first.mkdir()
        moments = list(theirs)
        for number in range(classes):
            with (first / f"{number}_class{number}.csv").open("w", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(["step", *columns])
                writer.writerows(
                    [frames, *(float(metrics[key][number]) for key in columns)] for frames, metrics in moments
                )
        # The script goes through a fixed list of experiments and scenes: each of them is ours.
        for experiment in names["exp_names"]:
            for scene in names["scene_names"]:
                target = Path(folder, "srchvol_out", experiment, names["datasets"][0], scene)
                shutil.copytree(first, target / "srchvol_online_classwise_results")
        os.environ["MPLBACKEND"] = "Agg"
        os.chdir(folder)
        try:
            with redirect_stdout(StringIO()):
                runpy.run_path(str(script))
            rows = list(csv.DictReader(StringIO(Path("srchvol_out/srchvol_summary.csv").read_text())))
        except ModuleNotFoundError as error:
            raise OvsegError(f"RayFronts' summary needs {error.name}: pip install pandas matplotlib") from error
        finally:
            os.chdir(before)
    return {name: float(rows[0][f"AUC_{THEIRS[name]}"]) for name in IN_SUMMARY}


def mended_axes(peer: ModuleType) -> AbstractContextManager[object]:
    """Meanwhile its cones lie along their rays: the same code with a rotation in place of what it makes."""
    geometry = peer.eval_utils.g3d

    def poses(rays: torch.Tensor) -> torch.Tensor:
        theta, phi = torch.deg2rad(rays[:, 3]), torch.deg2rad(rays[:, 4])
        axis = torch.stack(geometry.spherical_to_cartesian(1, theta, phi), dim=1)
        across = torch.stack((-torch.sin(theta), torch.cos(theta), torch.zeros_like(theta)), dim=1)
        result = torch.eye(4).repeat(len(rays), 1, 1)
        result[:, :3, 0] = torch.linalg.cross(across, axis)
        result[:, :3, 1], result[:, :3, 2], result[:, :3, 3] = across, axis, rays[:, :3]
        return result

    return mock.patch.object(geometry, "rays_to_pose_4x4", poses)


def opening(peer: ModuleType, half_angle: float, radius: float, size: float) -> float:
    """Degrees by which the sides of RayFronts' cone lean outwards, of a ray along the pole; below 0 they close.

    Args:
        peer: its scripts.
        half_angle: that is meant, radians.
        radius: of a frontier, metres.
        size: of a voxel, metres.
    """
    planes = peer.eval_utils.g3d.get_cone_planes(
        torch.eye(4)[None], far=5 * size, near=size, apex_angle=torch.tensor(half_angle), start_radius=radius,
        num_segs=6,
    )  # fmt: skip
    normals = torch.nn.functional.normalize(planes[0, 2:, :3], dim=1)
    return float(torch.rad2deg(torch.asin(normals[:, 2])).mean())
