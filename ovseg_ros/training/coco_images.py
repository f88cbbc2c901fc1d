"""Users' own images, labelled or captioned as COCO's are, to views for training.

    python -m ovseg_ros.training.coco_images FOLDER --out VIEWS --split train2017

FOLDER holds ``annotations/instances_SPLIT.json`` or ``annotations/captions_SPLIT.json`` or both, and images in one of
`IMAGE_FOLDERS`. The classes are the categories, or the lines of a vocabulary file ("sofa, couch"); a segment of another
category keeps its outline and no class. Of captions only words of the classes are kept, see `CaptionReader`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from ovseg_ros.datasets.files import read_image
from ovseg_ros.datasets.run_lengths import decode_mask
from ovseg_ros.errors import OvsegError
from ovseg_ros.training.captions import CaptionReader
from ovseg_ros.training.fitting import Fit
from ovseg_ros.training.room_images import parse_size
from ovseg_ros.training.views import MAX_INSTANCE, View, checked_classes, encode_view, write_classes, write_view
from ovseg_ros.vocabulary import Vocabulary, normalise

IMAGE_FOLDERS = ("images/{split}", "{split}", "images", ".")
"""Where images are looked for below FOLDER, in this order."""
INSTANCES, CAPTIONS = "instances_", "captions_"
FINER = 4
"""Parts of a pixel's side that polygons are drawn in."""


@dataclass
class ImageNotes:
    """What the annotation files say about one image.

    Attributes:
        file_name: below one of IMAGE_FOLDERS.
        shape: rows and columns; None where the files don't say.
        segments: entries of the file of instances.
        captions: sentences.
    """

    file_name: str
    shape: tuple[int, int] | None = None
    segments: list[Mapping[str, Any]] = field(default_factory=list)
    captions: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Annotations:
    """The annotation files of a split.

    Attributes:
        images: by id.
        categories: id -> name.
    """

    images: dict[Any, ImageNotes]
    categories: dict[Any, str]


def find_split(folder: Path) -> str:
    """The only split in ``folder/annotations``.

    Raises:
        OvsegError: there is none, or there are several.
    """
    stems = [path.stem for path in (folder / "annotations").glob("*.json")]
    splits = {stem.removeprefix(start) for stem in stems for start in (INSTANCES, CAPTIONS) if stem.startswith(start)}
    if len(splits) == 1:
        return splits.pop()
    if not splits:
        raise OvsegError(f"{folder} should hold annotations/{INSTANCES}NAME.json or annotations/{CAPTIONS}NAME.json")
    raise OvsegError(f"{folder} has annotations for {', '.join(sorted(splits))}: choose one with --split")


def read_annotations(folder: Path, split: str) -> Annotations:
    """Read the file of instances, that of captions, or both.

    Raises:
        OvsegError: neither is there, or one is not of COCO's form.
    """
    annotations = Annotations({}, {})
    for start, take in ((INSTANCES, _take_instances), (CAPTIONS, _take_captions)):
        path = folder / "annotations" / f"{start}{split}.json"
        if not path.is_file():
            continue
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            for entry in content["images"]:
                shape = (entry["height"], entry["width"]) if "height" in entry else None
                annotations.images.setdefault(entry["id"], ImageNotes(str(entry["file_name"]), shape))
            take(content, annotations)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            reason = " ".join(f"{type(error).__name__} {error}".split())[:150]
            raise OvsegError(f"{path} is not of COCO's form ({reason}): export it again") from error
    if not annotations.images:
        raise OvsegError(f"{folder} has no annotations of the split {split!r} with images: choose another with --split")
    return annotations


def _take_instances(content: Mapping[str, Any], annotations: Annotations) -> None:
    for entry in content["categories"]:
        annotations.categories[entry["id"]] = normalise(entry["name"].replace(",", " "))
    for entry in content["annotations"]:
        if not entry.get("iscrowd", 0):
            annotations.images[entry["image_id"]].segments.append(entry)


def _take_captions(content: Mapping[str, Any], annotations: Annotations) -> None:
    for entry in content["annotations"]:
        annotations.images[entry["image_id"]].captions.append(str(entry["caption"]))


def make_classes(annotations: Annotations, lines: Sequence[str]) -> Vocabulary:
    """The classes to train on: those in ``lines`` of a vocabulary file, or the categories.

    Raises:
        OvsegError: there are none, or too many.
    """
    if not lines and not annotations.categories:
        raise OvsegError("captions alone have no classes: list the words to learn with --vocabulary")
    names = [annotations.categories[key] for key in sorted(annotations.categories)]
    return checked_classes(Vocabulary.parse(lines or names))


def draw_segment(entry: Mapping[str, Any], shape: tuple[int, int], size: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask of an annotation.

    Args:
        entry: with ``segmentation``: polygons, or run lengths.
        shape: rows and columns of its image.
        size: rows and columns of the result.

    Raises:
        OvsegError: it has neither, or the run lengths are of another size than the image.
    """
    name, segmentation = f"annotation {entry.get('id')}", entry.get("segmentation")
    if isinstance(segmentation, Mapping):
        whole = decode_mask(segmentation, name)
        if whole.shape != shape:
            raise OvsegError(f"{name} has a mask of {whole.shape} in an image of {shape} pixels: export the file again")
        mask = cv2.resize(whole.astype(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST).astype(np.uint8)
        return mask > 0
    try:
        polygons = [np.array(polygon, dtype=np.float64).reshape(-1, 2) for polygon in segmentation or ()]
    except (TypeError, ValueError):
        polygons = []
    if not polygons or not all(np.isfinite(polygon).all() for polygon in polygons):
        raise OvsegError(f"{name} has neither polygons nor run lengths: export the file with segmentations")
    # fillPoly also fills what the outline touches: drawn finer, that is little.
    fine = np.zeros((size[0] * FINER, size[1] * FINER), dtype=np.uint8)
    for polygon in polygons:
        # Corners lie between pixels, and fillPoly's coordinates are pixel centres.
        corners = polygon * (FINER * size[1] / shape[1], FINER * size[0] / shape[0]) - 0.5
        cv2.fillPoly(fine, [np.rint(corners).astype(np.int32)], (255,))
    return cv2.resize(fine, size[::-1], interpolation=cv2.INTER_AREA) > 127


def make_view(
    rgb: NDArray[np.uint8],
    notes: ImageNotes,
    labels_of: Mapping[Any, int],
    reader: CaptionReader,
    size: tuple[int, int],
) -> View:
    """One image and what is known of it; where segments overlap the smallest counts.

    Args:
        rgb: (H, W, 3).
        notes: what is annotated.
        labels_of: category id -> label id, 0 for categories that are no class.
        reader: of captions.
        size: columns and rows.
    """
    shape = rgb.shape[0], rgb.shape[1]
    fit = Fit.of(shape, size)
    masks = [(draw_segment(entry, shape, fit.inner), entry) for entry in notes.segments]
    masks.sort(key=lambda pair: -int(pair[0].sum()))
    labels, instances = np.zeros((2, *fit.inner), dtype=np.int32)
    for number, (mask, entry) in enumerate(masks[-MAX_INSTANCE:], start=1):
        labels[mask], instances[mask] = labels_of.get(entry.get("category_id"), 0), number
    caption = reader.labels(notes.captions) if notes.captions else None
    return encode_view(fit.image(rgb), fit.padded(labels), fit.padded(instances), caption)


def find_image(folder: Path, split: str, file_name: str) -> Path:
    """The image of an annotation file.

    Raises:
        OvsegError: it isn't there.
    """
    places = [folder / part.format(split=split) / file_name for part in IMAGE_FOLDERS]
    for path in places:
        if path.is_file():
            return path
    raise OvsegError(f"there is no {' or '.join(map(str, places))}: put the images there")


def convert(folder: Path, out: Path, split: str, lines: Sequence[str], size: tuple[int, int]) -> int:
    """Write the views and classes of a COCO-style folder to ``out``; returns how many views.

    Raises:
        OvsegError: the folder can't be used.
    """
    annotations = read_annotations(folder, split)
    classes = make_classes(annotations, lines)
    label_of = {word: label for label, group in enumerate(classes.synonyms, start=1) for word in group}
    labels_of = {key: label_of.get(name, 0) for key, name in annotations.categories.items()}
    reader = CaptionReader(classes)
    write_classes(out, classes)
    for index, notes in enumerate(tqdm(annotations.images.values(), unit="image")):
        path = find_image(folder, split, notes.file_name)
        rgb = read_image(path, cv2.IMREAD_COLOR)[..., ::-1].astype(np.uint8)
        if notes.shape not in (None, rgb.shape[:2]):
            raise OvsegError(f"{path} is {rgb.shape[:2]} and its annotations say {notes.shape}: export them together")
        write_view(out / f"{index:08d}-{path.stem}.jpg", make_view(rgb, notes, labels_of, reader, size))
    return len(annotations.images)


def main() -> None:
    """Command line of this module."""
    parser = argparse.ArgumentParser(description="Make views to train on of images that are annotated as COCO's are.")
    parser.add_argument("folder", type=Path, help="holds annotations and images")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--split", help="SPLIT in annotations/instances_SPLIT.json, unless there is only one")
    parser.add_argument("--vocabulary", type=Path, help="text file with a class on each line, such as: sofa, couch")
    parser.add_argument("--size", type=parse_size, default=(320, 240), help="of a view, such as 320x240")
    arguments = parser.parse_args()
    try:
        lines = arguments.vocabulary.read_text(encoding="utf-8").splitlines() if arguments.vocabulary else []
        split = arguments.split or find_split(arguments.folder)
        convert(arguments.folder, arguments.out, split, lines, arguments.size)
    except (OSError, OvsegError) as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
