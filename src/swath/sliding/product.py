"""The sliding product: one trilinear form, three cores, each the gradient of it.

With T(x, w, y) of `swath.geometry.Sliding`::

    correlate(x, w)       = ∂T/∂y     y[b,o,i] = Σ_c Σ_j w[o,c,j] x[b,c,s·i+d·j−low]
    spread(w, y)          = ∂T/∂x     x[b,c,p] = Σ_o Σ_{i,j: s·i+d·j−low=p} w[o,c,j] y[b,o,i]
    kernel_gradient(x, y) = ∂T/∂w     w[o,c,j] = Σ_b Σ_i y[b,o,i] x[b,c,s·i+d·j−low]

Since T is linear in each argument, the derivative of a core with respect to one argument is the
core of the remaining pair: with cotangent ȳ, x̄ = spread(w, ȳ) and w̄ = kernel_gradient(x, ȳ), and
so on around the triangle. No conjugate appears anywhere: T is bilinear, not sesquilinear.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from .._backends import Backend
from ..autodiff import Core, Node, apply, with_batch
from ..division import Along, Cuts, Division, Piece, back, part, replaced, whole
from ..geometry import Sliding, Span
from . import plan

__all__ = ["Trilinear", "correlate", "kernel_gradient", "spread"]

Array = Any


class Trilinear(Core):
    """One of the three gradients of a trilinear form T(x, w, y), each the derivative of the others.

    Parameters
    ----------
    role : {"y", "x", "w"}
        The letter of the result; the other two are the operands, in the order x, w, y.
    name : str
        Of the core.
    family : dict
        The three, by role; the core enters itself.

    Notes
    -----
    The arrays are laid out as `swath.geometry.Sliding` says, and the geometry has its attributes
    `groups` and `last`.
    """

    linear = (0, 1)

    def __init__(self, role: str, name: str, family: dict[str, Trilinear]) -> None:
        self.role, self.name, self.family = role, name, family
        self.operands = "xwy".replace(role, "")
        family[role] = self

    def pull(
        self,
        be: Backend,
        geometry: Any,
        arrays: Sequence[Array],
        out: Array,
        cotangent: Array,
        wanted: Sequence[bool],
    ) -> Sequence[Any]:
        """The core of the remaining pair, for each operand wanted."""
        known = dict(zip(self.operands, arrays, strict=True))
        known[self.role] = cotangent
        needed = [c for c, want in zip(self.operands, wanted, strict=True) if want]
        found: dict[str, Any] = {}
        # The kernel first: what is made on the way and freed is not on top of a large array then.
        for letter in sorted(needed):
            core = self.family[letter]
            found[letter] = apply(core, geometry, *(known[c] for c in core.operands))
        return [found.get(letter) for letter in self.operands]

    def batch(
        self, be: Backend, geometry: Any, arrays: Sequence[Array], batched: Sequence[bool]
    ) -> tuple[Any, Sequence[Array], Callable[[Array], Array]]:
        """A batch axis on x or y becomes batch; on w, groups; on both sides, groups.

        Each array is brought to split form — x (V·, B, G, C, *S), w (G, V·, O, C, *K), … — and
        merged again, so that the batched product is the same core.
        """
        xp, role, last = be.xp, self.role, geometry.last
        if role != "w" and not batched[self.operands.index("w")]:
            # Only x (or y): the new axis joins the batch.
            at = batched.index(True)
            size, count = arrays[at].shape[:2]
            merged = list(arrays)
            merged[at] = xp.reshape(arrays[at], (size * count, *arrays[at].shape[2:]))
            return geometry, merged, lambda out: xp.reshape(out, (size, count, *out.shape[1:]))
        # Otherwise each batch entry becomes a group of its own.
        full = with_batch(be, arrays, batched)
        size = full[0].shape[0]
        merged = [
            _groups_join(xp, a, letter, last) for letter, a in zip(self.operands, full, strict=True)
        ]

        def finish(out: Array) -> Array:
            return _groups_split(xp, out, role, last, size)

        return replace(geometry, groups=size * geometry.groups), merged, finish


def _groups_join(xp: Any, a: Array, letter: str, last: bool) -> Array:
    """(V, …) to the same array with V groups."""
    if letter == "w":
        if not last:  # (V, O, C, *K) -> (V·O, C, *K)
            return xp.reshape(a, (-1, *a.shape[2:]))
        a = xp.moveaxis(a, 0, -2)  # (*K, C, V, O)
        return xp.reshape(a, (*a.shape[:-2], -1))
    if not last:  # (V, B, C, *S) -> (B, V·C, *S)
        a = xp.moveaxis(a, 0, 1)
        return xp.reshape(a, (a.shape[0], -1, *a.shape[3:]))
    a = xp.moveaxis(a, 0, -2)  # (B, *S, V, C)
    return xp.reshape(a, (*a.shape[:-2], -1))


def _groups_split(xp: Any, a: Array, letter: str, last: bool, size: int) -> Array:
    """The inverse of `_groups_join`."""
    if last:
        return xp.moveaxis(xp.reshape(a, (*a.shape[:-1], size, a.shape[-1] // size)), -2, 0)
    if letter == "w":
        return xp.reshape(a, (size, a.shape[0] // size, *a.shape[1:]))
    return xp.moveaxis(xp.reshape(a, (a.shape[0], size, a.shape[1] // size, *a.shape[2:])), 1, 0)


class _Product(Trilinear):
    def forward(self, be: Backend, geometry: Sliding, *arrays: Array) -> Array:
        return plan.run(be, self.role, geometry, *arrays)

    def pull(
        self,
        be: Backend,
        geometry: Sliding,
        arrays: Sequence[Array],
        out: Array,
        cotangent: Array,
        wanted: Sequence[bool],
    ) -> Sequence[Any]:
        if be.native.both and self.role == "y" and all(wanted):
            x, w = arrays
            nodes = Node in map(type, (x, w, cotangent))
            both = None if nodes else plan.run_gradients(be, geometry, x, w, cotangent)
            if both is not None:
                return both
        return super().pull(be, geometry, arrays, out, cotangent, wanted)

    def divide(self, geometry: Sliding, shapes: Sequence[tuple[int, ...]]) -> Division | None:
        """Batch and sliding axes are cut, and without groups the channels that w has alone.

        Gradients of w are sums.
        """
        g, of = geometry, dict(zip(self.operands, shapes, strict=True))
        first = 1 if g.last else 2
        axes, strides = range(first, first + g.rank), [s.stride for s in g.spans]
        channel = -1 if g.last else 1

        def along(operand: int, rates: Sequence[tuple[int, int]]) -> tuple[Along | None, ...]:
            found: list[Along | None] = [None] * (g.rank + 2)
            found[0] = Along(operand, 0)
            for axis, rate in zip(axes, rates, strict=True):
                found[axis] = Along(operand, axis, *rate)
            return tuple(found)

        def cut(cuts: Cuts, rule: Callable[[Span, slice], tuple[slice, Span]]) -> Any:
            """The geometry of a piece, and what it reads on the axes of the other signal."""
            pairs = zip(g.spans, (cuts[a] for a in axes), strict=True)
            reads, spans = zip(*(rule(s, c) for s, c in pairs), strict=True)
            return replace(g, spans=spans), replaced(cuts, axes, reads)

        def rows_of_w(division: Division, operand: int, axis: int) -> Division:
            """Cut along the channels that are an axis of w, and of no other operand."""
            if g.groups > 1:
                return division
            axis, uncut = axis % len(of["w"]), division.piece
            following = list(division.along)
            following[channel] = Along(operand, axis)

            def piece(cuts: Cuts) -> Piece:
                found = uncut(cuts)
                reads = list(found.reads)
                reads[operand] = replaced(reads[operand], [axis], [cuts[channel]])
                return found._replace(reads=tuple(reads))

            return division._replace(along=tuple(following), piece=piece)

        def channels(cuts: Cuts, shape: tuple[int, ...]) -> Cuts:
            return replaced(cuts, [channel % len(shape)], [slice(0, shape[channel])])

        if self.role == "x":
            depth = of["w"][-2 if g.last else 1] * g.groups
            shape = g.x_shape(of["y"][0], depth)

            def spread(cuts: Cuts) -> Piece:
                inner, y = cut(cuts, back)
                return Piece(inner, (whole(of["w"]), channels(y, of["y"])))

            division = Division(shape, along(1, [(s, 1) for s in strides]), spread)
            return rows_of_w(division, 0, -2 if g.last else 1)
        if self.role == "w":
            rows, depth = of["y"][channel], of["x"][channel] // g.groups

            def term(cuts: Cuts) -> Piece:
                inner, x = cut(cuts, part)
                return Piece(inner, (channels(x, of["x"]), cuts))

            same = along(1, [(1, 1)] * g.rank)
            return Division(g.w_shape(rows, depth), same, term, of["y"])

        def window(cuts: Cuts) -> Piece:
            inner, x = cut(cuts, part)
            return Piece(inner, (channels(x, of["x"]), whole(of["w"])))

        shape = g.y_shape(of["x"][0], of["w"][-1 if g.last else 0])
        division = Division(shape, along(0, [(1, s) for s in strides]), window)
        return rows_of_w(division, 1, -1 if g.last else 0)


_CORES: dict[str, Trilinear] = {}
_Product("y", "correlate", _CORES)
_Product("w", "kernel_gradient", _CORES)
_Product("x", "spread", _CORES)


def correlate(geometry: Sliding, x: Any, w: Any) -> Any:
    """∂T/∂y: slide w over x."""
    return apply(_CORES["y"], geometry, x, w)


def spread(geometry: Sliding, w: Any, y: Any) -> Any:
    """∂T/∂x: the transpose of `correlate` in x (transposed convolution)."""
    return apply(_CORES["x"], geometry, w, y)


def kernel_gradient(geometry: Sliding, x: Any, y: Any) -> Any:
    """∂T/∂w: the transpose of `correlate` in w."""
    return apply(_CORES["w"], geometry, x, y)
