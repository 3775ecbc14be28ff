"""NumPy for tall real matrices of few columns, in the memory of any library on a processor.

NumPy's calls cost a fraction of other libraries', but threads of its BLAS wait in a loop for more,
and keep those of others from working: what takes several goes back to the library, unless one
thread with kernels of small matrices does it in less (`LightBackend`).
Where there are many rows, blocks of them go to threads of ours instead, with all that is made of
them, and no product takes another thread (`RowsBackend`).
"""

from __future__ import annotations

from . import stretches
from .base import Array, Backend
from .numpy_ import NumpyBackend, xp

__all__ = ["LightBackend", "RowsBackend"]


class LightBackend(NumpyBackend):
    """Calls of NumPy, and the library's own products of what is large.

    Parameters
    ----------
    whole : Backend
        The library's adapter.
    """

    def __init__(self, whole: Backend) -> None:
        super().__init__(xp, "numpy")
        self.reflects = whole.reflects
        # What is no larger than this is near, and fewer calls are made of it.
        self.block_bytes = 1 << 23
        self._whole = whole

    def _by_library(self, name: str, *arrays: Array) -> Array:
        given = (self._whole.from_host(v, "cpu") for v in arrays)
        return self._whole.to_numpy(getattr(self._whole, name)(*given))

    def matmul(self, a: Array, b: Array) -> Array:
        if stretches.alone(a, b.shape[-1]):
            return super().matmul(a, b)
        return self._by_library("matmul", a, b)

    def gram(self, a: Array) -> Array:
        if stretches.alone(a, a.shape[-1]):
            return super().gram(a)
        return stretches.gram(a) if stretches.quick() else self._by_library("gram", a)

    def times_upper(self, a: Array, z: Array) -> Array:
        if stretches.alone(a, z.shape[-1]):
            return super().times_upper(a, z)
        if stretches.quick():
            return stretches.product(a, z)
        return self._by_library("times_upper", a, z)

    def times_rows(self, s: Array, a: Array) -> Array:
        if stretches.alone(a, 2):
            return super().times_rows(s, a)
        return self._by_library("times_rows", s, a)

    def triangle(self, a: Array, b: Array) -> Array:
        return self._by_library("triangle", a, b)


class RowsBackend(LightBackend):
    """Products of tall matrices in the thread that asks, and blocks of rows in several."""

    shares_rows = True

    def __init__(self, whole: Backend) -> None:
        super().__init__(whole)
        # Two passes in as many threads as there are take less.
        self.reflects = False
        # Threads hand over the interpreter between any two operations.
        self.block_bytes = 1 << 22

    def matmul(self, a: Array, b: Array) -> Array:
        return stretches.product(a, b)

    def gram(self, a: Array) -> Array:
        return stretches.gram(a)

    def times_upper(self, a: Array, z: Array) -> Array:
        return self.matmul(a, z)

    def times_rows(self, s: Array, a: Array) -> Array:
        return s * a
