"""How values read on a page: durations, times, digests, and foreign text without tricks."""

from __future__ import annotations

import re
import time
from typing import cast

from spanline.times import parse_rfc3339

_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
"""Controls, zero-width and bidirectional marks, lone surrogates: what makes a name look like another."""

_DIGEST = re.compile(r"([a-z0-9-]+(?::[A-Za-z0-9._-]+)?):([0-9a-f]{16,})\Z")


def visible(text: str) -> str:
    r"""`text` with what cannot be seen written out, e.g. `\u202e`."""
    return _UNSEEN.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def text_of(value: object) -> str:
    """A value as text; empty when there is none. Objects from elsewhere are not spelled out."""
    if value is None or isinstance(value, (dict, list)):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value)


def number_of(value: object) -> float | None:
    """A finite number, else None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    number = float(value)
    return number if abs(number) < 1e18 else None


def cut(text: str, length: int = 240) -> str:
    """`text`, shortened with an ellipsis."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def duration(seconds: object) -> str:
    """A duration in the unit that reads best; empty when unknown. Unit of `seconds`: seconds."""
    value = number_of(seconds)
    if value is None or value < 0:
        return ""
    if value < 0.001:
        return f"{value * 1000:.2g} ms" if value else "0 ms"
    if value < 1:
        return f"{value * 1000:.0f} ms"
    if value < 60:
        return f"{value:.2f} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def moment(value: object) -> str:
    """`2026-11-21 12:00:00.123 UTC` of an RFC 3339 time; the text itself when it is none."""
    text = text_of(value)
    nanos = nanos_of(text)
    if nanos is None:
        return text
    from_epoch = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(nanos // 1_000_000_000))
    return f"{from_epoch}.{nanos // 1_000_000 % 1000:03d} UTC"


def nanos_of(value: object) -> int | None:
    """Unix nanoseconds of an RFC 3339 time, None when it is none."""
    if not isinstance(value, str) or not value:
        return None
    try:
        return parse_rfc3339(value)
    except (ValueError, OverflowError):
        return None


def ago(value: object, now_ns: int | None = None) -> str:
    """`3 min ago`; empty when unknown or in the future."""
    nanos = nanos_of(value)
    if nanos is None:
        return ""
    seconds = ((now_ns if now_ns is not None else time.time_ns()) - nanos) // 1_000_000_000
    if seconds < 0:
        return ""
    for unit, name in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= unit:
            count = seconds // unit
            return f"{count} {'day' if name == 'days' and count == 1 else name} ago"
    return f"{seconds} s ago"


def short_digest(digest: object) -> str:
    """The first twelve hex of a digest, with its algorithm unless that is sha256."""
    text = text_of(digest)
    match = _DIGEST.match(text)
    if not match:
        return cut(text, 24)
    algorithm = match[1].partition(":")[0]
    return match[2][:12] if algorithm == "sha256" else f"{algorithm}:{match[2][:12]}"


def revision(version: str) -> str:
    """The first twelve characters of a commit; any other version as it is."""
    return version[:12] if re.match(r"(?:[0-9a-f]{40}|[0-9a-f]{64})\Z", version) else cut(version, 120)


def count(value: object) -> str:
    """A whole number with thin spaces between thousands; empty when unknown."""
    number = number_of(value)
    return f"{number:,.0f}".replace(",", "\u2009") if number is not None else ""


def entries(value: object) -> list[dict[str, object]]:
    """The objects of a JSON list; anything else is left out."""
    return [cast("dict[str, object]", entry) for entry in items(value) if isinstance(entry, dict)]


def items(value: object) -> list[object]:
    """A JSON list, empty for anything else."""
    return cast("list[object]", value) if isinstance(value, list) else []


def mapping(value: object) -> dict[str, object]:
    """A JSON object, empty for anything else."""
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}
