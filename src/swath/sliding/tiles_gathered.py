"""Block-Toeplitz products in few operations: boxes gathered, or frames summed.

All tiles at once, for arrays that are never written (a compiler arranges what is made between) and
for devices to which a copy costs less than the start of a product.
"""

from __future__ import annotations

from typing import Any

from .tiles import Tiles

__all__ = ["GatheredTiles"]

Array = Any


class GatheredTiles(Tiles):
    """Tiles of libraries without views or without writing in place, and of GPUs."""

    def product(self, x: Array, w: Array) -> Array:
        """The sliding product."""
        return self._laid(self._times(self._frames(x), self.matrix(w)), x.shape[0])

    def kernel(self, x: Array, y: Array) -> Array:
        """Its kernel's gradient."""
        be, xp = self.be, self.xp
        frames, y = self._frames(x), self._tiled(y)
        count, terms = frames.shape[2] - self.J + 1, []
        for j in range(self.J):
            rows = xp.reshape(frames[:, :, j : j + count, :], (self.g.groups, -1, self.inner))
            terms.append(be.matmul(xp.matrix_transpose(rows), y))
        return self.matrix_back(xp.stack(terms, axis=0))

    def _frames(self, x: Array) -> Array:
        """(B, G·D, *S) to the boxes or frames (G, B·other tiles, n₁ + J − 1, D·box)."""
        be, g, r = self.be, self.g, self.rank
        summed = self.way == "summed"
        cuts, widths = self.read([(0, n) for n in self.counts], self.J * self.box[0])
        x = be.pad(x[cuts], widths)
        skip = 1 if summed else 0
        axes = range(2 + skip, 2 + r)
        if axes:
            x = be.windows(x, self.box[skip:], self.hops[skip:], (1,) * len(axes), axes)
        if summed:
            # (B, G·D, n₁·hop, *n, *E): a frame's points beside those of the boxes
            count = x.shape[2] // self.hops[0]
            x = be.reshape(x, (*x.shape[:2], count, self.hops[0], *x.shape[3:]))
            others, inner = range(5, 4 + r), (4, *range(4 + r, 3 + 2 * r))
        else:
            # (B, G·D, n₁, *n, *E)
            count = x.shape[2]
            others, inner = range(4, 3 + r), range(3 + r, 3 + 2 * r)
        if r > 1 or self.depth > 1 or g.groups > 1:
            x = be.reshape(x, (x.shape[0], g.groups, self.depth, *x.shape[2:]))
            # -> (G, B, *n, n₁, D, *box)
            x = self.xp.permute_dims(x, (1, 0, *others, 3, 2, *inner))
        return be.reshape(be.packed(x), (g.groups, -1, count, self.inner))

    def _times(self, frames: Array, blocks: Array) -> Array:
        """Σ_j of the frames shifted by j times block j: (G, B·other tiles, n₁, R·t)."""
        be, count = self.be, frames.shape[2] - self.J + 1
        groups, others = frames.shape[:2]
        # All rows of all tiles in one product, a few of them in vain.
        frames = be.reshape(frames, (groups, -1, self.inner))
        total = None
        for j in range(self.J):
            term = be.matmul(frames, blocks[j, ...])
            term = be.reshape(term, (groups, others, -1, self.columns))
            term = term[:, :, j : j + count, :]
            total = term if total is None else total + term
        return total

    def _tiled(self, y: Array) -> Array:
        """(B, G·R, *out) to (G, B·other tiles·n₁, R·t)."""
        xp, g, r = self.xp, self.g, self.rank
        fill = [
            (0, n * m - have) for n, m, have in zip(self.counts, self.t, y.shape[2:], strict=True)
        ]
        y = self.be.pad(y, [(0, 0), (0, 0), *fill])
        split = [n for pair in zip(self.counts, self.t, strict=True) for n in pair]
        y = xp.reshape(y, (y.shape[0], g.groups, self.rows, *split))
        # (B, G, R, n, t, n, t …) -> (G, B, *n but the first, n₁, R, *t)
        order = (1, 0, *range(5, 3 + 2 * r, 2), 3, 2, *range(4, 4 + 2 * r, 2))
        return xp.reshape(xp.permute_dims(y, order), (g.groups, -1, self.columns))

    def _laid(self, y: Array, batch: int) -> Array:
        """(G, B·other tiles, n₁, R·t) to (B, G·R, *out)."""
        be, g, r = self.be, self.g, self.rank
        whole = [n * m for n, m in zip(self.counts, self.t, strict=True)]
        if r > 1 or self.rows > 1 or (batch > 1 and g.groups > 1):
            first, *others = self.counts
            y = be.reshape(y, (g.groups, batch, *others, first, self.rows, *self.t))
            # (G, B, *n but the first, n₁, R, *t) -> (B, G, R, n, t, n, t …)
            places = [1 + r, *range(2, 1 + r)]
            pairs = [i for k in range(r) for i in (places[k], 3 + r + k)]
            y = self.xp.permute_dims(y, (1, 0, 2 + r, *pairs))
        y = be.reshape(y, (batch, g.groups * self.rows, *whole))
        if list(g.out) == whole:
            return y
        return y[(slice(None), slice(None), *(slice(0, n) for n in g.out))]
