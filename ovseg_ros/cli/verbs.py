"""What each verb does: one library call, with its words and its numbers around it.

Each takes the parsed command line and returns what ``--json`` prints, and under "text" what people read.
Verbs import what they need when they run: `ovseg --help` then answers at once.
"""

from __future__ import annotations

import argparse
import math
from typing import Any

from ovseg_ros.cli.shared import bag_options, open_recording, progress_bar, space_id
from ovseg_ros.errors import OvsegError

DEMO_WORDS = ("chair", "table", "window", "sofa", "bottle", "plant", "television", "piano")
"""What `ovseg demo SEQUENCE` asks about a recording when no words are given."""


def demo(options: argparse.Namespace) -> dict[str, Any]:
    """See a room through real ROS 2 nodes, and ask."""
    try:
        from ovseg_ros.demo import DemoOptions, demo_recording, demo_rooms, summary, table
    except ImportError as error:
        raise OvsegError(str(error)) from error

    settings = DemoOptions(
        out=options.out, backend=options.backend, device=options.device, voxel_size=options.voxel_size,
        frames=options.frames, quiet=options.json,
    )  # fmt: skip
    if options.sequence is None:
        results = demo_rooms(options.rooms, options.seed, settings)
    else:
        results = [demo_recording(options.sequence, options.dataset, options.ask or DEMO_WORDS, settings)]
    numbers = summary(results)
    lines = [table(result) for result in results]
    if numbers["present_answered"] is not None:
        lines.append(
            f"{numbers['present_answered']:.0%} of the things that are there were found within 0.5 m; "
            f"{numbers['absent_reported']:.0%} of those that aren't were reported as not found."
        )
    lines.append(f"maps, pictures and logs: {options.out.absolute()}")
    return {**numbers, "text": "\n\n".join(lines)}


def rooms(options: argparse.Namespace) -> dict[str, Any]:
    """Generate a recording."""
    import time

    from ovseg_ros.datasets import write_sequence
    from ovseg_ros.simulation import RoomSequence

    width, height = options.size
    sequence = RoomSequence(options.seed, options.frames, width, height, noise=not options.no_noise)
    started = time.perf_counter()
    frames = (sequence[index] for index in progress_bar("rendering")(range(len(sequence))))
    count = write_sequence(frames, sequence.mesh(), options.out, options.layout, sequence.class_names)
    rate = count / (time.perf_counter() - started)
    text = f"{count} frames of a {sequence.room.kind} in {options.out} ({options.layout}), {rate:.1f} frames/s"
    return {
        "out": str(options.out),
        "frames": count,
        "frames_per_second": rate,
        "kind": sequence.room.kind,
        "text": text,
    }


def map_(options: argparse.Namespace) -> dict[str, Any]:
    """Build a map without ROS."""
    from ovseg_ros.keyframes import KeyframeConfig
    from ovseg_ros.mapping import MappingConfig, storage
    from ovseg_ros.pipeline import build_map
    from ovseg_ros.segmentation import load_segmenter, resolve_device

    config = MappingConfig(
        voxel_size=options.voxel_size,
        max_depth=options.max_depth,
        feature_dtype=options.feature_dtype,
        feature_voxel_size=options.feature_voxel_size,
        feature_components=options.feature_components,
        layers=options.layers,
        region=tuple(options.region),
        memory_limit=options.memory_limit,
        views=options.views,
    )
    keyframes = KeyframeConfig(options.keyframe_distance, options.keyframe_angle, options.keyframe_period)
    storage.check_target(options.out)
    sequence = open_recording(options.sequence, options.dataset, bag_options(options))
    device = resolve_device(options.device)
    semantic_map, report = build_map(
        sequence, load_segmenter(options.backend, device, options.vocabulary), config,
        every=options.every, keyframes=keyframes, device=device, progress=progress_bar("mapping"),
    )  # fmt: skip
    if not report.frames:
        causes = "; ".join(report.reasons.values())
        raise OvsegError(f"none of the frames of {options.sequence} could be used: {causes}")
    storage.save(semantic_map, options.out)
    voxels = semantic_map.voxel_count + semantic_map.evicted_voxel_count
    lines = [f"{report.frames} frames, {voxels} voxels in {report.seconds:.1f} s: {options.out}"]
    if report.passed_over:
        lines.append(f"passed over {report.passed_over} that were no keyframes")
    lines += [f"skipped {count} ({cause}): {report.reasons[cause]}" for cause, count in report.skipped.items()]
    return {
        "frames": report.frames,
        "voxels": voxels,
        "seconds": report.seconds,
        "skipped": report.skipped,
        "passed_over": report.passed_over,
        "map": str(options.out),
        "text": "\n".join(lines),
    }


def record(options: argparse.Namespace) -> dict[str, Any]:
    """Write a bag."""
    from collections import Counter
    from collections.abc import Iterator

    from ovseg_ros.datasets import write_rosbag
    from ovseg_ros.types import InvalidFrameError, RgbdFrame

    sequence = open_recording(options.sequence, options.dataset)
    skipped: Counter[str] = Counter()

    def frames() -> Iterator[RgbdFrame]:
        for index in progress_bar("recording")(range(len(sequence))):
            try:
                yield sequence[index]
            except InvalidFrameError as error:
                skipped[error.cause] += 1

    count = write_rosbag(frames(), options.out, options.storage, options.depth)
    lines = [f"{count} frames in {options.out} ({options.storage})"]
    lines += [f"skipped {number} ({cause})" for cause, number in skipped.items()]
    return {"out": str(options.out), "frames": count, "skipped": dict(skipped), "text": "\n".join(lines)}


def query(options: argparse.Namespace) -> dict[str, Any]:
    """Ask a saved map."""
    from dataclasses import asdict

    from ovseg_ros.mapping import storage
    from ovseg_ros.query import ask, ask_rays, look_again, partly_asked
    from ovseg_ros.query.pictures import QUERY
    from ovseg_ros.segmentation import language_space

    semantic_map = storage.load(options.map)
    space = language_space(space_id(semantic_map.space))
    limits = {"min_score": options.min_score, "max_matches": options.max_matches}
    given = {name: value for name, value in limits.items() if value is not None}
    if options.verify:
        from ovseg_ros.cli.pictures import verified_matches

        matches = verified_matches(semantic_map, space, options.text, given)
    else:
        matches = ask(semantic_map, space, options.text, **given) if options.text else ()
    rays = ask_rays(semantic_map, space, options.text, **given) if options.text else ()
    asked = list(options.text)
    if options.image is not None:
        from ovseg_ros.cli.pictures import picture_matches

        pictured = picture_matches(semantic_map, options.image, options.box, given)
        asked.append(QUERY)
        matches = (*matches, *pictured)
    lines = [
        f"{match.query:24} {match.score:4.2f}  at ({match.position[0]:.2f}, {match.position[1]:.2f}, "
        f"{match.position[2]:.2f}) m, size {match.size[0]:.2f} x {match.size[1]:.2f} x {match.size[2]:.2f} m"
        for match in matches
    ]
    found = {match.query for match in matches}
    lines += [f"{text:24} not found" for text in asked if text not in found]
    lines += [
        f"{ray.query:24} {ray.score:4.2f}  somewhere towards ({ray.direction[0]:.2f}, {ray.direction[1]:.2f}, "
        f"{ray.direction[2]:.2f}) give or take {math.degrees(ray.spread):.0f} degrees, beyond ({ray.origin[0]:.2f}, "
        f"{ray.origin[1]:.2f}, {ray.origin[2]:.2f}) m"
        for ray in rays
    ]
    shares = partly_asked(semantic_map, options.text) if options.text else {}
    lines += [look_again(shares)] if shares else []
    if options.picture is not None:
        from ovseg_ros.visualization.pictures import Mark, render_map, write_picture

        marks = [Mark(match.query, match.position, match.score) for match in matches]
        write_picture(options.picture, render_map(semantic_map, options.view, marks))
        lines.append(f"picture: {options.picture}")
    return {
        "map_revision": semantic_map.revision,
        "space": semantic_map.space,
        "matches": [asdict(match) for match in matches],
        "rays": [asdict(ray) for ray in rays],
        "partly_asked": shares,
        "text": "\n".join(lines),
    }


def locate(options: argparse.Namespace) -> dict[str, Any]:
    """Say where to stand."""
    from dataclasses import asdict

    from ovseg_ros.mapping import storage
    from ovseg_ros.query import GoalConfig, Match, locate
    from ovseg_ros.query.ground import STEP
    from ovseg_ros.segmentation import language_space

    semantic_map = storage.load(options.map)
    config = GoalConfig() if options.clearance is None else GoalConfig(clearance=options.clearance)
    located = locate(semantic_map, language_space(space_id(semantic_map.space)), options.text, options.robot, config)
    lines = [located.sentence, f"facing {math.degrees(located.yaw):.0f} degrees, {located.visible:.0%} of it in sight"]
    found = located.found
    if options.picture is not None:
        from ovseg_ros.visualization import Stand, render_stand, write_picture

        thing, size = (found.position, found.size) if isinstance(found, Match) else (found.origin, (0.0, 0.0))
        floor = located.position[2]
        stand = Stand(
            title=options.text, position=located.position[:2], yaw=located.yaw, clearance=located.clearance,
            thing=(thing[0], thing[1]), size=(size[0], size[1]), robot=tuple(options.robot) if options.robot else None,
            heights=(floor + STEP, floor + config.robot_height),
        )  # fmt: skip
        write_picture(options.picture, render_stand(semantic_map, stand))
        lines.append(f"picture: {options.picture}")
    return {
        "map_revision": semantic_map.revision,
        "match": asdict(found) if isinstance(found, Match) else None,
        "ray": None if isinstance(found, Match) else asdict(found),
        "position": located.position,
        "yaw": located.yaw,
        "clearance": located.clearance,
        "distance": located.distance,
        "path": located.path,
        "visible": located.visible,
        "text": "\n".join(lines),
    }


def info(options: argparse.Namespace) -> dict[str, Any]:
    """Say what is in a map."""
    from ovseg_ros.mapping import storage

    semantic_map = storage.load(options.map)
    facts: dict[str, Any] = {
        "map": str(options.map),
        "voxels": semantic_map.voxel_count,
        "voxel_size": semantic_map.config.voxel_size,
        "frame": semantic_map.frame_id,
        "revision": semantic_map.revision,
        "space": semantic_map.space,
        "vocabulary": list(semantic_map.vocabulary.names),
        "views": len(semantic_map.views),
        "bytes": options.map.stat().st_size,
        "bytes_per_voxel": round(semantic_map.column_bytes / max(semantic_map.voxel_count, 1)),
    }
    if semantic_map.voxel_count:
        facts["lower"] = semantic_map.centres.amin(dim=0).tolist()
        facts["upper"] = semantic_map.centres.amax(dim=0).tolist()
    lines = [
        f"{name:12} {', '.join(map(str, value)) if isinstance(value, list) else value}" for name, value in facts.items()
    ]
    return {**facts, "text": "\n".join(lines)}


def merge(options: argparse.Namespace) -> dict[str, Any]:
    """Add maps."""
    from ovseg_ros.geometry import rigid_transform
    from ovseg_ros.mapping import merge_all, storage

    if options.transform and len(options.maps) != 2:
        raise OvsegError(f"--transform is between two maps, got {len(options.maps)}: merge them two by two")
    storage.check_target(options.out)
    transform = rigid_transform(options.transform[:3], options.transform[3:]) if options.transform else None
    transforms = [None, transform, *[None] * len(options.maps)]
    merged = merge_all([(storage.load(path), pose) for path, pose in zip(options.maps, transforms, strict=False)])
    storage.save(merged, options.out)
    text = f"{len(options.maps)} maps, {merged.voxel_count} voxels: {options.out}"
    return {"maps": len(options.maps), "voxels": merged.voxel_count, "map": str(options.out), "text": text}


def export(options: argparse.Namespace) -> dict[str, Any]:
    """Write a point cloud, or what a benchmark reads."""
    return {"ply": _export_ply, "openlex3d": _export_openlex3d}[options.format](options)


def _export_openlex3d(options: argparse.Namespace) -> dict[str, Any]:
    from ovseg_ros.evaluation.openlex3d import write_openlex3d
    from ovseg_ros.mapping import storage
    from ovseg_ros.segmentation import language_space

    semantic_map = storage.load(options.map)
    write_openlex3d(options.out, semantic_map, language_space(space_id(semantic_map.space)))
    text = f"{semantic_map.voxel_count} points with their embeddings in {options.out}"
    return {"points": semantic_map.voxel_count, "out": str(options.out), "text": text}


def _export_ply(options: argparse.Namespace) -> dict[str, Any]:
    from ovseg_ros.mapping import storage
    from ovseg_ros.query import label_voxels, score_voxels
    from ovseg_ros.segmentation import language_space
    from ovseg_ros.visualization.point_cloud import write_point_cloud
    from ovseg_ros.vocabulary_file import read_vocabulary

    semantic_map = storage.load(options.map)
    kind, _, words = options.colour.partition(":")
    if options.vocabulary:
        semantic_map.set_vocabulary(read_vocabulary(options.vocabulary).vocabulary)
    columns: dict[str, Any] = {}
    if kind == "label":
        labels, _ = label_voxels(semantic_map, language_space(space_id(semantic_map.space)))
        columns["labels"] = labels.cpu().numpy()
    elif kind == "query":
        space = language_space(space_id(semantic_map.space))
        columns["scores"] = score_voxels(semantic_map, space, [words])[0].cpu().numpy()
    write_point_cloud(options.out, semantic_map, **columns)
    text = f"{semantic_map.voxel_count} points in {options.out}"
    return {"points": semantic_map.voxel_count, "out": str(options.out), "text": text}


def segment(options: argparse.Namespace) -> dict[str, Any]:
    """Label one image."""
    from ovseg_ros.segmentation import label_image, load_segmenter, resolve_device
    from ovseg_ros.visualization.pictures import overlay, read_picture, write_picture

    rgb = read_picture(options.image)
    segmenter = load_segmenter(options.backend, resolve_device(options.device), options.vocabulary)
    texts = options.text or segmenter.vocabulary.names
    labels, shares = label_image(segmenter, rgb, texts)
    write_picture(options.out, overlay(rgb, labels, texts))
    lines = [f"{name:24} {share:6.1%}" for name, share in shares.items()]
    return {"out": str(options.out), "shares": shares, "text": "\n".join([*lines, f"picture: {options.out}"])}


def backends(_: argparse.Namespace) -> dict[str, Any]:
    """List the models."""
    from dataclasses import asdict

    from ovseg_ros.segmentation import backends

    entries = backends()
    text = "\n".join(
        f"{entry.name:10} {'ready' if entry.installed else 'not installed'}\n"
        f"  {entry.summary}\n  weights: {entry.weights}\n  licence: {entry.licence}"
        for entry in entries
    )
    text += "\nchoose one with --backend NAME, or with the nodes' parameter backend"
    return {"backends": [asdict(entry) for entry in entries], "text": text}
