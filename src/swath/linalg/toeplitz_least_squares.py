"""Filters and signals from convolutions: Toeplitz least squares without the matrix.

Public function -> checks, lanes -> `_sliding_solvers.minimiser` on the maps of `_sliding_maps` -> a
core with the derivative of the least-squares solution -> result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from .. import _ops, arguments
from .._backends import Backend
from ..autodiff import Core, apply, primal, with_batch
from ..division import Division, problems
from ..errors import ArgumentError, SingularError, describe
from ..registry import operation
from ._scaling import conj, real_product, ridge_number, ridge_values
from ._sliding_maps import Shape
from ._sliding_solvers import minimiser

__all__ = ["deconvolve", "identify_fir"]

Array = Any
_METHODS = ("covariance", "autocorrelation", "prewindowed", "postwindowed")


# -- derivatives -----------------------------------------------------------------------------------


def _column(be: Backend, ridge: Array, like: Array) -> Array:
    """γ (L,) beside (L, k, n)."""
    return be.xp.astype(ridge, like.dtype)[:, None, None]


def _inner(be: Backend, u: Array, x: Array, ridge: Array) -> Array:
    """Re Σ conj(u) x of every lane."""
    return be.xp.sum(real_product(be, x, u), axis=(1, 2), dtype=ridge.dtype)


class _Inverse(Core):
    """G⁻¹ s with G = AᴴA + Γ, from a (L, N), s (L, k, n), γ and `whole` (L,); linear in s.

    `whole` is 1, and NaN where the rank is deficient: the pseudo-inverse, which stands for G⁻¹
    there, jumps where a or γ move.

    With u = G⁻¹ s: u̇ = G⁻¹ (ṡ − Ȧᴴ A u − Aᴴ Ȧ u − γ̇ u). The transpose, with t paired to u̇ without
    conjugate and w = G⁻¹ conj(t): s̄ = conj(w), Ā = −conj(A u) wᵀ − conj(A w) uᵀ summed over the
    entries of A that are one of a, γ̄ = −Re Σ conj(w) u.
    """

    name = "sliding_least_squares_inverse"
    linear = (1,)

    def divide(self, geometry: Any, shapes: Sequence[tuple[int, ...]]) -> Division | None:
        return problems(geometry, shapes, 1, shapes[1][1:])

    def forward(self, be: Backend, geometry: Shape, *arrays: Array) -> Array:
        a, s, ridge, _ = arrays
        return minimiser(be, geometry, a, ridge, None, s)[0]

    def push(
        self,
        be: Backend,
        geometry: Shape,
        arrays: Sequence[Array],
        out: Array,
        tangents: Sequence[Any],
    ) -> Array:
        g, (a, _, ridge, whole), (da, ds, dridge, _) = geometry, arrays, tangents
        right = be.xp.zeros_like(out)
        if da is not None:
            right = right - g.adjoint(be, da, g.times(be, a, out))
            right = right - g.adjoint(be, a, g.times(be, da, out))
        if dridge is not None:
            right = right - _column(be, dridge, out) * out
        if da is not None or dridge is not None:
            right = right * _column(be, whole, out)
        return apply(self, g, a, right if ds is None else right + ds, ridge, whole)

    def pull(
        self,
        be: Backend,
        geometry: Shape,
        arrays: Sequence[Array],
        out: Array,
        cotangent: Array,
        wanted: Sequence[bool],
    ) -> Sequence[Any]:
        g, (a, _, ridge, whole) = geometry, arrays
        w = apply(self, g, a, conj(be, cotangent), ridge, whole)
        results: list[Any] = [None, conj(be, w) if wanted[1] else None, None, None]
        if wanted[0]:
            first = g.entries(be, w, conj(be, g.times(be, a, out)))
            found = -first - g.entries(be, out, conj(be, g.times(be, a, w)))
            results[0] = found * _column(be, whole, out)[:, 0, ...]
        if wanted[2]:
            results[2] = -_inner(be, w, out, ridge) * whole
        return results

    def batch(
        self, be: Backend, geometry: Shape, arrays: Sequence[Array], batched: Sequence[bool]
    ) -> tuple[Any, Sequence[Array], Callable[[Array], Array]]:
        xp = be.xp
        a, s, ridge, whole = arrays
        if not (batched[0] or batched[2] or batched[3]):
            # One matrix: the new axis joins the right-hand sides.
            count, lanes, k, n = s.shape
            s = xp.reshape(xp.permute_dims(s, (1, 0, 2, 3)), (lanes, count * k, n))

            def finish(out: Array) -> Array:
                return xp.permute_dims(xp.reshape(out, (lanes, count, k, n)), (1, 0, 2, 3))

            return geometry, (a, s, ridge, whole), finish
        full = with_batch(be, arrays, batched)
        shape = tuple(full[1].shape)
        merged = [xp.reshape(v, (-1, *v.shape[2:])) for v in full]
        return geometry, merged, lambda out: xp.reshape(out, shape)


class _Solution(Core):
    """The x found already, as the minimiser of ‖b − A x‖² + γ‖x‖², from a, b, γ, x and `whole`.

    With r = b − A x: ẋ = G⁻¹ (Ȧᴴ r − γ̇ x + Aᴴ (ḃ − Ȧ x)). The transpose, with t paired to ẋ
    without conjugate and u = G⁻¹ conj(t): b̄ = conj(A u), Ā = conj(r) uᵀ − b̄ xᵀ summed over the
    entries of A that are one of a, γ̄ = −Re Σ conj(u) x. `whole` is that of `_Inverse`: where the
    rank is deficient x is linear in b still.
    """

    name = "sliding_least_squares"

    def forward(self, be: Backend, geometry: Shape, *arrays: Array) -> Array:
        return be.xp.reshape(arrays[3], tuple(arrays[3].shape), copy=True)

    def push(
        self,
        be: Backend,
        geometry: Shape,
        arrays: Sequence[Array],
        out: Array,
        tangents: Sequence[Any],
    ) -> Array:
        g, (a, b, ridge, _, whole), (da, db, dridge, *_) = geometry, arrays, tangents
        low, high = be.xp.zeros_like(out), db
        if da is not None:
            low = g.adjoint(be, da, b - g.times(be, a, out))
            moved = g.times(be, da, out)
            high = -moved if high is None else high - moved
        if dridge is not None:
            low = low - _column(be, dridge, out) * out
        if high is not None:
            low = low + g.adjoint(be, a, high)
        found = apply(_INVERSE, g, a, low, ridge, whole)
        moves = da is not None or dridge is not None
        return found * _column(be, whole, out) if moves else found

    def pull(
        self,
        be: Backend,
        geometry: Shape,
        arrays: Sequence[Array],
        out: Array,
        cotangent: Array,
        wanted: Sequence[bool],
    ) -> Sequence[Any]:
        g, (a, b, ridge, _, whole) = geometry, arrays
        u = apply(_INVERSE, g, a, conj(be, cotangent), ridge, whole)
        back = conj(be, g.times(be, a, u))
        results: list[Any] = [None, back if wanted[1] else None, None, None, None]
        if wanted[0]:
            rest = conj(be, b - g.times(be, a, out))
            found = g.entries(be, u, rest) - g.entries(be, out, back)
            results[0] = found * _column(be, whole, out)[:, 0, ...]
        if wanted[2]:
            results[2] = -_inner(be, u, out, ridge) * whole
        return results


_INVERSE, _SOLUTION = _Inverse(), _Solution()


# -- public ----------------------------------------------------------------------------------------


def _inputs(
    names: tuple[str, str], a: Any, y: Any, ridge: Any, axis: Any
) -> tuple[Backend, Any, Any, Any, int, Any]:
    """Both signals in a float dtype, slid along the last axis; ridge; the axis; the result's dtype.

    Single precision is widened where there is double: squares of its condition fit there.
    """
    number = ridge_number(ridge, finite=True)
    be, (a, y, gamma) = arguments.dividing(
        "ridge", **{names[0]: a, names[1]: y, "ridge": ridge if number is None else None}
    )
    for name, value in zip(names, (a, y), strict=True):
        arguments.numeric(be, name, value)
        if value.ndim < 1:
            raise ArgumentError(
                f"{name} must have at least one axis, got {describe(primal(value))}"
            )
    place = arguments.axis_of("axis", axis, max(a.ndim, y.ndim)) - max(a.ndim, y.ndim)
    for name, value in zip(names, (a, y), strict=True):
        if 1 < value.ndim < -place:
            raise ArgumentError(
                f"{name} must have one axis, or reach axis {axis}; got {describe(primal(value))}"
            )
    a, y = arguments.solvable(be, a, y)
    kind = a.dtype
    double = be.dtype("float32") if be.is_half(kind) else kind
    if be.has_float64(primal(a)):
        double = be.dtype("complex128" if be.is_complex(a) else "float64")
    a, y = (_moved(_ops.cast(v, double), place, -1) for v in (a, y))
    real = be.real_dtype(double)
    if number is None:
        return be, a, y, ridge_values(be, gamma, real), place, kind
    return be, a, y, _ops.fill_like(a, (), number, real), place, kind


def _moved(v: Any, source: int, target: int) -> Any:
    """One axis elsewhere, both counted from the end; a vector stays one."""
    if v.ndim == 1 or source == target:
        return v
    order = [i for i in range(v.ndim) if i != v.ndim + source]
    order.insert(v.ndim + target, v.ndim + source)
    return _ops.permute(v, order)


def _solved(be: Backend, g: Shape, names: tuple[str, str], a: Any, b: Any, ridge: Any) -> Any:
    """The minimisers (..., n) for a (..., N), b (..., rows) and ridge (...)."""
    leads = {names[0]: a.shape[:-1], "ridge": ridge.shape}
    own = max(map(len, leads.values()))
    whole = tuple(b.shape[:-1])
    extra = whole[: max(0, len(whole) - own)]
    leads[names[1]] = whole[len(extra) :]
    lead = arguments.leading(**leads)
    lanes, k, count, n = prod(lead), prod(extra), len(extra), g.unknowns
    if lanes * k == 0:
        return _ops.vacant((*extra, *lead, n), a, b, ridge)
    a = _ops.reshape(_ops.broadcast_to(a, (*lead, g.points)), (lanes, g.points))
    ridge = _ops.reshape(_ops.broadcast_to(ridge, lead), (lanes,))
    b = _ops.broadcast_to(b, (*extra, *lead, g.rows))
    turn = (*range(count, b.ndim - 1), *range(count), b.ndim - 1)
    b = _ops.reshape(_ops.permute(b, turn), (lanes, k, g.rows))
    x, found, full = be.run(_found, g, *(be.detach(primal(v)) for v in (a, b, ridge)))
    if be.concrete(be.xp.all(found)) is False:
        where = f" in at least one of {lanes * k} systems" if lanes * k > 1 else ""
        raise SingularError(
            f"conjugate gradients for {n} unknowns did not converge{where}: the spectrum of "
            f"{names[0]} has zeros, or nearly so; a ridge above 0 keeps the solution bounded"
        )
    x = apply(_SOLUTION, g, a, b, ridge, x, full)
    x = _ops.reshape(x, (*lead, *extra, n))
    back = (*range(len(lead), len(lead) + count), *range(len(lead)), x.ndim - 1)
    return _ops.permute(x, back)


def _found(be: Backend, g: Shape, *arrays: Array) -> tuple[Array, ...]:
    a, b, ridge = arrays
    x, found, whole = minimiser(be, g, a, ridge, b, None)
    one = be.xp.ones_like(ridge)
    return x, found, be.xp.where(whole, one, be.xp.full_like(ridge, float("nan")))


def _result(x: Any, place: int, kind: Any) -> Any:
    return _ops.cast(_moved(x, -1, place), kind)


def _edges(v: Any, start: int, stop: int) -> Any:
    """v[start:stop] along the last axis, as if v were 0 outside."""
    size = v.shape[-1]
    every = [slice(None)] * (v.ndim - 1)
    v = _ops.cut(v, *every, slice(max(start, 0), min(stop, size)))
    return _ops.pad(v, [(0, 0)] * (v.ndim - 1) + [(max(-start, 0), max(stop - size, 0))])


@operation(
    "linalg.identify_fir",
    differentiable=("x", "y", "ridge"),
    linear=("y",),
    reads_values=True,
)
def identify_fir(
    x: Any, y: Any, numtaps: int, *, ridge: Any = 0, method: str = "covariance", axis: int = -1
) -> Any:
    """The FIR filter that turns x into y, by least squares.

    The taps h minimise, over some moments n and with x = 0 outside of its samples::

        Σ_n |y[n] − Σ_k h[k] x[n − k]|²  +  ridge · Σ_k |h[k]|²,     0 <= k < numtaps

    Parameters
    ----------
    x : array
        Input, N samples along `axis`, real or complex; integers become the default float.
    y : array
        Output, from the moment of ``x[0]`` on: N samples (as `swath.signal.lfilter` gives them), or
        all N + numtaps − 1 of a convolution; or, with ``method="covariance"``, its
        N − numtaps + 1 samples of mode "valid". The other axes broadcast with those of x; several
        outputs of one input cost little more than one.
    numtaps : int
        Number of taps.
    ridge : float or array, default 0
        Penalty, 0 or more: a number, or one for every lead (...), the shape without `axis`.
    method : {"covariance", "autocorrelation", "prewindowed", "postwindowed"}
        Which moments count. ``"covariance"`` (default): numtaps − 1 <= n < N, those of which all
        inputs are known, so that nothing is assumed of x outside. ``"prewindowed"``: 0 <= n < N,
        right where the input begins at x[0] from rest. ``"postwindowed"``:
        numtaps − 1 <= n < N + numtaps − 1, where it ends. ``"autocorrelation"``:
        0 <= n < N + numtaps − 1, both; the matrix of the normal equations is Toeplitz then. Of
        moments beyond the end of y, y is 0.
    axis : int, default -1
        Along which x and y run; an input of one axis runs along that.

    Returns
    -------
    array
        Taps, numtaps along `axis`, in the common dtype: ``swath.signal.convolve(x, h)`` is the fit.

    Raises
    ------
    ValueError
        If y has another length, there are fewer samples than taps (``"covariance"``), ridge is
        negative, leading axes do not broadcast or an option is unknown.
    TypeError
        If the arrays live in different libraries or hold booleans, or ridge is complex.
    numpy.linalg.LinAlgError
        (`swath.errors.SingularError`) With more than 2048 taps, if the iteration does not converge.
        Of traced arrays the taps are NaN instead.

    See Also
    --------
    deconvolve, lstsq

    Notes
    -----
    It is what `lstsq` finds with the matrix A[n, k] = x[n − k], which is never formed: AᴴA comes
    from one correlation and, but for the autocorrelation method, a correction of its corners, in
    O(N log N + numtaps²). It is factored (numtaps³), and the solution refined with the residuals
    y − x∗h of the system itself, so that the digits lost by squaring the condition come back:
    accuracy is that of a QR factorisation of A. The autocorrelation method's AᴴA is inverted by
    Levinson's recursion (numtaps²) where that is faster. Where the condition is above 0.1/√eps, A
    goes through a QR factorisation after all, a block of rows after another (N·numtaps²). Single
    precision is computed in double where the device has it.

    Beyond 2048 taps conjugate gradients, preconditioned by the inverse of a Toeplitz matrix,
    take O(N log N) for each step, and memory in proportion to N.

    An input of few frequencies does not tell all taps: where A has a deficient rank (singular
    values below numtaps·eps times the largest), the taps of least norm are found, as by `lstsq`,
    and they jump where x or ridge move: only the derivative with respect to y is there, of which
    they are a linear function, the others are NaN. Otherwise the derivative is that of the
    minimiser. NaN and infinities in x give NaN, in y in the taps of that output.

    References
    ----------
    .. [1] L. Ljung, *System Identification*, 2nd ed., ch. 7 and 10.
    .. [2] S. M. Kay, *Modern Spectral Estimation*, ch. 7 (the four methods).

    Examples
    --------
    >>> import numpy as np, swath
    >>> x = np.array([1.0, -2.0, 0.0, 3.0, 1.0, -1.0])
    >>> y = np.convolve(x, [1.0, 0.5])[:6]
    >>> swath.linalg.identify_fir(x, y, 2).round(12)
    array([1. , 0.5])
    """
    taps = arguments.positive("numtaps", numtaps)
    arguments.choice("method", method, _METHODS)
    be, x, y, gamma, place, kind = _inputs(("x", "y"), x, y, ridge, axis)
    n, edge = int(x.shape[-1]), taps - 1
    if n == 0:
        raise ArgumentError("x must have at least one sample, got none")
    first = 0 if method in ("autocorrelation", "prewindowed") else edge
    last = n + edge if method in ("autocorrelation", "postwindowed") else n
    if last <= first:
        raise ArgumentError(
            f"x must have at least numtaps = {taps} samples, got {n}; of fewer, "
            f'method="prewindowed" makes what there is to make'
        )
    lengths = {n: 0, n + edge: 0}
    if method == "covariance":
        lengths.setdefault(n - edge, edge)
    size = int(y.shape[-1])
    if size not in lengths:
        known = " or ".join(str(v) for v in lengths)
        raise ArgumentError(
            f"y must have {known} samples for x of {n} and {taps} taps (as lfilter, or all of the "
            f"convolution); got {size}"
        )
    # From here on windows of x, and what y is at their ends.
    x = _edges(x, first - edge, last)
    y = _edges(y, first - lengths[size], last - lengths[size])
    g = Shape(int(x.shape[-1]), taps, False, silent=method == "autocorrelation")
    return _result(_solved(be, g, ("x", "y"), x, y, gamma), place, kind)


@operation(
    "linalg.deconvolve",
    differentiable=("y", "k", "ridge"),
    linear=("y",),
    reads_values=True,
)
def deconvolve(y: Any, k: Any, *, ridge: Any = 0, axis: int = -1) -> Any:
    """The signal whose convolution with a kernel is nearest to y.

    The x of M − K + 1 samples minimises, with the full convolution k∗x::

        Σ_n |y[n] − Σ_j k[j] x[n − j]|²  +  ridge · Σ_n |x[n]|²

    Parameters
    ----------
    y : array
        M samples along `axis`, real or complex; integers become the default float.
    k : array
        Kernel, K <= M samples along `axis`; the other axes broadcast with those of y.
    ridge : float or array, default 0
        Penalty, 0 or more: a number, or one for every lead (...), the shape without `axis`.
    axis : int, default -1
        Along which y and k run; an input of one axis runs along that.

    Returns
    -------
    array
        x, M − K + 1 samples along `axis`, in the common dtype.

    Raises
    ------
    ValueError
        If k is empty or longer than y, ridge is negative, or leading axes do not broadcast.
    TypeError
        If the arrays live in different libraries or hold booleans, or ridge is complex.
    numpy.linalg.LinAlgError
        (`swath.errors.SingularError`) With more than 2048 unknowns, if the iteration does not
        converge. Of traced arrays the result is NaN instead.

    See Also
    --------
    identify_fir, solve_toeplitz, swath.signal.convolve

    Notes
    -----
    `scipy.signal.deconvolve` divides polynomials: it needs ``k[0] != 0``, lets noise grow with the
    powers of the zeros of k, and returns a remainder. Here all of y has a say.

    Where x is white noise of variance s² and y = k∗x + white noise of variance v², the estimate of
    least mean square error is that of ridge = v²/s²: Wiener's filter on a finite record, without
    the wrap-around of one made by FFT.

    With ridge = 0 there is one solution, unless k is 0; but where the spectrum |K(ω)| of k has
    zeros, or is small against its maximum, that hardly tells x apart from x plus a wave of that
    frequency, and noise in y is amplified by up to the condition number, about max|K|/min|K|. A
    ridge bounds the gain by 1/(2·√ridge). Beyond a condition of 1/(n·eps) the solution of least
    norm is found, which jumps where k or ridge move: its derivatives are NaN but for the one with
    respect to y. Beyond 2048 unknowns an error says that the iteration does not converge.

    Up to 2048 unknowns the Toeplitz matrix of the normal equations is inverted by Levinson's
    recursion, in O(M²) and memory in proportion to M, or factored where there are few unknowns or
    the condition is above 0.1/√eps, and the solution refined, as in `identify_fir`; beyond,
    conjugate gradients with a circulant preconditioner take O(M log K) for each step, and memory in
    proportion to M. The derivative is that of the minimiser. NaN and infinities give NaN, in y in
    that record alone.

    References
    ----------
    .. [1] P. C. Hansen, *Discrete Inverse Problems*, SIAM 2010, ch. 7.
    .. [2] R. H. Chan and M. K. Ng, "Conjugate gradient methods for Toeplitz systems", SIAM Review
       38, 1996.

    Examples
    --------
    >>> import numpy as np, swath
    >>> y = np.convolve([1.0, 2.0, 0.0, -1.0], [0.5, 1.0, 0.25])
    >>> swath.linalg.deconvolve(y, np.array([0.5, 1.0, 0.25])).round(12) + 0.0
    array([ 1.,  2.,  0., -1.])
    """
    be, y, k, gamma, place, kind = _inputs(("y", "k"), y, k, ridge, axis)
    taps, size = int(k.shape[-1]), int(y.shape[-1])
    if taps == 0:
        raise ArgumentError("k must have at least one sample, got none")
    if size < taps:
        raise ArgumentError(
            f"y must have at least as many samples as k, which has {taps}; got {size}"
        )
    g = Shape(taps, size - taps + 1, True)
    if g.unknowns < taps:
        # The shorter slides over the longer.
        edge = g.unknowns - 1
        g = Shape(taps + 2 * edge, g.unknowns, False, silent=True)
        k = _edges(k, -edge, taps + edge)
    return _result(_solved(be, g, ("k", "y"), k, y, gamma), place, kind)
