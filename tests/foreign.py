"""OpenLineage that other systems sent, recorded (data/openlineage), and what a ledger makes of it."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

from sqlalchemy import select

from spanline.ledger import Ledger
from spanline.ledger.schema import artifacts, derivations, edges, runs, uses
from spanline.times import parse_rfc3339
from tests.ledger_events import T0

DATA = Path(__file__).parent / "data" / "openlineage"
RECORDED = ("airflow", "dbt_artifacts", "dbt_structured_logs", "flink", "great_expectations", "spark")


def recorded(*names: str) -> list[bytes]:
    """The events of some recordings, as they were sent."""
    return [line for name in names for line in gzip.decompress((DATA / f"{name}.ndjson.gz").read_bytes()).splitlines()]


def decoded(*names: str) -> list[dict[str, Any]]:
    """The events of some recordings."""
    return [json.loads(line) for line in recorded(*names)]


def after(events: list[bytes], seconds: float) -> float:
    """Seconds from T0 to some time after the last event."""
    return (max(parse_rfc3339(json.loads(event)["eventTime"]) for event in events) - T0) / 1e9 + seconds


def rows_by_run(ledger: Ledger) -> list[object]:
    """What is known of each run, without its key: that is the time of its first event to come in."""
    with ledger._database.read() as connection:
        listed = connection.execute(select(runs)).all()
        used = connection.execute(select(edges, artifacts.c.name).join(artifacts, artifacts.c.artifact == edges.c.artifact)).all()
        derived = sorted((row.source, row.product) for row in connection.execute(select(derivations)))
        tallied = sorted((row.artifact, row.role, row.job, row.release, row.runs) for row in connection.execute(select(uses)))
    by_key = {row.run: bytes(row.run_id) for row in listed}
    return [
        sorted((bytes(row.run_id), row.status, row.started_us, row.ended_us, row.job, row.parent_id and bytes(row.parent_id), row.offline) for row in listed),
        sorted((by_key[row.run], row.name, row.role, row.evidence) for row in used),
        derived,
        tallied,
    ]  # fmt: skip
