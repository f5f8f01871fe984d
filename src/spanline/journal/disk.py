"""The disk: how much of it is free, and what its errors mean."""

from __future__ import annotations

import errno
import os
from pathlib import Path

_REASONS = {
    errno.ENOSPC: "disk_full",
    errno.EDQUOT: "disk_full",
    errno.EFBIG: "disk_full",
    errno.EROFS: "read_only",
    errno.EACCES: "read_only",
    errno.EPERM: "read_only",
    errno.ENOENT: "directory_missing",
    errno.ENOTDIR: "directory_missing",
    errno.EMFILE: "no_descriptors",
    errno.ENFILE: "no_descriptors",
}
"""What is counted for an error; anything else is `io_error`."""


def reason_of(error: OSError) -> str:
    """One word for an error of the disk."""
    return _REASONS.get(error.errno or 0, "io_error")


def free_ratio(directory: Path) -> float | None:
    """Share of the disk that is free for us, of the nearest folder that exists; None where it has no size."""
    for folder in (directory, *directory.parents):
        try:
            disk = os.statvfs(folder)
        except FileNotFoundError:
            continue
        return disk.f_bavail / disk.f_blocks if disk.f_blocks else None
    return None
