"""Fixtures: a ledger in SQLite and in a real PostgreSQL, so that each test of the ledger runs on both."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.servers.stores import Postgres

BACKENDS = ("sqlite", "postgresql")


@pytest.fixture(scope="session")
def ledger_template(postgres: Postgres) -> str:
    """A PostgreSQL database with the ledger's tables; a copy of it is made in a tenth of the time that the migrations take."""
    from spanline.ledger import Ledger

    name = postgres.create("ledger_template")
    Ledger.open(postgres.url(name)).close()
    return name


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """`sqlite` or `postgresql`."""
    return request.param


@pytest.fixture
def new_ledger_url(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """Makes URLs of empty ledgers."""

    def make() -> str:
        name = f"ledger_{uuid.uuid4().hex[:12]}"
        if backend == "sqlite":
            return f"sqlite:///{tmp_path}/{name}.db"
        server: Postgres = request.getfixturevalue("postgres")
        server.psql("postgres", f"CREATE DATABASE {name} TEMPLATE {request.getfixturevalue('ledger_template')}")
        return server.url(name)

    return make


@pytest.fixture
def ledger_url(new_ledger_url: Callable[[], str]) -> str:
    """URL of an empty ledger."""
    return new_ledger_url()


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[object]:
    """An empty ledger."""
    from spanline.ledger import Ledger

    opened = Ledger.open(ledger_url)
    yield opened
    opened.close()
