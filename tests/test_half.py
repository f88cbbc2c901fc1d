"""float16 with a remainder: running means don't drift."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ovseg_ros.mapping.half import join_half, split_half


@settings(max_examples=50, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32), exponent=st.integers(-14, 15))
def test_joined_parts_differ_by_a_millionth(seed, exponent):
    values = torch.from_numpy(np.random.default_rng(seed).uniform(-2, 2, 500)).float() * 2.0**exponent
    values = values.clamp(-65504, 65504)
    high, remainder = split_half(values)
    assert (high.dtype, remainder.dtype) == (torch.float16, torch.int8)
    assert torch.equal(high, values.half())
    limit = values.abs().clamp(min=2.0**-14) * 2.0**-18
    assert ((join_half(high, remainder) - values).abs() <= limit).all()


def test_zero_and_the_largest_number_are_exact():
    values = torch.tensor([0.0, 65504.0, -65504.0, 1.0])
    assert torch.equal(join_half(*split_half(values)), values)


@pytest.mark.parametrize("scale", [1.0, 0.05, 1e-3])
def test_a_thousand_updates_stay_at_the_mean(scale):
    """The data drift, so that a mean in float16 alone would be left behind."""
    rng = np.random.default_rng(0)
    samples = scale * (np.linspace(0.5, 1.0, 1000)[:, None] + 0.1 * rng.normal(size=(1000, 64)))
    high, remainder = split_half(torch.zeros(64))
    alone = torch.zeros(64, dtype=torch.float16)
    for i, sample in enumerate(torch.from_numpy(samples).float()):
        high, remainder = split_half((join_half(high, remainder) * i + sample) / (i + 1))
        alone = ((alone.float() * i + sample) / (i + 1)).half()
    exact = samples.mean(axis=0)
    assert np.abs(join_half(high, remainder).numpy() - exact).max() <= 1e-4 * scale
    assert np.abs(alone.float().numpy() - exact).max() > 1e-3 * scale
