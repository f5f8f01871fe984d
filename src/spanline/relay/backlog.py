"""What one consumer has yet to get: read positions, events in hand, and the cursor that survives."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path

from spanline.journal import cursors
from spanline.journal.reader import SLICE_BYTES, SLICE_EVENTS, Entry, Slice, scan, segments
from spanline.journal.segment import Segment
from spanline.times import parse_rfc3339

MOST_PENDING = 1000
"""Events in hand while one of them cannot be delivered."""

_TIME = re.compile(rb'"eventTime"\s*:\s*"([^"]{10,40})"')


class Backlog:
    """The events of a journal that one consumer has not taken, in order per writer.

    Not shared by threads, but `offsets` may be read by any.
    """

    def __init__(self, directory: Path, consumer: str) -> None:
        self._directory = directory
        self._consumer = consumer
        self._read: dict[str, int] = {}
        self.pending: list[Entry] = []
        self.offsets: dict[str, int] = {}
        """Segment to the byte before which everything was taken; replaced, never changed."""
        self.torn = 0

    def load(self) -> None:
        """Begin where the cursor on disk stands."""
        self._read = cursors.load(self._directory, self._consumer)
        self.offsets = dict(self._read)
        self.pending = []

    def fetch(self) -> bool:
        """Take one more slice into `pending`; False when there is nothing to read now, or enough in hand."""
        if len(self.pending) >= MOST_PENDING:
            return False
        taken = self._next(segments(self._directory))
        if taken is not None and self._read.get(taken[0], 0) == 0:
            # An older segment of the same process may have grown while the folder was listed; its events go first.
            taken = self._next(segments(self._directory))
        if taken is None:
            return False
        name, found = taken
        self._read[name] = found.end
        self.pending.extend(found.entries)
        self.torn += found.torn
        return True

    def _next(self, there: Sequence[Segment]) -> tuple[str, Slice] | None:
        """A slice of the oldest segment with something to read; a last line that is not complete yet does not count."""
        for segment in there:
            position = self._read.get(segment.name, 0)
            if segment.size > position:
                found = scan(segment, position, SLICE_BYTES, SLICE_EVENTS)
                if found.end > position:
                    return segment.name, found
        return None

    def settle(self, pending: list[Entry]) -> None:
        """Only these are still to be delivered; remember it for this process."""
        self.pending = pending
        first: dict[str, int] = {}
        for entry in pending:
            first.setdefault(entry.segment, entry.offset)
        self.offsets = {**self._read, **first}

    def save(self) -> None:
        """Write the cursor, without segments that are gone.

        Raises:
            OSError: The disk refused.
        """
        there = {segment.name for segment in segments(self._directory)}
        in_hand = {entry.segment for entry in self.pending}
        self._read = {name: end for name, end in self._read.items() if name in there or name in in_hand}
        self.settle(self.pending)
        cursors.save(self._directory, self._consumer, self.offsets)

    def size(self) -> int:
        """Bytes not taken yet."""
        offsets = self.offsets
        return sum(max(0, segment.size - offsets.get(segment.name, 0)) for segment in segments(self._directory))

    def lag_s(self) -> float:
        """Age of the oldest event in hand; 0 when there is none."""
        match = _TIME.search(self.pending[0].line) if self.pending else None
        if match is None:
            return 0.0
        try:
            return max(0.0, time.time() - parse_rfc3339(match[1].decode()) / 1e9)
        except ValueError:
            return 0.0
