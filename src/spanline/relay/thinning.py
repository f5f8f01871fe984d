"""Thinning: which traces a consumer gets when it cannot take all; whole traces, the same ones at every sender."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, cast

from spanline.times import parse_rfc3339

_WINDOW_S = 5
_MOST_HALVINGS = 20


class Thinning:
    """Keeps a share of all traces.

    A trace's place between 0 and 1 comes from its id alone, so every service that thins to the same share keeps the
    same traces. A rate is kept by halving the share, and rates are counted in the events' own time: a backlog that is
    sent after an outage is thinned no more than it would have been without one.

    Args:
        sample: Share of traces kept, 0 … 1.
        rate_per_second: Traces a second of event time; None for no limit.
    """

    def __init__(self, sample: float, rate_per_second: float | None) -> None:
        self._sample = sample
        self._rate = rate_per_second
        self._window = 0
        self._seen = 0
        self._kept = 0
        self._halvings = 0

    def keeps(self, event: Mapping[str, Any]) -> bool:
        """Whether this event's trace is sent."""
        if self._sample >= 1.0 and self._rate is None:
            return True
        place = trace_place(trace_key(event))
        if place >= self._sample:
            return False
        return self._rate is None or self._within(place / self._sample, event, self._rate)

    def _within(self, place: float, event: Mapping[str, Any], rate: float) -> bool:
        budget = rate * _WINDOW_S
        window = _second(event) // _WINDOW_S
        # A step back of more than a window is another process's segment: its events are counted from the beginning.
        if window > self._window or window < self._window - 1:
            if self._seen <= budget * 2 ** (self._halvings - 1) and self._halvings:
                self._halvings -= 1
            self._window, self._seen, self._kept = window, 0, 0
        counts = event.get("eventType") != "START"
        self._seen += counts
        if place >= 0.5**self._halvings:
            return False
        self._kept += counts
        if self._kept > budget and self._halvings < _MOST_HALVINGS:
            self._halvings += 1
            self._kept //= 2
            return place < 0.5**self._halvings
        return True


def trace_key(event: Mapping[str, Any]) -> str:
    """The trace of an event as 32 hex: of its root run where it names one, else of its own run."""
    run = _mapping(event.get("run"))
    parent = _mapping(_mapping(run.get("facets")).get("parent"))
    root = _mapping(_mapping(parent.get("root")).get("run")).get("runId")
    own = run.get("runId")
    return str(root or own or "").replace("-", "").lower()


def trace_place(key: str) -> float:
    """Where a trace stands between 0 and 1, evenly spread whatever its id looks like."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=7).digest()) / (1 << 56)


def _second(event: Mapping[str, Any]) -> int:
    try:
        return parse_rfc3339(str(event.get("eventTime"))) // 1_000_000_000
    except ValueError:
        return 0


def _mapping(value: object) -> Mapping[str, Any]:
    return cast(Mapping[str, Any], value) if isinstance(value, Mapping) else {}
