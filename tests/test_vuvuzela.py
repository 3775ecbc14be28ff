"""The example that takes a drone out of a broadcast: decibels removed and kept, and its files."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.io import wavfile

import scripts
from swath.testing import assert_close

pytestmark = [
    pytest.mark.op("signal.fir_step", "signal.fir_from_response", "signal.firwin"),
    pytest.mark.on("numpy", "torch"),
]


@pytest.fixture(scope="module")
def vuvuzela():
    return scripts.loaded("examples", "vuvuzela.py")


@pytest.mark.needs("matplotlib")
@pytest.mark.on("numpy")
def test_the_drone_goes_and_the_programme_stays(xp, vuvuzela, tmp_path, record_property):
    lines = []
    found = vuvuzela.run("numpy", tmp_path, seconds=4.0, say=lines.append)
    assert sum(" x 235.0" in line for line in lines) == vuvuzela.HARMONICS
    for name, filtered in found.items():
        assert min(filtered.removed) >= 40, name
        assert filtered.drone_db >= 40, name
        assert filtered.kept_db <= 0.5, name
        assert filtered.change_db <= 0.5, name
        assert filtered.delay == pytest.approx((filtered.taps.size - 1) / 2 / 22050)
    best = found["response"]
    record_property(
        "note",
        f"vuvuzela: drone -{best.drone_db:.1f} dB, rest -{best.kept_db:.2f} dB",
    )
    assert {p.name for p in tmp_path.iterdir()} == {
        "spectrograms.png", "spectra.png", "filter.png", "before.wav", "after.wav",
    }  # fmt: skip
    _, before = wavfile.read(tmp_path / "before.wav")
    _, after = wavfile.read(tmp_path / "after.wav")
    assert len(after) == len(before)
    assert after.std() < 0.6 * before.std()


def test_parts_add_up_and_chunks_join(xp, vuvuzela):
    mixed = vuvuzela.mixture(0.5)
    assert_close(mixed.programme + mixed.tone, mixed.samples)
    ratio = 10 * np.log10(np.mean(mixed.tone**2) / np.mean(mixed.programme**2))
    assert 5.5 < ratio < 6.5
    taps = np.hanning(101)
    sw = vuvuzela.swath.bind(xp.backend)
    joined = vuvuzela.streamed(sw, taps, mixed.samples, mixed.rate)
    assert_close(joined, np.convolve(mixed.samples, taps, "same"), rtol=1e-12)


@pytest.mark.on("numpy")
def test_the_fundamental_is_found_from_some_of_its_multiples(xp, vuvuzela):
    tones = [vuvuzela.SteadyTone(f, 1.0, 20.0) for f in (705.3, 234.9, 470.1)]
    base, numbers = vuvuzela.fundamental(tones)
    assert numbers == [1, 2, 3]
    assert base == pytest.approx((234.9 + 2 * 470.1 + 3 * 705.3) / 14)
