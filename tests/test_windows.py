"""signal.windows and signal.get_window: SciPy's tapers wherever they are asked for."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal

import swath
from swath.signal import get_window, windows
from swath.testing import assert_close

PLACES = pytest.mark.on(
    "numpy", "jax", "jax-x32", "torch", "strict", "strict-device1", "strict-no-float64", "dpnp"
)
PARAMETERS = {
    "chebwin": (60.0,),
    "dpss": (1.5,),
    "gaussian": (1.5,),
    "general_cosine": ([0.5, 0.3, 0.2],),
    "general_gaussian": (1.5, 2.0),
    "general_hamming": (0.6,),
    "kaiser": (4.0,),
    "kaiser_bessel_derived": (4.0,),
}
TAPERS = sorted(set(windows.__all__) - {"get_window"})


def test_the_names_are_scipys():
    assert set(windows.__all__) == set(scipy.signal.windows.__all__)


@PLACES
@pytest.mark.parametrize("name", TAPERS)
def test_every_window_equals_scipy(xp, name):
    made, wanted = getattr(windows, name), getattr(scipy.signal.windows, name)
    given = PARAMETERS.get(name, ())
    for points in (8,) if name == "kaiser_bessel_derived" else (8, 7):
        for sym in (True, False):
            if name == "kaiser_bessel_derived" and not sym:
                continue
            got = made(points, *given, sym=sym, xp=xp.namespace, device=xp.device)
            assert type(got) is type(xp.asarray([1.0]))
            want = wanted(points, *given, sym=sym)
            # The table is rounded once, to the widest float of the row.
            assert_close(got, want, dtype=xp.float, atol=xp.eps)
    for points in (0, 1) if name != "kaiser_bessel_derived" else (0,):
        assert_close(made(points, *given), wanted(points, *given))


@PLACES
def test_dtype_and_named_parameters(xp):
    got = windows.tukey(9, alpha=0.25, xp=xp.namespace, device=xp.device, dtype="float32")
    assert_close(got, scipy.signal.windows.tukey(9, 0.25), dtype="float32", atol=2**-24)
    options = {"Kmax": 2, "norm": 2, "return_ratios": True}
    got, ratios = windows.dpss(8, 2.5, **options, xp=xp.namespace, device=xp.device)
    want, shares = scipy.signal.windows.dpss(8, 2.5, **options)
    assert_close(got, want, atol=xp.eps, dtype=xp.float)
    assert_close(ratios, shares, atol=xp.eps, dtype=xp.float)


@pytest.mark.on("numpy", "jax", "torch", "strict", "strict-device1", "dpnp")
def test_parameters_in_arrays_that_are_known(xp):
    want = scipy.signal.windows.kaiser(5, 4.0)
    assert_close(windows.kaiser(5, xp.asarray(4.0)), want)
    weights = [0.5, 0.3, 0.2]
    got = windows.general_cosine(5, xp.asarray(weights))
    assert_close(got, scipy.signal.windows.general_cosine(5, weights), atol=2 * xp.eps)
    if xp.device is None:
        assert type(got) is type(xp.asarray([1.0]))
    got = get_window(("general_cosine", xp.asarray(weights)), 4)
    assert_close(got, scipy.signal.get_window(("general_cosine", weights), 4))


@pytest.mark.needs("jax")
def test_traced_parameters_are_refused():
    import jax

    for call in (
        lambda beta: windows.kaiser(5, beta),
        lambda beta: get_window(("kaiser", beta), 5),
        lambda beta: swath.signal.firwin(5, 0.5, window=("kaiser", beta)),
    ):
        with pytest.raises(NotImplementedError, match="is traced; windows are computed on the hos"):
            jax.jit(call)(4.0)
    with pytest.raises(NotImplementedError, match="general_cosine: a is traced"):
        jax.jit(lambda a: windows.general_cosine(5, a))(np.ones(2))


@pytest.mark.needs("torch")
def test_differentiated_parameters_are_refused():
    """A window from the host would leave them without a derivative, and without a word."""
    import torch

    beta = torch.tensor(4.0, requires_grad=True)
    for call in (
        lambda: windows.kaiser(5, beta),
        lambda: get_window(("general_cosine", beta[None]), 5),
        lambda: swath.signal.stft(torch.ones(9), window=("kaiser", beta), nperseg=4),
        lambda: swath.signal.minimum_phase(beta * torch.ones(3)),
        lambda: swath.signal.remez(5, [0.0, 0.1, 0.2, 0.5], beta * torch.tensor([1.0, 0.0])),
        lambda: swath.vjp(
            swath.signal.resample_poly, np.ones(9), 3, 2, window=("kaiser", np.array(4.0))
        ),
    ):
        with pytest.raises(NotImplementedError, match="is differentiated; SciPy computes this on"):
            call()
    assert_close(windows.kaiser(5, beta.detach()), scipy.signal.windows.kaiser(5, 4.0))


@pytest.mark.parametrize(
    "call, error, text",
    [
        (lambda: windows.hann(-1), ValueError, "hann: M must be at least 0, got -1"),
        (lambda: windows.hann(4.5), ValueError, "hann: M must be a whole number of points"),
        (lambda: windows.hann("4"), TypeError, "hann: M must be an int, got str '4'"),
        (lambda: windows.hann(4, dtype="int8"), TypeError, "hann: dtype must be a real floating"),
        (lambda: windows.kaiser(4, [1.0]), TypeError, "kaiser: beta must be a number, got list"),
        (lambda: windows.kaiser(4, np.ones(2)), TypeError, "kaiser: beta must be a number, got nd"),
        (lambda: windows.hann(4, dtype=np), TypeError, "hann: dtype must be a real floating"),
        (lambda: windows.gaussian(4, None), TypeError, "gaussian: std must be a number, got"),
        (lambda: windows.tukey(4, "a"), TypeError, "tukey: alpha must be a number, got str 'a'"),
        (lambda: windows.dpss(4, 3), ValueError, "window of M=4, NW=3, .*: NW must be less than"),
        (lambda: windows.dpss(4, 1, 1.5), TypeError, "SciPy does not make this .*, Kmax=1.5, "),
        (lambda: windows.chebwin(4, 1e6), ValueError, "SciPy does not make this .*, at=1000000.0"),
        (lambda: windows.general_cosine(4, 2.0), ValueError, r"a must be a list .*shape \(\)"),
        (lambda: get_window(("general_cosine", 2.0), 4), ValueError, "window .'general_cosine', 2"),
        (lambda: windows.general_cosine(4, object()), TypeError, "general_cosine: a must be an ar"),
        (lambda: get_window("round", 4), ValueError, "get_window: SciPy does not make window 'rou"),
        (lambda: get_window((), 4), ValueError, r"get_window: window must be .*, got \(\)"),
        (lambda: get_window("hann", 0), ValueError, "get_window: Nx must be at least 1"),
        (lambda: get_window("hann", 4, 1), TypeError, "get_window: fftbins must be True or False"),
    ],
)
def test_windows_refuse(call, error, text):
    with pytest.raises(error, match=text):
        call()


@PLACES
def test_get_window_equals_scipy(xp):
    for window in ("hann", ("kaiser", 3.0), 3.0, "blackman_symmetric", ("taylor", 4, 30)):
        for fftbins in (True, False):
            got = get_window(window, 9, fftbins, xp=xp.namespace, device=xp.device)
            want = scipy.signal.get_window(window, 9, fftbins)
            assert_close(got, want, dtype=xp.float, atol=xp.eps)


@pytest.mark.needs("torch")
def test_a_bound_library_binds_the_windows():
    sw = swath.bind("torch")
    assert "hann" in dir(sw.signal.windows)
    assert type(sw.signal.windows.hann(3)) is type(sw.asarray([1.0]))
