"""SAM 3 on a stream of images: what the image segmenter gives, and things followed from image to image."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ovseg_ros.errors import OvsegError
from ovseg_ros.segmentation.sam3.concepts import Concepts
from ovseg_ros.segmentation.sam3.config import Sam3Config
from ovseg_ros.segmentation.sam3.detection import Sighting, check_colour_image, look
from ovseg_ros.segmentation.sam3.merging import MASK_THRESHOLD, distinct_masks, score_map
from ovseg_ros.segmentation.sam3.network import NEEDS, Sam3Network, load_model
from ovseg_ros.segmentation.sam3.prompts import EncodedPrompts
from ovseg_ros.segmentation.sam3.segmenter import Sam3Segmenter
from ovseg_ros.types import InstanceMask, Segmentation

if TYPE_CHECKING:
    from ovseg_ros.segmentation.sam3.tracking import TrackingModel, TrackingSession


@dataclass(frozen=True)
class _Tracks:
    """Followed things of one concept in one image: (K,) int64 ids, (K, h, w) probabilities, (K,) scores."""

    ids: torch.Tensor
    masks: torch.Tensor
    scores: torch.Tensor

    def distinct(self, overlap: float) -> _Tracks:
        """Without empty masks; of two with a larger intersection over union the older stays. Oldest first."""
        kept = distinct_masks(self.masks, -self.ids.double(), overlap)
        return _Tracks(self.ids[kept], self.masks[kept], self.scores[kept])

    def instances(self, label: str) -> list[InstanceMask]:
        rows = zip(self.masks > MASK_THRESHOLD, self.scores.tolist(), self.ids.tolist(), strict=True)
        return [InstanceMask(mask, score, label, track) for mask, score, track in rows]


class Sam3VideoSegmenter(Sam3Segmenter):
    """Colour images of one moving camera, in order, to scores of the concepts asked for and followed instances.

    A thing is followed by the model's tracker from the image on in which it scores ``new_object_threshold`` (while
    nothing is followed, ``threshold`` will do), and keeps its `InstanceMask.track` until no detection confirms it for
    ``lost_after`` images. Numbers of tracks are never used again. Other concepts or another image size start a new
    stream, with new tracks.

    Only one thread may segment at a time; the vocabulary may change in another.
    """

    follows_one_camera = True

    _model: TrackingModel
    _session: TrackingSession | None = None
    _size: torch.Size | None = None
    _next_track = 0

    @torch.inference_mode()
    def __call__(self, rgb: torch.Tensor) -> Segmentation:
        """Segment the next image.

        Args:
            rgb: (H, W, 3) uint8 on any device.

        Returns:
            As `Sam3Segmenter`, but with followed instances only, oldest first within each concept. The score of one is
            that of the detection it began with times the tracker's probability that it is in view. A concept's score
            at a pixel is at least that of its instances: where the detector misses one, the tracker fills in.

        Raises:
            OvsegError: if it isn't such an image.
        """
        check_colour_image(rgb)
        question = self._question
        concepts = question.concepts
        session = self._session
        # What fails on the way leaves no stream in halves: the next image begins another.
        self._session = None
        if session is None or session.concepts != concepts or self._size != rgb.shape:
            session = self._begin(concepts, question.prompts)
        followed = self._follow(session, rgb)
        features, instances = [], []
        for index, (concept, sighting) in enumerate(zip(concepts.entries, session.seen, strict=True)):
            scores = sighting.score_map
            if index in followed:
                tracks = followed[index].distinct(self._config.mask_overlap)
                instances += tracks.instances(concept.name)
                if len(tracks.ids):
                    scores = torch.maximum(scores, score_map(tracks.masks, tracks.scores))
            features.append(scores)
        session.drop_lost()
        session.forget()
        self._session, self._size = session, rgb.shape
        return Segmentation(torch.stack(features), self._space.id, tuple(instances), concepts.channels)

    def _begin(self, concepts: Concepts, prompts: EncodedPrompts) -> TrackingSession:
        from ovseg_ros.segmentation.sam3.tracking import TrackingSession

        return TrackingSession(
            concepts, partial(_look, self._network, concepts, prompts, self._config), self._model, self._next_track
        )

    def _follow(self, session: TrackingSession, rgb: torch.Tensor) -> dict[int, _Tracks]:
        """One step of the tracker: followed things by index of their concept."""
        before = set(session.obj_ids)
        output = self._model(inference_session=session, frame=self._network.pixels(rgb))
        self._next_track = session.max_obj_id + 1
        concepts: dict[int, list[int]] = {}
        for track in output.obj_id_to_mask:
            concepts.setdefault(session.obj_id_to_prompt_id[track], []).append(track)
        followed = {}
        for index, ids in concepts.items():
            # transformers gives the detection's score in place of the tracker's where a track begins.
            view = [output.obj_id_to_tracker_score[track] if track in before else 1.0 for track in ids]
            scores = [output.obj_id_to_score[track] * share for track, share in zip(ids, view, strict=True)]
            masks = torch.cat([output.obj_id_to_mask[track] for track in ids]).float().sigmoid()
            followed[index] = _Tracks(
                torch.tensor(ids, device=masks.device), masks, torch.tensor(scores, device=masks.device)
            )
        return followed

    def _load_network(self, folder: Path, device: str, dtype: torch.dtype) -> Sam3Network:
        try:
            from ovseg_ros.segmentation.sam3.tracking import TrackingModel
        except ImportError as error:
            raise OvsegError(NEEDS) from error
        if b'"detector_config"' not in (folder / "config.json").read_bytes():
            raise OvsegError(
                f"{folder} holds no tracker, so it is a model for images: set `mode: image`, or give a folder like the "
                "published facebook/sam3"
            )
        model = load_model(TrackingModel, folder, device, dtype)
        model.max_num_objects = self._config.max_objects
        model.new_det_thresh = self._config.new_object_threshold
        model.init_trk_keep_alive = model.max_trk_keep_alive = self._config.lost_after
        # What has left the image counts as unconfirmed, too.
        model.decrease_trk_keep_alive_for_empty_masklets = True
        # Filling holes is the other thing for which transformers downloads code while it runs.
        model.fill_hole_area = 0
        self._model = model
        return Sam3Network(model.detector_model)


def _look(
    network: Sam3Network, concepts: Concepts, prompts: EncodedPrompts, config: Sam3Config, vision: Any
) -> list[Sighting]:
    return look(network, network.image_features(vision), concepts, prompts, config)
