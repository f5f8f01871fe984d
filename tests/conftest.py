"""What every test stands on: a clean environment, a strict guard, valid events, a provider of its own."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import propagate

from spanline import _guard
from spanline.record.active import LATE, RUN_OF_SPAN, SINKS
from spanline.tracing.propagator import LineagePropagator
from tests.support import MemorySink

pytest_plugins = ["tests.servers.fixtures", "tests.fee_assistant", "tests.ledger_stores"]
ORDER = ("unit", "contract", "property", "integration", "faults", "browser")
_KEEP = frozenset({"SPANLINE_SHARED", "SPANLINE_CACHE"})


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The fast folders first; inside a folder the order stays random."""

    def rank(item: pytest.Item) -> int:
        parts = Path(str(item.fspath)).parts
        return next((ORDER.index(part) for part in reversed(parts) if part in ORDER), len(ORDER))

    items.sort(key=rank)


@pytest.fixture(autouse=True)
def clean_environ(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No setting from outside reaches a test, and nothing is written to the home folder."""
    for name in list(os.environ):
        if name.startswith(("SPANLINE_", "OTEL_", "OPENLINEAGE_", "PROMETHEUS_")) and name not in _KEEP:
            monkeypatch.delenv(name)
    monkeypatch.setenv("SPANLINE_HOME", str(tmp_path_factory.mktemp("home")))


@pytest.fixture(autouse=True)
def strict_guard(request: pytest.FixtureRequest) -> Iterator[None]:
    """An internal error fails the test, also one in a thread; marked `internal_errors`, it is only counted."""
    lenient = request.node.get_closest_marker("internal_errors") is not None
    _guard.reset_internal_errors()
    _guard.set_strict(not lenient)
    try:
        yield
        counted = _guard.internal_errors()
    finally:
        _guard.set_strict(False)
        _guard.reset_internal_errors()
    if counted and not lenient:
        pytest.fail(f"internal errors: {counted}", pytrace=False)


@pytest.fixture(autouse=True)
def valid_events(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each line that this process journals is a valid OpenLineage event with valid facets of ours."""
    validation = _optional("spanline.testing.validation")
    journal = _optional("spanline.journal.writer")
    if validation is None or journal is None or request.node.get_closest_marker("raw_journal"):
        yield
        return
    invalid: list[str] = []
    write = journal.JournalWriter.write

    def checked(self: Any, line: bytes) -> bool:
        try:
            validation.validate_event(line)
        except Exception as error:  # noqa: BLE001  (whatever is wrong with an event fails the test, not the writer)
            invalid.append(f"{type(error).__name__}: {error}\n{line[:2000]!r}")
        return write(self, line)

    monkeypatch.setattr(journal.JournalWriter, "write", checked)
    yield
    if invalid:
        pytest.fail("invalid event journalled: " + "\n".join(invalid[:3]), pytrace=False)


@pytest.fixture(autouse=True, scope="module")
def what_others_leave(request: pytest.FixtureRequest) -> Iterator[None]:
    """Modules that pass over the warnings of others' code take out what it left open, too: else the collector finds it in a later test."""
    yield
    marks = getattr(request.module, "pytestmark", [])
    if any(mark.name == "filterwarnings" for mark in (marks if isinstance(marks, list) else [marks])):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with contextlib.suppress(RuntimeError):
                # LlamaIndex makes a loop for its calls and leaves it current.
                asyncio.get_event_loop_policy().get_event_loop().close()
            asyncio.set_event_loop(None)
            gc.collect()


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
    LATE.clear()
    propagate.set_global_textmap(textmap)


@pytest.fixture
def sink(make_sink: Callable[..., MemorySink]) -> MemorySink:
    """One sink with defaults."""
    return make_sink()


@pytest.fixture
def fresh_provider() -> Iterator[None]:
    """No global tracer provider before the test; the one it sets is shut down after it."""
    from opentelemetry import trace

    _forget_provider()
    try:
        yield
        provider: Any = trace._TRACER_PROVIDER
        if provider is not None and hasattr(provider, "shutdown"):
            provider.shutdown()
    finally:
        _forget_provider()


def _forget_provider() -> None:
    from opentelemetry import trace
    from opentelemetry.util._once import Once

    trace._TRACER_PROVIDER = None
    trace._TRACER_PROVIDER_SET_ONCE = Once()


def _optional(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not module.startswith(error.name.split(".")[0]):
            raise
        return None
