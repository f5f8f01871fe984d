"""Erasure: everything of one person, tenant or session goes, found by the keyed digest that stands for it."""

from __future__ import annotations

from sqlalchemy import select

from spanline.ledger.database import Database
from spanline.ledger.facts import term
from spanline.ledger.lookup import chunks, family, rows_by_key
from spanline.ledger.retention import BITE, delete_runs
from spanline.ledger.schema import runs, terms

WHOSE = ("subject", "tenant", "session")


def erase(database: Database, whose: str, digest: str) -> int:
    """Delete all requests of somebody, in small bites, with the runs of other services in their traces. Jobs below them stay.

    Args:
        database: The ledger's.
        whose: `subject`, `tenant` or `session`.
        digest: `hmac-sha256:<key id>:<hex>`, as the runs bear it.

    Returns:
        Runs deleted.

    Raises:
        ValueError: `whose` is none of these, or the digest is empty.
    """
    if whose not in WHOSE:
        raise ValueError(f"what is erased is of a {', '.join(WHOSE[:-1])} or {WHOSE[-1]}")
    if not digest.strip():
        raise ValueError("the digest is empty")
    key = term(whose, digest.strip())
    deleted = 0
    while True:
        with database.write() as connection:
            some = list(connection.scalars(select(terms.c.run).where(terms.c.term == key).order_by(terms.c.run).limit(BITE)))
            found = set(some)
            for row in rows_by_key(connection, some).values():
                found.update(entry.run for entry in family(connection, row))
            keys: list[int] = []
            for part in chunks(sorted(found)):
                keys += connection.scalars(select(runs.c.run).where(runs.c.run.in_(part), (runs.c.offline == 0) | runs.c.run.in_(some)))
            if not keys:
                break
            for part in chunks(keys):
                delete_runs(connection, part)
            deleted += len(keys)
    if deleted:
        database.shrink()
    return deleted
