"""The benchmark runner runs, checks results before it times them, and says what is not run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"


def bench(*arguments):
    return subprocess.run(
        [sys.executable, "run.py", *map(str, arguments)],
        cwd=FOLDER,
        capture_output=True,
        text=True,
        check=False,
    )


def test_row_beside_its_peer(tmp_path):
    done = bench(
        "--rows", "matrices-toeplitz", "--seconds", 0, "--json", tmp_path / "out", "--markdown"
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "out").read_text(encoding="utf-8"))
    (row,) = found["rows"]
    peer = row["peers"]["scipy toeplitz"]
    assert peer["ratio"] == pytest.approx(peer["median_s"] / row["swath"]["median_s"])
    assert found["machine"]["gemm_gflops"] > 0
    assert "scipy toeplitz" in done.stdout
    assert found["machine"]["versions"]["numpy"] in done.stdout


def test_unknown_row():
    done = bench("--rows", "nonsense")
    assert done.returncode == 2
    assert "no row contains nonsense" in done.stderr


def test_wrong_result_is_never_timed(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import numpy as np
    from harness import Contender, Trial, WrongResult, measure

    right, wrong = Contender(lambda: np.ones(3), 0.0), Contender(lambda: np.full(3, 2.0), 0.5)
    assert set(measure(Trial(np.ones(3), right, {"peer": right}), 0)) == {"swath", "peer"}
    with pytest.raises(WrongResult, match="peer: 3 of 3 values beyond the bound"):
        measure(Trial(np.ones(3), right, {"peer": wrong}), 0)
    lost = Contender(lambda: np.array([1.0, np.nan, 1.0]), 0.5)
    with pytest.raises(WrongResult, match="swath: 1 of 3 values"):
        measure(Trial(np.ones(3), lost, {}), 0)
