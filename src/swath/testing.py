"""Helpers for testing code built on swath: closeness, adjoints, pullbacks, tolerances.

All return None and raise AssertionError with the worst place; arrays may live in any library.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ._backends import backend_of, try_backend
from .autodiff import differentiable, vjp
from .errors import ArgumentError, ArgumentTypeError, describe
from .registry import lookup
from .sliding.plan import Plan

__all__ = ["assert_close", "check_adjoint", "check_vjp", "tolerance"]

_EPS = {
    "float16": 2.0**-10,
    "bfloat16": 2.0**-7,
    "float32": 2.0**-23,
    "complex64": 2.0**-23,
    "float64": 2.0**-52,
    "complex128": 2.0**-52,
}


def _host(x: Any) -> np.ndarray:
    be = try_backend(x)
    if be is None:
        return np.asarray(x)
    if be.name_of(x.dtype) == "bfloat16":
        x = be.xp.astype(x, be.dtype("float32"))
    return np.asarray(be.to_numpy(x))


def _table(name: str, x: Any) -> np.ndarray:
    """x on the host, if it is numbers."""
    try:
        table = _host(x)
    except ValueError:
        table = np.asarray(None)
    if table.dtype.kind not in "biufc":
        raise ArgumentTypeError(
            f"assert_close: {name} must be an array, a number or a nested list of numbers, got "
            f"{describe(x)}"
        )
    return table


def _dtype_name(dtype: Any) -> str:
    return np.dtype(dtype).name if isinstance(dtype, type) else str(dtype).rsplit(".", 1)[-1]


def tolerance(dtype: Any, plan: Plan | None = None) -> float:
    """Error bound of the accuracy contract for a product, as a factor.

    Parameters
    ----------
    dtype : dtype or str
        Floating dtype of the result, of any array library.
    plan : Plan, optional
        How the product is computed (`swath.plan`); without one, a sum of one term.

    Returns
    -------
    float
        2·K·eps for window-wise algorithms, to be multiplied by |x|⋆|k| element by element;
        2·(C + 2)·eps for Winograd's F(2, 3), 2·(C + 12)·eps for F(4, 3), to be multiplied by
        |Aᵀ|((|G||k|)⊙(|Bᵀ||x|)); 4·eps·log2(n) for an FFT of n points, to be multiplied by
        ‖frame‖₂·‖k‖₂; (m − 1)·eps more for a sum over m frames (`swath.plan` tells
        them), to be multiplied by Σ‖frame‖₂·‖other‖₂. Twice that for complex dtypes.

    Examples
    --------
    >>> from swath.testing import tolerance
    >>> tolerance("float32")
    2.384185791015625e-07
    """
    name = _dtype_name(dtype)
    if name not in _EPS:
        raise ArgumentError(f"tolerance: dtype must be floating, got {dtype!r}")
    scale = 2.0 if name.startswith("complex") else 1.0
    if plan is None:
        return 2.0 * scale * _EPS[name]
    if not isinstance(plan, Plan):
        raise ArgumentTypeError(f"tolerance: plan must be what swath.plan gives, got {plan!r}")
    if plan.chosen.transforms:
        levels = 4.0 * max(1.0, float(np.log2(plan.points)))
        return scale * _EPS[name] * (levels + plan.frames - 1)
    return 2.0 * scale * plan.terms * _EPS[name]


def assert_close(
    actual: Any,
    desired: Any,
    *,
    rtol: float | None = None,
    atol: float | None = None,
    bound: Any = None,
    dtype: Any = None,
) -> None:
    """Assert that an array of any library equals a NumPy reference within bounds.

    Parameters
    ----------
    actual : array
        Result, of any library and device.
    desired : array_like
        Reference on the host.
    rtol, atol : float, optional
        Allowed is ``atol + rtol·max|desired|``; by default rtol = 64·eps of actual's dtype and
        atol = 0. Integers and booleans must be equal.
    bound : array_like, optional
        Allowed absolute error of every element, instead.
    dtype : str, optional
        Name of the dtype that `actual` must have.

    Raises
    ------
    AssertionError
        If shape, dtype, a value or the place of a NaN differs.
    """
    got, want = _table("actual", actual), _table("desired", desired)
    if got.shape != want.shape:
        raise AssertionError(f"shape {got.shape}, expected {want.shape}")
    be = try_backend(actual)
    kind = be.name_of(actual.dtype) if be is not None else got.dtype.name
    if dtype is not None and kind != _dtype_name(dtype):
        raise AssertionError(f"dtype {kind}, expected {_dtype_name(dtype)}")
    if got.size == 0:
        return
    if kind not in _EPS:
        if not np.array_equal(got, want):
            raise AssertionError(f"values differ:\n{got}\nexpected\n{want}")
        return
    if not np.array_equal(np.isnan(got), np.isnan(want)):
        raise AssertionError(f"NaNs differ:\n{got}\nexpected\n{want}")
    infinite = np.isinf(want) | np.isinf(got)
    if not np.array_equal(got[infinite], want[infinite]):
        raise AssertionError(f"infinities differ:\n{got}\nexpected\n{want}")
    finite = ~(np.isnan(want) | infinite)
    error = np.abs(got[finite] - want[finite])
    if bound is not None:
        try:
            allowed = np.broadcast_to(np.asarray(bound), want.shape)[finite]
        except ValueError:
            raise ArgumentError(
                f"assert_close: bound must broadcast to shape {want.shape}, got {describe(bound)}"
            ) from None
    else:
        largest = float(np.max(np.abs(want[finite]), initial=0.0))
        relative = 64 * _EPS[kind] if rtol is None else rtol
        allowed = np.full(error.shape, (atol or 0.0) + relative * largest)
    over = ~(error <= allowed)  # a bound that is NaN allows nothing
    if np.any(over):
        worst = int(np.argmax(np.where(over, error - allowed, -1.0)))
        raise AssertionError(
            f"{int(np.sum(over))} of {got.size} values differ; worst: {got[finite][worst]} for "
            f"{want[finite][worst]}, error {error[worst]:.3e}, allowed {allowed[worst]:.3e}"
        )


def _random_like(rng: np.random.Generator, x: Any) -> Any:
    """A random array of x's library, device, shape and dtype."""
    be = backend_of(x)
    data = rng.standard_normal(tuple(x.shape))
    if be.is_complex(x):
        data = data + 1j * rng.standard_normal(tuple(x.shape))
    return be.constant(data, x, x.dtype) if data.size else be.new_like(x, tuple(x.shape))


def _dot(a: Any, b: Any) -> complex:
    return complex(np.sum(_host(a).astype(complex) * _host(b).astype(complex)))


def check_adjoint(
    op: Any, *args: Any, seed: int = 0, rtol: float | None = None, **kwargs: Any
) -> None:
    """Check ⟨A x, y⟩ = ⟨x, Aᵀ y⟩ for every argument in which an operation is linear.

    Parameters
    ----------
    op : callable, str or linear operator
        A registered operation with linear arguments, or its name; or, alone, a linear operator of
        swath, of SciPy or of anyone who gives it shape, dtype, matvec and rmatvec.
    *args, **kwargs
        Its arguments; the linear ones are replaced by random arrays one at a time.
    seed : int, default 0
        Of the random numbers.
    rtol : float, optional
        Allowed difference relative to ‖A x‖·‖y‖; by default 1000·eps.

    Raises
    ------
    AssertionError
        If the two sides differ, or nothing was checked.

    Notes
    -----
    Of operations the transpose, without conjugates, as everywhere in `swath.vjp`; of a linear
    operator the Hermitian adjoint `rmatvec`, with the inner product Σ conj(x) y, and the transpose
    `T` where there is one.
    """
    if not args and hasattr(op, "rmatvec") and hasattr(op, "shape"):
        _check_operator(op, seed, rtol)
        return
    record = lookup(op)
    names = record.parameters
    rng = np.random.default_rng(seed)
    checked = 0
    slots: list[tuple[Any, str, Any]] = [
        (i, n, a) for i, (n, a) in enumerate(zip(names, args, strict=False))
    ]
    slots += [(k, k, a) for k, a in kwargs.items()]
    for key, name, value in slots:
        if name not in record.linear or not differentiable(value):
            continue
        probe = _random_like(rng, value)
        # A constant term (the bias of a layer) is no part of the linear map.
        zero = backend_of(value).new_like(value, tuple(value.shape))
        origin = record.output(_replaced(record.function, args, kwargs, key, zero))
        given, named = list(args), dict(kwargs)
        if isinstance(key, int):
            given[key] = probe
        else:
            named[key] = probe
        result, pullback = vjp(op, *given, **named)
        out = record.output(result)
        y = _random_like(rng, out)
        positional, keywords = pullback(y, with_kwargs=True)
        back = positional[key] if isinstance(key, int) else keywords[key]
        if tuple(back.shape) != tuple(value.shape) or back.dtype != value.dtype:
            raise AssertionError(
                f"cotangent of {name}: shape {tuple(back.shape)} dtype {back.dtype}, "
                f"expected {tuple(value.shape)} {value.dtype}"
            )
        # Real parts: a real argument of a complex operation is pulled back to its real part.
        left, right = (_dot(out, y) - _dot(origin, y)).real, _dot(probe, back).real
        kind = _dtype_name(back.dtype)
        scale = float(np.linalg.norm(_host(out)) * np.linalg.norm(_host(y))) + 1e-300
        limit = (1000 * _EPS[kind] if rtol is None else rtol) * scale
        if not abs(left - right) <= limit:
            raise AssertionError(
                f"adjoint in {name}: <Ax, y> = {left}, <x, Aty> = {right}, "
                f"difference {abs(left - right):.3e} > {limit:.3e}"
            )
        checked += 1
    if not checked:
        raise AssertionError(f"{record.name}: no linear floating argument was given")


def _check_operator(a: Any, seed: int, rtol: float | None) -> None:
    """⟨y, A x⟩ = ⟨Aᴴ y, x⟩ and ⟨y, A x⟩ = ⟨Aᵀ y, x⟩ without the conjugate."""
    like = a._anchor() if hasattr(a, "_anchor") else np.zeros((), a.dtype)
    be = backend_of(like)
    kind = a.dtype if be.is_floating(a.dtype) else be.default_float(like)
    m, n = a.shape
    rng = np.random.default_rng(seed)
    x = _random_like(rng, be.new_like(like, (n,), dtype=kind))
    y = _random_like(rng, be.new_like(like, (m,), dtype=kind))
    there, name = a.matvec(x), be.name_of(kind)
    limit = 1000 * _EPS[name] if rtol is None else rtol
    scale = float(np.linalg.norm(_host(there)) * np.linalg.norm(_host(y))) + 1e-300
    pairs = [("rmatvec", a.rmatvec(y), True)]
    turned = getattr(a, "T", None)
    if turned is not None:
        pairs.append(("T", turned.matvec(y), False))
    for way, back, conjugate in pairs:
        if tuple(back.shape) != (n,):
            raise AssertionError(f"adjoint, {way}: shape {tuple(back.shape)}, expected {(n,)}")
        left = complex(np.vdot(_host(y), _host(there))) if conjugate else _dot(y, there)
        right = complex(np.vdot(_host(back), _host(x))) if conjugate else _dot(back, x)
        if not abs(left - right) <= limit * scale:
            raise AssertionError(
                f"adjoint, {way}: <y, Ax> = {left}, and {right} from the other side, difference "
                f"{abs(left - right):.3e} > {limit * scale:.3e}"
            )


def check_vjp(
    op: Callable[..., Any] | str,
    *args: Any,
    seed: int = 0,
    step: float | None = None,
    rtol: float | None = None,
    **kwargs: Any,
) -> None:
    """Check `swath.vjp` of an operation against central differences along random directions.

    Parameters
    ----------
    op : callable or str
        A registered, differentiable operation, or its name.
    *args, **kwargs
        Its arguments; every differentiable array, positional or keyword, is checked.
    seed : int, default 0
        Of the random directions.
    step : float, optional
        Half distance of the two points; by default eps^(1/3).
    rtol : float, optional
        Allowed difference relative to the size of the directional derivative and its terms; by
        default 50·eps^(2/3).

    Raises
    ------
    AssertionError
        If a directional derivative differs, or nothing was checked.

    Notes
    -----
    For complex arrays the real parts of ⟨y, J d⟩ and ⟨Jᵀ y, d⟩ are compared, for complex
    directions d and cotangents y: that determines the pullback also where the operation is not
    holomorphic.
    """
    record = lookup(op)
    names = record.parameters
    rng = np.random.default_rng(seed)
    value, pullback = vjp(op, *args, **kwargs)
    out = record.output(value)
    if not differentiable(out):
        raise AssertionError(f"{record.name}: nothing to differentiate was given")
    y = _random_like(rng, out)
    pulled, keywords = pullback(y, with_kwargs=True)
    eps = _EPS[_dtype_name(out.dtype)]
    h = eps ** (1 / 3) if step is None else step
    limit = 50 * eps ** (2 / 3) if rtol is None else rtol
    slots: list[tuple[Any, Any, Any]] = [
        (i, args[i], p) for i, p in enumerate(pulled) if p is not None
    ]
    slots += [(k, kwargs[k], p) for k, p in keywords.items()]
    if not slots:
        raise AssertionError(f"{record.name}: nothing to differentiate was given")
    for key, x, p in slots:
        name = names[key] if isinstance(key, int) else key
        if tuple(p.shape) != tuple(x.shape) or p.dtype != x.dtype:
            raise AssertionError(
                f"cotangent of {name}: shape {tuple(p.shape)} dtype {p.dtype}, "
                f"expected {tuple(x.shape)} {x.dtype}"
            )
        direction = _random_like(rng, x)
        ends = (x + sign * h * direction for sign in (1.0, -1.0))
        sides = [
            _host(record.output(_replaced(record.function, args, kwargs, key, end))) for end in ends
        ]
        slope = (sides[0].astype(complex) - sides[1].astype(complex)) / (2 * h)
        # Real parts: the derivative may be linear over the reals only (a conjugate, |x|), and
        # then only they agree; random directions leave no room for a wrong imaginary part.
        left, right = float(np.sum(slope * _host(y)).real), _dot(direction, p).real
        scale = float(np.linalg.norm(slope) * np.linalg.norm(_host(y))) + float(
            np.linalg.norm(_host(direction)) * np.linalg.norm(_host(p))
        )
        if not abs(left - right) <= limit * scale + 1e-300:
            raise AssertionError(
                f"derivative in {name}: differences give {left}, the pullback {right}, "
                f"off by {abs(left - right):.3e} > {limit * scale:.3e}"
            )


def _replaced(
    op: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], key: Any, x: Any
) -> Any:
    if isinstance(key, int):
        return op(*args[:key], x, *args[key + 1 :], **kwargs)
    return op(*args, **{**kwargs, key: x})
