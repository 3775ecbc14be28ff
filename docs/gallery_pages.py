"""Gallery pages: scripts that run when the documentation is built.

A page is a script in docs/gallery: its docstring is the head of the page, comments under ``# %%``
are text, and code between them is shown with what it prints and with the figures it leaves open in
pyplot. `write` runs every script into a folder of reStructuredText and PNG files.
"""

from __future__ import annotations

import ast
import contextlib
import io
import re
from pathlib import Path
from typing import Any

SCRIPTS = Path(__file__).parent / "gallery"


def _indented(text: str) -> str:
    return "\n".join(f"   {line}".rstrip() for line in text.strip("\n").splitlines())


def _cells(source: str) -> tuple[str, list[tuple[str, str]]]:
    """The docstring, and pairs of text and code."""
    head = ast.get_docstring(ast.parse(source)) or ""
    body = source.split('"""', 2)[2]
    found = []
    for part in re.split(r"(?m)^# %%\s*\n", body):
        text, code = [], part.splitlines()
        while code and code[0].startswith("#"):
            text.append(code.pop(0)[1:].removeprefix(" "))
        if text or any(code):
            found.append(("\n".join(text), "\n".join(code).strip("\n")))
    return head, found


def page(script: Path, folder: Path) -> Path:
    """Run one script; write its page and figures."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    head, cells = _cells(script.read_text(encoding="utf-8"))
    lines, names, count = [head, ""], {"__name__": "__main__"}, 0
    for text, code in cells:
        lines += [text, ""]
        if not code:
            continue
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            exec(compile(code, str(script), "exec"), names)
        lines += [".. code-block:: python", "", _indented(code), ""]
        if said.getvalue().strip():
            lines += [".. code-block:: text", "", _indented(said.getvalue()), ""]
        for number in plt.get_fignums():
            count += 1
            name = f"{script.stem}_{count}.png"
            figure: Any = plt.figure(number)
            figure.savefig(folder / name, dpi=110)
            plt.close(figure)
            lines += [f".. image:: {name}", f"   :alt: figure {count} of this page", ""]
    path = folder / f"{script.stem}.rst"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def write(folder: Path) -> list[Path]:
    """All pages."""
    return [page(script, folder) for script in sorted(SCRIPTS.glob("*.py"))]
