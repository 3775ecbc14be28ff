"""Pictures of what swath computes: signals, kernels, responses, maps, matrices.

Every function takes NumPy arrays (``sw.to_numpy`` gives them) and returns a matplotlib `Figure`,
which `save` writes as PNG. matplotlib is imported when the first picture is made, its object
interface alone is used, and so no window, no display and no pyplot state is involved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "convolutions",
    "echo",
    "filter_response",
    "kernels",
    "key_strengths",
    "maps",
    "matrix",
    "save",
    "spectra",
    "spectrograms",
    "template",
    "to_png",
    "waveform",
]

Array = NDArray[np.float64]
Mark = tuple[float, float, str]  # seconds, hertz, label

INK, BLUE, RED, GREEN, PALE = "#22303c", "#1f6390", "#c04a2b", "#3f7d4e", "#c9d1d8"
_SERIES = (BLUE, RED, GREEN, "#7a5a9e", "#b07f1a", "#4a8f96")
_HEAT, _DIVERGING, _GREY = "magma", "RdBu_r", "gray"
_DPI = 110


def _figure(width: float, height: float) -> Figure:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "swath.plot: matplotlib is not installed; pip install 'swath[plot]' gets it"
        ) from error
    return Figure(figsize=(width, height), dpi=_DPI, layout="constrained", facecolor="white")


def _dress(axes: Axes, title: str = "", x: str = "", y: str = "") -> Axes:
    if title:
        axes.set_title(title, fontsize=11, color=INK, loc="left")
    axes.set_xlabel(x, fontsize=9, color=INK)
    axes.set_ylabel(y, fontsize=9, color=INK)
    axes.tick_params(labelsize=8, colors=INK, length=3)
    for side, spine in axes.spines.items():
        spine.set_color(PALE)
        spine.set_visible(side in ("left", "bottom"))
    return axes


def _lines(axes: Axes) -> Axes:
    axes.grid(color=PALE, linewidth=0.5, alpha=0.7)
    axes.set_axisbelow(True)
    return axes


def _bar(figure: Figure, image: Any, axes: Any, label: str) -> None:
    bar = figure.colorbar(image, ax=axes, pad=0.01, aspect=30)
    bar.set_label(label, fontsize=8, color=INK)
    bar.ax.tick_params(labelsize=8, colors=INK, length=3)
    bar.outline.set_visible(False)  # type: ignore[operator]


def _decibels(power: Array, floor: float) -> Array:
    top = float(power.max(initial=0.0))
    reference = top if top > 0 else 1.0
    return 10 * np.log10(np.maximum(power / reference, 10 ** (floor / 10)))


def _spectrogram(x: Array, rate: float, frame: int) -> tuple[Array, Array, Array]:
    """(times, frequencies, power) of Hann frames that overlap by three quarters."""
    frame = min(frame, x.size)
    hop = max(1, frame // 4)
    padded = np.pad(x, (frame // 2, frame // 2))
    windows = np.lib.stride_tricks.sliding_window_view(padded, frame)[::hop]
    power = np.abs(np.fft.rfft(windows * np.hanning(frame), axis=1)) ** 2
    times = np.arange(len(windows)) * hop / rate
    return times, np.fft.rfftfreq(frame, 1 / rate).astype(np.float64), power.T


def _frame_for(rate: float, samples: int) -> int:
    return 1 << int(np.clip(np.log2(max(2.0, 0.093 * rate)), 5, np.log2(max(64, samples // 8))))


def waveform(
    x: Array, rate: float, *, title: str = "Waveform", onsets: Sequence[tuple[float, str]] = ()
) -> Figure:
    """A signal over time, with labelled onsets.

    Parameters
    ----------
    x : ndarray, shape (samples,)
    rate : float
        Samples per second.
    title : str, optional
    onsets : sequence of (seconds, label), optional
    """
    x = np.asarray(x, dtype=np.float64)
    figure = _figure(9.0, 2.4)
    axes = _lines(_dress(figure.subplots(), title, "seconds", "amplitude"))
    time = np.arange(x.size) / rate
    axes.plot(time, x, color=BLUE, linewidth=0.5 if x.size > 5000 else 0.9)
    axes.set_xlim(0, x.size / rate)
    top = float(np.abs(x).max(initial=1e-12))
    axes.set_ylim(-1.1 * top, (1.35 if onsets else 1.1) * top)
    for when, label in onsets:
        axes.axvline(when, color=RED, linewidth=1)
        axes.annotate(
            label,
            (when, 1.3 * top),
            xytext=(3, 0),
            textcoords="offset points",
            color=RED,
            fontsize=9,
            va="top",
        )
    return figure


def spectrograms(
    signals: Mapping[str, Array],
    rate: float,
    *,
    highest: float | None = None,
    lines: Sequence[float] = (),
    marks: Sequence[Mark] = (),
    span_db: float = 80.0,
    frame: int | None = None,
) -> Figure:
    """Spectrograms side by side on one scale: before and after, a clip and its pitches.

    Parameters
    ----------
    signals : mapping of title to ndarray, shape (samples,)
    rate : float
        Samples per second.
    highest : float, optional
        Top of the frequency axis in hertz.
    lines : sequence of float, optional
        Frequencies pointed out by a triangle on the left edge of each picture.
    marks : sequence of (seconds, hertz, label), optional
        Ringed points, such as found notes.
    span_db : float, optional
        From the strongest point down to black.
    frame : int, optional
        Samples per frame.
    """
    count = len(signals)
    figure = _figure(4.6 * count + 1.0 if count > 1 else 9.0, 3.6)
    panels = np.atleast_1d(figure.subplots(1, count, sharey=True))
    parts = [
        _spectrogram(np.asarray(x, float), rate, frame or _frame_for(rate, len(x)))
        for x in signals.values()
    ]
    top = max(float(power.max(initial=0.0)) for _, _, power in parts) or 1.0
    image = None
    for axes, title, (times, tones, power) in zip(panels, signals, parts, strict=True):
        level = 10 * np.log10(np.maximum(power / top, 10 ** (-span_db / 10)))
        image = axes.imshow(
            level,
            origin="lower",
            aspect="auto",
            cmap=_HEAT,
            vmin=-span_db,
            vmax=0,
            interpolation="nearest",
            extent=(0.0, float(times[-1]), 0.0, float(tones[-1])),
        )
        _dress(axes, title, "seconds", "hertz" if axes is panels[0] else "")
        axes.set_ylim(0, highest or rate / 2)
        for tone in lines:
            axes.plot(
                0.012, tone, marker=">", color="white", mec=RED, ms=7, mew=1.2,
                transform=axes.get_yaxis_transform(),
            )  # fmt: skip
        for when, tone, label in marks:
            axes.plot(when, tone, "o", mfc="none", mec="white", ms=8, mew=1.4)
            axes.annotate(
                label,
                (when, tone),
                xytext=(7, 5),
                textcoords="offset points",
                color="white",
                fontsize=9,
            )
    _bar(figure, image, list(panels), "dB below the strongest")
    return figure


def key_strengths(
    strength: Array,
    keys: Sequence[int],
    hop: float,
    *,
    names: Sequence[str] = (),
    notes: Sequence[tuple[float, int, str]] = (),
    title: str = "Response of every pitch kernel",
    span_db: float = 50.0,
) -> Figure:
    """The amplitude of each piano key's kernel over time, found notes ringed.

    Parameters
    ----------
    strength : ndarray, shape (n_keys, frames)
    keys : sequence of int
        MIDI numbers of the rows.
    hop : float
        Seconds from frame to frame.
    names : sequence of str, optional
        Names of the rows; those of C keys label the axis.
    notes : sequence of (seconds, key, label), optional
    title : str, optional
    span_db : float, optional
    """
    level = _decibels(np.asarray(strength, float) ** 2, -span_db)
    figure = _figure(9.0, 4.2)
    axes = _dress(figure.subplots(), title, "seconds", "piano key")
    low, high = keys[0] - 0.5, keys[-1] + 0.5
    image = axes.imshow(
        level,
        origin="lower",
        aspect="auto",
        cmap=_HEAT,
        vmin=-span_db,
        vmax=0,
        interpolation="nearest",
        extent=(-hop / 2, hop * (level.shape[1] - 0.5), low, high),
    )
    ticks = [i for i, key in enumerate(keys) if key % 12 == 0]
    axes.set_yticks([keys[i] for i in ticks], [names[i] if names else str(keys[i]) for i in ticks])
    for when, key, label in notes:
        axes.plot(when, key, "o", mfc="none", mec="white", ms=9, mew=1.5)
        axes.annotate(
            label, (when, key), xytext=(8, 5), textcoords="offset points", color="white", fontsize=9
        )
    axes.set_xlim(0, hop * (level.shape[1] - 1))
    _bar(figure, image, axes, "dB below the strongest")
    return figure


def kernels(bank: Mapping[str, Array], rate: float, *, highest: float | None = None) -> Figure:
    """Kernels over time, and how strongly each answers to every frequency.

    Parameters
    ----------
    bank : mapping of label to ndarray, shape (taps,)
    rate : float
        Samples per second.
    highest : float, optional
        Top of the frequency axis in hertz.
    """
    count = len(bank)
    figure = _figure(9.0, 1.0 + 0.95 * count)
    grid = figure.add_gridspec(count, 2, width_ratios=(1, 1.25))
    answer = _lines(
        _dress(figure.add_subplot(grid[:, 1]), "Answer to each frequency", "hertz", "dB")
    )
    longest = max(len(kernel) for kernel in bank.values())
    for row, (label, kernel) in enumerate(bank.items()):
        taps = np.asarray(kernel, dtype=np.float64)
        colour = _SERIES[row % len(_SERIES)]
        axes = figure.add_subplot(grid[row, 0])
        last = row == count - 1
        _dress(axes, "Kernels" if row == 0 else "", "milliseconds" if last else "", label)
        time = 1000 * (np.arange(taps.size) - taps.size / 2) / rate
        axes.plot(time, taps / np.abs(taps).max(initial=1e-30), color=colour, linewidth=0.6)
        axes.set_yticks([])
        axes.set_xlim(-510 * longest / rate, 510 * longest / rate)
        axes.set_ylim(-1.1, 1.1)
        axes.yaxis.label.set(color=colour, rotation=0, ha="right", va="center", fontsize=10)
        if not last:
            axes.set_xticklabels([])
        size = 1 << int(np.ceil(np.log2(4 * taps.size)))
        power = np.abs(np.fft.rfft(taps, size)) ** 2
        tones = np.fft.rfftfreq(size, 1 / rate)
        answer.plot(tones, _decibels(power, -80.0), color=colour, linewidth=1, label=label)
    answer.set_xlim(0, highest or rate / 2)
    answer.set_ylim(-70, 3)
    answer.legend(fontsize=8, frameon=False, loc="upper right", ncols=2)
    return figure


def convolutions(
    rows: Mapping[str, Array],
    rate: float,
    *,
    onsets: Mapping[str, float] | None = None,
    title: str = "Each kernel slid along the clip",
) -> Figure:
    """Running scalar products, one panel per kernel, on one scale.

    Parameters
    ----------
    rows : mapping of label to ndarray, shape (samples,)
    rate : float
        Samples per second of the rows.
    onsets : mapping of label to seconds, optional
        Where the note of that label begins.
    title : str, optional
    """
    count = len(rows)
    figure = _figure(9.0, 0.9 + 1.05 * count)
    panels = np.atleast_1d(figure.subplots(count, 1, sharex=True, sharey=True))
    top = max(float(np.abs(row).max(initial=0.0)) for row in rows.values()) or 1.0
    for place, (axes, (label, row)) in enumerate(zip(panels, rows.items(), strict=True)):
        colour = _SERIES[place % len(_SERIES)]
        _lines(_dress(axes, title if place == 0 else "", "", label))
        axes.yaxis.label.set(color=colour, rotation=0, ha="right", va="center", fontsize=10)
        axes.plot(np.arange(len(row)) / rate, row, color=colour, linewidth=0.5)
        axes.set_yticks([])
        axes.set_ylim(-1.05 * top, 1.05 * top)
        axes.set_xlim(0, len(row) / rate)
        if onsets and label in onsets:
            axes.axvline(onsets[label], color=INK, linewidth=1, linestyle=(0, (4, 2)))
    panels[-1].set_xlabel("seconds", fontsize=9, color=INK)
    return figure


def spectra(
    before: Array,
    after: Array,
    rate: float,
    *,
    lines: Sequence[float] = (),
    highest: float | None = None,
    title: str = "Spectrum before and after the filter",
) -> Figure:
    """Averaged power spectra of two signals, with some frequencies pointed out.

    Parameters
    ----------
    before, after : ndarray, shape (samples,)
    rate : float
        Samples per second.
    lines : sequence of float, optional
        Frequencies in hertz.
    highest : float, optional
        Top of the frequency axis in hertz.
    title : str, optional
    """
    figure = _figure(9.0, 3.2)
    axes = _lines(_dress(figure.subplots(), title, "hertz", "dB"))
    frame = 4 * _frame_for(rate, len(before) // 2)
    top, levels = 0.0, []
    for x in (before, after):
        _, tones, power = _spectrogram(np.asarray(x, float), rate, frame)
        levels.append((tones, power.mean(axis=1)))
        top = max(top, float(levels[-1][1].max()))
    lowest = 0.0
    for (tones, power), colour, label, width in zip(
        levels, (RED, BLUE), ("before", "after"), (0.9, 1.1), strict=True
    ):
        level = 10 * np.log10(np.maximum(power / (top or 1.0), 1e-16))
        inside = tones <= (highest or rate / 2)
        lowest = min(lowest, float(np.quantile(level[inside], 0.01)))
        axes.plot(tones, level, color=colour, linewidth=width, label=label)
    for tone in lines:
        axes.axvline(tone, color=PALE, linewidth=4, zorder=0)
    axes.set_xlim(0, highest or rate / 2)
    axes.set_ylim(lowest - 10, 4)
    axes.legend(fontsize=9, frameon=False, loc="upper right")
    return figure


def filter_response(
    freqs: Array,
    gain: Array,
    *,
    tones: Sequence[float] = (),
    beyond: float = 20.0,
    title: str = "Response of the designed filter",
) -> Figure:
    """Gain over frequency in dB: as a whole, and near the first tone.

    Parameters
    ----------
    freqs : ndarray
        Hertz, ascending.
    gain : ndarray
        Real gain at each of them; the magnitude is drawn.
    tones : sequence of float, optional
        Stopped frequencies; the second panel is around the first one.
    beyond : float, optional
        Hertz around a tone within which the gain may differ from 1.
    title : str, optional
    """
    level = 20 * np.log10(np.maximum(np.abs(np.asarray(gain, float)), 1e-5))
    freqs = np.asarray(freqs, dtype=np.float64)
    figure = _figure(9.0, 3.2)
    panels = np.atleast_1d(figure.subplots(1, 2 if len(tones) else 1))
    for axes, heading in zip(panels, (title, "Near the lowest tone"), strict=False):
        _lines(_dress(axes, heading, "hertz", "dB"))
        axes.plot(freqs, level, color=BLUE, linewidth=1.1)
        axes.set_ylim(-85, 6)
    panels[0].set_xlim(freqs[0], freqs[-1])
    if len(tones):
        first = min(tones)
        near = panels[1]
        near.axvspan(first - beyond, first + beyond, color=PALE, alpha=0.45, linewidth=0)
        near.axhline(-40, color=RED, linewidth=1, linestyle=(0, (4, 2)))
        near.annotate(
            "40 dB", (0.99, -40), xycoords=("axes fraction", "data"), color=RED, fontsize=8,
            xytext=(0, 3), textcoords="offset points", ha="right",
        )  # fmt: skip
        near.set_xlim(max(0.0, first - 3 * beyond), first + 3 * beyond)
    return figure


def maps(
    picture: Array, features: Mapping[str, Array], *, title: str = "Picture", columns: int = 4
) -> Figure:
    """A picture and its feature maps: signed maps in two colours around zero, others in grey.

    Parameters
    ----------
    picture : ndarray, shape (H, W)
    features : mapping of label to ndarray, shape (h, w)
    title : str, optional
    columns : int, optional
        Panels in a row.
    """
    entries = [(title, np.asarray(picture, float))]
    entries += [(label, np.asarray(value, float)) for label, value in features.items()]
    columns = min(columns, len(entries))
    rows = -(-len(entries) // columns)
    height, width = entries[0][1].shape
    side = 9.6 / columns
    figure = _figure(9.6, rows * (side * min(1.6, max(0.4, height / width)) + 0.35))
    panels = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    for axes in panels:
        axes.set_axis_off()
    for axes, (label, value) in zip(panels, entries, strict=False):
        signed = float(value.min(initial=0.0)) < 0.0
        edge = float(np.quantile(np.abs(value), 0.995)) or 1.0
        low, high = (-edge, edge) if signed else (float(value.min(initial=edge)), edge)
        colours = _DIVERGING if signed else _GREY
        axes.imshow(value, cmap=colours, vmin=low, vmax=high, interpolation="nearest")
        size = f"{value.shape[0]} × {value.shape[1]}"
        axes.set_title(f"{label}  ({size})", fontsize=9, color=INK, loc="left")
    return figure


def template(
    picture: Array,
    crop: Array,
    score: Array,
    found: tuple[int, int],
    *,
    true: tuple[int, int] | None = None,
    title: str = "Found in the picture",
) -> Figure:
    """A template, where it was found, and the score of every place.

    Parameters
    ----------
    picture : ndarray, shape (H, W)
    crop : ndarray, shape (h, w)
    score : ndarray, shape (H - h + 1, W - w + 1)
        From ``match_template``.
    found : (int, int)
        Row and column of the best place's upper left corner.
    true : (int, int), optional
        Where the crop was taken from.
    title : str, optional
    """
    from matplotlib.patches import Rectangle

    figure = _figure(9.6, 3.7)
    panels = figure.subplots(1, 3, width_ratios=(0.45, 1, 1.12))
    for axes, heading in zip(panels, ("Template", title, "Score of each place"), strict=True):
        _dress(axes, heading)
        axes.set_xticks([])
        axes.set_yticks([])
    panels[0].imshow(crop, cmap=_GREY, interpolation="nearest")
    panels[1].imshow(picture, cmap=_GREY, interpolation="nearest")
    rows, columns = np.shape(crop)
    for place, colour, label, grow in ((true, GREEN, "true", 5), (found, RED, "found", 0)):
        if place is not None:
            corner = (place[1] - 0.5 - grow, place[0] - 0.5 - grow)
            panels[1].add_patch(
                Rectangle(
                    corner, columns + 2 * grow, rows + 2 * grow, fill=False, edgecolor=colour,
                    linewidth=1.8, label=label,
                )
            )  # fmt: skip
    panels[1].legend(fontsize=8, loc="lower right", framealpha=0.85)
    image = panels[2].imshow(score, cmap=_HEAT, interpolation="nearest")
    panels[2].plot(found[1], found[0], "o", mfc="none", mec="white", ms=10, mew=1.6)
    _bar(figure, image, panels[2], "cosine")
    return figure


def echo(true: Array, found: Array, *, title: str = "The echo's taps") -> Figure:
    """Identified taps over the true ones.

    Parameters
    ----------
    true, found : ndarray, shape (taps,)
    title : str, optional
    """
    figure = _figure(9.0, 2.8)
    axes = _lines(_dress(figure.subplots(), title, "samples after the direct sound", "tap"))
    places = np.arange(len(true))
    axes.vlines(places, 0, true, color=PALE, linewidth=4, label="true")
    axes.plot(places, found, "o", color=BLUE, ms=3.5, label="identified")
    axes.axhline(0, color=INK, linewidth=0.6)
    axes.set_xlim(-1, len(true))
    axes.legend(fontsize=9, frameon=False)
    return figure


def matrix(values: Array, *, title: str = "Toeplitz matrix", numbers: bool | None = None) -> Figure:
    """A matrix as coloured cells; small ones with their numbers.

    Parameters
    ----------
    values : ndarray, shape (m, n)
    title : str, optional
    numbers : bool, optional
        Whether to print the entries; by default up to 16 columns.
    """
    table = np.asarray(values, dtype=np.float64)
    rows, columns = table.shape
    width = 7.0 if columns > 6 else 4.6
    figure = _figure(width, float(np.clip(width * rows / columns, 1.6, 9.0)) + 0.5)
    axes = _dress(figure.subplots(), title)
    edge = float(np.abs(table).max(initial=0.0)) or 1.0
    axes.imshow(table, cmap=_DIVERGING, vmin=-edge, vmax=edge, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(True)
    if numbers if numbers is not None else columns <= 16:
        for row, column in np.ndindex(rows, columns):
            value = table[row, column]
            dark = abs(value) > 0.6 * edge
            colour = "white" if dark else PALE if value == 0 else INK
            axes.text(
                column, row, f"{value:.3g}", ha="center", va="center", fontsize=8, color=colour
            )
    return figure


def to_png(figure: Figure) -> bytes:
    """The figure as the bytes of a PNG file; the same figure gives the same bytes.

    Parameters
    ----------
    figure : Figure
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    stream = BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def save(figure: Figure, path: str | Path) -> Path:
    """Write the figure as a PNG file and return its path.

    Parameters
    ----------
    figure : Figure
    path : str or Path
    """
    target = Path(path)
    target.write_bytes(to_png(figure))
    return target
