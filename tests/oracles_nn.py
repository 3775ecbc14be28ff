"""Layers by plain loops over every output and tap: slow, independent of swath's geometry."""

from __future__ import annotations

from itertools import product

import numpy as np


def conv(x, weight, stride, pads, dilation, groups):
    """Channels first, with batch; zero padding; `stride`, `pads`, `dilation` per axis."""
    x = np.pad(x, [(0, 0), (0, 0), *pads])
    sizes = weight.shape[2:]
    out = [
        (n - d * (k - 1) - 1) // s + 1
        for n, k, s, d in zip(x.shape[2:], sizes, stride, dilation, strict=True)
    ]
    y = np.zeros((x.shape[0], weight.shape[0], *out), np.result_type(x, weight))
    depth, rows = weight.shape[1], weight.shape[0] // groups
    for o in range(weight.shape[0]):
        channels = slice(o // rows * depth, (o // rows + 1) * depth)
        for i in product(*map(range, out)):
            for j in product(*map(range, sizes)):
                at = tuple(a * s + b * d for a, b, s, d in zip(i, j, stride, dilation, strict=True))
                y[(slice(None), o, *i)] += x[(slice(None), channels, *at)] @ weight[(o, ..., *j)]
    return y


def windows(x, axes, size, stride, pads, dilation, out):
    """For every output index, the in-range input points of its window, row-major.

    Yields (output index on the sliding axes, list of input indices on the sliding axes).
    """
    lengths = [x.shape[a] for a in axes]
    for i in product(*map(range, out)):
        points = []
        for j in product(*map(range, size)):
            p = tuple(
                a * s + b * d - low
                for a, b, s, d, (low, _) in zip(i, j, stride, dilation, pads, strict=True)
            )
            if all(0 <= q < n for q, n in zip(p, lengths, strict=True)):
                points.append(p)
        yield i, points


def pool(x, axes, size, stride, pads, dilation, out, reduce):
    """`reduce(values, points)` over every window; `values` is 1-D per position off the axes."""
    moved = np.moveaxis(x, axes, range(x.ndim - len(axes), x.ndim))
    lead = moved.shape[: x.ndim - len(axes)]
    results = {}
    for i, points in windows(x, axes, size, stride, pads, dilation, out):
        for place in np.ndindex(*lead):
            values = np.array([moved[place][p] for p in points], x.dtype)
            results[(*place, *i)] = reduce(values, points)
    kinds = {type(v) for v in results.values()}
    dtype = np.int64 if kinds <= {int} else None
    y = np.array([results[k] for k in np.ndindex(*lead, *out)], dtype).reshape(*lead, *out)
    return np.moveaxis(y, range(x.ndim - len(axes), x.ndim), axes)
