"""The executor of our nodes: messages come in while a service takes its time, and no error is lost."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="ROS 2 for Python is not installed")

import rclpy
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from std_msgs.msg import Int32
from std_srvs.srv import Trigger

from ovseg_ros.demo.run import LAST_DOMAIN
from ovseg_ros.ros.executor import InputsFirstExecutor

DEADLINE_SECONDS = 20.0


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    rclpy.init(domain_id=1 + os.getpid() % LAST_DOMAIN)
    node = rclpy.create_node("executor_under_test")
    yield node
    node.destroy_node()
    rclpy.shutdown()


def spin_until(executor: InputsFirstExecutor, done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not done():
        assert time.monotonic() < deadline, f"not done within {DEADLINE_SECONDS:g} s"
        executor.spin_once(timeout_sec=0.05)


def test_messages_arrive_in_order_and_in_the_waiting_thread_while_a_service_is_busy(node: Node) -> None:
    begun, release = threading.Event(), threading.Event()
    received: list[tuple[int, int]] = []

    def slow(_request: Any, response: Any) -> Any:
        begun.set()
        response.success = release.wait(DEADLINE_SECONDS)
        return response

    node.create_service(Trigger, "slow", slow, callback_group=MutuallyExclusiveCallbackGroup())
    client = node.create_client(Trigger, "slow", callback_group=MutuallyExclusiveCallbackGroup())
    node.create_subscription(Int32, "in", lambda message: received.append((message.data, threading.get_ident())), 10)
    publisher = node.create_publisher(Int32, "in", 10)
    executor = InputsFirstExecutor(2)
    executor.add_node(node)
    spin_until(executor, lambda: client.service_is_ready() and publisher.get_subscription_count() > 0)
    reply = client.call_async(Trigger.Request())
    spin_until(executor, begun.is_set)
    for number in range(5):
        publisher.publish(Int32(data=number))
    spin_until(executor, lambda: len(received) == 5)
    assert received == [(number, threading.get_ident()) for number in range(5)]
    assert not reply.done()
    release.set()
    spin_until(executor, reply.done)
    assert reply.result().success
    executor.shutdown()


@pytest.mark.parametrize("source", ["subscription", "timer"])
def test_what_a_callback_raises_ends_the_spinning(node: Node, source: str) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("a defect")

    if source == "subscription":
        node.create_subscription(Int32, "in", fail, 10)
    else:
        node.create_timer(0.01, fail)
    publisher = node.create_publisher(Int32, "in", 10)
    executor = InputsFirstExecutor(2)
    executor.add_node(node)

    def published() -> bool:
        publisher.publish(Int32(data=1))
        return False

    with pytest.raises(RuntimeError, match="a defect"):
        spin_until(executor, published)
    executor.shutdown()
