"""Passes over the rows of tall matrices: sums of functions of blocks of rows that fit the cache.

A matrix of a million rows is read from memory once per pass, whatever is computed from a block of
its rows while it is in the cache; matrix products over the whole would each read it again. So it is
with many small matrices, which are solved some at a time (`by_problems`). Blocks of few columns go
to several threads (`Backend.light`).
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from .._backends import Backend, backend_of
from ._scaling import adjoint_times, real_product, squares

__all__ = [
    "beside",
    "block_count",
    "by_problems",
    "by_rows",
    "few",
    "gram_of_rows",
    "nearby",
    "problem_count",
    "residual_sums",
    "through_rows",
    "weigh",
]

Array = Any
# Bytes of the matrices solved at a time: what is made of them stays near.
_BATCH = 8 << 20
# Entries of A up to which calls count for more than what they compute.
_FEW = 2**12
# Columns of a matrix and its right-hand sides up to which the rows are shared among threads.
_COLUMNS = 32
# Rows of a block at least: products of fewer are slow where there are many columns.
_ROWS = 1024


def few(a: Array) -> bool:
    """Whether calls count for more than what they compute of A."""
    return prod(a.shape) <= _FEW


def nearby(be: Backend, *arrays: Array) -> tuple[Any, ...] | None:
    """As `Backend.near`, where nothing notes what is done to the arrays."""
    return None if be.recorded(*arrays) else be.near(*arrays)


def beside(
    be: Backend,
    function: Callable[..., tuple[Array, ...]],
    a: Array,
    *arrays: Array,
    passes: bool = True,
) -> tuple[Array, ...]:
    """function(be, a, *arrays), by NumPy where it shares the memory and calls count for more.

    They do of small matrices, and of tall ones of few columns (`Backend.light`) where nothing but
    passes over the rows is made of these.
    """
    small = a.shape[-2] * a.shape[-1] <= _FEW
    columns = sum(v.shape[-1] for v in (a, *arrays[:1]))
    tall = passes and a.ndim == 2 and columns <= _COLUMNS
    other, given = be, (a, *arrays)
    if small:
        near = nearby(be, *given)
        other, given = (be, given) if near is None else (backend_of(near[0]), near)
    elif tall and not be.recorded(*given):
        other, given = be.light(*given)
    found = function(other, *given)
    return found if other is be else tuple(be.from_host(v, "cpu") for v in found)


def _undivided(be: Backend, a: Array) -> bool:
    """Whether a library does better with the whole than with what fits the cache."""
    return be.traces or be.wide(a) > 1 or not be.mutable


def block_count(be: Backend, a: Array) -> int:
    """Blocks of rows of a (..., m, n) for a pass; 1 where a library does better with the whole."""
    if _undivided(be, a) or a.ndim > 2 or 0 in a.shape:
        return 1
    m, n = a.shape
    return -(-m // max(_ROWS, be.block_bytes // (n * be.itemsize(a.dtype))))


def problem_count(be: Backend, a: Array) -> int:
    """Parts of a batch of matrices a (..., m, n) that are solved at a time; 1 where all are."""
    if _undivided(be, a) or a.ndim == 2:
        return 1
    return max(1, min(a.shape[0], prod(a.shape) * be.itemsize(a.dtype) // _BATCH))


def by_problems(
    be: Backend, count: int, function: Callable[..., tuple[Array, ...]], *arrays: Array
) -> tuple[Array, ...]:
    """function(*arrays), for `count` parts of a batch.

    Arrays without axes are the same for all; results without axes are flags, true where one is.
    """
    if count == 1:
        return function(*arrays)
    xp, total = be.xp, next(v.shape[0] for v in arrays if v.ndim)
    step = -(-total // count)

    def some(i: int) -> tuple[Array, ...]:
        return function(*(v[i : i + step, ...] if v.ndim else v for v in arrays))

    found = be.results(some, range(0, total, step))
    return tuple(
        xp.concat(list(v), axis=0) if v[0].ndim else xp.any(xp.stack(list(v)))
        for v in zip(*found, strict=True)
    )


def by_rows(
    be: Backend,
    count: int,
    function: Callable[..., tuple[Array, ...]],
    *arrays: Array | None,
) -> tuple[Array, ...]:
    """The sum of function(*blocks) over `count` blocks of rows (the second last axis)."""
    if count == 1:
        return function(*arrays)
    m = next(v for v in arrays if v is not None).shape[-2]
    step = -(-m // count)

    def some(start: int) -> tuple[Array, ...]:
        return function(*(None if v is None else v[..., start : start + step, :] for v in arrays))

    starts = range(0, m, step)
    totals: list[Array] = []
    for found in be.results(some, starts) if be.shares_rows else map(some, starts):
        totals = (
            [be.add_into(t, v) for t, v in zip(totals, found, strict=True)]
            if totals
            else list(found)
        )
    return tuple(totals)


def weigh(be: Backend, w: Array | None, v: Array) -> Array:
    """√W v with w a column, or v."""
    return v if w is None else be.times_rows(be.xp.astype(be.xp.sqrt(w), v.dtype), v)


def gram_of_rows(be: Backend, a: Array, w: Array | None) -> Array:
    """The Gram matrix of √W A; weights a column."""
    return be.gram(weigh(be, w, a))


def through_rows(be: Backend, a: Array, b: Array, w: Array | None, z: Array) -> tuple[Array, Array]:
    """The Gram matrix of B Z, B = √W A, with upper triangular Z, and (B Z)ᴴ √W b."""
    q = be.times_upper(weigh(be, w, a), z)
    return be.gram(q), adjoint_times(be, q, weigh(be, w, b))


def residual_sums(
    be: Backend, a: Array, b: Array, w: Array | None, x: Array | None
) -> tuple[Array, Array]:
    """AᴴW r and Σ w|r|² with r = b − A x, or b; weights a column."""
    xp = be.xp
    r = b if x is None else b - be.matmul(a, x)
    if w is None:
        return adjoint_times(be, a, r), squares(be, r)
    wr = xp.astype(w, r.dtype) * r
    part = real_product(be, r, wr)
    return adjoint_times(be, a, wr), xp.sum(part, axis=-2, keepdims=True, dtype=part.dtype)
