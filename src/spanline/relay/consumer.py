"""Consumers: who gets the journal's events, and how a transport becomes one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, cast

import msgspec

from spanline.errors import TransportError
from spanline.journal.reader import Entry
from spanline.relay.detect import detect
from spanline.relay.presets import Preset, is_auto, preset_of
from spanline.relay.shape import Shaper
from spanline.relay.thinning import Thinning
from spanline.transports.base import BatchError, Transport

_decoder = msgspec.json.Decoder(dict[str, Any])
_HALF_SENT_KEPT = 1000


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
        on_drop: Called for each event that is left out: `thinned` (sampling, rate limit) or `incomplete` (see `Preset`).

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
        self._emit_line: Callable[[bytes], None] | None = getattr(transport, "emit_line", None)
        self._options = dict(preset or {})
        self._on_drop = on_drop
        self._use(preset_of(self._options))
        self._asked = not is_auto(self._options) or not hasattr(transport, "probe")
        self._half_sent: dict[tuple[str, int], int] = {}
        self._left_out: list[str] = []
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
        self._as_journalled = preset.as_journalled
        self._shaper = Shaper(preset)
        self._thinning = Thinning(preset.sample, preset.rate_per_second)
        self._thins = preset.sample < 1 or preset.rate_per_second is not None
        self._batches = preset.batch != "none" and hasattr(self._transport, "emit_batch")
        self._is_batch_endpoint = str(getattr(self._transport, "url", "")).endswith("/batch")
        if preset.gzip and hasattr(self._transport, "compress"):
            cast(Any, self._transport).compress = True

    def deliver(self, entries: Sequence[Entry]) -> None:
        """Send events one after another, or many at once where the preset says so.

        Raises:
            DeliveryError: Some were not taken.
        """
        if not self._asked:
            self._use(preset_of(self._options, detect(self._transport)))
            self._asked = True
        self._begin()
        if self._batches:
            try:
                self._deliver_batch(entries)
                return
            except TransportError as error:
                if error.status not in {404, 405} or isinstance(error, DeliveryError | BatchError) or self._is_batch_endpoint:
                    raise
                # It has no such endpoint (Marquez has none): from here on one by one.
                self._batches = False
                self._begin()
        for index, entry in enumerate(entries):
            try:
                self._deliver_one(entry)
            except TransportError as error:
                self._begin()
                raise DeliveryError(error, range(index, len(entries))) from error

    def _deliver_one(self, entry: Entry) -> None:
        place = entry.segment, entry.offset
        skip = self._half_sent.get(place, 0)
        for number, each in enumerate(self._shaped(entry)):
            if number >= skip:
                self._send(entry, each)
                # A terminal event that is tried again does not send its START again: that would reopen the run. Another
                # run's event may be tried in between, so there are several; those that were parked are forgotten some time.
                self._half_sent[place] = number + 1
                if len(self._half_sent) > _HALF_SENT_KEPT:
                    del self._half_sent[next(iter(self._half_sent))]
        # Through: what bears the same position later (another parked event that is retried) is another event.
        self._half_sent.pop(place, None)
        self._taken()

    def _send(self, entry: Entry, event: bytes | dict[str, Any]) -> None:
        if not isinstance(event, bytes):
            self._transport.emit(event)
        elif self._emit_line is not None:
            self._emit_line(event)
        else:
            self._transport.emit(_decode(entry))

    def _deliver_batch(self, entries: Sequence[Entry]) -> None:
        events: list[bytes | dict[str, Any]] = []
        origin: list[int] = []
        for index, entry in enumerate(entries):
            mine = self._shaped(entry)
            events.extend(mine)
            origin.extend([index] * len(mine))
        if events:
            try:
                cast(Any, self._transport).emit_batch(events, key="events" if self._preset.batch == "events" else None)
            except BatchError as error:
                failed = sorted({origin[number] for number in error.failed})
                self._taken(but=failed)
                if len(entries) == 1:
                    raise TransportError(error.reason, status=error.status) from error
                raise DeliveryError(error, failed) from error
        self._taken()

    def _shaped(self, entry: Entry) -> list[bytes | dict[str, Any]]:
        """What is sent of an entry, in order; an event as it stands in the journal is bytes."""
        if self._as_journalled and not self._thins:
            self._shaper.skip()
            return [entry.line]
        event = _decode(entry)
        if not self._thinning.keeps(event):
            self._shaper.note(event)
            self._shaper.skip()
            self._left_out.append("thinned")
            return []
        if self._as_journalled:
            self._shaper.skip()
            return [entry.line]
        events = self._shaper.shape(event)
        if self._shaper.left_out is not None:
            self._left_out.append(self._shaper.left_out)
        return list(events)

    def _begin(self) -> None:
        self._shaper.forget()
        self._left_out.clear()

    def _taken(self, but: Sequence[int] = ()) -> None:
        self._shaper.accepted(but)
        for reason in self._left_out:
            self.thinned += 1
            if self._on_drop is not None:
                self._on_drop(reason)
        self._left_out.clear()

    def close(self, timeout_s: float) -> bool:
        """Close the transport."""
        return self._transport.close(timeout_s)


def _decode(entry: Entry) -> dict[str, Any]:
    try:
        return _decoder.decode(entry.line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise TransportError("not an event", status=400) from error
