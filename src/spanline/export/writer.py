"""Writes one day: Parquet files of bounded size, a row group at a time, in a folder that nobody reads yet."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spanline.export.tables import TABLES, Row, schema

GROUP_ROWS = 20_000
GROUP_BYTES = 24 << 20
"""Of the events in a row group, as text: what is kept in memory."""

PART_ROWS = 5_000_000
"""A file ends after so many rows, and the next begins."""

_COMPRESSION, _LEVEL = "zstd", 9


class TableWriter:
    """The files of one table on one day: `part-00000.parquet`, `part-00001.parquet` and so on.

    Args:
        folder: Made with the first row.
        table: Its name in `tables.TABLES`.
    """

    def __init__(self, folder: Path, table: str) -> None:
        self.rows = 0
        self.files: list[Path] = []
        self._folder = folder
        self._table = table
        self._schema = schema(table)
        self._buffer: list[Row] = []
        self._weight = 0
        self._part_rows = 0
        self._writer: Any = None

    def add(self, rows: Sequence[Row]) -> None:
        """Add rows; they reach the disk a row group at a time."""
        self._buffer += rows
        self.rows += len(rows)
        if self._table == "events":
            self._weight += sum(len(row[-1]) for row in rows)
        if len(self._buffer) >= GROUP_ROWS or self._weight >= GROUP_BYTES:
            self._flush()

    def close(self) -> None:
        """Write the rest, and see that all of it is on the disk."""
        self._flush()
        self._end_part()
        for path in self.files:
            _sync(path)

    def abandon(self) -> None:
        """Let go of the file; it is of no use."""
        self._buffer.clear()
        self._end_part()

    def _flush(self) -> None:
        if not self._buffer:
            return
        pa: Any = importlib.import_module("pyarrow")
        columns = [list(column) for column in zip(*self._buffer, strict=True)]
        self._buffer.clear()
        self._weight = 0
        arrays: list[Any] = [pa.array(column, field.type) for column, field in zip(columns, self._schema, strict=True)]
        table = pa.Table.from_arrays(arrays, schema=self._schema)
        if self._writer is None:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            path = self._folder / f"part-{len(self.files):05d}.parquet"
            self.files.append(path)
            self._writer = importlib.import_module("pyarrow.parquet").ParquetWriter(
                path, self._schema, compression=_COMPRESSION, compression_level=_LEVEL
            )
        self._writer.write_table(table, row_group_size=GROUP_ROWS)
        self._part_rows += table.num_rows
        if self._part_rows >= PART_ROWS:
            self._end_part()

    def _end_part(self) -> None:
        writer, self._writer = self._writer, None
        self._part_rows = 0
        if writer is not None:
            writer.close()


class DayWriter:
    """All tables of one day, in a folder each: `<folder>/<table>/part-….parquet`."""

    def __init__(self, folder: Path, *, bodies: bool) -> None:
        self._tables = {name: TableWriter(folder / name, name) for name in TABLES if bodies or name != "events"}

    def add(self, rows: Mapping[str, Sequence[Row]]) -> None:
        """Add rows, by table."""
        for name, some in rows.items():
            self._tables[name].add(some)

    def close(self) -> dict[str, dict[str, Any]]:
        """Finish the files. Returns `{table: {rows, bytes, files}}` of the tables that have some."""
        for table in self._tables.values():
            table.close()
        return {
            name: {
                "rows": table.rows,
                "bytes": sum(path.stat().st_size for path in table.files),
                "files": [path.name for path in table.files],
            }
            for name, table in self._tables.items()
            if table.files
        }

    def abandon(self) -> None:
        """Let go of the files."""
        for table in self._tables.values():
            table.abandon()


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
