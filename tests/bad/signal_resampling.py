"""Bad input of changes of rate and of filtering without delay."""

from __future__ import annotations

import numpy as np
from scipy.signal import dlti

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

nan = np.nan
HOLED = np.array([1.0, nan, 1.0, 1.0, 1.0])
TRUTH = np.array([True, True])
FOREIGN = r"\w+ is an array of \w+ and {} of \w+; swath moves nothing on its own: convert one"
NO_OBJECT = r"{} must be an array, a number or a nested list, got object"
NUMBER = "x must have at least one axis, got a number"

RAISE, POLY = "signal.upfirdn", "signal.resample_poly"
LOWER, BOTH = "signal.decimate", "signal.filtfilt"
ONE = np.array([1.0])

BAD: list[Bad] = [
    # -- upfirdn
    refuse(RAISE, RANK, call(ones(), ones(3)), ValueError, r"h must be a row of at least one tap"),
    refuse(RAISE, "number", call(ones(2), ones()), ValueError, NUMBER),
    refuse(RAISE, DTYPE, call(TRUTH, ones(3)), TypeError, r"h must be numeric, got .*bool"),
    refuse(RAISE, MIXED, call(ones(2), elsewhere([1.0])), TypeError, FOREIGN.format("x")),
    refuse(RAISE, STRIDE, call(ones(2), ones(3), 1, -1), ValueError, "down must be at least 1"),
    gives(RAISE, LARGER, call(ones(4), ones(2), 2), [1.0, 1.0, 2.0, 2.0, 1.0, 1.0]),
    gives(RAISE, EMPTY, call(ones(3), ones(2, 0), 2), ones(2, 0)),
    gives(RAISE, NAN, call(ones(2), HOLED), [1.0, nan, nan, 2.0, 2.0, 1.0]),
    refuse(RAISE, OBJECT, call(object(), ones(3)), TypeError, NO_OBJECT.format("h")),
    refuse(
        RAISE, "zero-size filter", call(ones(0), ones(3)), ValueError,
        r"h must be a row of at least one tap, or a bank of them; got shape \(0,\)",
    ),
    refuse(
        RAISE, "batch that does not broadcast", call(ones(3, 2), ones(2, 5)), ValueError,
        r"the axes of h before the taps \(3,\) and those of x without time \(2,\) do not "
        r"broadcast: lengths 3 and 2",
    ),
    refuse(
        RAISE, "broken rate", call(ones(2), ones(3), 1.5), ValueError,
        "up must be a whole number, got 1.5",
    ),
    refuse(RAISE, "rate", call(ones(2), ones(3), [2]), TypeError, "up must be an int, got list"),
    refuse(
        RAISE, "unknown mode", call(ones(2), ones(3), mode="mean"), ValueError,
        r"mode must be one of 'constant', .*'line'; got 'mean'",
    ),
    refuse(
        RAISE, "axis out of range", call(ones(2), ones(3), axis=1), ValueError,
        "axis 1 is out of range for an array of 1 axes",
    ),
    refuse(
        RAISE, "constant", call(ones(2), ones(3), cval="a"), TypeError,
        "cval must be a number, got str 'a'",
    ),
    refuse(
        RAISE, "complex constant", call(ones(2), ones(3), cval=1j), TypeError,
        "cval must be real for real inputs, got 1j",
    ),
    # -- resample_poly
    refuse(POLY, RANK, call(ones(), 2, 1), ValueError, NUMBER),
    refuse(
        POLY, "taps in rows", call(ones(4), 2, 1, window=ones(2, 2)), ValueError,
        r"window must be one row of coefficients, got shape \(2, 2\)",
    ),
    refuse(POLY, DTYPE, call(TRUTH, 2, 1), TypeError, r"x must be numeric, got .*bool"),
    refuse(
        POLY, MIXED, call(ones(3), 2, 1, window=elsewhere([1.0])), TypeError,
        FOREIGN.format("window"),
    ),
    refuse(POLY, STRIDE, call(ones(3), 2, -1), ValueError, "down must be at least 1, got -1"),
    gives(POLY, LARGER, call(ones(2), 2, 1, window=ones(7)), 2 * np.array([2.0, 2.0, 2.0, 2.0])),
    gives(POLY, EMPTY, call(ones(0, 3), 2, 1), ones(0, 3)),
    gives(
        POLY, NAN, call(HOLED, 1, 2, window=ones(2), padtype="mean"), np.full(3, nan),
    ),
    refuse(POLY, OBJECT, call(object(), 2, 1), TypeError, NO_OBJECT.format("x")),
    refuse(
        POLY, "window of an object", call(ones(3), 2, 1, window=object()), TypeError,
        NO_OBJECT.format("window"),
    ),
    refuse(
        POLY, "unknown window", call(ones(3), 2, 1, window="best"), ValueError,
        "SciPy does not make window 'best'",
    ),
    refuse(
        POLY, "window without a name", call(ones(3), 2, 1, window=()), ValueError,
        r"window must be the name of a window and its parameters, got \(\)",
    ),
    refuse(
        POLY, "text for a rate", call(ones(3), "2", 1), ValueError,
        "up must be a whole number, got '2'",
    ),
    refuse(
        POLY, "unknown padding", call(ones(3), 2, 1, padtype="best"), ValueError,
        r"padtype must be one of 'constant', .*'minimum'; got 'best'",
    ),
    refuse(
        POLY, "constant without use", call(ones(3), 2, 1, padtype="mean", cval=1.0), ValueError,
        r'cval is the constant of padtype="constant"; leave it out with padtype=\'mean\'',
    ),
    refuse(
        POLY, "order of complex numbers", call(ones(3) * 1j, 2, 1, padtype="maximum"), TypeError,
        "x must be real, got",
    ),
    # -- decimate
    refuse(LOWER, RANK, call(ones(), 2), ValueError, NUMBER),
    refuse(LOWER, DTYPE, call(TRUTH, 2), TypeError, r"x must be numeric, got .*bool"),
    refuse(LOWER, STRIDE, call(ones(3), -2), ValueError, "q must be at least 1, got -2"),
    gives(LOWER, LARGER, call(np.zeros(2), 2), [0.0]),
    gives(LOWER, EMPTY, call(ones(3, 0), 2), ones(3, 0)),
    gives(LOWER, NAN, call(np.full(4, nan), 2, 2), [nan, nan]),
    refuse(LOWER, OBJECT, call(object(), 2), TypeError, NO_OBJECT.format("x")),
    refuse(LOWER, "broken factor", call(ones(9), 0.5), TypeError, "q must be an int, got float"),
    refuse(LOWER, "broken order", call(ones(9), 2, 0.5), TypeError, "n must be an int"),
    refuse(
        LOWER, "feedback", call(ones(9), 2, ftype="iir"), NotImplementedError,
        r'ftype="iir" filters with feedback, which is not done here: use ftype="fir"',
    ),
    refuse(
        LOWER, "system with feedback", call(ones(9), 2, ftype=dlti([1.0], [1.0, 0.5])),
        NotImplementedError,
        r"ftype is a system with feedback \(it has poles\), which is not done here: pass one",
    ),
    refuse(
        LOWER, "unknown filter", call(ones(9), 2, ftype="x"), ValueError,
        "ftype must be 'fir' or a dlti system, got 'x'",
    ),
    refuse(
        LOWER, "filter of an object", call(ones(9), 2, ftype=object()), TypeError,
        "ftype must be 'fir' or a dlti system, got object",
    ),
    refuse(
        LOWER, "phase", call(ones(9), 2, zero_phase=2), TypeError,
        "zero_phase must be True or False, got int 2",
    ),
    # -- filtfilt
    refuse(
        BOTH, RANK, call(ones(2, 2), 1.0, ones(9)), ValueError,
        r"b must be one row of coefficients, got shape \(2, 2\)",
    ),
    refuse(BOTH, "number", call(ones(2), 1.0, ones()), ValueError, NUMBER),
    refuse(BOTH, DTYPE, call(TRUTH, 1.0, ones(9)), TypeError, r"b must be numeric, got .*bool"),
    refuse(
        BOTH, MIXED, call(ones(2), 1.0, elsewhere(ones(9))), TypeError, FOREIGN.format("x"),
    ),
    refuse(
        BOTH, LARGER, call(ones(4), 1.0, ones(3)), ValueError,
        r"x must have more samples along axis 0 than padlen = 12, got 3; pass a smaller padlen",
    ),
    gives(BOTH, EMPTY, call(ones(2), 1.0, ones(0, 9)), ones(0, 9)),
    gives(BOTH, NAN, call(ONE, 1.0, np.full(5, nan)), np.full(5, nan)),
    refuse(BOTH, OBJECT, call(object(), 1.0, ones(9)), TypeError, NO_OBJECT.format("b")),
    refuse(
        BOTH, "no samples", call(ones(2), 1.0, ones(0), padlen=0), ValueError,
        "x must have more samples along axis 0 than padlen = 0, got 0",
    ),
    refuse(
        BOTH, "feedback", call(ones(2), ones(2), ones(9)), NotImplementedError,
        r"a has 2 coefficients; filters with feedback \(IIR\) are not done here",
    ),
    refuse(
        BOTH, "Gustafsson", call(ones(2), 1.0, ones(9), method="gust"), NotImplementedError,
        r'method="gust" \(Gustafsson\) is not done here: use method="pad"',
    ),
    refuse(
        BOTH, "unknown padding", call(ones(2), 1.0, ones(9), padtype="mean"), ValueError,
        "padtype must be one of 'odd', 'even', 'constant'; got 'mean'",
    ),
    refuse(
        BOTH, "gain 0", call(ones(2), 0.0, ones(9)), ValueError,
        r"a\[0\] must not be 0: it is what all coefficients are divided by",
    ),
]  # fmt: skip

NEVER = [
    (MIXED, "there is one array", (LOWER,)),
    (STRIDE, "every sample counts: there is no stride", (BOTH,)),
]
