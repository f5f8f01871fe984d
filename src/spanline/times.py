"""Times: Unix nanoseconds to RFC 3339 and back."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache

_LEAP = re.compile(r":60(?=[.Z+-])")


def rfc3339(ns: int) -> str:
    """RFC 3339 UTC with microseconds, e.g. `2026-11-21T12:00:00.000001Z`. Unit of `ns`: nanoseconds."""
    seconds, nanos = divmod(ns, 1_000_000_000)
    return f"{_second(seconds)}.{nanos // 1000:06d}Z"


@lru_cache(256)
def _second(seconds: int) -> str:
    # Written once: the times of a request lie in one second or two.
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def parse_rfc3339(text: str) -> int:
    """Unix nanoseconds (microsecond precision) of an RFC 3339 time; one without zone is read as UTC.

    Raises:
        ValueError: Not a time.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        # Small letters and the sixtieth second of a leap are RFC 3339 too.
        moment = datetime.fromisoformat(_LEAP.sub(":59", text.upper()))
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    whole = int(moment.replace(microsecond=0).timestamp())
    return whole * 1_000_000_000 + moment.microsecond * 1000
