"""Colour images in, language features out; and words in the same feature space."""

from ovseg_ros.segmentation.device import release_device_memory, resolve_device
from ovseg_ros.segmentation.labels import label_image
from ovseg_ros.segmentation.pixels import PixelLabeller, PixelLabels
from ovseg_ros.segmentation.registry import BackendInfo, backends, language_space, load_referrer, load_segmenter

__all__ = [
    "BackendInfo",
    "PixelLabeller",
    "PixelLabels",
    "backends",
    "label_image",
    "language_space",
    "load_referrer",
    "load_segmenter",
    "release_device_memory",
    "resolve_device",
]
