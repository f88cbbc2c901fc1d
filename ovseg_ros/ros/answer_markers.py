"""An answer as boxes: what was meant, and the things that speak for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from geometry_msgs.msg import Point
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from ovseg_ros.ros.interfaces import Candidate, SemanticObject
from ovseg_ros.ros.markers import BOX_OPACITY, TEXT_GAP, TEXT_HEIGHT

BEST, OTHER, ANCHOR = (0.1, 0.8, 0.2), (0.9, 0.8, 0.2), (0.2, 0.5, 1.0)
"""Colours of the first answer, of further ones, and of what they were described by."""

LINE_WIDTH = 0.02
"""Metres."""


def answer_markers(candidates: Sequence[Candidate], header: Header) -> MarkerArray:
    """Boxes of the candidates, best first, and lines to their anchors with the relation; all of the last answer go."""
    markers = [Marker(header=header, action=Marker.DELETEALL)]
    for rank, candidate in enumerate(candidates):
        thing = candidate.object
        text = f"{thing.label} {candidate.score:.2f}"
        markers += _box(header, "answers", len(markers), thing, text, OTHER if rank else BEST)
        for anchor, relation in zip(candidate.anchors, candidate.relations, strict=True):
            markers += _box(header, "anchors", len(markers), anchor, f"{relation} {anchor.label}", ANCHOR)
            line = _marker(header, "relations", len(markers), Marker.LINE_STRIP, ANCHOR, 1.0)
            line.scale.x = LINE_WIDTH
            line.points = [thing.pose.position, anchor.pose.position]
            markers.append(line)
    return MarkerArray(markers=markers)


def _box(
    header: Header, namespace: str, number: int, thing: SemanticObject, text: str, colour: tuple[float, float, float]
) -> list[Any]:
    box = _marker(header, namespace, number, Marker.CUBE, colour, BOX_OPACITY)
    box.pose, box.scale = thing.pose, thing.size
    name = _marker(header, f"{namespace} names", number, Marker.TEXT_VIEW_FACING, (1.0, 1.0, 1.0), 1.0)
    above = thing.pose.position.z + thing.size.z / 2.0 + TEXT_GAP
    name.pose.position = Point(x=thing.pose.position.x, y=thing.pose.position.y, z=above)
    name.scale.z, name.text = TEXT_HEIGHT, text
    return [box, name]


def _marker(
    header: Header, namespace: str, number: int, kind: int, colour: tuple[float, float, float], opacity: float
) -> Any:
    red, green, blue = colour
    return Marker(
        header=header, ns=namespace, id=number, type=kind, action=Marker.ADD,
        color=ColorRGBA(r=red, g=green, b=blue, a=opacity),
    )  # fmt: skip
