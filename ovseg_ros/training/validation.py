"""How well an OpenSeg labels images it has not seen: mIoU by class names, and by words held out of training.

    python -m ovseg_ros.training.validation VIEWS

VIEWS is a folder written by ovseg_ros.training.room_images with seeds that were not trained on.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as functional

from ovseg_ros.errors import OvsegError
from ovseg_ros.segmentation.device import fast_bfloat16
from ovseg_ros.segmentation.openseg.model import STRIDE, OpenSeg
from ovseg_ros.segmentation.openseg.space import WEIGHTS_FILE
from ovseg_ros.segmentation.openseg.text import TextTable
from ovseg_ros.segmentation.openseg.weights_file import load_weights
from ovseg_ros.simulation import CLASSES
from ovseg_ros.training.losses import IGNORED
from ovseg_ros.training.room_images import View, read_views

VALIDATION_BATCH = 8
REGION_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
ABSENT = -2.0
"""Below any cosine."""


def validation_texts(table: TextTable) -> dict[str, torch.Tensor]:
    """Text vectors (C, D) of the class names, and of words for the same classes that are never trained."""
    return {
        "names": table.encode([entry.name for entry in CLASSES]),
        "held_out": table.encode([(entry.held_out or (entry.name,))[0] for entry in CLASSES]),
    }


def confusion(truth: torch.Tensor, prediction: torch.Tensor, classes: int) -> torch.Tensor:
    """(C, C) int64 counts, truth by row; entries whose truth is IGNORED don't count."""
    valid = truth != IGNORED
    return torch.bincount(truth[valid] * classes + prediction[valid], minlength=classes**2).view(classes, classes)


def mean_iou(matrix: torch.Tensor) -> float:
    """Mean over the classes that occur in the truth of intersection over union."""
    hits = matrix.diag()
    truth, predicted = matrix.sum(dim=1), matrix.sum(dim=0)
    iou = hits / (truth + predicted - hits).clamp(min=1)
    return float(iou[truth > 0].mean())


def cell_centres(pixels: int, cells: int) -> torch.Tensor:
    """(cells,) index of the pixel at the centre of each of the ``cells`` that ``pixels`` are divided into."""
    return ((torch.arange(cells) + 0.5) * pixels / cells).long()


def score(
    model: OpenSeg,
    views: Sequence[View],
    texts: dict[str, torch.Tensor],
    shares: Sequence[float],
    autocast: bool,
) -> dict[str, float]:
    """Label the views' cells with each set of texts and region share.

    Args:
        model: in eval mode.
        views: with label ids 1 and up.
        texts: name -> (C, D) vectors of the C classes.
        shares: values of OpenSegConfig.region_share to try.
        autocast: compute in bfloat16.

    Returns:
        ``"NAME@SHARE"`` -> mIoU over all classes, and ``"NAME_grounding@SHARE"`` -> the same where
        in each image only the classes present in it can be answered.
    """
    matrices: dict[str, torch.Tensor] = {}
    for start in range(0, len(views), VALIDATION_BATCH):
        decoded = [view.decode() for view in views[start : start + VALIDATION_BATCH]]
        images = torch.stack([rgb for rgb, _, _ in decoded]).float() / 255
        height, width = images.shape[-2:]
        size = model.config.working_size(height, width)
        images = functional.interpolate(images, size, mode="bilinear", align_corners=False, antialias=True)
        # The pixel at the centre of each cell.
        row, column = (cell_centres(full, side // STRIDE) for full, side in zip((height, width), size, strict=True))
        truth = torch.stack([labels for _, _, labels in decoded])[:, row[:, None], column] - 1
        truth = truth.flatten(1)
        images = images.contiguous(memory_format=torch.channels_last)
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            output = model(images)
            for share in shares:
                features = model.dense_features(output, share).float().flatten(2)
                for name, vectors in texts.items():
                    cosines = vectors @ features
                    present = torch.zeros(cosines.shape[:2]).scatter(1, truth.clamp(min=0), 1.0) > 0
                    answers = {name: cosines, f"{name}_grounding": cosines.where(present[..., None], ABSENT)}
                    for key, values in answers.items():
                        matrix = confusion(truth, values.argmax(dim=1), len(vectors))
                        key = f"{key}@{share}"
                        matrices[key] = matrices[key] + matrix if key in matrices else matrix
    return {key: mean_iou(matrix) for key, matrix in matrices.items()}


def main() -> None:
    """Command line of this module."""
    parser = argparse.ArgumentParser(description="Measure OpenSeg weights on rendered views.")
    parser.add_argument("views", type=Path, help="folder written by ovseg_ros.training.room_images")
    parser.add_argument("--weights", type=Path, default=WEIGHTS_FILE, help="default: those of the package")
    arguments = parser.parse_args()
    try:
        model, card = load_weights(arguments.weights)
        views = read_views(arguments.views)
    except OvsegError as error:
        raise SystemExit(str(error)) from error
    texts = validation_texts(TextTable.packaged())
    values = score(model.fold_norms(), views, texts, (card.config.region_share,), fast_bfloat16())
    for name, value in values.items():
        print(f"{name.split('@')[0]:20} {value:.3f}")


if __name__ == "__main__":
    main()
