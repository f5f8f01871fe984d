"""Replay: events of a stretch of time once more, to consumers that lost them or came late."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import blake2b
from itertools import islice
from pathlib import Path

import msgspec

from spanline.errors import TransportError
from spanline.journal.reader import SLICE_EVENTS, Entry, scan, segments
from spanline.relay.consumer import Consumer, DeliveryError
from spanline.relay.parked import ParkedStore
from spanline.relay.policy import Policy, wait_s
from spanline.relay.suppress import suppressed
from spanline.times import parse_rfc3339, rfc3339
from spanline.transports.base import BatchError


class Replayed(msgspec.Struct):
    """What became of a replay to one consumer. `left` events were not reached before the time was up."""

    consumer: str
    sent: int = 0
    parked: int = 0
    left: int = 0


class _Run(msgspec.Struct, rename="camel"):
    run_id: str = ""


class _Job(msgspec.Struct):
    name: str = ""


class Head(msgspec.Struct, rename="camel"):
    """What of an event says which it is."""

    event_time: str = ""
    event_type: str | None = None
    producer: str = ""
    run: _Run = msgspec.field(default_factory=_Run)
    job: _Job = msgspec.field(default_factory=_Job)

    @property
    def key(self) -> bytes:
        """The same for the same event, whoever has it: run id, time and type."""
        return blake2b(f"{self.run.run_id} {self.event_time} {self.event_type}".encode(), digest_size=12).digest()


_head = msgspec.json.Decoder(Head)


def journalled(directory: Path, since_ns: int, until_ns: int) -> Iterator[tuple[Head, bytes]]:
    """The events of a journal whose time lies in `since_ns <= time < until_ns`, in order per run. Unit: Unix nanoseconds."""
    for segment in segments(directory):
        offset = 0
        while (found := scan(segment, offset)).end > offset:
            offset = found.end
            for entry in found.entries:
                head = head_of(entry.line)
                if head is not None and since_ns <= _time(head) < until_ns:
                    yield head, entry.line


def head_of(line: bytes) -> Head | None:
    """Which event it is; None for what is none."""
    try:
        return _head.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def events(
    directories: Sequence[Path], since_ns: int, until_ns: int, kept: Callable[[], Iterable[bytes]], belongs: Callable[[Head], bool]
) -> Iterator[bytes]:
    """Each event once: what only the ledger has, then what the journals have, so that each run stays in order.

    Args:
        directories: The journals.
        since_ns: Unix nanoseconds.
        until_ns: Unix nanoseconds; not included.
        kept: Events from the ledger, by time.
        belongs: Whether an event of the ledger is one of these journals.
    """
    seen = {head.key for directory in directories for head, _ in journalled(directory, since_ns, until_ns)}
    for line in kept():
        head = head_of(line)
        if head is not None and head.key not in seen and belongs(head):
            seen.add(head.key)
            yield line
    once: set[bytes] = set()
    for directory in directories:
        for head, line in journalled(directory, since_ns, until_ns):
            if head.key not in once:
                once.add(head.key)
                yield line


def replay(lines: Iterable[bytes], consumer: Consumer, parked: ParkedStore, *, timeout_s: float, policy: Policy | None = None) -> Replayed:
    """Deliver events to one consumer, with the relay's rules: what is refused is parked, what does not last is waited for.

    Args:
        lines: Events, in order per run.
        consumer: Who gets them; it knows the same event by run id and time.
        parked: Where refused events go.
        timeout_s: When to give up on a consumer that does not answer. Unit: seconds.
        policy: When to try again.

    Raises:
        OSError: The disk refused.
    """
    done = Replayed(consumer.name)
    deadline = time.monotonic() + timeout_s
    source = enumerate(lines)
    with suppressed():
        while batch := [Entry("replay", number, number + 1, line) for number, line in islice(source, SLICE_EVENTS)]:
            _send(batch, consumer, parked, policy or Policy(), deadline, done)
            if done.left:
                done.left += sum(1 for _ in source)
                break
    return done


def _send(batch: list[Entry], consumer: Consumer, parked: ParkedStore, policy: Policy, deadline: float, done: Replayed) -> None:
    attempts = 0
    one_by_one = False
    while batch:
        some = batch[:1] if one_by_one else batch
        left, failed = _attempt(consumer, some)
        left += batch[len(some) :]
        if len(left) < len(batch):
            done.sent += len(batch) - len(left)
            attempts = 0
        batch = left
        if failed is None:
            continue
        if len(some) > 1 and not isinstance(failed, DeliveryError):
            one_by_one = True
            continue
        error = failed.cause if isinstance(failed, DeliveryError) else failed
        if isinstance(error, BatchError):
            one_by_one = True
            continue
        attempts += 1
        wait = wait_s(error, attempts, policy)
        if wait is None:
            parked.add(batch[0], status=error.status, reason=error.reason, attempts=attempts, parked_at=rfc3339(time.time_ns()))
            done.parked += 1
            batch = batch[1:]
            attempts = 0
        elif time.monotonic() + wait > deadline:
            done.left = len(batch)
            return
        else:
            time.sleep(wait)


def _attempt(consumer: Consumer, some: list[Entry]) -> tuple[list[Entry], TransportError | None]:
    """What was not taken, and why."""
    try:
        consumer.deliver(some)
    except DeliveryError as error:
        return [some[index] for index in error.undelivered], error
    except TransportError as error:
        return list(some), error
    return [], None


def _time(head: Head) -> int:
    try:
        return parse_rfc3339(head.event_time)
    except ValueError:
        return -1
