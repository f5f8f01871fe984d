"""What a transport is, and the table of those that exist."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any, Protocol, cast, runtime_checkable

from spanline.errors import ConfigurationError, TransportError

GROUP = "spanline.transports"

TRANSPORTS: dict[str, str] = {
    "http": "spanline.transports.http:HttpTransport",
    "async_http": "spanline.transports.http:HttpTransport",
    "kafka": "spanline.transports.kafka:KafkaTransport",
    "file": "spanline.transports.file:FileTransport",
    "console": "spanline.transports.console:ConsoleTransport",
    "composite": "spanline.transports.composite:CompositeTransport",
}
"""Type in `openlineage.yml` to class. `async_http` is `http` here, since the relay never sends on an app's thread."""


@runtime_checkable
class Transport(Protocol):
    """Sends one event, one attempt, and says what went wrong.

    A class in the entry-point group `spanline.transports` has also a class method
    `from_options(options: Mapping[str, Any]) -> Transport`.
    """

    @property
    def kind(self) -> str:
        """Its type, as `openlineage.yml` names it."""
        ...

    def emit(self, event: Mapping[str, Any]) -> None:
        """Send one event.

        Raises:
            TransportError: It was not taken.
        """
        ...

    def close(self, timeout_s: float) -> bool:
        """Give up connections; whether everything that was taken is out."""
        ...


class MalformedAnswer(TransportError):
    """The other end answered something that is not HTTP."""


class TooLarge(TransportError):
    """The event is larger than the consumer takes."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"event of {size} bytes is larger than max_event_bytes={limit}", status=413)


class BatchError(TransportError):
    """Some events of a batch were not taken; `failed` holds their indexes, `status` what each alone would have got."""

    def __init__(self, reason: str, *, failed: tuple[int, ...], status: int) -> None:
        super().__init__(reason, status=status)
        self.failed = failed


def known() -> list[str]:
    """The types that can be named in a configuration."""
    return sorted({*TRANSPORTS, "noop", *(entry.name for entry in entry_points(group=GROUP))})


def create(kind: str, options: Mapping[str, Any]) -> Transport:
    """Make a transport of a type.

    Raises:
        ConfigurationError: An unknown type (the message lists the known ones), or wrong options.
    """
    target = TRANSPORTS.get(kind)
    if target is not None:
        module, _, name = target.partition(":")
        factory = getattr(importlib.import_module(module), name)
    else:
        found = [entry for entry in entry_points(group=GROUP) if entry.name == kind]
        if not found:
            raise ConfigurationError(f"unknown transport type {kind!r}; known types: {', '.join(known())}")
        factory = found[0].load()
    return cast(Transport, factory.from_options(options))
