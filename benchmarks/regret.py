"""Regret: time of the planner's choice over that of the best algorithm that it may choose.

Problems are drawn by a seed, forward products of all kinds, others than those that `swath tune`
fits its rates to; every algorithm that applies is a candidate. One whose error is bounded per
transformed frame may be chosen only where it is four times as fast as all others (the accuracy
contract), and is the best only then.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from typing import Any

from libraries import device, usable

from swath import tuning
from swath._backends import backend_named

SEED, COUNT = 2024, 200
DTYPES = ("float32", "float64", "complex64", "complex128")
MEDIAN_BAR, TAIL_BAR = 1.05, 1.5


def run(
    backends: list[str],
    count: int = COUNT,
    seed: int = SEED,
    dtypes: Sequence[str] = tuning.DTYPES,
) -> list[dict[str, Any]]:
    """The outcome of every library."""
    found = []
    for name in backends:
        if usable(name):
            continue
        be = backend_named(name)
        place = "cuda" if name == "torch" and device(name) == "gpu" else None
        problems = tuning.drawn(seed, "y", dtypes)
        results = []
        for i in range(count):
            results.append(tuning.timed(be, next(problems), place))
            if sys.stderr.isatty():
                print(f"\r{name} {i + 1}/{count}", end="", file=sys.stderr)
        worst = [
            {
                "problem": str(r.product),
                "chosen": r.chosen,
                "regret": r.regret,
                "ms": {m: 1e3 * t for m, t in sorted(r.seconds.items(), key=lambda p: p[1])},
            }
            for r in results
        ]
        found.append(summed(name, [r.regret for r in results], worst))
    return found


def summed(name: str, regrets: list[float], worst: list[dict[str, Any]]) -> dict[str, Any]:
    """Median, 95th percentile, and the worst with what they chose."""
    regrets = sorted(regrets)
    return {
        "backend": name,
        "problems": len(regrets),
        "median": statistics.median(regrets),
        "tail": regrets[min(len(regrets) - 1, int(0.95 * len(regrets)))],
        "worst": sorted(worst, key=lambda w: -w["regret"])[:10],
        "regrets": regrets,
    }


def merged(parts: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Outcomes of runs that drew other problems as those of one."""
    by_name: dict[str, list[dict[str, Any]]] = {}
    for outcome in (outcome for part in parts for outcome in part):
        by_name.setdefault(outcome["backend"], []).append(outcome)
    return [
        summed(name, *([x for o in some for x in o[key]] for key in ("regrets", "worst")))
        for name, some in by_name.items()
    ]


def text(found: list[dict[str, Any]]) -> str:
    """Markdown."""
    lines = [
        f"| library | problems | median (aim {MEDIAN_BAR}) | 95th percentile (aim {TAIL_BAR}) |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {f['backend']} | {f['problems']} | {f['median']:.3f} | {f['tail']:.2f} |" for f in found
    ]
    for f in found:
        lines += ["", f"Worst on {f['backend']}:", ""]
        for w in f["worst"]:
            times = ", ".join(f"{m} {t:.3g} ms" for m, t in w["ms"].items())
            lines.append(f"- {w['regret']:.2f}: {w['problem']}; {w['chosen']} of {times}")
    return "\n".join(lines)
