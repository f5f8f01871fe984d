"""Whether a Kafka that lineage goes to answers, and has the topic. Nothing is written to it."""

from __future__ import annotations

from collections.abc import Iterator

from spanline.cli.asking import Asker
from spanline.cli.checks import Finding
from spanline.cli.probes import AREA, Probe
from spanline.errors import TransportError
from spanline.transports.kafka import KafkaTransport

TIMEOUT_S = 3.0
"""A first answer takes longer than one of HTTP: the brokers are found, and signed in to, before. Unit: seconds."""
_WAITS = "Events wait in the journal, and nothing is lost."


def kafka(name: str, transport: KafkaTransport) -> Probe:
    """A topic of a Kafka."""

    def ask(asker: Asker) -> Iterator[Finding]:
        del asker
        where = f"{name} (Kafka at {transport.brokers})"
        try:
            partitions = transport.partitions(TIMEOUT_S)
        except TransportError as error:
            yield Finding(
                AREA, "broken", f"{where} does not answer: {error.reason}", f"are address, `security.protocol` and password right? {_WAITS}"
            )
            return
        finally:
            transport.close(0.1)
        if partitions is None:
            yield Finding(
                AREA, "warn", f"{where} has no topic {transport.topic}",
                f"make it, unless its brokers make topics when they are first written. {_WAITS}",
            )  # fmt: skip
            return
        yield Finding(AREA, "ok", f"{where} answers; topic {transport.topic} has {partitions} partition{'' if partitions == 1 else 's'}")

    return ask
