"""Z of a least-squares problem whose Gram matrix does not do for all of it.

CholeskyQR, or Householder QR in its place; `apart` before it, where a matrix is so tall that trying
costs little; singular values where they fail (see `factors`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ._equations import Equations
from ._null_space import Apart, apart, widest
from ._rows import block_count, by_rows, through_rows
from ._sample import Sample
from ._scaling import adjoint, either, every, scaled_root, sound_columns, squares
from ._steps import reduced
from ._triangles import Cholesky, by_eigenvalues, orthogonal, orthogonalise, reflected

__all__ = ["IllConditioned"]

Array = Any
# Rows over columns from which on products with the rows cost more than singular values.
_TALL = 16


@dataclass(frozen=True)
class IllConditioned:
    """What is known of such a problem.

    Attributes
    ----------
    equations : Equations
        The problem.
    gram, low : array
        The Gram matrix of B and AᴴW b. With a sample that did not think BᴴB likely to do, those of
        B Z with its Z.
    first : Cholesky or None
        The factorisation of BᴴB, needed without a sample.
    sample : Sample or None
        What a few rows say.
    """

    equations: Equations
    gram: Array
    low: Array
    first: Cholesky | None
    sample: Sample | None

    def solve(self) -> tuple[Array, ...]:
        """Z, scale, rank, condition and finite of B.

        Then come where Z is that of CholeskyQR, where a plain step of refinement is enough, and
        without a sample Zᴴ D AᴴW b. Where Householder QR stands for CholeskyQR, the square of what
        of √W b is left comes last.
        """
        split = self._split()
        if split is None:
            return self._orthogonal()
        holds, root, scale, rank, condition = split
        be = self.equations.be

        def kept(*arrays: Array) -> tuple[Array, ...]:
            known = root, scale, rank, condition, holds, holds & ~holds, holds
            if self.sample is not None:
                return known
            return *known, reduced(be, root, scale, self.low)

        return be.cond(holds, kept, lambda *arrays: self._orthogonal())

    @property
    def _very_tall(self) -> bool:
        """Whether A is one matrix of which what is tried of small ones costs little."""
        a, recipe = self.equations.a, self.equations.recipe
        tall = a.ndim == 2 and max(a.shape) >= _TALL * min(a.shape)
        return tall and recipe.method == "auto" and not recipe.reflects

    @property
    def _known(self) -> tuple[Array, Array, Array] | None:
        """All that is finite, D and the Gram matrix of B D, where nothing over- or underflowed."""
        be, first = self.equations.be, self.first
        if first is None or be.concrete(every(be, first.usable)) is not True:
            return None
        return first.usable, first.scale, first.scaled

    def _split(self) -> Apart | None:
        """What `apart` finds, of one matrix so tall that trying it costs little; None of others."""
        if not self._very_tall:
            return None
        be, recipe, eps = self.equations.be, self.equations.recipe, self.equations.eps
        xp, g, first, sample = be.xp, self.gram, self.first, self.sample
        pairs = []
        if first is not None:
            # Rounding may leave the Gram matrix of dependent columns definite.
            well = first.within(0.1 * eps**-0.5)
            pairs.append((first.usable & ~well, first.scale, first.scaled))
        if sample is not None:
            # The sample's Z is the identity.
            pairs.append((~sample.likely & ~sample.good & xp.all(xp.isfinite(g)), sample.scale, g))
        if first is None or sample is None:
            fails, scale, gram = pairs[0]
        else:
            fails, scale, gram = either(be, sample.likely, *pairs)

        def tried(*arrays: Array) -> tuple[Array, ...]:
            tall, _ = self.equations.tall()
            return (*apart(be, recipe.blocks, tall, scale, gram, widest(eps), recipe.rcond),)

        def none(*arrays: Array) -> tuple[Array, ...]:
            rank, one = self.equations.full_rank, xp.ones_like(scale[0])
            return fails & ~fails, xp.zeros_like(gram), scale, rank, one

        return Apart(*be.cond(fails, tried, none))

    def _orthogonal(self) -> tuple[Array, ...]:
        """As `solve` by CholeskyQR, and by singular values where that fails.

        Zᴴ D AᴴW b is (B D Z)ᴴ √W b: multiplied by Z, what AᴴW b has lost would grow with the
        condition once more.
        """
        be, recipe = self.equations.be, self.equations.recipe
        xp = be.xp
        known = self._without_orthonormal()
        if known is not None:
            many = 0 if self.sample is not None else 1
            z, d, rank, condition, sound, *inner = self._by_singular_values(many, known)
            none = sound & ~sound
            return z, d, rank, condition, sound, none, none, *inner
        scale, finite, found = self._orthonormal()
        root, condition, settled, *inner = found
        if self.equations.wide:
            inner = [reduced(be, root, scale, self.low)]
        rank = self.equations.full_rank
        accepted = settled & (condition <= recipe.most)

        def kept(*arrays: Array) -> tuple[Array, ...]:
            return root, scale, rank, condition, accepted | ~accepted, accepted, *inner

        def decided(*arrays: Array) -> tuple[Array, ...]:
            z, d, count, kappa, sound, *rest = self._by_singular_values(len(inner), self._known)
            return either(be, accepted, kept(), (z, d, count, kappa, sound, accepted, *rest))

        enough = accepted if finite is None else accepted | ~finite
        found = be.cond(xp.all(enough), kept, decided)
        root, scale, rank, condition, sound, accepted, *inner = found
        finite = sound if finite is None else finite
        scale = xp.where(finite[..., None], scale, xp.ones_like(scale))
        rank = xp.where(finite, rank, xp.zeros_like(rank))
        values = root, condition, *inner
        nans = [be.new_like(v, (), fill=float("nan")) for v in values]
        root, condition, *inner = either(be, finite, values, nans)
        return root, scale, rank, condition, finite, accepted, accepted & ~accepted, *inner

    def _without_orthonormal(self) -> tuple[Array, Array, Array] | None:
        """`_known`, where singular values take no longer than CholeskyQR, which may need them too.

        Where Cholesky fails on the Gram matrix of a tall matrix, or on that of a sample, CholeskyQR
        takes two more products with the rows, and singular values one.
        """
        be, first, sample = self.equations.be, self.first, self.sample
        if be.traces or not self._very_tall:
            return None
        if first is not None:
            return None if be.concrete(first.definite) is not False else self._known
        if sample is None or be.concrete(sample.likely | sample.good) is not False:
            return None
        # The sample's Z is the identity.
        sound = be.xp.all(be.xp.isfinite(self.gram))
        return (sound, sample.scale, self.gram) if be.concrete(sound) is True else None

    def _products(self, tall: Array, z: Array) -> tuple[Array]:
        """The Gram matrix of B Z of a wide system."""
        be = self.equations.be
        q = be.matmul(tall, z)
        return (be.matmul(adjoint(be, q), q),)

    def _through(self, z: Array) -> tuple[Array, ...]:
        """The Gram matrix of B Z and, unless the system is wide, (B Z)ᴴ √W b."""
        equations = self.equations
        if equations.wide:
            return self._products(equations.tall()[0], z)
        g, right = equations.passed(lambda a, b, w: through_rows(equations.be, a, b, w, z))
        return equations.ridged(g, z), right

    def _orthonormal(self) -> tuple[Array, Array | None, Sequence[Array]]:
        """D, which problems are finite, where that is known, and what `orthogonalise` finds.

        It goes on from a sample's Z, or from the Gram matrix; a batch of small problems goes by
        Householder QR, which has what is left of √W b beside.
        """
        equations, g, first, sample = self.equations, self.gram, self.first, self.sample
        be, most = equations.be, equations.recipe.most
        xp = be.xp
        if sample is not None:
            scale = sample.scale

            def scaled(z: Array) -> tuple[Array]:
                return (self._through(scaled_root(be, scale, z))[0],)

            known = be.cond(sample.likely, lambda: scaled(sample.root), lambda: (g,))
            begun = sample.root, sample.good
            return scale, None, orthogonalise(be, scaled, most, begun, known)
        if equations.recipe.reflects:
            scale, found = reflected(be, *equations.tall())
            return scale, None, found
        assert first is not None
        begun = xp.broadcast_to(be.eye(int(g.shape[-1]), g), tuple(g.shape)), None
        if self._known is not None:
            # The rows are multiplied as they are; the scales go with the small matrices.
            scale = first.scale
            inner = () if equations.wide else (scale[..., None] * self.low,)
            found = orthogonalise(
                be,
                lambda z: self._through(scaled_root(be, scale, z)),
                most,
                begun,
                (first.scaled, *inner),
                first,
            )
            return scale, first.usable, found
        tall, right = equations.tall()
        tall, finite, scale = sound_columns(be, tall)
        # Squares that over- or underflowed: the scales are those of the largest entries.
        scale = xp.where(first.usable[..., None], first.scale, scale)
        tall = tall * scale[..., None, :]
        blocks = block_count(be, tall)

        def products(z: Array) -> tuple[Array, ...]:
            if equations.wide:
                return self._products(tall, z)
            return by_rows(be, blocks, lambda u, v: through_rows(be, u, v, None, z), tall, right)

        return scale, finite, orthogonalise(be, products, most, begun, None)

    def _by_singular_values(
        self, many: int, known: tuple[Array, Array, Array] | None
    ) -> tuple[Array, ...]:
        """Z, scale, rank, condition and finite, and `many` of what follows them.

        `known` is as of `_known`.
        """
        equations = self.equations
        be, recipe = equations.be, equations.recipe
        tall, right = equations.tall()
        n = int(tall.shape[-1])
        if known is None:
            (tall, sound, own), gram = sound_columns(be, tall), None
        else:
            sound, own, gram = known
        # Of a wide system the right-hand sides are not columns beside B.
        given = right if many and not equations.wide else tall[..., :0]
        if recipe.reflects:
            triangle = be.triangle(tall * own[..., None, :], given)[..., :n, :]
            triangle, inner = triangle[..., :n], triangle[..., n:]
        else:
            triangle, inner = by_eigenvalues(be, recipe.blocks, tall, given, own, gram)
        z, d, rank, condition = orthogonal(be, triangle, own, recipe.rcond)
        found = z, d, rank, condition, sound
        if equations.wide:
            return *found, reduced(be, z, d, self.low)
        if not many:
            return found
        # B D Z is U C Z, with the D of C in its columns.
        y = be.matmul(adjoint(be, be.matmul(triangle, scaled_root(be, d / own, z))), inner)
        rest = (squares(be, right) - squares(be, y),) if many > 1 else ()
        return *found, y, *rest
