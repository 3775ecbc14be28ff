"""What layers can do, by name: the record that the tests run and the documentation's table shows.

Every operation of `swath.nn` lists its features where it is registered.
"""

from __future__ import annotations

from ..registry import Feature

__all__ = [
    "ADAPTIVE",
    "AVERAGE",
    "COMPLEX",
    "CONV",
    "EXTREME",
    "NORM",
    "ORDER",
    "PLACES",
    "RULES",
    "TRANSPOSE",
    "UNPOOL",
    "WHOLE",
]

_HALF = {"strict": "the array API standard has no dtype float16"}
_BRAIN = {
    "numpy": "NumPy has no dtype bfloat16",
    "cupy": "CuPy has no dtype bfloat16",
    "strict": "the array API standard has no dtype bfloat16",
    "dpnp": "dpnp has no dtype bfloat16",
    "dask": "NumPy, which makes the chunks, has no dtype bfloat16",
}


def _named(kind: str, *names: str, only: tuple[str, ...] = ()) -> tuple[Feature, ...]:
    return tuple(Feature(name, kind, only) for name in names)


_AXES = _named(
    "shapes", *(f"{n} sliding ax{'i' if n == 1 else 'e'}s" for n in (1, 2, 3, 4, 8)), "empty batch"
)
_LAYOUT = _named("shapes", "no batch axis", "channels last")
_LAST = _LAYOUT[1:]
_ANY = _named("shapes", "axes")
_BIAS = _named("arguments", "bias", "groups", "depthwise", "method")
_WINDOW = _named("arguments", "stride", "dilation", "padding", "asymmetric padding")
RULES = _named(
    "arguments", *(f'padding "{n}"' for n in ("valid", "same", "same_lower", "full", "causal"))
)
_MODES = _named(
    "arguments",
    *(f'padding_mode "{n}"' for n in ("reflect", "symmetric", "replicate", "circular")),
    "padding_mode constant",
)
_TARGET = _named("arguments", "output_padding", "output_shape")
_CEIL = _named("arguments", "ceil_mode")
_COUNT = _named("arguments", "count_include_pad")
_DIVISOR = _named("arguments", "divisor_override")
ORDER = _named("arguments", "p")
PLACES = _named("arguments", "return_indices")
_KEEP = _named("arguments", "keepdims")
_SIZE = _named("arguments", "output_size")

_REAL = (
    *_named("values", "float32", "integers", "NaN"),
    Feature("float16", "values", gaps=_HALF),
    Feature("bfloat16", "values", gaps=_BRAIN),
)
COMPLEX = _named("values", "complex")

_DERIVED = (
    *_named("derivatives", "swath.vjp"),
    *_named("derivatives", "jax.grad", "jax.jvp", "jax.hessian", only=("jax",)),
    *_named(
        "derivatives",
        "torch.autograd",
        "torch double backward",
        "torch.func.grad",
        "torch.func.jvp",
        "torch.func.hessian",
        only=("torch",),
    ),
)
_TRACED = (
    *_named("transformations", "jax.jit", "jax.vmap", only=("jax",)),
    *_named("transformations", "torch.func.vmap", "torch.compile", only=("torch",)),
)
_ALL = (*_REAL, *_DERIVED, *_TRACED)

CONV = (*_AXES, *_LAYOUT, *_BIAS, *_WINDOW, *RULES, *_MODES, *COMPLEX, *_ALL)
TRANSPOSE = (*_AXES, *_LAYOUT, *_BIAS, *_WINDOW, *RULES, *_TARGET, *COMPLEX, *_ALL)
EXTREME = (*_AXES, *_LAYOUT, *_ANY, *_WINDOW, *RULES, *_CEIL, *PLACES, *_ALL)
AVERAGE = (
    *_AXES, *_LAYOUT, *_ANY, *_WINDOW, *RULES, *_CEIL, *_COUNT, *_DIVISOR, *COMPLEX, *_ALL,
)  # fmt: skip
NORM = (*_AXES, *_LAYOUT, *_ANY, *_WINDOW, *RULES, *_CEIL, *_COUNT, *ORDER, *COMPLEX, *_ALL)
WHOLE = (*_AXES, *_LAST, *_ANY, *_KEEP, *_ALL)
ADAPTIVE = (*_AXES, *_LAYOUT, *_ANY, *_ALL)
UNPOOL = (*_AXES, *_LAYOUT, *_WINDOW[:1], *_WINDOW[2:], *_SIZE, *COMPLEX, *_ALL)
