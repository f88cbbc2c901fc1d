"""Settings of the SAM 3 backend: the defaults, or a YAML file named in the environment."""

from __future__ import annotations

from dataclasses import dataclass

from ovseg_ros.errors import OvsegError
from ovseg_ros.segmentation.settings import read_settings

CONFIG_VARIABLE = "OVSEG_SAM3_CONFIG"
EXAMPLE = "config/backends/sam3.yaml"
DTYPES = ("auto", "float32", "bfloat16")
MODES = ("image", "video")
PROBABILITIES = ("threshold", "stuff_threshold", "label_threshold", "mask_overlap", "new_object_threshold")
COUNTS = {"prompts_at_once": 4, "max_objects": 32, "lost_after": 30}
"""With what suits most."""


@dataclass(frozen=True)
class Sam3Config:
    """What the backend is made of. Named in ``OVSEG_SAM3_CONFIG``, a YAML file may change any of it.

    Attributes:
        weights: hub id, or the folder of a model in the format of transformers (a fine-tuned one too).
        vocabulary: what is looked for at first: ``household``, another name in config/vocabularies, or a YAML file.
        threshold: score (query times presence) from which a mask counts as an instance; 0.5 is that of the authors.
        stuff_threshold: presence from which the dense head is asked where concepts of stuff are.
        label_threshold: score from which a pixel gets a label.
        mask_overlap: of two masks of one concept with a larger intersection over union, the better one is kept.
        prompts_at_once: prompts that go through the model together; more need more memory.
        dtype: in which the model computes: float32, bfloat16, or auto (bfloat16 on a GPU).
        mode: ``image`` takes each image alone; ``video`` also follows things from image to image, which costs more.
        max_objects: video: things followed at a time; each costs memory and time.
        new_object_threshold: video: score from which a thing is followed.
        lost_after: video: images without a detection that confirms it, after which a thing is no longer followed.
    """

    weights: str = "facebook/sam3"
    vocabulary: str = "household"
    threshold: float = 0.5
    stuff_threshold: float = 0.1
    label_threshold: float = 0.25
    mask_overlap: float = 0.5
    prompts_at_once: int = 4
    dtype: str = "auto"
    mode: str = "image"
    max_objects: int = 32
    new_object_threshold: float = 0.7
    lost_after: int = 30

    def __post_init__(self) -> None:
        for name in PROBABILITIES:
            value = getattr(self, name)
            if not 0.0 < value < 1.0:
                raise OvsegError(f"{name} of SAM 3 must lie between 0 and 1, got {value}: see {EXAMPLE}")
        for name, usual in COUNTS.items():
            if getattr(self, name) < 1:
                raise OvsegError(f"{name} of SAM 3 must be at least 1, got {getattr(self, name)}: {usual} suits most")
        if self.dtype not in DTYPES:
            raise OvsegError(f"dtype of SAM 3 is {self.dtype!r}: choose one of {', '.join(DTYPES)}")
        if self.mode not in MODES:
            raise OvsegError(f"mode of SAM 3 is {self.mode!r}: choose one of {', '.join(MODES)}")


def read_config() -> Sam3Config:
    """The settings of this process; an OvsegError says what is wrong with them."""
    return read_settings(Sam3Config, CONFIG_VARIABLE, EXAMPLE)
