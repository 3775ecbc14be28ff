"""The demo and the command line: every part's scores on each backend, and that they can be missed.

The scores judge by NumPy and SciPy alone (tests/test_demo_data.py tests the judges); the parts
below are run with a sabotaged library too, so that no score passes whatever swath computes.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
from scipy.io import wavfile
from scipy.signal import fftconvolve

import swath
from swath import cli
from swath.demo import data, made, notes, parts, runner, table, tone
from swath.demo import given as provision

BACKENDS = [
    "numpy",
    pytest.param("jax", marks=pytest.mark.needs("jax")),
    pytest.param("torch", marks=pytest.mark.needs("torch")),
]
RUN = {name: part for name, _, part in parts.PARTS}


@pytest.fixture(scope="module")
def given():
    """What the demo works on. Without PyWavelets made data take the place of the two it ships:
    the scores are on made data, or on whatever is given."""
    with pytest.MonkeyPatch.context() as patch:
        if importlib.util.find_spec("pywt") is None:
            mixture = made.toned(data.piano().samples, 22_050.0, frequency=440.3)
            hum = data.Recording(mixture.samples, 22_050.0, data.Credit("Hum", "made", ""))
            texture = provision._texture()
            patch.setattr(data, "heart", lambda: hum)
            patch.setattr(data, "photograph", lambda: texture)
        return provision.prepare()


@pytest.fixture(scope="module")
def lines(given):
    return table.lines_of(given)


def double(backend):
    """JAX in double precision, as the command sets it; nothing elsewhere."""
    if backend != "jax":
        return nullcontext()
    import jax

    return jax.enable_x64(True)


# -- scores ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("part", RUN)
def test_every_score_is_reached(part, backend, given):
    with double(backend):
        outcome = RUN[part](swath.bind(backend), given)
    assert outcome.scores
    assert outcome.lines
    missed = [str(score) for score in outcome.scores if not score.reached]
    assert not missed


@pytest.mark.needs("jax")
@pytest.mark.parametrize("part", ["tone", "echo"])
def test_scores_that_solve_equations_are_reached_without_float64(part, given):
    import jax

    with jax.enable_x64(False):
        outcome = RUN[part](swath.bind("jax"), given)
    assert [str(score) for score in outcome.scores if not score.reached] == []


@pytest.mark.parametrize("backend", BACKENDS)
def test_table_lies_within_the_bounds(backend, lines):
    with double(backend):
        sw = swath.bind(backend)
        cells = {line.name: table.measure(line, sw) for line in lines}
    assert {name: cell.units for name, cell in cells.items() if not cell.units <= 1} == {}
    assert all(cell.seconds > 0 for cell in cells.values())


# -- results on the given data ---------------------------------------------------------------------


def test_recorded_notes_and_the_template_are_found(given):
    sw = swath.bind("numpy")
    found = parts.find_notes(sw, given)
    assert [note.name for note in found.shown["notes"]] == ["C3", "G3", "C4"]
    assert set(found.shown["kernels"]) == {"C3", "G3", "C4"}
    place = parts.find_template(sw, replace(given, crops=given.crops[:1])).shown["place"]
    assert place == (given.crop.row, given.crop.column)


def test_strengths_by_the_filter_bank_are_the_running_products(given):
    clip = given.clip
    bank = notes.pitch_bank(clip.rate)
    (got,) = parts.strengths_by(swath.bind("numpy"), [clip.samples], bank)
    want = notes.strengths(clip.samples, bank)
    np.testing.assert_allclose(got, want, atol=1e-5 * want.max())


def test_tone_of_the_recording_goes_and_the_rest_stays(given):
    outcome = parts.remove_tone(swath.bind("numpy"), given)
    taps = tone.design_numpy(given.conditions)
    np.testing.assert_allclose(outcome.shown["taps"], taps, atol=1e-9)
    want = fftconvolve(given.hum.samples, taps, mode="same")
    np.testing.assert_allclose(outcome.shown["after"], want, atol=1e-5)


def test_plain_arithmetic_is_what_the_operations_compute():
    sw, rng = swath.bind("numpy"), np.random.default_rng(0)
    x, w, h = rng.random((1, 1, 12, 15)), rng.random((3, 1, 3, 3)), rng.random(5)
    pairs = [
        (parts.plain_layer(2)(x, w), sw.nn.conv(x, w, stride=2)),
        (parts.plain_pool(sw, 3, 2, largest=True)(x), sw.nn.max_pool(x, (3, 3), stride=2)),
        (parts.plain_pool(sw, 2, 2, largest=False)(x), sw.nn.avg_pool(x, (2, 2))),
        (parts.plain_convolution()(x.ravel(), h), np.convolve(x.ravel(), h, "valid")),
    ]
    for got, want in pairs:
        np.testing.assert_allclose(got, want, rtol=1e-12)


# -- every score can be missed ---------------------------------------------------------------------


class Sabotaged:
    """A bound library in which one function's results are changed."""

    def __init__(self, inner, path, change):
        self._inner, self._path, self._change = inner, path, change

    def __getattr__(self, name):
        value = getattr(self._inner, name)
        here, _, rest = self._path.partition(".")
        if name != here:
            return value
        if rest:
            return Sabotaged(value, rest, self._change)
        return self._change(value)


def scaled(factor):
    return lambda function: lambda *args, **kwargs: factor * function(*args, **kwargs)


def shifted(function):
    return lambda *args, **kwargs: np.roll(function(*args, **kwargs), 9, axis=-1)


def pulled_wrong(vjp):
    def changed(*args, **kwargs):
        value, pullback = vjp(*args, **kwargs)
        return value, lambda cotangent: [g * 1.001 for g in pullback(cotangent) if g is not None]

    return changed


FAULTS = [
    ("notes", "signal.filter_bank", shifted, "Known clip"),
    ("notes", "signal.filter_bank", lambda f: lambda *a, **k: np.cumsum(f(*a, **k), -1), "noise"),
    ("tone", "signal.fir_from_response", scaled(0.9), "Drone"),
    ("template", "signal.match_template", scaled(-1.0), "Pieces"),
    ("maps", "nn.conv", scaled(1.001), "bright"),
    ("maps", "nn.max_pool", scaled(1 + 1e-6), "bright"),
    ("echo", "linalg.identify_fir", scaled(1.01), "echo"),
    ("toeplitz", "linalg.convolution_matrix", scaled(1.001), "Product"),
    ("toeplitz", "linalg.toeplitz", scaled(1.001), "Whole"),
    ("gradients", "vjp", pulled_wrong, "By hand"),
    ("gradients", "vjp", pulled_wrong, "SciPy"),
    ("gradients", "vjp", pulled_wrong, "Equal values"),
]


@pytest.mark.parametrize("part, path, change, what", FAULTS)
def test_a_fault_misses_the_score(part, path, change, what, given):
    fewer = replace(given, crops=given.crops[:20])
    outcome = RUN[part](Sabotaged(swath.bind("numpy"), path, change), fewer)
    reached = {score.what: score.reached for score in outcome.scores if what in score.what}
    assert list(reached.values()) == [False], reached


def test_a_seam_between_blocks_misses_the_score(given, monkeypatch):
    def seamed(fn, source, sink, **options):
        swath.map_blocks(fn, source, sink, **options)
        sink[parts.BLOCK] *= 1.001

    monkeypatch.setattr(parts, "map_blocks", seamed)
    (score,) = parts.filter_file(swath.bind("numpy"), given).scores
    assert not score.reached


def test_half_precision_lies_beyond_the_bounds(lines):
    def halved(function):
        return lambda *args, **kwargs: function(
            *(np.asarray(a, np.float16).astype(np.float32) if hasattr(a, "shape") else a
              for a in args), **kwargs
        )  # fmt: skip

    by_name = {line.name: line for line in lines}
    for name, path in (
        ("signal.filter_bank", "signal.filter_bank"),
        ("nn.avg_pool", "nn.avg_pool"),
    ):
        honest = table.measure(by_name[name], swath.bind("numpy"))
        wrong = table.measure(by_name[name], Sabotaged(swath.bind("numpy"), path, halved))
        assert honest.units <= 1 < wrong.units
    moved = Sabotaged(swath.bind("numpy"), "nn.max_pool", scaled(1 + 1e-6))
    assert table.measure(by_name["nn.max_pool"], moved).units == np.inf


# -- the user's own files --------------------------------------------------------------------------


@pytest.fixture
def recording(tmp_path):
    """40 s of stereo noise and notes at 8 kHz: no steady tone in it."""
    clip = made.notes_clip(samples=40 * 8000, rate=8000.0, keys=(60, 64), onsets=(1.0, 2.0))
    path = tmp_path / "mine.wav"
    values = np.round(30_000 * clip.samples).astype(np.int16)
    wavfile.write(path, 8000, np.stack([values, values], axis=1))
    return path


@pytest.fixture
def picture(tmp_path):
    from PIL import Image

    rng = np.random.default_rng(0)
    path = tmp_path / "mine.png"
    Image.fromarray(rng.integers(0, 256, (700, 1100, 3), dtype=np.uint8)).save(path)
    return path


@pytest.mark.needs("pywt", "PIL")
def test_own_files_are_made_to_fit(recording, picture):
    given = provision.prepare(recording, picture)
    assert given.recording.samples.size == 30 * 8000
    assert given.picture.pixels.shape == (233, 366)
    assert [t.frequency for t in given.tones] == pytest.approx([1000.0], abs=0.1)
    remarks = " ".join(given.remarks)
    for text in ("first 30 s of mine.wav", "one of 1000 Hz was added", "reduced to 233 × 366"):
        assert text in remarks
    assert [c.source for c in given.credits][:2] == ["mine.wav", "mine.png"]


def fail_with(capsys, *arguments):
    status = cli.main(["demo", *map(str, arguments)])
    output = capsys.readouterr()
    assert status == 2
    assert "Traceback" not in output.err + output.out
    return output.err


@pytest.mark.needs("matplotlib", "PIL", "pywt")
def test_wrong_files_give_a_message_and_status_2(tmp_path, capsys):
    from PIL import Image

    (tmp_path / "text.wav").write_text("no recording")
    wavfile.write(tmp_path / "short.wav", 8000, np.ones(99, np.int16))
    wavfile.write(tmp_path / "silent.wav", 8000, np.zeros(9000, np.int16))
    for name, rate in (("slow", 100), ("slower", 1), ("still", 0)):
        wavfile.write(tmp_path / f"{name}.wav", rate, np.arange(9000, dtype=np.int16))
    Image.new("L", (20, 300)).save(tmp_path / "thin.png")
    Image.new("L", (300, 300)).save(tmp_path / "grey.png")
    for option, name, text in (
        ("--audio", "none.wav", "there is no file"),
        ("--audio", "text.wav", "text.wav cannot be read as"),
        ("--audio", "short.wav", "99 samples.*or more are needed"),
        ("--audio", "silent.wav", "silence only"),
        ("--audio", "slow.wav", "slow.wav has 100 samples per second; 130 or more"),
        ("--audio", "slower.wav", "slower.wav has 1 samples per second"),
        ("--audio", "still.wav", "still.wav has 0 samples per second"),
        ("--image", "none.png", "there is no file"),
        ("--image", "text.wav", "cannot be read as a picture"),
        ("--image", "thin.png", "64 × 64 or more are needed"),
        ("--image", "grey.png", "one grey level only"),
    ):
        assert re.search(text, fail_with(capsys, option, tmp_path / name)), (name, text)


@pytest.mark.needs("matplotlib", "PIL", "pywt")
def test_wrong_options_give_a_message_and_status_2(tmp_path, capsys):
    assert "no installed array library" in fail_with(capsys, "--backend", "nunpy")
    assert "no installed array library" in fail_with(capsys, "--backend", "os")
    (tmp_path / "taken").write_text("")
    assert "is a file; a folder is needed" in fail_with(capsys, "--out", tmp_path / "taken")
    below = fail_with(capsys, "--backend", "numpy", "--out", tmp_path / "taken" / "below")
    assert "--out: no files can be written there" in below
    with pytest.raises(SystemExit, match="2"):
        cli.main(["demo", "--nonsense"])


# -- the whole run ---------------------------------------------------------------------------------


@pytest.mark.needs("matplotlib", "PIL", "pywt")
def test_demo_runs_prints_and_writes_the_page(tmp_path, capsys, monkeypatch, given, lines):
    # Prepared once for all tests; that they are prepared so is tested with the user's files.
    fewer = replace(given, crops=given.crops[:20])
    monkeypatch.setattr(runner, "prepare", lambda audio, image: fewer)
    monkeypatch.setattr(runner, "lines_of", lambda given: lines)
    status = cli.main(["demo", "--backend", "numpy", "--out", str(tmp_path / "out")])
    output = capsys.readouterr()
    assert status == 0, output.out + output.err
    assert output.err == ""  # no progress bar where there is no terminal
    for text in (
        "4 of 4 notes found, 0 others",
        "20 of 20 within 1 pixel",
        "every operation against float64",
        "12 of 12 scores reached, 0 differences beyond their bound, 0 failures",
        str(tmp_path / "out" / "index.html"),
    ):
        assert text in output.out
    for name in (
        "waveform",
        "spectrogram",
        "kernels",
        "broadcast",
        "feature-maps",
        "filter-response",
    ):
        assert (tmp_path / "out" / f"{name}.png").is_file()
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "fir_from_response" in page
    assert "not reached" not in page


@pytest.mark.needs("matplotlib", "PIL")
def test_status_1_where_a_score_is_missed_or_a_part_breaks_down(
    tmp_path, capsys, monkeypatch, given
):
    def missed(sw, given):
        return parts.Outcome(["tried"], [parts.Score("Thing", "3", "4", False)])

    def broken(sw, given):
        raise RuntimeError("out of luck")

    monkeypatch.setattr(runner, "prepare", lambda audio, image: given)
    monkeypatch.setattr(runner, "lines_of", lambda given: [])
    for part, text in ((missed, "3 (asked for: 4; NOT REACHED)"), (broken, "FAILED: RuntimeError")):
        for module in ("swath.demo.runner", "swath.demo.page"):
            monkeypatch.setattr(f"{module}.PARTS", (("thing", "A thing", part),))
        assert runner.run(backends=["numpy"], out=tmp_path) == 1
        assert text in capsys.readouterr().out


def test_backends_that_are_not_there_are_listed(monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in ("jax", "torch") else real(name)
    )
    bound, absent = runner._chosen([])
    assert "numpy" in bound
    assert absent["jax"] == "jax is not installed; pip install 'swath[jax]' gets it"
    assert "torch" in absent
    assert ("cupy" in bound) != ("cupy" in absent)
    with pytest.raises(runner.DemoError, match="jax is not installed"):
        runner._chosen(["jax"])


def test_version_and_backends(capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"swath {swath.__version__}\n"
    assert cli.main(["backends"]) == 0
    assert re.search(rf"^numpy +{re.escape(np.__version__)} cpu$", capsys.readouterr().out, re.M)


def test_command_starts_without_loading_the_demo():
    code = (
        "import sys, swath.cli\n"
        "try: swath.cli.main(['--version'])\n"
        "except SystemExit: pass\n"
        "print(*[m for m in sys.modules if m.startswith(('swath.demo', 'matplotlib', 'jax'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"swath {swath.__version__}\n\n"
