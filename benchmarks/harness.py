"""What a benchmark row is, and how it is checked and timed.

Every contender's result is compared with a reference of higher precision before anything is timed:
swath and its peers must do the same work, in the same dtype, on the same arrays. Rounds run the
contenders in a new order each, in one process, so that a busy machine slows them alike; each begins
when the process is idle, with a call that is not timed. Medians are compared.
"""

from __future__ import annotations

import gc
import random
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from libraries import device, idle, timer

from swath.sliding.plan import TRANSFORMS

EPS = {"float32": 2.0**-23, "float64": 2.0**-52}

# Rounds: at least, and for peers that are several times slower than the fastest, or long calls.
_MOST, _LEAST, _LEAST_SLOW, _SLOW = 51, 7, 3, 5.0
# Longer calls need none before that wakes their threads and brings their arrays near.
_BRIEF = 0.3


@dataclass
class Contender:
    """One way to do the work.

    `allowed` is the largest error, element by element or one number (a tuple where the result is
    one); `typical` the largest root mean square of the error, which a product of lower precision
    exceeds; `note` what is special. `role` says whether it counts:

    - "peer": the same work by other means of the same library, at the same precision
    - "instead": what a user would pick instead, with other arrays
    - "beside": told, not compared: it does more or less than the row asks
    """

    run: Callable[[], Any]
    allowed: Any
    note: str = ""
    role: str = "peer"
    typical: Any = None


@dataclass(frozen=True)
class Work:
    """What the problem takes, whoever solves it: operations by its definition (a multiply-add is
    two), and bytes of inputs and result, each moved once."""

    flops: float
    bytes: float


@dataclass
class Trial:
    """A row made ready: the exact result, swath and its peers."""

    exact: Any
    swath: Contender
    peers: dict[str, Contender]
    work: Work | None = None


@dataclass(frozen=True)
class Row:
    """One comparison on one array library.

    `needs` is the operation of swath without which the row cannot run. `marks`: "quick" is part of
    the short run; "dense" is a layer without groups; "large" must come near the machine's limit.
    """

    family: str
    name: str
    backend: str
    dtype: str
    needs: str
    make: Callable[[], Trial] = field(repr=False)
    marks: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        wide = "-float64" if self.dtype == "float64" else ""
        return f"{self.family}-{self.name}-{self.backend}{wide}".replace(" ", "_")


@dataclass
class Time:
    """Seconds of one call: median, distance of the quartiles relative to it, and the least.

    `first` is what the first call took beyond the median: tracing and compiling.
    """

    median: float
    spread: float
    least: float
    rounds: int
    first: float = 0.0


class WrongResult(AssertionError):
    """A contender's result is not the work that the row is about."""


def check(label: str, contender: Contender, exact: Any) -> None:
    """Compare a result with the reference, shape first."""
    _compare(label, contender, contender.run(), exact)


def _compare(label: str, contender: Contender, got: Any, exact: Any) -> None:
    if not isinstance(exact, tuple):
        got, exact = (got,), (exact,)
    count = len(exact)
    bounds = contender.allowed if isinstance(contender.allowed, tuple) else (contender.allowed,)
    usual = contender.typical if isinstance(contender.typical, tuple) else (contender.typical,)
    if len(got) != count:
        raise WrongResult(f"{label}: {len(got)} results, expected {count}")
    for i, (one, true) in enumerate(zip(got, exact, strict=True)):
        name = label if count == 1 else f"{label}, result {i}"
        _compare_one(name, to_numpy(one), true, bounds[i % len(bounds)], usual[i % len(usual)])


def _compare_one(label: str, got: np.ndarray, exact: np.ndarray, most: Any, usual: Any) -> None:
    if got.shape != exact.shape:
        raise WrongResult(f"{label}: shape {got.shape}, expected {exact.shape}")
    wide = np.complex128 if got.dtype.kind == "c" else np.float64
    error = np.abs(got.astype(wide) - exact)
    over = ~(error <= most)
    if np.any(over):
        raise WrongResult(
            f"{label}: {int(over.sum())} of {got.size} values beyond the bound, "
            f"largest error {float(np.nanmax(error)):.3e}"
        )
    if usual is not None:
        rms = float(np.sqrt(np.mean(np.square(error))))
        if not rms <= usual:
            raise WrongResult(f"{label}: errors of {rms:.3e} (rms) where {usual:.3e} is allowed")


def to_numpy(x: Any) -> np.ndarray:
    if hasattr(x, "detach"):
        return x.detach().cpu().numpy()
    return x.get() if hasattr(x, "get") else np.asarray(x)


def measure(trial: Trial, seconds: float, backend: str = "numpy") -> dict[str, Time]:
    """Median times of all contenders, rounds interleaved, in about so many seconds.

    A contender whose one call takes longer than that and over five times the fastest's is called
    no second time.
    """
    timed = timer(backend)
    contenders = {"swath": trial.swath, **trial.peers}
    first, once, between = {}, {}, {}
    for label, contender in contenders.items():
        results: list[Any] = []
        idle()
        first[label] = timed(lambda c=contender, r=results: r.append(c.run()), 1)
        _compare(label, contender, results.pop(), trial.exact)
    fastest = min(first.values())
    hopeless = {k for k, t in first.items() if t > max(seconds, _SLOW * fastest, 0.5)}
    idle()
    for label, contender in contenders.items():
        # A first call that compiled says nothing of the second.
        compiles = backend == "jax" or device(backend) == "gpu"
        if label != "swath" and label in hopeless and not compiles:
            once[label] = first[label]
        else:
            once[label] = min(timed(contender.run, 1) for _ in range(2))
        between[label] = idle() + (once[label] if once[label] < _BRIEF else 0.0)
    fastest = min(once.values())
    share = seconds / len(contenders)
    samples: dict[str, list[float]] = {}
    counts, rounds = {}, {}
    for label, t in once.items():
        # One sample lasts at least 5 ms, so that the clock and the call do not count.
        counts[label] = max(1, int(5e-3 / t))
        few = t > seconds / 2 or (label != "swath" and t > _SLOW * fastest)
        fit = int(share / (t * counts[label] + between[label]))
        rounds[label] = min(_MOST, max(_LEAST_SLOW if few else _LEAST, fit))
        samples[label] = []
        if label != "swath" and t > max(seconds, _SLOW * fastest):
            rounds[label], samples[label] = 0, [t]
    order = list(contenders)
    shuffle = random.Random(0).shuffle
    total = max(rounds.values())
    gc.collect()
    gc.disable()
    try:
        for i in range(total):
            shuffle(order)
            for label in order:
                n, k = counts[label], rounds[label]
                # Fewer rounds are spread evenly over all.
                if (i + 1) * k // total > i * k // total:
                    run = contenders[label].run
                    idle()
                    if once[label] < _BRIEF:
                        run()
                    samples[label].append(timed(run, n) / n)
    finally:
        gc.enable()
    return {label: _summary(values, first[label]) for label, values in samples.items()}


def _summary(values: list[float], first: float) -> Time:
    if len(values) < 3:
        middle, spread = statistics.median(values), 0.0
    else:
        low, middle, high = statistics.quantiles(values, n=4)
        spread = (high - low) / middle
    return Time(middle, spread, min(values), len(values), max(0.0, first - middle))


# -- bounds of the accuracy contract ---------------------------------------------------------------


def window_bound(dtype: str, terms: int, magnitude: Any) -> Any:
    """2·K·eps·(|x|⋆|k|): shift-and-add, Toeplitz and matrix products of K terms."""
    return 2 * terms * EPS[dtype] * np.asarray(magnitude)


def typical_bound(dtype: str, terms: int, x: np.ndarray, k: np.ndarray) -> float:
    """eps·‖window‖₂·‖k‖₂ of zero-mean random data: K times both standard deviations."""
    return EPS[dtype] * terms * float(np.std(x)) * float(np.std(k))


def transform_bound(dtype: str, points: int, x: np.ndarray, k: np.ndarray) -> float:
    """4·eps·log2(n)·‖x‖₂·‖k‖₂: an FFT of n points over all of x."""
    norms = float(np.linalg.norm(x.astype(np.float64)) * np.linalg.norm(k.astype(np.float64)))
    return 4 * EPS[dtype] * np.log2(points) * norms


def ours(run: Callable[[], Any], window: Any, transform: Any, method: str) -> Contender:
    """swath's contender, held to the bound of the algorithm that its plan names."""
    return Contender(run, transform if method in TRANSFORMS else window, method)
