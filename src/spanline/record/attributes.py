"""Attributes of spans: those that we make, as every exporter can send them, and a plain dict of those that we read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.trace import Span

MAX_VALUE = 1 << 20
"""Characters of an attribute; documents of a retrieval are the longest."""
MAX_ITEMS = 128
_SHORT = 1 << 16


def _as_known() -> bool:
    """The SDK's mapping is built as it was when this was written (ADR 11)."""
    parts = vars(BoundedAttributes(2, {"key": "value"}, immutable=False))
    return parts.get("_dict") == {"key": "value"} and parts.get("_immutable") is False and hasattr(parts.get("_lock"), "__enter__")


_KNOWN = _as_known()


def set_clean(span: Span, attributes: dict[str, Any]) -> None:
    """Set attributes that every exporter can send on a span that is open.

    The SDK would look at each value once more, which takes as long as all that is read of the span later (ADR 11). Where its span has room
    they go where it would put them; in any other case it is asked.
    """
    held = getattr(span, "_attributes", None)
    if _KNOWN and type(held) is BoundedAttributes and held.max_value_len is None:
        values = held._dict  # pyright: ignore[reportPrivateUsage]
        if not held._immutable and (held.maxlen is None or len(values) + len(attributes) <= held.maxlen):  # pyright: ignore[reportPrivateUsage]
            with held._lock:  # pyright: ignore[reportPrivateUsage]
                values.update(attributes)
            return
    span.set_attributes(attributes)


def put(attributes: dict[str, Any], values: Mapping[str, Any]) -> None:
    """Put values that every exporter can send among attributes; None and what is no attribute value are left out."""
    for key, value in values.items():
        if value is None:
            continue
        kind: type[Any] = type(value)  # pyright: ignore[reportUnknownVariableType]
        # Nearly all values are short ASCII words and numbers, which need no look.
        if (kind is str and len(value) < _SHORT and value.isascii()) or kind is float or kind is bool:
            attributes[key] = value
        else:
            sendable = attribute(value)
            if sendable is not None:
                attributes[key] = sendable


def attribute(value: Any) -> Any:
    """A value that every exporter can send; None for what is no attribute value.

    One lone surrogate, or an integer beyond 64 bits, makes the OTLP encoder fail and with it the whole batch.
    """
    kind: type[Any] = type(value)  # pyright: ignore[reportUnknownVariableType]
    if kind is str:
        if len(value) > MAX_VALUE:
            value = value[:MAX_VALUE]
        return value if value.isascii() else value.encode("utf-8", "replace").decode()
    if kind is int:
        return value if -(1 << 63) <= value < 1 << 63 else None
    if kind is float or kind is bool:
        return value
    if kind is list or kind is tuple:
        items = [
            str(item)[:MAX_VALUE].encode("utf-8", "replace").decode() for item in value[:MAX_ITEMS] if isinstance(item, (str, int, float))
        ]
        return tuple(items) or None
    if isinstance(value, str):
        return attribute(str(value))
    return None


def plain(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    """A plain dict of attributes. The SDK hands out a proxy of a locked mapping; its copy() is one call, walking it is three for each key."""
    if attributes is None:
        return {}
    copy = getattr(attributes, "copy", None)
    return copy() if copy is not None else dict(attributes)
