"""Times: Unix nanoseconds to RFC 3339 and back."""

from __future__ import annotations

from datetime import UTC, datetime

_DAY_S = 86_400
_dates: dict[int, str] = {}


def rfc3339(ns: int) -> str:
    """RFC 3339 UTC with microseconds, e.g. `2026-11-21T12:00:00.000001Z`. Unit of `ns`: nanoseconds."""
    seconds, nanos = divmod(ns, 1_000_000_000)
    day, second = divmod(seconds, _DAY_S)
    date = _dates.get(day)
    if date is None:
        if len(_dates) > 64:
            _dates.clear()
        date = _dates[day] = datetime.fromtimestamp(day * _DAY_S, UTC).strftime("%Y-%m-%dT")
    minute, second = divmod(second, 60)
    hour, minute = divmod(minute, 60)
    return f"{date}{hour:02d}:{minute:02d}:{second:02d}.{nanos // 1000:06d}Z"


def parse_rfc3339(text: str) -> int:
    """Unix nanoseconds (microsecond precision) of an RFC 3339 time; one without zone is read as UTC.

    Raises:
        ValueError: Not a time.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    whole = int(moment.replace(microsecond=0).timestamp())
    return whole * 1_000_000_000 + moment.microsecond * 1000
