"""Layer convolution and its transpose: any number of sliding axes, both layouts.

arguments -> padding that copies (if any) -> one sliding product -> bias.
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Number
from typing import Any

from .. import _ops, arguments
from .._backends import Backend
from ..autodiff import Core, apply, primal
from ..errors import ArgumentError, ArgumentTypeError, describe
from ..geometry import Sliding, Span
from ..registry import operation
from ..sliding import correlate, spread
from ..sliding.plan import check_method
from . import _features, _padding
from ._layout import channels_last, frozen, sliding_axes
from .shapes import conv_spans, spread_spans

__all__ = ["conv", "conv_transpose"]

Array = Any

# Of calls of either layer: adapter, geometry, and whether x has a batch axis.
_KNOWN = arguments.Known(4096)


def _signature(x: Any, weight: Any, bias: Any, *settings: Any) -> tuple[Any, Any]:
    """What a call is known by, and what it amounts to; None where there is no such thing."""
    x, weight, bias = primal(x), primal(weight), primal(bias)
    # True is not 1, nor 2.0 an int.
    kinds = tuple(map(type, settings))
    if tuple in kinds or list in kinds:
        settings = frozen(settings)
    try:
        key = (
            x.__class__, x.shape, x.dtype, weight.__class__, weight.shape, weight.dtype,
            None if bias is None else (bias.__class__, bias.shape, bias.dtype),
            settings, kinds,
        )  # fmt: skip
        known = _KNOWN.get(key)
    except (AttributeError, TypeError):
        # A list or a number.
        return None, None
    if known is None:
        return key, None
    be = known[0]
    fits = be.same_device(x, weight) and (bias is None or be.same_device(x, bias))
    return key, known if fits else None


def _product(core: Any, known: Any, x: Any, weight: Any, bias: Any) -> Any:
    """The layer, of arrays of one dtype; x with or without a batch axis."""
    _, g, had_batch = known
    if not had_batch:
        x = _ops.reshape(x, (1, *x.shape))
    y = core(g, x, weight) if core is correlate else core(g, weight, x)
    if bias is not None:
        y = _add_bias(y, bias, g.last)
    return y if had_batch else _ops.reshape(y, y.shape[1:])


class _Offset(Core):
    """y + b, written into y where nothing else can see it: y is a product of ours."""

    name = "offset"
    native = True

    def forward(self, be: Backend, geometry: tuple[int, ...], *arrays: Array) -> Array:
        y, b = arrays
        return be.add_into(y, be.xp.reshape(b, geometry))

    def pull(
        self,
        be: Backend,
        geometry: tuple[int, ...],
        arrays: Sequence[Array],
        out: Array,
        cotangent: Array,
        wanted: Sequence[bool],
    ) -> Sequence[Any]:
        axes = tuple(i for i, n in enumerate(geometry) if n == 1)
        if not wanted[1]:
            return cotangent, None
        total = be.xp.sum(cotangent, axis=axes, dtype=cotangent.dtype)
        return cotangent, be.xp.reshape(total, arrays[1].shape)


_OFFSET = _Offset()


def _add_bias(y: Any, bias: Any, last: bool) -> Any:
    """y + bias along the channels; y is a fresh array with a batch axis."""
    if 0 in y.shape:
        return _ops.vacant(y.shape, y, bias)
    shape = [1] * y.ndim
    shape[-1 if last else 1] = bias.shape[0]
    return apply(_OFFSET, tuple(shape), y, bias)


def _operands(x: Any, weight: Any, bias: Any) -> tuple[Backend, Any, Any, Any]:
    """The arrays in one dtype."""
    be, (x, weight, bias) = arguments.arrays("bias", x=x, weight=weight, bias=bias)
    arguments.numeric(be, "x", x)
    arguments.numeric(be, "weight", weight)
    if bias is not None:
        arguments.numeric(be, "bias", bias)
    elif x.dtype == weight.dtype:
        return be, x, weight, None
    return (be, *arguments.promote(be, x, weight, bias))


def _check_bias(bias: Any, rows: int) -> None:
    if bias is not None and tuple(bias.shape) != (rows,):
        raise ArgumentError(
            f"bias must have shape ({rows},), one entry per output channel; got {tuple(bias.shape)}"
        )


def _padding_value(mode: Any, be: Backend, x: Any) -> Any:
    """None for a mode that copies points of x, else the constant."""
    if isinstance(mode, str):
        if mode == "zeros":
            return 0
        if mode in _padding.MODES:
            return None
    elif isinstance(mode, Number) and not isinstance(mode, bool):
        # NumPy's are numbers to NumPy alone.
        mode = arguments.number("padding_mode", mode)
        if isinstance(mode, complex) and not be.is_complex(primal(x)):
            raise ArgumentTypeError(
                f"padding_mode is the complex number {mode!r}, but x and weight are "
                f"{be.name_of(x.dtype)}"
            )
        if be.is_floating(x.dtype):
            return mode
        if not float(mode).is_integer():  # type: ignore[arg-type]
            raise ArgumentTypeError(
                f"padding_mode {mode!r} is no integer, but x and weight are "
                f"{be.name_of(x.dtype)}; convert them to a float dtype"
            )
        arguments.in_range(be, "padding_mode", int(mode), x.dtype)  # type: ignore[call-overload]
        return int(mode)  # type: ignore[call-overload]
    else:
        raise ArgumentTypeError(f"padding_mode must be a name or a number, got {describe(mode)}")
    names = ", ".join(map(repr, ("zeros", *_padding.MODES)))
    raise ArgumentError(f"padding_mode must be one of {names}, or a number; got {mode!r}")


@operation(
    "nn.conv",
    differentiable=("x", "weight", "bias"),
    linear=("x", "weight"),
    features=_features.CONV,
)
def conv(
    x: Any,
    weight: Any,
    bias: Any = None,
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    padding_mode: Any = "zeros",
    channels: str = "first",
    method: str = "auto",
) -> Any:
    """Convolution of a layer: a correlation over channels, on any number of sliding axes.

    With stride s, dilation d, padding l in front, and c over the input channels of o's group::

        y[n, o, i] = bias[o] + Σ_c Σ_j weight[o, c, j] · x[n, c, s·i + d·j − l],     0 <= j < K

    Parameters
    ----------
    x : array, shape (N, C, *S) or (C, *S)
        With ``channels="last"`` (N, *S, C) or (*S, C). Real, complex or integer.
    weight : array, shape (O, C/groups, *K)
        With ``channels="last"`` (*K, C/groups, O), as in Keras and JAX. Its number of axes less
        two is the number of sliding axes.
    bias : array, shape (O,), optional
        Added to every output channel.
    stride, dilation : int or tuple of int, default 1
        Step between windows; step between taps.
    padding : int, tuple or str, default 0
        Points of padding: an int, one int per sliding axis, a pair (low, high) per sliding axis, or

        - ``"valid"``: none,
        - ``"same"``: ⌈S / stride⌉ outputs for every stride (TensorFlow's rule); an odd point goes
          to the high side, with ``"same_lower"`` to the low side,
        - ``"full"``: every window that touches x,
        - ``"causal"``: all in front, so that no output sees a later point.
    groups : int, default 1
        Input and output channels are split into so many groups that do not mix.
    padding_mode : str or number, default "zeros"
        ``"zeros"``, ``"reflect"`` (about the first and last point), ``"symmetric"`` (about the
        edge), ``"replicate"``, ``"circular"``, or the constant to pad with. Widths beyond the
        length go on reflecting or wrapping, as in `numpy.pad`.
    channels : {"first", "last"}, default "first"
        Place of the channel axis.
    method : str, default "auto"
        The algorithm, one of "auto", "direct", "im2col", "toeplitz", "winograd" (three
        neighbouring taps), "native", "fft" and "overlap_save" (see `swath.plan`).

    Returns
    -------
    array, shape (N, O, *out) or (O, *out)
        In the layout of x, without the batch axis if x has none. Integers are exact modulo
        2^bits and take the float dtype of the other operand; float16 and bfloat16 accumulate in
        float32 and round once.

    Raises
    ------
    ValueError
        If shapes, groups or paddings do not fit; the text says which and what would.
    TypeError
        If the arrays live in different libraries or on different devices.

    See Also
    --------
    conv_transpose, conv_output_shape, swath.signal.convolve

    Notes
    -----
    Nothing is flipped and nothing is conjugated. O(N·O·(C/groups)·ΠK·Πout) multiply-adds at most;
    zero padding costs no copy of x, other paddings one.

    References
    ----------
    .. [1] V. Dumoulin and F. Visin, "A guide to convolution arithmetic for deep learning",
       arXiv:1603.07285.

    Examples
    --------
    >>> import numpy as np, swath
    >>> x = np.arange(6.0).reshape(1, 1, 6)
    >>> swath.nn.conv(x, np.array([[[1.0, 0.0, -1.0]]]), padding="same")
    array([[[-1., -2., -2., -2., -2.,  4.]]])
    """
    key, known = _signature(
        x, weight, bias, stride, padding, dilation, groups, padding_mode, channels, method
    )
    if known is not None:
        return _product(correlate, known, x, weight, bias)
    given = x, weight, bias
    check_method(method)
    be, x, weight, bias = _operands(x, weight, bias)
    last = channels_last(channels)
    value = _padding_value(padding_mode, be, x)
    shapes = tuple(x.shape), tuple(weight.shape)
    spans = conv_spans(*shapes, stride, padding, dilation, groups, last)
    _check_bias(bias, weight.shape[-1] if last else weight.shape[0])
    kind = x.dtype
    rank = len(spans)
    if bias is not None:
        # The sum with the bias is rounded once.
        x, weight, bias = arguments.summable(be, x, weight, bias)
    if value is None or value != 0:
        x, spans = _padded(x, spans, sliding_axes(x.ndim, rank, last), padding_mode, value)
    known = be, Sliding(spans, int(groups), last, method), x.ndim == rank + 2
    _keep(key, known, given, (x, weight, bias))
    return _ops.cast(_product(correlate, known, x, weight, bias), kind)


def _keep(key: Any, known: Any, given: Sequence[Any], found: Sequence[Any]) -> None:
    """Remember a call whose arrays are taken as they were given."""
    if key is not None and all(a is b for a, b in zip(given, found, strict=True)):
        _KNOWN.keep(key, known)


def _padded(
    x: Any, spans: tuple[Span, ...], axes: tuple[int, ...], mode: str, value: Any
) -> tuple[Any, tuple[Span, ...]]:
    """x with its padding in place, and the spans without."""
    widths = [(s.low, s.high) for s in spans]
    if value is None:
        x, _ = _padding.extend(x, axes, widths, mode)
    else:
        full = [(0, 0)] * x.ndim
        for axis, pair in zip(axes, widths, strict=True):
            full[axis] = pair
        x = _ops.pad(x, full, value)
    return x, tuple(Span(s.length + s.low + s.high, s.size, s.stride, s.dilation) for s in spans)


@operation(
    "nn.conv_transpose",
    differentiable=("x", "weight", "bias"),
    linear=("x", "weight"),
    features=_features.TRANSPOSE,
)
def conv_transpose(
    x: Any,
    weight: Any,
    bias: Any = None,
    *,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    output_shape: Any = None,
    dilation: Any = 1,
    groups: int = 1,
    channels: str = "first",
    method: str = "auto",
) -> Any:
    """Transposed convolution of a layer: the transpose of `conv` in its input.

    Every point of x adds a copy of the kernel to the output::

        y[n, o, s·i + d·j − l] += weight[c, o, j] · x[n, c, i]        for all c of o's group, i, j

    Parameters
    ----------
    x : array, shape (N, C, *S) or (C, *S)
        With ``channels="last"`` (N, *S, C) or (*S, C).
    weight : array, shape (C, O/groups, *K)
        As in PyTorch; with ``channels="last"`` (*K, O/groups, C), as in Keras.
    bias : array, shape (O,), optional
        Added to every output channel.
    stride, dilation : int or tuple of int, default 1
        Step between the copies of the kernel; step between its taps.
    padding : int, tuple or str, default 0
        Points cut off the result: the padding of the convolution that this is the transpose of, in
        all the forms that `conv` takes. ``"same"`` gives S·stride points (or `output_shape`).
    output_padding : int or tuple of int, default 0
        Points added at the high side, fewer than the stride or the dilation.
    output_shape : tuple of int, optional
        The sliding lengths of the result, instead of `output_padding`.
    groups : int, default 1
        Input and output channels are split into so many groups that do not mix.
    channels : {"first", "last"}, default "first"
        Place of the channel axis.
    method : str, default "auto"
        The algorithm.

    Returns
    -------
    array, shape (N, O, *out) or (O, *out)
        With K taps, stride s, dilation d, padding (l, h) and output padding p on a sliding axis:
        (S − 1)·s − l − h + d·(K − 1) + 1 + p points. Dtypes as for `conv`.

    Raises
    ------
    ValueError
        If shapes, groups or paddings do not fit, or `output_shape` cannot be reached.
    TypeError
        If the arrays live in different libraries or on different devices.

    See Also
    --------
    conv

    Notes
    -----
    As many multiply-adds as the convolution it transposes. Not an inverse ("deconvolution").

    References
    ----------
    .. [1] V. Dumoulin and F. Visin, "A guide to convolution arithmetic for deep learning",
       arXiv:1603.07285, ch. 4.

    Examples
    --------
    >>> import numpy as np, swath
    >>> x = np.array([[[1.0, 2.0, 3.0]]])
    >>> swath.nn.conv_transpose(x, np.array([[[1.0, 10.0]]]), stride=2)
    array([[[ 1., 10.,  2., 20.,  3., 30.]]])
    """
    settings = stride, padding, output_padding, output_shape, dilation, groups, channels, method
    key, known = _signature(x, weight, bias, *settings)
    if known is not None:
        return _product(spread, known, x, weight, bias)
    given = x, weight, bias
    check_method(method)
    be, x, weight, bias = _operands(x, weight, bias)
    last = channels_last(channels)
    shapes = tuple(x.shape), tuple(weight.shape)
    spans, rows = spread_spans(
        *shapes, stride, padding, output_padding, output_shape, dilation, groups, last
    )
    _check_bias(bias, rows)
    kind = x.dtype
    rank = len(spans)
    if bias is not None:
        # The sum with the bias is rounded once.
        x, weight, bias = arguments.summable(be, x, weight, bias)
    known = be, Sliding(spans, int(groups), last, method), x.ndim == rank + 2
    _keep(key, known, given, (x, weight, bias))
    return _ops.cast(_product(spread, known, x, weight, bias), kind)
