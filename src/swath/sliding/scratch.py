"""Scratch memory that is taken once, and operations on it that are noted once.

What is computed slab by slab does the same operations on arrays that differ from slab to slab. They
are worked out for stand-ins (`Outer`), noted, and done again for every slab of the same shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from .._backends import Backend
from ..geometry import Span

__all__ = ["Outer", "Scratch"]

Array = Any


class Outer:
    """Stands for an array that differs from slab to slab, or a slice of it."""

    __slots__ = ("chain", "dtype", "form", "number", "whole")

    def __init__(
        self, number: int, chain: tuple[Any, ...], form: np.ndarray, dtype: Any, *, whole: bool
    ) -> None:
        self.number, self.chain, self.form, self.dtype = number, chain, form, dtype
        self.whole = whole

    @classmethod
    def of(cls, number: int, a: Array, be: Backend) -> Outer:
        """All of the array of this number."""
        form = np.broadcast_to(np.zeros((), np.bool_), tuple(a.shape))
        return cls(number, (), form, a.dtype, whole=be.contiguous(a))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array or slice."""
        return self.form.shape

    def __getitem__(self, index: Any) -> Outer:
        form = self.form[index]
        whole = form.shape == self.form.shape
        chain = self.chain if whole else (*self.chain, index)
        return Outer(self.number, chain, form, self.dtype, whole=whole and self.whole)

    def reshape(self, shape: int) -> Outer:
        """In one row."""
        chain = (*self.chain, None)
        return Outer(self.number, chain, self.form.reshape(shape), self.dtype, whole=self.whole)

    def real(self, arrays: Sequence[Array]) -> Array:
        """The slice of the array of this number."""
        found = arrays[self.number]
        for index in self.chain:
            found = found.reshape(-1) if index is None else found[index]
        return found


# Name of an operation (none: an assignment), what it writes, its operands; whether any is outer.
_Call = tuple[str, Any, tuple[Any, ...], bool]


class Scratch:
    """Arrays by name: memory taken once, and used again by every pass and slab.

    Operations are noted, and done for every slab; of a single one (`once`) they are done at once.
    """

    def __init__(self, be: Backend, like: Array, *, once: bool = False) -> None:
        self.be, self.like, self.once = be, like, once
        self._memory: dict[Any, Array] = {}
        self._views: dict[Any, Array] = {}
        self._records: dict[Any, list[_Call]] = {}
        self._record: list[_Call] = []

    def __call__(self, name: Any, shape: tuple[int, ...], dtype: Any = None) -> Array:
        """An array of a name, its values open."""
        view = self._views.get((name, shape))
        if view is None:
            n = prod(shape)
            memory = self._memory.get(name)
            if memory is None or memory.shape[0] < n:
                memory = self.be.empty_like(self.like, (n,), dtype)
                self._memory[name] = memory
                # Views of the smaller memory would keep it.
                self._views = {k: v for k, v in self._views.items() if k[0] != name}
                self._records = {}
            view = memory[:n].reshape(shape)
            self._views[name, shape] = view
        return view

    def into(self, name: str, to: Array, *operands: Any) -> None:
        """Note an operation of the backend."""
        if self.once:
            self._do(name, to, operands)
            return
        outer = any(type(a) is Outer for a in (to, *operands))
        self._record.append((name, to, operands, outer))

    def fold(self, to: Array, x: Array, name: str, axis: int, span: Span) -> None:
        """Note that all taps of every window are merged at once."""
        self.into("fold", to, x, name, axis, span)

    def put(self, to: Array, value: Any) -> None:
        """Note an assignment."""
        self.into("", to, value)

    def contiguous(self, a: Array) -> bool:
        """Whether a lies in memory without gaps."""
        return a.whole if type(a) is Outer else self.be.contiguous(a)

    def run(self, key: Any, note: Callable[..., None], *arrays: Array) -> None:
        """What `note` notes of arrays like these; it is called once for every key.

        Slabs of one shape differ in their outer arrays alone, and what is worked out anew for each
        holds the interpreter, for which the other threads wait.
        """
        if self.once:
            note(*arrays)
            return
        key = (key, *map(self.be.contiguous, arrays))
        record = self._records.get(key)
        if record is None:
            record = self._record = []
            note(*(Outer.of(i, a, self.be) for i, a in enumerate(arrays)))
            self._records[key] = record
        for name, to, operands, outer in record:
            if outer:
                to = to.real(arrays) if type(to) is Outer else to
                operands = [a.real(arrays) if type(a) is Outer else a for a in operands]
            self._do(name, to, operands)

    def _do(self, name: str, to: Array, operands: Sequence[Any]) -> None:
        if name == "fold":
            self.be.fold_into(to, *operands)
        elif name:
            self.be.into(name, to, *operands)
        else:
            to[...] = operands[0]
