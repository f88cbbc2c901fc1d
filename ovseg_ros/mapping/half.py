"""Numbers as float16 and a remainder of 8 bits: three bytes that behave like 19 bits of mantissa.

A running mean kept in float16 alone stops following its data: after a thousand updates each new one
changes it by less than half a step of float16. The remainder counts 127ths of that half step, so a
thousand updates stay within 1e-4 of the exact mean, relative to the largest of them (tests/test_half.py).
Whoever only compares features reads the float16 part alone.
"""

from __future__ import annotations

import torch

HALF_STEP = 2.0**-11
"""Largest rounding error of a normal float16, relative to it."""

SMALLEST_NORMAL = 2.0**-14
"""Steps of float16 don't shrink below this."""

LEVELS = 127


def split_half(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """float32 of a magnitude that float16 holds -> its float16 part and the int8 remainder."""
    high = values.half()
    remainder = (values - high).div_(_remainder_unit(high)).round_()
    return high, remainder.to(torch.int8)


def join_half(high: torch.Tensor, remainder: torch.Tensor) -> torch.Tensor:
    """Inverse of `split_half`, to float32."""
    return _remainder_unit(high).mul_(remainder).add_(high)


def _remainder_unit(high: torch.Tensor) -> torch.Tensor:
    return high.float().abs_().clamp_(min=SMALLEST_NORMAL).mul_(HALF_STEP / LEVELS)
