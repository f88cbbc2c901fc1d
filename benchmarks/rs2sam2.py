#!/usr/bin/env python3
"""How far our RS2-SAM2 is from the original one: the same random weights, the same image, the same tokens.

python benchmarks/rs2sam2.py --rs2sam2 ~/RS2-SAM2
python benchmarks/rs2sam2.py --rs2sam2 ~/RS2-SAM2 --full --json
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as functional
from rs2sam2_peer import PeerModel, check_checkout
from rs2sam2_weights import SMALL, Inputs, random_inputs
from safetensors.torch import save_file

from ovseg_ros.errors import OvsegError
from ovseg_ros.segmentation.rs2sam2.architecture import Architecture
from ovseg_ros.segmentation.rs2sam2.checkpoint import build_network
from ovseg_ros.segmentation.rs2sam2.pixels import normalised
from ovseg_ros.segmentation.rs2sam2.tokenizer import UNKNOWN


@torch.inference_mode()
def our_logits(published: Mapping[str, torch.Tensor], sizes: Architecture, inputs: Inputs) -> torch.Tensor:
    """(1, 1, S / 4, S / 4) logits with tensors by their published names, by the path of the backend."""
    network = build_network(published, sizes, Path("random weights"))
    cpu = torch.device("cpu")
    image, small = (normalised(inputs.rgb, side, cpu) for side in (sizes.image_size, sizes.union_image_size))
    return network(image, small, inputs.ids, inputs.ids != UNKNOWN)[0]


def measure(checkout: Path, sizes: Architecture, save: Path | None) -> dict[str, float]:
    """The largest differences from the original and how its logits spread, under the keys that `--json` prints."""
    inputs = random_inputs(sizes)
    started = time.perf_counter()
    peer = PeerModel(checkout, sizes)
    theirs, theirs_enlarged = peer(inputs)
    between = time.perf_counter()
    ours = our_logits(peer.weights, sizes, inputs)
    enlarged = functional.interpolate(ours, theirs_enlarged.shape[-2:], mode="bilinear", align_corners=False)
    if save is not None:
        save_file({"logits": theirs.contiguous()}, save)
    return {
        "largest_difference": float((ours - theirs).abs().max()),
        "enlarged": float((enlarged - theirs_enlarged).abs().max()),
        "deviation": float(theirs.std()),
        "inside": float((theirs > 0.5).float().mean()),
        "seconds_theirs": between - started,
        "seconds_ours": time.perf_counter() - between,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    summary, _, examples = str(__doc__).partition("\n\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=examples, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rs2sam2", type=Path, required=True, metavar="PATH", help="a checkout of rongfu-dsb/RS2-SAM2")
    parser.add_argument("--full", action="store_true", help="the published sizes; needs 8 GB and minutes")
    parser.add_argument("--threads", type=int, default=1, metavar="T", help="CPU threads (default %(default)s)")
    parser.add_argument("--save", type=Path, metavar="FILE", help="write what the original says (.safetensors)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    if options.threads < 1:
        parser.error(f"--threads must be 1 or more, got {options.threads}")
    try:
        check_checkout(options.rs2sam2)
    except OvsegError as error:
        parser.error(str(error))
    torch.set_num_threads(options.threads)
    result = measure(options.rs2sam2, Architecture() if options.full else SMALL, options.save)
    print(
        json.dumps(result) if options.json else "\n".join(f"{name:<20}{value:>10.2g}" for name, value in result.items())
    )


if __name__ == "__main__":
    main()
