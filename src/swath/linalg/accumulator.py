"""Least squares over rows that come in chunks: AᵀA summed as they come, in constant memory.

`update` fills a buffer of rows; each full one is summed by `gram_state.stepped`, so that the blocks
that are summed, and with them the bits, do not depend on the chunks. `solve` is `gram_solution`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from os import PathLike
from typing import IO, Any, ClassVar, Self
from zipfile import BadZipFile

import numpy as np

from .. import arguments
from .._backends import Backend, backend_of
from ..errors import ArgumentError, ArgumentTypeError, describe, explain
from ._rows import nearby
from .gram_solution import GramResult, options, solved
from .gram_state import (
    GramState,
    block_size,
    fitting,
    initial,
    joined,
    rows_of,
    same_problem,
    stepped,
    stepped_blocks,
    waiting_rows,
)

__all__ = ["GramAccumulator"]

Array = Any
_FORMAT = 1
# What a file holds.
_TABLES = ("problem", "high", "low", "top", "rows")


class GramAccumulator:
    """Least squares over more rows than memory holds: AᴴWA and AᴴWb, summed chunk by chunk.

    ``x`` minimises ``Σ_i w_i |b_i − (A x)_i|² + Σ_j ridge_j |x_j|²`` over all rows i that were ever
    given. The sums are kept in about twice the working precision, so that neither the order of the
    rows nor their division into chunks matters, nor that AᴴA has the square of A's condition.

    Parameters
    ----------
    n : int
        Columns of A.
    nrhs : int, default 1
        Columns of b.
    dtype : str or dtype, optional
        Of the sums and solutions, real or complex floating; by default that of the first rows
        (the device's default float for integers, float32 for the half precisions).

    Attributes
    ----------
    n, nrhs : int
    rows
    state

    Raises
    ------
    ValueError
        If `n` or `nrhs` is less than 1, or rows of another shape come.
    TypeError
        If rows come from another library or device than the earlier ones, or in a dtype that
        `dtype` cannot hold.

    See Also
    --------
    lstsq : The same of one matrix; refined with residuals of its rows, which are gone here.

    Notes
    -----
    Entry (i, j) of the Gram matrix is right to about 2⁻⁹⁷ (float32: 2⁻⁴¹) of the largest entries of
    columns i and j for each of its terms, x to that times the square of the condition of the
    scaled columns: 14 digits at condition 10⁷, 10 at 5·10⁹ (NIST's Filip). Rows in the same order
    give the same sums bit for bit, however they are cut; in another order they differ by as much.

    The numbers are cut in slices whose matrix products are exact [1]_: four plain products in all,
    six with weights, and eight passes over a block of rows in the cache. Where A has few columns
    the passes count too: with 20 in NumPy it takes 3 to 5 times as long as AᵀA alone. Chunks of a
    few rows cost some 30 µs each. Memory does not grow: a block of a few MB, and two matrices of
    (n + nrhs + 1)², twice as wide for complex numbers.

    `r_squared` is about the mean, whether or not A has a constant column.

    A NaN or an infinity stays in the sums, and x is NaN.

    `update` changes the object and belongs outside of ``jax.jit``; inside, `init`, `step`, `join`
    and `solution` do the same without side effects, on a state that ``jax.lax.scan`` carries.
    Each of several threads needs an object of its own; `merge` joins them.

    Derivatives: `step`, `join` and `solution` have those of the sums and of the minimiser x, by JAX
    and PyTorch (A, b, weights, ridge; full rank). Residuals, stderr and what else is told of a
    solution count as constants here, unlike those of `lstsq`. In PyTorch sums of rows that require
    a gradient keep their graph, and so memory, as any running sum does.

    References
    ----------
    .. [1] T. Ozaki, T. Ogita, S. Oishi and S. M. Rump, "Error-free transformations of matrix
       multiplication by using fast routines of matrix multiplication", Numer. Algorithms 59, 2012.

    Examples
    --------
    >>> import numpy as np, swath
    >>> sums = swath.linalg.GramAccumulator(2)
    >>> for t in (np.array([0.0, 1.0]), np.array([2.0, 3.0])):
    ...     sums.update(np.stack([np.ones(2), t], axis=1), 2.0 * t + 1.0)
    >>> sums.solve().x
    array([1., 2.])
    >>> sums
    <GramAccumulator: 4 rows of 2 columns, float64>
    """

    # What a bound library converts at construction, and how it converts rows.
    __swath_arrays__: ClassVar[tuple[str, ...]] = ()
    __swath_makers__: ClassVar[tuple[str, ...]] = ("load",)
    __swath_convert__: Callable[[Any], Any] = staticmethod(lambda rows: rows)

    def __init__(self, n: int, nrhs: int = 1, *, dtype: Any = None) -> None:
        with explain("GramAccumulator", {}):
            self.n = arguments.positive("n", n)
            self.nrhs = arguments.positive("nrhs", nrhs)
        self._dtype = dtype
        self.reset()

    def __repr__(self) -> str:
        many = f" and {self.nrhs} right-hand sides" if self.nrhs > 1 else ""
        if self._state is None:
            return f"<GramAccumulator: no rows yet of {self.n} columns{many}>"
        be = backend_of(self._state.high)
        count = be.concrete(self.rows)
        kind = be.name_of(self._state.kind)
        return f"<GramAccumulator: {count} rows of {self.n} columns{many}, {kind}>"

    # -- the object --------------------------------------------------------------------------------

    def __copy__(self) -> Self:
        """With a buffer of its own: rows are written into it."""
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__)
        if self._buffer is not None:
            shape = tuple(self._buffer.shape)
            other._buffer = backend_of(self._buffer).xp.reshape(self._buffer, shape, copy=True)
        return other

    @property
    def rows(self) -> Any:
        """Rows of weight other than 0 so far: an array of no axes, or 0."""
        state = self.state
        return 0 if state is None else state.rows

    @property
    def state(self) -> GramState | None:
        """The sums of all rows so far, for `join` and `solution`; None before the first."""
        if self._state is None or not self._filled:
            return self._state
        state, whole = self._settled()
        return stepped(state, *self._buffered(whole, self._filled))

    def reset(self) -> None:
        """Forget all rows."""
        self._state: GramState | None = None
        self._buffer: Any = None
        self._filled, self._weighted = 0, False
        self._ahead: tuple[GramState, int] | None = None

    def update(self, A: Any, b: Any, weights: Any = None) -> None:
        """Add rows.

        Parameters
        ----------
        A : array
            (m, n), any number of rows, 0 too; real, complex or integer.
        b : array
            (m,) for one right-hand side, or (m, nrhs).
        weights : array, optional
            (m,), real, 0 or more: 1/σ² of every row. They multiply squared residuals.
        """
        with explain("GramAccumulator.update", {"A": A, "b": b, "weights": weights}):
            weak = [arguments.strong(v) is None for v in (A, b)]
            be, a, b, w = self._checked(A, b, weights)
            if self._state is None:
                self._state = self._first(be, a, b)
            kind = self._state.kind
            arguments.arrays(state=self._state.high, A=a)
            a, b = (
                fitting(be, kind, name, v, weak=by_list)
                for name, v, by_list in zip("Ab", (a, b), weak, strict=True)
            )
            w = None if w is None else be.xp.astype(w, self._state.high.dtype)
            self._absorb(be, a, b, w)

    def merge(self, other: Any) -> None:
        """Add the sums of another accumulator of the same problem.

        Parameters
        ----------
        other : GramAccumulator or GramState
            Of the same n, nrhs and dtype, beside this one; it stays as it is.
        """
        with explain("GramAccumulator.merge", {}):
            theirs = _state_of(other)
            if theirs is None:
                if (other.n, other.nrhs) != (self.n, self.nrhs):
                    raise ArgumentError(
                        f"both must be sums of one problem, got n={self.n}, nrhs={self.nrhs} and "
                        f"n={other.n}, nrhs={other.nrhs}"
                    )
                return
            mine = self.state
            if mine is None:
                kind = self._asked(backend_of(theirs.high))
                kind = theirs.kind if kind is None else kind
                same_problem(initial(theirs.high, self.n, self.nrhs, kind), theirs)
            new = theirs if mine is None else joined(mine, theirs)
            self.reset()
            self._state = new

    def solve(
        self, *, ridge: Any = 0, on_deficient: str = "min_norm", rcond: float | None = None
    ) -> GramResult:
        """The least-squares solution of all rows so far; more may follow.

        Parameters
        ----------
        ridge : float or array, default 0
            Penalty, one for all columns or (n,).
        on_deficient : {"min_norm", "drop", "raise"}, default "min_norm"
            For dependent columns, as in `lstsq`.
        rcond : float, optional
            Rank is the number of singular values, of A with its columns scaled to like size, above
            rcond times the largest; by default max(rows, 16·n, 128)·eps, with √eps for rows·eps
            where that is less.

        Returns
        -------
        GramResult
            x (n,) or (n, nrhs), residuals, rank, condition, columns, covariance, stderr, dof,
            success as of `lstsq`; rows, and r_squared about the mean.
        """
        with explain("GramAccumulator.solve", {}):
            if self._state is None:
                raise ArgumentError("there are no rows yet: call update first")
            state = self.state
            return self._solved(state, ridge, on_deficient, rcond)

    def save(self, file: str | PathLike[str] | IO[bytes]) -> None:
        """Write the sums so far to a file of NumPy's ``.npz`` format (through host memory).

        Parameters
        ----------
        file : path or binary file
            NumPy appends ``.npz`` to a name without it.
        """
        with explain("GramAccumulator.save", {}):
            state = self.state
            if state is None:
                raise ArgumentError("there are no rows yet: call update first")
            be = backend_of(state.high)
            high, low, top, rows = (
                be.to_numpy(be.detach(v)) for v in (state.high, state.low, state.top, state.rows)
            )
            problem = [_FORMAT, state.columns, state.rights, int(state.complex)]
            np.savez(file, high=high, low=low, top=top, rows=rows, problem=problem)

    @classmethod
    def load(cls, file: str | PathLike[str] | IO[bytes]) -> GramAccumulator:
        """An accumulator that goes on from a file of `save`, of any library.

        Parameters
        ----------
        file : path or binary file
            As `save` wrote it, with the ``.npz`` that NumPy appended.

        Returns
        -------
        GramAccumulator
            With NumPy arrays; from a bound library (``swath.jax.linalg.GramAccumulator.load``) with
            that library's.

        Raises
        ------
        ValueError
            If the file is another one, or damaged.
        """
        with explain("GramAccumulator.load", {}):
            problem, *tables = _read(file)
            _, n, k, is_complex = map(int, problem)
            high, low, top, rows = map(cls.__swath_convert__, tables)
            made = cls(n, k)
            be = backend_of(high)
            rows = be.xp.astype(rows, be.default_int(high))
            made._state = GramState(high, low, top, rows, n, k, bool(is_complex))
            made._dtype = be.name_of(made._state.kind)
            return made

    # -- pure functions ----------------------------------------------------------------------------

    def init(self, like: Any) -> GramState:
        """The state before the first row, for `step`.

        Parameters
        ----------
        like : array
            Rows, for their library, device and dtype.

        Returns
        -------
        GramState
            Zeros; in JAX a pytree.
        """
        with explain("GramAccumulator.init", {"like": like}):
            be, like = arguments.one_array("like", self.__swath_convert__(like))
            return self._first(be, like, like)

    def step(self, state: GramState, A: Any, b: Any, weights: Any = None) -> GramState:
        """The state after some more rows: nothing of the object is read but `n` and `nrhs`.

        Parameters
        ----------
        state : GramState
            From `init`, `join` or the step before.
        A, b, weights : array
            As in `update`.

        Returns
        -------
        GramState
            The sums with these rows.
        """
        with explain("GramAccumulator.step", {"A": A, "b": b, "weights": weights}):
            self._own("state", state)
            _, a, b, w = self._checked(A, b, weights)
            return stepped(state, a, b, w)

    def join(self, state: GramState, other: GramState) -> GramState:
        """The state of the rows of both, the same bits in either order.

        Parameters
        ----------
        state, other : GramState
            Of the same n, nrhs and dtype.

        Returns
        -------
        GramState
            Their sum.
        """
        with explain("GramAccumulator.join", {}):
            self._own("state", state)
            return joined(state, _state_of(other))

    def solution(
        self,
        state: GramState,
        *,
        ridge: Any = 0,
        on_deficient: str = "min_norm",
        rcond: float | None = None,
    ) -> GramResult:
        """The least-squares solution that a state gives.

        Parameters
        ----------
        state : GramState
            From `step` or `join`.
        ridge, on_deficient, rcond
            As in `solve`; ``"drop"`` cannot be traced, and ``"raise"`` gives NaN and `success`
            false then.

        Returns
        -------
        GramResult
            As `solve`.
        """
        with explain("GramAccumulator.solution", {}):
            self._own("state", state)
            return self._solved(state, ridge, on_deficient, rcond)

    # -- inside ------------------------------------------------------------------------------------

    def _checked(self, a: Any, b: Any, w: Any) -> tuple[Backend, Array, Array, Array | None]:
        a, b, w = (self.__swath_convert__(v) for v in (a, b, w))
        return rows_of(self.n, self.nrhs, a, b, w)

    def _own(self, name: str, state: Any) -> None:
        if not isinstance(state, GramState):
            raise ArgumentTypeError(
                f"{name} must be a state of init or step, got {describe(state)}"
            )
        if (state.columns, state.rights) != (self.n, self.nrhs):
            raise ArgumentError(
                f"{name} must be one of n={self.n}, nrhs={self.nrhs}, got n={state.columns}, "
                f"nrhs={state.rights}"
            )

    def _first(self, be: Backend, a: Array, b: Array) -> GramState:
        kind = self._asked(be)
        if kind is None:
            kind = arguments.solvable(be, a, b)[0].dtype
            kind = be.dtype("float32") if be.is_half(kind) else kind
        return initial(a, self.n, self.nrhs, kind)

    def _asked(self, be: Backend) -> Any:
        """The dtype asked for, None where it is that of the first rows."""
        if self._dtype is None:
            return None
        name = arguments.dtype_name(be, self._dtype)
        if name not in ("float32", "float64", "complex64", "complex128"):
            raise ArgumentTypeError(
                f"dtype must be float32, float64, complex64 or complex128, got {self._dtype!r}"
            )
        return be.dtype(name)

    def _solved(
        self, state: GramState | None, ridge: Any, on_deficient: str, rcond: float | None
    ) -> GramResult:
        assert state is not None
        return solved(state, options(state, self.__swath_convert__(ridge), on_deficient, rcond))

    def _absorb(self, be: Backend, a: Array, b: Array, w: Array | None) -> None:
        """Rows into the buffer; whole blocks into the sums."""
        state = self._state
        assert state is not None
        if be.lazy:
            # Its chunks are blocks, and they are not read before the sums are asked for.
            self._state = stepped(state, a, b, w)
            return
        size, m, filled = block_size(state), int(a.shape[0]), self._filled
        if filled and w is not None and not self._weighted:
            # What came without weights is summed without.
            self._settled()

        def rows(start: int, stop: int) -> tuple[Array, Array, Array | None]:
            part = slice(start, stop)
            return a[part, :], b[part, :], None if w is None else w[part]

        if filled + m < waiting_rows(state):
            self._keep(be, *rows(0, m))
            return
        # The rest of a block that has begun, and whole blocks of the chunk as they lie.
        first = -filled % size
        last = m - (filled + m) % size
        self._keep(be, *rows(0, first))
        state, done = self._ahead or (state, 0)
        kept = [self._buffered(done, self._filled)] if self._filled else []
        self._state = stepped_blocks(state, [*kept, rows(first, last)], size)
        self._filled, self._weighted, self._ahead = 0, False, None
        self._keep(be, *rows(last, m))

    def _settled(self) -> tuple[GramState, int]:
        """The sums with the whole blocks that wait, and how many rows these are."""
        assert self._state is not None
        size = block_size(self._state)
        state, done = self._ahead or (self._state, 0)
        whole = self._filled // size * size
        if whole > done:
            state = stepped_blocks(state, [self._buffered(done, whole)], size)
            self._ahead = state, whole
        return state, whole

    def _keep(self, be: Backend, a: Array, b: Array, w: Array | None) -> None:
        """Rows into the buffer: copies, since the caller may fill the chunk's memory anew."""
        if a.shape[0] == 0:
            return
        if self._buffer is None:
            assert self._state is not None
            shape = waiting_rows(self._state), self.n + self.nrhs + 1
            self._buffer = be.new_like(self._state.high, shape, dtype=self._state.kind)
        arrays = [self._buffer, a, b, *([] if w is None else [w])]
        # PyTorch's threads would wait a while for more to copy, on the cores that sum.
        near = nearby(be, *arrays)
        if near is not None:
            be, arrays = backend_of(near[0]), list(near)
        buffer, a, b, *rest = arrays
        ones = be.new_like(a, (a.shape[0], 1), fill=1)
        last = be.xp.astype(rest[0], a.dtype)[:, None] if rest else ones
        joint = be.xp.concat([a, b, last], axis=-1)
        buffer = be.put_slab(buffer, joint, (self._filled, 0))
        if near is None:
            self._buffer = buffer
        self._weighted = self._weighted or w is not None
        self._filled += a.shape[0]

    def _buffered(self, start: int, stop: int) -> tuple[Array, Array, Array | None]:
        rows, n = self._buffer[start:stop, :], self.n
        w = None
        if self._weighted:
            be = backend_of(rows)
            w = rows[:, -1]
            w = be.xp.real(w) if be.is_complex(w) else w
        return rows[:, :n], rows[:, n:-1], w


def _state_of(other: Any) -> Any:
    """The state of an accumulator, or a state as it is."""
    if isinstance(other, GramAccumulator):
        return other.state
    if isinstance(other, GramState):
        return other
    raise ArgumentTypeError(f"other must be a GramAccumulator or a state, got {describe(other)}")


def _read(file: str | PathLike[str] | IO[bytes]) -> list[np.ndarray]:
    """The tables of a file of `save`."""
    try:
        # NumPy leaves a file open that it cannot read.
        with nullcontext(file) if hasattr(file, "read") else open(file, "rb") as stream:  # type: ignore[arg-type]
            found = np.load(stream, allow_pickle=False)
            if isinstance(found, np.ndarray):
                raise ValueError("it holds a single array")
            with found:
                tables = [found[name] for name in _TABLES]
        if tables[0][0] != _FORMAT:
            raise ValueError(f"it has the format {tables[0][0]}")
    except (BadZipFile, EOFError, KeyError, ValueError) as error:
        # NumPy's advice, where nothing fits, is to trust the file.
        text = str(error).partition(". ")[0]
        raise ArgumentError(
            f"file is none that GramAccumulator.save wrote, or damaged ({text})"
        ) from None
    return tables
