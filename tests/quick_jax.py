"""How tests compile JAX's programs: quickly, or optimised as users have them.

A test runs most of its programs once, and outside of `jit` JAX compiles one for every operation and
shape. Without the optimisations of XLA's backend that takes less than half of the time. What they
may change is tested with them, under the mark `optimised`: rounding (only optimised programs
contract a·b + c to one operation), accuracy, memory, and what XLA makes of a program.
"""

from __future__ import annotations

import sys
from typing import Any

_QUICKLY = [
    ("xla_backend_optimization_level", 0),
    ("xla_llvm_disable_expensive_passes", True),
    ("xla_cpu_use_fusion_emitters", False),
]
_quick = False
_hooked = False


def compile_quickly(quick: bool) -> None:
    """From here on compile quickly, or not; without JAX nothing happens."""
    global _quick
    if "jax" in sys.modules:
        _hook()
        if quick != _quick:
            # Both kinds of a program are found by the same key.
            sys.modules["jax"].clear_caches()
            _quick = quick


def _hook() -> None:
    """Add to the options of every program, those of single operations included.

    The public names set options for a program under `jit` or for the whole process.
    """
    global _hooked
    if _hooked:
        return
    _hooked = True
    from jax._src import compiler

    as_shipped = getattr(compiler, "get_compile_options", None)
    if as_shipped is None:
        # Another JAX: all is optimised, and takes its time.
        return

    known = [(name, value) for name, value in _QUICKLY if _takes(name, value)]

    def options(*args: Any, **kwargs: Any) -> Any:
        made = as_shipped(*args, **kwargs)
        if _quick:
            made.env_option_overrides = [*made.env_option_overrides, *known]
        return made

    compiler.get_compile_options = options


def _takes(name: str, value: Any) -> bool:
    """Whether XLA knows the option here: they come and go with its versions."""
    import jax

    try:
        jax.jit(lambda x: x + 1).lower(1.0).compile({name: value})
    except jax.errors.JaxRuntimeError:
        return False
    return True
