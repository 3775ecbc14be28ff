"""`swath demo`: every part on every backend, printed as it goes, and the page at the end.

Data flow: `given.prepare` reads and makes the data; for each backend (through `swath.bind` alone)
the `parts` and the lines of the `table` run; `page.make_page` shows what they found.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np

import swath
from swath.bound import Bound
from swath.demo.given import Given, prepare
from swath.demo.parts import PARTS, Outcome
from swath.demo.table import Cell, Line, lines_of, measure

__all__ = ["DemoError", "run"]

DEFAULTS = ("numpy", "jax", "torch", "cupy")


class DemoError(Exception):
    """Something the user can put right: a file, a backend's name, a missing package."""


class Progress:
    """A bar on the terminal, and prints that do not break it; plain prints where there is none."""

    def __init__(self, total: int) -> None:
        from tqdm import tqdm

        self._shown = sys.stdout.isatty()
        self._bar: Any = tqdm(
            total=total,
            disable=not self._shown,
            unit="step",
            leave=False,
            bar_format="{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}]",
        )

    def say(self, text: str = "") -> None:
        """Print a line."""
        if self._shown:
            self._bar.write(text)
        else:
            print(text, flush=True)

    def begin(self, what: str) -> None:
        """Name the step that begins."""
        self._bar.set_description(what)

    def step(self) -> None:
        """One step is done."""
        self._bar.update(1)

    def close(self) -> None:
        """Take the bar away."""
        self._bar.close()


def run(
    *,
    audio: str | Path | None = None,
    image: str | Path | None = None,
    backends: Sequence[str] = (),
    out: str | Path = "swath-demo",
) -> int:
    """Run the demo.

    Parameters
    ----------
    audio, image : str or Path, optional
        The user's recording and picture; by default real ones that packages ship.
    backends : sequence of str, optional
        By default numpy and every installed one of jax, torch and (with a GPU) cupy.
    out : str or Path, optional
        Folder of the page and the pictures.

    Returns
    -------
    int
        0 if every score was reached and every difference lies within its bound, else 1.

    Raises
    ------
    DemoError
        If a file, a backend or a package is missing or does not work.
    """
    began = time.perf_counter()
    _check_packages()
    folder = Path(out)
    if folder.exists() and not folder.is_dir():
        raise DemoError(f"--out: {str(out)!r} is a file; a folder is needed")
    # Double precision for filter design and least squares; JAX reads this when it is imported.
    os.environ.setdefault("JAX_ENABLE_X64", "1")
    try:
        given = prepare(audio, image)
    except (OSError, ValueError, ImportError) as error:
        raise DemoError(str(error)) from error
    bound, absent = _chosen(backends)
    try:
        # Before minutes are spent.
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise DemoError(f"--out: no files can be written there: {error}") from error
    lines = lines_of(given)
    progress = Progress(len(bound) * (len(PARTS) + len(lines)) + 1)
    try:
        return _run(given, bound, absent, lines, folder, progress, began)
    finally:
        progress.close()


def _run(
    given: Given,
    bound: dict[str, Bound],
    absent: dict[str, str],
    lines: Sequence[Line],
    folder: Path,
    progress: Progress,
    began: float,
) -> int:
    from swath.demo.page import make_page

    say = progress.say
    texts = {name: _about(sw) for name, sw in bound.items()}
    say(f"swath {swath.__version__} on real recordings and a picture")
    for name, text in texts.items():
        say(f"  {name}: {text}")
    for name, why in absent.items():
        say(f"  {name}: not run: {why}")
    for credit in given.credits:
        say(f"  data: {credit}")
    for remark in given.remarks:
        say(f"  remark: {remark}")
    outcomes: dict[str, dict[str, Outcome]] = {}
    cells: dict[str, list[Cell | None]] = {}
    broken = 0
    for name, sw in bound.items():
        say()
        say(f"=== {name} ===")
        outcomes[name], failures = _all_parts(sw, given, progress)
        broken += failures
    say()
    say("=== every operation against float64 ===")
    for name, sw in bound.items():
        cells[name], failures = _all_lines(sw, lines, progress)
        broken += failures
    _print_table(lines, cells, say)
    progress.begin("page")
    page = make_page(given, texts, outcomes, lines, cells, absent).write(folder)
    progress.step()
    scores = [s for parts in outcomes.values() for o in parts.values() for s in o.scores]
    missed = sum(not s.reached for s in scores)
    beyond = sum(c is not None and c.units > 1 for row in cells.values() for c in row)
    say()
    say(
        f"{len(scores) - missed} of {len(scores)} scores reached, {beyond} differences beyond "
        f"their bound, {broken} failures; {time.perf_counter() - began:.0f} s"
    )
    pictures = len(list(folder.glob("*.png")))
    say(f"the page: {page}; {pictures} pictures beside it")
    return 1 if missed or beyond or broken else 0


def _all_parts(sw: Bound, given: Given, progress: Progress) -> tuple[dict[str, Outcome], int]:
    found: dict[str, Outcome] = {}
    failures = 0
    for key, heading, part in PARTS:
        progress.begin(f"{sw.backend.name}: {key}")
        start = time.perf_counter()
        progress.say()
        try:
            outcome = part(sw, given)
        except Exception as error:  # one part that breaks down must not hide the others
            failures += 1
            progress.say(f"{heading}: FAILED: {type(error).__name__}: {error}")
            traceback.print_exc()
        else:
            found[key] = outcome
            progress.say(f"{heading} [{sw.backend.name}, {time.perf_counter() - start:.1f} s]")
            for line in outcome.lines:
                progress.say(f"  {line}")
            for score in outcome.scores:
                progress.say(f"  {score}")
        progress.step()
    return found, failures


def _all_lines(
    sw: Bound, lines: Sequence[Line], progress: Progress
) -> tuple[list[Cell | None], int]:
    found: list[Cell | None] = []
    for line in lines:
        progress.begin(f"{sw.backend.name}: {line.name}")
        try:
            found.append(measure(line, sw))
        except Exception as error:  # as above
            found.append(None)
            progress.say(f"{line.name}: FAILED: {type(error).__name__}: {error}")
            traceback.print_exc()
        progress.step()
    return found, found.count(None)


def _print_table(lines: Sequence[Line], cells: dict[str, list[Cell | None]], say: Any) -> None:
    say("largest difference, 1 being what the accuracy contract allows (0: equal), and best time")
    say("of three runs after a warm-up; float32, but float64 for design and least squares where")
    say("the backend has it; references by NumPy and SciPy in float64; sizes stand on the page")
    wide = max((len(line.name) for line in lines), default=0)
    say(" " * wide + "".join(f"  {name:>21}" for name in cells))
    for i, line in enumerate(lines):
        row = line.name.ljust(wide)
        for name in cells:
            cell = cells[name][i]
            text = "failed"
            if cell is not None:
                mark = "!" if cell.units > 1 else " "
                text = f"{cell.units:.2g}{mark}{1000 * cell.seconds:9.2f} ms"
            row += f"  {text:>21}"
        say(row)


def _check_packages() -> None:
    for module, package in (("matplotlib", "matplotlib"), ("PIL", "Pillow")):
        if importlib.util.find_spec(module) is None:
            raise DemoError(
                f"{package}, which draws the pictures, is not installed; "
                "pip install 'swath[demo]' gets it"
            )


def _chosen(names: Sequence[str]) -> tuple[dict[str, Bound], dict[str, str]]:
    """Libraries to run on, bound, and those that are not run with the reason."""
    bound: dict[str, Bound] = {}
    absent: dict[str, str] = {}
    for name in dict.fromkeys(names or DEFAULTS):
        try:
            bound[name] = _working(name)
        except DemoError as error:
            if names:
                raise
            absent[name] = str(error)
    return bound, absent


def _working(name: str) -> Bound:
    """A library bound to its default device; DemoError if it is not there or does not start."""
    try:
        known = importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        known = False
    if not known:
        extra = f"; pip install 'swath[{name}]' gets it" if name in DEFAULTS else ""
        raise DemoError(f"{name} is not installed{extra}" if extra else _unknown(name))
    try:
        try:
            sw = swath.bind(name)
        except TypeError:  # a package, but no array library
            raise DemoError(_unknown(name)) from None
        if np.sum(sw.to_numpy(sw.asarray(np.ones(3, np.float32)))) != 3:
            raise DemoError(f"{name} is installed and does not compute")
    except DemoError:
        raise
    except Exception as error:  # CUDA libraries raise their own kinds
        why = "no GPU found" if name == "cupy" else "installed, but it does not start"
        raise DemoError(f"{why} ({type(error).__name__}: {error})") from error
    return sw


def _unknown(name: str) -> str:
    return (
        f"--backend: {name!r} is no installed array library; there are {', '.join(DEFAULTS)} and "
        "every other array-API library by its import name"
    )


def _about(sw: Bound) -> str:
    """Version and device of a library."""
    module = sys.modules.get(sw.backend.name.split(".")[0])
    version = getattr(module, "__version__", "")
    devices = sw.backend.devices()
    wide = sw.to_numpy(sw.asarray(np.zeros(1))).dtype.name
    return f"version {version}, device {devices[0] if devices else 'unknown'}, widest float {wide}"
