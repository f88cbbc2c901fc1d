"""The map as point clouds: ~/semantic_cloud while someone listens, ~/query_heatmap on request."""

from __future__ import annotations

import cv2
import numpy as np
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSDurabilityPolicy, QoSHistoryPolicy, QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import PointCloud2

from ovseg_ros.ros.messages import cloud_message, header_message
from ovseg_ros.ros.session import MapSession, ScoredCloud

LATCHED = QoSProfile(
    history=QoSHistoryPolicy.KEEP_LAST,
    depth=1,
    reliability=QoSReliabilityPolicy.RELIABLE,
    durability=QoSDurabilityPolicy.TRANSIENT_LOCAL,
)
"""Clouds are large: best effort loses them, and a late RViz wants the latest."""


class MapPublishers:
    """Publishes clouds of a map; silent while the node is inactive."""

    def __init__(self, node: LifecycleNode) -> None:
        self._cloud = node.create_lifecycle_publisher(PointCloud2, "~/semantic_cloud", LATCHED)
        self._heatmap = node.create_lifecycle_publisher(PointCloud2, "~/query_heatmap", LATCHED)
        self._published: tuple[MapSession, int] | None = None

    def publish_cloud(self, session: MapSession) -> None:
        """Publish the map if someone listens and it has changed since it was last published."""
        state = (session, session.revision)
        if not self._cloud.is_activated or not self._cloud.get_subscription_count() or state == self._published:
            return
        cloud = session.labelled_cloud()
        self._cloud.publish(
            cloud_message(
                cloud.centres,
                cloud.colours,
                {"label": cloud.labels, "confidence": cloud.confidence},
                header_message(cloud.frame_id, cloud.stamp_ns),
            )
        )
        self._published = state

    def publish_heatmap(self, cloud: ScoredCloud) -> None:
        """Publish the score of a query in every voxel, coloured from blue (0) to red (1)."""
        self._heatmap.publish(
            cloud_message(
                cloud.centres,
                heat_colours(cloud.scores),
                {"score": cloud.scores.astype(np.float32)},
                header_message(cloud.frame_id, cloud.stamp_ns),
            )
        )


def heat_colours(scores: np.ndarray) -> np.ndarray:
    """(N,) 0..1 -> (N, 3) uint8 red, green, blue."""
    steps = np.arange(256, dtype=np.uint8)[:, None]
    table = np.asarray(cv2.applyColorMap(steps, cv2.COLORMAP_TURBO))[:, 0, ::-1]
    return np.asarray(table[np.clip(np.rint(scores * 255), 0, 255).astype(np.uint8)])
