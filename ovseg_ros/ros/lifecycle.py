"""ModelNode: what nodes around a model share. They walk to active, say how they are, and free their memory."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.callback_groups import CallbackGroup, MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.timer import Timer

from ovseg_ros.errors import OvsegError
from ovseg_ros.ros.health import Health, diagnostics_message
from ovseg_ros.ros.node_parameters import Parameters, ParameterSpec
from ovseg_ros.segmentation import release_device_memory

DIAGNOSTICS_PERIOD = 1.0


class ModelNode(LifecycleNode):
    """A lifecycle node that loads in configure, works while active, and frees everything in cleanup.

    Subclasses say what that is: `_load`, `_start`, `_stop`, `_free` and `_facts`.

    Args:
        name: of the node.
        activity: what it does, one word, for /diagnostics.
        specs: its parameters; one of them is autostart.
    """

    def __init__(self, name: str, activity: str, specs: Sequence[ParameterSpec]) -> None:
        super().__init__(name)
        self.failure = ""
        self._activity = activity
        self._loaded = False
        self._why_unconfigured = "it is waiting to be configured (autostart is off or still at work)"
        self._settings = Parameters(self, specs, locked=self._why_locked)
        self._health = Health(self.get_logger().warning)
        self._input_group = MutuallyExclusiveCallbackGroup()
        self._output_group = MutuallyExclusiveCallbackGroup()
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        # Not the ROS clock: a node that waits for /clock must still say how it is.
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer(DIAGNOSTICS_PERIOD, self._publish_diagnostics, self._output_group)
        if self._settings["autostart"]:
            self._autostart_timer = self._timer(0.001, self._autostart, MutuallyExclusiveCallbackGroup())

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model."""
        try:
            self._load()
        except OvsegError as error:
            self._why_unconfigured = str(error)
            self.get_logger().error(f"configure failed: {error}")
            return TransitionCallbackReturn.FAILURE
        except Exception as error:  # rclpy would swallow it without a word
            self._why_unconfigured = f"configure failed with {error!r}"
            self.get_logger().error(f"configure failed: {error!r}\n{traceback.format_exc()}")
            return TransitionCallbackReturn.FAILURE
        self._loaded = True
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe and start to work."""
        self._start()
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop the input; what was loaded stays."""
        self._stop()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free what was loaded."""
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
        """Ask threads that may be inside a model to end; returns at once."""
        raise NotImplementedError

    def _load(self) -> None:
        """Load what the node works with; an OvsegError says why it can't."""
        raise NotImplementedError

    def _start(self) -> None:
        """Subscribe."""
        raise NotImplementedError

    def _stop(self) -> None:
        """Undo `_start`, if it was called."""
        raise NotImplementedError

    def _free(self) -> None:
        """Forget what `_load` loaded."""
        raise NotImplementedError

    def _facts(self) -> dict[str, object]:
        """Further key -> value for /diagnostics."""
        raise NotImplementedError

    def _why_locked(self) -> str | None:
        return "deactivate and clean up the node first, then configure it again" if self._loaded else None

    def _release(self) -> None:
        self._stop()
        self._free()
        self._loaded = False
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

    def _publish_diagnostics(self) -> None:
        if not self._diagnostics.get_subscription_count():
            return
        self._diagnostics.publish(
            diagnostics_message(
                self.get_fully_qualified_name(),
                self._activity,
                self.get_clock().now().to_msg(),
                self._health.report(),
                self._facts(),
            )
        )
