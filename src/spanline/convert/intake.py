"""Intake: spans and log records in, pieces into the store; nothing of their content is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

import spanline.semconv as s
from spanline._guard import guard
from spanline.convert.piece import CONSUMER, INTERNAL, SERVER, Piece, Resource, Root, pack
from spanline.convert.shared import SharedResponses
from spanline.convert.spill import TraceStore
from spanline.dialects.reader import Event, read
from spanline.dialects.reading import Reading
from spanline.identity import TRACESTATE_KEY
from spanline.naming import UNKNOWN_SERVICE, fit
from spanline.record.release import release_of_resource
from spanline.record.run import Evaluation
from spanline.tracing.log_events import DETAILS, EVALUATION, EXCEPTION, details_of, evaluation_of, exception_type

_HAS_REMOTE, _REMOTE = 0x100, 0x200
"""Bits of `flags` in OTLP: it is known whether the parent is remote, and it is."""

_LATEST_NS = 253_402_300_800 * 10**9
"""The year 10000, which no RFC 3339 time reaches."""

_ENTRY = f"{TRACESTATE_KEY}="
_ROOT_KEYS = frozenset({
    s.JOB, s.JOB_NAME, s.JOB_NAMESPACE, "http.request.method", "http.method", "http.route", "http.response.status_code", "http.status_code",
})  # fmt: skip
MAX_UNPLACED = 100_000
MAX_SEEN = 10_000
_content = msgspec.msgpack.Encoder().encode


class Intake:
    """Takes what the decoders find, in any order.

    Args:
        store: Takes the pieces.
        service: Of resources that name none.
        reasons: Keep the reasons of guardrails, which are content.
    """

    def __init__(self, store: TraceStore, service: str, *, reasons: bool = False) -> None:
        self._store = store
        self._service = service
        self._reasons = reasons
        self.resources: list[Resource] = []
        self._known: dict[str, int] = {}
        self._seen: dict[bytes, int] = {}
        self.unplaced: dict[str, list[Piece]] = {}
        """Log records without a trace, by the response id that they speak of."""
        self._evaluations: list[tuple[bytes, Piece]] = []
        self.lost = 0
        """Log records that can be joined with nothing."""
        self.shared = SharedResponses()

    def resource(self, attributes: Mapping[str, Any]) -> int:
        """Number of a resource; those that say the same have the same."""
        try:
            content = _content(attributes)
        except (TypeError, ValueError, UnicodeError, OverflowError):
            return self._resource(attributes)
        number = self._seen.get(content)
        if number is None:
            number = self._resource(attributes)
            if len(self._seen) < MAX_SEEN:
                self._seen[content] = number
        return number

    def _resource(self, attributes: Mapping[str, Any]) -> int:
        name = attributes.get("service.name")
        service = str(name) if name and not str(name).startswith(UNKNOWN_SERVICE) else self._service
        environment = attributes.get("deployment.environment.name") or attributes.get("deployment.environment")
        release = release_of_resource(attributes)
        made = Resource(_text(service) or self._service, _text(str(environment)) if environment else None, release)
        key = repr(made)
        number = self._known.get(key)
        if number is None:
            number = self._known[key] = len(self.resources)
            self.resources.append(made)
        return number

    def span(
        self,
        resource: int,
        trace_id: bytes,
        span_id: str,
        parent_id: str | None,
        *,
        kind: int,
        started_ns: int,
        ended_ns: int,
        failed: bool,
        flags: int,
        trace_state: str,
        attributes: dict[str, Any],
        scope: str | None = None,
        name: str | None = None,
        events: Sequence[Event] = (),
    ) -> None:
        """Take one span. Ids are checked here; hex is in lower case; the name is only matched.

        Raises:
            ValueError: It has no valid id or times; the message holds nothing of it.
        """
        _check(trace_id, span_id, parent_id, started_ns, ended_ns)
        reading = None
        if attributes or events or scope:
            with guard("convert.read"):
                reading = read(
                    attributes, span_id=span_id, parent_span_id=parent_id, started_ns=started_ns, ended_ns=ended_ns, failed=failed,
                    service=self.resources[resource].service, scope=scope, name=name, events=events, reasons=self._reasons,
                )  # fmt: skip
        root = None
        if parent_id is None or kind in (SERVER, CONSUMER) or trace_state or not _ROOT_KEYS.isdisjoint(attributes):
            root = _root_of(attributes, trace_state)
        error = attributes.get(s.ERROR_TYPE)
        piece = Piece(
            kind=kind if 0 <= kind <= CONSUMER else INTERNAL,
            span_id=span_id,
            parent_id=parent_id,
            resource=resource,
            started_ns=started_ns,
            ended_ns=ended_ns,
            failed=failed,
            remote=bool(flags & _REMOTE) if flags & _HAS_REMOTE else None,
            error_type=_text(error),
            root=root,
            reading=reading,
        )
        self._store.add(trace_id, pack(piece))
        if reading is not None:
            self.shared.saw(trace_id, reading)

    def log(self, resource: int, trace_id: bytes, span_id: str | None, *, name: str, time_ns: int, attributes: Mapping[str, Any]) -> None:
        """Take one log record; only GenAI events say something.

        Raises:
            ValueError: Its time is none.
        """
        if name not in (DETAILS, EVALUATION, EXCEPTION):
            return
        if not 0 <= time_ns < _LATEST_NS:
            raise ValueError("a time that is out of range")
        if len(trace_id) != 16 or not any(trace_id):
            trace_id = b""
        reading: Reading | None = None
        evaluation: Evaluation | None = None
        error: str | None = None
        with guard("convert.log"):
            if name == DETAILS:
                reading = details_of(attributes, span_id=span_id or "", time_ns=time_ns, service=self.resources[resource].service)
            elif name == EVALUATION:
                evaluation = evaluation_of(attributes, time_ns)
            else:
                error = exception_type(attributes)
        if reading is None and evaluation is None and error is None:
            return
        response = attributes.get(s.RESPONSE_ID)
        piece = Piece(
            kind=-1, span_id=span_id, parent_id=None, resource=resource, started_ns=time_ns, ended_ns=time_ns, error_type=error,
            reading=reading, evaluation=evaluation, response_id=response if isinstance(response, str) else None,
        )  # fmt: skip
        if trace_id and evaluation is not None and piece.response_id is not None and len(self._evaluations) < MAX_UNPLACED:
            self._evaluations.append((trace_id, piece))
        elif trace_id:
            self._store.add(trace_id, pack(piece))
        elif piece.response_id is not None and len(self.unplaced) < MAX_UNPLACED:
            self.unplaced.setdefault(piece.response_id, []).append(piece)
        else:
            self.lost += 1

    def settle(self) -> None:
        """All input was read: an evaluation that names a response goes there, else to the trace in which it was made."""
        known = self.shared.known(piece.response_id for _, piece in self._evaluations if piece.response_id is not None)
        for trace_id, piece in self._evaluations:
            if piece.response_id in known:
                self.unplaced.setdefault(str(piece.response_id), []).append(piece)
            else:
                self._store.add(trace_id, pack(piece))
        self._evaluations = []


def _check(trace_id: bytes, span_id: str, parent_id: str | None, started_ns: int, ended_ns: int) -> None:
    if len(trace_id) != 16 or not any(trace_id):
        raise ValueError("a span without a valid trace id")
    if len(span_id) != 16 or span_id == "0000000000000000":
        raise ValueError("a span without a valid span id")
    if parent_id is not None and len(parent_id) != 16:
        raise ValueError("a span whose parent has no valid span id")
    if not 0 <= started_ns < _LATEST_NS or not 0 <= ended_ns < _LATEST_NS:
        raise ValueError("a span whose time is out of range")


def _root_of(attributes: Mapping[str, Any], trace_state: str) -> Root | None:
    entry = None
    if _ENTRY in trace_state:
        for member in trace_state.split(","):
            key, _, value = member.strip().partition("=")
            if key == TRACESTATE_KEY:
                entry = value
    method = attributes.get("http.request.method") or attributes.get("http.method")
    status = attributes.get("http.response.status_code", attributes.get("http.status_code"))
    found = Root(
        job=_text(attributes.get(s.JOB_NAME)),
        namespace=_text(attributes.get(s.JOB_NAMESPACE)),
        method=_text(method),
        route=_text(attributes.get("http.route")),
        websocket=attributes.get("network.protocol.name") == "websocket",
        status=status if isinstance(status, int) and not isinstance(status, bool) and 100 <= status <= 599 else None,
        request_id=_header(attributes.get("http.request.header.x-request-id")),
        entry=entry,
        is_job=s.JOB in attributes,
    )
    return found if found != _NOTHING else None


_NOTHING = Root()


def _text(value: object) -> str | None:
    """A text without its control characters; None when nothing is left."""
    return fit(value).strip() or None if isinstance(value, str) else None


def _header(value: object) -> str | None:
    """OpenTelemetry writes headers as lists."""
    return _text(value[0] if isinstance(value, (list, tuple)) and value else value)  # pyright: ignore[reportUnknownArgumentType]
