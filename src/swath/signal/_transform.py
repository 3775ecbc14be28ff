"""The discrete Fourier transform along the last axis, with its derivative."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .._backends import Backend
from ..autodiff import Core, apply

__all__ = ["as_complex", "transform"]

Array = Any


class _Transform(Core):
    """DFT of n points along the last axis, zero-padded; half of it for real input.

    With y_k = Σ_m x_m e^{−2πikm/n} the matrix is symmetric, so the transpose is the transform
    itself, of the cotangent put into the whole spectrum.
    """

    name = "transform"
    native = True

    def forward(self, be: Backend, geometry: Any, *arrays: Array) -> Array:
        (x,), points = arrays, geometry
        return be.fft(x, (x.ndim - 1,), (points,))

    def pull(
        self,
        be: Backend,
        geometry: Any,
        arrays: Sequence[Array],
        out: Array,
        cotangent: Array,
        wanted: Sequence[bool],
    ) -> Sequence[Any]:
        (x,), points = arrays, geometry
        pulled = be.fft(as_complex(be, cotangent), (x.ndim - 1,), (points,))
        pulled = pulled[..., : x.shape[-1]]
        return (pulled if be.is_complex(x) else be.xp.real(pulled),)


_TRANSFORM = _Transform()


def transform(x: Any, points: int) -> Any:
    """The DFT of `points` points, zero-padded; ⌊points/2⌋ + 1 of them for real input."""
    return apply(_TRANSFORM, points, x)


def as_complex(be: Backend, z: Array) -> Array:
    """z as an array of a complex dtype."""
    if be.is_complex(z):
        return z
    return be.xp.astype(z, be.complex_dtype(z.dtype))
