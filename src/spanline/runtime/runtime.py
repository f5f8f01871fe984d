"""Runtime: what `configure()` makes: it takes finished runs, measures, journals and delivers them."""

from __future__ import annotations

import atexit
import os
import time
from typing import TYPE_CHECKING, Any, Self

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from spanline._guard import guard, logger, on_internal_error, report, set_strict
from spanline.api.job import parent_id_from_environment
from spanline.asgi.types import ASGIApp, Scope
from spanline.errors import ConfigurationError
from spanline.journal.writer import JournalWriter
from spanline.lineage.events import start_event, terminal_event
from spanline.lineage.producer import PRODUCER
from spanline.record.active import SINKS, ActiveRun
from spanline.record.digest import keyed_digest, load_or_make_key
from spanline.record.labels import Labels
from spanline.record.release import discover_release
from spanline.record.run import Evaluation, RunRecord
from spanline.relay.measure import DeliveryHealth
from spanline.relay.relay import Relay
from spanline.runtime.delivery import LedgerHolder, relay_of, relay_process_of
from spanline.runtime.evaluations import LateEvaluations
from spanline.runtime.jobs import KnownJobs
from spanline.runtime.pages import Pages
from spanline.runtime.ticker import Ticker
from spanline.runtime.tracing import attach_logs, export_within, set_up
from spanline.runtime.workers import Alone
from spanline.settings import Settings, slug
from spanline.tracing.processor import LineageSpanProcessor
from spanline.tracing.record import record_of
from spanline.version import VERSION

if TYPE_CHECKING:
    from spanline.runtime.relay_process import RelayProcess


class Runtime:
    """A configured spanline. Made by `configure()` or `instrument()`.

    Thread-safety: all methods may be called from any thread. Fork: a child journals into a segment of its own and relays for itself.
    """

    def __init__(self, settings: Settings, *, tracer_provider: TracerProvider | None = None, registry: Any = None, app: Any = None) -> None:
        self.settings = settings
        self.tracer: trace.Tracer = trace.NoOpTracer()
        self.metrics: Any = None
        self.processor: LineageSpanProcessor | None = None
        self.ledgers = LedgerHolder(settings)
        self.relay: Relay | RelayProcess | None = None
        self._closed = settings.disabled
        self._journal: JournalWriter | None = None
        self._jobs = KnownJobs()
        self._provider: TracerProvider | None = None
        self._parent = parent_id_from_environment(settings)
        self._ticker = Ticker(self._tick)
        self._pages: Pages | None = None
        self._alone = Alone()
        self._evaluations = LateEvaluations(
            settings, self.ledgers, write=self._append, measured=self._measure_evaluations, on_drop=self.dropped
        )
        for warning in settings.warnings:
            logger.warning("spanline: %s", warning)
        if settings.disabled:
            return
        if settings.strict:
            set_strict(True)
        self._key = settings.hash_key.encode() if settings.hash_key else load_or_make_key(settings.base)
        if "metrics" in settings.features:
            with guard("runtime.metrics"):
                from spanline.metrics.engine import Metrics
                from spanline.metrics.prices import load_prices

                prices = None
                if settings.price_table is not None:
                    try:
                        prices = load_prices(settings.price_table)
                    except ConfigurationError as error:
                        logger.warning("spanline: no cost metrics: %s", error)
                self.metrics = Metrics(registry, label_cap=settings.label_cap, prices=prices)
                on_internal_error(self.metrics.internal_error)
        self._pages = Pages(settings, self.ledgers, self.metrics.registry if self.metrics is not None else None, app)
        self.labels = Labels(settings.base / "labels" / f"{slug(settings.namespace)}.ndjson" if self.lineage else None)
        self._provider, self.processor = set_up(settings, tracer_provider)
        self.tracer = self._provider.get_tracer("spanline", VERSION)
        resource = dict(self._provider.resource.attributes)
        self.release = None
        with guard("runtime.release"):
            self.release = discover_release(os.environ, resource)
        if self.lineage:
            self._journal = JournalWriter(
                settings.journal_dir,
                max_segment_bytes=settings.segment_max_bytes,
                max_age_s=settings.segment_max_age_s,
                max_bytes=settings.journal_max_bytes,
                min_free_ratio=settings.min_free_ratio,
                on_drop=self.dropped,
            )
            if settings.relay != "off":
                with guard("runtime.relay"):
                    observer = DeliveryHealth(self.metrics).observer(settings.journal_dir) if self.metrics is not None else None
                    make = relay_process_of if settings.relay == "process" else relay_of
                    self.relay = make(settings, self.ledgers, observer=observer, on_drop=self.dropped)
        SINKS.append(self)
        atexit.register(self.close)

    @property
    def lineage(self) -> bool:
        """Lineage is recorded."""
        return "lineage" in self.settings.features and not self.settings.disabled

    # What a run is handed to -------------------------------------------------------------------------------------------------

    def digest(self, value: str) -> str:
        """Keyed digest of content or of an id of a person: `hmac-sha256:<key id>:<hex>`."""
        return keyed_digest(self._key, value)

    def finish(self, run: ActiveRun) -> None:
        """Record a run that has ended, or a straggler of one."""
        try:
            if self._closed and self._journal is None:
                return
            if not run.has_lineage() and self.settings.record != "all":
                return
            previous: RunRecord | None = run.record
            if previous is None:
                # Nothing was known when it ended (its operation came in a background task): this is its first terminal event.
                run.sequence = 0
            record = run.record = self._record(run)
            record.conflicts, new = self.labels.check(record.artifacts, record.run_id)
            if self.metrics is not None:
                self.metrics.record(record, route=run.route, sampled=run.sampled, previous=previous, new_conflicts=new)
            if self.lineage:
                self._write(record)
        except Exception as error:  # noqa: BLE001  the guard, written out (ADR 3)
            report("runtime.finish", error)

    def started(self, run: ActiveRun) -> None:
        """Journal the START of a `job()`, or of a run that has been open for long."""
        with guard("runtime.start"):
            if self._journal is None or (not run.has_lineage() and self.settings.record != "all"):
                return
            line = start_event(self._record(run), producer=PRODUCER, schema_base=self.settings.schema_base)
            self._append(line)

    def evaluate(self, id: str, evaluation: Evaluation) -> None:
        """Put an evaluation on a run that is over and that this process does not hold; it is looked up in the background."""
        if self.lineage and not self._closed:
            self._evaluations.add(id, evaluation)

    def _measure_evaluations(self, record: RunRecord) -> None:
        if self.metrics is not None:
            self.metrics.evaluated(record)

    def dropped(self, reason: str, amount: int = 1) -> None:
        """Count what could not be kept."""
        if self.metrics is not None:
            self.metrics.dropped(reason, amount)

    def in_flight(self, delta: int) -> None:
        """Count requests that are being served."""
        try:
            if self.metrics is not None:
                self.metrics.in_flight(delta)
        except Exception as error:  # noqa: BLE001  the guard, written out (ADR 3)
            report("metrics", error)

    def _record(self, run: ActiveRun) -> RunRecord:
        settings = self.settings
        return record_of(
            run,
            release=self.release,
            environment=settings.environment,
            base_url=settings.base_url,
            parent=self._parent if run.owner else None,
        )

    def _write(self, record: RunRecord) -> None:
        self._append(terminal_event(record, producer=PRODUCER, schema_base=self.settings.schema_base, job_facets=self._jobs.first))

    def _append(self, line: bytes) -> None:
        if self._journal is not None and self._journal.write(line) and self.relay is not None:
            self.relay.start()
            self.relay.wake()

    # The app -----------------------------------------------------------------------------------------------------------------

    def page(self, scope: Scope) -> ASGIApp | None:
        """The page of ours that answers this request; None when the app does."""
        return self._pages.find(scope) if self._pages is not None else None

    def pages_of(self, app: Any) -> None:
        """Our pages leave the routes of this app alone, which was not there yet when the runtime was made."""
        if self._pages is not None:
            self._pages.app = app

    def begin(self) -> None:
        """The app serves in this process: start the relay and the ticker here."""
        if self.settings.disabled:
            return
        self._ticker.start()
        if self.relay is not None:
            self.relay.start()

    def _tick(self) -> None:
        if self.processor is not None:
            attach_logs()
            self.processor.sweep()
        if self.metrics is not None:
            self.metrics.tick()
            self._alone.look()

    # Flush and close ---------------------------------------------------------------------------------------------------------

    def flush(self, timeout_s: float = 10.0) -> bool:
        """Send late spans, and wait until spans are exported and all consumers have what was journalled.

        Args:
            timeout_s: Deadline. Unit: seconds.

        Returns:
            Everything has left before the deadline.
        """
        deadline = time.monotonic() + timeout_s
        done = True
        with guard("runtime.flush"):
            if self.processor is not None:
                self.processor.force_flush()
            done = self._deliver(deadline)
            if self._provider is not None:
                done = export_within(self._provider, deadline - time.monotonic()) and done
            return done
        return False

    def _deliver(self, deadline: float) -> bool:
        """Deliver what is journalled, then late evaluations, which may need it, then those."""
        done = self.relay.flush(max(deadline - time.monotonic(), 0.0)) if self.relay is not None else True
        if self._evaluations.waiting:
            done = self._evaluations.flush(deadline - time.monotonic()) and done
            if self.relay is not None:
                done = self.relay.flush(max(deadline - time.monotonic(), 0.0)) and done
        return done

    def close(self, timeout_s: float = 5.0) -> bool:
        """Flush, seal the journal's segment and stop. What is journalled and not delivered is delivered after the next start.

        Args:
            timeout_s: Deadline. Unit: seconds.

        Returns:
            Everything has left before the deadline.
        """
        if self._closed:
            return True
        self._closed = True
        deadline = time.monotonic() + timeout_s
        done = True
        atexit.unregister(self.close)
        with guard("runtime.close"):
            self._ticker.stop()
            if self.processor is not None:
                self.processor.force_flush()
            if self._evaluations.waiting:
                done = self._deliver(deadline)
            self._evaluations.close(0.0)
            journal, self._journal = self._journal, None
            if journal is not None:
                journal.close()
            if self in SINKS:
                SINKS.remove(self)
            if self.relay is not None:
                done = self.relay.close(max(deadline - time.monotonic(), 0.0)) and done
            if self._provider is not None:
                done = export_within(self._provider, deadline - time.monotonic()) and done
            self.ledgers.close()
            if self.metrics is not None:
                self.metrics.close()
        return done

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
