"""FIR filtering of signals that come in chunks: the last K − 1 samples are the state.

A step puts the state in front of the chunk and takes the valid part of the correlation with the
turned taps. Every output is made of the same products however the signal is cut, so that the
direct method, which adds them in the order of the taps, gives the same bits for any chunking.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

from .. import _ops, arguments
from .._backends import backend_of
from ..autodiff import primal
from ..errors import ArgumentError, ArgumentTypeError, describe, explain
from ..geometry import Sliding, Span
from ..registry import operation
from ..sliding import correlate as product
from ..sliding.plan import check_method
from ._coefficients import coefficients

__all__ = ["FIRStream", "fir_step"]

Array = Any


@operation(
    "signal.fir_step",
    differentiable=("b", "state", "chunk"),
    linear=("b",),
    first=lambda result: result[1],
    replace_first=lambda result, y: (primal(result[0]), y),
)
def fir_step(b: Any, state: Any, chunk: Any, *, axis: int = -1, method: str = "auto") -> Any:
    """Filter one chunk of a signal: a pure step from state to state.

    ::

        y[n] = Σ_k b[k] · x[n − k],     0 <= k < K,   x[n] for n < 0 from the state

    Parameters
    ----------
    b : array of shape (K,)
        Taps.
    state : array or None
        The last K − 1 samples before the chunk, of the chunk's shape but for `axis`; None stands
        for zeros.
    chunk : array
        The next samples, of any number (0 too) along `axis`; real, complex or integer.
    axis : int, default −1
        Axis of time.
    method : str, default "auto"
        How the products are computed, as in `convolve`. With ``"direct"`` a signal gives the same
        bits in whatever chunks it comes.

    Returns
    -------
    state : array
        To be passed on with the next chunk; a copy, in the dtype of `y`.
    y : array
        Of the chunk's shape, in the common dtype of `b`, `state` and `chunk`; integers alone become
        the default float.

    Raises
    ------
    ValueError
        If `b` is no row of taps, `chunk` has no axis, or `state` another shape.

    Notes
    -----
    With `b` bound by ``functools.partial`` this is the body of ``jax.lax.scan``; the state must
    then have the dtype of `y` from the start (`FIRStream.init` makes it). Cost: N·K multiply-adds
    for N samples, as `lfilter`; a copy of the state and the chunk. `swath.vjp` takes the cotangent
    of `y`.

    `lfilter` with `zi` keeps sums of products as its state, which round differently where the
    signal is cut; here the state is the signal itself.

    References
    ----------
    .. [1] A. V. Oppenheim and R. W. Schafer, *Discrete-Time Signal Processing*, 3rd ed., ch. 8.7
       (overlap-save).

    Examples
    --------
    >>> import numpy as np, swath
    >>> b = np.array([0.5, 0.5])
    >>> state, y = swath.signal.fir_step(b, None, np.array([2.0, 4.0]))
    >>> y
    array([1., 3.])
    >>> swath.signal.fir_step(b, state, np.array([6.0]))[1]
    array([5.])
    """
    check_method(method)
    return _step(b, state, chunk, axis, method)


# Samples up to which a chunk joined to its past is kept for the sake of its end: a copy costs more.
_KEPT = 1 << 16


@dataclass(frozen=True)
class _Chunk:
    """How a step is computed for one set of shapes and dtypes."""

    axis: int
    taps: int
    kept: tuple[slice, ...]
    copies: bool
    moves: bool
    order: tuple[int, ...]
    back: tuple[int, ...]
    x_shape: tuple[int, ...]
    y_shape: tuple[int, ...]
    geometry: Sliding

    @classmethod
    def of(cls, shape: tuple[int, ...], taps: int, axis: int, method: str) -> _Chunk:
        order = (*(i for i in range(len(shape)) if i != axis), axis)
        rest, samples = [shape[i] for i in order[:-1]], shape[axis]
        x_shape = prod(rest), 1, samples + taps - 1
        return cls(
            axis,
            taps,
            (*[slice(None)] * axis, slice(samples, None), *[slice(None)] * (len(rest) - axis)),
            prod(x_shape) > _KEPT,
            axis != len(rest),
            order,
            tuple(order.index(i) for i in range(len(shape))),
            x_shape,
            (*rest, samples),
            Sliding((Span(samples + taps - 1, taps),), method=method),
        )

    def step(self, ops: Any, b: Any, state: Any, chunk: Any) -> tuple[Any, Any]:
        """State and outputs, of arrays of one dtype.

        `ops` is `swath._ops`, or of plain arrays the adapter, whose operations of the same names
        cost less: a chunk may be short.
        """
        x = ops.concat((state, chunk), self.axis)
        last = _ops.cut(x, *self.kept) if ops is _ops else x[self.kept]
        # A copy does not keep all of x.
        state = ops.concat((last,), self.axis) if self.copies else last
        if self.moves:
            x = ops.permute(x, self.order)
        w = ops.flip(ops.reshape(b, (1, 1, self.taps)), (2,))
        y = product(self.geometry, ops.reshape(x, self.x_shape), w)
        y = ops.reshape(y, self.y_shape)
        return state, ops.permute(y, self.back) if self.moves else y


# Adapters and plans.
_KNOWN = arguments.Known()


def _step(b: Any, state: Any, chunk: Any, axis: int, method: str) -> tuple[Any, Any]:
    try:
        key = (
            b.__class__, b.shape, b.dtype, state.__class__, state.shape, state.dtype,
            chunk.__class__, chunk.shape, chunk.dtype, axis, method,
        )  # fmt: skip
        known = _KNOWN.get(key)
    except (AttributeError, TypeError):
        # A list, a number, or no state.
        key = known = None
    if known is not None:
        be, plan = known
        if be.same_device(b, chunk) and be.same_device(state, chunk):
            return plan.step(be, b, state, chunk)
    given = b, state, chunk
    be, (b, state, chunk) = arguments.dividing("state", b=b, state=state, chunk=chunk)
    b = coefficients(be, "b", b)
    arguments.numeric(be, "chunk", chunk)
    axis = arguments.along("chunk", chunk, axis)
    shape, taps = tuple(chunk.shape), b.shape[0]
    past = (*shape[:axis], taps - 1, *shape[axis + 1 :])
    if state is not None:
        arguments.numeric(be, "state", state)
        if tuple(state.shape) != past:
            raise ArgumentError(
                f"state must have shape {past} (that of chunk with K − 1 = {taps - 1} points along "
                f"axis {axis}), got {tuple(state.shape)}"
            )
    b, state, chunk = arguments.floating(be, b, state, chunk)
    if state is None:
        state = _ops.fill_like(chunk, past)
    if 0 in shape:
        # Never a view: the caller may fill the chunk's memory anew.
        return _ops.concat([state], axis), _ops.vacant(shape, chunk, b, state)
    plan = _Chunk.of(shape, taps, axis, method)
    if key is not None and arguments.unchanged(given, (b, state, chunk)):
        _KNOWN.keep(key, (be, plan))
    return plan.step(_ops, b, state, chunk)


class FIRStream:
    """A FIR filter for a signal that comes in chunks.

    What `push` returns, and `flush` at the end, is the filtered signal in pieces: joined along
    `axis` they are ``convolve(x, b, "full", axes=axis)`` of the whole signal x, or with
    ``compensate=True`` the N points of mode "same", which are not delayed.

    Parameters
    ----------
    b : array of shape (K,)
        Taps, beside the chunks (same library and device); a list of numbers goes with any.
    axis : int, default −1
        Axis of time. All others are batch axes: channels, trials, ….
    method : str, default "auto"
        How the products are computed, as in `convolve`. With ``"direct"`` the pieces are the same
        bits for any chunking; otherwise they agree within the accuracy contract, since a chunk's
        length decides how it is computed.
    compensate : bool or int, default False
        Whether the filter's delay is taken out: the first outputs are dropped, and `flush` returns
        as many at the end. True takes ⌊(K − 1) / 2⌋ samples and needs symmetric or antisymmetric
        taps; for others the number of samples, from 0 to K − 1, must be given.

    Attributes
    ----------
    taps : int
        K.
    delay
    state

    Raises
    ------
    ValueError
        If `b` is no row of taps, or a chunk's batch axes are not those of the earlier ones.
    TypeError
        If the taps and a chunk are of different libraries.

    See Also
    --------
    fir_step : The pure step from state to state.

    Notes
    -----
    A sample costs K multiply-adds, and memory does not grow with the signal. A NaN stays K − 1
    samples in the state and is then gone. On JAX each new length of a chunk compiles a program:
    equal chunks compile one. `push` changes the object and belongs outside of ``jax.jit``; inside,
    `init` and `step` do the same without side effects. One thread pushes at a time.

    Examples
    --------
    >>> import numpy as np, swath
    >>> stream = swath.signal.FIRStream([0.25, 0.5, 0.25], compensate=True)
    >>> stream.delay
    1
    >>> stream.push(np.array([4.0, 8.0])), stream.push(np.array([4.0])), stream.flush()
    (array([4.]), array([6.]), array([4.]))
    """

    # What a bound library converts at construction, and how it converts chunks.
    __swath_arrays__: ClassVar[tuple[str, ...]] = ("b",)
    __swath_convert__: Callable[[Any], Any] = staticmethod(lambda chunk: chunk)

    def __init__(
        self, b: Any, *, axis: int = -1, method: str = "auto", compensate: bool | int = False
    ) -> None:
        with explain("FIRStream", {"b": b}):
            be, row = arguments.one_array("b", b)
            row = coefficients(be, "b", row)
            self._b = b
            self.taps: int = row.shape[0]
            self._row = primal(row)
            if not arguments.is_int(axis):
                raise ArgumentTypeError(f"axis must be an int, got {describe(axis)}")
            self.axis = axis
            self.method = check_method(method)
            self._advance = self._compensation(compensate)
        self.reset()

    def __repr__(self) -> str:
        return f"<FIRStream: {self.taps} taps, axis {self.axis}, {self._seen} samples pushed>"

    @property
    def delay(self) -> int | float | None:
        """Samples by which every frequency is delayed, (K − 1) / 2, or None if they differ.

        A number where the taps are symmetric or antisymmetric up to rounding, complex ones up to a
        conjugate and a constant phase (so those of such a filter shifted in frequency); a
        half-integer for even K. Traced taps are taken to be so. The delay of other filters depends
        on the frequency.
        """
        if not _linear_phase(self._row):
            return None
        return (self.taps - 1) // 2 if self.taps % 2 else (self.taps - 1) / 2

    @property
    def state(self) -> Any:
        """The last K − 1 samples; None before the first chunk."""
        return self._state

    def init(self, like: Any) -> Any:
        """State before the first sample, for `step`.

        Parameters
        ----------
        like : array
            A chunk, for its shape but for `axis`, and its dtype.

        Returns
        -------
        array
            Zeros: K − 1 points along `axis`, in the common dtype of taps and chunk.
        """
        with explain("FIRStream.init", {"like": like}):
            like = self.__swath_convert__(like)
            be, (b, like) = arguments.dividing(b=self._b, like=like)
            axis = arguments.along("like", like, self.axis)
            b, like = arguments.floating(be, b, like)
            shape = (*like.shape[:axis], self.taps - 1, *like.shape[axis + 1 :])
            return _ops.fill_like(like, shape)

    def step(self, state: Any, chunk: Any) -> tuple[Any, Any]:
        """The pure step, for ``jax.lax.scan``: nothing of the stream is read but its taps.

        Parameters
        ----------
        state : array
            From `init` or the step before.
        chunk : array
            The next samples.

        Returns
        -------
        state, y : array
            As `fir_step`: outputs are causal, the delay is not taken out.
        """
        chunk = self.__swath_convert__(chunk)
        return fir_step(self._b, state, chunk, axis=self.axis, method=self.method)

    def push(self, chunk: Any) -> Any:
        """Filter the next chunk.

        Parameters
        ----------
        chunk : array
            Any number of samples along `axis`, 0 too; other axes as in the chunks before.

        Returns
        -------
        array
            As many outputs as the chunk has samples, less those that `compensate` drops at the
            start.
        """
        try:
            return self._push(chunk)
        except Exception:
            with explain("FIRStream.push", {"b": self._b, "chunk": chunk}):
                raise

    def _push(self, chunk: Any) -> Any:
        chunk = self.__swath_convert__(chunk)
        self._check_batch(chunk)
        state, y = _step(self._b, self._state, chunk, self.axis, self.method)
        dropped = max(0, self._advance - self._seen)
        self._state, self._shape = state, y.shape
        self._seen += y.shape[self.axis]
        if dropped:
            axis = arguments.axis_of("axis", self.axis, y.ndim)
            y = _ops.cut(y, *[slice(None)] * axis, slice(min(dropped, y.shape[axis]), None))
        return y

    def flush(self) -> Any:
        """The outputs that are still to come, as zeros follow the signal; the stream starts anew.

        Returns
        -------
        array
            K − 1 points along `axis`; with `compensate` as many as were dropped at the start; no
            points if no sample was pushed, and shape (0,) if no chunk was.
        """
        with explain("FIRStream.flush", {"b": self._b}):
            state, seen = self._state, self._seen
            if state is None:
                _, b = arguments.one_array("b", self._b)
                return _ops.fill_like(b, (0,))
            axis = arguments.axis_of("axis", self.axis, state.ndim)
            lead = [slice(None)] * axis
            if seen == 0:
                y = _ops.cut(state, *lead, slice(0, 0))
            else:
                zeros = _ops.fill_like(state, tuple(state.shape))
                _, y = _step(self._b, state, zeros, self.axis, self.method)
            if self._compensates and seen:
                y = _ops.cut(y, *lead, slice(max(0, self._advance - seen), self._advance))
            self.reset()
            return y

    def reset(self) -> None:
        """Forget the signal so far."""
        self._state: Any = None
        self._shape: Any = None
        self._seen = 0

    def _compensation(self, compensate: Any) -> int:
        """Samples by which the output is advanced."""
        self._compensates = compensate is not False
        if compensate is False:
            return 0
        if compensate is not True:
            samples = arguments.positive("compensate", compensate, least=0)
            if samples >= self.taps:
                raise ArgumentError(
                    f"compensate must be less than the {self.taps} taps, got {samples}"
                )
            return samples
        if self.delay is None:
            raise ArgumentError(
                "compensate=True needs symmetric or antisymmetric taps: the delay of others "
                "depends on the frequency; give the number of samples"
            )
        return (self.taps - 1) // 2

    def _check_batch(self, chunk: Any) -> None:
        """Refuse a chunk whose batch axes are not those of the chunks before."""
        shape = getattr(chunk, "shape", None)
        if self._state is None or shape is None or shape == self._shape:
            return
        axis = arguments.axis_of("axis", self.axis, self._state.ndim)
        known = list(self._state.shape)
        got = list(chunk.shape)
        if len(got) == len(known):
            known[axis] = got[axis]
        if got != known:
            known[axis] = "any"
            shape = ", ".join(map(str, known)) + ("," if len(known) == 1 else "")
            raise ArgumentError(
                f"chunk must have shape ({shape}) like the chunks before, got {tuple(got)}"
            )


def _linear_phase(b: Array) -> bool:
    """Whether the taps are (anti)symmetric up to rounding; True while they are traced.

    Complex ones up to a conjugate and a constant phase: conj(b[K − 1 − k]) = c·b[k] with |c| = 1.
    """
    be = backend_of(b)
    xp = be.xp
    if not be.is_floating(b.dtype):
        b = xp.astype(b, be.default_float(b))
    turned, eps = xp.flip(b), xp.finfo(b.dtype).eps
    size = xp.max(xp.abs(b))
    if not be.is_complex(b):
        odd, even = (xp.max(xp.abs(v)) for v in (b + turned, b - turned))
        return be.concrete((odd <= 16 * eps * size) | (even <= 16 * eps * size)) is not False
    b = b / xp.astype(xp.where(size > 0, size, xp.ones_like(size)), b.dtype)
    turned = xp.conj(xp.flip(b))
    phase = xp.sum(turned * xp.conj(b))
    length = xp.abs(phase)
    phase = phase / xp.astype(xp.where(length > 0, length, xp.ones_like(length)), b.dtype)
    # The phases ωk of taps that were shifted in frequency are rounded to eps·ωk themselves.
    off = xp.max(xp.abs(turned - phase * b))
    return be.concrete(off <= (16 + 4 * b.shape[0]) * eps) is not False
