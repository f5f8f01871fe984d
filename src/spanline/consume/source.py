"""Which topic is read: a `kafka://` URL, or the Kafka transport of an `openlineage.yml`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from spanline.errors import ConfigurationError
from spanline.settings import Settings
from spanline.transports.composite import children
from spanline.transports.config import read_config
from spanline.transports.options import mapping, text

GROUP = "spanline"
_URL = re.compile(r"kafka://([^\s/@]+)/([A-Za-z0-9._-]+)/?\Z")


@dataclass(frozen=True)
class Topic:
    """A topic, and how its brokers are reached.

    Args:
        name: Of the topic.
        config: librdkafka's properties, as the Kafka transport has them; those of a producer are not looked at.
        group: The consumer group; all members share the partitions and the offsets.
    """

    name: str
    config: Mapping[str, Any] = field(repr=False)
    group: str = GROUP

    @property
    def brokers(self) -> str:
        """The brokers that are asked first, as configured."""
        return str(self.config.get("bootstrap.servers") or self.config.get("metadata.broker.list"))


def topic_of(settings: Settings, source: str | None = None, *, topic: str | None = None, group: str | None = None) -> Topic:
    """The topic that is meant.

    Args:
        settings: `openlineage_config` or `openlineage_url`, where no source is given.
        source: `kafka://host:port[,host:port]/topic`, or the path of an `openlineage.yml`.
        topic: Chooses among several Kafka transports of the file.
        group: Beats `group.id` of the file.

    Raises:
        ConfigurationError: There is none, or it is wrong; the message says what is expected.
    """
    given = source or (str(settings.openlineage_config) if settings.openlineage_config is not None else settings.openlineage_url)
    if not given:
        raise ConfigurationError(
            "no topic is named: give kafka://host:port/topic or an openlineage.yml, or set OPENLINEAGE_URL or OPENLINEAGE_CONFIG"
        )
    if given.startswith("kafka:"):
        found = _URL.match(given)
        if found is None:
            raise ConfigurationError(f"{_plain(given)}: expected kafka://host:port[,host:port]/topic")
        return Topic(found[2], {"bootstrap.servers": found[1]}, group or GROUP)
    if re.match(r"https?://", given):
        raise ConfigurationError(f"{_plain(given)} is no topic: expected kafka://host:port/topic, or an openlineage.yml with type: kafka")
    return _from_file(Path(given), topic, group)


def _from_file(path: Path, topic: str | None, group: str | None) -> Topic:
    transport = read_config(path).get("transport")
    try:
        found = [(text(options, "topic"), mapping(options, "config")) for options in _kafkas(transport)]
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error}") from error
    names = ", ".join(name for name, _ in found)
    wanted = [each for each in found if topic in {None, each[0]}]
    if not wanted:
        raise ConfigurationError(f"{path}: no transport of type kafka" + (f" with the topic {topic}; there are {names}" if found else ""))
    if len({name for name, _ in wanted}) > 1:
        raise ConfigurationError(f"{path}: several topics ({names}); choose one with --topic")
    name, config = wanted[0]
    if not (config.get("bootstrap.servers") or config.get("metadata.broker.list")):
        raise ConfigurationError(f"{path}: transport option config: expected `bootstrap.servers`")
    return Topic(name, config, group or str(config.get("group.id") or GROUP))


def _kafkas(transport: object) -> Iterator[Mapping[str, Any]]:
    if not isinstance(transport, Mapping):
        raise ConfigurationError("expected a mapping under `transport`")
    options = dict(cast(Mapping[str, Any], transport))
    if options.get("type") == "kafka":
        yield options
    elif options.get("type") == "composite":
        for _, child in children(options):
            yield from _kafkas(child)


def _plain(url: str) -> str:
    """A URL without what stands before an @: it may be a password."""
    head, _, rest = url.partition("://")
    return f"{head}://{rest.rpartition('@')[2]}"
