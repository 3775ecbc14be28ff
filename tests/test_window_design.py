"""signal.firwin and signal.get_window against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal

from swath.signal import firwin, get_window
from swath.testing import assert_close, check_vjp

FIRWIN = pytest.mark.op("signal.firwin")

DESIGNS = [
    (8, 0.3, {}),
    (9, 0.3, {"pass_zero": "highpass"}),
    (9, 0.3, {"pass_zero": False, "scale": False}),
    (12, [0.2, 0.5], {"pass_zero": "bandpass", "window": ("kaiser", 4.0)}),
    (11, [0.2, 0.5], {"pass_zero": "bandstop", "window": "hann"}),
    (21, [50.0, 120.0, 300.0], {"fs": 1000.0, "pass_zero": False}),
    (21, [50.0, 120.0, 300.0], {"fs": 1000.0, "width": 60.0}),
    (1, 0.5, {}),
]


@FIRWIN
@pytest.mark.parametrize("numtaps, cutoff, options", DESIGNS)
def test_designs_equal_scipy(xp, numtaps, cutoff, options):
    want = scipy.signal.firwin(numtaps, cutoff, **options)
    got = xp.call(firwin, numtaps, xp.asarray(cutoff), **options)
    assert_close(got, want, rtol=256 * xp.eps, dtype=xp.float)
    assert_close(firwin(numtaps, cutoff, **options), want, rtol=1e-14, dtype="float64")


@FIRWIN
def test_lists_go_where_they_are_sent(xp):
    if xp.device is None:
        got = firwin(5, 0.25, xp=xp.namespace, dtype="float32")
        assert type(got) is type(xp.asarray([1.0]))
        assert_close(got, scipy.signal.firwin(5, 0.25), dtype="float32", rtol=2**-22)


@FIRWIN
def test_derivatives_in_the_edges(xp):
    tolerance = {"rtol": 2e-2} if xp.float == "float32" else {}
    for pass_zero in (True, False):
        check_vjp(firwin, 7, xp.asarray([0.25, 0.6]), pass_zero=pass_zero, **tolerance)


@FIRWIN
@pytest.mark.parametrize(
    "numtaps, cutoff, options, error, text",
    [
        (4, 0.5, {"pass_zero": False}, ValueError, "numtaps must be odd for a filter that passes"),
        (0, 0.5, {}, ValueError, "numtaps must be at least 1"),
        (5, [], {}, ValueError, "cutoff must have at least one edge"),
        (5, [[0.5]], {}, ValueError, "cutoff must have at most one axis"),
        (5, 1.0, {}, ValueError, "cutoff must increase and lie strictly between 0 and fs/2 = 1.0"),
        (5, [0.5, 0.2], {}, ValueError, "cutoff must increase"),
        (5, [0.2, 0.5], {"pass_zero": "lowpass"}, ValueError, "a lowpass filter has one edge"),
        (5, 0.2, {"pass_zero": "bandstop"}, ValueError, "bandstop filter has at least two edges"),
        (5, 0.2, {"pass_zero": "notch"}, ValueError, "pass_zero must be one of 'lowpass'"),
        (5, 0.2, {"window": "round"}, ValueError, "SciPy does not make window 'round'"),
        (5, 0.2, {"window": np.ones(4)}, ValueError, "window must have the 5 points"),
        (5, 0.2, {"fs": 0}, ValueError, "fs must be positive"),
        (5, 1j, {}, TypeError, "cutoff must be real"),
        (5, 0.2, {"dtype": "int32"}, TypeError, "dtype must be a real floating dtype"),
    ],
)
def test_firwin_refuses(numtaps, cutoff, options, error, text):
    with pytest.raises(error, match=text):
        firwin(numtaps, cutoff, **options)


@pytest.mark.on("numpy", "jax", "jax-x32", "torch", "strict", "dpnp")
def test_windows_equal_scipy(xp):
    for window in ("hann", ("kaiser", 3.0), "blackman"):
        for fftbins in (True, False):
            got = get_window(window, 9, fftbins, xp=xp.namespace)
            want = scipy.signal.get_window(window, 9, fftbins)
            assert_close(got, want, dtype=xp.float, atol=2 * xp.eps)


def test_get_window_refuses():
    with pytest.raises(ValueError, match="get_window: SciPy does not make window 'round'"):
        get_window("round", 4)
    with pytest.raises(ValueError, match="Nx must be at least 1"):
        get_window("hann", 0)
