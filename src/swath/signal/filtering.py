"""FIR filtering: one causal filter with its state, or a bank of them with a stride.

lfilter is a full convolution whose first N points are the output and whose last K − 1 are the
state; a bank is one sliding product with a stride.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from .. import _ops, arguments
from .._backends import Backend, backend_of
from ..autodiff import Core, Node, apply, primal
from ..errors import ArgumentError
from ..geometry import Sliding, Span
from ..registry import operation
from ..sliding import correlate as product
from ._coefficients import divided, fir_arguments
from ._slide import convolve_axes

__all__ = ["filter_bank", "lfilter", "lfilter_zi", "lfiltic"]

Array = Any


# Signatures that passed all checks with arrays that need no conversion: library, axis of time, and
# the shape of the taps along it.
_KNOWN = arguments.Known()


class _Carry(Core):
    """y with a state added to its first points, written into y where nothing else can see it."""

    name = "carry"
    native = True

    def forward(self, be: Backend, geometry: int, *arrays: Any) -> Any:
        y, state = arrays
        front = _front(geometry, state)
        if be.mutable and not be.recorded(y, state):
            # y is a product of ours.
            y[front] += state
            return y
        rest = y.shape[geometry] - state.shape[geometry]
        return y + be.pad(state, [(0, rest if i == geometry else 0) for i in range(y.ndim)])

    def pull(
        self,
        be: Backend,
        geometry: int,
        arrays: Sequence[Any],
        out: Any,
        cotangent: Any,
        wanted: Sequence[bool],
    ) -> Sequence[Any]:
        return cotangent, cotangent[_front(geometry, arrays[1])]


def _front(axis: int, state: Any) -> tuple[slice, ...]:
    cut = [slice(None)] * state.ndim
    cut[axis] = slice(0, state.shape[axis])
    return tuple(cut)


_CARRY = _Carry()


@operation(
    "signal.lfilter",
    differentiable=("b", "a", "x", "zi"),
    arrays=("b", "a", "x", "zi"),
    reads_values=True,
)
def lfilter(b: Any, a: Any, x: Any, axis: int = -1, zi: Any = None) -> Any:
    """Filter along one axis with a causal FIR filter.

    ::

        y[n] = Σ_k (b[k] / a[0]) · x[n − k],     0 <= k < K,   x[n] = 0 for n < 0

    Parameters
    ----------
    b : array of shape (K,)
        Taps.
    a : array of shape (1,), or a number
        What the taps are divided by. Filters with feedback (more coefficients) are not done here.
    x : array
        The signal; real, complex or integer.
    axis : int, default −1
        Axis of time.
    zi : array, optional
        State before the first sample, as SciPy's: of the shape of x with K − 1 points along
        `axis`; other axes may have length 1.

    Returns
    -------
    y : array
        Of x's shape, in the common dtype of `b`, `a`, `x` and `zi`; integers alone become the
        default float.
    zf : array
        The state after the last sample, to be passed on as `zi`; only if `zi` is given.

    Raises
    ------
    NotImplementedError
        If `a` has more than one coefficient.
    ValueError
        If `a[0]` is 0 (eagerly; traced, the output is then infinite or NaN), `b` or `a` has no or
        too many axes, or `zi` has another shape.

    Notes
    -----
    Cost: N·K multiply-adds at the rate of matrix products. A filter is not centred: it delays by
    (K − 1) / 2 samples if symmetric; ``convolve(x, b, mode="same", axes=axis)`` does not.

    `swath.vjp` takes the cotangent of `y`.

    References
    ----------
    .. [1] A. V. Oppenheim and R. W. Schafer, *Discrete-Time Signal Processing*, 3rd ed., ch. 6.

    Examples
    --------
    >>> import numpy as np, swath
    >>> swath.signal.lfilter([0.5, 0.5], 1.0, np.array([1.0, 2.0, 3.0]))
    array([0.5, 1.5, 2.5])
    >>> swath.signal.lfilter([0.5, 0.5], 1.0, np.array([1.0, 2.0]), zi=np.array([4.0]))
    (array([4.5, 1.5]), array([1.]))
    """
    key = None
    if zi is None and isinstance(a, int | float):
        try:
            key = b.__class__, b.shape, b.dtype, x.__class__, x.shape, x.dtype, axis
            known = _KNOWN.get(key)
        except (AttributeError, TypeError):
            # A list.
            key = known = None
        if known is not None and known[0].same_device(b, x):
            be, axis, shape = known
            kind = x.dtype
            if a != 1:
                b = divided(be, b, _ops.fill_like(b, (1,), a), a)
                x = _ops.cast(x, b.dtype)
            y = convolve_axes(x, _ops.reshape(b, shape), (axis,), "causal", "auto")
            return _ops.cast(y, kind)
    given = b, x
    kind, b, (x, zi) = fir_arguments(b, a, "zi", x=x, zi=zi)
    axis = arguments.along("x", x, axis)
    taps, length = b.shape[0], x.shape[axis]
    shape = tuple(x.shape)
    across = tuple(taps if i == axis else 1 for i in range(x.ndim))
    kernel = _ops.reshape(b, across)
    if zi is None:
        # Taps may have been divided: what they are then tells whether they were converted.
        same = (
            key is not None and arguments.unchanged(given[1:], (x,)) and type(b) is type(given[0])
        )
        if same and not isinstance(b, Node) and b.dtype == given[0].dtype:
            _KNOWN.keep(key, (backend_of(x), axis, across))
        return _ops.cast(convolve_axes(x, kernel, (axis,), "causal", "auto"), kind)
    state = (*shape[:axis], taps - 1, *shape[axis + 1 :])
    if zi.ndim != x.ndim or any(
        n != m and not (n == 1 and i != axis) for i, (n, m) in enumerate(zip(zi.shape, state))
    ):
        raise ArgumentError(
            f"zi must have shape {state} (that of x with K − 1 = {taps - 1} points along axis "
            f"{axis}), got {tuple(zi.shape)}"
        )
    # Half precision is rounded with the state added.
    x, kernel, zi = arguments.summable(backend_of(primal(x)), x, kernel, zi)
    zi = _ops.broadcast_to(zi, state)
    if length == 0:
        # No time passes.
        return _ops.cast(_ops.vacant(shape, x, kernel, zi), kind), _ops.cast(zi, kind)
    full = convolve_axes(x, kernel, (axis,), "full", "auto")
    full = _ops.cast(apply(_CARRY, axis, full, zi), kind)
    lead = [slice(None)] * axis
    return _ops.cut(full, *lead, slice(0, length)), _ops.cut(full, *lead, slice(length, None))


@operation("signal.lfilter_zi", differentiable=("b", "a"), linear=("b",), reads_values=True)
def lfilter_zi(b: Any, a: Any) -> Any:
    """State of a FIR filter that has seen the constant 1 for ever.

    ::

        zi[k] = Σ_{j > k} b[j] / a[0],     0 <= k < K − 1

    Parameters
    ----------
    b : array of shape (K,)
        Taps.
    a : array of shape (1,), or a number
        What the taps are divided by.

    Returns
    -------
    array of shape (K − 1,)
        Multiply it by the first sample and pass it to `lfilter` as `zi`.

    Raises
    ------
    NotImplementedError, ValueError
        As `lfilter`.

    Examples
    --------
    >>> import numpy as np, swath
    >>> swath.signal.lfilter_zi(np.array([0.5, 0.25, 0.25]), 1.0)
    array([0.5 , 0.25])
    """
    kind, b, _ = fir_arguments(b, a)
    later = _ops.cut(b, slice(1, None))
    if later.shape[0] == 0:
        return _ops.cast(later, kind)
    (later,) = arguments.summable(backend_of(primal(b)), later)
    found = _ops.flip(_ops.cumulative_sum(_ops.flip(later, (0,)), 0), (0,))
    return _ops.cast(found, kind)


@operation(
    "signal.lfiltic",
    differentiable=("b", "a", "x"),
    arrays=("b", "a", "y", "x"),
    linear=("b", "x"),
    reads_values=True,
)
def lfiltic(b: Any, a: Any, y: Any, x: Any = None) -> Any:
    """State of a FIR filter from the samples it has seen last.

    ::

        zi[m] = Σ_k b[m + 1 + k] / a[0] · x[k],     0 <= m < K − 1,    x[k] the input at time −1 − k

    Parameters
    ----------
    b : array of shape (K,)
        Taps.
    a : array of shape (1,), or a number
        What the taps are divided by.
    y : array
        Past outputs, as in SciPy; a filter without feedback does not depend on them.
    x : array of shape (P,), optional
        Past inputs, the latest first; earlier ones are 0. By default all are.

    Returns
    -------
    array of shape (K − 1,)
        To be passed to `lfilter` as `zi`.

    Raises
    ------
    NotImplementedError, ValueError
        As `lfilter`.

    Examples
    --------
    >>> import numpy as np, swath
    >>> swath.signal.lfiltic([0.5, 0.25, 0.25], 1.0, [], np.array([4.0, 8.0]))
    array([3., 1.])
    """
    # Past outputs have no say, but belong beside the rest like any argument.
    arguments.dividing("x", b=b, a=a, y=y, x=x)
    kind, b, (x,) = fir_arguments(b, a, "x", x=x)
    count = b.shape[0] - 1
    if x is not None and x.ndim == 0:
        x = _ops.reshape(x, (1,))
    if x is not None and x.ndim != 1:
        raise ArgumentError(f"x must have one axis, the latest sample first; got {tuple(x.shape)}")
    if x is None or x.shape[0] == 0 or count == 0:
        return _ops.fill_like(b, (count,), dtype=kind)
    x = _ops.cut(x, slice(0, min(count, x.shape[0])))
    seen = x.shape[0]
    later = _ops.reshape(_ops.cut(b, slice(1, None)), (1, 1, count))
    # zi[m] = Σ_j later[j] · x[j − m], so m counts downwards. Directly, and with x as the signal: no
    # sample meets a tap that it does not belong to, for NaN · 0 is NaN.
    geometry = Sliding((Span(seen, count, low=count - 1, high=count - seen),), method="direct")
    downwards = product(geometry, _ops.reshape(x, (1, 1, seen)), later)
    return _ops.cast(_ops.flip(_ops.reshape(downwards, (count,)), (0,)), kind)


@operation("signal.filter_bank", differentiable=("bank", "x"), linear=("bank", "x"))
def filter_bank(bank: Any, x: Any, *, axis: int = -1, stride: int = 1) -> Any:
    """Filter every channel with every filter of a bank, and keep every stride-th sample.

    ::

        y[…, f, n] = Σ_k bank[f, k] · x[…, stride·n − k],     0 <= k < K,   x[n] = 0 for n < 0

    Parameters
    ----------
    bank : array of shape (F, K)
        One filter per row.
    x : array
        The signal, of N samples along `axis`; real, complex or integer.
    axis : int, default −1
        Axis of time.
    stride : int, default 1
        Step between the samples that are kept. The others are not computed.

    Returns
    -------
    array
        x's shape with the axis of time replaced by two: F filters, ⌈N / stride⌉ samples. In the
        common dtype of the inputs; integers alone become the default float.

    Raises
    ------
    ValueError
        If `bank` has not two axes or no taps, `x` no axis, or `stride` is below 1.

    Notes
    -----
    Cost: F·K·N / stride multiply-adds per channel, as one matrix product. With ``stride=1`` row f
    equals ``lfilter(bank[f], 1, x)``.

    References
    ----------
    .. [1] P. P. Vaidyanathan, *Multirate Systems and Filter Banks*, Prentice Hall 1993, ch. 5.

    Examples
    --------
    >>> import numpy as np, swath
    >>> bank = np.array([[0.5, 0.5], [0.5, -0.5]])
    >>> swath.signal.filter_bank(bank, np.array([2.0, 4.0, 8.0, 8.0]), stride=2)
    array([[1., 6.],
           [1., 2.]])
    """
    be, (bank, x) = arguments.dividing(bank=bank, x=x)
    arguments.numeric(be, "bank", bank)
    arguments.numeric(be, "x", x)
    if bank.ndim != 2:
        raise ArgumentError(
            f"bank must have shape (filters, taps), got {tuple(bank.shape)}; "
            f"signal.lfilter takes a single filter"
        )
    filters, taps = bank.shape
    if taps == 0:
        raise ArgumentError(f"bank must have at least one tap, got shape {tuple(bank.shape)}")
    axis = arguments.along("x", x, axis)
    step = arguments.positive("stride", stride)
    bank, x = arguments.floating(be, bank, x)
    span = Span(x.shape[axis], taps, step, low=taps - 1)
    outer = [i for i in range(x.ndim) if i != axis]
    lead = tuple(x.shape[i] for i in outer)
    out = (*lead, filters, span.out)
    order = [*range(axis), *range(len(lead), len(lead) + 2), *range(axis, len(lead))]
    if 0 in x.shape or filters == 0:
        return _ops.vacant([out[i] for i in order], x, bank)
    signal = _ops.reshape(_ops.permute(x, (*outer, axis)), (prod(lead), 1, x.shape[axis]))
    kernel = _ops.flip(_ops.reshape(bank, (filters, 1, taps)), (2,))
    y = product(Sliding((span,)), signal, kernel)
    return _ops.permute(_ops.reshape(y, out), order)
