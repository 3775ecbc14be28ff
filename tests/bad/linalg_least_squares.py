"""Bad input of least squares and of arithmetic beyond the working precision."""

from __future__ import annotations

from typing import Any

import numpy as np

import swath

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
EXTENDED, QR, LSTSQ = "linalg.gram_extended", "linalg.cholesky_qr", "linalg.lstsq"
A = np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]])
SUMS = "linalg.GramAccumulator"
UPDATE, SOLVE = r"GramAccumulator\.update: ", r"GramAccumulator\.solve: "


def accumulated(
    a: Any, b: Any, weights: Any = None, *, n: int = 2, nrhs: int = 1, dtype: Any = None, **way: Any
) -> Any:
    """The solution of some rows."""
    sums = swath.linalg.GramAccumulator(n, nrhs, dtype=dtype)
    sums.update(a, b, weights)
    return sums.solve(**way)


BAD: list[Bad] = [
    refuse(
        EXTENDED, RANK, call(ones(3)), ValueError,
        r"A must have at least two axes \(\.\.\., m, n\), got \w+ of shape \(3,\)",
    ),
    refuse(EXTENDED, DTYPE, call(A > 0), TypeError, "A must be numeric, got .*bool; convert it"),
    gives(EXTENDED, EMPTY, call(ones(0, 2)), np.zeros((2, 2)), lambda pair: pair[1]),
    gives(
        EXTENDED, NAN, call(np.array([[1.0, nan], [2.0, 1.0]])), [[5.0, nan], [nan, nan]],
        lambda pair: pair[0],
    ),
    refuse(EXTENDED, OBJECT, call(object()), TypeError, NO_OBJECT.format("A")),
    refuse(
        QR, RANK, call(ones(3)), ValueError,
        r"A must have at least two axes \(\.\.\., m, n\), got \w+ of shape \(3,\)",
    ),
    refuse(QR, DTYPE, call(A > 0), TypeError, "A must be numeric, got .*bool; convert it"),
    gives(QR, EMPTY, call(ones(3, 0)), ones(3, 0), lambda pair: pair[0]),
    gives(
        QR, NAN, call(np.array([[1.0, nan], [2.0, 1.0]])), [[nan, nan], [nan, nan]],
        lambda pair: pair[0],
    ),
    refuse(QR, OBJECT, call(object()), TypeError, NO_OBJECT.format("A")),
    refuse(
        QR, "wide", call(ones(2, 3)), ValueError,
        r"A must have at least as many rows as columns, got \w+ of shape \(2, 3\).* factor its tr",
    ),
    refuse(
        LSTSQ, "unknown accuracy", call(A, A[:, 1], accuracy="high"), ValueError,
        "accuracy must be one of 'standard', 'full'; got 'high'",
    ),
    gives(
        LSTSQ, "dependent columns in full", call(ones(3, 2), ones(3), accuracy="full"), False,
        lambda r: r.success,
    ),
    refuse(
        SUMS, RANK, call(ones(3), ones(3)), ValueError,
        UPDATE + r"A must have rows of 2 columns \(m, 2\), got \w+ of shape \(3,\)",
    ),
    refuse(
        SUMS, DTYPE, call(A > 0, ones(3)), TypeError, UPDATE + "A must be numeric, got .*bool",
    ),
    refuse(
        SUMS, MIXED, call(A, elsewhere([1.0, 1.0, 1.0])), TypeError, UPDATE + FOREIGN.format("b"),
    ),
    refuse(SUMS, OBJECT, call(A, object()), TypeError, UPDATE + NO_OBJECT.format("b")),
    refuse(SUMS, "None", call(A, None), TypeError, UPDATE + NONE.format("b")),
    gives(SUMS, EMPTY, call(ones(0, 2), ones(0)), np.zeros(2), lambda r: r.x),
    gives(SUMS, NAN, call(A, np.array([1.0, nan, 1.0])), [nan, nan], lambda r: r.x),
    refuse(
        SUMS, "other columns", call(ones(3, 3), ones(3)), ValueError,
        UPDATE + r"A must have rows of 2 columns \(m, 2\), got \w+ of shape \(3, 3\)",
    ),
    refuse(
        SUMS, "other right-hand sides", call(A, ones(3, 2)), ValueError,
        UPDATE + r"b must have the 3 rows of A and 1 columns, \(3,\) or \(3, 1\); got",
    ),
    refuse(
        SUMS, "weights of other rows", call(A, ones(3), ones(2)), ValueError,
        UPDATE + "weights must have one entry for each of the 3 rows of A, got",
    ),
    refuse(
        SUMS, "weights of two axes", call(A, ones(3), ones(3, 1)), ValueError,
        UPDATE + r"weights must be one row of numbers \(3,\), got",
    ),
    refuse(
        SUMS, "negative weights", call(A, ones(3), -ones(3)), ValueError,
        UPDATE + "weights must be 0 or more",
    ),
    refuse(
        SUMS, "complex weights", call(A, ones(3), 1j * ones(3)), TypeError,
        UPDATE + "weights must be real, got",
    ),
    refuse(
        SUMS, "complex rows in real sums", call(A, 1j * ones(3), dtype="float64"), TypeError,
        UPDATE + "b is complex128 and the sums so far are float64: give dtype='complex128' from",
    ),
    refuse(
        SUMS, "sums of integers", call(A, ones(3), dtype="int64"), TypeError,
        UPDATE + "dtype must be float32, float64, complex64 or complex128, got 'int64'",
    ),
    refuse(
        SUMS, "no columns", call(A, ones(3), n=0), ValueError,
        "GramAccumulator: n must be at least 1, got 0",
    ),
    refuse(
        SUMS, "ridge of other columns", call(A, ones(3), ridge=ones(3)), ValueError,
        SOLVE + "ridge must be a number or have one entry for each of the 2 columns of A, got",
    ),
    refuse(
        SUMS, "ridge of two axes", call(A, ones(3), ridge=ones(1, 2)), ValueError,
        SOLVE + "ridge must be a number or have one entry for each of the 2 columns of A, got",
    ),
    refuse(
        SUMS, "True as ridge", call(A, ones(3), ridge=True), TypeError,
        SOLVE + "ridge must be a real number or array, got bool True",
    ),
    refuse(
        SUMS, "flags as ridge", call(A, ones(3), ridge=np.array([True, False])), TypeError,
        SOLVE + "ridge must be numeric, got .*bool",
    ),
    refuse(
        SUMS, "flags as right-hand side", call(A, ones(3) > 0), TypeError,
        UPDATE + "b must be numeric, got .*bool",
    ),
    refuse(
        SUMS, "a batch of rows", call(ones(2, 3, 2), ones(2)), ValueError,
        UPDATE + r"A must have rows of 2 columns \(m, 2\), got \w+ of shape \(2, 3, 2\)",
    ),
    refuse(
        LSTSQ, "flags as right-hand side", call(A, ones(3) > 0), TypeError,
        "b must be numeric, got .*bool",
    ),
    refuse(
        SUMS, "negative ridge", call(A, ones(3), ridge=-1.0), ValueError,
        SOLVE + "ridge must be 0 or more",
    ),
    refuse(
        SUMS, "ridge of None", call(A, ones(3), ridge=None), TypeError,
        SOLVE + "ridge must be a real number or array, got NoneType None",
    ),
    refuse(
        SUMS, "unknown option", call(A, ones(3), on_deficient="x"), ValueError,
        SOLVE + "on_deficient must be one of 'min_norm', 'drop', 'raise'; got 'x'",
    ),
    refuse(
        SUMS, "rcond of 1", call(A, ones(3), rcond=1.0), ValueError,
        SOLVE + r"rcond must be a number in \[0, 1\) or None",
    ),
    refuse(
        SUMS, "dependent columns", call(ones(3, 2), ones(3), on_deficient="raise"),
        np.linalg.LinAlgError,
        SOLVE + r"the columns of A are dependent \(rank 1 of 2\): column 1 = 1·column 0; on_def",
    ),
]  # fmt: skip

NEVER = [
    (MIXED, "takes one array", (EXTENDED, QR)),
    (STRIDE, "has no stride", (EXTENDED, QR)),
    (LARGER, "has no kernel", (EXTENDED, QR)),
    (STRIDE, "has no stride", (SUMS,)),
    (LARGER, "has no kernel", (SUMS,)),
]
