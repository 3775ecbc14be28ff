"""SciPy's own tests with swath's functions in the place of SciPy's.

By default all of them run on NumPy (but one that takes gigabytes), at most 60 cases of each on
array-api-strict and PyTorch, and on JAX, where every shape is compiled, two tests of each function
with one case. All of them on all four::

    python -m pytest tests/test_scipy_suite.py --whole

The tests that do not pass stand in scipy_suite_exceptions.toml.
"""

from __future__ import annotations

import pytest

import scipy_suite as suite

# Row of the matrix: SciPy's name of the library, most cases of a test, most tests of a function.
PARTS = {
    "numpy": ("numpy", 10**6, 0),
    "strict": ("array_api_strict", 60, 0),
    "torch": ("torch", 60, 0),
    "jax": ("jax.numpy", 1, 2),
}
TABLE = suite.exceptions()


@pytest.mark.on(*PARTS)
def test_functions_stand_in_for_scipy(xp, record_property, request):
    backend, most, few = PARTS[xp.name]
    whole = request.config.getoption("--whole")
    report = suite.run(
        backend, most=0 if whole else most, few=0 if whole else few, timeout=4 * 3600
    )
    verdict = suite.judge(report, TABLE)
    excepted = ", ".join(f"{n} {why}" for why, n in sorted(verdict.excepted.items()))
    note = (
        f"SciPy's tests with swath's functions, {backend}"
        f"{'' if whole or backend == 'numpy' else ' (a part)'}: "
        f"{verdict.passed} of {verdict.counted} pass ({100 * verdict.share:.2f} %); "
        f"exceptions: {excepted}; written for NumPy alone: {verdict.skipped}"
    )
    record_property("note", note)
    assert not verdict.unexpected, note + "\n" + "\n".join(verdict.unexpected)
    assert not verdict.stale, f"these pass and stand in the list of exceptions: {verdict.stale}"
    assert not verdict.idle, f"these call no function of swath's: {verdict.idle}"
    assert verdict.share >= 0.98, note
    # Every function of the list stood in, and was called.
    here = [n for package, names in suite.NAMES.items() if package == "signal" for n in names]
    if backend == "numpy":
        here = [n for names in suite.NAMES.values() for n in names]
        assert not suite.unmatched(report, TABLE)
    else:
        here = [n for n in here if n not in suite.NUMPY_ONLY]
    assert not [n for n in here if not report["calls"].get(n)]


# Tests of these call a second function of swath's.
TOGETHER = {"correlation_lags", "lfiltic", "matmul_toeplitz"}
# The one's result is a word; of the other's tests only that of its dtype is about a FIR filter.
UNSEEN = {"choose_conv_method", "lfilter_zi"}


@pytest.mark.on("numpy")
def test_a_wrong_function_is_noticed(xp):
    """With results off by one, some test of each function fails that calls no other wrong one."""
    every = {n for names in suite.NAMES.values() for n in names}
    listed = [e for kind in ("exception", "open") for e in suite.entries(TABLE, kind, "numpy")]
    noticed: set[str] = set()
    for planted, which in ((every - TOGETHER, ()), (TOGETHER, ("-k", "lags or lfiltic or matmul"))):
        tests = suite.run("numpy", *which, most=1, planted=planted)["tests"]
        for name, record in tests.items():
            if record["outcome"] == "failed":
                wrong = planted & set(record["calls"])
                if len(wrong) == 1 and not any(e.pattern.fullmatch(name) for e in listed):
                    noticed |= wrong
    assert noticed == every - UNSEEN


def test_the_list_is_judged_both_ways():
    """An exception that passes, a failure that is not listed, an entry without a test."""
    table = {
        "exception": [{"reason": "iir", "tests": ["a.py::test_*_IIR"]}],
        "open": [{"tests": ["a.py::test_known"]}],
    }
    tests = {
        "a.py::test_1_IIR": {"outcome": "passed", "text": "", "calls": {"f": 1}},
        "a.py::test_2_IIR": {"outcome": "failed", "text": "no", "calls": {"f": 1}},
        "a.py::test_good": {"outcome": "passed", "text": "", "calls": {"f": 1}},
        "a.py::test_idle": {"outcome": "passed", "text": "", "calls": {}},
        "a.py::test_bad": {"outcome": "failed", "text": "no", "calls": {"f": 1}},
        "a.py::test_known": {"outcome": "failed", "text": "no", "calls": {"f": 1}},
        "a.py::test_list": {"outcome": "skipped", "text": "", "calls": {}},
    }
    verdict = suite.judge({"backend": "torch", "tests": tests}, table)
    assert (verdict.passed, verdict.counted, verdict.skipped) == (2, 4, 1)
    assert verdict.stale == ["a.py::test_1_IIR"]
    assert verdict.unexpected == ["a.py::test_bad: no"]
    assert verdict.idle == ["a.py::test_idle"]
    assert dict(verdict.excepted) == {"iir": 2}
    del tests["a.py::test_known"]
    left = suite.unmatched({"backend": "torch", "tests": tests}, table)
    assert left == [r"a\.py::test_known"]
