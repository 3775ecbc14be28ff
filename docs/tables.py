"""Tables of the documentation, made from the records that also drive the tests."""

from __future__ import annotations

import importlib
import inspect
import tomllib
from pathlib import Path
from typing import Any

import accuracy_figures

import swath
from swath.registry import features as recorded

ROWS = Path(__file__).parents[1] / "ci" / "rows.toml"
PACKAGES = (
    "swath",
    "swath.signal",
    "swath.signal.windows",
    "swath.nn",
    "swath.linalg",
    "swath.testing",
)
LIBRARIES = ("numpy", "cupy", "jax", "torch", "array_api_strict", "dpnp", "dask")


def capabilities() -> str:
    """Operation × library as a reStructuredText table."""
    lines = [
        ".. list-table::",
        "   :header-rows: 1",
        "",
        "   * - operation",
        *[f"     - {name}" for name in LIBRARIES],
        "     - derivative in",
        "     - traced",
    ]
    for name, record in swath.operations().items():
        lines.append(f"   * - ``{name}``")
        lines += [f"     - {'yes' if swath.supports(name, lib) else 'no'}" for lib in LIBRARIES]
        lines.append(f"     - {', '.join(record.differentiable) or '–'}")
        lines.append(f"     - {record.eager_only or 'yes'}")
    return "\n".join(lines) + "\n"


def features() -> str:
    """Feature × library, a table for each kind of feature."""
    with ROWS.open("rb") as f:
        rows = tomllib.load(f)["row"]
    # Some rows need what no machine has had yet.
    unrun = {row["backend"]: True for row in rows}
    for row in rows:
        unrun[row["backend"]] &= row["tested"].startswith("not")
    known = recorded()
    lines: list[str] = []
    for kind in dict.fromkeys(feature.kind for feature in known.values()):
        lines += [f".. rubric:: {kind.capitalize()}", "", ".. list-table::", "   :header-rows: 1"]
        lines += ["", "   * - feature", *[f"     - {name}" for name in unrun], "     - of"]
        for feature in (f for f in known.values() if f.kind == kind):
            lines.append(f"   * - {feature.name}")
            for library, never in unrun.items():
                lines.append(f"     - {_cell(feature, library, never)}")
            lines.append(f"     - {_holders(feature.name)}")
        lines.append("")
    return "\n".join(lines)


def _cell(feature: Any, library: str, never: bool) -> str:
    if feature.only and library not in feature.only:
        return "–"
    if library in feature.gaps:
        return f"no: {feature.gaps[library]}"
    return "not run" if never else "yes"


def _holders(name: str) -> str:
    """The operations that have a feature, and those that refuse it in which words."""
    found = swath.operations()
    layers = {op: r for op, r in found.items() if r.features}
    having = [op for op, r in layers.items() if name in r.features]
    refusing: dict[str, list[str]] = {}
    for op, record in layers.items():
        if name in record.lacks:
            refusing.setdefault(record.lacks[name], []).append(op)
    text = "all" if len(having) == len(layers) else ", ".join(_short(having))
    for words, ops in refusing.items():
        text += f"; not {', '.join(_short(ops))}: “{words}”"
    return text


def _short(ops: list[str]) -> list[str]:
    return [f"``{op.removeprefix('nn.')}``" for op in ops]


def rows() -> str:
    """Rows of the test matrix as a reStructuredText table."""
    with ROWS.open("rb") as f:
        table = tomllib.load(f)["row"]
    lines = [".. list-table::", "   :header-rows: 1", ""]
    lines += ["   * - row", "     - tested on", "     - what it catches"]
    for row in table:
        lines += [f"   * - {row['name']}", f"     - {row['tested']}", f"     - {row['note']}"]
    return "\n".join(lines) + "\n"


def members(package: str) -> str:
    """A reference page: public functions and classes of a package as an autosummary list."""
    module = importlib.import_module(package)
    values = {n: getattr(module, n) for n in module.__all__}
    names = [n for n, v in values.items() if inspect.isroutine(v) or inspect.isclass(v)]
    lines = [package, "=" * len(package), "", f".. currentmodule:: {package}", ".. autosummary::"]
    lines += ["   :toctree: api", "", *[f"   {n}" for n in names]]
    return "\n".join(lines) + "\n"


def write(folder: Path) -> None:
    """Write all tables into a folder."""
    folder.mkdir(exist_ok=True)
    (folder / "capabilities.inc").write_text(capabilities(), encoding="utf-8")
    (folder / "features.inc").write_text(features(), encoding="utf-8")
    for package in PACKAGES:
        (folder / f"{package}.rst").write_text(members(package), encoding="utf-8")
    (folder / "rows.inc").write_text(rows(), encoding="utf-8")
    (folder / "accuracy_neighbours.inc").write_text(accuracy_figures.neighbours(), encoding="utf-8")
    (folder / "accuracy_plans.inc").write_text(accuracy_figures.plans(), encoding="utf-8")
