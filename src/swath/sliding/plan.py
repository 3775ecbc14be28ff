"""Which algorithm computes a sliding product: decided from shapes, dtype and kind of device.

A plan is static (it works under jit), cached and printable. Each candidate gets a predicted time
from a few constants per kind of device; `method=` forces one. An FFT path is taken only where
every path of a bound per window is predicted to cost over four times as much.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import lru_cache
from math import gcd, log2, prod
from typing import Any

from .._backends import Backend
from ..errors import ArgumentError
from ..geometry import Sliding, Span
from ..settings import current_workspace
from . import direct, fft, im2col, toeplitz

__all__ = ["METHODS", "Candidate", "Plan", "capture", "choose", "run"]

Array = Any
METHODS = ("direct", "im2col", "toeplitz", "native", "fft", "overlap_save")

# FFT answers have an error relative to their frame, not to their window, so they must pay.
_FFT_ADVANTAGE = 4.0


@dataclass(frozen=True)
class Costs:
    """Rates of one kind of device.

    Attributes
    ----------
    gemm : float
        Real multiply-adds per second of a large float32 matrix product.
    stream : float
        Bytes per second of an elementwise pass over blocks that fit the cache.
    gather : float
        Bytes per second of copying windows out of a strided view.
    fft : float
        Points·log2(points) per second of a batched real float32 transform.
    call : float
        Seconds to start one array operation.
    """

    gemm: float
    stream: float
    gather: float
    fft: float
    call: float


# cpu: measured on 2 cores of an AMD EPYC (AVX-512) with NumPy 2.4, SciPy 1.17, OpenBLAS, 2026-11.
# gpu: a placeholder of the right order for a data-centre GPU, not measured; ratios matter, and
# they are alike from one GPU to the next.
_COSTS = {
    "cpu": Costs(gemm=8.0e10, stream=4.0e10, gather=4.0e10, fft=3.5e9, call=1.0e-6),
    "gpu": Costs(gemm=1.0e13, stream=1.5e12, gather=5.0e11, fft=2.0e11, call=8.0e-6),
}


@dataclass(frozen=True)
class Candidate:
    """One algorithm considered for a problem.

    Attributes
    ----------
    method : str
        Name, as `method=` takes it.
    seconds : float
        Predicted time; infinite where it does not apply.
    flops : float
        Real multiply-adds.
    bytes : int
        Bytes read and written.
    workspace : int
        Bytes beyond inputs and output.
    error_bound : str
        The bound of the accuracy contract.
    note : str
        Why it does not apply or was not taken; empty for the chosen one.
    """

    method: str
    seconds: float
    flops: float
    bytes: int
    workspace: int
    error_bound: str
    note: str = ""


@dataclass(frozen=True)
class Plan:
    """The algorithm chosen for one product, and the candidates it was chosen from.

    Attributes
    ----------
    operation, method, why : str
        What is computed, by which algorithm, for what reason.
    terms : int
        Products summed in one output (K of the accuracy contract).
    points : int
        Points of one transform, where the method is an FFT.
    flops, bytes, workspace : number
        Of the chosen candidate.
    error_bound : str
        Of the chosen candidate.
    candidates : tuple of Candidate
        All of them, fastest first.
    """

    operation: str
    method: str
    why: str
    candidates: tuple[Candidate, ...]
    terms: int = 1
    points: int = 1

    @property
    def chosen(self) -> Candidate:
        """The candidate that was taken."""
        return next(c for c in self.candidates if c.method == self.method)

    @property
    def flops(self) -> float:
        """Real multiply-adds of the chosen algorithm."""
        return self.chosen.flops

    @property
    def bytes(self) -> int:
        """Bytes that the chosen algorithm reads and writes."""
        return self.chosen.bytes

    @property
    def workspace(self) -> int:
        """Bytes beyond inputs and output."""
        return self.chosen.workspace

    @property
    def error_bound(self) -> str:
        """Bound of the accuracy contract for the chosen algorithm."""
        return self.chosen.error_bound

    def __str__(self) -> str:
        lines = [f"{self.operation}: {self.method} ({self.why})"]
        for c in self.candidates:
            mark = "->" if c.method == self.method else "  "
            time = f"{c.seconds * 1e3:10.3f} ms" if c.seconds < float("inf") else "         — "
            lines.append(
                f" {mark} {c.method:<13}{time}  {c.flops:9.2e} multiply-adds  "
                f"{c.workspace / 2**20:8.1f} MiB workspace  {c.note or c.error_bound}"
            )
        return "\n".join(lines)


_WINDOW_BOUND = "|err| <= 2·K·eps·(|x|⋆|k|) + K·tiny"
_FFT_BOUND = "|err| <= 4·eps·log2(n)·|frame|₂·|k|₂ + n·tiny, n = {}"


@lru_cache(maxsize=4096)
def choose(
    role: str,
    g: Sliding,
    batch: int,
    depth: int,
    rows: int,
    dtype: str,
    kind: str,
    traces: bool,
    native: tuple[str, ...] = (),
) -> Plan:
    """The plan of one product.

    Parameters
    ----------
    role : {"y", "x", "w"}
        Result of the product (see `product`).
    g : Sliding
        Geometry; its `method` forces a choice.
    batch, depth, rows : int
        Batch size, input channels and output channels of one group.
    dtype : str
        Name of the dtype that is computed in.
    kind : str
        Kind of device.
    traces : bool
        Whether Python loops are unrolled into a compiled program.
    native : tuple of str
        Roles for which the library has a kernel of its own.
    """
    cost = _COSTS[kind]
    width = {"float32": 4, "float64": 8, "complex64": 8, "complex128": 16}.get(dtype, 8)
    heavy = (4 if dtype.startswith("complex") else 1) * (2 if width in (8, 16) else 1)
    taps = prod(g.sizes)
    outputs = batch * g.groups * prod(g.out)
    inputs = batch * g.groups * depth * prod(g.lengths)
    terms = {
        "y": taps * depth,
        # Taps that meet in one input point: those whose distance is a multiple of the stride.
        "x": prod(-(-s.size // (s.stride // gcd(s.stride, s.dilation))) for s in g.spans) * rows,
        "w": batch * prod(g.out),
    }[role]
    found: list[Candidate] = []

    flops = float(outputs * rows * depth * taps)
    passes = taps * width * outputs * (depth + 3 * rows if depth * rows > 1 else 3)
    steps = taps * (4 if depth * rows > 1 else 2)
    blocks = max(1, outputs * rows * width // _BLOCK) if not traces else 1
    seconds = passes / cost.stream + steps * blocks * cost.call
    if depth * rows > 1:
        inner = min(depth, rows)
        seconds += heavy * flops * (1 + 16 / inner) / cost.gemm
    if traces:
        seconds += max(0, taps - 64) * 1e-3  # an unrolled program that compiles for seconds
    found.append(
        Candidate(
            "direct", seconds, flops, passes, min(_BLOCK, outputs * rows * width), _WINDOW_BOUND
        )
    )

    integral = not dtype.startswith(("float", "complex", "bfloat"))
    if integral:
        none = "integers are exact by shift-and-add only"
        found += [Candidate(m, float("inf"), 0, 0, 0, "", none) for m in METHODS[1:]]
        return _decide(role, g, found, terms, {})

    # One matrix product with gathered windows; role "x" is role "y" of the transposed problem.
    if role == "x" and any(s.stride > 1 for s in g.spans):
        none = "gathers too many zeros between strided windows"
        found.append(Candidate("im2col", float("inf"), 0, 0, 0, "", none))
    else:
        wide = rows if role == "x" else depth
        flops = float(outputs * rows * depth * taps)
        moved = 2 * width * outputs * wide * taps + width * (inputs + outputs * rows)
        seconds = heavy * flops * (1 + 16 / min(rows, depth * taps)) / cost.gemm
        # Without strided views windows are gathered by index.
        seconds += moved / (cost.gather / 6 if traces else cost.gather) + 20 * cost.call
        scratch = min(_COLUMNS, width * outputs * wide * taps)
        found.append(Candidate("im2col", seconds, flops, int(moved), scratch, _WINDOW_BOUND))

    # Toeplitz blocks along the last axis; role "x" is role "y" of the transposed problem.
    span, stretch = g.spans[-1], 1
    if role == "x":
        stretch = prod(s.stride for s in g.spans)
        dense = tuple(replace(s, length=s.stride * (s.out - 1) + 1, stride=1) for s in g.spans)
        span = dense[-1]
    length = toeplitz.frame_length(span, depth, rows)
    count = toeplitz.blocks(span, length)
    per_output = count * span.stride * length * prod(g.sizes[:-1])
    flops = float(outputs * stretch * rows * depth * per_output)
    inner = min(depth * length * span.stride, rows * length)
    moved = width * (2 * inputs + 3 * outputs * stretch * rows * count * prod(g.sizes[:-1]))
    seconds = heavy * flops * (1 + 24 / inner) / cost.gemm + moved / cost.stream
    seconds += (12 + 4 * count * prod(g.sizes[:-1])) * cost.call
    scratch = width * (inputs + g.groups * rows * depth * length * per_output + outputs * rows)
    found.append(Candidate("toeplitz", seconds, flops, int(moved), int(scratch), _WINDOW_BOUND))

    # The library's own kernel: made for many channels, and slow for one.
    turned = role == "x" and role not in native and all(s.stride == 1 for s in g.spans)
    plain = "y" if turned else role
    if plain in native and g.rank <= 3 and dtype in ("float32", "float64"):
        flops = float(outputs * rows * depth * taps)
        if depth * rows == 1 and g.groups == 1:
            seconds = flops / (cost.gemm / 200)
        elif depth * rows == 1:
            seconds = flops / (cost.gemm / 6)
        else:
            seconds = heavy * flops * (1 + 64 / min(depth * taps, rows)) / (1.5 * cost.gemm)
        scratch = width * inputs
        moved = width * (inputs + outputs * rows)
        found.append(
            Candidate("native", seconds + 10 * cost.call, flops, moved, scratch, _WINDOW_BOUND)
        )
    else:
        none = "the library has no kernel for it"
        found.append(Candidate("native", float("inf"), 0, 0, 0, "", none))

    # One whole transform.
    points = prod(fft.transform_lengths(role, g))
    count = g.groups * (batch * depth + batch * rows + depth * rows)
    work = count * points * max(1.0, log2(points))
    seconds = heavy * work / cost.fft + 12 * cost.call
    seconds += 4 * heavy * width * g.groups * batch * depth * rows * points / cost.stream
    scratch = 2 * width * points * count
    lengths = {"fft": points}
    bound = _FFT_BOUND.format(points)
    found.append(Candidate("fft", seconds, work, scratch, scratch, bound))

    # Frame by frame along one axis.
    if role == "y" and g.rank == 1 and g.out[0] > 0:
        s = g.spans[0]
        points = fft.frame_points(s.extent)
        hop = points - s.extent + 1
        frames = -(-(s.stride * (s.out - 1) + 1) // hop)
        count = g.groups * (frames * batch * (depth + rows) + depth * rows)
        work = count * points * log2(points)
        # Frames that fit the cache transform about twice as fast as one long one.
        seconds = heavy * work / (2 * cost.fft) + 16 * cost.call
        seconds += (
            2 * heavy * width * g.groups * batch * frames * depth * rows * points / cost.stream
        )
        scratch = width * (inputs + outputs * rows)
        lengths["overlap_save"] = points
        bound = _FFT_BOUND.format(points)
        found.append(Candidate("overlap_save", seconds, work, 2 * scratch, scratch, bound))
    else:
        none = "frames need one sliding axis" if g.rank > 1 else "used for the forward product only"
        found.append(Candidate("overlap_save", float("inf"), 0, 0, 0, "", none))
    return _decide(role, g, found, terms, lengths)


# Bytes of output computed at a time by shift-and-add: three such blocks stay in a core's cache.
_BLOCK = 2**18
# Bytes of gathered windows at a time: they stay in the second-level caches until the product.
_COLUMNS = 2**21

_NAMES = {"y": "correlate", "x": "spread", "w": "kernel_gradient"}


def _decide(
    role: str, g: Sliding, found: list[Candidate], terms: int, points: dict[str, int]
) -> Plan:
    ranked = sorted(found, key=lambda c: c.seconds)
    by_name = {c.method: c for c in ranked}
    if g.method != "auto":
        asked = by_name[g.method]
        # A forced method holds for the forward; where it cannot do a derivative, its kin does.
        kin = {"overlap_save": "fft"}.get(g.method, "direct")
        method = g.method if asked.seconds < float("inf") else kin
        if by_name[method].seconds == float("inf"):
            method = "direct"
        why = "asked for" if method == g.method else f"{g.method}: {asked.note}"
    else:
        windowed = [c for n, c in by_name.items() if n not in ("fft", "overlap_save")]
        exact = min(windowed, key=lambda c: c.seconds)
        spectral = min((by_name["fft"], by_name["overlap_save"]), key=lambda c: c.seconds)
        take_fft = exact.seconds > _FFT_ADVANTAGE * spectral.seconds
        method = spectral.method if take_fft else exact.method
        why = (
            f"{exact.method} is predicted {exact.seconds / spectral.seconds:.1f}× slower"
            if take_fft
            else "least predicted time with a bound per window"
        )
    candidates = []
    for c in ranked:
        note = c.note
        if not note and c.method != method:
            ratio = c.seconds / max(by_name[method].seconds, 1e-12)
            note = f"predicted {ratio:.2f}× the time"
            if c.method in ("fft", "overlap_save") and ratio < 1:
                note += ", not the 4× that an error bound per frame must buy"
        candidates.append(replace(c, note=note))
    return Plan(_NAMES[role], method, why, tuple(candidates), terms, points.get(method, 1))


_CAPTURE: ContextVar[tuple[Backend, list[Plan]] | None] = ContextVar("swath_capture", default=None)


class Captured(Exception):
    """Raised to leave an operation once its plan is known and nothing shall be computed."""


@contextmanager
def capture(be: Backend) -> Generator[list[Plan]]:
    """Collect the plan, for `be`, of the first product inside the block, which is then left."""
    plans: list[Plan] = []
    token = _CAPTURE.set((be, plans))
    try:
        yield plans
    except Captured:
        pass
    finally:
        _CAPTURE.reset(token)


def capturing() -> bool:
    """Whether only the plan is asked for, so that arrays are stand-ins without values."""
    return _CAPTURE.get() is not None


def check_method(method: Any) -> str:
    """`method`, if it is one."""
    if method not in ("auto", *METHODS):
        names = ", ".join(repr(m) for m in ("auto", *METHODS))
        raise ArgumentError(f"method must be one of {names}; got {method!r}")
    return method


def run(be: Backend, role: str, g: Sliding, a: Array, b: Array) -> Array:
    """Compute the product of a role (see `product`) by the planned algorithm."""
    shapes = dict(zip("xwy".replace(role, ""), (a.shape, b.shape), strict=True))
    batch, depth, rows = _channels(g, shapes)
    kind = a.dtype if a.dtype == b.dtype else be.xp.result_type(a, b)
    if batch * depth * rows * g.groups == 0 or 0 in (*g.out, *g.lengths, *g.sizes):
        return be.new_like(a, _result_shape(role, g, batch, depth, rows), dtype=kind)
    work = be.dtype("float32") if be.is_half(kind) else kind
    asked = _CAPTURE.get()
    target = be if asked is None else asked[0]
    plan = choose(
        role,
        g,
        batch,
        depth,
        rows,
        be.name_of(work),
        target.kind,
        target.traces,
        target.native_roles,
    )
    if asked is not None:
        asked[1].append(plan)
        raise Captured
    if work != kind:
        # Half precision accumulates in float32 and rounds once.
        a, b = be.xp.astype(a, work), be.xp.astype(b, work)
    else:
        a = a if a.dtype == kind else be.xp.astype(a, kind)
        b = b if b.dtype == kind else be.xp.astype(b, kind)
    out = _compute(be, role, g, a, b, plan.method)
    return out if out.dtype == kind else be.xp.astype(out, kind)


def _channels(g: Sliding, shapes: dict[str, tuple[int, ...]]) -> tuple[int, int, int]:
    """Batch, and channels of one group: those of x and those of y."""
    first = next(shapes[c] for c in "xy" if c in shapes)
    if "w" in shapes:
        w = shapes["w"]
        depth, out = (w[-2], w[-1]) if g.last else (w[1], w[0])
        return first[0], depth, out // g.groups
    at = -1 if g.last else 1
    return first[0], shapes["x"][at] // g.groups, shapes["y"][at] // g.groups


def _result_shape(role: str, g: Sliding, batch: int, depth: int, rows: int) -> tuple[int, ...]:
    if role == "w":
        return g.w_shape(g.groups * rows, depth)
    if role == "x":
        return g.x_shape(batch, g.groups * depth)
    return g.y_shape(batch, g.groups * rows)


def _compute(be: Backend, role: str, g: Sliding, a: Array, b: Array, method: str) -> Array:
    if method == "direct":
        return _blocked(be, role, g, a, b, direct.run)
    if method == "im2col" and role != "x":
        return _blocked(be, role, g, a, b, im2col.run)
    if g.last:
        return _to_last(be, role, _compute(be, role, *_to_first(be, role, g, a, b), method))
    if method == "fft":
        return fft.run(be, role, g, a, b)
    if method == "native" and role in be.native_roles:
        return be.native_product(role, g, a, b)
    if role == "x":
        g, a, b = _as_forward(be, g, a, b)
        role = "y"
    if method == "overlap_save":
        return fft.run_frames(be, g, a, b)
    if method == "native":
        return be.native_product(role, g, a, b)
    if method == "im2col":
        return _blocked(be, role, g, a, b, im2col.run)
    return _blocked(be, role, g, a, b, toeplitz.run)


def _to_first(
    be: Backend, role: str, g: Sliding, a: Array, b: Array
) -> tuple[Sliding, Array, Array]:
    """The same problem channels first."""
    r = g.rank
    signal = (0, r + 1, *range(1, r + 1))
    kernel = (r + 1, r, *range(r))
    orders = {"x": signal, "y": signal, "w": kernel}
    letters = "xwy".replace(role, "")
    a = be.xp.permute_dims(a, orders[letters[0]])
    b = be.xp.permute_dims(b, orders[letters[1]])
    return replace(g, last=False), a, b


def _to_last(be: Backend, role: str, out: Array) -> Array:
    r = out.ndim - 2
    order = (*range(2, r + 2), 1, 0) if role == "w" else (0, *range(2, r + 2), 1)
    return be.xp.permute_dims(out, order)


def _as_forward(be: Backend, g: Sliding, w: Array, y: Array) -> tuple[Sliding, Array, Array]:
    """The transposed product as a forward one: zeros between strides, kernel turned round."""
    r = g.rank
    if any(s.stride > 1 for s in g.spans):
        y = be.pad(y, [(0, 0)] * y.ndim, 0, [0, 0, *(s.stride - 1 for s in g.spans)])
    spans = []
    for s in g.spans:
        points = s.stride * (s.out - 1) + 1
        reach = s.extent - 1
        # Input points behind the last window get zeros: they take part in no output.
        spans.append(
            replace(
                s,
                length=points,
                stride=1,
                low=reach - s.low,
                high=s.length - points + s.low,
            )
        )
    w = be.xp.reshape(w, (g.groups, w.shape[0] // g.groups, *w.shape[1:]))
    w = be.xp.permute_dims(w, (0, 2, 1, *range(3, 3 + r)))
    w = be.xp.reshape(w, (w.shape[0] * w.shape[1], *w.shape[2:]))
    w = be.xp.flip(w, axis=tuple(range(2, 2 + r)))
    return replace(g, spans=tuple(spans)), y, w


def _blocked(
    be: Backend,
    role: str,
    g: Sliding,
    a: Array,
    b: Array,
    algorithm: Callable[..., Array],
) -> Array:
    """Run over slabs of outputs along the first sliding axis, so that scratch arrays stay small.

    A slab fits the cache where arrays may be written in place; traced programs are left to their
    compiler.
    """
    if be.traces:
        return _in_slabs(be, role, g, a, b, algorithm)
    signal = a if role == "y" or role == "w" else b
    span = g.spans[0]
    slab_bytes = _slab_bytes(be, g, signal)
    if algorithm is im2col.run:
        slab_bytes *= prod(g.sizes)
    step = max(
        1, int(span.out * min(1.0, _block_bytes(algorithm, signal, be) / max(1, slab_bytes)))
    )
    if not be.mutable or step >= span.out:
        return algorithm(be, role, g, a, b)
    batch, depth, rows = _channels(
        g, dict(zip("xwy".replace(role, ""), (a.shape, b.shape), strict=True))
    )
    out = be.new_like(a, _result_shape(role, g, batch, depth, rows), dtype=a.dtype)
    at = 1 if g.last else 2

    def cut(first: int, last: int) -> tuple[slice, ...]:
        return (*[slice(None)] * at, slice(first, last))

    for first in range(0, span.out, step):
        last = min(first + step, span.out)
        inside, part = span.part(first, last)
        sub = replace(g, spans=(part, *g.spans[1:]))
        xs, ys = cut(inside.start, inside.stop), cut(first, last)
        if role == "y":
            out[ys] = algorithm(be, role, sub, a[xs], b) if part.length else 0
        elif part.length and role == "x":
            out[xs] += algorithm(be, role, sub, a, b[ys])
        elif part.length:
            out += algorithm(be, role, sub, a[xs], b[ys])
    return out


def _in_slabs(
    be: Backend, role: str, g: Sliding, a: Array, b: Array, algorithm: Callable[..., Array]
) -> Array:
    """The same for traced programs: a compiled loop over equal slabs, where the scratch demands it.

    The input is padded so that all slabs have one geometry. Derivatives never pass through here:
    they are products of their own.
    """
    shapes = dict(zip("xwy".replace(role, ""), (a.shape, b.shape), strict=True))
    batch, depth, rows = _channels(g, shapes)
    width = be.itemsize(a.dtype)
    span = g.spans[0]
    scratch = width * batch * g.groups * _traced_points(g, depth, rows, algorithm)
    allowed = current_workspace(width * max(prod(a.shape), prod(b.shape))) // 2
    count = min(-(-scratch // allowed), span.out)
    if count <= 1 or role == "x":
        return algorithm(be, role, g, a, b)
    step = -(-span.out // count)
    count = -(-span.out // step)
    reach = (step - 1) * span.stride + span.extent
    total = (count - 1) * step * span.stride + reach
    at = 1 if g.last else 2
    start, stop = max(0, -span.low), min(span.length, total - span.low)
    widths = [(0, 0)] * a.ndim
    widths[at] = (max(0, span.low), total - max(0, span.low) - (stop - start))
    x = be.pad(a[(*[slice(None)] * at, slice(start, stop), ...)], widths)
    sub = replace(g, spans=(Span(reach, span.size, span.stride, span.dilation), *g.spans[1:]))
    hop = step * span.stride
    if role == "w":
        widths = [(0, 0)] * b.ndim
        widths[at] = (0, count * step - span.out)
        y = be.pad(b, widths)
        return be.sum_slabs(
            lambda i: algorithm(
                be, "w", sub, be.slab(x, at, i * hop, reach), be.slab(y, at, i * step, step)
            ),
            count,
        )
    parts = be.map_slabs(
        lambda i: algorithm(be, "y", sub, be.slab(x, at, i * hop, reach), b), count
    )
    parts = be.xp.moveaxis(parts, 0, at)
    shape = (*parts.shape[:at], count * step, *parts.shape[at + 2 :])
    return be.xp.reshape(parts, shape)[(*[slice(None)] * at, slice(0, span.out), ...)]


def _traced_points(g: Sliding, depth: int, rows: int, algorithm: Any) -> int:
    """Elements of scratch for one batch entry and group if nothing is done in slabs."""
    if algorithm is im2col.run:
        return prod(g.out) * depth * prod(g.sizes)
    # A compiler may keep the terms of all taps: shifted inputs, or products waiting to be added.
    taps = prod(g.sizes) if algorithm is direct.run else prod(g.sizes[:-1])
    return taps * max(prod(g.out) * rows, prod(g.lengths) * depth)


def _slab_bytes(be: Backend, g: Sliding, signal: Array) -> int:
    positions = max(prod(g.out), prod(g.lengths))
    at = -1 if g.last else 1
    return be.itemsize(signal.dtype) * signal.shape[0] * signal.shape[at] * positions


def _block_bytes(algorithm: Any, signal: Array, be: Backend) -> int:
    limit = current_workspace(be.itemsize(signal.dtype) * prod(signal.shape)) // 6
    blocks = {direct.run: _BLOCK, im2col.run: _COLUMNS}
    return min(limit, blocks.get(algorithm, 2**22))
