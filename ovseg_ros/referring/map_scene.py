"""The things of a map, ready to be referred to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch

from ovseg_ros.mapping import MapObject, SemanticMap, group_colours, mean_features
from ovseg_ros.meanings import with_synonyms
from ovseg_ros.query import is_structure, map_objects, space_of, upright_box
from ovseg_ros.query.calibration import COLOUR_SHARE, THING_DOUBT
from ovseg_ros.query.colours import Colour, brightened
from ovseg_ros.query.feature_index import FeatureIndex
from ovseg_ros.query.phrases import parse_queries
from ovseg_ros.query.similarity import competitors
from ovseg_ros.referring.expressions import Relation
from ovseg_ros.referring.lexicon import THING
from ovseg_ros.referring.predicates import Pairs, relation
from ovseg_ros.referring.scene import Boxes, Floats
from ovseg_ros.types import LanguageSpace

SUPPORTED = 0.5
"""How far a thing must be on another to be said to stand on it."""

WORTH_NAMING = 0.05
"""Probability from which another name of a thing is told."""


class MapScene:
    """A `Scene` of the things in a map. It copies what it needs, so the map may change afterwards.

    Attributes:
        things: N of them, walls and floors among them.
        is_structure: (N,) which are walls, floors and the like: what "thing" never means, nor any name but theirs.
        boxes: theirs, turned as they are.
        regions: named places.
    """

    def __init__(
        self,
        semantic_map: SemanticMap,
        space: LanguageSpace,
        things: Sequence[MapObject] | None = None,
        regions: Mapping[str, Boxes] | None = None,
    ) -> None:
        """Take the things of a map.

        Args:
            semantic_map: where they are.
            space: the language space that the map's features are of.
            things: None takes those of `map_objects`.
            regions: name of a room or a place -> the boxes that it is made of.

        Raises:
            OvsegError: the space is not the map's.
        """
        self._space = space_of(semantic_map, space)
        self._vocabulary = semantic_map.vocabulary
        self.things = tuple(map_objects(semantic_map, space) if things is None else things)
        self.regions = dict(regions or {})
        self.is_structure = np.array([is_structure(t.label, self._vocabulary) for t in self.things], dtype=bool)
        groups = [thing.keys for thing in self.things]
        found = [upright_box(thing.keys, thing.voxel_size) for thing in self.things]
        self.boxes = Boxes(
            np.array([box.centre for box in found]).reshape(-1, 3),
            np.array([box.size for box in found]).reshape(-1, 3),
            np.array([box.yaw for box in found]),
        )
        # Without a voxel a map doesn't know yet how long its features are.
        means = [mean_features(semantic_map, groups)] if groups else []
        self._index = FeatureIndex(means, self._space, competitors(self._vocabulary), semantic_map.device)
        self._owners, colours = group_colours(semantic_map, groups)
        self._colours = brightened(colours, semantic_map.colours)
        # The voxels that a thing is likely to have: few are weak evidence that there is anything.
        mass = np.array([thing.score * thing.voxel_count for thing in self.things])
        self._evidence = mass / (mass + THING_DOUBT)
        self._fits: dict[str, Floats] = {}

    @cached_property
    def supports(self) -> npt.NDArray[np.int64]:
        """(N,) place in `things` of what each stands or hangs on; -1 where nothing is seen there."""
        if not self.things:
            return np.zeros(0, np.int64)
        on = relation(Pairs.of(self.boxes, self.boxes), Relation.ON, np.zeros((len(self.boxes), 2)))
        np.fill_diagonal(on, 0.0)
        return np.where(on.max(axis=1) >= SUPPORTED, on.argmax(axis=1), -1)

    def label_scores(self, place: int) -> dict[str, float]:
        """The names that a thing may have -> 0..1, its own first, then those that its mean feature resembles."""
        thing = self.things[place]
        resembled = zip(self._vocabulary.names, self._resemblance[:, place].tolist(), strict=True)
        others = {name: score for name, score in resembled if score >= WORTH_NAMING and name not in thing.label_scores}
        return {**thing.label_scores, **dict(sorted(others.items(), key=lambda entry: -entry[1]))}

    @cached_property
    def _resemblance(self) -> Floats:
        """(K, N) 0..1: how likely each of the vocabulary's names is by each thing's mean feature."""
        probabilities = self._index.probabilities(self._vocabulary.asked)
        return np.asarray(probabilities.double().cpu().numpy())

    def fit(self, noun: str) -> Floats:
        """(N,) 0..1: how likely each is what the noun names, by its mean feature and its label, and by its colour.

        Raises:
            OvsegError: the noun is no word of the space.
        """
        if noun not in self._fits:
            self._fits[noun] = self._fit(noun)
        return self._fits[noun]

    def _fit(self, noun: str) -> Floats:
        fit = np.where(self.is_structure, 0.0, self._evidence)
        if noun == THING or not self.things:
            return fit
        (phrase,) = parse_queries(noun, self._vocabulary)
        if phrase.names:
            names = with_synonyms(phrase.names, self._vocabulary, self._space)
            by_feature = self._index.probabilities([names])[0].double().cpu().numpy()
            # What a model called a thing in images says more than the mean of its voxels, with bits of others in it.
            labels = self._vocabulary.labels_of(names)
            by_label = [max(thing.label_scores.get(label, 0.0) for label in labels) for thing in self.things]
            # A wall is meant where it is called one, and never for what its voxels resemble.
            fit = np.maximum(by_feature * ~self.is_structure, by_label) * self._evidence
        return fit * self._coloured(phrase.colour) if phrase.colour else fit

    def _coloured(self, colour: Colour) -> Floats:
        """(N,) 0..1: how far each thing has a colour, by the share of its voxels that do."""
        count = len(self.things)
        voxels = torch.bincount(self._owners, minlength=count).clamp(min=1)
        share = torch.bincount(self._owners, colour.membership(self._colours), minlength=count) / voxels
        return (share / COLOUR_SHARE).clamp(max=1.0).double().cpu().numpy()
