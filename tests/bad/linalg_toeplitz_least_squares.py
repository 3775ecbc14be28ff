"""Bad input of least squares with tall Toeplitz matrices."""

from __future__ import annotations

import numpy as np

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
    ones,
    refuse,
)
from .signal import FOREIGN, NO_OBJECT, NONE

nan = np.nan
FIR, DECONVOLVE = "linalg.identify_fir", "linalg.deconvolve"
X = np.array([1.0, 0.0, 2.0, 1.0])
Y = np.array([2.0, 1.0, 4.0, 4.0])  # x through 2, 1
K = np.array([2.0, 1.0])

BAD: list[Bad] = [
    refuse(
        FIR, RANK, call(np.array(1.0), Y, 2), ValueError,
        r"x must have at least one axis, got \w+ of shape \(\)",
    ),
    refuse(
        FIR, DTYPE, call(["a"], Y, 2), TypeError,
        r"x must hold numbers, got list \['a'\] of dtype <U1",
    ),
    refuse(
        FIR, "booleans", call(X, Y > 1, 2), TypeError, "y must be numeric, got .*bool; convert it"
    ),
    refuse(FIR, MIXED, call(X, elsewhere(Y), 2), TypeError, FOREIGN.format("y")),
    refuse(
        FIR, LARGER, call(X, Y, 5), ValueError,
        'x must have at least numtaps = 5 samples, got 4; of fewer, method="prewindowed" makes',
    ),
    refuse(FIR, EMPTY, call(ones(0), ones(0), 1), ValueError, "x must have at least one sample"),
    gives(FIR, "no outputs", call(X, ones(0, 4), 2), ones(0, 2)),
    gives(FIR, NAN, call(np.array([1.0, nan, 0.0]), ones(3), 2), [nan, nan]),
    gives(
        FIR, "NaN in y", call(X, np.stack([Y, Y * [1, 1, nan, 1]]), 2), [[2.0, 1.0], [nan, nan]]
    ),
    refuse(FIR, OBJECT, call(X, object(), 2), TypeError, NO_OBJECT.format("y")),
    refuse(FIR, "None", call(None, Y, 2), TypeError, NONE.format("x")),
    refuse(
        FIR, "wrong length", call(X, ones(2), 2), ValueError,
        r"y must have 4 or 5 or 3 samples for x of 4 and 2 taps .*; got 2",
    ),
    refuse(
        FIR, "valid part with zeros around", call(X, ones(3), 2, method="prewindowed"), ValueError,
        "y must have 4 or 5 samples",
    ),
    refuse(FIR, "no taps", call(X, Y, 0), ValueError, "numtaps must be at least 1, got 0"),
    refuse(
        FIR, "taps as float", call(X, Y, 2.0), TypeError,
        "numtaps must be an int, got float 2.0",
    ),
    refuse(
        FIR, "unknown method", call(X, Y, 2, method="burg"), ValueError,
        "method must be one of 'covariance', 'autocorrelation', 'prewindowed', 'postwindowed'; got",
    ),
    refuse(
        FIR, "negative ridge", call(X, Y, 2, ridge=-1), ValueError,
        "ridge must be 0 or more, and finite; got -1",
    ),
    refuse(
        FIR, "complex ridge", call(X, Y, 2, ridge=np.array(1j)), TypeError,
        "ridge must be real, got .*complex",
    ),
    refuse(
        FIR, "ridge as text", call(X, Y, 2, ridge="1"), TypeError,
        "ridge must be an array, a number",
    ),
    refuse(
        FIR, "no ridge", call(X, Y, 2, ridge=None), TypeError,
        "ridge must be a real number or array, got None",
    ),
    refuse(
        FIR, "batch that does not broadcast", call(ones(2, 4), ones(3, 4), 2), ValueError,
        r"the leading axes must broadcast, got \(2,\) of x, \(\) of ridge, \(3,\) of y",
    ),
    refuse(
        FIR, "axis out of range", call(X, Y, 2, axis=1), ValueError,
        "axis 1 is out of range for an array of 1 axes",
    ),
    refuse(
        FIR, "axis of one alone", call(ones(2, 4), ones(4, 5, 6), 2, axis=0), ValueError,
        r"x must have one axis, or reach axis 0; got \w+ of shape \(2, 4\)",
    ),
    gives(FIR, "zero signal", call(ones(4) * 0, ones(4), 2), [0.0, 0.0]),
    refuse(
        DECONVOLVE, RANK, call(np.array(1.0), K), ValueError,
        r"y must have at least one axis, got \w+ of shape \(\)",
    ),
    refuse(
        DECONVOLVE, DTYPE, call(X > 1, K), TypeError,
        "y must be numeric, got .*bool; convert it",
    ),
    refuse(DECONVOLVE, MIXED, call(Y, elsewhere(K)), TypeError, FOREIGN.format("k")),
    refuse(
        DECONVOLVE, LARGER, call(K, Y), ValueError,
        "y must have at least as many samples as k, which has 4; got 2",
    ),
    refuse(
        DECONVOLVE, EMPTY, call(Y, ones(0)), ValueError,
        "k must have at least one sample, got none",
    ),
    gives(DECONVOLVE, "no records", call(ones(0, 4), K), ones(0, 3)),
    gives(DECONVOLVE, NAN, call(Y, np.array([1.0, nan])), [nan, nan, nan]),
    gives(
        DECONVOLVE, "NaN in y", call(np.array([[2.0, 1.0, 0.0], [nan, 1.0, 0.0]]), K),
        [[1.0, 0.0], [nan, nan]],
    ),
    refuse(DECONVOLVE, OBJECT, call(Y, object()), TypeError, NO_OBJECT.format("k")),
    refuse(
        DECONVOLVE, "infinite ridge", call(Y, K, ridge=np.inf), ValueError,
        "ridge must be 0 or more, and finite; got inf",
    ),
    refuse(
        DECONVOLVE, "negative ridge in an array", call(Y, K, ridge=np.array(-1.0)), ValueError,
        "ridge must be 0 or more", traced=[nan, nan, nan],
    ),
    gives(DECONVOLVE, "zero kernel", call(ones(4), ones(2) * 0), [0.0, 0.0, 0.0]),
]  # fmt: skip

NEVER = [(STRIDE, "has no stride", (FIR, DECONVOLVE))]
