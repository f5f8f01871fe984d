"""Retrying what was parked: `spanline journal retry`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from spanline.errors import TransportError
from spanline.journal.reader import Entry
from spanline.relay.consumer import Consumer
from spanline.relay.parked import Parked, ParkedStore
from spanline.relay.suppress import suppressed
from spanline.times import rfc3339


class Retried(msgspec.Struct, frozen=True):
    """What became of a consumer's parked events."""

    consumer: str
    sent: int
    parked: int


def retry(directory: Path, consumers: Sequence[Consumer], *, run_id: str | None = None) -> list[Retried]:
    """Try parked events once more; what fails again is parked again, with the new reason.

    The application may go on meanwhile. When a consumer does not answer at all, the rest of its events is left parked.

    Args:
        directory: The journal's folder.
        consumers: Whose events; one that is not given keeps its own.
        run_id: Only those of one run.

    Raises:
        OSError: The disk refused; nothing is lost.
    """
    with suppressed():
        return [_retry(ParkedStore(directory, consumer.name), consumer, run_id) for consumer in consumers]


def _retry(store: ParkedStore, consumer: Consumer, run_id: str | None) -> Retried:
    sent = 0
    still: list[Parked] = []
    away = False
    for number, item in enumerate(store.take()):
        if away or (run_id is not None and item.run_id != run_id):
            still.append(item)
            continue
        line = bytes(item.event)
        try:
            consumer.deliver([Entry("parked", number, number + 1, line)])
            sent += 1
        except TransportError as error:
            away = error.status is None
            still.append(
                msgspec.structs.replace(
                    item, status=error.status, reason=error.reason, attempts=item.attempts + 1, parked_at=rfc3339(time.time_ns())
                )
            )
    store.done(still)
    return Retried(consumer.name, sent, len(still))
