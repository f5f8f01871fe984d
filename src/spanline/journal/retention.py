"""Retention: which segments may go, and what goes when the disk limit is met."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

from spanline._guard import warn_once_a_minute
from spanline.journal import chain, cursors
from spanline.journal.locks import exclusive
from spanline.journal.reader import segments
from spanline.journal.segment import Segment

KEEP_S = 86_400.0
FULL = 7 / 8
"""Share of the limit at which the oldest segments are dropped, before the writers have to stop."""


def total_bytes(directory: Path) -> int:
    """Bytes of all segments of a journal."""
    return sum(segment.size for segment in segments(directory))


def retain(directory: Path, *, max_bytes: int, keep_s: float = KEEP_S, on_drop: Callable[[str], None] | None = None) -> int:
    """Seal what dead writers left and remove what may go; how many segments were removed.

    A sealed segment goes when every registered consumer has passed it and it is older than `keep_s`, or the
    journal has grown to half its limit. Near the limit the oldest sealed segment goes in any case, and
    `on_drop("retention")` is called for each of its events that a registered consumer has not seen.

    Raises:
        OSError: The disk refused.
        JournalError: Somebody else held the journal's lock for seconds.
    """
    chain.seal_dead(directory)
    removed = 0
    with exclusive(chain.lock_path(directory)):
        there = segments(directory)
        sealed = chain.sealed(directory)
        consumers = cursors.registered(directory)
        total = sum(segment.size for segment in there)
        for segment in there:
            if segment.name not in sealed:
                continue
            passed = min((offsets.get(segment.name, 0) for offsets in consumers.values()), default=0)
            consumed = bool(consumers) and passed >= segment.size
            old = time.time() - segment.path.stat().st_mtime > keep_s
            if consumed and (old or total > max_bytes // 2):
                _remove(segment, "consumed")
            elif total > max_bytes * FULL:
                lost = 0 if consumed else _lines_after(segment, passed)
                _remove(segment, "limit")
                if lost:
                    _tell(directory, max_bytes, lost, on_drop)
            else:
                continue
            total -= segment.size
            removed += 1
    return removed


def _remove(segment: Segment, why: str) -> None:
    # First the chain: a crash in between leaves a file that is known to be on its way out, not one that is missing.
    chain.append(segment.path.parent, {"removed": segment.name, "why": why})
    with contextlib.suppress(FileNotFoundError):
        segment.path.unlink()


def _lines_after(segment: Segment, offset: int) -> int:
    with open(segment.path, "rb") as file:
        file.seek(offset)
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))


def _tell(directory: Path, max_bytes: int, lost: int, on_drop: Callable[[str], None] | None) -> None:
    warn_once_a_minute(
        "journal.retention",
        "spanline: journal %s reached its limit of %d bytes; %d events went before every consumer had them "
        "(see `spanline journal ls`, or raise SPANLINE_JOURNAL_MAX_BYTES)",
        directory, max_bytes, lost,
    )  # fmt: skip
    if on_drop is not None:
        for _ in range(lost):
            on_drop("retention")
