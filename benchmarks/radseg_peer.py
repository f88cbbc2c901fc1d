"""RADSeg's own encoder as the peer, unmodified, from checkouts of RADSeg and of NVIDIA's RADIO.

Their repositories: https://github.com/RADSeg-OVSS/RADSeg and https://github.com/NVlabs/RADIO. Neither is part of this
package; RADIO's code is for non-commercial use, so it is only ever run here, beside ours, by who has fetched it.

What would need a network is stood in for: ``torch.hub`` leads to the checkout, the text tower is empty (no text is
encoded), and SAM, which the encoder imports but uses only when asked to, is a bare module. timm, einops, torchvision
and transformers have to be installed.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

import torch

from ovseg_ros.errors import OvsegError

ENCODER, HUB = Path("radseg/radseg.py"), Path("hubconf.py")
LIBRARIES = ("timm", "einops", "torchvision", "transformers")
UNUSED: dict[str, dict[str, object]] = {
    "segment_anything": {"sam_model_registry": {}, "SamPredictor": object},
    "radseg.sam_utils": {"sam_refinement": None},
}


class PeerEncoder:
    """RADSegEncoder of a checkpoint, on the CPU in float32.

    Args:
        radseg: checkout of RADSeg.
        radio: checkout of RADIO.
        checkpoint: weights in RADIO's container.
        crop: side of the windows, 0 for none.
        stride: of the windows.

    Raises:
        OvsegError: a checkout is none, or a library is missing.
    """

    def __init__(self, radseg: Path, radio: Path, checkpoint: Path, crop: int, stride: int) -> None:
        check_checkouts(radseg, radio)
        encoder, hub = _load(radseg, radio)
        tower = SimpleNamespace(text_model=torch.nn.Identity())
        with (
            mock.patch("torch.hub.load", side_effect=lambda repo, entry, **options: getattr(hub, entry)(**options)),
            mock.patch("transformers.AutoModel.from_pretrained", return_value=tower),
            mock.patch("transformers.AutoProcessor.from_pretrained", return_value=None),
            contextlib.redirect_stdout(io.StringIO()),
        ):
            self._encoder: Any = encoder.RADSegEncoder(
                device="cpu", model_version=str(checkpoint), slide_crop=crop, slide_stride=stride
            )

    @torch.inference_mode()
    def features(self, images: torch.Tensor) -> torch.Tensor:
        """(1, 3, H, W) in 0..1 -> (1, C, h, w)."""
        features: torch.Tensor = self._encoder.encode_image_to_feat_map(images)
        return features

    @torch.inference_mode()
    def aligned(self, features: torch.Tensor) -> torch.Tensor:
        """(1, C, h, w) -> (1, D, h, w), not normalised."""
        aligned: torch.Tensor = self._encoder.align_spatial_features_with_language(features)
        return aligned


def check_checkouts(radseg: Path, radio: Path) -> None:
    """Raise OvsegError unless both folders hold what they should."""
    for folder, file, url in (
        (radseg, ENCODER, "https://github.com/RADSeg-OVSS/RADSeg"),
        (radio, HUB, "https://github.com/NVlabs/RADIO"),
    ):
        if not (folder / file).is_file():
            raise OvsegError(f"{folder} has no {file}: clone {url} and name its folder")


def _load(radseg: Path, radio: Path) -> tuple[ModuleType, ModuleType]:
    missing = [library for library in LIBRARIES if importlib.util.find_spec(library) is None]
    if missing:
        raise OvsegError(f"the reference needs {', '.join(missing)}: pip install {' '.join(missing)}")
    for name, used in UNUSED.items():
        vars(sys.modules.setdefault(name, ModuleType(name))).update(used)
    # Their package has the name of our benchmark.
    ours, theirs = sys.modules.get("radseg"), ModuleType("radseg")
    theirs.__path__ = [str((radseg / "radseg").resolve())]
    sys.modules["radseg"] = theirs
    sys.path.insert(0, str(radio.resolve()))
    try:
        return importlib.import_module("radseg.radseg"), importlib.import_module("hubconf")
    finally:
        sys.path.remove(str(radio.resolve()))
        if ours is not None:
            sys.modules["radseg"] = ours
