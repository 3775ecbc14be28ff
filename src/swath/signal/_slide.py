"""From SciPy's conventions (modes, axes, broadcasting) to one sliding product and back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any

from .. import _ops, arguments
from .._backends import Backend, backend_of
from ..autodiff import bare, primal
from ..errors import ArgumentError
from ..geometry import Sliding, Span
from ..sliding import correlate as product
from ..sliding.plan import check_method, run

__all__ = ["MODES", "check_mode", "convolve_axes", "mode_span", "outcome", "prepare", "slide"]

MODES = ("full", "same", "valid")


def check_mode(mode: Any) -> str:
    """`mode`, if it is one of SciPy's."""
    return arguments.choice("mode", mode, MODES)


def prepare(
    in1: Any,
    in2: Any,
    axes: Any,
    *,
    names: tuple[str, str] = ("in1", "in2"),
    floats: bool = False,
) -> tuple[Backend, Any, Any, tuple[int, ...]]:
    """Both inputs as arrays of one rank and dtype, and the sliding axes.

    With `axes`, the second input may have exactly len(axes) dimensions. `floats`: integers alone
    become the default float.
    """
    first, second = names
    given = {first: in1, second: in2}
    be, (in1, in2) = (arguments.dividing if floats else arguments.arrays)(**given)
    arguments.numeric(be, first, in1)
    arguments.numeric(be, second, in2)
    in1, in2 = (arguments.floating if floats else arguments.promote)(be, in1, in2)
    if axes is None:
        if in1.ndim != in2.ndim:
            raise ArgumentError(
                f"{first} and {second} must have the same number of axes, got {in1.ndim} and "
                f"{in2.ndim}; with axes= the second may have one axis for each entry"
            )
        return be, in1, in2, tuple(range(in1.ndim))
    places = arguments.axes_of("axes", axes, in1.ndim)
    shapes = tuple(in1.shape), tuple(in2.shape)
    if in2.ndim == len(places) != in1.ndim:
        order = sorted(range(len(places)), key=places.__getitem__)
        in2 = _ops.permute(in2, order)
        shape = [1] * in1.ndim
        for place, n in zip(sorted(places), in2.shape, strict=True):
            shape[place] = n
        in2 = _ops.reshape(in2, shape)
    if in1.ndim != in2.ndim:
        raise ArgumentError(
            f"{second} must have {in1.ndim} axes like {first}, or {len(places)} (one for each "
            f"entry of axes); got {in2.ndim}"
        )
    for i, (n, m) in enumerate(zip(in1.shape, in2.shape, strict=True)):
        if i not in places and n != m and n != 1 and m != 1:
            raise ArgumentError(
                f"{first} and {second} do not broadcast along axis {i}: lengths {n} and {m} "
                f"(shapes {shapes[0]} and {shapes[1]}, sliding axes {places})"
            )
    return be, in1, in2, places


@dataclass(frozen=True)
class _Layout:
    """How the axes of two broadcast inputs become batch, groups and sliding axes."""

    order: tuple[int, ...]
    x_shape: tuple[int, ...]
    w_shape: tuple[int, ...]
    y_shape: tuple[int, ...]
    y_order: tuple[int, ...]
    geometry: Sliding
    empty: tuple[int, ...] | None
    flip: tuple[int, ...]
    moves: bool
    exchanges: bool


@lru_cache(maxsize=4096)
def _layout(
    shape1: tuple[int, ...],
    shape2: tuple[int, ...],
    axes: tuple[int, ...],
    mode: str,
    method: str,
) -> _Layout:
    axes = tuple(sorted(axes))
    rest = [i for i in range(len(shape1)) if i not in axes]
    batch, groups, kernels = [], [], []
    for i in rest:
        n, m = shape1[i], shape2[i]
        (batch if m == 1 else kernels if n == 1 else groups).append(i)
    lengths, sizes = [shape1[i] for i in axes], [shape2[i] for i in axes]
    spans = tuple(mode_span(n, k, mode) for n, k in zip(lengths, sizes, strict=True))
    out = [s.out for s in spans]
    empty = None
    if 0 in shape1 or 0 in shape2:
        full = [
            0 if 0 in (shape1[i], shape2[i]) else max(shape1[i], shape2[i])
            for i in range(len(shape1))
        ]
        for i, n, k, o in zip(axes, lengths, sizes, out, strict=True):
            full[i] = 0 if 0 in (n, k) else o
        empty = tuple(full)
    order = (*batch, *groups, *kernels, *axes)
    count = prod(shape1[i] for i in groups)
    geometry = Sliding(spans, max(count, 1), False, method)
    return _Layout(
        order,
        (prod(shape1[i] for i in batch), count, *lengths),
        (count * prod(shape2[i] for i in kernels), 1, *sizes),
        (
            *(shape1[i] for i in batch),
            *(shape1[i] for i in groups),
            *(shape2[i] for i in kernels),
            *out,
        ),
        tuple(order.index(i) for i in range(len(shape1))),
        geometry,
        empty,
        tuple(range(2, 2 + len(axes))),
        order != tuple(range(len(shape1))),
        # A signal shorter than its kernel takes its place.
        mode != "valid" and geometry.groups == 1 and prod(sizes) > prod(lengths),
    )


def mode_span(n: int, k: int, mode: str) -> Span:
    """Padding of a correlation with the turned kernel; `mode` as SciPy's, relative to in1.

    "causal", for filters: the first N points of "full".
    """
    if mode == "full":
        return Span(n, k, low=k - 1, high=k - 1)
    if mode == "same":
        return Span(n, k, low=k - 1 - (k - 1) // 2, high=(k - 1) // 2)
    if mode == "causal":
        return Span(n, k, low=k - 1)
    return Span(n, k)


def outcome(
    shape1: tuple[int, ...], shape2: tuple[int, ...], axes: tuple[int, ...], mode: str
) -> tuple[Sliding, tuple[int, ...]]:
    """The geometry of `convolve_axes` for arrays of these shapes, and the shape of its result."""
    plan = _layout(shape1, shape2, axes, mode, "auto")
    return plan.geometry, plan.empty or tuple(plan.y_shape[i] for i in plan.y_order)


def convolve_axes(
    in1: Any, in2: Any, axes: tuple[int, ...], mode: str, method: str, *, turned: bool = False
) -> Any:
    """Σ_m in1[n − m] in2[m] along axes, the rest broadcast.

    Parameters
    ----------
    in1, in2 : array or node
        Of one rank and dtype (see `prepare`).
    axes : tuple of int
        Sliding axes.
    mode, method : str
        As SciPy's, checked by the caller; or "causal".
    turned : bool
        Whether in2 is given reversed along the axes already (a correlation).
    """
    if mode == "valid" and axes:
        bigger = [in1.shape[a] >= in2.shape[a] for a in axes]
        smaller = [in1.shape[a] <= in2.shape[a] for a in axes]
        if not all(bigger):
            if not all(smaller):
                raise ArgumentError(
                    f'mode="valid" needs one input at least as large as the other along every '
                    f"sliding axis {axes}; got shapes {tuple(in1.shape)} and {tuple(in2.shape)}"
                )
            # in1 * in2 = in2 * in1; a turned factor turns back the result.
            if turned:
                flipped = convolve_axes(in2, in1, axes, mode, method, turned=True)
                return _ops.flip(flipped, axes)
            return convolve_axes(in2, in1, axes, mode, method)
    if not axes:
        return _ops.multiply(in1, in2)
    plan = _layout(tuple(in1.shape), tuple(in2.shape), axes, mode, method)
    if plan.empty is not None:
        return _ops.vacant(plan.empty, in1, in2)
    return _laid_out(plan, in1, in2, turned)


def _laid_out(plan: _Layout, x: Any, w: Any, turned: bool) -> Any:
    """The product of arrays that are known to fit."""
    be = None if plan.exchanges or plan.moves else bare(x, w)
    if be is not None:
        w = be.reshape(w, plan.w_shape)
        if not turned:
            w = be.flip(w, plan.flip)
        y = run(be, "y", plan.geometry, be.reshape(x, plan.x_shape), w)
        return be.reshape(y, plan.y_shape)
    if plan.moves:
        x, w = _ops.permute(x, plan.order), _ops.permute(w, plan.order)
    x, w = _ops.reshape(x, plan.x_shape), _ops.reshape(w, plan.w_shape)
    if not turned:
        w = _ops.flip(w, plan.flip)
    y = (_exchanged if plan.exchanges and _may_exchange(plan, x) else product)(plan.geometry, x, w)
    y = _ops.reshape(y, plan.y_shape)
    return _ops.permute(y, plan.y_order) if plan.moves else y


def _may_exchange(plan: _Layout, x: Any) -> bool:
    """Whether signal and kernel may change places.

    Where padding is written its zeros meet every tap, and 0·NaN is NaN: that of a signal in the
    kernel's place would reach outputs beyond its windows, which "direct" rules out.
    """
    be = backend_of(primal(x))
    return plan.geometry.method != "direct" or be.mutable or be.lazy


# Signatures of calls that passed all checks with inputs that need no conversion, and how they are
# laid out: for short signals the checks cost more than the product.
_KNOWN = arguments.Known(4096)


def slide(in1: Any, in2: Any, mode: Any, method: Any, axes: Any, *, turned: bool) -> Any:
    """A convolution, or with `turned` a correlation, with all its checks."""
    try:
        key = (
            in1.__class__, in1.shape, in1.dtype, in2.__class__, in2.shape, in2.dtype,
            mode, method, axes, turned,
        )  # fmt: skip
        known = _KNOWN.get(key)
    except (AttributeError, TypeError):
        # A list or a number; axes in a list.
        key = known = None
    if known is not None and known[0].same_device(in1, in2):
        be, plan = known
        if turned and be.is_complex(in2):
            in2 = _ops.conj(in2)
        return _laid_out(plan, in1, in2, turned)
    check_mode(mode)
    check_method(method)
    be, x, w, places = prepare(in1, in2, axes)
    y = convolve_axes(x, _ops.conj(w) if turned else w, places, mode, method, turned=turned)
    if key is not None and places and arguments.unchanged((in1, in2), (x, w)):
        shapes = tuple(x.shape), tuple(w.shape)
        if mode != "valid" or all(shapes[0][a] >= shapes[1][a] for a in places):
            plan = _layout(*shapes, places, mode, method)
            if plan.empty is None:
                _KNOWN.keep(key, (be, plan))
    return y


def _exchanged(g: Sliding, x: Any, w: Any) -> Any:
    """The same product with the roles of signal and kernel exchanged, for a short signal.

    y_i = Σ_j w_j x_{i+j−low}: as a correlation of the reversed w with x reversed…: the kernel is
    turned x, the signal is turned w, and the padding follows from where y starts.
    """
    axes = tuple(range(2, 2 + g.rank))
    spans = tuple(
        Span(s.size, s.length, low=s.low + s.length - s.size, high=s.high + s.length - s.size)
        for s in g.spans
    )
    swapped = Sliding(spans, 1, False, g.method)
    # (B, 1, *S) and (O, 1, *K): the batch becomes output channels and the other way round.
    y = product(swapped, _ops.flip(w, axes), _ops.flip(x, axes))
    return _ops.permute(y, (1, 0, *axes))
