"""Shift-and-add: one term for every tap, no window is ever built.

    y += w[j] · x[shifted by j]        (an elementwise product, or a small matrix product over
                                        channels: "kn2row")

Works for every geometry and dtype, exact for integers, and a non-finite sample stays inside its
own windows. Where arrays may be written in place the terms are added into slices and nothing is
padded, and those of depthwise products are added plane by plane; elsewhere they are padded and
added, by a compiled loop where they are many.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from .._backends import Backend
from ..geometry import Sliding, Span, strided
from . import planes
from .costs import Costs
from .problem import Estimate, Problem, as_is, unframed
from .taps import all_taps, fitted, kernel_of

__all__ = [
    "estimate",
    "exact",
    "frames",
    "last",
    "roles",
    "run",
    "scratch",
    "tile",
]

Array = Any
pack = unpack = as_is
frames = unframed
_ALL = slice(None)

# Terms of a traced program that are written out: more would take a compiler seconds.
_UNROLLED = 64
# How much longer a compiler's loop over a single line takes that threads cannot share evenly (XLA),
# and from how many multiply-adds of one pass on they share it.
_UNEVEN, _SHARED = 8, 10**5
# Neighbouring channels that fill a vector.
_LANES = 8


def last(p: Problem) -> bool:
    """Whether it takes channels last."""
    return True


def roles(p: Problem) -> tuple[str, ...]:
    """All of them; the transpose of planes is a product of planes.

    So is that of few channels for a compiler: slices of one padded array are joined in one pass,
    many padded arrays are not.
    """
    turned = planes.planar(p) or (p.traces and (p.single or _unrolled(p.g, p.rows)))
    return ("y", "w") if turned else ("y", "x", "w")


def _unrolled(g: Sliding, depth: int) -> bool:
    """Whether a compiler gets every term written out, channels too: one pass computes them all."""
    return depth * prod(g.sizes) <= _UNROLLED


def exact(p: Problem) -> bool:
    """Where a compiler makes one pass of it, and holds the padded operand beside."""
    return p.traces and p.role == "y" and _unrolled(p.g, p.depth)


def estimate(p: Problem, cost: Costs) -> Estimate:
    """One pass or one small matrix product for every tap."""
    if p.traces:
        return _compiled(p, cost)
    if p.fuses and planes.planar(p):
        return planes.estimate(p, cost)
    # A GPU's sums over arrays take longer than its passes.
    passes = 8 if p.role == "w" and p.wide > 1 else 3
    each = passes * p.rows if p.single else p.depth + 3 * p.rows
    moved = p.taps * p.width * p.places * each
    if p.integral and p.wide == 1 and not (p.fuses and p.single and p.g.rank > 1):
        # Measured of integers, whose lines lie in the cache; NumPy's loops end with every row.
        moved /= 2 if p.g.rank > 1 or not p.single else 6
    steps = p.taps * (2 if p.single else 4)
    blocks = max(1, max(p.x_bytes, p.y_bytes) // (planes.BLOCK * p.wide))
    if planes.planar(p):
        # Small planes of different entries of the batch are blocks of their own.
        blocks = max(blocks, p.batch)
    # What begins a slab anew costs more than the operations in it.
    steps += p.begun if blocks > 1 else 0
    seconds = moved / cost.stream + steps * blocks * cost.call
    if not p.single:
        seconds += p.heavy * p.flops * (1 + 16 / min(p.depth, p.rows)) / cost.gemm
    if not p.single and p.g.last and p.g.groups > 1:
        # Every tap's channels are sorted by groups and back, few at a time.
        sorted_ = 4 * p.taps * p.width * p.places * (p.depth + p.rows)
        moved, seconds = moved + sorted_, seconds + sorted_ / cost.gather
    return Estimate(seconds, p.flops, moved)


def _compiled(p: Problem, cost: Costs) -> Estimate:
    """As a compiler does it (passes measured under XLA on a processor).

    It makes one pass of the products and sums of single channels that it unrolls, from registers,
    of neighbouring points at once; it copies what a matrix product reads, and sums one by one.
    """
    points = p.width * p.places
    unrolled = _unrolled(p.g, p.depth)
    if p.role == "w":
        moved = 4.0 * p.taps * points * p.rows
        steps = 20.0
    elif unrolled or p.depth == 1:
        # Points of several channels are read once for all results.
        each = (0.3 if p.depth == 1 else 0.15) if unrolled else 0.7
        if p.g.spans[-1].stride > 1:
            each *= 2
        once = p.outputs * (p.taps * p.depth if unrolled else 1)
        if p.outputs == p.g.out[-1] and p.outputs % 2 and once >= _SHARED:
            # Its points are computed one by one.
            each *= _UNEVEN
        moved = (1 + each * p.taps * p.depth) * points * p.rows
        # On a GPU every step of a loop is started.
        steps = 12 + (0.0 if unrolled else (2.0 if p.wide > 1 else 0.01) * p.taps)
    else:
        # What lies apart is copied once more: channels first, and results of groups.
        each = (4 if p.g.last else 8) * p.depth + (4 if p.g.groups > 1 else 1) * p.rows
        moved = p.taps * points * each
        if p.role == "x" and not p.g.strideless:
            # Each tap's term is asked for at every point of x, most of which lie between its own;
            # channels last, few of them, one by one.
            moved += p.taps * p.x_bytes * (4 if p.g.last and p.depth < _LANES else 1)
        steps = 8 + 4.0 * p.taps
    if p.role != "w" and not p.single and p.wide == 1:
        # Small layers take so much longer than what else is told of them.
        steps += 6
    seconds = moved / cost.stream + steps * cost.call
    if p.role != "w" and p.depth > 1 and not unrolled:
        # Channels first the entries of a tap lie apart.
        seconds += (2 if p.g.last else 4) * p.w_bytes / cost.gather
    if (p.depth > 1 and not unrolled) or (p.role == "w" and p.depth * p.rows > 1):
        seconds += p.dense * p.flops * (5 if p.role == "w" else 1) / cost.gemm
    return Estimate(seconds, p.flops, moved)


def scratch(p: Problem) -> int:
    """One term, and the stretch of the operand that a matrix product wants contiguous."""
    x, y = p.x_bytes, p.y_bytes
    if planes.planar(p):
        return planes.scratch(p)
    if exact(p) or (p.traces and p.role == "x" and _unrolled(p.g, p.rows)):
        return x
    if p.single and p.role != "w":
        return x + y if p.traces else max(x, y)
    # A compiler may keep a few of both.
    return (4 if p.traces else 1) * (x + y)


def tile(p: Problem) -> tuple[int, int]:
    """Operands and results of a slab; planes are cut by `run`."""
    if planes.planar(p):
        return 0, 0
    return max(p.x_bytes, p.y_bytes), planes.BLOCK * p.wide


def run(be: Backend, role: str, g: Sliding, a: Array, b: Array) -> Array:
    """The product of the given role ("y", "x" or "w"; see `product`)."""
    if be.traces and prod(g.sizes) > _UNROLLED:
        return {"y": _loop_forward, "x": _loop_spread, "w": _loop_kernel}[role](be, g, a, b)
    if role == "w":
        return _kernel(be, g, a, b)
    if role == "y":
        return (_forward_in_place if be.mutable else _forward)(be, g, a, b)
    return (_spread_in_place if be.mutable else _spread)(be, g, a, b)


def _at(g: Sliding, cuts: Sequence[slice]) -> tuple[slice, ...]:
    """Index of x or y with cuts on the sliding axes."""
    return (_ALL, *cuts, _ALL) if g.last else (_ALL, _ALL, *cuts)


def _tap(be: Backend, g: Sliding, w: Array, tap: Sequence[int]) -> Array:
    """w at one tap as (groups, O/groups, depth)."""
    xp = be.xp
    if g.last:
        wj = w[(*tap, _ALL, _ALL)]  # (depth, O)
        wj = xp.reshape(wj, (wj.shape[0], g.groups, wj.shape[1] // g.groups))
        return xp.permute_dims(wj, (1, 2, 0))
    wj = w[(_ALL, _ALL, *tap)]
    return xp.reshape(wj, (g.groups, wj.shape[0] // g.groups, wj.shape[1]))


def _mix(be: Backend, g: Sliding, m: Array, v: Array) -> Array:
    """Multiply the channels of every group of v by m (groups, rows, columns)."""
    xp = be.xp
    groups, rows, columns = m.shape
    if columns == 1 and (rows == 1 or groups == 1):
        # One input channel (per group): a broadcast product instead of an outer matrix product.
        flat = xp.reshape(m, (groups * rows,))
        if not g.last:
            flat = xp.reshape(flat, (groups * rows, *([1] * g.rank)))
        return flat * v
    if g.last:
        lead = v.shape[:-1]
        if groups == 1:
            out = be.matmul(xp.reshape(v, (prod(lead), columns)), xp.matrix_transpose(m[0, ...]))
            return xp.reshape(out, (*lead, rows))
        v = xp.reshape(v, (prod(lead), groups, columns))
        out = be.matmul(xp.permute_dims(v, (1, 0, 2)), xp.matrix_transpose(m))
        return xp.reshape(xp.permute_dims(out, (1, 0, 2)), (*lead, groups * rows))
    space = v.shape[2:]
    v = xp.reshape(v, (v.shape[0], groups, columns, prod(space)))
    return xp.reshape(be.matmul(m, v), (v.shape[0], groups * rows, *space))


def _terms(be: Backend, g: Sliding, m: Array, v: Array) -> Array:
    """`_mix` by elementwise products."""
    xp, total = be.xp, None
    groups, rows, columns = m.shape
    at = v.ndim - 1 if g.last else 1
    v = xp.reshape(v, (*v.shape[:at], groups, columns, *v.shape[at + 1 :]))
    shape = (groups, rows) if g.last else (groups, rows, *[1] * g.rank)
    for i in range(columns):
        column = xp.reshape(m[:, :, i : i + 1], shape)
        term = column * v[(*[_ALL] * (at + 1), slice(i, i + 1), ...)]
        total = term if total is None else total + term
    return xp.reshape(total, (*v.shape[:at], groups * rows, *v.shape[at + 2 :]))


def _forward(be: Backend, g: Sliding, x: Array, w: Array) -> Array:
    depth = w.shape[-2] if g.last else w.shape[1]
    mix = _terms if be.traces and _unrolled(g, depth) else _mix
    x, total = be.made(fitted(be, g, x)), None
    for tap in all_taps(g):
        placed = [s.placed(j) for s, j in zip(g.spans, tap, strict=True)]
        term = mix(be, g, _tap(be, g, w, tap), x[_at(g, placed)])
        total = term if total is None else total + term
    return total


def _forward_in_place(be: Backend, g: Sliding, x: Array, w: Array) -> Array:
    channels = w.shape[-1] if g.last else w.shape[0]
    depthwise = g.groups == channels == x.shape[-1 if g.last else 1] > 1
    if depthwise and g.strideless and be.in_place:
        return planes.correlate(be, g, x, w)
    y = be.new_like(x, g.y_shape(x.shape[0], channels), dtype=x.dtype)
    if channels == 1 and x.shape[-1 if g.last else 1] == 1:
        # One channel in, one out: a tap is a number.
        for tap, outputs, inputs in g.each_tap():
            wj = w[(*tap, 0, 0)] if g.last else w[(0, 0, *tap)]
            # An array of its own: y[…] += … would be written back by some libraries.
            part = y[_at(g, outputs)]
            part += wj * x[_at(g, inputs)]
        return y
    for tap, outputs, inputs in g.each_tap():
        part = y[_at(g, outputs)]
        part += _mix(be, g, _tap(be, g, w, tap), x[_at(g, inputs)])
    return y


def _spread_in_place(be: Backend, g: Sliding, w: Array, y: Array) -> Array:
    depth = w.shape[-2] if g.last else w.shape[1]
    shape = g.x_shape(y.shape[0], depth * g.groups)
    x = be.new_like(y, shape)
    for tap, outputs, inputs in g.each_tap():
        m = be.xp.matrix_transpose(_tap(be, g, w, tap))
        part = x[_at(g, inputs)]
        part += _mix(be, g, m, y[_at(g, outputs)])
    return x


def _spread(be: Backend, g: Sliding, w: Array, y: Array) -> Array:
    total = None
    gaps = [s.stride - 1 for s in g.spans]
    reach = [s.length + s.low + s.high for s in g.spans]
    for tap in all_taps(g):
        term = _mix(be, g, be.xp.matrix_transpose(_tap(be, g, w, tap)), y)
        widths = []
        for s, j, n in zip(g.spans, tap, reach, strict=True):
            start = s.dilation * j
            widths.append((start, n - start - (s.stride * (s.out - 1) + 1)))
        frame = [(0, 0), *widths, (0, 0)] if g.last else [(0, 0), (0, 0), *widths]
        inner = [0, *gaps, 0] if g.last else [0, 0, *gaps]
        term = be.pad(term, frame, 0, inner)
        total = term if total is None else total + term
    assert total is not None  # sizes are at least 1
    return _unpadded(be, g, total)


def _unpadded(be: Backend, g: Sliding, total: Array) -> Array:
    """x from the padded x: take the padding off, put cropped points back."""
    cuts, back = [], []
    for s in g.spans:
        points, (before, _) = s.kept
        count = points.stop - points.start
        cuts.append(slice(before, before + count))
        back.append((points.start, s.length - points.stop))
    total = total[_at(g, cuts)]
    return be.pad(total, [(0, 0), *back, (0, 0)] if g.last else [(0, 0), (0, 0), *back])


def _kernel(be: Backend, g: Sliding, x: Array, y: Array) -> Array:
    xp = be.xp
    channels = (x.shape[-1], y.shape[-1]) if g.last else (x.shape[1], y.shape[1])
    depth, rows = channels[0] // g.groups, channels[1] // g.groups
    depthwise = depth == rows == 1 < g.groups
    if depthwise and g.strideless and be.in_place and (be.fuses or not g.last):
        return planes.kernel_gradient(be, g, x, y)
    found: dict[tuple[int, ...], Array] = {}
    for tap, outputs, inputs in g.each_tap():
        xs, ys = x[_at(g, inputs)], y[_at(g, outputs)]
        found[tap] = _contract(be, g, xs, ys, depth, rows)
    zero = be.new_like(x, (g.groups * rows, depth))
    flat = xp.stack([found.get(tap, zero) for tap in all_taps(g)], axis=0)  # (taps, O, depth)
    return kernel_of(be, g, flat)


def _contract(be: Backend, g: Sliding, xs: Array, ys: Array, depth: int, rows: int) -> Array:
    """Σ over batch and positions of y ⊗ x, as (O, depth)."""
    xp, groups = be.xp, g.groups
    if g.last:
        n = prod(xs.shape[:-1])
        xs = xp.permute_dims(xp.reshape(xs, (n, groups, depth)), (1, 0, 2))
        ys = xp.permute_dims(xp.reshape(ys, (n, groups, rows)), (1, 2, 0))
        return xp.reshape(be.matmul(ys, xs), (groups * rows, depth))
    batch, n = xs.shape[0], prod(xs.shape[2:])
    xs = xp.reshape(xs, (batch, groups, depth, n))
    ys = xp.reshape(ys, (batch, groups, rows, n))
    product = be.matmul(ys, xp.matrix_transpose(xs))
    return xp.reshape(xp.sum(product, axis=0, dtype=product.dtype), (groups * rows, depth))


def _window(be: Backend, x: Array, spans: Sequence[Span], tap: Sequence[Any], first: int) -> Array:
    """What one tap reads of a padded x whose sliding axes begin at axis `first`; tap traced."""
    for axis, (s, j) in enumerate(zip(spans, tap, strict=True), first):
        x = be.slab(x, axis, s.dilation * j, s.stride * (s.out - 1) + 1)
        x = x[(*[_ALL] * axis, strided(0, s.out, s.stride), ...)]
    return x


def _tap_of(sizes: Sequence[int], number: Any) -> list[Any]:
    """The tap of a row-major number, which may be traced."""
    tap: list[Any] = []
    for size in reversed(sizes):
        tap.insert(0, number % size)
        number = number // size
    return tap


def _numbered(be: Backend, g: Sliding, w: Array, number: Any) -> Array:
    """`_tap` by number."""
    taps = prod(g.sizes)
    if g.last:
        wj = be.slab(be.xp.reshape(w, (taps, *w.shape[g.rank :])), 0, number, 1)
        return _tap(be, g, be.xp.reshape(wj, (*[1] * g.rank, *wj.shape[1:])), [0] * g.rank)
    wj = be.slab(be.xp.reshape(w, (*w.shape[:2], taps)), 2, number, 1)
    return _tap(be, g, be.xp.reshape(wj, (*wj.shape[:2], *[1] * g.rank)), [0] * g.rank)


def _loop_forward(be: Backend, g: Sliding, x: Array, w: Array) -> Array:
    kind, at = x.dtype, 1 if g.last else 2
    y = be.new_like(x, g.y_shape(x.shape[0], w.shape[-1] if g.last else w.shape[0]), dtype=kind)
    x = fitted(be, g, x)

    def body(i: Any, y: Array) -> Array:
        return y + _mix(
            be, g, _numbered(be, g, w, i), _window(be, x, g.spans, _tap_of(g.sizes, i), at)
        )

    return be.fori_loop(0, prod(g.sizes), body, y)


def _loop_spread(be: Backend, g: Sliding, w: Array, y: Array) -> Array:
    reach, at = [s.length + s.low + s.high for s in g.spans], 1 if g.last else 2
    channels = g.groups * (w.shape[-2] if g.last else w.shape[1])
    shape = (*reach, channels) if g.last else (channels, *reach)
    total = be.new_like(y, (y.shape[0], *shape))
    gaps = [0] * y.ndim
    gaps[at : at + g.rank] = [s.stride - 1 for s in g.spans]

    def body(i: Any, total: Array) -> Array:
        m = be.xp.matrix_transpose(_numbered(be, g, w, i))
        term = be.pad(_mix(be, g, m, y), [(0, 0)] * y.ndim, 0, gaps)
        starts = [s.dilation * j for s, j in zip(g.spans, _tap_of(g.sizes, i), strict=True)]
        here = total
        for axis, start in enumerate(starts, at):
            here = be.slab(here, axis, start, term.shape[axis])
        return be.put_slab(total, here + term, [*[0] * at, *starts])

    return _unpadded(be, g, be.fori_loop(0, prod(g.sizes), body, total))


def _loop_kernel(be: Backend, g: Sliding, x: Array, y: Array) -> Array:
    channels = (x.shape[-1], y.shape[-1]) if g.last else (x.shape[1], y.shape[1])
    depth, rows, at = channels[0] // g.groups, channels[1] // g.groups, 1 if g.last else 2
    kind = x.dtype
    x, taps = fitted(be, g, x), prod(g.sizes)

    def body(i: Any, flat: Array) -> Array:
        term = _contract(be, g, _window(be, x, g.spans, _tap_of(g.sizes, i), at), y, depth, rows)
        return be.put_slab(flat, be.xp.astype(term, kind)[None, ...], [i])

    flat = be.new_like(x, (taps, g.groups * rows, depth), dtype=kind)
    return kernel_of(be, g, be.fori_loop(0, taps, body, flat))
