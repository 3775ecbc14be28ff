"""stft, istft and spectrogram against scipy.signal, ShortTimeFFT, least squares and laws."""

from __future__ import annotations

import tracemalloc
import warnings

import numpy as np
import pytest
import scipy.signal
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import swath
from swath.signal import istft, spectral, spectrogram, stft
from swath.testing import assert_close, check_adjoint, check_vjp

STFT = pytest.mark.op("signal.stft")
ISTFT = pytest.mark.op("signal.istft")
SPECTROGRAM = pytest.mark.op("signal.spectrogram")
WINDOW = np.array([0.25, 1.0, 2.0, 1.5, -0.5])

# Shape, axis, complex, arguments.
CALLS = {
    "defaults": ((300,), -1, False, {}),
    "odd": ((2, 41), -1, False, {"nperseg": 15, "noverlap": 10}),
    "complex": ((37, 2), 0, True, {"nperseg": 16, "nfft": 20, "boundary": "even"}),
    "middle": ((2, 33, 2), 1, False, {"nperseg": 9, "boundary": "odd", "padded": False, "fs": 3.0}),
    "density": ((30,), 0, False, {"nperseg": 8, "boundary": "constant", "scaling": "psd"}),
    "line": ((2, 30), 1, False, {"nperseg": 8, "boundary": None, "detrend": "linear"}),
    "whole": ((31,), 0, False, {"nperseg": 8, "detrend": "constant", "return_onesided": False}),
    "single": ((4,), 0, False, {"nperseg": 1, "noverlap": 0}),
    "window": ((23,), 0, True, {"window": WINDOW, "nperseg": 5, "noverlap": 4}),
    "named": ((40,), 0, False, {"window": ("kaiser", 3.0), "nperseg": 10, "boundary": None}),
}
FEW = ("odd", "complex")


def draw(rng, shape, kind):
    x = rng.standard_normal(shape)
    return x + 1j * rng.standard_normal(shape) if kind else x


def theirs(function, *args, **kwargs):
    """SciPy's result; it warns where complex signals have no half spectrum."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return function(*args, **kwargs)


def arranged(xp, kwargs):
    return {k: xp.asarray(v) if isinstance(v, np.ndarray) else v for k, v in kwargs.items()}


def equal(xp, got, want):
    """Frequencies, times and values of a transform."""
    for table, reference in zip(got[:-1], want[:-1], strict=True):
        assert_close(table, reference, atol=1e-300)
    assert_close(got[-1], want[-1], rtol=64 * xp.eps)


def check_transform(xp, rng, name):
    shape, axis, kind, kwargs = CALLS[name]
    x = draw(rng, shape, kind)
    got = xp.call(stft, xp.asarray(x), axis=axis, **arranged(xp, kwargs))
    given = {"nperseg": 256, **kwargs}
    equal(xp, got, theirs(scipy.signal.stft, x, axis=axis, **given))


@STFT
@pytest.mark.on("numpy", "numpy-readonly", "torch", "strict", "strict-device1", "dpnp")
@pytest.mark.parametrize("name", CALLS)
def test_transform_equals_scipy(xp, rng, name):
    check_transform(xp, rng, name)


@STFT
@pytest.mark.on("jax", "jax-jit", "jax-x32", "strict-no-float64", "cupy")
@pytest.mark.parametrize("name", FEW)
def test_transform_equals_scipy_where_every_shape_compiles(xp, rng, name):
    check_transform(xp, rng, name)


INVERSES = {
    "defaults": ((5, 4), -2, -1, {}),
    "odd": ((2, 8, 3), 1, 2, {"nperseg": 15, "noverlap": 9}),
    "whole": ((4, 2, 6), 2, 0, {"input_onesided": False, "boundary": False, "window": "boxcar"}),
    "padded": ((3, 11), 1, 0, {"nperseg": 16, "nfft": 20, "scaling": "psd", "fs": 3.0}),
    "axes": ((9, 2, 5), 0, 2, {"noverlap": 13, "boundary": False, "window": "hamming"}),
    "window": ((3, 7), 0, 1, {"nperseg": 5, "noverlap": 3, "window": abs(WINDOW)}),
}


@ISTFT
@pytest.mark.parametrize("name", INVERSES)
def test_inverse_equals_scipy(xp, rng, name):
    if xp.backend == "jax" and name not in ("odd", "window"):
        name = "odd"  # every shape compiles
    shape, freq, time, kwargs = INVERSES[name]
    z = draw(rng, shape, True)
    got = xp.call(istft, xp.asarray(z), freq_axis=freq, time_axis=time, **arranged(xp, kwargs))
    _, x = scipy.signal.istft(z, freq_axis=freq, time_axis=time, **kwargs)
    assert_close(got[1], x, rtol=64 * xp.eps)
    length = x.shape[time - (freq % z.ndim < time % z.ndim) if time >= 0 else -1]
    assert_close(got[0], np.arange(length) / kwargs.get("fs", 1.0))


@SPECTROGRAM
@pytest.mark.on("numpy", "torch", "strict", "strict-device1", "dpnp")
@pytest.mark.parametrize("mode", ["psd", "complex", "magnitude", "angle", "phase"])
def test_spectrogram_equals_scipy(xp, rng, mode):
    calls = (
        ((300,), -1, False, {}),
        ((2, 40), 1, False, {"nperseg": 15, "detrend": "linear", "fs": 3.0}),
        ((41, 2), 0, True, {"nperseg": 8, "nfft": 9, "scaling": "spectrum"}),
        ((33,), 0, False, {"nperseg": 8, "return_onesided": False, "noverlap": 5}),
        ((33,), 0, False, {"window": WINDOW, "detrend": False}),
    )
    for shape, axis, kind, kwargs in calls:
        x = draw(rng, shape, kind)
        got = spectrogram(xp.asarray(x), axis=axis, mode=mode, **arranged(xp, kwargs))
        want = theirs(scipy.signal.spectrogram, x, axis=axis, mode=mode, **kwargs)
        if mode in ("angle", "phase"):
            # Of a negative number the sign of a zero imaginary part decides between π and −π.
            turned = np.exp(1j * xp.numpy(got[2]))
            assert_close(turned, np.exp(1j * want[2]), rtol=4096 * xp.eps)
            if mode == "angle":
                assert np.max(np.abs(xp.numpy(got[2]))) <= np.pi * (1 + 4 * xp.eps)
            else:
                steps = np.abs(np.diff(xp.numpy(got[2]), axis=axis % x.ndim))
                assert steps.max() <= np.pi * (1 + 4 * xp.eps)
        else:
            equal(xp, got, want)


@SPECTROGRAM
@pytest.mark.on("jax", "jax-jit", "jax-x32", "strict-no-float64")
@pytest.mark.parametrize("mode", ["psd", "phase"])
def test_spectrogram_equals_scipy_where_every_shape_compiles(xp, rng, mode):
    x = rng.standard_normal((2, 40))
    given = {"nperseg": 15, "mode": mode, "window": "boxcar", "detrend": False}
    got = xp.numpy(xp.call(spectrogram, xp.asarray(x), **given)[2])
    want = scipy.signal.spectrogram(x, **given)[2]
    if mode == "phase":  # the sign of a zero imaginary part decides between π and −π
        got, want = np.exp(1j * got), np.exp(1j * want)
    assert_close(got, want, rtol=4096 * xp.eps)


# -- ShortTimeFFT, reconstruction, least squares ---------------------------------------------------


@STFT
@ISTFT
@pytest.mark.on("numpy", "strict", "torch")
@pytest.mark.parametrize("size, hop", [(16, 4), (15, 7), (9, 9), (12, 5)])
def test_shorttimefft_has_the_same_windows_and_the_same_dual(xp, rng, size, hop):
    w, x = 0.5 + rng.random(size), rng.standard_normal(61)
    peer = scipy.signal.ShortTimeFFT(w, hop, fs=1.0, phase_shift=None, fft_mode="onesided")
    gain = w.sum()
    given = {"window": xp.asarray(w), "noverlap": size - hop}
    _, _, z = stft(xp.asarray(x), **given)
    count = z.shape[-1]
    assert_close(z, peer.stft(x, p0=0, p1=count) / gain, rtol=256 * xp.eps)
    inner = stft(xp.asarray(x), boundary=None, padded=False, **given)[2]
    want = peer.stft(x, p0=0, p1=inner.shape[-1], k_offset=size // 2)
    assert_close(inner, want / gain, rtol=256 * xp.eps)
    back = istft(z, **given)[1]
    assert_close(back[:61], x, rtol=256 * xp.eps)
    # One window's share of the reconstruction is its inverse DFT times the dual window.
    middle = count // 2
    alone = np.zeros(tuple(z.shape), complex)
    alone[:, middle] = rng.standard_normal(z.shape[0])
    part = xp.numpy(istft(xp.asarray(alone), **given)[1])
    pulse = np.fft.irfft(alone[:, middle], size) * peer.dual_win * gain
    at = middle * hop - size // 2
    assert_close(part[at : at + size], pulse, rtol=4096 * xp.eps)


@STFT
@ISTFT
@pytest.mark.on("numpy", "strict")
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data(), seed=st.integers(0, 2**16))
def test_what_was_transformed_comes_back(xp, data, seed):
    """For every window without zeros, hop, padding of the DFT, scaling and continuation."""
    rng = np.random.default_rng(seed)
    size = data.draw(st.integers(1, 20))
    shared = data.draw(st.integers(0, size - 1))
    n = data.draw(st.integers(size, 60))
    kind = data.draw(st.booleans())
    sizes = {"noverlap": shared, "nfft": size + data.draw(st.integers(0, 5))}
    sizes["scaling"] = data.draw(st.sampled_from(["spectrum", "psd"]))
    sizes["window"] = xp.asarray(0.5 + rng.random(size))
    boundary = data.draw(st.sampled_from(["zeros", "even", "odd", "constant", None]))
    x = draw(rng, (2, n), kind)
    _, _, z = stft(xp.asarray(x), boundary=boundary, return_onesided=not kind, **sizes)
    ends = {"input_onesided": not kind, "boundary": boundary is not None}
    t, back = istft(z, **sizes, **ends)
    back = xp.numpy(back)
    assert back.shape[1] >= n
    assert t.shape == back.shape[1:]
    assert_close(back[:, :n], x, rtol=4096 * xp.eps)
    # Whatever completed the last window was zero, or continued x.
    if boundary is None:
        assert_close(back[:, n:], np.zeros((2, back.shape[1] - n)), atol=4096 * xp.eps)


@STFT
@ISTFT
@pytest.mark.on("numpy", "strict", "torch")
def test_inverse_of_any_spectra_is_their_least_squares_signal(xp, rng):
    given = {"window": xp.asarray(abs(WINDOW)), "noverlap": 3}
    sides = {"boundary": None, "return_onesided": False}
    n = 5 + 4 * 2
    columns = [
        xp.numpy(stft(xp.asarray(row + 0j), **given, **sides)[2]).ravel() for row in np.eye(n)
    ]
    z = draw(rng, (5, 5), True)
    want = np.linalg.lstsq(np.stack(columns, axis=1), z.ravel(), rcond=None)[0]
    _, x = istft(xp.asarray(z), boundary=False, input_onesided=False, **given)
    assert_close(x, want, rtol=1024 * xp.eps)


@ISTFT
@pytest.mark.on("numpy", "strict")
def test_samples_under_a_vanishing_window_are_zero(xp, rng):
    x = 1.0 + rng.random(16)
    _, _, z = stft(xp.asarray(x), nperseg=8, boundary=None)
    _, back = istft(z, nperseg=8, boundary=False)
    assert_close(back, [0.0, *x[1:]], rtol=256 * xp.eps)


@STFT
def test_a_tone_has_its_amplitude_and_a_nan_its_windows(xp):
    x = 3.0 * np.cos(2 * np.pi * 0.25 * np.arange(40))
    _, _, z = xp.call(stft, xp.asarray(x), nperseg=8, boundary=None)
    assert_close(abs(xp.numpy(z))[2], np.full(9, 1.5), rtol=256 * xp.eps)
    x[20] = np.nan
    _, _, z = xp.call(stft, xp.asarray(x), nperseg=8, boundary=None)
    lost = np.isnan(xp.numpy(z)).any(axis=0)
    assert lost.tolist() == [4 * p <= 20 < 4 * p + 8 for p in range(9)]


# -- arguments -------------------------------------------------------------------------------------


@pytest.mark.on("numpy")
def test_extended_precision_comes_back_real(xp, rng):
    x = rng.standard_normal(32).astype(np.longdouble) / 3
    back = istft(stft(x, nperseg=8)[2], nperseg=8)[1]
    assert back.dtype == np.longdouble
    assert np.max(np.abs(back - x)) < 32 * np.finfo(np.longdouble).eps


@STFT
@SPECTROGRAM
@pytest.mark.on("numpy", "strict", "torch")
def test_dtypes(xp):
    values = [1, 2, 4, 3]
    single = xp.asarray(values, "float32")
    want = scipy.signal.stft(np.asarray(values, float), nperseg=4)[2]
    assert_close(stft(single, nperseg=4)[2], want, dtype="complex64")
    assert_close(stft(xp.asarray(values, "float64"), nperseg=4)[2], want, dtype="complex128")
    if xp.backend == "numpy":
        assert_close(stft(values, nperseg=4)[2], want, dtype="complex128")
    if xp.backend != "strict":  # it has no half precision
        half = stft(xp.asarray(values, "float16"), nperseg=4)[2]
        assert_close(half, want, dtype="complex64")
    ints = xp.asarray(values, "int32")
    real = spectrogram(ints, nperseg=4)[2].dtype
    assert str(real).endswith("32" if xp.backend == "torch" else "64")
    # So they are without any channel.
    none = xp.asarray(np.zeros((0, 8)), "float32")
    for function, kind in ((stft, "complex64"), (spectrogram, "float32")):
        assert str(function(none, nperseg=4)[2].dtype).endswith(kind)
    spectra = xp.asarray(np.zeros((0, 4, 3)), "complex64")
    for half, kind in ((True, "float32"), (False, "complex64")):
        assert str(istft(spectra, input_onesided=half)[1].dtype).endswith(kind)
    # The signal's precision counts, not the window's.
    wide = stft(single, window=xp.asarray([1.0, 2.0, 1.0]))
    assert str(wide[2].dtype).endswith("complex64")
    assert str(wide[0].dtype).endswith(xp.float)


@STFT
@pytest.mark.on("numpy")
def test_windows_longer_than_the_signal(xp):
    x = np.arange(9.0)
    assert stft(x)[2].shape == stft(x, nperseg=9)[2].shape
    with pytest.warns(UserWarning, match="nperseg = 16 is greater than the 9 samples"):
        f, _, _ = stft(x, nperseg=16)
    assert f.shape == (5,)


@STFT
@pytest.mark.on("numpy", "strict", "torch")
def test_a_single_sample_is_its_trend(xp, rng):
    x = xp.asarray(1.0 + rng.random(4))
    given = {"nperseg": 1, "noverlap": 0, "boundary": None, "window": "boxcar"}
    for detrend in ("constant", "linear"):
        assert_close(stft(x, detrend=detrend, **given)[2], np.zeros((1, 4)))
    _, _, z = stft(x, detrend=None, **given)
    assert_close(z, xp.numpy(x)[None])
    assert_close(istft(z, window="boxcar", boundary=False)[1], xp.numpy(x))


@SPECTROGRAM
@pytest.mark.on("numpy", "strict", "torch", "jax")
def test_a_step_of_half_a_turn_stays(xp):
    # The sums and differences of two samples: real, so that angles are 0 and ±π.
    x = xp.asarray([1.0, -2.0, 3.0, -1.0, -1.0, -2.0])
    for size in (1, 2):
        given = {"nperseg": size, "noverlap": 0, "window": "boxcar", "detrend": False}
        angle, phase = (spectrogram(x, mode=mode, **given)[2] for mode in ("angle", "phase"))
        assert_close(phase, np.unwrap(xp.numpy(angle), axis=0), rtol=0)


@STFT
@SPECTROGRAM
@pytest.mark.on("numpy", "torch", "jax")
def test_a_function_takes_the_trend(xp, rng):
    x = rng.standard_normal((2, 20))

    def detrend(windows):
        return windows - windows[..., :1]

    for function, peer in ((stft, scipy.signal.stft), (spectrogram, scipy.signal.spectrogram)):
        got = function(xp.asarray(x), nperseg=8, detrend=detrend)
        equal(xp, got, peer(x, nperseg=8, detrend=detrend))
    with pytest.raises(NotImplementedError, match="detrend as a function is not differentiated"):
        swath.vjp(stft, xp.asarray(x), nperseg=8, detrend=detrend)


# -- derivatives, pieces ---------------------------------------------------------------------------


@STFT
@ISTFT
@pytest.mark.on("numpy", "strict", "torch")
def test_pieces_give_the_same_values_and_derivatives(xp, rng, monkeypatch):
    x, z = xp.asarray(rng.standard_normal((2, 40))), xp.asarray(draw(rng, (2, 5, 8), True))
    whole, back = stft(x, nperseg=8)[2], istft(z, nfft=8, nperseg=8)[1]
    monkeypatch.setattr(spectral, "_PIECE", 300)
    assert_close(stft(x, nperseg=8)[2], xp.numpy(whole), rtol=4 * xp.eps)
    assert_close(istft(z, nfft=8, nperseg=8)[1], xp.numpy(back), rtol=16 * xp.eps)
    y = draw(rng, (2, 40), True)
    given = {"nperseg": 8, "boundary": None}
    _, _, parts = stft(xp.asarray(y), **given)
    assert_close(parts, theirs(scipy.signal.stft, y, **given)[2], rtol=64 * xp.eps)
    ends = {"input_onesided": False, "boundary": False, "window": "hamming"}
    whole = scipy.signal.istft(xp.numpy(parts), **ends)[1]
    assert_close(istft(parts, **ends)[1], whole, rtol=64 * xp.eps)
    check_adjoint(stft, x, nperseg=8, detrend="linear")
    check_vjp(stft, x, 1.0, xp.asarray(WINDOW), noverlap=2)
    check_vjp(istft, z, 1.0, xp.asarray(abs(WINDOW)), nfft=8)
    # More frequencies than the transform back has use for.
    check_vjp(istft, z, nperseg=4, nfft=5)


@STFT
@ISTFT
@SPECTROGRAM
@pytest.mark.on("numpy")
def test_memory_is_that_of_the_result(xp):
    x = np.zeros(2_000_000, np.float32)
    for function in (stft, spectrogram):
        size, peak = traced(function, x, nperseg=512, noverlap=384)
        assert peak < size + x.nbytes + 2**23
    z = stft(x, nperseg=512, noverlap=384)[2]
    size, peak = traced(istft, z, nperseg=512, noverlap=384)
    assert peak < size + 2 * z.nbytes


def traced(function, *args, **kwargs):
    """Bytes of the result, and the most that were held while it was computed."""
    tracemalloc.start()
    try:
        result = function(*args, **kwargs)
        return result[-1].nbytes, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@SPECTROGRAM
@pytest.mark.on("numpy", "torch")
@pytest.mark.parametrize("mode", ["psd", "complex", "magnitude", "angle", "phase"])
def test_derivatives_of_every_mode(xp, rng, mode):
    x = xp.asarray(rng.standard_normal((2, 14)))
    check_vjp(spectrogram, x, 1.0, xp.asarray(WINDOW), mode=mode, detrend=False)
    check_vjp(
        spectrogram, x, nperseg=6, mode=mode, window="boxcar", detrend=False, return_onesided=False
    )


@SPECTROGRAM
@pytest.mark.on("numpy", "torch", "jax")
def test_silence_has_the_derivative_zero(xp):
    x = xp.asarray(np.zeros(16))
    for mode in ("magnitude", "phase"):
        y, pullback = swath.vjp(spectrogram, x, nperseg=8, mode=mode)
        gradient = pullback(xp.asarray(np.ones(tuple(y[2].shape))))[0]
        assert_close(gradient, np.zeros(16))
        if xp.backend == "jax":
            import jax

            native = jax.grad(lambda x, m=mode: spectrogram(x, nperseg=8, mode=m)[2].sum())(x)
            assert_close(native, np.zeros(16))
        if xp.backend == "torch":
            leaf = x.clone().requires_grad_()
            spectrogram(leaf, nperseg=8, mode=mode)[2].sum().backward()
            assert_close(leaf.grad, np.zeros(16))


@ISTFT
@pytest.mark.on("numpy", "torch")
def test_inputs_and_cotangents_stay_as_they_are(xp, rng):
    z = xp.asarray(draw(rng, (4, 5), True))
    kept = xp.numpy(z).copy()
    (_, x), pullback = swath.vjp(istft, z, input_onesided=False, window="boxcar")
    ct = xp.asarray(draw(rng, tuple(x.shape), True))
    before = xp.numpy(ct).copy()
    pullback(ct)
    assert_close(ct, before, rtol=0)
    assert_close(z, kept, rtol=0)
