"""SAM 3's tracker from transformers, fed by our detector, with a memory that doesn't grow.

This module needs transformers to be imported; whoever may do without imports it late.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from transformers import Sam3VideoModel
from transformers.models.sam3_video.modeling_sam3_video import Sam3VideoInferenceSession

from ovseg_ros.segmentation.sam3.concepts import Concepts
from ovseg_ros.segmentation.sam3.detection import Sighting

USED_LATER = ("object_pointer", "maskmem_features", "maskmem_pos_enc")
"""What later images read of an object's output; its masks are for its own image alone."""

SURE = 1e-6
"""Probabilities this near to 0 or 1 are told to the tracker as such: logits must be finite."""


class TrackingModel(Sam3VideoModel):  # type: ignore[misc]
    """`Sam3VideoModel` that is told what to follow by our detector.

    Its own leaves out what the geometry encoder says where there are no boxes, asks for one prompt after the other,
    and takes the suppression of repeated masks from code that is downloaded while it runs.
    """

    def run_detection(
        self, inference_session: TrackingSession, vision_embeds: Any
    ) -> dict[int, dict[str, torch.Tensor]]:
        """Called by transformers for each image; by index of concept, so that synonyms make no second track."""
        seen = inference_session.seen = inference_session.look(vision_embeds)
        entries = inference_session.concepts.entries
        return {index: _told(seen[index]) for index, concept in enumerate(entries) if concept.countable}


class TrackingSession(Sam3VideoInferenceSession):  # type: ignore[misc]
    """What the tracker knows of one stream of images.

    After `forget` there are, of each object, at most as many conditioning images as the tracker attends to, the
    memories of the last ``num_maskmem`` - 1 images, and the pointers of ``max_object_pointers_in_encoder`` - 1.

    Attributes:
        concepts: what is looked for.
        seen: what was found of each in the newest image.
    """

    def __init__(
        self, concepts: Concepts, look: Callable[[Any], list[Sighting]], model: TrackingModel, first_track: int
    ) -> None:
        """An empty stream.

        Args:
            concepts: what to look for; those that are countable are followed.
            look: from what the vision encoder gave to a Sighting for each concept.
            model: which will be called with this session.
            first_track: id of the first object found.
        """
        places = dict.fromkeys(("inference_device", "inference_state_device", "video_storage_device"), model.device)
        super().__init__(**places, dtype=model.dtype)
        self.concepts = concepts
        self.look = look
        self.seen: list[Sighting] = []
        self.max_obj_id = first_track - 1
        self._images = 0
        tracker = model.config.tracker_config
        self._memories = tracker.num_maskmem - 1
        self._pointers = tracker.max_object_pointers_in_encoder - 1
        self._conditions = max(tracker.max_cond_frame_num, 1)

    @property
    def num_frames(self) -> int:
        """Images so far: the tracker looks back by their number, and would else want the images themselves."""
        return self._images

    def add_new_frame(self, pixel_values: torch.Tensor, frame_idx: int | None = None) -> int:
        """Called by transformers with (1, 3, side, side); only the newest image is kept."""
        index = self._images
        self.processed_frames = {index: pixel_values[0]}
        self._images += 1
        return index

    def drop_lost(self) -> None:
        """Stop following what went unconfirmed for too long. Of a stream, transformers alone would drop nothing."""
        for track in [track for track, alive in self.trk_keep_alive.items() if alive <= 0]:
            self.remove_object(track)
            for of_track in (
                self.trk_keep_alive,
                self.obj_first_frame_idx,
                self.obj_id_to_score,
                self.obj_id_to_last_occluded,
            ):
                of_track.pop(track, None)

    def forget(self) -> None:
        """Drop what no later image reads."""
        self.seen = []
        self.processed_frames = {}
        self.cache.clear_all()
        for of_image in (*self.mask_inputs_per_obj.values(), *self.frames_tracked_per_obj.values()):
            of_image.clear()
        for outputs in self.output_dict_per_obj.values():
            self._forget_conditions(outputs["cond_frame_outputs"])
            self._forget_others(outputs["non_cond_frame_outputs"])
        for diary in (
            self.obj_id_to_tracker_score_frame_wise,
            self.unmatched_frame_inds,
            self.overlap_pair_to_frame_inds,
            self.suppressed_obj_ids,
        ):
            diary.clear()

    def _forget_conditions(self, outputs: dict[int, dict[str, torch.Tensor]]) -> None:
        newest = self._images - 1
        if newest in outputs:
            # A memory is a view into those of all objects, which would all stay with it.
            outputs[newest] = {name: outputs[newest][name].clone() for name in USED_LATER}
        for image in sorted(outputs)[: -self._conditions]:
            del outputs[image]

    def _forget_others(self, outputs: dict[int, dict[str, torch.Tensor]]) -> None:
        for image in list(outputs):
            age = self._images - 1 - image
            names = USED_LATER if age < self._memories else USED_LATER[:1]
            if age < self._pointers:
                outputs[image] = {name: outputs[image][name] for name in names}
            else:
                del outputs[image]


def _told(sighting: Sighting) -> dict[str, torch.Tensor]:
    """A sighting as transformers' detector puts it; boxes are passed on, and read by nothing."""
    return {
        "mask": torch.logit(sighting.masks, eps=SURE),
        "scores": sighting.scores,
        "bbox": sighting.scores.new_zeros(len(sighting.scores), 4),
    }
