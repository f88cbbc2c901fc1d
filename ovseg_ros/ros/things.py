"""The things of a session's map, with boxes and identities, found anew when the map has changed. No ROS in here."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ovseg_ros.errors import OvsegError
from ovseg_ros.mapping import MapObject, SemanticMap
from ovseg_ros.query import (
    ClusteredObjects,
    LabelledVoxels,
    ThingView,
    best_views,
    check_has_views,
    has_instances,
    labelled_voxels,
)
from ovseg_ros.query.calibration import MAX_QUERY_LENGTH
from ovseg_ros.referring import (
    Answer,
    Boxes,
    MapScene,
    Search,
    Viewpoint,
    find_in_views,
    parse_request,
    resolve,
    to_verify,
    verify_answer,
)
from ovseg_ros.referring.answers import FrameOfReference, Status
from ovseg_ros.ros.session import MapSession
from ovseg_ros.ros.snapshots import newest_stamp
from ovseg_ros.types import LanguageSpace
from ovseg_ros.vocabulary import normalise, singular

SHOWN_NAMES = 12


@dataclass(frozen=True)
class ThingsSnapshot:
    """The things of a map at one moment.

    Attributes:
        scene: N things, ready to be referred to.
        revision: of the map.
        frame_id: the map's frame.
        stamp_ns: of the newest frame.
    """

    scene: MapScene
    revision: int
    frame_id: str
    stamp_ns: int

    @property
    def things(self) -> tuple[MapObject, ...]:
        """By rising id."""
        return self.scene.things

    @property
    def boxes(self) -> Boxes:
        """Theirs."""
        return self.scene.boxes

    def named(self, labels: Sequence[str]) -> tuple[int, ...]:
        """Places in `things` of those with one of these names; without names, of all but walls, floors and the like.

        Raises:
            OvsegError: nothing has one of the names.
        """
        if not labels:
            return tuple(np.flatnonzero(~self.scene.is_structure).tolist())
        present = {normalise(thing.label) for thing in self.things}
        wanted = set()
        for label in labels:
            name = next((word for word in (normalise(label), singular(normalise(label))) if word in present), None)
            if name is None:
                shown = ", ".join(sorted(present)[:SHOWN_NAMES]) or "none at all"
                raise OvsegError(f"no object is called {label[:60]!r}; there are {shown}: ask ~/query for other words")
            wanted.add(name)
        return tuple(i for i, thing in enumerate(self.things) if normalise(thing.label) in wanted)


@dataclass(frozen=True)
class FoundInViews:
    """What came of looking for an expression in the pictures of a map, as it was at one moment.

    Attributes:
        search: the place, and how many pictures were looked at.
        revision: of the map.
        frame_id: the map's frame.
        stamp_ns: of the newest frame.
    """

    search: Search
    revision: int
    frame_id: str
    stamp_ns: int


class MapThings:
    """Finds the things of sessions; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._clusters = ClusteredObjects()
        self._state: tuple[MapSession, int, int] | None = None
        self._snapshot: ThingsSnapshot | None = None
        self._places: Mapping[str, Boxes] = {}

    def name_places(self, places: Mapping[str, Boxes]) -> None:
        """Let sentences speak of these, and of no others: name in lower case -> boxes."""
        with self._lock:
            self._places = places
            self._snapshot = None

    def snapshot(self, session: MapSession) -> ThingsSnapshot:
        """The things of the map as it is now."""
        with self._lock:
            state = (session, session.generation, session.revision)
            if self._snapshot is None or self._state != state:
                # Clusters are found outside the map's lock: it takes longer than a frame may wait.
                voxels = session.read(_voxels)
                things = self._clusters.update(voxels) if voxels else None
                places = self._places
                self._snapshot = session.read(
                    lambda semantic_map, space: _snapshot(semantic_map, space, things, places)
                )
                self._state = state
            return self._snapshot

    def refer(
        self, session: MapSession, sentence: str, viewpoint: Viewpoint | None, *, verify: bool = False
    ) -> tuple[Answer, ThingsSnapshot]:
        """Which things a sentence means; a sentence that isn't understood is answered, too.

        Raises:
            OvsegError: with ``verify`` the map keeps no pictures, or the model can't look anything up.
        """
        snapshot = self.snapshot(session)
        try:
            answer = resolve(parse_request(sentence), snapshot.scene, viewpoint)
        except OvsegError as error:
            return Answer(None, Status.NOT_UNDERSTOOD, (), FrameOfReference.NONE, str(error)), snapshot
        return (_verified(session, answer, snapshot) if verify else answer), snapshot

    def find_in_views(self, session: MapSession, expression: str) -> FoundInViews:
        """Where a model sees what an expression means; it looks at the pictures while the map may change.

        Raises:
            OvsegError: the expression is empty or too long, the map keeps no pictures, or the model can't do that.
        """
        if not 1 <= len(expression.strip()) <= MAX_QUERY_LENGTH:
            raise OvsegError(
                f"an expression needs 1 to {MAX_QUERY_LENGTH} characters, got {len(expression.strip())}: "
                "say what you look for"
            )
        views, config, revision, frame_id, stamp_ns = session.read(
            lambda m, _: (list(m.views), m.config, m.revision, m.frame_id, newest_stamp(m))
        )
        return FoundInViews(find_in_views(views, session.referrer(), expression, config), revision, frame_id, stamp_ns)


def _verified(session: MapSession, answer: Answer, snapshot: ThingsSnapshot) -> Answer:
    """The answer, looked up in the map's pictures; the model runs while the map may change."""
    places = to_verify(answer)
    if not places:
        return answer
    referrer = session.referrer()

    def views(semantic_map: SemanticMap, _: LanguageSpace) -> dict[int, tuple[ThingView, ...]]:
        check_has_views(semantic_map)
        return {place: best_views(semantic_map, snapshot.things[place].keys) for place in places}

    return verify_answer(answer, session.read(views), referrer)


def _voxels(semantic_map: SemanticMap, space: LanguageSpace) -> LabelledVoxels | None:
    return None if has_instances(semantic_map) else labelled_voxels(semantic_map, space)


def _snapshot(
    semantic_map: SemanticMap,
    space: LanguageSpace,
    things: Sequence[MapObject] | None,
    places: Mapping[str, Boxes],
) -> ThingsSnapshot:
    found = tuple(semantic_map.objects) if things is None else things
    scene = MapScene(semantic_map, space, found, places)
    return ThingsSnapshot(scene, semantic_map.revision, semantic_map.frame_id, newest_stamp(semantic_map))
