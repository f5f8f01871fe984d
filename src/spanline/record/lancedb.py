"""LanceDB tables, read just enough to name them: name, version and digest. Imports neither lancedb nor pyarrow by itself."""

from __future__ import annotations

import hashlib
import importlib
from pathlib import Path
from typing import Any, cast

from spanline.errors import ConfigurationError
from spanline.naming import is_alias
from spanline.record.content import Read

MAX_CONTENT_BYTES = 256 << 20
"""A table of more data is not read for its digest. Unit: bytes on disk."""

_ROWS = 8192
_FOREIGN = (AttributeError, KeyError, NotImplementedError, OSError, RuntimeError, TypeError, ValueError)
"""What LanceDB raises where a table (remote, older) cannot answer."""


def describe(table: Any) -> Read:
    """Name, version and digest of an open table, at the version that is checked out.

    The version is the tag on it (the first by name that is no alias), else LanceDB's number; an alias tag is the stage.

    Raises:
        ConfigurationError: Not a LanceDB table, or an asynchronous one.
    """
    name, version = getattr(table, "name", None), getattr(table, "version", None)
    if callable(version):
        raise ConfigurationError("Index.from_lancedb: an asynchronous table; open it with lancedb.connect() for this")
    if not isinstance(name, str) or not isinstance(version, int):
        raise ConfigurationError(f"Index.from_lancedb: expected a LanceDB table, got {type(table).__name__}")
    tags = _tags(table, version)
    label = next((tag for tag in tags if not is_alias(tag)), str(version))
    stage = next((tag for tag in tags if is_alias(tag)), None)
    return Read(name, label.replace("@", "_"), stage, _digest(table, version))


def _tags(table: Any, version: int) -> list[str]:
    try:
        tags = cast(dict[str, Any], table.tags.list())
        return sorted(tag for tag, entry in tags.items() if int(entry["version"]) == version)
    except _FOREIGN:
        return []


def _digest(table: Any, version: int) -> str | None:
    try:
        if int(table.stats()["total_bytes"]) <= MAX_CONTENT_BYTES:
            return f"sha256:{_content(table.to_arrow())}"
    except _FOREIGN:
        pass
    return _written(table, version)


def _content(table: Any) -> str:
    """SHA-256 of an Arrow table: names, types and values, whatever its chunks, offsets and metadata are."""
    pa: Any = importlib.import_module("pyarrow")
    total = hashlib.sha256()
    for field in table.schema:
        total.update(f"{field.name!r} {field.type}\n".encode("utf-8", "surrogatepass"))
    for batch in table.combine_chunks().to_batches(max_chunksize=_ROWS):
        # Through IPC and back: buffers begin at the first row and validity is left out where all is valid.
        even = pa.ipc.read_record_batch(batch.serialize(), batch.schema)
        total.update(b"rows %d\n" % even.num_rows)
        for column in even.columns:
            for buffer in column.buffers():
                total.update(b"-\n" if buffer is None else b"%d\n" % buffer.size)
                if buffer is not None:
                    total.update(buffer)
    return total.hexdigest()


def _written(table: Any, version: int) -> str | None:
    """Digest of the version's manifest (it lists the data files), else of what the table says of the version."""
    try:
        folder = Path(str(table.uri)) / "_versions"
        # Lance has counted manifests down since its second naming scheme, so that the newest is listed first.
        for file in (folder / f"{(1 << 64) - 1 - version:020d}.manifest", folder / f"{version}.manifest"):
            if file.is_file():
                return f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"
        entry = next(entry for entry in table.list_versions() if entry["version"] == version)
        text = f"{entry['timestamp'].timestamp():.6f} {sorted(entry['metadata'].items())}"
        return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
    except (*_FOREIGN, StopIteration):
        return None
