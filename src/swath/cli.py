"""The command line: `swath demo`, `bench`, `tune`, `backends`, `--version`."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status.

    Parameters
    ----------
    arguments : sequence of str, optional
        Without the program's name; by default those of the process.

    Returns
    -------
    int
        0 if all is well, 1 if a score of the demo was not reached, a benchmark's result was wrong
        or a file or the output could not be written, 2 for wrong arguments, 130 if interrupted.
    """
    try:
        try:
            return _run(list(sys.argv[1:] if arguments is None else arguments))
        finally:
            # Here an output that takes no more can be told; when Python ends it cannot.
            if sys.stdout is not None:
                sys.stdout.flush()
    except KeyboardInterrupt:
        print("swath: interrupted", file=sys.stderr)
        return 130
    except OSError as error:
        # What reads the output may have ended (`swath demo | head`).
        if not isinstance(error, BrokenPipeError):
            print(f"swath: {error}", file=sys.stderr)
        if sys.stdout is not None:
            _let_go(sys.stdout)
        return 1


def _run(arguments: list[str]) -> int:
    if arguments[:1] == ["bench"]:
        # Its own parser knows its arguments, `--help` included.
        return _bench(arguments[1:])
    given = _parser().parse_args(arguments)
    return int(given.function(given))


def _let_go(output: TextIO) -> None:
    """Drop what an output does not take, which Python would try to write once more."""
    try:
        output.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), output.fileno())


def _parser() -> argparse.ArgumentParser:
    from swath import __version__

    parser = argparse.ArgumentParser(
        prog="swath",
        description="Sliding-window linear algebra on NumPy, CuPy, JAX, PyTorch and others.",
    )
    parser.add_argument("--version", action="version", version=f"swath {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    demo = commands.add_parser(
        "demo",
        help="one pass over the whole library on real recordings and a picture",
        description=(
            "Finds notes, takes a tone out, finds a template, filters and pools a picture, "
            "identifies an echo, and compares every backend with float64. Writes pictures and one "
            "HTML page. Exit status: 0, or 1 if a score was not reached, 2 for wrong arguments."
        ),
    )
    demo.add_argument(
        "--audio", metavar="FILE", help="your recording: WAV; with swath[audio] also FLAC and Ogg"
    )
    demo.add_argument("--image", metavar="FILE", help="your picture: PNG, JPEG, TIFF, ...")
    demo.add_argument(
        "--backend",
        metavar="NAME",
        nargs="+",
        action="extend",
        default=[],
        help="array libraries to run on (default: numpy and what is installed of jax, torch, cupy)",
    )
    demo.add_argument(
        "--out",
        metavar="DIR",
        default="swath-demo",
        help="folder of the page (default: %(default)s)",
    )
    demo.set_defaults(function=_demo)

    commands.add_parser(
        "bench", help="swath beside SciPy, PyTorch and JAX on this machine (bench --help)"
    )

    tune = commands.add_parser(
        "tune",
        help="measure the rates that predict which algorithm is fastest here",
        description=(
            "Times every algorithm on products drawn by a seed, fits the planner's rates to the "
            "times, and writes them to a file that swath reads wherever the device is the same. "
            "Minutes for each library; leave the machine alone meanwhile."
        ),
    )
    tune.add_argument(
        "--backend",
        metavar="NAME",
        nargs="+",
        action="extend",
        default=[],
        help="array libraries (default: all that are installed and have an adapter)",
    )
    tune.add_argument("--device", help='a device of the one library given, as "cuda:0"')
    tune.add_argument(
        "--out", metavar="FILE", help="where to write (default: the file that swath reads)"
    )
    tune.add_argument(
        "--products", metavar="N", type=int, default=160, help="how many (default: %(default)s)"
    )
    tune.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    tune.set_defaults(function=_tune)

    backends = commands.add_parser("backends", help="array libraries that are installed")
    backends.set_defaults(function=_backends)
    return parser


def _demo(given: argparse.Namespace) -> int:
    from swath.demo.runner import DemoError, run

    try:
        return run(audio=given.audio, image=given.image, backends=given.backend, out=given.out)
    except DemoError as error:
        print(f"swath demo: {error}", file=sys.stderr)
        return 2


def _bench(arguments: list[str]) -> int:
    package = Path(__file__).parent
    # In an installed package, and in the checkout that holds it.
    for folder in (package / "benchmarks", package.parents[1] / "benchmarks"):
        if (folder / "run.py").is_file():
            return subprocess.call([sys.executable, str(folder / "run.py"), *arguments])
    print(
        f"swath bench: there are no benchmarks beside {package}; reinstall swath, or run "
        f"benchmarks/run.py in its source distribution",
        file=sys.stderr,
    )
    return 2


def _tune(given: argparse.Namespace) -> int:
    from tempfile import TemporaryFile

    from tqdm import tqdm

    from swath import available_backends, bind, tuning
    from swath.errors import ArgumentError
    from swath.sliding import costs

    if given.device and len(given.backend) != 1:
        print("swath tune: --device needs --backend with one library", file=sys.stderr)
        return 2
    if given.products < 20:
        print(f"swath tune: --products must be 20 or more, got {given.products}", file=sys.stderr)
        return 2
    found = available_backends()
    for name in given.backend:
        if name not in found or "error" in found[name]:
            why = found.get(name, {}).get("error", "not installed, or without an adapter")
            print(f"swath tune: --backend {name}: {why}", file=sys.stderr)
            return 2
        if given.device:
            try:
                bind(name, device=given.device)
            except ArgumentError as error:
                print(f"swath tune: --device: {error}", file=sys.stderr)
                return 2
    read = costs.tuned_file()
    path = read if given.out is None else Path(given.out)
    if path is None:
        print("swath tune: this user has no home folder; give --out FILE", file=sys.stderr)
        return 2
    try:
        # Before minutes are spent.
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(f"{str(path)!r} is a folder; a file is needed")
        with TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        print(f"swath tune: --out: {error}", file=sys.stderr)
        return 2
    for name in given.backend or [n for n, about in found.items() if "error" not in about]:
        measured, quality = tuning.tune(
            name,
            device=given.device,
            count=given.products,
            seed=given.seed,
            each=lambda numbers, name=name: tqdm(
                numbers, name, given.products, unit="product", disable=None
            ),
        )
        # After every library: what was measured before an interruption stays.
        costs.write(path, [measured])
        print(f"{measured}\n  {tuning.rates_of(measured)}\n  {quality}")
    print(f"written to {path}")
    if path != read:
        default = "" if read is None else f"{read}, or "
        print(f"swath reads {default}the file that SWATH_COSTS names")
    return 0


def _backends(given: argparse.Namespace) -> int:
    from swath import available_backends

    del given
    for name, about in available_backends().items():
        devices = ", ".join(about.get("devices", ()))
        text = " ".join(filter(None, (about.get("version", ""), devices)))
        if "error" in about:
            text += f" cannot start: {about['error']}"
        print(f"{name:<8} {text.strip()}")
    return 0
