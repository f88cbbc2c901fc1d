"""What segmentation_node does while it is active: colour images in, labelled images out."""

from __future__ import annotations

import time
import traceback

import numpy as np
import torch
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSHistoryPolicy, QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import Image

from ovseg_ros.errors import OvsegError
from ovseg_ros.ros.camera import COLOUR_TOPIC
from ovseg_ros.ros.declarations import Topic
from ovseg_ros.ros.health import Health
from ovseg_ros.ros.messages import mono_message, rgb_message
from ovseg_ros.ros.node_parameters import Parameters
from ovseg_ros.ros.worker import Worker
from ovseg_ros.segmentation import PixelLabeller, look_also_for
from ovseg_ros.sensor_messages import image_to_rgb
from ovseg_ros.types import InvalidFrameError, Segmenter
from ovseg_ros.visualization import overlay

MAX_LABELS = 255
"""What fits into mono8 beside 0, which is none."""

_QUALITY = "reliable, last `queue_size`"

OUTPUTS = {
    "label_mask": Topic(Image, _QUALITY, "mono8: label of each pixel, 0 is none."),
    "confidence": Topic(Image, _QUALITY, "mono8: 255 is certain."),
    "overlay": Topic(Image, _QUALITY, "Labels over colour, with a legend."),
}
"""Private topic -> what it is."""


class ImageLabeller:
    """Labels images with one model and one list of words.

    Args:
        backend: the model.
        concepts: names of the labels 1, 2, ...; empty takes the model's vocabulary.

    Raises:
        OvsegError: there are no concepts, or more than MAX_LABELS.
    """

    def __init__(self, backend: Segmenter, concepts: tuple[str, ...]) -> None:
        self.names = concepts or backend.vocabulary.names
        if len(self.names) > MAX_LABELS:
            raise OvsegError(f"{len(self.names)} concepts don't fit into mono8: name at most {MAX_LABELS} in concepts")
        self._backend = backend
        look_also_for(backend, self.names)
        self._label = PixelLabeller(backend.space, self.names, backend.vocabulary)

    def __call__(self, rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(H, W, 3) uint8 -> (H, W) int32 labels, 0 for none, and (H, W) uint8 confidence, 255 for certain."""
        segmentation = self._backend(torch.from_numpy(rgb))
        labelled = self._label(segmentation, rgb.shape[0], rgb.shape[1])
        return labelled.labels.cpu().numpy(), (labelled.confidence * 255).round().byte().cpu().numpy()


class LabelledImages:
    """Publishes ~/label_mask, ~/confidence and ~/overlay; subscribes from `start` to `stop`.

    The three of one image carry its header. Images are skipped while nobody listens to any of them.
    """

    def __init__(
        self, node: LifecycleNode, parameters: Parameters, health: Health, group: MutuallyExclusiveCallbackGroup
    ) -> None:
        self._node = node
        self._health = health
        quality = QoSProfile(
            history=QoSHistoryPolicy.KEEP_LAST,
            depth=parameters["queue_size"],
            reliability=QoSReliabilityPolicy.RELIABLE,
        )
        self._mask, self._confidence, self._overlay = (
            node.create_lifecycle_publisher(Image, f"~/{name}", quality) for name in OUTPUTS
        )
        self._parameters = parameters
        self._group = group
        self._worker: Worker[Image] | None = None

    @property
    def waiting(self) -> int:
        """Images that wait for the model."""
        return self._worker.waiting if self._worker is not None else 0

    def start(self, label: ImageLabeller) -> None:
        """Subscribe."""
        self._label = label
        self._worker = Worker(self._work, capacity=self._parameters["queue_size"], on_drop=self._overtaken)
        quality = QoSProfile(
            history=QoSHistoryPolicy.KEEP_LAST,
            depth=self._parameters["queue_size"],
            reliability=QoSReliabilityPolicy[self._parameters["inputs.reliability"].upper()],
        )
        self._subscription = self._node.create_subscription(
            Image, COLOUR_TOPIC, self._on_image, quality, callback_group=self._group
        )

    def end(self) -> None:
        """Let the thread end after its present image; returns at once."""
        if self._worker is not None:
            self._worker.stop()

    def stop(self) -> None:
        """Unsubscribe, and wait until the present image is done."""
        if self._worker is not None:
            self._node.destroy_subscription(self._subscription)
            self._worker.stop()
            self._worker.join()
            self._worker = None

    def _on_image(self, message: Image) -> None:
        self._health.receive(COLOUR_TOPIC)
        listened = any(p.get_subscription_count() for p in (self._mask, self._confidence, self._overlay))
        if listened and self._worker is not None:
            self._worker.put(message)

    def _overtaken(self, _lane: str) -> None:
        self._health.drop(
            "queue_full",
            "the model is slower than the camera: the oldest waiting image was dropped; "
            "normal on a live camera, for recordings play slower or raise queue_size",
        )

    def _work(self, message: Image) -> None:
        try:
            start = time.perf_counter()
            rgb = image_to_rgb(message)
            labels, confidence = self._label(rgb)
            self._health.stage("segment", time.perf_counter() - start)
            start = time.perf_counter()
            self._mask.publish(mono_message(labels, message.header))
            self._confidence.publish(mono_message(confidence, message.header))
            if self._overlay.get_subscription_count():
                self._overlay.publish(rgb_message(overlay(rgb, labels, self._label.names), message.header))
            self._health.stage("publish", time.perf_counter() - start)
            self._health.integrate()
        except InvalidFrameError as error:
            self._health.drop(error.cause, str(error))
        except OvsegError as error:
            self._health.drop("refused", str(error))
        except Exception as error:  # the thread must outlive whatever a model or a message does to it
            self._health.drop("internal", f"an image failed with {error!r}, a defect of ovseg_ros: please report it")
            self._node.get_logger().debug(traceback.format_exc())
