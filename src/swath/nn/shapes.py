"""The integers behind the layers: output shapes and SAME padding, without any array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import arguments, geometry
from ..errors import ArgumentError, ArgumentTypeError, describe, explain
from ..geometry import Span, resolve_padding
from ._layout import channels_last, check_rank, sliding_axes

__all__ = ["conv_output_shape", "same_padding"]


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
    rank = len(weight) - 2
    kernel = "(*K, C/groups, O)" if last else "(O, C/groups, *K)"
    if rank < 1:
        raise ArgumentError(
            f"weight must have at least 3 axes {kernel}, got {len(weight)} (shape {weight})"
        )
    check_rank(x, rank, last, f"a weight of shape {weight}")
    groups = arguments.positive("groups", groups)
    depth, rows = (weight[-2], weight[-1]) if last else (weight[1], weight[0])
    channels = x[-1] if last else x[-rank - 1]
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
    sizes = weight[:-2] if last else weight[2:]
    if 0 in sizes:
        raise ArgumentError(
            f"weight has no taps on a sliding axis (shape {weight}); give at least one"
        )
    strides = arguments.per_axis("stride", stride, rank)
    dilations = arguments.per_axis("dilation", dilation, rank)
    axes = sliding_axes(len(x), rank, last)
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
        points = _shape("lengths", [lengths] if arguments.is_int(lengths) else lengths)
        rank = len(points)
        sizes = arguments.per_axis("size", size, rank)
        strides = arguments.per_axis("stride", stride, rank)
        dilations = arguments.per_axis("dilation", dilation, rank)
        return tuple(
            geometry.same_padding(n, k, s, d, lower=bool(lower))
            for n, k, s, d in zip(points, sizes, strides, dilations, strict=True)
        )
