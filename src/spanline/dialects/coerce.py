"""Coercers: from whatever an attribute holds to a clean value, or None."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from spanline.dialects.decode import decoded
from spanline.naming import clean
from spanline.record.digest import content_digest

MAX_NAME = 255
MAX_SUBJECT = 128
MAX_TEMPLATE = 1 << 20
MAX_DOCUMENTS = 1000

_FINISH = {
    "stop": "stop", "end_turn": "stop", "stop_sequence": "stop", "complete": "stop", "completed": "stop", "finished": "stop",
    "eos": "stop", "end": "stop",
    "length": "length", "max_tokens": "length", "max_output_tokens": "length", "model_length": "length", "incomplete": "length",
    "tool_calls": "tool_calls", "tool_call": "tool_calls", "tool_use": "tool_calls", "function_call": "tool_calls", "tool-calls": "tool_calls",
    "content_filter": "content_filter", "content-filter": "content_filter", "safety": "content_filter", "recitation": "content_filter",
    "refusal": "content_filter", "guardrail_intervened": "content_filter", "blocklist": "content_filter",
    "prohibited_content": "content_filter", "spii": "content_filter",
    "error": "error", "failed": "error",
}  # fmt: skip
_EMAIL = re.compile(r"[^\s@]@[^\s@]+\.[A-Za-z]{2}")
_VENDOR = re.compile(
    r"(OpenAI|AzureOpenAI|Anthropic|Cohere|Mistral|HuggingFace|Ollama|Google|Bedrock|Groq|Gemini|Vertex|Nvidia)\w*"
    r"(?:Generator|Embedder|Embedding|Embeddings|LLM|Ranker)\Z"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_.:/-]{0,127}\Z")
_ERROR_TYPE = re.compile(r"[A-Za-z_0-9][\w.:/<>-]{0,199}\Z")


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
    if isinstance(value, str) and len(value) < 16 and value.isascii() and value.removeprefix("-").isdigit():
        return int(value)
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
    """A truth value; also written as a word."""
    if isinstance(value, str):
        word = value.lower()
        return True if word == "true" else False if word == "false" else None
    return value if isinstance(value, bool) else None


def name(value: Any) -> str | None:
    """The name of a thing, given by a program: one line, no e-mail address, not a sentence's length; also in JSON's quotes."""
    if isinstance(value, str) and value[:1] == '"':
        value = decoded(value)
    found = text(value)
    if found is None or len(found) > MAX_SUBJECT or (isinstance(value, str) and "\n" in value) or _EMAIL.search(found):
        return None
    return found


def version(value: Any) -> str | None:
    """A version's label; `null` in JSON is none."""
    found = name(value)
    return None if found in ("null", "None") else found


def has_email(value: str) -> bool:
    """Whether a text holds an e-mail address."""
    return "@" in value and _EMAIL.search(value) is not None


def locator(value: Any) -> str | None:
    """The name of a place, which may be a URL: its user part, query and fragment are cut."""
    found = text(value)
    if found is not None and "://" in found:
        scheme, _, rest = found.partition("://")
        place, slash, path = rest.partition("/")
        found = f"{scheme}://{place.rpartition('@')[2]}{slash}{path}".partition("?")[0].partition("#")[0]
    return name(found)


def digest_of(value: Any) -> str | None:
    """`sha256:<hex>` of a template's text, as spanline's own references have it."""
    return content_digest(value) if isinstance(value, str) and 0 < len(value) <= MAX_TEMPLATE else None


def quoted_digest(value: Any) -> str | None:
    """`digest_of` a text that stands in JSON's quotes."""
    inner = decoded(value) if isinstance(value, str) and value[:1] == '"' else value
    return digest_of(inner)


def instant(value: Any) -> int | None:
    """A point in time, RFC 3339, also in JSON's quotes. Unit: nanoseconds of Unix time."""
    if isinstance(value, str) and value[:1] == '"':
        value = decoded(value)
    if not isinstance(value, str) or len(value) > 40:
        return None
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        return None
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return (at - _EPOCH) // _MICROSECOND * 1000


def vendor(value: Any) -> str | None:
    """The provider in a class's name, such as `OpenAIChatGenerator`, or before a model's (`openai/gpt-4o`)."""
    if not isinstance(value, str) or len(value) > MAX_NAME:
        return None
    head, slash, _ = value.partition("/")
    if slash:
        return head if head.isidentifier() else None
    found = _VENDOR.match(value.rpartition(".")[2])
    return found[1].lower() if found else None


def wait(value: Any) -> float | None:
    """A time that passed: 0 or more, in the unit of its row."""
    found = number(value)
    return found if found is not None and found >= 0 else None


def cost(value: Any) -> float | None:
    """US dollars; 0 is what tools write that do not know the price."""
    return wait(value) or None


def identifier(value: Any) -> str | None:
    """A name that can hold no sentence: letters, digits, `_ . : / -`."""
    return value if isinstance(value, str) and _IDENTIFIER.match(value) else None


def error_type(value: Any) -> str | None:
    """The type of an error, such as a class's name or a status code; never its message."""
    found = text(value)
    return found if found is not None and _ERROR_TYPE.match(found) else None


def positive(value: Any) -> int | None:
    """A count of which 0 means that nothing was said."""
    return count(value) or None


def finish_reasons(value: Any) -> list[str] | None:
    """Finish reasons in our six words; a word we do not know is `other`."""
    if type(value) is tuple and len(cast("tuple[Any, ...]", value)) == 1:
        # What nearly all answers have, in the SDK's form.
        word = cast("tuple[Any, ...]", value)[0]
        return [_FINISH.get(word.lower(), "other")] if type(word) is str else ["other"]
    if isinstance(value, str):
        value = decoded(value) if value.startswith(("[", '"')) else value
        if isinstance(value, str):
            value = value.split(",")
    if not isinstance(value, Sequence) or isinstance(value, (str, bytes)):
        return None
    words: list[str] = []
    for item in cast(Sequence[Any], value):
        word = _finish(item)
        if word is not None and word not in words:
            words.append(word)
    return words or None


def _finish(item: Any) -> str | None:
    if isinstance(item, str):
        if not item:
            return None
        word = item.lower()
        return _FINISH.get(word) or _FINISH.get(word.rpartition(".")[2], "other")
    return None if item is None else "other"
