"""Decorated generators: an operation is current while the generator's own code runs, not while it waits for its consumer.

Otherwise what the consumer does between two items would count as done inside, and two generators by turns would leave an ended
span current.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextvars import Token
from types import TracebackType
from typing import Any, Protocol

from opentelemetry import context as otel_context
from opentelemetry.context import Context

from spanline.record.active import leave


class Apart(Protocol):
    """An operation that has begun and is not current."""

    def apart(self) -> Context:
        """Begin; the context in which it is current."""
        ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /) -> None: ...


class _Step:
    """Around one step of the generator: its own context, then the consumer's again."""

    def __init__(self, inside: Context) -> None:
        self._inside = inside
        self._token: Token[Context] | None = None

    def __enter__(self) -> None:
        self._token = otel_context.attach(self._inside)

    def __exit__(self, *_: object) -> None:
        self._inside = otel_context.get_current()
        if self._token is not None:
            leave(self._token)


def stepped(make: Callable[[], Apart], function: Callable[..., Generator[Any, Any, Any]]) -> Callable[..., Generator[Any, Any, Any]]:
    """A generator function, each call of it an operation; what is sent in, thrown in and returned passes."""

    @functools.wraps(function)
    def around(*args: Any, **keywords: Any) -> Generator[Any, Any, Any]:
        operation = make()
        step = _Step(operation.apart())
        try:
            result = yield from _sync(function(*args, **keywords), step)
        except BaseException as error:
            operation.__exit__(type(error), error, error.__traceback__)
            raise
        operation.__exit__(None, None, None)
        return result

    return around


def _sync(body: Generator[Any, Any, Any], step: _Step) -> Generator[Any, Any, Any]:
    move: Callable[[Any], Any] = body.send
    sent: Any = None
    while True:
        try:
            with step:
                item = move(sent)
        except StopIteration as stop:
            return stop.value
        try:
            sent = yield item
            move = body.send
        except GeneratorExit:
            with step:
                body.close()
            raise
        except BaseException as error:  # noqa: BLE001  thrown in by the consumer: the generator's to handle
            move, sent = body.throw, error


def stepped_async(make: Callable[[], Apart], function: Callable[..., AsyncGenerator[Any, Any]]) -> Callable[..., AsyncGenerator[Any, Any]]:
    """As `stepped`, for an async generator function."""

    @functools.wraps(function)
    async def around(*args: Any, **keywords: Any) -> AsyncGenerator[Any, Any]:
        operation = make()
        step = _Step(operation.apart())
        body = function(*args, **keywords)
        move: Callable[[Any], Awaitable[Any]] = body.asend
        sent: Any = None
        try:
            while True:
                try:
                    with step:
                        item = await move(sent)
                except StopAsyncIteration:
                    break
                try:
                    sent = yield item
                    move = body.asend
                except GeneratorExit:
                    with step:
                        await body.aclose()
                    raise
                except BaseException as error:  # noqa: BLE001  as above
                    move, sent = body.athrow, error
        except BaseException as error:
            operation.__exit__(type(error), error, error.__traceback__)
            raise
        operation.__exit__(None, None, None)

    return around
