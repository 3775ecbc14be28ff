"""What `swath.plot` draws, beside what SciPy computes of the same data."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from scipy.signal import freqz, stft

from swath import plot


@pytest.mark.needs("matplotlib")
def test_every_picture_is_drawn_without_pyplot_and_reproducibly():
    rng = np.random.default_rng(0)
    x, y, picture = rng.standard_normal(2000), rng.standard_normal(2000), rng.random((40, 50))
    names = ["A0", "A#0", "B0", "C1"]
    figures = {
        "waveform": lambda: plot.waveform(x, 100.0, onsets=[(1.0, "C3")]),
        "silence": lambda: plot.waveform(np.zeros(10), 100.0),
        "spectrograms": lambda: plot.spectrograms(
            {"a": x, "b": np.zeros(2000)}, 100.0, lines=[10.0], marks=[(1.0, 20.0, "C3")]
        ),
        "key_strengths": lambda: plot.key_strengths(
            rng.random((4, 30)), [21, 22, 23, 24], 0.1, names=names, notes=[(1.0, 22, "A#0")]
        ),
        "kernels": lambda: plot.kernels({"a": x[:100], "b": x[:50]}, 100.0),
        "convolutions": lambda: plot.convolutions({"a": x, "b": y}, 100.0, onsets={"a": 1.0}),
        "spectra": lambda: plot.spectra(x, y, 100.0, lines=[10.0]),
        "filter_response": lambda: plot.filter_response(
            np.linspace(0, 50, 200), np.linspace(0, 1, 200), tones=[25.0], beyond=5.0
        ),
        "maps": lambda: plot.maps(picture, {"a": picture - 0.5, "b": np.zeros((5, 5))}),
        "template": lambda: plot.template(
            picture, picture[:8, :8], rng.random((33, 43)), (3, 4), true=(3, 5)
        ),
        "echo": lambda: plot.echo(x[:20], y[:20]),
        "matrix": lambda: plot.matrix(np.eye(5, 7)),
    }
    for name, make in figures.items():
        png = plot.to_png(make())
        assert png[:4] == b"\x89PNG", name
        if name in ("waveform", "echo"):
            assert png == plot.to_png(make()), name


def _levels(*spectra, floor):
    """Decibels below the strongest of all."""
    top = max(power.max() for power in spectra)
    return [np.maximum(10 * np.log10(power / top), floor) for power in spectra]


def _power(x, rate, frame):
    """Hertz, seconds and power of Hann frames that overlap by three quarters."""
    tones, times, z = stft(x, rate, np.hanning(frame), frame, frame * 3 // 4, padded=False)
    return tones, times, np.abs(z) ** 2


@pytest.mark.needs("matplotlib")
def test_pictures_of_spectra_equal_scipys_on_one_scale():
    rate, frame, rng = 200.0, 64, np.random.default_rng(1)
    loud = 10 * np.sin(2 * np.pi * 25 * np.arange(2000) / rate) + rng.standard_normal(2000)
    signals = {"soft": rng.standard_normal(2000), "loud": loud}
    figure = plot.spectrograms(
        signals, rate, lines=[25.0], marks=[(1.0, 50.0, "C3")], span_db=60.0, frame=frame
    )
    (tones, times, soft), (_, _, strong) = (_power(x, rate, frame) for x in signals.values())
    wanted = _levels(soft, strong, floor=-60)
    for axes, title, want in zip(figure.axes[:2], signals, wanted, strict=True):
        (image,) = axes.images
        np.testing.assert_allclose(image.get_array(), want, atol=1e-6)
        assert image.get_extent() == [0, times[-1], 0, tones[-1]]
        assert (image.origin, image.get_clim()) == ("lower", (-60, 0))
        assert (axes.get_title("left"), axes.get_xlabel()) == (title, "seconds")
        triangle, ring = axes.lines
        assert list(triangle.get_ydata()) == [25]
        assert ring.get_xydata().tolist() == [[1, 50]]
        assert axes.get_ylim() == (0, 100)
    assert figure.axes[0].get_ylabel() == "hertz"
    # Of few samples one frame is all.
    (image,) = plot.spectrograms({"short": np.ones(3)}, rate).axes[0].images
    assert image.get_array().shape == (2, 3)

    # The weaker one last: the scale is that of both.
    figure = plot.spectra(loud, signals["soft"], rate, lines=[10.0])
    (axes,) = figure.axes
    before, after, tone = axes.lines
    tones, frame = before.get_xdata(), 2 * len(before.get_xdata()) - 2
    means = [_power(x, rate, frame)[2].mean(axis=1) for x in (loud, signals["soft"])]
    np.testing.assert_allclose(tones, np.fft.rfftfreq(frame, 1 / rate))
    for line, want in zip((before, after), _levels(*means, floor=-160), strict=True):
        np.testing.assert_allclose(line.get_ydata(), want, atol=1e-6)
    assert list(tone.get_xdata()) == [10, 10]
    assert axes.get_xlim() == (0, 100)

    bank = {"a": rng.standard_normal(41), "b": -np.arange(30.0)}
    answer, *panels = plot.kernels(bank, rate).axes
    for axes, line, (label, taps) in zip(panels, answer.lines, bank.items(), strict=True):
        (drawn,) = axes.lines
        np.testing.assert_allclose(drawn.get_ydata(), taps / np.abs(taps).max())
        time = (np.arange(len(taps)) - len(taps) / 2) * 5
        np.testing.assert_allclose(drawn.get_xdata(), time)
        assert axes.get_ylabel() == line.get_label() == label
        tones, gain = freqz(taps, worN=line.get_xdata(), fs=rate)
        assert (tones[0], tones[-1]) == (0, rate / 2)
        (want,) = _levels(np.abs(gain) ** 2, floor=-80)
        np.testing.assert_allclose(line.get_ydata(), want, atol=1e-6)
    assert answer.get_xlim() == (0, 100)


@pytest.mark.needs("matplotlib")
def test_pictures_of_signals_show_them_at_their_places():
    rate, x = 100.0, np.array([1.0, -4.0, 2.0, 3.0])
    (axes,) = plot.waveform(x, rate, onsets=[(0.02, "C3")]).axes
    wave, onset = axes.lines
    np.testing.assert_allclose(wave.get_xydata(), [[0, 1], [0.01, -4], [0.02, 2], [0.03, 3]])
    assert list(onset.get_xdata()) == [0.02, 0.02]
    assert [t.get_text() for t in axes.texts] == ["C3"]
    # Room for labels above.
    assert axes.get_xlim() == (0, 0.04)
    np.testing.assert_allclose(axes.get_ylim(), (-4.4, 5.4))

    rows = {"a": x / 8, "b": x}
    panels = plot.convolutions(rows, rate, onsets={"b": 0.01}).axes
    for axes, (label, row) in zip(panels, rows.items(), strict=True):
        np.testing.assert_allclose(axes.lines[0].get_xydata(), np.stack([wave.get_xdata(), row], 1))
        np.testing.assert_allclose(axes.get_ylim(), (-4.2, 4.2))
        assert axes.get_ylabel() == label
    assert [len(axes.lines) for axes in panels] == [1, 2]
    assert list(panels[1].lines[1].get_xdata()) == [0.01, 0.01]

    freqs, gain = np.array([0.0, 10.0, 20.0, 50.0]), np.array([1.0, -0.1, 0.0, -10.0])
    whole, near = plot.filter_response(freqs, gain, tones=[30.0, 20.0], beyond=5.0).axes
    for axes in (whole, near):
        np.testing.assert_allclose(axes.lines[0].get_xdata(), freqs)
        np.testing.assert_allclose(axes.lines[0].get_ydata(), [0, -20, -100, 20], atol=1e-9)
    assert (whole.get_xlim(), near.get_xlim()) == ((0, 50), (5, 35))
    assert len(plot.filter_response(freqs, gain).axes) == 1

    (axes,) = plot.echo(x, x + 1).axes
    assert [s.tolist() for s in axes.collections[0].get_segments()] == [
        [[i, 0], [i, v]] for i, v in enumerate(x)
    ]
    assert axes.lines[0].get_xydata().tolist() == [[i, v + 1] for i, v in enumerate(x)]
    assert [t.get_text() for t in axes.get_legend().get_texts()] == ["true", "identified"]


@pytest.mark.needs("matplotlib")
def test_pictures_of_planes_show_their_values_at_their_places():
    keys, strength = [59, 60, 61], np.array([[0.1, 1.0], [0.01, 10.0], [1.0, 1e-9]])
    names = ["B3", "C4", "C#4"]
    axes, _ = plot.key_strengths(strength, keys, 0.5, names=names, notes=[(0.5, 60, "C4")]).axes
    (image,) = axes.images
    np.testing.assert_allclose(image.get_array(), [[-40, -20], [-50, 0], [-20, -50]])
    assert (image.origin, image.get_extent()) == ("lower", [-0.25, 0.75, 58.5, 61.5])
    assert axes.lines[0].get_xydata().tolist() == [[0.5, 60]]
    ticks = zip(axes.get_yticks(), axes.get_yticklabels(), strict=True)
    assert [(at, label.get_text()) for at, label in ticks] == [(60, "C4")]
    (image,) = plot.key_strengths(0 * strength, keys, 0.5).axes[0].images
    assert (image.get_array() == -50).all()

    picture = np.linspace(0.25, 1, 200).reshape(10, 20)
    features = {"signed": picture[:5] - 0.5, "black": np.zeros((5, 5)), "a": picture, "b": picture}
    drawn, signed, black, *_, empty = plot.maps(picture, features, columns=3).axes
    for axes, want, title in (
        (drawn, picture, "Picture  (10 × 20)"),
        (signed, features["signed"], "signed  (5 × 20)"),
        (black, features["black"], "black  (5 × 5)"),
    ):
        assert (axes.images[0].get_array() == want).all()
        assert axes.get_title("left") == title
    assert not empty.images
    # Zero is the middle of two colours, and a map without signs is grey.
    low, high = signed.images[0].get_clim()
    assert -low == high == np.quantile(np.abs(features["signed"]), 0.995)
    assert drawn.images[0].get_clim() == (0.25, np.quantile(picture, 0.995))
    assert [a.images[0].get_cmap().name for a in (drawn, signed, black)] == [
        "gray",
        "RdBu_r",
        "gray",
    ]

    crop, score = picture[:2, :3], np.arange(162.0).reshape(9, 18)
    panels = plot.template(picture, crop, score, (0, 4), true=(6, 5)).axes
    for axes, want in zip(panels[:3], (crop, picture, score), strict=True):
        assert (axes.images[0].get_array() == want).all()
    true, found = (box.get_bbox().bounds for box in panels[1].patches)
    assert found == (3.5, -0.5, 3, 2)
    assert true == (-0.5, 0.5, 13, 12)
    assert panels[2].lines[0].get_xydata().tolist() == [[4, 0]]

    table = np.array([[1.0, -2.0, 0.0], [0.5, 1.0, -0.25]])
    (axes,) = plot.matrix(table).axes
    assert (axes.images[0].get_array() == table).all()
    assert axes.images[0].get_clim() == (-2, 2)
    texts = {t.get_position(): float(t.get_text()) for t in axes.texts}
    assert texts == {(j, i): v for (i, j), v in np.ndenumerate(table)}
    for given in ({"values": table, "numbers": False}, {"values": np.eye(2, 17)}):
        assert not plot.matrix(**given).axes[0].texts
    assert len(plot.matrix(np.eye(2, 17), numbers=True).axes[0].texts) == 34


def test_pictures_without_matplotlib_say_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(
        ImportError, match=r"matplotlib is not installed; pip install 'swath\[plot\]'"
    ):
        plot.waveform(np.ones(3), 1.0)
