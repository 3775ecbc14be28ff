"""The array library's own kernel for layer products: made for many channels, slow for one."""

from __future__ import annotations

from typing import Any

from .._backends import Backend
from ..geometry import Sliding
from .costs import Costs
from .problem import Estimate, Problem, as_is

__all__ = ["estimate", "last", "pack", "roles", "run", "scratch", "tile", "unpack"]

Array = Any
pack = unpack = as_is


def last(p: Problem) -> bool:
    """Whether it takes channels last."""
    return False


def roles(p: Problem) -> tuple[str, ...]:
    """Those that the library has."""
    return p.native


def run(be: Backend, role: str, g: Sliding, a: Array, b: Array) -> Array:
    """The library's product, channels first."""
    return be.native_product(role, g, a, b)


def estimate(p: Problem, cost: Costs) -> Estimate | str:
    """Rates seen with oneDNN and XLA beside a plain matrix product."""
    g = p.g
    if p.role not in p.native or g.rank > 3 or p.dtype not in ("float32", "float64"):
        return "the library has no kernel for it"
    if p.single and g.groups == 1:
        seconds = p.flops / cost.native_single
    elif p.single:
        seconds = p.flops / cost.native_groups
    else:
        loss = 1 + 64 / min(p.depth * p.taps, p.rows)
        seconds = p.heavy * p.flops * loss / cost.native
    moved = p.width * (p.inputs + p.outputs)
    return Estimate(seconds + 10 * cost.call, p.flops, moved)


def scratch(p: Problem) -> int:
    """Operands in orders of the library's own: those of derivatives more often."""
    copies = 1 if p.traces else 2 if p.role == "y" else 3
    return copies * (p.x_bytes + p.y_bytes) + p.w_bytes


def tile(p: Problem) -> tuple[int, int]:
    """Whatever the workspace allows."""
    return 0, 0
