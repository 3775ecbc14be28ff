"""Tables of the documentation, made from the records that also drive the tests."""

from __future__ import annotations

import importlib
import inspect
import tomllib
from pathlib import Path

import swath

ROWS = Path(__file__).parents[1] / "ci" / "rows.toml"
PACKAGES = ("swath", "swath.signal", "swath.nn", "swath.linalg", "swath.testing")
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
    """A reference page: the public functions of a package as an autosummary list."""
    module = importlib.import_module(package)
    names = [n for n in module.__all__ if inspect.isroutine(getattr(module, n))]
    lines = [package, "=" * len(package), "", f".. currentmodule:: {package}", ".. autosummary::"]
    lines += ["   :toctree: api", "", *[f"   {n}" for n in names]]
    return "\n".join(lines) + "\n"


def write(folder: Path) -> None:
    """Write all tables into a folder."""
    folder.mkdir(exist_ok=True)
    (folder / "capabilities.inc").write_text(capabilities(), encoding="utf-8")
    for package in PACKAGES:
        (folder / f"{package}.rst").write_text(members(package), encoding="utf-8")
    (folder / "rows.inc").write_text(rows(), encoding="utf-8")
