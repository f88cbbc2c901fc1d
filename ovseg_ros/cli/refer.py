"""`ovseg refer`: a sentence, and a map, a picture or a recording that it is about."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

from ovseg_ros.cli.shared import open_recording, progress_bar, space_id
from ovseg_ros.errors import OvsegError

BACKEND = "rs2sam2"
PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")
BAGS = (".mcap", ".db3")
MAP, PICTURE, RECORDING = "a map", "a picture", "a recording"

MODEL = ("backend", "weights", "device")
OPTIONS = {
    MAP: ("viewpoint", "regions", "verify"),
    PICTURE: (*MODEL, "out", "mask"),
    RECORDING: (*MODEL, "dataset", "every", "max_depth", "voxel_size", "min_share"),
}
"""What can be said about each; options of another are refused, not ignored."""


def add_arguments(parser: argparse.ArgumentParser, datasets: tuple[str, ...]) -> None:
    """The verb's words and options; those that weren't given are None."""
    parser.add_argument("path", type=Path, metavar="PATH", help="map file NAME.ovmap, picture, recording or bag")
    parser.add_argument(
        "sentence", metavar="SENTENCE", help='"the largest box on the table", "how many chairs are near the door"'
    )
    parser.add_argument(
        "--from",
        dest="viewpoint",
        nargs=3,
        type=float,
        metavar=("X", "Y", "DEGREES"),
        help="map: where one stands and looks, metres and degrees from x to y (default: before each thing)",
    )
    parser.add_argument(
        "--verify",
        action="store_true",
        default=None,
        help="map: look answers up with its backend in the pictures that it keeps (ovseg map --views)",
    )
    parser.add_argument("--regions", type=Path, metavar="YAML", help="map: its named places, as of ovseg regions")
    parser.add_argument(
        "--backend", metavar="NAME", help=f"picture, recording: model that is asked (default {BACKEND})"
    )
    parser.add_argument(
        "--weights", type=Path, metavar="DIR", help="picture, recording: its folder (default: as docs/rs2sam2.md says)"
    )
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), help="picture, recording: where it runs (default auto)"
    )
    parser.add_argument("-o", "--out", type=Path, metavar="PNG", help="picture: write it with the mask over it")
    parser.add_argument("--mask", type=Path, metavar="PNG", help="picture: write the mask alone, white on black")
    parser.add_argument("--dataset", choices=datasets, help="recording: its layout (default: look at the folder)")
    parser.add_argument("--every", type=int, metavar="N", help="recording: use every N-th frame (default 1)")
    parser.add_argument(
        "--max-depth", type=float, metavar="M", help="recording: ignore farther readings, metres (default 5)"
    )
    parser.add_argument(
        "--voxel-size", type=float, metavar="M", help="recording: edge of voxels, metres (default 0.05)"
    )
    parser.add_argument(
        "--min-share",
        type=float,
        metavar="S",
        help="recording: part of its views that must have a voxel in the mask (default 0.5)",
    )


def refer(options: argparse.Namespace) -> dict[str, Any]:
    """Say what a sentence means in a map, a picture or a recording."""
    kind = _kind(options)
    for others, names in OPTIONS.items():
        for name in names:
            if name not in OPTIONS[kind] and getattr(options, name) is not None:
                flag = {"viewpoint": "from"}.get(name, name).replace("_", "-")
                raise OvsegError(f"--{flag} goes with {others}, and {options.path} is {kind}: drop it")
    return {MAP: _refer_to_map, PICTURE: _refer_to_picture, RECORDING: _refer_to_recording}[kind](options)


def _kind(options: argparse.Namespace) -> str:
    import cv2

    path: Path = options.path
    if options.dataset is not None or path.is_dir() or path.suffix in BAGS:
        return RECORDING
    named = path.suffix.lower() in PICTURES
    return PICTURE if named or (path.is_file() and cv2.haveImageReader(str(path))) else MAP


def _load_model(options: argparse.Namespace) -> Any:
    from ovseg_ros.segmentation import load_referrer

    return load_referrer(options.backend or BACKEND, options.device or "auto", options.weights)


def _refer_to_picture(options: argparse.Namespace) -> dict[str, Any]:
    import numpy as np
    import torch

    from ovseg_ros.referring import find_in_image
    from ovseg_ros.visualization.pictures import overlay, read_picture, write_picture

    rgb = read_picture(options.path)
    answer = find_in_image(torch.from_numpy(rgb), _load_model(options), options.sentence)
    share = answer.area / answer.mask.numel()
    if answer.box is None:
        lines = ["not found"]
    else:
        left, top, width, height = answer.box
        lines = [
            f"{answer.score:4.2f}  at column {left}, row {top}, {width} x {height} pixels, "
            f"{answer.area} of them inside ({share:.1%} of the picture)"
        ]
    mask = answer.mask.numpy()
    if options.out is not None:
        write_picture(options.out, overlay(rgb, mask.astype(np.int32), [options.sentence]))
        lines.append(f"picture: {options.out}")
    if options.mask is not None:
        write_picture(options.mask, np.repeat(255 * mask[..., None].astype(np.uint8), 3, axis=2))
        lines.append(f"mask: {options.mask}")
    return {
        "score": answer.score,
        "box": answer.box,
        "area": answer.area,
        "share": share,
        "text": "\n".join(lines),
    }


def _refer_to_recording(options: argparse.Namespace) -> dict[str, Any]:
    from ovseg_ros.mapping import MappingConfig
    from ovseg_ros.referring import find_in_recording

    if options.every is not None and options.every < 1:
        raise OvsegError(f"--every must be at least 1, got {options.every}: 5 asks about every fifth frame")
    sizes = {name: getattr(options, name) for name in ("voxel_size", "max_depth") if getattr(options, name) is not None}
    shares = {} if options.min_share is None else {"min_share": options.min_share}
    sequence = open_recording(str(options.path), options.dataset or "auto")
    search = find_in_recording(
        sequence, _load_model(options), options.sentence, MappingConfig(**sizes),
        every=options.every or 1, progress=progress_bar("referring"), **shares,
    )  # fmt: skip
    place = search.place
    lines = [f"{search.frames} frames, something was found in {search.masks}"]
    lines += [f"skipped {count} ({cause})" for cause, count in search.skipped.items()]
    facts = None
    if place is None:
        lines.insert(0, "not found")
    else:
        facts = {
            "score": place.score,
            "position": place.box.centre,
            "size": place.box.size,
            "yaw": place.box.yaw,
            "voxels": len(place.keys),
            "views": place.views,
        }
        (x, y, z), (width, depth, height) = place.box.centre, place.box.size
        lines.insert(
            0,
            f"{place.score:4.2f}  at ({x:.2f}, {y:.2f}, {z:.2f}) m, size {width:.2f} x {depth:.2f} x {height:.2f} m, "
            f"turned by {math.degrees(place.box.yaw):.0f} degrees, {len(place.keys)} voxels, up to {place.views} views",
        )
    return {
        "place": facts,
        "frames": search.frames,
        "masks": search.masks,
        "skipped": search.skipped,
        "text": "\n".join(lines),
    }


def _refer_to_map(options: argparse.Namespace) -> dict[str, Any]:
    import numpy as np

    from ovseg_ros.mapping import storage
    from ovseg_ros.referring import MapScene, Viewpoint, parse_request, read_regions, resolve
    from ovseg_ros.segmentation import language_space

    request = parse_request(options.sentence)
    places = {} if options.regions is None else read_regions(options.regions)
    semantic_map = storage.load(options.path)
    scene = MapScene(semantic_map, language_space(space_id(semantic_map.space)), regions=places)
    viewpoint = None
    if options.viewpoint is not None:
        x, y, degrees = options.viewpoint
        viewpoint = Viewpoint(np.array([x, y, 0.0]), math.radians(degrees))
    answer = resolve(request, scene, viewpoint)
    if options.verify:
        from ovseg_ros.cli.pictures import verified_answer

        answer = verified_answer(semantic_map, scene.things, answer)
    candidates = []
    lines = [f"{answer.status.value}: {answer.message}"]
    for candidate in answer.candidates:
        thing, position = scene.things[candidate.index], scene.boxes.centres[candidate.index].tolist()
        reasons: list[dict[str, Any]] = [
            {"relation": support.relation, "objects": [scene.things[i].id for i in support.anchors]}
            for support in candidate.support
        ]
        candidates.append(
            {
                "object_id": thing.id,
                "label": thing.label,
                "score": candidate.score,
                "position": position,
                "size": scene.boxes.sizes[candidate.index].tolist(),
                "yaw": float(scene.boxes.yaws[candidate.index]),
                "reasons": reasons,
            }
        )
        names = {thing.id: f"{thing.label} {thing.id}" for thing in scene.things}
        because = "".join(
            f", {reason['relation']} {' and '.join(names[number] for number in reason['objects'])}"
            for reason in reasons
        )
        lines.append(
            f"{thing.label} {thing.id:<6} {candidate.score:4.2f}  at ({position[0]:.2f}, {position[1]:.2f}, "
            f"{position[2]:.2f}) m{because}"
        )
    return {
        "map_revision": semantic_map.revision,
        "status": answer.status.value,
        "frame": answer.frame.value,
        "count": answer.count,
        "request": request.to_json(),
        "candidates": candidates,
        "text": "\n".join(lines),
    }
