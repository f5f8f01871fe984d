"""Fixtures of the unit tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry import propagate

from spanline.record.active import RUN_OF_SPAN, SINKS
from spanline.tracing.propagator import LineagePropagator
from tests.support import MemorySink


@pytest.fixture
def make_sink() -> Iterator[Callable[..., MemorySink]]:
    """Makes sinks that are the configured runtimes until the test ends."""
    before = list(SINKS)
    textmap = propagate.get_global_textmap()
    propagate.set_global_textmap(LineagePropagator(textmap))

    def make(sampler: Any = None, **settings: Any) -> MemorySink:
        sink = MemorySink(sampler, **settings)
        SINKS.append(sink)
        return sink

    yield make
    SINKS[:] = before
    RUN_OF_SPAN.clear()
    propagate.set_global_textmap(textmap)


@pytest.fixture
def sink(make_sink: Callable[..., MemorySink]) -> MemorySink:
    """One sink with defaults."""
    return make_sink()
