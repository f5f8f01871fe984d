"""The file transport: appends events to one NDJSON file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from spanline.errors import TransportError
from spanline.transports.options import text

_encoder = msgspec.json.Encoder()


class FileTransport:
    """Appends one line an event, one `write(2)` each, so that several processes may share the file.

    Args:
        path: The file; its folder is made. It is opened anew for every event, so it may be rotated by others.
    """

    kind = "file"

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> FileTransport:
        """From `openlineage.yml`: `log_file_path`. One file, appended to, whatever `append` says."""
        return cls(Path(text(options, "log_file_path", options.get("path"))))

    def emit(self, event: Mapping[str, Any]) -> None:
        """Append one event.

        Raises:
            TransportError: The file cannot be written.
        """
        line = _encoder.encode(event) + b"\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                size = os.fstat(fd).st_size
                if os.write(fd, line) != len(line):
                    os.ftruncate(fd, size)
                    raise TransportError(f"cannot write {self.path}: the disk is full")
            finally:
                os.close(fd)
        except OSError as error:
            raise TransportError(f"cannot write {self.path}: {error.strerror}") from error

    def close(self, timeout_s: float) -> bool:
        """Nothing is kept open."""
        return True
