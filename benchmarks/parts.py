"""Single parts beside the official ones, in instructions: an event built and encoded, spans encoded, an event delivered.

`python -m benchmarks parts` runs this module's `main` in measured processes.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from benchmarks import callgrind, workload
from benchmarks.apps import VARIANTS
from benchmarks.sink import stats

EVENTS, SPANS, DELIVERED = 40, 40, 200
"""How much is done under instrumentation: events built, requests of four spans encoded, events delivered."""


@dataclass(frozen=True)
class Part:
    """One row: what is done, and instructions each of ours and of theirs."""

    name: str
    text: str
    ours: float
    theirs: float
    goal: float

    @property
    def ratio(self) -> float:
        """How many times theirs costs of ours."""
        return self.theirs / self.ours


def measure(sink: str, keep: Path | None = None) -> list[Part]:
    """All parts, against a running sink.

    Raises:
        BenchmarkError: A process failed; a part is not equal to its comparator.
    """
    found: dict[str, float] = {}
    for mode in ("build", "relay", "client"):
        with tempfile.TemporaryDirectory(prefix="spanline-bench-") as folder:
            more = {"SPANLINE_RELAY": "off", "OTEL_TRACES_EXPORTER": "none"}
            environment = callgrind.environment(sink, Path(folder), more)
            out = keep / mode if keep else Path(folder) / "callgrind"
            counts, _ = callgrind.count(["benchmarks.parts", mode, str(callgrind.shim()), sink], environment, out)
            for each in counts:
                label = each.label if each.main else f"{mode}.others"
                found[label] = found.get(label, 0.0) + each.instructions
    delivered = found["relay"] + found.get("relay.others", 0.0), found["client"]
    return [
        Part("event", "event: build and encode / openlineage-python (attrs and Serde)", found["event.ours"] / EVENTS, found["event.theirs"] / EVENTS, 50),
        Part("otlp", "OTLP: encode four spans / opentelemetry-exporter-otlp-proto-common", found["otlp.ours"] / SPANS, found["otlp.theirs"] / SPANS, 5),
        Part("delivery", "delivery: journal to POST, one event each / OpenLineageClient over http", delivered[0] / DELIVERED, delivered[1] / DELIVERED, 30),
    ]  # fmt: skip


def table(parts: Sequence[Part]) -> str:
    """The parts as a markdown table."""
    rows = ["| part | ours kI | theirs kI | theirs / ours | goal |", "| --- | ---: | ---: | ---: | ---: |"]
    rows += [f"| {part.text} | {part.ours / 1e3:,.1f} | {part.theirs / 1e3:,.1f} | {part.ratio:.1f} | {part.goal:.0f} |" for part in parts]
    return "\n".join(rows)


# In the measured process -----------------------------------------------------------------------------------------------------


class _Meter:
    """Counts between marks."""

    def __init__(self, path: str) -> None:
        self._shim = ctypes.CDLL(path)

    def each(self, label: str, function: Callable[[Any], object], items: Iterable[Any]) -> None:
        """Call the function with every item."""
        listed = list(items)
        self._shim.bench_start()
        for item in listed:
            function(item)
        self._shim.bench_dump(label.encode())
        self._shim.bench_stop()


def _recorded(count: int) -> tuple[list[Any], list[Any]]:
    """Run the benchmark's endpoint: the records of its runs, and their spans as lists of four."""
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from spanline.record.active import SINKS
    from spanline.runtime.runtime import Runtime

    records: list[Any] = []
    write = Runtime._write
    Runtime._write = lambda self, record: (records.append(record), write(self, record))[1]
    app = VARIANTS["S"].build().app
    memory = InMemorySpanExporter()
    SINKS[-1]._provider.add_span_processor(SimpleSpanProcessor(memory))
    asyncio.run(workload.drive(app, count))
    spans = memory.get_finished_spans()
    return records, [spans[first : first + 4] for first in range(0, len(spans), 4)]


def _bare(value: Any) -> Any:
    """An event without what says who made it, and without empty objects, for comparison."""
    if isinstance(value, dict):
        kept = {key: _bare(each) for key, each in value.items() if key not in {"_producer", "producer", "_schemaURL", "schemaURL"}}
        return {key: each for key, each in kept.items() if each != {}}
    return [_bare(each) for each in value] if isinstance(value, list) else value


def _build(meter: _Meter) -> None:
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans as official
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    from benchmarks.official import encoded
    from spanline.lineage.events import terminal_event
    from spanline.lineage.producer import PRODUCER
    from spanline.record.active import SINKS
    from spanline.tracing.otlp import encode_spans

    records, spans = _recorded(2 * EVENTS)
    base = SINKS[-1].settings.schema_base

    def ours(record: Any) -> bytes:
        return terminal_event(record, producer=PRODUCER, schema_base=base)

    one, other = (_bare(json.loads(build(records[0]))) for build in (ours, encoded))
    assert one == other, f"not the same event:\n{one}\n{other}"
    for name, build in (("event.ours", ours), ("event.theirs", encoded)):
        for record in records[:EVENTS]:
            build(record)
        meter.each(name, build, records[EVENTS:])

    # As a batch processor hands them out: all at once.
    warm, batch = ([span for four in part for span in four] for part in (spans[:SPANS], spans[SPANS:]))
    mine = ExportTraceServiceRequest.FromString(encode_spans(batch))
    assert mine == ExportTraceServiceRequest.FromString(official(batch).SerializeToString()), "not the same spans"
    for name, encode in (("otlp.ours", encode_spans), ("otlp.theirs", lambda found: official(found).SerializeToString())):
        encode(warm)
        meter.each(name, encode, [batch])


def _relay(meter: _Meter, sink: str) -> None:
    """From a journal to the sink, as they were journalled, an event a request."""
    from spanline.journal.writer import JournalWriter
    from spanline.record.active import SINKS
    from spanline.relay.consumer import TransportConsumer
    from spanline.relay.relay import Relay
    from spanline.transports.http import HttpTransport

    _recorded(40)
    journal = SINKS[-1].settings.journal_dir
    lines = [line for path in journal.glob("*.ndjson") for line in path.read_bytes().splitlines()]
    folder = SINKS[-1].settings.base / "delivery"
    writer = JournalWriter(folder)
    for line in lines:
        writer.write(line)

    def relay() -> Relay:
        return Relay(folder, [TransportConsumer("sink", HttpTransport(sink), {"preset": "spanline", "batch": "none"})])

    warm = relay()
    assert warm.flush(60.0)
    warm.close(10.0)
    for line in islice(cycle(lines), DELIVERED):
        writer.write(line)
    before = stats(sink)["posted"]
    meter.each("relay", lambda found: found.flush(300.0), [relay()])
    assert stats(sink)["posted"] - before == DELIVERED


def _client(meter: _Meter, sink: str) -> None:
    """The official client: build the event, emit it."""
    from openlineage.client import OpenLineageClient

    from benchmarks.official import event

    records, _ = _recorded(40)
    client = OpenLineageClient(url=sink)
    for record in records:
        client.emit(event(record))
    before = stats(sink)["posted"]
    meter.each("client", lambda record: client.emit(event(record)), islice(cycle(records), DELIVERED))
    assert stats(sink)["posted"] - before == DELIVERED


def main(mode: str, shim: str, sink: str) -> None:
    """One measured process."""
    warnings.simplefilter("ignore")
    meter = _Meter(shim)
    if mode == "build":
        _build(meter)
    elif mode == "relay":
        _relay(meter, sink)
    else:
        _client(meter, sink)
    print("done", flush=True)
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
