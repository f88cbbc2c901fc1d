"""The 3D memory: a sparse voxel map of mean features and colours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import torch

from ovseg_ros.geometry import unpack_keys, voxel_centres
from ovseg_ros.mapping.admission import checked_features, layout_with
from ovseg_ros.mapping.compression import FeatureCodec
from ovseg_ros.mapping.concepts import ConceptChannels
from ovseg_ros.mapping.config import LAYERS, MappingConfig
from ovseg_ros.mapping.eviction import Eviction
from ovseg_ros.mapping.fusion import build_fusion_operator
from ovseg_ros.mapping.layers import LAYER_SEPARATOR, SpatialLayers
from ovseg_ros.mapping.objects import OBJECTS, ObjectLayer
from ovseg_ros.mapping.online_compression import OnlineCompression
from ovseg_ros.mapping.sightings import find_sightings
from ovseg_ros.mapping.tables import MapTables, VoxelSums, padded
from ovseg_ros.mapping.views import VIEWS, StoredViews
from ovseg_ros.mapping.voxel_table import Snapshot
from ovseg_ros.types import InvalidFrameError, RgbdFrame, Segmentation
from ovseg_ros.vocabulary import Vocabulary


class SemanticMap:
    """Voxels that hold the mean feature and colour of every pixel that ever fell into them.

    Features are language features, or scores of the concepts that each frame was asked for: the first frame decides.
    The work of `integrate` depends on the frame, not on the size of the map, except that the first frame that is asked
    for another set of concepts has the rows in memory copied once, to make room for more scores. Properties that are
    tensors may be views of the map's own memory: read them, don't write them, and don't keep them across an
    `integrate`.

    Example:
        >>> semantic_map = SemanticMap(MappingConfig(voxel_size=0.1), space="my-model/1")
        >>> semantic_map.voxel_count, semantic_map.revision
        (0, 0)
    """

    def __init__(
        self,
        config: MappingConfig | None = None,
        *,
        space: str | None = None,
        vocabulary: Vocabulary | None = None,
        device: torch.device | str = "cpu",
        frame_id: str = "map",
    ) -> None:
        """Make an empty map.

        Args:
            config: voxel size, depth range and feature precision.
            space: id of the feature space; None takes that of the first frame.
            vocabulary: concepts that answers are calibrated against.
            device: where the map lives; frames and features are brought there.
            frame_id: name of the world frame, z up.
        """
        self.config = config or MappingConfig()
        self._vocabulary = vocabulary or Vocabulary(())
        self.frame_id = frame_id
        self.device = torch.device(device)
        self._space = space
        self._revision = 0
        self._tables = self._empty_tables(0)
        self._concepts = ConceptChannels()
        self._compression = OnlineCompression(self.config.feature_components)
        self._layers = SpatialLayers(self.config, self.device)
        self._objects = ObjectLayer(self.config.voxel_size, self.device)
        self._eviction = Eviction(self.config, self.device)
        self._views = StoredViews(self.config)

    @classmethod
    def from_tables(
        cls,
        tables: MapTables,
        *,
        config: MappingConfig,
        space: str | None,
        vocabulary: Vocabulary,
        revision: int,
        frame_id: str = "map",
        codec: FeatureCodec | None = None,
        concepts: ConceptChannels | None = None,
        layers: SpatialLayers | None = None,
        objects: ObjectLayer | None = None,
        views: StoredViews | None = None,
    ) -> SemanticMap:
        """Make a map of tables that are filled already, on their device.

        Args:
            tables: of features in ``space``, or of their codes under ``codec``.
            config: what they were filled with.
            space: id of the feature space.
            vocabulary: concepts that answers are calibrated against.
            revision: to start from.
            frame_id: name of the world frame.
            codec: what compressed the features; None if nothing did.
            concepts: what the columns of features are; None for language features.
            layers: on the same device; None takes empty ones.
            objects: likewise.
            views: pictures of what the map shows; None takes none.
        """
        restored = cls(config, space=space, vocabulary=vocabulary, device=tables.voxels.device, frame_id=frame_id)
        restored._tables = tables
        restored._revision = revision
        restored._concepts = concepts or ConceptChannels()
        restored._compression = OnlineCompression(config.feature_components, codec)
        restored._layers = layers or restored._layers
        restored._objects = restored._objects if objects is None else objects
        restored._views = restored._views if views is None else views
        return restored

    @classmethod
    def from_columns(
        cls,
        columns: Mapping[str, torch.Tensor],
        *,
        config: MappingConfig,
        space: str | None,
        vocabulary: Vocabulary,
        revision: int,
        device: torch.device | str = "cpu",
        frame_id: str = "map",
        codec: FeatureCodec | None = None,
        concepts: ConceptChannels | None = None,
    ) -> SemanticMap:
        """Rebuild a map from what `columns` returned; the tensors are copied, keys must be distinct.

        Raises:
            OvsegError: naming what makes columns of layers none, or features no scores of ``concepts``.
        """
        if concepts is not None and concepts.vocabularies:
            concepts.check_columns(columns)
        of_objects = {name.removeprefix(OBJECTS): columns[name] for name in columns if name.startswith(OBJECTS)}
        of_views = {name.removeprefix(VIEWS): columns[name] for name in columns if name.startswith(VIEWS)}
        of_layers = {
            name: columns[name] for name in columns if LAYER_SEPARATOR in name and not name.startswith((OBJECTS, VIEWS))
        }
        tables = MapTables(config, columns["features"].shape[1], torch.device(device))
        tables.load({name: column.to(device) for name, column in columns.items() if LAYER_SEPARATOR not in name})
        return cls.from_tables(
            tables,
            config=config,
            space=space,
            vocabulary=vocabulary,
            revision=revision,
            frame_id=frame_id,
            codec=codec and codec.to(device),
            concepts=concepts,
            layers=SpatialLayers.from_columns(of_layers, config, device),
            objects=ObjectLayer.from_columns(of_objects, config.voxel_size, device),
            views=StoredViews.from_columns(of_views, config),
        )

    def integrate(self, frame: RgbdFrame, segmentation: Segmentation) -> None:
        """Fuse one frame: the mean over all pixels so far, per voxel, of features and colour.

        Args:
            frame: depth, colour, camera and pose.
            segmentation: (C, h, w) features whose grid covers the frame's image; with names, where C scores of
                concepts are meant: other concepts than those of frames so far may be among them.

        Raises:
            InvalidFrameError: "no_depth" (no reading within the configured range), "features"
                (not finite, or not C channels) or "instances" (masks of another size). The map is as it was.
            OvsegError: the features are of another space or kind than the map's, or they are scores of more
                concepts than a map takes. The map is as it was.
        """
        layout = layout_with(self, segmentation)
        features = checked_features(self, segmentation)
        if segmentation.concepts:
            features = layout.encode(features, segmentation.concepts)
        _, *grid = features.shape
        operator = build_fusion_operator(
            frame.depth.to(self.device), frame.intrinsics, frame.pose.to(self.device), (grid[0], grid[1]), self.config
        )
        view = self._eviction.view_of(frame) if self.config.memory_limit or self._eviction.tile_count else None
        if view is not None:
            with self._moving_rows():
                self._eviction.recall_view(view, self._tables, self._layers.occupancy)
        sightings = (
            find_sightings(segmentation.instances, (grid[0], grid[1]), operator, frame.depth)
            if segmentation.instances
            else None
        )
        observation = self._layers.observe(frame, operator.keys)
        if not len(operator.keys) and (observation is None or not len(observation.block_keys)):
            self._trim(view)
            within = " within mapping.region" if self.config.region else ""
            raise InvalidFrameError(
                "no_depth",
                f"the frame has no depth reading between {self.config.min_depth} and {self.config.max_depth} m"
                f"{within}: check the depth topic, its unit and mapping.max_depth",
            )
        codes = self._compression.encode(features)
        sums = VoxelSums(
            keys=operator.keys,
            counts=operator.counts,
            colours=operator.sum_colours(frame.rgb.to(self.device)),
            stamps=torch.full_like(operator.keys, frame.stamp_ns),
            feature_keys=operator.feature_keys,
            feature_counts=operator.feature_counts,
            features=operator.sum_features(codes),
        )
        if layout is not self._concepts:
            self._make_room(layout)
        tables = self._empty_tables(len(codes)) if self.is_empty else self._tables
        tables.add(sums)
        self._tables = tables
        self._space = segmentation.space
        self._revision += 1
        if sightings is not None:
            self._objects.observe(sightings, frame.stamp_ns)
        if observation is not None:
            freed = self._layers.apply(observation, frame, features)
            self._tables.remove(freed)
            self._objects.remove(freed)
        self._tables = self._compression.learn(features, self._tables)
        self._views.observe(frame)
        self._trim(view)

    def empty_copy(self) -> SemanticMap:
        """An empty map with the same settings, words, feature space and frame, on the same device."""
        return SemanticMap(
            self.config, space=self._space, vocabulary=self.vocabulary, device=self.device, frame_id=self.frame_id
        )

    def set_vocabulary(self, vocabulary: Vocabulary) -> None:
        """Calibrate answers and labels against other concepts; the revision grows, features stay."""
        self._vocabulary = vocabulary
        self._revision += 1

    def remove(self, keys: torch.Tensor) -> int:
        """Forget the voxels with these (n,) distinct packed keys, those that are there; returns how many were."""
        keys = keys.to(self.device)
        with self._moving_rows():
            self._eviction.recall_voxels(keys, self._tables, self._layers.occupancy)
        removed = self._tables.remove(keys)
        self._objects.remove(keys)
        self._revision += bool(removed)
        return removed

    def limit_memory(self, megabytes: float) -> None:
        """Change `MappingConfig.memory_limit`; it holds from the next frame on."""
        self.config = replace(self.config, memory_limit=megabytes)

    def parts(self) -> Iterator[SemanticMap]:
        """This map as far as it is in memory, then what is on disk, tile by tile: voxels and occupancy."""
        yield self
        config = replace(self.config, layers=LAYERS[min(LAYERS.index(self.config.layers), 1)])
        for columns in self._tiles():
            yield SemanticMap.from_columns(
                columns,
                config=config,
                space=self._space,
                vocabulary=self.vocabulary,
                revision=self._revision,
                device=self.device,
                frame_id=self.frame_id,
                codec=self.codec,
                concepts=self._concepts,
            )

    def clear(self) -> None:
        """Forget all voxels. The revision grows, so that nothing computed before is taken for current."""
        self._tables = self._empty_tables(0)
        self._concepts = ConceptChannels()
        self._compression = OnlineCompression(self.config.feature_components)
        self._layers = SpatialLayers(self.config, self.device)
        self._objects = ObjectLayer(self.config.voxel_size, self.device)
        self._eviction = Eviction(self.config, self.device)
        self._views = StoredViews(self.config)
        self._revision += 1

    @property
    def vocabulary(self) -> Vocabulary:
        """Concepts that answers are calibrated against, and that labels are chosen from."""
        return self._vocabulary

    @property
    def concepts(self) -> tuple[str, ...]:
        """What features are the scores of, in the order of their channels; empty for language features."""
        return self._concepts.concepts

    @property
    def concept_channels(self) -> ConceptChannels:
        """How scores of concepts are stored, for others in this room."""
        return self._concepts

    def asked_share(self, concept: str) -> float:
        """Share of the feature voxels, on disk too, that were ever asked for a concept; 0 for one that none was."""
        if concept not in self.concepts:
            return 0.0
        asked = rows = 0
        for part in self.parts():
            for chunk in part.tables.feature_chunks():
                asked += int(self._concepts.was_asked(chunk, concept).sum())
                rows += len(chunk)
        return asked / max(1, rows)

    @property
    def space(self) -> str | None:
        """Id of the feature space; None until one is given or a frame brings it."""
        return self._space

    @property
    def revision(self) -> int:
        """Grows with each integrated frame and each other change; kept by save and load."""
        return self._revision

    @property
    def voxel_count(self) -> int:
        """Voxels in memory, N below: all of them unless `MappingConfig.memory_limit` has sent some to disk."""
        return len(self._tables.voxels)

    @property
    def evicted_voxel_count(self) -> int:
        """Voxels on disk."""
        return self._eviction.voxel_count

    @property
    def feature_voxel_count(self) -> int:
        """Voxels that hold a feature, M below: those of the map, or fewer and larger ones."""
        return len(self._tables.features)

    @property
    def keys(self) -> torch.Tensor:
        """(N,) int64 packed voxel indices, in no particular order."""
        return self._tables.voxels.column("keys")

    @property
    def centres(self) -> torch.Tensor:
        """(N, 3) float64 voxel centres in the map frame, metres."""
        return voxel_centres(unpack_keys(self.keys), self.config.voxel_size)

    @property
    def weights(self) -> torch.Tensor:
        """(N,) float32 pixels that each voxel's means are taken over."""
        return self._tables.voxels.column("weights")

    @property
    def colours(self) -> torch.Tensor:
        """(N, 3) uint8 mean red, green, blue."""
        return self._tables.voxels.column("colours").round().to(torch.uint8)

    @property
    def channels(self) -> int:
        """Numbers per feature in the feature space, C below."""
        return self.codec.channels if self.codec else len(self.concepts) or self._tables.channels

    @property
    def codec(self) -> FeatureCodec | None:
        """What features are compressed by; None if they aren't, or not yet."""
        return self._compression.codec

    @property
    def features(self) -> torch.Tensor:
        """(N, C) float32 mean features of the voxels, a copy unless they are stored like that.

        Of scores the means over pixels that were asked for the concept, NaN where none ever was. To go through a large
        map, use `feature_chunks` and `feature_rows`.
        """
        chunks = [self._decoded(chunk) for chunk in self._tables.exact_feature_chunks()]
        features = chunks[0] if len(chunks) == 1 else torch.cat(chunks)
        features = self.codec.decode(features) if self.codec else features
        return features[self.feature_rows] if self.config.feature_block > 1 else features

    def feature_chunks(self) -> Iterator[torch.Tensor]:
        """Views of the stored mean features, block by block: one row for each feature voxel, M in all.

        (n, C), or (n, K) codes of `codec` if there is one; float32, or float16 to 11 bits. Scores are no views: see
        `features`.
        """
        return map(self._decoded, self._tables.feature_chunks())

    @property
    def ray_features(self) -> torch.Tensor:
        """(R, C) float32 mean features of the rays, as `features`; none without that layer."""
        rays = self._layers.rays
        if rays is None or not len(rays):
            return torch.zeros(0, self.channels, device=self.device)
        return self._decoded(rays.features)

    @property
    def feature_rows(self) -> torch.Tensor:
        """(N,) int64: which of the M rows of `feature_chunks` is each voxel's."""
        return self._tables.feature_rows()

    def feature_snapshot(self) -> Snapshot:
        """The state of `feature_chunks`, for `features_changed_since`."""
        return self._tables.features.snapshot()

    def features_changed_since(self, snapshot: Snapshot) -> torch.Tensor | None:
        """(n,) int64 rows of `feature_chunks`, in order, that changed since; None: all of them may have."""
        return self._tables.features.changed_since(snapshot)

    @property
    def last_seen(self) -> torch.Tensor:
        """(N,) int64 newest stamp of a frame that saw the voxel, nanoseconds."""
        return self._tables.voxels.column("last_seen")

    @property
    def layers(self) -> SpatialLayers:
        """Free space, frontiers and rays, as far as `config.layers` has them."""
        return self._layers

    @property
    def objects(self) -> ObjectLayer:
        """Things with an identity, where frames came with instance masks."""
        return self._objects

    @property
    def views(self) -> StoredViews:
        """Pictures of what the map shows, where the settings keep any."""
        return self._views

    @property
    def tables(self) -> MapTables:
        """The storage, for others in this room."""
        return self._tables

    @property
    def columns(self) -> dict[str, torch.Tensor]:
        """All that is stored, by name, on disk too; the inverse of `from_columns`.

        Names of columns of layers, of objects and of views have a dot.
        """
        objects = {OBJECTS + name: column for name, column in self._objects.columns.items()}
        views = {VIEWS + name: column for name, column in self._views.columns.items()}
        columns = self._tables.columns() | self._layers.columns | objects | views
        tiles = list(self._tiles())
        if not tiles:
            return columns
        return {
            name: torch.cat([column, *(tile[name] for tile in tiles if name in tile)])
            for name, column in columns.items()
        }

    @property
    def column_bytes(self) -> int:
        """Memory of all that is stored for the voxels that are in it."""
        return self._tables.column_bytes

    @property
    def is_empty(self) -> bool:
        """Whether there is no voxel, in memory or on disk."""
        return not self.voxel_count and not self.evicted_voxel_count

    def _trim(self, view: torch.Tensor | None) -> None:
        """Send to disk what exceeds the memory limit and isn't in ``view``, (2, 3) cells."""
        # Tiles hold rows as the tables do, so none is written before it is clear whether rows are compressed.
        if view is None or not self.config.memory_limit or self._compression.is_learning:
            return
        with self._moving_rows():
            self._eviction.trim(self.config.memory_limit, view, self._tables, self._layers.occupancy)

    @contextmanager
    def _moving_rows(self) -> Iterator[None]:
        """Around what moves voxels between memory and disk: the revision grows, even if it breaks off."""
        before = self.voxel_count
        try:
            yield
        finally:
            self._revision += self.voxel_count != before

    def _empty_tables(self, channels: int) -> MapTables:
        return MapTables(self.config, channels, self.device)

    def _tiles(self) -> Iterator[dict[str, torch.Tensor]]:
        """The columns of each tile on disk, as wide as those in memory."""
        return (padded(columns, self._tables.channels) for columns in self._eviction.tiles())

    def _decoded(self, stored: torch.Tensor) -> torch.Tensor:
        return self._concepts.decode(stored) if self.concepts else stored

    def _make_room(self, layout: ConceptChannels) -> None:
        """Have columns mean what a longer layout says; either everywhere or, when memory runs out, nowhere."""
        tables = self._empty_tables(layout.columns) if self.is_empty else self._tables.widened(layout.columns)
        layers = self._layers.with_ray_features(partial(layout.move, source=self._concepts))
        self._tables, self._layers, self._concepts = tables, layers, layout
