"""MapClient: ask a running mapping_node from an ordinary Python program."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

import numpy as np

from ovseg_ros.errors import OvsegError
from ovseg_ros.ros.interfaces import (
    FindInViews,
    GetObjects,
    Locate,
    MapFile,
    QueryImage,
    QueryMap,
    Refer,
    SetVocabulary,
)

# isort: split
# Only after the guard of interfaces: it has the better words for what is missing.
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import RegionOfInterest
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from ovseg_ros.ros.messages import rgb_message

DISCOVERY_SECONDS = 15.0
ANSWER_SECONDS = 30.0
LOADING_SECONDS = 120.0
RETRY_SECONDS = 2.0

TRANSITIONS = {
    "configure": Transition.TRANSITION_CONFIGURE,
    "activate": Transition.TRANSITION_ACTIVATE,
    "deactivate": Transition.TRANSITION_DEACTIVATE,
    "cleanup": Transition.TRANSITION_CLEANUP,
}


class MapClient:
    """A synchronous client of one mapping_node, with a ROS context of its own. Use it from one thread.

    Every call waits for its service to appear, then for the answer, and raises an OvsegError that names
    the service when either takes too long. An answer with ``success`` false is returned, not raised.

    Args:
        node_name: of the mapping node, with its namespace.

    Example:
        >>> with MapClient() as client:  # doctest: +SKIP
        ...     for match in client.query(["couch"]).matches:
        ...         print(match.position, match.score)
    """

    def __init__(self, node_name: str = "/mapping_node") -> None:
        self.node_name = "/" + node_name.strip("/")
        self._context = Context()
        rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self.node = Node("ovseg_client", context=self._context, use_global_arguments=False)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._clients: dict[str, Any] = {}
        self._status: dict[str, str] | None = None
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 1)

    def query(
        self,
        queries: Sequence[str],
        *,
        min_score: float = 0.0,
        max_matches: int = 0,
        publish_heatmap: bool = False,
        timeout: float = ANSWER_SECONDS,
    ) -> Any:
        """Ask the map; zeros mean the node's defaults. Return a QueryMap response."""
        request = QueryMap.Request(
            queries=[str(query) for query in queries],
            min_score=float(min_score),
            max_matches=int(max_matches),
            publish_heatmap=bool(publish_heatmap),
        )
        return self._call(QueryMap, "query", request, timeout)

    def query_image(
        self,
        rgb: np.ndarray,
        box: Sequence[int] | None = None,
        *,
        min_score: float = 0.0,
        max_matches: int = 0,
        timeout: float = ANSWER_SECONDS,
    ) -> Any:
        """Ask with (H, W, 3) uint8, or left, top, right, bottom of a thing in it. Return a QueryImage response."""
        request = QueryImage.Request(
            image=rgb_message(rgb, Header()), min_score=float(min_score), max_matches=int(max_matches)
        )
        if box is not None:
            left, top, right, bottom = (int(value) for value in box)
            request.region = RegionOfInterest(x_offset=left, y_offset=top, width=right - left, height=bottom - top)
        return self._call(QueryImage, "query_image", request, timeout)

    def find_in_views(self, expression: str, *, timeout: float = ANSWER_SECONDS) -> Any:
        """Look for what an expression means in the map's pictures. Return a FindInViews response."""
        return self._call(FindInViews, "find_in_views", FindInViews.Request(expression=expression), timeout)

    def objects(self, labels: Sequence[str] = (), *, timeout: float = ANSWER_SECONDS) -> Any:
        """The things in the map, all or those with one of these names. Return a GetObjects response."""
        request = GetObjects.Request(labels=[str(label) for label in labels])
        return self._call(GetObjects, "get_objects", request, timeout)

    def refer(self, sentence: str, *, max_candidates: int = 0, timeout: float = ANSWER_SECONDS) -> Any:
        """Which things a sentence means. Return a Refer response."""
        request = Refer.Request(sentence=str(sentence), max_candidates=int(max_candidates))
        return self._call(Refer, "refer", request, timeout)

    def set_vocabulary(self, concepts: Sequence[str], *, timeout: float = ANSWER_SECONDS) -> Any:
        """Look for and label these from now on. Return a SetVocabulary response."""
        request = SetVocabulary.Request(concepts=[str(concept) for concept in concepts])
        return self._call(SetVocabulary, "set_vocabulary", request, timeout)

    def locate(
        self,
        query: str,
        robot: Sequence[float] | None = None,
        *,
        frame_id: str = "map",
        timeout: float = ANSWER_SECONDS,
    ) -> Any:
        """Ask where to stand; ``robot`` is its x, y, z in ``frame_id``, metres. Return a Locate response."""
        request = Locate.Request(query=str(query))
        if robot is not None:
            request.robot.header.frame_id = str(frame_id)
            position = request.robot.pose.position
            position.x, position.y, position.z = (float(value) for value in robot)
        return self._call(Locate, "locate", request, timeout)

    def save(self, path: str, *, timeout: float = ANSWER_SECONDS) -> Any:
        """Save the map on the node's machine. Return a MapFile response."""
        return self._call(MapFile, "save_map", MapFile.Request(path=str(path)), timeout)

    def load(self, path: str, *, timeout: float = ANSWER_SECONDS) -> Any:
        """Load a map from the node's machine. Return a MapFile response."""
        return self._call(MapFile, "load_map", MapFile.Request(path=str(path)), timeout)

    def clear(self, *, timeout: float = ANSWER_SECONDS) -> Any:
        """Forget all voxels. Return a Trigger response."""
        return self._call(Trigger, "clear_map", Trigger.Request(), timeout)

    def save_in_background(self, path: str) -> Any:
        """Request a save without waiting for the answer; return the future."""
        return self._client(MapFile, "save_map").call_async(MapFile.Request(path=str(path)))

    def state(self, *, timeout: float = ANSWER_SECONDS) -> str:
        """The lifecycle state: "unconfigured", "inactive", "active" or one between them."""
        return str(self._call(GetState, "get_state", GetState.Request(), timeout).current_state.label)

    def transition(self, name: str, *, timeout: float = LOADING_SECONDS) -> bool:
        """Walk the lifecycle: one of `TRANSITIONS`. Return whether the node did it."""
        request = ChangeState.Request(transition=Transition(id=int(TRANSITIONS[name])))
        return bool(self._call(ChangeState, "change_state", request, timeout).success)

    def wait_until_active(self, *, timeout: float = LOADING_SECONDS) -> None:
        """Return when the node is active.

        Raises:
            OvsegError: it isn't after ``timeout`` seconds.
        """

        def active() -> bool:
            # A node that was killed is remembered for a while, and a request sent to its remains is lost.
            with contextlib.suppress(OvsegError):
                return self.state(timeout=RETRY_SECONDS) == "active"
            return False

        self.wait_for(active, f"{self.node_name} to become active", timeout)

    def diagnostics(self, *, timeout: float = DISCOVERY_SECONDS) -> dict[str, str]:
        """The next report of the node on /diagnostics, key -> value, with its sentence under "message"."""
        self._executor.spin_once(timeout_sec=0.0)  # takes the one that may have waited since before the call
        self._status = None
        self.wait_for(lambda: self._status is not None, f"/diagnostics of {self.node_name}", timeout)
        return dict(self._status or {})

    def wait_for(self, condition: Callable[[], bool], what: str, timeout: float) -> None:
        """Spin until ``condition()``; ``what`` names it in the OvsegError after ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > deadline:
                raise OvsegError(f"waited {timeout:g} s for {what} in vain: see the log of the node")
            self._executor.spin_once(timeout_sec=0.05)

    def close(self) -> None:
        """Leave the ROS graph."""
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown(context=self._context)

    def __enter__(self) -> MapClient:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def _client(self, kind: Any, name: str) -> Any:
        if name not in self._clients:
            self._clients[name] = self.node.create_client(kind, f"{self.node_name}/{name}")
        client = self._clients[name]
        if not client.wait_for_service(timeout_sec=DISCOVERY_SECONDS):
            raise OvsegError(
                f"the service {self.node_name}/{name} isn't there after {DISCOVERY_SECONDS:g} s: is the node running, "
                "under this name, and with the same ROS_DOMAIN_ID?"
            )
        return client

    def _call(self, kind: Any, name: str, request: Any, timeout: float) -> Any:
        future = self._client(kind, name).call_async(request)
        self._executor.spin_until_future_complete(future, timeout_sec=timeout)
        if not future.done():
            future.cancel()
            raise OvsegError(f"{self.node_name}/{name} has not answered within {timeout:g} s: see the log of the node")
        return future.result()

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name == f"{self.node_name}: mapping":
                self._status = {value.key: value.value for value in status.values}
                self._status["message"] = status.message
