"""Spilling: records wait in memory up to a bound, beyond it in unlinked temporary files, which no crash leaves behind."""

from __future__ import annotations

import heapq
import tempfile
import zlib
from collections.abc import Iterator
from typing import IO

PARTITIONS = 64
MEMORY = 64 << 20
"""Bytes that wait in memory before they are spilled; of each of the two stores."""

_LENGTH = 4


class TraceStore:
    """Records by trace: added in any order, given back trace by trace. Takes memory for one partition of the traces.

    Args:
        memory: Bytes kept before they are spilled.
    """

    def __init__(self, memory: int = MEMORY) -> None:
        self._memory = memory
        self._size = 0
        self._buffers = [bytearray() for _ in range(PARTITIONS)]
        self._files: list[IO[bytes]] | None = None

    def add(self, trace_id: bytes, record: bytes) -> None:
        """Keep one record of a trace (16 bytes)."""
        buffer = self._buffers[zlib.crc32(trace_id) % PARTITIONS]
        buffer += trace_id
        buffer += len(record).to_bytes(_LENGTH)
        buffer += record
        self._size += len(record) + 16 + _LENGTH
        if self._size >= self._memory:
            self._spill()

    def _spill(self) -> None:
        if self._files is None:
            self._files = [tempfile.TemporaryFile(prefix="spanline-convert-", buffering=0) for _ in range(PARTITIONS)]  # noqa: SIM115
        for file, buffer in zip(self._files, self._buffers, strict=True):
            file.write(buffer)
            buffer.clear()
        self._size = 0

    def traces(self) -> Iterator[tuple[bytes, list[bytes]]]:
        """All records, trace by trace; the store is empty after it. The order is that of the partitions, not of time."""
        if self._files is not None:
            self._spill()
        for number in range(PARTITIONS):
            data = bytes(self._buffers[number])
            self._buffers[number] = bytearray()
            if self._files is not None:
                file = self._files[number]
                file.seek(0)
                data = file.read()
                file.close()
            yield from _by_trace(data).items()


def _by_trace(data: bytes) -> dict[bytes, list[bytes]]:
    found: dict[bytes, list[bytes]] = {}
    position, end = 0, len(data)
    while position < end:
        head = position + 16
        length = int.from_bytes(data[head : head + _LENGTH])
        start = head + _LENGTH
        found.setdefault(data[position:head], []).append(data[start : start + length])
        position = start + length
    return found


class Sorter:
    """Sorts more than memory holds: sorted stretches go to temporary files, which are merged at the end.

    Args:
        memory: Bytes kept before they are spilled.
    """

    def __init__(self, memory: int = MEMORY) -> None:
        self._memory = memory
        self._size = 0
        self._items: list[tuple[bytes, bytes]] = []
        self._files: list[IO[bytes]] = []

    def add(self, key: bytes, record: bytes) -> None:
        """Keep one record; records come out in the order of their keys' bytes."""
        self._items.append((key, record))
        self._size += len(key) + len(record) + 160
        if self._size >= self._memory:
            self._spill()

    def _spill(self) -> None:
        file = tempfile.TemporaryFile(prefix="spanline-convert-", buffering=1 << 20)  # noqa: SIM115
        for key, record in sorted(self._items):
            file.write(len(key).to_bytes(_LENGTH) + key + len(record).to_bytes(_LENGTH) + record)
        self._files.append(file)
        self._items = []
        self._size = 0

    def sorted(self) -> Iterator[bytes]:
        """All records, sorted."""
        items, self._items = sorted(self._items), []
        for _, record in heapq.merge(items, *(_items_of(file) for file in self._files)):
            yield record


def _items_of(file: IO[bytes]) -> Iterator[tuple[bytes, bytes]]:
    file.seek(0)
    while head := file.read(_LENGTH):
        key = file.read(int.from_bytes(head))
        yield key, file.read(int.from_bytes(file.read(_LENGTH)))
    file.close()
