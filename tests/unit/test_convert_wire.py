"""Which signal a request in protobuf holds: the three have the same shape down to the single item."""

from __future__ import annotations

import io

import pytest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum, Summary
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from spanline.convert.converter import Converter
from spanline.convert.wire import signal_of_item
from spanline.settings import Settings
from tests.otlp_files import pairs, request, span, to_proto

TRACE, OWN = bytes(15) + b"\1", bytes(7) + b"\1"
SIXTEEN = "gen_ai.cpu.usage"


@pytest.mark.parametrize(
    ("item", "signal"),
    [
        (Span(trace_id=TRACE, span_id=OWN), "spans"),
        (Span(trace_id=TRACE, span_id=OWN, name="chat", attributes=[KeyValue(key="k")]), "spans"),
        (Span(trace_id=TRACE[1:], start_time_unix_nano=1), "spans"),
        (Span(kind=Span.SPAN_KIND_SERVER), "spans"),
        (Span(trace_id=TRACE[1:], status=Status(code=Status.STATUS_CODE_ERROR)), "spans"),
        (LogRecord(time_unix_nano=1), "logs"),
        (LogRecord(observed_time_unix_nano=1), "logs"),
        (LogRecord(trace_id=TRACE), "logs"),
        (LogRecord(event_name="gen_ai.evaluation.result"), "logs"),
        (LogRecord(attributes=[KeyValue(key="k")]), "logs"),
        (LogRecord(), None),
        (Metric(name=SIXTEEN, gauge=Gauge(data_points=[NumberDataPoint(as_double=1)])), "metrics"),
        (Metric(name=SIXTEEN, description="8 letters", sum=Sum(data_points=[NumberDataPoint(as_int=1)])), "metrics"),
        (Metric(name=SIXTEEN, histogram=Histogram(data_points=[HistogramDataPoint(count=1)])), "metrics"),
        (Metric(name="m", summary=Summary(), metadata=[KeyValue(key="k")]), "metrics"),
    ],
)
def test_an_item_tells_what_it_is(item: Span | LogRecord | Metric, signal: str | None) -> None:
    assert signal_of_item(item.SerializeToString()) == signal


def test_a_log_record_that_says_nothing_hides_none_of_the_others() -> None:
    event = {"eventName": "gen_ai.client.inference.operation.details", "attributes": pairs({"gen_ai.operation.name": "chat"})}
    empty = {"eventName": "", "traceId": "", "spanId": "", "attributes": []}
    logs = [empty, event, {**event, "traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "00000000000000a1"}]
    (data,) = to_proto({"resourceLogs": request([], "svc", logs)["resourceLogs"]})
    converter = Converter(Settings.resolve({"hash_key": "key"}, {}))
    converter.read(io.BytesIO(data), lambda line, reason: pytest.fail(f"{line}: {reason}"))
    assert b"0af76519-16cd-43dd-8448-eb211c80319c" in b"".join(converter.lines())


def test_metrics_pass_without_a_word() -> None:
    spans = to_proto({"resourceSpans": request([span("0af7651916cd43dd8448eb211c80319c", "00000000000000a1")])["resourceSpans"]})[0]
    metric = Metric(name=SIXTEEN, gauge=Gauge(data_points=[NumberDataPoint(as_double=1)])).SerializeToString()
    scope = b"\x12" + bytes([len(metric)]) + metric
    group = b"\x12" + bytes([len(scope)]) + scope
    converter = Converter(Settings.resolve({"hash_key": "key"}, {}))
    converter.read(io.BytesIO(b"\x0a" + bytes([len(group)]) + group + spans), lambda line, reason: pytest.fail(f"{line}: {reason}"))
    list(converter.lines())
