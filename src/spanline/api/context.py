"""context() and current(): what is known of the run beside its operations, and what is current."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import Token
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from opentelemetry import propagate, trace

from spanline._guard import guard
from spanline.naming import clean
from spanline.record.active import CONTEXT, CURRENT, MAX_TAGS, RUN_OF_SPAN, ActiveRun, apply_facts, leave, provenance, run_id

MAX_TAG = 255


class RunContext:
    """Facts for the runs within; made by `context()`."""

    def __init__(self, facts: Mapping[str, Any]) -> None:
        self._facts = facts
        self._token: Token[Mapping[str, Any]] | None = None

    def __enter__(self) -> Self:
        with guard("api.context"):
            self._token = CONTEXT.set({**CONTEXT.get(), **self._facts})
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        with guard("api.context"):
            if self._token is not None:
                leave(self._token)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.__exit__(kind, error, traceback)


def context(
    *, tenant: str | None = None, subject: str | None = None, session: str | None = None, tags: Mapping[str, str] | None = None
) -> RunContext:
    """Add facts to the run: a plain call inside it, or a context manager around one.

    Args:
        tenant: Kept as a keyed digest only.
        subject: The user; kept as a keyed digest only.
        session: Kept as a keyed digest only.
        tags: Object of strings, in clear: runs are found by them. At most 64, of 255 characters.
    """
    facts: dict[str, Any] = {}
    with guard("api.context"):
        facts = {key: value for key, value in (("tenant", tenant), ("subject", subject), ("session", session)) if value is not None}
        if tags:
            facts["tags"] = {clean(str(key), MAX_TAG): clean(str(value), MAX_TAG) for key, value in list(tags.items())[:MAX_TAGS]}
        run = active()
        if run is not None:
            apply_facts(run, facts)
    return RunContext(facts)


def active() -> ActiveRun | None:
    """The current run: of the request, the job, or of the current span's trace."""
    run = CURRENT.get()
    if run is not None:
        return run
    return RUN_OF_SPAN.get(trace.get_current_span().get_span_context().span_id)


@dataclass(frozen=True, slots=True)
class Current:
    """What is current: ids to put into an answer, a log line or a request."""

    trace_id: str
    """32 hex."""
    run_id: str
    """Dashed UUID."""
    traceparent: str
    url: str | None
    """The run page, when a base URL is configured."""
    provenance: dict[str, str]
    """Name and version of model, prompt and index so far, e.g. `{"prompt": "fees@v7"}`."""


def current() -> Current | None:
    """The current run; None outside a run and when disabled."""
    with guard("api.current"):
        run = active()
        if run is None or not run.trace_id:
            return None
        span = trace.get_current_span().get_span_context()
        inside = span.is_valid and span.trace_id == run.trace_id
        span_id = span.span_id if inside else run.span_id
        flags = int(span.trace_flags) if inside else int(run.sampled)
        base = run.sink.settings.base_url
        return Current(
            trace_id=f"{run.trace_id:032x}",
            run_id=run_id(run),
            traceparent=f"00-{run.trace_id:032x}-{span_id:016x}-{flags:02x}",
            url=f"{base}/r/{run.trace_id:032x}" if base else None,
            provenance=provenance(run),
        )
    return None


def headers() -> dict[str, str]:
    """Propagation headers (`traceparent`, `tracestate` …) for a client that nothing instruments; empty outside a run.

    With the request id as it came: a service mesh asks the app to pass it on.
    """
    carrier: dict[str, str] = {}
    with guard("api.headers"):
        propagate.inject(carrier)
        run = active()
        if run is not None and run.request_id:
            carrier[run.sink.settings.request_id_header] = run.request_id
    return carrier
