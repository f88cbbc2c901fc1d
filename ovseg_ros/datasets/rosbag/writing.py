"""A recording -> a bag that `ros2 bag play` plays."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy.spatial.transform import Rotation

from ovseg_ros.datasets.rosbag.file import CAMERA_INFO, IMAGE, POSE_STAMPED, TF
from ovseg_ros.errors import OvsegError
from ovseg_ros.types import Intrinsics, RgbdFrame

if TYPE_CHECKING:
    from rosbags.interfaces import Qos

STORAGES = ("sqlite3", "mcap")
DEPTH_ENCODINGS = ("32FC1", "16UC1")
TOPICS = {
    "camera_info": ("/rgb/camera_info", CAMERA_INFO),
    "pose": ("/camera_pose", POSE_STAMPED),
    "tf": ("/tf", TF),
    "depth": ("/depth/image", IMAGE),
    "rgb": ("/rgb/image", IMAGE),
}
"""Where and as what each part of a frame is written, in this order: the nodes' own names."""

MAP_FRAME, CAMERA_FRAME = "map", "camera_optical_frame"

BAG_VERSION: Literal[8] = 8
"""The newest format that Humble reads."""


def write_rosbag(
    frames: Iterable[RgbdFrame], out: Path, storage: str = "sqlite3", depth_encoding: str = "32FC1"
) -> int:
    """Write colour, depth, camera info, and poses as PoseStamped and TF; one frame is in memory at a time.

    Args:
        frames: in order of their stamps. Wrap them in tqdm to show progress.
        out: the bag's folder, which must not exist.
        storage: one of `STORAGES`.
        depth_encoding: one of `DEPTH_ENCODINGS`: metres as they are, or whole millimetres, where 0 is no reading.

    Returns:
        The number of frames written.

    Raises:
        OvsegError: the folder exists, can't be written, or there are no frames.
    """
    from rosbags.rosbag2 import StoragePlugin, Writer
    from rosbags.typesys import Stores, get_typestore

    if storage not in STORAGES or depth_encoding not in DEPTH_ENCODINGS:
        raise OvsegError(
            f"a bag is stored as {' or '.join(STORAGES)} with depth as {' or '.join(DEPTH_ENCODINGS)}, "
            f"got {storage} and {depth_encoding}"
        )
    if out.exists():
        raise OvsegError(f"{out} exists: give a new folder, nothing is overwritten")
    store = get_typestore(Stores.ROS2_HUMBLE)
    messages = _Messages(store.types, depth_encoding)
    remaining = iter(frames)
    first = next(remaining, None)
    if first is None:
        raise OvsegError("there are no frames to write: ask for at least one")
    count = 0
    try:
        with Writer(out, version=BAG_VERSION, storage_plugin=StoragePlugin[storage.upper()]) as writer:
            connections = {
                part: writer.add_connection(topic, kind, typestore=store, offered_qos_profiles=[_quality()])
                for part, (topic, kind) in TOPICS.items()
            }
            for frame in chain([first], remaining):
                for part, message in messages.of(frame).items():
                    raw = store.serialize_cdr(message, TOPICS[part][1])
                    writer.write(connections[part], frame.stamp_ns, raw)
                count += 1
    except OSError as error:
        raise OvsegError(f"cannot write {out}: {error.strerror}") from error
    return count


class _Messages:
    """Frames -> messages of rosbags' own classes."""

    def __init__(self, types: Any, depth_encoding: str) -> None:
        self._types = types
        self._depth_encoding = depth_encoding

    def of(self, frame: RgbdFrame) -> dict[str, Any]:
        """Message per part of `TOPICS`."""
        camera, posed = self._header(CAMERA_FRAME, frame.stamp_ns), self._header(MAP_FRAME, frame.stamp_ns)
        depth = frame.depth.cpu().numpy()
        if self._depth_encoding == "16UC1":
            depth = _millimetres(depth)
        return {
            "camera_info": self._camera_info(frame.intrinsics, camera),
            **self._poses(frame.pose.cpu().numpy(), posed),
            "depth": self._image(depth, self._depth_encoding, camera),
            "rgb": self._image(frame.rgb.cpu().numpy(), "rgb8", camera),
        }

    def _header(self, frame_id: str, stamp_ns: int) -> Any:
        seconds, nanoseconds = divmod(stamp_ns, 1_000_000_000)
        stamp = self._types["builtin_interfaces/msg/Time"](sec=seconds, nanosec=nanoseconds)
        return self._types["std_msgs/msg/Header"](stamp=stamp, frame_id=frame_id)

    def _image(self, pixels: np.ndarray, encoding: str, header: Any) -> Any:
        little = np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("<"))
        return self._types[IMAGE](
            header=header,
            height=pixels.shape[0],
            width=pixels.shape[1],
            encoding=encoding,
            is_bigendian=0,
            step=little[0].nbytes,
            data=little.view(np.uint8).reshape(-1),
        )

    def _camera_info(self, camera: Intrinsics, header: Any) -> Any:
        matrix = np.array([[camera.fx, 0, camera.cx], [0, camera.fy, camera.cy], [0, 0, 1]], dtype=np.float64)
        return self._types[CAMERA_INFO](
            header=header,
            height=camera.height,
            width=camera.width,
            distortion_model="plumb_bob",
            d=np.zeros(5),
            k=matrix.reshape(-1),
            r=np.eye(3).reshape(-1),
            p=np.hstack([matrix, np.zeros((3, 1))]).reshape(-1),
            binning_x=0,
            binning_y=0,
            roi=self._types["sensor_msgs/msg/RegionOfInterest"](
                x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
            ),
        )

    def _poses(self, pose: np.ndarray, header: Any) -> dict[str, Any]:
        x, y, z = (float(value) for value in pose[:3, 3])
        quaternion = dict(zip("xyzw", Rotation.from_matrix(pose[:3, :3]).as_quat().tolist(), strict=True))
        kinds = {name: self._types[f"geometry_msgs/msg/{name}"] for name in _GEOMETRY}
        rotation = kinds["Quaternion"](**quaternion)
        transform = kinds["TransformStamped"](
            header=header,
            child_frame_id=CAMERA_FRAME,
            transform=kinds["Transform"](translation=kinds["Vector3"](x=x, y=y, z=z), rotation=rotation),
        )
        posed = kinds["Pose"](position=kinds["Point"](x=x, y=y, z=z), orientation=rotation)
        return {"pose": self._types[POSE_STAMPED](header=header, pose=posed), "tf": self._types[TF]([transform])}


_GEOMETRY = ("Point", "Pose", "Quaternion", "Transform", "TransformStamped", "Vector3")


def _millimetres(depth: np.ndarray) -> np.ndarray:
    millimetres = np.rint(np.nan_to_num(depth.astype(np.float64) * 1000, nan=0, posinf=0, neginf=0))
    # 65535 is what some drivers write for no reading, and is read as that.
    millimetres[(millimetres < 0) | (millimetres >= np.iinfo(np.uint16).max)] = 0
    return millimetres.astype(np.uint16)


def _quality() -> Qos:
    """Reliable, the last ten: what the nodes' subscriptions match."""
    from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime

    never = QosTime(0, 0)
    return Qos(
        QosHistory.KEEP_LAST, 10, QosReliability.RELIABLE, QosDurability.VOLATILE,
        deadline=never, lifespan=never, liveliness=QosLiveliness.AUTOMATIC, liveliness_lease_duration=never,
        avoid_ros_namespace_conventions=False,
    )  # fmt: skip
