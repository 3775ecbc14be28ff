"""What arrays and numbers a call takes, whatever the operation."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import swath
from cases import CASES
from over_cases import Call, arrays_in, params, record
from swath.errors import ArgumentError, ArgumentTypeError
from swath.testing import assert_close


class Labelled(np.ndarray):
    """A subclass with products, slices and shapes of its own, as those of numpy.matrix."""

    def __mul__(self, other: Any) -> Any:
        return np.matmul(self, other)

    def __getitem__(self, key: Any) -> Any:
        return np.asarray(self)[key] + 1

    def reshape(self, *shape: Any, **settings: Any) -> Any:
        return np.asarray(self).reshape(*shape, **settings) + 1


def turned(x: np.ndarray) -> np.ndarray:
    """The same numbers in the other byte order."""
    return x.astype(x.dtype.newbyteorder())


GIVEN = {"other byte order": turned, "subclass": lambda x: x.view(Labelled)}


def each_array(value: Any, change: Any) -> Any:
    """The value with all its arrays changed."""
    if isinstance(value, np.ndarray):
        return change(value)
    if isinstance(value, tuple | list):
        return type(value)(each_array(v, change) for v in value)
    if isinstance(value, dict):
        return {k: each_array(v, change) for k, v in value.items()}
    return value


@pytest.mark.on("numpy")
@pytest.mark.parametrize("change", GIVEN.values(), ids=GIVEN)
@pytest.mark.parametrize("case", params())
def test_numpy_arrays_of_any_layout_are_taken_as_ordinary_ones(xp, rng, case, change):
    args, kwargs = case.make(xp, rng)
    op = record(case).function
    plain = arrays_in(op(*args, **kwargs))
    args, kwargs = each_array(args, change), each_array(kwargs, change)
    # The second time a call may be known by its signature.
    for _ in range(2):
        for a, b in zip(plain, arrays_in(op(*args, **kwargs)), strict=True):
            assert type(b) is type(a)
            assert b.dtype == a.dtype
            assert np.array_equal(b, a, equal_nan=True)


@pytest.mark.on("numpy")
@pytest.mark.parametrize("change", GIVEN.values(), ids=GIVEN)
def test_cotangents_are_of_the_dtype_that_was_given(xp, rng, change):
    x, w = rng.standard_normal((2, 3, 9)), rng.standard_normal((4, 3, 3))
    y, pullback = swath.vjp(swath.nn.conv, x, w, stride=2)
    found = swath.vjp(swath.nn.conv, change(x), change(w), stride=2)[1](y)[:2]
    for ct, plain, given in zip(found, pullback(y)[:2], (x, w), strict=True):
        assert ct.dtype == change(given).dtype
        assert np.array_equal(ct, plain)


@pytest.mark.on("numpy")
@pytest.mark.parametrize("change", GIVEN.values(), ids=GIVEN)
def test_a_cotangent_of_any_layout_is_taken_as_an_ordinary_one(xp, rng, change):
    x, w, b = rng.standard_normal((2, 3, 9)), rng.standard_normal((4, 3, 3)), rng.standard_normal(4)
    y, pullback = swath.vjp(swath.nn.conv, x, w, b)
    for ct, plain in zip(pullback(change(y)), pullback(y), strict=True):
        assert type(ct) is np.ndarray
        assert ct.dtype == plain.dtype
        assert np.array_equal(ct, plain)
    with pytest.raises(ArgumentTypeError, match="cotangent must not be a masked array"):
        pullback(np.ma.array(y))


@pytest.mark.parametrize("given", ["float64", "float16"])
def test_pullbacks_give_the_dtype_of_the_argument_whatever_that_of_the_cotangent(xp, rng, given):
    """Every operation may hand the cotangent on as it is: here a bias, a sum and a product."""
    if not hasattr(xp, given) or (given == "float64" and not xp.x64):
        given = "float32"
    x = xp.asarray(rng.standard_normal((2, 3, 9)), dtype="complex64")
    w = xp.asarray(rng.standard_normal((4, 3, 3)), dtype="float32")
    b = xp.asarray(rng.standard_normal(4), dtype="complex64")
    y, pullback = swath.vjp(swath.nn.conv, x, w, b)
    ones = np.ones(y.shape)
    found = pullback(xp.asarray(ones, dtype=given))
    for ct, plain, array in zip(found, pullback(xp.asarray(ones, "complex64")), (x, w, b)):
        assert ct.dtype == array.dtype
        assert_close(ct, xp.numpy(plain))


@pytest.mark.on("dask")
def test_chunks_in_the_other_byte_order(xp, rng):
    import dask.array as da

    x, h = rng.standard_normal((2, 50)), rng.standard_normal(5)
    swapped = da.from_array(turned(x), chunks=(1, 20))
    _, _, found = swath.signal.spectrogram(swapped, nperseg=8)
    assert_close(found, swath.signal.spectrogram(x, nperseg=8)[2])
    assert_close(swath.signal.lfilter(xp.asarray(h), 1, swapped), swath.signal.lfilter(h, 1, x))


@pytest.mark.on("numpy")
@pytest.mark.parametrize("op", sorted({c.op for c in CASES}))
def test_masked_arrays_are_refused_in_words(xp, rng, op):
    case = next(c for c in CASES if c.op == op)
    args, kwargs = each_array(case.make(xp, rng), np.ma.array)
    text = re.escape(op.rpartition(".")[2]) + r": \w+ must not be a masked array: .* pass \w+\.fill"
    with pytest.raises(ArgumentTypeError, match=text):
        record(case).function(*args, **kwargs)


# Calls with a number, each of which means the same as one of NumPy's scalars.
NUMBERS = {
    "lfilter": lambda x, n: swath.signal.lfilter(x[0, :3], n(2.0), x),
    "filtfilt": lambda x, n: swath.signal.filtfilt(x[0, :3], n(2.0), x, padlen=5),
    "correlation_score": lambda x, n: swath.signal.correlation_score(x, x, n(0.5)),
    "freqz": lambda x, n: swath.signal.freqz(x[0, :], worN=n(0.25), fs=n(2.0))[1],
    "amplitude_response": lambda x, n: swath.signal.amplitude_response(x[0, :1], n(0.25)),
    "savgol_filter": lambda x, n: swath.signal.savgol_filter(x, 5, 2, 1, delta=n(0.5)),
    "stft": lambda x, n: swath.signal.stft(x, fs=n(4.0), nperseg=4)[2],
    "lp_pool": lambda x, n: swath.nn.lp_pool(x, (2,), n(3.0)),
    "avg_pool": lambda x, n: swath.nn.avg_pool(x, (2,), divisor_override=n(3.0)),
    "toeplitz": lambda x, n: swath.linalg.toeplitz(n(2.0), x[0, :]),
    "operator": lambda x, n: (swath.linalg.ToeplitzOperator(x[0, :]) * n(2.0)).to_dense(),
    "lstsq": lambda x, n: swath.linalg.lstsq(x[:, :2], x[:, 2], ridge=n(0.5), rcond=n(0.125)).x,
    "deconvolve": lambda x, n: swath.linalg.deconvolve(x, x[0, :2], ridge=n(0.5)),
}


@pytest.mark.parametrize("kind", [np.float64, np.float32])
@pytest.mark.parametrize("call", NUMBERS.values(), ids=NUMBERS)
def test_numbers_of_numpy_are_weak_as_pythons_are(xp, rng, call, kind):
    x = xp.asarray(rng.standard_normal((3, 8)), dtype="float32")
    with np.errstate(all="ignore"):
        found, plain = (xp.call(lambda x, n=n: call(x, n), x) for n in (kind, float))
    assert found.dtype == plain.dtype
    assert_close(found, xp.numpy(plain), rtol=0)


# Calls with a number in an array without axes; those of JAX take the dtype of what is beside them.
WEAK = {
    "lfilter": lambda x, n: swath.signal.lfilter(x[0, :3], n, x),
    "lfilter_zi": lambda x, n: swath.signal.lfilter_zi(x[0, :3], n),
    "filtfilt": lambda x, n: swath.signal.filtfilt(x[0, :3], n, x, padlen=5),
    "correlation_score": lambda x, n: swath.signal.correlation_score(x, x, n),
    "freqz": lambda x, n: swath.signal.freqz(x[0, :], n, worN=4)[1],
    "amplitude_response": lambda x, n: swath.signal.amplitude_response(x[0, :1], n),
    "savgol_filter": lambda x, n: swath.signal.savgol_filter(x, 5, 2, 1, delta=n),
    "toeplitz": lambda x, n: swath.linalg.toeplitz(n, x[0, :]),
    "lstsq": lambda x, n: swath.linalg.lstsq(x[:, :2], x[:, 2], ridge=n).x,
    "deconvolve": lambda x, n: swath.linalg.deconvolve(x, x[0, :2], ridge=n),
    "beside a list": lambda x, n: swath.signal.lfilter([1.0, 2.0], n, x),
    "in a list": lambda x, n: swath.signal.lfilter([1.0, n], 1.0, x),
    "in a nested list": lambda x, n: swath.signal.filter_bank([[1.0, n], [0.0, 1.0]], x),
    "in a design": lambda x, n: swath.signal.fir_from_response(3, x[0, :3], [1.0, n, n]),
    "complex": lambda x, n: swath.signal.lfilter(1j * x[0, :3], n, x),
}


@pytest.mark.on("jax", "jax-jit")
@pytest.mark.parametrize("call", WEAK.values(), ids=WEAK)
def test_scalars_that_jax_types_weakly_widen_nothing(xp, rng, call):
    x = xp.asarray(rng.standard_normal((3, 8)), dtype="float32")
    half = xp.namespace.asarray(0.5)
    found, plain = xp.call(call, x, half), xp.call(lambda x: call(x, 0.5), x)
    assert half.dtype == "float64"
    assert half.weak_type
    assert found.dtype == plain.dtype
    assert_close(found, xp.numpy(plain), rtol=64 * 2.0**-23)


# Arguments that must be real, beside a complex array.
REAL = {
    "lstsq weights": lambda a, r: swath.linalg.lstsq(a, a[:, 0], weights=r([1.0, 2.0, 3.0])).x,
    "lstsq ridges": lambda a, r: swath.linalg.lstsq(a, a[:, 0], ridge=r([0.5, 1.0])).x,
    "lstsq ridge": lambda a, r: swath.linalg.lstsq(a, a[:, 0], ridge=r(0.5)).x,
    "gram": lambda a, r: swath.linalg.gram(a, weights=r([1.0, 2.0, 3.0])),
    "deconvolve": lambda a, r: swath.linalg.deconvolve(a, a[0, :], ridge=r(0.5)),
    "identify_fir": lambda a, r: swath.linalg.identify_fir(a, a, 2, ridge=r([0.5, 1.0, 1.5])),
    "stft": lambda a, r: swath.signal.stft(a, window=r([1.0, 2.0]), axis=0)[2],
    "fir_from_response": lambda a, r: swath.signal.fir_from_response(
        3, [0.5, 1.0, 1.5], a[:, 0], symmetric=False, weight=r([1.0, 2.0, 3.0])
    ),
}


@pytest.mark.parametrize("call", REAL.values(), ids=REAL)
def test_real_numbers_stay_real_beside_complex_arrays(xp, rng, call):
    a = xp.asarray(rng.standard_normal((3, 2)) + 1j * rng.standard_normal((3, 2)))
    wanted = call(a, lambda v: xp.asarray(np.asarray(v)))

    def narrow(v: Any) -> Any:
        return [np.float32(e) for e in v] if isinstance(v, list) else np.float32(v)

    for weak in (lambda v: v, narrow):
        got = xp.call(lambda a, weak=weak: call(a, weak), a)
        assert got.dtype == wanted.dtype
        assert_close(got, xp.numpy(wanted), rtol=64 * xp.eps)


@pytest.mark.on("numpy")
def test_complex_numbers_beside_extended_precision_are_not_rounded(xp):
    x = np.asarray([1, 2, 4], np.longdouble)
    third = 1 / 3 + 1j / 3  # of double precision
    got = swath.signal.convolve(x, [third])
    assert got.dtype == np.clongdouble
    assert np.all(got == x * third)


def test_a_ridge_of_numpy_goes_the_way_of_pythons(xp, rng):
    """Of more columns than rows, through the smaller matrix, which has another condition."""
    a, b = (xp.asarray(rng.standard_normal(n)) for n in ((2, 4), 2))
    plain, narrow = (
        xp.call(lambda a, b, r=r: swath.linalg.lstsq(a, b, ridge=r), a, b)
        for r in (0.5, np.float32(0.5))
    )
    assert_close(narrow.condition, xp.numpy(plain.condition), rtol=8 * xp.eps)
    assert narrow.inverse_root is None


# What is a flag, and what only counts as one.
FLAGS = {
    "ceil_mode": lambda x, f: swath.nn.max_pool(x, (2,), ceil_mode=f),
    "return_indices": lambda x, f: swath.nn.min_pool(x, (2,), return_indices=f),
    "return_indices of parts": lambda x, f: swath.nn.adaptive_max_pool(x, (2,), return_indices=f),
    "count_include_pad": lambda x, f: swath.nn.avg_pool(x, (2,), count_include_pad=f),
    "keepdims": lambda x, f: swath.nn.global_avg_pool(x, keepdims=f),
    "zero_mean": lambda x, f: swath.signal.match_template(x, x, zero_mean=f),
    "zero_phase": lambda x, f: swath.signal.decimate(x, 2, zero_phase=f),
    "symmetric": lambda x, f: swath.signal.fir_from_response(
        2, [1.0, 2.0], [1.0, 0.0], symmetric=f
    ),
    "antisymmetric": lambda x, f: swath.signal.firwin2(4, [0.0, 1.0], [0.0, 0.0], antisymmetric=f),
    "pass_zero": lambda x, f: swath.signal.firwin(3, 0.5, pass_zero=f),
    "scale": lambda x, f: swath.signal.firwin(3, 0.5, scale=f),
    "half": lambda x, f: swath.signal.minimum_phase([1.0, 4.0, 1.0], half=f),
    "sym": lambda x, f: swath.signal.windows.hann(3, f),
    "whole": lambda x, f: swath.signal.freqz(x[0, 0], whole=f),
    "whole of a delay": lambda x, f: swath.signal.group_delay([1.0, 4.0, 1.0], whole=f),
    "include_nyquist": lambda x, f: swath.signal.freqz(x[0, 0], include_nyquist=f),
    "return_onesided": lambda x, f: swath.signal.stft(x, nperseg=4, return_onesided=f),
    "padded": lambda x, f: swath.signal.stft(x, nperseg=4, padded=f),
    "input_onesided": lambda x, f: swath.signal.istft(np.ones((4, 4)), input_onesided=f),
    "lower": lambda x, f: swath.nn.same_padding(5, 2, lower=f),
    "check_finite": lambda x, f: swath.linalg.matmul_toeplitz(x[0, 0], x[0, 0], f),
    "check_finite of a system": lambda x, f: swath.linalg.solve_toeplitz(np.eye(9)[0], x[0, 0], f),
    "full_output": lambda x, f: swath.linalg.solve_toeplitz(np.eye(9)[0], x[0, 0], full_output=f),
}


@pytest.mark.on("numpy")
@pytest.mark.parametrize("name", FLAGS)
def test_flags_are_true_or_false(xp, rng, name):
    x = rng.standard_normal((1, 1, 9))
    for flag in (False, True):
        for a, b in zip(
            arrays_in(FLAGS[name](x, flag)), arrays_in(FLAGS[name](x, np.bool_(flag))), strict=True
        ):
            assert_close(b, a, rtol=0)
    for other in (0, "no", None, np.ones(2)):
        with pytest.raises((ArgumentError, ArgumentTypeError), match=f"{name.split()[0]} must be"):
            FLAGS[name](x, other)


def test_a_number_of_numpy_alone_keeps_its_dtype():
    assert swath.linalg.toeplitz(np.float32(2)).dtype == np.float32


def test_a_sampling_rate_may_be_an_integer_of_numpy(xp):
    h = swath.signal.firwin(
        5, np.float64(100.0), fs=np.int64(1000), xp=xp.namespace, device=xp.device
    )
    assert_close(h, swath.signal.firwin(5, 100.0, fs=1000.0), rtol=4 * xp.eps)


def test_numbers_have_no_cotangent():
    x = np.ones(3)
    pullback = swath.vjp(swath.signal.correlation_score, x, x, np.float64(2))[1]
    assert pullback(np.ones(()))[2] is None


def test_lists_of_arrays_are_refused_where_they_would_have_no_cotangent(xp):
    x, row = (xp.asarray(np.ones(n)) for n in (6, 2))
    with pytest.raises(ArgumentTypeError, match=r"bank is a list of arrays, .* stack it"):
        swath.vjp(swath.signal.filter_bank, [row, row], x)
    pullback = swath.vjp(swath.signal.filter_bank, [[1.0, 2.0]], x)[1]
    assert pullback(xp.asarray(np.ones((1, 6))))[0] is None


@pytest.mark.on("strict", "dask", "torch", "jax")
@pytest.mark.parametrize("turned", [False, True])
def test_a_numpy_array_is_the_one_to_be_moved(xp, turned):
    """Not the other, which may be far away, or not there yet."""
    there, here = xp.asarray(np.ones(9)), np.ones(3)
    pair = (here, there) if turned else (there, here)
    name = ("in1", "in2")[not turned]
    fix = rf"bind\('(?!numpy').*'\)\.asarray\({name}\)"
    with pytest.raises(ArgumentTypeError, match=fix):
        swath.signal.convolve(*pair)


@pytest.mark.on("jax")
def test_traced_settings_are_refused_in_words(xp):
    import jax

    x, w = xp.asarray(np.ones((1, 1, 9))), xp.asarray(np.ones((1, 1, 3)))
    with pytest.raises(ArgumentError, match="conv: padding must be an int"):
        jax.jit(swath.nn.conv)(x, w, padding=1)
    with pytest.raises(ArgumentTypeError, match="resample_poly: cval must be a number"):
        jax.jit(lambda c: swath.signal.resample_poly(x, 2, 1, axis=-1, cval=c))(1.0)


@pytest.mark.op("signal.convolve", "signal.filter_bank")
def test_lists_of_arrays_are_stacked_where_the_arrays_are(xp):
    two, row = xp.asarray(np.asarray(2.0)), xp.asarray(np.asarray([1.0, -1.0]))
    x = xp.asarray(np.asarray([1.0, 2.0, 4.0]))
    got = swath.signal.convolve(x, [1, two])
    assert type(got) is type(x)
    assert_close(got, np.array([1.0, 4.0, 8.0, 8.0]), dtype=xp.float)
    got = swath.signal.convolve([1, two], (two,))
    assert type(got) is type(x)
    assert_close(got, np.array([2.0, 4.0]), dtype=xp.float)
    got = swath.signal.filter_bank([row, [3.0, two]], x)
    assert_close(got, np.array([[1.0, 1.0, 2.0], [3.0, 8.0, 16.0]]), dtype=xp.float)
    if xp.backend != "numpy":
        with pytest.raises(ValueError, match=r"in2 must be rectangular, got a list of shapes"):
            swath.signal.convolve(x, [row, two])
        with pytest.raises(TypeError, match=r"in1 is an array of numpy and in2 of "):
            swath.signal.convolve(np.ones(3), [1.0, two])


# What sets an operation, beside the data that it is about: real always.
_SETTINGS = {"weights", "weight", "ridge", "window", "delta", "cutoff", "bands", "desired", "gain"}


@pytest.mark.on("numpy")
def test_the_documentation_names_what_takes_no_complex_data(xp):
    refusing = {"signal.minimum_phase"}
    swath.signal.minimum_phase(np.array([1.0, 3.0, 1.0]))
    with pytest.raises(TypeError, match="must be real"):
        swath.signal.minimum_phase(np.array([1.0, 3.0, 1.0]) * 1j)
    for case in (c for c in CASES if c.smooth):
        call = Call(case, xp)
        for i, name in enumerate(call.names):
            if name in _SETTINGS and not case.op.startswith("nn."):
                continue
            arrays = list(call.arrays)
            arrays[i] = arrays[i] * (1 + 0.25j)
            try:
                call(*arrays)
            except ArgumentTypeError:
                refusing.add(case.op)
    page = (Path(__file__).parents[1] / "docs" / "semantics.rst").read_text(encoding="utf-8")
    said = page[page.index("* Data may be complex") : page.index("NaN and infinities")]
    pools = {op for op in refusing if op.startswith("nn.") and op.endswith("_pool")}
    assert all("max" in op or "min" in op for op in pools)
    # Symmetric filters have real gains by their definition, which the operation's page states.
    assert {op for op in refusing - pools if op not in said} == {"signal.fir_from_response"}


@pytest.mark.on("jax")
def test_numbers_in_lists_are_traced(xp):
    import jax
    import jax.numpy as jnp

    import swath.jax as sw

    for signal in (swath.signal, sw.signal):
        slope = jax.grad(lambda c, s=signal: s.convolve(jnp.ones(3), [1.0, c]).sum())(2.0)
        assert_close(slope, np.asarray(3.0))
    assert_close(jax.jit(sw.signal.convolve)([1.0, 2.0], [1.0, 3.0]), np.array([1.0, 5.0, 6.0]))
    edges = jnp.asarray([0.5, 0.8])
    several = jax.jacobian(lambda e: swath.signal.firwin(11, e, pass_zero=False))(edges)
    listed = jax.jacobian(lambda e: swath.signal.firwin(11, [e[0], e[1]], pass_zero=False))(edges)
    assert_close(listed, np.asarray(several))
    taps = jax.jit(lambda g: swath.signal.fir_from_response(3, [0.5, 1.0], [g, 1.0]))(0.5)
    assert_close(taps, np.asarray(swath.signal.fir_from_response(3, [0.5, 1.0], [0.5, 1.0])))


@pytest.mark.on("torch")
def test_numbers_in_lists_have_gradients(xp):
    import torch

    c = torch.tensor(2.0, requires_grad=True)
    for signal in (swath.signal, swath.bind("torch").signal):
        signal.convolve(torch.ones(3), [1.0, c]).sum().backward()
        assert_close(c.grad, np.asarray(3.0))
        c.grad = None


NAMES = {
    "mode": lambda x: swath.signal.convolve(x, x, x),
    "method": lambda x: swath.signal.convolve(x, x, "full", x),
    "boundary": lambda x: swath.signal.convolve2d(x[None, :], x[None, :], "full", x),
    "padtype": lambda x: swath.signal.resample_poly(x, 2, 1, 0, padtype=x),
    "activation": lambda x: swath.signal.correlation_score(x, x, 1.0, x),
    "channels": lambda x: swath.nn.conv(x[None, None, :], x[None, None, :], channels=x),
    "padding": lambda x: swath.nn.conv_transpose(x[None, None, :], x[None, None, :], padding=x),
    "on_deficient": lambda x: swath.linalg.lstsq(x[:, None], x, on_deficient=x),
}


@pytest.mark.on("numpy", "jax", "torch", "strict", "dask", "cupy")
@pytest.mark.parametrize("name", list(NAMES))
def test_an_array_in_the_place_of_a_name_is_refused_in_words(xp, name):
    """As the third argument of a call that takes two: no library's error about truth values."""
    with pytest.raises(ValueError, match=rf"\b{name} (must be|entries must|has 3 entries)"):
        NAMES[name](xp.asarray([1.0, 2.0, 3.0]))


@pytest.mark.on("numpy")
def test_an_error_of_correlation_score_names_the_complex_argument(xp):
    with pytest.raises(TypeError, match="needs real arrays, got bias ndarray"):
        swath.signal.correlation_score(np.ones(3), np.ones(3), 1j, "tanh")


@pytest.mark.on("numpy")
@pytest.mark.parametrize("padding", [{1, 2}, {1: 2, 2: 1}])
def test_paddings_without_an_order_are_refused(xp, padding):
    with pytest.raises(ValueError, match=r"padding must be an int, one per axis, .*; got {1"):
        swath.nn.conv(np.ones((1, 1, 5, 5)), np.ones((1, 1, 3, 3)), padding=padding)


@pytest.mark.on("numpy")
def test_a_dtype_that_the_library_has_not_is_refused_in_words(xp):
    with pytest.raises(TypeError, match="a real floating dtype of numpy, got 'bfloat16'"):
        swath.signal.get_window("hann", 4, dtype="bfloat16")


BYTES = {
    "padding_mode": lambda x, v: swath.nn.conv(
        x[None, None, :], x[None, None, :], padding=1, padding_mode=v
    ),
    "fillvalue": lambda x, v: swath.signal.convolve2d(x[None, :], x[None, :], fillvalue=v),
    "bias": lambda x, v: swath.signal.correlation_score(x, x, v),
}


@pytest.mark.on("numpy", "jax", "torch", "strict", "dask", "cupy")
@pytest.mark.parametrize("name", list(BYTES))
def test_a_number_that_the_integers_beside_it_do_not_hold_is_refused(xp, name):
    """Libraries wrapped it, or raised errors of their own."""
    x = xp.asarray(np.array([1, 2, 3], np.uint8))
    BYTES[name](x, 255)
    for value in (-1, 256):
        with pytest.raises(ValueError, match=f"{name} must lie in the range of uint8, 0 to 255, g"):
            BYTES[name](x, value)


@pytest.mark.on("numpy", "jax", "torch", "strict", "dask", "cupy")
def test_integers_in_lists_count_modulo_what_the_integers_beside_them_hold(xp):
    x = xp.asarray(np.array([1, 2, 3], np.uint8))
    got = swath.signal.convolve(x, [1, -1, 300])
    assert_close(got, np.array([1, 1, 45, 85, 132], np.uint8), dtype="uint8")
    # NumPy makes floats of the first, objects of the second.
    for large in (2**64 - 1, 2**70 - 1):
        got = swath.signal.convolve(x, [1, -1, large])
        assert_close(got, np.array([1, 1, 0, 251, 253], np.uint8), dtype="uint8")
    got = swath.signal.convolve(xp.asarray([1.0, 2.0]), [2**64 - 1, -1])
    assert_close(got, np.array([2.0**64, 2.0**65, -2.0]))


@pytest.mark.on("numpy", "jax", "torch", "strict", "dask", "cupy")
@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_a_number_beyond_the_floats_beside_it_is_rounded(xp):
    """To infinity, or to the largest number where that is nearer."""
    x, w = (xp.asarray(np.ones((1, 1, n), np.float32)) for n in (2, 1))
    largest = float(np.finfo(np.float32).max)
    half_a_place = 2.0**103
    for value, want in (
        (1e300, np.inf),
        (-(10**39), -np.inf),
        (np.inf, np.inf),
        (largest, largest),
        (largest + half_a_place / 2, largest),
        (largest + half_a_place, np.inf),
    ):
        got = xp.numpy(swath.nn.conv(x, w, padding=1, padding_mode=value))
        assert np.array_equal(got, [[[want, 1.0, 1.0, want]]])
        score = swath.signal.correlation_score(0.0 * x, x, float(value))
        assert np.array_equal(xp.numpy(score), want)


@pytest.mark.on("numpy", "jax", "torch", "strict", "dask", "cupy")
def test_the_constant_of_a_padding_may_be_a_number_of_numpy(xp):
    x, w = xp.asarray(np.ones((1, 1, 3))), xp.asarray(np.ones((1, 1, 1)))
    for value in (np.float32(2.0), np.float64(2.0), np.int64(2)):
        got = swath.nn.conv(x, w, padding=1, padding_mode=value)
        assert_close(got, np.array([[[2.0, 1.0, 1.0, 1.0, 2.0]]]), dtype=xp.float)


@pytest.mark.on("numpy")
@pytest.mark.parametrize("value", [np.nan, np.inf, 0.5])
def test_padding_of_integers_that_is_none_is_refused_in_words(xp, value):
    x = np.ones((1, 1, 3), int)
    with pytest.raises(TypeError, match="is no integer, but x and weight are int"):
        swath.nn.conv(x, x, padding=1, padding_mode=value)


def summed(a, b, weights):
    """The solution of some rows, by their sums."""
    sums = swath.linalg.GramAccumulator(1)
    sums.update(a, b, weights)
    return sums.solve().x


# Operations that turn integers into floats, with lists or numbers beside integers of eight bits.
FLOATED = {
    "lfilter": lambda x, two: swath.signal.lfilter([1, -1], 1, x),
    "lfilter, divided": lambda x, two: swath.signal.lfilter([1, 2], -300, x),
    "lfilter, a list": lambda x, two: swath.signal.lfilter(x, 1, [1, -1, 300]),
    "lfilter, state": lambda x, two: swath.signal.lfilter(two, 1, x, zi=[-5])[0],
    "lfiltic": lambda x, two: swath.signal.lfiltic(two, -3, [], x),
    "filtfilt": lambda x, two: swath.signal.filtfilt([1, -1], 1, x, padlen=0),
    "filter_bank": lambda x, two: swath.signal.filter_bank([[1, -1]], x),
    "fir_step": lambda x, two: swath.signal.fir_step([1, -1], [-5], x)[1],
    "FIRStream": lambda x, two: swath.signal.FIRStream([1, -1]).push(x),
    "upfirdn": lambda x, two: swath.signal.upfirdn([1, -1], x),
    "resample_poly": lambda x, two: swath.signal.resample_poly(x, 2, 1, window=[1, -1]),
    "stft": lambda x, two: swath.signal.stft(x, window=[1, 300, -1], nperseg=3)[2],
    "match_template": lambda x, two: swath.signal.match_template(x, [1, -300]),
    "fftconvolve": lambda x, two: swath.signal.fftconvolve(x, [1, -300]),
    "freqz": lambda x, two: swath.signal.freqz(x, [-2, 300], worN=4)[1],
    "group_delay": lambda x, two: swath.signal.group_delay((x, [-2, 300]), w=4)[1],
    "firls": lambda x, two: swath.signal.firls(3, [0, 300, 400, 500], x, fs=1000),
    "lstsq": lambda x, two: swath.linalg.lstsq(x[:, None], [300, -1, 2, 5], ridge=[300]).x,
    "solve_toeplitz": lambda x, two: swath.linalg.solve_toeplitz(x, [300, -1, 2, 5]),
    "identify_fir": lambda x, two: swath.linalg.identify_fir(x, [-1, 300, 3, -4], 2),
    "deconvolve": lambda x, two: swath.linalg.deconvolve(x, [1, -300]),
    "GramAccumulator": lambda x, two: summed(x[:, None], [300, -1, 2, 5], [300, 1, 1, 1]),
}


@pytest.mark.on("numpy", "jax", "torch", "strict", "cupy")
@pytest.mark.parametrize("name", list(FLOATED))
def test_lists_beside_small_integers_are_not_cut_to_them(xp, name):
    """As with the same integers in floats: [1, -1] of taps was [1, 255] beside bytes."""
    x, two = np.array([10, 12, 9, 200]), np.array([1, 2])
    got = FLOATED[name](*(xp.asarray(v.astype(np.uint8)) for v in (x, two)))
    want = FLOATED[name](x.astype(float), two.astype(float))
    # PyTorch's default float is single.
    assert_close(got, want, rtol=1e-4)
