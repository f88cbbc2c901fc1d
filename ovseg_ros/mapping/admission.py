"""What a map takes in: features of its space, length and precision, or scores of concepts beside others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ovseg_ros.errors import OvsegError
from ovseg_ros.mapping.concepts import ConceptChannels
from ovseg_ros.types import InvalidFrameError, Segmentation

if TYPE_CHECKING:
    from ovseg_ros.mapping.semantic_map import SemanticMap


def layout_with(semantic_map: SemanticMap, segmentation: Segmentation) -> ConceptChannels:
    """What columns of the map mean once this is in it.

    Raises:
        OvsegError: language features and scores of concepts would be mixed, or there would be too many concepts.
    """
    concepts = segmentation.concepts
    is_fresh = semantic_map.is_empty and not semantic_map.concepts and not len(semantic_map.layers.rays or ())
    if not is_fresh and bool(concepts) != bool(semantic_map.concepts):
        kinds = ("features of a language", "scores of named concepts")
        raise OvsegError(
            f"{kinds[bool(concepts)]} can't be fused into a map of {kinds[not concepts]}: "
            "use the backend that the map was built with, or clear the map"
        )
    return semantic_map.concept_channels.including(concepts) if concepts else semantic_map.concept_channels


def checked_features(semantic_map: SemanticMap, segmentation: Segmentation) -> torch.Tensor:
    """(C, h, w) float32 features on the map's device, fit to be fused.

    Raises:
        InvalidFrameError: "features": not finite, too large for the map's precision, or not as long as the map's.
        OvsegError: they are of another space, or too short for the map's compression.
    """
    if semantic_map.space is not None and segmentation.space != semantic_map.space:
        raise OvsegError(
            f"features of {segmentation.space!r} can't be fused into a map of {semantic_map.space!r}: "
            "use the backend and weights that the map was built with, or clear the map"
        )
    features, config = segmentation.features, semantic_map.config
    channels = len(segmentation.concepts) or _channels(semantic_map)
    if features.dim() != 3 or 0 in features.shape or channels not in (None, len(features)):
        raise InvalidFrameError(
            "features",
            f"features must be ({channels or 'C'}, h, w), got {tuple(features.shape)}: check the backend's output",
        )
    if config.feature_components and segmentation.concepts:
        raise OvsegError(
            f"feature_components is {config.feature_components}, but scores of {len(features)} concepts need "
            "no compression: set it to 0"
        )
    if config.feature_components >= len(features):
        raise OvsegError(
            f"feature_components is {config.feature_components}, the features have {len(features)} numbers: "
            f"compress to fewer, {max(1, len(features) // 4)} loses little"
        )
    features = features.to(semantic_map.device, torch.float32)
    limit = torch.finfo(config.torch_feature_dtype).max
    if not (features.abs() <= limit).all():
        raise InvalidFrameError(
            "features",
            f"features are not finite or exceed {limit:g}, the limit of {config.feature_dtype}: "
            "check the model's weights and precision",
        )
    return features


def _channels(semantic_map: SemanticMap) -> int | None:
    """How long language features must be; None while the map has none."""
    if semantic_map.codec or not semantic_map.is_empty:
        return semantic_map.channels
    rays = semantic_map.layers.rays
    return rays.channels if rays is not None else None
