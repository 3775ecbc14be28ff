"""Kernels of windows for CuPy, which has none of its own for layers and pooling.

One thread computes one result: a sum, an extreme, or a product with a kernel (products along long
lines: `cuda_lines`).

Windows are read where they lie: nothing is padded, gathered or held beside the result. A thread
goes through the taps of its window that meet the input, which lie in the caches of its
multiprocessor. The text is compiled once for each number of sliding axes, dtype and width of index.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache
from math import prod
from typing import Any

import cupy as cp

from . import cuda_lines
from .cuda_text import NARROW, elementwise, numbers, place, taps, windows

__all__ = [
    "extremes",
    "index",
    "kernel_gradient",
    "plain",
    "product",
    "resampled",
    "scatter",
    "spread",
    "sums",
    "way",
]

Array = Any

# Channels of results from which windows are gathered for a matrix product.
_COLUMNS = 6
# In multiply-adds along long lines (see `cuda_lines.effort`, H100): one by a thread alone, and its
# way to the next line of its window; one of a matrix product, and a point that is gathered.
_ALONE, _NEXT = 4.1, 29
_MULTIPLIED, _GATHERED = 0.65, 87


# -- products --------------------------------------------------------------------------------------

_PRODUCT = """
    I rest = i;
    {last}
    {places}
    {first}
    const I channels = groups * depth, at = rest * channels * plane;
    const I from = o / rows * depth;
    T sum = 0;
    for (I c = 0; c < depth; ++c) {{
    const I here = at + (from + c) * {channel};
    {loop} }}
    y = sum;"""
_CHANNEL = "const I o = rest % (groups * rows); rest /= groups * rows;"


@cache
def _product_text(rank: int, last: bool) -> str:
    # The kernel is (O, depth, *K), channels last (*K, depth, O): neighbours read neighbours.
    w = "(k * depth + c) * groups * rows + o" if last else "(o * depth + c) * taps + k"
    return _PRODUCT.format(
        last=_CHANNEL if last else "",
        first="" if last else _CHANNEL,
        places="".join(place(axis) for axis in reversed(range(rank))),
        channel="1" if last else "plane",
        loop=taps(rank, f"sum += w[{w}] * x[here + {'q * channels' if last else 'q'}];"),
    )


_COLUMN = """
    I rest = i;
    {places}
    const I channels = groups * depth;
    const I q = {point};
    const bool inside = {inside};
    y = inside ? x[{at}] : T(0);"""


@cache
def _columns_text(rank: int, last: bool) -> str:
    order = list(reversed(range(rank)))
    taps = [f"const I j{d} = rest % size{d}; rest /= size{d};" for d in order]
    places = [f"const I s{d} = rest % out{d} * stride{d} - low{d}; rest /= out{d};" for d in order]
    entry, point = "const I b = rest % batch; rest /= batch;", "0"
    for d in range(rank):
        point = f"({point}) * len{d} + s{d} + dil{d} * j{d}"
    inside = " && ".join(f"s{d} + dil{d} * j{d} >= 0 && s{d} + dil{d} * j{d} < len{d}"
                         for d in range(rank))  # fmt: skip
    if last:  # (G, B, *out, *K, depth)
        lines = ["const I c = rest % depth; rest /= depth;", *taps, *places, entry]
        at = "(b * plane + q) * channels + rest * depth + c"
    else:  # (G, depth, *K, B, *out)
        lines = [*places, entry, *taps]
        at = "(b * channels + rest) * plane + q"
    return _COLUMN.format(places="\n    ".join(lines), point=point, inside=inside, at=at)


def _laid(g: Any, x: Array) -> tuple[Array, bool]:
    """x as it lies in memory, and whether channels are last there."""
    order = (0, *range(2, 2 + g.rank), 1)
    last = not x.flags.c_contiguous and x.transpose(order).flags.c_contiguous
    return (x.transpose(order), True) if last else (cp.ascontiguousarray(x), False)


def plain(g: Any) -> bool:
    """Whether windows are the points of x as it lies: one tap, without groups."""
    return g.groups == 1 and all(s.size == s.stride == 1 and s.low == s.high == 0 for s in g.spans)


def _columns(g: Any, x: Array, last: bool, depth: int) -> Array:
    """Windows as (G, depth·K, B·P), channels last (G, B·P, K·depth); zeros where they leave x."""
    batch, taps, places = x.shape[0], prod(g.sizes) * depth, x.shape[0] * prod(g.out)
    if plain(g) and (last or batch == 1):
        return x.reshape((1, places, taps) if last else (1, taps, places))
    with x.device:
        y = cp.empty((g.groups, places, taps) if last else (g.groups, taps, places), x.dtype)
    kernel = elementwise(
        "columns", g.rank, "raw T x", "T y", "batch groups depth plane",
        _columns_text(g.rank, last), max(x.size, y.size) > NARROW,
    )  # fmt: skip
    kernel(x, batch, g.groups, depth, prod(g.lengths), *numbers(g.spans), y)
    return y


def _alike(a: Array, b: Array) -> tuple[Array, Array, Any]:
    """Both in one dtype, and that."""
    if a.dtype == b.dtype:
        return a, b, a.dtype
    kind = cp.result_type(a, b)
    return a.astype(kind, copy=False), b.astype(kind, copy=False), kind


def _times(a: Array, b: Array) -> Array:
    """Products of the matrices of each group; one is not a batch."""
    return (a[0] @ b[0])[None] if len(a) == 1 else a @ b


@lru_cache(maxsize=4096)
def way(g: Any, rows: int, width: int, last: bool) -> tuple[str, float]:
    """How forward products of numbers of `width` bytes are made, and what a multiply-add costs.

    By "columns" gathered for a matrix product, along "lines", or by a thread for each result
    "alone"; the cost is in the unit of `cuda_lines.effort`.
    """
    if plain(g):
        return "columns", _MULTIPLIED
    if rows < _COLUMNS:
        found = {"alone": _ALONE + _NEXT / g.sizes[-1]}
    else:
        found = {"columns": _MULTIPLIED * (1 + 8 / rows) + _GATHERED / rows}
    if not last:
        found["lines"] = cuda_lines.effort(g, rows, width)
    best = min(found, key=found.__getitem__)
    return best, found[best]


def product(g: Any, x: Array, w: Array) -> Array:
    """The forward product of x (B, C, *S) and w (O, C/groups, *K): (B, O, *out).

    Channels may lie last in memory; they then do so in the result.
    """
    x, w, kind = _alike(x, w)
    x, last = _laid(g, x)
    r = g.rank
    batch, rows, depth = x.shape[0], w.shape[0] // g.groups, w.shape[1]
    if last:
        w = w.transpose((*range(2, 2 + r), 1, 0))
    chosen, _ = way(g, rows, w.itemsize, last)
    if chosen == "lines":
        return cuda_lines.product(g, x, w)
    if plain(g) and not last:
        y = w.reshape(rows, depth) @ x.reshape(batch, depth, -1)
        y = y.reshape(batch, rows, *g.out)
    elif chosen == "columns":
        columns = _columns(g, x, last, depth)
        if last:
            w = w.reshape(-1, g.groups, rows).transpose(1, 0, 2)
            y = _times(columns, w).transpose(1, 0, 2).reshape(batch, *g.out, -1)
        else:
            y = _times(w.reshape(g.groups, rows, -1), columns)
            y = y.reshape(-1, batch, prod(g.out)).transpose(1, 0, 2)
            y = cp.ascontiguousarray(y).reshape(batch, -1, *g.out)
    else:
        w = cp.ascontiguousarray(w)
        with x.device:
            shape = (*g.out, g.groups * rows) if last else (g.groups * rows, *g.out)
            y = cp.empty((batch, *shape), kind)
        kernel = elementwise(
            "product", r, "raw T x, raw T w", "T y", "groups rows depth taps plane",
            _product_text(r, last), max(x.size, y.size, w.size) > NARROW,
        )  # fmt: skip
        sizes = g.groups, rows, depth, prod(g.sizes), prod(g.lengths)
        kernel(x, w, *sizes, *numbers(g.spans), y)
    return y.transpose((0, 1 + r, *range(1, 1 + r))) if last else y


def kernel_gradient(g: Any, x: Array, y: Array) -> Array:
    """The product of x (B, C, *S) and y (B, O, *out) that is a kernel, (O, C/groups, *K)."""
    x, y, _ = _alike(x, y)
    x, last = _laid(g, x)
    r = g.rank
    batch, depth = x.shape[0], x.shape[-1 if last else 1] // g.groups
    cut = None if last else cuda_lines.parts(g, batch, depth, y.shape[1] // g.groups)
    if cut is not None:
        return cuda_lines.kernel(g, cut, x, y)
    columns = _columns(g, x, last, depth)
    y = y.reshape(batch, g.groups, -1, prod(g.out))
    if last:
        y = y.transpose(1, 0, 3, 2).reshape(g.groups, columns.shape[1], -1)
        w = _times(columns.transpose(0, 2, 1), y)  # (G, K·depth, O/G)
        w = w.reshape(g.groups, *g.sizes, depth, -1)
        return w.transpose(0, 2 + r, 1 + r, *range(1, 1 + r)).reshape(-1, depth, *g.sizes)
    y = y.transpose(1, 2, 0, 3).reshape(g.groups, -1, columns.shape[2])
    return _times(y, columns.transpose(0, 2, 1)).reshape(-1, depth, *g.sizes)


_RESAMPLED = """
    I rest = i;
    const I tap = rest % count * down + offset; rest /= count;
    const I o = rest % filters;
    const I channel = (rest / filters * groups + o / (filters / groups)) * depth;
    // Points a ... b - 1 meet the taps tap - up * k.
    const I a = max((I) 0, (tap - taps + up) / up);
    const I b = tap < 0 ? 0 : min(length, tap / up + 1);
    T sum = 0;
    for (I c = 0; c < depth; ++c)
        for (I k = a; k < b; ++k)
            sum += h[(o * depth + c) * taps + tap - up * k] * x[(channel + c) * length + k];
    y = sum;"""


def resampled(g: Any, x: Array, h: Array) -> Array:
    """y[b, g·R + r, i] = Σ_d Σ_k h[g·R + r, d, q·i + c − p·k] · x[b, g·D + d, k]."""
    x, h = cp.ascontiguousarray(x), cp.ascontiguousarray(h)
    filters, depth, taps = h.shape
    with x.device:
        y = cp.empty((x.shape[0], filters, g.count), x.dtype)
    farthest = g.down * g.count + abs(g.offset) + taps + g.up
    kernel = elementwise(
        "resampled", 0, "raw T x, raw T h", "T y",
        "filters groups depth taps length count up down offset", _RESAMPLED,
        max(x.size, y.size, h.size, farthest) > NARROW,
    )  # fmt: skip
    sizes = filters, g.groups, depth, taps, g.length, g.count
    kernel(x, h, *sizes, g.up, g.down, g.offset, y)
    return y


# -- reductions ------------------------------------------------------------------------------------

# Axes before the sliding ones are one, and so are those behind.
_REDUCTION = """
    I rest = i;
    const I in = rest % inner; rest /= inner;
    {places}
    const I at = rest * points * inner + in;
    {start}
    {loop}
    {end}"""
_FIRST = "if (at_ < 0 || (best == best && (v > best || v != v))) { best = v; at_ = q; }"


def _reduced(rank: int, start: str, body: str, end: str) -> str:
    places = "".join(place(axis) for axis in reversed(range(rank)))
    loop = taps(rank, body)
    return _REDUCTION.format(places=places, start=start, loop=loop, end=end)


@cache
def _texts(name: str, rank: int) -> str:
    if name == "sums":
        return _reduced(
            rank, "T sum = 0;", "sum += given[at + q * inner];", "y = sum / T(divisor);"
        )
    body = "const T v = x[at + q * inner]; " + _FIRST
    end = "y = best;" + (" place = at_;" if name == "places" else "")
    return _reduced(rank, "T best = lowest; I at_ = -1;", body, end)


@cache
def _back_text(name: str, rank: int) -> str:
    places = "".join(
        f"const I x{axis} = rest % len{axis}; rest /= len{axis};\n"
        for axis in reversed(range(rank))
    )
    me = "0"
    for axis in range(rank):
        me = f"({me}) * len{axis} + x{axis}"
    if name == "spread":
        body, end = "sum += given[at + q * inner];", "y = sum / T(divisor);"
    else:
        body, end = "if (place[at + q * inner] == me) sum += given[at + q * inner];", "y = sum;"
    start = f"const I me = {me}; T sum = 0;"
    loop = windows(rank, body)
    return _REDUCTION.format(places=places, start=start, loop=loop, end=end)


def _lengths(g: Any, shape: Sequence[int]) -> tuple[int, int]:
    """Points of the sliding axes of an array, and of the axes behind them."""
    low, high = g.axes[0], g.axes[-1] + 1
    return prod(shape[low:high]), prod(shape[high:])


def _reduce(name: str, text: str, g: Any, shape: tuple[int, ...], x: Array, *more: Any) -> Array:
    """The result of a kernel of one array, and of places or the number that sums are divided by."""
    x, rank = cp.ascontiguousarray(x), len(g.axes)
    with x.device:
        y = cp.empty(shape, x.dtype)
    placed = name == "scatter"
    kernel = elementwise(
        name, rank, "raw T given, raw P place" if placed else "raw T given", "T y",
        "points inner" if placed else "divisor points inner", text,
        max(x.size, y.size) > NARROW,
    )  # fmt: skip
    kernel(x, *more, *_lengths(g, x.shape), *numbers(g.spans), y)
    return y


def sums(g: Any, x: Array, divisor: int) -> Array:
    """The sum of every window over `divisor`."""
    return _reduce("sums", _texts("sums", len(g.axes)), g, g.out, x, divisor)


def extremes(g: Any, x: Array, places: Any = None) -> Any:
    """The maximum of every window; beside its first place where a dtype is given for that.

    NaN is larger than any number; the place in a window wholly in padding is −1.
    """
    x = cp.ascontiguousarray(x)
    lowest = -float("inf") if x.dtype.kind == "f" else int(cp.iinfo(x.dtype).min)
    with x.device:
        y = cp.empty(g.out, x.dtype)
        found = None if places is None else cp.empty(g.out, places)
    rank, name = len(g.axes), "largest" if found is None else "places"
    results = "T y" if found is None else "T y, P place"
    kernel = elementwise(
        name, rank, "raw T x, T lowest", results, "points inner", _texts(name, rank),
        max(x.size, y.size) > NARROW,
    )  # fmt: skip
    outputs = (y,) if found is None else (y, found)
    kernel(x, x.dtype.type(lowest), *_lengths(g, x.shape), *numbers(g.spans), *outputs)
    return y if found is None else (y, found)


def spread(g: Any, y: Array, divisor: int) -> Array:
    """The transpose of `sums`."""
    return _reduce("spread", _back_text("spread", len(g.axes)), g, g.shape, y, divisor)


def index(x: Array) -> Any:
    """The dtype of places in x."""
    return cp.int64 if x.size > NARROW else cp.int32


def scatter(g: Any, y: Array, places: Array) -> Array:
    """Every window's value of y added at its place."""
    return _reduce("scatter", _back_text("scatter", len(g.axes)), g, g.shape, y, places)
