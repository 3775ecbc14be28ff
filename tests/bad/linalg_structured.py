"""Bad input of products with structured matrices."""

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
M = "linalg.matmul_toeplitz"

BAD: list[Bad] = [
    refuse(
        M, RANK, call(np.array(1.0), ones(2)), ValueError,
        r"c must have at least one axis, got \w+ of shape \(\)",
    ),
    refuse(
        M, "number as x", call(ones(2), 1.0), ValueError,
        r"x must have at least one axis, got \w+ of shape \(\)",
    ),
    refuse(
        M, DTYPE, call(["a"], ones(2)), TypeError,
        r"c must hold numbers, got list \['a'\] of dtype <U1",
    ),
    refuse(
        M, "booleans", call(ones(2), np.array([True, False])), TypeError,
        "x must be numeric, got .*bool; convert it",
    ),
    refuse(M, MIXED, call(ones(2), elsewhere([1.0, 2.0])), TypeError, FOREIGN.format("x")),
    gives(M, EMPTY, call(ones(0), ones(0, 2)), ones(0, 2)),
    gives(M, NAN, call(np.array([1.0, nan]), ones(2)), [nan, nan]),
    refuse(
        M, "NaN that is looked for", call(np.array([1.0, nan]), ones(2), True), ValueError,
        "c must be finite, got NaN or infinities; check_finite=False allows them",
        traced=[nan, nan],
    ),
    refuse(M, OBJECT, call(ones(2), object()), TypeError, NO_OBJECT.format("x")),
    refuse(M, "None", call(ones(2), None), TypeError, NONE.format("x")),
    refuse(
        M, "wrong length", call(ones(2), ones(3)), ValueError,
        r"x must have one row for each of the matrix's 2 columns, \(N,\) or \(\.\.\., N, k\); got "
        r"\w+ of shape \(3,\)",
    ),
    refuse(
        M, "batch that does not broadcast", call(ones(2, 3), ones(4, 3, 1)), ValueError,
        r"the leading \(batch\) axes must broadcast against each other, got c: \(2,\), r: \(2,\), "
        r"x: \(4,\)",
    ),
]  # fmt: skip

NEVER = [
    (STRIDE, "has no stride", (M,)),
    (LARGER, "has no kernel", (M,)),
]
