"""Our OTLP encoding against the official one: equal messages, whatever is on the spans."""

from __future__ import annotations

import enum
import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans as official
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from spanline.tracing.otlp import encode_spans


class Level(enum.IntEnum):
    HIGH = 7


texts = st.text(max_size=200)
scalars = st.one_of(
    texts,
    st.booleans(),
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.floats(),
    st.none(),
    st.binary(max_size=40),
    st.just(Level.HIGH),
)
values = st.recursive(
    scalars, lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)), max_leaves=12
)
attributes = st.one_of(st.none(), st.dictionaries(st.text(min_size=1, max_size=100), values, max_size=12))
trace_ids, span_ids = st.integers(1, (1 << 128) - 1), st.integers(1, (1 << 64) - 1)
states = st.dictionaries(
    st.from_regex(r"[a-z][a-z0-9]{0,8}", fullmatch=True), st.from_regex(r"[a-zA-Z0-9]{1,20}", fullmatch=True), max_size=3
)
times = st.integers(1, (1 << 63) - 1)


@st.composite
def contexts(draw) -> SpanContext:
    return SpanContext(
        draw(trace_ids),
        draw(span_ids),
        draw(st.booleans()),
        TraceFlags(draw(st.sampled_from([0, 1, 3]))),
        TraceState(list(draw(states).items())),
    )


RESOURCES = [
    Resource({"service.name": "a"}),
    Resource({"service.name": "a"}),
    Resource({"n": 1, "l": ["x"]}, "https://schema/1"),
    Resource({}),
]
SCOPES = [None, InstrumentationScope("a"), InstrumentationScope("a"), InstrumentationScope("b", "1", "https://schema/2", {"k": True})]


@st.composite
def spans(draw) -> ReadableSpan:
    return ReadableSpan(
        name=draw(texts),
        context=draw(contexts()),
        parent=draw(st.one_of(st.none(), contexts())),
        resource=draw(st.sampled_from(RESOURCES)),
        attributes=draw(attributes),
        events=[Event(draw(texts), draw(attributes), draw(times)) for _ in range(draw(st.integers(0, 2)))],
        links=[Link(draw(contexts()), draw(attributes)) for _ in range(draw(st.integers(0, 2)))],
        kind=draw(st.sampled_from(list(SpanKind))),
        status=draw(
            st.one_of(
                st.builds(Status, st.sampled_from([StatusCode.UNSET, StatusCode.OK])), st.builds(Status, st.just(StatusCode.ERROR), texts)
            )
        ),
        start_time=draw(times),
        end_time=draw(times),
        instrumentation_scope=draw(st.sampled_from(SCOPES)),
    )


def same(batch: list[ReadableSpan]) -> None:
    theirs = ExportTraceServiceRequest.FromString(official(batch).SerializePartialToString())
    ours = ExportTraceServiceRequest.FromString(encode_spans(batch))
    # NaN is not equal to itself: the bytes of the re-encoded messages are.
    assert ours.SerializeToString(deterministic=True) == theirs.SerializeToString(deterministic=True)


@settings(max_examples=50, deadline=None)
@given(st.lists(spans(), max_size=4))
def test_any_spans_are_encoded_as_the_official_encoder_does(batch):
    same(batch)


@pytest.mark.parametrize(
    "value",
    ["\ud800", object(), 1 << 64, {"k": object()}, ["\udfff"]],
    ids=["surrogate", "object", "65 bits", "inside a map", "inside a list"],
)
def test_what_otlp_has_no_value_for_is_left_out(value, caplog):
    caplog.set_level(logging.CRITICAL, "opentelemetry")
    span = ReadableSpan(
        "s",
        SpanContext(1, 2, False),
        attributes={"bad": value, "good": "x"},
        resource=RESOURCES[0],
        start_time=1,
        end_time=2,
        instrumentation_scope=SCOPES[1],
    )
    same([span])
    assert b"good" in encode_spans([span])


def test_equal_resources_and_scopes_of_many_providers_keep_the_order_of_their_spans():
    same([
        ReadableSpan(
            "s",
            SpanContext(1, number + 1, False),
            resource=RESOURCES[number % 2],
            start_time=1,
            end_time=2,
            instrumentation_scope=SCOPES[1 + number // 2 % 2],
        )
        for number in range(8)
    ])  # fmt: skip


def test_a_cache_that_is_full_begins_again(monkeypatch):
    monkeypatch.setattr("spanline.tracing.otlp.MAX_REMEMBERED", 3)
    same(
        [
            ReadableSpan(
                "s",
                SpanContext(1, 2, False),
                attributes={f"k{n}": f"v{n}" for n in range(20)},
                resource=RESOURCES[0],
                start_time=1,
                end_time=2,
                instrumentation_scope=SCOPES[1],
            )
        ]
    )


def test_what_the_sdk_dropped_is_counted():
    kept = InMemorySpanExporter()
    provider = TracerProvider(span_limits=SpanLimits(2, 1, 1, 1, 1, 8), resource=RESOURCES[2])
    provider.add_span_processor(SimpleSpanProcessor(kept))
    with provider.get_tracer("t", "1", "https://schema/3").start_as_current_span(
        "s", links=[Link(SpanContext(1, 2, True), {"a": 1, "b": 2})]
    ) as span:
        for number in range(4):
            span.set_attribute(f"key{number}", "a text that is cut")
            span.add_event("e", {"a": 1, "b": 2})
            span.add_link(SpanContext(3, number + 1, False))
    spans = list(kept.get_finished_spans())
    same(spans)
    assert spans[0].dropped_attributes
    assert spans[0].dropped_events
    assert spans[0].dropped_links
