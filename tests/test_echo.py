"""The example that takes an echo out of a recording: what is found, decibels, and its files."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.io import wavfile

import scripts

pytestmark = [pytest.mark.op("linalg.identify_fir", "linalg.deconvolve")]


@pytest.fixture(scope="module")
def echo():
    return scripts.loaded("examples", "echo.py")


@pytest.mark.needs("matplotlib")
@pytest.mark.on("numpy")
def test_the_echo_is_found_and_goes(xp, echo, tmp_path, record_property):
    lines = []
    found = echo.run("numpy", tmp_path, say=lines.append)
    assert len(lines) == 9
    delays = [0.0, *(d for d, _ in echo.REFLECTIONS)]
    gains = [1.0, *(g for _, g in echo.REFLECTIONS)]
    for (place, gain), delay, true in zip(found.reflections, delays, gains, strict=True):
        assert place == round(delay * 22050)
        # The ridge shrinks what the piano hardly tells.
        assert 0.6 * abs(true) <= gain * np.sign(true) <= 1.05 * abs(true)
    assert found.echo_db >= 40
    assert abs(found.kept_db) <= 0.05
    record_property("note", f"echo: {found.echo_db:.1f} dB weaker, dry {found.kept_db:+.2f} dB")
    assert {p.name for p in tmp_path.iterdir()} == {
        "taps.png", "errors.png", "spectra.png", "before.wav", "after.wav",
    }  # fmt: skip
    _, before = wavfile.read(tmp_path / "before.wav")
    _, after = wavfile.read(tmp_path / "after.wav")
    assert len(after) == len(before)


@pytest.mark.on("torch")
def test_another_library_finds_the_same(xp, echo):
    given = echo.scene(seconds=0.8)
    host, other = (echo.swath.bind(name) for name in ("numpy", xp.backend))
    want, got = (sw.to_numpy(echo.identify(sw, given)) for sw in (host, other))
    assert np.linalg.norm(got - want) <= 1e-6 * np.linalg.norm(want)


@pytest.mark.on("numpy")
def test_without_the_room_nothing_is_removed(xp, echo):
    """The measure can fail: with taps of no echo what was heard stays as it was."""
    given = echo.scene(seconds=0.8)
    direct = np.zeros(echo.TAPS)
    direct[0] = 1.0
    after = echo.remove(echo.swath.bind("numpy"), given, direct)
    dry = given.dry[given.split :]
    before = given.wet[given.split : given.dry.size]
    assert np.mean((after - dry) ** 2) >= 0.5 * np.mean((before - dry) ** 2)
