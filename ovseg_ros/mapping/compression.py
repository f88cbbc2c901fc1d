"""Features in fewer numbers: a principal component analysis fitted on the first frames, mean included.

Encoding is affine and fusion takes means, so the mean of codes is the code of the mean: a map may
compress the feature grid of a frame before it is fused, and never holds a feature in full.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from ovseg_ros.errors import OvsegError

ORTHONORMAL_TOLERANCE = 1e-3
"""How far ``basis.T @ basis`` of a codec may be from the identity."""

NO_DIRECTION = 1e-4
"""A decoded feature shorter than this, relative to the mean feature, is rounding residue of zero."""


@dataclass(frozen=True)
class FeatureCodec:
    """Features as their coordinates along K orthonormal axes through the mean feature (Pearson 1901).

    Tensors are on the device of the codec; codes and features may be float16 or float32.

    Attributes:
        mean: (C,) float32 mean feature.
        basis: (C, K) float32 orthonormal columns, by falling variance.
        explained: share of the variance about the mean that the axes keep, 0 to 1.

    Raises:
        OvsegError: naming what makes these values no codec.
    """

    mean: torch.Tensor
    basis: torch.Tensor
    explained: float

    def __post_init__(self) -> None:
        if (
            self.mean.dim() != 1
            or self.basis.dim() != 2
            or not 1 <= self.components <= len(self.basis) == self.channels
        ):
            raise OvsegError(
                f"a codec needs a mean (C,) and a basis (C, K) with 1 <= K <= C, got {tuple(self.mean.shape)} and "
                f"{tuple(self.basis.shape)}: fit it again"
            )
        if not (self.mean.dtype == self.basis.dtype == torch.float32):
            raise OvsegError(f"a codec is float32, got {self.mean.dtype} and {self.basis.dtype}: convert it")
        if not (self.mean.isfinite().all() and self.basis.isfinite().all() and 0.0 <= self.explained <= 1.0):
            raise OvsegError(
                "a codec's values must be finite and its explained share 0 to 1, got "
                f"explained={self.explained}: fit it again on finite features"
            )
        identity = torch.eye(self.components, device=self.basis.device)
        deviation = (self.basis.T @ self.basis - identity).abs().max().item()
        if deviation > ORTHONORMAL_TOLERANCE:
            raise OvsegError(
                f"the basis of a codec must be orthonormal to {ORTHONORMAL_TOLERANCE}, is off by {deviation:.3g}: "
                "fit it again"
            )

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, torch.Tensor]) -> FeatureCodec:
        """Inverse of `tensors`.

        Raises:
            OvsegError: a tensor is missing or these are no codec's values.
        """
        missing = {"mean", "basis", "explained"} - tensors.keys()
        if missing or tensors["explained"].numel() != 1:
            raise OvsegError(
                "a codec needs the tensors mean, basis and one number explained, got "
                f"{', '.join(f'{name} {tuple(tensor.shape)}' for name, tensor in tensors.items()) or 'none'}: "
                "the map was written by another program"
            )
        return cls(tensors["mean"], tensors["basis"], tensors["explained"].item())

    def tensors(self) -> dict[str, torch.Tensor]:
        """All that a file must keep, float32: ``mean`` (C,), ``basis`` (C, K), ``explained`` (1,)."""
        return {"mean": self.mean, "basis": self.basis, "explained": self.mean.new_tensor([self.explained])}

    def to(self, device: torch.device | str) -> FeatureCodec:
        """The same codec on another device."""
        return FeatureCodec(self.mean.to(device), self.basis.to(device), self.explained)

    @property
    def channels(self) -> int:
        """Numbers per feature, C."""
        return len(self.mean)

    @property
    def components(self) -> int:
        """Numbers per code, K."""
        return self.basis.shape[1]

    def encode(self, features: torch.Tensor) -> torch.Tensor:
        """(C, h, w) feature grid -> (K, h, w) float32 codes.

        Raises:
            OvsegError: the features don't have C channels.
        """
        return self.encode_rows(features.flatten(1).T).T.view(self.components, *features.shape[1:])

    def encode_rows(self, features: torch.Tensor) -> torch.Tensor:
        """(n, C) features -> (n, K) float32 codes.

        Raises:
            OvsegError: the features don't have C channels.
        """
        _check_rows(features, self.channels)
        # The mean goes first: where it is long beside the spread, projecting it too would drown the spread in rounding.
        return (features.float() - self.mean) @ self.basis

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        """(n, K) codes -> (n, C) float32 features, as near to the originals as the axes allow."""
        return torch.addmm(self.mean, codes.float(), self.basis.T)

    def cosines(self, codes: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
        """Cosine between texts and decoded features, without decoding.

        With ``o`` the part of the mean orthogonal to the axes and ``s`` its coordinates along them, a code
        ``c`` decodes to ``o + basis @ (s + c)``, so its norm is that of ``(|o|, |s + c|)``. Unlike
        ``|mean|^2 + 2 s.c + |c|^2`` this sum loses nothing to cancellation.

        Args:
            codes: (n, K).
            texts: (Q, C) unit vectors.

        Returns:
            (Q, n) float32; 0 where the decoded feature has no length to speak of.
        """
        codes, texts = codes.float(), texts.float()
        along = self.mean @ self.basis
        orthogonal = self.mean - self.basis @ along
        products = torch.addmm((texts @ self.mean)[:, None], texts @ self.basis, codes.T)
        # cdist sums differences as it goes and makes no (n, K) tensor of them.
        reach = torch.cdist(codes, -along[None], compute_mode="donot_use_mm_for_euclid_dist").squeeze(1)
        norms = torch.hypot(reach, orthogonal.norm())
        return torch.where(norms > NO_DIRECTION * self.mean.norm(), products / norms, 0.0)


class PcaFit:
    """Accumulates mean and scatter of features as they come; keeps C x C numbers and no frame.

    Batches are combined by the pairwise update of Chan, Golub and LeVeque (1983), in float64, so
    neither their order nor a mean that is long beside the spread matters beyond rounding.

    Example:
        >>> fit = PcaFit(channels=3)
        >>> fit.update(torch.tensor([[5.0, 1.0, 0.0], [5.0, 3.0, 0.0]]))
        >>> fit.codec(components=1).mean
        tensor([5., 2., 0.])
    """

    def __init__(self, channels: int, device: torch.device | str = "cpu") -> None:
        self.channels = channels
        self.samples = 0
        self._mean = torch.zeros(channels, dtype=torch.float64, device=device)
        self._scatter = torch.zeros(channels, channels, dtype=torch.float64, device=device)

    def update(self, features: torch.Tensor) -> None:
        """Take in (C, h, w) or (n, C) finite features; each cell or row counts once.

        Raises:
            OvsegError: not C channels, or not finite. The fit is as it was.
        """
        rows = features.flatten(1).T if features.dim() == 3 else features
        _check_rows(rows, self.channels)
        if not rows.isfinite().all():
            raise OvsegError("features to fit a compression on must be finite: check the model's weights and precision")
        if not len(rows):
            return
        rows = rows.to(self._mean)
        mean = rows.mean(0)
        centred = rows - mean
        total = self.samples + len(rows)
        shift = mean - self._mean
        self._scatter += centred.T @ centred + torch.outer(shift, shift) * (self.samples * len(rows) / total)
        self._mean += shift * (len(rows) / total)
        self.samples = total

    def codec(self, components: int) -> FeatureCodec:
        """The codec of the ``components`` axes of largest variance, each with its largest entry positive.

        Where the features so far vary along fewer axes, the others are arbitrary ones of no variance.

        Raises:
            OvsegError: components not between 1 and C, or fewer samples than components.
        """
        if not 1 <= components <= self.channels:
            raise OvsegError(
                f"compression needs 1 to {self.channels} components, the channels of the features, got {components}: "
                f"{max(1, self.channels // 8)} keep an eighth of the memory"
            )
        if self.samples < components:
            raise OvsegError(
                f"{components} components need at least as many feature samples, got {self.samples}: "
                "fit on more frames or ask for fewer components"
            )
        variances, axes = torch.linalg.eigh(self._scatter)
        basis = axes[:, -components:].flip(1)
        largest = basis.gather(0, basis.abs().argmax(0, keepdim=True))
        total = variances.sum()
        explained = variances[-components:].sum() / total if total > 0 else torch.ones(())
        # Rounded to float32, so that a file keeps it exactly.
        share = explained.float().item()
        return FeatureCodec(self._mean.float(), (basis * largest.sign()).float().contiguous(), share)


@dataclass(frozen=True)
class CosineError:
    """How far compression turns features: 1 - cos(decoded, original), mean and largest."""

    mean: float
    max: float


def cosine_error(codec: FeatureCodec, features: torch.Tensor) -> CosineError:
    """What the codec costs on (n, C) features; those of zero length have no direction and take no part.

    Raises:
        OvsegError: no feature takes part, or they don't have C channels.
    """
    originals = features[features.any(dim=1)]
    if not len(originals):
        raise OvsegError(f"none of {len(features)} features has a direction to compare: map a frame first")
    decoded = codec.decode(codec.encode_rows(originals))
    # In float64: in float32 differences from 1 come in steps of 6e-8.
    errors = 1.0 - torch.cosine_similarity(decoded.double(), originals.double(), dim=1)
    return CosineError(errors.mean().item(), errors.max().item())


def _check_rows(features: torch.Tensor, channels: int) -> None:
    if features.dim() != 2 or features.shape[1] != channels:
        raise OvsegError(
            f"features to compress need {channels} channels, (C, h, w) or (n, C), got {tuple(features.shape)}: "
            "use the model that the compression was fitted with"
        )
