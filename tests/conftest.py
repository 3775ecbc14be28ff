"""The backend matrix: the `xp` fixture, the rows asked for, and the table at the end."""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import rows
from quick_jax import compile_quickly

# Before any test names dpnp: it looks for devices once.
rows.find_opencl()
# One set of threads per worker: two pytest workers share two cores.
os.environ.setdefault("OMP_NUM_THREADS", "2")
# Workers share a GPU too: each would take three quarters of its memory for JAX.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
# No file: plans follow from the shipped rates, not from those that this machine was tuned to.
os.environ["SWATH_COSTS"] = "untuned.json"

_ROWS = rows.load()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rows", nargs="+", default=None, help="rows of ci/rows.toml to run")
    parser.addoption("--whole", action="store_true", help="all of what is run in part by default")


def _chosen(config: pytest.Config) -> list[str]:
    """Rows that run. A row that is required here, or asked for by name, and missing is an error."""
    asked = config.getoption("--rows")
    run = []
    for name in asked or _ROWS:
        if name not in _ROWS:
            raise pytest.UsageError(f"--rows: no row {name!r}; there are {', '.join(_ROWS)}")
        _, settings = _ROWS[name]
        why = rows.missing(settings)
        if why is None:
            run.append(name)
        elif rows.required(settings) or (asked and not settings.get("gpu")):
            raise pytest.UsageError(f"row {name} is required and cannot run: {why}")
    return run


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "op(*names): operations of the registry that a test covers")
    config.addinivalue_line("markers", "needs(*libraries): libraries that a test compares with")
    config.addinivalue_line("markers", "on(*rows): the rows that a test is about")
    config.addinivalue_line("markers", "rows_not_run(*rows): set here on tests about other rows")
    config.addinivalue_line("markers", "optimised: JAX's programs are as users have them")
    config.stash[_RUN] = _chosen(config)


_RUN = pytest.StashKey[list[str]]()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "xp" in metafunc.fixturenames:
        run = metafunc.config.stash[_RUN]
        only = [m.args for m in metafunc.definition.iter_markers("on")]
        if only:
            run = [r for r in run if all(r in names for names in only)]
        if not run:
            # An empty list would be a skip: this is deselected below, and the summary says so.
            rest = [r for r in _ROWS if all(r in names for names in only)]
            run = [pytest.param("", id="not-run", marks=pytest.mark.rows_not_run(*rest))]
        metafunc.parametrize("xp", run, indirect=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A row alone runs without the libraries that other tests compare with, and without the tests
    that are about other rows: those are deselected, and the summary says so."""
    import importlib.util

    lacking: dict[str, int] = defaultdict(int)
    left: dict[str, int] = defaultdict(int)
    keep = []
    for item in items:
        needs = {n for m in item.iter_markers("needs") for n in m.args}
        absent = [n for n in needs if importlib.util.find_spec(n) is None]
        elsewhere = [", ".join(m.args) for m in item.iter_markers("rows_not_run")]
        if elsewhere:
            left[elsewhere[0]] += 1
        elif absent:
            lacking[absent[0]] += 1
        else:
            keep.append(item)
    if lacking and config.getoption("--rows") is None:
        raise pytest.UsageError(f"the whole matrix needs {', '.join(sorted(lacking))}")
    if len(keep) < len(items):
        kept = set(keep)
        config.hook.pytest_deselected(items=[i for i in items if i not in kept])
        items[:] = keep
    why = [f"they compare with {n}, which is not installed" for n in lacking]
    why += [f"they are about rows that this run leaves out: {n}" for n in left]
    counts = [*lacking.values(), *left.values()]
    config.stash[_NOT_RUN] = dict(zip(why, counts, strict=True))


_NOT_RUN = pytest.StashKey[dict[str, int]]()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """With several processes only those that collect know what was left out: they tell the one
    that writes the summary."""
    told = getattr(session.config, "workeroutput", None)
    if told is not None:
        told["not_run"] = session.config.stash.get(_NOT_RUN, {})


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    # Every worker collects all tests, so that one's account is everyone's.
    node.config.stash[_NOT_RUN] = getattr(node, "workeroutput", {}).get("not_run", {})


@pytest.fixture
def xp(request: pytest.FixtureRequest) -> Iterator[rows.Row]:
    """A row of the matrix: a namespace with `asarray`, `numpy`, `call` (see rows.Row)."""
    row, _ = _ROWS[request.param]
    request.node.user_properties.append(("row", row.name))
    with row.context():
        yield row


@pytest.fixture
def all_rows(request: pytest.FixtureRequest) -> list[rows.Row]:
    """All rows of this run at once, for tests that compare them with each other."""
    return [_ROWS[name][0] for name in request.config.stash[_RUN]]


@pytest.fixture(autouse=True, scope="module")
def compiled_programs() -> Iterator[None]:
    """Forget JAX's compiled programs after each module: thousands of them fill the memory."""
    yield
    if "jax" in sys.modules:
        sys.modules["jax"].clear_caches()


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers that are the same in every run and on every row."""
    return np.random.default_rng(20240229)


def pytest_runtest_setup(item: pytest.Item) -> None:
    compile_quickly(item.get_closest_marker("optimised") is None)
    for mark in item.iter_markers("op"):
        item.user_properties.extend(("op", name) for name in mark.args)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """The table rows × operations."""
    counts: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for outcome, column in (("passed", 0), ("failed", 1), ("error", 1)):
        for report in terminalreporter.stats.get(outcome, []):
            if outcome == "passed" and getattr(report, "when", "") != "call":
                continue
            names = [v for k, v in getattr(report, "user_properties", ()) if k == "op"]
            for row in [v for k, v in getattr(report, "user_properties", ()) if k == "row"]:
                for name in names:
                    counts[name, row][column] += 1
    write = terminalreporter.write_line
    run = config.stash.get(_RUN, [])
    if counts:
        terminalreporter.section("matrix: operation × row (tests passed, or FAIL)")
        width = max(len(n) for n, _ in counts)
        write(" " * width + "  " + "  ".join(run))
        for name in sorted({n for n, _ in counts}):
            cells = []
            for row in run:
                good, bad = counts[name, row]
                text = f"FAIL {bad}" if bad else str(good) if good else "-"
                cells.append(text.rjust(len(row)))
            write(name.ljust(width) + "  " + "  ".join(cells))
        write("- : no test of this operation ran on this row in this run")
    _write_differences(terminalreporter, run)
    _write_slowest(terminalreporter)
    for name, (_, settings) in _ROWS.items():
        if name not in run:
            asked = config.getoption("--rows")
            elsewhere = asked is not None and name not in asked
            why = "not asked for" if elsewhere else rows.missing(settings)
            write(f"row {name}: not run: {why}")
    for report in terminalreporter.stats.get("passed", []):
        for key, value in getattr(report, "user_properties", ()):
            if key == "note" and getattr(report, "when", "") == "call":
                write(value)
    for why, count in config.stash.get(_NOT_RUN, {}).items():
        write(f"{count} {'tests' if count > 1 else 'test'} not run: {why}")


def _write_differences(terminalreporter: Any, run: list[str]) -> None:
    """The largest difference between every two rows, and the case that shows it."""
    worst: dict[tuple[str, str], tuple[float, str]] = {}
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, []):
            if getattr(report, "when", "") != "call":
                continue
            for key, value in getattr(report, "user_properties", ()):
                if key == "difference":
                    a, b, units, case = value
                    worst[a, b] = max(worst.get((a, b), (-1.0, "")), (units, case))
    if not worst:
        return
    write = terminalreporter.write_line
    terminalreporter.section("largest difference between rows, in eps of the coarser one × scale")
    width = max(len(r) for r in run)
    write(" " * width + "  " + "  ".join(r.rjust(6) for r in run[:-1]))
    for b in run[1:]:
        cells = [
            (f"{worst[a, b][0]:.1f}" if (a, b) in worst else "").rjust(max(6, len(a)))
            for a in run[:-1]
        ]
        write(b.ljust(width) + "  " + "  ".join(cells))
    (a, b), (units, case) = max(worst.items(), key=lambda item: item[1][0])
    write(f"largest: {units:.1f} between {a} and {b} in {case}")


def _write_slowest(terminalreporter: Any) -> None:
    """The modules that take most of the time, all of their rows together."""
    seconds: dict[str, float] = defaultdict(float)
    for reports in terminalreporter.stats.values():
        for report in reports:
            if hasattr(report, "duration"):
                seconds[report.nodeid.partition("::")[0]] += report.duration
    if len(seconds) > 15:
        terminalreporter.section(f"slowest of {len(seconds)} modules, seconds of all processes")
        for name, total in sorted(seconds.items(), key=lambda item: -item[1])[:15]:
            terminalreporter.write_line(f"{total:7.1f}  {name}")
