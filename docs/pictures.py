"""The gallery's figures, sounds and printed lines: its examples run at every build."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).parents[1] / "examples"
NAMES = ("listening", "vuvuzela", "echo", "regression")


def write(folder: Path) -> None:
    """Run every example; its files go into a folder of its name, what it prints into a text."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        lines: list[str] = []
        example = _loaded(name)
        example.run("numpy", folder / name, say=lines.append)
        # Where the files lie is of no interest on the page.
        text = "\n".join(line for line in lines if not line.startswith("pictures and sounds"))
        (folder / f"{name}.txt").write_text(text + "\n", encoding="utf-8")


def _loaded(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
