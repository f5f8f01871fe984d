"""The console transport: one event a line on standard output."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import msgspec

from spanline.errors import TransportError

_encoder = msgspec.json.Encoder()


class ConsoleTransport:
    """Prints events, to look at them."""

    kind = "console"

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> ConsoleTransport:
        """It has no options."""
        return cls()

    def emit(self, event: Mapping[str, Any]) -> None:
        """Print one event.

        Raises:
            TransportError: Standard output is closed.
        """
        try:
            sys.stdout.write(_encoder.encode(event).decode() + "\n")
            sys.stdout.flush()
        except (OSError, ValueError) as error:
            raise TransportError(f"cannot write to standard output ({type(error).__name__})") from error

    def close(self, timeout_s: float) -> bool:
        """Nothing is kept open."""
        return True
