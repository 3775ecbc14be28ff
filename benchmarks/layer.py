"""Layers with batch and channels, forward and backward, in both layouts.

Beside the kernels of PyTorch and JAX on their own arrays; on NumPy beside windows and `tensordot`,
and (role "instead") beside PyTorch's kernels on PyTorch's arrays. Backward is the gradient of input
and weights, without the forward.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import Any

import layers_by_windows as windows
import numpy as np
from harness import Contender, Row, Trial, Work, typical_bound, window_bound
from layers_by_windows import Shape
from libraries import BACKENDS, beside_torch, namespace, put, ready

import swath

LAYERS = (
    Shape("8x64x56² 64 3x3", (8, 64, 56, 56), (64, 64, 3, 3), padding=1),
    Shape("8x128x28² 128 3x3", (8, 128, 28, 28), (128, 128, 3, 3), padding=1),
    Shape("8x256x14² 256 3x3", (8, 256, 14, 14), (256, 256, 3, 3), padding=1),
    Shape("8x3x224² 64 7x7 stride 2", (8, 3, 224, 224), (64, 3, 7, 7), stride=2, padding=3),
    Shape("16x32x64² 32 5x5", (16, 32, 64, 64), (32, 32, 5, 5), padding=2),
    Shape("1x3x1024² 16 3x3", (1, 3, 1024, 1024), (16, 3, 3, 3), padding=1),
    Shape("8x256x56² 64 1x1", (8, 256, 56, 56), (64, 256, 1, 1)),
    Shape("depthwise 8x128x56² 3x3", (8, 128, 56, 56), (128, 1, 3, 3), padding=1, groups=128),
    Shape("grouped (32) 8x128x28² 3x3", (8, 128, 28, 28), (128, 4, 3, 3), padding=1, groups=32),
    Shape("dilated (2) 8x64x56² 3x3", (8, 64, 56, 56), (64, 64, 3, 3), padding=2, dilation=2),
    Shape(
        "transposed 8x64x28² 32 4x4 stride 2", (8, 64, 28, 28), (64, 32, 4, 4),
        stride=2, padding=1, transposed=True,
    ),
    Shape("16x80x3000 256 3", (16, 80, 3000), (256, 80, 3), padding=1),
    # A batch of 16 takes the gathered windows of one contender to half a gigabyte.
    Shape("4x80x3000 256 31", (4, 80, 3000), (256, 80, 31), padding=15),
    Shape("2x16x32³ 32 3³", (2, 16, 32, 32, 32), (32, 16, 3, 3, 3), padding=1),
)  # fmt: skip
QUICK = {"8x64x56² 64 3x3", "depthwise 8x128x56² 3x3"}
# Multiply-adds from which on a layer must come near the machine's limit.
LARGE = 4e8

TORCH = "torch's kernels"


def drawn(s: Shape) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Input, weights and cotangent, channels first."""
    rng = np.random.default_rng(0)
    return tuple(rng.standard_normal(n).astype(np.float32) for n in (s.x, s.w, s.out))  # type: ignore[return-value]


@lru_cache(maxsize=1)
def _forward(s: Shape) -> tuple[np.ndarray, Any, float]:
    """In float64: the result, and the largest and the usual error."""
    x, w, _ = (a.astype(float) for a in drawn(s))
    terms = prod(s.w[2:]) * (s.w[0] // s.groups if s.transposed else s.w[1])
    bound = window_bound("float32", terms, windows.forward(abs(x), abs(w), s))
    return windows.forward(x, w, s), bound, typical_bound("float32", terms, x, w)


@lru_cache(maxsize=1)
def _backward(s: Shape) -> tuple[tuple, tuple, tuple]:
    x, w, y = (a.astype(float) for a in drawn(s))
    exact = windows.gradients(x, w, y, s)
    sizes = windows.gradients(abs(x), abs(w), abs(y), s)
    spots = prod((s.x if s.transposed else s.out)[2:]) * s.x[0]
    taps = prod(s.w[2:])
    terms = taps * (s.w[1] if s.transposed else s.w[0] // s.groups), spots
    bounds = tuple(window_bound("float32", k, m) for k, m in zip(terms, sizes, strict=True))
    usual = tuple(typical_bound("float32", k, y, v) for k, v in zip(terms, (w, x), strict=True))
    return exact, bounds, usual


def _last(a: np.ndarray, weight: bool = False) -> np.ndarray:
    """Channels last: N…C, or *K, C, O of weights."""
    order = (*range(2, a.ndim), 1, 0) if weight else (0, *range(2, a.ndim), 1)
    return np.ascontiguousarray(np.transpose(a, order))


def _trial(backend: str, s: Shape, last: bool, backward: bool) -> Trial:
    x, w, y = drawn(s)
    exact, bound, usual = _backward(s) if backward else _forward(s)
    if last:
        x, w, y = _last(x), _last(w, True), _last(y)
        if backward:
            exact, bound = ((_last(a), _last(b, True)) for a, b in (exact, bound))
        else:
            exact, bound = _last(exact), _last(bound)
    arrays = put(backend, x, w, y)
    settings: dict[str, Any] = {
        "stride": s.stride, "padding": s.padding, "dilation": s.dilation, "groups": s.groups,
        "channels": "last" if last else "first",
    }  # fmt: skip
    op = swath.nn.conv_transpose if s.transposed else swath.nn.conv

    def ours(x: Any, w: Any) -> Any:
        return op(x, w, **settings)

    def contender(run: Any, note: str = "", role: str = "peer") -> Contender:
        return Contender(run, bound, note, role, usual)

    method = swath.plan(op, *arrays[:2], **settings).method
    peers = {}
    if not backward and _faster(op, arrays, settings):
        # Its terms are larger than the window's own; of random data its error is six times as much.
        run = _fast(backend, ours, arrays)
        peers['swath, precision("fast")'] = Contender(run, 16 * bound, "", "beside", 6 * usual)
    if backend == "torch":
        us = _torch_call(ours, arrays, backward)
        peers["torch"] = contender(_torch_peer(s, last, backward, arrays))
    elif backend == "jax":
        us = _jax_call(ours, arrays, backward)
        peers["lax"] = contender(_jax_call(_lax(s, last), arrays, backward))
    else:
        us = _swath_call(op, settings, arrays, backward)
        peers["windows"] = contender(_by_windows(backend, s, last, backward, arrays))
        if beside_torch(backend):
            tensors = put("torch", x, w, y)
            peers[TORCH] = contender(_torch_peer(s, last, backward, tensors), role="instead")
    parts = (x, w, y)
    # A gradient reads the cotangent and the other operand, and writes its own.
    moved = sum(a.nbytes for a in parts) * (2 if backward else 1)
    work = Work(2.0 * s.multiply_adds * (2 if backward else 1), moved)
    return Trial(exact, contender(us, "" if backward else method), peers, work)


def _faster(op: Any, arrays: list[Any], settings: dict[str, Any]) -> bool:
    """Whether F(4, 3) is taken where precision is "fast"."""
    with swath.precision("fast"):
        return swath.plan(op, *arrays[:2], **settings).method == "winograd"


def _fast(backend: str, fn: Any, arrays: list[Any]) -> Any:
    with swath.precision("fast"):
        call = ready(backend, fn, *arrays[:2])

    def run() -> Any:
        with swath.precision("fast"):
            return call()

    return run


def _swath_call(op: Any, settings: dict[str, Any], arrays: list[Any], backward: bool) -> Any:
    x, w, y = arrays
    if not backward:
        return lambda: op(x, w, **settings)
    _, pull = swath.vjp(op, x, w, **settings)
    return lambda: pull(y)


def _by_windows(backend: str, s: Shape, last: bool, backward: bool, arrays: list[Any]) -> Any:
    xp = namespace(backend)
    x, w, y = arrays
    if backward:
        return lambda: windows.gradients(x, w, y, s, last, xp)
    return lambda: windows.forward(x, w, s, last, xp)


# -- PyTorch ---------------------------------------------------------------------------------------


def _torch_call(fn: Any, arrays: list[Any], backward: bool) -> Any:
    import torch

    x, w, y = arrays
    if not backward:
        return ready("torch", fn, x, w)
    leaves = [a.detach().clone(memory_format=torch.preserve_format) for a in (x, w)]
    for leaf in leaves:
        leaf.requires_grad_()
    out = fn(*leaves)
    return lambda: torch.autograd.grad(out, leaves, y, retain_graph=True)


def _torch_peer(s: Shape, last: bool, backward: bool, arrays: list[Any]) -> Any:
    """PyTorch's own layer: channels last are its memory format of the same arrays.

    Weights are put into the format that its kernel likes beforehand, as a model keeps them.
    """
    import torch
    from torch.nn import functional as F

    name = f"conv{'_transpose' if s.transposed else ''}{s.rank}d"
    layer = getattr(F, name)
    signal = (0, s.rank + 1, *range(1, s.rank + 1))
    kernel = (s.rank + 1, s.rank, *range(s.rank))

    def fn(x: Any, w: Any) -> Any:
        return layer(x, w, None, s.stride, s.padding, groups=s.groups, dilation=s.dilation)

    if not last:
        return _torch_call(fn, arrays, backward)
    x, w, y = arrays
    x, y, w = x.permute(signal), y.permute(signal), w.permute(kernel)
    formats = {2: torch.channels_last, 3: torch.channels_last_3d}
    w = w.contiguous(memory_format=formats.get(s.rank, torch.contiguous_format))
    call = _torch_call(fn, [x, w, y], backward)
    back = (0, *range(2, s.rank + 2), 1)
    if not backward:
        return lambda: call().permute(back)
    turned = (*range(2, s.rank + 2), 1, 0)

    def run() -> Any:
        gx, gw = call()
        return gx.permute(back), gw.permute(turned)

    return run


# -- JAX -------------------------------------------------------------------------------------------


def _jax_call(fn: Any, arrays: list[Any], backward: bool) -> Any:
    import jax

    if not backward:
        return ready("jax", fn, *arrays[:2])
    return ready("jax", lambda x, w, y: jax.vjp(fn, x, w)[1](y), *arrays)


def _lax(s: Shape, last: bool) -> Any:
    from jax import lax

    letters = "DHW"[-s.rank :]
    # Of a transposed layer the kernel's axes change places: it is turned in space, too.
    inner, outer = ("O", "I") if s.transposed else ("I", "O")
    if last:
        numbers = (f"N{letters}C", f"{letters}{inner}{outer}", f"N{letters}C")
    else:
        numbers = (f"NC{letters}", f"{outer}{inner}{letters}", f"NC{letters}")
    pairs = [(s.padding, s.padding)] * s.rank

    def fn(x: Any, w: Any) -> Any:
        if not s.transposed:
            return lax.conv_general_dilated(
                x, w, (s.stride,) * s.rank, pairs, rhs_dilation=(s.dilation,) * s.rank,
                dimension_numbers=numbers, feature_group_count=s.groups, precision="highest",
            )  # fmt: skip
        sizes = s.w[2:]
        full = [(s.dilation * (k - 1) - s.padding,) * 2 for k in sizes]
        spatial = tuple(range(s.rank)) if last else tuple(range(2, 2 + s.rank))
        return lax.conv_general_dilated(
            x, lax.rev(w, spatial), (1,) * s.rank, full, lhs_dilation=(s.stride,) * s.rank,
            dimension_numbers=numbers, precision="highest",
        )  # fmt: skip

    return fn


def rows() -> list[Row]:
    """Layer by layer, so that one reference serves all libraries."""
    found = []
    for s in LAYERS:
        for backward in (False, True):
            for last in (False, True):
                name = s.name + (" last" if last else "") + (" backward" if backward else "")
                marks = ["dense"] if s.groups == 1 else []
                marks += ["large"] if s.multiply_adds >= LARGE and s.groups == 1 else []
                marks += ["quick"] if s.name in QUICK and not (last and backward) else []
                for lib in BACKENDS:
                    found.append(
                        Row(
                            "layer", name, lib, "float32",
                            "nn.conv_transpose" if s.transposed else "nn.conv",
                            lambda b=lib, s=s, t=last, r=backward: _trial(b, s, t, r),
                            tuple(marks),
                        )
                    )  # fmt: skip
    return found
