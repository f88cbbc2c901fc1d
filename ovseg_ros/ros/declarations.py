"""How topics and services are declared: once, beside the code that offers them. README's tables come from here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rclpy.qos import QoSDurabilityPolicy, QoSHistoryPolicy, QoSProfile, QoSReliabilityPolicy

LATCHED = QoSProfile(
    history=QoSHistoryPolicy.KEEP_LAST,
    depth=1,
    reliability=QoSReliabilityPolicy.RELIABLE,
    durability=QoSDurabilityPolicy.TRANSIENT_LOCAL,
)
"""Clouds are large: best effort loses them, and a late RViz wants the latest."""

NEWEST = QoSProfile(history=QoSHistoryPolicy.KEEP_LAST, depth=1, reliability=QoSReliabilityPolicy.RELIABLE)
"""Images are about now: whoever comes late waits for the next."""


@dataclass(frozen=True)
class Topic:
    """One topic, under its name in a table of them.

    Attributes:
        kind: message class; "package/Type" where the package may not be installed.
        quality: of service; a sentence where parameters decide it.
        sentence: what it carries, and when.
    """

    kind: Any
    quality: QoSProfile | str
    sentence: str


@dataclass(frozen=True)
class Service:
    """One service, under its name in a table of them.

    Attributes:
        kind: service class.
        work: method of the class that offers it; answers one request.
        sentence: what it does.
        slow: whether a model may look at many pictures for it, so that it must not keep the others waiting.
    """

    kind: Any
    work: Callable[..., str]
    sentence: str
    slow: bool = False
