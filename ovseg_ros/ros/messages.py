"""Arrays and answers -> ROS messages. Every number is made a plain float or int.

Distributions since Jazzy don't check fields: a numpy float32 in a float64 field arrives as another number.
"""

from __future__ import annotations

import array
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, PoseStamped, TransformStamped, Vector3
from nav_msgs.msg import OccupancyGrid, Odometry
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField
from std_msgs.msg import Header

from ovseg_ros.mapping.owners import NO_OBJECT
from ovseg_ros.query import Match as MapMatch
from ovseg_ros.query import RayMatch as MapRayMatch
from ovseg_ros.referring import Boxes, MapScene, Place
from ovseg_ros.ros.interfaces import Match, RayMatch, SemanticObject
from ovseg_ros.types import Intrinsics

_POINT_FIELD_TYPES = {
    np.dtype(np.uint8): PointField.UINT8,
    np.dtype(np.uint16): PointField.UINT16,
    np.dtype(np.int32): PointField.INT32,
    np.dtype(np.float32): PointField.FLOAT32,
}


def time_message(stamp_ns: int) -> Time:
    """Nanoseconds -> builtin_interfaces/Time."""
    seconds, nanoseconds = divmod(int(stamp_ns), 1_000_000_000)
    return Time(sec=int(seconds), nanosec=int(nanoseconds))


def header_message(frame_id: str, stamp_ns: int) -> Header:
    """A header in ``frame_id`` at ``stamp_ns`` nanoseconds."""
    return Header(stamp=time_message(stamp_ns), frame_id=frame_id)


def rgb_message(rgb: np.ndarray, header: Header) -> Image:
    """(H, W, 3) uint8 -> Image rgb8."""
    return _image(rgb.astype(np.uint8, copy=False), "rgb8", header)


def mono_message(values: np.ndarray, header: Header) -> Image:
    """(H, W) uint8 -> Image mono8."""
    return _image(values.astype(np.uint8, copy=False), "mono8", header)


def depth_message(depth: np.ndarray, header: Header, encoding: str) -> Image:
    """(H, W) float32 metres -> Image, "32FC1" in metres or "16UC1" in millimetres (no reading: 0)."""
    if encoding == "32FC1":
        return _image(depth.astype(np.float32, copy=False), encoding, header)
    millimetres = np.nan_to_num(depth * 1000.0, nan=0.0, posinf=0.0, neginf=0.0).round()
    millimetres[(millimetres < 0) | (millimetres > np.iinfo(np.uint16).max)] = 0
    return _image(millimetres.astype(np.uint16), "16UC1", header)


def _image(pixels: np.ndarray, encoding: str, header: Header) -> Image:
    return Image(
        header=header,
        height=int(pixels.shape[0]),
        width=int(pixels.shape[1]),
        encoding=encoding,
        is_bigendian=0,
        step=int(pixels[0].nbytes),
        data=_bytes(pixels.astype(pixels.dtype.newbyteorder("<"), copy=False)),
    )


def camera_info_message(intrinsics: Intrinsics, header: Header) -> CameraInfo:
    """A camera without distortion -> CameraInfo."""
    fx, fy = float(intrinsics.fx), float(intrinsics.fy)
    cx, cy = float(intrinsics.cx), float(intrinsics.cy)
    return CameraInfo(
        header=header,
        height=int(intrinsics.height),
        width=int(intrinsics.width),
        distortion_model="plumb_bob",
        d=[0.0] * 5,
        k=[fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0],
        r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        p=[fx, 0.0, cx, 0.0, 0.0, fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0],
    )


def pose_message(pose: np.ndarray, header: Header) -> PoseStamped:
    """(4, 4) float64 rigid transform -> PoseStamped."""
    message = PoseStamped(header=header)
    _fill(message.pose.position, message.pose.orientation, pose)
    return message


def odometry_message(pose: np.ndarray, header: Header, child_frame_id: str) -> Odometry:
    """(4, 4) float64 rigid transform -> Odometry without velocities or covariances."""
    message = Odometry(header=header, child_frame_id=child_frame_id)
    _fill(message.pose.pose.position, message.pose.pose.orientation, pose)
    return message


def transform_message(pose: np.ndarray, header: Header, child_frame_id: str) -> TransformStamped:
    """(4, 4) float64 rigid transform from ``child_frame_id`` to the header's frame -> TransformStamped."""
    message = TransformStamped(header=header, child_frame_id=child_frame_id)
    _fill(message.transform.translation, message.transform.rotation, pose)
    return message


def _fill(vector: Any, orientation: Any, pose: np.ndarray) -> None:
    vector.x, vector.y, vector.z = (float(v) for v in pose[:3, 3])
    orientation.x, orientation.y, orientation.z, orientation.w = (float(v) for v in quaternion(pose[:3, :3]))


def quaternion(rotation: np.ndarray) -> np.ndarray:
    """(3, 3) rotation -> (4,) unit quaternion x, y, z, w with w >= 0.

    The eigenvector of the largest eigenvalue of a symmetric matrix: one formula, accurate at every angle.
    """
    r = rotation.astype(np.float64)
    matrix = np.array(
        [
            [r[0, 0] - r[1, 1] - r[2, 2], r[1, 0] + r[0, 1], r[2, 0] + r[0, 2], r[2, 1] - r[1, 2]],
            [r[1, 0] + r[0, 1], r[1, 1] - r[0, 0] - r[2, 2], r[2, 1] + r[1, 2], r[0, 2] - r[2, 0]],
            [r[2, 0] + r[0, 2], r[2, 1] + r[1, 2], r[2, 2] - r[0, 0] - r[1, 1], r[1, 0] - r[0, 1]],
            [r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1], r[0, 0] + r[1, 1] + r[2, 2]],
        ]
    )
    vector = np.linalg.eigh(matrix)[1][:, -1]
    return vector if vector[3] >= 0 else -vector


def cloud_message(
    points: np.ndarray, colours: np.ndarray, extra: Mapping[str, np.ndarray], header: Header
) -> PointCloud2:
    """A point cloud with fields x, y, z, rgb and more.

    Args:
        points: (N, 3) metres in the frame of the header, all finite.
        colours: (N, 3) uint8 red, green, blue; packed into one float as RViz and PCL read it.
        extra: name -> (N,) uint8, uint16, int32 or float32, in this order after rgb.
        header: of the cloud.
    """
    names = ["x", "y", "z", "rgb", *extra]
    types = [np.dtype(np.float32)] * 4 + [column.dtype for column in extra.values()]
    layout = np.dtype(list(zip(names, types, strict=True)), align=True)
    rows = np.zeros(len(points), dtype=layout)
    for axis, name in enumerate("xyz"):
        rows[name] = points[:, axis]
    red, green, blue = (colours[:, channel].astype(np.uint32) for channel in range(3))
    rows["rgb"] = ((red << 16) | (green << 8) | blue).view(np.float32)
    for name, column in extra.items():
        rows[name] = column
    offsets = [layout.fields[name][1] for name in names] if layout.fields else []
    return PointCloud2(
        header=header,
        height=1,
        width=len(rows),
        fields=[
            PointField(name=name, offset=int(offset), datatype=int(_POINT_FIELD_TYPES[dtype]), count=1)
            for name, offset, dtype in zip(names, offsets, types, strict=True)
        ],
        is_bigendian=False,
        point_step=layout.itemsize,
        row_step=layout.itemsize * len(rows),
        data=_bytes(rows),
        is_dense=True,
    )


def occupancy_message(
    cells: np.ndarray, corner: tuple[float, float], cell_size: float, header: Header
) -> OccupancyGrid:
    """(ny, nx) int8 from -1 to 100 -> OccupancyGrid.

    Args:
        cells: rows go along y, columns along x of the frame of the header.
        corner: x, y of the outer corner of ``cells[0, 0]``, metres.
        cell_size: metres.
        header: of the grid.
    """
    message = OccupancyGrid(header=header)
    message.info.map_load_time = header.stamp
    message.info.resolution = float(cell_size)
    message.info.height, message.info.width = (int(n) for n in cells.shape)
    message.info.origin.position.x, message.info.origin.position.y = (float(v) for v in corner)
    message.data = _array("b", cells.astype(np.int8, copy=False))
    return message


def object_message(scene: MapScene, place: int, header: Header) -> SemanticObject:
    """Thing number ``place`` of a scene -> SemanticObject."""
    thing, support = scene.things[place], int(scene.supports[place])
    names = scene.label_scores(place)
    message = SemanticObject(
        header=header,
        id=int(thing.id),
        label=str(thing.label),
        score=float(thing.score),
        labels=[str(label) for label in names],
        label_scores=[float(score) for score in names.values()],
        voxel_count=int(thing.voxel_count),
        view_count=int(thing.view_count),
        first_seen=time_message(thing.first_seen_ns),
        last_seen=time_message(thing.last_seen_ns),
        support_id=int(scene.things[support].id) if support >= 0 else NO_OBJECT,
    )
    fill_box(message.pose, message.size, scene.boxes, place)
    return message


def place_message(place: Place, expression: str, header: Header) -> SemanticObject:
    """What an expression was found to mean -> SemanticObject without an identity."""
    box = place.box
    boxes = Boxes(np.array([box.centre]), np.array([box.size]), np.array([box.yaw]))
    message = SemanticObject(
        header=header,
        id=NO_OBJECT,
        label=expression,
        score=float(place.score),
        voxel_count=len(place.keys),
        view_count=int(place.views),
        support_id=NO_OBJECT,
    )
    fill_box(message.pose, message.size, boxes, 0)
    return message


def fill_box(pose: Any, size: Any, boxes: Boxes, place: int) -> None:
    """Write box number ``place`` into a geometry_msgs/Pose and a geometry_msgs/Vector3."""
    pose.position.x, pose.position.y, pose.position.z = (float(v) for v in boxes.centres[place])
    half = float(boxes.yaws[place]) / 2.0
    pose.orientation.z, pose.orientation.w = math.sin(half), math.cos(half)
    size.x, size.y, size.z = (float(v) for v in boxes.sizes[place])


def match_messages(matches: Sequence[MapMatch], frame_id: str, stamp_ns: int) -> list[Match]:
    """Answers of the map -> Match messages in ``frame_id``; ``stamp_ns`` is the newest frame's."""
    return [_match(match, header_message(frame_id, stamp_ns)) for match in matches]


def ray_match_messages(matches: Sequence[MapRayMatch], frame_id: str, stamp_ns: int) -> list[RayMatch]:
    """Directions -> RayMatch messages in ``frame_id``; ``stamp_ns`` is the newest frame's."""
    return [_ray_match(match, header_message(frame_id, stamp_ns)) for match in matches]


def found_message(found: MapMatch | MapRayMatch, frame_id: str, stamp_ns: int) -> Match:
    """What was located -> Match; what was seen only from afar has no voxels, and lies beyond its position."""
    if isinstance(found, MapRayMatch):
        nowhere = (0.0, 0.0, 0.0)
        found = MapMatch(found.query, found.score, found.origin, nowhere, 0, NO_OBJECT, 0)
    return _match(found, header_message(frame_id, stamp_ns))


def _match(match: MapMatch, header: Header) -> Match:
    x, y, z = (float(v) for v in match.position)
    dx, dy, dz = (float(v) for v in match.size)
    return Match(
        header=header,
        query=str(match.query),
        score=float(match.score),
        position=Point(x=x, y=y, z=z),
        size=Vector3(x=dx, y=dy, z=dz),
        voxel_count=int(match.voxel_count),
        object_id=int(match.object_id),
        last_seen=time_message(match.last_seen_ns),
    )


def _ray_match(match: MapRayMatch, header: Header) -> RayMatch:
    x, y, z = (float(v) for v in match.origin)
    dx, dy, dz = (float(v) for v in match.direction)
    return RayMatch(
        header=header,
        query=str(match.query),
        score=float(match.score),
        origin=Point(x=x, y=y, z=z),
        direction=Vector3(x=dx, y=dy, z=dz),
        spread=float(match.spread),
    )


def _bytes(values: np.ndarray) -> Any:
    return _array("B", np.ascontiguousarray(values).view(np.uint8))


def _array(code: str, values: np.ndarray) -> Any:
    """The fastest filling of a uint8[] or int8[] that every distribution takes (an ndarray takes 500 times as long)."""
    data = array.array(code)
    data.frombytes(np.ascontiguousarray(values).reshape(-1).data)
    return data
