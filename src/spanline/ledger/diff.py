"""Diff: what differs between two runs, releases or time windows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy import Connection

from spanline.ledger.documents import part
from spanline.ledger.sides import Side, side_of

MAX_DOCUMENTS = 500

_Versions = set[tuple[str | None, str | None]]


def diff(connection: Connection, a: str, b: str, *, job: str | None = None) -> dict[str, Any]:
    """What differs, from `a` to `b` (`sides.side_of` says what they may be).

    Returns:
        `{a, b, changes: [{kind, name, change, a, b}], parameters, documents, outcomes, usage, duration}`: `change` is `version`, `digest`,
        `added` or `removed`; `a` and `b` of a change are `{version, digest}`, a list where several were used, null where none.

    Raises:
        UnknownReference: A side is not known.
        ValueError: A side cannot be compared.
    """
    left, right = side_of(connection, a, job=job), side_of(connection, b, job=job)
    return {
        "a": left.about,
        "b": right.about,
        "changes": _changes(left, right),
        "parameters": _parameters(left.parameters, right.parameters),
        "documents": _documents(left.documents, right.documents),
        "outcomes": {"a": left.outcomes, "b": right.outcomes, "same": left.outcomes == right.outcomes},
        "usage": _numbers(left.usage, right.usage),
        "duration": {"a": left.duration, "b": right.duration, "difference": _difference(left.duration, right.duration)},
    }


def _changes(left: Side, right: Side) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for kind, name in sorted({*left.used, *right.used}, key=lambda key: (_ORDER.get(key[0], 99), key)):
        a, b = left.used.get((kind, name), set()), right.used.get((kind, name), set())
        change = _change(a, b)
        if change is not None:
            found.append({"kind": kind, "name": name, "change": change, "a": _told(a), "b": _told(b)})
    return found


def _change(a: _Versions, b: _Versions) -> str | None:
    if a == b:
        return None
    if not a or not b:
        return "removed" if not b else "added"
    if {version for version, _ in a} != {version for version, _ in b}:
        return "version"
    known_a, known_b = {digest for _, digest in a if digest}, {digest for _, digest in b if digest}
    # A digest that one side alone knows speaks of no change.
    return "digest" if known_a and known_b and known_a != known_b else None


def _told(versions: _Versions) -> Any:
    told = [{"version": version, "digest": digest} for version, digest in sorted(versions, key=lambda pair: (pair[0] or "", pair[1] or ""))]
    return None if not told else told[0] if len(told) == 1 else told


def _parameters(a: Mapping[str, set[str]], b: Mapping[str, set[str]]) -> list[dict[str, Any]]:
    return [
        {"name": name, "a": _values(a.get(name)), "b": _values(b.get(name))}
        for name in sorted({*a, *b})
        if a.get(name, set()) != b.get(name, set())
    ]


def _values(some: set[str] | None) -> Any:
    told = [msgspec.json.decode(value) for value in sorted(some or ())]
    return None if not told else told[0] if len(told) == 1 else told


def _documents(a: Mapping[str, set[str]], b: Mapping[str, set[str]]) -> dict[str, Any]:
    changed = [name for name in sorted(a.keys() & b.keys()) if a[name] and b[name] and not a[name] & b[name]]
    return {
        "added": sorted(b.keys() - a.keys())[:MAX_DOCUMENTS],
        "removed": sorted(a.keys() - b.keys())[:MAX_DOCUMENTS],
        "changed": changed[:MAX_DOCUMENTS],
        "same": len(a.keys() & b.keys()) - len(changed),
    }


def _numbers(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "a": dict(a),
        "b": dict(b),
        "difference": {
            name: round(b.get(name, 0) - a.get(name, 0), 6)
            for name in sorted({*a, *b})
            if isinstance(a.get(name, 0), int | float) and isinstance(b.get(name, 0), int | float)
        },
    }


def _difference(a: Any, b: Any) -> float | None:
    a, b = (part(value).get("p50") if isinstance(value, dict) else value for value in (a, b))
    return round(b - a, 6) if isinstance(a, int | float) and isinstance(b, int | float) else None


_ORDER = {"index": 0, "prompt": 1, "model": 2, "corpus": 3, "dataset": 4, "guardrail": 5, "code": 6, "release": 7}
"""What is looked at first in an incident."""
