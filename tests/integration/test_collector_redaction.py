"""The shipped Collector configuration over recorded spans of all instrumentations: no content passes, and no fact that we read is lost."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import msgspec
import pytest

from spanline.dialects.reader import read
from tests.requirements import shared
from tests.servers import observability
from tests.servers.child import eventually
from tests.servers.observability import plain

SHIPPED = Path(__file__).resolve().parents[2] / "deploy" / "collector" / "spanline.yaml"
CONTENT = (
    "SYS-MARK", "jane.doe@example.com", "COMPL-MARK", "TMPL-MARK", "VAR-MARK", "DOCTEXT-", "Paris-ARG", "TOOLRES", "ERR-ECHO", "TOOLERR",
    "user-u123", "conv-9001",
)  # fmt: skip
"""What the recordings hold as prompts, answers, documents, arguments, error texts and people."""

pytestmark = pytest.mark.timeout(180)


def value(found: Any) -> dict[str, Any]:
    """An attribute value as OTLP JSON."""
    match found:
        case bool():
            return {"boolValue": found}
        case int():
            return {"intValue": str(found)}
        case float():
            return {"doubleValue": found}
        case list():
            return {"arrayValue": {"values": [value(entry) for entry in found]}}
        case dict():
            return {"kvlistValue": {"values": attributes(found)}}
        case None:
            return {}
    return {"stringValue": str(found)}


def attributes(found: dict[str, Any] | None) -> list[dict[str, Any]]:
    return [{"key": key, "value": value(entry)} for key, entry in (found or {}).items()]


def spans_request(document: dict[str, Any]) -> dict[str, Any]:
    spans = [
        {
            "traceId": span["trace_id"], "spanId": span["span_id"], "parentSpanId": span["parent_span_id"] or "", "name": span["name"],
            "startTimeUnixNano": str(span["start_time_unix_nano"]), "endTimeUnixNano": str(span["end_time_unix_nano"]),
            "status": {"code": {"OK": 1, "ERROR": 2}.get(span["status"]["code"], 0), "message": span["status"].get("description") or ""},
            "attributes": attributes(span["attributes"]),
            "events": [{"name": event["name"], "attributes": attributes(event["attributes"])} for event in span["events"]],
        }
        for span in document["spans"]
    ]  # fmt: skip
    return {"resourceSpans": [{"resource": {"attributes": attributes(document["resource"])}, "scopeSpans": [{"spans": spans}]}]}


def logs_request(document: dict[str, Any]) -> dict[str, Any]:
    records = [
        {
            "traceId": log["trace_id"] or "", "spanId": log["span_id"] or "", "eventName": log["event_name"] or "", "body": value(log["body"]),
            "attributes": attributes(log["attributes"]),
        }
        for log in document["logs"]
    ]  # fmt: skip
    return {"resourceLogs": [{"resource": {}, "scopeLogs": [{"logRecords": records}]}]}


@pytest.fixture(scope="module")
def passed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """All recordings, and what is left of them in the Collector's files."""
    documents = [json.loads(file.read_text()) for file in sorted(shared("corpus").glob("*/*.json"))]
    spans = [span for document in documents for span in document["spans"]]
    logs = sum(len(document["logs"]) for document in documents)
    with observability.collector(
        tmp_path_factory.mktemp("collector"), SHIPPED, JAEGER_OTLP="http://127.0.0.1:9", DECISION_WAIT="600s", KEEP_PERCENT=0
    ) as collector:
        for signal, name, make in (("traces", "resourceSpans", spans_request), ("logs", "resourceLogs", logs_request)):
            together = {name: [resource for document in documents for resource in make(document)[name]]}
            httpx.post(f"{collector.otlp_http}/v1/{signal}", json=together, timeout=60.0).raise_for_status()

        def kept(file: str, resources: str, scopes: str, entries: str) -> list[dict[str, Any]]:
            lines = collector.lines(file)
            return [
                entry for line in lines for resource in line[resources] for scope in resource[scopes] for entry in scope.get(entries, [])
            ]

        def left() -> tuple[list[dict[str, Any]], list[dict[str, Any]]] | None:
            found = (
                kept("traces.jsonl", "resourceSpans", "scopeSpans", "spans"),
                kept("logs.jsonl", "resourceLogs", "scopeLogs", "logRecords"),
            )
            return found if (len(found[0]), len(found[1])) == (len(spans), logs) else None

        found = eventually(left, 60.0, "not all spans and logs passed")
        assert found is not None
        yield SimpleNamespace(spans=spans, passed=found[0], logs=found[1], folder=collector.folder)


def test_no_content_passes(passed: SimpleNamespace) -> None:
    assert len(passed.passed) > 1000
    leaks = {
        (mark, "attribute " + entry["key"] if mark in json.dumps(entry) else "")
        for span in passed.passed
        for mark in CONTENT
        if mark in json.dumps(span)
        for entry in span.get("attributes", [])
    }
    assert leaks == set()
    for file in ("traces.jsonl", "logs.jsonl"):
        text = (passed.folder / file).read_text()
        assert [mark for mark in CONTENT if mark in text] == []


def reading(found: dict[str, Any]) -> Any:
    """What our reader takes from a span's attributes: the facts that lineage and usage are made of."""
    made = read(found, span_id="1" * 16, parent_span_id=None, started_ns=1, ended_ns=2, failed=False, service="s")
    if made is None:
        return None
    operation = msgspec.to_builtins(made.operation)
    facts = {
        name: operation.get(name)
        for name in ("kind", "name", "provider", "requestModel", "responseModel", "responseId", "usage", "parameters")
    }
    return facts, [(artifact.kind, artifact.name, artifact.version) for artifact in made.artifacts], made.guardrail


MIXED = {
    # Facts and content in one text, too deep to take apart there.
    "gen_ai.completion", "gen_ai.output.messages", "gen_ai.task.output", "haystack.component.output", "langfuse.observation.output", "output.value",
    "gen_ai.input.messages", "input.value", "langfuse.observation.input", "mlflow.spanInputs", "mlflow.spanOutputs", "request_data", "response_data",
    "traceloop.entity.input", "traceloop.entity.output", "retrieval.documents.N.document.metadata",
    # The template itself, of which a digest is made; and a person.
    "llm.prompt_template.template", "traceloop.prompt.template", "targeting_key",
}  # fmt: skip


def test_no_fact_that_is_read_is_lost_but_with_content(passed: SimpleNamespace) -> None:
    after = {(span["traceId"], span["spanId"]): plain(span.get("attributes", [])) for span in passed.passed}
    lost: dict[str, str] = {}
    for span in passed.spans:
        before = {key: entry for key, entry in span["attributes"].items() if isinstance(entry, (str, int, float, list))}
        kept = after[span["trace_id"], span["span_id"]]
        left = reading(kept)
        if left == reading(before):
            continue
        for key, entry in before.items():
            name = re.sub(r"(?<=[.])[0-9]+(?=[.]|$)", "N", key)
            if name not in MIXED and kept.get(key) != entry and reading({**kept, key: entry}) != left:
                lost[name] = f"{span['name']}: {str(entry)[:200]}"
    assert lost == {}, "add them to the list in transform/content, or here where they hold content"


def test_convert_makes_lineage_of_the_collectors_files(passed: SimpleNamespace) -> None:
    """What the file exporters wrote is what `spanline convert` takes: no line is broken, and no content comes back."""
    files = [str(passed.folder / name) for name in ("traces.jsonl", "logs.jsonl")]
    done = subprocess.run(
        [sys.executable, "-m", "spanline.cli", "convert", *files],
        check=False, capture_output=True, text=True, timeout=120, env={**os.environ, "SPANLINE_HASH_KEY": "k" * 32},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    ended = {event["run"]["runId"] for event in events if event["eventType"] != "START"}
    assert len(ended) >= len({span["trace_id"] for span in passed.spans})
    assert [mark for mark in CONTENT if mark in done.stdout] == []
