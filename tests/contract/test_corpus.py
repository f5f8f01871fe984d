"""Every recording of the corpus, read, assembled and encoded: the truth of its scenario, and nothing that must not leave."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from spanline.dialects.registry import registry
from spanline.lineage.events import terminal_event
from spanline.record.run import RunRecord
from spanline.testing.validation import validate_event
from tests.corpus import GAPS, MARKERS, gap_of, reading_of, recordings, records, truth_of, verdicts
from tests.dialect_page import PAGE, page

BASE = "https://spanline.example/schemas"


def event_of(record: RunRecord) -> bytes:
    return terminal_event(record, producer="https://spanline.example", schema_base=BASE)


def test_every_recording_is_there() -> None:
    assert len(recordings()) == 572
    assert sum(len(recording["spans"]) for recording in recordings().values()) == 1227


def test_the_truth_of_every_scenario_is_in_the_record() -> None:
    wrong = [
        f"{verdict.recording}: {verdict.fact}: {verdict.got}"
        for verdict in verdicts()
        if verdict.got is not None and gap_of(verdict) is None
    ]
    assert wrong == []


def test_every_gap_is_one() -> None:
    missing = [verdict for verdict in verdicts() if verdict.got is not None]
    assert [gap for gap in GAPS if not any(gap.covers(verdict) for verdict in missing)] == []
    for gap in GAPS:
        for fact in gap.facts:
            assert any(verdict.fact == fact and gap.covers(verdict) for verdict in missing), (gap.instrumentation, fact)


@pytest.mark.parametrize("folder", sorted({name.partition("/")[0] for name in recordings()}))
def test_events_are_valid_and_hold_no_content(folder: str) -> None:
    for name, recording in recordings().items():
        if not name.startswith(f"{folder}/"):
            continue
        for record in records(recording):
            line = event_of(record)
            held = [marker for marker in MARKERS if marker.encode() in line or marker in repr(record)]
            assert held == [], name
            validate_event(line)


def test_every_operation_is_kept() -> None:
    for name, recording in recordings().items():
        read = [reading for span in recording["spans"] if (reading := reading_of(span)) is not None]
        assert sum(len(record.operations) for record in records(recording)) == len(read), name


def test_rollups_and_counted_operations_agree_with_the_usage() -> None:
    for name, recording in recordings().items():
        for record in records(recording):
            counted = [operation.usage for operation in record.operations if operation.usage is not None and not operation.rollup]
            total = sum((usage.input_tokens or 0) + (usage.embedding_input_tokens or 0) for usage in counted)
            held = (record.usage.input_tokens or 0) + (record.usage.embedding_input_tokens or 0) if record.usage is not None else 0
            assert total == held, name


def test_spans_with_models_in_them_are_known() -> None:
    """What no dialect knows is plumbing: HTTP clients, and workflow steps without a kind."""
    unknown = {
        (span["scope"]["name"], name.partition("/")[0])
        for name, recording in recordings().items()
        for span in recording["spans"]
        if reading_of(span) is None
    }
    assert {scope for scope, _ in unknown} <= {
        "opentelemetry.instrumentation.httpx", "llamaindex.opentelemetry.tracer", "logfire", "openlit", "litellm",
    }  # fmt: skip


def test_every_row_is_seen_or_marked() -> None:
    """A row that no recording fills says that it is documented only, and one that says so is not filled."""
    seen: set[tuple[str, str, str]] = set()
    for recording in recordings().values():
        for span in recording["spans"]:
            dialect = registry().dialect_of(span["attributes"], span["scope"]["name"])
            if dialect is not None:
                seen |= rows_hit(dialect.rows, {**span["attributes"], "S:name": span["name"]})
                for event in span["events"]:
                    table = dialect.events.get(event["name"])
                    if table is not None:
                        seen |= rows_hit(table.table.rows, event.get("attributes") or {})
    for dialect in registry().dialects:
        tables = [dialect.rows, *(table.table.rows for table in dialect.events.values())]
        for row in {row for rows in tables for row in rows}:
            hit = (row.field, row.keys[0], row.path) in seen
            assert hit or row.documented or row.source == "spanline", (dialect.name, row)


def rows_hit(rows: Any, attributes: dict[str, Any]) -> set[tuple[str, str, str]]:
    from spanline.dialects.table import Dialect

    found: set[tuple[str, str, str]] = set()
    for row in rows:
        kinds = ("inference", "embedding", "retrieval", "rerank", "tool", "agent", "workflow", "prompt", "guardrail", "other")
        for kind in row.kinds[:1] or kinds[:1]:
            fields = Dialect("row", markers=(), rows=(row,), kind=kind).coerced(attributes)
            values = msgspec.structs.asdict(fields)
            values.pop("kind", None)
            if any(value is not None for value in values.values()):
                found.add((row.field, row.keys[0], row.path))
    return found


def test_truths_name_scenarios_that_exist() -> None:
    scenarios = {name.partition("/")[2].partition("@")[0] for name in recordings()}
    assert sum(truth_of(scenario) is not None for scenario in scenarios) > 90


def test_the_page_of_dialects_is_as_generated() -> None:
    assert PAGE.read_text("utf-8") == page(), "run `make corpus`"
