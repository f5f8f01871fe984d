"""The guard: `Exception` only, counted, logged once a minute, raised in strict mode."""

from __future__ import annotations

import asyncio
import logging

import pytest

from spanline import _guard
from spanline._guard import guard, internal_errors


@pytest.mark.internal_errors
def test_an_exception_is_swallowed_counted_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "spanline"):
        for _ in range(3):
            with guard("here"):
                raise ValueError("x")
    assert internal_errors() == {"here": 3}
    assert len(caplog.records) == 1
    assert "not affected" in caplog.records[0].getMessage()


@pytest.mark.internal_errors
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, asyncio.CancelledError, GeneratorExit])
def test_what_is_no_exception_passes(error: type[BaseException]) -> None:
    with pytest.raises(error), guard("here"):
        raise error
    assert internal_errors() == {}


@pytest.mark.internal_errors
def test_strict_mode_raises() -> None:
    _guard.set_strict(True)
    with pytest.raises(ValueError, match="x"), guard("here"):
        raise ValueError("x")
