"""Bulk: rows of many tables written at once. PostgreSQL gets one statement, one way there and back, whatever their number."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, LargeBinary, Text, bindparam, case, func, insert, literal_column, select, update
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import Table

from spanline.ledger.database import inserting
from spanline.ledger.given import given, rows_text
from spanline.ledger.schema import artifacts, conflicts, derivations, edges, evaluations, events, jobs, releases, runs, terms, uses

Row = dict[str, Any]


def write_all(connection: Connection, rows: Mapping[str, Sequence[Row]]) -> None:
    """Write rows.

    Args:
        connection: The writer's transaction.
        rows: By what is to be done with them, the keys of `WRITES`; each in an order that is the same everywhere, so that two hosts cannot wait
            for each other.
    """
    names = tuple(name for name in WRITES if rows.get(name))
    if not names:
        return
    if connection.dialect.name == "sqlite":
        for name in names:
            # SQLAlchemy makes the text, once; laid out by it, rows took a third of all that an event costs here.
            statement, columns = _one_by_one(name)
            connection.exec_driver_sql(statement, [tuple(map(row.__getitem__, columns)) for row in rows[name]])
        return
    connection.execute(_together(names), {name: rows_text(rows[name]) for name in names})


@cache
def _one_by_one(name: str) -> tuple[str, tuple[str, ...]]:
    """The statement for SQLite, and the columns that its parameters are, in their order."""
    table, conflict = WRITES[name]
    if name == "again":
        values: Row = {key: bindparam(f"b_{key}") for key in _CHANGING}
        statement: Any = update(runs).where(runs.c.run == bindparam("b_run")).values(values)
    else:
        statement = insert(table) if conflict is None else conflict(inserting("sqlite")(table))
    compiled = statement.compile(dialect=sqlite.dialect())
    return str(compiled), tuple(parameter.removeprefix("b_") for parameter in compiled.positiontup)


@cache
def _together(names: tuple[str, ...]) -> Any:
    """Statements within one statement: they all see what was there before it, and no two of them touch one table's rows twice."""
    one: ColumnElement[int] = literal_column("1")
    statement: Any = select(one)
    return statement.add_cte(*(_from_given(name).cte(f"write_{name}") for name in names))


def _from_given(name: str) -> Any:
    table, conflict = WRITES[name]
    columns = [column for column in table.columns if name != "again" or column.name == "run" or column.name in _CHANGING]
    # Bytes come as base64.
    kinds = {column.name: Text if isinstance(column.type, LargeBinary) else column.type for column in columns}
    rows = given("postgresql", name, **kinds)
    values = {
        column.name: func.decode(rows.c[column.name], literal_column("'base64'"))
        if isinstance(column.type, LargeBinary)
        else rows.c[column.name]
        for column in columns
    }
    if name == "again":
        return update(runs).where(runs.c.run == values.pop("run")).values(values)
    statement = inserting("postgresql")(table).from_select(list(values), select(*values.values()))
    return statement if conflict is None else conflict(statement)


def _kept(statement: Any) -> Any:
    return statement.on_conflict_do_nothing()


def _said(statement: Any) -> Any:
    # What a job is (offline or not) may be said later than its name.
    said = statement.excluded.offline
    return statement.on_conflict_do_update(index_elements=[jobs.c.job], set_={"offline": said}, where=said.isnot(None))


def _judged(statement: Any) -> Any:
    # A later event of the run may say of which release it was.
    new = statement.excluded
    keys = [evaluations.c.run, evaluations.c.evaluation]
    other = evaluations.c.job.is_distinct_from(new.job) | evaluations.c.release.is_distinct_from(new.release)
    return statement.on_conflict_do_update(index_elements=keys, set_={"job": new.job, "release": new.release}, where=other)


def _seen_again(statement: Any) -> Any:
    new = statement.excluded
    return statement.on_conflict_do_update(
        index_elements=[edges.c.run, edges.c.artifact, edges.c.role],
        set_={"evidence": new.evidence, "top_k": new.top_k, "hits": new.hits},
    )


def _counted(statement: Any) -> Any:
    new = statement.excluded
    # What was deleted changes no first and last: they say when it was used, also when the runs have gone.
    return statement.on_conflict_do_update(
        index_elements=[uses.c.artifact, uses.c.role, uses.c.job, uses.c.release],
        set_={"runs": uses.c.runs + new.runs, **_first_and_last(uses, new)},
    )


def _derived(statement: Any) -> Any:
    new = statement.excluded
    return statement.on_conflict_do_update(
        index_elements=[derivations.c.source, derivations.c.product],
        set_=_first_and_last(derivations, new),
        where=(new.first_run < derivations.c.first_run) | (new.last_run > derivations.c.last_run),
    )


def _first_and_last(table: Table, new: Any) -> Row:
    return {
        "first_run": case((new.first_run < table.c.first_run, new.first_run), else_=table.c.first_run),
        "last_run": case((new.last_run > table.c.last_run, new.last_run), else_=table.c.last_run),
    }


_CHANGING = (
    "trace_id",
    "parent_id",
    "job",
    "release",
    "status",
    "started_us",
    "ended_us",
    "offline",
    "conflicts",
    "blocked",
    "gaps",
    "tags",
)
"""Columns of a run that later events change."""

WRITES: Mapping[str, tuple[Table, Callable[[Any], Any] | None]] = {
    "jobs": (jobs, _said),
    "releases": (releases, _kept),
    "artifacts": (artifacts, _kept),
    "runs": (runs, None),
    "again": (runs, None),
    "events": (events, None),
    "edges": (edges, _seen_again),
    "conflicts": (conflicts, None),
    "terms": (terms, _kept),
    "evaluations": (evaluations, _judged),
    "uses": (uses, _counted),
    "derivations": (derivations, _derived),
}
"""What rows are for, in the order of writing: rows of a table, but for `again`, which are runs that are there and told something new."""
