"""ONNX's reference evaluator as a peer: values, and places of maxima, in float64.

A layer is stated in ONNX's attributes, and swath is given its own for the same layer. Where the
evaluator (onnx 1.23) departs from the ONNX specification it is not asked that way, and the comment
beside says what it does:

- the specification's arithmetic replaces an attribute (SAME as explicit pads), or
- the layer is left to the other peers (`None`).
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
from onnx import helper
from onnx.reference import ReferenceEvaluator

from peers_grid import Case

# Attributes and input counts that operators were evaluated with, by operator.
DRIVEN: dict[str, set[str]] = defaultdict(set)
AUTO_PAD = {"same": "SAME_UPPER", "same_lower": "SAME_LOWER", "valid": "VALID"}


def run(op: str, inputs: list[Any], outputs: int = 1, **attributes: Any) -> Any:
    """One node of the standard's operator set, evaluated."""
    DRIVEN[op] |= set(attributes) | {f"{len(inputs)} inputs"}
    names = [f"i{n}" if a is not None else "" for n, a in enumerate(inputs)]
    results = [f"o{n}" for n in range(outputs)]
    node = helper.make_node(op, names, results, **attributes)
    given = {n: a for n, a in zip(names, inputs, strict=True) if n}
    found = ReferenceEvaluator(node).run(None, given)
    return found[0] if outputs == 1 else found


def flat(pads: Any) -> list[int]:
    """Pairs in ONNX's order: all beginnings, then all ends."""
    return [low for low, _ in pads] + [high for _, high in pads]


def _attributes(case: Case, auto: bool) -> dict[str, Any]:
    result: dict[str, Any] = {
        "kernel_shape": list(case.size),
        "strides": list(case.stride),
        "dilations": list(case.dilation),
    }
    if isinstance(case.padding, str) and auto:
        result["auto_pad"] = AUTO_PAD[case.padding]
    else:
        result["pads"] = flat(case.pads)
    return result


def reference(case: Case) -> np.ndarray | None:
    """The value, or None where the evaluator has no right answer."""
    return {
        "conv": _conv,
        "conv_transpose": _transpose,
        "max_pool": _max,
        "avg_pool": _mean,
        "lp_pool": _norm,
    }[case.layer](case)


def _conv(case: Case) -> np.ndarray:
    a = case.arrays
    return run(
        "Conv", [a["x"], a["weight"], a.get("bias")], group=case.groups, **_attributes(case, True)
    )


def _transpose(case: Case) -> np.ndarray | None:
    x, w, b = (case.arrays.get(n) for n in ("x", "weight", "bias"))
    attributes = _attributes(case, True)
    if "output_padding" in case.extra:
        more = case.extra["output_padding"]
        if any(e >= s for e, s in zip(more, case.stride, strict=True)):
            # The specification allows less than the stride or the dilation; the evaluator then
            # finds one window too many and raises.
            return None
        attributes["output_padding"] = list(more)
    elif any(
        d * (k - 1) + 1 < s for k, s, d in zip(case.size, case.stride, case.dilation, strict=True)
    ):
        # SAME with a kernel shorter than the stride: the evaluator pads by a negative number and
        # so moves the result; TensorFlow, lax and swath add zeros at the high side.
        return None
    # With groups the evaluator slices the weight by output channels and gives every group the
    # same bias: each group is evaluated as the layer that the specification says it is.
    parts = []
    depth = x.shape[1] // case.groups
    for g in range(case.groups):
        cut = slice(g * depth, (g + 1) * depth)
        bias = None if b is None else b[g * w.shape[1] : (g + 1) * w.shape[1]]
        parts.append(run("ConvTranspose", [x[:, cut], w[cut], bias], **attributes))
    return np.concatenate(parts, axis=1)


def _tame(case: Case) -> bool:
    """Whether the evaluator's auto_pad for pooling is the specification's.

    It takes the kernel for undilated, and lets padding become negative where strides are longer
    than windows.
    """
    return max(case.dilation) == 1 and all(
        (o - 1) * s + k >= n
        for o, s, k, n in zip(case.out, case.stride, case.size, case.points, strict=True)
    )


def _plain(case: Case) -> bool:
    """Whether the evaluator takes its branch for maxima without strides and dilation."""
    return max(*case.stride, *case.dilation, 1) == 1


def _max(case: Case) -> np.ndarray:
    if _plain(case):
        # This branch reads the pads of two axes in another order and ignores those of one or three:
        # it is given the padding in place.
        widths = [(0, 0), (0, 0), *case.pads]
        x = np.pad(case.arrays["x"], widths, constant_values=-np.inf)
        return run("MaxPool", [x], kernel_shape=list(case.size), strides=list(case.stride))
    # SAME_LOWER rounds the number of outputs down and pads as SAME_UPPER does: explicit pads.
    auto = case.padding == "valid" or (case.padding == "same" and _tame(case))
    attributes = _attributes(case, auto)
    if not isinstance(case.padding, str):
        attributes["ceil_mode"] = int(case.extra["ceil_mode"])
    return run("MaxPool", [case.arrays["x"]], **attributes)


def indices(case: Case, storage_order: int = 0) -> np.ndarray | None:
    """Places of the maxima, numbered over the whole of x; None where there are none.

    The evaluator's branch without strides and dilation names places of the padded array.
    """
    if _plain(case):
        return None
    attributes = _attributes(case, False)
    attributes |= {"ceil_mode": int(case.extra["ceil_mode"]), "storage_order": storage_order}
    return run("MaxPool", [case.arrays["x"]], 2, **attributes)[1]


def numbered(places: np.ndarray, points: tuple[int, ...], storage_order: int) -> np.ndarray:
    """swath's places (per channel, rows first) in ONNX's numbering.

    storage_order=1 numbers columns first; like counting over batch and channels, it is a way to
    write the same places down.
    """
    spots = np.unravel_index(places, points)
    number = np.ravel_multi_index(spots, points, order="F" if storage_order else "C")
    planes = np.arange(places.shape[0] * places.shape[1]).reshape(places.shape[:2])
    return number + planes.reshape(*places.shape[:2], *[1] * len(points)) * int(np.prod(points))


def _mean(case: Case) -> np.ndarray | None:
    if "divisor_override" in case.extra:
        return None  # PyTorch's alone
    if max(case.partial) > 1:
        # The evaluator shares what the last window of ceil_mode reaches beyond the padding between
        # both ends, and so moves all windows.
        return None
    attributes = _attributes(case, _tame(case))
    if not isinstance(case.padding, str):
        attributes["ceil_mode"] = int(case.extra["ceil_mode"])
    attributes["count_include_pad"] = int(case.extra["count_include_pad"])
    return run("AveragePool", [case.arrays["x"]], **attributes)


def _norm(case: Case) -> np.ndarray | None:
    if max(case.partial) > 0:
        # The mean of a partial window times the size of a whole one is not its sum.
        return None
    attributes = _attributes(case, _tame(case))
    if not isinstance(case.padding, str):
        attributes["ceil_mode"] = int(case.extra["ceil_mode"])
    return run("LpPool", [case.arrays["x"]], p=case.extra["p"], **attributes)
