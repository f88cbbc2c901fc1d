"""The input side of mapping_node while it is active: subscriptions, cameras, and the thread that fuses."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSHistoryPolicy, QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from ovseg_ros.errors import OvsegError
from ovseg_ros.keyframes import KeyframeConfig, KeyframeSelector
from ovseg_ros.ros.camera import (
    CAMERA_INFO_TOPIC,
    COLOUR_TOPIC,
    DEPTH_TOPIC,
    Camera,
    Matching,
    camera_names,
    topic_of,
)
from ovseg_ros.ros.health import Health
from ovseg_ros.ros.node_parameters import Parameters
from ovseg_ros.ros.pose_sources import PoseSettings
from ovseg_ros.ros.session import MapSession
from ovseg_ros.ros.synchronizer import Matched, Stream
from ovseg_ros.ros.worker import Worker
from ovseg_ros.types import InvalidFrameError


@dataclass(frozen=True)
class _Transport:
    """How images travel: the message, and what is added to the topics' names."""

    kind: type
    colour_suffix: str
    depth_suffix: str


_TRANSPORTS = {
    "raw": _Transport(Image, "", ""),
    "compressed": _Transport(CompressedImage, "/compressed", "/compressedDepth"),
}


@dataclass(frozen=True)
class _Waiting:
    """A matched frame, with the calibration and the generation of the map that it was matched under."""

    camera: Camera
    matched: Matched
    camera_info: CameraInfo | None
    generation: int


class RgbdInputs:
    """Subscribes on creation and feeds every matched frame of every camera into the session, until closed.

    Callbacks only count and enqueue: conversions and the model run on the worker's thread, to which cameras bring
    their newest frames in turn. Whatever is wrong with a message ends as a counter and a sentence in ``health``.

    Args:
        node: the node to subscribe with.
        parameters: of the node.
        session: what takes the frames.
        health: what takes the counters.
        group: callback group of the subscriptions; it must run one callback at a time.
    """

    def __init__(
        self,
        node: Node,
        parameters: Parameters,
        session: MapSession,
        health: Health,
        group: MutuallyExclusiveCallbackGroup,
    ) -> None:
        self._node = node
        self._session = session
        self._health = health
        self._keyframe_config = KeyframeConfig(
            **{name: parameters[f"keyframes.{name}"] for name in ("distance", "angle", "period")}
        )
        self._selectors: dict[str, KeyframeSelector] = {}
        self._selectors_of = session.outlook
        self._poses = PoseSettings.read(parameters).open(node)
        matching = Matching(
            slop_ns=round(parameters["sync.slop"] * 1e9),
            pose_gap_ns=round(parameters["sync.pose_gap"] * 1e9) if self._poses.topics else None,
            queue_size=parameters["sync.queue_size"],
            matcher=parameters["sync.matcher"],
        )
        self._cameras = {
            name: Camera(
                name, matching, rectified=parameters["inputs.rectified"], on_drop=partial(health.drop, camera=name)
            )
            for name in camera_names(parameters["cameras"])
        }
        self._worker: Worker[_Waiting] = Worker(
            self._fuse, capacity=parameters["mapping.queue_size"], on_drop=self._overtaken
        )
        quality = QoSProfile(
            history=QoSHistoryPolicy.KEEP_LAST,
            depth=parameters["sync.queue_size"],
            reliability=QoSReliabilityPolicy[parameters["inputs.reliability"].upper()],
            durability=QoSDurabilityPolicy.VOLATILE,
        )
        self._subscriptions = [
            node.create_subscription(kind, topic, callback, quality, callback_group=group)
            for kind, topic, callback in self._topics(_TRANSPORTS[parameters["inputs.transport"]])
        ]

    @property
    def waiting(self) -> int:
        """Matched frames that wait for the model."""
        return self._worker.waiting

    def stop(self) -> None:
        """Let the thread end after its present frame; returns at once."""
        self._poses.stop()
        self._worker.stop()

    def close(self) -> None:
        """Unsubscribe, and wait until the present frame is done."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self.stop()
        self._worker.join()
        self._poses.close()

    def _topics(self, transport: _Transport) -> Iterator[tuple[type, str, Callable[[Any], None]]]:
        """What to subscribe to: a wait that finds several messages runs their callbacks in this order."""
        for camera in self._cameras.values():
            topic = topic_of(camera.name, CAMERA_INFO_TOPIC)
            yield CameraInfo, topic, partial(self._calibrate, topic, camera)
        for kind, topic, names in self._poses.topics:
            yield kind, topic, partial(self._enqueue, topic, Stream.POSE, [self._cameras[name] for name in names])
        for camera in self._cameras.values():
            for base, suffix, stream in (
                (DEPTH_TOPIC, transport.depth_suffix, Stream.DEPTH),
                (COLOUR_TOPIC, transport.colour_suffix, Stream.COLOUR),
            ):
                topic = topic_of(camera.name, base)
                # Remapping the name of the raw images moves the compressed ones too, as with image_transport.
                resolved = self._node.resolve_topic_name(topic) + suffix
                yield transport.kind, resolved, partial(self._enqueue, topic + suffix, stream, [camera])

    def _calibrate(self, topic: str, camera: Camera, message: CameraInfo) -> None:
        self._health.receive(topic)
        camera.calibrate(message)

    def _enqueue(self, topic: str, stream: Stream, cameras: list[Camera], message: Any) -> None:
        self._health.receive(topic)
        for camera in cameras:
            for matched, camera_info in camera.add(stream, message):
                waiting = _Waiting(camera, matched, camera_info, self._session.generation)
                self._worker.put(waiting, lane=camera.name)

    def _overtaken(self, camera: str) -> None:
        self._health.drop(
            "queue_full",
            "the model is slower than the camera: the oldest waiting frame was dropped; "
            "normal on a live camera, for recordings play slower or raise mapping.queue_size",
            camera,
        )

    def _fuse(self, waiting: _Waiting) -> None:
        matched, camera_info, camera = waiting.matched, waiting.camera_info, waiting.camera
        self._health.stage("queue", time.monotonic() - matched.since)
        try:
            if camera_info is None:
                topic = topic_of(camera.name, CAMERA_INFO_TOPIC)
                raise InvalidFrameError("intrinsics", f"no camera_info has arrived on {topic} yet: publish or remap it")
            pose = self._poses.read[camera.name](matched)
            selector = self._selector(camera.name)
            if not selector.due(pose, matched.stamp_ns):
                self._health.pass_over()
                return
            start = time.perf_counter()
            frame = camera.frames.build(matched.colour, matched.depth, camera_info, pose)
            self._health.stage("convert", time.perf_counter() - start)
            self._session.integrate(
                frame,
                self._health.stage,
                generation=waiting.generation,
                camera_frame=str(matched.colour.header.frame_id),
            )
            selector.accept(pose, matched.stamp_ns)
            self._health.integrate(camera.name)
        except InvalidFrameError as error:
            self._health.drop(error.cause, str(error), camera.name)
        except OvsegError as error:
            self._health.drop("refused", str(error), camera.name)
        except Exception as error:  # the thread must outlive whatever a model or a message does to it
            sentence = f"a frame failed with {error!r}, a defect of ovseg_ros: please report it"
            self._health.drop("internal", sentence, camera.name)
            self._node.get_logger().debug(traceback.format_exc())

    def _selector(self, camera: str) -> KeyframeSelector:
        if self._session.outlook != self._selectors_of:
            # What the last keyframes showed is no longer known.
            self._selectors, self._selectors_of = {}, self._session.outlook
        return self._selectors.setdefault(camera, KeyframeSelector(self._keyframe_config))
