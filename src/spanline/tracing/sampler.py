"""LineageSampler: spans that the user's sampler drops are recorded locally and not exported."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import DEFAULT_ON, Decision, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanKind, TraceFlags, TraceState, get_current_span
from opentelemetry.util.types import Attributes


class LineageSampler(Sampler):
    """Turns DROP into RECORD_ONLY, so that lineage does not follow trace sampling.

    A span of a RECORD_ONLY decision reaches span processors but bears no sampled flag: exporters leave it, the flag that is
    propagated stays 0. Pass it to the provider you build: `TracerProvider(sampler=LineageSampler(inner))`.

    Args:
        inner: The sampler that decides what is exported.
    """

    def __init__(self, inner: Sampler) -> None:
        self.inner = inner
        self._follows_parent = inner is DEFAULT_ON

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """The inner decision, with DROP as RECORD_ONLY."""
        if self._follows_parent:
            # The SDK's default, without its four calls: sampled unless the parent is not.
            _, _, _, flags, state, valid = get_current_span(parent_context).get_span_context()
            if not valid:
                return SamplingResult(Decision.RECORD_AND_SAMPLE, attributes, None)
            decision = Decision.RECORD_AND_SAMPLE if flags & TraceFlags.SAMPLED else Decision.RECORD_ONLY
            return SamplingResult(decision, attributes, state)
        result = self.inner.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)
        if result.decision is Decision.DROP:
            return SamplingResult(Decision.RECORD_ONLY, attributes, result.trace_state)
        return result

    def get_description(self) -> str:
        """Description with the inner sampler's."""
        return f"LineageSampler({self.inner.get_description()})"
