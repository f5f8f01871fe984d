"""A topic as a member of a consumer group reads it: messages in, offsets back once they are settled."""

from __future__ import annotations

import contextlib
import importlib.util
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from spanline.consume.source import Topic
from spanline.errors import MissingExtra, TransportError
from spanline.transports.kafka import refusal

if TYPE_CHECKING:
    from confluent_kafka import Consumer, KafkaError, TopicPartition
    from confluent_kafka import Message as KafkaMessage

PIECE = 100
"""Messages taken from librdkafka at a time: what a piece weighs is known only then."""

_SLICE_S = 0.25

_USUAL: dict[str, Any] = {
    "client.id": "spanline",
    "auto.offset.reset": "earliest",
    # A member that comes or goes stops only the partitions that move.
    "partition.assignment.strategy": "cooperative-sticky",
    # How soon a topic or partition that is made later is seen.
    "topic.metadata.refresh.interval.ms": 30_000,
    # What goes wrong is in the errors; librdkafka would write it to standard error, for each attempt.
    "log_level": 2,
}
# What is stored here, and nothing else, is committed, in the background and when a partition goes: so an offset follows its event's transaction.
_OURS: dict[str, Any] = {
    "enable.auto.offset.store": False, "enable.auto.commit": True, "auto.commit.interval.ms": 1000, "enable.partition.eof": True,
}  # fmt: skip


class Message(NamedTuple):
    """One message. `value` is None for a tombstone."""

    partition: int
    offset: int
    value: bytes | None


class TopicReader:
    """Reads a topic. Not thread-safe; not to be used in a forked child.

    Args:
        topic: What to read.
        on_change: Told of the partitions that are no longer ours, or of none when some were gained; called inside `fetch`, `hold` and `close`.

    Raises:
        MissingExtra: confluent-kafka is not installed.
        ConfigurationError: It refuses a property.
    """

    def __init__(self, topic: Topic, on_change: Callable[[frozenset[int]], None]) -> None:
        if importlib.util.find_spec("confluent_kafka") is None:
            raise MissingExtra("reading a topic", "confluent-kafka", "kafka")
        self._topic = topic
        self._on_change = on_change
        self._next: dict[int, int] = {}
        self._at_end: set[int] = set()
        self.joined = False
        self.assigned: frozenset[int] = frozenset()
        self.trouble = ""
        self._consumer = self._opened()

    def fetch(self, most: int, most_bytes: int, timeout_s: float) -> list[Message]:
        """What is there, in order of each partition; waits only where there is nothing.

        Raises:
            TransportError: The client is of no further use.
        """
        found: list[Message] = []
        weight = 0
        while len(found) < most and weight < most_bytes:
            piece = self._taken(self._consumer.consume(min(PIECE, most - len(found)), 0.0 if found else timeout_s))
            if not piece:
                break
            found += piece
            weight += sum(len(message.value or b"") for message in piece)
        return found

    def hold(self, seconds: float, until: Callable[[], bool]) -> list[Message]:
        """Wait without reading on, and stay a member of the group meanwhile.

        Args:
            seconds: How long.
            until: Ends it sooner.

        Returns:
            What came all the same.
        """
        from confluent_kafka import KafkaException

        found: list[Message] = []
        deadline = time.monotonic() + seconds
        while not until() and (left := deadline - time.monotonic()) > 0:
            # Again in each round: what is assigned meanwhile would be read. A partition that has just gone is no error.
            with contextlib.suppress(KafkaException):
                self._consumer.pause(self._consumer.assignment())
            message = self._consumer.poll(min(left, _SLICE_S))
            found += self._taken([message]) if message is not None else []
        with contextlib.suppress(KafkaException):
            self._consumer.resume(self._consumer.assignment())
        return found

    def settled(self, offsets: Mapping[int, int]) -> None:
        """All before these offsets, by partition, need not be read again."""
        from confluent_kafka import KafkaException, TopicPartition

        for partition, offset in offsets.items():
            if partition in self.assigned:
                # When it has just gone to another member, that one reads these again; the ledger knows them.
                with contextlib.suppress(KafkaException):
                    self._consumer.store_offsets(offsets=[TopicPartition(self._topic.name, partition, offset)])

    def lag(self) -> int | None:
        """Messages that are in the topic and were not fetched yet, as far as the brokers told; None while they have told nothing."""
        from confluent_kafka import KafkaException, TopicPartition

        total: int | None = None
        for partition in self.assigned:
            try:
                told = self._consumer.get_watermark_offsets(TopicPartition(self._topic.name, partition), cached=True)
            except KafkaException:
                continue
            if told and told[1] >= 0:
                total = (total or 0) + max(0, told[1] - self._next.get(partition, max(0, told[0])))
        return total

    def at_end(self) -> bool:
        """Whether all partitions of this member were read to their end; also when other members have them all."""
        return self.joined and self.assigned <= self._at_end

    def close(self) -> None:
        """Leave the group, with what was settled."""
        self._consumer.close()

    def _taken(self, messages: Sequence[KafkaMessage]) -> list[Message]:
        from confluent_kafka import KafkaError

        found: list[Message] = []
        for message in messages:
            partition, offset, error = message.partition(), message.offset(), message.error()
            if partition is None or offset is None or (error is not None and error.code() != KafkaError._PARTITION_EOF):
                self._hear(error)
                continue
            if error is not None:
                # The end lies behind the last message where transactions leave their marks.
                self._next[partition] = offset
                self._at_end.add(partition)
                continue
            self._next[partition] = offset + 1
            self._at_end.discard(partition)
            value = message.value()
            found.append(Message(partition, offset, value if isinstance(value, bytes) or value is None else value.encode()))
        if found:
            self.trouble = ""
        return found

    def _hear(self, error: KafkaError | None) -> None:
        if error is None:
            return
        self.trouble = error.name()
        if error.fatal() or error.name() == "_FATAL":
            raise TransportError(f"Kafka: {error.name()}: {error.str()}")

    def _opened(self) -> Consumer:
        from confluent_kafka import Consumer, KafkaException

        config = {**_USUAL, **self._topic.config, **_OURS, "group.id": self._topic.group}
        if config.get("group.protocol") == "consumer":
            del config["partition.assignment.strategy"]  # The broker assigns.

        def heard(error: KafkaError) -> None:
            self.trouble = error.name()

        try:
            consumer = Consumer({**config, "error_cb": heard})
            consumer.subscribe([self._topic.name], on_assign=self._gained, on_revoke=self._gone, on_lost=self._gone)
        except (KafkaException, TypeError, ValueError) as error:
            raise refusal(error, config) from None
        return consumer

    def _gained(self, consumer: Consumer, partitions: Sequence[TopicPartition]) -> None:
        self.joined = True
        self.trouble = ""
        self.assigned |= {each.partition for each in partitions}
        self._on_change(frozenset())

    def _gone(self, consumer: Consumer, partitions: Sequence[TopicPartition]) -> None:
        gone = frozenset(each.partition for each in partitions)
        self.assigned -= gone
        for partition in gone:
            self._next.pop(partition, None)
            self._at_end.discard(partition)
        self._on_change(gone)
