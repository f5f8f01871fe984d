"""Given: many keys, or a small table, as one parameter of a statement, which then reads the same whatever their number and is prepared once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import BigInteger, ColumnElement, Connection, FromClause, Text, bindparam, cast, column, func, literal_column, select
from sqlalchemy.dialects.postgresql import ARRAY, JSON

_encode = msgspec.json.Encoder().encode


def among(dialect: str, what: ColumnElement[int], name: str) -> ColumnElement[bool]:
    """Whether a column is one of the keys of a parameter, which is made by `keys_text`.

    Args:
        dialect: `sqlite` or `postgresql`.
        what: A column of keys.
        name: Of the parameter.
    """
    text = bindparam(name, type_=Text)
    if dialect == "sqlite":
        return what.in_(select(func.json_each(text).table_valued("value").c.value))
    return what == func.any(cast(text, ARRAY(BigInteger)))


def keys_text(dialect: str, keys: Iterable[int]) -> str:
    """The parameter of `among`."""
    listed = ",".join(map(str, keys))
    return f"[{listed}]" if dialect == "sqlite" else f"{{{listed}}}"


def given(dialect: str, parameter: str, /, **columns: Any) -> FromClause:
    """A table that is a parameter, made by `rows_text`.

    Args:
        dialect: `sqlite` or `postgresql`.
        parameter: Its name.
        columns: Names and types (SQLAlchemy's).
    """
    text = bindparam(parameter, type_=Text)
    if dialect == "sqlite":
        value = func.json_each(text).table_valued("value").c.value
        return select(
            *(func.json_extract(value, literal_column(f"'$.{key}'"), type_=kind).label(key) for key, kind in columns.items())
        ).subquery()
    rows = func.json_to_recordset(cast(text, JSON)).table_valued(*(column(key, kind) for key, kind in columns.items()))
    return rows.render_derived(name=f"given_{parameter}", with_types=True)


def rows_of(connection: Connection, statement: Any, parameters: Mapping[str, Any] | None = None) -> Iterable[Any]:
    """What a statement of several columns answers, whose types are not followed any further."""
    found: Any = connection.execute(statement, parameters)
    return found


def rows_text(rows: Sequence[Any]) -> str:
    """The parameter of `given`: dictionaries, or structs with the columns as fields."""
    return _encode(rows).decode()
