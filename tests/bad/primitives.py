"""Bad input of sliding_windows and overlap_add."""

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
    gives,
    ones,
    refuse,
)

W, A = "sliding_windows", "overlap_add"
nan = np.nan

BAD: list[Bad] = [
    refuse(
        W, RANK, call(ones(3), (2, 2)), ValueError,
        r"size has 2 entries, but the array has 1 axes \[x: \(3,\) float",
    ),
    refuse(W, DTYPE, call(["a", "b"], 1), TypeError, r"x must hold numbers, got list"),
    refuse(W, STRIDE, call(ones(5), 2, stride=-1), ValueError, "stride must be at least 1, got -1"),
    refuse(
        W, "stride of text", call(ones(5), 2, stride="2"), TypeError,
        r"stride must be an int or a tuple of ints, got str '2'",
    ),
    refuse(
        W, "stride of floats", call(ones(5), 2, stride=1.5), TypeError,
        r"stride must be an int or a tuple of ints, got float 1.5",
    ),
    refuse(W, "size of 0", call(ones(5), 0), ValueError, "size must be at least 1, got 0"),
    refuse(
        W, "array as size", call(ones(5), ones(1)), TypeError,
        r"size must be an int or a tuple of ints, got \w+ of shape \(1,\)",
    ),
    gives(W, "size of NumPy's int", call(ones(2), np.int64(2)), ones(1, 2)),
    refuse(
        W, "axes for one of two sizes", call(ones(3, 4), (2, 2), axes=(0,)), ValueError,
        r"axes must name 2 axes, got \(0,\)",
    ),
    refuse(
        W, "axes twice", call(ones(3, 4), (2, 2), axes=(1, -1)), ValueError,
        r"axes must be distinct, got \(1, -1\)",
    ),
    refuse(
        W, "axes as text", call(ones(3, 4), 2, axes="0"), TypeError,
        r"axes must be an int or a tuple of ints, got str '0'",
    ),
    refuse(
        W, "axes of floats", call(ones(3, 4), 2, axes=0.0), TypeError,
        r"axes must be an int or a tuple of ints, got float 0.0",
    ),
    refuse(
        W, "an axis beyond", call(ones(3, 4), 2, axes=-3), ValueError,
        r"axes -3 is out of range for an array of 2 axes",
    ),
    refuse(
        W, LARGER, call(ones(5), 3, dilation=3), ValueError,
        r"a window of size 3 with dilation 3 spans 7 points, but axis 0 has 5; "
        r"pad the array or use a smaller window",
    ),
    gives(W, EMPTY, call(ones(0, 4), 2), ones(0, 3, 2)),
    gives(W, NAN, call(np.array([1.0, nan, 2.0]), 2), [[1.0, nan], [nan, 2.0]]),
    refuse(
        W, OBJECT, call(object(), 2), TypeError,
        r"x must be an array, a number or a nested list, got object",
    ),
    refuse(
        A, RANK, call(ones(3), (4,)), ValueError,
        r"blocks must have one trailing axis of taps per sliding axis",
    ),
    refuse(
        A, "wrong shape", call(ones(3, 2), (9,)), ValueError,
        r"blocks has shape \(3, 2\), but windows of an array of shape \(9,\) have shape \(8, 2\)",
    ),
    refuse(
        A, "shape of an array", call(ones(1, 1), ones(1)), TypeError,
        r"shape must be an int or a tuple of ints, got \w+ of shape \(1,\)",
    ),
    refuse(
        A, DTYPE, call(np.array([[True]]), (1,)), TypeError, r"blocks must be numeric, got .*bool"
    ),
    refuse(
        A, STRIDE, call(ones(3, 2), (4,), stride=-1), ValueError,
        r"stride must be at least 1, got -1",
    ),
    refuse(
        A, LARGER, call(ones(1, 5), (3,)), ValueError,
        r"a window of size 5 with dilation 1 spans 5 points, but axis 0 has 3",
    ),
    gives(A, EMPTY, call(ones(0, 3, 2), (0, 4)), ones(0, 4)),
    gives(A, NAN, call(np.array([[1.0, nan], [1.0, 1.0]]), (3,)), [1.0, nan, 1.0]),
    refuse(A, OBJECT, call(None, (3,)), TypeError, r"blocks must be an array.*got None"),
]  # fmt: skip

NEVER = [(MIXED, "takes one array", (W, A))]
