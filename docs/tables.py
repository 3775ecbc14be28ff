"""Tables of the documentation, made from the records that also drive the tests."""

from __future__ import annotations

import tomllib
from pathlib import Path

import swath

ROWS = Path(__file__).parents[1] / "ci" / "rows.toml"
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
    """The public functions of a package as an autosummary list."""
    module = getattr(swath, package)
    names = [n for n in module.__all__ if callable(getattr(module, n))]
    title = f"swath.{package}"
    lines = [title, "-" * len(title), "", f".. currentmodule:: swath.{package}", ".. autosummary::"]
    lines += ["   :toctree: generated/api", "", *[f"   {n}" for n in names]]
    return "\n".join(lines) + "\n"


def write(folder: Path) -> None:
    """Write all tables into a folder."""
    folder.mkdir(exist_ok=True)
    (folder / "capabilities.inc").write_text(capabilities(), encoding="utf-8")
    for package in ("signal", "nn", "linalg"):
        (folder / f"{package}.inc").write_text(members(package), encoding="utf-8")
    (folder / "rows.inc").write_text(rows(), encoding="utf-8")
