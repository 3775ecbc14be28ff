"""Rates of a library on a kind of device, from which predicted times follow.

`swath tune` measures them and writes them to a file of the user; `of` reads that file where it
fits the device, and else takes what is shipped.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

__all__ = ["Costs", "Measured", "of", "processor", "read", "shipped", "tuned_file", "write"]


@dataclass(frozen=True)
class Costs:
    """Rates of one library on one kind of device.

    Attributes
    ----------
    gemm : float
        Real multiply-adds per second of a large float32 matrix product.
    stream : float
        Bytes per second of an elementwise pass over blocks that fit the cache.
    gather : float
        Bytes per second of copying windows out of a strided view.
    fft : float
        Points·log2(points) per second of a batched real float32 transform.
    call : float
        Seconds to start one array operation.
    native, native_groups, native_single : float
        Multiply-adds per second of the library's own kernel for layers: of many channels, of groups
        of one, and of one channel alone.
    native_point : float
        Results per second of that kernel for one channel, beside its multiply-adds.

    A rate with a value here is taken from it by files written before there was the rate.
    """

    gemm: float
    stream: float
    gather: float
    fft: float
    call: float
    native: float = 1.2e11
    native_groups: float = 1.3e10
    native_single: float = 2e9
    native_point: float = 6e7


@dataclass(frozen=True)
class Measured:
    """Costs, and where they come from.

    Attributes
    ----------
    library, kind : str
        The array library, and "cpu" or "gpu".
    device : str
        Name of the processor or the GPU.
    costs : Costs
        The rates.
    versions : str
        Libraries and their versions.
    date, how : str
        When, and how they were measured.
    """

    library: str
    kind: str
    device: str
    costs: Costs
    versions: str
    date: str
    how: str

    def __str__(self) -> str:
        return f"{self.library} on {self.device}, {self.versions}, {self.date}, {self.how}"


# What `read` raises of a file that is not there, is closed, or holds something else.
_UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError)

# Of libraries and devices without an entry of their own.
_FALLBACK = {"cpu": ("numpy", "cpu"), "gpu": ("torch", "gpu")}


@cache
def shipped() -> dict[tuple[str, str], list[Measured]]:
    """What is in costs.json beside this file, by library and kind of device.

    Rates of a GPU are of one of a data centre: ratios matter, and they are alike from one GPU to
    the next. Of processors they differ by maker: how fast products of matrices are beside copies.
    """
    from importlib.resources import files  # as modules are found: in an archive too

    found: dict[tuple[str, str], list[Measured]] = {}
    for entry in read(files("swath.sliding") / "costs.json", whole=True):
        found.setdefault((entry.library, entry.kind), []).append(entry)
    return found


def _likeliest(library: str, kind: str, device: str) -> Measured:
    """Those of the same maker, which the first word of a name tells; else the first."""
    entries = shipped().get((library, kind), shipped()[_FALLBACK[kind]])
    maker = device.partition(" ")[0]
    return next((e for e in entries if e.device.partition(" ")[0] == maker), entries[0])


@cache
def of(library: str, kind: str, device: str = "") -> Measured:
    """The costs of a library on a device: tuned for it, or shipped for one of its maker's.

    Parameters
    ----------
    library, kind : str
        The array library, and "cpu" or "gpu".
    device : str
        Name of the GPU; of a CPU the processor's is found.
    """
    device = device or processor()
    likeliest = _likeliest(library, kind, device)
    path = tuned_file()
    if path is None or not os.path.exists(path):
        # Nor does a file in a folder that is closed to this user, as another's home may be.
        return likeliest
    try:
        entries = read(path)
    except _UNREADABLE as error:
        warnings.warn(
            f"swath: {path} cannot be read ({type(error).__name__}: {error}); shipped costs are "
            f"used. `swath tune` writes it anew",
            stacklevel=2,
        )
        return likeliest
    fitting = (e for e in entries if (e.library, e.kind, e.device) == (library, kind, device))
    return next(fitting, likeliest)


def tuned_file() -> Path | None:
    """The file of this user: $SWATH_COSTS, or costs.json in the platform's folder for settings.

    None where the user has no home, as in containers that know him by number alone.
    """
    named = os.environ.get("SWATH_COSTS")
    if named:
        return Path(named)
    try:
        if sys.platform == "win32":
            folder = Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming")
        elif sys.platform == "darwin":
            folder = Path.home() / "Library" / "Application Support"
        else:
            folder = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    except RuntimeError:
        return None
    return folder / "swath" / "costs.json"


def read(path: Path | Traversable, *, whole: bool = False) -> list[Measured]:
    """The entries of a file; rates that it lacks are the shipped ones, unless it must be whole.

    Rates of another version that `Costs` does not have are left out.
    """
    found: list[Measured] = []
    known = {f.name for f in fields(Costs)}
    for entry in json.loads(path.read_text(encoding="utf-8"))["costs"]:
        library, kind = entry["library"], entry["kind"]
        given = {k: float(v) for k, v in entry["costs"].items() if k in known}
        if not all(0 < v < float("inf") for v in given.values()):
            raise ValueError(f"a rate of {library} is no positive number")
        if not whole:
            given = {**asdict(_likeliest(library, kind, entry["device"]).costs), **given}
        texts = {k: str(entry[k]) for k in ("device", "versions", "date", "how")}
        found.append(Measured(library=library, kind=kind, costs=Costs(**given), **texts))
    return found


def write(path: Path, entries: Sequence[Measured]) -> None:
    """Write entries, before those of other libraries and devices that the file holds."""
    fresh = {(e.library, e.kind, e.device) for e in entries}
    try:
        kept = [e for e in read(path) if (e.library, e.kind, e.device) not in fresh]
    except _UNREADABLE:
        kept = []
    path.parent.mkdir(parents=True, exist_ok=True)
    table: dict[str, Any] = {"costs": [asdict(e) for e in (*entries, *kept)]}
    path.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    of.cache_clear()


@cache
def processor() -> str:
    """Name of this machine's processor."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
