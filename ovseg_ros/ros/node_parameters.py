"""How parameters are declared, validated and read: each is described once, by a `ParameterSpec`."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ovseg_ros.errors import OvsegError

if TYPE_CHECKING:
    from rclpy.node import Node

Value = bool | int | float | str | list[str]

MAX_PATH_LENGTH = 4096


@dataclass(frozen=True)
class ParameterSpec:
    """One parameter.

    Attributes:
        name: snake_case, dotted groups.
        default: its type is the parameter's type.
        sentence: what it is for.
        minimum: smallest value of a number, included.
        maximum: largest value of a number, included.
        choices: the only values of a text, where they are few.
        live: may be set while the node is configured; the others take effect at the next configure.
    """

    name: str
    default: Value
    sentence: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    live: bool = False

    @property
    def type_name(self) -> str:
        """The type as ROS calls it."""
        return {bool: "bool", int: "integer", float: "double", str: "string", list: "string array"}[type(self.default)]

    @property
    def limits(self) -> str:
        """The values allowed, for people; empty where everything is."""
        if self.choices:
            return ", ".join(self.choices)
        return f"{self.minimum:g} to {self.maximum:g}" if self.minimum is not None and self.maximum is not None else ""

    def problem(self, value: Any) -> str | None:
        """What is wrong with ``value``, in one sentence, or None."""
        if type(value) is not type(self.default):
            mend = f": write {float(value)}" if isinstance(self.default, float) and type(value) is int else ""
            return f"{self.name} must be of type {self.type_name}, got {value!r}{mend}"
        if isinstance(value, list):
            texts = all(isinstance(item, str) for item in value) and len("".join(value)) <= MAX_PATH_LENGTH
            return None if texts else f"{self.name} must be texts of {MAX_PATH_LENGTH} characters in all, got {value!r}"
        if self.choices and value not in self.choices:
            return f"{self.name} must be one of {self.limits}, got {value!r}"
        if isinstance(value, str):
            too_long = len(value) > MAX_PATH_LENGTH
            return f"{self.name} has {len(value)} characters, the limit is {MAX_PATH_LENGTH}" if too_long else None
        outside = (self.minimum is not None and value < self.minimum) or (
            self.maximum is not None and value > self.maximum
        )
        if outside or not math.isfinite(value):
            return f"{self.name} must be {self.limits}, got {value}"
        return None


class Parameters:
    """The parameters of one node: declared, validated and read by name.

    A value out of its limits is refused when it is set, with a message that names the limit; a name
    nobody declared (a typo in a YAML file) is reported with the closest one that exists.

    Args:
        node: the node to declare them on.
        specs: what to declare.
        locked: says why a value that isn't live can't be set now, or None when it can.

    Raises:
        OvsegError: when a value given at the start is refused.
    """

    def __init__(
        self, node: Node, specs: Sequence[ParameterSpec], *, locked: Callable[[], str | None] = lambda: None
    ) -> None:
        self._node = node
        self._specs = {spec.name: spec for spec in specs}
        self._locked = locked
        self._declare()
        for sentence in unknown_names(self._overrides(), self._specs, node.has_parameter):
            node.get_logger().warning(sentence)
        node.add_on_set_parameters_callback(self._validate)

    def __getitem__(self, name: str) -> Any:
        return self._node.get_parameter(name).value

    def _declare(self) -> None:
        from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException

        for spec in self._specs.values():
            given = self._overrides().get(spec.name)
            problem = spec.problem(given) if given is not None else None
            if problem is not None:
                raise OvsegError(problem)
            try:
                self._node.declare_parameter(spec.name, spec.default, descriptor(spec))
            except (InvalidParameterTypeException, InvalidParameterValueException) as error:
                raise OvsegError(f"the parameter {spec.name} was refused: {error}") from error

    def _overrides(self) -> dict[str, Any]:
        # rclpy keeps what YAML and the command line gave nowhere else, in every distribution since Humble.
        return {name: parameter.value for name, parameter in self._node._parameter_overrides.items()}

    def _validate(self, parameters: Iterable[Any]) -> Any:
        from rcl_interfaces.msg import SetParametersResult

        for parameter in parameters:
            spec = self._specs.get(parameter.name)
            if spec is None:
                continue
            problem = spec.problem(parameter.value)
            reason = self._locked()
            if problem is None and not spec.live and reason is not None:
                problem = f"{spec.name} can't be set now: {reason}"
            if problem is not None:
                return SetParametersResult(successful=False, reason=problem)
        return SetParametersResult(successful=True)


def numbers(text: str, name: str, *, example: str) -> tuple[float, ...]:
    """The numbers in a text parameter, apart by spaces or commas; OvsegError if anything else is in it."""
    try:
        return tuple(float(word) for word in text.replace(",", " ").split())
    except ValueError as error:
        raise OvsegError(
            f"{name} must be numbers apart by spaces, got {text!r}: write for example '{example}'"
        ) from error


def descriptor(spec: ParameterSpec) -> Any:
    """The rcl_interfaces/ParameterDescriptor of ``spec``, so that tools show its sentence and limits."""
    from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor

    message = ParameterDescriptor(description=spec.sentence, additional_constraints=", ".join(spec.choices))
    if spec.minimum is not None and spec.maximum is not None:
        if isinstance(spec.default, float):
            message.floating_point_range = [
                FloatingPointRange(from_value=float(spec.minimum), to_value=float(spec.maximum), step=0.0)
            ]
        else:
            message.integer_range = [IntegerRange(from_value=int(spec.minimum), to_value=int(spec.maximum), step=1)]
    return message


def unknown_names(
    given: Iterable[str], specs: Iterable[str], declared: Callable[[str], bool] = lambda _name: False
) -> list[str]:
    """One sentence for each given name that no spec has, with the closest one.

    Args:
        given: names from YAML and the command line.
        specs: names that exist.
        declared: whether ROS itself knows a name (use_sim_time and the like).
    """
    known = list(specs)
    sentences = []
    for name in given:
        if name in known or declared(name) or name.startswith("qos_overrides."):
            continue
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"
        sentences.append(f"the parameter {name} is unknown and has no effect: {hint}")
    return sentences


def markdown(specs: Sequence[ParameterSpec]) -> str:
    """The table of the README."""
    lines = ["| parameter | type | default | values | what it is |", "|---|---|---|---|---|"]
    for spec in specs:
        default = f"`{str(spec.default).lower() if isinstance(spec.default, bool) else spec.default}`"
        default = "" if spec.default == "" else default
        lines.append(f"| `{spec.name}` | {spec.type_name} | {default} | {spec.limits} | {spec.sentence} |")
    return "\n".join(lines)
