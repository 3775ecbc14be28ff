"""The array library's own kernel.

That of layers is made for many channels and slow for one; NumPy's is one of a single channel along
one axis, good for few samples or few taps. CuPy, which has none, gets some from its adapter.
"""

from __future__ import annotations

from typing import Any

from .._backends import COLUMNS, Backend
from ..geometry import Sliding
from .costs import Costs
from .problem import Estimate, Problem, as_is

__all__ = ["estimate", "last", "pack", "roles", "run", "scratch", "tile", "unpack"]

Array = Any
pack = unpack = as_is

# The roles of CuPy's kernels, which are of this library.
_OWN = ("y", "w")

# Seconds that NumPy's convolution takes for a product of up to so many taps, for every output of
# more, and for each of those left over from whole blocks: the BLAS begins anew at every output.
_FEW = 11
_TAP, _OUTPUT, _LEFT = 0.5e-9, 7e-9, 0.9e-9
_BLOCK = 32
# Channels that a vector holds, and bytes from which memory comes fresh from the system.
_LANES, _FRESH = 16, 16 << 20


def last(p: Problem) -> bool:
    """Whether it takes channels last."""
    return False


def roles(p: Problem) -> tuple[str, ...]:
    """Those that the library has."""
    return ("y",) if p.native == ("line",) else p.native


def run(be: Backend, role: str, g: Sliding, a: Array, b: Array) -> Array:
    """The library's product, channels first."""
    return be.native_product(role, g, a, b)


def estimate(p: Problem, cost: Costs) -> Estimate | str:
    """Rates seen with oneDNN and XLA beside a plain matrix product."""
    g = p.g
    if p.native == ("line",):
        return _line(p, cost)
    if p.native == _OWN:
        return _own(p, cost)
    if p.role not in p.native or g.rank > 3 or p.dtype not in ("float32", "float64"):
        return "the library has no kernel for it"
    # PyTorch has no kernel of its own for float64: columns, and a product for every group.
    gathers = p.width > 4 and not p.traces
    if p.single and g.groups == 1:
        seconds = p.flops / cost.native_single
        if not gathers:
            # Results of all lanes of a vector are written, of which one counts.
            fresh = not p.traces and _LANES * p.width * p.outputs > 2 * _FRESH
            seconds += (4 if fresh else 1) * p.outputs / cost.native_point
    else:
        seconds = p.heavy * p.flops * (1 + _LANES / p.rows) / cost.native
        if g.groups > 1:
            # Few channels of a group fill no vector.
            seconds += p.flops / (cost.native_groups * min(p.depth, p.rows))
    if p.traces and g.rank == 3:
        seconds *= 3
    if gathers:
        columns = p.width * p.places * p.depth * p.taps
        seconds += columns / (cost.gather if columns < _FRESH else cost.gather / 16)
        seconds += 4 * p.batch * (g.groups - 1) * cost.call
    if g.last and not p.traces:
        # The kernel is laid out anew, point by point.
        seconds += p.w_bytes / (cost.gather / 32)
    moved = p.width * (p.inputs + p.outputs)
    return Estimate(seconds + 10 * cost.call, p.flops, moved)


def _gathers(p: Problem) -> bool:
    """Whether CuPy's kernels make a matrix product of it."""
    return p.role == "w" or p.rows >= COLUMNS


def _columns(p: Problem) -> int:
    """Bytes of the windows that CuPy's kernels gather for a matrix product."""
    return 0 if _plain(p) else p.width * p.places * p.depth * p.taps


def _plain(p: Problem) -> bool:
    """Whether windows are single points of x as it lies."""
    low = any(s.low or s.high for s in p.g.spans)
    return p.taps == p.g.groups == 1 and p.g.strideless and not low


def _own(p: Problem, cost: Costs) -> Estimate | str:
    """CuPy: one thread for each result reads its window where it lies, or columns are gathered."""
    if p.role not in p.native or p.dtype not in ("float32", "float64", "complex64", "complex128"):
        return "the library has no kernel for it"
    moved, columns = p.width * (p.inputs + p.outputs), _columns(p)
    if not _gathers(p):
        seconds = p.heavy * p.flops / cost.native_single + p.outputs / cost.native_point
        return Estimate(seconds + 4 * cost.call, p.flops, moved)
    seconds = p.heavy * p.flops * (1 + 8 / p.rows) / cost.gemm
    seconds += (2 * columns + 4 * p.y_bytes) / cost.gather
    return Estimate(seconds + (8 if columns else 3) * cost.call, p.flops, moved + 2 * columns)


def _line(p: Problem, cost: Costs) -> Estimate | str:
    """NumPy's convolution: a product of the BLAS for every output, or a loop over few taps."""
    if p.role != "y" or not p.single or p.batch * p.g.groups > 1 or p.g.rank > 1:
        return "the library's own convolves one channel along one axis"
    (s,) = p.g.spans
    if s.stride * s.dilation > 1:
        return "the library's own has no steps"
    n, k = max(s.length, s.size), min(s.length, s.size)
    points = n - k + 1 if s.low == s.high == 0 else n + k - 1
    each = _TAP * k if k <= _FEW else _OUTPUT + _LEFT * (k % _BLOCK) + k / cost.gemm
    moved = p.width * (p.inputs + p.outputs)
    return Estimate(p.heavy * points * each + 3 * cost.call, float(points * k), moved)


def scratch(p: Problem) -> int:
    """Operands in orders of the library's own: those of derivatives more often."""
    if p.native == _OWN:
        # The product before it is in order; channels last it is.
        columns = _columns(p) if _gathers(p) else 0
        return columns + p.w_bytes + (0 if p.g.last and p.role == "y" else p.y_bytes)
    if p.native == ("line",):
        return p.x_bytes + p.y_bytes + p.w_bytes
    if p.g.last and p.g.rank > 1 and not p.traces:
        # Kernels for channels last take arrays as they lie.
        return 2 * p.w_bytes
    copies = 1 if p.traces or p.role == "y" else 2
    return copies * (p.x_bytes + p.y_bytes) + p.w_bytes


def tile(p: Problem) -> tuple[int, int]:
    """Whatever the workspace allows."""
    return 0, 0
