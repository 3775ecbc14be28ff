"""`swath tune`: rates are fitted to times, written, read where the device fits, and told."""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict, astuple, replace

import numpy as np
import pytest
import scipy

import swath
from swath import cli, tuning
from swath._backends import backend_named
from swath.geometry import Sliding, Span
from swath.sliding import costs, plan
from swath.sliding.costs import Measured

pytestmark = pytest.mark.on("numpy")
SHIPPED = costs._likeliest("numpy", "cpu", costs.processor())
BEFORE = SHIPPED.costs


@pytest.fixture
def file(tmp_path, monkeypatch):
    """The user's file of this test; plans made from it are forgotten."""
    path = tmp_path / "folder" / "costs.json"
    monkeypatch.setenv("SWATH_COSTS", str(path))
    forget()
    yield path
    forget()


def forget():
    for cached in (costs.of, plan.choose, plan._call):
        cached.cache_clear()


def entry(device="", **rates):
    return Measured(
        "numpy", "cpu", device or costs.processor(), replace(BEFORE, **rates), "numpy 2", "today",
        "in a test",
    )  # fmt: skip


def test_rates_are_found_from_times(xp):
    """Times that follow from other rates lead from the shipped ones to those."""
    be = backend_named("numpy")
    factors = {"gemm": 0.4, "stream": 2.5, "gather": 0.4, "fft": 2.5, "call": 0.4}
    true = replace(BEFORE, **{k: f * getattr(BEFORE, k) for k, f in factors.items()})
    results = []
    for product in itertools.islice(tuning.drawn(3), 25):
        found, _ = plan.predicted(product.problem(be), true)
        seconds = {c.method: c.seconds for c in found if c.seconds < float("inf")}
        results.append(tuning.Timed(product, seconds, "direct"))
    found = tuning.fitted(be, results, BEFORE)
    # From 2.5 times away; what few products tell is held back a little.
    np.testing.assert_allclose(astuple(found), astuple(true), rtol=0.2)


def test_drawn_products_are_computed_by_all_algorithms(xp):
    be = backend_named("numpy")
    small = [p for p in itertools.islice(tuning.drawn(5), 60) if p.problem(be).flops < 2e5][:6]
    for product in small:
        found = tuning.timed(be, product)
        assert found.chosen in found.seconds
        assert len(found.seconds) > 1
        assert found.regret >= 1
    first, again = (list(itertools.islice(tuning.drawn(5), 9)) for _ in range(2))
    assert first == again != list(itertools.islice(tuning.drawn(6), 9))


@pytest.mark.needs("torch")
def test_rates_read_off_single_operations(xp, monkeypatch):
    """With a clock by which every operation takes a second, rates are what the operations do."""
    monkeypatch.setattr(tuning, "_once", lambda run: run() or 1.0)
    own = {
        "gemm": 128**3,
        "stream": 12 * 2**16,
        "gather": 2 * 4 * 9 * 126**2,
        "fft": 4 * 4096 * 12,
        "call": 1e-9,
    }
    line, plane = 2**13, 8 * 8 * 9
    kernels = {
        "native_single": 129 * line,
        "native_point": line / (1 - 3 / 129),
        "native": 8 * 64 * 64 * plane,
        "native_groups": 8 * 128 * plane,
    }
    for library, found in (("numpy", own), ("torch", own | kernels)):
        rates = asdict(tuning.read_off(backend_named(library), BEFORE, size=2**16))
        # NumPy has no kernel of layers.
        wanted = asdict(BEFORE) | {k: float(f"{v:.3g}") for k, v in found.items()}
        assert rates == wanted, library


def test_regret_lets_a_transform_win_only_where_the_contract_does(xp):
    product = next(tuning.drawn(0))
    near = tuning.Timed(product, {"direct": 3.0, "toeplitz": 2.0, "fft": 1.0}, "direct")
    far = tuning.Timed(product, {"direct": 3.0, "toeplitz": 5.0, "fft": 0.5}, "toeplitz")
    assert (near.regret, far.regret) == (1.5, 10.0)


def test_file_round_trip(xp, file):
    assert costs.of("numpy", "cpu") == SHIPPED
    mine = entry(gemm=1e11)
    other = entry("another processor", gemm=1.0)
    costs.write(file, [mine])
    costs.write(file, [other])
    assert costs.read(file) == [other, mine]
    assert costs.of("numpy", "cpu") == mine
    assert costs.of("no library", "cpu") == SHIPPED
    costs.write(file, [replace(mine, date="tomorrow")])
    assert [e.date for e in costs.read(file)] == ["tomorrow", "today"]


@pytest.mark.parametrize(
    ("name", "device"),
    [
        ("AMD EPYC", "AMD EPYC"),
        ("AMD Ryzen 9 9950X 16-Core Processor", "AMD EPYC"),
        ("Intel(R) Core(TM) i7-1185G7", "Intel(R) Xeon(R) Processor"),
        ("Apple M3", "Intel(R) Xeon(R) Processor"),
        ("", "Intel(R) Xeon(R) Processor"),
    ],
)
def test_shipped_rates_are_those_of_the_maker(xp, file, monkeypatch, name, device):
    monkeypatch.setattr(costs, "processor", lambda: name)
    assert costs.of("numpy", "cpu").device == costs.of("torch", "cpu").device == device
    assert costs.of("torch", "gpu", "AMD Instinct").device == "NVIDIA H200"


def test_file_of_another_version(xp, file):
    """Rates that a file lacks are the shipped ones; those that it alone has are left out."""
    table = asdict(entry(gemm=1e11))
    table["costs"] = {"gemm": 1e11, "rate of the future": 1.0}
    file.parent.mkdir()
    file.write_text(json.dumps({"costs": [table]}))
    assert costs.of("numpy", "cpu").costs == replace(BEFORE, gemm=1e11)


def test_what_is_measured_is_told(xp, monkeypatch):
    """With the times that are predicted, twice over, and rates that stay as they are."""
    span = Span(50, 5, 2, 3, 2, 2)
    g = Sliding((span, Span(9, 3)), groups=4, last=True)
    products = [
        tuning.Product("y", g, 2, 3, 6, "float32"),
        tuning.Product("w", Sliding((Span(90, 5),)), 1, 1, 1, "float64"),
    ]
    assert [str(p) for p in products] == [
        "y: 2 × 4 groups of 3→6, 50∗5/2:3 9∗3, channels last, float32",
        "w: 1 × 1→1, 90∗5, float64",
    ]

    def timed(be, product, device):
        found, _ = plan.predicted(product.problem(be), BEFORE)
        seconds = {c.method: 2 * c.seconds for c in found if c.seconds < float("inf")}
        return tuning.Timed(product, seconds, "direct")

    monkeypatch.setattr(tuning, "drawn", lambda seed: iter(products))
    monkeypatch.setattr(tuning, "timed", timed)
    monkeypatch.setattr(tuning, "fitted", lambda be, results, before: before)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    found, said = tuning.tune("numpy", count=2)
    assert said.endswith("off by a factor of 2.00 (median), 2.00 (95th percentile)")
    assert (found.library, found.kind, found.device) == ("numpy", "cpu", costs.processor())
    assert found.costs == costs.of("numpy", "cpu").costs
    assert found.versions == f"numpy {np.__version__}, scipy {scipy.__version__}"
    assert found.how == "fitted by `swath tune` to 2 products of seed 0, 3 threads"
    assert f"gemm {found.costs.gemm:.3g}, " in tuning.rates_of(found)
    # Every number goes by.
    seen = []
    tuning.tune("numpy", count=2, each=lambda numbers: (seen.append(n) for n in numbers))
    assert seen == [0, 1]


@pytest.mark.parametrize(
    "text",
    ["{", '{"costs": [{}]}', "[]", '{"costs": [{"library": "numpy", "kind": "cpu", "costs": []}]}'],
)
def test_broken_file_is_told_and_left_out(xp, file, text):
    file.parent.mkdir()
    file.write_text(text)
    with pytest.warns(UserWarning, match=r"costs\.json cannot be read .* `swath tune` writes"):
        assert costs.of("numpy", "cpu") == SHIPPED


def test_a_file_that_nobody_can_see_is_none(xp, file, monkeypatch):
    # As in the home of another user, which `sudo` and containers leave in the environment.
    monkeypatch.setenv("SWATH_COSTS", f"{__file__}/costs.json")
    assert costs.of("numpy", "cpu") == SHIPPED


def test_a_user_without_a_home(xp, file, monkeypatch, capsys):
    def home():
        raise RuntimeError("Could not determine home directory.")

    for name in ("SWATH_COSTS", "XDG_CONFIG_HOME", "APPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(costs.Path, "home", home)
    assert costs.of("numpy", "cpu") == SHIPPED
    assert cli.main(["tune", "--backend", "numpy"]) == 2
    assert "no home folder; give --out FILE" in capsys.readouterr().err


def test_plan_tells_where_its_rates_come_from(xp, file):
    costs.write(file, [entry()])
    forget()
    found = swath.plan(swath.signal.convolve, np.ones(50), np.ones(3))
    assert "in a test" in found.costs
    assert "numpy 2, today, in a test" in str(found)


def test_command(xp, file, capsys, monkeypatch):
    def tune(library, **options):
        assert (library, options["count"]) == ("numpy", 30)
        return entry(), "well"

    monkeypatch.setattr(tuning, "tune", tune)
    assert cli.main(["tune", "--backend", "numpy", "--products", "30"]) == 0
    assert str(file) in capsys.readouterr().out
    assert costs.read(file) == [entry()]


@pytest.mark.parametrize(
    "arguments, text",
    [
        (["--backend", "nonsense"], "--backend nonsense: not installed"),
        (["--products", "3"], "--products must be 20 or more, got 3"),
        (["--device", "cuda:0"], "--device needs --backend"),
        (["--backend", "numpy", "--device", "cuda:0"], 'device must be "cpu" for NumPy'),
        (["--backend", "numpy", "--out", "."], "--out: '.' is a folder"),
        (["--backend", "numpy", "--out", ""], "--out: '.' is a folder"),
        (["--backend", "numpy", "--out", f"{__file__}/rates"], "--out: "),
    ],
)
def test_command_refuses(xp, capsys, monkeypatch, arguments, text):
    monkeypatch.delattr(tuning, "tune")  # nothing is measured
    assert cli.main(["tune", *arguments]) == 2
    assert text in capsys.readouterr().err


def test_bench_command_runs_the_runner(xp, monkeypatch):
    calls = []
    monkeypatch.setattr(cli.subprocess, "call", lambda command: calls.append(command) or 0)
    assert cli.main(["bench", "--list", "--help"]) == 0
    ((_, script, *rest),) = calls
    assert script.endswith("run.py")
    assert rest == ["--list", "--help"]
