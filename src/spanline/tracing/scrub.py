"""ScrubbingSpanExporter: what goes on to the trace exporter without content, where `SPANLINE_SCRUB` asks for it.

Instrumentations put prompts, answers, documents, arguments and exception texts into attributes of names of their own, and new ones
with every release: this is a list of what may stay. Lineage loses nothing, for spans are read before.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import Link, Status

from spanline._guard import report
from spanline.dialects.reader import read
from spanline.naming import clean
from spanline.patterns import listed

_KEEP = re.compile(
    r"""(?x)
    (?!spanline\.guardrail\.reason)(?:spanline|openlineage|service|telemetry|deployment|vcs|k8s|otel|network|thread|messaging\.(?:system|operation|destination))(?:\.[a-z0-9_.]+)?
    | gen_ai\.(?:operation\.name|provider\.name|system|output\.type|workflow\.name|data_source\.id|is_streaming)
    | gen_ai\.(?:agent\.(?:id|name|version)|tool\.(?:name|type|call\.id)|prompt\.(?:name|version)|retrieval\.top_k|evaluation\.(?:name|score\.(?:value|label)))
    | gen_ai\.request\.(?:model|temperature|top_p|top_k|max_tokens|seed|frequency_penalty|presence_penalty|choice\.count|stream|encoding_formats)
    | gen_ai\.response\.(?:id|model|finish_reasons?|service_tier|system_fingerprint|time_to_first_chunk)
    | gen_ai\.(?:usage|aggregated_usage|cost)\.[a-z_.]*(?:tokens|cost)
    | (?:gen_ai\.)?openai\.(?:api\.type|(?:response\.)?(?:service_tier|system_fingerprint))
    | (?:openinference|traceloop|langsmith)\.span\.kind | (?:embedding|reranker|llm)\.model_name | llm\.(?:provider|system|is_streaming)
    | llm\.(?:request|response)\.(?:type|id|model|model_name) | llm\.(?:token_count|cost|usage)\.[a-z_.]*
    | langfuse\.(?:environment|release|version|observation\.(?:type|level|model\.name|prompt\.(?:name|version)))
    | ai\.(?:operationId|model\.(?:id|provider)|response\.(?:id|model|finishReason)|usage\.[A-Za-z.]*) | mlflow\.(?:spanType|llm\.model)
    | db\.(?:system|system\.name|collection\.name|namespace|operation|operation\.name|response\.returned_rows)
    | http\.(?:route|method|status_code|request\.method|response\.status_code) | url\.(?:scheme|path|template)
    | (?:server|client)\.port | server\.address | rpc\.(?:system|service|method|grpc\.status_code) | mcp\.method\.name
    | code\.(?:function|function\.name|filepath|file\.path|lineno|line\.number|namespace)
    | error\.type | exception\.(?:type|escaped)
    """
)  # fmt: skip
_NOTHING = listed(())
_EVENT = re.compile(r"[A-Za-z][A-Za-z0-9_.]{0,63}\Z")
MAX_TEXT = 256
"""Characters of an attribute that stays: what is longer is no name."""


class ScrubbingSpanExporter(SpanExporter):
    """Hands spans on without content: unknown attributes, status texts, exception texts and the names of model operations stay behind.

    Where spanline builds the provider `SPANLINE_SCRUB=true` puts it around the exporter; around one of yours:
    `BatchSpanProcessor(ScrubbingSpanExporter(OTLPSpanExporter()))`.

    Args:
        inner: The exporter.
        allow: Attribute keys that stay too, of whatever length (`SPANLINE_ALLOW`); a trailing `*` is a prefix. They may be content.
    """

    def __init__(self, inner: SpanExporter, allow: Iterable[str] = ()) -> None:
        self.inner = inner
        self._allowed = listed(tuple(allow))

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export copies; a span that cannot be scrubbed is left out."""
        clean_spans: list[ReadableSpan] = []
        for span in spans:
            try:
                clean_spans.append(scrubbed(span, self._allowed))
            except Exception as error:  # noqa: BLE001  a guard for each span: content must not pass where scrubbing fails
                report("tracing.scrub", error)
        return self.inner.export(clean_spans)

    def shutdown(self) -> None:
        """Shut the exporter down."""
        self.inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Flush the exporter. Unit: milliseconds."""
        return self.inner.force_flush(timeout_millis)


def scrubbed(span: ReadableSpan, allowed: Callable[[str], bool] = _NOTHING) -> ReadableSpan:
    """A copy of a finished span without content, but for the attributes that somebody allowed."""
    return ReadableSpan(
        name=_name(span),
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=_kept(span.attributes, allowed),
        events=[
            Event(event.name if _EVENT.match(event.name) else "event", _kept(event.attributes, allowed), event.timestamp)
            for event in span.events
        ],
        links=[Link(link.context) for link in span.links],
        kind=span.kind,
        status=Status(span.status.status_code),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _name(span: ReadableSpan) -> str:
    """An operation bears the conventions' name: some tools put the task into theirs."""
    scope = span.instrumentation_scope
    reading = read(
        dict(span.attributes or {}), span_id="", parent_span_id=None, started_ns=0, ended_ns=0, failed=False, service="",
        scope=scope.name if scope is not None else None, name=span.name,
    )  # fmt: skip
    return clean(span.name, MAX_TEXT) if reading is None else reading.operation.name or reading.operation.kind


def _kept(attributes: Mapping[str, Any] | None, allowed: Callable[[str], bool]) -> dict[str, Any]:
    return {key: value for key, value in (attributes or {}).items() if (_KEEP.fullmatch(key) and _is_short(value)) or allowed(key)}


def _is_short(value: Any) -> bool:
    return not isinstance(value, (bytes, Mapping)) and len(str(value)) <= MAX_TEXT
