#!/usr/bin/env python3
"""How far our SAM 3 is from the original one: the same random weights, the same image, the same prompts.

The original appends to every text what its geometry encoder says, boxes or not; transformers leaves that out where
there are no boxes. So there are two comparisons: our path, and transformers' own without a box of padding.

    python benchmarks/sam3.py --sam3 ~/sam3
    python benchmarks/sam3.py --sam3 ~/sam3 --wide --json
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from sam3_answers import our_answers, plain_answers
from sam3_peer import PeerModel, check_checkout
from sam3_weights import WIDE, Sizes, random_inputs, random_model

from ovseg_ros.errors import OvsegError


def measure(checkout: Path, sizes: Sizes, save: Path | None) -> dict[str, dict[str, float]]:
    """Largest differences from the original, in probabilities, under the keys that `--json` prints."""
    model, inputs = random_model(sizes), random_inputs(sizes)
    theirs = PeerModel(checkout, sizes, model.state_dict())(inputs)
    if save is not None:
        save_file({name: value.contiguous() for name, value in vars(theirs).items()}, save)
    return {
        "ours": theirs.differences(our_answers(model, inputs)),
        "without_box": theirs.differences(plain_answers(model, inputs)),
    }


def table(result: dict[str, dict[str, float]]) -> str:
    """What was measured, for people."""
    lines = [f"{'largest difference':<22}{'ours':>12}{'without box':>14}"]
    for name in result["ours"]:
        lines.append(f"{name:<22}{result['ours'][name]:>12.1e}{result['without_box'][name]:>14.1e}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    summary, _, examples = str(__doc__).partition("\n\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=examples, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sam3", type=Path, required=True, metavar="PATH", help="a checkout of facebookresearch/sam3")
    parser.add_argument("--wide", action="store_true", help="channels of the published model; needs a minute")
    parser.add_argument("--threads", type=int, default=1, metavar="T", help="CPU threads (default %(default)s)")
    parser.add_argument("--save", type=Path, metavar="FILE", help="write what the original says (.safetensors)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    if options.threads < 1:
        parser.error(f"--threads must be 1 or more, got {options.threads}")
    try:
        check_checkout(options.sam3)
    except OvsegError as error:
        parser.error(str(error))
    torch.set_num_threads(options.threads)
    result = measure(options.sam3, WIDE if options.wide else Sizes(), options.save)
    print(json.dumps(result) if options.json else table(result))


if __name__ == "__main__":
    main()
