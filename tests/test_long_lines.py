"""Transforms of long lines as those of planes: the spectra, the way back, and products by them."""

import numpy as np
import pytest
import scipy.fft
import scipy.signal

import swath
from swath._backends import long_lines
from swath.sliding.fft import fast_length

KINDS = {"float32": 4, "float64": 8, "complex64": 4, "complex128": 8}


def lines(rng, kind, *shape):
    x = rng.standard_normal(shape)
    if kind.startswith("complex"):
        x = x + 1j * rng.standard_normal(shape)
    return x.astype(kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("plane", [(8, 9), (6, 25), (5, 8), (9, 1)])
def test_spectra_are_those_of_the_lines_in_another_order(rng, kind, plane):
    rows, columns = plane
    n, real = rows * columns, not kind.startswith("complex")
    for given in (n, n - 1, n // 2 + 1, 1):
        x = lines(rng, kind, 3, 2, given)
        want = scipy.fft.fft(x.astype("complex128"), n).reshape(3, 2, columns, rows)
        want = np.moveaxis(want, -1, -2)[..., : rows // 2 + 1 if real else rows, :]
        got = long_lines.spectra(x, plane)
        size = 8 * np.finfo(kind).eps * np.sqrt(n) * np.log2(n)
        np.testing.assert_allclose(got, want, rtol=0, atol=size)
        assert got.dtype == np.result_type(kind, np.complex64)
        back = long_lines.back(got, plane, real=real)
        np.testing.assert_allclose(back[..., :given], x, rtol=0, atol=size)
        np.testing.assert_allclose(back[..., given:], 0, rtol=0, atol=size)


def test_lines_that_fit_the_caches_stay_lines():
    for kind, width in KINDS.items():
        dtype, (alone, several) = np.dtype(kind), long_lines._LONG[width]
        assert long_lines.sides(2**16, 1, dtype) is None
        assert long_lines.sides(fast_length(alone), 1, dtype) is not None
        for n in (2**21, 3 * 2**20, 5**9 * 2, 10**7, 2**27):
            rows, columns = long_lines.sides(n, 1, dtype)
            assert rows * columns == n
            assert 64 < rows <= columns <= 2**18
        if alone < several:
            assert long_lines.sides(2**18, 3, dtype) is not None
            assert long_lines.sides(2**18, 4, dtype) is None
    # No fast length: a prime has no planes. Nor has extended precision, which SciPy transforms.
    assert long_lines.sides(2 * 1000003, 1, np.dtype("float32")) is None
    assert long_lines.sides(2**21, 1, np.dtype("longdouble")) is None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 2])
def test_products_and_their_gradients_by_planes_are_those_of_scipy(rng, kind, count):
    """Beside SciPy's own transforms in higher precision, within the bound of a frame."""
    n = 2**17 if KINDS[kind] == 4 else 2**20
    x, h = lines(rng, kind, count, n), lines(rng, kind, 1, n // 3)
    wide = np.result_type(kind, np.float64)
    y, pull = swath.vjp(swath.signal.convolve, x, h, "same", method="fft", axes=-1)
    eps, points = float(np.finfo(kind).eps), 2 * n
    bound = 4 * eps * np.log2(points) * np.linalg.norm(x[0]) * np.linalg.norm(h)

    def close(got, want, times=1.0):
        assert got.dtype == kind
        assert abs(got - want).max() <= times * bound

    exact = scipy.signal.oaconvolve(x.astype(wide), h.astype(wide), "same", axes=-1)
    close(y, exact)
    g = lines(rng, kind, count, n)
    dx, dh, *_ = pull(g)
    start = (h.shape[1] - 1) // 2
    full = np.zeros((count, n + h.shape[1] - 1), wide)
    full[:, start : start + n] = g
    close(dx, scipy.signal.oaconvolve(full, h[:, ::-1].astype(wide), "valid", axes=-1), 2)
    want = scipy.signal.oaconvolve(full, x[:, ::-1].astype(wide), "valid", axes=-1).sum(0)
    close(dh[0], want, 4 * count)


def test_products_of_channels_by_planes(rng):
    """Their spectra are brought into the order of matrix products and back."""
    x, w = lines(rng, "float32", 1, 6, 2**17), lines(rng, "float32", 20, 6, 5)
    got = swath.nn.conv(x, w, padding=2, method="fft")
    want = swath.nn.conv(x, w, padding=2, method="direct")
    bound = 4 * np.finfo("float32").eps * 17 * np.linalg.norm(x[0, 0]) * np.linalg.norm(w[0])
    assert abs(got - want).max() <= 6 * bound


def test_spectra_that_lie_with_gaps_come_back(rng):
    plane, x = (8, 9), lines(rng, "float64", 5, 72)
    z = np.moveaxis(np.ascontiguousarray(np.moveaxis(long_lines.spectra(x, plane), 0, -1)), -1, 0)
    assert not z.flags.c_contiguous
    np.testing.assert_allclose(long_lines.back(z, plane, real=True), x, atol=1e-13)


def test_a_large_toeplitz_product_by_planes(rng):
    n = 2**17
    c, r, x = lines(rng, "float32", 3, n)
    got = swath.linalg.matmul_toeplitz((c, r), x)
    want = scipy.signal.fftconvolve(
        np.concatenate([r[:0:-1], c]).astype(float), x.astype(float), "valid"
    )
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-6 * np.linalg.norm(x) * n**0.5)
