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
T, C, L = "linalg.ToeplitzOperator", "linalg.ConvolutionOperator", "linalg.ConvOperator"


def dense(op):
    return op.to_dense()


def products(op):
    return op @ ([1.0] * op.shape[1])


def constructor(name: str, argument: str, *rest: object) -> list[Bad]:
    """What the constructors of operators have in common; the class is named in the text."""
    said = name.rpartition(".")[2]
    return [
        refuse(
            name, DTYPE, call(["a"], *rest), TypeError,
            rf"{said}: {argument} must hold numbers, got list \['a'\] of dtype <U1",
        ),
        refuse(
            name, "booleans", call(np.array([True]), *rest), TypeError,
            rf"{said}: {argument} must be numeric, got .*bool; convert it",
        ),
        refuse(
            name, OBJECT, call(object(), *rest), TypeError,
            f"{said}: {NO_OBJECT.format(argument)}",
        ),
        refuse(
            name, "None", call(None, *rest), TypeError, f"{said}: {NONE.format(argument)}"
        ),
    ]  # fmt: skip


def vector(name: str, argument: str, *rest: object) -> list[Bad]:
    said = name.rpartition(".")[2]
    return [
        *constructor(name, argument, *rest),
        *(
            refuse(
                name, kind, call(ones(*shape), *rest), ValueError,
                rf"{said}: {argument} must be one vector of at least one entry, got \w+ of shape",
            )
            for kind, shape in ((RANK, (2, 2)), (EMPTY, (0,)))
        ),
    ]  # fmt: skip


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
        r"the leading axes must broadcast, got \(2,\) of c, \(2,\) of r, \(4,\) of x",
    ),
    *vector(T, "c"),
    refuse(
        T, MIXED, call(ones(2), elsewhere([1.0])), TypeError,
        f"ToeplitzOperator: {FOREIGN.format('r')}",
    ),
    gives(T, NAN, call(np.array([1.0, nan]), ones(2)), [[1.0, 1.0], [nan, 1.0]], dense),
    *vector(C, "a", 2),
    gives(C, LARGER, call(ones(4), 2, "valid"), 2 * ones(3), products),
    gives(C, NAN, call(np.array([1.0, nan]), 2), [[1.0, 0.0], [nan, 1.0], [0.0, nan]], dense),
    refuse(
        C, "negative length", call(ones(2), -1), ValueError,
        "ConvolutionOperator: n must be at least 1, got -1",
    ),
    refuse(
        C, "unknown mode", call(ones(2), 3, "x"), ValueError,
        "ConvolutionOperator: mode must be one of 'full', 'same', 'valid'; got 'x'",
    ),
    *constructor(L, "weight", 4),
    refuse(
        L, RANK, call(ones(2, 2), 4), ValueError,
        r"ConvOperator: weight must be \(O, C/groups, \*K\) with 1 to 4 sliding axes, got \w+ of",
    ),
    refuse(
        L, STRIDE, call(ones(2, 1, 3), 4, stride=-1), ValueError,
        "ConvOperator: stride must be at least 1, got -1",
    ),
    refuse(
        L, LARGER, call(ones(2, 1, 3), 2), ValueError,
        "ConvOperator: the kernel spans 3 points on sliding axis 0, but the padded axis has 2",
    ),
    refuse(
        L, EMPTY, call(ones(0, 1, 3), 4), ValueError,
        r"ConvOperator: weight must not be empty, got \w+ of shape \(0, 1, 3\)",
    ),
    gives(L, NAN, call(np.array([[[1.0, nan]]]), 3), [[1.0, nan, 0.0], [0.0, 1.0, nan]], dense),
]  # fmt: skip

NEVER = [
    (STRIDE, "has no stride", (M, T, C)),
    (LARGER, "has no kernel", (M, T)),
    (MIXED, "takes one array", (C, L)),
]
