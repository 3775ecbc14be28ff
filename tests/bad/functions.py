"""Bad input of the public functions that are no registered operations.

`call` here is over small functions of this module where a public function takes an operation or is
a context manager.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

import swath
from swath.testing import assert_close, check_adjoint, check_vjp, tolerance

from . import (
    DTYPE,
    EMPTY,
    LARGER,
    MIXED,
    NAN,
    OBJECT,
    RANK,
    STRIDE,
    Bad,
    call,
    elsewhere,
    gives,
    host,
    ones,
    refuse,
)
from .linalg_least_squares import accumulated
from .signal import FOREIGN, NO_OBJECT, NONE
from .signal_spectral import streamed

nan = np.nan
HOLED = np.array([1.0, nan, 1.0])
convolve, bank = swath.signal.convolve, swath.signal.filter_bank
smooth = functools.partial(convolve, in2=np.ones(3), mode="same")


def _entered(setting: Any) -> Any:
    def enter(*args: Any) -> str:
        with setting(*args):
            return "entered"

    return enter


def _pulled(x: Any, k: Any, cotangent: Any) -> Any:
    return swath.vjp(convolve, x, k, "full", "direct")[1](cotangent)


def _map_blocks(*args: Any, **kwargs: Any) -> Any:
    return swath.map_blocks(*args, progress=False, **kwargs)


def _from_bound(name: str, *args: Any, **kwargs: Any) -> Any:
    """A function of the library bound to NumPy."""
    return functools.reduce(getattr, name.split("."), swath.bind("numpy"))(*args, **kwargs)


#: How each is called, where not by its name alone.
CALLED = {
    "pullback": _pulled,
    "precision": _entered(swath.precision),
    "workspace": _entered(swath.workspace),
    "map_blocks": _map_blocks,
    "bound": _from_bound,
    "linalg.GramAccumulator": accumulated,
    "signal.FIRStream": streamed,
    "testing.assert_close": assert_close,
    "testing.check_adjoint": check_adjoint,
    "testing.check_vjp": check_vjp,
    "testing.tolerance": tolerance,
}


def passing_on(name: str) -> list[Bad]:
    """Functions that take an operation: its own errors come through, under its own name."""
    return [
        refuse(
            name, RANK, call(convolve, ones(3, 3), ones(2)), ValueError,
            "convolve: in1 and in2 must have the same number of axes, got 2 and 1",
        ),
        refuse(
            name, DTYPE, call(convolve, ones(3) > 0, ones(2)), TypeError,
            "convolve: in1 must be numeric, got .*bool",
        ),
        refuse(
            name, MIXED, call(convolve, ones(3), elsewhere([1.0])), TypeError,
            r"(convolve|plan): " + FOREIGN.format("in2"),
        ),
        refuse(
            name, STRIDE, call(bank, ones(2, 2), ones(4), stride=-1), ValueError,
            "filter_bank: stride must be at least 1, got -1",
        ),
        refuse(
            name, LARGER, call(convolve, ones(2, 5), ones(3, 4), "valid"), ValueError,
            'convolve: mode="valid" needs one input at least as large as the other',
        ),
        refuse(
            name, OBJECT, call(convolve, ones(3), object()), TypeError,
            "convolve: " + NO_OBJECT.format("in2"),
        ),
        refuse(
            name, "no operation", call(print, ones(3)), TypeError,
            r"(plan: )?op must be a registered operation of swath, got <built-in function print>; "
            r"there are: linalg.cholesky_qr, ",
        ),
    ]  # fmt: skip


BAD: list[Bad] = [
    *passing_on("vjp"),
    gives("vjp", EMPTY, call(convolve, ones(3), ones(0)), ones(0), lambda r: r[0]),
    gives(
        "vjp", NAN, call(convolve, HOLED, ones(2), "full", "direct"), [1.0, nan, nan, 1.0],
        lambda r: r[0],
    ),
    refuse(
        "pullback", RANK, call(ones(3), ones(2), ones(3)), ValueError,
        r"pullback: the cotangent must have the value's shape \(4,\), got \(3,\)",
    ),
    refuse(
        "pullback", DTYPE, call(ones(3), ones(2), ones(4) > 0), TypeError,
        "pullback: the cotangent must be of a floating dtype, got .*bool",
    ),
    refuse(
        "pullback", "complex of a real value", call(ones(3), ones(2), 1j * ones(4)), TypeError,
        r"pullback: the value is real \(float64\), so the cotangent must be; got complex128",
    ),
    refuse(
        "pullback", MIXED, call(ones(3), ones(2), elsewhere(np.ones(4))), TypeError,
        r"pullback: the cotangent must be an array of \w+ like the value; got \w+ of shape \(4,\)",
    ),
    refuse(
        "pullback", OBJECT, call(ones(3), ones(2), [1.0] * 4), TypeError,
        r"pullback: the cotangent must be an array of \w+ like the value; got list",
    ),
    gives("pullback", EMPTY, call(ones(3), ones(0), ones(0)), np.zeros(3), lambda r: r[0]),
    gives(
        "pullback", NAN, call(ones(3), ones(2), np.array([1.0, nan, 1.0, 1.0])),
        [nan, nan, 2.0], lambda r: r[0],
    ),
    *passing_on("plan"),
    refuse(
        "plan", EMPTY, call(convolve, ones(3), ones(0)), ValueError,
        "plan: signal.convolve computes nothing of an array without points",
    ),
    gives("plan", NAN, call(convolve, HOLED, ones(2)), 2, lambda p: p.terms),
    refuse(
        "plan", "no sliding product", call(swath.linalg.toeplitz, ones(3)), TypeError,
        "plan: linalg.toeplitz computes no sliding product, so it has no plan",
    ),
    *passing_on("testing.check_adjoint"),
    refuse(
        "testing.check_adjoint", NAN, call(convolve, HOLED, ones(2)), AssertionError,
        "adjoint in in2: <Ax, y> = nan",
    ),
    refuse(
        "testing.check_adjoint", "integers", call(convolve, np.arange(3), np.arange(2)),
        AssertionError, "signal.convolve: no linear floating argument was given",
    ),
    *passing_on("testing.check_vjp"),
    refuse(
        "testing.check_vjp", NAN, call(convolve, HOLED, ones(2)), AssertionError,
        "derivative in in1: differences give nan",
    ),
    refuse(
        "testing.check_vjp", "integers", call(convolve, np.arange(3), np.arange(2)),
        AssertionError, "signal.convolve: nothing to differentiate was given",
    ),
    refuse(
        "testing.assert_close", RANK, call(ones(3), np.float64(1.0)), AssertionError,
        r"shape \(3,\), expected \(\)",
    ),
    refuse(
        "testing.assert_close", DTYPE, call(ones(3), np.float64(1.0), dtype="int8"), AssertionError,
        "(shape|dtype)",
    ),
    refuse(
        "testing.assert_close", EMPTY, call(ones(0), 1.0), AssertionError,
        r"shape \(0,\), expected \(\)",
    ),
    refuse(
        "testing.assert_close", NAN, call(np.array(nan), 1.0), AssertionError, "NaNs differ",
    ),
    refuse(
        "testing.assert_close", "bound of NaN", call(np.array(1.0), 1.0, bound=nan), AssertionError,
        "1 of 1 values differ",
    ),
    refuse(
        "testing.assert_close", "bound of another shape", call(np.array(1.0), 1.0, bound=[1.0, 2]),
        ValueError, r"assert_close: bound must broadcast to shape \(\), got list \[1.0, 2\]",
    ),
    refuse(
        "testing.assert_close", OBJECT, call(None, None), TypeError,
        "assert_close: actual must be an array, a number or a nested list of numbers, got NoneType",
    ),
    refuse(
        "testing.assert_close", "ragged list", call(ones(2), [[1.0], [1.0, 2.0]]), TypeError,
        "assert_close: desired must be an array, a number or a nested list of numbers, got list",
    ),
    refuse(
        "testing.tolerance", DTYPE, call("int32"), ValueError,
        "tolerance: dtype must be floating, got 'int32'",
    ),
    refuse(
        "testing.tolerance", OBJECT, call("float32", 3), TypeError,
        "tolerance: plan must be what swath.plan gives, got 3",
    ),
    # -- libraries and settings
    refuse(
        "bind", OBJECT, call(3), TypeError, "bind: xp_or_name must be a library or its name, got i"
    ),
    refuse("bind", "not installed", call("fortran"), ImportError, "bind: fortran is not installed"),
    refuse(
        "bind", "no array library", call("json"), TypeError,
        "bind: json is no library of the array API standard",
    ),
    refuse(
        "bind", "device that is not there", call("numpy", device="gpu"), ValueError,
        "bind: device 'gpu' is none that numpy can use here .*; there are: cpu",
    ),
    refuse(
        "bound", RANK, call("signal.convolve", [[1.0]], [1.0]), ValueError,
        "convolve: in1 and in2 must have the same number of axes, got 2 and 1",
    ),
    refuse(
        "bound", DTYPE, call("asarray", ["a"]), TypeError,
        r"asarray: cannot make a numeric array of list \['a'\]",
    ),
    refuse(
        "bound", OBJECT, call("asarray", object()), TypeError,
        "asarray: cannot make a numeric array of object",
    ),
    refuse(
        "bound", "None", call("signal.convolve", None, [1.0]), TypeError,
        "convolve: " + NONE.format("in1"),
    ),
    refuse(
        "bound", "ragged list", call("signal.convolve", [[1], [1, 2]], [1]), ValueError,
        r"asarray: a ragged list is no array: \[\[1\], \[1, 2\]\]",
    ),
    refuse("bound", "no such name", call("nothing"), AttributeError, "swath has no public name"),
    gives("bound", MIXED, call("signal.convolve", elsewhere([1.0, 2.0]), [1.0]), [1.0, 2.0]),
    refuse(
        "supports", OBJECT, call(convolve, 3), TypeError,
        "supports: xp must be an array library or its import name, got int 3",
    ),
    refuse(
        "supports", "no operation", call("nope", np), TypeError,
        "op must be a registered operation of swath or its name, got 'nope'",
    ),
    refuse(
        "precision", OBJECT, call("best"), ValueError,
        "precision: level must be one of 'highest', 'high', 'fast', got 'best'",
    ),
    refuse(
        "workspace", EMPTY, call(0), ValueError,
        "workspace: limit must be a positive int, got int 0",
    ),
    refuse(
        "workspace", OBJECT, call(np.ones(2)), ValueError,
        r"workspace: limit must be a positive int, got \w+ of shape \(2,\)",
    ),
    refuse(
        "workspace", NAN, call(nan), ValueError,
        "workspace: limit must be a positive int, got float nan",
    ),
    # -- batch processing, which has a longer table of its own in test_blocks
    refuse(
        "map_blocks", RANK, call(smooth, host(np.array(1.0)), host(ones(1))), ValueError,
        "map_blocks: axis 0 is out of range for an array of 0 axes",
    ),
    refuse(
        "map_blocks", DTYPE, call(smooth, host(np.array(["a"])), host(ones(1))), TypeError,
        "map_blocks: source must hold numbers, got ",
    ),
    refuse(
        "map_blocks", STRIDE, call(
            functools.partial(bank, ones(2, 2), stride=-1), host(ones(9)), host(ones(2, 9))
        ), ValueError, "map_blocks: stride must be at least 1, got -1",
    ),
    refuse(
        "map_blocks", LARGER, call(
            functools.partial(convolve, in2=np.ones((2, 9)), mode="valid"), host(ones(5, 5)),
            host(ones(4, 1)),
        ), ValueError, 'map_blocks: mode="valid" needs one input at least as large as the other',
    ),
    gives("map_blocks", EMPTY, call(smooth, host(ones(0)), host(ones(0))), ones(0)),
    gives("map_blocks", NAN, call(smooth, host(HOLED), host(ones(3))), np.full(3, nan)),
    refuse(
        "map_blocks", OBJECT, call(smooth, [1.0], host(ones(1))), TypeError,
        "map_blocks: source must have shape",
    ),
    # -- integers and windows
    refuse(
        "nn.conv_output_shape", RANK, call((1, 2, 6), (2, 2)), ValueError,
        r"conv_output_shape: weight must have at least 3 axes \(O, C/groups, \*K\), got 2",
    ),
    refuse(
        "nn.conv_output_shape", DTYPE, call((1, 2, 6.5), (4, 2, 3)), TypeError,
        "conv_output_shape: x_shape must be an int, got float 6.5",
    ),
    refuse(
        "nn.conv_output_shape", STRIDE, call((1, 2, 6), (4, 2, 3), stride=-1), ValueError,
        "conv_output_shape: stride must be at least 1, got -1",
    ),
    refuse(
        "nn.conv_output_shape", LARGER, call((1, 2, 2), (4, 2, 3)), ValueError,
        "conv_output_shape: weight spans 3 points .* but axis 2 of x has 2 points",
    ),
    gives("nn.conv_output_shape", EMPTY, call((0, 2, 6), (4, 2, 3)), [0, 4, 4]),
    refuse(
        "nn.conv_output_shape", OBJECT, call(ones(3), (4, 2, 3)), TypeError,
        r"conv_output_shape: x_shape must be a tuple of ints, got \w+ of shape \(3,\)",
    ),
    refuse(
        "nn.same_padding", RANK, call(5, (1, 2)), ValueError,
        r"same_padding: size must have one entry per sliding axis \(1\), got \(1, 2\)",
    ),
    refuse(
        "nn.same_padding", DTYPE, call(1.5, 3), TypeError,
        "same_padding: lengths must be a tuple of ints, got float 1.5",
    ),
    refuse(
        "nn.same_padding", STRIDE, call(5, 3, stride=-1), ValueError,
        "same_padding: stride must be at least 1, got -1",
    ),
    gives("nn.same_padding", LARGER, call(1, 3), [[1, 1]]),
    refuse(
        "nn.same_padding", EMPTY, call(5, 0), ValueError,
        "same_padding: size must be at least 1, got 0",
    ),
    refuse(
        "nn.same_padding", OBJECT, call(ones(2), 3), TypeError,
        r"same_padding: lengths must be a tuple of ints, got \w+ of shape \(2,\)",
    ),
    refuse(
        "signal.correlation_lags", RANK, call(2, ones(2)), TypeError,
        r"correlation_lags: in2_len must be an int, got \w+ of shape \(2,\)",
    ),
    refuse(
        "signal.correlation_lags", DTYPE, call(1.5, 2), TypeError,
        "correlation_lags: in1_len must be an int, got float 1.5",
    ),
    refuse(
        "signal.correlation_lags", EMPTY, call(0, 2), ValueError,
        "correlation_lags: in1_len must be at least 1, got 0",
    ),
    gives("signal.correlation_lags", LARGER, call(2, 3, "valid"), [-1, 0]),
    refuse(
        "signal.correlation_lags", OBJECT, call(2, 2, xp=3), TypeError,
        "correlation_lags: xp must be an array library or its name, got int 3",
    ),
    refuse(
        "signal.correlation_lags", "library that is not there", call(2, 2, xp="fortran"),
        ValueError, "correlation_lags: xp is the array library 'fortran', which is not installed",
    ),
    refuse(
        "signal.get_window", EMPTY, call("hann", 0), ValueError,
        "get_window: Nx must be at least 1, got 0",
    ),
    refuse(
        "signal.get_window", DTYPE, call("hann", 3, dtype="int8"), TypeError,
        "get_window: dtype must be a real floating dtype of numpy, got 'int8'",
    ),
    gives("signal.get_window", NAN, call(nan, 2), [nan, nan]),
    refuse(
        "signal.get_window", OBJECT, call(object(), 3), ValueError,
        "get_window: SciPy does not make window <object",
    ),
    refuse(
        "signal.choose_conv_method", RANK, call(ones(2, 2), ones(2)), ValueError,
        "choose_conv_method: in1 and in2 must have the same number of axes, got 2 and 1",
    ),
    refuse(
        "signal.choose_conv_method", DTYPE, call(ones(2) > 0, ones(2)), TypeError,
        "choose_conv_method: in1 must be numeric, got .*bool",
    ),
    refuse(
        "signal.choose_conv_method", MIXED, call(ones(2), elsewhere([1.0])), TypeError,
        "choose_conv_method: " + FOREIGN.format("in2"),
    ),
    refuse(
        "signal.choose_conv_method", LARGER, call(ones(2, 5), ones(3, 4), "valid"), ValueError,
        'convolve: mode="valid" needs one input at least as large as the other',
    ),
    refuse(
        "signal.choose_conv_method", OBJECT, call(ones(2), None), TypeError,
        "choose_conv_method: " + NONE.format("in2"),
    ),
    gives(
        "signal.choose_conv_method", EMPTY, call(ones(0), ones(2)), True, lambda m: m == "direct"
    ),
    gives("signal.choose_conv_method", NAN, call(HOLED, ones(2)), True, lambda m: m == "direct"),
]  # fmt: skip

_NUMBERS = ("nn.conv_output_shape", "nn.same_padding")
_SETTINGS = ("bind", "supports", "precision")
_CHECKS = ("testing.check_adjoint", "testing.check_vjp")
NEVER = [
    (EMPTY, "an empty sum is 0 on both sides", _CHECKS),
    (STRIDE, "the operation was called before", ("pullback",)),
    (LARGER, "the operation was called before", ("pullback",)),
    (NAN, "shapes are integers", (*_NUMBERS, "signal.correlation_lags")),
    (MIXED, "takes no array", (*_NUMBERS, "signal.correlation_lags", "signal.get_window")),
    (STRIDE, "has no stride", (
        "signal.correlation_lags", "signal.get_window", "signal.choose_conv_method",
    )),
    (RANK, "takes a name and an int", ("signal.get_window",)),
    (LARGER, "has no kernel", ("signal.get_window",)),
    *((kind, "takes no array", (*_SETTINGS,)) for kind in (
        RANK, DTYPE, MIXED, STRIDE, LARGER, EMPTY, NAN,
    )),
    *((kind, "takes one int", ("workspace",)) for kind in (RANK, DTYPE, MIXED, STRIDE, LARGER)),
    *((kind, "passes arrays on to the function as they are", ("bound",)) for kind in (
        STRIDE, LARGER, EMPTY, NAN,
    )),
    *((kind, "compares two tables", ("testing.assert_close",)) for kind in (STRIDE, LARGER)),
    (MIXED, "compares arrays of any library with the host's", ("testing.assert_close",)),
    *((kind, "takes a dtype and a plan", ("testing.tolerance",)) for kind in (
        RANK, MIXED, STRIDE, LARGER, EMPTY, NAN,
    )),
    (MIXED, "only arrays of the host: test_arrays_of_a_device_are_refused", ("map_blocks",)),
]  # fmt: skip
