"""Operation: a span around one GenAI operation, as context manager (with, async with) and decorator."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from contextvars import Token
from types import TracebackType
from typing import Any, Self, TypeVar, cast

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind, Status, StatusCode

import spanline.semconv as s
from spanline._guard import report
from spanline.api.generators import stepped, stepped_async
from spanline.errors import error_type
from spanline.record.active import CURRENT, SINKS, Sink, leave
from spanline.record.attributes import put, set_clean

F = TypeVar("F", bound=Callable[..., Any])


def current_sink() -> Sink | None:
    """The runtime of the current run, else the one configured last; None when there is none."""
    run = CURRENT.get()
    if run is not None:
        return run.sink
    return SINKS[-1] if SINKS else None


class Operation:
    """One operation. Ordinary OpenTelemetry span with GenAI attributes; use it once, or as a decorator any number of times.

    Never raises by itself: exceptions of the block pass through untouched and mark the span with their type, never their text.

    Args:
        kind: Our word for the operation (`spanline_operations` in contract.md).
        word: The semantic convention's word, or ours where it has none.
        subject: Model, index, tool …: second half of the span's name.
        attributes: Known at the start, so that samplers see them.
        span_kind: CLIENT for calls that leave the process.
    """

    def __init__(
        self, kind: str, word: str, subject: str | None, attributes: Mapping[str, Any], *, span_kind: SpanKind = SpanKind.INTERNAL
    ) -> None:
        self._name = f"{word} {subject}" if subject else word
        self._span_kind = span_kind
        start: dict[str, Any] = {s.OPERATION_NAME: word, s.SPANLINE_OPERATION: kind}
        put(start, attributes)
        self._start = start
        self._late: dict[str, Any] = {}
        self._span: trace.Span = trace.INVALID_SPAN
        self._token: Token[Context] | None = None
        self._held = False
        self._left = False

    def attributes(self, values: Mapping[str, Any]) -> Self:
        """Add span attributes. Keys: semantic-convention names; None is left out."""
        put(self._late, values)
        return self

    def __enter__(self) -> Self:
        try:
            sink = current_sink()
            if sink is not None:
                self._span = sink.tracer.start_span(self._name, kind=self._span_kind, attributes=self._start)
                self._token = otel_context.attach(trace.set_span_in_context(self._span))
        except Exception as error:  # noqa: BLE001  the guard, written out (ADR 3)
            report("api.start", error)
        return self

    def apart(self) -> Context:
        """Begin without becoming current; the context in which the span is."""
        self.__enter__()
        inside = otel_context.get_current()
        if self._token is not None:
            leave(self._token)
            self._token = None
        return inside

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        try:
            if self._token is not None:
                leave(self._token)
                self._token = None
            self._left = True
            # A generator that is closed early has not failed: its consumer had enough.
            if error is not None and not isinstance(error, GeneratorExit):
                self._failed(error)
            elif self._held:
                return
            self._end()
        except Exception as ours:  # noqa: BLE001  the guard, written out (ADR 3)
            report("api.end", ours)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.__exit__(kind, error, traceback)

    def __call__(self, function: F) -> F:
        """Decorate a function, coroutine function, generator or async generator: one span a call."""
        if inspect.isasyncgenfunction(function):
            return cast(F, stepped_async(self._copy, function))
        if inspect.isgeneratorfunction(function):
            return cast(F, stepped(self._copy, function))
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def around_coroutine(*args: Any, **keywords: Any) -> Any:
                with self._copy() as operation:
                    result = await function(*args, **keywords)
                    operation._returned(result)
                    return result

            return cast(F, around_coroutine)

        @functools.wraps(function)
        def around(*args: Any, **keywords: Any) -> Any:
            with self._copy() as operation:
                result = function(*args, **keywords)
                operation._returned(result)
                return result

        return cast(F, around)

    def _copy(self) -> Self:
        """A fresh operation for one call of a decorated function."""
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._late = dict(self._late)
        return other

    def _returned(self, result: Any) -> None:
        """What a decorated function returned; subclasses read facts from it."""

    def _failed(self, error: BaseException) -> None:
        self._late[s.ERROR_TYPE] = error_type(error)
        # No description: exception texts are content.
        self._span.set_status(Status(StatusCode.ERROR))

    def _end(self) -> None:
        if self._late and self._span.is_recording():
            set_clean(self._span, self._late)
        self._span.end()


def joined(*encoded: str) -> str | None:
    """Several encoded artifact lists as one."""
    inner = ",".join(text[1:-1] for text in encoded if len(text) > 2)
    return f"[{inner}]" if inner else None
