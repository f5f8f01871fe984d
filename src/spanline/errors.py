"""The errors spanline raises.

SpanlineError
├── ConfigurationError   a setting or argument is wrong; the message says which and what to do
├── MissingExtra         an optional dependency is not installed; the message has the pip line
├── JournalError         a journal cannot be read as asked
├── LedgerError          a ledger cannot be opened or is from a newer version
├── UnknownReference     the ledger knows no such run, artifact, release or job; the message names the nearest
└── TransportError       one event could not be delivered
"""

from __future__ import annotations


class SpanlineError(Exception):
    """Base of all errors that spanline raises."""


class ConfigurationError(SpanlineError, ValueError):
    """A setting or an argument is wrong."""


class MissingExtra(SpanlineError, ImportError):
    """An optional dependency is missing."""

    def __init__(self, feature: str, package: str, extra: str) -> None:
        super().__init__(f"{feature} needs {package}: pip install 'spanline[{extra}]'")
        self.extra = extra


class JournalError(SpanlineError):
    """A journal cannot be read as asked."""


class LedgerError(SpanlineError):
    """A ledger cannot be opened, or is from a newer version of spanline."""


class UnknownReference(SpanlineError, LookupError):
    """The ledger knows no such run, artifact, release or job.

    Args:
        reason: What is not known, and which names are near.
    """


class TransportError(SpanlineError):
    """One attempt to deliver one event failed.

    Args:
        reason: What happened, without any part of the event. One line.
        status: HTTP status, when the other end answered; None for connection errors.
        retry_after_s: What `Retry-After` asked for. Unit: seconds.
    """

    def __init__(self, reason: str, *, status: int | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status
        self.retry_after_s = retry_after_s


def error_type(error: BaseException) -> str:
    """`error.type` of an exception: its qualified class name, builtins without module (OpenTelemetry semantic conventions)."""
    kind = type(error)
    return kind.__qualname__ if kind.__module__ in {"builtins", "__main__"} else f"{kind.__module__}.{kind.__qualname__}"
