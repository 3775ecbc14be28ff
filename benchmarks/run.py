"""Run the benchmarks: swath beside its peers, checked equal before they are timed.

    python benchmarks/run.py [--rows TEXT ...] [--json FILE] [--markdown] [--threads N] [--list]
                             [--digits]

`--rows` keeps the rows whose name (family-row-library) contains one of the texts. A ratio is a
peer's median time divided by swath's: above 1, swath is faster. On a machine that others use,
threads that wait for each other are slowed far more than single ones; `--threads 1` and the ratio
of the least times then say more.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import sys
import time
import traceback
from typing import Any

import blocks
import fir
import image
import layer
import least_squares
import matrices
import nist
import numpy as np
import pooling
import resampling
import scipy.fft
import stream
import template
import toeplitz
import toeplitz_solvers
from harness import Row, Time, WrongResult, measure
from libraries import installed

import swath

# Settings of a machine that choose BLAS kernels by hand would be part of every figure.
_TUNING = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

FAMILIES = (
    fir,
    resampling,
    image,
    layer,
    pooling,
    matrices,
    toeplitz,
    toeplitz_solvers,
    template,
    blocks,
    stream,
    least_squares,
)
PACKAGES = ("numpy", "scipy", "torch", "jax", "jaxlib", "scikit-image", "array-api-compat")


def machine() -> dict[str, Any]:
    """Processor, versions, BLAS, threads, and two rates that figures can be read against."""
    versions = {"python": platform.python_version(), "swath": swath.__version__}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    found = {
        "date": datetime.date.today().isoformat(),
        "processor": _processor(),
        "cores": cores(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "system": f"{platform.system()} {platform.machine()}",
        "versions": versions,
        "blas": _blas(),
        "gemm_gflops": _gemm(),
        "copy_gb_per_s": _copy(),
    }  # fmt: skip
    if installed("torch"):
        import torch

        found["torch_threads"] = torch.get_num_threads()
    return found


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def settled(threads: int | None) -> None:
    """Start again with the settings that libraries read when they are loaded."""
    wanted = {k: v for k, v in os.environ.items() if k not in _TUNING}
    if threads is not None:
        wanted |= dict.fromkeys(_THREADS, str(threads))
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    if wanted != dict(os.environ):
        os.execve(sys.executable, [sys.executable, *sys.argv], wanted)


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            lines = dict(line.split(":", 1) for line in file if ":" in line)
    except OSError:
        return platform.processor()
    table = {key.strip(): value.strip() for key, value in lines.items()}
    wide = "AVX-512" if "avx512f" in table.get("flags", "") else "no AVX-512"
    return f"{table.get('model name', platform.processor())}, {wide}"


def _blas() -> list[str]:
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return ["unknown: threadpoolctl is not installed"]
    found = []
    for pool in threadpool_info():
        kernel = pool.get("architecture") or ""
        name = " ".join(filter(None, [pool["internal_api"], pool.get("version"), kernel]))
        found.append(f"{name} ({pool['num_threads']} threads)")
    return sorted(set(found))


def _best(run: Any, repeat: int = 5) -> float:
    times = []
    for _ in range(repeat):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return min(times)


def _gemm() -> float:
    """Giga floating-point operations per second of a float32 matrix product of side 2048."""
    a = np.random.default_rng(0).standard_normal((2048, 2048)).astype(np.float32)
    return round(2 * 2048**3 / _best(lambda: a @ a) / 1e9, 1)


def _copy() -> float:
    """Gigabytes copied per second (read and written bytes count once each)."""
    a, b = np.ones(2**25), np.empty(2**25)
    return round(2 * a.nbytes / _best(lambda: np.copyto(b, a)) / 1e9, 1)


def chosen(texts: list[str] | None) -> list[Row]:
    """All rows, or those that contain one of the texts."""
    rows = [row for family in FAMILIES for row in family.rows()]
    return [row for row in rows if not texts or any(t in row.id for t in texts)]


def run(row: Row, seconds: float) -> dict[str, Any]:
    """The outcome of one row as plain values."""
    outcome: dict[str, Any] = {
        "row": row.id, "family": row.family, "name": row.name, "backend": row.backend,
        "dtype": row.dtype,
    }  # fmt: skip
    if not installed(row.backend):
        return {**outcome, "not_run": f"{row.backend} is not installed"}
    if row.needs not in swath.operations():
        return {**outcome, "not_run": f"swath has no {row.needs} yet"}
    try:
        trial = row.make()
        # SciPy's transforms run in one thread unless told otherwise; everything else takes all.
        with scipy.fft.set_workers(cores()):
            times = measure(trial, seconds)
    except WrongResult as error:
        return {**outcome, "wrong": str(error)}
    except Exception as error:  # one broken row must not hide the others; the exit status tells
        traceback.print_exc()
        return {**outcome, "error": f"{type(error).__name__}: {error}"}
    us = times.pop("swath")
    return {
        **outcome,
        "method": trial.swath.note,
        "swath": _plain(us),
        "peers": {
            label: {
                **_plain(t),
                "ratio": t.median / us.median,
                "ratio_of_least": t.least / us.least,
                "note": trial.peers[label].note,
            }
            for label, t in times.items()
        },
    }


def _plain(t: Time) -> dict[str, Any]:
    return {"median_s": t.median, "spread": t.spread, "least_s": t.least, "rounds": t.rounds}


def failure(outcome: dict[str, Any]) -> str:
    """Why a row has no figures, or nothing."""
    for key in ("not_run", "wrong", "error"):
        if key in outcome:
            return f"{key.replace('_', ' ')}: {outcome[key]}"
    return ""


def text(outcome: dict[str, Any]) -> str:
    """One line per contender."""
    head = f"{outcome['family']:<9} {outcome['name']:<22} {outcome['backend']:<6}"
    if failure(outcome):
        return f"{head} {failure(outcome)}"
    us = outcome["swath"]
    label = "swath" + (f" {outcome['method']}" if outcome["method"] else "")
    lines = [f"{head} {label:<24} {_ms(us)}"]
    for name, peer in outcome["peers"].items():
        lines.append(
            f"{'':<39} {name:<24} {_ms(peer)}   x {peer['ratio']:.2f}"
            f"   (of least times {peer['ratio_of_least']:.2f})"
        )
    return "\n".join(lines)


def _ms(t: dict[str, Any]) -> str:
    return f"{t['median_s'] * 1e3:9.2f} ms ±{t['spread'] * 100:3.0f} %"


def markdown(about: dict[str, Any], outcomes: list[dict[str, Any]]) -> str:
    """The machine and one table."""
    versions = ", ".join(f"{k} {v}" for k, v in about["versions"].items())
    load = "" if about["load"] is None else f"; load average at the start {about['load']:.1f}"
    lines = [
        f"- Date: {about['date']}",
        f"- Machine: {about['processor']}; {about['cores']} cores; {about['system']}{load}",
        f"- Versions: {versions}",
        f"- BLAS and threads: {'; '.join(about['blas'])}",
        f"- Matrix product 2048² float32: {about['gemm_gflops']} GFLOP/s; "
        f"copy: {about['copy_gb_per_s']} GB/s",
        "",
        "| family | row | library | dtype | swath | peers: median (ratio; of minima) | lowest |",
        "|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for o in outcomes:
        head = f"| {o['family']} | {o['name']} | {o['backend']} | {o['dtype']} |"
        why = failure(o)
        if why:
            lines.append(f"{head} {why} | | |")
            continue
        us = f"{o['swath']['median_s'] * 1e3:.2f} ms ±{o['swath']['spread'] * 100:.0f} %"
        us += f" ({o['method']})" if o["method"] else ""
        peers = "; ".join(
            f"{name} {p['median_s'] * 1e3:.2f} ms ({p['ratio']:.2f}; {p['ratio_of_least']:.2f})"
            + (f" [{p['note']}]" if p["note"] else "")
            for name, p in o["peers"].items()
        )
        best = min(p["ratio"] for p in o["peers"].values())
        lines.append(f"{head} {us} | {peers} | {best:.2f} |")
    return "\n".join(lines)


def main() -> int:
    """Parse, run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", nargs="+", metavar="TEXT", help="rows whose name contains a text")
    parser.add_argument("--json", metavar="FILE", help="write everything measured to FILE")
    parser.add_argument("--markdown", action="store_true", help="print a table for RESULTS.md")
    parser.add_argument("--seconds", type=float, default=4.0, help="aim per row (default 4)")
    parser.add_argument("--list", action="store_true", help="print the rows and stop")
    parser.add_argument("--threads", type=int, help="cores and threads for everything")
    parser.add_argument("--digits", action="store_true", help="print NIST's table and stop")
    asked = parser.parse_args()
    settled(asked.threads)
    if asked.digits:
        print(nist.tables())
        return 0
    rows = chosen(asked.rows)
    if not rows:
        parser.error(f"--rows: no row contains {', '.join(asked.rows)}")
    if asked.list:
        print("\n".join(row.id for row in rows))
        return 0
    about = machine()
    quiet = asked.markdown
    if not quiet:
        print(json.dumps(about, indent=1, ensure_ascii=False))
    outcomes = []
    for row in rows:
        outcomes.append(run(row, asked.seconds))
        print(text(outcomes[-1]), file=sys.stderr if quiet else sys.stdout, flush=True)
    if asked.markdown:
        print(markdown(about, outcomes))
    if asked.json:
        with open(asked.json, "w", encoding="utf-8") as file:
            json.dump({"machine": about, "rows": outcomes}, file, indent=1, ensure_ascii=False)
    return int(any("wrong" in o or "error" in o for o in outcomes))


if __name__ == "__main__":
    sys.exit(main())
