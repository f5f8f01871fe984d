"""Times and ids as the server reads and writes them."""

from __future__ import annotations

import hashlib
import re
import uuid
from datetime import UTC, datetime

_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d)?)(?:\.(\d{1,9}))?(Z|[+-]\d\d:?\d\d)?\Z")
_PARTS = re.compile(r"[0-9a-fA-F]{1,8}(-[0-9a-fA-F]{1,4}){3}-[0-9a-fA-F]{1,12}\Z")
_WIDTHS = (8, 4, 4, 4, 12)


def parse_time(text: str) -> int:
    """Unix nanoseconds of an ISO date-time; without a zone it is the server's, UTC here.

    Raises:
        ValueError: Not a date-time.
    """
    match = _TIME.match(text)
    if match is None:
        raise ValueError(f"Failed to deserialize java.time.ZonedDateTime: {text}")
    zone = (match[3] or "Z").replace("Z", "+00:00")
    seconds = int(datetime.fromisoformat(match[1] + zone).timestamp())
    return seconds * 1_000_000_000 + int((match[2] or "0").ljust(9, "0"))


def format_time(ns: int | None) -> str | None:
    """An instant as Java prints it: no fraction, or 3, 6 or 9 digits."""
    if ns is None:
        return None
    seconds, rest = divmod(ns, 1_000_000_000)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    digits = f"{rest:09d}"
    while digits.endswith("000"):
        digits = digits[:-3]
    return f"{text}.{digits}Z" if digits else f"{text}Z"


def java_uuid(text: str) -> str | None:
    """What `UUID.fromString` makes of a text; short groups are padded. None where it refuses."""
    if not _PARTS.match(text):
        return None
    return "-".join(part.lower().zfill(width) for part, width in zip(text.split("-"), _WIDTHS, strict=True))


def name_uuid(text: str) -> str:
    """`UUID.nameUUIDFromBytes`: MD5, version 3."""
    return str(uuid.UUID(bytes=hashlib.md5(text.encode()).digest(), version=3))
