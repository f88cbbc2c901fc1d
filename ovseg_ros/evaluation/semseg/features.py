"""A model's features, kept on disk between runs: other protocols, voxel sizes and metrics then need no model run."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ovseg_ros.types import RgbdFrame, Segmentation, Segmenter, sees_depth, segment


class FeatureCache:
    """A segmenter that runs its model only for images that it hasn't seen before; masks of instances aren't kept.

    Args:
        segmenter: the model.
        folder: made when the first image comes.
        asked: what the model was told to look for, where that changes what it says.
    """

    def __init__(self, segmenter: Segmenter, folder: Path, asked: tuple[str, ...] = ()) -> None:
        self._segmenter = segmenter
        self._folder = folder
        self._asked = asked

    def __call__(self, frame: RgbdFrame) -> Segmentation:
        """What the model says of a frame."""
        space = self._segmenter.space.id
        seen = (frame.rgb, frame.depth) if sees_depth(self._segmenter) else (frame.rgb,)
        file = self._folder / f"{_digest(seen, space, self._asked)}.safetensors"
        try:
            with safe_open(file, framework="pt") as stored:
                concepts = tuple(json.loads(stored.metadata()["concepts"]))
                return Segmentation(stored.get_tensor("features").to(frame.rgb.device), space, concepts=concepts)
        except (OSError, SafetensorError, KeyError, TypeError, ValueError):
            pass  # Not there, or damaged: made anew below.
        segmentation = segment(self._segmenter, frame)
        self._folder.mkdir(parents=True, exist_ok=True)
        handle, unfinished = tempfile.mkstemp(dir=self._folder)
        os.close(handle)
        features = {"features": segmentation.features.detach().cpu().contiguous()}
        save_file(features, unfinished, {"concepts": json.dumps(segmentation.concepts)})
        os.replace(unfinished, file)
        return Segmentation(segmentation.features, segmentation.space, concepts=segmentation.concepts)


def _digest(seen: tuple[torch.Tensor, ...], space: str, asked: tuple[str, ...]) -> str:
    digest = hashlib.blake2b(json.dumps([space, asked, list(seen[0].shape)]).encode(), digest_size=16)
    for image in seen:
        digest.update(image.cpu().contiguous().numpy().data)
    return digest.hexdigest()
