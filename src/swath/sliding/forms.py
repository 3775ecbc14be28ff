"""A product brought to the form that an algorithm computes, and its result brought back.

Channels come first where the algorithm wants that; the transpose becomes forward products where it
has none of its own, one for every residue of the strides, so that no zero is multiplied; the kernel
is packed once, however many slabs there are.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from math import prod
from typing import Any

from .._backends import Backend
from ..geometry import Sliding
from . import limbs
from .costs import Costs
from .problem import Algorithm, Estimate, Problem, as_is, result_shape

__all__ = ["Form", "estimate", "scratch", "tile"]

Array = Any

# Bytes of operands and results that are cast at a time: near the caches until they are read again.
_CAST = 2**22


def _turned(algorithm: Algorithm, p: Problem) -> bool:
    """Whether the transpose is computed as forward products."""
    return p.role == "x" and "x" not in algorithm.roles(p)


@lru_cache(maxsize=4096)
def _before(g: Sliding) -> Sliding:
    """The geometry with channels first; kept, as it keeps what is derived from it."""
    return replace(g, last=False)


def estimate(algorithm: Algorithm, p: Problem, cost: Costs) -> Estimate | str:
    """What an algorithm costs for p, or why it does not apply."""
    found = _of_floats(algorithm, p, cost)
    if p.split is None or isinstance(found, str):
        return found
    # Operands are cast, results cast back twice; more passes cut limbs and add up products.
    (left, right), pairs = p.split.counts, len(p.split.pairs)
    sizes = {"x": p.x_bytes, "w": p.w_bytes, "y": p.y_bytes}
    result = sizes.pop(p.role)
    moved = (2 if pairs == 1 else 6) * pairs * result
    for size, count in zip(sizes.values(), (left, right), strict=True):
        moved += (1.5 if count == 1 else 4) * count * size
    return replace(
        found,
        seconds=pairs * found.seconds + moved / cost.gather + 3 * pairs * cost.call,
        flops=pairs * found.flops,
        moved=pairs * found.moved + moved,
    )


def _of_floats(algorithm: Algorithm, p: Problem, cost: Costs) -> Estimate | str:
    if not _turned(algorithm, p) or "y" not in algorithm.roles(p):
        return algorithm.estimate(p, cost)
    found = []
    for part in p.residues():
        e = algorithm.estimate(part, cost)
        if isinstance(e, str):
            return e
        found.append(e)
    if not found:
        # No tap reaches any point: zeros.
        return Estimate(cost.call, 0.0, p.x_bytes)
    # Points of different residues are written between each other.
    laid = 3 * p.x_bytes if len(found) > 1 else 0
    return replace(
        max(found, key=lambda e: e.seconds),
        seconds=sum(e.seconds for e in found) + laid / cost.gather,
        flops=sum(e.flops for e in found),
        moved=sum(e.moved for e in found) + laid,
        terms=max(e.terms for e in found),
    )


def scratch(algorithm: Algorithm, p: Problem) -> int:
    """Bytes beyond operands and result."""
    if p.split is not None:
        # Limbs of both operands, a product of these, and as integers with the sum.
        sizes = {"x": p.x_bytes, "w": p.w_bytes, "y": p.y_bytes}
        result = sizes.pop(p.role)
        made = sum(n * size for n, size in zip(p.split.counts, sizes.values(), strict=True))
        return made + 3 * result + scratch(algorithm, replace(p, split=None))
    if not _turned(algorithm, p):
        return algorithm.scratch(p)
    parts = list(p.residues())
    most = max((algorithm.scratch(q) for q in parts), default=0)
    if len(parts) > 1:
        most += 3 * p.x_bytes if p.traces else max(q.y_bytes for q in parts)
    return most + p.w_bytes


def tile(algorithm: Algorithm, p: Problem) -> tuple[int, int]:
    """Bytes of what should stay in the cache, and how many may."""
    if p.split is not None:
        return p.x_bytes + p.y_bytes, _CAST * p.wide
    if not _turned(algorithm, p):
        return algorithm.tile(p)
    return max((algorithm.tile(q) for q in p.residues()), default=(0, 0))


class Form:
    """One product as its algorithm computes it.

    Parameters
    ----------
    be : Backend
        Of the arrays.
    algorithm : Algorithm
        What computes.
    p : Problem
        What is computed.
    """

    def __init__(self, be: Backend, algorithm: Algorithm, p: Problem) -> None:
        self.be, self.algorithm, self.p = be, algorithm, p
        self.turned = _turned(algorithm, p)
        self.first = p.g.last and not algorithm.last(p)
        # Whether operands and result are the algorithm's own.
        self.plain = not (self.turned or self.first or p.split) and algorithm.pack is as_is
        r = p.g.rank
        # Orders of axes: signals and kernels with channels first, and back.
        self.signal, self.signal_back = (0, r + 1, *range(1, r + 1)), (0, *range(2, r + 2), 1)
        self.kernel, self.kernel_back = (r + 1, r, *range(r)), (*range(2, r + 2), 1, 0)

    def pack(self, w: Array) -> Any:
        """The kernel as every slab takes it."""
        how = self.p.split
        if how is None:
            return self._packed(w)
        side = 1 if self.p.role == "y" else 0
        return [self._packed(limb) for limb in limbs.limbs(self.be, w, how, side)]

    def _packed(self, w: Array) -> Any:
        be, g = self.be, self.p.g
        if self.first:
            g, w = _before(g), be.permute(w, self.kernel)
        if not self.turned:
            return self.algorithm.pack(be, g, w)
        found = {}
        for remainders, _, taps, sub in g.residues():
            # Of what no point asks for nothing says that the algorithm takes it.
            if 0 not in (*sub.sizes, *sub.out):
                found[remainders] = self.algorithm.pack(be, sub, _exchanged(be, g, w, taps))
        return found

    def zero(self, like: Array) -> Array:
        """The kernel of zeros, packed: sums of slabs begin with it."""
        p = self.p
        return self._packed(self.be.new_like(like, p.g.w_shape(p.g.groups * p.rows, p.depth)))

    def product(self, g: Sliding, a: Array, b: Array) -> Array:
        """The product of a slab with geometry g; kernels packed."""
        be, role, how = self.be, self.p.role, self.p.split
        if how is None:
            return self._product(g, a, b)
        kind = (b if role == "x" else a).dtype
        left = a if role == "x" else limbs.limbs(be, a, how, 0)
        right = b if role == "y" else limbs.limbs(be, b, how, 1)
        return limbs.product(be, how, kind, left, right, lambda x, y: self._product(g, x, y))

    def _product(self, g: Sliding, a: Array, b: Array) -> Array:
        be, role = self.be, self.p.role
        if self.first:
            g = _before(g)
            a = a if role == "x" else be.permute(a, self.signal)
            b = b if role == "y" else be.permute(b, self.signal)
        out = self._residues(g, a, b) if self.turned else self.algorithm.run(be, role, g, a, b)
        if self.first and role != "w":
            out = be.permute(out, self.signal_back)
        return out

    def gradients(self, x: Array, w: Array, y: Array) -> tuple[Array, ...] | None:
        """Both derivatives of "y", x̄ and w̄, by the library's kernel in one call, where it can."""
        be, g = self.be, self.p.g
        if not self.first:
            return be.native_gradients(g, x, w, y)
        x, y = be.permute(x, self.signal), be.permute(y, self.signal)
        found = be.native_gradients(_before(g), x, be.permute(w, self.kernel), y)
        if found is None:
            return None
        return be.permute(found[0], self.signal_back), be.permute(found[1], self.kernel_back)

    def unpack(self, w: Array) -> Array:
        """The kernel from its packed form."""
        be, p = self.be, self.p
        g = _before(p.g) if self.first else p.g
        w = self.algorithm.unpack(be, g, w, (p.rows, p.depth))
        return be.permute(w, self.kernel_back) if self.first else w

    def _residues(self, g: Sliding, kernels: dict[tuple[int, ...], Any], y: Array) -> Array:
        """x from y, residue by residue."""
        be, xp, p = self.be, self.be.xp, self.p
        steps = [s.stride for s in g.spans]
        between = (slice(None),) * (1 if g.last else 2)
        shape = result_shape("x", g, y.shape[0], p.depth, p.rows)
        if prod(steps) == 1:
            ((remainders, _, _, sub),) = g.residues()
            return self._forward(sub, y, kernels[remainders])
        if be.mutable:
            out = be.new_like(y, shape)
            for remainders, points, _, sub in g.residues():
                if remainders in kernels and 0 not in sub.out:
                    out[(*between, *points, ...)] = self._forward(sub, y, kernels[remainders])
            return out
        # Equal pieces, stacked and laid between each other.
        at, counts = len(between), [-(-s.length // s.stride) for s in g.spans]
        longer = replace(
            g, spans=tuple(_lengthened(s, n) for s, n in zip(g.spans, counts, strict=True))
        )
        parts = []
        for remainders, _, _, sub in longer.residues():
            if remainders in kernels:
                parts.append(self._forward(sub, y, kernels[remainders]))
            else:
                whole = list(shape)
                whole[at : at + g.rank] = counts
                parts.append(be.new_like(y, tuple(whole)))
        out = xp.stack(parts, axis=0)
        out = xp.reshape(out, (*steps, *out.shape[1:]))
        r, order = g.rank, []
        for axis in range(r, out.ndim):
            order.append(axis)
            if at <= axis - r < at + r:
                order.append(axis - r - at)
        out = xp.permute_dims(out, order)
        whole = list(shape)
        whole[at : at + r] = [n * s for n, s in zip(counts, steps, strict=True)]
        out = xp.reshape(out, tuple(whole))
        return out[(*between, *(slice(0, s.length) for s in g.spans), ...)]

    def _forward(self, g: Sliding, x: Array, w: Any) -> Array:
        return self.algorithm.run(self.be, "y", g, x, w)


def _lengthened(s: Any, count: int) -> Any:
    """The span with count·stride input points."""
    return replace(s, length=count * s.stride, high=s.high - (count * s.stride - s.length))


def _exchanged(be: Backend, g: Sliding, w: Array, taps: tuple[slice, ...]) -> Array:
    """Some taps of w, turned round, the channels of x and y exchanged."""
    xp, r = be.xp, g.rank
    if g.last:
        w = xp.flip(w[(*taps, ...)], axis=tuple(range(r)))
        w = xp.reshape(w, (*w.shape[:-1], g.groups, w.shape[-1] // g.groups))
        w = xp.permute_dims(w, (*range(r), r + 2, r + 1, r))
        return xp.reshape(w, (*w.shape[: r + 1], -1))
    w = xp.flip(w[(slice(None), slice(None), *taps)], axis=tuple(range(2, 2 + r)))
    w = xp.reshape(w, (g.groups, w.shape[0] // g.groups, *w.shape[1:]))
    w = xp.permute_dims(w, (0, 2, 1, *range(3, 3 + r)))
    return xp.reshape(w, (w.shape[0] * w.shape[1], *w.shape[2:]))
