"""Which algorithm computes a sliding product: decided from shapes, dtype and kind of device.

A plan is static (it works under jit), cached and printable. Each candidate gets a predicted time
from a few constants per kind of device; `method=` forces one. An FFT path is taken only where
every path of a bound per window is predicted to cost over four times as much.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import lru_cache
from math import gcd, log2, prod
from typing import Any

from .._backends import WORKSPACE, Backend
from ..errors import ArgumentError
from ..geometry import Sliding
from . import direct, fft, im2col, slabs, toeplitz
from .slabs import Problem, Slabs

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
    slabs : Slabs
        Batch entries and points of the first sliding axis that are computed at a time.
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
    slabs: Slabs
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
    mutable: bool = True,
    workspace: int | None = None,
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
    mutable : bool
        Whether slabs of a result may be written in place.
    workspace : int, optional
        Bytes of scratch memory allowed; else max(64 MiB, the largest operand).
    """
    cost = _COSTS[kind]
    width = {"float32": 4, "float64": 8, "complex64": 8, "complex128": 16}.get(dtype, 8)
    heavy = (4 if dtype.startswith("complex") else 1) * (2 if width in (8, 16) else 1)
    taps = prod(g.sizes)
    outputs = batch * g.groups * prod(g.out)
    inputs = batch * g.groups * depth * prod(g.lengths)
    problem = Problem(role, g, batch, depth, rows, width, traces)
    if workspace is None:
        operands = {"x": inputs, "y": outputs * rows, "w": g.groups * rows * depth * taps}
        workspace = max(64 * 2**20, width * max(n for c, n in operands.items() if c != role))
    cuts: dict[str, Slabs] = {}

    def add(method: str, seconds: float, flops: float, moved: float, bound: str) -> None:
        cut = slabs.fit(method, problem, workspace, mutable=mutable)
        part = problem.slab(cut)
        scratch, note = slabs.held(method, part, whole=part == problem), ""
        if scratch > workspace:
            note = f"holds {scratch / 2**20:.0f} MiB, of {workspace / 2**20:.0f} allowed"
        cuts[method] = cut
        again = slabs.repeated(problem, cut)
        if method in ("fft", "overlap_save"):
            seconds, flops, moved = seconds * again, flops * again, moved * again
        else:
            seconds += 2 * (again - 1) * max(problem.x_bytes, problem.y_bytes) / cost.stream
        found.append(Candidate(method, seconds, flops, int(moved), scratch, bound, note))

    def leave_out(method: str, why: str) -> None:
        found.append(Candidate(method, float("inf"), 0, 0, 0, "", why))

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
    blocks = 1 if traces else max(1, outputs * rows * width // slabs.BLOCK)
    seconds = passes / cost.stream + steps * blocks * cost.call
    if depth * rows > 1:
        inner = min(depth, rows)
        seconds += heavy * flops * (1 + 16 / inner) / cost.gemm
    add("direct", seconds, flops, passes, _WINDOW_BOUND)

    integral = not dtype.startswith(("float", "complex", "bfloat"))
    if integral:
        for method in METHODS[1:]:
            leave_out(method, "integers are exact by shift-and-add only")
        return _decide(problem, found, cuts, terms, workspace)

    # One matrix product with gathered windows; role "x" is role "y" of the transposed problem.
    if role == "x" and any(s.stride > 1 for s in g.spans):
        leave_out("im2col", "gathers too many zeros between strided windows")
    else:
        wide = rows if role == "x" else depth
        flops = float(outputs * rows * depth * taps)
        moved = 2 * width * outputs * wide * taps + width * (inputs + outputs * rows)
        seconds = heavy * flops * (1 + 16 / min(rows, depth * taps)) / cost.gemm
        # Without strided views windows are gathered by index.
        seconds += moved / (cost.gather / 6 if traces else cost.gather) + 20 * cost.call
        add("im2col", seconds, flops, moved, _WINDOW_BOUND)

    # Toeplitz blocks along the last axis; role "x" is role "y" of the transposed problem.
    span, stretch = g.spans[-1], 1
    if role == "x":
        stretch = prod(s.stride for s in g.spans)
        span = span.turned()
    length = toeplitz.frame_length(span, depth, rows)
    count = toeplitz.blocks(span, length)
    per_output = count * span.stride * length * prod(g.sizes[:-1])
    flops = float(outputs * stretch * rows * depth * per_output)
    inner = min(depth * length * span.stride, rows * length)
    moved = width * (2 * inputs + 3 * outputs * stretch * rows * count * prod(g.sizes[:-1]))
    seconds = heavy * flops * (1 + 24 / inner) / cost.gemm + moved / cost.stream
    seconds += (12 + 4 * count * prod(g.sizes[:-1])) * cost.call
    add("toeplitz", seconds, flops, moved, _WINDOW_BOUND)

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
        moved = width * (inputs + outputs * rows)
        add("native", seconds + 10 * cost.call, flops, moved, _WINDOW_BOUND)
    else:
        leave_out("native", "the library has no kernel for it")

    # One whole transform.
    points = prod(fft.transform_lengths(role, g))
    count = g.groups * (batch * depth + batch * rows + depth * rows)
    work = count * points * max(1.0, log2(points))
    # Three transforms of every axis, pads and cuts: tens of calls (60 to 150 µs for 5³ points).
    seconds = heavy * work / cost.fft + (30 + 12 * g.rank) * cost.call
    seconds += 4 * heavy * width * g.groups * batch * depth * rows * points / cost.stream
    add("fft", seconds, work, 2 * width * points * count, _FFT_BOUND.format(points))

    # Frame by frame along one axis.
    if role == "y" and g.rank == 1 and g.out[0] > 0:
        s = g.spans[0]
        points, _, frames = fft.frames_of(s)
        count = g.groups * (frames * batch * (depth + rows) + depth * rows)
        work = count * points * log2(points)
        # Frames that fit the cache transform about twice as fast as one long one.
        seconds = heavy * work / (2 * cost.fft) + 16 * cost.call
        seconds += (
            2 * heavy * width * g.groups * batch * frames * depth * rows * points / cost.stream
        )
        moved = 2 * width * (inputs + outputs * rows)
        add("overlap_save", seconds, work, moved, _FFT_BOUND.format(points))
    else:
        none = "frames need one sliding axis" if g.rank > 1 else "used for the forward product only"
        leave_out("overlap_save", none)
    return _decide(problem, found, cuts, terms, workspace)


_NAMES = {"y": "correlate", "x": "spread", "w": "kernel_gradient"}


def _decide(
    problem: Problem,
    found: list[Candidate],
    cuts: dict[str, Slabs],
    terms: int,
    workspace: int,
) -> Plan:
    role, g = problem.role, problem.g
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

        def rank(c: Candidate) -> tuple[int, float]:
            # Where nothing stays within the workspace, what exceeds it least.
            return max(c.workspace, workspace), c.seconds

        spectra = ("fft", "overlap_save")
        possible = [c for c in ranked if c.seconds < float("inf")]
        exact = min((c for c in possible if c.method not in spectra), key=rank)
        spectral = min((c for c in ranked if c.method in spectra), key=rank)
        within = spectral.workspace <= max(workspace, exact.workspace)
        take_fft = within and exact.seconds > _FFT_ADVANTAGE * spectral.seconds
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
    points = 1
    if method == "fft":
        points = prod(fft.transform_lengths(role, problem.slab(cuts["fft"]).g))
    elif method == "overlap_save":
        points = fft.frame_points(g.spans[0].extent)
    return Plan(_NAMES[role], method, why, tuple(candidates), cuts[method], terms, points)


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
    batch, depth, rows = slabs.channels(g, shapes)
    kind = a.dtype if a.dtype == b.dtype else be.xp.result_type(a, b)
    if batch * depth * rows * g.groups == 0 or 0 in (*g.out, *g.lengths, *g.sizes):
        return be.new_like(a, slabs.result_shape(role, g, batch, depth, rows), dtype=kind)
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
        target.mutable,
        WORKSPACE.get(),
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
    problem = Problem(role, g, batch, depth, rows, be.itemsize(work), be.traces)
    method = plan.method

    def product(g: Sliding, a: Array, b: Array) -> Array:
        return _compute(be, role, g, a, b, method)

    out = slabs.sweep(be, problem, plan.slabs, a, b, product)
    return out if out.dtype == kind else be.xp.astype(out, kind)


def _compute(be: Backend, role: str, g: Sliding, a: Array, b: Array, method: str) -> Array:
    if method == "direct":
        return direct.run(be, role, g, a, b)
    if method == "im2col" and role != "x":
        return im2col.run(be, role, g, a, b)
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
    return (im2col if method == "im2col" else toeplitz).run(be, role, g, a, b)


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
    w = be.xp.reshape(w, (g.groups, w.shape[0] // g.groups, *w.shape[1:]))
    w = be.xp.permute_dims(w, (0, 2, 1, *range(3, 3 + r)))
    w = be.xp.reshape(w, (w.shape[0] * w.shape[1], *w.shape[2:]))
    w = be.xp.flip(w, axis=tuple(range(2, 2 + r)))
    return replace(g, spans=tuple(s.turned() for s in g.spans)), y, w
