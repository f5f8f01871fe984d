"""Clocks that are set, spans that come late or twice: the same ids, and nothing counts double."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.faults.stand import ROOT, Load, Receiver, cli, environ, lost, rest_delivered, serving

pytestmark = pytest.mark.timeout(120)
HOUR, YEAR = 3600, 365 * 86_400
# A clock that is a year ahead makes every request too old for the ledger's age limit.
NO_LIMIT = {"SPANLINE_LEDGER_MAX_AGE": 10**9}


def each_once(answered: list[str], home: Path, receiver: Receiver) -> None:
    rest_delivered(home, receiver)
    assert len(set(answered)) == len(answered)
    assert lost(answered, receiver, home) == (0, 0)
    receiver.in_order()
    ends = [event["run"]["runId"] for event in receiver.events if event["eventType"] == "COMPLETE"]
    assert sorted(ends) == sorted(answered), "an end came twice"
    assert cli(home, "journal", "verify").returncode == 0


def test_clocks_that_are_set_between_starts(home: Path, receiver: Receiver) -> None:
    """An hour back, then a year ahead, then right again: each run once, in order, at the receiver and in the ledger."""
    answered: list[str] = []
    for shift in (0, -HOUR, YEAR, 0):
        with serving("uvicorn", home, environ(home, receiver, FAULT_CLOCK=shift, **NO_LIMIT)) as served:
            with Load(served.port) as load:
                load.until(30)
            served.end()
        answered += load.runs
    each_once(answered, home, receiver)


@pytest.mark.parametrize("relay", ["thread", "process"])
def test_a_clock_that_is_set_under_load(relay: str, home: Path, receiver: Receiver) -> None:
    """The same in the life of one app, in the middle of its requests; the relay as a process keeps the right time."""
    with serving("uvicorn", home, environ(home, receiver, FAULT_CLOCK=0, SPANLINE_RELAY=relay, **NO_LIMIT)) as served:
        with Load(served.port, pause_s=0.005) as load:
            for shift in (-HOUR, YEAR, 0):
                load.until(len(load.runs) + 40)
                with urllib.request.urlopen(f"http://127.0.0.1:{served.port}/clock?shift={shift}", timeout=5) as answer:
                    assert int(answer.read()) == shift
            load.until(len(load.runs) + 40)
        assert load.failures == 0
        served.end()
    each_once(load.runs, home, receiver)


SPANS = """
import os, uuid
import spanline
from opentelemetry import trace

runtime = spanline.configure()
provider = trace.get_tracer_provider()
if os.environ["HOW"] == "added twice":
    provider.add_span_processor(runtime.processor)
if os.environ["HOW"] == "two of them":
    provider.add_span_processor(spanline.LineageSpanProcessor())
tracer = trace.get_tracer("app")
CHAT = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o",
        "gen_ai.usage.input_tokens": 10, "gen_ai.usage.output_tokens": 3}
for number in range(6):
    with spanline.job("nightly") as job:
        print(uuid.UUID(int=job.run.trace_id), flush=True)
        with spanline.inference("openai", "gpt-4o") as call:
            call.response(model="gpt-4o", input_tokens=10, output_tokens=3)
        late = tracer.start_span("chat gpt-4o", attributes=CHAT)
    if number % 2:
        # Its run is over, and delivered.
        assert runtime.flush(20)
    late.end()
    for _ in range(3):
        # The same span again, as from a processor that was added twice.
        runtime.processor.on_end(late)
assert runtime.flush(20)
"""


@pytest.mark.parametrize("how", ["as it comes", "added twice", "two of them"])
def test_spans_that_come_late_and_twice(how: str, home: Path, receiver: Receiver) -> None:
    """Each run has two inferences, whenever the second one ends, and however often it is told."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SPANS], env=environ(home, receiver, HOW=how), cwd=ROOT, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "internal error" not in done.stderr, done.stderr
    runs = done.stdout.split()
    rest_delivered(home, receiver)
    assert lost(runs, receiver, home) == (0, 0)
    last = {event["run"]["runId"]: event for event in receiver.events if event["eventType"] == "COMPLETE"}
    ends = [event["run"]["runId"] for event in receiver.events if event["eventType"] == "COMPLETE"]
    assert set(last) == set(runs)
    # The end, and one further event for what came after it.
    assert {ends.count(run) for run in runs} == {2}
    for event in last.values():
        facets = event["run"]["facets"]
        assert len(facets["spanline_operations"]["operations"]) == 2
        assert (facets["spanline_usage"]["inputTokens"], facets["spanline_usage"]["outputTokens"]) == (20, 6)
    kept = cli(home, "trace", runs[0], "--json")
    assert kept.returncode == 0, kept.stdout + kept.stderr
    assert '"inputTokens": 20' in kept.stdout or '"inputTokens":20' in kept.stdout, kept.stdout
