"""JAX: a linear core over arrays that lie in shards on several devices.

XLA divides plain steps itself, but gathers what goes through a transform, a gather or a loop over
slabs. A core that says how it divides (`swath.division`) is one step to it: every device computes
the piece of the result that lies there, from its own shard and the borders of its neighbours'.

All devices run one program. Pieces at the ends of an axis read less and pad more, so the program
branches by the device's place, once for every kind of piece.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import product
from string import ascii_lowercase
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental.custom_partitioning import ArrayMapping, SdyShardingRule, custom_partitioning
from jax.sharding import NamedSharding, PartitionSpec

from ..division import Cuts, Division, Piece
from .base import Array, Core

try:
    from jax._src.dispatch import prim_requires_devices_during_lowering as _wanting
    from jax._src.sharding_impls import parse_flatten_op_sharding
except ImportError:
    # No public names tell what these do; without them XLA divides by itself.
    _wanting = parse_flatten_op_sharding = None

__all__ = ["in_shards", "on_mesh", "want_devices"]

Names = tuple[str, ...]


class _Read(NamedTuple):
    """How an axis of an operand is read: its cuts follow those of an axis of the result.

    `before` and `behind` are the points beyond a shard that some device needs. `ordered` are the
    names as the mesh orders them, the only order that `ppermute` knows, and `ranks` its numbers of
    the shards.
    """

    axis: int
    names: Names
    ordered: Names
    ranks: tuple[int, ...]
    tile: int
    before: int
    behind: int


class _Kind(NamedTuple):
    """What devices have in common that run the same program.

    Attributes
    ----------
    geometry : object
        Of the call.
    lengths : tuple of tuple of int
        The shapes of what is read of the operands.
    keep, place : tuple of pairs of int, optional
        As in `Piece`.
    """

    geometry: Any
    lengths: tuple[tuple[int, ...], ...]
    keep: tuple[tuple[int, int], ...] | None
    place: tuple[tuple[int, int], ...] | None


def want_devices(primitive: Any) -> None:
    """Have the devices told when a primitive is lowered."""
    if _wanting is not None:
        _wanting.add(primitive)


def on_mesh(ctx: Any) -> bool:
    """Whether a program is lowered for the devices of a mesh, whose shards XLA makes."""
    context = ctx.module_context.axis_context
    devices = getattr(context, "device_assignment", None) or ()
    known = getattr(context, "abstract_mesh", None) is not None
    return known and len(devices) > 1 and parse_flatten_op_sharding is not None


@cache
def in_shards(core: Core, forward: Callable[..., Array]) -> Callable[..., Array]:
    """`forward(geometry, limit, *arrays)`, divided as its core says."""
    divided = custom_partitioning(forward, static_argnums=(0, 1))

    def partition(
        geometry: Any, limit: Any, mesh: Any, arrays: Sequence[Any], result: Any
    ) -> tuple[Any, Callable[..., Array], Any, Any]:
        shapes = tuple(tuple(a.shape) for a in arrays)
        division = core.divide(geometry, shapes)
        assert division is not None
        drivers = _drivers(division, shapes)
        summed = division.terms is not None
        names = _names(division, drivers, [_spec(mesh, a) for a in arrays], _spec(mesh, result))
        plan = _Shards(mesh, division, shapes, drivers, names, result.dtype)
        kept = () if summed else [n or None for n in names]
        given = [
            NamedSharding(mesh, PartitionSpec(*(r.names if r else None for r in reads)))
            for reads in plan.reads
        ]

        def local(*shards: Array) -> Array:
            return plan.run(lambda g, *a: forward(g, limit, *a), shards)

        return mesh, local, NamedSharding(mesh, PartitionSpec(*kept)), tuple(given)

    def rule(geometry: Any, limit: Any, mesh: Any, given: Any, result: Any) -> SdyShardingRule:
        shapes = tuple(tuple(t.shape) for t in given)
        division = core.divide(geometry, shapes)
        assert division is not None
        return _rule(division, shapes)

    divided.def_partition(partition, decode_shardings=False, sharding_rule=rule)
    return divided


def _spec(mesh: Any, array: Any) -> list[Names]:
    """The axes of the mesh along which every axis of an array lies in shards."""
    assert parse_flatten_op_sharding is not None
    rank = len(array.shape)
    try:
        (spec,) = parse_flatten_op_sharding(array.sharding._hlo_sharding, mesh)
    except (ValueError, NotImplementedError):
        # XLA's own, of parts of an axis of the mesh: the array is gathered.
        spec = ()
    names = [() if s is None else (s,) if isinstance(s, str) else tuple(s) for s in spec]
    return names + [()] * (rank - len(names))


def _cut(division: Division) -> tuple[int, ...]:
    """The shape that is cut."""
    return division.shape if division.terms is None else division.terms


def _halves(division: Division, axis: int) -> tuple[Piece, Piece]:
    """The pieces of the two halves along an axis."""
    cuts = [slice(0, n) for n in _cut(division)]
    n = cuts[axis].stop
    first, second = list(cuts), list(cuts)
    first[axis], second[axis] = slice(0, n // 2), slice(n // 2, n)
    return division.piece(tuple(first)), division.piece(tuple(second))


def _drivers(
    division: Division, shapes: Sequence[tuple[int, ...]]
) -> tuple[tuple[int | None, ...], ...]:
    """For every axis of every operand, the axis of the result whose cuts its reads follow."""
    found: list[list[int | None]] = [[None] * len(s) for s in shapes]
    for axis, n in enumerate(_cut(division)):
        if division.along[axis] is None or n < 2:
            continue
        first, second = _halves(division, axis)
        for operand, (a, b) in enumerate(zip(first.reads, second.reads, strict=True)):
            moved = [i for i, (x, y) in enumerate(zip(a, b, strict=True)) if x != y]
            if len(moved) == 1 and found[operand][moved[0]] is None:
                found[operand][moved[0]] = axis
    return tuple(map(tuple, found))


def _rule(division: Division, shapes: Sequence[tuple[int, ...]]) -> SdyShardingRule:
    """What tells XLA that shards of operands and result go together."""
    letters: Iterator[str] = iter(f"{a}{b}" for a, b in product(ascii_lowercase, repeat=2))
    drivers = _drivers(division, shapes)
    cut = [next(letters) for _ in _cut(division)]
    operands = [
        ArrayMapping(*(next(letters) if d is None else cut[d] for d in of)) for of in drivers
    ]
    used = {name for mapping in operands for name in mapping}
    if division.terms is None:
        return SdyShardingRule(tuple(operands), (ArrayMapping(*cut),))
    summed = tuple(name for name in cut if name in used)
    result = ArrayMapping(*(next(letters) for _ in division.shape))
    return SdyShardingRule(tuple(operands), (result,), reduction_factors=summed)


def _names(
    division: Division,
    drivers: Sequence[Sequence[int | None]],
    specs: Sequence[list[Names]],
    result: list[Names],
) -> list[Names]:
    """The axes of the mesh that cut every axis: as the result lies, else as operands do."""
    found: list[Names] = [() for _ in _cut(division)]
    if division.terms is None:
        for axis, along in enumerate(division.along):
            found[axis] = () if along is None else result[axis]
    taken = {name for names in found for name in names}
    for of, spec in zip(drivers, specs, strict=True):
        for axis, names in zip(of, spec, strict=True):
            if axis is not None and not found[axis] and not taken.intersection(names):
                found[axis] = names
                taken.update(names)
    return found


class _Shards:
    """What every device reads and computes."""

    def __init__(
        self,
        mesh: Any,
        division: Division,
        shapes: Sequence[tuple[int, ...]],
        drivers: Sequence[Sequence[int | None]],
        names: Sequence[Names],
        kind: Any,
    ) -> None:
        self.division, self.names, self.kind = division, names, kind
        shape = _cut(division)
        self.counts = [math.prod(mesh.shape[n] for n in of) for of in names]
        self.tiles = [-(-n // count) for n, count in zip(shape, self.counts, strict=True)]
        self.ordered = [tuple(n for n in mesh.axis_names if n in of) for of in names]
        self.ranks = [_ranks(mesh, of) for of in names]
        self.places = list(product(*map(range, self.counts)))
        self.pieces = [self._piece(place) for place in self.places]
        self.reads = [
            [self._read(operand, axis, n, by) for axis, (n, by) in enumerate(zip(s, of))]
            for operand, (s, of) in enumerate(zip(shapes, drivers, strict=True))
        ]

    def _piece(self, place: Sequence[int]) -> Piece | None:
        """The piece of a device; None beyond the result's end."""
        ends = zip(place, self.tiles, _cut(self.division), strict=True)
        cuts = tuple(slice(min(i * t, n), min((i + 1) * t, n)) for i, t, n in ends)
        if any(c.start == c.stop for c in cuts):
            return None
        piece = self.division.piece(cuts)
        empty = any(r.start >= r.stop for reads in piece.reads for r in reads)
        return None if empty else piece

    def _read(self, operand: int, axis: int, n: int, by: int | None) -> _Read | None:
        """None: the axis is whole on every device."""
        if by is None or not self.names[by]:
            return None
        count, before, behind = self.counts[by], 0, 0
        tile = -(-n // count)
        for place, piece in zip(self.places, self.pieces, strict=True):
            if piece is not None:
                read, start = piece.reads[operand][axis], place[by] * tile
                before = max(before, start - read.start)
                behind = max(behind, read.stop - start - tile)
        if before + behind > (count - 1) * tile:
            return None
        names = self.names[by], self.ordered[by]
        return _Read(by, *names, self.ranks[by], tile, before, behind)

    def run(self, forward: Callable[..., Array], shards: Sequence[Array]) -> Array:
        """The piece of the device that runs this, of the size of a tile of the result."""
        arrays = [_bordered(a, reads) for a, reads in zip(shards, self.reads, strict=True)]
        kinds: dict[_Kind | None, int] = {}
        numbers, starts = [], []
        for place, piece in zip(self.places, self.pieces, strict=True):
            kind, start = self._located(place, piece)
            numbers.append(kinds.setdefault(kind, len(kinds)))
            starts.append(start)
        here = 0
        for names, count in zip(self.names, self.counts, strict=True):
            here = here * count + (lax.axis_index(names) if names else 0)
        at = jnp.asarray(np.asarray(starts, np.int32))[here]
        branches = [self._branch(forward, kind) for kind in kinds]
        out = lax.switch(jnp.asarray(np.asarray(numbers, np.int32))[here], branches, at, *arrays)
        over = tuple(name for names in self.names for name in names)
        return out if self.division.terms is None or not over else _total(out, over)

    def _located(self, place: Sequence[int], piece: Piece | None) -> tuple[_Kind | None, list[int]]:
        """What a device computes, and where in its arrays the points begin that it reads."""
        if piece is None:
            return None, [0] * sum(map(len, self.reads))
        starts, lengths = [], []
        for cuts, reads in zip(piece.reads, self.reads, strict=True):
            for cut, read in zip(cuts, reads, strict=True):
                first = place[read.axis] * read.tile - read.before if read else 0
                starts.append(cut.start - first)
            lengths.append(tuple(c.stop - c.start for c in cuts))
        return _Kind(piece.geometry, tuple(lengths), _ends(piece.keep), _ends(piece.place)), starts

    def _branch(self, forward: Callable[..., Array], kind: _Kind | None) -> Callable[..., Array]:
        """The program of a kind of piece."""
        division = self.division
        shape = self.tiles if division.terms is None else division.shape

        def nothing(at: Array, *arrays: Array) -> Array:
            return jnp.zeros(shape, self.kind)

        def compute(at: Array, *arrays: Array) -> Array:
            assert kind is not None
            given, starts = [], list(at)
            for a, lengths in zip(arrays, kind.lengths, strict=True):
                own, starts = starts[: a.ndim], starts[a.ndim :]
                given.append(a if a.shape == lengths else lax.dynamic_slice(a, own, lengths))
            out = forward(kind.geometry, *given)
            if kind.keep is not None:
                out = out[tuple(slice(*ends) for ends in kind.keep)]
            first = [a for a, _ in kind.place] if kind.place else [0] * out.ndim
            widths = [(a, n - a - m, 0) for a, n, m in zip(first, shape, out.shape, strict=True)]
            return lax.pad(out, jnp.zeros((), out.dtype), widths)

        return nothing if kind is None else compute


def _ranks(mesh: Any, names: Names) -> tuple[int, ...]:
    """The places of shards cut along some axes of a mesh, counted in the mesh's order of axes."""
    ordered = [n for n in mesh.axis_names if n in names]
    places = np.arange(math.prod(mesh.shape[n] for n in names))
    places = places.reshape([mesh.shape[n] for n in ordered])
    return tuple(places.transpose([ordered.index(n) for n in names]).ravel().tolist())


def _ends(cuts: Cuts | None) -> tuple[tuple[int, int], ...] | None:
    """Slices that can be compared and hashed."""
    return None if cuts is None else tuple((c.start, c.stop) for c in cuts)


def _bordered(x: Array, reads: Sequence[_Read | None]) -> Array:
    """A shard with the points beyond it that some device needs, of its neighbours' shards."""
    for axis, read in enumerate(reads):
        if read is None:
            continue
        parts = [x]
        for sign, width in ((-1, read.before), (1, read.behind)):
            for hop in range(1, -(-width // read.tile) + 1):
                some = min(width - (hop - 1) * read.tile, read.tile)
                edge = slice(read.tile - some, None) if sign < 0 else slice(0, some)
                sent = x[(slice(None),) * axis + (edge,)]
                ends = zip(read.ranks, read.ranks[hop:], strict=False)
                pairs = [(a, b) if sign < 0 else (b, a) for a, b in ends]
                got = lax.ppermute(sent, read.ordered, pairs)
                parts = [got, *parts] if sign < 0 else [*parts, got]
        x = parts[0] if len(parts) == 1 else jnp.concatenate(parts, axis)
    return x


def _total(terms: Array, names: Names) -> Array:
    """The sum over devices; half precision rounds once."""
    kind = terms.dtype
    wide = jnp.float32 if jnp.issubdtype(kind, jnp.floating) and kind.itemsize == 2 else kind
    return lax.psum(terms.astype(wide), names).astype(kind)
