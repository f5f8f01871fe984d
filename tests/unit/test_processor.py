"""The span processor: any provider, any order, bounded, unsampled traces, never raising."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased, TraceIdRatioBased

from spanline._guard import internal_errors
from spanline.api.steps import tool
from spanline.record.active import RUN_OF_SPAN, ActiveRun
from spanline.tracing.processor import LineageSpanProcessor
from spanline.tracing.sampler import LineageSampler
from tests.support import MemorySink

MakeSink = Callable[..., MemorySink]
CHAT = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "m"}


def test_spans_of_other_instrumentations_count_the_same(sink: MemorySink) -> None:
    with sink.tracer.start_as_current_span("root"):
        sink.tracer.start_span("chat m", attributes={**CHAT, "gen_ai.usage.input_tokens": 3, "gen_ai.response.id": "r"}).end()
        sink.tracer.start_span("SELECT 1", attributes={"db.system": "x"}).end()
    record = sink.record
    assert record.job == "svc.trace"
    assert [operation.dialect for operation in record.operations] == ["otel_genai"]
    assert record.usage is not None
    assert record.usage.input_tokens == 3


def test_traces_without_lineage_leave_nothing(make_sink: MakeSink) -> None:
    sink = make_sink()
    with sink.tracer.start_as_current_span("root"):
        pass
    assert sink.records == []


def test_unsampled_traces_are_recorded_and_not_exported(make_sink: MakeSink) -> None:
    sink = make_sink(LineageSampler(ALWAYS_OFF))
    with tool("x"):
        carrier_flags = trace.get_current_span().get_span_context().trace_flags
    assert carrier_flags & 1 == 0
    assert sink.record.sampled is False
    assert sink.spans() == []


def test_without_our_sampler_lineage_follows(make_sink: MakeSink) -> None:
    sink = make_sink(ALWAYS_OFF)
    with tool("x"):
        pass
    assert sink.records == []


def test_sampling_follow_leaves_unsampled_traces(make_sink: MakeSink) -> None:
    sink = make_sink(LineageSampler(ALWAYS_OFF), sampling="follow")
    with tool("x"):
        pass
    assert sink.records == []


def test_ratio_and_parent_are_kept_by_the_sampler() -> None:
    sampler = LineageSampler(ParentBased(TraceIdRatioBased(0.5)))
    assert "TraceIdRatioBased" in sampler.get_description()
    low = sampler.should_sample(None, 1, "x")
    high = sampler.should_sample(None, (1 << 128) - 1, "x")
    assert (low.decision.is_sampled(), low.decision.is_recording()) == (True, True)
    assert (high.decision.is_sampled(), high.decision.is_recording()) == (False, True)


def test_a_hundred_thousand_spans_are_bounded_and_counted(make_sink: MakeSink) -> None:
    sink = make_sink(max_spans=200)
    with sink.tracer.start_as_current_span("root"):
        for _ in range(5000):
            sink.tracer.start_span("chat", attributes=CHAT).end()
    record = sink.record
    assert len(record.operations) == 200
    assert record.operations_dropped == 4800
    assert sink.drops == {"spans": 4800}
    assert len([run for run in RUN_OF_SPAN.values() if run.sink is sink]) == 1, "only the root stays, for stragglers"


def test_a_thousand_operations_then_dropped(sink: MemorySink) -> None:
    with sink.tracer.start_as_current_span("root"):
        for _ in range(1003):
            sink.tracer.start_span("chat", attributes=CHAT).end()
    assert (len(sink.record.operations), sink.record.operations_dropped) == (1000, 3)


def test_roots_that_never_end_are_flushed_as_what_is_known(make_sink: MakeSink) -> None:
    sink = make_sink(max_traces=10)
    roots = []
    for _ in range(15):
        root = sink.tracer.start_span("root", attributes=CHAT)
        with trace.use_span(root):
            sink.tracer.start_span("chat", attributes=CHAT).end()
        roots.append(root)
    assert len(sink.processor.runs.all) == 10
    assert sink.drops == {"unfinished": 5}
    assert len(sink.records) == 5


def test_a_long_run_gets_its_start_and_a_dead_one_its_end(make_sink: MakeSink) -> None:
    sink = make_sink(start_after_s=0.0, trace_timeout_s=3600.0)
    root = sink.tracer.start_span("root")
    with trace.use_span(root):
        sink.tracer.start_span("chat", attributes=CHAT).end()
    sink.processor.sweep()
    sink.processor.sweep()
    assert len(sink.starts) == 1
    run = RUN_OF_SPAN[root.get_span_context().span_id]
    run.started_ns -= 7200 * 10**9
    sink.processor.sweep()
    assert len(sink.records) == 1
    root.end()
    assert sink.records[0].outcome == "COMPLETE"


def test_late_spans_make_one_more_record(sink: MemorySink) -> None:
    with sink.tracer.start_as_current_span("root", attributes=CHAT) as root:
        late = sink.tracer.start_span("late", attributes=CHAT)
    later = sink.tracer.start_span("later", attributes=CHAT, context=trace.set_span_in_context(root))
    late.end()
    later.end()
    sink.processor.sweep()
    assert len(sink.records) == 1, "it waits a little for more"
    sink.processor.force_flush()
    sink.processor.force_flush()
    assert [len(record.operations) for record in sink.records] == [1, 3]
    assert sink.records[1].sequence == 1


def test_runs_that_have_ended_cost_nothing_until_their_time(make_sink: MakeSink, monkeypatch: pytest.MonkeyPatch) -> None:
    """At 200 requests a second ten thousand are held; each request, and four times a second a thread, went through all of them."""
    sink = make_sink(max_traces=50)
    for _ in range(50):
        with tool("x"):
            pass
    looked: list[int] = []

    def finished(run: ActiveRun) -> bool:
        looked.append(run.span_id)
        return run.ended_ns != 0

    monkeypatch.setattr(ActiveRun, "finished", property(finished))
    with tool("x"):
        pass
    sink.processor.sweep()
    assert len(sink.processor.runs.all) == 50
    assert set(looked) <= {next(reversed(sink.processor.runs.all))}


def test_a_clock_that_is_set_back_holds_no_run(make_sink: MakeSink) -> None:
    sink = make_sink(straggler_grace_s=0.0)
    for _ in range(2):
        with tool("x"):
            pass
        next(reversed(sink.processor.runs.all.values())).ended_ns += 3600 * 10**9
    sink.processor.sweep()
    assert not sink.processor.runs.all


def test_finished_runs_are_forgotten_after_the_grace(make_sink: MakeSink) -> None:
    sink = make_sink(straggler_grace_s=0.0)
    with tool("x"):
        pass
    sink.processor.sweep()
    assert not sink.processor.runs.all
    assert not [run for run in RUN_OF_SPAN.values() if run.sink is sink]  # other tests' runs may be held still


@pytest.mark.internal_errors
def test_callbacks_never_raise(make_sink: MakeSink, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = make_sink()

    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("ours")

    monkeypatch.setattr(LineageSpanProcessor, "_begin", broken)
    with tool("x"):
        pass
    monkeypatch.undo()
    monkeypatch.setattr(MemorySink, "finish", broken)
    with tool("x"):
        pass
    assert internal_errors() == {"processor.on_start": 1, "processor.on_end": 1}


def test_two_runtimes_each_take_their_own(make_sink: MakeSink) -> None:
    first, second = make_sink(), make_sink(service="other")
    with tool("x"):
        pass
    assert (first.records, second.record.service) == ([], "other")
    run = ActiveRun(first)
    assert run.sink is first


def test_the_users_provider_without_our_generator_works(sink: MemorySink) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(LineageSpanProcessor())
    with provider.get_tracer("x").start_as_current_span("chat", attributes=CHAT):
        pass
    assert sink.record.job == "svc.chat m"


def test_usage_is_counted_once(sink: MemorySink) -> None:
    usage = {"gen_ai.usage.input_tokens": 41, "gen_ai.usage.output_tokens": 17}
    with sink.tracer.start_as_current_span(
        "agent", attributes={"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "a", **usage}
    ):
        with sink.tracer.start_as_current_span("wrapper", attributes={**CHAT, **usage}):
            with sink.tracer.start_as_current_span("native", attributes={**CHAT, **usage, "gen_ai.response.id": "r1"}):
                pass
        sink.tracer.start_span("twin", attributes={**CHAT, **usage, "gen_ai.response.id": "r1"}).end()
    record = sink.record
    assert record.usage is not None
    assert (record.usage.input_tokens, record.usage.output_tokens) == (41, 17)
    assert sum(bool(operation.rollup) for operation in record.operations) == 3
