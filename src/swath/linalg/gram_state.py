"""The Gram matrix of [A b 1] over rows that come in chunks, as a state that pure functions step.

initial -> stepped, once for each chunk -> joined, where parts were summed apart -> `gram_solution`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from .. import _ops, arguments
from .._backends import Backend, backend_of, register_result
from ..errors import ArgumentError, ArgumentTypeError, describe
from . import extended
from ._pair_sums import Layout, block_rows, narrow, pair_sums, products, sums
from ._rows import nearby
from ._scaling import power, weights_of

__all__ = [
    "GramState",
    "block_size",
    "filled",
    "fitting",
    "initial",
    "joined",
    "rows_of",
    "same_problem",
    "stepped",
    "stepped_blocks",
    "waiting_rows",
]

Array = Any
# Columns are filled up to a multiple of what kernels of matrix products take at once.
_MULTIPLE = 8
# Blocks whose products are kept until they are added up.
_TOGETHER = 16


@dataclass(frozen=True)
class GramState:
    """What is kept of all rows so far: a container for ``jax.lax.scan``.

    Attributes
    ----------
    high, low : array
        The Gram matrix of [A b 1], (q, q), as a pair of words, its rows and columns divided by
        `top`. Complex A and b stand as [Re A, Im A, Re b, Im b, 1].
    top : array
        (q,) powers of two, of about the largest entries; 0 for columns of zeros.
    rows : array of int
        Rows of weight other than 0.
    columns, rights : int
        Columns of A and of b.
    complex : bool
        Whether A or b may be complex.
    """

    high: Array
    low: Array
    top: Array
    rows: Array
    columns: int
    rights: int
    complex: bool

    @property
    def kind(self) -> Any:
        """The dtype of solutions."""
        be = backend_of(self.high)
        return be.complex_dtype(self.high.dtype) if self.complex else self.high.dtype


register_result(GramState, ("high", "low", "top", "rows"), ("columns", "rights", "complex"))


def initial(like: Array, columns: int, rights: int, kind: Any) -> GramState:
    """The state before the first row, beside `like`."""
    be = backend_of(like)
    real = be.real_dtype(kind)
    q = (2 if kind != real else 1) * (columns + rights) + 1

    def zeros(*shape: int) -> Array:
        return be.new_like(like, shape, dtype=real)

    rows = be.new_like(like, (), dtype=be.default_int(like))
    return GramState(
        zeros(q, q), zeros(q, q), zeros(q), rows, columns, rights, complex=kind != real
    )


def rows_of(columns: int, rights: int, a: Any, b: Any, w: Any) -> tuple[Backend, Any, Any, Any]:
    """The adapter, and checked rows of A (m, n), b (m, k) and weights (m,)."""
    be, (a, b, w) = arguments.dividing("weights", A=a, b=b, weights=w)
    arguments.numeric(be, "A", a)
    arguments.numeric(be, "b", b)
    if a.ndim != 2 or a.shape[-1] != columns:
        raise ArgumentError(
            f"A must have rows of {columns} columns (m, {columns}), got {describe(a)}"
        )
    m = a.shape[0]
    if rights == 1 and b.ndim == 1:
        b = be.xp.reshape(b, (b.shape[0], 1))
    if tuple(b.shape) != (m, rights):
        vector = f"({m},) or " if rights == 1 else ""
        raise ArgumentError(
            f"b must have the {m} rows of A and {rights} columns, {vector}({m}, {rights}); got "
            f"{describe(b)}"
        )
    if w is not None:
        if w.ndim != 1:
            raise ArgumentError(f"weights must be one row of numbers ({m},), got {describe(w)}")
        arguments.real_only(be, "weights", w)
        if w.shape[0] != m:
            weights_of(a, w)
        if m and be.concrete(be.xp.any(w < 0)) is True:
            raise ArgumentError("weights must be 0 or more")
    return be, a, b, w


def fitting(be: Backend, kind: Any, name: str, v: Array, *, weak: bool = False) -> Array:
    """v in the dtype of a state, which must be able to hold it; real lists are weak."""
    if v.dtype == kind or not be.is_floating(v.dtype) or (weak and not be.is_complex(v)):
        return _ops.cast(v, kind)
    if be.xp.result_type(v.dtype, kind) != kind:
        raise ArgumentTypeError(
            f"{name} is {be.name_of(v.dtype)} and the sums so far are {be.name_of(kind)}: give "
            f"dtype={be.name_of(be.xp.result_type(v.dtype, kind))!r} from the start, or convert it"
        )
    return _ops.cast(v, kind)


def stepped(state: GramState, a: Any, b: Any, w: Any) -> GramState:
    """The state after some more rows (checked ones)."""
    be, a, b, w = _fitted(state, a, b, w)
    return state if a.shape[0] == 0 else _near(be, _once, state, a, b, w)


def block_size(state: GramState) -> int:
    """Rows that are best summed at once."""
    be = backend_of(state.high)
    return block_rows(be, state.high.dtype, filled(state.high.shape[0]))


def waiting_rows(state: GramState) -> int:
    """Rows that are worth waiting for: some blocks, where `stepped_blocks` shares them."""
    be, high = backend_of(state.high), state.high
    several = be.mutable and be.wide(high) == 1 and narrow(filled(high.shape[0]))
    return block_size(state) * (4 if several else 1)


def stepped_blocks(
    state: GramState, pieces: Sequence[tuple[Any, Any, Any]], size: int
) -> GramState:
    """As `stepped` with each block of `size` rows of the pieces (A, b, weights), bit for bit.

    On NumPy they go side by side.
    """

    def each(state: GramState, *arrays: Any) -> GramState:
        be, blocks = backend_of(state.high), []
        for a, b, w in zip(*(arrays[i::3] for i in range(3)), strict=True):
            for start in range(0, a.shape[0], size):
                some = slice(start, start + size)
                blocks.append((a[some], b[some], None if w is None else w[some]))
        given = state.high, *(v for v in arrays if v is not None)
        if be.shares and narrow(filled(state.high.shape[0])) and not be.recorded(*given):
            for _, alike in groupby(blocks, lambda rows: rows[2] is None):
                several = list(alike)
                for i in range(0, len(several), _TOGETHER):
                    state = _side_by_side(be, state, several[i : i + _TOGETHER])
            return state
        for rows in blocks:
            state = _once(state, *rows)
        return state

    be, fitted = backend_of(state.high), []
    for piece in pieces:
        if piece[0].shape[0]:
            be, *rows = _fitted(state, *piece)
            fitted += rows
    return _near(be, each, state, *fitted)


def _fitted(state: GramState, a: Any, b: Any, w: Any) -> tuple[Backend, Any, Any, Any]:
    """The adapter, and rows in the dtypes of the state."""
    be = backend_of(state.high)
    arguments.arrays(state=state.high, A=a, b=b)
    a, b = (fitting(be, state.kind, name, v) for name, v in (("A", a), ("b", b)))
    return be, a, b, None if w is None else _ops.cast(w, state.high.dtype)


def _near(be: Backend, step: Callable[..., GramState], state: GramState, *rows: Any) -> GramState:
    """step(state, *rows), of few columns by NumPy where it shares the memory.

    Its small operations cost less, and threads take a block each.
    """
    words = state.high, state.low, state.top, state.rows
    arrays = [*words, *(v for v in rows if v is not None)]
    near = nearby(be, *arrays) if narrow(filled(state.high.shape[0])) else None
    if near is None:
        return step(state, *rows)
    rest = iter(near[len(words) :])
    found = step(_with(state, near[: len(words)]), *(v if v is None else next(rest) for v in rows))
    words = found.high, found.low, found.top, found.rows
    return _with(state, tuple(be.from_host(v, "cpu") for v in words))


def _once(state: GramState, a: Any, b: Any, w: Any) -> GramState:
    """The state after the rows of one block."""
    be = backend_of(state.high)
    stretches = be.stretches(a)
    if len(stretches) > 1:
        fresh = initial(state.high, state.columns, state.rights, state.kind)
        parts = [_once(fresh, a[i], b[i], None if w is None else w[i]) for i in stretches]
        while len(parts) > 1:
            pairs = zip(parts[::2], parts[1::2], strict=False)
            parts = [*(joined(*pair) for pair in pairs), *parts[len(parts) // 2 * 2 :]]
        return joined(state, parts[0])
    geometry = _Chunk(state.columns, state.rights, state.complex)
    rows = (a, b) if w is None else (a, b, w)
    words = state.high, state.low, state.top, state.rows
    return _with(state, be.run(_stepped, geometry, *words, *rows))


@dataclass(frozen=True)
class _Chunk:
    """Geometry of a step."""

    columns: int
    rights: int
    complex: bool


def _with(state: GramState, words: tuple[Array, ...]) -> GramState:
    high, low, top, rows = words
    return replace(state, high=high, low=low, top=top, rows=rows)


def _stepped(be: Backend, g: _Chunk, *arrays: Array) -> tuple[Array, ...]:
    """The arrays of the new state."""
    high, low, old, rows, a, b, *rest = arrays
    q = high.shape[0]
    top, inverse, one, w, count = _scaled(be, q, rows, a, b, rest[0] if rest else None)
    hi, lo = pair_sums(be, a, b, w, inverse, one)
    return _added(be, None, high, low, old, rows, hi[:q, :q], lo[:q, :q], top, count)


def _scaled(
    be: Backend, q: int, rows: Array, a: Array, b: Array, w: Array | None
) -> tuple[Array, Array, Array, Array | None, Array]:
    """What sums of rows need: (top, inverse, one, weights, count).

    Powers of two of at least the q columns of √W Z, those by which Z is divided, inverted, 1 as
    compilers cannot foresee it, weights of at most 1, and how many rows count.
    """
    xp = be.xp
    top = _tops(be, q, be.detach(a), be.detach(b))
    safe = xp.where(top == 0, xp.ones_like(top), top)
    one = xp.max(xp.where(top > 0, xp.ones_like(top), 0.5 * xp.ones_like(top)))
    if w is None:
        count = be.new_like(rows, (), fill=a.shape[0])
        return top[:q], 1.0 / safe, one, None, count
    # Weights to at most 1, by a power of four: its root goes to the columns.
    most = extended.power_above(be, be.detach(w), None)
    two = be.new_like(most, (), fill=2.0)
    root = xp.reshape(power(be, two, xp.ceil(0.5 * xp.log2(most))), ())
    count = xp.sum(xp.astype(w != 0, rows.dtype), dtype=rows.dtype)
    return top[:q] * root, 1.0 / safe, one, (w / root) / root, count


def _side_by_side(
    be: Backend, state: GramState, blocks: Sequence[tuple[Array, Array, Array | None]]
) -> GramState:
    """The state after blocks (A, b, weights), all of one size.

    Their products are made in threads. What is added up is small, and threads would wait for each
    other between any two operations: it is added afterwards, of all blocks at once.
    """
    q, size = state.high.shape[0], blocks[0][0].shape[0]
    layout = Layout(state.complex, blocks[0][2] is not None)
    ones = be.new_like(state.high, (size, 1), fill=1)

    def made(i: int) -> tuple[Any, ...]:
        rows = blocks[i]
        top, inverse, one, weights, count = _scaled(be, q, state.rows, *rows)
        weights = None if weights is None else weights[:, None]
        return top, count, one, products(be, layout, (*rows[:2], ones, weights), inverse, one)

    found = be.results(made, range(len(blocks)))
    tops, counts, (one, *_), parts = zip(*found, strict=True)
    stacked = [be.xp.stack(list(v)) for v in zip(*parts, strict=True)]
    hi, lo = (v[:, :q, :q] for v in sums(be, layout, size, stacked, one))
    for i, (top, count) in enumerate(zip(tops, counts, strict=True)):
        words = state.high, state.low, state.top, state.rows
        state = _with(state, _added(be, None, *words, hi[i, ...], lo[i, ...], top, count))
    return state


def filled(columns: int) -> int:
    """Columns of Z, those of zeros included."""
    return -(-columns // _MULTIPLE) * _MULTIPLE


def _largest(be: Backend, v: Array) -> Array:
    """The largest size of each column of v, of its parts if complex."""
    xp = be.xp
    if be.is_complex(v):
        return xp.maximum(_largest(be, xp.real(v)), _largest(be, xp.imag(v)))
    m, n = v.shape
    # Long rows are compared faster than short ones.
    few = next(f for f in (64, 8, 1) if m % f == 0)
    v = xp.reshape(v, (m // few, few * n))
    v = xp.maximum(xp.max(v, axis=0), -xp.min(v, axis=0))
    return xp.max(xp.reshape(v, (few, n)), axis=0)


def _tops(be: Backend, q: int, a: Array, b: Array) -> Array:
    """Powers of two of at least the entries of each column of Z; 0 where there are none."""
    xp = be.xp
    parts = 2 if be.is_complex(a) else 1
    most = [_largest(be, v) for v in (a, b) for _ in range(parts)]
    most = xp.concat([*most, be.new_like(most[0], (1 + filled(q) - q,), fill=1)])
    power = extended.power_above(be, most[None, :], 0)[0, :]
    return xp.where(most == 0, xp.zeros_like(power), power)


def _added(be: Backend, geometry: None, *arrays: Array) -> tuple[Array, ...]:
    """The sum of two Gram matrices, each (high, low, top, rows)."""
    xp = be.xp
    new = xp.maximum(arrays[2], arrays[6])
    safe = xp.where(new == 0, xp.ones_like(new), new)
    pairs = []
    for high, low, top, _ in (arrays[:4], arrays[4:]):
        ratio = top / safe
        pairs.append(tuple(v * ratio[:, None] * ratio[None, :] for v in (high, low)))
    return *extended.add(*pairs), new, arrays[3] + arrays[7]


def same_problem(state: GramState, other: GramState) -> None:
    """Refuse states of other columns or dtypes."""
    mine, theirs = (
        (s.columns, s.rights, backend_of(s.high).name_of(s.kind)) for s in (state, other)
    )
    if mine != theirs:
        words = [f"n={n}, nrhs={k}, {kind}" for n, k, kind in (mine, theirs)]
        raise ArgumentError(f"both must be sums of one problem, got {words[0]} and {words[1]}")


def joined(state: GramState, other: GramState) -> GramState:
    """The state of the rows of both; in either order, bit for bit."""
    be, _ = arguments.arrays(state=state.high, other=other.high)
    same_problem(state, other)
    words = [(s.high, s.low, s.top, s.rows) for s in (state, other)]
    return _with(state, be.run(_added, None, *words[0], *words[1]))
