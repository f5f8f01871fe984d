"""The Kafka transport: events to one topic, keyed by run, by an idempotent producer that waits for the broker's word."""

from __future__ import annotations

import importlib.util
import os
import re
import time
import weakref
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import msgspec

from spanline.errors import ConfigurationError, TransportError
from spanline.transports.base import BatchError
from spanline.transports.keys import key_of
from spanline.transports.options import flag, mapping, text

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, Producer

MESSAGE_MAX_BYTES = 1_000_000
"""What librdkafka lets through unless told otherwise; a broker's default is 1 MiB."""
ENVELOPE_BYTES = 10_000
"""What key, headers and batch take of it, generously."""
ANSWER_S = 10.0
"""How long a message may wait for the broker. Unit: seconds."""
MIN_SECRET = 4
"""Characters. A shorter value of a property is a flag or a number, and may stand in a message."""

_HEADERS: list[tuple[str, str | bytes | None]] = [("content-type", b"application/json")]
_UNTOLD = "no answer"
_STATUS = {
    "MSG_SIZE_TOO_LARGE": 413, "RECORD_LIST_TOO_LARGE": 413, "INVALID_MSG_SIZE": 413, "INVALID_RECORD": 422, "POLICY_VIOLATION": 422,
    "UNSUPPORTED_FOR_MESSAGE_FORMAT": 422, "TOPIC_AUTHORIZATION_FAILED": 403, "UNKNOWN_TOPIC_OR_PART": 404, "_UNKNOWN_TOPIC": 404,
    "TOPIC_EXCEPTION": 400,
}  # fmt: skip
"""Errors that another attempt would meet again, as the HTTP status that says the same. Source: librdkafka, `rd_kafka_resp_err_t`."""

_encoder = msgspec.json.Encoder()
# Every transport of this process, also one that is garbage but not collected yet.
_transports: weakref.WeakSet[KafkaTransport] = weakref.WeakSet()
# Producers of a parent process: a forked child has none of their threads, and dies of a segmentation fault when it frees one.
_inherited: list[Any] = []


class _Trouble:
    """What the brokers' trouble is called. No method of the transport: its producer would hold it, and only the cycle collector free both."""

    def __init__(self) -> None:
        self.name = ""

    def hear(self, error: KafkaError) -> None:
        """Librdkafka's word."""
        self.name = error.name()


class KafkaTransport:
    """Writes events to a topic. An event is taken once the broker has acknowledged it.

    The key is `run:<id of the trace's root run>`, so all events of a trace keep their order, and a busy service is spread over
    all partitions; openlineage-python's `messageKey` puts one key on all. No compression by default: not every client reads
    zstd.

    Args:
        topic: Name of the topic.
        config: librdkafka's properties. Idempotence, acknowledgement by all replicas and the time to wait are ours unless set.
        message_key: One key for all messages.

    Raises:
        ConfigurationError: confluent-kafka is not installed, or refuses a property.
    """

    kind = "kafka"

    def __init__(self, topic: str, config: Mapping[str, Any], *, message_key: str | None = None) -> None:
        if importlib.util.find_spec("confluent_kafka") is None:
            raise ConfigurationError("transport kafka needs confluent-kafka: pip install 'spanline[kafka]'")
        if not (config.get("bootstrap.servers") or config.get("metadata.broker.list")):
            raise ConfigurationError("transport option config: expected `bootstrap.servers`")
        self.topic = topic
        self._key = message_key
        wait = {} if "delivery.timeout.ms" in config else {"message.timeout.ms": int(ANSWER_S * 1000)}
        self._config: dict[str, Any] = {
            **wait,
            "enable.idempotence": True,
            "client.id": "spanline",
            # What goes wrong is in the errors; librdkafka would write it to standard error, for each attempt.
            "log_level": 2,
            **config,
        }
        self._timeout_s = _seconds(self._config)
        self._limit = _bytes(self._config) - ENVELOPE_BYTES
        self._producer: Producer | None = None
        self._trouble = _Trouble()
        self._check()
        _transports.add(self)

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> KafkaTransport:
        """From a transport of `openlineage.yml`. Source: openlineage-python, KafkaConfig.

        `flush` is read and has no effect: the relay always waits for the broker, and never on an app's thread.

        Raises:
            ConfigurationError: A wrong or missing option.
        """
        flag(options, "flush", True)
        key = options.get("messageKey", options.get("message_key"))
        if key is not None and not isinstance(key, str):
            raise ConfigurationError(f"transport option messageKey: expected a string, got {key!r}")
        return cls(text(options, "topic"), mapping(options, "config"), message_key=key)

    @property
    def preset_options(self) -> dict[str, Any]:
        """What the relay does for this transport unless the configuration says otherwise: many at once, none too large."""
        return {"batch": "array", "max_event_bytes": self._limit}

    @property
    def brokers(self) -> str:
        """The brokers that are asked first, as configured."""
        return str(self._config.get("bootstrap.servers") or self._config.get("metadata.broker.list"))

    def partitions(self, timeout_s: float) -> int | None:
        """How many partitions the topic has; None where there is no such topic. Nothing is written, and no topic is made.

        Raises:
            TransportError: No broker answers within the time.
        """
        from confluent_kafka import KafkaException

        try:
            found = self._open().list_topics(timeout=timeout_s).topics.get(self.topic)
        except KafkaException as error:
            if self._producer is not None:
                self._producer.poll(0)  # tells what is the matter with the brokers
            raise TransportError(self._because(error.args[0].name())) from None
        return len(found.partitions) if found is not None else None

    def emit(self, event: Mapping[str, Any]) -> None:
        """Write one event, and wait for the broker.

        Raises:
            TransportError: It was not acknowledged; `status` is None when nothing is known of it.
        """
        failures = self._write([event])
        if failures:
            reason, status = failures[0]
            raise TransportError(reason, status=status)

    def emit_batch(self, events: Sequence[bytes | Mapping[str, Any]], *, key: str | None = None) -> None:
        """Write many events, and wait for the broker. `key` is for other transports: each event is a message of its own.

        Raises:
            BatchError: Some were not acknowledged; with each also what follows of its trace, so that an end stays last.
            TransportError: None was, and nothing is known of them.
        """
        failures = self._write(events)
        if not failures:
            return
        first = min(failures)
        reason, status = failures[first]
        if len(failures) == len(events) and all(each is None for _, each in failures.values()):
            raise TransportError(reason)
        # One that another attempt may mend decides: what is to be parked is found one by one.
        raise BatchError(reason, failed=tuple(sorted(failures)), status=status or 503)

    def close(self, timeout_s: float) -> bool:
        """Give up the producer; whether nothing was left in it."""
        producer, self._producer = self._producer, None
        return producer is None or producer.flush(timeout_s) == 0

    def _write(self, events: Sequence[bytes | Mapping[str, Any]]) -> dict[int, tuple[str, int | None]]:
        """Failures by index: the reason, and the status where trying again is no use."""
        producer = self._open()
        keys = [self._key if self._key is not None else key_of(event) for event in events]
        told: dict[int, KafkaError | None] = {}
        for index, event in enumerate(events):
            value = event if isinstance(event, bytes) else _encoder.encode(event)
            self._produce(producer, keys[index], value, partial(_tell, told, index))
        if producer.flush(self._timeout_s + 1.0):
            producer.purge()
            producer.flush(1.0)
        failures: dict[int, tuple[str, int | None]] = {}
        held: dict[str, str] = {}
        for index, key in enumerate(keys):
            error = told.get(index, _UNTOLD)
            if error is not None:
                failures[index] = self._failure(error)
            elif key in held and self._key is None:
                failures[index] = held[key], None
            if index in failures and failures[index][1] is None:
                held.setdefault(key, failures[index][0])
        if not failures:
            self._trouble.name = ""
        return failures

    def _produce(self, producer: Producer, key: str, value: bytes, on_delivery: Any) -> None:
        from confluent_kafka import KafkaException

        deadline = time.monotonic() + self._timeout_s
        while True:
            try:
                producer.produce(self.topic, value, key, headers=_HEADERS, on_delivery=on_delivery)
            except BufferError:  # librdkafka's queue is full of what was not acknowledged yet.
                producer.poll(0.1)
                if time.monotonic() < deadline:
                    continue
            except KafkaException as error:
                on_delivery(error.args[0], None)
            return

    def _failure(self, error: KafkaError | str) -> tuple[str, int | None]:
        if isinstance(error, str):
            return self._because(error), None
        if error.fatal() or error.name() == "_FATAL":
            self._producer = None  # It is of no further use; the next attempt makes another.
        status = _STATUS.get(error.name())
        return (f"Kafka: {error.name()}" if status else self._because(error.name())), status

    def _because(self, name: str) -> str:
        """A name of an error, and of the trouble with brokers behind it: a time-out alone does not say that a password is wrong."""
        trouble = self._trouble.name
        return f"Kafka: {name}" + (f" ({trouble})" if trouble and trouble != name else "")

    def _open(self) -> Producer:
        if self._producer is None:
            from confluent_kafka import Producer

            self._producer = Producer({**self._config, "error_cb": self._trouble.hear})
        return self._producer

    def _inherit(self) -> None:
        """In a forked child: put the parent's producer aside; this process makes its own."""
        if self._producer is not None:
            _inherited.append(self._producer)
            self._producer = None

    def _check(self) -> None:
        """Let librdkafka read the properties, without a broker to talk to."""
        from confluent_kafka import KafkaException, Producer

        config = {name: value for name, value in self._config.items() if name not in {"bootstrap.servers", "metadata.broker.list"}}
        try:
            Producer(config)
        except (KafkaException, TypeError, ValueError) as error:
            raise refusal(error, config) from None


def refusal(error: Exception, config: Mapping[str, Any]) -> ConfigurationError:
    """What librdkafka does not like of the properties, without their values: one may be a password."""
    said = str(error.args[0].str()) if error.args and hasattr(error.args[0], "str") else str(error)
    # Invalid value "secret" for configuration property "name": greedy, a value may hold anything.
    said = re.sub(r' value ".*" for ', " value for ", said, flags=re.DOTALL)
    for value in map(str, config.values()):
        if len(value) >= MIN_SECRET:
            said = said.replace(value, "…")
    return ConfigurationError(f"transport option config: {said}")


def _after_fork() -> None:
    for transport in list(_transports):
        transport._inherit()  # pyright: ignore[reportPrivateUsage]


os.register_at_fork(after_in_child=_after_fork)


def _tell(told: dict[int, KafkaError | None], index: int, error: KafkaError | None, message: object) -> None:
    told[index] = error


def _seconds(config: Mapping[str, Any]) -> float:
    found: object = config.get("delivery.timeout.ms", config.get("message.timeout.ms"))
    try:
        return max(0.1, int(cast(Any, found)) / 1000)
    except (TypeError, ValueError):
        raise ConfigurationError(f"transport option config.message.timeout.ms: expected milliseconds, got {found!r}") from None


def _bytes(config: Mapping[str, Any]) -> int:
    found: object = config.get("message.max.bytes", MESSAGE_MAX_BYTES)
    try:
        return max(2 * ENVELOPE_BYTES, int(cast(Any, found)))
    except (TypeError, ValueError):
        raise ConfigurationError(f"transport option config.message.max.bytes: expected bytes, got {found!r}") from None
