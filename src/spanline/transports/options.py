"""Reading a transport's options: each wrong one is named, with what was expected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from spanline.errors import ConfigurationError


def text(options: Mapping[str, Any], key: str, default: str | None = None) -> str:
    """A required string, unless there is a default."""
    value = options.get(key, default)
    if not isinstance(value, str) or not value:
        raise ConfigurationError(f"transport option {key}: expected a string, got {value!r}")
    return value


def number(options: Mapping[str, Any], key: str, default: float) -> float:
    """A positive number."""
    value = options.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        raise ConfigurationError(f"transport option {key}: expected a positive number, got {value!r}")
    return float(value)


def flag(options: Mapping[str, Any], key: str, default: bool) -> bool:
    """True or false."""
    value = options.get(key, default)
    if not isinstance(value, bool):
        raise ConfigurationError(f"transport option {key}: expected true or false, got {value!r}")
    return value


def mapping(options: Mapping[str, Any], key: str) -> dict[str, Any]:
    """A mapping, empty by default."""
    value: object = options.get(key) or {}
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"transport option {key}: expected a mapping, got {type(value).__name__}")
    return dict(cast(Mapping[str, Any], value))
