"""Which transports are configured: `OPENLINEAGE_*`, `openlineage.yml`, and a central spanline server."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from spanline.errors import ConfigurationError
from spanline.settings import Settings
from spanline.transports.base import Transport, create
from spanline.transports.composite import children
from spanline.transports.http import HttpTransport

SERVER = "server"
OPENLINEAGE = "openlineage"
BATCH_ENDPOINT = "api/v1/lineage/batch"

Configured = tuple[str, Transport, dict[str, Any]]


def configured(settings: Settings) -> list[Configured]:
    """The transports to deliver to: `(consumer name, transport, preset options)` each; empty when nothing is set.

    `OPENLINEAGE_CONFIG` beats `OPENLINEAGE_URL`, as in openlineage-python. A composite's children are consumers of their
    own. `OPENLINEAGE_DISABLED` does not concern the spanline server.

    Raises:
        ConfigurationError: The file cannot be read, or names an unknown type or a wrong option.
    """
    found: list[Configured] = []
    if settings.disabled:
        return found
    if settings.server_url:
        token = settings.tokens[0] if settings.tokens else None
        server = HttpTransport(settings.server_url, endpoint=BATCH_ENDPOINT, api_key=token)
        found.append((SERVER, server, {"preset": "spanline"}))
    if settings.openlineage_disabled:
        return found
    if settings.openlineage_config is not None:
        found.extend(_from_file(settings.openlineage_config, settings.openlineage_preset))
    elif settings.openlineage_url:
        found.extend(_expand(OPENLINEAGE, _from_url(settings.openlineage_url, settings), settings.openlineage_preset))
    return _unique(found)


def _from_url(url: str, settings: Settings) -> dict[str, Any]:
    """What `OPENLINEAGE_URL` stands for in an `openlineage.yml`."""
    if url.startswith("kafka://"):
        brokers, _, topic = url.removeprefix("kafka://").partition("/")
        named = {} if settings.openlineage_preset == "auto" else {"preset": settings.openlineage_preset}
        return {"type": "kafka", "topic": topic, "config": {"bootstrap.servers": brokers}, "spanline": named}
    auth = {"type": "api_key", "apiKey": settings.openlineage_api_key} if settings.openlineage_api_key else {}
    return {"type": "http", "url": url, "endpoint": settings.openlineage_endpoint, "auth": auth}


def unnamed_config(settings: Settings, folder: Path | None = None) -> Path | None:
    """An `openlineage.yml` in the working folder that openlineage-python would pick up and spanline does not (for `doctor`)."""
    path = (folder or Path.cwd()) / "openlineage.yml"
    return path if settings.openlineage_config is None and path.is_file() else None


def read_config(path: Path) -> dict[str, Any]:
    """The content of an `openlineage.yml` (or `.json`).

    Raises:
        ConfigurationError: Missing, unreadable, or no mapping.
    """
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"OPENLINEAGE_CONFIG={path}: cannot be read ({error})") from error
    try:
        found: Any = json.loads(content) if path.suffix == ".json" else _yaml(content)
    except ValueError as error:
        raise ConfigurationError(f"OPENLINEAGE_CONFIG={path}: {error}") from error
    if not isinstance(found, dict):
        raise ConfigurationError(f"OPENLINEAGE_CONFIG={path}: expected a mapping with the key `transport`")
    return cast(dict[str, Any], found)


def _yaml(content: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(content)
    except yaml.YAMLError as error:
        raise ValueError(f"not YAML: {error}") from error


def _from_file(path: Path, preset: str) -> list[Configured]:
    transport = read_config(path).get("transport")
    if not isinstance(transport, Mapping):
        raise ConfigurationError(f"OPENLINEAGE_CONFIG={path}: expected a mapping under `transport`")
    try:
        return _expand(OPENLINEAGE, dict(cast(Mapping[str, Any], transport)), preset)
    except ConfigurationError as error:
        raise ConfigurationError(f"OPENLINEAGE_CONFIG={path}: {error}") from error


def _expand(name: str, options: dict[str, Any], preset: str) -> list[Configured]:
    kind = options.get("type")
    if not isinstance(kind, str):
        raise ConfigurationError(f"transport {name}: expected a `type`, got {kind!r}")
    if kind == "composite":
        return [
            part
            for index, (child, child_options) in enumerate(children(options), 1)
            for part in _expand(child or f"{name}-{index}", child_options, preset)
        ]
    if kind == "noop":
        return []
    mine: object = options.get("spanline") or {}
    if not isinstance(mine, Mapping):
        raise ConfigurationError(f"transport {name}: expected a mapping under `spanline`, got {mine!r}")
    # What a program may look up in another end is HTTP; a file or the console just gets the events.
    fallback = preset if kind in {"http", "async_http"} else OPENLINEAGE
    transport = create(kind, options)
    usual: Mapping[str, Any] = getattr(transport, "preset_options", {})
    return [(name, transport, {"preset": fallback, **usual, **cast(Mapping[str, Any], mine)})]


def _unique(found: list[Configured]) -> list[Configured]:
    """Names that can be file names, each once."""
    taken: set[str] = set()
    named: list[Configured] = []
    for name, transport, options in found:
        plain = re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip(".")[:80] or "transport"
        unique, number = plain, 2
        while unique in taken:
            unique, number = f"{plain}-{number}", number + 1
        taken.add(unique)
        named.append((unique, transport, options))
    return named
