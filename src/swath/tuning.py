"""`swath tune`: rates of the installed libraries on this machine, from measured times.

Products are drawn by a seed, every algorithm that applies computes each of them, and the rates of
`swath.sliding.costs` are those under which the predicted times come nearest to the measured ones.
So whatever an algorithm's estimate counts is measured where it counts, calls included.

On a GPU calls take most of the time of products that a processor is tuned with, and say little of
the rest: there each rate is read off one large operation.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import astuple, dataclass, fields, replace
from math import exp, log, log2, prod
from typing import Any

import numpy as np

from ._backends import Backend, backend_named, blocks
from .geometry import Sliding, Span
from .sliding import costs, plan
from .sliding.costs import Costs, Measured
from .sliding.problem import Problem

__all__ = ["DTYPES", "Product", "Timed", "drawn", "fitted", "rates_of", "read_off", "timed", "tune"]

# Multiply-adds of a drawn product: about 10 ms of one core.
_MOST = 4e8
# An algorithm predicted to take so many times the best's, and seconds, is not tried.
_HOPELESS = 20.0, 0.02
# Seconds that all calls of one algorithm may take, and rounds: calls of microseconds take several
# times as long where a thread has to wake, and only many show how long they take by themselves.
_SPENT, _ROUNDS = 0.02, 200
# Rounds of what looks far from the best, where they are short, and seconds that more may take.
_AGAIN, _LITTLE = 6, 0.002
# How far rates may go from the ones before without evidence (in nats, beside one product).
_TETHER = 3.0
# What a bad choice counts beside a bad prediction, and the power of speed that a draw goes by.
_CHOICE, _SHARPNESS = 3.0, 8.0


@dataclass(frozen=True)
class Product:
    """A drawn product: the letter of its result, its geometry, and the sizes of the operands."""

    role: str
    g: Sliding
    batch: int
    depth: int
    rows: int
    dtype: str

    def __str__(self) -> str:
        spans = " ".join(
            f"{s.length}∗{s.size}"
            + (f"/{s.stride}" if s.stride > 1 else "")
            + (f":{s.dilation}" if s.dilation > 1 else "")
            for s in self.g.spans
        )
        groups = f" {self.g.groups} groups of" if self.g.groups > 1 else ""
        layout = ", channels last" if self.g.last else ""
        return (
            f"{self.role}: {self.batch} ×{groups} {self.depth}→{self.rows}, {spans}{layout}, "
            f"{self.dtype}"
        )

    def problem(self, be: Backend, kind: str = "cpu") -> Problem:
        """As the planner sees it on a kind of device."""
        return Problem(
            self.role, self.g, self.batch, self.depth, self.rows, self.dtype, be.traces,
            be.mutable, be.native, be.fuses, blocks(kind),
            be.narrow(be.dtype(self.dtype)), long=be.long_lines.get(self.dtype),
        )  # fmt: skip

    def operands(self, seed: int = 0) -> list[np.ndarray]:
        """Random operands on the host."""
        g, rng = self.g, np.random.default_rng(seed)
        shapes = {
            "x": g.x_shape(self.batch, g.groups * self.depth),
            "w": g.w_shape(g.groups * self.rows, self.depth),
            "y": g.y_shape(self.batch, g.groups * self.rows),
        }
        letters = "xwy".replace(self.role, "")
        kind = np.dtype(self.dtype)
        real: Any = kind.type(0).real.dtype
        parts = 2 if kind.kind == "c" else 1

        def values(shape: tuple[int, ...]) -> np.ndarray:
            found = rng.standard_normal((*shape, parts), dtype=real)
            return found.view(kind)[..., 0]

        return [values(shapes[c]) for c in letters]


@dataclass(frozen=True)
class Timed:
    """Seconds of every algorithm that computed a product, and the one that was chosen."""

    product: Product
    seconds: dict[str, float]
    chosen: str

    @property
    def regret(self) -> float:
        """Time of the chosen over that of the best that may be chosen.

        A transform's error is one of its frame: it may be chosen only where it is so many times
        faster than every algorithm with a bound per window.
        """
        spectral = {m: t for m, t in self.seconds.items() if m in plan.TRANSFORMS}
        exact = min(t for m, t in self.seconds.items() if m not in spectral)
        best = min(spectral.values(), default=exact)
        allowed = best if exact > plan.FFT_ADVANTAGE * best else exact
        return self.seconds[self.chosen] / min(allowed, self.seconds[self.chosen])


# -- drawing ---------------------------------------------------------------------------------------


# What products are drawn of: as often as they stand here.
DTYPES = ("float32",) * 5 + ("float64",)


def drawn(
    seed: int, roles: Sequence[str] = "yyyxw", dtypes: Sequence[str] = DTYPES
) -> Iterator[Product]:
    """Products of all kinds without end: signals, pictures, volumes, layers with groups or not."""
    rng = random.Random(seed)
    while True:
        found = rng.choice((_signal, _signal, _picture, _layer, _layer, _layer, _grouped))(rng)
        g, role = found.g, rng.choice(list(roles))
        if 0 in g.out:
            continue
        work = found.batch * g.groups * found.depth * found.rows * prod(g.out) * prod(g.sizes)
        points = found.batch * g.groups * max(found.depth, found.rows) * prod(g.lengths)
        if 1e3 < work < _MOST and points < 2e7:
            yield replace(found, role=role, dtype=rng.choice(dtypes))


def _between(rng: random.Random, low: float, high: float) -> int:
    """A whole number whose logarithm is even between two."""
    return round(exp(rng.uniform(log(low), log(high))))


def _signal(rng: random.Random) -> Product:
    n, size = _between(rng, 100, 1e6), _between(rng, 2, 1500)
    stride = rng.choice([1, 1, 1, 1, 2, 5])
    span = Span(n, size, stride, 1, size // 2, (size - 1) // 2)
    return Product("y", Sliding((span,)), rng.choice([1, 1, 2, 16, 64]), 1, 1, "")


def _picture(rng: random.Random) -> Product:
    rank = rng.choice([2, 2, 2, 3])
    top, taps = (1500, 25) if rank == 2 else (150, 7)
    size = _between(rng, 2, taps)
    spans = tuple(
        Span(n, size, low=size // 2, high=(size - 1) // 2)
        for n in (_between(rng, 24, top) for _ in range(rank))
    )
    return Product("y", Sliding(spans), rng.choice([1, 1, 1, 3]), 1, 1, "")


_WIDTHS = (3, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)


def _layer(rng: random.Random) -> Product:
    rank = rng.choice([1, 2, 2, 2, 3])
    size = rng.choice({1: [1, 3, 5, 9, 25], 2: [1, 2, 3, 3, 3, 5, 7], 3: [1, 2, 3, 3]}[rank])
    stride, dilation = rng.choice([1, 1, 1, 2]), rng.choice([1, 1, 1, 1, 2, 3])
    top = {1: 4000, 2: 230, 3: 40}[rank]
    low = rng.choice([0, dilation * (size - 1) // 2])
    spans = tuple(
        Span(n, size, stride, dilation, low, low)
        for n in (_between(rng, 5, top) for _ in range(rank))
    )
    g = Sliding(spans, last=rng.random() < 0.5)
    return Product("y", g, rng.choice([1, 1, 2, 4, 8, 16]), rng.choice(_WIDTHS),
                   rng.choice(_WIDTHS[1:]), "")  # fmt: skip


def _grouped(rng: random.Random) -> Product:
    found = _layer(rng)
    groups = rng.choice([4, 16, 32, 64, 128])
    depth, rows = rng.choice([(1, 1), (1, 1), (1, 2), (4, 4), (8, 8)])
    return replace(found, g=replace(found.g, groups=groups), depth=depth, rows=rows)


# -- timing ----------------------------------------------------------------------------------------


def _computed(be: Backend, what: tuple[str, Sliding], a: Any, b: Any) -> tuple[Any, ...]:
    return (plan.run(be, *what, a, b),)


def timed(be: Backend, product: Product, device: Any = None) -> Timed:
    """Least seconds of every algorithm, rounds interleaved."""
    with be.with_float64() if product.dtype in ("float64", "complex128") else nullcontext():
        return _timed(be, product, device)


def _timed(be: Backend, product: Product, device: Any) -> Timed:
    operands = [be.from_host(a, device) for a in product.operands()]
    place = be.place(operands[0])
    made = plan.choose(product.problem(be, place[1]), place)
    calls: dict[str, Callable[[], Any]] = {}
    found: dict[str, float] = {}

    def call(method: str) -> Callable[[], None]:
        g = replace(product.g, method=method)

        def run() -> None:
            (out,) = be.run(_computed, (product.role, g), *operands)
            be.synchronize(out)

        return run

    compiles = be.traces or place[1] == "gpu"
    worst = max(_HOPELESS[0] * made.chosen.seconds, _HOPELESS[1])
    for candidate in made.candidates:
        if candidate.seconds < worst or candidate.method == made.method:
            run = calls[candidate.method] = call(candidate.method)
            first = _once(run)
            found[candidate.method] = first if first > 0.1 and not compiles else _once(run)
    for i in range(_ROUNDS):
        best = min(found.values())
        for method, run in calls.items():
            # What cannot be the best is called a few times more, lest the machine was busy.
            rounds = max(3, _SPENT / found[method])
            if found[method] > 3 * best:
                few = _AGAIN if found[method] < 0.1 / _AGAIN else found[method] < 0.1
                rounds = max(few, _LITTLE / found[method])
            if i < rounds:
                found[method] = min(found[method], _once(run))
    return Timed(product, found, made.method)


def _once(run: Callable[[], Any]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


# -- fitting ---------------------------------------------------------------------------------------


def fitted(be: Backend, results: Sequence[Timed], before: Costs) -> Costs:
    """Rates under which predicted times come near the measured ones, and choices near the best.

    First the nearest in logarithms, an algorithm far from the best of its product counting little;
    from there also those that choose well, where a draw by predicted speed stands for the choice,
    as a choice itself has no slope.
    """
    from scipy.optimize import least_squares

    problems = [(r.product.problem(be), r.seconds) for r in results]
    start = np.log(np.asarray(astuple(before)))

    def misses(logs: np.ndarray, weight: float) -> np.ndarray:
        rates = Costs(*np.exp(logs))
        found = []
        for problem, seconds in problems:
            best = min(seconds.values())
            pairs = []
            for c in plan.predicted(problem, rates)[0]:
                if c.method in seconds:
                    true = seconds[c.method]
                    found.append((log(c.seconds) - log(true)) / (1 + log(true / best)))
                    if not c.transforms:
                        pairs.append((log(c.seconds), log(true)))
            if weight and pairs:
                found.append(weight * _regretted(np.asarray(pairs)))
        # A rate that no candidate uses stays where it is, by the tether.
        return np.asarray([*found, *(logs - start) / _TETHER])

    found = start
    for weight in (0.0, _CHOICE):
        found = least_squares(
            misses, found, args=(weight,), loss="soft_l1", diff_step=1e-3, max_nfev=40
        ).x
    return Costs(*(float(f"{v:.3g}") for v in np.exp(found)))


def _regretted(pairs: np.ndarray) -> float:
    """Root of the logarithm by which a draw by predicted speeds exceeds one by true speeds."""
    predicted, true = pairs.T
    drawn_by = []
    for logs in (predicted, true):
        odds = np.exp(_SHARPNESS * (logs.min() - logs))
        drawn_by.append(odds @ true / odds.sum())
    return float(np.sqrt(1e-4 + max(0.0, drawn_by[0] - drawn_by[1])))


def read_off(be: Backend, before: Costs, device: Any = None, size: int = 2**26) -> Costs:
    """Rates, each from one operation on arrays of up to `size` elements.

    Those of kernels that the library does not have stay as they were.
    """
    rng = np.random.default_rng(0)

    def made(*shape: int) -> Any:
        return be.from_host(rng.standard_normal(shape, dtype=np.float32), device)

    def seconds(function: Callable[..., tuple[Any, ...]], what: Any, *arrays: Any) -> float:
        def run() -> None:
            be.synchronize(be.run(function, what, *arrays)[0])

        run()  # compiles
        return min(_once(run) for _ in range(9))

    def product(g: Sliding, batch: int, depth: int, rows: int) -> tuple[float, float]:
        """Multiply-adds, and seconds of the library's own kernel."""
        g = replace(g, method="native")
        x, w = made(*g.x_shape(batch, g.groups * depth)), made(*g.w_shape(g.groups * rows, depth))
        flops = float(batch * g.groups * depth * rows * prod(g.out) * prod(g.sizes))
        return flops, seconds(_computed, ("y", g), x, w)

    side, points, few = int((size // 4) ** 0.5), 4096, made(16)
    a, x, batch = made(side, side), made(size), made(max(1, size // (4 * points)), points)
    start = seconds(_sums, 1, few)
    rates = {
        "gemm": side**3 / seconds(_squared, None, a),
        "stream": 12 * size / seconds(_sums, 1, x),
        "gather": 2 * 4 * 9 * (side - 2) ** 2 / seconds(_gathered, None, a),
        "fft": batch.shape[0] * points * log2(points) / seconds(_transformed, points, batch),
        "call": max(1e-9, (seconds(_sums, 101, few) - start) / 100),
    }
    plane = Span(64, 3, low=1, high=1)
    layer = Product("y", Sliding((plane, plane)), 8, 64, 64, "float32").problem(be)
    if not isinstance(be.native.seconds(layer, before), str):
        n = max(256, size // 8)
        line = Sliding((Span(n, 129, low=64, high=64),))
        flops, taken = product(line, 1, 1, 1)
        rates["native_single"] = flops / taken
        flops, taken = product(Sliding((Span(n, 3, low=1, high=1),)), 1, 1, 1)
        rates["native_point"] = n / max(taken - flops / rates["native_single"], taken / 2)
        n = max(8, int((size // 512) ** 0.5) // 2)
        plane = Span(n, 3, low=1, high=1)
        for name, groups, depth in (("native", 1, 64), ("native_groups", 128, 1)):
            flops, taken = product(Sliding((plane, plane), groups=groups), 8, depth, depth)
            rates[name] = flops / taken
    return replace(before, **{k: float(f"{v:.3g}") for k, v in rates.items()})


def _sums(be: Backend, count: int, x: Any) -> tuple[Any, ...]:
    y = x
    for _ in range(count):
        y = y + x
    return (y,)


def _squared(be: Backend, _: Any, a: Any) -> tuple[Any, ...]:
    return (be.matmul(a, a),)


def _gathered(be: Backend, _: Any, a: Any) -> tuple[Any, ...]:
    found = be.windows(a, (3, 3), (1, 1), (1, 1), (0, 1))
    return (be.reshape(be.permute(found, (2, 3, 0, 1)), (9, -1)),)


def _transformed(be: Backend, points: int, x: Any) -> tuple[Any, ...]:
    return (be.fft(x, (1,), (points,)),)


def tune(
    library: str,
    *,
    device: Any = None,
    count: int = 160,
    seed: int = 0,
    each: Callable[[Iterator[int]], Any] = iter,
) -> tuple[Measured, str]:
    """Measure a library on a device; what was found, and how well it predicts.

    Parameters
    ----------
    library : str
        Import name of the library.
    device : object, optional
        One of its devices; the default one by default.
    count, seed : int
        How many products are drawn, and by what seed.
    each : callable
        Wraps the numbers 0 … count−1, as a progress bar does.
    """
    be = backend_named(library)
    device = None if device is None else be.check_device(device)
    place = be.place(be.from_host(np.zeros(1, np.float32), device))
    before = costs.of(*place).costs
    products = drawn(seed)
    threads = os.environ.get("OMP_NUM_THREADS") or str(_cores())
    how = f"fitted by `swath tune` to {count} products of seed {seed}, {threads} threads"
    single = read_off(be, before, device) if place[1] == "gpu" else None
    results = [timed(be, next(products), device) for _ in each(iter(range(count)))]
    rates = single or fitted(be, results, before)
    if single:
        how = "read by `swath tune` off single operations"
    measured = Measured(
        library, place[1], place[2] or costs.processor(), rates, _versions(library),
        datetime.date.today().isoformat(), how,
    )  # fmt: skip
    return (
        measured,
        f"predicted over measured time, off by a factor of {_off(be, results, rates, place[1])}",
    )


def _off(be: Backend, results: Sequence[Timed], rates: Costs, kind: str) -> str:
    """Median and 95th percentile of how far predictions are from what was measured."""
    logs = sorted(
        abs(log(c.seconds / r.seconds[c.method]))
        for r in results
        for c in plan.predicted(r.product.problem(be, kind), rates)[0]
        if c.method in r.seconds
    )
    cuts = statistics.quantiles(logs, n=20)
    return f"{exp(statistics.median(logs)):.2f} (median), {exp(cuts[-1]):.2f} (95th percentile)"


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _versions(library: str) -> str:
    names = {"numpy": ["numpy", "scipy"], "jax": ["jax", "jaxlib"]}.get(library, [library])
    found = []
    for name in names:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            # As CuPy, whose package is named after a version of CUDA.
            module = __import__(name)
            found.append(f"{name} {getattr(module, '__version__', '?')}")
    return ", ".join(found)


def rates_of(measured: Measured) -> str:
    """The rates as one line."""
    pairs = zip(fields(Costs), astuple(measured.costs), strict=True)
    return ", ".join(f"{f.name} {v:.3g}" for f, v in pairs)
