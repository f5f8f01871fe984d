"""What happens after a failed delivery: try again, and when, or park the event."""

from __future__ import annotations

import random
from dataclasses import dataclass

from spanline.errors import TransportError
from spanline.transports.base import MalformedAnswer

AGAIN_FOR_EVER = frozenset({408, 429, 502, 503, 504})
_LONGEST_WAIT_S = 3600.0

# Not the module's functions: they share a generator that an application may have seeded.
_random = random.SystemRandom()


@dataclass(frozen=True, slots=True)
class Policy:
    """How often and how soon. Unit: seconds.

    Args:
        first_s: Wait after the first failed attempt; doubles with each.
        cap_s: Longest wait between attempts, unless `Retry-After` asks for more.
        server_error_s: Wait before the one repeat after a 500 (Marquez: two writers that create the same name).
        probe_after: After so many attempts at one event the next one is tried, to see whether the other end is away
            or this one event is what it cannot take.
    """

    first_s: float = 0.1
    cap_s: float = 30.0
    server_error_s: float = 0.1
    probe_after: int = 4


def wait_s(error: TransportError, attempts: int, policy: Policy) -> float | None:
    """Seconds to wait before the next attempt; None when the event is to be parked.

    Args:
        error: The latest failure.
        attempts: Failed attempts so far, this one included.
        policy: The figures.
    """
    if isinstance(error, MalformedAnswer) or error.status == 500:
        return jittered(policy.server_error_s) if attempts < 2 else None
    if error.status is not None and error.status not in AGAIN_FOR_EVER:
        return None
    wait = jittered(backoff_s(attempts, policy))
    if error.retry_after_s is not None:
        # At least what was asked for, and a little more, so that many senders do not come back in the same moment.
        wait = min(error.retry_after_s, _LONGEST_WAIT_S) + _random.uniform(0.0, min(1.0, policy.first_s))
    return wait


def backoff_s(attempts: int, policy: Policy) -> float:
    """Exponential, capped."""
    return min(policy.cap_s, policy.first_s * 2.0 ** min(attempts - 1, 30))


def jittered(wait: float) -> float:
    """Up to a half more."""
    return wait * _random.uniform(1.0, 1.5)
