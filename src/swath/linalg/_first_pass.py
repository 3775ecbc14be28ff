"""The first pass over the rows of a least-squares problem: its Gram matrix, and a residual."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ._equations import Equations
from ._rows import gram_of_rows, residual_sums, weigh
from ._sample import Sample
from ._scaling import adjoint, adjoint_times, scaled_root, squares

__all__ = ["first_pass", "no_pass"]

Array = Any


def first_pass(
    equations: Equations, sample: Sample | None, likely: Array | None
) -> tuple[Array, Array, Array]:
    """In one pass the Gram matrix, AᴴW r and Σ w|r|², r = b − A x₀; x₀ = 0 without a sample.

    Without a sample, and where the Gram matrix is not likely to do, 0 stands for them.

    Where the Gram matrix of B is not likely to do, B Z stands for B, with the sample's Z: its
    columns are nearly orthonormal, and what is lost in (B Z)ᴴ r is not amplified by Z again.
    """
    be = equations.be
    if equations.wide:
        v, right = (weigh(be, equations.w, u) for u in (equations.a, equations.b))
        return be.matmul(v, adjoint(be, v)), right, squares(be, right)
    x = None if sample is None else sample.solution

    def plain(a: Array, b: Array, w: Array | None) -> tuple[Array, ...]:
        return gram_of_rows(be, a, w), *residual_sums(be, a, b, w, x)

    def every(*arrays: Array) -> tuple[Array, ...]:
        g, *rest = equations.passed(plain)
        return equations.ridged(g), *rest

    if sample is None:
        if likely is None:
            return every()
        return be.cond(likely, every, lambda *arrays: no_pass(equations))

    def pass_of(
        columns: Callable[[Array], Array], start: Array | None
    ) -> Callable[..., tuple[Array, ...]]:
        def of_rows(a: Array, b: Array, w: Array | None) -> tuple[Array, ...]:
            q = columns(weigh(be, w, a))
            r = weigh(be, w, b if start is None else b - be.matmul(a, start))
            return be.gram(q), adjoint_times(be, q, r), squares(be, r)

        return lambda *arrays: equations.passed(of_rows)

    into = scaled_root(be, sample.scale, sample.root)
    through = pass_of(lambda v: be.times_upper(v, into), x)
    # Where the sample's Z is the identity and its solution 0.
    scaled = pass_of(lambda v: v * sample.scale[..., None, :], None)

    def others(*arrays: Array) -> tuple[Array, ...]:
        g, *rest = be.cond(be.xp.any(sample.good), through, scaled)
        return equations.ridged(g, into), *rest

    return be.cond(sample.likely, every, others)


def no_pass(equations: Equations) -> tuple[Array, Array, Array]:
    """0 for what `first_pass` would find of an A that is not wide."""
    be, a = equations.be, equations.a
    *lead, _, n = a.shape
    k = equations.b.shape[-1]
    return (
        be.new_like(a, (*lead, n, n)),
        be.new_like(a, (*lead, n, k)),
        be.new_like(a, (*lead, 1, k), dtype=be.real_dtype(a.dtype)),
    )
