"""A segmenter and the map it fills, safe to use from several threads. No ROS in here."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from ovseg_ros.errors import OvsegError
from ovseg_ros.mapping import MappingConfig, SemanticMap, storage
from ovseg_ros.query import (
    GoalConfig,
    NoGoalError,
    ask,
    ask_picture,
    ask_rays,
    label_voxels,
    locate,
    look_at,
    partly_asked,
    score_voxels,
    space_of,
)
from ovseg_ros.ros.answers import Answers, GoalAnswer, LabelledCloud, ScoredCloud
from ovseg_ros.ros.snapshots import LabelledImage, as_array, newest_stamp
from ovseg_ros.segmentation import PixelLabeller, referrer_of
from ovseg_ros.types import (
    ConceptSpace,
    InvalidFrameError,
    LanguageSpace,
    PromptedSegmenter,
    Referrer,
    RgbdFrame,
    Segmentation,
    Segmenter,
    segment,
)
from ovseg_ros.vocabulary import GENERIC_NEGATIVES, Vocabulary

View = TypeVar("View")


@dataclass(frozen=True)
class _Newest:
    """The last frame that reached the map, and what the model saw in it."""

    frame: RgbdFrame
    segmentation: Segmentation
    camera_frame: str


@dataclass(frozen=True)
class _Labeller:
    """Labels images that were asked for ``concepts`` with the names of ``vocabulary``."""

    concepts: tuple[str, ...]
    vocabulary: Vocabulary
    label: PixelLabeller


class MapSession:
    """What a configured node works with.

    The lock guards the map alone: it is held while a frame is fused or the map is read, never while the
    segmenter runs, so that questions are answered between two frames.

    Args:
        backend: makes features of images and knows the words.
        config: of the map.
        device: of the map.
        frame_id: frame in which the map is kept.
        referrer: finds expressions in images; the backend by default.
    """

    def __init__(
        self,
        backend: Segmenter,
        config: MappingConfig,
        *,
        device: str,
        frame_id: str,
        referrer: Referrer | None = None,
    ) -> None:
        self._backend = backend
        self._referrer = referrer
        self._device = device
        self._lock = threading.Lock()
        self._vocabulary_lock = threading.Lock()
        self._generation = 0
        self._vocabularies = 0
        self._newest: _Newest | None = None
        self._labeller: _Labeller | None = None
        self._map = SemanticMap(
            config, space=backend.space.id, vocabulary=backend.vocabulary, device=device, frame_id=frame_id
        )

    @property
    def voxel_count(self) -> int:
        """Voxels in memory."""
        return self._map.voxel_count

    @property
    def evicted_voxel_count(self) -> int:
        """Voxels on disk."""
        return self._map.evicted_voxel_count

    @property
    def revision(self) -> int:
        """Revision of the map."""
        return self._map.revision

    @property
    def generation(self) -> int:
        """Grows whenever `clear` or `load` puts another map in place; a loaded map may repeat a revision."""
        return self._generation

    @property
    def outlook(self) -> tuple[int, int]:
        """Changes when a place that was seen before is worth another look: the map or what is looked for is another."""
        return self._generation, self._vocabularies

    @property
    def map_bytes(self) -> int:
        """Memory of the map's voxels, without the room kept for more."""
        return self._map.column_bytes

    @property
    def gpu_bytes(self) -> int | None:
        """GPU memory that this process keeps for model and map; None on the CPU."""
        return torch.cuda.memory_reserved(self._device) if torch.device(self._device).type == "cuda" else None

    def integrate(
        self, frame: RgbdFrame, stage: Callable[[str, float], None], *, generation: int, camera_frame: str = ""
    ) -> None:
        """Segment and fuse one frame.

        Args:
            frame: the frame.
            stage: told the name and the seconds of each step.
            generation: `generation` when the frame was taken.
            camera_frame: name of the camera's frame, for what is published of the image.

        Raises:
            InvalidFrameError: the map is as it was; "cleared" when the frame is of a generation gone by.
            OvsegError: the map is as it was.
        """
        self._check_generation(generation)
        start = time.perf_counter()
        segmentation = segment(self._backend, frame)
        segmented = time.perf_counter()
        stage("segment", segmented - start)
        with self._lock:
            self._check_generation(generation)
            self._map.integrate(frame, segmentation)
            self._newest = _Newest(frame, segmentation, camera_frame)
        stage("integrate", time.perf_counter() - segmented)

    def ask(self, queries: Sequence[str], *, min_score: float, max_matches: int) -> Answers:
        """Where in the map, and where beyond, is each of ``queries``; see `ask` and `ask_rays` of `ovseg_ros.query`."""
        space, asked = self._backend.space, list(queries)
        with self._lock:
            matches = ask(self._map, space, asked, min_score=min_score, max_matches=max_matches)
            rays = ask_rays(self._map, space, asked, min_score=min_score, max_matches=max_matches)
            return Answers(
                revision=self._map.revision,
                voxel_count=self._voxels_in_all(),
                frame_id=self._map.frame_id,
                stamp_ns=newest_stamp(self._map),
                matches=tuple(matches),
                rays=rays,
                partly_asked=partly_asked(self._map, asked),
            )

    def ask_picture(self, rgb: np.ndarray, box: Sequence[int] | None, *, min_score: float, max_matches: int) -> Answers:
        """Where in the map it looks like (H, W, 3) uint8, or a box of it; see `ovseg_ros.query.look_at`."""
        picture = look_at(self._backend, torch.from_numpy(rgb), box)
        with self._lock:
            matches = ask_picture(self._map, self._backend.space, picture, min_score=min_score, max_matches=max_matches)
            return Answers(
                revision=self._map.revision,
                voxel_count=self._voxels_in_all(),
                frame_id=self._map.frame_id,
                stamp_ns=newest_stamp(self._map),
                matches=matches,
                rays=(),
            )

    def locate(self, query: str, robot: Sequence[float] | None, config: GoalConfig, *, min_score: float) -> GoalAnswer:
        """Where should the robot stand to face ``query``; see `ovseg_ros.query.locate`."""
        with self._lock:
            state = self._map.revision, self._map.frame_id, newest_stamp(self._map)
            try:
                located = locate(self._map, self._backend.space, query, robot, config, min_score=min_score)
            except NoGoalError as refusal:
                return GoalAnswer(*state, refusal.found, None, str(refusal))
            return GoalAnswer(*state, located.found, located, located.sentence)

    def scored_cloud(self, query: str) -> ScoredCloud:
        """The score of ``query`` in every voxel that is in memory."""
        with self._lock:
            scores = score_voxels(self._map, self._backend.space, [query])[0]
            return ScoredCloud(
                as_array(self._map.centres), as_array(scores), self._map.frame_id, newest_stamp(self._map)
            )

    def labelled_cloud(self) -> LabelledCloud:
        """Every voxel that is in memory with the likeliest concept of the map's vocabulary."""
        with self._lock:
            labels, confidence = label_voxels(self._map, self._backend.space)
            return LabelledCloud(
                centres=as_array(self._map.centres),
                colours=as_array(self._map.colours),
                labels=as_array(labels).astype(np.uint16),
                confidence=as_array(confidence).astype(np.float32),
                frame_id=self._map.frame_id,
                stamp_ns=newest_stamp(self._map),
            )

    def labelled_image(self) -> LabelledImage | None:
        """The newest frame in the map; None before the first, or without a vocabulary."""
        newest, vocabulary = self._newest, self._map.vocabulary
        names = vocabulary.names
        if newest is None or not names:
            return None
        concepts, labeller = newest.segmentation.concepts, self._labeller
        if labeller is None or (labeller.concepts, labeller.vocabulary) != (concepts, vocabulary):
            space = self._backend.space
            if concepts and isinstance(space, ConceptSpace):
                space = space.for_concepts(concepts, vocabulary)
            labeller = _Labeller(concepts, vocabulary, PixelLabeller(space, names, vocabulary))
            self._labeller = labeller
        rgb = newest.frame.rgb
        labels = labeller.label(newest.segmentation, rgb.shape[0], rgb.shape[1]).labels
        return LabelledImage(as_array(rgb), as_array(labels), names, newest.camera_frame, newest.frame.stamp_ns)

    def set_vocabulary(self, concepts: Sequence[str]) -> int:
        """Look for other concepts from the next image on, and label and ask the map by them.

        A map of language features holds all concepts already: its labels and answers change at once.

        Args:
            concepts: each with further words for it, such as "sofa, couch".

        Returns:
            Revision of the map.

        Raises:
            OvsegError: naming what is wrong with the words; nothing has changed.
        """
        vocabulary = Vocabulary.parse(concepts)
        with self._vocabulary_lock:
            self._prepare(vocabulary)
            with self._lock:
                self._map.set_vocabulary(vocabulary)
                self._vocabularies += isinstance(self._backend, PromptedSegmenter)
                return self._map.revision

    def read(self, view: Callable[[SemanticMap, LanguageSpace], View]) -> View:
        """What ``view`` makes of the map and its words, while the map holds still; it must copy what it returns."""
        with self._lock:
            return view(self._map, self._backend.space)

    def referrer(self) -> Referrer:
        """The model that finds expressions in single images; use it without a lock, as `integrate` does.

        Raises:
            OvsegError: it can't do that.
        """
        return self._referrer or referrer_of(self._backend)

    def save(self, path: str) -> tuple[int, int]:
        """Write the map to ``path``; return its revision and number of voxels."""
        file = map_path(path)
        with self._lock:
            storage.save(self._map, file)
            return self._map.revision, self._voxels_in_all()

    def load(self, path: str) -> tuple[int, int]:
        """Take the map in ``path`` in place of the present one; return its revision and number of voxels.

        Its settings come with it, except for the limit on memory: that is this machine's. So do its words: a model
        that finds only what it is told to looks for those from now on.

        Raises:
            OvsegError: the file is refused, or its map belongs to other weights or another frame than ours,
                or its features aren't what these weights make.
                The present map stays.
        """
        loaded = storage.load(map_path(path), self._device)
        if loaded.space is not None and loaded.space != self._backend.space.id:
            raise OvsegError(
                f"the map in {path} was built with {loaded.space!r} but this node runs {self._backend.space.id!r}: "
                "start the node with the backend and weights of the map"
            )
        if loaded.frame_id != self._map.frame_id:
            raise OvsegError(
                f"the map in {path} is kept in frame {loaded.frame_id!r} but this node's frames.map is "
                f"{self._map.frame_id!r}: start the node with frames.map:={loaded.frame_id}"
            )
        self._check_features(loaded, path)
        with self._vocabulary_lock:
            if isinstance(self._backend, PromptedSegmenter) and loaded.vocabulary:
                self._backend.look_for(loaded.vocabulary)
            with self._lock:
                loaded.limit_memory(self._map.config.memory_limit)
                self._map = loaded
                self._newest = None
                self._generation += 1
                return loaded.revision, loaded.voxel_count

    def clear(self) -> int:
        """Forget all voxels; return how many there were."""
        with self._lock:
            count = self._voxels_in_all()
            self._map.clear()
            self._newest = None
            self._generation += 1
            return count

    def _check_generation(self, generation: int) -> None:
        if generation != self._generation:
            raise InvalidFrameError(
                "cleared", "a frame from before the map was cleared or loaded was dropped: expected, nothing to do"
            )

    def _check_features(self, loaded: SemanticMap, path: str) -> None:
        if not loaded.voxel_count:
            return
        space = space_of(loaded, self._backend.space)
        try:
            feature = torch.zeros(1, loaded.channels, device=loaded.device)
            space.align(feature).cpu() @ space.encode_text(GENERIC_NEGATIVES[:1]).T
        except RuntimeError as error:
            raise OvsegError(
                f"the map in {path} has features of {loaded.channels} channels, which {space.id!r} doesn't "
                "make: the file is damaged or of another program, map again"
            ) from error

    def _prepare(self, vocabulary: Vocabulary) -> None:
        """Have the model take the words; it refuses those that it can't."""
        if isinstance(self._backend, PromptedSegmenter):
            self._backend.look_for(vocabulary)
        else:
            self._backend.space.encode_text([word for group in vocabulary.asked for word in group])

    def _voxels_in_all(self) -> int:
        return self._map.voxel_count + self._map.evicted_voxel_count


def map_path(path: str) -> Path:
    """The file that a request names.

    Raises:
        OvsegError: an empty or relative path: the working directory of a node is nobody's choice.
    """
    file = Path(path).expanduser()
    if not path or not file.is_absolute():
        raise OvsegError(
            f"the path of a map must be absolute, got {path!r}: write for example /home/robot/flat{storage.EXTENSION}"
        )
    return file
