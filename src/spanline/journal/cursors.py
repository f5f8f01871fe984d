"""Cursors: how far each consumer has read each segment, kept in one small file a consumer."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from pathlib import Path

import msgspec

from spanline._guard import warn_once_a_minute

FOLDER = "consumers"

_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}\Z")


class _File(msgspec.Struct):
    segments: dict[str, int] = {}


_decoder = msgspec.json.Decoder(_File)


def path_of(directory: Path, consumer: str) -> Path:
    """The cursor file of a consumer.

    Raises:
        ValueError: A name that cannot be a file name.
    """
    if not _NAME.match(consumer) or consumer.startswith("."):
        raise ValueError(f"consumer name {consumer!r}: expected letters, digits, '.', '_' and '-'")
    return directory / FOLDER / f"{consumer}.json"


def register(directory: Path, consumer: str) -> None:
    """From now on no segment is removed before this consumer has read it.

    Raises:
        OSError: The cursor file cannot be made.
    """
    path = path_of(directory, consumer)
    if not path.exists():
        save(directory, consumer, {})


def forget(directory: Path, consumer: str) -> None:
    """Keep nothing for this consumer any more."""
    with contextlib.suppress(FileNotFoundError):
        path_of(directory, consumer).unlink()


def load(directory: Path, consumer: str) -> dict[str, int]:
    """Segment name to offset in bytes; empty for a new consumer, and for a cursor that cannot be read.

    Reading anew from the beginning sends events twice, which every consumer must bear; skipping would lose them.
    """
    path = path_of(directory, consumer)
    try:
        return _decoder.decode(path.read_bytes()).segments
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        warn_once_a_minute("journal.cursor", "spanline: cursor %s cannot be read (%s); reading anew", path, type(error).__name__)
        return {}


def save(directory: Path, consumer: str, offsets: dict[str, int]) -> None:
    """Replace a cursor in one step.

    Raises:
        OSError: The disk refused.
    """
    path = path_of(directory, consumer)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        _replace(path, draft, offsets)
    except FileNotFoundError:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _replace(path, draft, offsets)


def _replace(path: Path, draft: Path, offsets: dict[str, int]) -> None:
    data = msgspec.json.encode(_File(offsets))
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        written = os.write(fd, data)
    finally:
        os.close(fd)
    if written != len(data):
        draft.unlink(missing_ok=True)
        raise OSError(errno.ENOSPC, "no space left for the cursor", str(path))
    draft.replace(path)


def registered(directory: Path) -> dict[str, dict[str, int]]:
    """Every registered consumer and its offsets."""
    try:
        names = [path.stem for path in (directory / FOLDER).iterdir() if path.suffix == ".json" and not path.name.startswith(".")]
    except (FileNotFoundError, NotADirectoryError):
        return {}
    return {name: load(directory, name) for name in sorted(names)}
