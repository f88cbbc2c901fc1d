"""Feature compression against numpy's SVD of all data at once, and against decoding before comparing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ovseg_ros.errors import OvsegError
from ovseg_ros.mapping.compression import FeatureCodec, PcaFit, cosine_error


def spread_features(rng: np.random.Generator, n: int, channels: int, rank: int, offset: float) -> torch.Tensor:
    """(n, channels) float32: a mean of length ``offset``, ``rank`` axes of falling variance, little noise."""
    mixing = np.linalg.qr(rng.normal(size=(channels, channels)))[0]
    spread = np.where(np.arange(channels) < rank, 2.0 ** -np.arange(channels), 1e-3)
    mean = offset * mixing.sum(0) / np.sqrt(channels)
    return torch.from_numpy((mean + rng.normal(size=(n, channels)) * spread @ mixing).astype(np.float32))


def fitted(features: torch.Tensor, components: int, parts: int = 3) -> FeatureCodec:
    fit = PcaFit(features.shape[1])
    for part in features.tensor_split(parts):
        fit.update(part)
    return fit.codec(components)


def unit_rows(rng: np.random.Generator, n: int, channels: int) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.from_numpy(rng.normal(size=(n, channels)).astype(np.float32)), dim=1)


def plain_projection(features: torch.Tensor, components: int) -> tuple[np.ndarray, float]:
    """Features reduced to their ``components`` principal axes about the mean, and the variance kept: in float64."""
    rows = features.double().numpy()
    mean = rows.mean(0)
    _, lengths, axes = np.linalg.svd(rows - mean, full_matrices=False)
    kept = axes[:components]
    return mean + (rows - mean) @ kept.T @ kept, (lengths[:components] ** 2).sum() / (lengths**2).sum()


def plain_cosines(features: np.ndarray, texts: torch.Tensor) -> np.ndarray:
    return texts.double().numpy() @ (features / np.linalg.norm(features, axis=1, keepdims=True)).T


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32),
    channels=st.integers(2, 12),
    share=st.floats(0.0, 1.0),
    parts=st.integers(1, 60),
    offset=st.sampled_from([0.0, 1.0, 100.0]),
)
def test_equals_svd_of_all_data(seed, channels, share, parts, offset):
    components = 1 + round(share * (channels - 1))
    features = spread_features(np.random.default_rng(seed), 40, channels, channels, offset)
    codec = fitted(features, components, parts)
    expected, explained = plain_projection(features, components)
    decoded = codec.decode(codec.encode_rows(features))
    np.testing.assert_allclose(decoded.numpy(), expected, rtol=0, atol=3e-6 * (1 + offset))
    assert codec.explained == pytest.approx(explained, abs=1e-5)


def test_axes_fall_in_variance_and_have_fixed_signs():
    features = spread_features(np.random.default_rng(0), 200, 10, 6, 1.0)
    codec = fitted(features, 6)
    variances = codec.encode_rows(features).var(0)
    assert (variances.diff() < 0).all()
    largest = codec.basis.abs().argmax(0)
    assert (codec.basis[largest, torch.arange(6)] > 0).all()


def test_order_of_batches_does_not_matter():
    features = spread_features(np.random.default_rng(1), 300, 16, 8, 50.0)
    batches = list(features.split([1, 4, 95, 200]))
    codecs = []
    for ordered in (batches, batches[::-1]):
        fit = PcaFit(16)
        for batch in ordered:
            fit.update(batch)
        codecs.append(fit.codec(8))
    torch.testing.assert_close(codecs[0].mean, codecs[1].mean)
    torch.testing.assert_close(codecs[0].basis, codecs[1].basis, rtol=1e-5, atol=1e-6)


def test_grids_and_rows_are_the_same_data():
    features = spread_features(np.random.default_rng(2), 24, 5, 3, 1.0)
    grid = features.T.reshape(5, 4, 6)
    by_grid, by_rows = PcaFit(5), PcaFit(5)
    by_grid.update(grid)
    by_rows.update(features)
    by_rows.update(features[:0])
    codec = by_grid.codec(3)
    assert by_grid.samples == by_rows.samples == 24
    torch.testing.assert_close(codec.basis, by_rows.codec(3).basis)
    torch.testing.assert_close(codec.encode(grid).flatten(1).T, codec.encode_rows(features))


def test_the_mean_matters():
    features = spread_features(np.random.default_rng(3), 400, 64, 4, 1.0)
    codec = fitted(features, 4)
    without_mean = features @ codec.basis @ codec.basis.T
    assert torch.cosine_similarity(without_mean, features, dim=1).mean() < 0.9
    error = cosine_error(codec, features)
    assert 0 < error.mean < error.max < 1e-3


def test_spread_survives_a_mean_ten_thousand_times_as_long():
    features = spread_features(np.random.default_rng(4), 400, 32, 4, 1e4)
    codec = fitted(features, 4)
    centred = features.double() - features.double().mean(0)
    decoded = codec.decode(codec.encode_rows(features)).double() - features.double().mean(0)
    rounding = 1e4 * torch.finfo(torch.float32).eps
    assert (decoded - centred).abs().max() < 5e-3 + rounding
    codes, exact = codec.encode_rows(features).double(), centred @ codec.basis.double()
    assert (codes - exact).abs().max() < rounding


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32),
    components=st.integers(1, 12),
    offset=st.sampled_from([0.0, 1.0, 30.0]),
    dtype=st.sampled_from([torch.float32, torch.float16]),
)
def test_cosines_are_those_of_decoded_features(seed, components, offset, dtype):
    rng = np.random.default_rng(seed)
    features = spread_features(rng, 50, 12, 12, offset)
    codec, texts = fitted(features, components), unit_rows(rng, 4, 12)
    codes = codec.encode_rows(features).to(dtype)
    decoded = codec.mean.double() + codes.double() @ codec.basis.double().T
    np.testing.assert_allclose(
        codec.cosines(codes, texts).numpy(), plain_cosines(decoded.numpy(), texts), rtol=0, atol=2e-4
    )


def test_cosines_of_features_much_shorter_than_the_mean():
    rng = np.random.default_rng(5)
    codec, texts = fitted(spread_features(rng, 200, 8, 8, 100.0), 8), unit_rows(rng, 3, 8)
    features = unit_rows(rng, 20, 8)
    # Codes of length 100 round by 1e-5; what is left of them has length 1.
    np.testing.assert_allclose(
        codec.cosines(codec.encode_rows(features), texts).numpy(),
        plain_cosines(features.double().numpy(), texts),
        rtol=0,
        atol=1e-4,
    )


def test_features_without_direction_score_zero():
    rng = np.random.default_rng(6)
    texts = unit_rows(rng, 3, 6)
    for offset in (0.0, 10.0):
        codec = fitted(spread_features(rng, 100, 6, 6, offset), 6)
        codes = codec.encode_rows(torch.zeros(2, 6))
        assert torch.equal(codec.cosines(codes, texts), torch.zeros(3, 2))
    assert codec.cosines(torch.zeros(0, 6), texts).shape == (3, 0)


def test_code_of_a_mean_is_the_mean_of_codes():
    rng = np.random.default_rng(7)
    features = spread_features(rng, 100, 16, 6, 3.0)
    codec = fitted(features, 6)
    weights = torch.from_numpy(rng.random((5, 100)).astype(np.float32))
    weights /= weights.sum(1, keepdim=True)
    torch.testing.assert_close(
        codec.encode_rows(weights @ features), weights @ codec.encode_rows(features), rtol=0, atol=5e-6
    )


def test_error_counts_what_the_axes_leave_out():
    codec = FeatureCodec(torch.zeros(3), torch.eye(3)[:, :2].contiguous(), 1.0)
    features = torch.tensor([[1.0, 0.0, 0.0], [3.0, 0.0, 4.0], [0.0, 0.0, 2.0], [0.0, 0.0, 0.0]])
    error = cosine_error(codec, features)
    assert error.mean == pytest.approx((0 + 0.4 + 1) / 3, abs=1e-7)
    assert error.max == pytest.approx(1.0, abs=1e-7)


def test_small_errors_are_not_rounded_away():
    codec = FeatureCodec(torch.zeros(3), torch.eye(3)[:, :2].contiguous(), 1.0)
    assert cosine_error(codec, torch.tensor([[1.0, 0.0, 1e-4]])).mean == pytest.approx(5e-9, rel=1e-3)


def test_equal_features_are_their_mean():
    features = torch.full((10, 4), 0.5)
    codec = fitted(features, 2)
    assert codec.explained == 1.0
    assert cosine_error(codec, features).max == pytest.approx(0.0, abs=1e-12)


def test_tensors_round_trip_exactly():
    codec = fitted(spread_features(np.random.default_rng(8), 50, 9, 5, 2.0), 3)
    restored = FeatureCodec.from_tensors(codec.tensors())
    assert torch.equal(restored.mean, codec.mean) and torch.equal(restored.basis, codec.basis)
    assert restored.explained == codec.explained < 1
    assert (restored.channels, restored.components) == (9, 3)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("mean", torch.zeros(3), r"\(3,\) and \(4, 2\)"),
        ("mean", torch.zeros(4, 1), r"\(4, 1\)"),
        ("mean", torch.tensor([0.0, 0.0, float("nan"), 0.0]), "finite"),
        ("mean", torch.zeros(4, dtype=torch.float64), "float32"),
        ("basis", torch.full((4, 2), float("inf")), "finite"),
        ("basis", torch.zeros(4, 0), "1 <= K <= C"),
        ("basis", torch.ones(4, 5), "1 <= K <= C"),
        ("basis", 1.01 * torch.eye(4)[:, :2], "orthonormal"),
        ("basis", torch.eye(4)[:, [0, 0]], "orthonormal"),
        ("explained", torch.tensor([float("nan")]), "explained"),
        ("explained", torch.tensor([1.5]), "explained"),
        ("explained", torch.tensor([0.5, 0.5]), "one number"),
    ],
)
def test_refuses_tensors_that_are_no_codec(name, value, message):
    tensors = {"mean": torch.zeros(4), "basis": torch.eye(4)[:, :2], "explained": torch.tensor([0.5])}
    FeatureCodec.from_tensors(tensors)
    with pytest.raises(OvsegError, match=message):
        FeatureCodec.from_tensors(tensors | {name: value})


@pytest.mark.parametrize("name", ["mean", "basis", "explained"])
def test_refuses_missing_tensors(name):
    tensors = {"mean": torch.zeros(4), "basis": torch.eye(4)[:, :2], "explained": torch.tensor([0.5])}
    del tensors[name]
    with pytest.raises(OvsegError, match="needs the tensors"):
        FeatureCodec.from_tensors(tensors)


def test_refused_features_leave_the_fit_as_it_was():
    fit = PcaFit(3)
    fit.update(torch.eye(3))
    before = fit.codec(2).tensors()
    for bad in (torch.ones(2, 4), torch.ones(4, 3, 3), torch.ones(3), torch.tensor([[0.0, float("nan"), 0.0]])):
        with pytest.raises(OvsegError, match=r"channels|finite"):
            fit.update(bad)
    assert fit.samples == 3
    assert all(torch.equal(value, before[name]) for name, value in fit.codec(2).tensors().items())


@pytest.mark.parametrize("components", [0, -1, 4])
def test_refuses_impossible_components(components):
    fit = PcaFit(3)
    fit.update(torch.eye(3))
    with pytest.raises(OvsegError, match=f"1 to 3 components.*got {components}"):
        fit.codec(components)


def test_refuses_too_few_samples():
    fit = PcaFit(3)
    fit.update(torch.eye(3)[:1])
    with pytest.raises(OvsegError, match="2 components need"):
        fit.codec(2)
    fit.update(torch.eye(3)[1:2])
    assert fit.codec(2).components == 2


def test_refuses_features_of_another_model():
    codec = fitted(torch.eye(4), 2)
    for features in (torch.ones(5, 1), torch.ones(5, 6)):
        with pytest.raises(OvsegError, match="need 4 channels"):
            codec.encode_rows(features)
        with pytest.raises(OvsegError, match="need 4 channels"):
            codec.encode(features.T[:, :, None])


def test_no_error_without_directions():
    codec = fitted(torch.eye(4), 2)
    for features in (torch.zeros(0, 4), torch.zeros(3, 4)):
        with pytest.raises(OvsegError, match="map a frame first"):
            cosine_error(codec, features)
