"""The `ovseg` command. Every verb is one library call, with its words and its numbers around it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ovseg_ros import __version__
from ovseg_ros.errors import OvsegError

DATASETS = ("auto", "replica", "scannet", "posed_rgbd", "rooms")
MAP_LAYERS = ("voxels", "occupancy", "frontiers", "rays")
DEMO_ROOMS, DEMO_SEED = 1, 7
DEMO_WORDS = ("chair", "table", "window", "sofa", "bottle", "plant", "television", "piano")
"""What `ovseg demo SEQUENCE` asks about a recording when no words are given."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status: 0, 1 (failed, one line says why) or 2 (bad arguments)."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.verb == "demo":
        _check_demo(parser, options)
    try:
        result: dict[str, Any] = options.run(options)
    except OvsegError as error:
        print(f"ovseg {options.verb}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"ovseg {options.verb}: interrupted", file=sys.stderr)
        return 1
    text = result.pop("text")
    print(json.dumps(result) if options.json else text)
    return 0


# Verbs import what they need when they run: `ovseg --help` then answers at once.


def _demo(options: argparse.Namespace) -> dict[str, Any]:
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


def _check_demo(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Generated rooms and recordings take different options; none is ignored in silence."""
    if options.sequence is None and options.ask:
        parser.error("demo: --ask goes with a recording; of a generated room the questions are drawn from the truth")
    if options.sequence is not None and (options.rooms, options.seed) != (DEMO_ROOMS, DEMO_SEED):
        parser.error("demo: --rooms and --seed are of generated rooms: drop them, or the recording")


def _rooms(options: argparse.Namespace) -> dict[str, Any]:
    import time

    from ovseg_ros.datasets import write_sequence
    from ovseg_ros.simulation import RoomSequence

    width, height = options.size
    sequence = RoomSequence(options.seed, options.frames, width, height, noise=not options.no_noise)
    started = time.perf_counter()
    frames = (sequence[index] for index in _bar("rendering")(range(len(sequence))))
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


def _map(options: argparse.Namespace) -> dict[str, Any]:
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
    )
    storage.check_target(options.out)
    sequence = _open(options.sequence, options.dataset)
    device = resolve_device(options.device)
    semantic_map, report = build_map(
        sequence, load_segmenter(options.backend, device), config,
        every=options.every, device=device, progress=_bar("mapping"),
    )  # fmt: skip
    if not report.frames:
        causes = "; ".join(report.reasons.values())
        raise OvsegError(f"none of the frames of {options.sequence} could be used: {causes}")
    storage.save(semantic_map, options.out)
    lines = [f"{report.frames} frames, {semantic_map.voxel_count} voxels in {report.seconds:.1f} s: {options.out}"]
    lines += [f"skipped {count} ({cause}): {report.reasons[cause]}" for cause, count in report.skipped.items()]
    return {
        "frames": report.frames,
        "voxels": semantic_map.voxel_count,
        "seconds": report.seconds,
        "skipped": report.skipped,
        "map": str(options.out),
        "text": "\n".join(lines),
    }


def _query(options: argparse.Namespace) -> dict[str, Any]:
    from dataclasses import asdict

    from ovseg_ros.mapping import storage
    from ovseg_ros.query import ask
    from ovseg_ros.segmentation import language_space

    semantic_map = storage.load(options.map)
    limits = {"min_score": options.min_score, "max_matches": options.max_matches}
    given = {name: value for name, value in limits.items() if value is not None}
    matches = ask(semantic_map, language_space(_space(semantic_map.space)), options.text, **given)
    lines = [
        f"{match.query:24} {match.score:4.2f}  at ({match.position[0]:.2f}, {match.position[1]:.2f}, "
        f"{match.position[2]:.2f}) m, size {match.size[0]:.2f} x {match.size[1]:.2f} x {match.size[2]:.2f} m"
        for match in matches
    ]
    found = {match.query for match in matches}
    lines += [f"{text:24} not found" for text in options.text if text not in found]
    if options.picture is not None:
        from ovseg_ros.visualization.pictures import Mark, render_map, write_picture

        marks = [Mark(match.query, match.position, match.score) for match in matches]
        write_picture(options.picture, render_map(semantic_map, options.view, marks))
        lines.append(f"picture: {options.picture}")
    return {
        "map_revision": semantic_map.revision,
        "space": semantic_map.space,
        "matches": [asdict(match) for match in matches],
        "text": "\n".join(lines),
    }


def _info(options: argparse.Namespace) -> dict[str, Any]:
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


def _merge(options: argparse.Namespace) -> dict[str, Any]:
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


def _export(options: argparse.Namespace) -> dict[str, Any]:
    from ovseg_ros.mapping import storage
    from ovseg_ros.query import label_voxels, score_voxels
    from ovseg_ros.segmentation import language_space
    from ovseg_ros.visualization.point_cloud import write_point_cloud

    semantic_map = storage.load(options.map)
    kind, _, words = options.colour.partition(":")
    columns: dict[str, Any] = {}
    if kind == "label":
        labels, _ = label_voxels(semantic_map, language_space(_space(semantic_map.space)))
        columns["labels"] = labels.cpu().numpy()
    elif kind == "query":
        space = language_space(_space(semantic_map.space))
        columns["scores"] = score_voxels(semantic_map, space, [words])[0].cpu().numpy()
    write_point_cloud(options.out, semantic_map, **columns)
    text = f"{semantic_map.voxel_count} points in {options.out}"
    return {"points": semantic_map.voxel_count, "out": str(options.out), "text": text}


def _segment(options: argparse.Namespace) -> dict[str, Any]:
    from ovseg_ros.segmentation import label_image, load_segmenter, resolve_device
    from ovseg_ros.visualization.pictures import overlay, read_picture, write_picture

    rgb = read_picture(options.image)
    labels, shares = label_image(load_segmenter(options.backend, resolve_device(options.device)), rgb, options.text)
    write_picture(options.out, overlay(rgb, labels, options.text))
    lines = [f"{name:24} {share:6.1%}" for name, share in shares.items()]
    return {"out": str(options.out), "shares": shares, "text": "\n".join([*lines, f"picture: {options.out}"])}


def _backends(_: argparse.Namespace) -> dict[str, Any]:
    from dataclasses import asdict

    from ovseg_ros.segmentation import backends

    entries = backends()
    text = "\n".join(
        f"{entry.name:10} {'ready' if entry.installed else 'not installed'}\n"
        f"  {entry.summary}\n  weights: {entry.weights}\n  licence: {entry.licence}"
        for entry in entries
    )
    return {"backends": [asdict(entry) for entry in entries], "text": text}


def _open(sequence: str, dataset: str) -> Any:
    """The recording that ``SEQUENCE --dataset`` names."""
    from ovseg_ros.datasets import open_sequence
    from ovseg_ros.simulation import RoomSequence

    if dataset == "rooms":
        if not sequence.isdigit():
            raise OvsegError(f"with --dataset rooms, SEQUENCE is the seed of a room, got {sequence!r}")
        return RoomSequence(int(sequence))
    return open_sequence(sequence, dataset)


def _space(space: str | None) -> str:
    if space is None:
        raise OvsegError("the map is empty and has no feature space: map some frames first")
    return space


def _bar(name: str) -> Callable[..., Any]:
    """A progress bar on a terminal, nothing elsewhere."""
    from tqdm import tqdm

    return partial(tqdm, desc=name, unit="frame", disable=None, file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ovseg", description="A 3D memory for robots that can be asked questions in words."
    )
    parser.add_argument("--version", action="version", version=f"ovseg_ros {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    demo = _verb(verbs, "demo", _demo, "see a room through real ROS 2 nodes, map it, ask it questions")
    demo.add_argument("sequence", nargs="?", type=Path, help="a recording to play instead of a generated room")
    demo.add_argument("--dataset", choices=DATASETS[:-1], default="auto", help="layout of the recording")
    demo.add_argument("--ask", nargs="+", metavar="TEXT", help="what to ask about a recording")
    demo.add_argument(
        "--rooms", type=_positive, default=DEMO_ROOMS, help="how many generated rooms (default %(default)s)"
    )
    demo.add_argument(
        "--seed", type=_count, default=DEMO_SEED, help="of the first room; training never uses seeds below 100000"
    )
    demo.add_argument("--frames", type=_positive, default=80, help="per generated room (default %(default)s)")
    demo.add_argument("-o", "--out", type=Path, default=Path("demo_output"), help="folder (default %(default)s)")
    _add_model(demo)
    _add_voxel_size(demo)

    rooms = _verb(verbs, "rooms", _rooms, "generate a recording of a furnished room with ground truth")
    rooms.add_argument("out", type=Path, help="new folder")
    rooms.add_argument("--seed", type=_count, default=0, help="of the room (default %(default)s)")
    rooms.add_argument("--frames", type=_positive, default=80, help="along the camera's path (default %(default)s)")
    rooms.add_argument("--size", type=_size, default=(320, 240), metavar="WxH", help="of the images (default 320x240)")
    rooms.add_argument("--layout", choices=DATASETS[1:-1], default="replica", help="on disk (default %(default)s)")
    rooms.add_argument("--no-noise", action="store_true", help="exact depth")

    map_ = _verb(verbs, "map", _map, "build a map from a recording, without ROS")
    map_.add_argument("sequence", help="folder of a recording; with --dataset rooms the seed of a room")
    map_.add_argument("--dataset", choices=DATASETS, default="auto", help="layout (default: look at the folder)")
    map_.add_argument("--every", type=_positive, default=1, metavar="N", help="use every N-th frame")
    map_.add_argument(
        "--max-depth", type=float, default=5.0, metavar="M", help="ignore farther readings (default %(default)s)"
    )
    map_.add_argument(
        "--feature-dtype", choices=("float32", "float16"), default="float32", help="of the map (default %(default)s)"
    )
    map_.add_argument(
        "--feature-voxel-size", type=float, default=0.0, metavar="M", help="share features in larger voxels, metres"
    )
    map_.add_argument(
        "--feature-components", type=_count, default=0, metavar="K", help="compress features to K numbers"
    )
    map_.add_argument(
        "--layers",
        choices=MAP_LAYERS,
        default="voxels",
        help="what the map holds; each includes those before (%(default)s)",
    )
    map_.add_argument("-o", "--out", type=Path, required=True, metavar="MAP", help="file to write, NAME.ovmap")
    _add_model(map_)
    _add_voxel_size(map_)

    query = _verb(verbs, "query", _query, "ask a saved map")
    query.add_argument("map", type=Path)
    query.add_argument("text", nargs="+", help='what to look for: "couch", "red chair"')
    query.add_argument("--max-matches", type=_positive, metavar="N", help="per question")
    query.add_argument("--min-score", type=float, metavar="S", help="0 to 1; weaker matches don't count")
    query.add_argument("--picture", type=Path, metavar="PNG", help="draw the answers into a picture of the map")
    query.add_argument("--view", choices=("top", "corner"), default="top", help="of the picture (default %(default)s)")

    info = _verb(verbs, "info", _info, "say what is in a map")
    info.add_argument("map", type=Path)

    merge_ = _verb(verbs, "merge", _merge, "add maps that are in one frame")
    merge_.add_argument("maps", nargs="+", type=Path, metavar="MAP")
    merge_.add_argument("-o", "--out", type=Path, required=True, metavar="MAP", help="file to write, NAME.ovmap")
    merge_.add_argument(
        "--transform",
        nargs=7,
        type=float,
        metavar=("X", "Y", "Z", "QX", "QY", "QZ", "QW"),
        help="where the second map's frame lies in the first's, metres and a unit quaternion; two maps only",
    )

    export = _verb(verbs, "export", _export, "write a map as a point cloud for other tools")
    export.add_argument("map", type=Path)
    export.add_argument("out", type=Path, help="file to write, NAME.ply")
    export.add_argument("--colour", type=_colour, default="rgb", metavar="rgb|label|query:TEXT", help="of the points")

    segment = _verb(verbs, "segment", _segment, "label one image")
    segment.add_argument("image", type=Path)
    segment.add_argument("text", nargs="+", help="what may be in it")
    segment.add_argument("-o", "--out", type=Path, required=True, metavar="PNG", help="picture to write")
    _add_model(segment)

    _verb(verbs, "backends", _backends, "list the models: what is installed, which weights, which licence")
    return parser


def _verb(
    verbs: Any, name: str, run: Callable[[argparse.Namespace], dict[str, Any]], summary: str
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(
        name, help=summary, description=summary[0].upper() + summary[1:] + "."
    )
    parser.add_argument("--json", action="store_true", help="print JSON for machines")
    parser.set_defaults(run=run)
    return parser


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--backend", default="openseg", help="model to segment with, see `ovseg backends` (default %(default)s)"
    )
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="where it runs (default %(default)s)"
    )


def _add_voxel_size(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--voxel-size", type=float, default=0.05, metavar="M", help="edge in metres (default %(default)s)"
    )


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number of at least 1")
    return int(text)


def _count(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number of at least 0")
    return int(text)


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.lower().partition("x")
    return _positive(width), _positive(height)


def _colour(text: str) -> str:
    kind, colon, words = text.partition(":")
    if text not in ("rgb", "label") and not (kind == "query" and colon and words):
        raise argparse.ArgumentTypeError(f"{text!r} must be rgb, label or query:TEXT")
    return text


if __name__ == "__main__":
    sys.exit(main())
