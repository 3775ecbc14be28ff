"""Toeplitz, Hankel and circulant matrices, and those of convolutions and correlations.

They are made of windows of a padded vector. Entries are placed, never multiplied by 0 or 1: a NaN
in the kernel stays where the kernel is.

Public function -> one padded vector -> its windows (`swath.primitives`) -> adapter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import _ops, arguments
from .._backends import Backend
from ..autodiff import Core, apply, primal
from ..errors import ArgumentError, describe
from ..primitives import sliding_windows
from ..registry import operation

__all__ = [
    "MODES",
    "circulant",
    "convolution_matrix",
    "correlation_matrix",
    "hankel",
    "margins",
    "toeplitz",
]

Array = Any
MODES = ("full", "same", "valid")


class _Own(Core):
    """A copy in memory of its own: windows are read-only views, or views that share elements."""

    name = "own"
    native = True

    def forward(self, be: Backend, geometry: Any, *arrays: Array) -> Array:
        (x,) = arrays
        return be.xp.reshape(x, tuple(x.shape), copy=True)

    def pull(
        self,
        be: Backend,
        geometry: Any,
        arrays: Sequence[Array],
        out: Array,
        cotangent: Array,
        wanted: Sequence[bool],
    ) -> Sequence[Any]:
        return (cotangent,)


_OWN = _Own()


def _rows(v: Any, n: int, *flipped: int) -> Any:
    """Every window of n along the last axis of v as a matrix, reversed along some axes."""
    windows = sliding_windows(v, n, axes=-1)
    if flipped:
        windows = _ops.flip(windows, tuple(a % windows.ndim for a in flipped))
    return apply(_OWN, None, windows)


def _vectors(*, scalars: bool = False, **given: Any) -> list[Any]:
    """The arguments as arrays of one dtype with at least one axis and the same leading axes.

    `scalars`: a number counts as a vector of one entry.
    """
    be, values = arguments.arrays("r", **given)
    if scalars:
        values = [_ops.reshape(v, (1,)) if v is not None and v.ndim == 0 else v for v in values]
    for name, value in zip(given, values, strict=True):
        if value is not None and value.ndim < 1:
            raise ArgumentError(
                f"{name} must have at least one axis (the vector is the last), got "
                f"{describe(primal(value))}"
            )
    values = arguments.promote(be, *values)
    named = zip(given, values, strict=True)
    lead = arguments.leading(**{name: v.shape[:-1] for name, v in named if v is not None})
    return [None if v is None else _ops.broadcast_to(v, (*lead, v.shape[-1])) for v in values]


def _tail(r: Any) -> Any:
    """r without its first entry along the last axis."""
    return _ops.cut(r, *[slice(None)] * (r.ndim - 1), slice(1, None))


@operation("linalg.toeplitz", differentiable=("c", "r"))
def toeplitz(c: Any, r: Any = None) -> Any:
    """Toeplitz matrix: constant along every diagonal.

    With c of M and r of N entries::

        T[i, j] = c[i − j]  for i >= j,      r[j − i]  for i < j

    Parameters
    ----------
    c : array
        First column, (..., M). Leading axes are batch. A number counts as one entry.
    r : array, optional
        First row, (..., N), of which ``r[0]`` is ignored; by default conj(c), a Hermitian matrix.

    Returns
    -------
    array
        (..., M, N) in the common dtype of c and r, in memory of its own.

    Raises
    ------
    ValueError
        If the leading axes of c and r do not broadcast.
    TypeError
        If c and r live in different libraries or on different devices.

    Notes
    -----
    Cost: M·N copies. The matrix-vector product needs no matrix: see `matmul_toeplitz`.

    References
    ----------
    .. [1] G. H. Golub and C. F. Van Loan, *Matrix Computations*, 4th ed., section 4.7.

    Examples
    --------
    >>> import numpy as np, swath
    >>> swath.linalg.toeplitz(np.array([1, 2, 3]), np.array([1, 4]))
    array([[1, 4],
           [2, 1],
           [3, 2]])
    """
    c, r = _vectors(scalars=True, c=c, r=r)
    if r is None:
        r = _ops.conj(c)
    rows, columns = c.shape[-1], r.shape[-1]
    if rows == 0 or columns == 0:
        return _ops.vacant((*c.shape[:-1], rows, columns), c, r)
    # v = c reversed, then r: T[i, j] = v[M − 1 − i + j].
    v = _ops.concat([_ops.flip(c, (c.ndim - 1,)), _tail(r)], axis=-1)
    return _rows(v, columns, -2)


@operation("linalg.hankel", differentiable=("c", "r"))
def hankel(c: Any, r: Any = None) -> Any:
    """Hankel matrix: constant along every ascending diagonal.

    With c of M and r of N entries::

        H[i, j] = c[i + j]  for i + j < M,      r[i + j − M + 1]  otherwise

    Parameters
    ----------
    c : array
        First column, (..., M). Leading axes are batch.
    r : array, optional
        Last row, (..., N), of which ``r[0]`` is ignored; by default N = M zeros.

    Returns
    -------
    array
        (..., M, N) in the common dtype of c and r, in memory of its own.

    Raises
    ------
    ValueError
        If c or r has no axis, or their leading axes do not broadcast.
    TypeError
        If c and r live in different libraries or on different devices.

    Examples
    --------
    >>> import numpy as np, swath
    >>> swath.linalg.hankel(np.array([1, 2, 3]))
    array([[1, 2, 3],
           [2, 3, 0],
           [3, 0, 0]])
    """
    c, r = _vectors(c=c, r=r)
    if r is None:
        r = _ops.fill_like(c, tuple(c.shape))
    rows, columns = c.shape[-1], r.shape[-1]
    if rows == 0 or columns == 0:
        return _ops.vacant((*c.shape[:-1], rows, columns), c, r)
    return _rows(_ops.concat([c, _tail(r)], axis=-1), columns)


@operation("linalg.circulant", differentiable=("c",), linear=("c",))
def circulant(c: Any) -> Any:
    """Circulant matrix: every column is the one before it, moved down by one, around the end.

    ``C[i, j] = c[(i − j) mod N]``: its product with x is the circular convolution of c and x.

    Parameters
    ----------
    c : array
        First column, (..., N). Leading axes are batch.

    Returns
    -------
    array
        (..., N, N) in the dtype of c, in memory of its own.

    Raises
    ------
    ValueError
        If c has no axis.

    Examples
    --------
    >>> import numpy as np, swath
    >>> swath.linalg.circulant(np.array([1, 2, 3]))
    array([[1, 3, 2],
           [2, 1, 3],
           [3, 2, 1]])
    """
    (c,) = _vectors(c=c)
    n = c.shape[-1]
    if n == 0:
        return _ops.vacant((*c.shape[:-1], 0, 0), c)
    # v = c reversed twice over, less its last entry: C[i, j] = v[N − 1 − i + j].
    back = _ops.flip(c, (c.ndim - 1,))
    head = _ops.cut(back, *[slice(None)] * (c.ndim - 1), slice(0, n - 1))
    return _rows(_ops.concat([back, head], axis=-1), n, -2)


def margins(taps: int, n: int, mode: str, *, same_as: str) -> tuple[int, int]:
    """Rows of the full matrix that a mode leaves out before and after."""
    small = min(taps, n) - 1
    if mode == "full":
        return 0, 0
    if mode == "valid":
        return small, small
    # SciPy: `convolution_matrix` keeps max(K, n) rows, `correlate` as many as x has points.
    rest = small if same_as == "longer" else taps - 1
    return rest // 2, rest - rest // 2


def _kernel(a: Any, n: Any, mode: Any) -> tuple[Any, int]:
    (a,) = _vectors(a=a)
    n = arguments.positive("n", n)
    arguments.choice("mode", mode, MODES)
    if a.shape[-1] == 0:
        raise ArgumentError(f"a must have at least one entry, got {describe(primal(a))}")
    return a, n


@operation("linalg.convolution_matrix", differentiable=("a",), linear=("a",))
def convolution_matrix(a: Any, n: int, mode: str = "full") -> Any:
    """The Toeplitz matrix whose product with x is the convolution of a and x.

    With K entries in a and n points in x, ``full[i, j] = a[i − j]``, 0 outside: every row holds
    the kernel reversed. For the kernel in its own order see `correlation_matrix`.

    Parameters
    ----------
    a : array
        Kernel, (..., K). Leading axes are batch.
    n : int
        Number of columns: points of x.
    mode : {"full", "same", "valid"}, default "full"
        As `numpy.convolve`: K + n − 1 rows, the max(K, n) rows in the middle, or the
        max(K, n) − min(K, n) + 1 rows that use no padding.

    Returns
    -------
    array
        (..., rows, n) in the dtype of a, in memory of its own;
        ``convolution_matrix(a, n, mode) @ x == numpy.convolve(a, x, mode)``.

    Raises
    ------
    ValueError
        If a is empty, n < 1 or the mode is unknown.

    Notes
    -----
    `swath.signal.convolve` with ``mode="same"`` keeps as many points as its first input has, so the
    two agree wherever that is the longer one.

    Examples
    --------
    >>> import numpy as np, swath
    >>> swath.linalg.convolution_matrix(np.array([1, 2]), 3)
    array([[1, 0, 0],
           [2, 1, 0],
           [0, 2, 1],
           [0, 0, 2]])
    """
    a, n = _kernel(a, n, mode)
    top, bottom = margins(a.shape[-1], n, mode, same_as="longer")
    widths = [(0, 0)] * (a.ndim - 1) + [(n - 1 - top, n - 1 - bottom)]
    # v = a between n − 1 zeros on both sides: full[i, j] = v[i + n − 1 − j].
    return _rows(_ops.pad(a, widths), n, -1)


@operation("linalg.correlation_matrix", differentiable=("a",))
def correlation_matrix(a: Any, n: int, mode: str = "valid") -> Any:
    """The Toeplitz matrix whose product with x is the correlation of x with a.

    With K entries in a and n points in x, ``full[i, j] = conj(a[j − i + K − 1])``, 0 outside: every
    row holds the kernel in its own order, one step further right in each row.

    Parameters
    ----------
    a : array
        Kernel, (..., K). Leading axes are batch.
    n : int
        Number of columns: points of x.
    mode : {"full", "same", "valid"}, default "valid"
        As `swath.signal.correlate`: n + K − 1 rows, the n rows in the middle, or the
        max(K, n) − min(K, n) + 1 rows that use no padding.

    Returns
    -------
    array
        (..., rows, n) in the dtype of a, in memory of its own;
        ``correlation_matrix(a, n, mode) @ x == swath.signal.correlate(x, a, mode)``.

    Raises
    ------
    ValueError
        If a is empty, n < 1 or the mode is unknown.

    Notes
    -----
    Correlation conjugates the kernel, as SciPy's does, so for complex a the rows hold conj(a). The
    matrix of a layer, which conjugates nothing, is `conv_matrix`, or this one of conj(a). With
    ``mode="full"`` the matrix is the conjugate transpose of
    ``convolution_matrix(a, n + K − 1, "valid")``.

    Examples
    --------
    >>> import numpy as np, swath
    >>> swath.linalg.correlation_matrix(np.array([1, 2, 3]), 5)
    array([[1, 2, 3, 0, 0],
           [0, 1, 2, 3, 0],
           [0, 0, 1, 2, 3]])
    """
    a, n = _kernel(a, n, mode)
    taps = a.shape[-1]
    top, bottom = margins(taps, n, mode, same_as="signal")
    # v = conj(a) between n − 1 zeros on both sides: full[i, j] = v[n + K − 2 − i + j].
    v = _ops.conj(a)
    ends = (n - 1 - bottom, n - 1 - top)
    lead = [(0, 0)] * (a.ndim - 1)
    v = _ops.pad(v, [*lead, (max(ends[0], 0), max(ends[1], 0))])
    # With mode="same" and a kernel longer than x, the outer taps are in no row at all.
    cuts = slice(max(-ends[0], 0), v.shape[-1] - max(-ends[1], 0))
    return _rows(_ops.cut(v, *[slice(None)] * (a.ndim - 1), cuts), n, -2)
