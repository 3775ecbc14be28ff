"""Products of windows that move point by point along lines, as one CUDA kernel.

Each thread computes results that are neighbours on a line, of one kernel or of several, and holds
the points that their windows share in registers: reading a point and a tap serves nine
multiply-adds, reading a point and eight taps 72.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache, lru_cache
from math import prod
from typing import Any, NamedTuple

import cupy as cp
from cupy.lib.stride_tricks import as_strided

from ..geometry import Span
from .cuda_text import NARROW, fields, numbers

__all__ = ["effort", "kernel", "parts", "product"]

Array = Any

# Threads of a block, of one kernel and of several; and results that each computes along a line: an
# odd number, so that threads read from different banks.
_THREADS, _MORE_THREADS, _NEIGHBOURS = 32, 64, 9
# Lines of a block at most, a power of two: more would hold more points between them than results.
_LINES = 8
# Taps that a block holds at once, and that a thread takes without a look at how many there are: of
# a single kernel they are read by fours.
_HELD, _STEP = 128, 8
# Multiply-adds of one kernel in the time in which a thread loads what one tap of a line needs.
_LOAD = 20
_TYPES = {
    "f": "float", "d": "double", "F": "complex<float>", "D": "complex<double>",
}  # fmt: skip

_HEAD = """#include <cupy/complex.cuh>
typedef TYPE T;
typedef INDEX I;
constexpr int R = NEIGHBOURS, Q = KERNELS, N = THREADS, H = HELD, U = STEP;

extern "C" __global__ void __launch_bounds__(N) swath_lines(
    const T* x, const T* w, T* y, NUMBERS) {
    extern __shared__ __align__(16) char memory[];
    // The lines of a block share its threads.
    const int per = N / lines, me = threadIdx.x, mine = me / per, t = me % per;
    T* held = (T*) memory;
    T* near = held + most * Q + mine * (per * R + most - 1);
    I rest = blockIdx.x;
    const I begin = rest % tiles * (per * R); rest /= tiles;
    const I first = begin - low$, line = rest % bundles * lines + mine; rest /= bundles;
    const bool in_ = line < LINES;
    PLACES
    const I parts = (rows + Q - 1) / Q, part = rest % parts * Q; rest /= parts;
    const int kernels = min((I) Q, rows - part), results = min((I) per * R, out$ - begin);
    const I o = rest % groups * rows + part;
    const I at = rest * depth * plane;
    const I to = ((rest / groups * groups * rows + o) * LINES + line) * out$ + begin;
    T sum[Q][R], v[R + U - 1];
    #pragma unroll
    for (int s = 0; s < Q * R; ++s) sum[s / R][s % R] = T(0);
    for (I c = 0; c < depth; ++c) {
    const I q_ = 0, w_ = o * across + c * down;
    LOOP }
    #pragma unroll
    for (int s = 0; s < Q; ++s) {
        __syncthreads();
        #pragma unroll
        for (int r = 0; r < R; ++r) near[t * R + r] = sum[s][r];
        __syncthreads();
        if (in_ && s < kernels)
            for (int i = t; i < results; i += per) y[to + s * LINES * out$ + i] = near[i];
    }
}
"""
_OUTER = """
    for (I j# = 0; j# < size#; ++j#) {
    const I i# = s# + dil# * j#, q# = q@ * len# + i#, w# = w@ + j# * along#;
    const bool in# = in@ && i# >= 0 && i# < len#;"""
_LOOP = """
    const T* from = x + at + c * plane + q@ * len$;
    for (I k = 0; k < size$; k += H) {
        const int n = min((I) H, size$ - k), reach = per * R + n - 1;
        __syncthreads();
        for (int i = t; i < reach; i += per) {
            const I p = first + k + i;
            near[i] = in@ && p >= 0 && p < len$ ? from[p] : T(0);
        }
        for (int i = me; i < Q * n; i += N)
            held[i] = i % Q < kernels ? w[w@ + i % Q * across + (k + i / Q) * along$] : T(0);
        __syncthreads();
        const T* here = near + t * R;
        #pragma unroll
        for (int r = 0; r < R - 1; ++r) v[r] = here[r];
        int j = 0;
        for (; j + U <= n; j += U) {
            #pragma unroll
            for (int d = 0; d < U; ++d) { PRODUCTS }
            #pragma unroll
            for (int r = 0; r < R - 1; ++r) v[r] = v[U + r];
        }
        #pragma unroll
        for (int d = 0; d < U - 1; ++d)
            if (j + d < n) { PRODUCTS }
    }"""
_PRODUCTS = """
                v[R - 1 + d] = here[j + R - 1 + d];
                #pragma unroll
                for (int s = 0; s < Q; ++s) {
                    const T h = held[(j + d) * Q + s];
                    #pragma unroll
                    for (int r = 0; r < R; ++r) sum[s][r] += h * v[d + r];
                }
            """


@cache
def _kernel(rank: int, dtype: str, kernels: int, wide: bool) -> Any:
    outer, before, loop = range(rank - 1), "_", ""
    for axis in outer:
        loop += _OUTER.replace("#", str(axis)).replace("@", before)
        before = str(axis)
    places = "I over = line;" if outer else ""
    for axis in reversed(outer):
        places += f" const I s{axis} = over % out{axis} * stride{axis} - low{axis};"
        places += f" over /= out{axis};"
    steps = ("across", "down", *(f"along{axis}" for axis in range(rank)))
    sizes = ("lines", "most", "tiles", "bundles", "groups", "rows", "depth", "plane")
    words = {
        "LOOP": loop + _LOOP.replace("@", before) + " }" * (rank - 1),
        "PRODUCTS": _PRODUCTS,
        "PLACES": places,
        "LINES": "*".join(("1", *(f"out{axis}" for axis in outer))),
        "NUMBERS": ", ".join(f"I {n}" for n in (*sizes, *steps, *fields(rank))),
        "NEIGHBOURS": str(_NEIGHBOURS),
        "KERNELS": str(kernels),
        "THREADS": str(_threads(kernels)),
        "HELD": str(_HELD),
        "STEP": str(_STEP),
        "TYPE": _TYPES[dtype],
        "INDEX": "long long" if wide else "int",
        "$": str(rank - 1),
    }
    text = _HEAD
    for word, meaning in words.items():
        text = text.replace(word, meaning)
    return cp.RawKernel(text, "swath_lines")


def _kernels(rows: int, width: int) -> int:
    """How many kernels a thread takes at once: registers hold their sums."""
    if rows < 3:
        return 1
    return 8 if width == 4 and rows >= 8 and rows % 8 in (0, 5, 6, 7) else 4


def _threads(kernels: int) -> int:
    return _THREADS if kernels == 1 else _MORE_THREADS


def _blocks(g: Any, kernels: int) -> tuple[int, int, int]:
    """Lines of a block, tiles of a line, and how many blocks make that tile of all lines."""
    threads, out = _threads(kernels), g.out[-1]
    lines = 1
    while lines < _LINES and 2 * lines * out <= threads * _NEIGHBOURS:
        lines *= 2
    tile = threads // lines * _NEIGHBOURS
    return lines, -(-out // tile), -(-prod(g.out[:-1]) // lines)


@lru_cache(maxsize=4096)
def effort(g: Any, rows: int, width: int) -> float:
    """What a multiply-add costs beside one of a single long kernel of many taps, on long lines."""
    s = g.spans[-1]
    if s.stride > 1 or s.dilation > 1:
        return float("inf")
    kernels = _kernels(rows, width)
    _, tiles, bundles = _blocks(g, kernels)
    taken = _threads(kernels) * _NEIGHBOURS * tiles * bundles * kernels * -(-rows // kernels)
    return (0.8 + _LOAD / (s.size * kernels)) * taken / (prod(g.out) * rows)


@lru_cache(maxsize=4096)
def _launch(
    g: Any, batch: int, rows: int, depth: int, kernels: int, steps: tuple[int, ...], wide: bool
) -> tuple[tuple[int], tuple[Any, ...], int]:
    """Blocks, numbers for the kernel, and elements of memory that threads share."""
    lines, tiles, bundles = _blocks(g, kernels)
    most = min(_HELD, g.sizes[-1])
    blocks = batch * g.groups * -(-rows // kernels) * bundles * tiles
    sizes = lines, most, tiles, bundles, g.groups, rows, depth, prod(g.lengths)
    kind = cp.int64 if wide else cp.int32
    given = tuple(kind(n) for n in (*sizes, *steps, *numbers(g.spans)))
    held = most * kernels + _threads(kernels) * _NEIGHBOURS + lines * (most - 1)
    return (blocks,), given, held


def product(g: Any, x: Array, w: Array) -> Array:
    """The product of x (B, C, *S), contiguous, and w (O, C/groups, *K): (B, O, *out)."""
    width, rows = w.itemsize, w.shape[0] // g.groups
    with x.device:
        y = cp.empty((x.shape[0], w.shape[0], *g.out), x.dtype)
        if not y.size:
            return y
        kernels, wide = _kernels(rows, width), max(x.size, y.size, w.size) > NARROW
        steps = tuple(step // width for step in w.strides)
        blocks, given, held = _launch(g, x.shape[0], rows, w.shape[1], kernels, steps, wide)
        kernel = _kernel(g.rank, x.dtype.char, kernels, wide)
        kernel(blocks, (_threads(kernels),), (x, w, y, *given), shared_mem=held * width)
    return y


# Blocks that keep a GPU at work, and terms of a sum that a block takes at least.
_BUSY, _TERMS = 1024, 256


class Parts(NamedTuple):
    """How the gradient of a single kernel along a line is cut, and the product that it becomes.

    Parts of y, of so many points each, are kernels of groups, and the points that their windows
    read are lines.
    """

    g: Any
    points: int
    many: int


@lru_cache(maxsize=4096)
def parts(g: Any, batch: int, depth: int, rows: int) -> Parts | None:
    """The parts; None with several axes or channels, or windows that do not move point by point."""
    s = g.spans[-1]
    if g.rank > 1 or depth * rows > 1 or s.stride > 1 or s.dilation > 1:
        return None
    tiles = -(-s.size // (_THREADS * _NEIGHBOURS))
    points = max(_TERMS, s.size, s.out * batch * g.groups * tiles // _BUSY)
    points = min(points, s.out)
    count = -(-s.out // points)
    line = Span(points + s.size - 1, points)
    return Parts(replace(g, spans=(line,), groups=batch * g.groups * count), points, count)


def kernel(g: Any, cut: Parts, x: Array, y: Array) -> Array:
    """The product of x (B, G, S) and y (B, G, out) that is a kernel, (G, 1, K)."""
    (s,), lines = g.spans, x.shape[0] * g.groups
    length = cut.points * cut.many
    with x.device:
        signal = cp.zeros((lines, length + s.size - 1), x.dtype)
        terms = cp.zeros((lines, length), x.dtype)
    first, start = max(0, s.low), max(0, -s.low)
    many = max(0, min(s.length - start, signal.shape[1] - first))
    signal[:, first : first + many] = x.reshape(lines, -1)[:, start : start + many]
    terms[:, : s.out] = y.reshape(lines, -1)
    step, width = signal.strides
    shape = lines, cut.many, cut.g.lengths[0]
    read = as_strided(signal, shape, (step, width * cut.points, width))
    z = product(
        cut.g,
        cp.ascontiguousarray(read).reshape(1, -1, cut.g.lengths[0]),
        terms.reshape(-1, 1, cut.points),
    )
    return z.reshape(x.shape[0], g.groups, cut.many, -1).sum(axis=(0, 2))[:, None, :]
