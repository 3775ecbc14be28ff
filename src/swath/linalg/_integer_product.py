"""Exact convolutions of integers, modulo 2^bits: digits through the FFT, or a compiled loop.

An integer is Σ d_i 2^(b·i) with digits −2^(b−1) <= d_i < 2^(b−1). The convolution of two sequences
of digits is a sequence of integers; computed in float64 with an error below 1/8, rounding makes it
exact. b is the most that the error bound of the accuracy contract allows for the lengths.
"""

from __future__ import annotations

from math import log2, sqrt
from typing import Any

from .._backends import Backend
from ..sliding.fft import fast_length

__all__ = ["valid_products"]

Array = Any
# Kernels of fewer taps are summed tap by tap, which is as fast or faster.
_FEW = 512
_FEW_TRACED = 32


def _digit_bits(points: int, taps: int, length: int, bits: int) -> int:
    """The widest digits whose convolutions are exact in float64; 0 if none are."""
    spread = 4 * 2.0**-52 * max(1.0, log2(points)) * sqrt(taps * length)
    for b in range(16, 1, -1):
        digits = -(-bits // b)
        # As many pairs of digits as there are digits meet in one sum.
        if spread * digits * 4.0 ** (b - 1) < 1 / 8:
            return b
    return 0


def valid_products(be: Backend, t: Array, x: Array) -> Array | None:
    """y[b, g, q, i] = Σ_j t[b, g, i + N − 1 − j] x[g, q, j]; None where sums do as well.

    Parameters
    ----------
    be : Backend
        The adapter.
    t : array
        (B, G, L) integers.
    x : array
        (G, R, N) integers of the same dtype.

    Returns
    -------
    array or None
        (B, G, R, L − N + 1), exact modulo 2^bits.
    """
    length, taps = t.shape[-1], x.shape[-1]
    if taps <= (_FEW_TRACED if be.traces else _FEW):
        return None
    bits = 8 * be.itemsize(t.dtype)
    points = fast_length(length)
    width = _digit_bits(points, taps, length, bits) if be.has_float64(t) else 0
    if width:
        return _by_digits(be, t, x, bits, width, points)
    return _by_loop(be, t, x) if be.traces else None


def _digits(be: Backend, a: Array, bits: int, width: int) -> list[Array]:
    """Balanced digits of the bits that count, the lowest first, as float64."""
    xp = be.xp
    a = xp.astype(a, be.dtype("int64"))
    half = 1 << (width - 1)
    found = []
    for i in range(-(-bits // width)):
        # The top digit takes what is left: higher bits do not matter.
        digit = xp.bitwise_and(a + half, 2 * half - 1) - half
        found.append(xp.astype(digit, be.dtype("float64")))
        if (i + 1) * width < bits:
            a = xp.bitwise_right_shift(a - digit, width)
    return found


def _by_digits(be: Backend, t: Array, x: Array, bits: int, width: int, points: int) -> Array:
    xp = be.xp
    taps = x.shape[-1]
    count = t.shape[-1] - taps + 1
    left = [be.fft(d[:, :, None, :], (-1,), (points,)) for d in _digits(be, t, bits, width)]
    right = [be.fft(d[None, ...], (-1,), (points,)) for d in _digits(be, x, bits, width)]
    total = None
    for s in range(len(left)):
        # Sums of weight 2^(width·s); those of higher digits are multiples of 2^bits.
        spectrum = left[0] * right[s]
        for i in range(1, s + 1):
            spectrum = spectrum + left[i] * right[s - i]
        # The transform wraps around: only in front of what is read.
        part = be.ifft(spectrum, (-1,), (points,), real=True)[..., taps - 1 : taps - 1 + count]
        term = xp.bitwise_left_shift(xp.astype(xp.round(part), be.dtype("int64")), width * s)
        total = term if total is None else total + term
    return xp.astype(total, t.dtype)


def _by_loop(be: Backend, t: Array, x: Array) -> Array:
    """Tap by tap in a compiled loop: without float64 no transform is exact."""
    taps = x.shape[-1]
    count = t.shape[-1] - taps + 1
    t, x = t[:, :, None, :], x[None, ...]

    def body(j: Any, total: Array) -> Array:
        return total + be.slab(t, 3, taps - 1 - j, count) * be.slab(x, 3, j, 1)

    shape = (t.shape[0], t.shape[1], x.shape[2], count)
    return be.fori_loop(0, taps, body, be.new_like(t, shape))
