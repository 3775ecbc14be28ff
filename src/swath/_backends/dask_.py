"""Dask: lazy arrays in chunks; a core is computed piece by piece, in the library of the chunks.

Nothing here reads a value: plain steps are Dask's own, and a core that says how it divides
(`swath.division`) becomes one layer of the graph, with one task for each piece.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import pairwise, product
from operator import getitem
from typing import Any, NamedTuple

import array_api_compat
import array_api_compat.dask.array as standard
import dask.array as da
import numpy as np
from dask.array.utils import meta_from_array
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph

from ..division import Along, Cuts, Division, Piece
from ..errors import UnsupportedError
from .base import PRECISION, WORKSPACE, Array, Backend, Core

__all__ = ["DaskBackend", "make"]


class DaskBackend(Backend):
    """The adapter for dask.array; its chunks may be arrays of NumPy or CuPy."""

    lazy = True

    # -- arrays and devices -------------------------------------------------------------------

    def device(self, x: Array) -> Any:
        return array_api_compat.device(x)

    def devices(self) -> list[str]:
        return ["cpu"]

    def traced(self, *arrays: Array) -> bool:
        return True

    def concrete(self, x: Array) -> Any:
        return None

    def new_like(self, x: Array, shape: tuple[int, ...], dtype: Any = None, fill: Any = 0) -> Array:
        return _beside(da.full(shape, fill, dtype=x.dtype if dtype is None else dtype), x)

    def constant(self, values: Any, like: Array, dtype: Any) -> Array:
        return _beside(da.from_array(np.asarray(values).astype(dtype)), like)

    def arange(self, n: int, like: Array, dtype: Any) -> Array:
        return _beside(da.arange(n, dtype=dtype), like)

    def from_host(self, x: np.ndarray, device: Any = None) -> Array:
        return da.from_array(x)

    def to_numpy(self, x: Array) -> np.ndarray:
        computed = x.compute()
        return computed.get() if hasattr(computed, "get") else np.asarray(computed)

    def moved(self, x: Array, device: Any) -> Array:
        return x

    def stretches(self, x: Array) -> list[slice]:
        return [slice(*ends) for ends in pairwise(_bounds(x.chunks[0]))]

    def without_empty(self, x: Array) -> Array:
        # A selection by values leaves empty chunks, which Dask's own steps neither broadcast nor
        # reduce. Those of unknown sizes are refused by name elsewhere.
        if all(0 not in lengths or len(lengths) == 1 for lengths in x.chunks):
            return x
        if any(n != n for n in x.shape):
            return x
        return x.rechunk(tuple(tuple(n for n in c if n) or (0,) for c in x.chunks))

    def synchronize(self, x: Array) -> None:
        """Nothing is under way: results are computed when they are asked for."""

    # -- structure ------------------------------------------------------------------------------

    def windows(
        self,
        x: Array,
        sizes: Sequence[int],
        strides: Sequence[int],
        dilations: Sequence[int],
        axes: Sequence[int],
    ) -> Array:
        for axis, size, stride, dilation in zip(axes, sizes, strides, dilations, strict=True):
            n = (x.shape[axis] - dilation * (size - 1) - 1) // stride + 1
            index = np.arange(n)[:, None] * stride + np.arange(size) * dilation
            x, shape = self.take(x, index.reshape(-1), axis), x.shape
            x = da.reshape(x, (*shape[:axis], n, size, *shape[axis + 1 :]))
            x = da.moveaxis(x, axis + 1, -1)
        return x

    def take(self, x: Array, table: np.ndarray, axis: int) -> Array:
        return da.take(x, table, axis=axis)

    def pad(
        self,
        x: Array,
        widths: Sequence[tuple[int, int]],
        value: Any = 0,
        interior: Sequence[int] = (),
    ) -> Array:
        if any(interior):
            x = super().pad(x, [(0, 0)] * x.ndim, value, interior)
        if not any(low or high for low, high in widths):
            return x
        if 0 in x.shape:
            shape = [n + low + high for n, (low, high) in zip(x.shape, widths, strict=True)]
            return self.new_like(x, tuple(shape), fill=value)
        return da.pad(x, tuple(widths), mode="constant", constant_values=value)

    # -- linear algebra: every matrix in one task, batches divided -------------------------------

    def solve_triangular(
        self, a: Array, b: Array, *, lower: bool, transpose: bool = False
    ) -> Array:
        how = {"lower": lower, "transpose": transpose}
        return _matrices("solve_triangular", "(n,n),(n,k)->(n,k)", a, b, **how)

    def upper_inverse(self, factor: Array) -> Array:
        return _matrices("upper_inverse", "(n,n)->(n,n)", factor)

    def cholesky(self, a: Array) -> Array:
        return _matrices("cholesky", "(n,n)->(n,n)", a)

    def solve(self, a: Array, b: Array) -> Array:
        return _matrices("solve", "(n,n),(n,k)->(n,k)", a, b)

    # -- programs and cores -----------------------------------------------------------------------

    def run(
        self, function: Callable[..., tuple[Array, ...]], geometry: Any, *arrays: Array
    ) -> tuple[Array, ...]:
        """One task, which sees the values and decides by them."""
        given = tuple((tuple(a.shape), a.dtype) for a in arrays)
        task = _Program(function, geometry, _results(function, geometry, given), _Settings.now())
        arrays = tuple(a.rechunk(-1) for a in arrays)
        token = tokenize(task, *arrays)
        name, found = f"{function.__name__}-{token}", []
        graph: Any = {name: (task, *((a.name, *[0] * a.ndim) for a in arrays))}
        layers = HighLevelGraph.from_collections(name, graph, dependencies=list(arrays))
        for i, result in enumerate(task.results):
            if result is None:
                found.append(None)
                continue
            (shape, kind), part = result, f"{name}-{i}"
            inner = HighLevelGraph(
                {**layers.layers, part: {(part, *[0] * len(shape)): (getitem, name, i)}},
                {**layers.dependencies, part: {name}},
            )
            chunks = tuple((n,) for n in shape)
            found.append(_array(inner, part, chunks, arrays[0], kind))
        return tuple(found)

    def call(self, core: Core, geometry: Any, arrays: Sequence[Array]) -> Array:
        division = core.divide(geometry, [tuple(a.shape) for a in arrays])
        if division is None:
            return core.forward(self, geometry, *arrays)
        if 0 in division.shape:
            return self.new_like(arrays[0], division.shape)
        return _divided(core, geometry, division, arrays)


def _beside(x: Array, like: Array) -> Array:
    """x in chunks of the library of those of `like`."""
    if isinstance(like._meta, np.ndarray):
        return x
    convert = array_api_compat.array_namespace(like._meta).asarray
    return x.map_blocks(convert, meta=_meta(like, x.ndim, x.dtype))


def _meta(like: Array, ndim: int, kind: Any) -> Array:
    """An empty array of the library of the chunks."""
    # A complex one, converted, would warn.
    empty = like._meta if np.dtype(kind).kind == "c" else like._meta.real
    return meta_from_array(empty, ndim, dtype=kind)


def _array(graph: Any, name: str, chunks: Any, like: Array, kind: Any) -> Array:
    """The array of a layer of the graph."""
    make: Any = da.Array
    return make(graph, name, chunks, meta=_meta(like, len(chunks), kind))


def _on_chunks(name: str, how: dict[str, Any], *arrays: Array) -> Any:
    """A method of the adapter of the chunks, or a function of linear algebra of their library."""
    from . import backend_of

    be = backend_of(arrays[0])
    method = getattr(be, name, None)
    return (getattr(be.xp.linalg, name) if method is None else method)(*arrays, **how)


def _matrices(name: str, signature: str, *arrays: Array, **how: Any) -> Any:
    """The same over every matrix: one task for each chunk of a batch."""
    sizes = None
    if "s" in signature:
        sizes = {"s": min(arrays[0].shape[-2:])}
    results = signature.partition("->")[2].split("),")
    real = arrays[0].real.dtype
    # Singular values are real.
    metas = tuple(
        _meta(arrays[0], 0, real if r.strip("()") == "s" else arrays[0].dtype) for r in results
    )
    return da.apply_gufunc(
        partial(_on_chunks, name, how),
        signature,
        *arrays,
        allow_rechunk=True,
        output_sizes=sizes,
        meta=metas if len(results) > 1 else metas[0],
    )


class _LinearAlgebra:
    """`linalg` of the standard, for batches too, which Dask's own lacks."""

    def __getattr__(self, name: str) -> Any:
        return getattr(standard.linalg, name)  # type: ignore[attr-defined]

    @staticmethod
    def qr(x: Array, mode: str = "reduced") -> Any:
        return _matrices("qr", "(m,n)->(m,s),(s,n)", x, mode=mode)

    @staticmethod
    def svd(x: Array, full_matrices: bool = True) -> Any:
        if full_matrices:
            raise UnsupportedError(
                "singular value decompositions of Dask's arrays are reduced ones"
            )
        return _matrices("svd", "(m,n)->(m,s),(s),(s,n)", x, full_matrices=False)

    @staticmethod
    def svdvals(x: Array) -> Array:
        return _matrices("svdvals", "(m,n)->(s)", x)


class _Fourier:
    """`fft` of the standard, along axes in any chunks."""

    def __getattr__(self, name: str) -> Any:
        transform = getattr(standard.fft, name)  # type: ignore[attr-defined]
        if not name.endswith(("fft", "fftn")):
            return transform

        def along_whole_axes(x: Array, **how: Any) -> Array:
            return transform(_whole(x, how["axes"] if "axes" in how else (how["axis"],)), **how)

        return along_whole_axes


class _Namespace:
    """The namespace of the standard, with what its parts lack."""

    linalg, fft = _LinearAlgebra(), _Fourier()

    def __getattr__(self, name: str) -> Any:
        return getattr(standard, name)


def _whole(x: Array, axes: Sequence[int]) -> Array:
    """x in one chunk along axes."""
    return x.rechunk(dict.fromkeys(axes, -1))


class _Outline(DaskBackend):
    """A program laid out for the shapes of its results: one branch, and each loop's body once."""

    def cond(
        self,
        flag: Array,
        yes: Callable[..., tuple[Array, ...]],
        no: Callable[..., tuple[Array, ...]],
        *operands: Array,
    ) -> tuple[Array, ...]:
        return yes(*operands)

    def fori_loop(self, start: int, stop: int, body: Callable[[Any, Any], Any], init: Any) -> Any:
        return body(start, init) if start < stop else init

    def while_loop(
        self,
        test: Callable[[tuple[Array, ...]], Array],
        step: Callable[[tuple[Array, ...]], tuple[Array, ...]],
        init: tuple[Array, ...],
        limit: int,
    ) -> tuple[Array, ...]:
        return init


@lru_cache(maxsize=256)
def _results(
    function: Callable[..., tuple[Array, ...]],
    geometry: Any,
    given: tuple[tuple[tuple[int, ...], Any], ...],
) -> tuple[tuple[tuple[int, ...], Any] | None, ...]:
    """Shapes and dtypes of what a program returns: of its steps, laid out and never computed."""
    arrays = [da.zeros(shape, dtype=kind, chunks=-1) for shape, kind in given]
    found = function(_Outline(_Namespace(), "dask"), geometry, *arrays)
    return tuple(None if v is None else (tuple(v.shape), v.dtype) for v in found)


class _Settings(NamedTuple):
    """Those that held when the graph was made; they hold again in the thread of a task."""

    workspace: int | None
    precision: str

    @classmethod
    def now(cls) -> _Settings:
        """Those that hold here."""
        return cls(WORKSPACE.get(), PRECISION.get())

    @contextmanager
    def held(self, be: Backend) -> Generator[None]:
        """Let them hold, for the library of the chunks."""
        tokens = WORKSPACE.set(self.workspace), PRECISION.set(self.precision)
        # Without a block the library's own setting counts.
        inner = nullcontext() if self.precision == "highest" else be.precision(self.precision)
        try:
            with inner:
                yield
        finally:
            WORKSPACE.reset(tokens[0])
            PRECISION.reset(tokens[1])


@dataclass(frozen=True)
class _Program:
    """A function of whole arrays as a task."""

    function: Callable[..., tuple[Array, ...]]
    geometry: Any
    results: tuple[tuple[tuple[int, ...], Any] | None, ...]
    settings: _Settings

    def __call__(self, *arrays: Array) -> tuple[Array, ...]:
        from . import backend_of

        be = backend_of(arrays[0])
        with self.settings.held(be):
            found = self.function(be, self.geometry, *arrays)
        kinds = tuple(None if v is None else (tuple(v.shape), v.dtype) for v in found)
        assert kinds == self.results, (self.function.__name__, kinds, self.results)
        return found


@dataclass(frozen=True)
class _Task:
    """What one piece computes; a task of the graph is this and the chunks that it reads."""

    core: Core
    piece: Piece
    shape: tuple[int, ...]
    parts: tuple[tuple[Cuts, ...], ...]
    settings: _Settings
    lead: bool
    like: int
    vacant: Callable[[Backend, Array], Any] | None

    def __call__(self, *chunks: Array) -> Array:
        from . import backend_of

        be, given, arrays = backend_of(chunks[0]), list(chunks), []
        for grid in self.parts:
            count = math.prod(map(len, grid))
            arrays.append(_joined(be, given[:count], grid))
            del given[:count]
        with self.settings.held(be):
            out = self._computed(be, arrays)
        return out[None, ...] if self.lead else out

    def _computed(self, be: Backend, arrays: list[Array]) -> Array:
        keep, place = self.piece.keep, self.piece.place
        if any(0 in a.shape for a in arrays):
            fill = 0 if self.vacant is None else self.vacant(be, arrays[0])
            return be.new_like(arrays[self.like], self.shape, fill=fill)
        out = be.call(self.core, self.piece.geometry, arrays)
        if keep is not None:
            out = out[keep]
        if place is not None:
            widths = [(c.start, n - c.stop) for c, n in zip(place, self.shape, strict=True)]
            out = be.pad(out, widths)
        return out


def _joined(be: Backend, chunks: Sequence[Array], grid: tuple[Cuts, ...]) -> Array:
    """The part of an operand that lies in a grid of chunks, one cut for each along every axis."""
    cut = [c[at] for c, at in zip(chunks, product(*grid), strict=True)]
    for axis in reversed(range(len(grid))):
        step = len(grid[axis])
        if step > 1:
            cut = [be.concat(cut[i : i + step], axis) for i in range(0, len(cut), step)]
    return cut[0]


def _bounds(lengths: Sequence[int]) -> list[int]:
    """Where chunks begin, and the end of the last."""
    found = [0]
    for n in lengths:
        found.append(found[-1] + n)
    return found


def _follow(n: int, along: Along | None, arrays: Sequence[Array]) -> tuple[int, ...]:
    """The chunks of an axis of n points."""
    if along is None:
        return (n,)
    if n == 0:
        return (0,)
    lengths = arrays[along.operand].chunks[along.axis]
    cuts = {b * along.up // along.down for b in _bounds(lengths)[:-1]}
    cuts = sorted(c for c in cuts if c < n)
    # Beyond the operand's end, as in a full convolution, go chunks of no other length.
    step = max(1, max(lengths) * along.up // along.down)
    cuts += range(cuts[-1] + step, n, step)
    return tuple(b - a for a, b in zip(cuts, [*cuts[1:], n], strict=True))


def _grid(bounds: Sequence[int], cut: slice) -> tuple[range, tuple[slice, ...]]:
    """The chunks that a cut of an axis meets, and the part of each; one, empty, for none."""
    first = min(bisect_right(bounds, cut.start) - 1, len(bounds) - 2)
    last, found = first, []
    while True:
        a, b = bounds[last], bounds[last + 1]
        found.append(slice(max(cut.start, a) - a, max(min(cut.stop, b), cut.start) - a))
        if cut.stop <= b or last == len(bounds) - 2:
            return range(first, last + 1), tuple(found)
        last += 1


def _divided(core: Core, geometry: Any, division: Division, arrays: Sequence[Array]) -> Array:
    """The result as one layer of tasks, one for each piece."""
    summed, like = division.terms is not None, arrays[division.like]
    shape = division.shape if division.terms is None else division.terms
    chunks = tuple(_follow(n, a, arrays) for n, a in zip(shape, division.along, strict=True))
    limits = [[_bounds(lengths) for lengths in a.chunks] for a in arrays]
    settings = _Settings.now()
    token = tokenize(core.name, geometry, settings, *arrays)
    name, graph = f"{core.name}-{token}", {}
    pieces = [list(enumerate(pairwise(b))) for b in map(_bounds, chunks)]
    for number, place in enumerate(product(*pieces)):
        cuts = tuple(slice(*ends) for _, ends in place)
        piece = division.piece(cuts)
        keys, parts = [], []
        for a, bounds, read in zip(arrays, limits, piece.reads, strict=True):
            grids = [_grid(b, c) for b, c in zip(bounds, read, strict=True)]
            keys += [(a.name, *at) for at in product(*(numbers for numbers, _ in grids))]
            parts.append(tuple(local for _, local in grids))
        size = division.shape if summed else tuple(c.stop - c.start for c in cuts)
        task = _Task(
            core, piece, size, tuple(parts), settings, summed, division.like, division.vacant
        )
        at = (number, *[0] * len(size)) if summed else tuple(i for i, _ in place)
        graph[name, *at] = (task, *keys)
    layers = HighLevelGraph.from_collections(name, graph, dependencies=list(arrays))
    if not summed:
        return _array(layers, name, chunks, like, like.dtype)
    lengths = ((1,) * len(graph), *((n,) for n in division.shape))
    return _total(_array(layers, name, lengths, like, like.dtype))


def _total(terms: Array) -> Array:
    """The sum over the first axis, as a tree; half precision rounds once."""
    kind = terms.dtype
    wide = np.float32 if kind == np.float16 else kind
    return da.sum(terms, axis=0, dtype=wide).astype(kind)


def make() -> DaskBackend:
    """The adapter, made when the first array of the library is seen."""
    return DaskBackend(_Namespace(), "dask")
