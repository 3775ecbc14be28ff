"""Cost as work grows: time per output of a filter, a small kernel, and a transform.

A filter and a 3×3 kernel take the same time per output at every size (within a quarter of the
median); a product through one whole transform grows by log2 of its points, which is divided out.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from math import log2
from typing import Any

import numpy as np
from libraries import put, ready, timer, usable

import swath

TAPS = 101
FLAT = 0.25


def _filter(n: int) -> tuple[np.ndarray, np.ndarray, dict[str, Any], float]:
    return _drawn((n,)), _drawn((TAPS,)), {}, 1.0


def _picture(n: int) -> tuple[np.ndarray, np.ndarray, dict[str, Any], float]:
    return _drawn((n, n)), _drawn((3, 3)), {}, 1.0


def _transform(n: int) -> tuple[np.ndarray, np.ndarray, dict[str, Any], float]:
    return _drawn((n,)), _drawn((n,)), {"method": "fft"}, log2(2 * n)


SERIES: tuple[tuple[str, Callable[..., Any], tuple[int, ...]], ...] = (
    (f"{TAPS} taps on n samples", _filter, (10**4, 10**5, 10**6, 10**7, 10**8)),
    ("3×3 on n×n", _picture, (256, 512, 1024, 2048, 4096, 8192)),
    ("n by n through an FFT, over log2", _transform, (10**4, 10**5, 10**6, 10**7)),
)


def _drawn(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def run(backends: list[str], largest: float = float("inf")) -> list[dict[str, Any]]:
    """Nanoseconds per output (and per log2 of the points of a transform) of every size."""
    found = []
    for backend in backends:
        if usable(backend):
            continue
        for name, make, sizes in SERIES:
            times = {n: _nanoseconds(backend, *make(n)) for n in sizes if n <= largest}
            middle = statistics.median(times.values())
            off = max(abs(t / middle - 1) for t in times.values())
            found.append({"series": name, "backend": backend, "ns": times, "off": off})
    return found


def _nanoseconds(
    backend: str, x: np.ndarray, k: np.ndarray, options: dict[str, Any], logs: float
) -> float:
    a, b = put(backend, x, k)
    timed = timer(backend)
    call = ready(backend, lambda a, b: swath.signal.convolve(a, b, "same", **options), a, b)
    once = min(timed(call, 1) for _ in range(2))
    n = max(1, int(5e-3 / once))
    rounds = max(3, min(50, int(1.0 / (n * once))))
    return 1e9 * min(timed(call, n) / n for _ in range(rounds)) / (x.size * logs)


def text(found: list[dict[str, Any]]) -> str:
    """Markdown."""
    lines = [
        f"| series | library | ns per output at n | largest distance from the median "
        f"(aim {FLAT * 100:.0f} %) |",
        "|---|---|---|---|",
    ]
    for f in found:
        times = ", ".join(f"{n:,}: {t:.3g}" for n, t in f["ns"].items())
        lines.append(f"| {f['series']} | {f['backend']} | {times} | {f['off'] * 100:.0f} % |")
    return "\n".join(lines)
