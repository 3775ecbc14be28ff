"""The accuracy contract of sliding products: bounds element by element, typical size, exactness."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import scipy.signal

import oracles_core
from swath._backends import Backend, backend_of
from swath.geometry import Sliding, Span
from swath.sliding import correlate, kernel_gradient, spread
from swath.sliding.overlap_save import frames_of
from swath.sliding.plan import choose
from swath.sliding.problem import Problem
from swath.testing import _host, assert_close, tolerance

WINDOWED = ("direct", "im2col", "toeplitz", "native")
SPECTRAL = ("fft", "overlap_save")
pytestmark = [pytest.mark.optimised, pytest.mark.op("sliding.correlate")]


def nasty(rng, shape, dtype, spread=12):
    """Values of either sign over many orders of magnitude."""
    return (rng.standard_normal(shape) * 10.0 ** rng.uniform(-spread, spread, shape)).astype(dtype)


def run(xp, g, x, w, dtype):
    return xp.call(
        lambda a, b: correlate(g, a, b), xp.asarray(x, dtype=dtype), xp.asarray(w, dtype=dtype)
    )


def plan_of(xp, g, dtype, role="y"):
    be = backend_of(xp.asarray(np.ones(1)))
    return choose(Problem(role, g, 1, 1, 1, dtype, be.traces), (be.name, be.kind, ""))


def exact(g, x, w):
    """The product in rational arithmetic, rounded once to float64."""
    wide = oracles_core.product(g, "y", x=as_fractions(x), w=as_fractions(w))
    return wide.astype(object)


def as_fractions(a):
    return np.frompyfunc(lambda v: Fraction(float(v)), 1, 1)(a)


@pytest.mark.parametrize("method", WINDOWED)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_windowed_methods_keep_the_bound_on_every_element(xp, method, dtype):
    """|y − exact| ≤ 2·K·eps·(|x|⋆|k|) + K·tiny, with data over 24 orders of magnitude."""
    if dtype == "float64" and not xp.x64:
        dtype = "float32"  # a row without float64 holds its bound in its own widest float
    rng = np.random.default_rng(3)
    g = Sliding((Span(150, 9, 1, 1, 4, 4),), method=method)
    x, w = nasty(rng, (1, 1, 150), dtype), nasty(rng, (1, 1, 9), dtype)
    got = _host(run(xp, g, x, w, dtype))
    assert got.dtype == dtype
    want = exact(g, x, w)
    size = oracles_core.product(g, "y", x=abs(x).astype("f8"), w=abs(w).astype("f8"))
    allowed = tolerance(dtype, plan_of(xp, g, dtype)) * size + 9 * float(np.finfo(dtype).tiny)
    error = np.array([abs(float(Fraction(float(a)) - b)) for a, b in zip(got.flat, want.flat)])
    assert np.all(error <= allowed.ravel())


def test_a_loud_corner_of_a_picture_stays_in_its_frames(xp):
    """Frames along both axes: what no frame of the loud sample holds keeps its own bound."""
    rng = np.random.default_rng(5)
    spans = (Span(90, 3, low=1, high=1), Span(500, 4, low=2, high=1))
    quiet = rng.standard_normal((1, 1, 90, 500)).astype("float32")
    w = rng.standard_normal((1, 1, 3, 4)).astype("float32")
    loud = quiet.copy()
    loud[..., 0, 0] = 1e8
    g = Sliding(spans, method="overlap_save")
    got, calm = (_host(run(xp, g, x, w, "float32")) for x in (loud, quiet))
    if xp.backend == "dask":
        # The first chunk's piece is framed by itself.
        spans = tuple(s.part(0, n)[1] for s, n in zip(spans, (45, 250), strict=True))
    (rows, *_), (columns, *_) = frames_of(spans)
    assert rows < 90
    assert columns < 500
    assert_close(got[..., rows:, :], calm[..., rows:, :], atol=0, rtol=0)
    assert_close(got[..., columns:], calm[..., columns:], atol=0, rtol=0)
    assert np.abs(got - calm)[..., 4:rows, 4:columns].max() > 0.1


@pytest.mark.parametrize("method", SPECTRAL)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_spectral_methods_keep_the_bound_per_frame(xp, method, dtype):
    """‖y − exact‖∞ ≤ 4·eps·log2(n)·‖x_frame‖·‖k‖ + n·tiny."""
    if dtype == "float64" and not xp.x64:
        dtype = "float32"
    rng = np.random.default_rng(4)
    g = Sliding((Span(300, 21, 1, 1, 10, 10),), method=method)
    x, w = nasty(rng, (1, 1, 300), dtype, 3), nasty(rng, (1, 1, 21), dtype, 3)
    got = _host(run(xp, g, x, w, dtype))
    # float64 is wide enough beside float32; beside float64 the exact value is rational.
    want = exact(g, x, w)
    error = max(abs(float(Fraction(float(a)) - b)) for a, b in zip(got.flat, want.flat))
    plan = plan_of(xp, g, dtype)
    assert plan.method == method
    norms = np.linalg.norm(x.astype("f8")) * np.linalg.norm(w.astype("f8"))
    assert error <= tolerance(dtype, plan) * norms + plan.points * float(np.finfo(dtype).tiny)


# Chunks of Dask are framed by themselves.
@pytest.mark.on(
    "numpy", "jax", "jax-jit", "jax-x32", "torch", "strict", "strict-no-float64", "dpnp"
)
@pytest.mark.op("sliding.kernel_gradient")
@pytest.mark.parametrize("method", SPECTRAL)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_kernels_by_transforms_keep_the_bound_of_the_sum_of_their_frames(xp, method, dtype):
    """‖w − exact‖∞ ≤ (4·log2(n) + m − 1)·eps·Σ‖x_frame‖·‖y_frame‖ + m·n·tiny, m frames."""
    if dtype == "float64" and not xp.x64:
        dtype = "float32"
    rng = np.random.default_rng(7)
    span = Span(3000, 21, 1, 1, 10, 10)
    g = Sliding((span,), method=method)
    x, y = nasty(rng, (1, 1, 3000), dtype, 3), nasty(rng, (1, 1, 3000), dtype, 3)
    # Loud points of the one meet quiet ones of the other: the bound of the whole is far weaker.
    x[..., :2100] *= 1e-6
    y[..., 1000:] *= 1e-6
    got = xp.call(lambda a, b: kernel_gradient(g, a, b), xp.asarray(x), xp.asarray(y))
    assert _host(got).dtype == dtype
    padded = as_fractions(np.pad(x[0, 0], 10))
    want = [np.dot(padded[j : j + 3000], as_fractions(y[0, 0])) for j in range(21)]
    error = max(abs(float(Fraction(float(a)) - b)) for a, b in zip(_host(got).flat, want))
    plan = plan_of(xp, g, dtype, "w")
    assert plan.method == method
    hop, count = frames_of((span,))[0][1:3] if method == "overlap_save" else (3000, 1)
    assert plan.frames == count
    wide = np.pad(x[0, 0].astype("f8"), 10)
    norms = sum(
        np.linalg.norm(wide[i : i + hop + 20]) * np.linalg.norm(y[0, 0, i : i + hop].astype("f8"))
        for i in range(0, 3000, hop)
    )
    tiny = float(np.finfo(dtype).tiny) * plan.frames * plan.points
    assert error <= tolerance(dtype, plan) * norms + tiny
    whole = np.linalg.norm(wide) * np.linalg.norm(y.astype("f8"))
    assert method == "fft" or (count > 2 and norms < whole / 100)


def typical(xp, method, terms, *, channels=1):
    """Root mean square of |err| / (eps·‖window‖·‖k‖) for zero-mean float32 data."""
    rng = np.random.default_rng(terms)
    size = terms // channels
    g = Sliding((Span(size + 400, size),), method=method)
    x = rng.standard_normal((1, channels, size + 400)).astype("float32")
    w = rng.standard_normal((1, channels, size)).astype("float32")
    got = _host(run(xp, g, x, w, "float32")).astype("f8")[0, 0]
    windows = np.lib.stride_tricks.sliding_window_view(x.astype("f8")[0], size, axis=-1)
    want = np.einsum("cnk,ck->n", windows, w[0].astype("f8"))
    norms = np.sqrt(np.einsum("cnk,cnk->n", windows, windows)) * np.linalg.norm(w)
    return float(np.sqrt(np.mean((np.abs(got - want) / (2.0**-23 * norms)) ** 2)))


@pytest.mark.parametrize("method", WINDOWED)
def test_typical_error_is_below_one_eps(xp, method):
    for terms, channels in ((16, 1), (48, 8)):
        assert typical(xp, method, terms, channels=channels) <= 1.0


@pytest.mark.on("numpy", "torch", "strict")
@pytest.mark.parametrize("bits", [10, 7], ids=["TF32", "bfloat16"])
def test_a_planted_low_precision_product_is_caught(xp, monkeypatch, bits):
    """Inputs rounded as TF32 or bfloat16 units do: the typical error shows it at every K."""
    backend = type(backend_of(xp.asarray(np.ones(1, "float32"))))
    right = backend.matmul

    def rounded(a):
        host = np.ascontiguousarray(_host(a)).view("uint32")
        drop = 23 - bits
        half = np.uint32(1 << (drop - 1))
        keep = np.uint32(0xFFFFFFFF ^ ((1 << drop) - 1))
        return xp.asarray(((host + half) & keep).view("float32"))

    monkeypatch.setattr(backend, "matmul", lambda self, a, b: right(self, rounded(a), rounded(b)))
    monkeypatch.setattr(backend, "matmul_into", Backend.matmul_into)
    # Rows would be NumPy's to multiply.
    monkeypatch.setattr(backend, "near", Backend.near)
    for terms in (16, 48, 512):
        assert typical(xp, "toeplitz", terms) > 1.0
    # ... while the worst-case bound alone lets it through from a few hundred terms on.
    if bits == 10:
        assert typical(xp, "toeplitz", 512) < 2 * 512


# PyTorch has these dtypes as storage only: no sum, no product.
NO_ARITHMETIC = {"torch": ("uint16", "uint32", "uint64")}
INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_are_exact_modulo_their_width(xp, dtype):
    if dtype in ("int64", "uint64") and not xp.x64 and xp.backend == "jax":
        dtype = dtype.replace("64", "32")  # JAX without x64 has no 64-bit integers
    info = np.iinfo(dtype)
    rng = np.random.default_rng(5)
    x = rng.integers(info.min, info.max, (1, 1, 20), dtype=dtype, endpoint=True)
    w = rng.integers(info.min, info.max, (1, 1, 4), dtype=dtype, endpoint=True)
    g = Sliding((Span(20, 4, low=2, high=1),))
    whole = oracles_core.product(g, "y", x=x.astype(object), w=w.astype(object))
    want = np.array([(int(v) - info.min) % 2**info.bits + info.min for v in whole.flat], dtype)
    if dtype in NO_ARITHMETIC.get(xp.backend, ()):
        with pytest.raises(
            (RuntimeError, NotImplementedError), match=r"not implemented|not support"
        ):
            run(xp, g, x, w, dtype)
        return
    got = run(xp, g, x, w, dtype)
    assert_close(got, want.reshape(whole.shape), dtype=dtype)


@pytest.mark.on("numpy", "jax", "jax-jit", "jax-x32", "torch")
@pytest.mark.parametrize("method", WINDOWED)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_accumulates_in_float32_and_rounds_once(xp, method, dtype):
    if dtype == "bfloat16" and xp.backend == "numpy":
        dtype = "float16"  # NumPy has no bfloat16
    rng = np.random.default_rng(6)
    terms = 300
    g = Sliding((Span(terms + 40, terms),), method=method)
    make = xp.asarray(np.zeros(1, "float32"))
    be = backend_of(make)
    x, w = rng.standard_normal((1, 1, terms + 40)), rng.standard_normal((1, 1, terms))
    x, w = (be.xp.astype(xp.asarray(a.astype("f4")), be.dtype(dtype)) for a in (x, w))
    got = xp.call(lambda a, b: correlate(g, a, b), x, w)
    want = oracles_core.product(g, "y", x=_host(x).astype("f8"), w=_host(w).astype("f8"))
    eps = {"float16": 2.0**-10, "bfloat16": 2.0**-7}[dtype]
    size = oracles_core.product(g, "y", x=abs(_host(x).astype("f8")), w=abs(_host(w).astype("f8")))
    # One rounding of the result, and the float32 bound of the sum: a sum in half precision is off
    # by a multiple of eps·‖window‖·‖k‖.
    assert_close(got, want, bound=0.51 * eps * abs(want) + 2 * 2.0**-23 * terms * size, dtype=dtype)


@pytest.mark.parametrize("bad", [np.nan, np.inf], ids=["nan", "inf"])
def test_direct_never_spreads_a_non_finite_sample(xp, bad):
    x, w = np.ones((1, 1, 400)), np.array([[[1.0, -2.0, 0.5]]])
    x[0, 0, 200] = bad
    for stride in (1, 3):
        g = Sliding((Span(400, 3, stride, 2, 2, 2),), method="direct")
        got = _host(run(xp, g, x, w, xp.float))
        want = oracles_core.product(g, "y", x=x, w=w)
        assert_close(xp.asarray(got), want)


@pytest.mark.filterwarnings("ignore:invalid value encountered in matmul:RuntimeWarning")
@pytest.mark.parametrize("bad", [np.nan, np.inf], ids=["nan", "inf"])
def test_toeplitz_spreads_a_non_finite_sample_at_most_within_its_frame(xp, bad):
    from swath.sliding.toeplitz import frame_length

    span = Span(2000, 5)
    x, w = np.ones((1, 1, 2000)), np.ones((1, 1, 5))
    x[0, 0, 1000] = bad
    g = Sliding((span,), method="toeplitz")
    got = _host(run(xp, g, x, w, xp.float))[0, 0]
    reach = frame_length(backend_of(xp.asarray(x)), xp.asarray(x), span) + span.extent
    hit = np.flatnonzero(~np.isfinite(got))
    assert set(range(996, 1001)) <= set(hit)
    assert hit.min() >= 1000 - reach
    assert hit.max() <= 1000 + reach
    clean = np.setdiff1d(np.arange(got.size), hit)
    assert np.all(got[clean] == 5.0)


@pytest.mark.on(
    "numpy", "jax", "jax-jit", "jax-x32", "torch", "strict", "strict-no-float64", "dpnp"
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_kernels_in_parts_keep_the_bound_of_the_sum_of_their_frames(xp, dtype):
    """|y − exact| ≤ (4·log2(n) + m − 1)·eps·Σ‖x_frame‖·‖part‖ + m·n·tiny, m parts."""
    if dtype == "float64" and not xp.x64:
        dtype = "float32"
    rng = np.random.default_rng(9)
    span = Span(26_000, 9_000, 1, 1, 300, 20)
    g = Sliding((span,), method="overlap_save")
    points, hop, many, parts = frames_of((span,), lone=True)[0]
    plan = plan_of(xp, g, dtype)
    assert (plan.points, plan.frames) == (points, parts)
    assert parts > 1 < many
    x, w = (rng.standard_normal((1, 1, n)).astype(dtype) for n in (26_000, 9_000))
    # What is loud meets what is quiet in most frames: the bound of the whole is far weaker there.
    x[..., hop:] *= 1e-6
    w[..., :hop] *= 1e-6
    got = _host(run(xp, g, x, w, dtype))[0, 0].astype(np.longdouble)
    wide = np.pad(x[0, 0], (300, parts * hop + points)).astype(np.longdouble)
    kernel = np.pad(w[0, 0], (0, parts * hop - 9_000)).astype(np.longdouble)
    tiny = float(np.finfo(dtype).tiny) * parts * points
    whole = np.linalg.norm(wide) * np.linalg.norm(kernel)
    bounds = []
    for frame in range(many):
        pairs = [
            (wide[(frame + i) * hop :][:points], kernel[i * hop :][:hop]) for i in range(parts)
        ]
        norms = sum(np.linalg.norm(a) * np.linalg.norm(b) for a, b in pairs)
        bounds.append(float(norms / whole))
        for j in range(frame * hop, min((frame + 1) * hop, span.out), hop // 50):
            want = np.dot(wide[j : j + kernel.size], kernel)
            assert abs(got[j] - want) <= tolerance(dtype, plan) * norms + tiny
    assert min(bounds) < 1e-4


@pytest.mark.parametrize(
    "span",
    [
        Span(20_000, 12_000, 1, 1, 11_999, 11_999),
        Span(60_001, 6_001, 3, 2, -40, 700),
        Span(13_000, 12_990),
        Span(9_000, 12_000, 1, 1, 5_000, 4_000),
    ],
)
@pytest.mark.op("sliding.correlate", "sliding.spread")
def test_kernels_in_parts_give_what_is_summed(xp, rng, span):
    """Padding, cropping, strides, dilations, and a kernel longer than the signal; real, complex."""
    assert frames_of((span,), lone=True)[0].parts > 1
    g = Sliding((span,), method="overlap_save")
    for kind in ("float", "complex"):
        x, w, y = (rng.standard_normal((1, 1, n)) for n in (span.length, span.size, span.out))
        if kind == "complex":
            x, w, y = x + 1j * x[..., ::-1], w + 1j * w[..., ::-1], y + 1j * y[..., ::-1]
        taps = np.zeros(span.extent, w.dtype)
        taps[:: span.dilation] = w[0, 0, ::-1]
        full = scipy.signal.oaconvolve(x[0, 0], taps)
        at = span.extent - 1 - span.low + span.stride * np.arange(span.out)
        known = (at >= 0) & (at < full.size)
        want = np.where(known, full[np.clip(at, 0, full.size - 1)], 0)
        got = xp.call(lambda a, b: correlate(g, a, b), xp.asarray(x), xp.asarray(w))
        assert_close(got, want[None, None], rtol=64 * xp.eps)
        # ⟨y, T x⟩ = ⟨Tᵀ y, x⟩, bilinear.
        back = xp.numpy(xp.call(lambda a, b: spread(g, a, b), xp.asarray(w), xp.asarray(y)))
        sides = np.sum(y[0, 0] * want), np.sum(back[0, 0] * x[0, 0])
        size = np.linalg.norm(y) * np.linalg.norm(want)
        assert abs(sides[0] - sides[1]) <= 64 * xp.eps * size
