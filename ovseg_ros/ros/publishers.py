"""The map as point clouds: ~/semantic_cloud while someone listens, ~/query_heatmap on request."""

from __future__ import annotations

import numpy as np
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSDurabilityPolicy, QoSHistoryPolicy, QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import PointCloud2

from ovseg_ros.ros.messages import cloud_message, header_message
from ovseg_ros.ros.session import MapSession, ScoredCloud
from ovseg_ros.visualization import heat_colours

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
        self._published: tuple[MapSession, int, int] | None = None

    def publish_cloud(self, session: MapSession) -> None:
        """Publish the map if someone listens and it has changed since it was last published."""
        state = (session, session.generation, session.revision)
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
        """Publish the score of a query in every voxel, coloured from dark (0) to bright (1)."""
        self._heatmap.publish(
            cloud_message(
                cloud.centres,
                heat_colours(cloud.scores),
                {"score": cloud.scores.astype(np.float32)},
                header_message(cloud.frame_id, cloud.stamp_ns),
            )
        )
