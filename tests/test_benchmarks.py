"""The benchmark runner: rows can be made and checked, what it computes of times, what it refuses.

No time is asserted.
"""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
# JAX's rows compile for seconds: a run of the benchmarks checks them.
LIBRARIES = ["numpy", pytest.param("torch", marks=pytest.mark.needs("torch"))]

pytestmark = pytest.mark.filterwarnings("ignore")  # of peers


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))


def bench(*arguments):
    return subprocess.run(
        [sys.executable, "run.py", *map(str, arguments)],
        cwd=FOLDER,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.needs("matplotlib")
def test_row_beside_its_peer(tmp_path):
    done = bench(
        "--rows", "toeplitz-matrix", "--backend", "numpy", "--seconds", 0, "--markdown",
        "--json", tmp_path / "out", "--plot", tmp_path / "plot.png",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "out").read_text(encoding="utf-8"))
    (row,) = found["rows"]
    peer = row["peers"]["scipy toeplitz"]
    assert peer["ratio"] == pytest.approx(peer["median_s"] / row["swath"]["median_s"])
    copied = row["share"] * row["swath"]["median_s"] * found["machine"]["rates"]["cpu"]["copy"]
    assert copied == pytest.approx(4 * 2048**2 / 1e9)
    assert "scipy toeplitz" in done.stdout
    assert found["machine"]["versions"]["numpy"] in done.stdout
    assert (tmp_path / "plot.png").stat().st_size > 1000
    results = tmp_path / "RESULTS.md"
    results.write_text("a\n<!-- begin rows -->\nold\n<!-- end rows -->\nb\n", encoding="utf-8")
    again = bench("--from", tmp_path / "out", "--markdown", "--update", results)
    assert again.stdout.strip() in done.stdout
    written = results.read_text(encoding="utf-8")
    assert again.stdout.strip() in written
    assert (written[0], "old" in written, written[-2]) == ("a", False, "b")


def test_regret_of_several_runs_is_reported_as_of_one(tmp_path):
    files = [tmp_path / "1", tmp_path / "2"]
    regrets: list[float] = []
    for seed, file in enumerate(files, 1):
        done = bench(
            "--regret", "--backend", "numpy", "--problems", seed, "--seed", seed, "--json", file
        )
        assert done.returncode == 0, done.stderr
        (part,) = json.loads(file.read_text(encoding="utf-8"))["regret"]
        assert len(part["regrets"]) == part["problems"] == seed
        regrets += part["regrets"]
    results = tmp_path / "RESULTS.md"
    results.write_text("<!-- begin regret -->\n<!-- end regret -->\n", encoding="utf-8")
    done = bench("--regret", "--from", *files, "--update", results, "--json", tmp_path / "3")
    assert f"| numpy | 3 | {sorted(regrets)[1]:.3f} | {max(regrets):.2f} |" in done.stdout
    assert done.stdout.strip() in results.read_text(encoding="utf-8")
    (whole,) = json.loads((tmp_path / "3").read_text(encoding="utf-8"))["regret"]
    assert whole["regrets"] == sorted(regrets)
    assert [w["regret"] for w in whole["worst"]] == whole["regrets"][::-1]


@pytest.mark.parametrize(
    "arguments, text",
    [
        (["--rows", "nonsense"], "no row contains nonsense"),
        (["--rows", "nonsense", "--backend", "numpy"], "no row of numpy contains nonsense"),
        (["--seconds", "-1"], "must be 0 or more, got -1"),
        (["--threads", "0"], "must be at least 1, got 0"),
        (["--regret", "--problems", "0"], "must be at least 1, got 0"),
        (["--json", "no_such/folder.json"], "--json: no_such/folder.json cannot be written"),
        (["--plot", "."], "--plot: . cannot be written"),
        (["--update", "none.md"], "--update: there is no file none.md"),
        (["--from", "none.json"], "--from: no file of --json: "),
        (["--from", "run.py"], "--from: no file of --json: "),
        (["--regret", "--from", "run.py"], "--from: no file of --regret --json: "),
    ],
)
def test_wrong_options_are_refused_before_anything_is_measured(arguments, text):
    done = bench(*arguments)
    assert done.returncode == 2
    assert text in done.stderr
    assert "Traceback" not in done.stderr


def test_wrong_result_is_never_timed():
    from harness import Contender, Trial, WrongResult, measure

    right, wrong = Contender(lambda: np.ones(3), 0.0), Contender(lambda: np.full(3, 2.0), 0.5)
    assert set(measure(Trial(np.ones(3), right, {"peer": right}), 0)) == {"swath", "peer"}
    with pytest.raises(WrongResult, match="peer: 3 of 3 values beyond the bound"):
        measure(Trial(np.ones(3), right, {"peer": wrong}), 0)
    lost = Contender(lambda: np.array([1.0, np.nan, 1.0]), 0.5)
    with pytest.raises(WrongResult, match="swath: 1 of 3 values"):
        measure(Trial(np.ones(3), lost, {}), 0)
    both = Contender(lambda: (np.ones(3), np.full(3, 2.0)), (0.0, 0.5))
    with pytest.raises(WrongResult, match="swath, result 1: 3 of 3 values"):
        measure(Trial((np.ones(3), np.ones(3)), both, {}), 0)


def test_samples_begin_when_the_process_is_idle(monkeypatch):
    """Threads that spin after a contender's call slow no other one's sample."""
    import libraries
    from harness import Contender, Trial, measure

    now, spins = 0.0, {"swath": 0.0, "peer": 0.0}

    def passes(seconds):
        nonlocal now
        now += seconds

    def contender(label, spin):
        def run():
            alone = all(now >= end for other, end in spins.items() if other != label)
            passes(0.01 if alone else 0.03)
            spins[label] = now + spin
            return np.ones(3)

        return Contender(run, 0.0)

    clocks = SimpleNamespace(
        perf_counter=lambda: now,
        process_time=lambda: min(now, max(spins.values())),
        sleep=passes,
    )
    monkeypatch.setattr(libraries, "time", clocks)
    trial = Trial(np.ones(3), contender("swath", 0.1), {"peer": contender("peer", 0.0)})
    found = measure(trial, 0.1)
    assert [t.median for t in found.values()] == pytest.approx([0.01, 0.01])
    assert libraries.idle() < 0.12
    assert libraries.idle() < 0.01
    spins["peer"] = math.inf
    assert 0.2 < libraries.idle() < 0.5  # not without end


def test_product_of_lower_precision_is_caught():
    """bfloat16 stays within the worst case of many terms, and not within what is typical."""
    from harness import Contender, Trial, WrongResult, measure, typical_bound, window_bound

    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 200, 4096)).astype(np.float32)
    exact = a.astype(float) @ b.T.astype(float)
    most = window_bound("float32", 4096, abs(a.astype(float)) @ abs(b.T.astype(float)))
    usual = typical_bound("float32", 4096, a, b)
    measure(Trial(exact, Contender(lambda: a @ b.T, most, typical=usual), {}), 0)
    rounded = (a.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
    rough = Contender(lambda: rounded @ b.T, most, typical=usual)
    with pytest.raises(WrongResult, match=r"where \S+ is allowed"):
        measure(Trial(exact, rough, {}), 0)


@pytest.mark.parametrize("lib", LIBRARIES)
def test_layers_in_both_layouts_and_directions(lib):
    """Small ones of every kind; swath and all peers equal the reference."""
    import layer
    from harness import check

    for s in layer.LAYERS:
        small = dataclasses.replace(s, x=(2, s.x[1], *(min(n, 9) for n in s.x[2:])))
        for last in (False, True):
            for backward in (False, True):
                trial = layer._trial(lib, small, last, backward)
                for label, contender in {"swath": trial.swath, **trial.peers}.items():
                    check(f"{s.name} {last} {backward} {label}", contender, trial.exact)


@pytest.mark.parametrize("lib", LIBRARIES)
def test_other_families_on_small_problems(lib, monkeypatch):
    import fir
    import image
    import resampling
    import response
    import stream
    import toeplitz
    import toeplitz_solvers
    from harness import check

    for module, name, value in (
        (fir, "CLIP", 3000), (fir, "KEYS", 3), (resampling, "SAMPLES", 3000),
        (stream, "SAMPLES", 9000),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, value)
    trials = [
        fir._filter(lib, 1, 3000, 31, "float64"),
        fir._filter(lib, 3, 2000, 101, "float32"),
        fir._bank(lib),
        image._filter(lib, (64, 64), 7),
        image._filter(lib, (16, 16, 16), 3),
        resampling._polyphase(lib, 2, 3),
        resampling._resample(lib, 2, 3),
        resampling._both_ways(lib),
        stream._chunks(lib, 3, 2, 128),
        stream._stft(lib),
        toeplitz._product(lib, 300, None),
        toeplitz._product(lib, 300, 4),
        toeplitz_solvers._solve(lib, 50, None),
        toeplitz_solvers._solve(lib, 16, 5),
    ]
    if lib == "numpy":
        trials.append(response._response(31, 40))
    for trial in trials:
        for label, contender in {"swath": trial.swath, **trial.peers}.items():
            check(label, contender, trial.exact)
        assert trial.work is not None
    fir._clip.cache_clear()


def outcome(family, backend, ratio, role="peer", marks=(), share=None):
    return {
        "row": f"{family}-{backend}-{ratio}", "family": family, "name": "x", "backend": backend,
        "dtype": "float32", "marks": list(marks), "device": "cpu", "share": share,
        "peers": {
            "slow": {"ratio": 10 * ratio, "ratio_of_least": 1.0, "role": role},
            "fast": {"ratio": ratio, "ratio_of_least": 2.0, "role": role},
            "other": {"ratio": 0.01, "ratio_of_least": 0.01, "role": "beside"},
        },
    }  # fmt: skip


def test_means_and_bars():
    import report

    assert report.geometric_mean([2.0, 8.0]) == pytest.approx(4.0)
    assert math.isnan(report.geometric_mean([]))
    rows = [
        outcome("fir", "numpy", 2.0),
        outcome("fir", "numpy", 8.0),
        outcome("image", "numpy", 0.9),
        outcome("layer", "numpy", 0.7, "instead", ("dense", "large"), 0.6),
        outcome("layer", "numpy", 0.5, "instead", (), 0.2),
    ]
    assert report.best(rows[0]) == ("fast", 2.0)
    assert report.best(rows[0], least=True) == ("slow", 1.0)
    assert report.best(rows[3]) is None
    judged = {bar.what: bar for bar in report.bars(rows)}
    mean = judged["geometric mean, numpy, fir"]
    assert (mean.found, mean.verdict) == (pytest.approx(4.0), "met")
    assert judged["geometric mean, numpy"].found == pytest.approx((2 * 8 * 0.9) ** (1 / 3))
    assert judged["geometric mean, numpy"].verdict == "missed"
    assert judged["lowest, any row on numpy"].misses == ("image-numpy-0.9 0.90",)
    assert judged["lowest, any row on jax"].verdict == "not measured"
    rows[2]["peers"]["fast"]["note"] = "FFT"
    alike = "lowest, any row on numpy, beside peers of its own error bound"
    assert {bar.what: bar.misses for bar in report.bars(rows)}[alike] == ()
    rows[2]["method"] = "overlap_save"
    assert {bar.what: bar.misses for bar in report.bars(rows)}[alike] == ("image-numpy-0.9 0.90",)
    dense = judged["lowest, dense layer on numpy beside PyTorch's kernels"]
    assert (dense.found, dense.verdict) == (0.7, "missed")
    assert judged["lowest, share of the machine's limit, large rows"].verdict == "met"
    assert all(b.verdict == "not measured" for w, b in judged.items() if "GPU" in w)


def test_limit_is_the_larger_of_arithmetic_and_traffic():
    from harness import Work
    from machine import limit

    rates = {"gemm float32": 100.0, "gemm float64": 50.0, "copy": 10.0}
    assert limit(Work(2e9, 1e6), "float32", rates) == pytest.approx(0.02)
    assert limit(Work(2e9, 1e6), "float64", rates) == pytest.approx(0.04)
    assert limit(Work(2e6, 1e9), "float32", rates) == pytest.approx(0.1)
