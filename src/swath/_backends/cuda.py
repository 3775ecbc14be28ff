"""Kernels of windows for CuPy, which has none of its own for layers and pooling.

One thread computes one result: a sum, an extreme, or a product with a kernel.

Windows are read where they lie: nothing is padded, gathered or held beside the result. A thread
goes through the taps of its window that meet the input, which lie in the caches of its
multiprocessor. The text is compiled once for each number of sliding axes, dtype and width of index.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from math import prod
from typing import Any

import cupy as cp

__all__ = ["extremes", "product", "scatter", "spread", "sums"]

Array = Any

# Of every sliding axis: results, points, and the fields of a span.
_FIELDS = ("out", "len", "size", "stride", "dil", "low")
# Above, indices need 64 bits; products of neighbouring sizes stay below the double.
_NARROW = 2**30


def _place(axis: int) -> str:
    """Where the window of a result begins, and the taps a … b − 1 of it that meet the input."""
    return """
    const I p# = rest % out#; rest /= out#;
    const I s# = p# * stride# - low#;
    const I a# = s# < 0 ? (dil# - 1 - s#) / dil# : 0;
    const I b# = min(size#, (len# - s# + dil# - 1) / dil#);""".replace("#", str(axis))


def _taps(rank: int, body: str) -> str:
    """`body` for every tap of a window: q is the point it reads, k its number."""
    text = "const I q_ = 0, k_ = 0;"
    before = "_"
    for axis in range(rank):
        text += """
    for (I j# = a#; j# < b#; ++j#) {
    const I q# = q@ * len# + s# + dil# * j#, k# = k@ * size# + j#;""".replace(
            "#", str(axis)
        ).replace("@", before)
        before = str(axis)
    return f"{text}\n    const I q = q{rank - 1}, k = k{rank - 1};\n    {body}" + " }" * rank


def _windows(rank: int, body: str) -> str:
    """`body` for every window that reads a point: q is the number of its result."""
    text = "const I q_ = 0;"
    before = "_"
    for axis in range(rank):
        text += """
    for (I j# = 0; j# < size#; ++j#) {
    const I t# = x# + low# - dil# * j#;
    if (t# < 0 || t# % stride# || t# / stride# >= out#) continue;
    const I q# = q@ * out# + t# / stride#;""".replace("#", str(axis)).replace("@", before)
        before = str(axis)
    return f"{text}\n    const I q = q{rank - 1};\n    {body}" + " }" * rank


@cache
def _kernel(name: str, rank: int, arrays: str, results: str, numbers: str, text: str, wide: bool):
    index = "int64" if wide else "int32"
    fields = [f"{field}{axis}" for axis in range(rank) for field in _FIELDS]
    given = ", ".join(f"{index} {n}" for n in (*numbers.split(), *fields))
    types = f"typedef {'long long' if wide else 'int'} I;"
    return cp.ElementwiseKernel(f"{arrays}, {given}", results, f"{types}\n{text}", f"swath_{name}")


def _numbers(spans: Sequence[Any]) -> list[int]:
    return [n for s in spans
            for n in (s.out, s.length, s.size, s.stride, s.dilation, s.low)]  # fmt: skip


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
    const I here = at + (from + c) * {channel}, kernel = (o * depth + c) * taps;
    {loop} }}
    y = sum;"""
_CHANNEL = "const I o = rest % (groups * rows); rest /= groups * rows;"


@cache
def _product_text(rank: int, last: bool) -> str:
    point = "q * channels" if last else "q"
    return _PRODUCT.format(
        last=_CHANNEL if last else "",
        first="" if last else _CHANNEL,
        places="".join(_place(axis) for axis in reversed(range(rank))),
        channel="1" if last else "plane",
        loop=_taps(rank, f"sum += w[kernel + k] * x[here + {point}];"),
    )


def product(g: Any, x: Array, w: Array) -> Array:
    """The forward product of x (B, C, *S) and w (O, C/groups, *K): (B, O, *out).

    Channels may lie last in memory; they then do so in the result.
    """
    kind = cp.result_type(x, w)
    x, w = x.astype(kind, copy=False), cp.ascontiguousarray(w.astype(kind, copy=False))
    order = (0, *range(2, 2 + g.rank), 1)
    last = not x.flags.c_contiguous and x.transpose(order).flags.c_contiguous
    x = x.transpose(order) if last else cp.ascontiguousarray(x)
    batch, rows, depth = x.shape[0], w.shape[0] // g.groups, w.shape[1]
    shape = (batch, *g.out, w.shape[0]) if last else (batch, w.shape[0], *g.out)
    with x.device:
        y = cp.empty(shape, kind)
    kernel = _kernel(
        "product", g.rank, "raw T x, raw T w", "T y", "groups rows depth taps plane",
        _product_text(g.rank, last), max(x.size, y.size, w.size) > _NARROW,
    )  # fmt: skip
    sizes = g.groups, rows, depth, prod(g.sizes), prod(g.lengths)
    kernel(x, w, *sizes, *_numbers(g.spans), y)
    return y.transpose((0, 1 + g.rank, *range(1, 1 + g.rank))) if last else y


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
    places = "".join(_place(axis) for axis in reversed(range(rank)))
    loop = _taps(rank, body)
    return _REDUCTION.format(places=places, start=start, loop=loop, end=end)


@cache
def _texts(name: str, rank: int) -> str:
    if name == "sums":
        return _reduced(rank, "T sum = 0;", "sum += x[at + q * inner];", "y = sum / T(divisor);")
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
        body, end = "sum += y[at + q * inner];", "x = sum / T(divisor);"
    else:
        body, end = "if (place[at + q * inner] == me) sum += y[at + q * inner];", "x = sum;"
    start = f"const I me = {me}; T sum = 0;"
    loop = _windows(rank, body)
    return _REDUCTION.format(places=places, start=start, loop=loop, end=end)


def _lengths(g: Any, shape: Sequence[int]) -> tuple[int, int]:
    """Points of the sliding axes of an array, and of the axes behind them."""
    low, high = g.axes[0], g.axes[-1] + 1
    return prod(shape[low:high]), prod(shape[high:])


def sums(g: Any, x: Array, divisor: int) -> Array:
    """The sum of every window over `divisor`."""
    x = cp.ascontiguousarray(x)
    with x.device:
        y = cp.empty(g.out, x.dtype)
    rank = len(g.axes)
    kernel = _kernel("sums", rank, "raw T x", "T y", "points inner divisor", _texts("sums", rank),
                     max(x.size, y.size) > _NARROW)  # fmt: skip
    kernel(x, *_lengths(g, x.shape), divisor, *_numbers(g.spans), y)
    return y


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
    kernel = _kernel(name, rank, "raw T x, T lowest", results, "points inner", _texts(name, rank),
                     max(x.size, y.size) > _NARROW)  # fmt: skip
    outputs = (y,) if found is None else (y, found)
    kernel(x, x.dtype.type(lowest), *_lengths(g, x.shape), *_numbers(g.spans), *outputs)
    return y if found is None else (y, found)


def spread(g: Any, y: Array, divisor: int) -> Array:
    """The transpose of `sums`."""
    y = cp.ascontiguousarray(y)
    with y.device:
        x = cp.empty(g.shape, y.dtype)
    rank = len(g.axes)
    kernel = _kernel("spread", rank, "raw T y", "T x", "points inner divisor",
                     _back_text("spread", rank), max(x.size, y.size) > _NARROW)  # fmt: skip
    kernel(y, *_lengths(g, y.shape), divisor, *_numbers(g.spans), x)
    return x


def scatter(g: Any, y: Array, x: Array) -> Array:
    """Every window's value of y added at the first place of its maximum in x."""
    wide = max(x.size, y.size) > _NARROW
    places = extremes(g, x, cp.int64 if wide else cp.int32)[1]
    y = cp.ascontiguousarray(y)
    with y.device:
        out = cp.empty(g.shape, y.dtype)
    rank = len(g.axes)
    kernel = _kernel("scatter", rank, "raw T y, raw P place", "T x", "points inner",
                     _back_text("scatter", rank), wide)  # fmt: skip
    kernel(y, places, *_lengths(g, y.shape), *_numbers(g.spans), out)
    return out
