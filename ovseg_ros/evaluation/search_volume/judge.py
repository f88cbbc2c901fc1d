"""A map at one moment of the search, held against the scene."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from ovseg_ros.evaluation.search_volume.cones import Cone, claimed
from ovseg_ros.evaluation.search_volume.counts import Step, count_step
from ovseg_ros.evaluation.search_volume.settings import SearchSettings
from ovseg_ros.evaluation.search_volume.volume import SceneVolume
from ovseg_ros.mapping import SemanticMap
from ovseg_ros.query.feature_index import FeatureIndex
from ovseg_ros.query.map_index import space_of
from ovseg_ros.types import LanguageSpace


@dataclass(frozen=True)
class Moment:
    """What a map says of V cells of a scene, and its R rays.

    Attributes:
        observed: (V,) bool: of which cells it knows anything.
        answers: (V,) int64 label ids of its voxels, 0 for none.
        origins: (R, 3) float64 metres.
        directions: (R, 3) float64 of unit length.
        labels: (R,) int64 label ids of the rays, 0 for none.
    """

    observed: torch.Tensor
    answers: torch.Tensor
    origins: torch.Tensor
    directions: torch.Tensor
    labels: torch.Tensor


@dataclass(frozen=True)
class Judge:
    """What all moments of a scene's search share.

    Attributes:
        volume: V cells, and what is truly there.
        class_names: K names.
        settings: of the run.
    """

    volume: SceneVolume
    class_names: tuple[str, ...]
    settings: SearchSettings

    def moment(self, semantic_map: SemanticMap, space: LanguageSpace) -> Moment:
        """A map with rays as it is now, its features named as the protocol says."""
        occupancy, rays = semantic_map.layers.occupancy, semantic_map.layers.rays
        assert occupancy is not None and rays is not None
        order = semantic_map.keys.argsort()
        labels = self._labels(semantic_map.features[order], semantic_map, space)
        return Moment(
            observed=self.volume.observed(occupancy),
            answers=self.volume.answers(semantic_map.keys[order], labels),
            origins=rays.origins,
            directions=rays.directions,
            labels=self._labels(semantic_map.ray_features, semantic_map, space),
        )

    def step(self, moment: Moment, cone: Cone, frames: int) -> Step:
        """Compare a moment, after so many frames, with the truth."""
        rays = torch.bincount(moment.labels, minlength=len(self.class_names) + 1)[1:].cpu().numpy()
        claims = self._claims(moment, cone)
        return count_step(self.volume, frames, moment.observed, moment.answers, claims, rays)

    def _claims(self, moment: Moment, cone: Cone) -> Iterator[tuple[int, torch.Tensor]]:
        """Class by class of those with rays, which of the cells that aren't observed it is searched for in."""
        places = self.volume.centres[~moment.observed]
        for label in torch.unique(moment.labels[moment.labels > 0]).tolist():
            chosen = moment.labels == label
            votes = cone.votes(places, moment.origins[chosen], moment.directions[chosen])
            yield label - 1, claimed(votes, self.settings.search.threshold)

    def _labels(self, features: torch.Tensor, semantic_map: SemanticMap, space: LanguageSpace) -> torch.Tensor:
        """(N, C) features of a map -> (N,) int64 label ids, as the protocol chooses them."""
        labelling, words = self.settings.rules.labelling, self.settings.rules.words
        space = space_of(semantic_map, space)
        texts = words.encode(space, self.class_names).to(semantic_map.device)
        index = FeatureIndex([features], space, (), semantic_map.device)
        cosines = torch.cat([texts.new_zeros(len(texts), 0), *index.cosines(texts)], dim=1).T
        ignored = self.settings.ignoring.ignored(self.class_names, self.settings.dataset.background)
        scored = np.array([name not in ignored for name in self.class_names], dtype=np.bool_)
        allowed = labelling.allowed(scored, self.volume.present)
        return torch.from_numpy(labelling.labels(cosines, allowed, space.logit_scale)).long().to(cosines.device)
