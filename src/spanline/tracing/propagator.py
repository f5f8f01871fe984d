"""LineagePropagator: writes our tracestate entry when context is injected, because only then the route is known."""

from __future__ import annotations

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import CarrierT, Getter, Setter, TextMapPropagator, default_getter, default_setter

from spanline._guard import guard
from spanline.identity import TRACESTATE_KEY, tracestate_entry
from spanline.record.active import RUN_OF_SPAN

MAX_MEMBERS = 32
"""W3C trace context: at most 32 list members in tracestate."""


class LineagePropagator(TextMapPropagator):
    """The user's propagator, and on injection the entry that names the job owning the trace's run.

    The span context is immutable and the route is unknown when the server span starts, hence here.
    """

    def __init__(self, inner: TextMapPropagator) -> None:
        self.inner = inner

    def extract(self, carrier: CarrierT, context: Context | None = None, getter: Getter[CarrierT] = default_getter) -> Context:
        """As the inner propagator does."""
        return self.inner.extract(carrier, context, getter)

    def inject(self, carrier: CarrierT, context: Context | None = None, setter: Setter[CarrierT] = default_setter) -> None:
        """As the inner propagator does, then our entry first in `tracestate`."""
        self.inner.inject(carrier, context, setter)
        with guard("propagator.inject"):
            state = outgoing_tracestate(trace.get_current_span(context))
            if state is not None:
                setter.set(carrier, "tracestate", state)

    @property
    def fields(self) -> set[str]:
        """The inner fields and `tracestate`."""
        return {*self.inner.fields, "tracestate"}


def outgoing_tracestate(span: trace.Span) -> str | None:
    """The `tracestate` header for requests made inside `span`; None where no run of ours is."""
    context = span.get_span_context()
    run = RUN_OF_SPAN.get(context.span_id)
    if run is None:
        return None
    namespace, job = run.owner_job()
    entry = tracestate_entry(namespace, job, run.sink.settings.service)
    members = [f"{TRACESTATE_KEY}={entry}"]
    members += [f"{key}={value}" for key, value in context.trace_state.items() if key != TRACESTATE_KEY]
    return ",".join(members[:MAX_MEMBERS])
