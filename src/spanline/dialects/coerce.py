"""Coercers: from whatever an attribute holds to a clean value, or None."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec

from spanline.naming import clean
from spanline.record.artifact import Document

MAX_NAME = 255
MAX_DOCUMENTS = 1000
MAX_JSON = 4 << 20

_FINISH = {
    "stop": "stop", "end_turn": "stop", "stop_sequence": "stop", "complete": "stop", "completed": "stop", "finished": "stop",
    "length": "length", "max_tokens": "length", "max_output_tokens": "length", "model_length": "length",
    "tool_calls": "tool_calls", "tool_call": "tool_calls", "tool_use": "tool_calls", "function_call": "tool_calls", "tool-calls": "tool_calls",
    "content_filter": "content_filter", "content-filter": "content_filter", "safety": "content_filter", "recitation": "content_filter",
    "refusal": "content_filter", "guardrail_intervened": "content_filter",
    "error": "error", "failed": "error",
}  # fmt: skip


def text(value: Any) -> str | None:
    """A short name: cleaned and capped; numbers are written out; anything else is None."""
    if type(value) is str:
        # Nearly all names are short and printable: one C call says so.
        return (value if len(value) <= MAX_NAME and value.isprintable() else clean(value, MAX_NAME)) or None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    return None


def count(value: Any) -> int | None:
    """A number of tokens or items, 0 or more."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value if 0 <= value < 1 << 53 else None
    if isinstance(value, float):
        return int(value) if math.isfinite(value) and 0 <= value < 1 << 53 else None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16:
        return int(value)
    return None


def integer(value: Any) -> int | None:
    """A whole number of either sign."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value if -(1 << 63) <= value < 1 << 63 else None
    if isinstance(value, float):
        return int(value) if math.isfinite(value) and abs(value) < 1 << 53 else None
    return None


def number(value: Any) -> float | None:
    """A finite number."""
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        try:
            as_float = float(value)
        except OverflowError:
            return None
        return as_float if math.isfinite(as_float) else None
    if isinstance(value, str) and len(value) < 40:
        try:
            as_float = float(value)
        except ValueError:
            return None
        return as_float if math.isfinite(as_float) else None
    return None


def flag(value: Any) -> bool | None:
    """A truth value."""
    return value if isinstance(value, bool) else None


def decoded(value: Any) -> Any:
    """A value, decoded from JSON when it is a string of JSON (also doubly encoded)."""
    for _ in range(2):
        if isinstance(value, str):
            if len(value) > MAX_JSON:
                return None
            try:
                value = msgspec.json.decode(value)
            except (msgspec.DecodeError, RecursionError, UnicodeError):
                return None
    return value


def finish_reasons(value: Any) -> list[str] | None:
    """Finish reasons in our six words; a word we do not know is `other`."""
    if type(value) is tuple and len(cast("tuple[Any, ...]", value)) == 1:
        # What nearly all answers have, in the SDK's form.
        word = cast("tuple[Any, ...]", value)[0]
        return [_FINISH.get(word.lower(), "other")] if type(word) is str else ["other"]
    if isinstance(value, str):
        value = decoded(value) if value.startswith(("[", '"')) else [value]
    if not isinstance(value, Sequence) or isinstance(value, (str, bytes)):
        return None
    words: list[str] = []
    for item in cast(Sequence[Any], value):
        word = _FINISH.get(item.lower(), "other") if isinstance(item, str) else "other"
        if word not in words:
            words.append(word)
    return words or None


_documents = msgspec.json.Decoder(tuple[Document, ...])


def documents(value: Any) -> tuple[Document, ...] | None:
    """Retrieved documents: ids, scores, source, version, digest; never their text."""
    if isinstance(value, str) and len(value) < 1 << 16 and value.isprintable():
        # As spanline's own operations write them, and many others; without escapes in it, what it holds is clean too.
        try:
            found = _documents.decode(value)
        except msgspec.ValidationError:
            pass
        except msgspec.DecodeError:
            return None
        else:
            if len(found) <= MAX_DOCUMENTS and "\\" not in value and all(0 < len(document.id) <= MAX_NAME for document in found):
                return found
    return _documents_of(value)


def _documents_of(value: Any) -> tuple[Document, ...] | None:
    items = decoded(value) if isinstance(value, str) else value
    if isinstance(items, Mapping):
        items = cast(Mapping[str, Any], items).get("documents")
    if not isinstance(items, Sequence) or isinstance(items, (str, bytes)):
        return None
    found: list[Document] = []
    for raw in cast(Sequence[Any], items)[:MAX_DOCUMENTS]:
        item = decoded(raw) if isinstance(raw, str) else raw
        if not isinstance(item, Mapping):
            continue
        entry = cast(Mapping[str, Any], item)
        document_id = text(entry.get("id"))
        if document_id is None:
            continue
        found.append(
            Document(
                document_id, number(entry.get("score")), text(entry.get("source")), text(entry.get("version")), text(entry.get("digest"))
            )
        )
    return tuple(found)
