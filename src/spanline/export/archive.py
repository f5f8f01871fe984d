"""An archive: a folder of days, each put in place whole, or not at all.

    <archive>/runs/day=2026-11-20/part-00000.parquet      and so for every table
    <archive>/_days/2026-11-20.json                       the day is there; what it holds
    <archive>/_writing/2026-11-20/                        being written, or written and not yet put in place

A day is written beside the others, synced, marked as finished, and then renamed table by table. Whoever is killed before the mark left nothing;
after it, the next call goes on with the renames.
"""

from __future__ import annotations

import shutil
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from spanline.errors import JournalError, SpanlineError
from spanline.export.tables import TABLES, VERSION
from spanline.journal.locks import exclusive

_MARK = "manifest.json"


class Manifest(msgspec.Struct, rename="camel"):
    """What an archived day holds. `runs` and `events` are those of the ledger, whether or not the events themselves were written."""

    day: str
    runs: int
    events: int
    tables: dict[str, dict[str, Any]]
    exported_at: str
    version: int = VERSION


class Archive:
    """A folder of days. One process at a time writes into it (`writing`)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._writing = folder / "_writing"
        self._days = folder / "_days"

    @contextmanager
    def writing(self) -> Generator[None]:
        """Hold the archive, after what a killed process left was finished or thrown away.

        Raises:
            SpanlineError: Somebody else writes into it, or it cannot be made.
        """
        try:
            for folder in (self.folder, self._writing, self._days):
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with exclusive(self._writing / "lock", timeout_s=0.2):
                self._recover()
                yield
        except JournalError as error:
            raise SpanlineError(f"another export writes into {self.folder}; wait for it, or name another folder") from error
        except OSError as error:
            raise SpanlineError(
                f"the archive {self.folder} cannot be written: {error.strerror or error}; make room, then start again"
            ) from error

    def manifest(self, day: date) -> Manifest | None:
        """What the archive has of a day; None when it has nothing.

        Raises:
            SpanlineError: Its manifest cannot be read, or is of a newer version.
        """
        path = self._days / f"{day}.json"
        try:
            found = msgspec.json.decode(path.read_bytes(), type=Manifest)
        except FileNotFoundError:
            return None
        except msgspec.MsgspecError as error:
            raise SpanlineError(f"{path} is damaged; remove it, and the day is exported again while the ledger has it") from error
        if found.version > VERSION:
            raise SpanlineError(f"{path} is of a newer version of spanline; update, or name another folder")
        return found

    def draft(self, day: date) -> Path:
        """An empty folder to write a day into."""
        folder = self._writing / str(day)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, mode=0o700)
        return folder

    def commit(self, manifest: Manifest) -> None:
        """Put a day that was written into `draft` in its place, instead of what is there."""
        folder = self._writing / manifest.day
        mark = folder / f"{_MARK}.tmp"
        mark.write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n")
        mark.rename(folder / _MARK)
        self._put_in_place(folder)

    def discard(self, day: date) -> None:
        """Throw a draft away."""
        shutil.rmtree(self._writing / str(day), ignore_errors=True)

    def _recover(self) -> None:
        for folder in sorted(path for path in self._writing.iterdir() if path.is_dir()):
            if (folder / _MARK).exists():
                self._put_in_place(folder)
            else:
                shutil.rmtree(folder)

    def _put_in_place(self, folder: Path) -> None:
        """May be begun again at any point: a table that is in place is no longer in the draft."""
        found = msgspec.json.decode((folder / _MARK).read_bytes(), type=Manifest)
        for table in TABLES:
            place = self.folder / table / f"day={found.day}"
            if (folder / table).exists():
                place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                if place.exists():
                    shutil.rmtree(place)
                (folder / table).rename(place)
            elif table not in found.tables and place.exists():
                shutil.rmtree(place)  # The day has no such rows any more.
        (folder / _MARK).rename(self._days / f"{found.day}.json")
        shutil.rmtree(folder)


def day_of(run: int) -> date:
    """The day, UTC, on which the run of a key began."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=run >> 11)).date()


def first_key(day: date) -> int:
    """The least key of a run that begins on a day."""
    return int((datetime(day.year, day.month, day.day, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1)) << 11
