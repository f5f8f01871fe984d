"""The one guard: spanline's own failures are caught, counted and logged, never raised into the app."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from types import TracebackType

logger = logging.getLogger("spanline")

LOG_INTERVAL_S = 60.0

_counts: dict[str, int] = {}
_logged_at: dict[str, float] = {}
_lock = threading.Lock()
_strict = False
_listeners: list[Callable[[str], None]] = []


def set_strict(strict: bool) -> None:
    """Raise internal errors instead of swallowing them (our own tests, `SPANLINE_STRICT`)."""
    global _strict
    _strict = strict


def on_internal_error(listener: Callable[[str], None]) -> None:
    """Call `listener(site)` for every internal error; metrics register here."""
    if listener not in _listeners:
        _listeners.append(listener)


def internal_errors() -> dict[str, int]:
    """Internal errors of this process so far, by site."""
    return dict(_counts)


def reset_internal_errors() -> None:
    """Forget what was counted and logged (tests)."""
    with _lock:
        _counts.clear()
        _logged_at.clear()


def warn_once_a_minute(site: str, message: str, *args: object) -> None:
    """Log a warning, at most once a minute for each site."""
    now = time.monotonic()
    with _lock:
        if now - _logged_at.get(site, -LOG_INTERVAL_S) < LOG_INTERVAL_S:
            return
        _logged_at[site] = now
    logger.warning(message, *args)


def report(site: str, error: BaseException) -> None:
    """Count and log one internal error; raise it in strict mode."""
    with _lock:
        _counts[site] = _counts.get(site, 0) + 1
        now = time.monotonic()
        log = now - _logged_at.get(site, -LOG_INTERVAL_S) >= LOG_INTERVAL_S
        if log:
            _logged_at[site] = now
    for listener in _listeners:
        listener(site)
    if _strict:
        raise error
    if log:
        logger.warning(
            "spanline: internal error at %s (%s); your application is not affected",
            site, type(error).__name__, exc_info=error,
        )  # fmt: skip


class guard:  # noqa: N801  (used as a statement: `with guard("site"):`)
    """Swallow `Exception` from spanline's own code. Never put user code inside.

    `KeyboardInterrupt`, `SystemExit`, `CancelledError` and `GeneratorExit` pass.
    """

    __slots__ = ("site",)

    def __init__(self, site: str) -> None:
        self.site = site

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool:
        if error is None or not isinstance(error, Exception):
            return False
        report(self.site, error)
        return True
