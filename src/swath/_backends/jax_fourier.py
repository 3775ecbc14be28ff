"""JAX: discrete Fourier transforms as a core, so that batches in shards stay where they lie.

XLA would gather them on every device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from ..division import Along, Cuts, Division, Piece, replaced
from .base import Array, Backend

__all__ = ["transformed"]


class _Transform(NamedTuple):
    """Geometry: `lengths` points along `axes`, of which the operand has `given`.

    Of a real transform the spectrum is half of it along the last of the axes.
    """

    axes: tuple[int, ...]
    lengths: tuple[int, ...]
    given: tuple[int, ...]
    real: bool
    back: bool


def transformed(
    be: Backend, x: Array, axes: Sequence[int], lengths: Sequence[int], *, real: bool, back: bool
) -> Array:
    """The transform of x, or its inverse."""
    places = tuple(axis % x.ndim for axis in axes)
    given = tuple(x.shape[axis] for axis in places)
    return be.call(_FOURIER, _Transform(places, tuple(lengths), given, real, back), (x,))


class _Fourier:
    name = "fourier"
    linear = (0,)

    def forward(self, be: Backend, geometry: _Transform, *arrays: Array) -> Array:
        (x,), g = arrays, geometry
        points, last = g.lengths[-1], g.axes[-1]
        if g.real and not g.back:
            x = jnp.fft.rfft(x, n=points, axis=last)
        inner = len(g.axes) - g.real
        # XLA transforms at most three axes at a time.
        for i in range(0, inner, 3):
            some = slice(i, min(i + 3, inner))
            function = jnp.fft.ifftn if g.back else jnp.fft.fftn
            x = function(x, s=g.lengths[some], axes=g.axes[some])
        return jnp.fft.irfft(x, n=points, axis=last) if g.real and g.back else x

    def pull(
        self,
        be: Backend,
        geometry: _Transform,
        arrays: Sequence[Array],
        out: Any,
        cotangent: Array,
        wanted: Sequence[bool],
    ) -> Sequence[Any]:
        """The matrix e^{∓2πikm/n} is symmetric: the same transform, cut to what was given.

        Of real input, the real part for the half of the spectrum put into the whole. To real
        output, y_j = Re Σ_k c_k z_k e^{2πijk/n} / n with c_k = 2 where k stands for n − k too, so
        z̄_k = c_k/n Σ_j ȳ_j e^{2πijk/n}.
        """
        g, ct = geometry, cotangent
        if g.real and g.back:
            n = g.lengths[-1]
            places = np.arange(n // 2 + 1)
            share = np.where((places == 0) | (2 * places == n), 1.0, 2.0) / n
            shape = [1] * ct.ndim
            shape[g.axes[-1]] = len(share)
            ct = jnp.conj(be.fft(ct, g.axes[-1:], (n,)))
            ct = ct * jnp.asarray(share.reshape(shape), ct.real.dtype)
            if len(g.axes) > 1:
                ct = be.ifft(ct, g.axes[:-1], g.lengths[:-1], real=False)
        elif g.back:
            ct = be.ifft(ct, g.axes, g.lengths, real=False)
        else:
            ct = be.fft(ct, g.axes, g.lengths)
            ct = ct.real if g.real else ct
        widths = [(0, 0)] * ct.ndim
        for axis, n in zip(g.axes, g.given, strict=True):
            widths[axis] = (0, n - ct.shape[axis])
        return (be.pad(ct, widths),)

    def batch(
        self, be: Backend, geometry: _Transform, arrays: Sequence[Array], batched: Sequence[bool]
    ) -> tuple[Any, Sequence[Array], Callable[[Array], Array]]:
        moved = geometry._replace(axes=tuple(axis + 1 for axis in geometry.axes))
        return moved, arrays, lambda out: out

    def divide(self, geometry: _Transform, shapes: Sequence[tuple[int, ...]]) -> Division:
        g, (whole,) = geometry, shapes
        every = [slice(0, n) for n in g.given]
        shape = list(whole)
        for axis, n in zip(g.axes, g.lengths, strict=True):
            shape[axis] = n
        if g.real and not g.back:
            shape[g.axes[-1]] = g.lengths[-1] // 2 + 1

        def piece(cuts: Cuts) -> Piece:
            return Piece(g, (replaced(cuts, g.axes, every),))

        along = (None if a in g.axes else Along(0, a) for a in range(len(whole)))
        return Division(tuple(shape), tuple(along), piece)


_FOURIER: Any = _Fourier()
