"""swath: sliding-window linear algebra, written once against the Python array API."""

from typing import TYPE_CHECKING, Any

from . import linalg, nn, signal
from .autodiff import vjp
from .bound import available_backends, bind
from .planning import plan
from .primitives import overlap_add, sliding_windows
from .registry import operations, supports
from .scale import map_blocks
from .settings import precision, workspace

if TYPE_CHECKING:
    from . import testing as testing

__version__ = "0.1.0"

__all__ = [
    "available_backends",
    "bind",
    "linalg",
    "map_blocks",
    "nn",
    "operations",
    "overlap_add",
    "plan",
    "precision",
    "signal",
    "sliding_windows",
    "supports",
    "vjp",
    "workspace",
]


def __getattr__(name: str) -> Any:
    if name != "testing":
        raise AttributeError(f"swath has no public name {name!r}")
    # Read when it is asked for: programs that only compute have no use for it.
    from importlib import import_module

    return import_module("swath.testing")
