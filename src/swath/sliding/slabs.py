"""A sliding product slab by slab, so that its scratch arrays stay small.

A slab is a few batch entries and a stretch of the first sliding axis: of outputs for the forward
product and the kernel gradient, of input points for the transpose. Its product is one of the same
kind with a smaller geometry; slabs of y and x are written beside each other, those of w are added.
Where arrays may be written in place a slab also fits the cache; a traced program goes through equal
slabs in a compiled loop, and only where the workspace demands it.

A transform reads as many taps as its slab has points, at least, so slabs shorter than a long kernel
would transform it over and over: the kernel is cut too, and the products of its stretches of taps
are added.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from .._backends import Backend
from . import direct, forms, native
from .forms import Form
from .problem import Algorithm, Problem, Slabs, result_shape

__all__ = ["count", "fit", "held", "repeated", "run", "within"]

Array = Any

# Taps of the shortest stretches that a kernel is cut into.
_TAPS = 64
# Bytes that a process keeps when they are given back (Linux's C library); more are new pages at
# every call, which take longer than the few passes of shift-and-add.
_KEPT = 2**25


def held(algorithm: Algorithm, p: Problem, *, whole: bool) -> int:
    """Bytes beyond operands and result while p is computed, as a whole or as one of many slabs."""
    found = forms.scratch(algorithm, p)
    if not whole:
        # The result of a slab until it is copied; a compiled loop also copies its operands.
        found += {"y": p.y_bytes, "x": p.x_bytes, "w": 0}[p.role]
        found += 2 * max(p.x_bytes, p.y_bytes) if p.traces else 0
    return found


def fit(algorithm: Algorithm, p: Problem, limit: int, *, by_taps: bool = False) -> Slabs:
    """The largest slabs whose scratch stays within `limit` bytes (and the cache, in place).

    A batch is cut before the sliding axis is. With `by_taps`, for transforms, slabs are not cut to
    a few points, which would cost as much as many: the kernel is cut first, and where its stretches
    do not stay within the limit either, the smallest slabs worth a transform exceed it.
    """
    if not (p.mutable or p.traces):
        return Slabs(p.batch, p.points)
    most, taps = _share(algorithm, p, limit), p.g.sizes[0]
    found, part, smallest = _fit(algorithm, p, most), p, None
    if not by_taps or found.step >= p.points:
        return found
    while True:
        # A transform of one output is as long as the kernel: twice as long it has as many.
        one = held(algorithm, part.slab(Slabs(1, 1)), whole=False)
        least = _fit(algorithm, part, max(most, 2 * one))
        smallest = smallest or least
        if held(algorithm, p.slab(found), whole=False) <= most and 4 * found.step >= least.step:
            return found
        if taps <= _TAPS:
            return smallest
        taps = -(-taps // 2)
        part = p.stretch(0, taps)
        found = replace(_fit(algorithm, part, most), taps=taps)


def _fit(algorithm: Algorithm, p: Problem, most: int) -> Slabs:
    whole = Slabs(p.batch, p.points)

    def fits(slabs: Slabs) -> bool:
        part = p.slab(slabs)
        if held(algorithm, part, whole=slabs == whole) > most:
            return False
        if not p.mutable:
            return True
        size, cache = forms.tile(algorithm, part)
        return size <= cache

    if fits(whole):
        return whole
    if fits(Slabs(1, p.points)):
        sizes = [n for n in _counts(p.batch) if not p.traces or p.batch % n == 0]
        return Slabs(next(n for n in sizes if fits(Slabs(n, p.points))), p.points)
    # A compiled loop writes equal slabs of x, which begin at the same phase of the stride.
    unit = p.g.spans[0].stride if p.traces and p.role == "x" else 1
    low, high = 1, max(1, p.points // unit)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(Slabs(1, middle * unit)) else (low, middle)
    if p.traces and low > 1:
        # As many slabs, as short as they may be: the last one repeats what the one before computed.
        # Threads share a line of an even number of points.
        low -= low % 2
        step = -(-p.points // (-(-p.points // (low * unit)) * unit))
        low = min(low, step + step % 2)
    return Slabs(1, min(p.points, low * unit))


def _share(algorithm: Algorithm, p: Problem, limit: int) -> int:
    """Bytes that scratch arrays may take: how a compiler arranges them is known roughly, mostly."""
    most = limit // 2 if p.traces and not algorithm.exact(p) else limit
    if not p.traces or p.wide > 1:
        return most
    if algorithm is native and p.role == "x":
        # XLA's columns are memory of its threads, of which less is kept.
        return min(most, _KEPT // 2)
    return min(most, _KEPT) if algorithm is direct else most


def _counts(batch: int) -> list[int]:
    """Numbers of batch entries to try, falling."""
    if batch <= 64:
        return list(range(batch, 0, -1))
    found = sorted({batch // k for k in range(1, int(batch**0.5) + 1)} | set(range(1, 65)))
    return found[::-1]


def count(p: Problem, slabs: Slabs) -> float:
    """How many slabs there are, the last ones in part."""
    taps = p.g.sizes[0] / slabs.taps if slabs.taps else 1.0
    return taps * (p.batch / slabs.chunk) * max(1.0, p.points / slabs.step)


def repeated(p: Problem, slabs: Slabs) -> float:
    """How often an operand point is read on average, because slabs overlap."""
    if slabs.taps:
        p, slabs = p.stretch(0, slabs.taps), replace(slabs, taps=0)
    if slabs.step >= p.points:
        return 1.0
    span, part = p.g.spans[0], p.slab(slabs).g.spans[0]
    count = -(-p.points // slabs.step)
    whole, each = (span.out, part.out) if p.role == "x" else (span.length, part.length)
    return max(1.0, count * each / max(1, whole))


def run(form: Form, slabs: Slabs, a: Array, b: Array) -> Array:
    """The product, slab by slab."""
    p, be = form.p, form.be
    if not slabs.taps:
        return _swept(form, slabs, a, b)
    out: Any = None
    if p.role == "w":
        out = be.new_like(a, result_shape("w", p.g, p.batch, p.depth, p.rows))
    before = (slice(None),) * (0 if p.g.last else 2)
    for first in range(0, p.g.sizes[0], slabs.taps):
        last = min(first + slabs.taps, p.g.sizes[0])
        part, taps = Form(be, form.algorithm, p.stretch(first, last)), (*before, slice(first, last))
        if p.role == "y":
            out = _swept(part, slabs, a, b[(*taps, ...)], out)
        elif p.role == "x":
            out = _swept(part, slabs, a[(*taps, ...)], b, out)
        elif p.traces:
            out = be.put_slab(out, _swept(part, slabs, a, b), (*[0] * len(before), first))
        else:
            out[(*taps, ...)] = _swept(part, slabs, a, b)
    return out


def _swept(form: Form, slabs: Slabs, a: Array, b: Array, total: Any = None) -> Array:
    """The product with all taps, added to `total` if there is one."""
    p = form.p
    if p.role == "y":
        b = form.pack(b)
    elif p.role == "x":
        a = form.pack(a)
    if slabs.chunk >= p.batch and slabs.step >= p.points:
        out = form.product(p.g, a, b)
        out = out if total is None else form.be.add_into(total, out)
    else:
        out = (_loop if p.traces else _in_place)(form, slabs, a, b, total)
    return form.unpack(out) if p.role == "w" else out


def _in_place(form: Form, slabs: Slabs, a: Array, b: Array, total: Any) -> Array:
    be, p, product = form.be, form.p, form.product
    role, g, span = p.role, p.g, p.g.spans[0]
    like = b if role == "x" else a
    out = total
    if role != "w" and out is None:
        out = be.empty_like(like, result_shape(role, g, p.batch, p.depth, p.rows))
    between = (slice(None),) * (0 if g.last else 1)
    for entry in range(0, p.batch, slabs.chunk):
        entries = slice(entry, min(entry + slabs.chunk, p.batch))
        for first in range(0, p.points, slabs.step):
            last = min(first + slabs.step, p.points)
            here = (entries, *between, slice(first, last))
            if role == "x":
                there, part = span.source(first, last)
                nothing = part.out == 0
            else:
                there, part = span.part(first, last)
                nothing = part.length == 0
            if nothing:
                if role != "w" and total is None:
                    out[here] = 0
                continue
            sub = replace(g, spans=(part, *g.spans[1:]))
            there = (entries, *between, there)
            if role == "w":
                term = product(sub, a[there], b[here])
                if out is None:
                    out = term
                else:
                    out += term
                continue
            pair = (a[there], b) if role == "y" else (a, b[there])
            # No name holds a slab's result while the next one is computed.
            if total is None:
                out[here] = product(sub, *pair)
            else:
                sums = out[here]
                sums += product(sub, *pair)
    return form.zero(a) if out is None else out


class _Equal:
    """Slabs of one size, for a compiled loop: the last one begins earlier and repeats a few points.

    Attributes
    ----------
    total : int
        How many there are.
    geometry : Sliding
        Of each of them.
    """

    def __init__(self, be: Backend, p: Problem, slabs: Slabs) -> None:
        self.be, self.p, self.chunk = be, p, slabs.chunk
        span, self.hop = p.g.spans[0], min(slabs.step, p.points)
        self.axis = 1 if p.g.last else 2
        # Every slab of x begins at the same phase of the stride, the last one too.
        whole = p.role != "x" or self.hop == p.points
        self.width = self.hop if whole else self.hop + p.points % span.stride
        self.final = p.points - self.width
        self.lines = 1 + -(-self.final // self.hop)
        self.total = (p.batch // self.chunk) * self.lines
        self.geometry = p.slab(Slabs(self.chunk, self.width)).g
        first = self.geometry.spans[0]
        self.reach = first.out if p.role == "x" else first.length

    def _begins(self, i: Any) -> tuple[Any, Any, Any]:
        """Batch entry and first point of a slab, and where it begins."""
        entry, first = (i // self.lines) * self.chunk, (i % self.lines) * self.hop
        inside = self.be.xp.minimum(first, self.final) if self.final % self.hop else first
        return entry, first, inside

    def _source(self, start: Any) -> Any:
        """Where the operand of the slab that begins at `start` begins."""
        span = self.p.g.spans[0]
        if self.p.role == "x":
            return span.source_start(0) + start // span.stride
        return start * span.stride - span.low

    def _entries(self, x: Array, i: Any) -> Array:
        return (
            self.be.slab(x, 0, self._begins(i)[0], self.chunk) if self.chunk < self.p.batch else x
        )

    def read(self, x: Array, i: Any) -> Array:
        """What a slab reads of the operand that is longer or shorter than the result."""
        x = self._entries(x, i)
        if self.width == self.p.points:
            return x
        ends = self._source(0), self._source(self.final)
        return within(self.be, x, self.axis, self._source(self._begins(i)[2]), self.reach, *ends)

    def part(self, x: Array, i: Any) -> Array:
        """A slab of what is as long as the result."""
        x = self._entries(x, i)
        if self.width == self.p.points:
            return x
        return self.be.slab(x, self.axis, self._begins(i)[2], self.width)

    def fresh(self, value: Array, i: Any) -> Array:
        """A slab with zeros where the one before has been."""
        if not self.final % self.hop:
            return value
        be, (_, first, start) = self.be, self._begins(i)
        index = be.arange(self.width, value, be.default_int(value)) + start
        index = be.xp.reshape(index, (-1, *[1] * (value.ndim - self.axis - 1)))
        return be.xp.where(index >= first, value, be.xp.zeros_like(value))

    def put(self, out: Array, value: Array, i: Any) -> Array:
        """The result with a slab of it."""
        entry, _, start = self._begins(i)
        return self.be.put_slab(out, value, (entry, *[0] * (self.axis - 1), start))


def _loop(form: Form, slabs: Slabs, a: Array, b: Array, added: Any) -> Array:
    """A compiled loop over equal slabs.

    On a processor what a slab reads is fetched while the one before is computed, and carried: XLA
    would else make the slice anew for every term that reads it, point by point.
    """
    be, p = form.be, form.p
    role, equal = p.role, _Equal(be, p, slabs)
    operand, shape = _outside(be, b if role == "x" else a)
    cotangent = _outside(be, b) if role == "w" else None

    def fetched(i: Any) -> Array:
        return equal.read(be.reshape(operand, shape), i)

    def computed(i: Any, out: Array, source: Array) -> Array:
        if cotangent is not None:
            y = equal.fresh(equal.part(be.reshape(*cotangent), i), i)
            return out + form.product(equal.geometry, source, y)
        pair = (a, source) if role == "x" else (source, b)
        value = form.product(equal.geometry, *pair)
        if added is not None:
            value = equal.part(out, i) + equal.fresh(value, i)
        return equal.put(out, value, i)

    if role == "w":
        begun = form.zero(a)
    elif added is None:
        begun = be.new_like(
            a if role == "y" else b, result_shape(role, p.g, p.batch, p.depth, p.rows)
        )
    else:
        begun = added
    if p.wide > 1 or form.algorithm is native:
        # The library's kernel reads a slab as it lies: none is made anew.
        return be.fori_loop(0, equal.total, lambda i, out: computed(i, out, fetched(i)), begun)

    def body(i: Any, carried: tuple[Array, Array]) -> tuple[Array, Array]:
        out, source = carried
        return computed(i, out, source), fetched(i + 1)

    return be.fori_loop(0, equal.total, body, (begun, fetched(0)))[0]


def _outside(be: Backend, x: Array) -> tuple[Array, tuple[int, ...]]:
    """An operand as it enters a compiled loop, and its shape there.

    XLA copies the whole of a program's argument that another shape is given on the way into a loop;
    axes of one element, which callers' arrays often lack, it is given inside.
    """
    return be.reshape(x, tuple(n for n in x.shape if n > 1)), tuple(x.shape)


def within(
    be: Backend, x: Array, axis: int, start: Any, length: int, lowest: int, highest: int
) -> Array:
    """x[start : start + length] along an axis, zeros outside; start may be traced.

    `lowest` and `highest` bound the starts. Only the slab is copied, never x.
    """
    n = x.shape[axis]
    if lowest >= 0 and highest + length <= n:
        return be.slab(x, axis, start, length)
    inside = min(length, n)
    begin = be.xp.clip(be.xp.asarray(start), 0, n - inside)
    block = be.slab(x, axis, begin, inside)
    low = max(0, -lowest)
    high = max(0, highest + length - n) + length - inside
    widths = [(0, 0)] * x.ndim
    widths[axis] = (low, high)
    return be.slab(be.pad(block, widths), axis, start - begin + low, length)
