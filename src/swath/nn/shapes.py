"""The integers behind the layers: output shapes and SAME padding, without any array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import arguments, geometry
from ..errors import ArgumentError, ArgumentTypeError, describe, explain
from ..geometry import Span, resolve_padding
from ._layout import channels_last, check_rank, sliding_axes

__all__ = ["conv_output_shape", "conv_spans", "output_shape", "same_padding", "spread_spans"]


def _checked(
    x: tuple[int, ...], weight: tuple[int, ...], kernel: str, last: bool
) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
    """Channels of x, its sliding axes, and the taps of each; `kernel` says how weight is laid."""
    rank = len(weight) - 2
    if rank < 1:
        raise ArgumentError(
            f"weight must have at least 3 axes {kernel}, got {len(weight)} (shape {weight})"
        )
    check_rank(x, rank, last, f"a weight of shape {weight}")
    sizes = weight[:-2] if last else weight[2:]
    if 0 in sizes:
        raise ArgumentError(
            f"weight has no taps on a sliding axis (shape {weight}); give at least one"
        )
    return x[-1] if last else x[-rank - 1], sliding_axes(len(x), rank, last), sizes


def conv_spans(
    x: tuple[int, ...],
    weight: tuple[int, ...],
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: Any,
    last: bool,
) -> tuple[Span, ...]:
    """The sliding axes of a layer convolution, from the shapes of its arrays; checks everything."""
    kernel = "(*K, C/groups, O)" if last else "(O, C/groups, *K)"
    channels, axes, sizes = _checked(x, weight, kernel, last)
    groups = arguments.positive("groups", groups)
    depth, rows = (weight[-2], weight[-1]) if last else (weight[1], weight[0])
    layout = "last" if last else "first"
    if depth * groups != channels:
        count = f"{depth} input channels" + (
            f" × {groups} groups = {depth * groups}" if groups > 1 else ""
        )
        need = (
            f"the weight must have {channels // groups}"
            if channels % groups == 0
            else f"groups must divide {channels}"
        )
        raise ArgumentError(
            f"weight has {count}, but x has {channels} channels (shape {x}, "
            f'channels="{layout}"); {need}{f" for groups={groups}" if groups > 1 else ""}'
        )
    if rows % groups:
        raise ArgumentError(
            f'weight has {rows} output channels (shape {weight}, channels="{layout}"), which '
            f"groups={groups} does not divide; give a multiple of it"
        )
    strides = arguments.per_axis("stride", stride, len(axes))
    dilations = arguments.per_axis("dilation", dilation, len(axes))
    lengths = [x[a] for a in axes]
    pads = resolve_padding(padding, lengths, sizes, strides, dilations)
    spans = []
    for a, n, k, s, d, (low, high) in zip(
        axes, lengths, sizes, strides, dilations, pads, strict=True
    ):
        span = Span(n, k, s, d, low, high)
        if span.out == 0 and n:
            raise ArgumentError(
                f"weight spans {span.extent} points ({k} taps, dilation {d}), but axis {a} of x "
                f"has {n} points and padding {(low, high)}; pad more or use a smaller kernel"
            )
        spans.append(span)
    return tuple(spans)


def spread_spans(
    x: tuple[int, ...],
    weight: tuple[int, ...],
    stride: Any,
    padding: Any,
    output_padding: Any,
    output_shape: Any,
    dilation: Any,
    groups: Any,
    last: bool,
) -> tuple[tuple[Span, ...], int]:
    """As `conv_spans` of the layer that a transposed one transposes; and the channels of y."""
    kernel = "(*K, O/groups, C)" if last else "(C, O/groups, *K)"
    channels, axes, sizes = _checked(x, weight, kernel, last)
    rank, groups = len(axes), arguments.positive("groups", groups)
    given, rows = (weight[-1], weight[-2]) if last else (weight[0], weight[1])
    layout = "last" if last else "first"
    if given != channels:
        raise ArgumentError(
            f"weight {kernel} has {given} input channels (shape {weight}), but x has {channels} "
            f'channels (shape {x}, channels="{layout}"); the weight must have as many'
        )
    if channels % groups:
        raise ArgumentError(
            f'x has {channels} channels (shape {x}, channels="{layout}"), which groups={groups} '
            f"does not divide; groups must divide it"
        )
    strides = arguments.per_axis("stride", stride, rank)
    dilations = arguments.per_axis("dilation", dilation, rank)
    extra = arguments.per_axis("output_padding", output_padding, rank, least=0)
    wanted = None if output_shape is None else _target(output_shape, rank, extra)
    lengths = [x[a] for a in axes]
    if 0 in lengths:
        raise ArgumentError(
            f"x has no points on a sliding axis (shape {x}), so there is nothing to spread; give "
            f"at least one"
        )
    reach = [
        (n - 1) * s + d * (k - 1) + 1
        for n, k, s, d in zip(lengths, sizes, strides, dilations, strict=True)
    ]
    if isinstance(padding, str) and padding in ("same", "same_lower"):
        if wanted is None:
            wanted = [n * s + e for n, s, e in zip(lengths, strides, extra, strict=True)]
        pads = _centred(reach, wanted, lower=padding == "same_lower")
    else:
        # Names other than "same" depend on the kernel alone.
        pads = resolve_padding(padding, lengths, sizes, strides, dilations)
        base = [r - low - high for r, (low, high) in zip(reach, pads, strict=True)]
        limits = [max(s, d) for s, d in zip(strides, dilations, strict=True)]
        if wanted is None:
            _check_extra(extra, limits)
            wanted = [b + e for b, e in zip(base, extra, strict=True)]
        else:
            _check_target(wanted, base, limits, pads)
    spans = []
    for i, (k, s, d) in enumerate(zip(sizes, strides, dilations, strict=True)):
        low, points = pads[i][0], wanted[i]
        if points < 1:
            raise ArgumentError(
                f"padding {tuple(pads[i])} leaves no output on sliding axis {i}: {lengths[i]} "
                f"points of x spread over {reach[i]}, and padding must take away fewer"
            )
        spans.append(Span(points, k, s, d, low, reach[i] - points - low))
    return tuple(spans), rows * groups


def _centred(reach: Sequence[int], wanted: Sequence[int], *, lower: bool) -> list[tuple[int, int]]:
    """What is cut off so many points, that those wanted are left."""
    found = []
    for r, w in zip(reach, wanted, strict=True):
        total = max(0, r - w)
        half = (total // 2, total - total // 2)
        found.append(half[::-1] if lower else half)
    return found


def _check_extra(extra: Sequence[int], limits: Sequence[int]) -> None:
    for i, (e, limit) in enumerate(zip(extra, limits, strict=True)):
        if e >= limit:
            raise ArgumentError(
                f"output_padding must be less than the stride or the dilation; got {e} on "
                f"sliding axis {i}, where the larger of these is {limit}"
            )


def _check_target(
    wanted: Sequence[int],
    base: Sequence[int],
    limits: Sequence[int],
    pads: Sequence[tuple[int, int]],
) -> None:
    """Refuse an output shape that no output padding gives."""
    for i, (w, b, limit) in enumerate(zip(wanted, base, limits, strict=True)):
        if not 0 <= w - b < limit:
            raise ArgumentError(
                f"output_shape {tuple(wanted)} cannot be reached on sliding axis {i}: this x with "
                f"padding {tuple(pads[i])} gives {b} to {b + limit - 1}"
            )


def _target(output_shape: Any, rank: int, extra: Sequence[int]) -> tuple[int, ...]:
    if any(extra):
        raise ArgumentError(
            f"give output_shape or output_padding, not both; got {output_shape} and {tuple(extra)}"
        )
    if not isinstance(output_shape, Sequence) or isinstance(output_shape, str):
        raise ArgumentTypeError(
            f"output_shape must be a tuple of ints, one per sliding axis, got "
            f"{describe(output_shape)}"
        )
    return arguments.per_axis("output_shape", tuple(output_shape), rank)


def output_shape(
    x: tuple[int, ...], spatial: Sequence[int], channels: int, last: bool
) -> tuple[int, ...]:
    """x's shape with other sliding lengths and channels."""
    lead = x[: len(x) - len(spatial) - 1]
    return (*lead, *spatial, channels) if last else (*lead, channels, *spatial)


def _shape(name: str, value: Any) -> tuple[int, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise ArgumentTypeError(f"{name} must be a tuple of ints, got {describe(value)}")
    return tuple(arguments.positive(name, n, least=0) for n in value)


def conv_output_shape(
    x_shape: Sequence[int],
    weight_shape: Sequence[int],
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    channels: str = "first",
) -> tuple[int, ...]:
    """Shape of what `conv` returns.

    Parameters
    ----------
    x_shape, weight_shape : sequence of int
        Shapes of the two arrays.
    stride, padding, dilation, groups, channels
        As for `conv`.

    Returns
    -------
    tuple of int
        With N points, K taps, stride S, dilation D and padding (l, h) on a sliding axis it has
        ⌊(N + l + h − D·(K − 1) − 1) / S⌋ + 1 points.

    Raises
    ------
    ValueError, TypeError
        Where `conv` would raise.

    Examples
    --------
    >>> import swath
    >>> swath.nn.conv_output_shape((1, 3, 224, 224), (64, 3, 7, 7), stride=2, padding=3)
    (1, 64, 112, 112)
    """
    with explain("conv_output_shape", {}):
        x, weight = _shape("x_shape", x_shape), _shape("weight_shape", weight_shape)
        last = channels_last(channels)
        spans = conv_spans(x, weight, stride, padding, dilation, groups, last)
        rows = weight[-1] if last else weight[0]
        return output_shape(x, [s.out for s in spans], rows, last)


def same_padding(
    lengths: int | Sequence[int],
    size: Any,
    *,
    stride: Any = 1,
    dilation: Any = 1,
    lower: bool = False,
) -> tuple[tuple[int, int], ...]:
    """Padding per axis with which a layer gives ⌈length / stride⌉ points: TensorFlow's SAME.

    Parameters
    ----------
    lengths : int or sequence of int
        Points of x per sliding axis.
    size, stride, dilation : int or tuple of int
        Taps of the kernel or window, step between windows, step between taps.
    lower : bool, default False
        Whether an odd point goes to the low side (ONNX SAME_LOWER).

    Returns
    -------
    tuple of (low, high)
        One pair per sliding axis, as ``padding=`` takes it; what ``padding="same"`` (or
        ``"same_lower"``) stands for.

    Raises
    ------
    ValueError, TypeError
        If a number is out of range, or an argument has another number of entries than `lengths`.

    Examples
    --------
    >>> import swath
    >>> swath.nn.same_padding((224, 10), (7, 4), stride=(2, 1))
    ((2, 3), (1, 2))
    """
    with explain("same_padding", {}):
        lower = arguments.flag("lower", lower)
        points = _shape("lengths", [lengths] if arguments.is_int(lengths) else lengths)
        rank = len(points)
        sizes = arguments.per_axis("size", size, rank)
        strides = arguments.per_axis("stride", stride, rank)
        dilations = arguments.per_axis("dilation", dilation, rank)
        return tuple(
            geometry.same_padding(n, k, s, d, lower=lower)
            for n, k, s, d in zip(points, sizes, strides, dilations, strict=True)
        )
