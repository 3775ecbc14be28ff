"""Filters identified and signals deconvolved, against lstsq and QR of the matrix written out."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import scipy.signal

import swath
from swath.errors import SingularError
from swath.linalg import _sliding_solvers
from swath.linalg._sliding_solvers import MOST
from swath.testing import assert_close

identify, deconvolve = swath.linalg.identify_fir, swath.linalg.deconvolve
pytestmark = pytest.mark.op("linalg.identify_fir", "linalg.deconvolve")
METHODS = ("covariance", "autocorrelation", "prewindowed", "postwindowed")


def noise(rng, *shape, kind="real"):
    x = rng.standard_normal(shape)
    return x + 1j * rng.standard_normal(shape) if kind == "complex" else x


def coloured(rng, n, times):
    """Low-pass noise: every pass multiplies the condition of its windows."""
    x = rng.standard_normal(n + 2 * times)
    for _ in range(times):
        x = np.convolve(x, [0.25, 0.5, 0.25], "valid")
    return x


def system(x, y, taps, method="covariance"):
    """The matrix and right-hand side, row by row."""
    n = len(x)
    moments = {
        "covariance": range(taps - 1, n),
        "autocorrelation": range(n + taps - 1),
        "prewindowed": range(n),
        "postwindowed": range(taps - 1, n + taps - 1),
    }[method]
    rows = [[x[t - k] if 0 <= t - k < n else 0 for k in range(taps)] for t in moments]
    return np.array(rows), np.array([y[t] if t < len(y) else 0 for t in moments])


def ridged(a, b, ridge):
    """What minimises ‖b − A x‖² + ridge‖x‖², by NumPy's lstsq."""
    n = a.shape[1]
    a = np.concatenate([a, np.sqrt(ridge) * np.eye(n)])
    return np.linalg.lstsq(a, np.concatenate([b, np.zeros(n)]))[0]


def full_matrix(k, n):
    return scipy.linalg.convolution_matrix(k, n, "full")


# -- against the matrix ----------------------------------------------------------------------------


def test_all_methods_on_all_libraries(xp, rng):
    x, y = noise(rng, 12), noise(rng, 12)

    def run(x, y):
        return [identify(x, y, 3, ridge=0.5, method=m) for m in METHODS]

    for got, method in zip(xp.call(run, xp.asarray(x), xp.asarray(y)), METHODS, strict=True):
        assert_close(got, ridged(*system(x, y, 3, method), 0.5), rtol=512 * xp.eps)


@pytest.mark.on("numpy", "torch", "strict")
@pytest.mark.parametrize("kind", ["real", "complex"])
@pytest.mark.parametrize("method", METHODS)
def test_lengths_dtypes_and_orders(xp, rng, method, kind):
    """Few rows and many, one tap, y of all lengths; the corners of the matrix count."""
    for n, taps in ((9, 1), (9, 3), (9, 5), (40, 7)):
        x = noise(rng, n, kind=kind)
        # A loud start and end: corrections of the corners must not cancel.
        x[0] *= 1e3
        x[-1] *= 1e3
        lengths = [n, n + taps - 1] + [n - taps + 1] * (method == "covariance")
        for size in lengths:
            y = noise(rng, size, kind=kind)
            start = taps - 1 if size == n - taps + 1 else 0
            whole = np.concatenate([np.zeros(start), y])
            a, b = system(x, whole, taps, method)
            got = identify(xp.asarray(x), xp.asarray(y), taps, method=method)
            condition = np.linalg.cond(a) if a.shape[0] >= taps else 1e3
            assert_close(got, np.linalg.lstsq(a, b)[0], rtol=64 * 2.0**-52 * condition**2)


@pytest.mark.on("numpy", "torch", "strict-no-float64")
def test_deconvolution_of_short_and_long_kernels(xp, rng):
    for k in (noise(rng, 3, kind="complex"), noise(rng, 9), np.array([2.0])):
        y = noise(rng, 12, kind="complex" if np.iscomplexobj(k) else "real")
        a = full_matrix(k, 13 - len(k))
        for ridge in (0, 0.25):
            got = deconvolve(xp.asarray(y), xp.asarray(k), ridge=ridge)
            assert_close(got, ridged(a, y, ridge), rtol=256 * xp.eps * np.linalg.cond(a))


def test_autocorrelation_is_the_deconvolution_of_the_whole_output(rng):
    x, y = noise(rng, 30), noise(rng, 34)
    assert_close(identify(x, y, 5, method="autocorrelation"), deconvolve(y, x), rtol=1e-12)
    # ... which is the Toeplitz system of the correlations.
    lags = scipy.signal.correlate(x, x)[29:34]
    right = scipy.signal.correlate(y, x, "valid")
    assert_close(deconvolve(y, x), scipy.linalg.solve_toeplitz(lags, right), rtol=1e-12)


def test_leading_axes_broadcast_and_any_axis_will_do(rng):
    x, y = noise(rng, 2, 1, 20), noise(rng, 4, 1, 3, 20)
    ridge = np.array([0.0, 1.0, 2.0])
    got = identify(x, y, 4, ridge=ridge)
    assert got.shape == (4, 2, 3, 4)
    for i, j, k in np.ndindex(4, 2, 3):
        want = ridged(*system(x[j, 0], y[i, 0, k], 4), ridge[k])
        assert_close(got[i, j, k], want, rtol=1e-12)
    # More axes of x than of y.
    fewer = identify(np.stack([x[None]] * 3), y, 4)
    assert fewer.shape == (3, 4, 2, 3, 4)
    assert_close(fewer[1, 2], identify(x, y[2], 4), rtol=1e-13)
    one = identify(x[0, 0], y[:, 0], 4)
    assert_close(one[1, 2], identify(x[0, 0], y[1, 0, 2], 4), rtol=1e-13)
    columns = identify(x[0, 0], np.moveaxis(y[:, 0], -1, 0), 4, axis=0)
    assert_close(columns, np.moveaxis(one, -1, 0), rtol=1e-13)
    k = noise(rng, 3)
    records = deconvolve(y[0, 0].T, k, axis=0, ridge=0.1)
    assert records.shape == (18, 3)
    assert_close(records[:, 1], deconvolve(y[0, 0, 1], k, ridge=0.1), rtol=1e-12)


# -- laws ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["real", "complex"])
def test_what_was_convolved_comes_back(rng, kind):
    x, h = noise(rng, 500, kind=kind), noise(rng, 20, kind=kind)
    whole = swath.signal.convolve(x, h)
    for y in (whole, whole[:500], swath.signal.convolve(x, h, "valid")):
        assert_close(identify(x, y, 20), h, rtol=1e-12)
    assert_close(identify(x, whole, 20, method="autocorrelation"), h, rtol=1e-12)
    # The covariance method knows nothing of what was before: it may be anything.
    assert_close(identify(x[100:], whole[100:500], 20), h, rtol=1e-12)
    assert_close(deconvolve(whole, h), x, rtol=1e-9)
    assert_close(deconvolve(whole, x), h, rtol=1e-12)


def test_the_residual_is_orthogonal_to_every_shift_of_the_input(rng):
    x, y = noise(rng, 3000), noise(rng, 3000)
    h = identify(x, y, 100)
    rest = y[99:] - np.convolve(x, h, "valid")
    assert np.abs(np.correlate(x, rest, "valid")).max() <= 1e-13 * np.linalg.norm(x) ** 2


def test_wiener_ridge_is_the_best_of_all(rng):
    """Noise over signal power: among ridges, the one of least mean square error."""
    k, sigma = np.exp(-0.5 * (np.arange(-6, 7) / 2.0) ** 2), 0.3
    k /= k.sum()
    x = noise(rng, 40, 400)
    y = swath.signal.convolve(x, k, axes=-1) + sigma * noise(rng, 40, 412)
    best = sigma**2
    errors = [np.mean((deconvolve(y, k, ridge=r) - x) ** 2) for r in (best / 4, best, 4 * best)]
    assert errors[1] < min(errors[0], errors[2])
    # Without any, a wave that the kernel swallows drowns the signal.
    assert np.mean((deconvolve(y, k) - x) ** 2) > 1e3


# -- accuracy --------------------------------------------------------------------------------------


def by_qr(a, b):
    q, r = np.linalg.qr(a)
    return scipy.linalg.solve_triangular(r, q.T @ b)


@pytest.mark.parametrize("level", [0.0, 1e-3, 1.0])
@pytest.mark.parametrize("times", [2, 5, 8, 11, 16])
def test_as_accurate_as_householder_qr(rng, times, level):
    """Conditions from 1e3 to 1e8: errors against the exact solution, beside Householder QR's."""
    ratios = []
    for _ in range(60):
        x = coloured(rng, 500, times)
        a = system(x, np.zeros(500), 16)[0]
        b = a @ noise(rng, 16) + level * noise(rng, len(a))
        exact = swath.linalg.lstsq(a, b, accuracy="full")
        assert exact.success
        error, peer = (
            np.linalg.norm(v - exact.x) / np.linalg.norm(exact.x)
            for v in (identify(x, b, 16), by_qr(a, b))
        )
        condition = float(exact.condition)
        off = np.linalg.norm(b - a @ exact.x) / np.linalg.norm(exact.x) / np.linalg.norm(a, 2)
        assert error <= 16 * 2.0**-53 * (condition + condition**2 * off)
        ratios.append(error / peer)
    assert np.exp(np.mean(np.log(ratios))) <= 4


def test_single_precision_is_that_of_double_where_there_is_double(rng):
    x = coloured(rng, 2000, 6).astype(np.float32)
    y = noise(rng, 2000).astype(np.float32)
    got = identify(x, y, 16)
    assert got.dtype == np.float32
    assert_close(got, identify(x.astype(float), y.astype(float), 16), rtol=2.0**-23)


@pytest.mark.on("jax-x32", "strict-no-float64")
def test_single_precision_alone(xp, rng):
    """Condition 4e3: squared beyond what single precision holds."""
    x = coloured(rng, 400, 3)
    h = noise(rng, 16)
    y = np.convolve(x, h)[:400]
    got = xp.call(lambda x, y: identify(x, y, 16), xp.asarray(x), xp.asarray(y))
    condition = np.linalg.cond(system(x, y, 16)[0])
    assert condition**2 > 1 / xp.eps
    assert_close(got, h, rtol=4 * xp.eps * condition)


def test_deficient_inputs_get_the_taps_of_least_norm(rng):
    x = np.sin(0.7 * np.arange(200))
    y = np.convolve(x, [1.0, 0.5])[:200]
    a, b = system(x, y, 12)
    h, pullback = swath.vjp(identify, x, y, 12)
    assert_close(h, np.linalg.lstsq(a, b, rcond=1e-12)[0], rtol=1e-10)
    # Linear in y with the pseudo-inverse; no derivative with respect to x.
    t = noise(rng, 12)
    by_x, by_y = pullback(t)[:2]
    assert_close(by_y[11:], np.linalg.pinv(a, rcond=1e-12).T @ t, rtol=1e-10)
    assert np.isnan(by_x).all()
    # Fewer moments than taps.
    short = identify(x[:9], noise(rng, 9), 6)
    assert np.isfinite(short).all()


@pytest.mark.on("jax-jit")
def test_a_compiled_batch_with_a_deficient_lane(xp, rng):
    x = np.stack([np.sin(0.7 * np.arange(60)), noise(rng, 60)])
    y = noise(rng, 2, 60)
    got = xp.call(lambda x, y: identify(x, y, 5), xp.asarray(x), xp.asarray(y))
    for i in range(2):
        a, b = system(x[i], y[i], 5)
        assert_close(got[i], np.linalg.lstsq(a, b, rcond=1e-12)[0], rtol=1e-10)


def test_size_does_not_matter(rng):
    x, y = noise(rng, 50), noise(rng, 50)
    h = identify(x, y, 6)
    assert np.array_equal(identify(x * 2.0**-700, y, 6), h * 2.0**700)
    assert np.array_equal(identify(x, y * 2.0**900, 6), h * 2.0**900)
    # A ridge that is all: h = Aᴴy / ridge.
    right = np.array([np.sum(x[5 - k : 50 - k] * y[5:]) for k in range(6)])
    for size in (2.0**-700, 2.0**-900):
        found = identify(x * size, y, 6, ridge=0.5)
        assert_close(found / size, 2 * right, rtol=1e-13)


# -- Toeplitz normal equations ---------------------------------------------------------------------


@pytest.fixture
def recursive(monkeypatch):
    """As if few unknowns were many enough for Levinson's recursion."""
    monkeypatch.setattr(_sliding_solvers, "inverts", lambda *_: True)


def test_a_ridge_beside_which_a_kernel_is_tiny(rng, recursive):
    y, k = noise(rng, 12), noise(rng, 3)
    right = np.correlate(y, k)
    assert_close(deconvolve(y, k * 2.0**-530, ridge=0.5) * 2.0**530, 2 * right, rtol=1e-13)


@pytest.mark.parametrize("kind", ["real", "complex"])
def test_convolutions_by_the_recursion(xp, rng, recursive, kind):
    """Batches, several right-hand sides and a ridge for each, like the matrix written out."""
    k, y, x = noise(rng, 2, 4, kind=kind), noise(rng, 3, 2, 15, kind=kind), noise(rng, 9, kind=kind)
    k[:, 0] *= 3
    ridge = np.array([0.0, 0.5])

    def run(k, y, x, ridge):
        taps = identify(x, y, 7, method="autocorrelation")
        return deconvolve(y, k, ridge=ridge), deconvolve(y, x), taps

    got, long, taps = map(xp.numpy, xp.call(run, *map(xp.asarray, (k, y, x, ridge))))
    assert_close(long, taps, rtol=64 * xp.eps)
    for i, j in np.ndindex(3, 2):
        want = ridged(full_matrix(k[j], 12), y[i, j], ridge[j])
        assert_close(got[i, j], want, rtol=256 * xp.eps)
        assert_close(taps[i, j], np.linalg.lstsq(full_matrix(x, 7), y[i, j])[0], rtol=256 * xp.eps)


@pytest.mark.on("numpy", "torch", "jax-jit")
def test_a_kernel_that_the_recursion_cannot_take(xp, rng, recursive):
    """Of two records one has a condition of 1e13: both are factored, to the same solutions."""
    k = np.ones((2, 1))
    for _ in range(7):
        k = scipy.signal.fftconvolve(k, np.array([[0.25, 0.5, 0.25], [0.1, 0.8, 0.1]]), axes=1)
    a = full_matrix(k[0], 120)
    assert np.linalg.cond(a) > 1e12
    y = np.stack([full_matrix(v, 120) @ noise(rng, 120) for v in k])
    got = xp.numpy(xp.call(deconvolve, xp.asarray(y), xp.asarray(k)))
    assert_close(a @ got[0], y[0], rtol=1e-12)
    assert_close(got[1], np.linalg.lstsq(full_matrix(k[1], 120), y[1])[0], rtol=1e-10)


@pytest.mark.parametrize("level", [0.0, 1e-3, 1.0])
@pytest.mark.parametrize("times", [0, 1, 2])
def test_the_recursion_is_as_accurate_as_householder_qr(rng, recursive, times, level):
    """Conditions from 2 to 1e7, of kernels whose spectra have zeros of rising order."""
    ratios = []
    for _ in range(5):
        k = np.concatenate([[4.0], noise(rng, 5)])
        for _ in range(times):
            k = np.convolve(k, [0.25, 0.5, 0.25])
        a = full_matrix(k, 60)
        b = a @ noise(rng, 60) + level * noise(rng, len(a))
        exact = swath.linalg.lstsq(a, b, accuracy="full")
        assert exact.success
        error, peer = (
            np.linalg.norm(v - exact.x) / np.linalg.norm(exact.x)
            for v in (deconvolve(b, k), by_qr(a, b))
        )
        condition = float(exact.condition)
        off = np.linalg.norm(b - a @ exact.x) / np.linalg.norm(exact.x) / np.linalg.norm(a, 2)
        assert error <= 16 * 2.0**-53 * (condition + condition**2 * off)
        ratios.append(error / peer)
    assert np.exp(np.mean(np.log(ratios))) <= 4


def test_thousands_of_unknowns_take_no_matrix(rng, monkeypatch):
    """The matrix of the normal equations is not made where it need not be."""
    monkeypatch.setattr(_sliding_solvers, "gram_of", None)
    k = np.concatenate([[4.0], noise(rng, 30)])
    x = noise(rng, 2000)
    assert_close(deconvolve(np.convolve(x, k), k), x, rtol=1e-11)
    h = noise(rng, 1500)
    assert_close(identify(x, np.convolve(x, h), 1500, method="autocorrelation"), h, rtol=1e-9)


# -- many unknowns ---------------------------------------------------------------------------------


def test_long_signals_take_conjugate_gradients(rng):
    k = np.exp(-np.arange(60) / 12.0) * noise(rng, 60)
    k[0] = 4.0
    x = noise(rng, 2, 5000)
    y = swath.signal.convolve(x, k, axes=-1)
    assert_close(deconvolve(y, k), x, rtol=1e-11)
    a = full_matrix(k, 2100)
    y = y[0, : len(a)] + 0.1 * noise(rng, len(a))
    got = deconvolve(y, k, ridge=0.01)
    want = np.linalg.solve(a.T @ a + 0.01 * np.eye(2100), a.T @ y)
    assert_close(got, want, rtol=1e-11)


@pytest.mark.on("numpy", "torch", "strict")
@pytest.mark.parametrize("large", [2**15, 8])
@pytest.mark.parametrize("method", METHODS)
def test_conjugate_gradients_with_either_preconditioner(xp, rng, monkeypatch, method, large):
    """As if few unknowns were many."""
    monkeypatch.setattr(_sliding_solvers, "MOST", 8)
    monkeypatch.setattr(_sliding_solvers, "_LARGE", large)
    x, y = noise(rng, 300, kind="complex"), noise(rng, 300, kind="complex")
    x = np.convolve(x, [1.0, 0.6, 0.2], "same")
    got = identify(xp.asarray(x), xp.asarray(y), 20, method=method)
    assert_close(got, np.linalg.lstsq(*system(x, y, 20, method))[0], rtol=1e-11)


def test_a_filter_of_thousands_of_taps(rng):
    x, h = np.convolve(noise(rng, 20_000), [1.0, 0.6, 0.2]), noise(rng, 2100)
    y = np.convolve(x, h)[: x.size] + 0.01 * noise(rng, x.size)
    rest = y[2099:] - np.convolve(x, identify(x, y, 2100), "valid")
    slope = np.correlate(x, rest, "valid")
    assert np.linalg.norm(slope) <= 1e-13 * np.linalg.norm(x) * np.linalg.norm(y)


def test_an_iteration_that_does_not_converge_says_so(rng):
    k = np.exp(-0.5 * (np.arange(-30, 31) / 6.0) ** 2)
    y = noise(rng, 3000)
    with pytest.raises(SingularError, match="for 2940 unknowns did not converge: the spect"):
        deconvolve(y, k)
    assert np.isfinite(deconvolve(y, k, ridge=1e-3)).all()


# -- derivatives -----------------------------------------------------------------------------------


def slopes(run, arrays, cotangent, h=1e-6):
    """Differences along a random direction of every array."""
    rng = np.random.default_rng(3)
    for i, a in enumerate(arrays):
        d = noise(rng, *a.shape, kind="complex" if np.iscomplexobj(a) else "real")
        ends = [run(*(v + s * d if j == i else v for j, v in enumerate(arrays))) for s in (h, -h)]
        # Not holomorphic in complex arrays: the real part is what the transpose pairs.
        yield d, np.sum((ends[0] - ends[1]) / (2 * h) * cotangent).real


@pytest.mark.parametrize("kind", ["real", "complex"])
@pytest.mark.parametrize("most", [MOST, 2])
def test_pullbacks_equal_differences(rng, monkeypatch, kind, most):
    """Refined solutions: the gradient is that of the minimiser, also by conjugate gradients."""
    monkeypatch.setattr(_sliding_solvers, "MOST", most)
    x, y = noise(rng, 2, 30, kind=kind), noise(rng, 2, 30, kind=kind)
    gamma = np.asarray(2.0)
    ct = noise(rng, 2, 4, kind=kind)
    _, pullback = swath.vjp(identify, x, y, 4, ridge=gamma)
    (dx, dy, _), named = pullback(ct, with_kwargs=True)
    run = lambda x, y, g: identify(x, y, 4, ridge=g)  # noqa: E731
    for bar, (d, slope) in zip(
        (dx, dy, named["ridge"]), slopes(run, (x, y, gamma), ct), strict=True
    ):
        assert abs(np.sum(bar * d).real - slope) <= 1e-6 * (1 + abs(slope))


@pytest.mark.on("jax-jit")
def test_jax_differentiates_twice_and_maps(xp, rng):
    import jax

    x, y = xp.asarray(noise(rng, 3, 12)), xp.asarray(noise(rng, 3, 12))

    def loss(x, y):
        return (identify(x, y, 3, ridge=0.5) ** 2).sum()

    def run(x, y):
        gradient = jax.grad(loss, argnums=(0, 1))
        _, moved = jax.jvp(gradient, (x[0], y[0]), (x[1], y[1]))
        return moved, jax.vmap(gradient)(x, y)

    (mx, my), (gx, gy) = xp.call(run, x, y)
    hx, hy = np.asarray(x), np.asarray(y)

    def reference(x, y):
        h, pullback = swath.vjp(identify, x, y, 3, ridge=0.5)
        return pullback(2 * h)[:2]

    for i in range(3):
        want = reference(hx[i], hy[i])
        assert_close(gx[i], want[0], rtol=1e-10)
        assert_close(gy[i], want[1], rtol=1e-10)
    ends = [reference(hx[0] + s * hx[1], hy[0] + s * hy[1]) for s in (1e-5, -1e-5)]
    for got, high, low in zip((mx, my), *ends, strict=True):
        assert_close(got, (high - low) / 2e-5, rtol=1e-6)
