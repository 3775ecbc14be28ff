"""The example that listens to kernels: hits against truth, and the files it writes."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal
from scipy.io import wavfile

import scripts
from swath.testing import assert_close

pytestmark = [
    pytest.mark.op("signal.filter_bank", "signal.correlate", "signal.spectrogram"),
    pytest.mark.on("numpy", "torch"),
]


@pytest.fixture(scope="module")
def listening():
    return scripts.loaded("examples", "listening.py")


def test_every_note_is_a_hit_in_time_and_pitch(xp, listening):
    lines = []
    heard = listening.run(xp.backend, None, lines.append)
    clip = listening.made.notes_clip()
    assert clip.samples.size == 70_641
    assert abs(clip.notes[0].frequency - 1600) < 50
    found = listening.hits(heard["made"], clip.notes)
    assert len(found) == 4
    for _, _, late, _, cents in found:
        assert abs(late) < 20
        assert abs(cents) < 5
    recording = heard["piano"]
    assert tuple(n.key for n in recording.notes) == listening.KEYS_OF_RECORDING
    for note, hertz in zip(recording.notes, recording.pitches, strict=True):
        assert abs(1200 * np.log2(hertz / note.frequency)) < 20
    for note, about in zip(recording.notes, (0.0, 1.0, 2.0), strict=True):
        assert abs(note.onset - about) < 0.1
    # The running products are SciPy's.
    for name, kernel in heard["made"].kernels.items():
        want = scipy.signal.correlate(clip.samples, kernel, "same")
        assert_close(np.asarray(heard["made"].slid[name]), want, rtol=1e-10)
    assert any(line.startswith("G6 ") for line in lines)


@pytest.mark.on("numpy")
def test_kernels_tell_the_next_key_apart(xp, listening):
    keys = [n.key for n in listening.made.notes_clip().notes] + list(listening.KEYS_OF_RECORDING)
    for name, samples, apart, step in listening.resolution(keys, 22050.0):
        assert samples >= 2048, name
        assert apart < step, name


@pytest.mark.on("numpy")
def test_wrong_notes_are_not_taken_for_hits(xp, listening):
    clip = listening.made.notes_clip()
    heard = listening.Heard(list(clip.notes[:3]), [1.0] * 3, {}, {})
    with pytest.raises(ValueError, match="but the clip holds"):
        listening.hits(heard, clip.notes)


@pytest.mark.needs("matplotlib")
@pytest.mark.on("numpy")
def test_pictures_and_sounds_are_written(xp, listening, tmp_path):
    # Half a second with one note: what is written is the same as for a whole clip.
    rate = 8000.0
    clip = listening.made.notes_clip(keys=(81,), onsets=(0.1,), samples=4000, rate=rate)
    heard = listening.listen(listening.swath.bind("numpy"), clip.samples, rate)
    assert [n.name for n in heard.notes] == ["A5"]
    paths = listening.save(tmp_path, "short", clip.samples, rate, heard)
    assert all(path.stat().st_size > 1000 for path in paths)
    assert {p.suffix for p in paths} == {".png", ".wav"}
    read, samples = wavfile.read(tmp_path / "short-through-A5.wav")
    assert read == rate
    want = heard.slid["A5"] / np.abs(heard.slid["A5"]).max() * 29000
    assert np.abs(samples - want).max() <= 0.5 + 1e-9
    # Where it answers most, the clip looks like the kernel.
    pair = listening.first_against_kernel(heard, clip.samples)
    one, other = pair["clip"], pair["A5"]
    likeness = np.correlate(one, other, "same") / np.linalg.norm(one) / np.linalg.norm(other)
    middle = one.size // 2
    assert likeness[middle] > 0.5
    assert likeness[middle] == max(likeness[middle - 3 : middle + 4])
