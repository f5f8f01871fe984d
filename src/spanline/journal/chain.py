"""Sealing: a finished segment's digest goes into a hash chain, so that later edits are evident.

`chain.ndjson` holds one entry a line. A sealed segment: `segment`, `bytes`, `lines`, `sha256`; a segment that retention
took away: `removed`, `why`; a shortened chain: `compacted`. Each has `at`, `previous` (the hash of the entry before) and
`hash` (SHA-256 over the entry without `hash`, as JSON with sorted keys and no blanks).
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any, cast

from spanline.journal.locks import exclusive
from spanline.journal.reader import segments
from spanline.journal.segment import alive
from spanline.times import rfc3339

FILE = "chain.ndjson"
LOCK = "chain.lock"
START = "0" * 64
COMPACT_BYTES = 1 << 20

Item = dict[str, Any]


def lock_path(directory: Path) -> Path:
    """The lock around every change of the chain and of the set of segments."""
    return directory / LOCK


def entry_hash(entry: Item) -> str:
    """The hash of a chain entry. Source: this module's docstring."""
    bare = {key: value for key, value in entry.items() if key != "hash"}
    return hashlib.sha256(json.dumps(bare, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def digest(path: Path) -> tuple[int, int, str]:
    """Bytes, lines and SHA-256 (hex) of a file."""
    total = lines = 0
    sha = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        while block := file.read(1 << 20):
            sha.update(block)
            total += len(block)
            lines += block.count(b"\n")
    return total, lines, sha.hexdigest()


def entries(directory: Path) -> list[Item]:
    """The chain as it stands; lines that are no entries are left out (`verify` names them)."""
    try:
        data = (directory / FILE).read_bytes()
    except FileNotFoundError:
        return []
    return [entry for line in data.splitlines() if (entry := parse_entry(line)) is not None]


def parse_entry(line: bytes) -> Item | None:
    """One chain line; None when it is not an entry."""
    try:
        found: object = json.loads(line)
    except ValueError:
        return None
    if isinstance(found, dict) and isinstance(cast(Item, found).get("hash"), str):
        return cast(Item, found)
    return None


def sealed(directory: Path) -> dict[str, Item]:
    """The sealed segments that should still be there, by name."""
    found: dict[str, Item] = {}
    for entry in entries(directory):
        if "segment" in entry:
            found.setdefault(str(entry["segment"]), entry)
        elif "removed" in entry:
            found.pop(str(entry["removed"]), None)
    return found


def seal(path: Path) -> bool:
    """Seal one finished segment; False when it is sealed already or gone.

    Raises:
        OSError: The chain cannot be written.
        JournalError: The chain stayed locked.
    """
    with exclusive(lock_path(path.parent)):
        if path.name in sealed(path.parent):
            return False
        try:
            total, lines, sha = digest(path)
        except FileNotFoundError:
            return False
        append(path.parent, {"segment": path.name, "bytes": total, "lines": lines, "sha256": sha})
        return True


def seal_dead(directory: Path) -> int:
    """Seal the segments whose writers are dead; how many that were."""
    known = sealed(directory)
    return sum(seal(segment.path) for segment in segments(directory) if segment.name not in known and not alive(segment))


def append(directory: Path, entry: Item) -> None:
    """Add an entry; the caller holds the lock.

    Raises:
        OSError: The disk refused.
    """
    path = directory / FILE
    chain = entries(directory)
    entry = {**entry, "at": rfc3339(time.time_ns()), "previous": chain[-1]["hash"] if chain else START}
    entry["hash"] = entry_hash(entry)
    fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(fd).st_size
        line = json.dumps(entry).encode() + b"\n"
        if size and os.pread(fd, 1, size - 1) != b"\n":
            line = b"\n" + line
        if os.write(fd, line) != len(line):
            os.ftruncate(fd, size)
            raise OSError(errno.ENOSPC, "no space left for the chain", str(path))
    finally:
        os.close(fd)
    if size > COMPACT_BYTES and "compacted" not in entry:
        _compact(directory)


def _compact(directory: Path) -> None:
    """Drop the oldest entries whose segments are gone, and say so in the chain."""
    there = {segment.name for segment in segments(directory)}
    chain = entries(directory)
    keep = next((i for i, entry in enumerate(chain) if entry.get("segment") in there), len(chain) - 1)
    if keep < len(chain) // 2:
        return
    append(directory, {"compacted": keep})
    kept = entries(directory)[keep:]
    draft = directory / f".{FILE}.{os.getpid()}"
    with open(draft, "wb") as file:
        os.fchmod(file.fileno(), 0o600)
        file.writelines(json.dumps(entry).encode() + b"\n" for entry in kept)
    draft.replace(directory / FILE)
