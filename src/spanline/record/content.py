"""Digests of the rows of a store, and what a store says of itself: shared by the readers of vector stores."""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from spanline.naming import is_alias

MAX_ROWS = 200_000
"""A store of more rows is not read for its digest."""

_RANDOM = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?4[0-9a-f]{3}-?[89ab][0-9a-f]{3}-?[0-9a-f]{12}\Z", re.IGNORECASE)


def _plain(value: Any) -> Any:
    # NumPy's numbers in metadata; of anything else its type alone, since a text of it may bear an address in memory.
    return value.tolist() if hasattr(value, "tolist") else f"<{type(value).__qualname__}>"


_encode = msgspec.json.Encoder(order="deterministic", enc_hook=_plain).encode


FactsOf = Callable[[Any], Any]
"""What counts of the metadata of a row."""


class Read(NamedTuple):
    """What a store says of itself."""

    name: str
    version: str | None
    stage: str | None
    digest: str | None


def labelled(label: object) -> tuple[str | None, str | None]:
    """Version and stage of a label: an alias (`latest`, `prod` …) is a stage."""
    text = "" if label is None else str(label).strip().replace("@", "_")
    if not text:
        return None, None
    return (None, text) if is_alias(text) else (text, None)


def digest_of_rows(rows: Iterable[bytes], head: object = None) -> str:
    """`sha256:<hex>` of rows, in whatever order they come: of the sorted SHA-256 of each. Keeps 32 bytes a row.

    Args:
        rows: One canonical text of bytes a row (`row`).
        head: Plain data that counts as well, e.g. the metric.
    """
    found = sorted(hashlib.sha256(content).digest() for content in rows)
    total = hashlib.sha256(_encode([head, len(found)]))
    for one in found:
        total.update(one)
    return f"sha256:{total.hexdigest()}"


def row(row_id: object, facts: object, *vectors: Sequence[float] | bytes) -> bytes:
    """One row: its id, what it holds (plain data; keys in any order) and its vectors (numbers, kept in single precision, or bytes)."""
    numbers = (vector if isinstance(vector, bytes) else struct.pack(f"<{len(vector)}f", *vector) for vector in vectors)
    parts = (_encode([stable_id(row_id), facts]), *numbers)
    return b"".join(struct.pack("<Q", len(part)) + part for part in parts)


def stable_id(row_id: Any) -> Any:
    """An id; None for a UUID of version 4: drawn by chance when the row was added, it says nothing of the content."""
    text = row_id if isinstance(row_id, (str, int)) or row_id is None else str(row_id)
    return None if isinstance(text, str) and _RANDOM.match(text) else text


def unchanged(facts: Any) -> Any:
    """All metadata counts."""
    return facts
