"""Settings of the OpenSeg release: the defaults, or a YAML file named in the environment."""

from __future__ import annotations

from dataclasses import dataclass

from ovseg_ros.errors import OvsegError
from ovseg_ros.segmentation.indoor_classes import INDOOR_CLASSES
from ovseg_ros.segmentation.settings import read_settings

CONFIG_VARIABLE = "OVSEG_OPENSEG_TF_CONFIG"
EXAMPLE = "config/backends/openseg_tf.yaml"
FEATURES = ("ppixel_ave_feat", "image_embedding_feat")


@dataclass(frozen=True)
class OpenSegTfConfig:
    """What the backend is made of. Named in ``OVSEG_OPENSEG_TF_CONFIG``, a YAML file may change any of it.

    Attributes:
        saved_model: folder with ``saved_model.pb`` and ``variables``.
        text_model: hub id or folder of the CLIP whose texts the model learnt with.
        feature: the features of regions spread over their pixels, as OpenScene takes them, or those of the pixels.
        gpu: whether TensorFlow may take the GPU, beside torch.
        classes: what maps are asked about by default.
    """

    saved_model: str = "~/.cache/ovseg_ros/openseg_tf"
    text_model: str = "openai/clip-vit-large-patch14-336"
    feature: str = FEATURES[0]
    gpu: bool = False
    classes: tuple[str, ...] = INDOOR_CLASSES

    def __post_init__(self) -> None:
        if self.feature not in FEATURES:
            raise OvsegError(f"feature of OpenSeg is {self.feature!r}: choose one of {', '.join(FEATURES)}")


def read_config() -> OpenSegTfConfig:
    """The settings of this process; an OvsegError says what is wrong with them."""
    return read_settings(OpenSegTfConfig, CONFIG_VARIABLE, EXAMPLE)
