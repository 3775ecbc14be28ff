"""swath bound to CuPy: `import swath.cupy as sw`."""

from __future__ import annotations

from typing import Any

from .bound import bind

_bound = bind("cupy")


def __getattr__(name: str) -> Any:
    return getattr(_bound, name)


def __dir__() -> list[str]:
    return list(_bound.__dir__())
