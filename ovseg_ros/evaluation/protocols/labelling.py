"""How a protocol turns a voxel's scores into a label."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
import torch
from numpy.typing import NDArray


class Candidates(Enum):
    """Which classes a voxel may be given."""

    ALL = "all"
    SCORED = "those that are scored"
    PRESENT = "those that are scored and in the scene's truth"


@dataclass(frozen=True)
class Labelling:
    """From cosines to label ids.

    Attributes:
        candidates: which classes take part; the others are as if they had not been asked for.
        scale: what cosines are multiplied with before the softmax; None takes the space's own.
        denoise: a class whose probability reaches this nowhere is taken out (0: never); MaskCLIP+'s prompt denoising.
        chunk: voxels among which "nowhere" is judged; 0 takes all of them, as the idea means.
        threshold: voxels whose best probability is lower get no label.
    """

    candidates: Candidates = Candidates.ALL
    scale: float | None = None
    denoise: float = 0.0
    chunk: int = 0
    threshold: float = 0.0

    def allowed(self, scored: NDArray[np.bool_], present: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """(K,) which classes take part, given which are scored and which the truth has."""
        if self.candidates is Candidates.ALL:
            return np.ones_like(scored)
        return scored if self.candidates is Candidates.SCORED else scored & present

    def labels(self, cosines: torch.Tensor, allowed: NDArray[np.bool_], own_scale: float) -> NDArray[np.int32]:
        """Label voxels.

        Args:
            cosines: (N, K) between voxels, in the order of their keys, and class names; zeros where a feature says
                nothing.
            allowed: (K,) the classes that take part.
            own_scale: the space's.

        Returns:
            (N,) label ids, 0 for none.
        """
        columns = torch.from_numpy(np.flatnonzero(allowed)).to(cosines.device)
        labels = torch.zeros(len(cosines), dtype=torch.int64, device=cosines.device)
        if not len(columns):
            return labels.int().cpu().numpy()
        scale = own_scale if self.scale is None else self.scale
        parts = torch.split(cosines, self.chunk) if self.chunk else (cosines,)
        done = 0
        for part in parts:
            probabilities = torch.softmax(scale * part[:, columns], dim=1)
            convincing = probabilities.amax(dim=0) >= self.denoise if len(part) else columns > -1
            best, choice = probabilities.masked_fill(~convincing, -torch.inf).max(dim=1)
            known = (part != 0).any(dim=1) & (best >= max(self.threshold, 0.0))
            labels[done : done + len(part)] = torch.where(known, columns[choice] + 1, 0)
            done += len(part)
        return labels.int().cpu().numpy()
