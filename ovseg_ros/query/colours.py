"""Colour words: which voxels people would call red, by lightness, chroma and hue of CIELAB.

Light and shadow move lightness and, with it, chroma; hue stays. So chromatic words have sharp limits on
hue and wide ones on the rest.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

Ramp = tuple[float, float, float, float]
"""Membership 0 below the first number, 1 between the middle two, 0 above the last, linear between."""

ANY: Ramp = (-1.0, -1.0, 1000.0, 1000.0)


@dataclass(frozen=True)
class ColourTerm:
    """Ramps over CIELAB lightness 0..100, chroma 0..~130, and hue in degrees (may pass 360)."""

    lightness: Ramp
    chroma: Ramp
    hue: Ramp = ANY

    def membership(self, colours: torch.Tensor) -> torch.Tensor:
        """(N, 3) uint8 sRGB -> (N,) float32 in 0..1: how far each colour deserves the word."""
        lightness, chroma, hue = lch(colours).unbind(-1)
        start = self.hue[0]
        hue = (hue - start) % 360.0 + start if self.hue is not ANY else hue
        memberships = (_ramp(lightness, self.lightness), _ramp(chroma, self.chroma), _ramp(hue, self.hue))
        return torch.stack(memberships).amin(dim=0)


BASIC_TERMS: dict[str, ColourTerm] = {
    "red": ColourTerm((6, 14, 62, 76), (16, 30, 999, 999), (-8, 8, 44, 56)),
    "orange": ColourTerm((38, 52, 999, 999), (28, 45, 999, 999), (44, 54, 76, 86)),
    "yellow": ColourTerm((42, 58, 999, 999), (20, 34, 999, 999), (74, 84, 108, 118)),
    "green": ColourTerm((6, 14, 999, 999), (8, 18, 999, 999), (106, 118, 185, 205)),
    "blue": ColourTerm((4, 10, 999, 999), (8, 18, 999, 999), (205, 225, 307, 313)),
    "purple": ColourTerm((4, 10, 70, 84), (10, 20, 999, 999), (303, 311, 338, 350)),
    "pink": ColourTerm((48, 60, 999, 999), (9, 18, 999, 999), (330, 343, 386, 400)),
    "brown": ColourTerm((6, 14, 52, 66), (8, 16, 50, 66), (32, 44, 82, 94)),
    "black": ColourTerm((-1, -1, 22, 40), (-1, -1, 12, 22)),
    "white": ColourTerm((58, 78, 999, 999), (-1, -1, 10, 20)),
    "grey": ColourTerm((22, 36, 76, 90), (-1, -1, 9, 18)),
}
"""The basic colour terms of English. Their regions overlap: a shaded orange is also brown."""

SPELLINGS = {"gray": "grey"}

SHADES: dict[str, Ramp] = {"dark": (-1, -1, 38, 55), "light": (48, 62, 999, 999)}
"""Words before a colour that narrow its lightness."""


LUMINANCE = (0.2126, 0.7152, 0.0722)
"""Shares of linear red, green and blue in luminance."""

BRIGHT_SHARE = 0.95
BRIGHT = 0.66
MAX_GAIN = 4.0
"""In a well lit place so much of what is seen is at most this luminant: lightness 85. Darker places are brightened,
but not night to day."""


@dataclass(frozen=True)
class Colour:
    """A colour as a query names it: a basic term, maybe with a shade."""

    term: str
    shade: str | None = None

    def membership(self, colours: torch.Tensor) -> torch.Tensor:
        """(N, 3) uint8 sRGB -> (N,) float32 in 0..1."""
        result = BASIC_TERMS[self.term].membership(colours)
        if self.shade is not None:
            result = torch.minimum(result, _ramp(lch(colours)[:, 0], SHADES[self.shade]))
        return result


def brightened(colours: torch.Tensor, surroundings: torch.Tensor) -> torch.Tensor:
    """(N, 3) uint8 sRGB as bright as they would be where (M, 3) surroundings are well lit.

    People see white paper in a dim room as white, by what is brightest around it.
    """
    if not len(surroundings):
        return colours
    luminance = _linear(surroundings) @ torch.tensor(LUMINANCE, device=surroundings.device)
    brightest = luminance.sort().values[int(BRIGHT_SHARE * (len(luminance) - 1))]
    linear = (_linear(colours) * (BRIGHT / brightest.clamp(min=1e-6)).clamp(1.0, MAX_GAIN)).clamp(max=1.0)
    srgb = torch.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1.0 / 2.4) - 0.055)
    return (srgb * 255.0).round().to(torch.uint8)


def split_colour(words: list[str]) -> tuple[Colour | None, list[str]]:
    """Take the first colour out of a query's words.

    Example:
        >>> split_colour(["dark", "blue", "chair"])
        (Colour(term='blue', shade='dark'), ['chair'])
    """
    for i, word in enumerate(words):
        term = SPELLINGS.get(word, word)
        if term in BASIC_TERMS:
            shaded = i > 0 and words[i - 1] in SHADES
            start = i - 1 if shaded else i
            return Colour(term, words[start] if shaded else None), words[:start] + words[i + 1 :]
    return None, words


def lch(colours: torch.Tensor) -> torch.Tensor:
    """(N, 3) uint8 sRGB -> (N, 3) float32 CIELAB lightness, chroma and hue in degrees 0..360 (white point D65)."""
    linear = _linear(colours)
    to_xyz = torch.tensor(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]],
        device=colours.device,
    )
    # The rows' sums are the white point: relative to it, white is (1, 1, 1).
    relative = linear @ (to_xyz / to_xyz.sum(dim=1, keepdim=True)).T
    delta = 6.0 / 29.0
    x, y, z = torch.where(
        relative > delta**3, relative.clamp(min=1e-9) ** (1.0 / 3.0), relative / (3.0 * delta**2) + 4.0 / 29.0
    ).unbind(-1)
    a, b = 500.0 * (x - y), 200.0 * (y - z)
    return torch.stack((116.0 * y - 16.0, torch.hypot(a, b), torch.rad2deg(torch.atan2(b, a)) % 360.0), dim=-1)


def _linear(colours: torch.Tensor) -> torch.Tensor:
    """(N, 3) uint8 sRGB -> (N, 3) float32 proportional to light, 0..1."""
    srgb = colours.float() / 255.0
    return torch.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def _ramp(values: torch.Tensor, ramp: Ramp) -> torch.Tensor:
    """Trapezoidal membership of values in a Ramp."""
    low, full, full_end, high = ramp
    rising = (values - low) / max(full - low, 1e-6)
    falling = (high - values) / max(high - full_end, 1e-6)
    return torch.minimum(rising, falling).clamp(0.0, 1.0)
