"""Score a backend on a folder of images and label maps."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ovseg_ros.errors import OvsegError
from ovseg_ros.evaluation.arguments import image_size, positive
from ovseg_ros.evaluation.image_eval.classes import CLASS_FILES, ImageClasses
from ovseg_ros.evaluation.image_eval.folder import LAYOUTS, UNLABELLED, Pair, find_pairs, read_pair
from ovseg_ros.evaluation.image_eval.report import RESULTS_FILE, as_text, tabulate, write_report
from ovseg_ros.evaluation.image_eval.rooms import write_rooms
from ovseg_ros.evaluation.images import LabelledImage, score_images
from ovseg_ros.evaluation.labelling import Ensemble, ImageLabeller
from ovseg_ros.evaluation.results import show
from ovseg_ros.evaluation.semseg.tables import versions
from ovseg_ros.segmentation import load_segmenter
from ovseg_ros.types import InvalidFrameError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status: 0, or 1 with one line that says what failed."""
    options = _parse(arguments)
    return show(_score, options, lambda results: f"{as_text(results)}\n\n{_out(options) / RESULTS_FILE}")


def _score(options: argparse.Namespace) -> dict[str, Any]:
    if options.rooms:
        seeds = range(options.seed, options.seed + options.rooms)
        write_rooms(options.folder, tqdm(seeds, "rooms", disable=None), options.views, options.size)
    return _evaluate(options)


def _evaluate(options: argparse.Namespace) -> dict[str, Any]:
    classes = ImageClasses.find(options.folder, options.classes, options.first)
    if options.vocabulary:
        classes = classes.with_words(options.vocabulary)
    ignored = set(UNLABELLED) - set(classes.table.labels) if options.ignore is None else set(options.ignore)
    pairs = find_pairs(options.folder, options.images, options.labels)[:: options.every]
    segmenter = load_segmenter(options.backend, options.device)
    if getattr(segmenter, "follows_one_camera", False):
        raise OvsegError(f"{options.backend} follows things from image to image here: set its mode to image")
    skipped: Counter[str] = Counter()
    bad: dict[str, str] = {}

    def readable() -> Iterator[LabelledImage]:
        for pair in tqdm(pairs, unit="image", disable=None, file=sys.stderr):
            try:
                yield read_pair(pair, classes.table, ignored)
            except InvalidFrameError as error:
                skipped[error.cause] += 1
                bad[pair.name] = str(error)

    scores = score_images(readable(), ImageLabeller(segmenter, classes.vocabulary, Ensemble(options.ensemble)))
    if not scores.open_choice.total:
        raise OvsegError(_nothing(options.folder, pairs, bad))
    results = {
        "protocol": "images",
        "backend": options.backend,
        "space": segmenter.space.id,
        "folder": str(options.folder),
        "ensemble": options.ensemble,
        "ignored": sorted(ignored),
        **tabulate(scores, classes.vocabulary),
        "skipped": dict(skipped),
        "bad_pairs": bad,
        "versions": versions(),
    }
    write_report(_out(options), results, scores)
    return results


def _nothing(folder: Path, pairs: Sequence[Pair], bad: dict[str, str]) -> str:
    if bad:
        return f"none of the {len(pairs)} images of {folder} could be used, the first since {next(iter(bad.values()))}"
    return f"the {len(pairs)} label maps of {folder} hold no class: check --classes, --first and --ignore"


def _out(options: argparse.Namespace) -> Path:
    if options.out is not None:
        return Path(options.out)
    return Path("eval_out") / "images" / options.folder.resolve().name / str(options.backend)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="image_eval.py", description=__doc__.splitlines()[0])
    layouts = ", ".join(" + ".join(pair) for pair in LAYOUTS)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help=f"with {layouts}; files pair by name")
    parser.add_argument("--images", metavar="SUBFOLDER", help="of the images, with --labels")
    parser.add_argument("--labels", metavar="SUBFOLDER", help="of the label maps: PNG or NPY, a class number per pixel")
    parser.add_argument(
        "--classes",
        metavar="FILE|NAME",
        help="classes.json, a file with a class a line ('sofa, couch'), ADE20K's objectInfo150.txt, or a published "
        f"list such as nyu40 (default: {', '.join(CLASS_FILES)} in the folder)",
    )
    parser.add_argument(
        "--first", type=int, default=1, metavar="N", help="number of the first line's class (default %(default)s)"
    )
    parser.add_argument(
        "--ignore",
        type=int,
        nargs="+",
        metavar="N",
        help=f"numbers that aren't scored (default {UNLABELLED}, if no class has them)",
    )
    parser.add_argument(
        "--vocabulary", metavar="FILE|NAME", help="further words for the classes, see docs/vocabularies.md"
    )
    parser.add_argument(
        "--ensemble",
        choices=[ensemble.value for ensemble in Ensemble],
        default=Ensemble.MAX.value,
        help="of several words for a class: the best of them, or their mean vector (default %(default)s)",
    )
    parser.add_argument("--backend", default="openseg", help="which segmenter to score (default %(default)s)")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--every", type=positive, default=1, metavar="N", help="use every N-th image")
    parser.add_argument("-o", "--out", type=Path, metavar="FOLDER", help="results (default eval_out/images/...)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    rooms = parser.add_argument_group("generated rooms, written into FOLDER before it is read")
    rooms.add_argument("--rooms", type=positive, metavar="N", help="how many")
    rooms.add_argument("--seed", type=int, default=9000, metavar="N", help="of the first (default %(default)s)")
    rooms.add_argument("--views", type=positive, default=4, metavar="N", help="of each room (default %(default)s)")
    rooms.add_argument("--size", type=image_size, default=(320, 240), metavar="WxH", help="default 320x240")
    options = parser.parse_args(arguments)
    if (options.images is None) != (options.labels is None):
        parser.error("--images and --labels go together")
    return options


if __name__ == "__main__":
    sys.exit(main())
