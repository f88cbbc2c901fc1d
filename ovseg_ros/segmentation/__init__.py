"""Colour images in, language features out; and words in the same feature space."""

from ovseg_ros.segmentation.device import release_device_memory, resolve_device
from ovseg_ros.segmentation.labels import label_image, look_also_for
from ovseg_ros.segmentation.pixels import PixelLabeller, PixelLabels
from ovseg_ros.segmentation.registry import (
    BackendInfo,
    backend_of,
    backends,
    language_space,
    load_referrer,
    load_segmenter,
)
from ovseg_ros.segmentation.similarity_referrer import SimilarityReferrer, referrer_of

__all__ = [
    "BackendInfo",
    "PixelLabeller",
    "PixelLabels",
    "SimilarityReferrer",
    "backend_of",
    "backends",
    "label_image",
    "language_space",
    "load_referrer",
    "load_segmenter",
    "look_also_for",
    "referrer_of",
    "release_device_memory",
    "resolve_device",
]
