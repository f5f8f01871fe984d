"""pytest plugin: the servers as fixtures. What each offers stands in `observability.py` and `stores.py`."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.servers import observability, stores
from tests.servers.child import LOGS

SHOWN_LINES = 15
SHOWN_CHARACTERS = 400


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test shows the last lines of the logs of the servers that run."""
    report = yield
    if report.failed:
        for name, log in LOGS.items():
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-SHOWN_LINES:] if log.exists() else []
            report.sections.append((f"log of {name}", "\n".join(line[:SHOWN_CHARACTERS] for line in lines)))
    return report


@pytest.fixture(scope="session")
def jaeger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[observability.Jaeger]:
    """One Jaeger for all tests, without link patterns: keep apart by trace id or `service.name`."""
    with observability.jaeger(tmp_path_factory.mktemp("jaeger")) as it:
        yield it


@pytest.fixture
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., observability.Collector]]:
    """`collector(config, **environ)` starts a Collector that ends with the test."""
    with ExitStack() as stack:
        yield lambda config, **environ: stack.enter_context(
            observability.collector(tmp_path_factory.mktemp("collector"), config, **environ)
        )


@pytest.fixture
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., observability.Prometheus]]:
    """`prometheus(targets, rules=…, alertmanager=…)` starts a Prometheus that ends with the test."""
    with ExitStack() as stack:
        yield lambda *arguments, **named: stack.enter_context(
            observability.prometheus(tmp_path_factory.mktemp("prometheus"), *arguments, **named)
        )


@pytest.fixture
def alertmanager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., observability.Alertmanager]]:
    """`alertmanager(config)` starts an Alertmanager that ends with the test."""
    with ExitStack() as stack:
        yield lambda config: stack.enter_context(observability.alertmanager(tmp_path_factory.mktemp("alertmanager"), config))


@pytest.fixture(scope="session")
def postgres() -> Iterator[stores.Postgres]:
    """One PostgreSQL for all tests; each makes its own database: `postgres.url(postgres.create())`."""
    with stores.postgres() as it:
        yield it


@pytest.fixture(scope="session")
def kafka() -> Iterator[stores.Kafka]:
    """One Kafka for all tests; each names its own topic."""
    with stores.kafka() as it:
        yield it
