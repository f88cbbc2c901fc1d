"""Rays as arrows and things as boxes, which keep their ids from message to message."""

from __future__ import annotations

import zlib

import numpy as np
from geometry_msgs.msg import Point
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from ovseg_ros.ros.messages import fill_box, header_message
from ovseg_ros.ros.snapshots import RaySnapshot
from ovseg_ros.ros.things import ThingsSnapshot
from ovseg_ros.visualization import label_colours

MAX_ARROWS = 500
"""Each is a message of its own for a viewer to draw."""

ARROW_LENGTH, SHAFT_DIAMETER, HEAD_DIAMETER, HEAD_LENGTH = 0.8, 0.03, 0.09, 0.15
"""Metres."""

FAINTEST = 0.3
"""Opacity of a ray of no weight; the heaviest is opaque."""

NAME_COLOURS = 64
BOX_OPACITY = 0.35
TEXT_HEIGHT, TEXT_GAP = 0.12, 0.1
"""Metres: of a thing's name, and of its middle above the box."""

IDS = 2**31
"""An int32 that counts up begins again here."""


class RayMarkers:
    """Remembers which id an arrow has, so that a viewer moves, keeps or removes the right one."""

    def __init__(self) -> None:
        self._ids: dict[tuple[int, int], int] = {}
        self._next = 0

    def message(self, rays: RaySnapshot) -> MarkerArray:
        """All arrows, coloured by label and fainter the less they weigh; DELETE for those that are gone."""
        header = header_message(rays.frame_id, rays.stamp_ns)
        gone = [self._ids.pop(key) for key in self._ids.keys() - set(rays.keys)]
        markers = [Marker(header=header, ns="rays", id=number, action=Marker.DELETE) for number in sorted(gone)]
        colours = label_colours(rays.label_count)[rays.labels] / 255.0
        opacity = FAINTEST + (1.0 - FAINTEST) * rays.weights / rays.weights.max(initial=1e-9)
        tips = rays.origins + ARROW_LENGTH * rays.directions
        rows = np.hstack((rays.origins, tips, colours, opacity[:, None])).tolist()
        for key, (x, y, z, to_x, to_y, to_z, red, green, blue, alpha) in zip(rays.keys, rows, strict=True):
            arrow = Marker(header=header, ns="rays", id=self._id(key), type=Marker.ARROW, action=Marker.ADD)
            arrow.points = [Point(x=x, y=y, z=z), Point(x=to_x, y=to_y, z=to_z)]
            arrow.scale.x, arrow.scale.y, arrow.scale.z = SHAFT_DIAMETER, HEAD_DIAMETER, HEAD_LENGTH
            arrow.color = ColorRGBA(r=red, g=green, b=blue, a=alpha)
            markers.append(arrow)
        return MarkerArray(markers=markers)

    def _id(self, key: tuple[int, int]) -> int:
        if key not in self._ids:
            self._ids[key] = self._next
            self._next = (self._next + 1) % IDS
        return self._ids[key]


class ObjectMarkers:
    """Remembers which things are shown, so that a viewer removes those that are gone. A box has the id of its thing."""

    def __init__(self) -> None:
        self._shown: set[int] = set()

    def message(self, snapshot: ThingsSnapshot) -> MarkerArray:
        """A box and a name for each thing, coloured by name, and none for walls; DELETE for those that are gone."""
        header = header_message(snapshot.frame_id, snapshot.stamp_ns)
        places = snapshot.named(())
        present = {snapshot.things[place].id for place in places}
        markers = [
            Marker(header=header, ns=namespace, id=number, action=Marker.DELETE)
            for number in sorted(self._shown - present)
            for namespace in ("objects", "names")
        ]
        self._shown = present
        for place in places:
            thing = snapshot.things[place]
            red, green, blue = name_colour(thing.label)
            box = Marker(header=header, ns="objects", id=int(thing.id), type=Marker.CUBE, action=Marker.ADD)
            fill_box(box.pose, box.scale, snapshot.boxes, place)
            box.color = ColorRGBA(r=red, g=green, b=blue, a=BOX_OPACITY)
            name = Marker(header=header, ns="names", id=int(thing.id), type=Marker.TEXT_VIEW_FACING, action=Marker.ADD)
            name.pose.position.x, name.pose.position.y = box.pose.position.x, box.pose.position.y
            name.pose.position.z = box.pose.position.z + box.scale.z / 2.0 + TEXT_GAP
            name.scale.z = TEXT_HEIGHT
            name.color = ColorRGBA(r=1.0, g=1.0, b=1.0, a=1.0)
            name.text = f"{thing.label} {thing.id}"
            markers += [box, name]
        return MarkerArray(markers=markers)


def name_colour(name: str) -> tuple[float, float, float]:
    """Red, green and blue of 0 to 1 for a name: the same in every run."""
    colours = label_colours(NAME_COLOURS)
    red, green, blue = (float(v) for v in colours[1 + zlib.crc32(name.encode()) % NAME_COLOURS] / 255.0)
    return red, green, blue
