"""Settings of the RADSeg backend: the defaults, or a YAML file named in the environment."""

from __future__ import annotations

from dataclasses import dataclass

from ovseg_ros.errors import OvsegError
from ovseg_ros.segmentation.indoor_classes import INDOOR_CLASSES
from ovseg_ros.segmentation.settings import read_settings

CONFIG_VARIABLE = "OVSEG_RADSEG_CONFIG"
EXAMPLE = "config/backends/radseg.yaml"
DEFAULT_SAM = "facebook/sam-vit-huge"
DTYPES = ("auto", "float32", "bfloat16")


@dataclass(frozen=True)
class RadsegConfig:
    """What the backend is made of. Named in ``OVSEG_RADSEG_CONFIG``, a YAML file may change any of it.

    Attributes:
        weights: a release (``c-radio_v3-b``, see `locate.RELEASES`) or the path of a ``.pth.tar`` or ``.safetensors``.
        crop: side of the sliding windows in pixels; 0 takes the image whole.
        stride: pixels from one window to the next.
        text_model: hub id or folder of the SigLIP2 whose texts are used; empty for the one RADIO learnt from.
        templates: whether a text is put into the 80 sentences of OpenAI's ImageNet prompts and their mean is taken, or
            it is taken as it is.
        dtype: in which the backbone multiplies: float32, bfloat16, or auto (bfloat16 on a GPU).
        compile: whether torch compiles the backbone, which takes minutes once for each image size.
        refine: whether labels of single images are redrawn by SAM's mask decoder (RADSeg+); maps don't use it.
        sam_model: hub id or folder of that SAM.
        classes: what maps are asked about by default.
    """

    weights: str = "c-radio_v3-b"
    crop: int = 336
    stride: int = 224
    text_model: str = ""
    templates: bool = True
    dtype: str = "auto"
    compile: bool = False
    refine: bool = False
    sam_model: str = DEFAULT_SAM
    classes: tuple[str, ...] = INDOOR_CLASSES

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise OvsegError(f"dtype of RADSeg is {self.dtype!r}: choose one of {', '.join(DTYPES)}")


def read_config() -> RadsegConfig:
    """The settings of this process; an OvsegError says what is wrong with them."""
    return read_settings(RadsegConfig, CONFIG_VARIABLE, EXAMPLE)
