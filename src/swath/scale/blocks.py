"""Batch processing: data larger than memory through one function, block by block.

source → block with halo (`scale.halo`, `geometry.Halo`) → backend → function → trimmed → sink.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import arguments, registry
from .._backends import try_backend
from ..bound import Bound, bind
from ..errors import ArgumentError, ArgumentTypeError, describe, explain
from ..geometry import Block, Halo
from ..settings import current_workspace
from .halo import halo_of, stated
from .journal import Journal, checksum, fingerprint

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

__all__ = ["map_blocks"]

Array = Any

# A block is held about so many times: input, output, and what the operation needs in between.
_COPIES = 4
# Bytes of the smallest pages of memory.
_PAGE = 4096
# Steps that may be spent on finding out whether two views of one array have an entry in common.
_TRIALS = 10_000


def map_blocks(
    fn: Callable[[Array], Array],
    source: Any,
    sink: Any,
    *,
    backend: Any = "numpy",
    device: Any = None,
    axis: int = 0,
    overlap: str | tuple[int, int] = "auto",
    block: int | None = None,
    progress: bool = True,
    journal: Any = None,
) -> Any:
    """Put data larger than memory through a function, block by block.

    Parameters
    ----------
    fn : callable
        From one array of the backend to one array: an operation of swath with everything but the
        data fixed, as ``functools.partial(swath.signal.convolve, in2=h, mode="same", axes=0)``,
        or any function. Arrays that a partial of an operation holds are moved to the backend once.
    source : array_like
        Anything with ``shape``, ``dtype`` and slicing on the host: np.memmap, np.ndarray, an HDF5
        data set. Only slices of one block are read, by one thread of their own, which writes too.
        Slices with masked values are refused.
    sink : array_like
        Where the result goes; of its shape, and of a dtype that it can be cast to without a change
        of kind. ``sink[slices] = block`` must work.
    backend : str or module, default "numpy"
        The array library that computes (see `swath.bind`).
    device : object, optional
        Its device.
    axis : int, default 0
        Axis of the source along which blocks are cut.
    overlap : "auto" or (int, int), default "auto"
        Input points that an output needs before and after its own position. ``"auto"`` takes them
        from the geometry of swath's operations. For any other function they must be given; it then
        gets blocks with that overlap (less at both ends of the data, where it meets its own edge
        rule) and must keep the length along `axis`.
    block : int, optional
        Outputs along `axis` per block. By default as many as fit the memory budget: the limit of
        `swath.workspace` where one is set, else the larger of 64 MiB and a quarter of the device's
        free memory (where the library reports it), counting four times the input and output of a
        block. The operation's own scratch memory comes on top, under the same limit. A block that
        memory does not hold after all is halved, and so are those after it.
    progress : bool, default True
        Show a progress bar on the standard error stream.
    journal : path-like, optional
        A file that records finished blocks and where they end. A run that was killed goes on where
        it stopped when it is called again with the same arguments and the same sink, and gives the
        same bits. The sink must be on disk (have ``flush``). Finished blocks are checked against
        the sink; whether the source still holds the same data is not. Functions are known by
        their names, what a ``functools.partial`` holds by its values. Delete the file to run anew.

    Returns
    -------
    object
        The sink.

    Raises
    ------
    ValueError
        If shapes do not fit, an operation needs more than a halo along `axis`, or the journal is of
        another job.
    TypeError
        If source or sink is no array on the host, or `fn` gives something else than one array.
    NotImplementedError
        If the halo of an operation is not known, or does not exist.

    Notes
    -----
    One block is computed while the next is read and the last is written; where a device works by
    itself, the next is also moved there meanwhile.

    The result equals that of `fn` on the whole source: in every bit for shift-and-add
    (``method="direct"`` of the functions in `swath.signal`) and max and min pooling, within the
    accuracy contract otherwise, as an algorithm may be chosen by the block's length.

    Examples
    --------
    >>> import functools, numpy as np, swath
    >>> x, y = np.arange(10.0), np.zeros(10)
    >>> smooth = functools.partial(swath.signal.convolve, in2=np.ones(3) / 3, mode="same")
    >>> swath.map_blocks(smooth, x, y, block=4, progress=False).round(6)
    array([0.333333, 1.      , 2.      , 3.      , 4.      , 5.      ,
           6.      , 7.      , 8.      , 5.666667])
    """
    with explain("map_blocks", {"source": source, "sink": sink}):
        shape = _on_host("source", source)
        sink_shape = _on_host("sink", sink)
        if not callable(fn):
            raise ArgumentTypeError(f"fn must be a function of one array, got {describe(fn)}")
        place = arguments.axis_of("axis", axis, len(shape))
        size = None if block is None else arguments.positive("block", block)
        bound = bind(backend, device=device)
        identity = fn
        fn, halo = _prepared(fn, bound, overlap, shape, place)
        _check_sink(halo, shape, sink_shape)
        _check_apart(source, sink, halo, place, journal)
        if 0 in sink_shape:
            return sink
        automatic = _block_size(bound, source, sink, halo, place)
        record = _journal(journal, identity, bound, source, sink, halo, size, automatic, place)
        size = record.size if record is not None else size or automatic
        _run(_Work(fn, source, sink, bound, halo, place, record), size, bool(progress))
    return sink


# -- before the first block ----------------------------------------------------------------------


def _on_host(name: str, value: Any) -> tuple[int, ...]:
    """The shape of source or sink."""
    found = try_backend(value)
    if found is not None and found.name != "numpy":
        raise ArgumentTypeError(
            f"{name} must be on the host (np.memmap, np.ndarray, an HDF5 data set), got an array "
            f"of {found.name}; call the operation on it directly"
        )
    read_or_write = "__getitem__" if name == "source" else "__setitem__"
    if not all(hasattr(value, a) for a in ("shape", "dtype", read_or_write)):
        raise ArgumentTypeError(
            f"{name} must have shape, dtype and slicing (np.memmap, np.ndarray, an HDF5 data set), "
            f"got {describe(value)}"
        )
    kind = np.dtype(value.dtype)
    if kind.kind not in "biufc":
        raise ArgumentTypeError(f"{name} must hold numbers, got {describe(value)}")
    if isinstance(value, np.ma.MaskedArray):
        instead = "source.filled(0), or source.filled(np.nan)" if name == "source" else "sink.data"
        raise ArgumentTypeError(
            f"{name} must not be a masked array: windows know no masks; give {instead}"
        )
    if isinstance(value, np.ndarray) and name == "sink" and not value.flags.writeable:
        raise ArgumentError('sink is read-only; open it with mode="r+" or "w+"')
    return tuple(int(n) for n in value.shape)


def _prepared(
    fn: Callable[..., Any], bound: Bound, overlap: Any, shape: tuple[int, ...], axis: int
) -> tuple[Callable[[Array], Array], Halo]:
    """The function of one block with its arrays on the backend, and its halo."""
    inner = fn.func if isinstance(fn, functools.partial) else fn
    record = registry.find(getattr(inner, "__swath_unbound__", inner))
    halo = None
    if not isinstance(overlap, str):
        halo = stated(_overlap(overlap), shape[axis], axis)
    elif overlap != "auto":
        raise ArgumentError(f'overlap must be "auto" or (before, after), got {overlap!r}')
    elif record is None:
        raise ArgumentError(
            f'overlap="auto" knows the operations of swath and functools.partial of them; for '
            f"{getattr(inner, '__name__', describe(inner))} state overlap=(before, after), the "
            f"input points that an output needs on both sides ((0, 0): none)"
        )
    if record is None:
        assert halo is not None
        return fn, halo
    args = fn.args if isinstance(fn, functools.partial) else ()
    kwargs = fn.keywords if isinstance(fn, functools.partial) else {}
    args, kwargs = bound.moved(record, args, kwargs)
    if halo is None:
        halo = halo_of(record, args, kwargs, shape, axis)
    return functools.partial(record.function, *args, **kwargs), halo


def _overlap(overlap: Any) -> tuple[int, int]:
    if not isinstance(overlap, tuple | list) or len(overlap) != 2:
        raise ArgumentTypeError(
            f'overlap must be "auto" or (before, after), got {describe(overlap)}'
        )
    before, after = (arguments.positive("overlap", n, least=0) for n in overlap)
    return before, after


def _check_sink(halo: Halo, shape: tuple[int, ...], sink_shape: tuple[int, ...]) -> None:
    if halo.shape is not None:
        if sink_shape != halo.shape:
            raise ArgumentError(
                f"sink has shape {sink_shape}, but the result of fn on a source of shape {shape} "
                f"has shape {halo.shape}"
            )
    elif len(sink_shape) <= halo.axis or sink_shape[halo.axis] != halo.out:
        raise ArgumentError(
            f"sink of shape {sink_shape} must have {halo.out} points along axis {halo.axis}, as "
            f"the source has"
        )


def _check_apart(source: Any, sink: Any, halo: Halo, axis: int, journal: Any) -> None:
    """Refuse to write where a later block, or a later run, must still read."""
    if not _shared(source, sink):
        return
    span = halo.span
    pointwise = span.extent == span.stride == 1 and span.low == span.high == 0
    if not (pointwise and axis == halo.axis and _in_place(source, sink)):
        raise ArgumentError(
            "source and sink share memory, and later blocks still need what earlier ones would "
            "overwrite; write to another file or array"
        )
    if journal is not None:
        raise ArgumentError(
            "source and sink share memory: a run that was killed could not be resumed, for its "
            "input is gone; leave journal out, or write to another file"
        )


def _shared(source: Any, sink: Any) -> bool:
    """Whether writing the sink can change the source."""
    if source is sink:
        return True
    if isinstance(source, np.ndarray) and isinstance(sink, np.ndarray):
        if np.may_share_memory(source, sink):
            try:
                # Channels beside each other do not.
                return np.shares_memory(source, sink, max_work=_TRIALS)  # type: ignore[arg-type]
            except np.exceptions.TooHardError:
                return True
        a, b = _mapped(source), _mapped(sink)
        if a is not None and b is not None and os.path.exists(a[0]) and os.path.exists(b[0]):
            return os.path.samefile(a[0], b[0]) and a[1] < b[2] and b[1] < a[2]
    return False


def _in_place(source: Any, sink: Any) -> bool:
    """Whether entries of source and sink, which share memory, lie at the same places."""
    if source is sink:
        return True
    a, b = (_mapped(v) or (None, *np.lib.array_utils.byte_bounds(v)) for v in (source, sink))
    # First bytes are those of first entries unless strides are below 0, and of last ones then.
    alike = source.shape == sink.shape or min(source.strides) >= 0
    return alike and a[1] == b[1] and source.strides == sink.strides


def _mapped(x: np.ndarray) -> tuple[Any, int, int] | None:
    """The file that an array lies in, and the bytes there that it spans; None for other memory."""
    whole: Any = x
    # A slice of a map keeps the name and the offset of the whole, a plain view neither.
    while isinstance(whole.base, np.ndarray):
        whole = whole.base
    if not isinstance(whole, np.memmap) or whole.filename is None:
        return None
    ahead = whole.offset - np.lib.array_utils.byte_bounds(whole)[0]
    first, last = np.lib.array_utils.byte_bounds(x)
    return whole.filename, first + ahead, last + ahead


def _block_size(bound: Bound, source: Any, sink: Any, halo: Halo, axis: int) -> int:
    """Outputs per block that fit the memory budget."""
    free = bound.backend.free_memory(bound.device)
    budget = current_workspace(0 if free is None else free // 4)
    budget = budget if free is None else min(budget, max(1, free // 2))
    n = max(1, source.shape[axis])
    row = np.dtype(source.dtype).itemsize * prod(source.shape) / n * halo.span.stride
    row += np.dtype(sink.dtype).itemsize * prod(sink.shape) / max(1, halo.out)
    return min(halo.out, max(1, int(budget / (_COPIES * row))))


def _journal(
    path: Any,
    fn: Any,
    bound: Bound,
    source: Any,
    sink: Any,
    halo: Halo,
    size: int | None,
    automatic: int,
    axis: int,
) -> Journal | None:
    if path is None:
        return None
    if not isinstance(path, str | os.PathLike):
        raise ArgumentTypeError(f"journal must be a path, got {describe(path)}")
    if not hasattr(sink, "flush") or not hasattr(sink, "__getitem__"):
        raise ArgumentError(
            f"a journal needs a sink on disk that can be flushed and read (np.memmap, an HDF5 data "
            f"set), got {describe(sink)}"
        )
    span = halo.span
    job = {
        "source": [list(source.shape), np.dtype(source.dtype).str],
        "sink": [list(sink.shape), np.dtype(sink.dtype).str],
        "axis": axis,
        "windows": [span.length, span.size, span.stride, span.dilation, span.low, span.high],
        "function": fingerprint(fn, bound.backend.name),
        "block": size or automatic,
    }
    return Journal(path, job, size)


# -- block by block ------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Work:
    """What is done to every block. Only `read` and `write` touch source and sink."""

    fn: Callable[[Array], Array]
    source: Any
    sink: Any
    bound: Bound
    halo: Halo
    axis: int
    record: Journal | None

    def _place(self, step: Block) -> slice | tuple[slice, ...]:
        return _along(self.halo.axis, step.outputs)

    def end(self, first: int, size: int) -> int:
        """Where a block ends; one that the journal has, where it ended."""
        if self.record is not None and first in self.record.done:
            return self.record.done[first][0]
        return min(first + size, self.halo.out)

    def steps(self, first: int, size: int) -> Iterator[Block]:
        """All blocks from an output on."""
        while first < self.halo.out:
            last = self.end(first, size)
            yield self.halo.block(first, last)
            first = last

    def read(self, step: Block) -> np.ndarray | None:
        """A block of the source, protected from being written; None where its result is there."""
        if self.record is not None:
            first, last = step.outputs.start, step.outputs.stop
            # The sink may not hold what was written.
            if self.record.done.get(first) == (last, self._sum(step)):
                return None
        table = self.source[_along(self.axis, step.inputs)]
        if np.ma.is_masked(table):
            # As netCDF's variables give them; an array of numbers would hold what is behind a mask.
            raise ArgumentError(
                f"source holds masked values at points {step.inputs.start} to "
                f"{step.inputs.stop - 1} along axis {self.axis}: windows know no masks; give a "
                f"source whose slices are filled, as with 0 or NaN"
            )
        if isinstance(table, np.memmap) and table.flags.c_contiguous and table.size:
            # Read here, not when it is computed with: one byte of every page.
            np.max(table.reshape(-1).view(np.uint8)[::_PAGE])
        elif not isinstance(table, np.ndarray) or type(self.source) is not np.ndarray:
            # It may lie in a file; a source may fill the same memory again.
            table = np.array(table)
        table = np.asarray(table)
        if not table.dtype.isnative:
            table = table.astype(table.dtype.newbyteorder("="))
        table = table.view()
        table.flags.writeable = False
        return table

    def _sum(self, step: Block) -> int:
        return checksum(np.asarray(self.sink[self._place(step)]))

    def write(self, step: Block, table: np.ndarray) -> None:
        """A block of the sink, and of the journal."""
        self.sink[self._place(step)] = table
        if self.record is not None:
            self.sink.flush()
            # Read back: the checksum is of what the sink holds in its own dtype.
            self.record.enter(step.outputs.start, step.outputs.stop, self._sum(step))

    def on_host(self, step: Block, result: Any) -> np.ndarray:
        """The outputs of a block, from what the function gave."""
        halo, be = self.halo, self.bound.backend
        if try_backend(result) is not be:
            kind = f"a {type(result).__name__}" if try_backend(result) is None else describe(result)
            raise ArgumentTypeError(f"fn must give one array of {be.name}, got {kind}")
        length = step.inputs.stop - step.inputs.start
        known = halo.shape is not None
        if not known and (result.ndim <= halo.axis or result.shape[halo.axis] != length):
            raise ArgumentError(
                f"with overlap given, fn must keep the length along axis {halo.axis}: a block of "
                f"{length} points became one of shape {tuple(result.shape)}"
            )
        table = self.bound.to_numpy(result[(*[slice(None)] * halo.axis, step.kept, ...)])
        _check_block(table, self.sink, halo, step.outputs.stop - step.outputs.start)
        # Another's function may give the same memory again while this is written.
        return table if known else table.copy()


def _along(axis: int, part: slice) -> slice | tuple[slice, ...]:
    """The index of a part; the first axis is sliced by itself, for those who know no tuples."""
    return (*[slice(None)] * axis, part) if axis else part


def _run(work: _Work, size: int, progress: bool) -> None:
    """All blocks: one is computed while the next is read and moved and the last is written."""
    from concurrent.futures import ThreadPoolExecutor  # a dozen modules that `import swath` spares

    done, written = 0, None
    with _bar(progress, work.halo.out) as bar, ThreadPoolExecutor(1) as files:
        results = _computed(work, files, done, size)
        while done < work.halo.out:
            try:
                step, table = next(results)
            except Exception as error:
                length = work.end(done, size) - done
                if length == 1 or not work.bound.backend.out_of_memory(error):
                    raise
                size = length // 2
                if work.record is not None:
                    work.record.halve(done, size)
                results = _computed(work, files, done, size)
                continue
            if written is not None:
                written.result()
            written = None if table is None else files.submit(work.write, step, table)
            done = step.outputs.stop
            bar.update(done - step.outputs.start)
        if written is not None:
            written.result()
    if hasattr(work.sink, "flush"):
        work.sink.flush()


def _computed(
    work: _Work, files: Executor, first: int, size: int
) -> Iterator[tuple[Block, np.ndarray | None]]:
    """Blocks and their results on the host; None for those that the sink has."""
    steps = work.steps(first, size)

    def asked() -> tuple[Block, Future[np.ndarray | None]] | None:
        """The next block, on its way from the source."""
        step = next(steps, None)
        return None if step is None else (step, files.submit(work.read, step))

    def moved(
        reading: tuple[Block, Future[np.ndarray | None]] | None,
    ) -> tuple[Block, Any] | None:
        if reading is None:
            return None
        step, table = reading[0], reading[1].result()
        return step, None if table is None else work.bound.asarray(table)

    coming = moved(asked())
    reading = asked()
    while coming is not None:
        step, x = coming
        result = None if x is None else work.fn(x)
        # Where a device works by itself, the next block goes there meanwhile.
        coming = moved(reading)
        yield step, None if x is None else work.on_host(step, result)
        reading = asked()


def _check_block(table: np.ndarray, sink: Any, halo: Halo, count: int) -> None:
    """Refuse a block that the sink would broadcast or truncate."""
    shape = [int(n) for n in sink.shape]
    shape[halo.axis] = count
    if list(table.shape) != shape:
        raise ArgumentError(
            f"fn gave a block of shape {table.shape}, but the sink of shape {tuple(sink.shape)} "
            f"takes {tuple(shape)}"
        )
    if not np.can_cast(table.dtype, sink.dtype, "same_kind"):
        raise ArgumentTypeError(
            f"the result of fn has dtype {table.dtype}, which does not go into a sink of dtype "
            f"{sink.dtype}"
        )


class _Silent:
    def update(self, count: int) -> None: ...


def _bar(progress: bool, total: int) -> AbstractContextManager[Any]:
    if not progress:
        return nullcontext(_Silent())
    from tqdm import tqdm

    return tqdm(total=total, unit="point", unit_scale=True, desc="map_blocks")
