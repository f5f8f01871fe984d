"""The local root span of every run says which run it is, so that a Collector or Grafana can link without us."""

from __future__ import annotations

from collections.abc import Callable

from spanline.api.job import job
from spanline.api.steps import tool
from tests.support import MemorySink

MakeSink = Callable[..., MemorySink]
BASE = "http://pages.test"


def told(sink: MemorySink, name: str) -> tuple[object, ...]:
    """Run id, namespace, job and URL that the span bears."""
    (span,) = sink.spans(name)
    return tuple(
        span.attributes.get(key) for key in ("openlineage.run.id", "openlineage.job.namespace", "openlineage.job.name", "spanline.run.url")
    )


def test_offline_job(make_sink: MakeSink) -> None:
    sink = make_sink(namespace="ns", base_url=BASE)
    with job("index_build"):
        pass
    record = sink.record
    assert told(sink, "svc.index_build") == (record.run_id, "ns", "svc.index_build", f"{BASE}/r/{record.trace_id}")


def test_operation_that_nobody_asked_for_over_http(make_sink: MakeSink) -> None:
    sink = make_sink(base_url=BASE)
    with tool("fee_table"):
        pass
    record = sink.record
    assert told(sink, "execute_tool fee_table") == (record.run_id, "default", record.job, f"{BASE}/r/{record.trace_id}")


def test_root_of_another_instrumentation(make_sink: MakeSink) -> None:
    sink = make_sink()
    with (
        sink.tracer.start_as_current_span("batch"),
        sink.tracer.start_as_current_span("chat m", attributes={"gen_ai.operation.name": "chat"}),
    ):
        pass
    assert told(sink, "batch") == (sink.record.run_id, "default", "svc.trace", None)
    assert told(sink, "chat m") == (None, None, None, None)


def test_second_local_root_of_a_trace_is_another_run(make_sink: MakeSink) -> None:
    sink = make_sink()
    with sink.tracer.start_as_current_span("first"), tool("a"), job("inner"):
        pass
    outer, inner = told(sink, "first")[0], told(sink, "svc.inner")[0]
    assert outer != inner
    assert {record.run_id for record in sink.records} == {outer, inner}
