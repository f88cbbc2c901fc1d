"""What mapping_node publishes of its map: each topic while someone listens, ~/query_heatmap and ~/answer on request."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from nav_msgs.msg import OccupancyGrid
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import Image, PointCloud2
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from ovseg_ros.errors import OvsegError
from ovseg_ros.ros.answer_markers import answer_markers
from ovseg_ros.ros.answers import ScoredCloud
from ovseg_ros.ros.declarations import LATCHED, NEWEST, Topic
from ovseg_ros.ros.interfaces import Candidate
from ovseg_ros.ros.markers import MAX_ARROWS, ObjectMarkers, RayMarkers
from ovseg_ros.ros.messages import cloud_message, header_message, occupancy_message, rgb_message
from ovseg_ros.ros.node_parameters import Parameters
from ovseg_ros.ros.session import MapSession
from ovseg_ros.ros.snapshots import frontier_snapshot, plan_snapshot, ray_snapshot
from ovseg_ros.ros.things import MapThings
from ovseg_ros.visualization import heat_colours, overlay

OUTPUTS = {
    "semantic_cloud": Topic(
        PointCloud2, LATCHED, "x y z rgb label confidence of every voxel in memory; label 0 is none."
    ),
    "query_heatmap": Topic(PointCloud2, LATCHED, "x y z rgb score of every voxel, for queries with `publish_heatmap`."),
    "objects": Topic(
        MarkerArray,
        LATCHED,
        "A box and a name for each thing in the map, by ids that stay: of the model's masks, or else of voxels of one "
        "label that hang together.",
    ),
    "answer": Topic(
        MarkerArray,
        LATCHED,
        "The last answer of `~/refer` or `~/find_in_views`: boxes of what was meant, best green, and of what it was "
        "described by, blue.",
    ),
    "frontiers": Topic(
        PointCloud2,
        LATCHED,
        "x y z rgb: where free space ends at space nobody has seen; needs `mapping.layers: frontiers`.",
    ),
    "rays": Topic(
        MarkerArray,
        LATCHED,
        "The 500 heaviest rays, coloured by label, faint where they weigh little; needs `mapping.layers: rays`.",
    ),
    "occupancy": Topic(
        OccupancyGrid, LATCHED, "100, 0, −1 between two heights (`occupancy.*`); needs `mapping.layers: occupancy`."
    ),
    "overlay": Topic(Image, NEWEST, "Labels over the newest mapped image, with a legend."),
}
"""Private topic -> what it is. All but ~/query_heatmap and ~/answer are made while someone listens."""

FRONTIER_COLOUR = (255, 140, 0)


class MapPublishers:
    """Publishes a map; silent while the node is inactive.

    Call it from one thread, except for `publish_heatmap` and `publish_answer`.
    """

    def __init__(self, node: LifecycleNode, parameters: Parameters, things: MapThings) -> None:
        self._things = things
        self._say = node.get_logger().warning
        self._parameters = parameters
        self._publishers = {
            name: node.create_lifecycle_publisher(topic.kind, f"~/{name}", topic.quality)
            for name, topic in OUTPUTS.items()
        }
        self._makers = {
            "semantic_cloud": self._semantic_cloud,
            "objects": self._objects,
            "frontiers": self._frontiers,
            "rays": self._rays,
            "occupancy": self._occupancy,
            "overlay": self._overlay,
        }
        self._object_markers = ObjectMarkers()
        self._ray_markers = RayMarkers()
        self._published: dict[str, tuple[MapSession, int, int]] = {}
        self._said: set[str] = set()

    def publish(self, session: MapSession) -> None:
        """Publish what someone listens to and what has changed since it was last published."""
        for name, make in self._makers.items():
            publisher = self._publishers[name]
            state = (session, session.generation, session.revision)
            listened = publisher.is_activated and publisher.get_subscription_count()
            if not listened or state == self._published.get(name):
                continue
            try:
                message = make(session)
            except OvsegError as error:
                self._say_once(f"~/{name} stays silent: {error}")
                continue
            if message is not None:
                publisher.publish(message)
                self._published[name] = state

    def publish_heatmap(self, cloud: ScoredCloud) -> None:
        """Publish the score of a query in every voxel, coloured from dark (0) to bright (1)."""
        self._publishers["query_heatmap"].publish(
            cloud_message(
                cloud.centres,
                heat_colours(cloud.scores),
                {"score": cloud.scores.astype(np.float32)},
                header_message(cloud.frame_id, cloud.stamp_ns),
            )
        )

    def publish_answer(self, candidates: Sequence[Candidate], header: Header) -> None:
        """Show an answer; without candidates the last one is taken away."""
        self._publishers["answer"].publish(answer_markers(candidates, header))

    def _semantic_cloud(self, session: MapSession) -> PointCloud2:
        cloud = session.labelled_cloud()
        return cloud_message(
            cloud.centres,
            cloud.colours,
            {"label": cloud.labels, "confidence": cloud.confidence},
            header_message(cloud.frame_id, cloud.stamp_ns),
        )

    def _objects(self, session: MapSession) -> MarkerArray:
        return self._object_markers.message(self._things.snapshot(session))

    def _frontiers(self, session: MapSession) -> PointCloud2 | None:
        frontiers = session.read(lambda semantic_map, _space: frontier_snapshot(semantic_map))
        if frontiers is None:
            self._lacks("frontiers")
            return None
        colours = np.full((len(frontiers.positions), 3), FRONTIER_COLOUR, dtype=np.uint8)
        header = header_message(frontiers.frame_id, frontiers.stamp_ns)
        return cloud_message(frontiers.positions, colours, {}, header)

    def _rays(self, session: MapSession) -> MarkerArray | None:
        rays = session.read(lambda semantic_map, space: ray_snapshot(semantic_map, space, MAX_ARROWS))
        if rays is None:
            self._lacks("rays")
            return None
        return self._ray_markers.message(rays)

    def _occupancy(self, session: MapSession) -> OccupancyGrid | None:
        lowest, highest = (self._parameters[f"occupancy.{end}_height"] for end in ("min", "max"))
        plan = session.read(lambda semantic_map, _space: plan_snapshot(semantic_map, lowest, highest))
        if plan is None:
            self._lacks("occupancy")
            return None
        header = header_message(plan.frame_id, plan.stamp_ns)
        return occupancy_message(plan.cells, plan.corner, plan.cell_size, header)

    def _overlay(self, session: MapSession) -> Image | None:
        image = session.labelled_image()
        if image is None:
            return None
        header = header_message(image.frame_id, image.stamp_ns)
        return rgb_message(overlay(image.rgb, image.labels, image.names), header)

    def _lacks(self, layer: str) -> None:
        """Say that a topic, which has the name of its layer, can't be published."""
        mend = f"start it with layers:={layer} (launch) or -p mapping.layers:={layer}"
        self._say_once(f"~/{layer} stays silent: the map has no {layer}; {mend}")

    def _say_once(self, sentence: str) -> None:
        if sentence not in self._said:
            self._said.add(sentence)
            self._say(sentence)
