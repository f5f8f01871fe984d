"""Fixtures of the fault matrix."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.stand import Receiver


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A real receiver of OpenLineage."""
    made = Receiver()
    yield made
    made.stop()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The state folder of the app under test."""
    return tmp_path / "home"
