"""The array library's own kernel; what it computes and what it costs is told by the adapter.

That of layers is made for many channels and slow for one; NumPy's is one of a single channel along
one axis, good for few samples or few taps. CuPy, which has none, gets some from its adapter.
"""

from __future__ import annotations

from typing import Any

from .._backends import Backend
from ..geometry import Sliding
from .costs import Costs
from .problem import Estimate, Problem, as_is, unframed

__all__ = ["estimate", "exact", "last", "pack", "roles", "run", "scratch", "tile", "unpack"]

Array = Any
pack = unpack = as_is
frames = unframed


def last(p: Problem) -> bool:
    """Whether it takes channels last."""
    return False


def roles(p: Problem) -> tuple[str, ...]:
    """Those that the library has."""
    native = p.native
    return (*native.roles, "x") if p.role == "x" and native.spreads(p) else native.roles


def run(be: Backend, role: str, g: Sliding, a: Array, b: Array) -> Array:
    """The library's product, channels first."""
    return be.native_product(role, g, a, b)


def estimate(p: Problem, cost: Costs) -> Estimate | str:
    """What the adapter says of its kernel."""
    seconds = p.native.seconds(p, cost)
    if isinstance(seconds, str):
        return seconds
    return Estimate(seconds, p.flops, p.width * (p.inputs + p.outputs))


def scratch(p: Problem) -> int:
    """Operands in orders of the library's own, those of derivatives more often; or as it says."""
    if p.native.scratch is not None:
        return p.native.scratch(p)
    if p.g.last and p.g.rank > 1 and not p.traces:
        # Kernels for channels last take arrays as they lie.
        return 2 * p.w_bytes
    copies = 1 if p.traces or p.role == "y" else 2
    return copies * (p.x_bytes + p.y_bytes) + p.w_bytes


def exact(p: Problem) -> bool:
    """Where the library says it."""
    return p.native.scratch is not None


def tile(p: Problem) -> tuple[int, int]:
    """Whatever the workspace allows."""
    return 0, 0
