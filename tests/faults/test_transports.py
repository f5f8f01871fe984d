"""Several transports at once: each with its share of the traces, its own backlog and its own numbers; the same traces from every process."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from spanline.relay.thinning import trace_place
from tests.faults.stand import Load, Receiver, environ, eventually, in_ledger, serving

pytestmark = pytest.mark.timeout(150)


@pytest.fixture
def half() -> Iterator[Receiver]:
    """A further receiver, which gets a part of the traces."""
    made = Receiver()
    yield made
    made.stop()


def two(folder: Path, receiver: Receiver, half: Receiver, **thinned: object) -> Path:
    """An `openlineage.yml` with two transports: `all`, and `half` with these options."""
    folder.mkdir(exist_ok=True, parents=True)
    plain = {"type": "http", "endpoint": "api/v1/lineage"}
    transports = {
        "all": {**plain, "url": receiver.url, "spanline": {"preset": "openlineage"}},
        "half": {**plain, "url": half.url, "spanline": {"preset": "openlineage", **thinned}},
    }
    path = folder / "openlineage.json"
    path.write_text(json.dumps({"transport": {"type": "composite", "transports": transports}}))
    return path


def numbers(port: int) -> dict[str, float]:
    """What `/metrics` says of delivery."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if line.startswith("spanline_")}


@pytest.mark.parametrize("server", ["uvicorn", "gunicorn"])
def test_a_share_is_the_same_traces_in_every_process(server: str, home: Path, receiver: Receiver, half: Receiver) -> None:
    """Which half follows from the trace id alone: here the workers and this test come to the same one."""
    env = environ(home, OPENLINEAGE_CONFIG=two(home, receiver, half, sample=0.5))
    with serving(server, home, env, *(["-w", "2"] if server == "gunicorn" else [])) as served:
        with Load(served.port, keep=False) as load:
            load.until(80)
        chosen = {run for run in load.runs if trace_place(run.replace("-", "")) < 0.5}
        eventually(lambda: set(load.runs) <= receiver.over() and chosen <= half.over())
        eventually(lambda: set(load.runs) <= set(in_ledger(home)))
        if server == "uvicorn":
            left_out = len(load.runs) - len(chosen)
            eventually(lambda: numbers(served.port).get('spanline_dropped_total{reason="thinned"}') == left_out)
            found = numbers(served.port)
            assert found['spanline_relay_sent_total{consumer="all"}'] == len(load.runs)
            assert found['spanline_relay_sent_total{consumer="half"}'] == len(chosen)
        served.end()
    assert receiver.over() == set(load.runs)
    assert half.over() == chosen
    assert 0.2 < len(chosen) / len(load.runs) < 0.8
    half.in_order()


def test_a_rate_limits_one_transport_and_no_other(home: Path, receiver: Receiver, half: Receiver) -> None:
    env = environ(home, OPENLINEAGE_CONFIG=two(home, receiver, half, rate_per_second=2))
    with serving("uvicorn", home, env) as served:
        began = time.time()
        with Load(served.port) as load:
            load.until(300)
        seconds = time.time() - began
        eventually(lambda: set(load.runs) <= receiver.over() and set(load.runs) <= set(in_ledger(home)))
        eventually(lambda: numbers(served.port).get('spanline_dropped_total{reason="thinned"}') == len(load.runs) - len(half.over()))
        served.end()
    # Ten in a window of five seconds of event time; then the share is halved, and half of them more may pass before the next halving:
    # five times in the first window of a sudden rush, once in a later one.
    assert 0 < len(half.over()) <= 45 + 16 * (seconds / 5 + 1)
    assert len(half.over()) < len(load.runs)
    half.in_order()


def test_one_that_is_away_has_its_own_lag_and_backlog(home: Path, receiver: Receiver, half: Receiver) -> None:
    """And what one refuses is parked for that one alone."""
    half.stop()
    refused: list[str] = []

    def answer(event: dict[str, object]) -> int:
        if not refused:
            refused.append(event["run"]["runId"])
        return 422 if event["run"]["runId"] == refused[0] else 201

    receiver.status = answer
    env = environ(home, OPENLINEAGE_CONFIG=two(home, receiver, half))
    with serving("uvicorn", home, env) as served:
        with Load(served.port) as load:
            load.until(40)
        eventually(lambda: set(load.runs) - set(refused) <= receiver.over(), what="one that is away held the other up")
        eventually(lambda: numbers(served.port).get('spanline_relay_lag_seconds{consumer="half"}', 0) > 1)
        eventually(lambda: numbers(served.port).get('spanline_parked_events{consumer="all"}') == 1)
        away = numbers(served.port)
        assert away["spanline_journal_backlog_bytes"] > 0
        assert away['spanline_relay_lag_seconds{consumer="all"}'] == 0
        assert away.get('spanline_parked_events{consumer="half"}', 0) == 0
        assert away.get('spanline_relay_sent_total{consumer="half"}', 0) == 0
        half.start()
        eventually(lambda: half.over() == set(load.runs))
        eventually(lambda: numbers(served.port)['spanline_relay_lag_seconds{consumer="half"}'] == 0)
        eventually(lambda: numbers(served.port)["spanline_journal_backlog_bytes"] == 0)
        assert numbers(served.port)['spanline_relay_sent_total{consumer="half"}'] == len(load.runs)
        served.end()
    half.in_order()
