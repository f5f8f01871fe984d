"""Events as they came in, from the ledger: for a replay of what the journal has no more."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import select
from sqlalchemy.engine import Connection

from spanline._guard import warn_once_a_minute
from spanline.ledger.codec import unpack
from spanline.ledger.schema import dictionaries, events

_CHUNK = 200


def originals(connection: Connection, since_us: int, until_us: int) -> Iterator[bytes]:
    """The bytes of each event whose time lies in `since_us <= time < until_us`, by time. Reads the whole table once.

    Args:
        connection: For reading.
        since_us: Unix microseconds.
        until_us: Unix microseconds.
    """
    wanted = select(events.c.run, events.c.hash).where(events.c.event_us >= since_us, events.c.event_us < until_us)
    keys = [(run, key) for run, key in connection.execute(wanted.order_by(events.c.event_us, events.c.run))]
    texts: dict[int, bytes] = {}
    for start in range(0, len(keys), _CHUNK):
        some = keys[start : start + _CHUNK]
        bodies = {
            (run, key): (dictionary, bytes(body))
            for run, key, dictionary, body in connection.execute(
                select(events.c.run, events.c.hash, events.c.dictionary, events.c.body).where(events.c.run.in_({run for run, _ in some}))
            )
        }
        for each in some:
            dictionary, body = bodies.get(each, (None, b""))
            if not body:
                continue  # It was deleted meanwhile.
            if dictionary is not None and dictionary not in texts:
                stored = connection.scalar(select(dictionaries.c.body).where(dictionaries.c.dictionary == dictionary))
                texts[dictionary] = unpack(bytes(stored)) if stored is not None else b""
            try:
                yield unpack(body, texts[dictionary] if dictionary is not None else None)
            except ValueError as error:
                warn_once_a_minute("ledger.event", "spanline: %s; it is left out", error)
