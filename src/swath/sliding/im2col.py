"""The sliding product as one matrix product with gathered windows.

A window of all channels becomes a column (channels first) or a row (channels last), and the product
is one GEMM whose inner length is taps × channels. The columns repeat every input point once for
every tap, so they are made for a slab of outputs at a time (see `plan`), never for the whole input.
"""

from __future__ import annotations

from math import prod
from typing import Any

from .._backends import Backend
from ..geometry import Sliding
from .costs import Costs
from .problem import Estimate, Problem

__all__ = ["estimate", "roles", "run", "scratch", "tile"]

Array = Any
LAST = True

# Bytes of gathered windows at a time: they stay in the second-level caches until the product.
_COLUMNS = 2**21


def roles(be: Backend) -> tuple[str, ...]:
    """Those of the forward product and of its kernel."""
    return ("y", "w")


def estimate(p: Problem, cost: Costs) -> Estimate | str:
    """One matrix product, and the copying of every window."""
    if p.role == "x" and any(s.stride > 1 for s in p.g.spans):
        return "gathers too many zeros between strided windows"
    wide = p.rows if p.role == "x" else p.depth
    windows = p.places * wide * p.taps
    moved = p.width * (2 * windows + p.inputs + p.outputs)
    seconds = p.heavy * p.flops * (1 + 16 / min(p.rows, p.depth * p.taps)) / cost.gemm
    # Without strided views windows are gathered by index.
    seconds += moved / (cost.gather / 6 if p.traces else cost.gather) + 20 * cost.call
    return Estimate(seconds, p.flops, moved)


def _columns_bytes(p: Problem) -> int:
    """Bytes of all windows gathered."""
    return p.width * p.places * p.depth * p.taps


def scratch(p: Problem) -> int:
    """The windows, and operands in the order of a product."""
    if p.role == "x":
        turned = p.forward()
        return turned.x_bytes + scratch(turned)
    # Groups of channels that lie apart are gathered before they are joined.
    copies = 2 if p.g.last and p.g.groups > 1 else 1
    return copies * _columns_bytes(p) + p.x_bytes + p.y_bytes + p.w_bytes


def tile(p: Problem) -> tuple[int, int]:
    """The windows of a slab."""
    return _columns_bytes(p.forward() if p.role == "x" else p), _COLUMNS


def _columns(be: Backend, g: Sliding, x: Array) -> Array:
    """(B, G·D, *S) to (B, G, D·K, P); channels last: (B, *S, G·D) to (G, B·P, K·D)."""
    xp, r = be.xp, g.rank
    at = 1 if g.last else 2
    axes = tuple(range(at, at + r))
    cuts = [slice(None)] * x.ndim
    widths = [(0, 0)] * x.ndim
    for axis, s in zip(axes, g.spans, strict=True):
        cuts[axis] = slice(max(0, -s.low), s.length - max(0, -s.high))
        widths[axis] = (max(0, s.low), max(0, s.high))
    x = be.pad(x[tuple(cuts)], widths)
    strides, dilations = [s.stride for s in g.spans], [s.dilation for s in g.spans]
    blocks = be.windows(x, g.sizes, strides, dilations, axes)
    taps, places = prod(g.sizes), prod(g.out)
    if g.last:
        # (B, *out, C, *K) -> (B, *out, *K, C): the last runs of a row are contiguous in x
        blocks = xp.permute_dims(blocks, (0, *axes, *range(r + 2, 2 * r + 2), r + 1))
        if g.groups == 1:
            return xp.reshape(blocks, (1, blocks.shape[0] * places, taps * blocks.shape[-1]))
        depth = blocks.shape[-1] // g.groups
        blocks = xp.reshape(blocks, (blocks.shape[0] * places, taps, g.groups, depth))
        blocks = xp.permute_dims(blocks, (2, 0, 1, 3))
        return xp.reshape(blocks, (g.groups, -1, taps * depth))
    # (B, C, *out, *K) -> (B, C, *K, *out)
    blocks = xp.permute_dims(blocks, (0, 1, *range(r + 2, 2 * r + 2), *axes))
    depth = blocks.shape[1] // g.groups
    return xp.reshape(blocks, (blocks.shape[0], g.groups, depth * taps, places))


def _matrix(be: Backend, g: Sliding, w: Array) -> Array:
    """w as (G, O/G, D·K); channels last: (G, K·D, O/G)."""
    xp, taps = be.xp, prod(g.sizes)
    if g.last:
        depth, rows = w.shape[-2], w.shape[-1] // g.groups
        w = xp.reshape(w, (taps * depth, g.groups, rows))
        return xp.permute_dims(w, (1, 0, 2))
    return xp.reshape(w, (g.groups, w.shape[0] // g.groups, w.shape[1] * taps))


def run(be: Backend, role: str, g: Sliding, a: Array, b: Array) -> Array:
    """The products of role "y" and "w", in both layouts."""
    xp, groups = be.xp, g.groups
    columns = _columns(be, g, a)
    batch = a.shape[0]
    if role == "y":
        m = _matrix(be, g, b)
        if g.last:
            y = be.matmul(columns, m)  # (G, B·P, O/G)
            y = xp.permute_dims(y, (1, 0, 2))
            return xp.reshape(y, g.y_shape(batch, groups * m.shape[2]))
        y = be.matmul(m, columns)  # (B, G, O/G, P)
        return xp.reshape(y, g.y_shape(batch, groups * m.shape[1]))
    places = prod(g.out)
    if g.last:
        rows, depth = b.shape[-1] // groups, a.shape[-1] // groups
        y = xp.permute_dims(xp.reshape(b, (batch * places, groups, rows)), (1, 0, 2))
        w = be.matmul(xp.matrix_transpose(columns), y)  # (G, K·D, O/G)
        w = xp.permute_dims(xp.reshape(w, (groups, *g.sizes, depth, rows)), _last_order(g.rank))
        return xp.reshape(w, g.w_shape(groups * rows, depth))
    rows, depth = b.shape[1] // groups, a.shape[1] // groups
    y = xp.reshape(b, (batch, groups, rows, places))
    w = be.matmul(y, xp.matrix_transpose(columns))  # (B, G, O/G, D·K)
    w = xp.sum(w, axis=0, dtype=w.dtype)
    return xp.reshape(w, g.w_shape(groups * rows, depth))


def _last_order(rank: int) -> tuple[int, ...]:
    """(G, *K, D, R) to (*K, D, G, R)."""
    return (*range(1, rank + 2), 0, rank + 2)
