"""MappingNode: RGB-D and poses in, a map that answers questions out. Wiring only."""

from __future__ import annotations

from pathlib import Path

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.timer import Timer

from ovseg_ros.errors import OvsegError
from ovseg_ros.mapping import MappingConfig
from ovseg_ros.referring import read_regions
from ovseg_ros.ros.camera import check_backend
from ovseg_ros.ros.filter_synchronizer import require_message_filters
from ovseg_ros.ros.inputs import RgbdInputs
from ovseg_ros.ros.lifecycle import ModelNode
from ovseg_ros.ros.node_parameters import numbers
from ovseg_ros.ros.parameters import MAPPING_PARAMETERS
from ovseg_ros.ros.pose_sources import PoseSettings
from ovseg_ros.ros.publishers import MapPublishers
from ovseg_ros.ros.services import MapServices
from ovseg_ros.ros.session import MapSession
from ovseg_ros.ros.things import MapThings
from ovseg_ros.segmentation import load_referrer, load_segmenter, resolve_device

THREADS = 6
"""One for each callback group but the inputs': lifecycle and parameters, autostart, transforms, services,
~/find_in_views, outputs."""

MEGABYTE = 1e6


class MappingNode(ModelNode):
    """Lifecycle node ``mapping_node``.

    Weights load in configure, subscriptions start in activate, memory is freed in cleanup. The map lives
    from configure to cleanup: deactivate only stops the input. Services answer in every state.
    """

    def __init__(self) -> None:
        super().__init__("mapping_node", "mapping", MAPPING_PARAMETERS)
        self._session: MapSession | None = None
        self._inputs: RgbdInputs | None = None
        self._map_timer: Timer | None = None
        self._things = MapThings()
        self._outputs = MapPublishers(self, self._settings, self._things)
        group = MutuallyExclusiveCallbackGroup()
        MapServices(self, self._settings, self._configured_session, self._outputs, self._things, group)

    def close(self) -> None:
        """Ask the integrating thread to end; returns at once."""
        if self._inputs is not None:
            self._inputs.stop()

    def _load(self) -> None:
        parameters = self._settings
        config = MappingConfig(
            voxel_size=parameters["mapping.voxel_size"],
            min_depth=parameters["mapping.min_depth"],
            max_depth=parameters["mapping.max_depth"],
            feature_dtype=parameters["mapping.feature_dtype"],
            feature_voxel_size=parameters["mapping.feature_voxel_size"],
            feature_components=parameters["mapping.feature_components"],
            max_weight=parameters["mapping.max_weight"],
            layers=parameters["mapping.layers"],
            decay_seconds=parameters["mapping.decay_seconds"],
            region=numbers(parameters["mapping.region"], "mapping.region", example="-5 -5 -1 5 5 3"),
            memory_limit=parameters["mapping.memory_limit"],
            views=parameters["mapping.views"],
        )
        if parameters["sync.matcher"] == "message_filters":
            require_message_filters()
        regions = parameters["refer.regions"]
        self._things.name_places(read_regions(Path(regions).expanduser()) if regions else {})
        pose_source = PoseSettings.read(parameters).source
        self.get_logger().info(f"poses of the camera come from pose_source {pose_source}")
        device = resolve_device(parameters["device"])
        self.get_logger().info(f"loading {parameters['backend']} on {device}")
        backend = load_segmenter(parameters["backend"], device, parameters["vocabulary"])
        check_backend(backend, parameters["cameras"])
        model = parameters["refer.model"]
        referrer = load_referrer(model, device) if model else None
        self._session = MapSession(backend, config, device=device, frame_id=parameters["frames.map"], referrer=referrer)

    def _start(self) -> None:
        self._inputs = RgbdInputs(self, self._settings, self._configured_session(), self._health, self._input_group)
        self._map_timer = self._timer(self._settings["publish_period"], self._publish_map, self._output_group)
        self.get_logger().info(
            f"mapping with {self._settings['backend']}; ask with the service {self.get_name()}/query"
        )

    def _stop(self) -> None:
        if self._inputs is not None:
            self._inputs.close()
            self._inputs = None
        if self._map_timer is not None:
            self.destroy_timer(self._map_timer)
            self._map_timer = None

    def _free(self) -> None:
        self._session = None

    def _configured_session(self) -> MapSession:
        if self._session is None:
            raise OvsegError(f"the node isn't configured: {self._why_unconfigured}")
        return self._session

    def _publish_map(self) -> None:
        if self._session is not None:
            self._outputs.publish(self._session)

    def _facts(self) -> dict[str, object]:
        session, inputs = self._session, self._inputs
        facts: dict[str, object] = {
            "state": "active" if inputs else "inactive" if session else "unconfigured",
            "backend": self._settings["backend"],
            "voxels": session.voxel_count if session else 0,
            "voxels_on_disk": session.evicted_voxel_count if session else 0,
            "map_revision": session.revision if session else 0,
            "queue": inputs.waiting if inputs else 0,
            "map_megabytes": f"{session.map_bytes / MEGABYTE if session else 0.0:.1f}",
        }
        if session is not None and (gpu_bytes := session.gpu_bytes) is not None:
            facts["gpu_megabytes"] = f"{gpu_bytes / MEGABYTE:.1f}"
        return facts
