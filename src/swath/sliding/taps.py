"""Taps of a sliding product, one by one, and the padded operand that they read."""

from __future__ import annotations

from itertools import product
from typing import Any

from .._backends import Backend
from ..geometry import Sliding

__all__ = ["all_taps", "fitted", "kernel_of"]

Array = Any


def all_taps(g: Sliding) -> list[tuple[int, ...]]:
    """Every tap, row-major."""
    return list(product(*map(range, g.sizes)))


def fitted(be: Backend, g: Sliding, x: Array) -> Array:
    """x with its padding in place, cropped where it is negative."""
    if all(s.low == 0 == s.high for s in g.spans):
        return x
    whole = (slice(None),) * (1 if g.last else 2)
    kept = [s.kept for s in g.spans]
    x = x[(*whole, *(cut for cut, _ in kept), ...)]
    widths = [(0, 0)] * len(whole) + [pair for _, pair in kept]
    return be.pad(x, [*widths, (0, 0)] if g.last else widths)


def kernel_of(be: Backend, g: Sliding, flat: Array) -> Array:
    """(taps, O, depth) to w."""
    xp, (rows, depth) = be.xp, flat.shape[1:]
    flat = xp.reshape(flat, (*g.sizes, rows, depth))
    r = g.rank
    order = (*range(r), r + 1, r) if g.last else (r, r + 1, *range(r))
    return xp.permute_dims(flat, order)
