"""Plans: what the ledger asks the database, and whether that reads more of a table than an index leads to."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, event
from sqlalchemy.engine import Engine

Asked = list[tuple[str, Any]]
"""Statements, each with its parameters."""

# An index of nothing else, read in its order; and what the statement itself made.
_FINE = (
    "runs_in_conflict", "runs_with_gaps", "labels_in_conflict", "SCAN (subquery", "SCAN anon", "CONSTANT ROW",
    "VIRTUAL TABLE",
)  # fmt: skip


@contextmanager
def listening() -> Iterator[Asked]:
    """Every statement that is executed, with its parameters."""
    asked: Asked = []

    def listen(_connection: object, _cursor: object, statement: str, parameters: Any, _context: object, many: bool) -> None:
        asked.append((statement, parameters[0] if many or isinstance(parameters, list) else parameters))

    event.listen(Engine, "before_cursor_execute", listen)
    try:
        yield asked
    finally:
        event.remove(Engine, "before_cursor_execute", listen)


def scans(connection: Connection, asked: Iterable[tuple[str, Any]], *, small: Collection[str] | None = None) -> list[tuple[str, str]]:
    """`(what is read whole, statement)` of the questions among some statements.

    Args:
        connection: Of the ledger.
        asked: From `listening`.
        small: Tables that may be read whole, as they have few rows; None: none may, and PostgreSQL is told to do so only where there is no index.
    """
    questions = [(statement, parameters) for statement, parameters in asked if statement.startswith("SELECT") and "FROM" in statement]
    if connection.dialect.name == "sqlite":
        return [(plan, statement) for statement, parameters in questions for plan in _of_sqlite(connection, statement, parameters)]
    found: list[tuple[str, str]] = []
    if small is None:
        # Tables of a few rows are read whole by a wise planner: a plan that does so now has no index to go by.
        # So is one that joins them whole.
        for way in ("seqscan", "hashjoin", "mergejoin", "material"):
            connection.exec_driver_sql(f"SET LOCAL enable_{way} = off")
    for statement, parameters in questions:
        plan = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters).scalar_one()
        plan = json.loads(plan) if isinstance(plan, str) else plan
        found += [(reads, statement) for reads in _of_postgresql(plan[0]["Plan"], small or (), bounded=False)]
    return found


def _of_sqlite(connection: Connection, statement: str, parameters: Any) -> Iterator[str]:
    for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters):
        plan = str(row[3])
        if plan.startswith("SCAN") and not any(word in plan for word in _FINE) and not ("LIMIT" in statement and "USING" in plan):
            yield plan


def _of_postgresql(node: dict[str, Any], small: Collection[str], *, bounded: bool) -> Iterator[str]:
    kind, bounded = node["Node Type"], bounded or node["Node Type"] == "Limit"
    if kind == "Seq Scan" and node["Relation Name"] not in small:
        yield f"Seq Scan on {node['Relation Name']}"
    if kind in ("Index Scan", "Index Only Scan", "Bitmap Index Scan") and "Index Cond" not in node and not bounded:
        yield f"all of {node['Index Name']}"
    for child in node.get("Plans", ()):
        # What is sorted or gathered is read to its end, limit or not.
        yield from _of_postgresql(child, small, bounded=bounded and kind not in ("Sort", "HashAggregate", "Hash"))
