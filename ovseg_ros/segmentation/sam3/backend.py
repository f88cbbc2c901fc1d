"""The SAM 3 backend: concepts and instances in photographs, with weights that users ask Meta for."""

from __future__ import annotations

from importlib.util import find_spec

from ovseg_ros.errors import OvsegError
from ovseg_ros.segmentation.registry import BackendInfo
from ovseg_ros.segmentation.sam3.concepts import Concepts
from ovseg_ros.segmentation.sam3.config import read_config
from ovseg_ros.segmentation.sam3.locate import LICENCE, fetch_model, find_model
from ovseg_ros.segmentation.sam3.segmenter import Sam3Segmenter
from ovseg_ros.segmentation.sam3.space import NAME, Sam3Space
from ovseg_ros.segmentation.sam3.video import Sam3VideoSegmenter
from ovseg_ros.vocabulary_file import VocabularyFile, read_vocabulary


def describe() -> BackendInfo:
    """What `ovseg backends` shows."""
    try:
        weights = read_config().weights
        found = find_model(weights)
        place = str(found or f"missing: {weights} (gated; docs/sam3.md says how to get it)")
    except OvsegError as error:
        found, place = None, str(error)
    return BackendInfo(
        name=NAME,
        installed=found is not None and find_spec("transformers") is not None,
        weights=place,
        licence=LICENCE,
        summary="SAM 3: scores and instance masks of the concepts it is asked for; wants a GPU",
    )


def load(device: str, vocabulary: VocabularyFile | None = None) -> Sam3Segmenter:
    """The segmenter of the settings, or of another vocabulary than theirs; downloads weights that aren't here yet."""
    config = read_config()
    concepts = Concepts.from_file(vocabulary or read_vocabulary(config.vocabulary))
    segmenter = Sam3VideoSegmenter if config.mode == "video" else Sam3Segmenter
    return segmenter(fetch_model(config.weights), concepts, config, device)


def language_space(space_id: str) -> Sam3Space:
    """The space with this id, of any weights: words are names of concepts, which come with each map."""
    return Sam3Space(space_id)
