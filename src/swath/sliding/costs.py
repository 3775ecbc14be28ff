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
from typing import Any

__all__ = ["SHIPPED", "Costs", "Measured", "of", "processor", "read", "tuned_file", "write"]


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
    """

    gemm: float
    stream: float
    gather: float
    fft: float
    call: float


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


# Of libraries and devices without an entry of their own, NumPy's and this placeholder of the right
# order for a data-centre GPU, not measured: ratios matter, and they are alike from one GPU to the
# next.
SHIPPED: dict[tuple[str, str], Measured] = {
    ("numpy", "cpu"): Measured(
        "numpy",
        "cpu",
        "2 cores of an AMD EPYC (AVX-512)",
        Costs(gemm=8.0e10, stream=4.0e10, gather=4.0e10, fft=3.5e9, call=1.0e-6),
        "numpy 2.4, scipy 1.17, OpenBLAS",
        "2026-11",
        "by hand",
    ),
    ("cupy", "gpu"): Measured(
        "cupy",
        "gpu",
        "no GPU",
        Costs(gemm=1.0e13, stream=1.5e12, gather=5.0e11, fft=2.0e11, call=8.0e-6),
        "no version",
        "2026-11",
        "a placeholder, not measured",
    ),
}
_FALLBACK = {"cpu": ("numpy", "cpu"), "gpu": ("cupy", "gpu")}


@cache
def of(library: str, kind: str, device: str = "") -> Measured:
    """The costs of a library on a device: tuned, shipped for it, or shipped for the likeliest.

    Parameters
    ----------
    library, kind : str
        The array library, and "cpu" or "gpu".
    device : str
        Name of the GPU; of a CPU the processor's is found.
    """
    shipped = SHIPPED.get((library, kind), SHIPPED[_FALLBACK[kind]])
    path = tuned_file()
    try:
        entries = read(path)
    except FileNotFoundError:
        return shipped
    except (OSError, ValueError, KeyError, TypeError) as error:
        warnings.warn(
            f"swath: {path} cannot be read ({type(error).__name__}: {error}); shipped costs are "
            f"used. `swath tune` writes it anew",
            stacklevel=2,
        )
        return shipped
    device = device or processor()
    fitting = (e for e in entries if (e.library, e.kind, e.device) == (library, kind, device))
    return next(fitting, shipped)


def tuned_file() -> Path:
    """The file of this user: $SWATH_COSTS, or costs.json in the platform's folder for settings."""
    named = os.environ.get("SWATH_COSTS")
    if named:
        return Path(named)
    if sys.platform == "win32":
        folder = Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming")
    elif sys.platform == "darwin":
        folder = Path.home() / "Library" / "Application Support"
    else:
        folder = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return folder / "swath" / "costs.json"


def read(path: Path) -> list[Measured]:
    """The entries of a file; rates that it lacks are the shipped ones."""
    found: list[Measured] = []
    known = {f.name for f in fields(Costs)}
    for entry in json.loads(path.read_text(encoding="utf-8"))["costs"]:
        library, kind = entry["library"], entry["kind"]
        base = SHIPPED.get((library, kind), SHIPPED[_FALLBACK[kind]]).costs
        given = {k: float(v) for k, v in entry["costs"].items() if k in known}
        if not all(0 < v < float("inf") for v in given.values()):
            raise ValueError(f"a rate of {library} is no positive number")
        texts = {k: str(entry[k]) for k in ("device", "versions", "date", "how")}
        costs = Costs(**{**asdict(base), **given})
        found.append(Measured(library=library, kind=kind, costs=costs, **texts))
    return found


def write(path: Path, entries: Sequence[Measured]) -> None:
    """Write entries; those of other libraries and devices that the file holds stay."""
    fresh = {(e.library, e.kind, e.device) for e in entries}
    try:
        kept = [e for e in read(path) if (e.library, e.kind, e.device) not in fresh]
    except (OSError, ValueError, KeyError, TypeError):
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
