"""Decoding: values that are JSON, JSON twice, or what Python prints, and a path into them."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec

MAX_JSON = 4 << 20
MAX_PYTHON = 1 << 16

_LEVELS = 3
_JSON_STARTS = frozenset('{["-0123456789tfn \n\t')
_PYTHON_STARTS = ("{", "[", "(", "'")
_UNKNOWN_ESCAPE = re.compile(r"""\\[^\n\\'"abfnrtvxuUN0-7]""")
_STEP = re.compile(r"\[(\d*)\]|([^.\[\]]+)")

Step = str | int | None
"""A member's name, an item's number, or None for every item."""


def decoded(value: Any) -> Any:
    """A value, decoded while it is a string of JSON (up to three times) or what Python prints of plain data.

    Returns:
        The decoded value, which may be a text that was encoded; None for a string that is neither, or is too long.
    """
    outer: Any = None
    for _ in range(_LEVELS):
        if not isinstance(value, str):
            return value
        if not value or len(value) > MAX_JSON:
            return outer
        if value[0] not in _JSON_STARTS:
            found = _python(value)
            return outer if found is None else found
        try:
            value = msgspec.json.decode(value)
        except (msgspec.DecodeError, RecursionError, UnicodeError):
            found = _python(value)
            return outer if found is None else found
        outer = value
    return value


def _python(value: str) -> Any:
    # `repr` writes no unknown escape; the parser would warn of one on the user's standard error.
    if len(value) > MAX_PYTHON or not value.startswith(_PYTHON_STARTS) or _UNKNOWN_ESCAPE.search(value):
        return None
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def steps_of(path: str) -> tuple[Step, ...]:
    """A path as steps: `choices[].finish_reason` is `("choices", None, "finish_reason")`, `[0]` takes the first item."""
    steps: list[Step] = []
    for number, name in _STEP.findall(path):
        steps.append(name or (int(number) if number else None))
    return tuple(steps)


def walk(value: Any, steps: Sequence[Step]) -> Any:
    """What a path leads to, or None. Every item (`[]`) gives a list of what was found; texts on the way are decoded."""
    for position, step in enumerate(steps):
        if isinstance(value, str):
            value = decoded(value)
        if step is None:
            items = cast(Sequence[Any], value) if isinstance(value, (list, tuple)) else [value]
            rest = steps[position + 1 :]
            found = [walk(item, rest) for item in items[:1000]]
            return [item for item in found if item is not None] or None
        if isinstance(step, int):
            if not isinstance(value, (list, tuple)) or len(cast(Sequence[Any], value)) <= step:
                return None
            value = cast(Sequence[Any], value)[step]
        else:
            if type(value) is not dict and not isinstance(value, Mapping):
                return None
            value = cast(Mapping[str, Any], value).get(step)
        if value is None:
            return None
    return value
