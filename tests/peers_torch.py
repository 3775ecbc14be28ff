"""PyTorch's functional layers as a peer: a layer's value and all derivatives in float64.

What PyTorch's layers cannot say is composed of what they can: uneven padding by `pad` before or a
crop after; p-norms with padding from its mean pooling (its lp_pool keeps the sign of odd powers and
takes a partial last window for a whole one).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from peers_grid import Case

Reference = tuple[np.ndarray, dict[str, np.ndarray]]


def reference(case: Case) -> Reference | None:
    """Value and gradients by name, or None where PyTorch has no such layer."""
    make = {
        "conv": _conv,
        "conv_transpose": _transpose,
        "max_pool": _max,
        "avg_pool": _mean,
        "lp_pool": _norm,
    }[case.layer]
    leaves = {k: torch.tensor(a, requires_grad=True) for k, a in case.arrays.items()}
    y = make(case, **leaves)
    if y is None:
        return None
    y.backward(torch.tensor(case.cotangent))
    return y.detach().numpy(), {k: leaf.grad.numpy() for k, leaf in leaves.items()}


def indices(case: Case) -> np.ndarray | None:
    """Places of the maxima."""
    if not _fits(case):
        return None
    pool = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[case.rank - 1]
    low = [p[0] for p in case.pads]
    ceil = case.extra["ceil_mode"]
    x = torch.tensor(case.arrays["x"])
    return pool(x, case.size, case.stride, low, case.dilation, ceil, return_indices=True)[1].numpy()


def _fits(case: Case) -> bool:
    """Whether PyTorch takes the layer: even padding of at most half a window, the window within.

    Its mean over three axes measures the window by the points without their padding.
    """
    short = case.layer != "max_pool" and case.rank == 3
    return case.symmetric and all(
        2 * p <= k and d * (k - 1) < n + (0 if short else 2 * p)
        for (p, _), k, d, n in zip(case.pads, case.size, case.dilation, case.points, strict=True)
    )


def _flat(pads: Any) -> list[int]:
    """Pairs in the order of `F.pad`: last axis first."""
    return [p for pair in reversed(pads) for p in pair]


def _conv(case: Case, x: Any, weight: Any, bias: Any = None) -> Any:
    function = (F.conv1d, F.conv2d, F.conv3d)[case.rank - 1]
    if case.symmetric:
        low = [p[0] for p in case.pads]
        return function(x, weight, bias, case.stride, low, case.dilation, case.groups)
    x = F.pad(x, _flat(case.pads))
    return function(x, weight, bias, case.stride, 0, case.dilation, case.groups)


def _transpose(case: Case, x: Any, weight: Any, bias: Any = None) -> Any:
    function = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[case.rank - 1]
    more = case.extra.get("output_padding")
    if case.symmetric and more is not None:
        low = [p[0] for p in case.pads]
        return function(x, weight, bias, case.stride, low, more, case.groups, case.dilation)
    y = function(x, weight, None, case.stride, 0, 0, case.groups, case.dilation)
    # Crop in front, then to the length: zeros where the kernels do not reach.
    ends = [
        (-low, low + n - full)
        for (low, _), n, full in zip(case.pads, case.out, y.shape[2:], strict=True)
    ]
    y = F.pad(y, _flat(ends))
    return y if bias is None else y + bias.reshape(-1, *[1] * case.rank)


def _max(case: Case, x: Any) -> Any:
    pool = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[case.rank - 1]
    ceil = case.extra["ceil_mode"]
    if _fits(case):
        low = [p[0] for p in case.pads]
        return pool(x, case.size, case.stride, low, case.dilation, ceil)
    if ceil:
        return None  # the rule for the last window tells padding from points
    x = F.pad(x, _flat(case.pads), value=-torch.inf)
    return pool(x, case.size, case.stride, 0, case.dilation)


def _sums(case: Case, x: Any) -> Any:
    """Sums of windows, by a mean pooling with divisor 1 (which one axis alone does not have)."""
    if max(case.dilation) > 1 or not _fits(case):
        return None
    low = [p[0] for p in case.pads]
    ceil = case.extra["ceil_mode"]
    if case.rank == 1:
        wide = x[:, :, None, :]
        size, stride, low = (1, *case.size), (1, *case.stride), [0, *low]
        return F.avg_pool2d(wide, size, stride, low, ceil, True, 1)[:, :, 0, :]
    pool = (F.avg_pool2d, F.avg_pool3d)[case.rank - 2]
    return pool(x, case.size, case.stride, low, ceil, True, 1)


def _mean(case: Case, x: Any) -> Any:
    if "divisor_override" in case.extra:
        y = _sums(case, x)
        return None if y is None else y / case.extra["divisor_override"]
    if max(case.dilation) > 1 or not _fits(case):
        return None
    low = [p[0] for p in case.pads]
    pool = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[case.rank - 1]
    include = case.extra["count_include_pad"]
    return pool(x, case.size, case.stride, low, case.extra["ceil_mode"], include)


def _norm(case: Case, x: Any) -> Any:
    p = case.extra["p"]
    unpadded = all(pair == (0, 0) for pair in case.pads)
    if unpadded and max(case.dilation) == 1 and not any(case.partial):
        pool = (F.lp_pool1d, F.lp_pool2d, F.lp_pool3d)[case.rank - 1]
        size = case.size[0] if case.rank == 1 else case.size
        stride = case.stride[0] if case.rank == 1 else case.stride
        return pool(x.abs(), float(p), size, stride, case.extra["ceil_mode"])
    y = _sums(case, x.abs() ** p)
    return None if y is None else y ** (1 / p)
