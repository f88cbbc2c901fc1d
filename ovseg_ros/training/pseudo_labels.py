"""Segments without classes for images that have only captions, drawn by a teacher.

    python -m ovseg_ros.training.openseg --losses mask=1 --data VIEWS --validation OTHER --out TEACHER --steps 8000
    python -m ovseg_ros.training.pseudo_labels --teacher TEACHER --data CAPTIONED --out FOLDER

The teacher has learnt masks alone (the paper's L_S). FOLDER gets the images and captions of CAPTIONED with segments of
which only the outline is known, so that both the mask and the caption loss apply. Views with segments stay as they are.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch
from tqdm import tqdm

from ovseg_ros.errors import OvsegError
from ovseg_ros.segmentation.device import fast_bfloat16
from ovseg_ros.segmentation.openseg.model import OpenSeg
from ovseg_ros.segmentation.openseg.weights_file import load_weights
from ovseg_ros.training.validation import answers
from ovseg_ros.training.views import View, encode_truth, read_classes, view_files, write_classes, write_view

MIN_CELLS = 4
"""Smaller proposals are not kept."""
MIN_CERTAINTY = 0.75
"""Least mean probability of a proposal's cells."""
SAME_IOU = 0.6
"""Two proposals that overlap more are one segment."""


def select_segments(masks: torch.Tensor) -> torch.Tensor:
    """The proposals of one image that are worth learning from, drawn over each other, the smallest on top.

    A proposal's cells are those with more than one half; it counts if they are enough and certain enough. Of proposals
    that overlap by more than SAME_IOU the most certain is kept.

    Args:
        masks: (N, P) in 0..1.

    Returns:
        (P,) int64 ids from 1 on, 0 where no proposal is.
    """
    inside = masks > 0.5
    area = inside.sum(dim=1)
    certainty = (masks * inside).sum(dim=1) / area.clamp(min=1)
    order = certainty.argsort(descending=True, stable=True)
    order = order[((area >= MIN_CELLS) & (certainty >= MIN_CERTAINTY))[order]]
    overlap = inside[order].float() @ inside[order].float().T
    iou = overlap / (area[order, None] + area[order] - overlap)
    kept: list[int] = []
    for place in range(len(order)):
        if not (iou[place, kept] > SAME_IOU).any():
            kept.append(place)
    chosen = order[kept]
    chosen = chosen[area[chosen].argsort(stable=True)]
    on_top = inside[chosen].int().argmax(dim=0) + 1 if len(chosen) else torch.zeros(masks.shape[1], dtype=torch.long)
    return on_top.masked_fill(~inside[chosen].any(dim=0), 0)


def annotate(teacher: OpenSeg, view: View) -> View:
    """The view with the teacher's segments; itself if it has segments already."""
    rgb, instances, labels = view.decode()
    if bool(instances.any()) or bool(labels.any()):
        return view
    (answer,) = answers(teacher, [view], fast_bfloat16())
    grid = answer.output.mask_logits.shape[-2:]
    segments = select_segments(answer.output.mask_logits[0].flatten(1).sigmoid()).view(grid).numpy().astype(np.int32)
    height, width = rgb.shape[-2:]
    ids = cv2.resize(segments, (width, height), interpolation=cv2.INTER_NEAREST).astype(np.int32)
    return View(view.rgb, encode_truth(np.zeros_like(ids), ids), view.caption, view.depth)


def main() -> None:
    """Command line of this module."""
    parser = argparse.ArgumentParser(description="Annotate images that have only captions with a teacher's segments.")
    parser.add_argument("--teacher", type=Path, required=True, help="weights trained with --losses mask=1")
    parser.add_argument("--data", type=Path, required=True, help="folder of views")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    arguments = parser.parse_args()
    try:
        teacher = load_weights(arguments.teacher)[0].fold_norms()
        views = view_files(arguments.data)
        write_classes(arguments.out, read_classes(arguments.data))
    except OvsegError as error:
        raise SystemExit(str(error)) from error
    for path, view in tqdm(views.items(), unit="view"):
        write_view(arguments.out / path.name, annotate(teacher, view))


if __name__ == "__main__":
    main()
