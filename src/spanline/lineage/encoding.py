"""Encoding: events to JSON bytes; what no consumer can take is repaired on a slow path that few events need."""

from __future__ import annotations

from math import isfinite
from typing import Any, cast

import msgspec

from spanline.naming import clean

MAX_TEXT = 1024
"""Characters of any string in an event; names are capped tighter where they are made."""

_encode = msgspec.json.Encoder().encode
_INT64 = 1 << 63
# As numbers: asked for bytes in bytes, CPython tries them as a number first, and makes an exception of it.
_QUOTE, _BACKSLASH, _DELETE = b'"\\\x7f'


def encode(event: msgspec.Struct, *, finite: bool = False) -> bytes:
    """JSON of an event: no null, no NaN, no control characters or lone surrogates, no string above `MAX_TEXT`.

    Nearly all events are clean, so they are encoded as they stand and the bytes are looked at (a few passes in C);
    only what looks suspicious is taken apart.

    Args:
        event: The event.
        finite: Its numbers are known to be finite, so that no null needs to be looked for.
    """
    try:
        line = _encode(event)
    except (UnicodeEncodeError, TypeError, OverflowError, ValueError):
        return _encode(_repaired(event))
    return line if _is_clean(line, finite) else _encode(_repaired(event))


def _is_clean(line: bytes, finite: bool) -> bool:
    # msgspec escapes controls, quotes and backslashes, and writes NaN as null.
    if _BACKSLASH in line or (not finite and b"null" in line):
        return False
    if line.isascii():
        if _DELETE in line:
            return False
    elif not line.decode().isprintable():
        return False
    return _has_short_strings(line)


def _has_short_strings(line: bytes) -> bool:
    # Without escapes every quote bounds a string, so a long string is a long stretch without a quote.
    position, end = 0, len(line)
    while position + MAX_TEXT < end:
        quote = line.rfind(_QUOTE, position, position + MAX_TEXT + 1)
        if quote < 0:
            return False
        position = quote + 1
    return True


def _repaired(event: msgspec.Struct) -> Any:
    # Objects that are no data are left out: their text could be anything.
    return _repair(msgspec.to_builtins(event, builtin_types=(bytes, bytearray, memoryview), str_keys=True, enc_hook=_opened))


def _opened(value: Any) -> Any:
    return msgspec.json.decode(value) if isinstance(value, msgspec.Raw) else None


def _repair(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value, MAX_TEXT)
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if -_INT64 <= value < _INT64 else None
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, dict):
        pairs = ((clean(str(key), MAX_TEXT), _repair(item)) for key, item in cast(dict[Any, Any], value).items())
        return {key: item for key, item in pairs if item is not None}
    if isinstance(value, list | tuple):
        items = (_repair(item) for item in cast(list[Any], value))
        return [item for item in items if item is not None]
    return None
