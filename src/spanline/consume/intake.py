"""The loop from a topic into the ledger: a batch, its transaction, then its offsets."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spanline._guard import report, warn_once_a_minute
from spanline.consume.parking import Parking, Refused
from spanline.consume.reader import Message, TopicReader
from spanline.consume.source import Topic
from spanline.errors import JournalError, LedgerError
from spanline.relay.policy import Policy, backoff_s, jittered

if TYPE_CHECKING:
    from spanline.ledger import Ledger

BATCH = 500
"""Messages in one transaction."""

BATCH_BYTES = 16 << 20
POLICY = Policy(first_s=0.1, cap_s=5.0)
_FETCH_S = 0.25
_POISON_PROBES = 3
_GIVE_UP = 8
"""So many messages one by one without an answer: then nobody is there."""

# Not the module's functions: they share a generator that a program may have seeded.
_random = random.SystemRandom()


@dataclass
class Progress:
    """What became of the messages that this member read. `lag` is what lies ahead of it, None while unknown."""

    read: int = 0
    written: int = 0
    duplicates: int = 0
    empty: int = 0
    parked: int = 0
    dropped: int = 0
    lag: int | None = None
    partitions: int = 0
    trouble: str = ""
    """Why nothing goes on; empty when it does."""


class Intake:
    """Reads a topic into a ledger. One thread.

    An offset is given back when its event's transaction is committed, so what is read again after a crash or a change of members is known to the ledger by
    its keys. What it refuses is parked and holds up nobody; when it does not answer everything waits.

    Args:
        topic: What to read.
        open_ledger: Opens the ledger; tried again while it raises LedgerError.
        parking: Where refused messages go.
        policy: How soon to try again.

    Raises:
        ConfigurationError: Wrong properties.
        MissingExtra: confluent-kafka is not installed.
    """

    def __init__(self, topic: Topic, open_ledger: Callable[[], Ledger], parking: Parking, *, policy: Policy = POLICY) -> None:
        self.progress = Progress()
        self._open_ledger = open_ledger
        self._ledger: Ledger | None = None
        self._parking = parking
        self._policy = policy
        self._pending: list[Message] = []
        self._done: dict[int, int] = {}
        self._attempts = 0
        self._probes: dict[tuple[int, int], int] = {}
        self._failure = ""
        self._reader = TopicReader(topic, self._changed)

    @property
    def idle(self) -> bool:
        """Everything that was in the topic is in the ledger or parked."""
        return not self._pending and self._reader.at_end()

    def turn(self, stopping: Callable[[], bool]) -> None:
        """Read and write one batch, or wait a little.

        Args:
            stopping: Ends a wait sooner.

        Raises:
            TransportError: The Kafka client is of no further use.
            SpanlineError: The ledger can never be opened so.
        """
        room = BATCH - len(self._pending)
        if room > 0:
            self._read(self._reader.fetch(room, BATCH_BYTES, 0.0 if self._pending else _FETCH_S))
        batch = self._pending[:BATCH]
        error = self._attempt(batch) if batch else None
        if error is None:
            self._attempts = 0
        else:
            self._failed(batch, error, stopping)
        self._tell()

    def close(self) -> None:
        """Leave the group with the offsets of what was written, and close the ledger."""
        self._reader.close()
        if self._ledger is not None:
            self._ledger.close()

    def _read(self, messages: Sequence[Message]) -> None:
        self.progress.read += len(messages)
        # The broker may have answered before a partition was taken away: then another member reads them.
        self._pending += [message for message in messages if message.partition in self._reader.assigned]

    def _attempt(self, some: Sequence[Message]) -> Exception | None:
        """Write messages in one transaction, and park what is no event; the failure, when nothing is known of them."""
        full = [message for message in some if message.value]
        try:
            if self._ledger is None:
                self._ledger = self._open_ledger()
            told = self._ledger.ingest([message.value or b"" for message in full])
            self._park([Refused(full[each.index], each.reason, 422) for each in told.rejected])
        except (LedgerError, JournalError, OSError) as error:
            return error
        except Exception as error:  # noqa: BLE001   One event that the ledger stumbles over must not keep the others from it.
            report("consume.ledger", error)
            return error
        self.progress.written += told.accepted
        self.progress.duplicates += told.duplicates
        self.progress.empty += len(some) - len(full)
        self._settle(some)
        self._failure = ""
        return None

    def _failed(self, batch: Sequence[Message], error: Exception, stopping: Callable[[], bool]) -> None:
        self._attempts += 1
        away = _is_away(error)
        self._failure = str(error) if away else f"internal error ({type(error).__name__})"
        if away:
            warn_once_a_minute("consume.ledger.away", "spanline: %s; trying again", error)
        if not away or self._attempts >= self._policy.probe_after:
            self._one_by_one(batch, stopping)
        if away and not stopping():
            self._read(self._reader.hold(jittered(backoff_s(self._attempts, self._policy)), stopping))

    def _one_by_one(self, batch: Sequence[Message], stopping: Callable[[], bool]) -> None:
        """Find what holds up the others. In any order, so that many bad ones in a row hide nobody."""
        failed: list[tuple[Message, Exception]] = []
        before = self.progress.written
        for message in _random.sample(list(batch), len(batch)):
            if stopping():
                return
            error = self._attempt([message])
            if error is not None:
                failed.append((message, error))
            if len(failed) >= _GIVE_UP and self.progress.written == before and all(_is_away(error) for _, error in failed):
                return
        answers = self.progress.written > before
        refused: list[Refused] = []
        for message, error in failed:
            place = (message.partition, message.offset)
            self._probes[place] = self._probes.get(place, 0) + (1 if answers else 0)
            if not _is_away(error):
                refused.append(Refused(message, f"internal error ({type(error).__name__})", 500, 2))
            elif self._probes[place] >= _POISON_PROBES:
                # While others were written, again and again: it is this one.
                refused.append(Refused(message, "the ledger does not answer to it", 503, self._attempts))
        try:
            self._park(refused)
        except (OSError, JournalError) as error:
            self._failure = f"cannot park: {error}"
            return
        self._settle([each.message for each in refused])

    def _park(self, refused: Sequence[Refused]) -> None:
        if not refused:
            return
        parked, gone = self._parking.park(refused)
        self.progress.parked += parked
        self.progress.dropped += gone
        if parked:
            warn_once_a_minute("consume.parked", "spanline: %s; it is parked, see `spanline journal parked`", refused[0].reason)

    def _settle(self, some: Sequence[Message]) -> None:
        gone = {(message.partition, message.offset) for message in some}
        self._pending = [message for message in self._pending if (message.partition, message.offset) not in gone]
        for partition, offset in gone:
            self._probes.pop((partition, offset), None)
            self._done[partition] = max(self._done.get(partition, 0), offset + 1)
        offsets = {partition: self._done[partition] for partition, _ in gone}
        for message in self._pending:
            if message.partition in offsets:
                offsets[message.partition] = min(offsets[message.partition], message.offset)
        self._reader.settled(offsets)

    def _changed(self, gone: frozenset[int]) -> None:
        if gone:
            self._pending = [message for message in self._pending if message.partition not in gone]
            self._done = {partition: offset for partition, offset in self._done.items() if partition not in gone}
        else:
            self._parking.refresh()

    def _tell(self) -> None:
        lag = self._reader.lag()
        self.progress.lag = lag + len(self._pending) if lag is not None else None
        self.progress.partitions = len(self._reader.assigned)
        kafka = self._reader.trouble
        self.progress.trouble = self._failure or (f"Kafka: {kafka}" if kafka else "")


def _is_away(error: Exception) -> bool:
    """Whether nobody could have written anything now."""
    return isinstance(error, LedgerError | JournalError | OSError)
