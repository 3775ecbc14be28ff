"""The journal of a batch job: which blocks are finished, so that a killed run can go on.

A text file of JSON lines. The first names the job (shapes, dtypes, block size, a digest of the
arguments); each further one a finished block with a checksum of what was written, or the size that
blocks have from there on, where there was no memory for larger ones. A block is entered after the
sink was flushed; on resuming its checksum is compared with what the sink holds, so neither a torn
write nor a sink that was made anew leads to a wrong result.
"""

from __future__ import annotations

import functools
import json
import os
import re
import zlib
from typing import Any

import numpy as np

from .._backends import try_backend
from ..errors import ArgumentError

__all__ = ["Journal", "checksum", "fingerprint"]

_FORMAT = 1
# How every journal begins.
_HEAD = b'{"swath_journal": '


def fingerprint(fn: Any, backend: str) -> str:
    """A digest of a function, its fixed arguments and the library that runs it."""
    import hashlib  # a few milliseconds of OpenSSL that only a journal needs

    digest = hashlib.sha256()

    def put(text: str) -> None:
        # With its length: (1, 23) is not (12, 3).
        digest.update(f"{len(text)}:{text}".encode())

    def add(value: Any) -> None:
        if isinstance(value, functools.partial):
            put(f"partial {len(value.args)}")
            add(value.func)
            for entry in value.args:
                add(entry)
            for name, entry in sorted(value.keywords.items()):
                add(name)
                add(entry)
        elif (found := try_backend(value)) is not None:
            table = np.ascontiguousarray(found.to_numpy(value))
            put(f"{table.dtype.str}{table.shape}")
            digest.update(table.tobytes())
        elif isinstance(value, list | tuple | dict):
            # Their own text leaves out most of a long array.
            put(f"{type(value).__qualname__} {len(value)}")
            for entry in value.items() if isinstance(value, dict) else value:
                add(entry)
        elif callable(value):
            kind = type(value).__qualname__
            put(f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', kind)}")
        else:
            # Where an object lies is another place in every run.
            put(re.sub(r" at 0x[0-9A-Fa-f]+", "", repr(value)))

    put(backend)
    add(fn)
    return digest.hexdigest()


def checksum(table: np.ndarray) -> int:
    """CRC-32 of an array's values in C order."""
    return zlib.crc32(np.ascontiguousarray(table).tobytes())


class Journal:
    """The finished blocks of one job: by first output, the end and the checksum.

    Parameters
    ----------
    path : path-like
        The file; made if it does not exist.
    job : dict
        What the job is, JSON values only; ``"block"`` is its block size.
    block : int or None
        The block size asked for; None takes the journal's, or `job`'s for a new one.

    Raises
    ------
    ArgumentError
        If the file belongs to another job, or is no journal.
    """

    def __init__(self, path: Any, job: dict[str, Any], block: int | None) -> None:
        self.path = os.fspath(path)
        self.done: dict[int, tuple[int, int]] = {}
        job = {"swath_journal": _FORMAT, **job}
        found = self._read()
        if found is None:
            self.size = self.block = job["block"]
            self._append(job, new=True)
            return
        self.block: int = found.get("block", 0)
        same = job if block is not None else {**job, "block": self.block}
        for name in sorted({*found, *same}):
            if found.get(name) != same.get(name):
                raise ArgumentError(
                    f"journal {self.path} belongs to another job: its {name} is "
                    f"{found.get(name)!r}, here it is {same.get(name)!r}; delete the file to start "
                    f"anew"
                )

    def _read(self) -> dict[str, Any] | None:
        """The job of an existing journal, and its blocks; a torn last line is cut off."""
        try:
            with open(self.path, "rb") as file:
                raw = file.read()
        except FileNotFoundError:
            return None
        whole = raw[: raw.rfind(b"\n") + 1]
        if not whole and _HEAD.startswith(raw[: len(_HEAD)]):
            # Empty, or torn within the first line.
            return None
        try:
            job, *entries = [json.loads(line) for line in whole.splitlines()]
            if job["swath_journal"] != _FORMAT:
                raise KeyError
            self.size = job["block"]
            for e in entries:
                if "block" in e:
                    self.size = e["block"]
                else:
                    self.done[e["first"]] = e["last"], e["crc"]
        except (ValueError, KeyError, TypeError):
            raise ArgumentError(
                f"journal {self.path} is not a journal of this version of swath; name another file"
            ) from None
        if len(whole) < len(raw):
            os.truncate(self.path, len(whole))
        return job

    def enter(self, first: int, last: int, crc: int) -> None:
        """Record a block whose output is safely in the sink."""
        self._append({"first": first, "last": last, "crc": crc})
        self.done[first] = last, crc

    def halve(self, first: int, size: int) -> None:
        """Record that blocks have another size from an output on: there was no memory for more."""
        self._append({"block": size})
        self.size = size
        self.done.pop(first, None)

    def _append(self, entry: dict[str, Any], *, new: bool = False) -> None:
        with open(self.path, "w" if new else "a", encoding="utf-8", newline="\n") as file:
            file.write(json.dumps(entry) + "\n")
            file.flush()
            os.fsync(file.fileno())
