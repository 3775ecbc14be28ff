"""Whole layers of arrays (N, C, *S) by the loops of oracles_nn, called as swath's are.

`LAYERS[name](*arrays, **settings)`; settings are those of swath.nn without `channels`. Nothing is
taken from swath: padding rules and output lengths are written out here once more.
"""

from __future__ import annotations

from math import inf, prod

import numpy as np

import oracles_nn

NUMPYS_NAME = {"replicate": "edge", "circular": "wrap", "zeros": "constant"}


def per_axis(value, rank):
    return tuple(value) if isinstance(value, tuple) else (value,) * rank


def same(n, k, s, d, lower):
    """SAME as TensorFlow and the ONNX specification define it."""
    total = max(0, (-(-n // s) - 1) * s + d * (k - 1) + 1 - n)
    small, large = total // 2, total - total // 2
    return (large, small) if lower else (small, large)


def pairs(padding, lengths, size, stride, dilation):
    """Padding by name, number or pair as pairs."""
    if not isinstance(padding, str):
        return [p if isinstance(p, tuple) else (p, p) for p in per_axis(padding, len(size))]
    found = []
    for n, k, s, d in zip(lengths, size, stride, dilation, strict=True):
        reach = d * (k - 1)
        found.append(
            {
                "valid": (0, 0),
                "full": (reach, reach),
                "causal": (reach, 0),
                "same": same(n, k, s, d, False),
                "same_lower": same(n, k, s, d, True),
            }[padding]
        )
    return found


def conv(
    x, weight, bias=None, *, stride=1, padding=0, dilation=1, groups=1, padding_mode="zeros", **_
):
    size = weight.shape[2:]
    stride, dilation = per_axis(stride, len(size)), per_axis(dilation, len(size))
    pads = pairs(padding, x.shape[2:], size, stride, dilation)
    widths = [(0, 0), (0, 0), *pads]
    if isinstance(padding_mode, str):
        x = np.pad(x, widths, NUMPYS_NAME.get(padding_mode, padding_mode))
    else:
        x = np.pad(x, widths, constant_values=padding_mode)
    y = oracles_nn.conv(x, weight, stride, [(0, 0)] * len(size), dilation, groups)
    return y if bias is None else y + bias.reshape(-1, *[1] * len(size))


def conv_transpose(
    x,
    weight,
    bias=None,
    *,
    stride=1,
    padding=0,
    output_padding=0,
    output_shape=None,
    dilation=1,
    groups=1,
    **_,
):
    """A copy of the kernel for every point, then cut (or filled up with zeros behind)."""
    size = weight.shape[2:]
    rank = len(size)
    stride, dilation = per_axis(stride, rank), per_axis(dilation, rank)
    lengths = x.shape[2:]
    reach = [
        (n - 1) * s + d * (k - 1) + 1
        for n, k, s, d in zip(lengths, size, stride, dilation, strict=True)
    ]
    more = per_axis(output_padding, rank)
    if padding in ("same", "same_lower"):
        out = output_shape or [n * s + e for n, s, e in zip(lengths, stride, more, strict=True)]
        total = [max(0, r - o) for r, o in zip(reach, out, strict=True)]
        pads = [(t // 2, t - t // 2) for t in total]
        pads = [p[::-1] for p in pads] if padding == "same_lower" else pads
    else:
        pads = pairs(padding, lengths, size, stride, dilation)
        out = output_shape or [
            r - low - high + e for r, (low, high), e in zip(reach, pads, more, strict=True)
        ]
    depth, rows = weight.shape[0] // groups, weight.shape[1]
    big = [max(r, o + low) for r, o, (low, _) in zip(reach, out, pads, strict=True)]
    y = np.zeros((x.shape[0], rows * groups, *big), np.result_type(x, weight))
    for c in range(x.shape[1]):
        g = c // depth
        for i in np.ndindex(*lengths):
            for j in np.ndindex(*size):
                at = tuple(a * s + b * d for a, b, s, d in zip(i, j, stride, dilation, strict=True))
                term = np.multiply.outer(x[(slice(None), c, *i)], weight[(c, slice(None), *j)])
                y[(slice(None), slice(g * rows, (g + 1) * rows), *at)] += term
    cut = tuple(slice(low, low + o) for (low, _), o in zip(pads, out, strict=True))
    y = y[(slice(None), slice(None), *cut)]
    return y if bias is None else y + bias.reshape(-1, *[1] * rank)


def _windows(x, size, stride, padding, dilation, ceil_mode, axes):
    axes = tuple(range(x.ndim - len(size), x.ndim)) if axes is None else axes
    size, rank = per_axis(size, len(axes)), len(axes)
    stride = size if stride is None else per_axis(stride, rank)
    dilation = per_axis(dilation, rank)
    lengths = [x.shape[a] for a in axes]
    pads = pairs(padding, lengths, size, stride, dilation)
    out = []
    for n, k, s, d, (low, high) in zip(lengths, size, stride, dilation, pads, strict=True):
        room = n + low + high - d * (k - 1) - 1
        count = (-(-room // s) if ceil_mode else room // s) + 1
        # PyTorch's rule: no window that starts in the padding behind.
        out.append(count - 1 if ceil_mode and (count - 1) * s >= n + low else count)
    return axes, size, stride, pads, dilation, tuple(out)


def _extreme(best, bottom):
    def pool(
        x, size, *, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False,
        axes=None, **_,
    ):  # fmt: skip
        g = _windows(x, size, stride, padding, dilation, ceil_mode, axes)
        lengths = [x.shape[a] for a in g[0]]
        lowest = bottom(x.dtype)
        y = oracles_nn.pool(x, *g, lambda v, _: best(v) if len(v) else lowest)

        def place(values, points):
            if not len(values):
                return -1
            return int(np.ravel_multi_index(points[int(_first(best, values))], lengths))

        return (y, oracles_nn.pool(x, *g, place)) if return_indices else y

    return pool


def _first(best, values):
    """Where the extreme stands first; a NaN is one."""
    peak = best(values)
    return np.argmax(np.isnan(values) if np.isnan(peak) else values == peak)


def _bottom(sign):
    def of(dtype):
        if np.dtype(dtype).kind == "f":
            return -sign * np.inf
        info = np.iinfo(dtype)
        return info.min if sign > 0 else info.max

    return of


def avg_pool(
    x, size, *, stride=None, padding=0, dilation=1, ceil_mode=False, count_include_pad=True,
    divisor_override=None, axes=None, **_,
):  # fmt: skip
    g = _windows(x, size, stride, padding, dilation, ceil_mode, axes)
    sums = oracles_nn.pool(x, *g, lambda v, _: v.sum())
    if divisor_override is not None:
        return sums / divisor_override
    axes, sizes, strides, pads, dilations, out = g
    # Ones where points count: in x, or in x and its padding.
    ones = np.ones([x.shape[a] for a in axes])
    if count_include_pad:
        ones = np.pad(ones, pads, constant_values=1)
        pads = [(0, 0)] * len(axes)
    counts = oracles_nn.pool(
        ones, range(len(axes)), sizes, strides, pads, dilations, out, lambda v, _: v.sum()
    )
    shape = [out[axes.index(i)] if i in axes else 1 for i in range(x.ndim)]
    order = np.argsort(axes)
    return sums / np.maximum(1, np.transpose(counts, order).reshape(shape))


def _norm(values, p):
    a = np.abs(np.asarray(values, dtype=np.result_type(values, np.float64)))
    if not a.size:
        return 0.0
    if p == inf or not a.any():
        return float(a.max())
    top = a.max()
    return float(top * ((a / top) ** p).sum() ** (1 / p))


def lp_pool(
    x, size, p=2, *, stride=None, padding=0, dilation=1, ceil_mode=False, axes=None, **_
):  # fmt: skip
    g = _windows(x, size, stride, padding, dilation, ceil_mode, axes)
    return oracles_nn.pool(x, *g, lambda v, _: _norm(v, p))


def _whole(reduce):
    def pool(x, *rest, keepdims=True, axes=None, **_):
        axes = tuple(range(2, x.ndim)) if axes is None else per_axis(axes, 1)
        moved = np.moveaxis(x, axes, range(-len(axes), 0)).reshape(
            *[n for i, n in enumerate(x.shape) if i not in [a % x.ndim for a in axes]], -1
        )
        y = np.array([reduce(moved[i], *rest) for i in np.ndindex(*moved.shape[:-1])])
        y = y.reshape(moved.shape[:-1])
        return np.expand_dims(y, axes) if keepdims else y

    return pool


def _adaptive(reduce):
    def pool(x, output_size, *, return_indices=False, axes=None, **_):
        axes = tuple(range(x.ndim - len(output_size), x.ndim)) if axes is None else axes
        lengths = [x.shape[a] for a in axes]
        parts = [n if o is None else o for n, o in zip(lengths, output_size, strict=True)]
        moved = np.moveaxis(x, axes, range(-len(axes), 0))
        lead = moved.shape[: x.ndim - len(axes)]
        values, places = [], []
        for place in np.ndindex(*lead, *parts):
            cut = tuple(
                slice(i * n // o, -(-(i + 1) * n // o))
                for i, n, o in zip(place[len(lead) :], lengths, parts, strict=True)
            )
            window = moved[(*place[: len(lead)], *cut)]
            values.append(reduce(window.reshape(-1)))
            if return_indices:
                spot = np.unravel_index(_first(np.max, window.reshape(-1)), window.shape)
                spot = [c.start + s for c, s in zip(cut, spot, strict=True)]
                places.append(int(np.ravel_multi_index(spot, lengths)))

        def shaped(found):
            y = np.array(found).reshape(*lead, *parts)
            return np.moveaxis(y, range(-len(axes), 0), axes)

        return (shaped(values), shaped(places)) if return_indices else shaped(values)

    return pool


def max_unpool(x, indices, size, *, stride=None, padding=0, output_size=None, **_):
    rank = len(size)
    stride = size if stride is None else per_axis(stride, rank)
    pads = pairs(padding, x.shape[2:], size, stride, (1,) * rank)
    lengths = output_size or [
        (n - 1) * s - low - high + k
        for n, k, s, (low, high) in zip(x.shape[2:], size, stride, pads, strict=True)
    ]
    y = np.zeros((*x.shape[:2], prod(lengths)), x.dtype)
    for n, c in np.ndindex(*x.shape[:2]):
        # Backwards, so that the first of equal places stays.
        for value, place in list(zip(x[n, c].flat, indices[n, c].flat, strict=True))[::-1]:
            if place >= 0:
                y[n, c, place] = value
    return y.reshape(*x.shape[:2], *lengths)


LAYERS = {
    "nn.conv": conv,
    "nn.conv_transpose": conv_transpose,
    "nn.max_pool": _extreme(np.max, _bottom(1)),
    "nn.min_pool": _extreme(np.min, _bottom(-1)),
    "nn.avg_pool": avg_pool,
    "nn.lp_pool": lp_pool,
    "nn.global_max_pool": _whole(np.max),
    "nn.global_avg_pool": _whole(np.mean),
    "nn.global_lp_pool": _whole(lambda v, p=2: _norm(v, p)),
    "nn.adaptive_max_pool": _adaptive(np.max),
    "nn.adaptive_avg_pool": _adaptive(np.mean),
    "nn.max_unpool": max_unpool,
}
