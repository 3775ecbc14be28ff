"""The command line: `swath demo`, `swath backends`, `swath --version`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

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
        0 if all is well, 1 if a score of the demo was not reached, 2 for wrong arguments.
    """
    parser = _parser()
    given = parser.parse_args(arguments)
    try:
        return int(given.function(given))
    except KeyboardInterrupt:
        print("swath: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # What reads the output has ended (`swath demo | head`).
        sys.stderr.close()
        return 1


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
