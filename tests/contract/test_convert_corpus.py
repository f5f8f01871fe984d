"""`spanline convert` over the recorded corpus: valid events, a root run a trace, the same in every form and order, no content."""

from __future__ import annotations

import gzip
import io
import json
import random
import uuid
from pathlib import Path
from typing import Any

import pytest

from spanline.convert.converter import Converter
from spanline.settings import Settings
from spanline.testing.validation import validate_event
from tests.otlp_files import delimited, of_recording, to_proto
from tests.requirements import SHARED, shared

MARKERS = (b"SYS-MARK", b"jane.doe@example.com", b"COMPL-MARK", b"TMPL-MARK", b"VAR-MARK", b"DOCTEXT", b"Paris-ARG", b"TOOLRES", b"ERR-ECHO", b"TOOLERR", b"EVAL-EXPL", b"user-u123", b"conv-9001")  # fmt: skip
FILES = sorted((SHARED / "corpus").glob("*/*.json")) if (SHARED / "corpus").is_dir() else []


def convert(*inputs: bytes, to: str = "openlineage", **settings: Any) -> list[bytes]:
    converter = Converter(Settings.resolve({"hash_key": "key", **settings}, {}))
    for data in inputs:
        converter.read(io.BytesIO(data), lambda line, reason: pytest.fail(f"{line}: {reason}"))
    return list(converter.lines(to))


@pytest.mark.parametrize("folder", sorted({path.parent.name for path in FILES}) or ["missing"])
def test_every_recording_becomes_valid_events(folder: str) -> None:
    shared("corpus")
    for path in (path for path in FILES if path.parent.name == folder):
        request = of_recording(path)
        text = json.dumps(request).encode()
        lines = convert(text)
        for line in lines:
            validate_event(line)
            assert not [marker for marker in MARKERS if marker in line], path
        events = [json.loads(line) for line in lines]
        runs = [event["run"]["runId"] for event in events]
        traces = {span["traceId"] for group in request["resourceSpans"] for scope in group["scopeSpans"] for span in scope["spans"]}
        assert {str(uuid.UUID(trace)) for trace in traces} <= set(runs), path
        assert [event["eventType"] for event in events[::2]] == ["START"] * (len(events) // 2)
        assert runs[::2] == runs[1::2]
        assert convert(delimited(to_proto(request))) == lines, path
        records = convert(text, to="record")
        assert [json.loads(record)["runId"] for record in records] == runs[::2]
        assert not [marker for marker in MARKERS for record in records if marker in record], path


def test_forms_orders_and_pieces_make_no_difference() -> None:
    shared("corpus")
    requests = [of_recording(path) for path in random.Random(1).sample(FILES, 40)]
    lines = convert(*(json.dumps(request).encode() for request in requests))
    one = b"\n".join(json.dumps(request).encode() for request in requests)
    assert convert(one) == lines
    assert convert(gzip.compress(one)) == lines
    assert convert(json.dumps(requests, indent=2).encode()) == lines
    assert convert(*(part for request in reversed(requests) for part in to_proto(request))) == lines
    assert convert(gzip.compress(delimited(part for request in requests for part in to_proto(request)))) == lines
    scattered = [
        json.dumps({key: [{**group, scopes: [{**scope, items: [item]}]}]}).encode()
        for request in requests
        for key, scopes, items in (("resourceSpans", "scopeSpans", "spans"), ("resourceLogs", "scopeLogs", "logRecords"))
        for group in request.get(key, ())
        for scope in group[scopes]
        for item in scope[items]
    ]
    random.Random(2).shuffle(scattered)
    assert convert(b"\n".join(scattered)) == lines
    # Exported twice.
    assert convert(one, b"\n".join(line for line in one.splitlines() if b"resourceLogs" not in line)) == lines


def test_spilling_makes_no_difference() -> None:
    shared("corpus")
    data = [json.dumps(of_recording(path)).encode() for path in FILES[::7]]
    lines = convert(*data)
    converter = Converter(Settings.resolve({"hash_key": "key"}, {}), memory=20_000)
    for item in data:
        converter.read(io.BytesIO(item), lambda line, reason: pytest.fail(f"{line}: {reason}"))
    assert list(converter.lines()) == lines


def test_large_requests_in_pieces_make_no_difference() -> None:
    shared("corpus")
    from spanline.convert.source import Source

    requests = [of_recording(path) for path in FILES[::11]]
    lines = convert(*(json.dumps(request).encode() for request in requests))
    for data in (
        json.dumps(requests).encode(),
        json.dumps({key: [group for request in requests for group in request.get(key, ())] for key in ("resourceSpans", "resourceLogs")}, indent=1).encode(),
        *([b"".join(part) for part in [[part for request in requests for part in to_proto(request)]]]),
        delimited(part for request in requests for part in to_proto(request)),
    ):  # fmt: skip
        converter = Converter(Settings.resolve({"hash_key": "key"}, {}))
        converter._source = Source(converter._intake, whole=200)
        converter.read(io.BytesIO(data), lambda line, reason: pytest.fail(f"{line}: {reason}"))
        assert list(converter.lines()) == lines


@pytest.mark.parametrize("path", FILES[::60] or [Path("missing")], ids=lambda path: path.stem)
def test_cut_off_anywhere_is_reported_and_never_raised(path: Path) -> None:
    shared("corpus")
    request = of_recording(path)
    for data in (json.dumps(request).encode(), delimited(to_proto(request)), gzip.compress(json.dumps(request).encode())):
        for end in random.Random(3).sample(range(1, len(data)), min(60, len(data) - 1)):
            reasons: list[str] = []
            converter = Converter(Settings.resolve({"hash_key": "key"}, {}))
            converter.read(io.BytesIO(data[:end]), lambda line, reason, reasons=reasons: reasons.append(reason))
            for line in converter.lines():
                validate_event(line)
            assert not [marker for marker in MARKERS for reason in reasons if marker.decode() in reason]
