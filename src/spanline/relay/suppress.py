"""Nothing that spanline sends is traced: otherwise delivering a run would make a run."""

from __future__ import annotations

import contextlib
from collections.abc import Generator

from opentelemetry import context

# The names that instrumentations look at: the current one, the one for HTTP clients, and the old one by plain text.
_PRIVATE = ("_SUPPRESS_INSTRUMENTATION_KEY", "_SUPPRESS_HTTP_INSTRUMENTATION_KEY")
_KEYS: tuple[str, ...] = (*(getattr(context, name) for name in _PRIVATE if hasattr(context, name)), "suppress_instrumentation")


@contextlib.contextmanager
def suppressed() -> Generator[None]:
    """Suppress every OpenTelemetry instrumentation in this context."""
    mine = context.get_current()
    for key in _KEYS:
        mine = context.set_value(key, True, mine)
    token = context.attach(mine)
    try:
        yield
    finally:
        context.detach(token)
