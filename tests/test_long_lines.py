"""Transforms of long lines as those of planes: the spectra, the way back, and products by them."""

import numpy as np
import pytest
import scipy.fft
import scipy.linalg
import scipy.signal

import swath
from swath._backends import backend_of, long_lines
from swath.sliding.fft import fast_length

KINDS = ("float32", "float64", "complex64", "complex128")
# Libraries whose processors' long lines are planes, and one of the standard alone.
PLANES = ("numpy", "jax", "jax-jit", "torch", "strict")


def lines(rng, kind, *shape):
    x = rng.standard_normal(shape)
    if kind.startswith("complex"):
        x = x + 1j * rng.standard_normal(shape)
    return x.astype(kind)


@pytest.mark.on(*PLANES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("plane", [(8, 9), (6, 25), (5, 8), (9, 1)])
def test_spectra_are_those_of_the_lines_in_another_order(xp, rng, kind, plane):
    rows, columns = plane
    n, real = rows * columns, not kind.startswith("complex")
    for given in (n, n - 1, n // 2 + 1, 1):
        x = lines(rng, kind, 3, 2, given)
        want = scipy.fft.fft(x.astype("complex128"), n).reshape(3, 2, columns, rows)
        want = np.moveaxis(want, -1, -2)[..., : rows // 2 + 1 if real else rows, :]
        be = backend_of(xp.asarray(x, kind))
        got = xp.call(lambda x, be=be: long_lines.spectra(be, x, plane), xp.asarray(x, kind))
        size = 8 * np.finfo(kind).eps * np.sqrt(n) * np.log2(n)
        np.testing.assert_allclose(xp.numpy(got), want, rtol=0, atol=size)
        assert xp.numpy(got).dtype == np.result_type(kind, np.complex64)
        back = xp.call(lambda z, be=be: long_lines.back(be, z, plane, real=real), got)
        back = xp.numpy(back)
        np.testing.assert_allclose(back[..., :given], x, rtol=0, atol=size)
        np.testing.assert_allclose(back[..., given:], 0, rtol=0, atol=size)


@pytest.mark.on(*PLANES[:-1])
def test_lines_that_fit_the_caches_stay_lines(xp):
    known = backend_of(xp.asarray([1.0])).long_lines
    for kind in KINDS:
        of = known.get(kind)
        assert long_lines.sides(2**11, 1, of) is None
        if of is None:
            continue
        least = fast_length(of[0].start)
        assert long_lines.sides(least, 1, of) is not None
        for n in (2**15, 2**21, 3 * 2**20, 5**9 * 2, 10**7, 2**27):
            if n in of[0]:
                rows, columns = long_lines.sides(n, 1, of)
                assert rows * columns == n
                assert 64 < rows <= max(512, columns)
                assert columns <= 2**18
        # Threads and vector units share many lines as they are.
        assert long_lines.sides(least, 16, of) is None or least >= 2**20
    # No fast length: a prime has no planes. Nor has extended precision.
    assert long_lines.sides(2 * 1000003, 1, known["float32"]) is None
    assert "longdouble" not in known


@pytest.mark.on(*PLANES[:-1])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 2])
def test_products_and_their_gradients_by_planes_are_those_of_scipy(xp, rng, kind, count):
    """Beside SciPy's own transforms in higher precision, within the bound of a frame."""
    known = backend_of(xp.asarray([1.0])).long_lines.get(kind)
    n = 2**13 if known is None else max(2**13, known[count - 1].start - 1)
    x, h = lines(rng, kind, count, n), lines(rng, kind, 1, n // 3)
    g = lines(rng, kind, count, n)
    wide = np.result_type(kind, np.float64)

    def products(x, h, g):
        y, pull = swath.vjp(swath.signal.convolve, x, h, "same", method="fft", axes=-1)
        return y, *pull(g)[:2]

    y, dx, dh = xp.call(products, *(xp.asarray(a, kind) for a in (x, h, g)))
    eps, points = float(np.finfo(kind).eps), 2 * n
    bound = 4 * eps * np.log2(points) * np.linalg.norm(x[0]) * np.linalg.norm(h)

    def close(got, want, times=1.0):
        assert xp.numpy(got).dtype == kind
        assert abs(xp.numpy(got) - want).max() <= times * bound

    close(y, scipy.signal.oaconvolve(x.astype(wide), h.astype(wide), "same", axes=-1))
    start = (h.shape[1] - 1) // 2
    full = np.zeros((count, n + h.shape[1] - 1), wide)
    full[:, start : start + n] = g
    turned = h[:, ::-1].astype(wide), x[:, ::-1].astype(wide)
    close(dx, scipy.signal.oaconvolve(full, turned[0], "valid", axes=-1), 2)
    want = scipy.signal.oaconvolve(full, turned[1], "valid", axes=-1).sum(0)
    close(dh[0], want, 4 * count)


@pytest.mark.on(*PLANES[:-1])
def test_products_of_channels_by_planes(xp, rng):
    """Their spectra are brought into the order of matrix products and back."""
    x, w = lines(rng, "float32", 1, 2, 2**17), lines(rng, "float32", 1, 2, 5)
    y, v = lines(rng, "float32", 1, 6, 2**17), lines(rng, "float32", 20, 6, 5)
    for a, b in ((x, w), (y, v)):
        made = [
            xp.call(
                lambda a, b, method=method: swath.nn.conv(a, b, padding=2, method=method),
                xp.asarray(a, "float32"), xp.asarray(b, "float32"),
            )
            for method in ("fft", "direct")
        ]  # fmt: skip
        got, want = map(xp.numpy, made)
        bound = 4 * np.finfo("float32").eps * 17 * np.linalg.norm(a[0, 0]) * np.linalg.norm(b[0])
        assert abs(got - want).max() <= 6 * bound


def test_spectra_that_lie_with_gaps_come_back(rng):
    plane, x = (8, 9), lines(rng, "float64", 5, 72)
    be = backend_of(x)
    z = np.moveaxis(long_lines.spectra(be, x, plane), 0, -1)
    z = np.moveaxis(np.ascontiguousarray(z), -1, 0)
    assert not z.flags.c_contiguous
    np.testing.assert_allclose(long_lines.back(be, z, plane, real=True), x, atol=1e-13)


@pytest.mark.on(*PLANES[:-1])
@pytest.mark.parametrize("kind", ["float32", "complex128"])
def test_a_large_toeplitz_system_and_its_derivatives_by_planes(xp, rng, kind):
    """It is shown to be regular by eigenvalues of a circulant matrix, which come as spectra do."""
    # As short as planes are: the compiled recursion takes seconds.
    n, eps = 2200 if xp.backend == "jax" else 6000, np.finfo(kind).eps
    c, r = (lines(rng, kind, 2, n) * 0.5 ** np.arange(n)).astype(kind)
    c[0] = r[0] = 4
    b, y = lines(rng, kind, 2, n)
    solve = swath.linalg.solve_toeplitz

    def solved(c, r, b, y):
        found = solve((c, r), b, full_output=True)
        _, pull = swath.vjp(solve, (c, r), b)
        (dc, dr), db, *_ = pull(y)
        return found.x, found.success, dc, dr, db

    x, success, dc, dr, db = map(
        xp.numpy, xp.call(solved, *(xp.asarray(v, kind) for v in (c, r, b, y)))
    )
    assert bool(success)

    def close(got, want):
        np.testing.assert_allclose(got, want, rtol=0, atol=1e3 * eps * np.linalg.norm(want))

    close(scipy.linalg.matmul_toeplitz((c, r), x), b)
    # T x = b: db = T⁻ᵀ y, and a change of T at m below or above the diagonal meets −db xᵀ there.
    close(scipy.linalg.matmul_toeplitz((r, c), db), y)
    met = -scipy.signal.fftconvolve(db, x[::-1])
    close(dc, met[n - 1 :])
    close(dr[1:], met[n - 2 :: -1])


@pytest.mark.on(*PLANES[:-1])
def test_a_large_toeplitz_product_by_planes(xp, rng):
    n = 2**17
    c, r, x = lines(rng, "float32", 3, n)
    got = xp.call(
        lambda c, r, x: swath.linalg.matmul_toeplitz((c, r), x),
        *(xp.asarray(a, "float32") for a in (c, r, x)),
    )
    want = scipy.signal.fftconvolve(
        np.concatenate([r[:0:-1], c]).astype(float), x.astype(float), "valid"
    )
    np.testing.assert_allclose(xp.numpy(got), want, rtol=0, atol=1e-6 * np.linalg.norm(x) * n**0.5)
