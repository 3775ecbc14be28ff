"""Small pieces that the least-squares modules share."""

from __future__ import annotations

from collections.abc import Sequence
from math import log2
from typing import Any

import numpy as np

from .. import _ops, arguments
from .._backends import Backend
from ..autodiff import primal
from ..errors import ArgumentError, ArgumentTypeError, describe

__all__ = [
    "adjoint",
    "adjoint_times",
    "all_finite",
    "column_scales",
    "condition_of",
    "conj",
    "default_rcond",
    "diagonal",
    "diagonal_matrix",
    "either",
    "every",
    "identity",
    "largest",
    "lengths",
    "matrices",
    "not_below_zero",
    "power",
    "power_of_two",
    "quiet",
    "real_product",
    "ridge_number",
    "ridge_values",
    "scaled_root",
    "sound_columns",
    "squared_lengths",
    "squares",
    "weights_of",
]

Array = Any
# Entries of rows side by side, in which columns are searched.
_ABREAST = 512


def conj(be: Backend, a: Array) -> Array:
    """Conjugate; a real array itself."""
    return be.xp.conj(a) if be.is_complex(a) else a


def adjoint(be: Backend, a: Array) -> Array:
    """Conjugate transpose."""
    return conj(be, be.turned(a))


def adjoint_times(be: Backend, a: Array, v: Array) -> Array:
    """aᴴ v as (vᴴ a)ᴴ: the tall matrix is neither conjugated nor walked across its rows."""
    return adjoint(be, be.matmul(adjoint(be, v), a))


def real_product(be: Backend, u: Array, v: Array) -> Array:
    """Re(u·conj(v)), element by element: the terms of a real inner product, |u|² of u and u."""
    return be.xp.real(u * be.xp.conj(v)) if be.is_complex(u) else u * v


def squared_lengths(be: Backend, v: Array, axis: int) -> Array:
    """Σ|v|² along an axis."""
    found = be.vecdot(v, v, axis)
    return be.xp.real(found) if be.is_complex(found) else found


def squares(be: Backend, v: Array) -> Array:
    """Σ|v|² over rows, (..., k) with the axis kept."""
    return squared_lengths(be, v, -2)[..., None, :]


def not_below_zero(be: Backend, v: Array) -> Array:
    """v, or 0 where rounding made a sum of squares negative."""
    return be.xp.maximum(v, be.xp.zeros_like(v))


def lengths(be: Backend, v: Array, axis: int) -> Array:
    """Euclidean lengths along an axis, for numbers whose squares neither over- nor underflow."""
    return be.xp.sqrt(squared_lengths(be, v, axis))


def every(be: Backend, flags: Array) -> Array:
    """Whether all flags hold, without axes."""
    return be.xp.all(flags) if flags.ndim else flags


def either(
    be: Backend, mask: Array, old: Sequence[Array], new: Sequence[Array]
) -> tuple[Array, ...]:
    """The old arrays where the mask of problems holds, the new ones elsewhere."""

    def along(axes: int) -> Array:
        return be.xp.reshape(mask, (*mask.shape, *[1] * (axes - mask.ndim)))

    pairs = zip(old, new, strict=True)
    return tuple(be.xp.where(along(u.ndim), u, v) for u, v in pairs)


def condition_of(be: Backend, greatest: Array, least: Array) -> Array:
    """The ratio of singular values, infinite where the least is 0."""
    xp = be.xp
    positive = least > 0
    found = greatest / xp.where(positive, least, xp.ones_like(least))
    return xp.where(positive, found, xp.full_like(found, float("inf")))


def identity(be: Backend, n: int, like: Array) -> Array:
    """The identity as booleans beside `like`."""
    i = be.arange(n, like, be.default_int(like))
    return i[:, None] == i[None, :]


def diagonal(be: Backend, g: Array) -> Array:
    """The real diagonal of Hermitian matrices."""
    n = int(g.shape[-1])
    flat = be.xp.reshape(g, (*g.shape[:-2], n * n))[..., 0 : n * n : n + 1]
    return be.xp.real(flat) if be.is_complex(g) else flat


def diagonal_matrix(be: Backend, diag: Array, like: Array) -> Array:
    """diag (..., n) as matrices of the dtype of `like`."""
    one = identity(be, diag.shape[-1], like)
    diag = diag[..., None]
    return be.xp.astype(be.xp.where(one, diag, be.xp.zeros_like(diag)), like.dtype)


def scaled_root(be: Backend, scale: Array, root: Array) -> Array:
    """D Z."""
    return scale[..., :, None] * root


def all_finite(be: Backend, a: Array) -> Array:
    """Whether matrices are finite, one answer for each."""
    xp = be.xp
    if be.is_complex(a) or 0 in a.shape:
        return xp.all(xp.isfinite(a), axis=(-2, -1))
    # NaN is no number's equal or less.
    return xp.max(xp.abs(a), axis=(-2, -1)) <= float(xp.finfo(a.dtype).max)


def power(be: Backend, two: Array, exponent: Array) -> Array:
    """two ** exponent, of a 2 and whole numbers, exactly: a GPU's power is off by some rounding.

    Adding far more rounds it to one bit. Where that overflows it stays as it is.
    """
    found = two**exponent
    if be.place(found)[1] == "cpu":
        return found
    far = found * (1.5 / float(be.xp.finfo(found.dtype).eps))
    far = be.xp.where(be.xp.isfinite(far), far, be.xp.zeros_like(far))
    return (found + far) - far


def power_of_two(be: Backend, size: Array, share: float, good: Array | None = None) -> Array:
    """2 to the −⌊share·log2(size)⌋: scaling by it rounds nothing; 1 where size is not good.

    By default numbers above 0 are, not infinities. Subnormal ones are brought as near 1 as a power
    goes whose reciprocal is one too.
    """
    xp = be.xp
    info = xp.finfo(size.dtype)
    if good is None:
        good = (size > 0) & (size <= float(info.max))
    safe = xp.where(good, size, xp.ones_like(size))
    two = be.new_like(safe, (), fill=2.0)
    exponent = xp.ceil(-share * xp.log2(safe))
    most = xp.full_like(exponent, -log2(float(info.smallest_normal)))
    return power(be, two, xp.minimum(exponent, most))


def largest(be: Backend, a: Array) -> Array:
    """The largest absolute value of every column (..., n)."""
    xp, size = be.xp, be.xp.abs(a)
    *lead, m, n = (int(v) for v in a.shape)
    beside = _ABREAST // max(1, n)
    if n == 1 or m < 4 * beside or beside < 2 or be.traces or be.wide(a) > 1:
        return xp.max(size, axis=-2)
    # Short rows are compared one by one: those of many rows side by side are one.
    cut = m - m % beside
    folded = be.reshape(size[..., :cut, :], (*lead, cut // beside, beside * n))
    folded = be.reshape(xp.max(folded, axis=-2), (*lead, beside, n))
    return xp.max(xp.concat([folded, size[..., cut:, :]], axis=-2), axis=-2)


def column_scales(be: Backend, a: Array) -> Array:
    """Powers of two (..., n) that bring every column's largest entry to between 1 and 2."""
    return power_of_two(be, largest(be, a), 1.0)


def sound_columns(be: Backend, a: Array) -> tuple[Array, Array, Array]:
    """Matrices, those that are not finite as ones; which are (...); their `column_scales`."""
    xp = be.xp
    top = largest(be, a)
    # Of finite complex numbers the absolute value may be infinite.
    sound = all_finite(be, a) if be.is_complex(a) else all_finite(be, top[..., None, :])
    if be.concrete(every(be, sound)) is not True:
        a = xp.where(sound[..., None, None], a, xp.ones_like(a))
        top = xp.where(sound[..., None], top, xp.ones_like(top))
    return a, sound, power_of_two(be, top, 1.0)


def quiet(be: Backend, b: Array) -> Array:
    """b with all entries of a column NaN where one is infinite: inf − inf warns on NumPy."""
    xp = be.xp
    with be.quiet():
        # One number tells, where it can be read, unless the sum overflows.
        known = be.concrete(xp.isfinite(xp.sum(b)))
    if known is True:
        return b
    fine = xp.all(xp.isfinite(b), axis=-2, keepdims=True)
    return xp.where(fine, b, be.new_like(b, (), fill=float("nan")))


def default_rcond(be: Backend, a: Array) -> float:
    """max(m, n)·eps, NumPy's and LAPACK's usual choice; rows alone ask for no more than √eps.

    A dependence is seen in columns that agree to half of their digits. Unbounded, eight million
    rows of float32 would leave no column.
    """
    m, n = a.shape[-2:]
    eps = float(be.xp.finfo(a.dtype).eps)
    return max(n * eps, min(m * eps, eps**0.5))


def weights_of(a: Any, weights: Any) -> Any:
    """Weights as reals of the precision of a, (..., m) with the leading axes of a or fewer."""
    be, (_, w) = arguments.arrays(A=a, weights=weights)
    arguments.real_only(be, "weights", w)
    m = a.shape[-2]
    if w.ndim < 1 or w.shape[-1] != m:
        raise ArgumentError(
            f"weights must have one entry for each of the {m} rows of A, got {describe(primal(w))}"
        )
    return _ops.cast(w, be.real_dtype(a.dtype))


def ridge_number(ridge: Any, *, finite: bool = False) -> float | None:
    """A ridge that is a number, of NumPy too, checked; None for an array."""
    if isinstance(ridge, np.generic):
        ridge = ridge.item()
    if isinstance(ridge, bool | complex) or ridge is None:
        raise ArgumentTypeError(f"ridge must be a real number or array, got {describe(ridge)}")
    if not isinstance(ridge, int | float):
        return None
    if not ridge >= 0 or (finite and ridge == float("inf")):
        asked = "0 or more, and finite;" if finite else "0 or more,"
        raise ArgumentError(f"ridge must be {asked} got {ridge!r}")
    return float(ridge)


def ridge_values(be: Backend, ridge: Any, dtype: Any, columns: int | None = None) -> Any:
    """A ridge that is an array, checked, in a dtype; (..., columns) or () where these are given."""
    arguments.numeric(be, "ridge", ridge)
    arguments.real_only(be, "ridge", ridge)
    if columns is not None and ridge.ndim and ridge.shape[-1] != columns:
        raise ArgumentError(
            f"ridge must be a number or have one entry for each of the {columns} columns of A, got "
            f"{describe(primal(ridge))}"
        )
    if be.concrete(be.xp.any(primal(ridge) < 0)) is True:
        raise ArgumentError("ridge must be 0 or more")
    return _ops.cast(ridge, dtype)


def matrices(a: Any, name: str = "A") -> tuple[Backend, Any]:
    """A as an array of matrices of numbers."""
    be, a = arguments.one_array(name, a)
    arguments.numeric(be, name, a)
    if a.ndim < 2:
        raise ArgumentError(
            f"{name} must have at least two axes (..., m, n), got {describe(primal(a))}"
        )
    return be, a
