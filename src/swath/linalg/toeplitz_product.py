"""Products with Toeplitz matrices that are never formed.

The matrix of first column c (M) and first row r (N) is made of windows of one vector
t = (r[N−1], …, r[1], c[0], …, c[M−1]): T x is the part of the convolution of t and x that uses no
padding. Public function -> one sliding product (`swath.sliding`), whose planner chooses.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from .. import _ops, arguments
from .._backends import Backend, backend_of
from ..autodiff import primal
from ..errors import ArgumentError, describe
from ..geometry import Sliding, Span
from ..registry import operation
from ..sliding import correlate
from ..sliding.plan import capturing
from ._integer_product import valid_products

__all__ = [
    "check_all_finite",
    "diagonals",
    "matmul_toeplitz",
    "multiply",
    "parted",
    "toeplitz_arguments",
]

Array = Any


def parted(c_or_cr: Any) -> tuple[Any, Any]:
    """The first column, and the first row or None."""
    return c_or_cr if isinstance(c_or_cr, tuple) and len(c_or_cr) == 2 else (c_or_cr, None)


def toeplitz_arguments(
    c_or_cr: Any, name: str, x: Any, *, divides: bool = False
) -> tuple[Backend, Any, Any, Any]:
    """First column, first row and a right factor (or side) of one library, not yet of one dtype.

    Parameters
    ----------
    c_or_cr : array or tuple of two arrays
        c of (..., M), or (c, r) with r of (..., N); without r, r = conj(c).
    name : str
        What the caller calls `x`.
    x : array
        At least one axis.
    divides : bool
        Whether integers are to become floats.

    Returns
    -------
    be, c, r, x
        The adapter and the arrays; a matrix without r has conj(c).
    """
    c, r = parted(c_or_cr)
    given = {"c": c, "r": r, name: x}
    be, values = (arguments.dividing if divides else arguments.arrays)("r", **given)
    for key, value in zip(given, values, strict=True):
        if value is None:
            continue
        arguments.numeric(be, key, value)
        if value.ndim < 1:
            raise ArgumentError(f"{key} must have at least one axis, got {describe(primal(value))}")
    c, r, x = values
    return be, c, _ops.conj(c) if r is None else r, x


def check_all_finite(be: Backend, **given: Any) -> None:
    """Refuse NaN and infinities where values can be read."""
    for name, value in given.items():
        plain = primal(value)
        if be.is_floating(plain.dtype) and be.concrete(be.xp.all(be.xp.isfinite(plain))) is False:
            raise ArgumentError(
                f"{name} must be finite, got NaN or infinities; check_finite=False allows them"
            )


def diagonals(c: Any, r: Any) -> Any:
    """All diagonals (..., M + N − 1), from the upper right corner to the lower left one."""
    axis = max(c.ndim, r.ndim) - 1
    if axis:
        lead = np.broadcast_shapes(tuple(c.shape[:-1]), tuple(r.shape[:-1]))
        c = _ops.broadcast_to(c, (*lead, c.shape[-1]))
        r = _ops.broadcast_to(r, (*lead, r.shape[-1]))
    tail = _ops.cut(r, *[slice(None)] * axis, slice(1, None))
    return _ops.concat([_ops.flip(tail, (axis,)), c], axis=axis)


@dataclass(frozen=True)
class _Layout:
    """How diagonals and matrices become operands of one sliding product, and its result theirs.

    Orders are None where nothing moves; `empty` is the shape of a result without points.
    """

    t_split: tuple[int, ...]
    t_order: tuple[int, ...] | None
    t_shape: tuple[int, ...]
    x_split: tuple[int, ...]
    x_order: tuple[int, ...] | None
    x_shape: tuple[int, ...]
    y_split: tuple[int, ...]
    y_order: tuple[int, ...] | None
    y_shape: tuple[int, ...]
    empty: bool
    geometry: Sliding


@lru_cache(maxsize=1024)
def _layout(t: tuple[int, ...], x: tuple[int, ...], method: str) -> _Layout:
    """Axes of t alone are batch, axes of both are groups, axes of x alone are output channels."""
    vector = len(x) == 1
    n, k = (x[0], 1) if vector else x[-2:]
    m = t[-1] - n + 1
    rank = max(len(t) - 1, len(x) - 2)
    t_lead = (1,) * (rank - len(t) + 1) + t[:-1]
    x_lead = (1,) * rank if vector else (1,) * (rank - len(x) + 2) + x[:-2]
    lead = np.broadcast_shapes(t_lead, x_lead)
    shared = [i for i in range(rank) if t_lead[i] != 1 and x_lead[i] != 1]
    batch = [i for i in range(rank) if t_lead[i] != 1 and x_lead[i] == 1]
    rows = [i for i in range(rank) if t_lead[i] == 1]
    order = (*batch, *shared, *rows)
    count = prod(lead[i] for i in shared)
    moves = order != tuple(range(rank))
    columns = moves or k > 1
    return _Layout(
        (*t_lead, m + n - 1),
        (*order, rank) if moves else None,
        (prod(t_lead[i] for i in batch), count, m + n - 1),
        (*x_lead, n, k),
        (*order, rank + 1, rank) if columns else None,
        (count * prod(x_lead[i] for i in rows) * k, 1, n),
        (*(lead[i] for i in order), k, m),
        (*(order.index(i) for i in range(rank)), rank + 1, rank) if columns else None,
        (*lead, m) if vector else (*lead, m, k),
        0 in (m, n, k, *lead),
        Sliding((Span(m + n - 1, n),), count, False, method),
    )


def multiply(t: Any, x: Any, method: str = "auto") -> Any:
    """Products of Toeplitz matrices with matrices.

    Parameters
    ----------
    t : array or node
        Diagonals (..., M + N − 1) as `diagonals` gives them.
    x : array or node
        (N,), or (..., N, k), of the same dtype.
    method : str
        The algorithm of the sliding product.

    Returns
    -------
    array or node
        (..., M) for x of one axis, else (..., M, k), with the leading axes broadcast.
    """
    plan = _layout(tuple(t.shape), tuple(x.shape), method)
    if plan.empty:
        return _ops.vacant(plan.y_shape, t, x)
    if plan.t_order is not None:
        t = _ops.permute(_ops.reshape(t, plan.t_split), plan.t_order)
    t = _ops.reshape(t, plan.t_shape)
    if plan.x_order is not None:
        x = _ops.permute(_ops.reshape(x, plan.x_split), plan.x_order)
    x = _ops.reshape(x, plan.x_shape)
    y = _integers(t, x, plan.geometry.groups)
    if y is None:
        y = correlate(plan.geometry, t, _ops.flip(x, (2,)))
    if plan.y_order is not None:
        y = _ops.permute(_ops.reshape(y, plan.y_split), plan.y_order)
    return _ops.reshape(y, plan.y_shape)


def _integers(t: Any, x: Any, count: int) -> Any:
    """The product of integers too long for sums tap by tap, else None."""
    be = backend_of(primal(t))
    if be.is_floating(t.dtype) or capturing():
        return None
    return valid_products(be, t, be.xp.reshape(x, (count, -1, x.shape[-1])))


# Adapters of products that passed all checks with arrays that need no conversion.
_KNOWN = arguments.Known()


@operation(
    "linalg.matmul_toeplitz",
    differentiable=("c_or_cr", "x"),
    linear=("x",),
    reads_values=True,
)
def matmul_toeplitz(
    c_or_cr: Any, x: Any, check_finite: bool = False, workers: int | None = None
) -> Any:
    """Product of a Toeplitz matrix and vectors or a matrix, without forming the matrix.

    With the matrix of `toeplitz`, T[i, j] = c[i − j] for i >= j and r[j − i] for i < j::

        y[i] = Σ_j T[i, j] x[j]

    Parameters
    ----------
    c_or_cr : array or tuple of two arrays
        First column c, (..., M); or (c, r) with the first row r, (..., N), of which ``r[0]`` is
        ignored. Without r it is conj(c): a Hermitian matrix.
    x : array
        (N,), or (..., N, k): from two axes on the last two are a matrix.
    check_finite : bool, default False
        Whether to refuse NaN and infinities. Of traced arrays (jit, vmap, grad) no values are
        read, and nothing is refused.
    workers : int, optional
        Taken for SciPy's sake and ignored; on NumPy `scipy.fft.set_workers` sets it for all.

    Returns
    -------
    array
        (..., M) for x of one axis, else (..., M, k), the leading axes of c, r and x broadcast, in
        their common dtype.

    Raises
    ------
    ValueError
        If x has not as many rows as r has entries, leading axes do not broadcast, or a value is
        not finite where `check_finite` asks.
    TypeError
        If the arrays live in different libraries or on different devices, or hold booleans.

    See Also
    --------
    toeplitz, ToeplitzOperator

    Notes
    -----
    Cost: O((M + N) log(M + N)) for every column of x by FFT; where sums of each row by itself cost
    less than four times as much, they are taken, with their smaller error (see `swath.plan`).
    Integers are exact modulo 2^bits in their own dtype, long ones by transforms of their digits
    in float64, at 3 to 6 times the cost; SciPy returns floats.

    References
    ----------
    .. [1] G. H. Golub and C. F. Van Loan, *Matrix Computations*, 4th ed., section 4.7.7.

    Examples
    --------
    >>> import numpy as np, swath
    >>> c, r = np.array([1, 3, 6, 10]), np.array([1, -1, -2, -3])
    >>> swath.linalg.matmul_toeplitz((c, r), np.array([[1, 10], [2, 11], [2, 11], [5, 19]]))
    array([[-20, -80],
           [ -7,  -8],
           [  9,  85],
           [ 33, 218]])
    """
    del workers
    check_finite = arguments.flag("check_finite", check_finite)
    c, r = parted(c_or_cr)
    try:
        key = (
            c.__class__, c.shape, c.dtype, r.__class__, r.shape, r.dtype,
            x.__class__, x.shape, x.dtype,
        )  # fmt: skip
        known = None if check_finite else _KNOWN.get(key)
    except (AttributeError, TypeError):
        # A list, or no row.
        key = known = None
    if known is not None and known.same_device(c, r) and known.same_device(c, x):
        return multiply(diagonals(c, r), x)
    given = c, r, x
    be, c, r, x = toeplitz_arguments(c_or_cr, "x", x)
    vector = x.ndim == 1
    if x.shape[0 if vector else -2] != r.shape[-1]:
        raise ArgumentError(
            f"x must have one row for each of the matrix's {r.shape[-1]} columns, (N,) or "
            f"(..., N, k); got {describe(primal(x))}"
        )
    lead = arguments.leading(
        c=c.shape[:-1], r=r.shape[:-1], x=x.shape[:-1] if vector else x.shape[:-2]
    )
    if check_finite:
        check_all_finite(be, c=c, r=r, x=x)
    c, r, x = arguments.promote(be, c, r, x)
    if 0 in (c.shape[-1], r.shape[-1]):
        columns = () if vector else x.shape[-1:]
        return _ops.vacant((*lead, c.shape[-1], *columns), c, r, x)
    if key is not None and arguments.unchanged(given, (c, r, x)):
        _KNOWN.keep(key, be)
    return multiply(diagonals(c, r), x)
