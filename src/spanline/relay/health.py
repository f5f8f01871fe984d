"""What the relay tells about itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class Observer(Protocol):
    """Told about each consumer, from its thread.

    `what` is one of: `sent`, `dropped`, `retried` (how many more), `parked` (how many now), `lag_seconds` (age of the
    oldest event in hand) and `backlog_bytes` (not yet taken), the last two about once a second.
    """

    def __call__(self, consumer: str, what: str, value: float) -> None:
        """Take note."""
        ...


@dataclass(slots=True)
class Health:
    """One consumer's numbers in this process.

    `leading` is whether this process delivers to it; `parked` is what is parked now, `sent`, `dropped` (thinned, or old
    parked events that had to go) and `torn` (broken lines skipped) count since the start.
    """

    leading: bool = False
    sent: int = 0
    parked: int = 0
    dropped: int = 0
    torn: int = 0
    last_error: str | None = None
