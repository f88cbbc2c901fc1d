#!/usr/bin/env python3
"""What mapping_node does under more frames than it can take: the newest are mapped, the rest is counted.

    python benchmarks/ros_load.py --seconds 60 --rate 30 --size 640x480 --json

A camera turns in a furnished room and publishes with the quality of a sensor. `unaccounted` are colour images that the
node received and neither mapped nor counted as dropped; it must be 0. `transport_lost` never reached it. `queue_ms` is
the age of a frame when the model takes it. Memory is the node's resident memory after a third of the time and at the
end; some of the growth is of the map itself.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ros_rig import mapping_node
from scenes import room_frame

from ovseg_ros.ros import messages
from ovseg_ros.ros.client import MapClient
from ovseg_ros.ros.health import PERCENTILES
from ovseg_ros.ros.player import image_size
from ovseg_ros.types import Intrinsics

VIEWS = 16
"""Frames of one turn, rendered beforehand."""

LISTEN_SECONDS = 30.0


class TurningCamera:
    """Publishes at a rate on a thread of its own, between `start` and `stop`."""

    def __init__(self, client: MapClient, size: tuple[int, int], rate: float) -> None:
        from geometry_msgs.msg import PoseStamped
        from rclpy.qos import qos_profile_sensor_data
        from sensor_msgs.msg import CameraInfo, Image

        width, height = size
        camera = Intrinsics(0.6 * width, 0.6 * width, (width - 1) / 2, (height - 1) / 2, width, height)
        frames = [room_frame(camera, 2 * math.pi * view / VIEWS) for view in range(VIEWS)]
        header = messages.header_message("camera_optical_frame", 0)
        self._views = [
            (
                messages.camera_info_message(frame.intrinsics, header),
                messages.pose_message(np.asarray(frame.pose), messages.header_message("map", 0)),
                messages.depth_message(np.asarray(frame.depth), header, "32FC1"),
                messages.rgb_message(np.asarray(frame.rgb), header),
            )
            for frame in frames
        ]
        self._node = client.node
        kinds = ((CameraInfo, "rgb/camera_info"), (PoseStamped, "camera_pose"), (Image, "depth/image"))
        self._publishers = [
            self._node.create_publisher(kind, topic, qos_profile_sensor_data)
            for kind, topic in (*kinds, (Image, "rgb/image"))
        ]
        self._period = 1.0 / rate
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.sent = 0

    @property
    def heard(self) -> bool:
        """Whether every topic has a listener."""
        return all(publisher.get_subscription_count() for publisher in self._publishers)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            stamp = self._node.get_clock().now().to_msg()
            for publisher, message in zip(self._publishers, self._views[self.sent % VIEWS], strict=True):
                message.header.stamp = stamp
                publisher.publish(message)
            self.sent += 1
            due = max(due + self._period, time.monotonic())


def measure(seconds: float, rate: float, size: tuple[int, int], log: Path) -> dict[str, Any]:
    """One run, under the keys that `--json` prints."""
    with mapping_node(log, {"pose_source": "pose"}) as (node, client):
        camera = TurningCamera(client, size, rate)
        client.wait_for(lambda: camera.heard, "subscriptions of the node", LISTEN_SECONDS)
        camera.start()
        begin = time.monotonic()
        try:
            first = _follow(client, lambda _: time.monotonic() - begin > seconds / 3)
            early = resident_megabytes(node.pid)
            report = _follow(client, lambda _: time.monotonic() - begin > seconds)
            late = resident_megabytes(node.pid)
            map_growth = float(report["map_megabytes"]) - float(first["map_megabytes"])
            queue = {f"p{p}": float(report[f"queue_ms.p{p}"]) for p in PERCENTILES}
        finally:
            camera.stop()
        lasted = time.monotonic() - begin
        _follow(client, lambda report: report["queue"] == "0")
        report = client.diagnostics()  # the last frame may still have been at work
    received = int(report["received.rgb/image"])
    return {
        "seconds": lasted,
        "size": f"{size[0]}x{size[1]}",
        "sent": camera.sent,
        "sent_hz": camera.sent / lasted,
        "transport_lost": camera.sent - received,
        "integrated": int(report["frames_integrated"]),
        "integrated_hz": int(report["frames_integrated"]) / lasted,
        "dropped": {key[8:]: int(value) for key, value in report.items() if key.startswith("dropped.")},
        "unaccounted": received - int(report["frames_integrated"]) - int(report["frames_dropped"]),
        "queue_ms": queue,
        "memory_mb": {"early": early, "late": late, "growth": late - early, "of_the_map": map_growth},
        "voxels": int(report["voxels"]),
    }


def _follow(client: MapClient, enough: Callable[[dict[str, str]], bool]) -> dict[str, str]:
    """Read /diagnostics until a report is ``enough``; return that one."""
    while not enough(report := client.diagnostics()):
        pass
    return report


def resident_megabytes(pid: int) -> float:
    """Resident memory of a process."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(fields["VmRSS"].split()[0]) / 1000.0


def table(result: dict[str, Any]) -> str:
    """What was measured, for people."""
    queue, memory = result["queue_ms"], result["memory_mb"]
    return "\n".join(
        (
            f"{result['sent']} frames of {result['size']} in {result['seconds']:.0f} s ({result['sent_hz']:.1f} Hz)",
            f"{result['integrated']} mapped ({result['integrated_hz']:.1f} Hz), dropped and counted "
            f"{result['dropped']}, lost on the way {result['transport_lost']}, unaccounted {result['unaccounted']}",
            f"age when the model takes a frame: p50 {queue['p50']:.0f} ms, p99 {queue['p99']:.0f} ms",
            f"memory {memory['early']:.0f} -> {memory['late']:.0f} MB, {memory['of_the_map']:.0f} of it in the map",
        )
    )


def main(arguments: Sequence[str] | None = None) -> None:
    summary, _, more = str(__doc__).partition("\n\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=more, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="default %(default)s")
    parser.add_argument("--rate", type=float, default=30.0, help="frames per second (default %(default)s)")
    parser.add_argument("--size", type=image_size, default=(640, 480), metavar="WxH", help="default 640x480")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        result = measure(options.seconds, options.rate, options.size, Path(folder) / "mapping_node.log")
    print(json.dumps(result) if options.json else table(result))


if __name__ == "__main__":
    main()
