"""Tables of PostgreSQL with pgvector, read just enough to name them: version and digest. Does not import psycopg."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, cast

import msgspec

from spanline.errors import ConfigurationError
from spanline.record.content import Read, labelled

MAX_BYTES = 4 << 30
"""A table of more data is not read for its digest. Unit: bytes on disk, indexes aside."""

# What a value looks like as text depends on the session.
_SESSION = (
    "SET LOCAL timezone = 'UTC'; SET LOCAL extra_float_digits = 1; SET LOCAL bytea_output = 'hex'; SET LOCAL intervalstyle = 'iso_8601'"
)
# Columns that PostgreSQL fills by itself tell when and in which order rows came, not what they hold.
_COLUMNS = """
SELECT a.attname, (a.attidentity <> '' OR coalesce(pg_get_expr(d.adbin, d.adrelid), '')
       ~* '(nextval|now|timestamp|current_date|random|uuid)') AND a.attgenerated = '', format_type(a.atttypid, a.atttypmod)
FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = %s::oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attname
"""
# All of it is done by the server: 64 characters come back.
_DIGEST = """
SELECT count(*), encode(sha256(convert_to(%s, 'UTF8') || coalesce(string_agg(r, ''::bytea ORDER BY r), ''::bytea)), 'hex')
FROM (SELECT sha256(convert_to(jsonb_build_array({columns})::text, 'UTF8')) AS r FROM {table}) AS rows
"""


def describe(connection: Any, table: str, columns: Sequence[str] | None) -> Read:
    """Name, version (of the table's comment, a JSON object) and digest of a table, view or partitioned table.

    Args:
        connection: Of psycopg 3. A transaction that is open stays open, and sees what it has written.
        table: `table` or `schema.table`, as in SQL.
        columns: What counts; all that PostgreSQL does not fill by itself, unless given.

    Raises:
        ConfigurationError: Another connection, an asynchronous one, or there is no such table or column.
    """
    transaction = getattr(connection, "transaction", None)
    if not callable(transaction) or not hasattr(connection, "cursor"):
        raise ConfigurationError(f"Index.from_pgvector: expected a psycopg connection, got {type(connection).__name__}")
    if inspect.iscoroutinefunction(getattr(connection, "execute", None)):
        raise ConfigurationError("Index.from_pgvector: an asynchronous connection; open one with psycopg.connect() for this")
    # Rolled back, so that nothing of it stays: not the settings, nor a transaction that was not open.
    with cast(Any, transaction)(force_rollback=True):
        found = _rows(connection, "SELECT to_regclass(%s)::oid, to_regclass(%s)::text", [table, table])[0]
        if found[0] is None:
            raise ConfigurationError(f"Index.from_pgvector: there is no table {table!r}")
        oid, quoted = found
        connection.execute(_SESSION)
        comment, relname, size = _rows(
            connection,
            "SELECT obj_description(c.oid, 'pg_class'), c.relname, pg_table_size(c.oid) FROM pg_class c WHERE c.oid = %s::oid",
            [oid],
        )[0]
        version, stage = labelled(_label(comment))
        known = _rows(connection, _COLUMNS, [oid])
        if columns is None:
            taken = [(name, kind) for name, filled, kind in known if not filled]
        else:
            taken = [(name, kind) for name, _, kind in known if name in set(columns)]
            missing = sorted(set(columns) - {name for name, _ in taken})
            if missing:
                raise ConfigurationError(f"Index.from_pgvector: {table} has no column {', '.join(missing)}")
        digest = _digest(connection, str(quoted), taken) if int(size) <= MAX_BYTES else None
    return Read(str(relname), version, stage, digest)


def _digest(connection: Any, quoted: str, columns: list[tuple[str, str]]) -> str | None:
    """Of the sorted SHA-256 of each row."""
    if not columns:
        return None
    names = ", ".join('"' + name.replace('"', '""').replace("%", "%%") + '"' for name, _ in columns)
    head = msgspec.json.encode(columns).decode()
    _, digest = _rows(connection, _DIGEST.format(columns=names, table=quoted.replace("%", "%%")), [head])[0]
    return f"sha256:{digest}"


def _rows(connection: Any, statement: str, values: list[Any]) -> list[Any]:
    # A cursor of its own: rows may be made otherwise on the user's connection.
    with connection.cursor(row_factory=_tuples) as cursor:
        return cast("list[Any]", cursor.execute(statement, values).fetchall())


def _tuples(_cursor: Any) -> Any:
    return tuple


def _label(comment: Any) -> Any:
    try:
        facts: Any = msgspec.json.decode(comment) if isinstance(comment, str) else None
    except msgspec.MsgspecError:
        return None
    return cast("dict[str, Any]", facts).get("version") if isinstance(facts, dict) else None
