"""Matching by stamps, the worker's queue and the counters: everything of the nodes that needs no ROS."""

from __future__ import annotations

import random
import threading
from collections import Counter

import pytest

from ovseg_ros.errors import OvsegError
from ovseg_ros.ros import filter_synchronizer
from ovseg_ros.ros.filter_synchronizer import FilterSynchronizer, have_message_filters
from ovseg_ros.ros.health import RATE_SECONDS, Health
from ovseg_ros.ros.synchronizer import POSES_PER_IMAGE, RgbdSynchronizer, Stream, valid_at
from ovseg_ros.ros.worker import Worker

MS = 1_000_000


class Drops:
    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.sentences: list[str] = []

    def __call__(self, cause: str, sentence: str) -> None:
        self.counts[cause] += 1
        self.sentences.append(sentence)


Synchronizer = RgbdSynchronizer | FilterSynchronizer

either = pytest.mark.parametrize(
    "kind",
    [
        RgbdSynchronizer,
        pytest.param(
            FilterSynchronizer,
            marks=pytest.mark.skipif(not have_message_filters(), reason="message_filters is not installed"),
        ),
    ],
)


def synchronizer(
    drops: Drops,
    slop_ms: int = 50,
    queue_size: int = 10,
    gap_ms: int | None = 250,
    kind: type[Synchronizer] = RgbdSynchronizer,
) -> Synchronizer:
    pose_gap_ns = None if gap_ms is None else gap_ms * MS
    return kind(slop_ns=slop_ms * MS, pose_gap_ns=pose_gap_ns, queue_size=queue_size, on_drop=drops)


def feed(sync: Synchronizer, *messages: tuple[Stream, int]) -> list[tuple[int, int, float]]:
    """Add (stream, stamp in ms) with the stamp as the message; return the stamps of each match in ms.

    That of the pose is interpolated as the pose would be.
    """
    matched = [match for stream, stamp in messages for match in sync.add(stream, stamp * MS, stamp)]
    return [
        (match.colour, match.depth, pose.before + pose.fraction * (pose.after - pose.before))
        for match in matched
        for pose in [match.pose]
    ]


C, D, P = Stream.COLOUR, Stream.DEPTH, Stream.POSE


@either
def test_equal_stamps_match_at_once_whatever_the_order(kind: type[Synchronizer]) -> None:
    for order in ([C, D, P], [P, D, C], [D, C, P]):
        drops = Drops()
        assert feed(synchronizer(drops, kind=kind), *((stream, 100) for stream in order)) == [(100, 100, 100)]
        assert not drops.counts


def test_the_nearest_partner_wins_not_the_first_within_slop() -> None:
    drops = Drops()
    sync = synchronizer(drops)
    # The depth image at 67 is within slop of the colour image at 100, but its own comes a little later.
    assert feed(sync, (D, 67), (P, 100), (C, 100)) == []
    assert feed(sync, (D, 99)) == []
    assert feed(sync, (D, 133)) == [(100, 99, 100)]
    assert not drops.counts


@either
def test_partners_outside_slop_are_refused_and_every_colour_image_is_counted(kind: type[Synchronizer]) -> None:
    drops = Drops()
    sync = synchronizer(drops, 10, kind=kind)
    assert feed(sync, *((stream, 100 * i + 20 * (stream is D)) for i in range(1, 50) for stream in (C, D, P))) == []
    assert set(drops.counts) == {"unmatched"}
    assert drops.counts["unmatched"] + sync.waiting(C) == 49
    assert sync.waiting(C) <= 10
    assert sync.waiting(D) <= 10


def test_partners_outside_slop_are_refused_and_counted_with_the_stream_that_lacks() -> None:
    drops = Drops()
    assert feed(synchronizer(drops, slop_ms=10), (C, 100), (P, 100), (D, 80), (D, 120)) == []
    assert drops.counts == {"unmatched": 1}
    assert "depth/image" in drops.sentences[0]
    assert "0.01 s" in drops.sentences[0]


@either
def test_slop_is_included(kind: type[Synchronizer]) -> None:
    assert feed(synchronizer(Drops(), 10, kind=kind), (C, 100), (P, 100), (D, 90), (D, 120)) == [(100, 90, 100)]
    assert feed(synchronizer(Drops(), 9, kind=kind), (C, 100), (P, 100), (D, 90), (D, 120)) == []


def test_a_depth_image_is_used_once_poses_may_serve_two() -> None:
    drops = Drops()
    sync = synchronizer(drops, slop_ms=50)
    assert feed(sync, (P, 100), (P, 200), (D, 100), (D, 130), (C, 105), (C, 108)) == [(105, 100, 105), (108, 130, 108)]
    assert feed(sync, (C, 129), (D, 300)) == []
    assert drops.counts == {"unmatched": 1}


@either
def test_an_image_waits_for_the_pose_after_it_and_gets_one_of_its_own_time(kind: type[Synchronizer]) -> None:
    drops = Drops()
    sync = synchronizer(drops, kind=kind)
    assert feed(sync, (P, 0), (P, 90), (C, 100), (D, 100), (C, 133), (D, 133), (C, 167), (D, 167)) == []
    assert feed(sync, (P, 99)) == []
    assert feed(sync, (P, 199)) == [(100, 100, 100.0), (133, 133, 133.0), (167, 167, 167.0)]
    assert not drops.counts


@either
def test_poses_that_come_later_than_images_by_200_ms_lose_no_frame(kind: type[Synchronizer]) -> None:
    drops = Drops()
    sync = synchronizer(drops, queue_size=10, kind=kind)
    events = [(33 * i, stream, 33 * i) for i in range(90) for stream in (C, D)]
    events += [(50 * i + 200, P, 50 * i) for i in range(61)]
    matches = feed(sync, *((stream, stamp) for _, stream, stamp in sorted(events, key=lambda event: event[0])))
    assert [colour for colour, _, _ in matches] == [33 * i for i in range(90)]
    assert all(abs(colour - pose) < 1e-6 for colour, _, pose in matches)
    assert not drops.counts


@either
def test_no_pose_is_made_up_before_the_first_or_across_a_gap(kind: type[Synchronizer]) -> None:
    drops = Drops()
    sync = synchronizer(drops, gap_ms=100, kind=kind)
    assert feed(sync, (C, 99), (D, 99), (P, 100)) == []
    assert drops.counts == {"unmatched": 1}
    assert "no poses around its stamp at most 0.1 s apart" in drops.sentences[0]
    assert "raise sync.pose_gap" in drops.sentences[0]
    assert feed(sync, (C, 150), (D, 150), (P, 200)) == [(150, 150, 150.0)]
    assert feed(sync, (C, 250), (D, 250), (P, 301)) == []
    assert drops.counts == {"unmatched": 2}


@either
def test_where_poses_are_no_stream_images_match_without(kind: type[Synchronizer]) -> None:
    drops = Drops()
    sync = synchronizer(drops, gap_ms=None, kind=kind)
    (match,) = [match for stream in (C, D) for match in sync.add(stream, 100 * MS, 100)]
    assert (match.colour, match.depth, match.pose) == (100, 100, None)
    feed(sync, *((C, 133 + 33 * i) for i in range(100)))
    assert set(drops.counts) == {"unmatched"}
    assert "pose" not in drops.sentences[0]


def test_queues_are_bounded_and_every_colour_image_is_matched_or_counted() -> None:
    drops = Drops()
    sync = synchronizer(drops, queue_size=4)
    feed(sync, *((C, 33 * i) for i in range(100)))
    assert sync.waiting(C) == 4
    assert drops.counts == {"unmatched": 96}
    assert "depth/image and pose" in drops.sentences[0]
    feed(sync, *((D, 10_000 + i) for i in range(100)), *((P, 10_000 + i) for i in range(1000)))
    assert sync.waiting(D) == 4
    assert sync.waiting(P) == 4 * POSES_PER_IMAGE
    assert drops.counts == {"unmatched": 100}


def test_random_delays_and_losses_lose_no_frame_without_a_count() -> None:
    rng = random.Random(1)
    drops = Drops()
    sync = synchronizer(drops, slop_ms=8, queue_size=30)
    events: list[tuple[float, Stream, int]] = []
    colours = 0
    complete = set()
    poses = []
    for index in range(300):
        stamp = 33 * index
        kept = [rng.random() > 0.1 for _ in range(3)]
        for stream, keep, delay in zip((C, D, P), kept, (20, 60, 5), strict=True):
            jitter = 0 if stream is C else rng.randint(-5, 5)
            if keep:
                events.append((stamp + delay, stream, stamp + jitter))
                poses += [stamp + jitter] if stream is P else []
        colours += kept[0]
        if kept[0] and kept[1]:
            complete.add(stamp)
    complete = {stamp for stamp in complete if poses[0] <= stamp <= poses[-1]}
    matches = feed(sync, *((stream, stamp) for _, stream, stamp in sorted(events, key=lambda event: event[0])))
    assert len(matches) + drops.counts["unmatched"] + sync.waiting(C) == colours
    assert all(abs(c - d) <= 8 and abs(c - p) < 1e-6 for c, d, p in matches)
    assert len(complete - {c for c, _, _ in matches}) <= sync.waiting(C)
    assert set(drops.counts) == {"unmatched"}


@either
def test_a_restarted_recording_is_said_once_and_goes_on(kind: type[Synchronizer]) -> None:
    drops = Drops()
    sync = synchronizer(drops, kind=kind)
    first = feed(sync, *((stream, stamp) for stamp in (1000, 1100, 1200) for stream in (P, D, C)))
    feed(sync, (C, 1300), (P, 1300))
    second = feed(sync, *((stream, stamp) for stamp in (0, 100, 200) for stream in (P, D, C)))
    assert [c for c, _, _ in first] == [1000, 1100, 1200]
    assert second == [(0, 0, 0), (100, 100, 100), (200, 200, 200)]
    assert drops.counts == {"stamp": 1}
    assert "went back by 1.300 s" in drops.sentences[0]
    feed(sync, *((stream, stamp) for stamp in (0, 100) for stream in (C, D, P)))
    assert drops.counts == {"stamp": 2}


def test_a_recording_that_starts_again_after_depth_had_failed_is_matched_in_full() -> None:
    """What message_filters can't: its queue stays full of images with later stamps, and forgets the new ones first."""
    sync = synchronizer(Drops(), gap_ms=None)
    for stamp in range(10_000, 11_000, 33):
        assert sync.add(C, stamp * MS, stamp) == []
    matched = [
        match for stamp in range(0, 1000, 33) for stream in (C, D) for match in sync.add(stream, stamp * MS, stamp)
    ]
    assert [match.colour for match in matched] == list(range(0, 1000, 33))


def test_late_messages_are_dropped_and_counted_without_a_restart() -> None:
    drops = Drops()
    sync = synchronizer(drops, slop_ms=50)
    assert feed(sync, (P, 100), (D, 100), (P, 99), (D, 50), (D, 100), (C, 100)) == [(100, 100, 100)]
    assert drops.counts == {"stamp": 2}
    assert "pose went back by 0.001 s: the late message is dropped" in drops.sentences[0]
    assert "depth/image went back by 0.050 s: the late message is dropped" in drops.sentences[1]
    feed(sync, (C, 49))
    assert drops.counts == {"stamp": 3}
    assert "mapping goes on from there" in drops.sentences[2]


def test_a_frame_takes_the_calibration_of_its_own_time() -> None:
    assert valid_at([], 5) is None
    entries = [(10, "a"), (20, "b"), (20, "c"), (30, "d")]
    assert [valid_at(entries, stamp) for stamp in (9, 10, 19, 20, 29, 30, 99)] == ["d", "a", "a", "c", "c", "d", "d"]


def test_message_filters_that_are_missing_are_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filter_synchronizer, "have_message_filters", lambda: False)
    with pytest.raises(OvsegError, match=r"apt install ros-\$ROS_DISTRO-message-filters, or set sync.matcher to own"):
        filter_synchronizer.require_message_filters()


def test_the_worker_keeps_the_newest_and_counts_what_it_overtook() -> None:
    gate, started, done = threading.Event(), threading.Event(), threading.Event()
    seen: list[int] = []
    overtaken: list[str] = []

    def work(item: int) -> None:
        seen.append(item)
        started.set()
        gate.wait(10)
        if item == 9:
            done.set()

    worker = Worker(work, capacity=3, on_drop=overtaken.append)
    worker.put(0)
    assert started.wait(10)
    for item in range(1, 10):
        worker.put(item)
    assert worker.waiting == 3
    gate.set()
    assert done.wait(10)
    worker.stop()
    worker.join()
    assert seen == [0, 7, 8, 9]
    assert overtaken == [""] * 6


def test_a_busy_lane_overtakes_only_itself_and_lanes_take_turns() -> None:
    gate, started, done = threading.Event(), threading.Event(), threading.Event()
    seen: list[str] = []
    overtaken: Counter[str] = Counter()

    def work(item: str) -> None:
        seen.append(item)
        started.set()
        gate.wait(10)
        if len(seen) == 7:
            done.set()

    worker = Worker(work, capacity=3, on_drop=lambda lane: overtaken.update([lane]))
    worker.put("fast 0", "fast")
    assert started.wait(10)
    for number in range(1, 40):
        worker.put(f"fast {number}", "fast")
        if number in (5, 15, 25):
            worker.put(f"slow {number}", "slow")
    assert worker.waiting == 6
    gate.set()
    assert done.wait(10)
    worker.stop()
    worker.join()
    assert seen[1:] == ["fast 37", "slow 5", "fast 38", "slow 15", "fast 39", "slow 25"]
    assert overtaken == {"fast": 36}


def test_health_says_each_cause_once_and_counts_all() -> None:
    said: list[str] = []
    health = Health(said.append)
    for _ in range(3):
        health.drop("encoding", "the image is encoded as 'yuv422'")
    health.drop("size", "sizes differ")
    report = health.report()
    assert report.dropped == {"encoding": 3, "size": 1}
    assert len(said) == 2
    assert said[0].startswith("the image is encoded as 'yuv422'")
    assert report.new_losses
    assert report.latest_problem == "sizes differ"
    assert not health.report().new_losses


def test_health_says_each_cause_once_for_each_camera() -> None:
    said: list[str] = []
    health = Health(said.append)
    for camera in ("front", "rear", "front"):
        health.drop("size", "sizes differ", camera)
        health.integrate(camera)
    health.integrate()
    report = health.report()
    assert report.dropped == {"size": 3}
    assert report.integrated == 4
    assert report.of_cameras == {
        "front.dropped.size": 2, "rear.dropped.size": 1, "front.integrated": 2, "rear.integrated": 1
    }  # fmt: skip
    assert [sentence.partition(" (")[0] for sentence in said] == [
        "camera front: sizes differ", "camera rear: sizes differ"
    ]  # fmt: skip


def test_the_rate_is_a_mean_over_the_last_seconds() -> None:
    now = 100.0
    health = Health(lambda _: None, clock=lambda: now)
    assert health.report().rate_hz == 0.0
    for step in range(20):
        now = 100.0 + step / 2
        health.integrate()
    assert health.report().rate_hz == 2.0
    now += RATE_SECONDS
    assert health.report().rate_hz == 0.0
    assert health.report().integrated == 20
