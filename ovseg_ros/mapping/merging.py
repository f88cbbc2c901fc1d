"""Maps added to each other: sums and weights, as if one map had seen every pixel of both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import torch

from ovseg_ros.errors import OvsegError
from ovseg_ros.geometry import in_key_range, pack_keys, transform_points, unpack_keys, voxel_centres, voxel_indices
from ovseg_ros.mapping.compression import FeatureCodec
from ovseg_ros.mapping.concepts import ConceptChannels
from ovseg_ros.mapping.config import MappingConfig
from ovseg_ros.mapping.layers import SpatialLayers
from ovseg_ros.mapping.objects import ObjectLayer
from ovseg_ros.mapping.semantic_map import SemanticMap
from ovseg_ros.mapping.tables import MapTables, VoxelSums
from ovseg_ros.mapping.views import StoredViews
from ovseg_ros.types import validate_pose
from ovseg_ros.vocabulary import Vocabulary


def merge(first: SemanticMap, second: SemanticMap, transform: torch.Tensor | None = None) -> SemanticMap:
    """Add two maps.

    Args:
        first: gives the frame, the settings and the device of the result.
        second: of the same voxel size, feature level and space; scores may be of other concepts.
        transform: (4, 4) rigid, points of ``second`` -> points of ``first``; None where both are in one frame.
            A voxel goes as a whole to where its centre lies.

    Returns:
        A new map: per voxel the weights are summed and the means are taken over the pixels of both; newest stamps;
        the words of both; as many revisions as both have. It has the layers that ``first`` is set to, filled from
        what both maps have of them, as `SpatialLayers.add` says, and the objects of both, by the ids of ``first`` where
        they are in it. Of the views of both it keeps as many as ``first`` is set to. No voxel is forgotten, not even
        one whose cell is free by the evidence of both.

    Raises:
        OvsegError: the maps don't go together, or the transform moves voxels out of range.
        InvalidFrameError: the transform is not rigid.
    """
    return merge_all([(first, None), (second, transform)])


def merge_all(parts: Sequence[tuple[SemanticMap, torch.Tensor | None]]) -> SemanticMap:
    """Add any number of maps, each under its transform; like `merge`, the first gives the frame.

    Raises:
        OvsegError: there is no map, the maps don't go together, or a transform moves voxels out of range.
        InvalidFrameError: a transform is not rigid.
    """
    if not parts:
        raise OvsegError("there is no map to merge: give at least one")
    maps = [semantic_map for semantic_map, _ in parts]
    first = maps[0]
    filled = next((semantic_map for semantic_map in maps if not semantic_map.is_empty), first)
    vocabulary = first.vocabulary
    for semantic_map, transform in parts:
        check_compatible(filled, semantic_map)
        vocabulary = _union(vocabulary, semantic_map.vocabulary)
        if transform is not None:
            validate_pose(transform)
        elif semantic_map.frame_id != first.frame_id:
            raise OvsegError(
                f"the maps are in the frames {first.frame_id!r} and {semantic_map.frame_id!r}: give the transform "
                "between them"
            )
    _check_feature_lengths(maps)
    layout = _joined([semantic_map.concept_channels for semantic_map in maps])
    layers = SpatialLayers(first.config, first.device)
    layers.add(
        [(_layers(part, layout), transform) for semantic_map, transform in parts for part in semantic_map.parts()]
    )
    objects = ObjectLayer(first.config.voxel_size, first.device)
    for semantic_map, transform in parts:
        objects.add(semantic_map.objects, transform)
    views = StoredViews(first.config)
    for semantic_map, transform in parts:
        views.add(semantic_map.views, transform)
    tables = MapTables(first.config, layout.columns or filled.tables.channels, first.device)
    for semantic_map, transform in parts:
        for part in semantic_map.parts():
            for sums in _moved_sums(part, transform, first.config):
                sums = replace(sums, features=layout.move(sums.features[:], part.concept_channels))
                tables.add(sums.to(first.device))
    return SemanticMap.from_tables(
        tables,
        config=first.config,
        space=next((semantic_map.space for semantic_map in maps if semantic_map.space), None),
        vocabulary=vocabulary,
        revision=sum(semantic_map.revision for semantic_map in maps),
        frame_id=first.frame_id,
        codec=filled.codec and filled.codec.to(first.device),
        concepts=layout,
        layers=layers,
        objects=objects,
        views=views,
    )


def check_compatible(first: SemanticMap, second: SemanticMap) -> None:
    """Whether voxels and features of two maps mean the same.

    Raises:
        OvsegError: naming what differs.
    """
    facts: dict[str, tuple[object, object]] = {
        "voxel_size": (first.config.voxel_size, second.config.voxel_size),
        "feature_voxel_size": (first.config.feature_block, second.config.feature_block),
    }
    if first.space and second.space:
        facts["feature space"] = (first.space, second.space)
    for name, (ours, theirs) in facts.items():
        if ours != theirs:
            raise OvsegError(
                f"maps of different {name} can't be merged, {ours!r} and {theirs!r}: map again with the same settings"
            )
    if not (first.is_empty or second.is_empty or _same_codec(first.codec, second.codec)):
        raise OvsegError(
            "maps with differently compressed features can't be merged: map with feature_components 0, or go on from "
            "one saved map that is compressed already"
        )


def _check_feature_lengths(maps: Sequence[SemanticMap]) -> None:
    """Refuse voxels or rays whose features have different lengths, or names in some maps only."""
    unnamed = [semantic_map for semantic_map in maps if not semantic_map.concepts]
    lengths = {semantic_map.channels for semantic_map in unnamed if not semantic_map.is_empty}
    lengths |= {rays.channels for semantic_map in unnamed if (rays := semantic_map.layers.rays) and rays.channels}
    if lengths and len(unnamed) < len(maps):
        raise OvsegError(
            "a map of language features and one of scores of concepts can't be merged: map again with one backend"
        )
    if len(lengths) > 1:
        raise OvsegError(
            f"maps of different feature length can't be merged, {' and '.join(map(str, sorted(lengths)))}: "
            "map again with the same settings"
        )


def _joined(layouts: Sequence[ConceptChannels]) -> ConceptChannels:
    """The layout that has room for what all have; the first one's columns stay first."""
    joined = layouts[0]
    for layout in layouts:
        for vocabulary in layout.vocabularies:
            joined = joined.including(vocabulary)
    return joined


def _layers(source: SemanticMap, layout: ConceptChannels) -> SpatialLayers:
    """Those of ``source``, with features of rays as ``layout`` has them."""
    own = source.concept_channels
    if own == layout:
        return source.layers
    return source.layers.with_ray_features(partial(layout.move, source=own))


def _moved_sums(source: SemanticMap, transform: torch.Tensor | None, config: MappingConfig) -> Iterator[VoxelSums]:
    """What ``source`` holds, chunk by chunk, with each voxel where its centre lies after the transform."""
    if transform is None:
        yield from source.tables.sums()
        return
    pose = transform.to(source.device, torch.float64)
    for sums in source.tables.voxel_sums():
        centres = transform_points(pose, voxel_centres(unpack_keys(sums.keys), config.voxel_size))
        indices = voxel_indices(centres, config.voxel_size)
        if not in_key_range(indices).all():
            raise OvsegError("the transform moves voxels out of the range of a map: check its translation, in metres")
        yield sums.regrouped(pack_keys(indices), config.feature_block)


def _same_codec(first: FeatureCodec | None, second: FeatureCodec | None) -> bool:
    if first is None or second is None:
        return first is second
    theirs = second.tensors()
    return all(torch.equal(ours.cpu(), theirs[name].cpu()) for name, ours in first.tensors().items())


def _union(first: Vocabulary, second: Vocabulary) -> Vocabulary:
    """The concepts of both, those of ``first`` first; of two with one name, the one of ``first``."""
    names = set(first.names)
    groups = (*first.synonyms, *(group for group in second.synonyms if group[0] not in names))
    return Vocabulary(groups, first.unsaid | (second.unsaid - names))
