"""Messages that no ledger can take: kept beside the journals, where `spanline journal parked` shows them and `retry` tries them again."""

from __future__ import annotations

import base64
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from spanline.consume.reader import Message
from spanline.journal.reader import Entry
from spanline.relay.parked import ParkedStore
from spanline.times import rfc3339

CONSUMER = "ledger"
"""Who refused it; the consumer that `spanline journal retry` tries again."""


class Refused(NamedTuple):
    """A message, why it was refused, and the HTTP status that says the same."""

    message: Message
    reason: str
    status: int
    attempts: int = 1


class Parking:
    """Parks messages of one topic, each once, however often it is delivered.

    Args:
        folder: Folder of journals.
        topic: Name of the topic.
    """

    def __init__(self, folder: Path, topic: str) -> None:
        self._folder = folder / f"kafka.{topic}"
        self._topic = topic
        self._store = ParkedStore(self._folder, CONSUMER)
        self._known: set[str] | None = None

    def refresh(self) -> None:
        """Others may have parked meanwhile: partitions came from them."""
        self._known = None

    def park(self, some: Sequence[Refused]) -> tuple[int, int]:
        """Park messages that are not parked yet. Returns how many were, and how many older ones had to go for them.

        Raises:
            OSError: The disk refused.
            JournalError: Somebody else holds the file.
        """
        if self._known is None:
            self._known = {item.reason.partition(": ")[0] for item in self._store.items()}
        new = [each for each in some if self._place(each.message) not in self._known]
        if not new:
            return 0, 0
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        gone = 0
        for each in new:
            place, offset = self._place(each.message), each.message.offset
            entry = Entry(self._folder.name, offset, offset + 1, _one_line(each.message.value or b""))
            reason = f"{place}: {each.reason}"
            gone += self._store.add(entry, status=each.status, reason=reason, attempts=each.attempts, parked_at=rfc3339(time.time_ns()))
            self._known.add(place)
        return len(new), gone

    def _place(self, message: Message) -> str:
        return f"{self._topic}[{message.partition}]@{message.offset}"


def _one_line(value: bytes) -> bytes:
    """JSON on one line; what is no JSON stands in it as base64."""
    found: Any
    try:
        found = msgspec.json.decode(value)
        return value if b"\n" not in value and b"\r" not in value else msgspec.json.encode(found)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return msgspec.json.encode({"base64": base64.b64encode(value).decode()})
