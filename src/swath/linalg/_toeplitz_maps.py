"""Toeplitz matrices and their inverses as linear maps by FFT, in lanes.

Everything works on plain arrays: columns and rows (L, n), right-hand sides (L, k, n), the vector on
the last axis. With T[i, j] = t_{i−j}, column c_m = t_m, row r_m = t_{−m}.
"""

from __future__ import annotations

from math import log2, pi
from typing import Any

from .._backends import Backend
from ..sliding.fft import fast_length
from ._scaling import real_product

__all__ = [
    "Inverse",
    "Product",
    "fundamental_sides",
    "inner",
    "inverse_norm",
    "length",
    "modulation",
    "one_norm",
    "rounding",
]

Array = Any
# Of Hager's iteration.
_STEPS = 4


def length(be: Backend, x: Array) -> Array:
    """Euclidean length along the last axis."""
    xp = be.xp
    size = xp.abs(x)
    return xp.sqrt(xp.sum(size * size, axis=-1))


def inner(be: Backend, u: Array, v: Array) -> Array:
    """Re ⟨u, v⟩ along the last axis."""
    product = real_product(be, v, u)
    return be.xp.sum(product, axis=-1, dtype=product.dtype)


def fundamental_sides(be: Backend, c: Array, r: Array) -> Array:
    """e₀ and (0, t_{1−n}, …, t_{−1}), (L, 2, n): their solutions determine the inverse."""
    xp = be.xp
    first = be.arange(c.shape[-1], c, be.default_int(c)) == 0
    zero = xp.zeros_like(c)
    unit = xp.where(first, xp.ones_like(c), zero)
    around = xp.concat([zero[:, :1], xp.flip(r[:, 1:], axis=1)], axis=1)
    return xp.concat([unit[:, None, :], around[:, None, :]], axis=1)


def one_norm(be: Backend, c: Array, r: Array) -> Array:
    """Largest sum of a column's absolute values (L,); of a row's it is the same."""
    xp = be.xp
    below, right = xp.abs(c), xp.abs(r[:, 1:])
    below = xp.flip(xp.cumulative_sum(below, axis=1, dtype=below.dtype), axis=1)
    right = xp.cumulative_sum(right, axis=1, dtype=right.dtype)
    right = xp.concat([xp.zeros_like(below[:, :1]), right], axis=1)
    return xp.max(below + right, axis=1)


def rounding(be: Backend, n: int, kind: Any) -> float:
    """Bound of the error of a product by FFT, relative to ‖t‖₂‖x‖₂ (the accuracy contract)."""
    return 4 * float(be.xp.finfo(kind).eps) * max(1.0, log2(2 * n))


class Product:
    """T as a corner of a circulant matrix, diagonal in the Fourier basis."""

    def __init__(self, be: Backend, c: Array, r: Array) -> None:
        self.be, self.n = be, int(c.shape[-1])
        self.points = fast_length(2 * self.n - 1)
        self.real = not be.is_complex(c)
        gap = self.points - 2 * self.n + 1
        zeros = be.new_like(c, (c.shape[0], gap), dtype=c.dtype)
        t = be.xp.concat([c, zeros, be.xp.flip(r[:, 1:], axis=1)], axis=1)
        # Those of many lines come as those of one do.
        self.values = be.spectra(t, self.points, 1)[:, None, ...]

    def _with(self, values: Array, x: Array) -> Array:
        y = values * self.be.spectra(x, self.points, 1)
        return self.be.lines(y, self.points, 1, real=self.real)[:, :, : self.n]

    def times(self, x: Array) -> Array:
        """T x."""
        return self._with(self.values, x)

    def adjoint_times(self, x: Array) -> Array:
        """Tᴴ x."""
        return self._with(self.be.xp.conj(self.values), x)


def modulation(be: Backend, n: int, like: Array, quarter: int = 0, step: int = 2) -> Array:
    """exp(iπ(step·j + quarter)/(2n)) for j = 0 … n−1, complex in the precision of `like`."""
    xp = be.xp
    real = xp.abs(like[:1, :0]).dtype
    kind = be.complex_dtype(real)
    j = be.arange(n, like, be.default_int(like)) * step + quarter
    angle = xp.astype(j, real) * (pi / (2 * n))
    return xp.astype(xp.cos(angle), kind) + 1j * xp.astype(xp.sin(angle), kind)


class Inverse:
    """T⁻¹ from two of its products, p = T⁻¹e₀ and z = T⁻¹(0, t_{1−n}, …, t_{−1}).

    Derivation. With the circulant shift Z (Z e_{n−1} = e₀) and W the same with W e_{n−1} = −e₀,
    Z T − T W = e₀ wᵀ + g e_{n−1}ᵀ for g_i = t_i + t_{i−n} and (J w)_i = t_i − t_{i−n} (g₀ = 0,
    (J w)₀ = 2t₀; J reverses). Then W T⁻¹ − T⁻¹Z is of rank two as well, and since
    Z − W = 2 e₀e_{n−1}ᵀ, with J T⁻ᵀJ = T⁻¹ and a = t₀p − z::

        T⁻¹ = ½ [skew(p) (I + circ(a)) + (I − skew(a)) circ(p)]

    where circ and skew are the circulant and the skew-circulant matrix of a first column. Nothing
    is divided by, so it needs no minor but T itself (Ammar and Gader 1990).
    """

    def __init__(self, be: Backend, t0: Array, p: Array, z: Array) -> None:
        self.be, self.n = be, int(p.shape[-1])
        self.real = not be.is_complex(p)
        self.turn = modulation(be, self.n, p)
        a = t0[:, None] * p - z
        self.p, self.a = self._circular(p), self._circular(a)
        self.skew_p, self.skew_a = self._skew(p), self._skew(a)

    def _circular(self, x: Array) -> Array:
        x = self.be.xp.astype(x, self.turn.dtype)
        return self.be.xp.fft.fft(x, axis=-1)

    def _skew(self, x: Array) -> Array:
        return self.be.xp.fft.fft(self.be.xp.conj(self.turn) * x, axis=-1)

    def times(self, v: Array) -> Array:
        """T⁻¹ v for v of (L, k, n)."""
        ifft = self.be.xp.fft.ifft
        hat = self._circular(v)
        first = v + ifft(self.a[:, None, :] * hat, axis=-1)
        second = ifft(self.p[:, None, :] * hat, axis=-1)
        skew = self.skew_p[:, None, :] * self._skew(first)
        skew = skew - self.skew_a[:, None, :] * self._skew(second)
        out = 0.5 * (second + self.turn * ifft(skew, axis=-1))
        return self.be.xp.real(out) if self.real else out

    def adjoint_times(self, v: Array) -> Array:
        """T⁻ᴴ v: J T⁻ᵀ J is T⁻¹."""
        xp = self.be.xp

        def conj(x: Array) -> Array:
            return x if self.real else xp.conj(x)

        return conj(xp.flip(self.times(conj(xp.flip(v, axis=-1))), axis=-1))


def inverse_norm(be: Backend, inverse: Inverse, like: Array) -> Array:
    """Estimate of ‖T⁻¹‖₁ from below (L,), by Hager's and Higham's iteration.

    The largest column sum is a convex maximum over unit vectors; four steps from the mean vector
    and Higham's alternating vector find it within a factor of 3, but for rare cases.
    """
    xp, n = be.xp, inverse.n
    lanes = like.shape[0]
    x = be.new_like(like, (lanes, 1, n), dtype=like.dtype, fill=1.0 / n)
    place = be.arange(n, like, be.default_int(like))
    real = xp.abs(like).dtype
    sign = xp.where(place % 2 == 0, xp.ones_like(place), -xp.ones_like(place))
    rising = xp.astype(sign, real) * (1 + xp.astype(place, real) / max(1, n - 1))
    rising = xp.broadcast_to(xp.astype(rising, like.dtype), (lanes, 1, n))

    def step(i: Any, state: tuple[Array, Array]) -> tuple[Array, Array]:
        x, best = state
        y = inverse.times(x)
        size = xp.abs(y)
        found = xp.sum(size, axis=-1)[:, 0] / xp.sum(xp.abs(x), axis=-1)[:, 0]
        positive = size > 0
        unit = y / xp.astype(xp.where(positive, size, xp.ones_like(size)), y.dtype)
        unit = xp.where(positive, unit, xp.ones_like(y))
        gradient = xp.abs(inverse.adjoint_times(unit))
        top = xp.argmax(gradient, axis=-1)[..., None] == place
        alternates = xp.zeros_like(place) + i == _STEPS - 1
        x = xp.where(alternates, rising, xp.astype(top, like.dtype))
        return x, xp.where(found > best, found, best)

    # The last step looks at the alternating vector.
    return be.fori_loop(0, _STEPS + 1, step, (x, be.new_like(like, (lanes,), dtype=real)))[1]
