"""Whatever comes in, convert raises nothing: it gives valid events, or a word of what is broken."""

from __future__ import annotations

import gzip
import io
import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spanline.convert.converter import Converter
from spanline.settings import Settings
from spanline.testing.validation import validate_event
from tests.otlp_files import delimited, pairs, request, span, to_proto

IDS = st.sampled_from([f"{n:016x}" for n in range(1, 6)])
TRACES = st.sampled_from([f"{n:032x}" for n in range(1, 4)])
TEXT = st.text(max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
KEYS = st.sampled_from([
    "gen_ai.operation.name", "gen_ai.request.model", "gen_ai.response.id", "gen_ai.usage.input_tokens", "gen_ai.retrieval.documents",
    "spanline.artifacts", "spanline.operation", "openlineage.job.name", "spanline.job", "http.request.method", "http.route",
    "http.response.status_code", "error.type", "openinference.span.kind", "traceloop.span.kind", "mlflow.spanType", "event.name",
])  # fmt: skip
ATTRIBUTES = st.dictionaries(
    KEYS, st.sampled_from(["chat", "retrieval", "m", "r1", "[]", '{"a": 1}', "inference", "POST", "200"]) | VALUES, max_size=6
)
TIMES = st.integers(0, 2**64 - 1) | st.integers(10**18, 10**18 + 10**9)
SPANS = st.builds(
    lambda trace, own, parent, start, end, kind, attributes, flags, state, code: span(
        trace, own, parent, start=start, end=end, kind=kind, attributes=attributes, flags=flags, traceState=state, status={"code": code}
    ),
    TRACES, IDS, st.none() | IDS, TIMES, TIMES, st.integers(0, 7), ATTRIBUTES, st.sampled_from([0, 1, 0x100, 0x300]),
    st.sampled_from(["", "a=b", "spanline=ns/job", "spanline=bad", "spanline=a/b/c,x=y"]), st.integers(0, 2),
)  # fmt: skip
LOGS = st.builds(
    lambda trace, own, name, attributes, time: {
        "traceId": trace, "spanId": own, "eventName": name, "timeUnixNano": str(time), "attributes": pairs(attributes),
    },
    TRACES | st.just(""), IDS | st.just(""),
    st.sampled_from(["gen_ai.client.inference.operation.details", "gen_ai.evaluation.result", "gen_ai.client.operation.exception", "x"]),
    ATTRIBUTES | st.fixed_dictionaries({"gen_ai.evaluation.name": TEXT, "gen_ai.response.id": st.just("r1")}), TIMES,
)  # fmt: skip
REQUESTS = st.builds(
    lambda spans, service, logs: request(spans, service, logs), st.lists(SPANS, max_size=5), st.sampled_from(["a", "b", None]), st.lists(LOGS, max_size=4)
)  # fmt: skip

quickly = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def convert(*inputs: bytes) -> tuple[list[bytes], list[str]]:
    reasons: list[str] = []
    converter = Converter(Settings.resolve({"hash_key": "key"}, {}))
    for data in inputs:
        converter.read(io.BytesIO(data), lambda line, reason: reasons.append(reason))
    return list(converter.lines()), reasons


@quickly
@given(st.lists(REQUESTS, max_size=3))
def test_any_request_gives_valid_events_in_any_form_and_order(requests: list[dict[str, Any]]) -> None:
    lines, _ = convert(b"\n".join(json.dumps(it).encode() for it in requests))
    runs: list[str] = []
    for line in lines[:4]:  # the schemas take their time
        validate_event(line)
    for line in lines:
        event = json.loads(line)
        runs.append(f"{event['run']['runId']} {event['eventType'] == 'START'}")
    assert len(set(runs)) == len(runs)
    backwards, _ = convert(*(json.dumps(it).encode() for it in reversed(requests)))
    assert backwards == lines
    protobuf = [part for it in requests for part in to_proto(it)]
    assert convert(gzip.compress(delimited(protobuf)))[0] == lines


@quickly
@given(
    st.binary(max_size=300)
    | st.builds(
        bytes.__add__, st.sampled_from([b"{", b'{"resourceSpans":', b"\x0a\x05", b"\0\0\0\x05", b"\x1f\x8b\x08"]), st.binary(max_size=60)
    )
)
def test_any_bytes_give_a_word_or_nothing(data: bytes) -> None:
    lines, reasons = convert(data)
    assert lines == []
    assert all(reason and "\n" not in reason for reason in reasons)


@quickly
@given(REQUESTS, st.data())
def test_a_request_with_anything_in_it_changed_gives_events_or_a_word(it: dict[str, Any], data: Any) -> None:
    text = json.dumps(it)
    at = data.draw(st.integers(0, len(text) - 1))
    changed = (
        text[:at] + data.draw(st.sampled_from(["", "null", "[]", '"', "{", "-1", "\x00", "é"])) + text[at + data.draw(st.integers(0, 9)) :]
    )
    for line in convert(changed.encode())[0][:2]:
        validate_event(line)
