"""Consumers: who gets the journal's events, and how a transport becomes one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, cast

import msgspec

from spanline.errors import TransportError
from spanline.journal.reader import Entry
from spanline.relay.presets import Preset, is_auto, preset_of
from spanline.relay.shape import Shaper
from spanline.relay.thinning import Thinning
from spanline.transports.base import BatchError, TooLarge, Transport

_decoder = msgspec.json.Decoder(dict[str, Any])


class Consumer(Protocol):
    """Somebody who gets every event of a journal, at least once."""

    @property
    def name(self) -> str:
        """Names the cursor, the lock and the metrics; letters, digits, `.`, `_`, `-`."""
        ...

    def deliver(self, entries: Sequence[Entry]) -> None:
        """Take events, in order. Called by one thread at a time.

        Raises:
            DeliveryError: Some were not taken; says which.
            TransportError: It is not known which, or none was.
        """
        ...

    def close(self, timeout_s: float) -> bool:
        """Let go of connections; whether nothing is left inside."""
        ...


class DeliveryError(TransportError):
    """Some entries were not taken.

    Args:
        cause: What happened to the first of them.
        undelivered: Indexes into the entries given, rising; all others were taken.
    """

    def __init__(self, cause: TransportError, undelivered: Sequence[int]) -> None:
        super().__init__(cause.reason, status=cause.status, retry_after_s=cause.retry_after_s)
        self.cause = cause
        self.undelivered = tuple(undelivered)


class TransportConsumer:
    """Sends events through a transport, shaped by a preset.

    Args:
        name: Name of the consumer.
        transport: Where to.
        preset: Options as `transports.config.configured` gives them: `preset` and what it changes. `auto` asks the
            other end once, before the first event.
        on_drop: Called with `thinned` for each event that sampling or the rate limit leaves out.

    Raises:
        ConfigurationError: Wrong options.
    """

    def __init__(
        self,
        name: str,
        transport: Transport,
        preset: Mapping[str, Any] | None = None,
        *,
        on_drop: Callable[[str], None] | None = None,
    ) -> None:
        self._name = name
        self._transport = transport
        self._options = dict(preset or {})
        self._on_drop = on_drop
        self._use(preset_of(self._options))
        self._asked = not is_auto(self._options) or not hasattr(transport, "probe")
        self._half_sent: tuple[str, int, int] | None = None
        self.thinned = 0

    @property
    def name(self) -> str:
        """Name of the consumer."""
        return self._name

    @property
    def preset(self) -> Preset:
        """What is in force; with `auto`, after the first delivery."""
        return self._preset

    def _use(self, preset: Preset) -> None:
        self._preset = preset
        self._shaper = Shaper(preset)
        self._thinning = Thinning(preset.sample, preset.rate_per_second)
        self._thins = preset.sample < 1 or preset.rate_per_second is not None
        if preset.gzip and hasattr(self._transport, "compress"):
            cast(Any, self._transport).compress = True

    def deliver(self, entries: Sequence[Entry]) -> None:
        """Send events one after another, or as one array where the preset says so.

        Raises:
            DeliveryError: Some were not taken.
        """
        if not self._asked:
            self._use(preset_of(self._options, self._detect()))
            self._asked = True
        if self._preset.batch == "array" and hasattr(self._transport, "emit_batch"):
            self._deliver_batch(entries)
            return
        for index, entry in enumerate(entries):
            try:
                self._deliver_one(entry)
            except TransportError as error:
                raise DeliveryError(error, range(index, len(entries))) from error

    def _deliver_one(self, entry: Entry) -> None:
        event = _decode(entry)
        if not self._thinning.keeps(event):
            self._thin()
            return
        skip = self._half_sent[2] if self._half_sent and self._half_sent[:2] == (entry.segment, entry.offset) else 0
        for number, each in enumerate(self._shaper.shape(event)):
            if number >= skip:
                self._transport.emit(each)
                # A terminal event that is tried again does not send its START again: that would reopen the run.
                self._half_sent = (entry.segment, entry.offset, number + 1)
        # Through: what bears the same position later (another parked event that is retried) is another event.
        self._half_sent = None
        self._shaper.accepted()

    def _deliver_batch(self, entries: Sequence[Entry]) -> None:
        lines: list[bytes] = []
        indexes: list[int] = []
        for index, entry in enumerate(entries):
            if self._thins and not self._thinning.keeps(_decode(entry)):
                self._thin()
                continue
            if self._preset.max_event_bytes is not None and len(entry.line) > self._preset.max_event_bytes:
                failure = TooLarge(len(entry.line), self._preset.max_event_bytes)
                raise DeliveryError(failure, range(index, len(entries))) if not lines else failure
            lines.append(entry.line)
            indexes.append(index)
        if not lines:
            return
        try:
            cast(Any, self._transport).emit_batch(lines)
        except BatchError as error:
            if len(lines) == 1:
                raise TransportError(error.reason, status=error.status) from error
            raise DeliveryError(error, [indexes[i] for i in error.failed]) from error

    def _thin(self) -> None:
        self.thinned += 1
        if self._on_drop is not None:
            self._on_drop("thinned")

    def _detect(self) -> str:
        """Ask the other end what it is. Source: Marquez API, `GET /api/v1/namespaces`.

        Raises:
            TransportError: It does not answer, so nothing can be sent anyway.
        """
        status, answer = cast(Any, self._transport).probe("api/v1/namespaces")
        if status != 200:
            return "openlineage"
        try:
            found: Any = json.loads(answer)
        except ValueError:
            return "openlineage"
        return "marquez" if isinstance(found, dict) and isinstance(cast(dict[str, Any], found).get("namespaces"), list) else "openlineage"

    def close(self, timeout_s: float) -> bool:
        """Close the transport."""
        return self._transport.close(timeout_s)


def _decode(entry: Entry) -> dict[str, Any]:
    try:
        return _decoder.decode(entry.line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise TransportError("not an event", status=400) from error
