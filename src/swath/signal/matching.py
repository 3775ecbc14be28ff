"""How alike two arrays are: the correlation score, and the cosine of every window to a template."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from .. import _ops, arguments
from .._backends import Backend
from ..autodiff import Node, primal
from ..errors import ArgumentError, ArgumentTypeError, UnsupportedError, describe
from ..geometry import Span, Windows
from ..registry import operation
from ..sliding import sum_windows
from ..sliding.reduce import Mean, mean_windows
from ..sliding.sweep import Slab, in_slabs
from ._slide import check_mode, convolve_axes, mode_span, prepare

__all__ = ["correlation_score", "match_template"]

Array = Any
ACTIVATIONS = ("relu", "tanh", "sigmoid")


@operation(
    "signal.correlation_score",
    differentiable=("x", "f", "bias"),
    arrays=("x", "f", "bias"),
)
def correlation_score(
    x: Any,
    f: Any,
    bias: Any = None,
    activation: str | Callable[[Array], Array] | None = None,
) -> Any:
    """The classical correlation of two equal-sized arrays: one neuron.

    ::

        z = Σ x[i, j, …] · f[i, j, …] + bias = flatten(x)ᵀ flatten(f) + bias,    a = activation(z)

    Parameters
    ----------
    x, f : array
        Of one shape, any number of axes; real, complex or integer.
    bias : scalar or array of one element, optional
        Added to the sum.
    activation : {"relu", "tanh", "sigmoid"} or callable, optional
        Applied to the result; a callable gets a plain array without axes. `swath.vjp` knows the
        derivatives of the named ones only; `jax.grad` and `torch.autograd` also those of callables.

    Returns
    -------
    array
        Without axes, of the common dtype ("tanh" and "sigmoid" turn integers into the default
        float). Nothing is conjugated.

    Raises
    ------
    ValueError
        If the shapes differ, `bias` has more than one element, or `activation` is unknown.
    TypeError
        If `activation` is named and the result complex, or the arrays live in different libraries.
    NotImplementedError
        From `swath.vjp` with a callable activation.

    Notes
    -----
    Cost: one multiply-add per element. The score is ‖x‖‖f‖cos ξ with ξ the angle between the two
    as vectors: largest when aligned, smallest when opposed. `match_template` divides by the norms
    and slides. The derivative of "relu" at 0 is 0.

    References
    ----------
    .. [1] I. Goodfellow, Y. Bengio, A. Courville, *Deep Learning*, MIT Press 2016, ch. 9.

    Examples
    --------
    >>> import numpy as np, swath
    >>> x = np.array([[1.0, 2.0], [3.0, 4.0]])
    >>> float(swath.signal.correlation_score(x, [[1.0, 0.0], [0.0, -1.0]], 5.0))
    2.0
    """
    be, (x, f, bias) = arguments.arrays("bias", x=x, f=f, bias=bias)
    for name, value in (("x", x), ("f", f), ("bias", bias)):
        if value is not None:
            arguments.numeric(be, name, value)
    if tuple(x.shape) != tuple(f.shape):
        raise ArgumentError(
            f"x and f must have the same shape, got {tuple(x.shape)} and {tuple(f.shape)}; "
            f"signal.correlate slides a smaller array over a larger one"
        )
    if bias is not None and prod(bias.shape) != 1:
        raise ArgumentError(f"bias must have one element, got shape {tuple(bias.shape)}")
    if not callable(activation) and activation is not None:
        if not isinstance(activation, str) or activation not in ACTIVATIONS:
            raise ArgumentError(
                f"activation must be None, one of {', '.join(map(repr, ACTIVATIONS))} or a "
                f"callable; got {describe(activation)}"
            )
        for name, value in (("x", x), ("f", f), ("bias", bias)):
            if value is not None and be.is_complex(primal(value)):
                raise ArgumentTypeError(
                    f"activation {activation!r} orders numbers and needs real arrays, got {name} "
                    f"{describe(primal(value))}"
                )
    if callable(activation) and any(isinstance(v, Node) for v in (x, f, bias)):
        raise UnsupportedError(
            "swath.vjp knows no derivative of a callable activation; name one of "
            f"{', '.join(map(repr, ACTIVATIONS))}, or apply the callable's own to the pullback "
            "of the score without activation"
        )
    x, f, bias = arguments.promote(be, x, f, bias)
    kind = x.dtype
    x, f, bias = arguments.summable(be, x, f, bias)
    z = _dot(be, x, f)
    if bias is not None:
        z = _ops.add(z, _ops.reshape(bias, ()))
    return _activate(be, _ops.cast(z, kind), activation)


def _dot(be: Backend, x: Any, f: Any) -> Any:
    size = prod(x.shape)
    if size == 0:
        return _ops.vacant((), x, f)
    if be.is_floating(x.dtype):
        # flatten(x)ᵀ flatten(f): a product that needs no array of terms.
        return _ops.reshape(_ops.matmul(_ops.reshape(x, (1, size)), _ops.reshape(f, (size, 1))), ())
    terms = _ops.multiply(_ops.reshape(x, (size,)), _ops.reshape(f, (size,)))
    return _ops.total(terms, (0,))


def _activate(be: Backend, z: Any, activation: Any) -> Any:
    if activation is None:
        return z
    if callable(activation):
        return activation(z)
    if activation == "relu":
        # The mask leaves a NaN as it is.
        return _ops.select(primal(z) <= 0, _ops.fill_like(z, ()), z)
    (z,) = arguments.floating(be, z)
    return _ops.tanh(z) if activation == "tanh" else _ops.sigmoid(z)


@operation("signal.match_template", differentiable=("x", "template"))
def match_template(
    x: Any, template: Any, *, mode: str = "valid", axes: Any = None, zero_mean: bool = True
) -> Any:
    """Normalised correlation: the cosine between each window of x and a template.

    With a window w of x, the template t, and their means w̄ and t̄ (0 unless `zero_mean`)::

        out = Σ (w − w̄)(t − t̄) / (‖w − w̄‖ ‖t − t̄‖)

    Parameters
    ----------
    x : array
        Real; integers become the default float.
    template : array
        Real, of the rank of `x`; with `axes`, the other axes broadcast, and it may have exactly
        ``len(axes)`` axes.
    mode : {"valid", "same", "full"}, default "valid"
        Which windows, as in `correlate`: those inside x, one for each point of x with that point
        in its middle, or all that touch x. Points beyond x count as 0.
    axes : int or tuple of int, optional
        Sliding axes; by default all.
    zero_mean : bool, default True
        Whether means are taken off, so that the result does not change with the offset of x. With
        False a change of gain alone is forgiven.

    Returns
    -------
    array
        Values in [−1, 1]; 1 where a window equals the template up to a positive gain (and an
        offset, with `zero_mean`). Windows and templates without variation (or, without
        `zero_mean`, of zeros) give 0.

    Raises
    ------
    ValueError
        If the template is larger than x with ``mode="valid"``, or has no points.
    TypeError
        If an input is complex or boolean.

    Notes
    -----
    Cost: one sliding product and two window sums of O(N log K) additions.

    The variance of a window is found as Σw² − (Σw)²/K, after the mean of all of x has been taken
    off and x scaled to at most 1. A window counts as constant where it is at most c·eps·Σw², with
    c ≈ 8 + 4·log2 K: below that the difference holds nothing but rounding. float32 sums are taken
    in float64, with the square of c·eps(float32) instead; on a device without float64 a window
    then counts as constant where its standard deviation is below about 1/500 of its distance from
    the mean of x. The value itself is off by at most about 2·K·eps·‖w‖/‖w − w̄‖.

    The result does not depend on the mean and scale that are taken off, so derivatives treat them
    as constants; they are 0 where a window is constant and where a value was clipped.

    References
    ----------
    .. [1] J. P. Lewis, "Fast normalized cross-correlation", Industrial Light & Magic, 1995.

    Examples
    --------
    >>> import numpy as np, swath
    >>> x = np.array([0.0, 0.0, 1.0, 3.0, 2.0, 0.0, 0.0])
    >>> score = swath.signal.match_template(x, 10 * x[2:5] + 7)
    >>> int(np.argmax(score)), round(float(score.max()), 6)
    (2, 1.0)
    """
    check_mode(mode)
    be, x, template, places = prepare(x, template, axes, names=("x", "template"), floats=True)
    if be.is_complex(primal(x)):
        raise ArgumentTypeError(
            "x and template must be real, for the cosine of complex windows has no order; "
            "correlate their absolute values, or use signal.correlate"
        )
    zero_mean = arguments.flag("zero_mean", zero_mean)
    if not places:
        raise ArgumentError("axes must name at least one sliding axis, got ()")
    places = tuple(sorted(places))
    lengths, sizes = [x.shape[a] for a in places], [template.shape[a] for a in places]
    if 0 in sizes:
        raise ArgumentError(f"template has no points: shape {tuple(template.shape)}")
    if mode == "valid" and any(n < k for n, k in zip(lengths, sizes, strict=True)):
        raise ArgumentError(
            f"template is larger than x along a sliding axis ({sizes} against {lengths}); "
            f'exchange them or use mode="same" or "full"'
        )
    kind = x.dtype
    x, template = arguments.summable(be, x, template)
    spans = [mode_span(n, k, mode) for n, k in zip(lengths, sizes, strict=True)]
    widths = [(0, 0)] * x.ndim
    for axis, span in zip(places, spans, strict=True):
        widths[axis] = (span.low, span.high)
    # Padding first: its zeros must still be zeros of x once the mean has gone.
    x = _ops.pad(x, widths)
    x = _normalised(be, x, places, centre=zero_mean)
    template = _normalised(be, template, places, centre=zero_mean)
    if zero_mean:
        template = _ops.subtract(template, _mean(template, places))
    template, plain = _of_size_one(be, template, places)
    windows = Windows(
        tuple(x.shape),
        places,
        tuple(Span(x.shape[a], k) for a, k in zip(places, sizes, strict=True)),
    )
    if 0 in windows.out:
        shape = [max(n, m) if min(n, m) else 0 for n, m in zip(windows.out, template.shape)]
        for axis in places:
            shape[axis] = windows.out[axis]
        return _ops.vacant(shape, x, template, dtype=kind)
    dot = convolve_axes(x, template, places, "valid", "auto", turned=True)
    return _ops.cast(_scores(be, windows, x, dot, plain, centre=zero_mean), kind)


def _mean(x: Any, places: tuple[int, ...]) -> Any:
    points = max(1, prod(x.shape[a] for a in places))
    return _ops.scale(_ops.total(x, places, keepdims=True), 1.0 / points)


def _normalised(be: Backend, x: Any, places: tuple[int, ...], *, centre: bool) -> Any:
    """x less a constant and divided by one, to about 1 in size; the two count as constants.

    A sample that is not finite counts as 0 in both, so that it spoils its own windows only.
    """
    xp, plain = be.xp, primal(x)
    if 0 in x.shape:
        return x
    known = xp.where(xp.isfinite(plain), plain, xp.zeros_like(plain))
    low, high = (f(known, axis=places, keepdims=True) for f in (xp.min, xp.max))
    most = float(xp.finfo(plain.dtype).max)
    if centre:
        count = prod(x.shape[a] for a in places)
        with be.quiet():
            mean = xp.sum(known, axis=places, keepdims=True, dtype=plain.dtype) / count
            spread = high - low
            # Near the end of the range the sum overflows, or a difference of numbers of both signs.
            middle = xp.where(spread <= most, low + 0.5 * spread, xp.zeros_like(low))
        mean = xp.where(xp.isfinite(mean) & (spread <= most), mean, middle)
        x, low, high = _ops.subtract(x, mean), low - mean, high - mean
    size = xp.where(high > -low, high, -low)
    # XLA multiplies by the reciprocal, and makes 0 of one below the normal numbers.
    size = xp.where(size > most / 8, xp.full_like(size, most / 8), size)
    return _ops.divide(x, xp.where(size > 0, size, xp.ones_like(size)))


def _of_size_one(be: Backend, t: Any, places: tuple[int, ...]) -> tuple[Any, Array]:
    """The template divided by its norm, and the mask of those that are no more than rounding."""
    energy = _ops.total(_ops.multiply(t, t), places, keepdims=True)
    taps = prod(t.shape[a] for a in places)
    plain = primal(energy) <= taps * _rounding(be, t.dtype, taps) ** 2
    energy = _ops.select(plain, _ops.fill_like(energy, energy.shape, 1), energy)
    return _ops.divide(t, _ops.root(energy)), plain


def _scores(be: Backend, windows: Windows, x: Any, dot: Any, plain: Array, *, centre: bool) -> Any:
    """The cosines: products with one template slab by slab, near the caches, where they may be."""

    def score(windows: Windows, x: Any, dot: Any) -> Any:
        power, still = _power(be, windows, x, centre=centre)
        return _cosine(be, dot, power, still, plain)

    derived = any(isinstance(v, Node) or be.recorded(v) for v in (x, dot))
    if not be.in_place or derived or prod(plain.shape) > 1 or tuple(dot.shape) != windows.out:
        return score(windows, x, dot)
    out = be.empty_like(dot, windows.out)

    def one(_: None, slab: Slab) -> None:
        inputs, outputs, part = slab
        out[outputs] = score(part, x[inputs], dot[outputs])

    # Their sums are as wide as float64.
    be.each(in_slabs(windows, 8, be.wide(x)), lambda: None, one)
    return out


def _power(be: Backend, windows: Windows, x: Any, *, centre: bool) -> tuple[Any, Array]:
    """Σ(w − w̄)² of every window, and the mask of those where it is no more than rounding."""
    kind, xp = x.dtype, be.xp
    wide = be.name_of(kind) == "float32" and be.has_float64(primal(x))
    part = _rounding(be, kind, windows.taps)
    if wide:
        # The product's own rounding, relative to the window's norm, is the limit that remains.
        x, part = _ops.cast(x, be.dtype("float64")), part * part
    squares = power = sum_windows(windows, _ops.multiply(x, x))
    if centre:
        inside = tuple((0, span.length) for span in windows.spans)
        # Σw/√K: its square is what the mean takes off.
        sums = mean_windows(Mean(windows, inside, windows.taps**0.5), x)
        power = _ops.subtract(squares, _ops.multiply(sums, sums))
    tiny = windows.taps * float(xp.finfo(kind).smallest_normal)
    # Comparisons are false for NaN, which so goes through unhidden; so is that of infinities.
    return _ops.cast(power, kind), primal(power) - part * primal(squares) <= tiny


def _rounding(be: Backend, kind: Any, taps: int) -> float:
    """c·eps: the part of Σw² that the difference of two window sums may be off by."""
    return float(be.xp.finfo(kind).eps) * (8 + 4 * taps.bit_length())


def _cosine(be: Backend, dot: Any, power: Any, still: Array, plain: Array) -> Any:
    """dot / √power, 0 where window or template are no more than rounding, clipped to [−1, 1]."""
    power = _ops.select(still, _ops.fill_like(power, power.shape, 1), power)
    out = _ops.divide(dot, _ops.root(power))
    still = be.xp.broadcast_to(still | plain, out.shape)
    out = _ops.select(still, _ops.fill_like(out, ()), out)
    one = _ops.fill_like(out, (), 1)
    out = _ops.select(primal(out) > 1, one, out)
    return _ops.select(primal(out) < -1, _ops.fill_like(out, (), -1), out)
