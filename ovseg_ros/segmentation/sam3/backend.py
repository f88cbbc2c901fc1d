"""The SAM 3 backend: concepts and instances in photographs, with weights that users ask Meta for."""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec

from ovseg_ros.errors import OvsegError
from ovseg_ros.segmentation.registry import BackendInfo
from ovseg_ros.segmentation.sam3.config import Sam3Config, read_config
from ovseg_ros.segmentation.sam3.locate import LICENCE, fetch_model, find_model, weights_digest
from ovseg_ros.segmentation.sam3.segmenter import Sam3Segmenter
from ovseg_ros.segmentation.sam3.space import NAME, Sam3Space
from ovseg_ros.segmentation.sam3.vocabulary_file import read_concepts


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


def load(device: str) -> Sam3Segmenter:
    """The segmenter of the settings; downloads weights that aren't here yet."""
    config = read_config()
    concepts = read_concepts(config.vocabulary)
    return Sam3Segmenter(fetch_model(config.weights), concepts, config, device)


def language_space(space_id: str) -> Sam3Space:
    """The space of the weights and the vocabulary in the settings.

    Raises:
        OvsegError: if ``space_id`` names others.
    """
    return _language_space(space_id, read_config())


@lru_cache(maxsize=1)
def _language_space(wanted: str, config: Sam3Config) -> Sam3Space:
    space = Sam3Space(weights_digest(fetch_model(config.weights)), read_concepts(config.vocabulary))
    if space.id != wanted:
        raise OvsegError(
            f"the map's scores are of {wanted!r}, weights {config.weights} and vocabulary {config.vocabulary} give "
            f"{space.id!r}: set both to those that made the map, or build it again"
        )
    return space
