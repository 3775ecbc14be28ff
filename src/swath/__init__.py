"""swath: sliding-window linear algebra, written once against the Python array API."""

from . import linalg, nn, signal
from .autodiff import vjp
from .bound import available_backends, bind
from .planning import plan
from .primitives import overlap_add, sliding_windows
from .registry import operations, supports
from .scale import map_blocks
from .settings import precision, workspace

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
