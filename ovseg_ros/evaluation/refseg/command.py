"""Score a referring model on a published data set."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ovseg_ros.errors import OvsegError
from ovseg_ros.evaluation.arguments import positive
from ovseg_ros.evaluation.refseg.refsegrs import RefSegRs
from ovseg_ros.evaluation.refseg.rrsisd import Rrsisd
from ovseg_ros.evaluation.refseg.samples import SPLITS, RefDataset
from ovseg_ros.evaluation.refseg.score import PUBLISHED_SIZE, evaluate
from ovseg_ros.evaluation.results import show
from ovseg_ros.segmentation import load_referrer

DATASETS: Mapping[str, Callable[[Path, str], RefDataset]] = {"rrsisd": Rrsisd, "refsegrs": RefSegRs}


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    return show(_score, _parse(arguments), _as_text)


def _score(options: argparse.Namespace) -> dict[str, Any]:
    dataset = DATASETS[options.dataset](options.path.expanduser(), options.split)
    referrer = load_referrer(options.backend, options.device, options.weights)
    scores = evaluate(
        dataset,
        referrer,
        limit=options.limit,
        size=options.size,
        progress=lambda numbers: tqdm(numbers, unit="expression", disable=None, file=sys.stderr),
    )
    results: dict[str, Any] = {
        "dataset": options.dataset,
        "split": options.split,
        "backend": options.backend,
        "size": options.size,
        "samples": len(scores.unions),
        **scores.table(),
    }
    if options.out is not None:
        of_each = [
            {"image": sample.image.name, "expression": sample.expression, "iou": float(iou)}
            for sample, iou in zip(dataset.samples, scores.ious, strict=False)
        ]
        _write(options.out, {**results, "of_each": of_each})
    return results


def _write(path: Path, content: dict[str, Any]) -> None:
    try:
        path.write_text(json.dumps(content, indent=1), encoding="utf-8")
    except OSError as error:
        raise OvsegError(f"{path} can't be written ({error}): name a file in a folder that exists") from error


def _as_text(results: dict[str, Any]) -> str:
    head = f"{results['dataset']} {results['split']}, {results['samples']} expressions, at {results['size']} pixels, %"
    scores = {name: value for name, value in results.items() if name.startswith("Pr@") or name.endswith("IoU")}
    return "\n".join(
        (head, "".join(f"{name:>8}" for name in scores), "".join(f"{100 * value:8.2f}" for value in scores.values()))
    )


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", choices=tuple(DATASETS), required=True, help="which layout the folder has")
    parser.add_argument("--path", type=Path, required=True, metavar="DIR", help="its folder")
    parser.add_argument("--split", choices=SPLITS, default="test", help="(default %(default)s)")
    parser.add_argument("--backend", default="rs2sam2", metavar="NAME", help="model (default %(default)s)")
    parser.add_argument("--weights", type=Path, metavar="DIR", help="folder of the model")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="(default %(default)s)")
    parser.add_argument("--limit", type=positive, metavar="N", help="ask only the first N expressions")
    parser.add_argument(
        "--size",
        type=positive,
        default=PUBLISHED_SIZE,
        metavar="PIXELS",
        help="side of the square that masks are compared in (default %(default)s, as RS2-SAM2's authors do)",
    )
    parser.add_argument("-o", "--out", type=Path, metavar="FILE", help="write the scores, and that of each, as JSON")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser.parse_args(arguments)
