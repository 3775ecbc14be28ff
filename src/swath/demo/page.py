"""The demo's page from what the parts found: pictures and sounds of one backend, scores of all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from swath import plot
from swath.demo import notes
from swath.demo.given import Given
from swath.demo.parts import PARTS, Outcome
from swath.demo.report import Report
from swath.demo.table import Cell, Line

__all__ = ["make_page"]

Outcomes = Mapping[str, Mapping[str, Outcome]]  # backend -> part -> what it found


def make_page(
    given: Given,
    backends: Mapping[str, str],
    outcomes: Outcomes,
    lines: Sequence[Line],
    cells: Mapping[str, Sequence[Cell | None]],
    absent: Mapping[str, str],
) -> Report:
    """Put the page together.

    Parameters
    ----------
    given : Given
        What the run worked on.
    backends : mapping of name to text
        Backends that ran, each with version and device. Pictures show the first one's results.
    outcomes : mapping
        Backend to part to what it found; a part that broke down is missing.
    lines, cells : sequence, mapping
        The table's operations, and each backend's results in the same order.
    absent : mapping of name to text
        Backends that did not run, and why.
    """
    shown = next(iter(backends))
    report = Report(
        "swath demo",
        "Sliding-window linear algebra on real recordings and a picture: one pass over the whole "
        f"library on {_listed(list(backends))}. Every number was computed in this run; pictures "
        f"and sounds show what {shown} computed.",
    )
    for credit in given.credits:
        report.credit(credit)
    report.section("Scores")
    report.text("What is asked of every backend, on made data whose truth is known above all.")
    report.table(["part", "what", "asked for", *backends, "reached"], _scores(outcomes))
    for part, heading, _ in PARTS:
        report.section(heading)
        if part not in outcomes[shown]:
            report.text(f"{shown} broke down in this part; see what the demo printed.")
            continue
        outcome = outcomes[shown][part]
        for line in _sentences(part, outcome):
            report.text(line)
        for score in outcome.scores:
            report.score(
                score.label[0].upper() + score.label[1:], score.result, score.asked, score.reached
            )
        if part == "gradients":
            _compared(report, {n: found[part] for n, found in outcomes.items() if part in found})
        _PICTURES.get(part, _nothing)(report, given, outcome)
    _accuracy(report, backends, lines, cells)
    report.section("What ran, and what did not")
    listed = [(name, text, "yes") for name, text in backends.items()]
    report.table(
        ["backend", "version and device, or why not", "ran"],
        listed + [(name, why, "no") for name, why in absent.items()],
    )
    for remark in given.remarks:
        report.text(f"Remark: {remark}.")
    return report


def _scores(outcomes: Outcomes) -> list[list[str]]:
    """One row for each score: what was measured, what is asked for, each backend's result."""
    rows: list[list[str]] = []
    for part, heading, _ in PARTS:
        ran = {name: found[part].scores for name, found in outcomes.items() if part in found}
        whats = list(dict.fromkeys((s.label, s.asked) for scores in ran.values() for s in scores))
        for what, asked in whats:
            same = {n: s for n, scores in ran.items() for s in scores if s.label == what}
            reached = all(s.reached for s in same.values()) and len(ran) == len(outcomes)
            results = [same[n].result if n in same else "–" for n in outcomes]
            rows.append([heading, what, asked, *results, "yes" if reached else "no"])
    return rows


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def _sentences(part: str, outcome: Outcome) -> list[str]:
    """The printed lines as paragraphs; columns of numbers are tables of the page instead."""
    if part in ("notes", "maps"):
        return outcome.lines[:1]
    if part == "gradients":
        return [
            "Largest relative difference of the gradients by hand (vjp) from autodiff: through "
            "swath, whose rules it calls, and through the same operation written out in the "
            "library's own arithmetic. A library without autodiff is compared with difference "
            "quotients."
        ]
    return [line[0].upper() + line[1:] for line in outcome.lines]


def _nothing(report: Report, given: Given, outcome: Outcome) -> None:
    del report, given, outcome


def _notes(report: Report, given: Given, outcome: Outcome) -> None:
    clip, bank, shown = given.recording, given.bank, outcome.shown
    found: list[notes.Note] = shown["notes"]
    report.table(
        ["note", "seconds", "strength", "hertz"],
        [(n.name, round(n.onset, 3), n.strength, n.frequency) for n in found],
        caption="Notes found",
    )
    labelled = [(n.onset, n.name) for n in found[:24]]
    report.figure(
        "waveform",
        plot.waveform(clip.samples, clip.rate, onsets=labelled),
        alt="The recording over time with the onsets of the notes that were found",
    )
    report.sound("recording", clip.samples, clip.rate, caption="The recording")
    highest = min(clip.rate / 2, 5000.0)
    marks = [(n.onset, n.frequency, n.name) for n in found[:24]]
    report.figure(
        "spectrogram",
        plot.spectrograms({"Spectrogram": clip.samples}, clip.rate, highest=highest, marks=marks),
        alt="Spectrogram of the recording, found notes ringed at their fundamental",
    )
    names = [notes.key_name(int(k)) for k in bank.keys]
    report.figure(
        "key-strengths",
        plot.key_strengths(
            shown["strength"],
            [int(k) for k in bank.keys],
            bank.stride / bank.rate,
            names=names,
            notes=[(n.onset, n.key, n.name) for n in found[:24]],
        ),
        alt="Strength of every piano key's kernel over time, found notes ringed",
        caption="A ring marks a key whose kernel, with those of its partials, rises together.",
    )
    if shown["kernels"]:
        rows = shown["slid"]
        first = {name: min(n.onset for n in found if n.name == name) for name in rows}
        report.figure(
            "kernels",
            plot.kernels(shown["kernels"], clip.rate, highest=_above(found, clip.rate)),
            alt="Kernels of the strongest notes, and how they answer to each frequency",
        )
        report.figure(
            "convolutions",
            plot.convolutions(rows, clip.rate, onsets=first),
            alt="Running products of the recording with each kernel; dashed: the note's onset",
            caption="Each is a signal of its own, and can be listened to.",
        )
        for number, (name, row) in enumerate(rows.items(), 1):
            report.sound(
                f"kernel-{number}", row, clip.rate, caption=f"Through the kernel of {name}"
            )
    made = given.clip
    report.figure(
        "made-clip",
        plot.spectrograms(
            {"Known clip": made.samples},
            made.rate,
            highest=5000.0,
            marks=[(n.onset, n.frequency, n.name) for n in shown["made notes"]],
        ),
        alt="Spectrogram of the made clip, found notes ringed",
        caption="The clip of the score: four notes are in it, and rings mark what was found.",
    )
    report.sound("made-clip", made.samples, made.rate, caption="The known clip")


def _above(found: Sequence[notes.Note], rate: float) -> float:
    """Top of a frequency axis on which the found notes' kernels can be told apart."""
    return min(rate / 2, max(500.0, 1.5 * max(n.frequency for n in found)))


def _tone(report: Report, given: Given, outcome: Outcome) -> None:
    hum, shown = given.hum, outcome.shown
    tones = sorted(t.frequency for t in given.tones)
    report.figure(
        "filter-response",
        plot.filter_response(shown["freqs"], shown["gain"], tones=tones, beyond=given.beyond),
        alt="Gain of the designed filter over frequency, as a whole and near the lowest tone",
    )
    report.figure(
        "tone-spectra",
        plot.spectra(hum.samples, shown["after"], hum.rate, lines=tones),
        alt="Power spectra of the recording before and after the filter, tones marked",
    )
    count = min(hum.samples.size, round(3 * hum.rate))
    report.figure(
        "tone-waveform",
        plot.convolutions(
            {"before": hum.samples[:count], "after": shown["after"][:count]},
            hum.rate,
            title="The recording before and after",
        ),
        alt="The recording over time before and after the filter",
    )
    mixture = given.mixture
    report.figure(
        "broadcast",
        plot.spectrograms(
            {"Broadcast, before": mixture.samples, "After": shown["mixture after"]},
            mixture.rate,
            highest=2000.0,
            lines=list(mixture.frequencies),
            frame=4096,
        ),
        alt="Spectrograms of the made broadcast before and after its drone was taken out",
        caption="The made broadcast of the score; triangles point at the drone's tones.",
    )
    report.sound("broadcast-before", mixture.samples, mixture.rate, caption="Broadcast, before")
    report.sound("broadcast-after", shown["mixture after"], mixture.rate, caption="After")


def _template(report: Report, given: Given, outcome: Outcome) -> None:
    report.figure(
        "template",
        plot.template(
            given.picture.pixels,
            given.crop.pixels,
            outcome.shown["score"],
            outcome.shown["place"],
            true=(given.crop.row, given.crop.column),
        ),
        alt="The template, the place where it was found, and the score of every place",
    )


def _maps(report: Report, given: Given, outcome: Outcome) -> None:
    shown = outcome.shown
    # Beyond black and white there is nothing to see in a sharpened picture.
    features = shown["maps"] | {"sharpened": np.clip(shown["maps"]["sharpened"], 0, 1)}
    report.figure(
        "feature-maps",
        plot.maps(given.picture.pixels, features, columns=3),
        alt="The picture and its feature maps, one for each kernel",
    )
    pools = {f"{name}, largest": value for name, value in shown["max"].items()}
    pools |= {f"{name}, mean": value for name, value in shown["mean"].items()}
    picked = ("smoothed", "slope across", "spots")
    pools = {
        label: pools[label] for label in (f"{p}, {q}" for q in ("largest", "mean") for p in picked)
    }
    first = next(iter(pools))
    report.figure(
        "pooled-maps",
        plot.maps(
            pools[first], {k: v for k, v in pools.items() if k != first}, title=first, columns=3
        ),
        alt="Feature maps pooled by 4 × 4: the largest value and the mean of each block",
    )


def _echo(report: Report, given: Given, outcome: Outcome) -> None:
    report.figure(
        "echo",
        plot.echo(given.room, outcome.shown["found"]),
        alt="Taps of the echo put on the recording, and those identified",
    )


def _toeplitz(report: Report, given: Given, outcome: Outcome) -> None:
    del given
    report.figure(
        "toeplitz",
        plot.matrix(
            outcome.shown["matrix"], title="Upper left corner of the Toeplitz matrix of the score"
        ),
        alt="A Toeplitz matrix: the same kernel in every column, one step further down each time",
    )


def _compared(report: Report, outcomes: Mapping[str, Outcome]) -> None:
    columns = {name: outcome.shown["compared"] for name, outcome in outcomes.items()}
    cases = list(next(iter(columns.values())))
    report.table(
        ["operation", *columns],
        [[case, *(column[case] for column in columns.values())] for case in cases],
    )


_PICTURES: dict[str, Callable[[Report, Given, Outcome], None]] = {
    "notes": _notes,
    "tone": _tone,
    "template": _template,
    "maps": _maps,
    "echo": _echo,
    "toeplitz": _toeplitz,
}


def _accuracy(
    report: Report,
    backends: Mapping[str, str],
    lines: Sequence[Line],
    cells: Mapping[str, Sequence[Cell | None]],
) -> None:
    report.section("Every operation against float64")
    report.text(
        "Largest difference from a float64 result of NumPy and SciPy, in units of what the "
        "accuracy contract allows (at most 1; 0 where the results are equal), and the best time "
        "of three runs after a warm-up."
    )
    header = ["operation", "on"]
    for name in backends:
        header += [f"{name}: of the bound", f"{name}: ms"]
    rows = []
    for i, line in enumerate(lines):
        row: list[object] = [line.name, line.size]
        for name in backends:
            cell = cells[name][i]
            if cell is None:
                row += ["failed", "–"]
            else:
                units = cell.units if np.isfinite(cell.units) else "over"
                row += [units, round(1000 * cell.seconds, 3)]
        rows.append(row)
    report.table(header, rows)
