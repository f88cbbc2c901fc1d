"""The services of mapping_node. Whatever happens inside, every request gets success or one sentence."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from rclpy.callback_groups import CallbackGroup, MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from std_srvs.srv import Trigger

from ovseg_ros.errors import OvsegError
from ovseg_ros.query import GoalConfig, look_again
from ovseg_ros.query.pictures import QUERY
from ovseg_ros.ros.answers import Answers
from ovseg_ros.ros.declarations import Service
from ovseg_ros.ros.interfaces import (
    Candidate,
    FindInViews,
    GetObjects,
    Locate,
    MapFile,
    QueryImage,
    QueryMap,
    Refer,
    SetVocabulary,
)
from ovseg_ros.ros.messages import (
    found_message,
    header_message,
    match_messages,
    object_message,
    place_message,
    pose_message,
    ray_match_messages,
)
from ovseg_ros.ros.node_parameters import Parameters
from ovseg_ros.ros.parameters import MAX_MATCHES
from ovseg_ros.ros.publishers import MapPublishers
from ovseg_ros.ros.robot import RobotPositions
from ovseg_ros.ros.session import MapSession
from ovseg_ros.ros.things import MapThings
from ovseg_ros.sensor_messages.images import image_to_rgb


class MapServices:
    """Offers `SERVICES`.

    Args:
        node: the node that offers them.
        parameters: of the node; they hold the defaults of a request.
        session: gives what a configured node works with, or raises an OvsegError that says why there is none.
        publishers: take the heatmap of a query.
        things: finds the things of a session.
        group: callback group of the services; those that are slow have one each.
    """

    def __init__(
        self,
        node: Node,
        parameters: Parameters,
        session: Callable[[], MapSession],
        publishers: MapPublishers,
        things: MapThings,
        group: CallbackGroup,
    ) -> None:
        self._node = node
        self._parameters = parameters
        self._session = session
        self._publishers = publishers
        self._things = things
        self._robot = RobotPositions(node, parameters)
        for name, service in SERVICES.items():
            answer = self._answering(partial(service.work, self))
            own = MutuallyExclusiveCallbackGroup() if service.slow else group
            node.create_service(service.kind, f"~/{name}", answer, callback_group=own)

    def _answering(self, work: Callable[[MapSession, Any, Any], str]) -> Callable[[Any, Any], Any]:
        """A service callback that puts the sentence ``work`` returns, or the reason it failed, into the response."""

        def callback(request: Any, response: Any) -> Any:
            try:
                session = self._session()
                if hasattr(response, "map_revision"):
                    response.map_revision = int(session.revision)  # a refused request is told it, too
                response.message = work(session, request, response)
                response.success = True
            except OvsegError as error:
                response.success, response.message = False, str(error)
            except Exception as error:  # a caller must hear of a defect of ours, too
                self._node.get_logger().error(traceback.format_exc())
                response.success = False
                response.message = f"the request failed with {error!r}, a defect of ovseg_ros: please report it"
            return response

        return callback

    def _query(self, session: MapSession, request: Any, response: Any) -> str:
        queries = [str(query) for query in request.queries]
        answers = session.ask(queries, **self._limits(request))
        response.map_revision = int(answers.revision)
        response.matches = match_messages(answers.matches, answers.frame_id, answers.stamp_ns)
        response.rays = ray_match_messages(answers.rays, answers.frame_id, answers.stamp_ns)
        if request.publish_heatmap:
            self._publishers.publish_heatmap(session.scored_cloud(queries[0]))
        return summary(queries, answers)

    def _query_image(self, session: MapSession, request: Any, response: Any) -> str:
        region = request.region
        left, top, width, height = (int(v) for v in (region.x_offset, region.y_offset, region.width, region.height))
        answers = session.ask_picture(
            image_to_rgb(request.image),
            (left, top, left + width, top + height) if width and height else None,
            **self._limits(request),
        )
        response.map_revision = int(answers.revision)
        response.matches = match_messages(answers.matches, answers.frame_id, answers.stamp_ns)
        return summary([QUERY], answers)

    def _limits(self, request: Any) -> dict[str, Any]:
        """Those of a question, or the node's defaults."""
        parameters = self._parameters
        return {
            "min_score": _or_default(request.min_score, parameters["query.min_score"], "min_score", 1.0),
            "max_matches": int(
                _or_default(request.max_matches, parameters["query.max_matches"], "max_matches", MAX_MATCHES)
            ),
        }

    def _get_objects(self, session: MapSession, request: Any, response: Any) -> str:
        snapshot = self._things.snapshot(session)
        response.map_revision = int(snapshot.revision)
        header = header_message(snapshot.frame_id, snapshot.stamp_ns)
        places = snapshot.named([str(label) for label in request.labels])
        response.objects = [object_message(snapshot.scene, i, header) for i in places]
        return f"{len(places)} object{'' if len(places) == 1 else 's'}"

    def _refer(self, session: MapSession, request: Any, response: Any) -> str:
        limit = int(
            _or_default(request.max_candidates, self._parameters["query.max_matches"], "max_candidates", MAX_MATCHES)
        )
        viewpoint = self._robot.viewpoint(request.viewpoint)
        answer, snapshot = self._things.refer(
            session, str(request.sentence), viewpoint, verify=self._parameters["refer.verify"]
        )
        response.map_revision = int(snapshot.revision)
        response.status, response.frame, response.count = answer.status.value, answer.frame.value, answer.count
        if answer.request is None:
            raise OvsegError(answer.message)
        header = header_message(snapshot.frame_id, snapshot.stamp_ns)

        def thing(place: int) -> Any:
            return object_message(snapshot.scene, place, header)

        response.candidates = [
            Candidate(
                object=thing(candidate.index),
                score=float(candidate.score),
                relations=[support.relation for support in candidate.support for _ in support.anchors],
                anchors=[thing(place) for support in candidate.support for place in support.anchors],
            )
            for candidate in answer.candidates[:limit]
        ]
        self._publishers.publish_answer(response.candidates, header)
        return answer.message

    def _find_in_views(self, session: MapSession, request: Any, response: Any) -> str:
        found = self._things.find_in_views(session, expression := str(request.expression))
        response.map_revision = int(found.revision)
        response.view_count, response.mask_count = int(found.search.frames), int(found.search.masks)
        header = header_message(found.frame_id, found.stamp_ns)
        if found.search.place is None:
            self._publishers.publish_answer([], header)
            return f"no place in the map's pictures is {expression!r} in most of them"
        response.found = True
        response.object = place_message(found.search.place, expression, header)
        self._publishers.publish_answer([Candidate(object=response.object, score=response.object.score)], header)
        return "found"

    def _set_vocabulary(self, session: MapSession, request: Any, response: Any) -> str:
        concepts = [str(concept) for concept in request.concepts]
        response.map_revision = int(session.set_vocabulary(concepts))
        return f"{len(concepts)} concept{'' if len(concepts) == 1 else 's'} from now on"

    def _locate(self, session: MapSession, request: Any, response: Any) -> str:
        parameters = self._parameters
        config = GoalConfig(
            clearance=parameters["locate.clearance"],
            min_distance=parameters["locate.min_distance"],
            max_distance=parameters["locate.max_distance"],
            camera_height=parameters["locate.camera_height"],
            robot_height=parameters["locate.robot_height"],
        )
        robot = self._robot.position(request.robot)
        answer = session.locate(str(request.query), robot, config, min_score=parameters["query.min_score"])
        response.map_revision = int(answer.revision)
        if answer.found is not None:
            response.match = found_message(answer.found, answer.frame_id, answer.stamp_ns)
        if answer.located is None:
            raise OvsegError(answer.sentence)
        # A goal without a stamp is always as new as the newest transform.
        response.goal = pose_message(answer.located.pose, header_message(answer.frame_id, 0))
        return answer.sentence

    def _save(self, session: MapSession, request: Any, response: Any) -> str:
        revision, count = session.save(request.path)
        response.map_revision, response.voxel_count = int(revision), int(count)
        return f"saved {count} voxels to {request.path}"

    def _load(self, session: MapSession, request: Any, response: Any) -> str:
        revision, count = session.load(request.path)
        response.map_revision, response.voxel_count = int(revision), int(count)
        return f"loaded {count} voxels from {request.path}"

    def _clear(self, session: MapSession, _request: Any, _response: Any) -> str:
        return f"cleared {session.clear()} voxels"


SERVICES = {
    "query": Service(
        QueryMap,
        MapServices._query,
        "Words → matches with score, position, size, voxel count; with `mapping.layers: rays` also directions to "
        "what is out of range.",
    ),
    "query_image": Service(
        QueryImage,
        MapServices._query_image,
        "A picture, or a box in one → what in the map looks like it; not of maps of scores of concepts.",
    ),
    "get_objects": Service(
        GetObjects, MapServices._get_objects, "The things in the map with ids, names and boxes, all or those named."
    ),
    "refer": Service(
        Refer,
        MapServices._refer,
        "Which things a sentence means: `the mug left of the laptop on the desk`, `how many chairs are near the door`.",
        slow=True,
    ),
    "find_in_views": Service(
        FindInViews,
        MapServices._find_in_views,
        "An expression → the place that a model (`refer.model`) marks in most of the pictures that the map keeps "
        "(`mapping.views`).",
        slow=True,
    ),
    "locate": Service(
        Locate,
        MapServices._locate,
        "Where to stand to face something: a goal on free ground that Nav2's NavigateToPose takes, or the reason why "
        "there is none; needs `mapping.layers: occupancy`.",
    ),
    "set_vocabulary": Service(
        SetVocabulary,
        MapServices._set_vocabulary,
        "What to look for and label from now on, each concept with further words: `sofa, couch`.",
    ),
    "save_map": Service(MapFile, MapServices._save, "Write the map to one `.ovmap` file, atomically."),
    "load_map": Service(MapFile, MapServices._load, "Take the map of a file in place of the present one."),
    "clear_map": Service(Trigger, MapServices._clear, "Forget everything."),
}
"""Private service -> what it is."""


def summary(queries: Sequence[str], answers: Answers) -> str:
    """One sentence about the answers: what wasn't found or only seen far off, or how many matches there are.

    And what less than all of the map was asked for.
    """
    if not (answers.voxel_count or answers.rays):
        return "the map is empty: no frame has been integrated yet (see /diagnostics)"
    found, beyond = ({match.query for match in matches} for matches in (answers.matches, answers.rays))
    absent = [query for query in queries if query not in found]
    if absent:
        far = [query for query in absent if query in beyond]
        parts = [f"no match for {_quoted(absent)}", f"beyond depth range was seen {_quoted(far)}" if far else ""]
    else:
        parts = [f"{len(answers.matches)} match{'' if len(answers.matches) == 1 else 'es'}"]
    return "; ".join(filter(None, [*parts, look_again(answers.partly_asked)]))


def _quoted(queries: Sequence[str]) -> str:
    return ", ".join(f"'{query}'" for query in queries)


def _or_default(value: float, default: float, name: str, limit: float) -> float:
    """``value`` of a request, or the node's default where it is 0.

    Raises:
        OvsegError: when it is outside 0..limit.
    """
    if not 0 <= value <= limit:
        raise OvsegError(f"{name} must be 0 (the node's default) to {limit:g}, got {value:g}")
    return value or default
