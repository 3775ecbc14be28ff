"""Slow, independent references for swath.signal: loops over float64, no algorithm of swath."""

from __future__ import annotations

import itertools
import math

import numpy as np


def match_template(x, template, mode, zero_mean):
    """The cosine of every window, each window by itself (no batch axes)."""
    x, t = np.asarray(x, dtype=np.float64), np.asarray(template, dtype=np.float64)
    if mode != "valid":
        widths = []
        for k in t.shape:
            high = k - 1 if mode == "full" else (k - 1) // 2
            widths.append((k - 1 if mode == "full" else k - 1 - high, high))
        x = np.pad(x, widths)
    out = np.zeros([n - k + 1 for n, k in zip(x.shape, t.shape)])
    for place in np.ndindex(*out.shape):
        w = x[tuple(slice(p, p + k) for p, k in zip(place, t.shape))].ravel()
        u = t.ravel()
        if zero_mean:
            w = np.zeros_like(w) if np.ptp(w) == 0 else w - math.fsum(w) / w.size
            u = np.zeros_like(u) if np.ptp(u) == 0 else u - math.fsum(u) / u.size
        scale = math.sqrt(math.fsum(w * w)) * math.sqrt(math.fsum(u * u))
        out[place] = math.fsum(w * u) / scale if scale else 0.0
    return out


def fir(b, a0, x, zi):
    """One-dimensional FIR filtering in transposed direct form, sample by sample."""
    b = np.asarray(b) / a0
    state = list(zi)
    out = []
    for value in x:
        out.append(b[0] * value + (state[0] if state else 0))
        for k in range(len(state)):
            later = state[k + 1] if k + 1 < len(state) else 0
            state[k] = later + b[k + 1] * value
    return np.array(out), np.array(state)


def response(b, w):
    """Σ b_k e^{−iωk} by a sum for every frequency."""
    return np.array([sum(c * np.exp(-1j * v * k) for k, c in enumerate(b)) for v in w])


def extended(x, low, high, boundary, fillvalue):
    """A picture continued beyond its edges, point by point."""
    out = np.empty([n + a + b for n, a, b in zip(x.shape, low, high)], np.result_type(x, fillvalue))
    for place in itertools.product(*map(range, out.shape)):
        index, outside = [], False
        for p, n, a in zip(place, x.shape, low):
            q = p - a
            outside |= not 0 <= q < n
            if boundary == "wrap":
                q %= n
            elif boundary == "symm":
                q %= 2 * n
                q = q if q < n else 2 * n - 1 - q
            index.append(q)
        out[place] = fillvalue if boundary == "fill" and outside else x[tuple(index)]
    return out
