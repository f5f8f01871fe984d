"""Jaeger's link patterns as its UI resolves them: for tests that have its server, and not its UI."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

_PARAMETER = re.compile(r"#\{([^{}]*)\}")
_MARKS = "!~*'()"  # what encodeURIComponent leaves, besides letters, digits and - _ .


class _MissingValueError(Exception):
    pass


def resolve(ui: Mapping[str, Any], kind: str, values: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """`(text, URL)` of every link that a trace or a span with these values gets.

    Source: jaeger-ui, link-patterns and link-formatting: a pattern whose parameter is missing gives no link, every value is
    percent-encoded by itself, formatters (`pad_start`, `add`, `epoch_micros_to_date_iso`) are for `traces` only.
    """
    for pattern in ui["linkPatterns"]:
        if pattern["type"] != kind or (kind == "tags" and pattern["key"] not in values):
            continue
        try:
            yield _filled(pattern["text"], values, encode=False), _filled(pattern["url"], values, encode=True)
        except _MissingValueError:
            continue


def _filled(template: str, values: Mapping[str, str], *, encode: bool) -> str:
    def value(match: re.Match[str]) -> str:
        name, *formatters = (part.strip() for part in match[1].split("|"))
        if name not in values:
            raise _MissingValueError(name)
        found = values[name]
        for formatter in formatters:
            word, *arguments = formatter.split(" ")
            if word == "pad_start":
                found = found.rjust(int(arguments[0]), arguments[1])
            elif word == "add":
                found = str(int(found) + int(arguments[0]))
            else:
                assert word == "epoch_micros_to_date_iso", formatter
                found = datetime.fromtimestamp(int(found) / 1e6, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return quote(found, safe=_MARKS) if encode else found

    return _PARAMETER.sub(value, template)
