"""Runs SciPy's own tests with swath's functions in the place of SciPy's.

SciPy ships its tests in its wheel. `run` starts them in a process of their own on one array
library; `judge` compares what came back with the list of exceptions.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
#: The version whose tests the list of exceptions is about (ci/constraints.txt).
SCIPY = "1.17"

#: Functions that stand in for SciPy's namesakes.
NAMES = {
    "signal": [
        "convolve",
        "correlate",
        "fftconvolve",
        "oaconvolve",
        "convolve2d",
        "correlate2d",
        "choose_conv_method",
        "correlation_lags",
        "lfilter",
        "lfilter_zi",
        "lfiltic",
        "filtfilt",
        "upfirdn",
        "resample_poly",
        "decimate",
        "firwin",
        "firwin2",
        "firls",
        "remez",
        "minimum_phase",
        "savgol_coeffs",
        "savgol_filter",
        "freqz",
        "group_delay",
    ],
    "linalg": [
        "toeplitz",
        "hankel",
        "circulant",
        "convolution_matrix",
        "matmul_toeplitz",
        "solve_toeplitz",
    ],
}
#: Eager under JAX, as in SciPy: they refuse values (band edges out of order), which needs values.
VALUES_DECIDE = {"firwin", "firwin2", "firls", "remez", "minimum_phase", "freqz", "group_delay"}
#: No arrays go in, so that SciPy's tests of it are all on NumPy.
NUMPY_ONLY = {"correlation_lags"}
#: Tests that do not say what they are about.
BARE = [
    (r"test_special_matrices\.py::TestToeplitz", "toeplitz"),
    (r"test_special_matrices\.py::TestHankel", "hankel"),
    (r"test_special_matrices\.py::TestCirculant", "circulant"),
    (r"test_special_matrices\.py::TestConvolutionMatrix", "convolution_matrix"),
    (r"test_special_matrices\.py::test_batch\[(circulant|toeplitz|hankel|conv)", "toeplitz"),
    (r"test_matmul_toeplitz\.py", "matmul_toeplitz"),
    (r"test_solve_toeplitz\.py", "solve_toeplitz"),
    (r"test_result_type\.py::test_decimate", "decimate"),
    (r"test_result_type\.py::test_lfilter_zi", "lfilter_zi"),
    (r"test_result_type\.py::test_lfiltic", "lfiltic"),
    (r"test_signaltools\.py::test_filtfilt_gust", "filtfilt"),
]
#: Tests that name a function of swath's but call only SciPy's own parts.
OTHERS = [
    r"test_signaltools\.py::TestSOSFiltFilt::test_(basic|sine|axis|acoeff|gust)",
    r"test_signaltools\.py::TestFiltFilt::test_gust_simple",
    r"test_signaltools\.py::TestResample::test_resample_methods\[fft",
    r"test_upfirdn\.py::TestUpfirdn::test_extensions",
    r"test_upfirdn\.py::test_output_len_long_input",
]
MODULES = {
    "signal": [
        "test_signaltools",
        "test_upfirdn",
        "test_savitzky_golay",
        "test_fir_filter_design",
        "test_filter_design",
        "test_result_type",
    ],
    "linalg": ["test_special_matrices", "test_matmul_toeplitz", "test_solve_toeplitz"],
}
#: Left out unless everything is run: gigabytes and half a minute.
LARGE = {"test_signaltools.py::TestConvolve2d::test_large_array"}
BACKENDS = ("numpy", "array_api_strict", "torch", "jax.numpy")


def run(
    backend: str,
    *arguments: str,
    planted: Iterable[str] = (),
    most: int = 0,
    few: int = 0,
    timeout: float = 3600,
) -> dict[str, Any]:
    """How every test about one of swath's functions ended on one library.

    Parameters
    ----------
    backend : str
        One of `BACKENDS`.
    *arguments : str
        Passed on to pytest.
    planted : iterable of str
        Functions whose results are made wrong.
    most : int
        The most cases of one parametrized test that are run, evenly over all; 0 runs all.
    few : int
        The most tests about one function that are run, evenly over all; 0 runs all.
    timeout : float
        Seconds.
    """
    import scipy

    if not scipy.__version__.startswith(f"{SCIPY}."):
        raise RuntimeError(f"the list is about the tests of SciPy {SCIPY}, not {scipy.__version__}")
    folder = Path(scipy.__file__).parent
    packages = MODULES if backend == "numpy" else {"signal": MODULES["signal"]}
    files = [str(folder / p / "tests" / f"{m}.py") for p, ms in packages.items() for m in ms]
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.json"
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(
                [str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
            ),
            "SWATH_SUITE_BACKEND": backend,
            "SWATH_SUITE_REPORT": str(report),
            "SWATH_SUITE_PLANTED": " ".join(planted),
            "SWATH_SUITE_MOST": str(most),
            "SWATH_SUITE_FEW": str(few),
            # Plugins that happen to be installed cost a millisecond a test.
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        }
        for name in ("SCIPY_ARRAY_API", "PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER"):
            environment.pop(name, None)
        if backend != "numpy":
            environment["SCIPY_ARRAY_API"] = json.dumps([backend])
        command = [sys.executable, "-m", "pytest", "-p", "scipy_suite_plugin", "-q", "--tb=native"]
        command += [
            "-c",
            os.devnull,
            "--rootdir",
            scratch,
            "-p",
            "no:cacheprovider",
            "-W",
            "ignore",
        ]
        done = subprocess.run(
            [*command, *arguments, *files],
            cwd=scratch,
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if not report.exists():
            raise RuntimeError(
                f"{backend}: no report\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
            )
        return json.loads(report.read_text(encoding="utf-8"))


@dataclass
class Verdict:
    """What a run says about swath and about the list of exceptions."""

    passed: int = 0
    counted: int = 0
    excepted: Counter[str] = field(default_factory=Counter)
    #: Tests written for NumPy, on another library.
    skipped: int = 0
    #: Failed without standing in the list.
    unexpected: list[str] = field(default_factory=list)
    #: Stand in the list and pass.
    stale: list[str] = field(default_factory=list)
    #: Passed without a call of one of swath's functions.
    idle: list[str] = field(default_factory=list)

    @property
    def share(self) -> float:
        return self.passed / self.counted


def exceptions() -> dict[str, Any]:
    """The list of exceptions."""
    with (HERE / "scipy_suite_exceptions.toml").open("rb") as f:
        return tomllib.load(f)


@dataclass(frozen=True)
class Entry:
    """One name of the list."""

    pattern: re.Pattern[str]
    reason: str
    sometimes: bool


def entries(table: dict[str, Any], kind: str, backend: str) -> list[Entry]:
    """The names of the list ("exception" or "open") that hold on one library."""
    return [
        Entry(
            re.compile(".*".join(re.escape(part) for part in name.split("*"))),
            entry.get("reason", kind),
            entry.get("sometimes", False),
        )
        for entry in table.get(kind, [])
        if backend in entry.get("on", BACKENDS)
        for name in entry["tests"]
    ]


def judge(report: dict[str, Any], table: dict[str, Any]) -> Verdict:
    """Compare a run with the list of exceptions."""
    verdict = Verdict()
    exempt = entries(table, "exception", report["backend"])
    known = entries(table, "open", report["backend"])
    for name, record in report["tests"].items():
        outcome = record["outcome"]
        why = next((e for e in exempt if e.pattern.fullmatch(name)), None)
        listed = next((e for e in known if e.pattern.fullmatch(name)), None)
        entry = why or listed
        if outcome == "skipped":
            verdict.skipped += 1
            continue
        if entry is not None and outcome == "passed" and not entry.sometimes:
            verdict.stale.append(name)
        if why is not None:
            verdict.excepted[why.reason] += 1
            continue
        verdict.counted += 1
        if outcome == "passed":
            verdict.passed += 1
            if not record["calls"]:
                verdict.idle.append(name)
        elif listed is None:
            verdict.unexpected.append(f"{name}: {record['text']}")
    return verdict


def unmatched(report: dict[str, Any], table: dict[str, Any]) -> list[str]:
    """Names of the list that no test of a whole run has."""
    every = [e for k in ("exception", "open") for e in entries(table, k, report["backend"])]
    return [e.pattern.pattern for e in every if not any(map(e.pattern.fullmatch, report["tests"]))]
