"""RRSIS-D (Liu et al. 2024, "Rotated Multi-Scale Interaction Network for Referring Remote Sensing Image Segmentation").

ROOT/images/rrsisd/JPEGImages/*.jpg   ROOT/rrsisd/refs(unc).p   ROOT/rrsisd/instances.json
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovseg_ros.datasets.run_lengths import decode_mask
from ovseg_ros.errors import OvsegError
from ovseg_ros.evaluation.refseg.plain_pickle import read_plain_pickle
from ovseg_ros.evaluation.refseg.samples import SPLITS, Sample

TREE = "images/rrsisd/JPEGImages/, rrsisd/refs(unc).p and rrsisd/instances.json, see https://github.com/Lsan2401/RMSIN"


class Rrsisd:
    """A split of RRSIS-D; a sample for each sentence.

    Args:
        root: the folder that holds ``images`` and ``rrsisd``.
        split: train, val or test.

    Raises:
        OvsegError: if files are missing or not as published, or the split is unknown.
    """

    def __init__(self, root: Path, split: str) -> None:
        if split not in SPLITS:
            raise OvsegError(f"RRSIS-D has no split {split!r}: choose one of {', '.join(SPLITS)}")
        references, instances = root / "rrsisd" / "refs(unc).p", root / "rrsisd" / "instances.json"
        for path in (references, instances, root / "images" / "rrsisd" / "JPEGImages"):
            if not path.exists():
                raise OvsegError(f"RRSIS-D at {root} has no {path.relative_to(root)}: it needs {TREE}")
        self._instances = instances
        try:
            content = json.loads(instances.read_text(encoding="utf-8"))
            files = {image["id"]: image["file_name"] for image in content["images"]}
            self._segmentations = {entry["id"]: entry["segmentation"] for entry in content["annotations"]}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise OvsegError(f"{instances} is not as published ({error!r}): fetch it again") from error
        try:
            self.samples = [
                self._sample(root / "images" / "rrsisd" / "JPEGImages" / files[entry["image_id"]], sentence, entry)
                for entry in read_plain_pickle(references)
                if _in_split(entry, split)
                for sentence in entry["sentences"]
            ]
        except (KeyError, TypeError, IndexError) as error:
            raise OvsegError(f"{references} does not fit {instances.name} ({error!r}): fetch both again") from error

    def _sample(self, image: Path, sentence: Mapping[str, Any], entry: Mapping[str, Any]) -> Sample:
        expression, annotation = sentence["raw"], entry["ann_id"]
        if not isinstance(expression, str) or annotation not in self._segmentations:
            raise KeyError(annotation)
        return Sample(image, expression, annotation)

    def mask(self, sample: Sample) -> NDArray[np.bool_]:
        """As of `RefDataset`. A pixel that several parts cover is outside, as upstream counts it."""
        name = f"annotation {sample.annotation} of {self._instances}"
        parts = self._segmentations.get(sample.annotation)
        if not isinstance(parts, list) or not parts:
            raise OvsegError(f"{name} has no parts: the file is not as published, fetch it again")
        masks = [decode_mask(part, name) for part in parts]
        if len({mask.shape for mask in masks}) > 1:
            raise OvsegError(f"the parts of {name} differ in size: the file is damaged, fetch it again")
        return np.sum(masks, axis=0) == 1


def _in_split(entry: Mapping[str, Any], split: str) -> bool:
    """The published reader takes for test whatever has test in its name."""
    return "test" in entry["split"] if split == "test" else bool(entry["split"] == split)
