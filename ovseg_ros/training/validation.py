"""How well an OpenSeg labels images it has not seen: mIoU by class names, and by words held out of training.

    python -m ovseg_ros.training.validation VIEWS

VIEWS is a folder in the layout of ovseg_ros.training.views whose images were not trained on.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as functional

from ovseg_ros.errors import OvsegError
from ovseg_ros.segmentation.device import fast_bfloat16
from ovseg_ros.segmentation.openseg.model import STRIDE, OpenSeg, OpenSegOutput, depth_planes
from ovseg_ros.segmentation.openseg.prediction import PREDICTIONS, Prediction, features_at
from ovseg_ros.segmentation.openseg.space import WEIGHTS_FILE
from ovseg_ros.segmentation.openseg.text import TextTable
from ovseg_ros.segmentation.openseg.weights_file import load_weights
from ovseg_ros.simulation import CLASSES
from ovseg_ros.training.losses import IGNORED, UNNAMED, segment_masks
from ovseg_ros.training.views import View, read_classes, read_views, room_vocabulary
from ovseg_ros.vocabulary import Vocabulary

VALIDATION_BATCH = 8
REGION_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
ABSENT = -2.0
"""Below any score."""
RECALLED = 0.5


def validation_texts(table: TextTable, classes: Vocabulary) -> dict[str, torch.Tensor]:
    """Text vectors (C, D) of the classes' names; of generated rooms also of words that are never trained."""
    texts = {"names": table.encode(classes.names)}
    if classes == room_vocabulary():
        texts["held_out"] = table.encode([(entry.held_out or (entry.name,))[0] for entry in CLASSES])
    return texts


def confusion(truth: torch.Tensor, prediction: torch.Tensor, classes: int) -> torch.Tensor:
    """(C, C) int64 counts, truth by row; entries without a true class don't count."""
    valid = truth >= 0
    return torch.bincount(truth[valid] * classes + prediction[valid], minlength=classes**2).view(classes, classes)


def mean_iou(matrix: torch.Tensor) -> float:
    """Mean over the classes that occur in the truth of intersection over union; NaN if none does."""
    hits = matrix.diag()
    truth, predicted = matrix.sum(dim=1), matrix.sum(dim=0)
    iou = hits / (truth + predicted - hits).clamp(min=1)
    return float(iou[truth > 0].mean())


def cell_centres(pixels: int, cells: int) -> torch.Tensor:
    """(cells,) index of the pixel at the centre of each of the ``cells`` that ``pixels`` are divided into."""
    return ((torch.arange(cells) + 0.5) * pixels / cells).long()


class Answer(NamedTuple):
    """What a model says about B images, and what is true of their P cells.

    Attributes:
        output: of the model.
        labels: (B, P) class indices, UNNAMED or IGNORED.
        segments: (B, P) instance ids.
    """

    output: OpenSegOutput
    labels: torch.Tensor
    segments: torch.Tensor


def answers(model: OpenSeg, views: Sequence[View], autocast: bool) -> Iterator[Answer]:
    """Show the views to a model in eval mode, some at a time, in bfloat16 with ``autocast``."""
    for start in range(0, len(views), VALIDATION_BATCH):
        decoded = [view.decode() for view in views[start : start + VALIDATION_BATCH]]
        images = torch.stack([rgb for rgb, _, _ in decoded]).float() / 255
        if model.config.depth:
            depth = torch.stack([view.decode_depth() for view in views[start : start + VALIDATION_BATCH]])
            images = torch.cat((images, depth_planes(depth)), dim=1)
        height, width = images.shape[-2:]
        size = model.config.working_size(height, width)
        images = functional.interpolate(images, size, mode="bilinear", align_corners=False, antialias=True)
        # The pixel at the centre of each cell.
        row, column = (cell_centres(full, side // STRIDE) for full, side in zip((height, width), size, strict=True))
        segments = torch.stack([ids for _, ids, _ in decoded])[:, row[:, None], column].flatten(1)
        labels = torch.stack([ids for _, _, ids in decoded])[:, row[:, None], column].flatten(1) - 1
        images = images.contiguous(memory_format=torch.channels_last)
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            output = model(images)
        yield Answer(output, labels.masked_fill((labels < 0) & (segments > 0), UNNAMED), segments)


def score(
    model: OpenSeg,
    views: Sequence[View],
    texts: Mapping[str, torch.Tensor],
    predictions: Mapping[str, Prediction],
    autocast: bool,
) -> dict[str, float]:
    """Label the views' cells with each set of texts in each way.

    Args:
        model: in eval mode.
        views: with label ids 1 and up.
        texts: name -> (C, D) vectors of the C classes.
        predictions: name -> how cells are labelled.
        autocast: compute in bfloat16.

    Returns:
        ``"TEXTS@PREDICTION"`` -> mIoU over all classes, and ``"TEXTS_grounding@PREDICTION"`` -> the same
        where in each image only the classes present in it can be answered.
    """
    matrices: dict[str, torch.Tensor] = {}
    for output, truth, _ in answers(model, views, autocast):
        for (way, predict), (name, vectors) in itertools.product(predictions.items(), texts.items()):
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
                scores = predict(model, output, vectors)
            present = torch.zeros(len(truth), len(vectors) + 1).scatter(1, truth.clamp(min=IGNORED) + 1, 1.0)
            grounding = scores.where(present[:, 1:, None] > 0, ABSENT)
            for key, values in ((f"{name}@{way}", scores), (f"{name}_grounding@{way}", grounding)):
                matrix = confusion(truth, values.argmax(dim=1), len(vectors))
                matrices[key] = matrices[key] + matrix if key in matrices else matrix
    return {key: mean_iou(matrix) for key, matrix in matrices.items()}


def mask_recall(model: OpenSeg, views: Sequence[View], autocast: bool) -> float:
    """Share of the views' segments that some proposal covers with an IoU of at least RECALLED, whatever they are."""
    found = total = 0
    for output, labels, ids in answers(model, views, autocast):
        truth = segment_masks(ids, labels)
        masks = (output.mask_logits.flatten(2) > 0).float()
        overlap = truth.masks @ masks.transpose(1, 2)
        union = truth.masks.sum(dim=-1, keepdim=True) + masks.sum(dim=-1).unsqueeze(1) - overlap
        best = (overlap / union.clamp(min=1)).amax(dim=-1)[truth.labels != IGNORED]
        found, total = found + int((best >= RECALLED).sum()), total + len(best)
    return found / max(total, 1)


def main() -> None:
    """Command line of this module."""
    parser = argparse.ArgumentParser(description="Measure OpenSeg weights on views.")
    parser.add_argument("views", type=Path, help="folder of views that were not trained on")
    parser.add_argument("--weights", type=Path, default=WEIGHTS_FILE, help="default: those of the package")
    arguments = parser.parse_args()
    try:
        model, card = load_weights(arguments.weights)
        views = read_views(arguments.views)
        texts = validation_texts(TextTable.packaged(), read_classes(arguments.views))
    except OvsegError as error:
        raise SystemExit(str(error)) from error
    ways = {"features": features_at(card.config.region_share), **PREDICTIONS}
    values = score(model.fold_norms(), views, texts, ways, fast_bfloat16())
    print(f"{'':20}" + "".join(f"{way:>12}" for way in ways))
    for name in dict.fromkeys(key.split("@")[0] for key in values):
        print(f"{name:20}" + "".join(f"{values[f'{name}@{way}']:12.3f}" for way in ways))
    print(f"{'mask_recall':20}{mask_recall(model, views, fast_bfloat16()):12.3f}")


if __name__ == "__main__":
    main()
