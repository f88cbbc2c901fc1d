"""SegmentationNode: colour images in, labels in the image out, under the names that Nav2's costmap layer takes."""

from __future__ import annotations

from typing import Any

from rclpy.lifecycle import LifecycleNode

from ovseg_ros.ros.declarations import LATCHED, Topic
from ovseg_ros.ros.labeller import ImageLabeller, LabelledImages
from ovseg_ros.ros.lifecycle import ModelNode
from ovseg_ros.ros.messages import header_message
from ovseg_ros.ros.parameters import SEGMENTATION_PARAMETERS
from ovseg_ros.segmentation import load_segmenter, resolve_device

THREADS = 4
"""One for each callback group: lifecycle and parameters, autostart, inputs, outputs."""

LABEL_INFO = {
    "label_info": Topic("vision_msgs/LabelInfo", LATCHED, "Names of the labels; where vision_msgs is installed.")
}
"""Private topic -> what it is."""


class SegmentationNode(ModelNode):
    """Lifecycle node ``segmentation_node``: as mapping_node, without a map."""

    def __init__(self) -> None:
        super().__init__("segmentation_node", "segmenting", SEGMENTATION_PARAMETERS)
        self._label: ImageLabeller | None = None
        self._images = LabelledImages(self, self._settings, self._health, self._input_group)
        self._label_info = label_info_publisher(self)
        self._active = False

    def close(self) -> None:
        """Ask the thread inside the model to end; returns at once."""
        self._images.end()

    def _load(self) -> None:
        device = resolve_device(self._settings["device"])
        self.get_logger().info(f"loading {self._settings['backend']} on {device}")
        backend = load_segmenter(self._settings["backend"], device, self._settings["vocabulary"])
        concepts = (name.strip() for name in self._settings["concepts"].split(","))
        self._label = ImageLabeller(backend, tuple(name for name in concepts if name))

    def _start(self) -> None:
        assert self._label is not None, "rclpy activates configured nodes only"
        self._images.start(self._label)
        self._active = True
        if self._label_info is not None:
            self._label_info.publish(label_info_message(self._label.names, self.get_clock().now().nanoseconds))
        self.get_logger().info(f"labelling {len(self._label.names)} concepts with {self._settings['backend']}")

    def _stop(self) -> None:
        self._images.stop()
        self._active = False

    def _free(self) -> None:
        self._label = None

    def _facts(self) -> dict[str, object]:
        return {
            "state": "active" if self._active else "inactive" if self._label else "unconfigured",
            "backend": self._settings["backend"],
            "queue": self._images.waiting,
        }


def label_info_publisher(node: LifecycleNode) -> Any | None:
    """A latched publisher of ~/label_info; None, and a sentence, where vision_msgs isn't installed."""
    try:
        from vision_msgs.msg import LabelInfo
    except ImportError:
        node.get_logger().info("~/label_info isn't published: install vision_msgs for it (ros-DISTRO-vision-msgs)")
        return None
    return node.create_publisher(LabelInfo, "~/label_info", LATCHED)


def label_info_message(names: tuple[str, ...], stamp_ns: int) -> Any:
    """vision_msgs/LabelInfo: label i + 1 is ``names[i]``."""
    from vision_msgs.msg import LabelInfo, VisionClass

    classes = [VisionClass(class_id=number, class_name=name) for number, name in enumerate(names, start=1)]
    return LabelInfo(header=header_message("", stamp_ns), class_map=classes, threshold=0.0)
