"""From outcomes of rows to tables: ratios, geometric means, the bars, Markdown and a plot.

An outcome is the plain dictionary that run.py writes as JSON; everything here works on a JSON file
as well as on a run. A ratio is a peer's time divided by swath's: above 1, swath is faster. What
counts is the fastest peer of role "peer"; the fastest of role "instead" is told in a column of its
own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from swath.sliding.plan import TRANSFORMS

Outcome = dict[str, Any]

FAMILIES = ("fir", "image", "layer", "pooling", "toeplitz", "least_squares")
#: What is aimed at on a CPU: geometric means over all rows of a library, …
BACKEND_BARS = {"numpy": 3.0, "jax": 2.0, "torch": 1.5}
#: … over a family on a library, and the least of any row.
FAMILY_BAR, ROW_BAR = 1.3, 0.95
#: NumPy beside the kernels that a user would pick instead: mean, and any layer without groups.
INSTEAD_FAMILIES, INSTEAD_BAR, DENSE_BAR = ("layer", "pooling"), 1.5, 0.8
#: Of the machine's limit, on rows marked "large".
SHARE_BAR = 0.5
#: On a GPU, from CuPy: beside cupyx.scipy.signal ("peer") and PyTorch's CUDA kernels ("instead").
GPU_BARS = (("fir", "peer", 1.0), ("pooling", "instead", 0.5), ("layer", "instead", 0.3))


def failure(outcome: Outcome) -> str:
    """Why a row has no figures, or nothing."""
    for key in ("not_run", "wrong", "error"):
        if key in outcome:
            return f"{key.replace('_', ' ')}: {outcome[key]}"
    return ""


def geometric_mean(values: Iterable[float]) -> float:
    """NaN of nothing."""
    logs = [math.log(v) for v in values]
    return math.exp(math.fsum(logs) / len(logs)) if logs else math.nan


def best(
    outcome: Outcome, role: str = "peer", least: bool = False, alike: bool = False
) -> tuple[str, float] | None:
    """The fastest contender of a role and its ratio, by medians or by least times.

    `alike` leaves out transforms, whose errors are bounded by frames, where swath takes none.
    """
    key = "ratio_of_least" if least else "ratio"
    exact = alike and outcome.get("method") not in TRANSFORMS
    found = [
        (p[key], name)
        for name, p in outcome.get("peers", {}).items()
        if p["role"] == role and not (exact and p.get("note") == "FFT")
    ]
    if not found:
        return None
    ratio, name = min(found)
    return name, ratio


class Bar(NamedTuple):
    """Something aimed at: what, the aim, what was found (None: not measured), rows that miss."""

    what: str
    aim: float
    found: float | None
    misses: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        if self.found is None or math.isnan(self.found):
            return "not measured"
        return "missed" if self.misses or self.found < self.aim else "met"


def bars(outcomes: Sequence[Outcome], least: bool = False) -> list[Bar]:
    """Everything aimed at, against what the outcomes say."""
    cpu = [o for o in outcomes if o.get("device", "cpu") == "cpu"]

    def ratios(
        rows: Iterable[Outcome], role: str = "peer", alike: bool = False
    ) -> dict[str, float]:
        found = ((o["row"], best(o, role, least, alike)) for o in rows)
        return {name: f[1] for name, f in found if f is not None}

    def mean(what: str, aim: float, values: dict[str, float]) -> Bar:
        return Bar(f"geometric mean, {what}", aim, geometric_mean(values.values()))

    def lowest(what: str, aim: float, values: dict[str, float]) -> Bar:
        under = sorted((v, k) for k, v in values.items() if v < aim)
        misses = tuple(f"{name} {value:.2f}" for value, name in under)
        return Bar(f"lowest, {what}", aim, min(values.values(), default=None), misses)

    found = []
    for backend, aim in BACKEND_BARS.items():
        rows = [o for o in cpu if o["backend"] == backend]
        found.append(mean(backend, aim, ratios(rows)))
        found.extend(
            mean(f"{backend}, {f}", FAMILY_BAR, ratios(o for o in rows if o["family"] == f))
            for f in FAMILIES
        )
        found.append(lowest(f"any row on {backend}", ROW_BAR, ratios(rows)))
        text = f"any row on {backend}, beside peers of its own error bound"
        found.append(lowest(text, ROW_BAR, ratios(rows, alike=True)))
    rows = [o for o in cpu if o["backend"] == "numpy" and o["family"] in INSTEAD_FAMILIES]
    text = "layers and pooling on numpy beside PyTorch's kernels"
    found.append(mean(text, INSTEAD_BAR, ratios(rows, "instead")))
    dense = ratios((o for o in rows if "dense" in o["marks"]), "instead")
    found.append(lowest("dense layer on numpy beside PyTorch's kernels", DENSE_BAR, dense))
    key = "share_of_least" if least else "share"
    shares = {o["row"]: o[key] for o in cpu if "large" in o["marks"] and o.get(key)}
    found.append(lowest("share of the machine's limit, large rows", SHARE_BAR, shares))
    gpu = [o for o in outcomes if o.get("device") == "gpu" and o["backend"] == "cupy"]
    for family, role, aim in GPU_BARS:
        beside = "cupyx.scipy" if role == "peer" else "PyTorch's CUDA kernels"
        values = ratios((o for o in gpu if o["family"] == family), role)
        found.append(mean(f"{family} on a GPU from cupy beside {beside}", aim, values))
    return found


def on_gpu(outcomes: Sequence[Outcome]) -> bool:
    """Whether all of them were measured on a GPU."""
    return bool(outcomes) and all(o.get("device") == "gpu" for o in outcomes)


def means(outcomes: Sequence[Outcome], least: bool = False) -> list[list[str]]:
    """Geometric means by family (rows) and library (columns), and the number of rows of each."""
    backends = sorted({o["backend"] for o in outcomes}, key=list(_ORDER).index)
    families = list(dict.fromkeys(o["family"] for o in outcomes))

    def cell(rows: list[Outcome], role: str = "peer") -> str:
        values = [f[1] for o in rows if (f := best(o, role, least)) is not None]
        return f"{geometric_mean(values):.2f} ({len(values)})" if values else "–"

    table = [["family", *backends, "numpy beside PyTorch's kernels"]]
    for family in [*families, "all"]:
        rows = [o for o in outcomes if family in (o["family"], "all")]
        table.append(
            [
                family,
                *(cell([o for o in rows if o["backend"] == b]) for b in backends),
                cell([o for o in rows if o["backend"] == "numpy"], "instead"),
            ]
        )
    return table


_ORDER = ("numpy", "torch", "jax", "cupy")


# -- text ------------------------------------------------------------------------------------------


def line(outcome: Outcome) -> str:
    """One line per contender."""
    head = f"{outcome['family']:<9} {outcome['name']:<34} {outcome['backend']:<6}"
    if outcome["dtype"] != "float32":
        head += f"{outcome['dtype']:<8}"
    if failure(outcome):
        return f"{head} {failure(outcome)}"
    us = outcome["swath"]
    label = "swath" + (f" {outcome['method']}" if outcome["method"] else "")
    share = f"   {outcome['share'] * 100:.0f} % of the limit" if outcome.get("share") else ""
    lines = [f"{head:<59} {label:<24} {_ms(us)}{share}"]
    for name, peer in outcome["peers"].items():
        mark = {"peer": "", "instead": " [instead]", "beside": " [beside]"}[peer["role"]]
        lines.append(
            f"{'':<59} {name:<24} {_ms(peer)}   x {peer['ratio']:.2f}"
            f"   (of least times {peer['ratio_of_least']:.2f}){mark}"
        )
    return "\n".join(lines)


def _ms(t: Outcome) -> str:
    return f"{t['median_s'] * 1e3:9.3f} ms ±{t['spread'] * 100:3.0f} %"


def columns(table: Sequence[Sequence[str]]) -> str:
    """A table for the terminal."""
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    )


def grid(table: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    head, *rows = (f"| {' | '.join(row)} |" for row in table)
    return "\n".join([head, "|" + "---|" * len(table[0]), *rows])


def summary(
    outcomes: Sequence[Outcome],
    least: bool = False,
    layout: Callable[[Sequence[Sequence[str]]], str] = columns,
) -> str:
    """Means, bars and the rows that miss them."""
    kind = "least times" if least else "medians"
    parts = [
        f"Speed of swath over the fastest peer on the same library, geometric means of ratios of "
        f"{kind} (number of rows):",
        layout(means(outcomes, least)),
        "What is aimed at:",
    ]
    judged = bars(outcomes, least)
    if layout is columns or on_gpu(outcomes):
        judged = [bar for bar in judged if bar.verdict != "not measured"]
    table = [["", "aim", "found", ""]]
    for bar in judged:
        found = "–" if bar.verdict == "not measured" else f"{bar.found:.2f}"
        table.append([bar.what, f"{bar.aim:g}", found, bar.verdict])
    parts.append(layout(table))
    for bar in judged:
        if bar.misses:
            parts.append(f"Below {bar.aim:g} ({bar.what}): " + "; ".join(bar.misses))
    wrong = [f"{o['row']}: {failure(o)}" for o in outcomes if "wrong" in o or "error" in o]
    if wrong:
        parts.append("Rows without a figure: " + "; ".join(wrong))
    return "\n\n".join(parts)


def facts(about: Outcome) -> str:
    """The machine, as a list in Markdown."""
    versions = ", ".join(f"{k} {v}" for k, v in about["versions"].items())
    load = "" if about["load"] is None else f"; load average at the start {about['load']:.1f}"
    lines = [
        f"- Date: {about['date']}",
        f"- Machine: {about['processor']}; {about['cores']} cores used; {about['system']}{load}",
        f"- Versions: {versions}",
        f"- BLAS and threads: {'; '.join(about['blas'])}",
    ]
    if about.get("gpu"):
        lines.append(f"- GPU: {about['gpu']}")
    for device, rates in about["rates"].items():
        shown = ", ".join(
            f"{name} {rate:g} {'GB/s' if name == 'copy' else 'GFLOP/s'}"
            for name, rate in rates.items()
        )
        lines.append(f"- Rates ({device}, the best of its libraries): {shown}")
    return "\n".join(lines)


def markdown(about: Outcome, outcomes: Sequence[Outcome], least: bool = False) -> str:
    """The machine, the summary, and a table of rows for every library."""
    parts = [facts(about), summary(outcomes, least, grid)]
    for backend in _ORDER:
        rows = [o for o in outcomes if o["backend"] == backend]
        if rows:
            parts += [f"### {backend}", grid([_HEAD, *map(_cells, rows)])]
    return "\n\n".join(parts)


def update(path: str, section: str, text: str) -> None:
    """Put a text between the marks of a section of a file."""
    with open(path, encoding="utf-8") as file:
        whole = file.read()
    begin, end = f"<!-- begin {section} -->", f"<!-- end {section} -->"
    if whole.count(begin) != 1 or whole.count(end) != 1:
        raise ValueError(f"{path} must hold {begin} and {end} once")
    head, rest = whole.split(begin)
    _, tail = rest.split(end)
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"{head}{begin}\n\n{text}\n\n{end}{tail}")


_HEAD = ["row", "swath (method)", "peers: median (ratio; of least times)", "lowest", "instead",
         "of the limit", "first call"]  # fmt: skip


def _cells(o: Outcome) -> list[str]:
    name = f"{o['family']}: {o['name']}" + (", float64" if o["dtype"] == "float64" else "")
    why = failure(o)
    if why:
        return [name, why, "", "", "", "", ""]
    us = f"{_short(o['swath'])} ±{o['swath']['spread'] * 100:.0f} %"
    us += f" ({o['method']})" if o["method"] else ""
    peers = "; ".join(
        f"{label} {_short(p)} ({p['ratio']:.2f}; {p['ratio_of_least']:.2f})"
        + (f" [{p['note']}]" if p["note"] else "")
        + (" [beside]" if p["role"] == "beside" else "")
        for label, p in o["peers"].items()
        if p["role"] != "instead"
    )
    lowest, instead = best(o), best(o, "instead")
    return [
        name,
        us,
        peers,
        "–" if lowest is None else f"{lowest[1]:.2f}",
        "" if instead is None else f"{instead[0]} {instead[1]:.2f}",
        f"{o['share'] * 100:.0f} %" if o.get("share") else "",
        f"{o['swath']['first_s']:.2f} s" if o["backend"] == "jax" else "",
    ]


def _short(t: Outcome) -> str:
    ms = t["median_s"] * 1e3
    return f"{ms:.0f} ms" if ms >= 100 else f"{ms:.3g} ms" if ms >= 1 else f"{ms * 1e3:.3g} µs"


# -- plot ------------------------------------------------------------------------------------------

_COLORS = {"numpy": "#0072b2", "torch": "#d55e00", "jax": "#009e73", "cupy": "#cc79a7"}


def plot(outcomes: Sequence[Outcome], path: str, least: bool = False) -> None:
    """Every row's ratio to its fastest peer, by family and library, on a logarithmic axis."""
    from matplotlib.figure import Figure

    families = list(dict.fromkeys(o["family"] for o in outcomes))
    backends = [b for b in _ORDER if any(o["backend"] == b for o in outcomes)]
    figure = Figure(figsize=(8, 1.2 + 0.8 * len(families)), layout="constrained")
    axes = figure.add_subplot()
    for i, family in enumerate(families):
        for j, backend in enumerate(backends):
            rows = [o for o in outcomes if (o["family"], o["backend"]) == (family, backend)]
            values = [f[1] for o in rows if (f := best(o, least=least)) is not None]
            height = i + 0.24 * (j - (len(backends) - 1) / 2)
            color = _COLORS[backend]
            axes.plot(values, [height] * len(values), "o", ms=4, alpha=0.5, color=color)
            axes.plot(geometric_mean(values), height, "|", ms=14, mew=2, color=color)
    axes.axvline(1, color="0.3", lw=1)
    axes.set_xscale("log")
    axes.set_yticks(range(len(families)), families)
    axes.invert_yaxis()
    axes.grid(axis="x", which="both", color="0.9")
    axes.set_axisbelow(True)
    axes.set_xlabel("speed of swath over the fastest peer on the same library (| geometric mean)")
    for backend in backends:
        axes.plot([], [], "o", color=_COLORS[backend], label=backend)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4, frameon=False)
    figure.savefig(path, dpi=150)
