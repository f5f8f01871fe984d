"""Attributes of the SDK's spans and log records as plain dicts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def plain(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    """A plain dict of attributes. The SDK hands out a proxy of a locked mapping; its copy() is one call, walking it is three for each key."""
    if attributes is None:
        return {}
    copy = getattr(attributes, "copy", None)
    return copy() if copy is not None else dict(attributes)
