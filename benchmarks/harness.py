"""What a benchmark row is, and how it is checked and timed.

Every contender's result is compared with a float64 reference before anything is timed: swath and
its peers must do the same work, in the same dtype, on the same arrays. Rounds run all contenders in
a new order each, in one process, so that a busy machine slows them alike; medians are compared.
"""

from __future__ import annotations

import gc
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

EPS = {"float32": 2.0**-23, "float64": 2.0**-52}


@dataclass
class Contender:
    """One way to do the work.

    `allowed` is the largest error, element by element or one number; `note` what is special.
    """

    run: Callable[[], Any]
    allowed: Any
    note: str = ""


@dataclass
class Trial:
    """A row made ready: the exact result, swath and its peers."""

    exact: np.ndarray
    swath: Contender
    peers: dict[str, Contender]


@dataclass(frozen=True)
class Row:
    """One comparison on one array library.

    `needs` is the operation of swath without which the row cannot run.
    """

    family: str
    name: str
    backend: str
    dtype: str
    needs: str
    make: Callable[[], Trial] = field(repr=False)

    @property
    def id(self) -> str:
        return f"{self.family}-{self.name}-{self.backend}".replace(" ", "_")


@dataclass
class Time:
    """Seconds of one call: median, distance of the quartiles relative to it, and the least."""

    median: float
    spread: float
    least: float
    rounds: int


class WrongResult(AssertionError):
    """A contender's result is not the work that the row is about."""


def check(label: str, contender: Contender, exact: np.ndarray) -> None:
    """Compare a result with the reference, shape first."""
    got = to_numpy(contender.run())
    if got.shape != exact.shape:
        raise WrongResult(f"{label}: shape {got.shape}, expected {exact.shape}")
    error = np.abs(got.astype(np.float64) - exact)
    over = ~(error <= contender.allowed)
    if np.any(over):
        raise WrongResult(
            f"{label}: {int(over.sum())} of {got.size} values beyond the bound, "
            f"largest error {float(np.nanmax(error)):.3e}"
        )


def to_numpy(x: Any) -> np.ndarray:
    return x.detach().numpy() if hasattr(x, "detach") else np.asarray(x)


def measure(trial: Trial, seconds: float) -> dict[str, Time]:
    """Median times of all contenders, rounds interleaved."""
    contenders = {"swath": trial.swath, **trial.peers}
    counts = {}
    for label, contender in contenders.items():
        check(label, contender, trial.exact)
        contender.run()
        once = min(_timed(contender.run, 1) for _ in range(2))
        # One sample lasts at least 5 ms, so that the clock and the call do not count.
        counts[label] = (max(1, int(5e-3 / once)), once)
    lap = sum(n * once for n, once in counts.values())
    rounds = min(51, max(7, int(seconds / lap)))
    samples: dict[str, list[float]] = {label: [] for label in contenders}
    order = list(contenders)
    shuffle = random.Random(0).shuffle
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            shuffle(order)
            for label in order:
                n = counts[label][0]
                samples[label].append(_timed(contenders[label].run, n) / n)
    finally:
        gc.enable()
    return {label: _summary(values) for label, values in samples.items()}


def _timed(run: Callable[[], Any], n: int) -> float:
    began = time.perf_counter()
    for _ in range(n):
        run()
    return time.perf_counter() - began


def _summary(values: list[float]) -> Time:
    low, middle, high = statistics.quantiles(values, n=4)
    return Time(middle, (high - low) / middle, min(values), len(values))


# -- bounds of the accuracy contract ---------------------------------------------------------------


def window_bound(dtype: str, terms: int, magnitude: Any) -> Any:
    """2·K·eps·(|x|⋆|k|): shift-and-add, Toeplitz and matrix products of K terms."""
    return 2 * terms * EPS[dtype] * np.asarray(magnitude)


def transform_bound(dtype: str, points: int, x: np.ndarray, k: np.ndarray) -> float:
    """4·eps·log2(n)·‖x‖₂·‖k‖₂: an FFT of n points over all of x."""
    norms = float(np.linalg.norm(x.astype(np.float64)) * np.linalg.norm(k.astype(np.float64)))
    return 4 * EPS[dtype] * np.log2(points) * norms


def ours(run: Callable[[], Any], window: Any, transform: Any, method: str) -> Contender:
    """swath's contender, held to the bound of the algorithm that its plan names."""
    transforms = method in ("fft", "overlap_save")
    return Contender(run, transform if transforms else window, method)
