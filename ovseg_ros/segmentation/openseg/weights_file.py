"""Weights on disk: half-precision safetensors with everything that is needed to use them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ovseg_ros.errors import OvsegError
from ovseg_ros.segmentation.openseg.model import OpenSeg, OpenSegConfig
from ovseg_ros.vocabulary import Vocabulary

FORMAT_VERSION = 1
METADATA_KEY = "openseg"


@dataclass(frozen=True)
class ModelCard:
    """What comes with a set of weights.

    Attributes:
        config: sizes of the model.
        vocabulary: classes it was trained on, each with the words used for it.
        logit_scale: what cosines are multiplied with before a softmax.
        text_table: digest of the word-piece table it was trained with.
        quality: measured numbers by name.
        training: how it was made (seed, steps, data), for people.
    """

    config: OpenSegConfig
    vocabulary: Vocabulary
    logit_scale: float
    text_table: str
    quality: dict[str, float]
    training: dict[str, Any]


def save_weights(model: OpenSeg, card: ModelCard, path: Path) -> None:
    """Write a model and its card; the file appears at once and whole."""
    # Matrices in half precision change no score; norms and biases are few and can be very small.
    tensors = {
        name: (value.half() if value.is_floating_point() and value.dim() > 1 else value).contiguous()
        for name, value in model.state_dict().items()
    }
    words = {"synonyms": card.vocabulary.synonyms}
    content = {"format_version": FORMAT_VERSION, **asdict(card), "vocabulary": words}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    save_file(tensors, temporary, metadata={METADATA_KEY: json.dumps(content)})
    temporary.chmod(0o644)
    temporary.replace(path)


def read_card(path: Path) -> ModelCard:
    """The card of a file written by `save_weights`.

    Raises:
        OvsegError: if the file is missing, damaged, or not of this format.
    """
    if not path.is_file():
        raise OvsegError(
            f"{path} is missing: install the package again, or train it with python -m ovseg_ros.training.openseg"
        )
    try:
        with safe_open(path, framework="pt") as file:
            content = json.loads((file.metadata() or {})[METADATA_KEY])
        version = content.pop("format_version")
        if version != FORMAT_VERSION:
            raise OvsegError(f"{path} has format {version}, this version reads {FORMAT_VERSION}: update the package")
        content["config"] = OpenSegConfig(**{name: _tuples(value) for name, value in content["config"].items()})
        content["vocabulary"] = Vocabulary(_tuples(content["vocabulary"]["synonyms"]))
        return ModelCard(**content)
    except (SafetensorError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(path, error) from error


def load_weights(path: Path) -> tuple[OpenSeg, ModelCard]:
    """Read a file written by `save_weights`; the model is in eval mode, float32, on the CPU.

    Raises:
        OvsegError: if the file is missing, damaged, or not of this format.
    """
    card = read_card(path)
    model = OpenSeg(card.config)
    try:
        with safe_open(path, framework="pt") as file:
            model.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except (SafetensorError, RuntimeError) as error:
        raise _damaged(path, error) from error
    return model.eval(), card


def _damaged(path: Path, error: Exception) -> OvsegError:
    reason = " ".join(str(error).split())[:200]
    return OvsegError(f"{path} does not hold whole OpenSeg weights ({reason}): install the package again")


def _tuples(value: Any) -> Any:
    """JSON's lists back to tuples, however deep."""
    return tuple(_tuples(entry) for entry in value) if isinstance(value, list) else value
