"""The input side of mapping_node while it is active: subscriptions, matching, and the thread that fuses."""

from __future__ import annotations

import time
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSHistoryPolicy, QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from ovseg_ros.errors import OvsegError
from ovseg_ros.keyframes import KeyframeConfig, KeyframeSelector
from ovseg_ros.ros.health import Health
from ovseg_ros.ros.parameters import Parameters
from ovseg_ros.ros.pose_sources import PoseSettings
from ovseg_ros.ros.session import MapSession
from ovseg_ros.ros.synchronizer import Matched, RgbdSynchronizer, Stream, valid_at
from ovseg_ros.ros.worker import Worker
from ovseg_ros.sensor_messages import FrameBuilder, stamp_to_ns
from ovseg_ros.types import InvalidFrameError

COLOUR_TOPIC = "rgb/image"
DEPTH_TOPIC = "depth/image"
CAMERA_INFO_TOPIC = "rgb/camera_info"


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

    matched: Matched
    camera_info: CameraInfo | None
    generation: int


class RgbdInputs:
    """Subscribes on creation and feeds every matched frame into the session, until closed.

    Callbacks only count and enqueue: conversions and the model run on the worker's thread. Whatever is
    wrong with a message ends as a counter and a sentence in ``health``.

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
        self._camera_infos: deque[tuple[int, CameraInfo]] = deque(maxlen=parameters["sync.queue_size"])
        transport = _TRANSPORTS[parameters["inputs.transport"]]
        self._frames = FrameBuilder(rectified=parameters["inputs.rectified"])
        self._keyframe_config = KeyframeConfig(
            **{name: parameters[f"keyframes.{name}"] for name in ("distance", "angle", "period")}
        )
        self._keyframes = KeyframeSelector(self._keyframe_config)
        self._keyframes_of = session.generation
        self._poses = PoseSettings.read(parameters).open(node)
        self._synchronizer = RgbdSynchronizer(
            slop_ns=round(parameters["sync.slop"] * 1e9),
            pose_gap_ns=round(parameters["sync.pose_gap"] * 1e9) if self._poses.topics else None,
            queue_size=parameters["sync.queue_size"],
            on_drop=health.drop,
        )
        self._worker: Worker[_Waiting] = Worker(
            self._fuse, capacity=parameters["mapping.queue_size"], on_drop=self._overtaken
        )
        quality = QoSProfile(
            history=QoSHistoryPolicy.KEEP_LAST,
            depth=parameters["sync.queue_size"],
            reliability=QoSReliabilityPolicy[parameters["inputs.reliability"].upper()],
            durability=QoSDurabilityPolicy.VOLATILE,
        )
        # Remapping the name of the raw images moves the compressed ones too, as with image_transport.
        images = [
            (transport.kind, node.resolve_topic_name(base) + suffix, self._taker(base + suffix, stream))
            for base, suffix, stream in (
                (DEPTH_TOPIC, transport.depth_suffix, Stream.DEPTH),
                (COLOUR_TOPIC, transport.colour_suffix, Stream.COLOUR),
            )
        ]
        poses = [(kind, topic, self._taker(topic, Stream.POSE)) for kind, topic in self._poses.topics]
        # Camera info first: a wait that finds several messages runs their callbacks in this order.
        self._subscriptions = [
            node.create_subscription(kind, topic, callback, quality, callback_group=group)
            for kind, topic, callback in ((CameraInfo, CAMERA_INFO_TOPIC, self._on_camera_info), *poses, *images)
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

    def _on_camera_info(self, message: CameraInfo) -> None:
        self._health.receive(CAMERA_INFO_TOPIC)
        self._camera_infos.append((stamp_to_ns(message.header.stamp), message))

    def _taker(self, topic: str, stream: Stream) -> Callable[[Any], None]:
        return lambda message: self._enqueue(topic, stream, message)

    def _enqueue(self, topic: str, stream: Stream, message: Any) -> None:
        self._health.receive(topic)
        for matched in self._synchronizer.add(stream, stamp_to_ns(message.header.stamp), message):
            camera_info = valid_at(self._camera_infos, matched.stamp_ns)
            self._worker.put(_Waiting(matched, camera_info, self._session.generation))

    def _overtaken(self) -> None:
        self._health.drop(
            "queue_full",
            "the model is slower than the camera: the oldest waiting frame was dropped; "
            "normal on a live camera, for recordings play slower or raise mapping.queue_size",
        )

    def _fuse(self, waiting: _Waiting) -> None:
        matched, camera_info = waiting.matched, waiting.camera_info
        try:
            if camera_info is None:
                raise InvalidFrameError(
                    "intrinsics", f"no camera_info has arrived on {CAMERA_INFO_TOPIC} yet: publish or remap it"
                )
            pose = self._poses.read(matched)
            if not self._selector(waiting.generation).due(pose, matched.stamp_ns):
                self._health.pass_over()
                return
            start = time.perf_counter()
            frame = self._frames.build(matched.colour, matched.depth, camera_info, pose)
            self._health.stage("convert", time.perf_counter() - start)
            self._session.integrate(
                frame,
                self._health.stage,
                generation=waiting.generation,
                camera_frame=str(matched.colour.header.frame_id),
            )
            self._keyframes.accept(pose, matched.stamp_ns)
            self._health.integrate()
        except InvalidFrameError as error:
            self._health.drop(error.cause, str(error))
        except OvsegError as error:
            self._health.drop("refused", str(error))
        except Exception as error:  # the thread must outlive whatever a model or a message does to it
            self._health.drop("internal", f"a frame failed with {error!r}, a defect of ovseg_ros: please report it")
            self._node.get_logger().debug(traceback.format_exc())

    def _selector(self, generation: int) -> KeyframeSelector:
        if generation != self._keyframes_of:
            # Another map has seen nothing yet of what the last keyframes showed.
            self._keyframes, self._keyframes_of = KeyframeSelector(self._keyframe_config), generation
        return self._keyframes
