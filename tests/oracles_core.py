"""Loops for the core: the sliding product's three roles and windows, one element at a time."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from swath.geometry import Sliding


def terms(g: Sliding) -> Any:
    """(output, tap, input position) of every product of the trilinear form."""
    for i in itertools.product(*map(range, g.out)):
        for j in itertools.product(*map(range, g.sizes)):
            p = tuple(
                s.stride * a + s.dilation * b - s.low for s, a, b in zip(g.spans, i, j, strict=True)
            )
            if all(0 <= q < s.length for q, s in zip(p, g.spans, strict=True)):
                yield i, j, p


def product(g: Sliding, role: str, **arrays: np.ndarray) -> np.ndarray:
    """∂T/∂role of the trilinear form (channels first), from the other two arrays."""
    shapes = {k: v.shape for k, v in arrays.items()}
    if "w" in shapes:
        rows, depth = shapes["w"][0] // g.groups, shapes["w"][1]
    else:
        rows, depth = shapes["y"][1] // g.groups, shapes["x"][1] // g.groups
    batch = shapes["x"][0] if "x" in shapes else shapes["y"][0]
    whole = {
        "x": g.x_shape(batch, g.groups * depth),
        "y": g.y_shape(batch, g.groups * rows),
        "w": g.w_shape(g.groups * rows, depth),
    }
    out = np.zeros(whole[role], np.result_type(*arrays.values()))
    for i, j, p in terms(g):
        for group in range(g.groups):
            of = slice(group * rows, (group + 1) * rows)
            to = slice(group * depth, (group + 1) * depth)
            at = {
                "x": (slice(None), to, *p),
                "y": (slice(None), of, *i),
                "w": (of, slice(None), *j),
            }
            if role == "y":
                out[at["y"]] += arrays["x"][at["x"]] @ arrays["w"][at["w"]].T
            elif role == "x":
                out[at["x"]] += arrays["y"][at["y"]] @ arrays["w"][at["w"]]
            else:
                out[at["w"]] += arrays["y"][at["y"]].T @ arrays["x"][at["x"]]
    return out


def windows(x: np.ndarray, sizes: Any, strides: Any, dilations: Any, axes: Any) -> np.ndarray:
    """Windows along axes, taps appended."""
    shape = list(x.shape)
    for a, k, s, d in zip(axes, sizes, strides, dilations, strict=True):
        shape[a] = len(range(0, x.shape[a] - d * (k - 1), s))
    out = np.zeros((*shape, *sizes), x.dtype)
    for index in np.ndindex(*out.shape):
        at = list(index[: x.ndim])
        for a, s, d, j in zip(axes, strides, dilations, index[x.ndim :], strict=True):
            at[a] = s * at[a] + d * j
        out[index] = x[tuple(at)]
    return out
