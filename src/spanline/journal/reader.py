"""Reading a journal: complete lines only; what is broken is skipped and counted, never a reason to stop."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import msgspec

from spanline.journal.segment import Segment, alive, parse

SLICE_BYTES = 64 * 1024
SLICE_EVENTS = 100
_LONGEST_LINE = 64 << 20

_json = msgspec.json.Decoder(msgspec.Raw)


@dataclass(frozen=True, slots=True)
class Entry:
    """One event of a journal: its line without newline, and where it stands (`offset` … `end`, bytes)."""

    segment: str
    offset: int
    end: int
    line: bytes


@dataclass(frozen=True, slots=True)
class Slice:
    """What one read found: events, where the next read begins, and how many broken lines were skipped."""

    entries: list[Entry]
    end: int
    torn: int


def segments(directory: Path) -> list[Segment]:
    """The segments of a journal, oldest first; empty when there is no such folder."""
    found: list[Segment] = []
    try:
        with os.scandir(directory) as files:
            for file in files:
                if file.name.endswith(".ndjson"):
                    try:
                        segment = parse(Path(file.path), file.stat().st_size)
                    except FileNotFoundError:
                        continue
                    if segment is not None:
                        found.append(segment)
    except (FileNotFoundError, NotADirectoryError):
        return []
    found.sort(key=lambda segment: segment.name)
    return found


def read(segment: Segment, offset: int = 0, max_bytes: int = SLICE_BYTES) -> list[Entry]:
    """The events from `offset` on, about `max_bytes` of them; always at least one when a complete line is there."""
    return scan(segment, offset, max_bytes).entries


def scan(segment: Segment, offset: int = 0, max_bytes: int = SLICE_BYTES, max_events: int | None = None) -> Slice:
    """Read one slice; `Slice.end` is where to go on, also past broken lines.

    A last line without newline is left while its writer lives, and skipped as torn when it is dead.
    A segment that is gone reads as empty.
    """
    try:
        fd = os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return Slice([], offset, 0)
    try:
        chunk = _complete(fd, offset, max_bytes)
        if not chunk and not alive(segment):
            # Once more: the last line may have been completed between the read and the writer's death.
            chunk = _complete(fd, offset, max_bytes)
            if not chunk:
                size = os.fstat(fd).st_size
                return Slice([], max(size, offset), int(size > offset))
    finally:
        os.close(fd)
    return _split(segment.name, offset, chunk, max_events)


def complete_end(segment: Segment) -> int:
    """Where the last complete line ends now. Unit: bytes."""
    try:
        fd = os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0
    try:
        end = os.fstat(fd).st_size
        while end > 0:
            start = max(0, end - SLICE_BYTES)
            newline = os.pread(fd, end - start, start).rfind(b"\n")
            if newline >= 0:
                return start + newline + 1
            end = start
        return 0
    finally:
        os.close(fd)


def _complete(fd: int, offset: int, max_bytes: int) -> bytes:
    """Bytes from `offset` to the last newline within reach, further than `max_bytes` for a longer line."""
    chunk = os.pread(fd, max_bytes, offset)
    while True:
        end = chunk.rfind(b"\n") + 1
        if end:
            return chunk[:end]
        if len(chunk) >= _LONGEST_LINE:
            return chunk
        more = os.pread(fd, max(len(chunk), SLICE_BYTES), offset + len(chunk))
        if not more:
            return b""
        chunk += more


def _split(name: str, offset: int, chunk: bytes, max_events: int | None) -> Slice:
    entries: list[Entry] = []
    torn = 0
    lines = chunk.split(b"\n")
    rest = lines.pop()
    for line in lines:
        if max_events is not None and len(entries) >= max_events:
            return Slice(entries, offset, torn)
        end = offset + len(line) + 1
        if is_event(line):
            entries.append(Entry(name, offset, end, line))
        elif line:
            torn += 1
        offset = end
    # Something is left only when a line is longer than any event can be.
    return Slice(entries, offset + len(rest), torn + bool(rest))


def is_event(line: bytes) -> bool:
    """Whether a line is one JSON object; nothing is said about what is in it."""
    if not line.startswith(b"{"):
        return False
    try:
        _json.decode(line)
        if not line.isascii():
            line.decode()
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True
