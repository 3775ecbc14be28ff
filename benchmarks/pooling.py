"""Pooling: maxima, means, places of maxima and the gradients, in both layouts.

Windows that tile, windows that overlap, and large ones. Beside the libraries' own pools on their
own arrays; on NumPy beside windows with a reduction, SciPy's and scikit-image's filters, and (role
"instead") beside PyTorch's kernels on PyTorch's arrays. Backward is the gradient alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from harness import EPS, Contender, Row, Trial, Work
from libraries import BACKENDS, beside_torch, installed, namespace, put, ready, scipy_part

import swath


@dataclass(frozen=True)
class Pool:
    """One pool of two axes; `op` is "max", "mean", or "places" (maxima with their places)."""

    name: str
    x: tuple[int, int, int, int]
    size: int
    stride: int
    padding: int
    op: str
    dtype: str = "float32"
    last: bool = False
    backward: bool = False

    @property
    def axes(self) -> tuple[int, int]:
        return (1, 2) if self.last else (2, 3)


LAYER, IMAGE = (8, 64, 112, 112), (1, 1, 2048, 2048)
SETTINGS = (
    ("2x2/2", LAYER, 2, 2, 0),
    ("3x3/2", LAYER, 3, 2, 1),
    ("3x3/1", LAYER, 3, 1, 1),
    ("7x7/1 2048²", IMAGE, 7, 1, 3),
    ("31x31/1 2048²", IMAGE, 31, 1, 15),
)
QUICK = {"2x2/2 max", "3x3/2 max", "3x3/1 mean backward"}
TORCH = "torch's kernels"


def _drawn(p: Pool) -> np.ndarray:
    x = np.random.default_rng(0).standard_normal(p.x).astype(p.dtype)
    return np.ascontiguousarray(np.moveaxis(x, 1, -1)) if p.last else x


def _padded(p: Pool, x: Any, xp: Any = np) -> Any:
    widths = [(p.padding, p.padding) if a in p.axes else (0, 0) for a in range(4)]
    value = 0 if p.op == "mean" else -np.inf
    return xp.pad(x, widths, constant_values=value) if p.padding else x


def _by_windows(p: Pool, x: Any, xp: Any = np) -> Any:
    """Windows and a reduction: what one writes without a library."""
    view = xp.lib.stride_tricks.sliding_window_view(_padded(p, x, xp), (p.size, p.size), p.axes)
    steps = tuple(slice(None, None, p.stride) if a in p.axes else slice(None) for a in range(4))
    view = view[steps]
    if p.op != "places":
        return (view.mean if p.op == "mean" else view.max)(axis=(-2, -1))
    flat = view.reshape(*view.shape[:4], -1)
    tap = xp.argmax(flat, axis=-1)
    shape = [[-1 if a == axis else 1 for a in range(4)] for axis in p.axes]
    starts = [xp.arange(tap.shape[axis]) * p.stride - p.padding for axis in p.axes]
    row = starts[0].reshape(shape[0]) + tap // p.size
    column = starts[1].reshape(shape[1]) + tap % p.size
    return xp.max(flat, axis=-1), row * x.shape[p.axes[1]] + column


def _gradient_by_windows(p: Pool, x: Any, y: Any, xp: Any = np) -> Any:
    """Tap by tap; maxima by the places of their first attainment."""
    padded = _padded(p, x, xp)
    found = xp.zeros(padded.shape, x.dtype)
    if p.op == "mean":
        left = y / (p.size * p.size)
    else:
        best, left = _by_windows(Pool(**{**vars(p), "op": "max"}), x, xp), y.copy()
    cuts = [slice(None)] * 4
    for i in range(p.size):
        for j in range(p.size):
            for axis, first in zip(p.axes, (i, j), strict=True):
                reach = p.stride * (y.shape[axis] - 1) + 1
                cuts[axis] = slice(first, first + reach, p.stride)
            if p.op == "mean":
                found[tuple(cuts)] += left
            else:
                hit = padded[tuple(cuts)] == best
                found[tuple(cuts)] += xp.where(hit, left, 0)
                left[hit] = 0
    inside = [slice(p.padding, n - p.padding) if a in p.axes else slice(None)
              for a, n in enumerate(padded.shape)]  # fmt: skip
    return found[tuple(inside)]


def _separable(p: Pool, x: np.ndarray) -> np.ndarray:
    """Maxima or sums of magnitudes' pools with large windows, one axis after the other."""
    for axis in p.axes:
        one = _padded(Pool(**{**vars(p), "op": p.op}), x) if axis == p.axes[0] else x
        view = np.lib.stride_tricks.sliding_window_view(one, p.size, axis)
        cut = tuple(slice(None, None, p.stride) if a == axis else slice(None) for a in range(4))
        x = (view[cut].mean if p.op == "mean" else view[cut].max)(axis=-1)
    return x


@lru_cache(maxsize=1)
def _exact(p: Pool) -> tuple[Any, Any, np.ndarray]:
    """The result in float64, the largest error, and the cotangent."""
    x = _drawn(p)
    lengths = [(x.shape[a] + 2 * p.padding - p.size) // p.stride + 1 for a in p.axes]
    shape = list(x.shape)
    shape[p.axes[0]], shape[p.axes[1]] = lengths
    y = np.random.default_rng(1).standard_normal(tuple(shape)).astype(p.dtype)
    wide = x.astype(np.float64)
    terms = p.size * p.size
    if p.backward:
        exact = _gradient_by_windows(p, wide, y.astype(np.float64))
        size = _gradient_by_windows(p, wide, abs(y).astype(np.float64))
        return exact, 2 * terms * EPS[p.dtype] * size, y
    if p.op == "places":
        return tuple(a.astype(np.float64) for a in _by_windows(p, wide)), (0.0, 0.0), y
    bound: Any = 0.0
    if p.op == "mean":
        bound = 2 * terms * EPS[p.dtype] * _separable(p, abs(wide))
    return _separable(p, wide), bound, y


def _settings(p: Pool) -> dict[str, Any]:
    found: dict[str, Any] = {"stride": p.stride, "padding": p.padding}
    if p.op == "places":
        found["return_indices"] = True
    return {**found, "channels": "last" if p.last else "first"}


def _trial(backend: str, p: Pool) -> Trial:
    x = _drawn(p)
    exact, bound, y = _exact(p)
    a, b = put(backend, x, y)
    op = swath.nn.avg_pool if p.op == "mean" else swath.nn.max_pool
    settings = _settings(p)

    def ours(a: Any) -> Any:
        return op(a, (p.size, p.size), **settings)

    if backend == "torch":
        us, peers = _torch_call(p, ours, a, b), {"torch": Contender(_torch(p, a, b), bound)}
    elif backend == "jax":
        us = _jax_call(p, ours, a, b)
        peers = {} if p.op == "places" else {"lax": Contender(_jax_call(p, _lax(p), a, b), bound)}
    else:
        us = _swath_call(p, op, settings, a, b)
        peers = _numpy_peers(backend, p, a, b, bound)
        if beside_torch(backend):
            peers[TORCH] = Contender(_torch(p, *put("torch", x, y)), bound, role="instead")
    outputs = y.nbytes if p.op != "places" else y.nbytes + y.size * 8
    # The gradient of a mean reads the cotangent alone.
    moved = outputs + x.nbytes * (2 if p.backward and p.op == "max" else 1)
    return Trial(exact, Contender(us, bound), peers, Work(float(y.size * p.size**2), moved))


def _swath_call(p: Pool, op: Any, settings: dict[str, Any], a: Any, b: Any) -> Any:
    if not p.backward:
        return lambda: op(a, (p.size, p.size), **settings)
    _, pull = swath.vjp(op, a, (p.size, p.size), **settings)
    return lambda: pull(b)[0]


def _numpy_peers(backend: str, p: Pool, a: Any, b: Any, bound: Any) -> dict[str, Contender]:
    xp = namespace(backend)
    found = {}
    # Reductions of large windows one by one take minutes.
    if p.backward and p.size < 7:
        found["windows"] = Contender(lambda: _gradient_by_windows(p, a, b, xp), bound)
    elif not p.backward and p.size < 31:
        found["windows"] = Contender(lambda: _by_windows(p, a, xp), bound)
    if p.backward or p.op == "places":
        return found
    if p.stride == 1:
        images = scipy_part(backend, "ndimage")
        size = [p.size if axis in p.axes else 1 for axis in range(4)]
        if p.op == "max":

            def filtered() -> Any:
                return images.maximum_filter(a, size, mode="constant", cval=-np.inf)

        else:

            def filtered() -> Any:
                return images.uniform_filter(a, size, mode="constant")

        # Its means are running sums, whose error grows along the axis.
        allowed = bound if p.op == "max" else 1e-3
        found["ndimage"] = Contender(filtered, allowed)
    if p.size == p.stride and backend == "numpy" and installed("skimage"):
        from skimage.measure import block_reduce

        size = tuple(p.size if axis in p.axes else 1 for axis in range(4))
        function = np.max if p.op == "max" else np.mean
        found["skimage"] = Contender(lambda: block_reduce(a, size, function), bound)
    return found


# -- PyTorch ---------------------------------------------------------------------------------------


def _torch_call(p: Pool, fn: Any, a: Any, b: Any) -> Any:
    import torch

    if not p.backward:
        return ready("torch", fn, a)
    leaf = a.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    out = fn(leaf)
    return lambda: torch.autograd.grad(out, leaf, b, retain_graph=True)[0]


def _torch(p: Pool, a: Any, b: Any) -> Any:
    """PyTorch's own pool: channels last are its memory format of the same arrays."""
    from torch.nn import functional as F

    def fn(a: Any) -> Any:
        if p.last:
            a = a.permute(0, 3, 1, 2)
        if p.op == "mean":
            found = (F.avg_pool2d(a, p.size, p.stride, p.padding),)
        elif p.op == "max":
            found = (F.max_pool2d(a, p.size, p.stride, p.padding),)
        else:
            found = F.max_pool2d(a, p.size, p.stride, p.padding, return_indices=True)
        if p.last:
            found = tuple(f.permute(0, 2, 3, 1) for f in found)
        return found if p.op == "places" else found[0]

    return _torch_call(p, fn, a, b)


# -- JAX -------------------------------------------------------------------------------------------


def _jax_call(p: Pool, fn: Any, a: Any, b: Any) -> Any:
    import jax

    if not p.backward:
        return ready("jax", fn, a)
    return ready("jax", lambda a, b: jax.vjp(fn, a)[1](b)[0], a, b)


def _lax(p: Pool) -> Any:
    """As flax pools: one `reduce_window`."""
    from jax import lax

    size, stride = ([n if a in p.axes else 1 for a in range(4)] for n in (p.size, p.stride))
    pads = [(p.padding, p.padding) if a in p.axes else (0, 0) for a in range(4)]

    def fn(a: Any) -> Any:
        if p.op == "max":
            return lax.reduce_window(a, -np.inf, lax.max, size, stride, pads)
        return lax.reduce_window(a, 0.0, lax.add, size, stride, pads) / (p.size * p.size)

    return fn


def _pools() -> list[Pool]:
    found = []
    for label, shape, size, stride, padding in SETTINGS:
        for op in ("max", "mean", "places"):
            for backward in (False, True) if op != "places" else (False,):
                if size == 31 and (backward or op == "places"):
                    # No reference or peer ends in reasonable time.
                    continue
                for last in (False, True) if shape == LAYER else (False,):
                    name = f"{label} {op}{' backward' if backward else ''}"
                    pool = Pool(name, shape, size, stride, padding, op, "float32", last, backward)
                    found.append(pool)
    wide = {"op": "max", "dtype": "float64"}
    found.append(Pool("2x2/2 max", LAYER, 2, 2, 0, **wide))
    found.append(Pool("3x3/1 max", LAYER, 3, 1, 1, **wide))
    return found


def rows() -> list[Row]:
    """Every pool on every library."""
    found = []
    for p in _pools():
        name = p.name + (", channels last" if p.last else "")
        name += ", float64" if p.dtype == "float64" else ""
        marks = ("large",) if p.x == LAYER else ()
        marks += ("quick",) if p.name in QUICK and not p.last and p.dtype == "float32" else ()
        needs = "nn.avg_pool" if p.op == "mean" else "nn.max_pool"
        for lib in BACKENDS:
            found.append(
                Row("pooling", name, lib, p.dtype, needs, lambda b=lib, p=p: _trial(b, p), marks)
            )
    return found
