"""MappingNode: RGB-D and poses in, a map that answers questions out. Wiring only."""

from __future__ import annotations

import traceback
from collections.abc import Callable

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.callback_groups import CallbackGroup, MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.timer import Timer

from ovseg_ros.errors import OvsegError
from ovseg_ros.mapping import MappingConfig
from ovseg_ros.ros.health import Health, diagnostics_message
from ovseg_ros.ros.inputs import RgbdInputs
from ovseg_ros.ros.parameters import MAPPING_PARAMETERS, Parameters, numbers
from ovseg_ros.ros.publishers import MapPublishers
from ovseg_ros.ros.services import MapServices
from ovseg_ros.ros.session import MapSession
from ovseg_ros.segmentation import load_segmenter, release_device_memory, resolve_device

THREADS = 5
"""One for each callback group: lifecycle and parameters, autostart, inputs, services, outputs."""

DIAGNOSTICS_PERIOD = 1.0

MEGABYTE = 1e6


class MappingNode(LifecycleNode):
    """Lifecycle node ``mapping_node``.

    Weights load in configure, subscriptions start in activate, memory is freed in cleanup. The map lives
    from configure to cleanup: deactivate only stops the input. Services answer in every state.
    """

    def __init__(self) -> None:
        super().__init__("mapping_node")
        self.failure = ""
        self._session: MapSession | None = None
        self._inputs: RgbdInputs | None = None
        self._why_unconfigured = "it is waiting to be configured (autostart is off or still at work)"
        self._settings = Parameters(self, MAPPING_PARAMETERS, locked=self._why_locked)
        self._health = Health(self.get_logger().warning)
        self._input_group = MutuallyExclusiveCallbackGroup()
        self._output_group = MutuallyExclusiveCallbackGroup()
        self._clouds = MapPublishers(self)
        MapServices(self, self._settings, self._configured_session, self._clouds, MutuallyExclusiveCallbackGroup())
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        # Not the ROS clock: a node that waits for /clock must still say how it is.
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._cloud_timer: Timer | None = None
        self._timer(DIAGNOSTICS_PERIOD, self._publish_diagnostics, self._output_group)
        if self._settings["autostart"]:
            self._autostart_timer = self._timer(0.001, self._autostart, MutuallyExclusiveCallbackGroup())

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model and make an empty map."""
        try:
            self._session = self._load_session()
        except OvsegError as error:
            self._why_unconfigured = str(error)
            self.get_logger().error(f"configure failed: {error}")
            return TransitionCallbackReturn.FAILURE
        except Exception as error:  # rclpy would swallow it without a word
            self._why_unconfigured = f"configure failed with {error!r}"
            self.get_logger().error(f"configure failed: {error!r}\n{traceback.format_exc()}")
            return TransitionCallbackReturn.FAILURE
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe and start to map."""
        self._inputs = RgbdInputs(self, self._settings, self._configured_session(), self._health, self._input_group)
        self._cloud_timer = self._timer(self._settings["publish_period"], self._publish_cloud, self._output_group)
        self.get_logger().info(
            f"mapping with {self._settings['backend']}; ask with the service {self.get_name()}/query"
        )
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop the input; the map stays and goes on answering."""
        self._release_inputs()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the model and the map."""
        self._release()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free everything."""
        self._release()
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free everything, so that configure can be tried again."""
        self._release()
        return super().on_error(state)

    def close(self) -> None:
        """Ask the integrating thread to end; returns at once."""
        if self._inputs is not None:
            self._inputs.stop()

    def _load_session(self) -> MapSession:
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
            region=numbers(parameters["mapping.region"], "mapping.region"),
            memory_limit=parameters["mapping.memory_limit"],
        )
        device = resolve_device(parameters["device"])
        self.get_logger().info(f"loading {parameters['backend']} on {device}")
        backend = load_segmenter(parameters["backend"], device)
        return MapSession(backend, config, device=device, frame_id=parameters["frames.map"])

    def _configured_session(self) -> MapSession:
        if self._session is None:
            raise OvsegError(f"the node isn't configured: {self._why_unconfigured}")
        return self._session

    def _why_locked(self) -> str | None:
        return None if self._session is None else "deactivate and clean up the node first, then configure it again"

    def _release_inputs(self) -> None:
        if self._inputs is not None:
            self._inputs.close()
            self._inputs = None
        if self._cloud_timer is not None:
            self.destroy_timer(self._cloud_timer)
            self._cloud_timer = None

    def _release(self) -> None:
        self._release_inputs()
        self._session = None
        self._why_unconfigured = "it was cleaned up; configure it again"
        release_device_memory()

    def _timer(self, period: float, callback: Callable[[], None], group: CallbackGroup) -> Timer:
        return self.create_timer(period, self._guarded(callback), callback_group=group, clock=self._steady)

    def _guarded(self, callback: Callable[[], None]) -> Callable[[], None]:
        """``callback`` for a timer: its first failure is said, where an exception would end the node."""
        said = False

        def guarded() -> None:
            nonlocal said
            try:
                callback()
            except Exception as error:
                if not said:
                    self.get_logger().error(
                        f"{callback.__name__} failed with {error!r}; the node goes on, further failures of it "
                        f"are not said\n{traceback.format_exc()}"
                    )
                said = True

        return guarded

    def _autostart(self) -> None:
        self._autostart_timer.cancel()
        if self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
            self.trigger_activate()

    def _publish_cloud(self) -> None:
        if self._session is not None:
            self._clouds.publish_cloud(self._session)

    def _publish_diagnostics(self) -> None:
        if not self._diagnostics.get_subscription_count():
            return
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
        self._diagnostics.publish(
            diagnostics_message(
                f"{self.get_fully_qualified_name()}: mapping",
                self.get_clock().now().to_msg(),
                self._health.report(),
                facts,
            )
        )
