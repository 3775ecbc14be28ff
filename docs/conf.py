"""Sphinx configuration. The capability table is generated from the registry at build time."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import gallery_pages  # noqa: E402
import pictures  # noqa: E402
import tables  # noqa: E402

import swath  # noqa: E402

project = "swath"
author = "swath developers"
release = swath.__version__
extensions = ["sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.mathjax", "numpydoc"]
autosummary_generate = True
numpydoc_show_class_members = False
html_theme = "alabaster"
exclude_patterns = ["_build", "gallery/*.py"]

tables.write(HERE / "generated")
pictures.write(HERE / "generated" / "gallery")
gallery_pages.write(HERE / "generated" / "gallery")


# Shapes such as (N, C, *S) and bounds such as |x| are plain text in docstrings, markup to Sphinx.
_MARKUP = re.compile(r"(?<![\w*`\\])\*(?=[A-Za-z])|\|")


def _plain(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    for i, line in enumerate(lines):
        if not line.lstrip().startswith((">>>", "...")):
            parts = line.split("``")
            parts[::2] = [_MARKUP.sub(lambda m: "\\" + m.group(), part) for part in parts[::2]]
            lines[i] = "``".join(parts)


def setup(app: Any) -> None:
    """Called by Sphinx; before numpydoc reads the docstrings."""
    app.connect("autodoc-process-docstring", _plain, priority=900)
