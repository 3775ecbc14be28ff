"""The mission, part by part, on one backend each time: swath computes, `score` judges.

Every part is a function of the bound library and what was `given`. It works on the real data, works
on the made data, and returns what it found, the scores, and the arrays that the page shows. Signals
and pictures are float32 on the backend; filter design and least squares use its widest float.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swath.bound import Bound
from swath.demo import notes, score
from swath.demo.given import Given
from swath.demo.tone import Conditions, find_tones, notch
from swath.scale import map_blocks

__all__ = ["PARTS", "Outcome", "Score", "feature_kernels", "widest"]

Array = NDArray[np.float64]

EPS = float(np.finfo(np.float32).eps)


@dataclass(frozen=True)
class Score:
    """What was measured, what came out, what is asked for; `made` data have a known truth."""

    what: str
    result: str
    asked: str
    reached: bool
    made: bool = True

    def __str__(self) -> str:
        """One line, as the demo prints it."""
        verdict = "reached" if self.reached else "NOT REACHED"
        return f"{self.label}: {self.result} (asked for: {self.asked}; {verdict})"

    @property
    def label(self) -> str:
        """What was measured, and whether the data were made."""
        return f"made data: {self.what}" if self.made else f"check: {self.what}"


@dataclass
class Outcome:
    """What one part found on one backend.

    Attributes
    ----------
    lines : list of str
        Results on the real data, as printed.
    scores : list of Score
        Results that are asked for, on made data above all.
    shown : dict
        Host arrays and records for the page.
    """

    lines: list[str] = field(default_factory=list)
    scores: list[Score] = field(default_factory=list)
    shown: dict[str, Any] = field(default_factory=dict)


def narrow(sw: Bound, x: NDArray[Any]) -> Any:
    """A host array as float32 on the backend."""
    return sw.asarray(np.asarray(x, dtype=np.float32))


def host(sw: Bound, x: Any) -> Array:
    """An array of the backend on the host, in float64."""
    return sw.to_numpy(x).astype(np.float64)


def widest(sw: Bound) -> float:
    """Epsilon of the backend's widest float."""
    return float(np.finfo(sw.to_numpy(sw.asarray(np.zeros(1))).dtype).eps)


# -- notes -----------------------------------------------------------------------------------------


def strengths_by(sw: Bound, clips: Sequence[Array], bank: notes.PitchBank) -> list[Array]:
    """Amplitude of every key in every frame of some clips of one length, by `signal.filter_bank`.

    A filter bank convolves causally and keeps every stride-th sample. Kernels turned round make the
    convolution a correlation; a first window that ends on a multiple of the stride needs up to
    stride − 1 zeros in front.
    """
    kernels, stride = bank.kernels, bank.stride
    taps = kernels.shape[1]
    front, half = -(taps - 1) % stride, taps // 2
    # `strengths` continues a clip by half a kernel at both ends.
    padded = np.pad(np.stack(clips), ((0, 0), (front + half, half)))
    turned = narrow(sw, kernels[:, ::-1])
    slid = host(sw, sw.signal.filter_bank(turned, narrow(sw, padded), stride=stride))
    slid = slid[:, :, (taps - 1 + front) // stride :]
    return [
        notes.strengths(clip, bank, lambda kernels, x, stride, rows=rows: rows)
        for clip, rows in zip(clips, slid, strict=True)
    ]


def find_notes(sw: Bound, given: Given) -> Outcome:
    """Notes of the clip with a bank of pitch kernels."""
    clip, bank = given.recording, given.bank
    (strength,) = strengths_by(sw, [clip.samples], bank)
    found = notes.pick_notes(strength, bank)
    out = Outcome(shown={"strength": strength, "notes": found})
    out.lines.append(f"{clip.credit.title}: {len(found)} notes found")
    if found:
        out.lines.append("note    seconds  strength")
    out.lines += [f"{n.name:<6} {n.onset:8.2f}  {n.strength:8.3f}" for n in found[:24]]
    if len(found) > 24:
        out.lines.append(f"... and {len(found) - 24} more")

    made_bank = notes.pitch_bank(given.clip.rate)
    clips = [given.clip.samples, *(noise.samples for noise in given.silence)]
    got, *heard = (
        notes.pick_notes(strength, made_bank) for strength in strengths_by(sw, clips, made_bank)
    )
    result = score.note_score(got, given.clip.notes)
    out.scores.append(
        Score(
            "Known clip",
            f"{len(result.matched)} of {len(given.clip.notes)} notes found, {len(result.extra)} "
            f"others, onsets within {1000 * result.worst_onset:.0f} ms",
            "all four, nothing else, within 50 ms",
            result.perfect,
        )
    )
    extra = sum(len(some) for some in heard)
    out.scores.append(Score("White, pink and brown noise", f"{extra} notes", "none", extra == 0))
    out.shown["made notes"] = got

    distinct: dict[str, NDArray[np.float64]] = {}
    for note in sorted(found, key=lambda n: -n.strength):
        if len(distinct) < 4 and note.name not in distinct:
            distinct[note.name] = _cosine(bank, note.key)
    onset = {n.name: n.onset for n in reversed(found)}
    distinct = {name: distinct[name] for name in sorted(distinct, key=lambda n: onset[n])}
    x = narrow(sw, clip.samples)
    out.shown["kernels"] = distinct
    out.shown["slid"] = {
        name: host(sw, sw.signal.correlate(x, narrow(sw, kernel), "same"))
        for name, kernel in distinct.items()
    }
    return out


def _cosine(bank: notes.PitchBank, key: int) -> Array:
    """The key's windowed cosine without the zeros around it."""
    row = int(np.flatnonzero(bank.keys == key)[0])
    length, taps = int(bank.lengths[row]), bank.kernels.shape[1]
    start = (taps - length) // 2
    return bank.kernels[row, start : start + length]


# -- tones -----------------------------------------------------------------------------------------


def design(sw: Bound, conditions: Conditions) -> Any:
    """The filter's taps by `signal.fir_from_response`, in the backend's widest float."""
    return sw.signal.fir_from_response(
        conditions.numtaps,
        sw.asarray(conditions.freqs),
        sw.asarray(conditions.gains),
        weight=sw.asarray(conditions.weight),
        fs=conditions.fs,
    )


def remove_tone(sw: Bound, given: Given) -> Outcome:
    """A steady tone found and taken out with a designed FIR filter."""
    hum, out = given.hum, Outcome()
    taps = host(sw, design(sw, given.conditions))

    def filtered(x: Array, h: Array) -> Array:
        return host(sw, sw.signal.convolve(narrow(sw, x), narrow(sw, h), "same"))

    after = filtered(hum.samples, taps)
    edge = min(taps.size // 2, hum.samples.size // 4)
    inner = slice(edge, hum.samples.size - edge)
    out.lines.append(f"{hum.credit.title}: filter of {taps.size} taps at {hum.rate:g} Hz")
    for found in sorted(given.tones, key=lambda t: t.frequency):
        drop = score.tone_drop_db(hum.samples[inner], after[inner], hum.rate, found.frequency)
        out.lines.append(
            f"tone of {found.frequency:.2f} Hz, amplitude {found.amplitude:.4f}: "
            f"{drop:.1f} dB less after the filter"
        )
    freqs = np.unique(
        np.concatenate(
            [
                np.linspace(0.0, hum.rate / 2, 2001),
                *(
                    np.linspace(max(0.0, t.frequency - 3 * given.beyond),
                                min(hum.rate / 2, t.frequency + 3 * given.beyond), 601)
                    for t in given.tones
                ),
            ]
        )
    )  # fmt: skip
    gain = host(sw, sw.signal.amplitude_response(sw.asarray(taps), sw.asarray(freqs), fs=hum.rate))
    out.shown |= {"after": after, "taps": taps, "freqs": freqs, "gain": gain}

    mixture = given.mixture
    tones = sorted(t.frequency for t in find_tones(mixture.samples, mixture.rate))
    made_taps = host(sw, design(sw, notch(tones, mixture.rate))) if tones else np.ones(1)
    result = score.tone_score(
        mixture.programme,
        mixture.tone,
        filtered(mixture.programme, made_taps),
        filtered(mixture.tone, made_taps),
        mixture.rate,
        mixture.frequencies,
        edge=made_taps.size // 2,
    )
    out.scores.append(
        Score(
            f"Drone of {mixture.frequencies[0]:g} Hz and harmonics under a broadcast",
            f"{result.drop_db:.1f} dB down, {result.change_db:.3f} dB change beyond ±20 Hz",
            "40 dB or more, at most 0.5 dB",
            result.drop_db >= 40 and result.change_db <= 0.5,
        )
    )
    out.shown["mixture after"] = filtered(mixture.samples, made_taps)
    return out


# -- pictures --------------------------------------------------------------------------------------


TOGETHER = 20


def find_template(sw: Bound, given: Given) -> Outcome:
    """A template found in the picture by normalised correlation."""
    picture, crop, out = given.picture, given.crop, Outcome()

    image = narrow(sw, picture.pixels)
    value = host(sw, sw.signal.match_template(image, narrow(sw, crop.pixels)))
    place = _top(value)
    rows, columns = crop.pixels.shape
    out.lines.append(
        f"{picture.credit.title}: a piece of {rows} × {columns} from row {crop.row}, "
        f"column {crop.column}, with gain {crop.gain:g}, offset {crop.offset:+g} and "
        f"grain: found at row {place[0]}, column {place[1]}, cosine {value[place]:.4f}"
    )
    out.shown |= {"score": value, "place": place}

    # Twenty templates at a time: the picture's own part of the work is done once for all of them.
    scene, found = narrow(sw, given.scene.pixels)[None, ...], []
    for start in range(0, len(given.crops), TOGETHER):
        some = np.stack([piece.pixels for piece in given.crops[start : start + TOGETHER]])
        values = host(sw, sw.signal.match_template(scene, narrow(sw, some), axes=(1, 2)))
        found += [_top(value) for value in values]
    hits = score.template_hits(found, [(piece.row, piece.column) for piece in given.crops])
    out.scores.append(
        Score(
            "Pieces with changed gain, offset and noise",
            f"{hits} of {len(given.crops)} within 1 pixel",
            f"all {len(given.crops)}",
            hits == len(given.crops),
        )
    )
    return out


def _top(value: Array) -> tuple[int, int]:
    row, column = np.unravel_index(int(np.argmax(value)), value.shape)
    return int(row), int(column)


def feature_kernels() -> dict[str, Array]:
    """Kernels of 5 × 5: smoothing, slopes, a blob detector, sharpening."""
    hat = np.array([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
    slope = np.array([-1.0, -2.0, 0.0, 2.0, 1.0]) / 8
    smooth = np.outer(hat, hat)
    spot = np.zeros((5, 5))
    spot[2, 2] = 1.0
    return {
        "smoothed": smooth,
        "slope across": np.outer(hat, slope),
        "slope down": np.outer(slope, hat),
        "spots": spot - smooth,
        "sharpened": 3 * spot - 2 * smooth,
    }


def filter_picture(sw: Bound, given: Given) -> Outcome:
    """A layer of kernels over the picture, and both kinds of pooling."""
    bank, out = feature_kernels(), Outcome()
    weight = np.stack(list(bank.values()))[:, None]

    def layer(pixels: Array) -> Any:
        return sw.nn.conv(
            narrow(sw, pixels)[None, ...],
            narrow(sw, weight),
            padding="same",
            padding_mode="reflect",
        )

    maps = layer(given.picture.pixels)
    largest, mean = sw.nn.max_pool(maps, (4, 4)), sw.nn.avg_pool(maps, (4, 4))
    values, tops, means = host(sw, maps), host(sw, largest), host(sw, mean)
    height, width = given.picture.pixels.shape
    out.lines.append(
        f"{given.picture.credit.title}: {height} × {width} pixels through {len(bank)} kernels of "
        f"5 × 5, pooled by 4 × 4 to {tops.shape[1]} × {tops.shape[2]}"
    )
    for name, value, top in zip(bank, values, tops, strict=True):
        out.lines.append(
            f"{name:<13} from {value.min():+.3f} to {value.max():+.3f}, "
            f"mean of the pooled maxima {top.mean():+.3f}"
        )
    out.shown |= {
        "maps": dict(zip(bank, values, strict=True)),
        "max": dict(zip(bank, tops, strict=True)),
        "mean": dict(zip(bank, means, strict=True)),
    }

    # A layer correlates: one bright pixel gives every kernel back, turned by 180 degrees. On a
    # ramp the slope kernels give its slope (their moments are 1 across and 0 down).
    bright = np.zeros((16, 16))
    bright[8, 7] = 1.0
    turned = host(sw, layer(bright))[:, 6:11, 5:10]
    off_kernel = np.abs(turned - weight[:, 0, ::-1, ::-1]).max()
    ramp = np.add.outer(0.25 * np.arange(16.0), 0.5 * np.arange(16.0))
    slopes = host(sw, layer(ramp))[:, 2:-2, 2:-2]
    off_slope = max(np.abs(slopes[1] - 0.5).max(), np.abs(slopes[2] - 0.25).max())
    dots = np.arange(1.0, 65.0).reshape(1, 8, 8)
    corners = host(sw, sw.nn.max_pool(narrow(sw, dots), (2, 2)))
    middles = host(sw, sw.nn.avg_pool(narrow(sw, dots), (2, 2)))
    off_pool = max(
        np.abs(corners - dots[:, 1::2, 1::2]).max(),
        np.abs(middles - (dots[:, ::2, ::2] + 4.5)).max(),
    )
    allowed = 100 * EPS
    out.scores.append(
        Score(
            "One bright pixel, a ramp, a staircase",
            f"largest error of the maps {max(off_kernel, off_slope):.1e}, of the pools "
            f"{off_pool:.1e}",
            f"at most {allowed:.1e}, and 0",
            bool(max(off_kernel, off_slope) <= allowed and off_pool == 0),
        )
    )
    return out


# -- linear algebra --------------------------------------------------------------------------------


def identify_echo(sw: Bound, given: Given) -> Outcome:
    """An unknown echo from input and output from rest, by the normal equations."""
    out = Outcome()

    def identified(sent: Array, received: Array, taps: int) -> Array:
        x, y = sw.asarray(sent), sw.asarray(received)
        return host(sw, sw.linalg.identify_fir(x, y, taps, method="prewindowed"))

    sent, received, room = given.sent, given.received, given.room
    found = identified(sent, received, room.size)
    rest = received - np.convolve(sent, found)[: sent.size]
    level = 20 * np.log10(np.linalg.norm(rest) / np.linalg.norm(received) + 1e-16)
    strongest = np.argsort(-np.abs(found[1:]))[:3] + 1
    places = ", ".join(
        f"{found[i]:+.3f} after {1000 * i / given.recording.rate:.2f} ms"
        for i in sorted(int(i) for i in strongest)
    )
    out.lines.append(
        f"{given.recording.credit.title}: {sent.size} samples, and the same with an echo of "
        f"{room.size} taps as 16 bits"
    )
    out.lines.append(f"strongest reflections: {places}")
    out.lines.append(
        f"error of the taps {100 * score.echo_error(found, room):.3f} %; what they leave "
        f"unexplained is {level:.1f} dB"
    )
    out.shown |= {"found": found}

    echo = given.echo
    got = identified(echo.sent, echo.received, echo.taps.size)
    error = score.echo_error(got, echo.taps)
    ratio = error / given.echo_qr
    out.scores.append(
        Score(
            f"Known echo at {echo.snr_db:g} dB of noise",
            f"error {100 * error:.3f} %, {ratio:.6f} times that of Householder QR",
            "at most 1.05 times",
            ratio <= 1.05,
        )
    )
    return out


def compare_toeplitz(sw: Bound, given: Given) -> Outcome:
    """A Toeplitz matrix times a signal against the convolution."""
    out = Outcome()
    kernel = np.hanning(33)[1:-1]
    kernel = kernel / kernel.sum()
    x = given.sent[: min(500, given.sent.size)]
    matrix = sw.linalg.convolution_matrix(narrow(sw, kernel), x.size)
    product = host(sw, matrix @ narrow(sw, x))
    slid = host(sw, sw.signal.convolve(narrow(sw, x), narrow(sw, kernel)))
    # Both are sums of at most K terms: each within 2·K·eps of the exact one.
    allowed = 4 * kernel.size * EPS * np.convolve(np.abs(x), kernel).max()
    difference = np.abs(product - slid).max()
    out.lines.append(
        f"{given.recording.credit.title}: a {matrix.shape[0]} × {matrix.shape[1]} matrix times "
        f"{x.size} samples against their convolution with {kernel.size} taps, "
        f"largest difference {difference:.1e} (allowed {allowed:.1e})"
    )
    out.scores.append(
        Score(
            "Product against convolution",
            f"{difference / allowed:.3f} of what rounding may do",
            "at most 1",
            bool(difference <= allowed),
            made=False,
        )
    )

    # Whole numbers below 2²⁴ leave nothing to round: the two must agree exactly.
    rng = np.random.default_rng(3)
    whole, steps = rng.integers(-9, 10, 40).astype(float), rng.integers(-9, 10, 7).astype(float)
    column = np.concatenate([steps, np.zeros(whole.size - 1)])
    row = np.concatenate([steps[:1], np.zeros(whole.size - 1)])
    table = sw.linalg.toeplitz(narrow(sw, column), narrow(sw, row))
    got = host(sw, table @ narrow(sw, whole))
    wrong = int(np.count_nonzero(got != np.convolve(whole, steps)))
    out.scores.append(
        Score(
            "Whole numbers, Toeplitz product",
            f"{wrong} of {got.size} differ from the convolution",
            "none",
            wrong == 0,
        )
    )
    out.shown["matrix"] = host(sw, table)[:11, :16]
    return out


# -- gradients -------------------------------------------------------------------------------------


Plain = Callable[..., Any]


def plain_layer(stride: int) -> Plain:
    """A correlation layer of one input channel, written out tap by tap."""

    def layer(x: Any, w: Any) -> Any:
        rows = (x.shape[2] - w.shape[2]) // stride + 1
        columns = (x.shape[3] - w.shape[3]) // stride + 1
        total = None
        for i in range(w.shape[2]):
            for j in range(w.shape[3]):
                down = slice(i, i + stride * (rows - 1) + 1, stride)
                across = slice(j, j + stride * (columns - 1) + 1, stride)
                # (1, 1, rows, columns) times (O, 1, 1)
                term = x[:, :, down, across] * w[:, :, i, j][..., None]
                total = term if total is None else total + term
        return total

    return layer


def plain_pool(sw: Bound, size: int, stride: int, *, largest: bool) -> Plain:
    """Pooling of two trailing axes, from one slice for each place of the window."""

    def pool(x: Any) -> Any:
        rows, columns = ((n - size) // stride + 1 for n in x.shape[2:])
        parts = [
            x[
                :,
                :,
                i : i + stride * (rows - 1) + 1 : stride,
                j : j + stride * (columns - 1) + 1 : stride,
            ]
            for i in range(size)
            for j in range(size)
        ]
        block = sw.xp.stack(parts, axis=0)
        return sw.xp.max(block, axis=0) if largest else sw.xp.mean(block, axis=0)

    return pool


def plain_convolution() -> Plain:
    """The valid part of a convolution as one sum of shifted copies."""

    def convolve(x: Any, h: Any) -> Any:
        count = x.shape[0] - h.shape[0] + 1
        total = None
        for i in range(h.shape[0]):
            term = x[h.shape[0] - 1 - i : h.shape[0] - 1 - i + count] * h[i]
            total = term if total is None else total + term
        return total

    return convolve


@dataclass(frozen=True)
class _Case:
    """An operation whose gradients are compared, and the same written out in plain arithmetic."""

    name: str
    op: Callable[..., Any]
    values: tuple[Array, ...]
    statics: tuple[Any, ...]
    options: dict[str, Any]
    plain: Plain


def compare_gradients(sw: Bound, given: Given) -> Outcome:
    """Gradients by hand (`swath.vjp`) against the library's own autodiff.

    Autodiff takes two ways: through swath, whose rules it calls, and through the same operation
    written out in the library's own arithmetic, of which swath knows nothing. A library without
    autodiff is replaced by difference quotients.
    """
    out = Outcome()
    rng = np.random.default_rng(5)
    side = min(96, *given.picture.pixels.shape)
    # Grain: where neighbours are equal, maxima have no derivative to compare.
    patch = given.picture.pixels[:side, :side] + 0.05 * rng.random((side, side))
    patch = patch[None, None]
    weight = np.stack(list(feature_kernels().values()))[:, None, 1:4, 1:4]
    cases = (
        _Case("nn.conv", sw.nn.conv, (patch, weight), (), {"stride": 2}, plain_layer(2)),
        _Case(
            "nn.max_pool", sw.nn.max_pool, (patch,), ((3, 3),), {"stride": 2},
            plain_pool(sw, 3, 2, largest=True),
        ),
        _Case(
            "nn.avg_pool", sw.nn.avg_pool, (patch,), ((2, 2),), {},
            plain_pool(sw, 2, 2, largest=False),
        ),
        _Case(
            "signal.convolve", sw.signal.convolve, (given.sent[:2000], np.hanning(13)[1:-1]),
            ("valid",), {}, plain_convolution(),
        ),
    )  # fmt: skip
    worst, auto = 0.0, True
    compared = out.shown["compared"] = dict[str, str]()
    for case in cases:
        arrays = [sw.asarray(value) for value in case.values]
        value, pullback = sw.vjp(case.op, *arrays, *case.statics, **case.options)
        cotangent = sw.asarray(rng.standard_normal(tuple(value.shape)))
        hand = [host(sw, g) for g in pullback(cotangent)[: len(arrays)]]

        def through(*xs: Any, case: _Case = case, c: Any = cotangent) -> Any:
            return sw.xp.sum(case.op(*xs, *case.statics, **case.options) * c)

        def written(*xs: Any, case: _Case = case, c: Any = cotangent) -> Any:
            return sw.xp.sum(case.plain(*xs) * c)

        both = [sw.backend.gradients(loss, arrays) for loss in (through, written)]
        known = [gradients for gradients in both if gradients is not None]
        if len(known) < len(both):
            auto = False
            off = max(_off_slope(sw, through, arrays, i, g, rng) for i, g in enumerate(hand))
            out.lines.append(f"{case.name:<16} {off:.1e}")
            compared[case.name] = f"{off:.1e} from difference quotients"
            worst = max(worst, off)
            continue
        offs = [_relative(sw, hand, gradients) for gradients in known]
        text = f"{offs[0]:.1e} through swath, {offs[1]:.1e} written out"
        out.lines.append(f"{case.name:<16} {text}")
        compared[case.name] = text
        worst = max(worst, *offs)
    name = sw.backend.name
    out.lines.insert(
        0,
        "largest relative difference of the gradients by hand (vjp), on picture and recording, "
        + (
            f"from {name}'s autodiff:"
            if auto
            else f"from difference quotients ({name} has no autodiff):"
        ),
    )
    allowed = 1e3 * widest(sw) if auto else widest(sw) ** 0.5
    out.scores.append(
        Score(
            "By hand against " + ("autodiff" if auto else "difference quotients"),
            f"{worst:.1e}",
            f"at most {allowed:.1e}",
            worst <= allowed,
            made=False,
        )
    )
    out.scores += _known_gradients(sw, rng)
    return out


def _relative(sw: Bound, hand: Sequence[Array], auto: Sequence[Any]) -> float:
    pairs = zip(hand, auto, strict=True)
    return max(float(np.abs(h - host(sw, a)).max() / np.abs(h).max()) for h, a in pairs)


def _off_slope(
    sw: Bound,
    loss: Callable[..., Any],
    arrays: Sequence[Any],
    place: int,
    gradient: Array,
    rng: np.random.Generator,
) -> float:
    """Relative difference of ⟨gradient, d⟩ from the loss's slope along a random direction d."""
    direction = rng.standard_normal(gradient.shape)
    step = 1e-6
    ends = [
        float(host(sw, loss(*arrays[:place], arrays[place] + sw.asarray(sign * step * direction),
                            *arrays[place + 1 :])))
        for sign in (1.0, -1.0)
    ]  # fmt: skip
    slope = (ends[0] - ends[1]) / (2 * step)
    size = float(np.linalg.norm(gradient) * np.linalg.norm(direction)) / np.sqrt(gradient.size)
    return abs(slope - float(np.sum(gradient * direction))) / size


def _known_gradients(sw: Bound, rng: np.random.Generator) -> list[Score]:
    """Gradients whose truth is known: SciPy's correlations, and where pooling sends a cotangent."""
    from scipy.signal import convolve2d, correlate2d

    x, w = rng.standard_normal((1, 1, 20, 24)), rng.standard_normal((3, 1, 5, 4))
    x, w = x.astype(np.float32), w.astype(np.float32)
    value, pullback = sw.vjp(sw.nn.conv, sw.asarray(x), sw.asarray(w))
    c = rng.standard_normal(tuple(value.shape)).astype(np.float32)
    dx, dw = (host(sw, g) for g in pullback(sw.asarray(c))[:2])
    x64, w64, c64 = x.astype(float), w.astype(float), c.astype(float)
    true_dx = sum(convolve2d(c64[0, o], w64[o, 0]) for o in range(3))
    size_dx = sum(convolve2d(np.abs(c64[0, o]), np.abs(w64[o, 0])) for o in range(3))
    true_dw = np.stack([correlate2d(x64[0, 0], c64[0, o], "valid") for o in range(3)])
    size_dw = np.stack(
        [correlate2d(np.abs(x64[0, 0]), np.abs(c64[0, o]), "valid") for o in range(3)]
    )
    off = max(
        float(np.max(np.abs(dx[0, 0] - true_dx) / (2 * w[:, 0].size * EPS * size_dx))),
        float(np.max(np.abs(dw[:, 0] - true_dw) / (2 * c[0, 0].size * EPS * size_dw))),
    )
    flat = np.ones((1, 6, 8), np.float32)
    value, pullback = sw.vjp(sw.nn.max_pool, sw.asarray(flat), (2, 2))
    back = host(sw, pullback(sw.asarray(np.full(value.shape, 3.0, np.float32)))[0])
    first = np.zeros_like(flat)
    first[:, ::2, ::2] = 3.0
    value, pullback = sw.vjp(sw.nn.avg_pool, sw.asarray(flat), (2, 2))
    spread = host(sw, pullback(sw.asarray(np.full(value.shape, 3.0, np.float32)))[0])
    wrong = int(np.count_nonzero(back != first) + np.count_nonzero(spread != 0.75))
    return [
        Score(
            "A layer's gradients against SciPy's correlations in float64",
            f"{off:.3f} of what rounding may do",
            "at most 1",
            off <= 1,
        ),
        Score(
            "Equal values: a maximum's cotangent to the first place, a mean's in quarters",
            f"{wrong} wrong places",
            "none",
            wrong == 0,
        ),
    ]


# -- a file, block by block ------------------------------------------------------------------------

BLOCK = 1 << 17


def filter_file(sw: Bound, given: Given) -> Outcome:
    """A file several times its block filtered by `map_blocks`."""
    from scipy.signal import fftconvolve

    out = Outcome()
    clip = given.recording.samples.astype(np.float32)
    count = max(10 * BLOCK + 12_345, clip.size)
    kernel = np.hanning(103)[1:-1].astype(np.float32)
    kernel /= kernel.sum()
    with tempfile.TemporaryDirectory() as folder:
        names = [Path(folder, name) for name in ("before.f32", "after.f32")]
        written = np.memmap(names[0], np.float32, "w+", shape=(count,))
        written[:] = np.resize(clip, count)
        written.flush()
        del written
        source = np.memmap(names[0], np.float32, "r", shape=(count,))
        sink = np.memmap(names[1], np.float32, "w+", shape=(count,))
        smooth = partial(sw.signal.convolve, in2=kernel, mode="same", axes=0)
        map_blocks(smooth, source, sink, backend=sw.backend.name, block=BLOCK, progress=False)
        got = np.array(sink, dtype=np.float64)
        before = np.array(source, dtype=np.float64)
        # Windows keeps a mapped file; both must be let go before the folder is removed.
        del source, sink
    whole = host(sw, smooth(sw.asarray(before.astype(np.float32))))
    size = fftconvolve(np.abs(before), kernel.astype(float), "same")
    # Where all is silent, SciPy's transforms leave a little; so little is no difference.
    size = np.maximum(size, 1e-9 * float(size.max()))
    true = fftconvolve(before, kernel.astype(float), "same")
    off = float(np.max(np.abs(got - true) / (2 * kernel.size * EPS * size)))
    apart = float(np.max(np.abs(got - whole) / (2 * kernel.size * EPS * size)))
    out.lines.append(
        f"{given.recording.credit.title}, repeated to {count} samples, in "
        f"{-(-count // BLOCK)} blocks of {BLOCK}: from the whole at once they differ by "
        f"{apart:.3f} of what rounding may do"
    )
    out.scores.append(
        Score(
            "Blocks against SciPy's convolution of the whole in float64",
            f"{off:.3f} of what rounding may do",
            "at most 1",
            off <= 1 and apart <= 1,
            made=False,
        )
    )
    return out


Part = Callable[[Bound, Given], Outcome]

#: Name, heading and function of every part, in order.
PARTS: tuple[tuple[str, str, Part], ...] = (
    ("notes", "Notes by a bank of pitch kernels", find_notes),
    ("tone", "A steady tone taken out by a designed filter", remove_tone),
    ("template", "A template found in the picture", find_template),
    ("maps", "The picture filtered and pooled", filter_picture),
    ("echo", "An unknown echo by least squares through AᵀA", identify_echo),
    ("toeplitz", "A Toeplitz product is a convolution", compare_toeplitz),
    ("gradients", "Gradients by hand and by autodiff", compare_gradients),
    ("file", "A file larger than its block", filter_file),
)
