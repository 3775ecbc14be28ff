"""JAX's lax as a peer: values and derivatives in float64, many layers in one compiled program.

One program for all layers of a grid costs a third of a program for each. lax cannot differentiate a
dilated maximum, and where values tie it need not choose the first: there only values are compared.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jax import lax
from jax import numpy as jnp

from peers_grid import Case


def references(cases: list[Case], *others: list[Case]) -> list[list[Any]]:
    """(value, gradients by name) of every layer; for `others`, of the same shapes, too."""

    def program(given: list[Any]) -> list[Any]:
        return [
            _differentiated(case, arrays, g) for case, (arrays, g) in zip(cases, given, strict=True)
        ]

    with jax.enable_x64(True):
        compiled = jax.jit(program)
        runs = [compiled([(c.arrays, c.cotangent) for c in batch]) for batch in (cases, *others)]
    return [jax.tree.map(np.asarray, run) for run in runs]


def _differentiated(case: Case, arrays: dict[str, Any], cotangent: Any) -> Any:
    make = {
        "conv": _conv,
        "conv_transpose": _transpose,
        "max_pool": _max,
        "avg_pool": _mean,
        "lp_pool": _norm,
    }[case.layer]
    if case.layer == "max_pool" and (max(case.dilation) > 1 or "ties" in case.extra):
        return make(case, **arrays), {}
    y, pullback = jax.vjp(lambda a: make(case, **a), arrays)
    return y, pullback(cotangent)[0]


def _conv(case: Case, x: Any, weight: Any, bias: Any = None) -> Any:
    named = {"same": "SAME", "same_lower": "SAME_LOWER", "valid": "VALID"}
    padding = named[case.padding] if isinstance(case.padding, str) else case.padding
    y = lax.conv_general_dilated(
        x,
        weight,
        case.stride,
        padding,
        rhs_dilation=case.dilation,
        feature_group_count=case.groups,
    )
    return y if bias is None else y + bias.reshape(-1, *[1] * case.rank)


def _transpose(case: Case, x: Any, weight: Any, bias: Any = None) -> Any:
    axes = tuple(range(2, case.rank + 2))
    if case.padding == "same" and case.groups == 1:
        # lax.conv_transpose lays kernels out as (*K, C, O) and does not turn them round.
        kernel = jnp.flip(jnp.permute_dims(weight, (*axes, 0, 1)), tuple(range(case.rank)))
        space = "DHW"[-case.rank :]
        layout = ("NC" + space, space + "IO", "NC" + space)
        y = lax.conv_transpose(x, kernel, case.stride, "SAME", case.dilation, layout)
    else:
        depth, rows = weight.shape[0] // case.groups, weight.shape[1]
        kernel = jnp.flip(weight, axes).reshape(case.groups, depth, rows, *case.size)
        kernel = jnp.swapaxes(kernel, 1, 2).reshape(case.groups * rows, depth, *case.size)
        widths = []
        for n, k, s, d, (low, _), out in zip(
            case.points, case.size, case.stride, case.dilation, case.pads, case.out, strict=True
        ):
            reach = d * (k - 1)
            widths.append((reach - low, out + low - (n - 1) * s - 1))
        y = lax.conv_general_dilated(
            x,
            kernel,
            (1,) * case.rank,
            widths,
            lhs_dilation=case.stride,
            rhs_dilation=case.dilation,
            feature_group_count=case.groups,
        )
    return y if bias is None else y + bias.reshape(-1, *[1] * case.rank)


def _reduced(case: Case, x: Any, start: float, op: Any) -> Any:
    widths = [(low, high + more) for (low, high), more in zip(case.pads, case.partial, strict=True)]
    return lax.reduce_window(
        x,
        np.float64(start),
        op,
        (1, 1, *case.size),
        (1, 1, *case.stride),
        [(0, 0), (0, 0), *widths],
        window_dilation=(1, 1, *case.dilation),
    )


def _max(case: Case, x: Any) -> Any:
    return _reduced(case, x, -np.inf, lax.max)


def _mean(case: Case, x: Any) -> Any:
    total = _reduced(case, x, 0.0, lax.add)
    if "divisor_override" in case.extra:
        return total / case.extra["divisor_override"]
    # Points that count: those of x, or those of x with its padding.
    if case.extra["count_include_pad"]:
        ones = np.ones([n + low + high for n, (low, high) in zip(case.points, case.pads)])
        moved = Case(**{**case.__dict__, "pads": ((0, 0),) * case.rank})
        moved.arrays = {"x": ones[None, None]}
        counts = _reduced(moved, jnp.asarray(ones[None, None]), 0.0, lax.add)
    else:
        counts = _reduced(case, jnp.ones((1, 1, *case.points)), 0.0, lax.add)
    return total / counts


def _norm(case: Case, x: Any) -> Any:
    p = case.extra["p"]
    return _reduced(case, jnp.abs(x) ** p, 0.0, lax.add) ** (1 / p)
