"""A runtime's place holder for unit tests: takes records instead of journalling them. No I/O."""

from __future__ import annotations

from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from spanline.identity import UrandomIdGenerator
from spanline.record.active import ActiveRun
from spanline.record.run import RunRecord
from spanline.settings import Settings
from spanline.tracing.processor import LineageSpanProcessor
from spanline.tracing.record import record_of


class MemorySink:
    """Takes finished runs as records. It stands for the runtime; journal, metrics and pages are not there."""

    def __init__(self, sampler: Any = None, **settings: Any) -> None:
        self.settings = Settings.resolve({"service": "svc", **settings}, {})
        self.exporter = InMemorySpanExporter()
        self.processor = LineageSpanProcessor()
        self.provider = TracerProvider(id_generator=UrandomIdGenerator(), sampler=sampler, shutdown_on_exit=False)
        self.provider.add_span_processor(self.processor)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer: trace.Tracer = self.provider.get_tracer("test")
        self.records: list[RunRecord] = []
        self.starts: list[RunRecord] = []
        self.drops: dict[str, int] = {}
        self.flying = 0

    def digest(self, value: str) -> str:
        return f"hmac-sha256:test:{len(value)}"

    def finish(self, run: ActiveRun) -> None:
        if run.has_lineage() or self.settings.record == "all":
            self.records.append(self._record(run))

    def started(self, run: ActiveRun) -> None:
        self.starts.append(self._record(run))

    def _record(self, run: ActiveRun) -> RunRecord:
        return record_of(run, release=None, environment=None, base_url=self.settings.base_url)

    def dropped(self, reason: str, amount: int = 1) -> None:
        self.drops[reason] = self.drops.get(reason, 0) + amount

    def in_flight(self, delta: int) -> None:
        self.flying += delta

    def page(self, scope: Any) -> None:
        return None

    def begin(self) -> None:
        return None

    def close(self, timeout_s: float = 5.0) -> bool:
        return True

    @property
    def record(self) -> RunRecord:
        """The only record."""
        assert len(self.records) == 1, [record.job for record in self.records]
        return self.records[0]

    def spans(self, name: str | None = None) -> list[Any]:
        """Exported spans."""
        return [span for span in self.exporter.get_finished_spans() if name is None or span.name == name]
