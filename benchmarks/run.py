"""Run the benchmarks: swath beside its peers, checked equal before they are timed.

    swath bench [--quick] [--rows TEXT ...] [--backend NAME ...] [--threads N] [--device cpu|gpu]
                [--json FILE] [--markdown] [--update FILE] [--plot FILE] [--least]
                [--from FILE ...] [--list]
    swath bench --growth | --regret [--problems N] [--seed N] [--dtypes D ...] | --digits

A ratio is a peer's median time divided by swath's: above 1, swath is faster. `--rows` keeps the
rows whose name (family-row-library) contains one of the texts. On a machine that others use,
threads that wait for each other are slowed far more than single ones; `--threads 1` and `--least`,
which compares the least times, then say more. The same rows run on a GPU: JAX and CuPy use it where
they find one, PyTorch with `--device gpu`; what ran on one goes to a section of its own.
`python benchmarks/run.py` does the same in a checkout.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
import traceback
from typing import Any

import blocks
import fir
import growth
import image
import layer
import least_squares
import libraries
import machine
import nist
import pooling
import regret
import report
import resampling
import response
import scipy.fft
import stream
import template
import toeplitz
import toeplitz_least_squares
import toeplitz_solvers
from harness import Row, Time, WrongResult, measure

import swath
from swath import tuning

# Settings of a machine that choose BLAS kernels by hand would be part of every figure.
_TUNING = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

FAMILIES = (
    fir,
    resampling,
    stream,
    response,
    image,
    layer,
    pooling,
    toeplitz,
    toeplitz_solvers,
    toeplitz_least_squares,
    least_squares,
    template,
    blocks,
)


def settled(threads: int | None) -> None:
    """Start again with the settings that libraries read when they are loaded."""
    wanted = {k: v for k, v in os.environ.items() if k not in _TUNING}
    if threads is not None:
        wanted |= dict.fromkeys(_THREADS, str(threads))
        if hasattr(os, "sched_setaffinity"):
            allowed = sorted(os.sched_getaffinity(0))
            if len(allowed) > threads:
                # The last ones: what else runs on a machine begins with the first.
                os.sched_setaffinity(0, allowed[-threads:])
    if wanted != dict(os.environ):
        os.execve(sys.executable, [sys.executable, *sys.argv], wanted)


def chosen(
    texts: list[str] | None, backends: list[str] | None = None, quick: bool = False
) -> list[Row]:
    """The rows of libraries that are here, or those that contain one of the texts."""
    usable = [b for b in backends or libraries.BACKENDS if not libraries.usable(b)]
    return [
        row
        for family in FAMILIES
        for row in family.rows()
        if row.backend in usable
        and (not texts or any(t in row.id for t in texts))
        and (not quick or "quick" in row.marks)
    ]


def run(row: Row, seconds: float, rates: dict[str, dict[str, float]]) -> dict[str, Any]:
    """The outcome of one row as plain values."""
    device = libraries.device(row.backend)
    outcome: dict[str, Any] = {
        "row": row.id, "family": row.family, "name": row.name, "backend": row.backend,
        "dtype": row.dtype, "marks": list(row.marks), "device": device,
    }  # fmt: skip
    if row.needs not in swath.operations():
        return {**outcome, "not_run": f"swath has no {row.needs} yet"}
    try:
        # SciPy's transforms run in one thread unless told otherwise; everything else takes all.
        with libraries.float64(row.backend, row.dtype), scipy.fft.set_workers(machine.cores()):
            trial = row.make()
            times = measure(trial, seconds, row.backend)
    except WrongResult as error:
        return {**outcome, "wrong": str(error)}
    except Exception as error:  # one broken row must not hide the others; the exit status tells
        traceback.print_exc()
        return {**outcome, "error": f"{type(error).__name__}: {error}"}
    us = times.pop("swath")
    if trial.work is not None:
        outcome["share"] = machine.limit(trial.work, row.dtype, rates[device]) / us.median
        outcome["share_of_least"] = outcome["share"] * us.median / us.least
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
                "role": trial.peers[label].role,
            }
            for label, t in times.items()
        },
    }


def _plain(t: Time) -> dict[str, Any]:
    return {
        "median_s": t.median,
        "spread": t.spread,
        "least_s": t.least,
        "rounds": t.rounds,
        "first_s": t.first,
    }


def collected(files: list[str]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The machine of the first file, and the rows of all; of a row the last outcome."""
    about: dict[str, Any] = {}
    rows: dict[str, dict[str, Any]] = {}
    for name in files:
        with open(name, encoding="utf-8") as file:
            found = json.load(file)
        about = about or found["machine"]
        rows |= {row["row"]: row for row in found["rows"]}
    return about, list(rows.values())


def regretted(files: list[str]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The machine of the first file of `--regret --json`, and the outcomes of all as one."""
    found = []
    for name in files:
        with open(name, encoding="utf-8") as file:
            found.append(json.load(file))
    about = found[0]["machine"] if found else {}
    return about, regret.merged([part["regret"] for part in found])


def _told(section: str, facts: str, text: str, found: Any, asked: argparse.Namespace) -> None:
    """Print, and write where it was asked for."""
    print(text)
    if asked.update:
        report.update(asked.update, section, f"{facts}\n\n{text}")
    if asked.json:
        with open(asked.json, "w", encoding="utf-8") as file:
            json.dump(found, file, indent=1, ensure_ascii=False)


def _count(text: str) -> int:
    """A positive whole number of the command line."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number


def _seconds(text: str) -> float:
    """A time of the command line."""
    number = float(text)
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"must be 0 or more, got {text}")
    return number


def _check(asked: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Refuse what would fail after everything was measured."""
    for option in ("json", "plot", "update"):
        name = getattr(asked, option)
        folder = os.path.dirname(os.path.abspath(name)) if name else ""
        if name and (os.path.isdir(name) or not os.path.isdir(folder)):
            parser.error(
                f"--{option}: {name} cannot be written: no such folder, or a folder itself"
            )
        if name and option == "update" and not os.path.isfile(name):
            parser.error(f"--update: there is no file {name}")


def _measured(asked: argparse.Namespace, parser: argparse.ArgumentParser) -> tuple[Any, Any]:
    rows = chosen(asked.rows, asked.backend, asked.quick)
    if not rows:
        of = f" of {', '.join(asked.backend)}" if asked.backend else ""
        parser.error(f"--rows: no row{of} contains {', '.join(asked.rows or ['anything'])}")
    about = machine.about(list(dict.fromkeys(row.backend for row in rows)))
    stream = sys.stderr if asked.markdown else sys.stdout
    print(report.facts(about), file=stream)
    began = time.monotonic()
    outcomes = []
    for row in rows:
        outcomes.append(run(row, asked.seconds, about["rates"]))
        print(report.line(outcomes[-1]), file=stream, flush=True)
        if asked.json:
            # After every row: what was measured before a run is stopped is not lost.
            with open(asked.json, "w", encoding="utf-8") as file:
                json.dump({"machine": about, "rows": outcomes}, file, indent=1, ensure_ascii=False)
    print(f"{len(rows)} rows in {time.monotonic() - began:.0f} s", file=stream)
    return about, outcomes


def main() -> int:
    """Parse, run, print, write."""
    parser = argparse.ArgumentParser(
        prog="swath bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rows", nargs="+", metavar="TEXT", help="rows whose name contains a text")
    parser.add_argument("--backend", nargs="+", choices=libraries.BACKENDS, help="libraries")
    parser.add_argument("--quick", action="store_true", help="a few rows of every family")
    parser.add_argument("--json", metavar="FILE", help="write everything measured to FILE")
    parser.add_argument("--markdown", action="store_true", help="print tables in Markdown")
    parser.add_argument("--update", metavar="FILE",
                        help="write them into their section of FILE, as RESULTS.md")  # fmt: skip
    parser.add_argument("--plot", metavar="FILE", help="write a picture (needs matplotlib)")
    parser.add_argument("--least", action="store_true", help="sum up least times, not medians")
    parser.add_argument("--from", nargs="+", metavar="FILE", dest="files",
                        help="report what these JSON files hold; nothing is run")  # fmt: skip
    parser.add_argument("--seconds", type=_seconds, help="aim per row (default 1; --quick 0.3)")
    parser.add_argument("--list", action="store_true", help="print the rows and stop")
    parser.add_argument("--threads", type=_count, help="cores and threads for everything")
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu", help="PyTorch's")
    parser.add_argument("--growth", action="store_true", help="time per output as work grows")
    parser.add_argument("--regret", action="store_true",
                        help="time of the planner's choice over the best candidate's")  # fmt: skip
    parser.add_argument("--problems", type=_count, default=regret.COUNT, metavar="N",
                        help="drawn for --regret (default %(default)s)")  # fmt: skip
    parser.add_argument("--seed", type=int, default=regret.SEED, metavar="N",
                        help="what they are drawn by (default %(default)s)")  # fmt: skip
    parser.add_argument("--dtypes", nargs="+", choices=regret.DTYPES,
                        default=tuning.DTYPES,
                        help="of them (default: five of float32 for one of float64)")  # fmt: skip
    parser.add_argument("--digits", action="store_true", help="print NIST's table and stop")
    asked = parser.parse_args()
    _check(asked, parser)
    settled(asked.threads)
    try:
        libraries.use(asked.device)
    except RuntimeError as error:
        parser.error(f"--device: {error}")
    if asked.digits:
        print(nist.tables())
        return 0
    if asked.growth:
        backends = asked.backend or list(libraries.BACKENDS)
        facts = report.facts(machine.about(backends))
        print(facts + "\n")
        found = growth.run(backends)
        _told("growth", facts, growth.text(found), found, asked)
        return 0
    if asked.regret:
        try:
            about, parts = regretted(asked.files or [])
        except (OSError, ValueError, KeyError, TypeError) as error:
            parser.error(f"--from: no file of --regret --json: {error}")
        backends = asked.backend or list(libraries.BACKENDS)
        about = about or machine.about(backends)
        facts = report.facts(about)
        print(facts + "\n")
        found = parts or regret.run(backends, asked.problems, asked.seed, asked.dtypes)
        _told("regret", facts, regret.text(found), {"machine": about, "regret": found}, asked)
        return 0
    if asked.list:
        print("\n".join(row.id for row in chosen(asked.rows, asked.backend, asked.quick)))
        return 0
    if asked.seconds is None:
        asked.seconds = 0.3 if asked.quick else 1.0
    try:
        about, outcomes = collected(asked.files or [])
    except (OSError, ValueError, KeyError, TypeError) as error:
        parser.error(f"--from: no file of --json: {error}")
    if not asked.files:
        about, outcomes = _measured(asked, parser)
    if asked.markdown:
        print(report.markdown(about, outcomes, asked.least))
    else:
        print("\n" + report.summary(outcomes, asked.least))
    if asked.update:
        section = "gpu rows" if report.on_gpu(outcomes) else "rows"
        report.update(asked.update, section, report.markdown(about, outcomes, asked.least))
    if asked.plot:
        report.plot(outcomes, asked.plot, asked.least)
    return int(any("wrong" in o or "error" in o for o in outcomes))


if __name__ == "__main__":
    if hasattr(signal, "SIGPIPE"):
        # `swath bench | head` ends with its reader.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
