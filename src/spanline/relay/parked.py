"""Parked events: what a consumer refused, with the reason, until somebody retries it."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from spanline.journal.cursors import path_of
from spanline.journal.locks import exclusive
from spanline.journal.reader import Entry

FOLDER = "parked"
MAX_BYTES = 64 << 20
"""Most disk for one consumer's parked events; then the oldest half goes, counted."""


class Parked(msgspec.Struct, rename="camel"):
    """One parked event. Source: contract.md, `journal parked`.

    `status` is the HTTP status, None without an answer; `parked_at` is RFC 3339.
    """

    consumer: str
    run_id: str | None
    event_type: str | None
    status: int | None
    reason: str
    attempts: int
    parked_at: str
    event: msgspec.Raw = msgspec.Raw(b"null")

    def shown(self) -> dict[str, Any]:
        """What `spanline journal parked --json` prints of it: everything but the event itself."""
        item: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(msgspec.structs.replace(self, event=msgspec.Raw(b"null"))))
        del item["event"]
        return item


class _Run(msgspec.Struct, rename="camel"):
    run_id: str | None = None


class _Head(msgspec.Struct, rename="camel"):
    event_type: str | None = None
    run: _Run | None = None


_parked = msgspec.json.Decoder(Parked)
_head = msgspec.json.Decoder(_Head)


class ParkedStore:
    """The parked events of one consumer, in `parked/<consumer>.ndjson`.

    Args:
        directory: The journal's folder.
        consumer: The consumer's name.
        max_bytes: Most disk it takes. Unit: bytes.
    """

    def __init__(self, directory: Path, consumer: str, *, max_bytes: int = MAX_BYTES) -> None:
        self._consumer = consumer
        name = path_of(directory, consumer).stem
        self._path = directory / FOLDER / f"{name}.ndjson"
        self._taken = directory / FOLDER / f"{name}.retrying"
        self._lock = directory / FOLDER / f"{name}.lock"
        self._max_bytes = max_bytes

    def add(self, entry: Entry, *, status: int | None, reason: str, attempts: int, parked_at: str) -> int:
        """Park one event; how many old ones had to go for it.

        Raises:
            OSError: The disk refused.
        """
        head = _read_head(entry.line)
        item = Parked(
            consumer=self._consumer, run_id=head.run.run_id if head.run else None, event_type=head.event_type,
            status=status, reason=reason, attempts=attempts, parked_at=parked_at, event=msgspec.Raw(entry.line),
        )  # fmt: skip
        return self.put([item])

    def put(self, items: Sequence[Parked]) -> int:
        """Park events again or for the first time; how many old ones had to go for them."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        data = b"".join(msgspec.json.encode(item) + b"\n" for item in items)
        with exclusive(self._lock):
            gone = self._make_room(len(data))
            fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                size = os.fstat(fd).st_size
                if os.write(fd, data) != len(data):
                    os.ftruncate(fd, size)
                    raise OSError(errno.ENOSPC, "no space left for parked events", str(self._path))
            finally:
                os.close(fd)
        return gone

    def items(self) -> list[Parked]:
        """What is parked, oldest first."""
        return [*_read(self._taken), *_read(self._path)]

    def count(self) -> int:
        """How many events are parked."""
        return sum(_lines(path) for path in (self._taken, self._path))

    def take(self) -> list[Parked]:
        """Take everything out for a retry. It stays on disk until `done`, so a crash in between loses nothing."""
        if not self._path.parent.is_dir():
            return []
        with exclusive(self._lock):
            with open(self._taken, "ab") as taken:
                os.fchmod(taken.fileno(), 0o600)
                if self._path.exists():
                    taken.write(self._path.read_bytes())
                    taken.flush()
                    self._path.unlink()
            return list(_read(self._taken))

    def done(self, still_parked: Sequence[Parked]) -> None:
        """The retry is over: keep only what failed again."""
        if still_parked:
            self.put(still_parked)
        self._taken.unlink(missing_ok=True)

    def _make_room(self, length: int) -> int:
        try:
            size = self._path.stat().st_size
        except FileNotFoundError:
            return 0
        if size + length <= self._max_bytes:
            return 0
        lines = self._path.read_bytes().splitlines(keepends=True)
        kept = lines[(len(lines) + 1) // 2 :]
        draft = self._path.with_suffix(".tmp")
        draft.write_bytes(b"".join(kept))
        draft.chmod(0o600)
        draft.replace(self._path)
        return len(lines) - len(kept)


def consumers(directory: Path) -> list[str]:
    """The consumers that have something parked."""
    try:
        paths = list((directory / FOLDER).iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted({path.stem for path in paths if path.suffix in {".ndjson", ".retrying"}})


def parked(directory: Path, consumer: str | None = None) -> list[Parked]:
    """Everything that is parked in a journal, or what one consumer refused; oldest first for each."""
    names = [consumer] if consumer is not None else consumers(directory)
    return [item for name in names for item in ParkedStore(directory, name).items()]


def _read(path: Path) -> Iterator[Parked]:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return
    for line in data.split(b"\n"):
        try:
            if line:
                yield _parked.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            continue


def _read_head(line: bytes) -> _Head:
    try:
        return _head.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return _Head()


def run_id_of(line: bytes) -> str | None:
    """The run id of an event; None when it has none."""
    run = _read_head(line).run
    return run.run_id if run else None


def _lines(path: Path) -> int:
    try:
        return path.read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0
