"""A pytest plugin for SciPy's own tests: swath's functions stand where SciPy's stood.

Loaded with ``-p scipy_suite_plugin`` in a process of its own (see `scipy_suite.run`), before any of
SciPy's test modules is imported. It then

* puts a counting wrapper of each of swath's functions in the place of SciPy's, so that the test
  modules import it;
* records in SciPy's table of capabilities that the wrappers run on every array library, so that no
  test is skipped for what SciPy's function cannot do;
* drops the marks that skip a test on one library for SciPy's sake. Marks that say that the test
  itself is written for NumPy (``np_only``) are kept;
* keeps the tests that are about one of the functions, and writes down how each ended and which
  functions it called.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import re
import sys
import time
from collections import Counter
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest
from scipy._lib import _array_api as scipy_testing

from quick_jax import compile_quickly
from scipy_suite import BARE, LARGE, NAMES, NUMPY_ONLY, OTHERS, VALUES_DECIDE

BACKEND = os.environ["SWATH_SUITE_BACKEND"]
REPORT = Path(os.environ["SWATH_SUITE_REPORT"])
# Functions made wrong on purpose: tests of them must then fail.
PLANTED = set(os.environ.get("SWATH_SUITE_PLANTED", "").split())
# The most cases of one test that are run; 0: all.
MOST = int(os.environ.get("SWATH_SUITE_MOST", "0"))
# The most tests about one function that are run; 0: all.
FEW = int(os.environ.get("SWATH_SUITE_FEW", "0"))

calls: Counter[str] = Counter()
outcomes: dict[str, dict[str, Any]] = {}
substituted: dict[str, Any] = {}


def _wrong(result: Any) -> Any:
    """The result with every array off by one."""
    if isinstance(result, tuple):
        return tuple(_wrong(r) for r in result)
    return result + 1 if hasattr(result, "dtype") else result


def _wrapped(name: str, function: Any, original: Any) -> Any:
    @functools.wraps(function)
    def stand_in(*args: Any, **kwargs: Any) -> Any:
        if _inside.get():
            # swath leaves some designs to SciPy, by its public names.
            return original(*args, **kwargs)
        calls[name] += 1
        token = _inside.set(True)
        try:
            result = function(*args, **kwargs)
        finally:
            _inside.reset(token)
        return _wrong(result) if name in PLANTED else result

    return stand_in


_inside: ContextVar[bool] = ContextVar("inside", default=False)


def _substitute() -> None:
    for package, names in NAMES.items():
        theirs = importlib.import_module(f"scipy.{package}")
        ours = importlib.import_module(f"swath.{package}")
        for name in names:
            stand_in = _wrapped(name, getattr(ours, name), getattr(theirs, name))
            substituted[name] = stand_in
            setattr(theirs, name, stand_in)
            scipy_testing.xp_capabilities_table[stand_in] = {
                "skip_backends": (),
                "xfail_backends": (),
                "cpu_only": False,
                "np_only": name in NUMPY_ONLY,
                "out_of_scope": False,
                "reason": None,
                "exceptions": (),
                "allow_dask_compute": False,
                "jax_jit": name not in VALUES_DECIDE,
                "warnings": (),
            }


_marks_of = scipy_testing.make_xp_pytest_marks


def _with_subjects(*functions: Any, **options: Any) -> list[Any]:
    """SciPy's marks and the names of the functions that a test is about."""
    names = [f.__name__ for f in functions]
    return [pytest.mark.subjects(*names), *_marks_of(*functions, **options)]


_substitute()
scipy_testing.make_xp_pytest_marks = _with_subjects


def _for_numpy_only(request: Any, kind: str) -> None:
    """In the place of SciPy's reading of its skip and xfail marks."""
    if kind == "skip" and BACKEND != "numpy":
        for mark in request.node.iter_markers("skip_xp_backends"):
            if mark.kwargs.get("np_only"):
                pytest.skip(f"written for NumPy: {mark.kwargs.get('reason', 'no reason given')}")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "subjects(*names): functions that a test is about")


def _place(item: pytest.Item) -> str:
    """The name of a test without its folder and its library."""
    name = f"{item.path.name}::{item.nodeid.partition('::')[2]}"
    if "[" not in name:
        return name
    head, _, inside = name.partition("[")
    backend = re.escape(BACKEND)
    inside = re.sub(rf"^{backend}(-|$)|-{backend}(?=-|$)", "", inside.removesuffix("]"))
    return f"{head}[{inside}]" if inside else head


def _subject(item: pytest.Item) -> str | None:
    """The function of swath's that a test is about, or None."""
    place = _place(item)
    if any(re.match(pattern, place) for pattern in OTHERS):
        return None
    params = getattr(getattr(item, "callspec", None), "params", {})
    if "xp" not in params and BACKEND != "numpy":
        return None
    names = [n for mark in item.iter_markers("subjects") for n in mark.args]
    names += [n for pattern, n in BARE if re.match(pattern, place)]
    return next((n for n in names if n in substituted), None)


def _spread(group: list[pytest.Item], count: int) -> list[pytest.Item]:
    """At most `count` of the group, evenly, the first and the last among them."""
    count = min(count, len(group))
    return [group[i * (len(group) - 1) // max(1, count - 1)] for i in range(count)]


def _thinned(items: list[pytest.Item]) -> list[pytest.Item]:
    items = [item for item in items if _place(item) not in LARGE]
    cases: dict[str, list[pytest.Item]] = {}
    for item in items:
        cases.setdefault(_place(item).partition("[")[0], []).append(item)
    items = [item for group in cases.values() for item in _spread(group, MOST)]
    if not FEW:
        return items
    subjects: dict[str, list[pytest.Item]] = {}
    for item in items:
        for_numpy = any(m.kwargs.get("np_only") for m in item.iter_markers("skip_xp_backends"))
        if not for_numpy or BACKEND == "numpy":
            subjects.setdefault(str(_subject(item)), []).append(item)
    return [item for group in subjects.values() for item in _spread(group, FEW)]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for plugin in config.pluginmanager.get_plugins():
        if hasattr(plugin, "skip_or_xfail_xp_backends"):
            plugin.skip_or_xfail_xp_backends = _for_numpy_only
    keep = [item for item in items if _subject(item)]
    kept = set(_thinned(keep) if MOST else keep)
    config.hook.pytest_deselected(items=[i for i in items if i not in kept])
    items[:] = [i for i in items if i in kept]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Any:
    before, start = Counter(calls), time.perf_counter()
    compile_quickly(True)
    if BACKEND == "jax.numpy" and len(outcomes) % 300 == 0:
        # Thousands of compiled programs fill the memory.
        sys.modules["jax"].clear_caches()
    result = yield
    record = outcomes.setdefault(_place(item), {"outcome": "error", "text": ""})
    record["calls"] = dict(calls - before)
    record["seconds"] = round(time.perf_counter() - start, 3)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    report = yield
    record = outcomes.setdefault(_place(item), {"outcome": "", "text": ""})
    if report.failed:
        record["outcome"] = "failed"
        crash = getattr(report.longrepr, "reprcrash", None)
        record["text"] = str(crash.message if crash else report.longrepr)[:400]
        record["where"] = f"{Path(crash.path).name}:{crash.lineno}" if crash else ""
    elif report.skipped and record["outcome"] != "failed":
        # An expected failure of SciPy's own function says nothing about swath's.
        record["outcome"] = "failed" if hasattr(report, "wasxfail") else "skipped"
        record["text"] = str(getattr(report, "wasxfail", "") or report.longrepr)[:400]
    elif report.when == "call" and not record["outcome"]:
        record["outcome"] = "passed"
    return report


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    REPORT.write_text(
        json.dumps(
            {
                "backend": BACKEND,
                "exit": int(exitstatus),
                "substituted": sorted(substituted),
                "calls": dict(calls),
                "tests": outcomes,
            }
        ),
        encoding="utf-8",
    )
