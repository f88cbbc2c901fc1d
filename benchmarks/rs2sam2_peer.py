"""The original RS2-SAM2 as the peer, from a checkout of https://github.com/rongfu-dsb/RS2-SAM2 (7321e75).

It is not part of this package, and its repository names no licence: it is only ever run here, beside ours, by who has
fetched it. It needs einops (``pip install einops``).

Patches, all of them here and none in the checkout: timm and fairscale, of which it imports a way to draw random numbers
and wrappers for training, are stood in for by bare modules. Its SAM 2 is built on the CPU instead of on the GPU, from
its own configuration with other sizes where these differ; so are BEiT-3 and the layers that are written down with 1024
channels, and the sizes of SAM 2's feature maps, which are written down as those of 1024 x 1024 pixels.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import torch
from rs2sam2_weights import Inputs, random_tensor

from ovseg_ros.errors import OvsegError
from ovseg_ros.segmentation.rs2sam2.architecture import Architecture
from ovseg_ros.segmentation.rs2sam2.names import is_unused
from ovseg_ros.segmentation.rs2sam2.tokenizer import UNKNOWN

FILE = Path("lib/evf_sam.py")
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
UNION_SIZE = 224
UNUSED_MODULES: Mapping[str, Mapping[str, Any]] = {
    "timm": {},
    "timm.models": {},
    "timm.models.layers": {"drop_path": None, "trunc_normal_": torch.nn.init.trunc_normal_},
    "fairscale": {},
    "fairscale.nn": {"checkpoint_wrapper": None, "wrap": None},
}


class PeerModel:
    """Their model with our random weights, on the CPU in float32.

    Raises:
        OvsegError: the checkout is none, or something that it needs is missing.
    """

    def __init__(self, checkout: Path, sizes: Architecture) -> None:
        check_checkout(checkout)
        self._sizes = sizes
        self._model = _build(checkout, sizes)
        with torch.no_grad():
            for name, value in self._model.state_dict().items():
                if not is_unused(name):
                    value.copy_(random_tensor(name, value.shape))
        self._model.eval()
        self._low: list[torch.Tensor] = []
        self._model.visual_model.sam_mask_decoder.register_forward_hook(lambda *given: self._low.append(given[2][0]))

    @property
    def weights(self) -> Mapping[str, torch.Tensor]:
        """All of their tensors, as their script for publishing would save them."""
        weights: dict[str, torch.Tensor] = self._model.state_dict()
        return weights

    @torch.inference_mode()
    def __call__(self, inputs: Inputs) -> tuple[torch.Tensor, torch.Tensor]:
        """Their (1, 1, S / 4, S / 4) logits, and the (1, 1, 1024, 1024) that they enlarge them to."""
        self._low.clear()
        image, small = (_pixels(inputs.rgb, side) for side in (self._sizes.image_size, UNION_SIZE))
        offset = torch.tensor([0, 1])
        logits, _ = self._model(image, small, inputs.ids, inputs.ids.ne(UNKNOWN), offset, True)
        return self._low[0], logits


def check_checkout(checkout: Path) -> None:
    """Raise OvsegError unless the folder holds what it should, and what it needs is there."""
    if not (checkout / FILE).is_file():
        raise OvsegError(f"{checkout} has no {FILE}: clone https://github.com/rongfu-dsb/RS2-SAM2 and name its folder")
    if importlib.util.find_spec("einops") is None:
        raise OvsegError("the original needs einops: pip install einops")


def _pixels(rgb: torch.Tensor, side: int) -> torch.Tensor:
    """As their transforms do, by Pillow."""
    from PIL import Image

    resized = Image.fromarray(rgb.numpy()).resize((side, side), Image.Resampling.BILINEAR)
    pixels = torch.frombuffer(bytearray(resized.tobytes()), dtype=torch.uint8).view(side, side, 3)
    mean, deviation = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, DEVIATION))
    return ((pixels.permute(2, 0, 1).float() / 255 - mean) / deviation)[None]


def _build(checkout: Path, sizes: Architecture) -> Any:
    sys.path[:0] = [str(checkout), str(checkout / "lib" / "unilm")]
    for name, content in UNUSED_MODULES.items():
        module = ModuleType(name)
        vars(module).update(content)
        sys.modules[name] = module
    # It prints its configuration.
    with contextlib.redirect_stdout(io.StringIO()):
        theirs = importlib.import_module("lib.evf_sam")
        published = theirs._get_large_config

        def beit_config() -> Any:
            config = published(vocab_size=sizes.vocabulary)
            config.encoder_embed_dim, config.encoder_attention_heads = sizes.width, sizes.heads
            config.encoder_ffn_embed_dim, config.encoder_layers = 4 * sizes.width, sizes.depth
            config.max_source_positions = sizes.positions
            return config

        build_sam = {"build_sam2_video_predictor": lambda *_, **__: _build_sam(checkout, sizes)}
        with mock.patch.multiple(theirs, _get_large_config=beit_config, **build_sam):
            model = theirs.EvfSamModel(theirs.EvfConfig(hidden_size=sizes.width))
    width = sizes.width
    model.text_feat_linear = torch.nn.Linear(width, 256)
    model.mask_linear, model.mask_product = torch.nn.Linear(width, width), torch.nn.Linear(width, 1)
    model.vmtoken = theirs.VisionLanguageFusionModule(d_model=width, nhead=8)
    model._bb_feat_sizes = [(sizes.image_size // stride,) * 2 for stride in (4, 8, 16)]
    return model


def _build_sam(checkout: Path, sizes: Architecture) -> Any:
    from hydra.utils import instantiate
    from omegaconf import OmegaConf

    config = OmegaConf.load(checkout / "sam2_configs" / "sam2_hiera_l.yaml").model
    config._target_ = "models.sam2.sam2_video_predictor.SAM2VideoPredictor"
    config.image_size = sizes.image_size
    config.image_encoder.trunk.update(
        embed_dim=sizes.hiera_width, num_heads=sizes.hiera_heads, stages=list(sizes.blocks),
        global_att_blocks=list(sizes.global_blocks), window_spec=list(sizes.windows),
        window_pos_embed_bkg_spatial_size=list(sizes.background),
    )  # fmt: skip
    config.image_encoder.neck.backbone_channel_list = [sizes.hiera_width << stage for stage in (3, 2, 1, 0)]
    return instantiate(config, _recursive_=True)
