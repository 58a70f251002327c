"""Scores of estimated kernels against scipy's shifts and a search by its optimiser."""

import jax
import numpy as np
import pytest
from scipy import ndimage, optimize

from deepinternal.ops import kernel_scores
from deepinternal.ops.kernels import gaussian_kernel


def _gaussian(size=13, sigma=(1.6, 0.9), theta=0.5):
    return np.asarray(gaussian_kernel(size, sigma, theta=theta))


def _lopsided(size=13):
    """A short bright stroke with a long faint tail to one side."""
    kernel = np.zeros((size, size))
    kernel[size // 2 - 1, 3:-3] = np.linspace(1, 0.1, size - 6)
    kernel = ndimage.gaussian_filter(kernel, 0.9, mode="constant")
    return (kernel / kernel.sum()).astype(np.float32)


def _best(kernel, reference):
    """The greatest correlation over shifts, by an optimiser from many starts, on a wide array."""
    wide = max(len(kernel), len(reference)) + 24
    a, b = (
        np.pad(k.astype(np.float64), ((wide - len(k)) // 2, (wide - len(k) + 1) // 2))
        for k in (kernel, reference)
    )

    def loss(shift):
        moved = ndimage.shift(a, shift, order=3, mode="constant")
        return -np.sum(moved * b) / np.sqrt(np.sum(moved**2) * np.sum(b**2))

    starts = [(i, j) for i in range(-4, 5, 2) for j in range(-4, 5, 2)]
    least = sorted(starts, key=loss)[:2]
    found = [
        optimize.minimize(loss, s, method="Nelder-Mead", options={"xatol": 1e-3}) for s in least
    ]
    return -min(f.fun for f in found)


correlation = jax.jit(kernel_scores.correlation)
aligned = jax.jit(kernel_scores.aligned)


@pytest.mark.parametrize("make", [_gaussian, _lopsided])
def test_a_shifted_copy_correlates_fully(make):
    kernel = make()
    assert correlation(kernel, kernel) == pytest.approx(1, abs=1e-5)
    for shift in ((0.5, -0.25), (0.37, 0.88), (-1.6, 1.7)):
        moved = ndimage.shift(np.pad(kernel, 2), shift, order=3, mode="constant")
        got = correlation(moved.astype(np.float32), kernel)
        assert 1 - 2e-3 < got < 1 + 1e-5
        assert correlation(3 * moved.astype(np.float32), kernel) == pytest.approx(
            float(got), abs=1e-5
        )


def test_the_position_in_the_array_does_not_matter():
    """Nor does the size of the array, odd or even."""
    kernel = _gaussian()
    padded = np.pad(kernel, ((0, 4), (4, 0)))
    assert correlation(padded, kernel) == pytest.approx(1, abs=1e-4)
    assert correlation(kernel, padded) == pytest.approx(1, abs=1e-4)
    even = np.pad(kernel, ((0, 9), (9, 0)))
    assert correlation(even, kernel) == pytest.approx(1, abs=1e-4)


def test_correlation_tells_shapes_apart():
    kernel = _gaussian()
    scores = [correlation(_gaussian(sigma=(s, 0.9)), kernel) for s in (1.6, 2.0, 2.6)]
    assert scores[0] > scores[1] + 0.005 > scores[2] + 0.02
    assert correlation(_gaussian(theta=0.5 + np.pi / 2), kernel) < 0.93
    assert correlation(_lopsided()[:, ::-1], _lopsided()) < 0.96
    assert correlation(_lopsided(), _lopsided()) > 0.999


PAIRS = {
    "wider": (lambda: _gaussian(sigma=(2.2, 1.5)), _gaussian),
    "turned": (lambda: _gaussian(theta=1.4), _gaussian),
    "another size": (lambda: _gaussian(10, (1.2, 1.0), 0.0), _gaussian),
    "lopsided": (_lopsided, _gaussian),
    "flipped": (lambda: np.fliplr(_lopsided()), _lopsided),
}


@pytest.mark.parametrize("pair", PAIRS)
def test_correlation_is_the_greatest_of_all_shifts(pair):
    kernel, reference = (make() for make in PAIRS[pair])
    got = float(correlation(kernel, reference))
    assert got == pytest.approx(_best(kernel, reference), abs=5e-3)
    assert got == pytest.approx(float(correlation(reference, kernel)), abs=5e-3)


def test_negative_values_do_not_matter_much():
    kernel = _gaussian()
    rough = kernel + 1e-4 * np.random.default_rng(0).standard_normal(kernel.shape)
    assert correlation(rough.astype(np.float32), kernel) > 0.999


def test_kernel_psnr():
    """In decibels relative to the peak of the reference, after alignment."""
    kernel, reference = _gaussian(sigma=(2.0, 1.1)), _gaussian()
    a, b = (np.asarray(x, np.float64) for x in aligned(kernel, reference))
    assert a.shape == b.shape
    before = (b.shape[0] - 13) // 2
    np.testing.assert_array_equal(b, np.pad(reference, before))
    np.testing.assert_allclose(a, np.pad(kernel, before), atol=1e-6)  # both are centred
    expected = 10 * np.log10(reference.max() ** 2 / np.mean((a - b) ** 2))
    psnr = jax.jit(kernel_scores.kernel_psnr)
    got = psnr(kernel, reference)
    assert got == pytest.approx(expected, abs=1e-3)
    moved = ndimage.shift(np.pad(kernel, 4), (0.5, 0.75), order=3, mode="constant")[2:-2, 2:-2]
    again = psnr(moved.astype(np.float32), reference)
    assert again == pytest.approx(expected + 10 * np.log10((25 / 21) ** 2), abs=0.5)


def test_a_wide_kernel_far_from_the_reference_loses_nothing():
    """The reference in a corner of its array."""
    wide, reference = _gaussian(13, (3.0, 2.5), 0.3), np.zeros((13, 13), np.float32)
    reference[:5, :5] = _gaussian(5, (1.0, 0.8))
    assert correlation(wide, reference) == pytest.approx(_best(wide, reference), abs=5e-3)
    moved = np.asarray(aligned(wide, reference)[0])
    assert moved.sum() == pytest.approx(1, abs=2e-3)
