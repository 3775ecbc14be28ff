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
from typing import Any

from .._backends import WORKSPACE, Backend, blocks
from ..errors import not_among
from ..geometry import Sliding
from . import (
    costs,
    direct,
    fft,
    forms,
    im2col,
    native,
    overlap_save,
    slabs,
    toeplitz,
    winograd,
)
from .costs import Costs
from .limbs import split
from .problem import Algorithm, Estimate, Problem, Slabs, channels, result_shape

__all__ = [
    "FFT_ADVANTAGE",
    "METHODS",
    "TRANSFORMS",
    "Candidate",
    "Plan",
    "capture",
    "capturing",
    "check_method",
    "choose",
    "predicted",
    "run",
    "run_gradients",
]

Array = Any

ALGORITHMS: dict[str, Algorithm] = {
    "direct": direct,
    "im2col": im2col,
    "toeplitz": toeplitz,
    "winograd": winograd,
    "native": native,
    "fft": fft,
    "overlap_save": overlap_save,
}
METHODS = tuple(ALGORITHMS)
#: Those that go through transforms of frames: their bound of the error is one per frame.
TRANSFORMS = ("fft", "overlap_save")
#: Bound of integers.
EXACT = "exact modulo 2^bits"
#: Those that sum products of integers as floats, with nothing else on the way.
OF_INTEGERS = ("im2col", "toeplitz")

_INTEGERS = frozenset(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))
# FFT answers have an error relative to their frame, not to their window, so they must pay.
FFT_ADVANTAGE = 4.0


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
    terms : int
        Products summed in one output (K of the accuracy contract; C + 2 or C + 12 of Winograd's).
    against : str
        Why it is taken only where it is asked for; empty where it may be chosen.
    note : str
        Why it does not apply or was not taken; empty for the chosen one.
    """

    method: str
    seconds: float
    flops: float
    bytes: int
    workspace: int
    error_bound: str
    terms: int = 0
    against: str = ""
    note: str = ""

    @property
    def transforms(self) -> bool:
        """Whether the bound is one per transformed frame, not per window."""
        return self.method in TRANSFORMS


@dataclass(frozen=True)
class Plan:
    """The algorithm chosen for one product, and the candidates it was chosen from.

    Attributes
    ----------
    operation, method, why : str
        What is computed, by which algorithm, for what reason.
    terms : int
        As of the chosen candidate.
    points, frames : int
        Points of one transform, where the method is an FFT, and how many frames are summed (of a
        kernel those of all outputs, of an output those of a kernel in parts).
    slabs : Slabs
        Batch entries and points of the first sliding axis that are computed at a time.
    flops, bytes, workspace : number
        Of the chosen candidate.
    error_bound : str
        Of the chosen candidate.
    candidates : tuple of Candidate
        All of them, fastest first.
    costs : str
        Where the rates behind the predicted times come from.
    """

    operation: str
    method: str
    why: str
    candidates: tuple[Candidate, ...]
    slabs: Slabs
    terms: int = 1
    points: int = 1
    frames: int = 1
    costs: str = ""

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
        lines.append(f"    predicted from rates of {self.costs}")
        return "\n".join(lines)


@lru_cache(maxsize=4096)
def choose(p: Problem, place: tuple[str, str, str], workspace: int | None = None) -> Plan:
    """The plan of one product.

    Parameters
    ----------
    p : Problem
        Its sizes; the `method` of its geometry forces a choice.
    place : tuple of str
        Library, kind of device, name of a GPU (see `Backend.place`).
    workspace : int, optional
        Bytes of scratch memory allowed; else max(64 MiB, the larger operand).
    """
    measured = costs.of(*place)
    if workspace is None:
        workspace = _default(p)
    found, cuts = predicted(p, measured.costs, workspace)
    return replace(_decide(p, found, cuts, workspace), costs=str(measured))


def _default(p: Problem) -> int:
    return max(64 * 2**20, p.operand_bytes)


def predicted(
    p: Problem, cost: Costs, workspace: int | None = None
) -> tuple[list[Candidate], dict[str, Slabs]]:
    """Every algorithm as a candidate, and how each is cut."""
    if workspace is None:
        workspace = _default(p)
    found: list[Candidate] = []
    cuts: dict[str, Slabs] = {}
    for method, algorithm in ALGORITHMS.items():
        q = of_method(p, method)
        if q is None:
            estimate = "integers are exact as plain sums of products only"
            if method in OF_INTEGERS:
                estimate = "no float here holds sums of so many integers exactly"
        else:
            estimate = forms.estimate(algorithm, q, cost)
        if q is None or isinstance(estimate, str):
            found.append(Candidate(method, float("inf"), 0, 0, 0, "", note=str(estimate)))
            continue
        cut = cuts[method] = slabs.fit(algorithm, q, workspace, by_taps=method in TRANSFORMS)
        found.append(_candidate(method, q, estimate, cut, cost, workspace))
    return found, cuts


def of_method(p: Problem, method: str) -> Problem | None:
    """The problem as an algorithm gets it: matrices of integers are multiplied as is least work."""
    if method == "direct" or not p.integral or (method == "native" and p.native.integers):
        return p
    q = p.floats
    if q is None or q.split is None or method not in OF_INTEGERS:
        return None
    return p if not p.traces and p.heavy < q.split.work else q


def _candidate(
    method: str, p: Problem, whole: Estimate, cut: Slabs, cost: Costs, workspace: int
) -> Candidate:
    """An estimate, of what goes slab by slab the sum of theirs."""
    algorithm, part, note = ALGORITHMS[method], p.slab(cut), ""
    scratch = slabs.held(algorithm, part, whole=part == p)
    if scratch > workspace:
        note = f"holds {scratch / 2**20:.3g} MiB, of {workspace / 2**20:.3g} allowed"
    e, count = whole, slabs.count(p, cut)
    if count > 1:
        one = forms.estimate(algorithm, part, cost)
        if not isinstance(one, str):
            begun = 0 if p.traces else p.begun * cost.call
            e = replace(
                one,
                seconds=count * (one.seconds + begun),
                flops=count * one.flops,
                moved=count * one.moved,
            )
        if method not in TRANSFORMS:
            # Transforms compute points that two slabs share twice; the others read them twice.
            again = 2 * (slabs.repeated(p, cut) - 1) * max(p.x_bytes, p.y_bytes) / cost.stream
            e = replace(e, seconds=e.seconds + again)
    return Candidate(
        method=method,
        seconds=e.seconds,
        flops=e.flops,
        bytes=int(e.moved),
        workspace=scratch,
        error_bound=EXACT if p.integral or p.split else e.bound,
        terms=whole.terms or p.terms,
        against=e.against,
        note=note,
    )


_NAMES = {"y": "correlate", "x": "spread", "w": "kernel_gradient"}


def _decide(p: Problem, found: list[Candidate], cuts: dict[str, Slabs], workspace: int) -> Plan:
    ranked = sorted(found, key=lambda c: c.seconds)
    asked = p.g.method
    method, why = _best(ranked, workspace) if asked == "auto" else _forced(asked, ranked)
    chosen = next(c for c in ranked if c.method == method)
    told = tuple(_told(c, chosen, forced=asked != "auto") for c in ranked)
    points, frames = ALGORITHMS[method].frames(p, cuts[method])
    name = _NAMES[p.role]
    return Plan(name, method, why, told, cuts[method], chosen.terms, points, frames)


def _forced(asked: str, candidates: list[Candidate]) -> tuple[str, str]:
    """The method that was asked for, and why it may be another.

    It holds for the forward; where it cannot do a derivative, its kin does.
    """
    notes = {c.method: c.note for c in candidates}
    able = {c.method for c in candidates if c.seconds < float("inf")}
    kin = (asked, {"overlap_save": "fft"}.get(asked, "direct"), "direct")
    method = next(m for m in kin if m in able)
    return method, "asked for" if method == asked else f"{asked}: {notes[asked]}"


def _best(candidates: list[Candidate], workspace: int) -> tuple[str, str]:
    """The fastest of a bound per window, unless a transform is that much faster; and why."""

    def rank(c: Candidate) -> tuple[int, float]:
        # Where nothing stays within the workspace, what exceeds it least.
        return max(c.workspace, workspace), c.seconds

    possible = [c for c in candidates if c.seconds < float("inf") and not c.against]
    exact = min((c for c in possible if not c.transforms), key=rank)
    spectral = min((c for c in possible if c.transforms), key=rank, default=None)
    if spectral is not None and spectral.workspace <= max(workspace, exact.workspace):
        slower = exact.seconds / spectral.seconds
        if slower > FFT_ADVANTAGE:
            return spectral.method, f"{exact.method} is predicted {slower:.1f}× slower"
    return exact.method, "least predicted time with a bound per window"


def _told(c: Candidate, chosen: Candidate, *, forced: bool) -> Candidate:
    """A candidate with a note of why it was not taken."""
    if c.note or c is chosen:
        return c
    ratio = c.seconds / max(chosen.seconds, 1e-12)
    note = f"predicted {ratio:.2f}× the time"
    if c.against and not forced:
        note += f", {c.against}"
    if c.transforms and ratio < 1:
        note += ", not the 4× that an error bound per frame must buy"
    return replace(c, note=note)


_CAPTURE: ContextVar[tuple[Backend, tuple[str, str, str], list[Plan]] | None] = ContextVar(
    "swath_capture", default=None
)


class Captured(Exception):
    """Raised to leave an operation once its plan is known and nothing shall be computed."""


@contextmanager
def capture(be: Backend, place: tuple[str, str, str]) -> Generator[list[Plan]]:
    """Collect the plan, for `be`, of the first product inside the block, which is then left."""
    plans: list[Plan] = []
    token = _CAPTURE.set((be, place, plans))
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
    allowed = ("auto", *METHODS)
    if not isinstance(method, str) or method not in allowed:
        raise not_among("method", method, allowed)
    return method


@dataclass(frozen=True)
class _Call:
    """All of a product that does not depend on values: made once for each signature.

    `empty` is the shape of a result without points; `whole` says that the algorithm takes all in
    one piece, `plain` that it takes the operands as they are too.
    """

    problem: Problem
    kind: Any
    work: Any
    empty: tuple[int, ...] | None
    plan: Plan | None
    form: forms.Form | None = None
    whole: bool = False
    plain: bool = False


@lru_cache(maxsize=4096)
def _call(
    be: Backend,
    role: str,
    g: Sliding,
    shapes: tuple[tuple[int, ...], tuple[int, ...]],
    kinds: tuple[Any, Any],
    target: Backend,
    mutable: bool,
    place: tuple[str, str, str],
    workspace: int | None,
    fast: bool,
    floats: tuple[str, ...],
) -> _Call:
    batch, depth, rows = channels(g, dict(zip("xwy".replace(role, ""), shapes, strict=True)))
    kind = kinds[0] if kinds[0] == kinds[1] else be.xp.result_type(*kinds)
    work = be.dtype("float32") if be.is_half(kind) else kind
    problem = Problem(
        role,
        g,
        batch,
        depth,
        rows,
        be.name_of(work),
        target.traces,
        mutable,
        target.native,
        target.fuses,
        blocks(place[1]),
        target.narrow(work if be is target else target.dtype(be.name_of(work))),
        fast,
        target.long_lines.get(be.name_of(work)),
    )
    problem = replace(problem, floats=_in_floats(problem, target, floats))
    if batch * depth * rows * g.groups == 0 or 0 in (*g.out, *g.lengths, *g.sizes):
        return _Call(problem, kind, work, result_shape(role, g, batch, depth, rows), None)
    plan = choose(problem, place, workspace)
    form = forms.Form(be, ALGORITHMS[plan.method], of_method(problem, plan.method) or problem)
    whole = plan.slabs == Slabs(batch, problem.points)
    return _Call(problem, kind, work, None, plan, form, whole, whole and form.plain)


def _in_floats(p: Problem, target: Backend, floats: tuple[str, ...]) -> Problem | None:
    """A product of integers as products of floats."""
    if p.dtype not in _INTEGERS:
        return None
    how = split(8 * p.width, p.terms, floats)
    if how is None:
        return None
    return replace(p, dtype=how.dtype, narrow=target.narrow(target.dtype(how.dtype)), split=how)


def run(be: Backend, role: str, g: Sliding, a: Array, b: Array) -> Array:
    """Compute the product of a role (see `product`) by the planned algorithm."""
    asked = _CAPTURE.get()
    target, place = (be, be.place(a)) if asked is None else asked[:2]
    shapes, kinds = (a.shape, b.shape), (a.dtype, b.dtype)
    call = _call(
        be, role, g, shapes, kinds, target, target.mutable, place, WORKSPACE.get(), target.fast,
        () if be.is_floating(a.dtype) else target.exact_floats(a if asked is None else None),
    )  # fmt: skip
    plan, form, kind, work = call.plan, call.form, call.kind, call.work
    if plan is None or form is None:
        return be.new_like(a, call.empty or (), dtype=kind)
    if asked is not None:
        asked[2].append(plan)
        raise Captured
    # Half precision accumulates in float32 and rounds once.
    a, b = be.cast(a, work), be.cast(b, work)
    if call.plain:
        return be.cast(form.algorithm.run(be, role, g, a, b), kind)
    return be.cast(slabs.run(form, plan.slabs, a, b), kind)


def run_gradients(
    be: Backend, g: Sliding, x: Array, w: Array, y: Array
) -> tuple[Array, ...] | None:
    """The products "x" of w and y and "w" of x and y, where one call of the library's gives both.

    None where either has another plan, or where what is done is noted to be differentiated.
    """
    kind = x.dtype
    if not be.in_place or be.recorded(x, w, y) or w.dtype != kind or y.dtype != kind:
        return None
    place, limit, form = be.place(x), WORKSPACE.get(), None
    for role, a, b in (("w", x, y), ("x", w, y)):
        call = _call(
            be, role, g, (a.shape, b.shape), (kind, kind), be, be.mutable, place, limit, be.fast, ()
        )
        plan, form = call.plan, call.form
        if plan is None or plan.method != "native" or not call.whole or call.work != kind:
            return None
    return None if form is None else form.gradients(x, w, y)
