"""Array operations that public functions may use on arrays and on tape nodes alike.

Each is a native core: JAX and PyTorch differentiate it themselves; the tape uses the pull written
here. `geometry` holds the static argument.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from ._backends import Backend, backend_of
from .autodiff import Core, Patch, apply, primal

__all__ = [
    "absolute",
    "add",
    "angle",
    "broadcast_to",
    "cast",
    "concat",
    "conj",
    "cos",
    "cumulative_sum",
    "cut",
    "divide",
    "fill_like",
    "flip",
    "matmul",
    "multiply",
    "pad",
    "permute",
    "power",
    "real",
    "reshape",
    "root",
    "scale",
    "select",
    "sigmoid",
    "sin",
    "squared_size",
    "subtract",
    "take",
    "tanh",
    "total",
]

Array = Any


class _Native(Core):
    """A core from two functions; both get the adapter and the static argument."""

    native = True

    def __init__(
        self,
        name: str,
        forward: Callable[..., Array],
        pull: Callable[..., Sequence[Any]],
    ) -> None:
        self.name = name
        self.forward = forward
        self._pull = pull

    def pull(
        self,
        be: Backend,
        geometry: Any,
        arrays: Sequence[Array],
        out: Array,
        cotangent: Array,
        wanted: Sequence[bool],
    ) -> Sequence[Any]:
        return self._pull(be, geometry, arrays, out, cotangent, wanted)


def _like(be: Backend, x: Array, target: Array) -> Array:
    """Sum x over the axes along which target was broadcast, and drop an imaginary part."""
    xp = be.xp
    if be.is_complex(x) and not be.is_complex(target):
        x = xp.real(x)
    extra = x.ndim - target.ndim
    axes = tuple(range(extra)) + tuple(
        i + extra for i, n in enumerate(target.shape) if n == 1 and x.shape[i + extra] != 1
    )
    if axes:
        x = xp.sum(x, axis=axes, keepdims=False, dtype=x.dtype)
    if tuple(x.shape) != tuple(target.shape):
        x = xp.reshape(x, target.shape)
    return be.cast(x, target.dtype)


def _binary(
    forward: Callable[..., Array],
    left: Callable[..., Array],
    right: Callable[..., Array],
    name: str,
) -> _Native:
    def pull(be: Any, g: Any, arrays: Any, out: Any, ct: Any, wanted: Any) -> Sequence[Any]:
        a, b = arrays
        return (
            _like(be, left(be, a, b, out, ct), a) if wanted[0] else None,
            _like(be, right(be, a, b, out, ct), b) if wanted[1] else None,
        )

    return _Native(name, lambda be, g, a, b: forward(be, a, b), pull)


def _unary(forward: Callable[..., Array], back: Callable[..., Array], name: str) -> _Native:
    return _Native(
        name,
        forward,
        lambda be, g, arrays, out, ct, wanted: (back(be, g, arrays[0], out, ct),),
    )


_ADD = _binary(lambda be, a, b: a + b, lambda be, a, b, y, t: t, lambda be, a, b, y, t: t, "add")
_SUBTRACT = _binary(
    lambda be, a, b: a - b, lambda be, a, b, y, t: t, lambda be, a, b, y, t: -t, "subtract"
)
_MULTIPLY = _binary(
    lambda be, a, b: a * b, lambda be, a, b, y, t: t * b, lambda be, a, b, y, t: t * a, "multiply"
)
_DIVIDE = _binary(
    lambda be, a, b: a / b,
    lambda be, a, b, y, t: t / b,
    lambda be, a, b, y, t: -t * y / b,
    "divide",
)
_MATMUL = _binary(
    lambda be, a, b: be.matmul(a, b),
    lambda be, a, b, y, t: be.matmul(t, be.xp.matrix_transpose(b)),
    lambda be, a, b, y, t: be.matmul(be.xp.matrix_transpose(a), t),
    "matmul",
)
_RESHAPE = _unary(
    lambda be, g, x: be.reshape(x, g),
    lambda be, g, x, y, t: be.xp.reshape(t, x.shape),
    "reshape",
)
_PERMUTE = _unary(
    lambda be, g, x: be.permute(x, g),
    lambda be, g, x, y, t: be.xp.permute_dims(t, tuple(g.index(i) for i in range(len(g)))),
    "permute",
)
_FLIP = _unary(lambda be, g, x: be.flip(x, g), lambda be, g, x, y, t: be.flip(t, g), "flip")
_CONJ = _unary(lambda be, g, x: be.xp.conj(x), lambda be, g, x, y, t: be.xp.conj(t), "conj")
_REAL = _unary(
    lambda be, g, x: be.xp.real(x), lambda be, g, x, y, t: be.xp.astype(t, x.dtype), "real"
)
_CAST = _unary(lambda be, g, x: be.xp.astype(x, g), lambda be, g, x, y, t: _like(be, t, x), "cast")
_BROADCAST = _unary(
    lambda be, g, x: be.xp.broadcast_to(x, g), lambda be, g, x, y, t: _like(be, t, x), "broadcast"
)
_PAD = _unary(
    lambda be, g, x: be.pad(x, g[0], g[1]),
    lambda be, g, x, y, t: t[
        tuple(slice(lo, lo + n) for (lo, _), n in zip(g[0], x.shape, strict=True))
    ],
    "pad",
)


def _uncut(be: Backend, g: tuple[tuple[int, int, int], ...], x: Array, y: Array, t: Array) -> Patch:
    return Patch(tuple(x.shape), tuple(slice(*cut) for cut in g), t)


_CUT = _unary(lambda be, g, x: x[tuple(slice(a, b, s) for a, b, s in g)], _uncut, "cut")
_TOTAL = _unary(
    lambda be, g, x: be.xp.sum(x, axis=g[0], keepdims=g[1], dtype=x.dtype),
    lambda be, g, x, y, t: be.xp.broadcast_to(
        be.xp.reshape(t, tuple(1 if i in g[0] else n for i, n in enumerate(x.shape))), x.shape
    ),
    "total",
)


def _root(be: Backend, g: Any, x: Array) -> Array:
    # The derivative at 0 is taken as 0: a window without energy has no direction to grow in.
    # Both branches are finite, so that the libraries' own derivative is 0 there too.
    xp = be.xp
    if be.in_place and not be.recorded(x):
        return xp.sqrt(x)
    zero = x == 0
    return xp.where(zero, xp.zeros_like(x), xp.sqrt(xp.where(zero, xp.ones_like(x), x)))


def _root_back(be: Backend, g: Any, x: Array, y: Array, t: Array) -> Array:
    zero = y == 0
    safe = be.xp.where(zero, be.xp.ones_like(y), y)
    return be.xp.where(zero, be.xp.zeros_like(t), t / (2 * safe))


_ROOT = _unary(_root, _root_back, "root")
_SCALE = _unary(lambda be, g, x: x * g, lambda be, g, x, y, t: t * g, "scale")
_POWER = _unary(lambda be, g, x: x**g, lambda be, g, x, y, t: t * g * x ** (g - 1), "power")


def _sign_back(be: Backend, g: Any, x: Array, y: Array, t: Array) -> Array:
    xp = be.xp
    if be.is_complex(x):
        safe = xp.where(y == 0, xp.ones_like(y), y)
        return be.cast(t, x.dtype) * xp.conj(x) / xp.astype(safe, x.dtype)
    return t * xp.sign(x)


def _size(be: Backend, g: Any, x: Array) -> Array:
    if be.traces and not be.is_complex(x):
        # The derivative at 0 is 0; JAX's own is 1.
        return x * be.xp.sign(x)
    return be.xp.abs(x)


_SIN = _unary(lambda be, g, x: be.xp.sin(x), lambda be, g, x, y, t: t * be.xp.cos(x), "sin")
_COS = _unary(lambda be, g, x: be.xp.cos(x), lambda be, g, x, y, t: -t * be.xp.sin(x), "cos")
_TANH = _unary(lambda be, g, x: be.xp.tanh(x), lambda be, g, x, y, t: t * (1 - y * y), "tanh")


def _logistic(be: Backend, g: Any, x: Array) -> Array:
    # Only exp of a non-positive number is taken; -x rather than -|x| keeps the slope at 0.
    xp = be.xp
    e = xp.exp(xp.where(x < 0, x, -x))
    return xp.where(x < 0, e / (1 + e), 1 / (1 + e))


_SIGMOID = _unary(_logistic, lambda be, g, x, y, t: t * y * (1 - y), "sigmoid")


def _squares(be: Backend, z: Array) -> Array:
    if not be.is_complex(z):
        return z * z
    a, b = be.xp.real(z), be.xp.imag(z)
    return a * a + b * b


def _running(be: Backend, g: int, x: Array) -> Array:
    return be.xp.cumulative_sum(x, axis=g, dtype=x.dtype)


def _running_back(be: Backend, g: int, x: Array, y: Array, t: Array) -> Array:
    return be.xp.flip(_running(be, g, be.xp.flip(t, axis=g)), axis=g)


_CUMULATIVE = _unary(_running, _running_back, "cumulative_sum")
_SQUARED_SIZE = _unary(
    lambda be, g, z: _squares(be, z),
    lambda be, g, z, y, t: be.cast(2 * t, z.dtype) * (be.xp.conj(z) if be.is_complex(z) else z),
    "squared_size",
)


def _argument(be: Backend, g: Any, z: Array) -> Array:
    xp = be.xp
    # At 0 the library's own derivative would be NaN.
    z = xp.where(z == 0, xp.ones_like(z), z)
    return xp.atan2(xp.imag(z), xp.real(z))


def _argument_back(be: Backend, g: Any, z: Array, y: Array, t: Array) -> Array:
    xp, zero = be.xp, z == 0
    pulled = be.cast(t, z.dtype) * (-1j / xp.where(zero, xp.ones_like(z), z))
    return xp.where(zero, xp.zeros_like(z), pulled)


_ANGLE = _unary(_argument, _argument_back, "angle")
_ABSOLUTE = _unary(_size, _sign_back, "absolute")


class _Concat(Core):
    name = "concat"
    native = True

    def forward(self, be: Backend, geometry: Any, *arrays: Array) -> Array:
        return be.concat(arrays, geometry)

    def pull(
        self,
        be: Backend,
        geometry: Any,
        arrays: Sequence[Array],
        out: Array,
        cotangent: Array,
        wanted: Sequence[bool],
    ) -> Sequence[Any]:
        parts, start = [], 0
        for x in arrays:
            index = [slice(None)] * x.ndim
            index[geometry] = slice(start, start + x.shape[geometry])
            start += x.shape[geometry]
            parts.append(_like(be, cotangent[tuple(index)], x))
        return parts


_CONCAT = _Concat()


class _Select(Core):
    """where(mask, x, fill): the mask is the first argument and has no derivative."""

    name = "select"
    native = True

    def forward(self, be: Backend, geometry: Any, *arrays: Array) -> Array:
        mask, x, y = arrays
        return be.xp.where(mask, x, y)

    def pull(
        self,
        be: Backend,
        geometry: Any,
        arrays: Sequence[Array],
        out: Array,
        cotangent: Array,
        wanted: Sequence[bool],
    ) -> Sequence[Any]:
        mask, x, y = arrays
        zero = be.xp.zeros_like(cotangent)
        return (
            None,
            _like(be, be.xp.where(mask, cotangent, zero), x) if wanted[1] else None,
            _like(be, be.xp.where(mask, zero, cotangent), y) if wanted[2] else None,
        )


_SELECT = _Select()


class _Take(Core):
    """x.take(indices, axis) with a static table of indices."""

    name = "take"
    native = True

    def forward(self, be: Backend, geometry: Any, *arrays: Array) -> Array:
        (x,) = arrays
        axis, indices = geometry
        return be.take(x, np.asarray(indices), axis)

    def pull(
        self,
        be: Backend,
        geometry: Any,
        arrays: Sequence[Array],
        out: Array,
        cotangent: Array,
        wanted: Sequence[bool],
    ) -> Sequence[Any]:
        (x,) = arrays
        axis, indices = geometry
        # A one-hot product: the standard has no scatter.
        xp, n = be.xp, x.shape[axis]
        kind = be.default_int(x)
        hot = be.constant(indices, x, kind)[:, None] == be.arange(n, x, kind)[None, :]
        hot = xp.astype(hot, cotangent.dtype)
        moved = xp.moveaxis(cotangent, axis, -1)
        return (xp.moveaxis(be.matmul(moved, hot), -1, axis),)


_TAKE = _Take()


def reshape(x: Any, shape: Sequence[int]) -> Any:
    """Reshape in C order."""
    shape = tuple(shape)
    if -1 in shape:
        known = -prod(shape)
        shape = tuple(prod(x.shape) // known if n == -1 else n for n in shape)
    return x if tuple(x.shape) == shape else apply(_RESHAPE, shape, x)


def permute(x: Any, axes: Sequence[int]) -> Any:
    """Reorder axes."""
    axes = tuple(axes)
    return x if axes == tuple(range(x.ndim)) else apply(_PERMUTE, axes, x)


def flip(x: Any, axes: Sequence[int]) -> Any:
    """Reverse along axes."""
    return apply(_FLIP, tuple(axes), x) if axes else x


def conj(x: Any) -> Any:
    """Complex conjugate; a real array is returned as it is."""
    return apply(_CONJ, None, x) if backend_of(primal(x)).is_complex(x) else x


def real(x: Any) -> Any:
    """Real part; a real array is returned as it is."""
    return apply(_REAL, None, x) if backend_of(primal(x)).is_complex(x) else x


def cast(x: Any, dtype: Any) -> Any:
    """Convert the dtype."""
    return x if x.dtype == dtype else apply(_CAST, dtype, x)


def broadcast_to(x: Any, shape: Sequence[int]) -> Any:
    """Broadcast to a shape."""
    shape = tuple(shape)
    return x if tuple(x.shape) == shape else apply(_BROADCAST, shape, x)


def pad(x: Any, widths: Sequence[tuple[int, int]], value: Any = 0) -> Any:
    """Pad with a constant."""
    widths = tuple((int(a), int(b)) for a, b in widths)
    return apply(_PAD, (widths, value), x) if any(a or b for a, b in widths) else x


def cut(x: Any, *slices: slice) -> Any:
    """Basic slicing with non-negative bounds and positive steps, one slice per axis in front."""
    shape = x.shape
    whole = [(0, n, 1) for n in shape]
    cuts = [s.indices(n) for s, n in zip(slices, shape, strict=False)]
    # A single point has no stride (see `geometry.strided`).
    full = [(a, b, s) if b - a > s else (a, min(a + 1, b), 1) for a, b, s in cuts]
    full += whole[len(full) :]
    return x if full == whole else apply(_CUT, tuple(full), x)


def total(x: Any, axes: Sequence[int], *, keepdims: bool = False) -> Any:
    """Sum over axes, in the dtype of x."""
    axes = tuple(a % x.ndim for a in axes)
    return apply(_TOTAL, (axes, keepdims), x) if axes else x


def _ranked(a: Any, b: Any) -> tuple[Any, Any]:
    """Both with as many axes, unless one has none: JAX can be told to refuse to add them itself."""
    if a.ndim == b.ndim or not a.ndim or not b.ndim:
        return a, b
    rank = max(a.ndim, b.ndim)
    a, b = (reshape(v, (*[1] * (rank - v.ndim), *v.shape)) for v in (a, b))
    return a, b


def add(a: Any, b: Any) -> Any:
    """a + b with broadcasting."""
    return apply(_ADD, None, *_ranked(a, b))


def subtract(a: Any, b: Any) -> Any:
    """a − b with broadcasting."""
    return apply(_SUBTRACT, None, *_ranked(a, b))


def multiply(a: Any, b: Any) -> Any:
    """a · b element by element with broadcasting."""
    return apply(_MULTIPLY, None, *_ranked(a, b))


def divide(a: Any, b: Any) -> Any:
    """a / b with broadcasting."""
    return apply(_DIVIDE, None, *_ranked(a, b))


def matmul(a: Any, b: Any) -> Any:
    """Matrix product of arrays with at least two axes, at full precision."""
    return apply(_MATMUL, None, a, b)


def root(x: Any) -> Any:
    """Square root, with derivative 0 at 0."""
    return apply(_ROOT, None, x)


def power(x: Any, exponent: float) -> Any:
    """x to a constant power."""
    return apply(_POWER, exponent, x)


def absolute(x: Any) -> Any:
    """|x|, with derivative 0 at 0."""
    return apply(_ABSOLUTE, None, x)


def squared_size(z: Any) -> Any:
    """|z|², real, without a root; z̄ = 2 ȳ z*."""
    return apply(_SQUARED_SIZE, None, z)


def angle(z: Any) -> Any:
    """The argument of complex z, with dθ = Re(−i dz / z); 0, and no gradient, at z = 0."""
    return apply(_ANGLE, None, z)


def sin(x: Any) -> Any:
    """Sine."""
    return apply(_SIN, None, x)


def cos(x: Any) -> Any:
    """Cosine."""
    return apply(_COS, None, x)


def tanh(x: Any) -> Any:
    """Hyperbolic tangent."""
    return apply(_TANH, None, x)


def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(−x)), of full relative accuracy on both sides."""
    return apply(_SIGMOID, None, x)


def scale(x: Any, factor: float) -> Any:
    """x times a number of its kind, in the dtype of x."""
    return apply(_SCALE, factor, x)


def cumulative_sum(x: Any, axis: int) -> Any:
    """Running sum along an axis, in the dtype of x."""
    return apply(_CUMULATIVE, axis % x.ndim, x)


def concat(arrays: Sequence[Any], axis: int) -> Any:
    """Join along an axis."""
    return apply(_CONCAT, axis % arrays[0].ndim, *arrays)


def select(mask: Array, x: Any, y: Any) -> Any:
    """x where the mask holds, else y."""
    return apply(_SELECT, None, mask, x, y)


def take(x: Any, indices: Sequence[int], axis: int) -> Any:
    """Elements along an axis, by a static table."""
    return apply(_TAKE, (axis % x.ndim, tuple(int(i) for i in indices)), x)


def vacant(shape: Sequence[int], *arrays: Any, value: Any = 0, dtype: Any = None) -> Array:
    """What is made of arrays without elements, beside the first and of its dtype.

    It depends on all of them: their derivatives are zeros, where a constant would have none.
    """
    plain = [primal(a) for a in arrays]
    be = backend_of(plain[0])
    return be.tied(be.new_like(plain[0], tuple(shape), dtype=dtype, fill=value), *plain)


def fill_like(x: Any, shape: Sequence[int], value: Any = 0, dtype: Any = None) -> Array:
    """A constant array beside x."""
    plain = primal(x)
    return backend_of(plain).new_like(plain, tuple(shape), dtype=dtype, fill=value)
