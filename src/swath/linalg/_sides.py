"""Right-hand sides as columns of one matrix for each system, and results back in their shape."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

from .. import _ops

__all__ = ["Sides", "as_columns"]


@dataclass(frozen=True)
class Sides:
    """How right-hand sides were brought to (..., m, k).

    Attributes
    ----------
    vector : bool
        Whether there was one, without an axis for columns.
    folded : tuple of int or None
        Their leading axes and columns, where all became the columns of a single system.
    """

    vector: bool
    folded: tuple[int, ...] | None

    def back(self, v: Any, tail: tuple[int, ...]) -> Any:
        """A result (..., *tail, k) in the shape of the right-hand sides; tail is () or one axis."""
        if self.folded is not None:
            lead, t = len(self.folded) - 1, len(tail)
            v = _ops.reshape(v, (*tail, *self.folded))
            v = _ops.permute(v, (*range(t, t + lead), *range(t), t + lead))
        return _ops.reshape(v, tuple(v.shape[:-1])) if self.vector else v


def as_columns(b: Any, *, vector: bool, single: bool) -> tuple[Any, Sides]:
    """b (..., m, k), or of a `vector` (..., m), as (..., m, k); of a `single` system as (m, k)."""
    if vector:
        b = _ops.reshape(b, (*b.shape, 1))
    if not single or b.ndim == 2:
        return b, Sides(vector, None)
    *lead, m, k = b.shape
    order = (len(lead), *range(len(lead)), len(lead) + 1)
    return _ops.reshape(_ops.permute(b, order), (m, prod(lead) * k)), Sides(vector, (*lead, k))
