"""Ground-truth labels in place of a model, so that the map is judged without the model's mistakes."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ovseg_ros.errors import OvsegError
from ovseg_ros.types import RgbdFrame, Segmentation


class OracleSpace:
    """A language whose every class name is its own axis.

    Example:
        >>> OracleSpace(("wall", "chair")).encode_text(["chair"])
        tensor([[0., 1.]])
    """

    id = "ground-truth"
    logit_scale = 100.0
    same_meaning = 1.0
    compares_directly = True

    def __init__(self, class_names: Sequence[str]) -> None:
        self.class_names = tuple(class_names)

    def encode_text(self, texts: Sequence[str]) -> torch.Tensor:
        """N class names -> (N, K) one-hot rows.

        Raises:
            OvsegError: a text is not one of the class names.
        """
        unknown = [text for text in texts if text not in self.class_names]
        if unknown:
            raise OvsegError(f"the ground truth has no class {unknown[0]!r}: ask for one of its class names")
        axes = torch.tensor([self.class_names.index(text) for text in texts], dtype=torch.int64)
        return torch.nn.functional.one_hot(axes, len(self.class_names)).float()

    def align(self, features: torch.Tensor) -> torch.Tensor:
        """(V, K) label shares -> (V, K) unit norm, or zero where nothing was labelled."""
        return torch.nn.functional.normalize(features.float(), dim=1)

    def segment(self, frame: RgbdFrame) -> Segmentation:
        """A frame with ground truth -> one-hot features at the full image grid; zero where unlabelled.

        Raises:
            OvsegError: the frame has no ground truth.
        """
        if frame.semantics is None:
            raise OvsegError("the frame has no ground-truth labels: choose a recording that has them")
        one_hot = torch.nn.functional.one_hot(frame.semantics.long(), len(self.class_names) + 1)
        return Segmentation(one_hot[..., 1:].permute(2, 0, 1).float(), self.id)
