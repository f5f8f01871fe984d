"""Several workers, one scrape: all values and exemplars, counters of dead workers, no gauges of theirs."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.faults.stand import ROOT, Load, Receiver, Served, environ, eventually, serving, tree

pytestmark = [pytest.mark.timeout(120), pytest.mark.fork]
WORKERS: dict[str, list[str]] = {"gunicorn": ["--preload", "-w", "3"], "uvicorn": ["--workers", "3"], "hypercorn": ["-w", "3"]}


def scrape(port: int) -> dict[tuple[str, tuple[tuple[str, str], ...]], tuple[float, Mapping[str, str] | None]]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0", "connection": "close"}
    )
    with urllib.request.urlopen(request, timeout=5) as answer:
        text = answer.read().decode()
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found, f"twice in one scrape: {key}"
            found[key] = (sample.value, sample.exemplar.labels if sample.exemplar else None)
    return found


def value(port: int, name: str, **labels: str) -> float:
    return scrape(port).get((name, tuple(sorted(labels.items()))), (-1.0, None))[0]


TOKENS = ("llm_tokens_total", (("model", "gpt-4o-2024-06-18"), ("role", "prompt")))
REQUESTS = ("llm_latency_seconds_count", (("outcome", "ok"), ("route", "/ask")))


@pytest.mark.parametrize("server", ["gunicorn", "uvicorn", "hypercorn"])
def test_one_scrape_shows_all_workers(server: str, home: Path, receiver: Receiver, tmp_path: Path) -> None:
    folder = tmp_path / "prometheus"
    folder.mkdir()
    env = environ(home, receiver, PROMETHEUS_MULTIPROC_DIR=folder)
    with serving(server, home, env, *WORKERS[server]) as served:
        with Load(served.port, clients=6, keep=False) as load:
            eventually(lambda: len(load.pids) >= 2 and len(load.runs) >= 60)
        runs = len(load.runs)
        at_rest(served)
        for _ in range(4):  # whichever worker answers
            found = scrape(served.port)
            assert found[REQUESTS][0] == runs
            assert found[TOKENS][0] == runs * 10
            assert found["llm_latency_seconds_bucket", (("le", "+Inf"), ("outcome", "ok"), ("route", "/ask"))][0] == runs
            assert found["llm_requests_in_flight", ()][0] == 0
            assert not any("pid" in dict(labels) for _, labels in found)
        hexes = {run.replace("-", "") for run in load.runs}

        def exemplars() -> list[str]:
            """Trace ids on counters and histograms."""
            found = scrape(served.port)
            assert found[TOKENS][1]
            ids = [exemplar["trace_id"] for _, exemplar in found.values() if exemplar]
            assert set(ids) <= hexes
            return ids

        assert len(eventually(exemplars)) >= 3
        assert all(re.fullmatch("[0-9a-f]{16}", e["span_id"]) for _, e in scrape(served.port).values() if e)
        served.end()
    assert "has several workers" not in served.log.read_text()


def test_a_dead_workers_counters_stay_and_its_gauges_go(home: Path, receiver: Receiver, tmp_path: Path) -> None:
    folder = tmp_path / "prometheus"
    folder.mkdir()
    env = environ(home, receiver, PROMETHEUS_MULTIPROC_DIR=folder)
    with serving("gunicorn", home, env, "-w", "3") as served:
        with Load(served.port, clients=6, keep=False) as load:
            eventually(lambda: len(load.pids) == 3 and len(load.runs) >= 60)
        runs = len(load.runs)
        at_rest(served)
        held, worker = hold(served)
        # Its exemplars are written by then, a second at most after they were seen.
        eventually(lambda: (folder / f"{worker}.exemplars.json").exists())
        os.kill(worker, signal.SIGKILL)
        eventually(lambda: value(served.port, "llm_requests_in_flight") == 0, what="a dead worker's request is in flight for ever")
        assert not list(folder.glob(f"gauge_live*_{worker}.db"))
        assert value(served.port, *REQUESTS[:1], **dict(REQUESTS[1])) == runs
        assert scrape(served.port)[TOKENS][0] >= runs * 10
        eventually(lambda: len(tree(served.process.pid)) >= 3)
        with Load(served.port, clients=4, keep=False) as more:
            more.until(20)
        assert value(served.port, *REQUESTS[:1], **dict(REQUESTS[1])) == runs + len(more.runs)
        held.kill()
        served.end()


def at_rest(served: Served) -> None:
    """Until no app is busy: it may be, for a moment after its client has the answer."""
    eventually(lambda: value(served.port, "llm_requests_in_flight") == 0)


def hold(served: Served) -> tuple[subprocess.Popen[bytes], int]:
    """A request that takes long, and the worker that serves it."""
    code = f"import urllib.request; urllib.request.urlopen('http://127.0.0.1:{served.port}/ask?sleep=60')"
    held = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    eventually(lambda: value(served.port, "llm_requests_in_flight") == 1)
    connected = client_sockets(served.port)
    worker = next(pid for pid in tree(served.process.pid) if connected & sockets(pid))
    return held, worker


def client_sockets(port: int) -> set[str]:
    """Inodes of established server-side connections of that port."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {row[9] for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "01"}


def sockets(pid: int) -> set[str]:
    found = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.add(os.readlink(entry)[8:-1])
        except OSError:
            continue
    return found


@pytest.mark.parametrize("server", ["gunicorn", "uvicorn", "hypercorn"])
def test_several_workers_without_the_folder_are_warned_of(server: str, home: Path, receiver: Receiver) -> None:
    with serving(server, home, environ(home, receiver), *WORKERS[server]) as served:
        eventually(lambda: "has several workers" in served.log.read_text())
        served.end()
    # What a scrape would show is said once by each of them.
    assert served.log.read_text().count("has several workers") <= 3


def test_one_worker_is_not_warned(home: Path, receiver: Receiver) -> None:
    with serving("gunicorn", home, environ(home, receiver), "-w", "1") as served:
        with Load(served.port, pause_s=0.1) as load:
            load.until(100, 60)
        served.end()
    assert "has several workers" not in served.log.read_text()


CAPPED = """
import sys
from prometheus_client import CollectorRegistry
from spanline.metrics.catalogue import BY_NAME
from spanline.metrics.engine import Metrics
from spanline.metrics.exposition import _bake
registry = CollectorRegistry()
metrics = Metrics(registry, label_cap=5)
for number in range(200):
    metrics._tokens.get("prompt", f"model-{number}").count(1, {"trace_id": "ab" * 16, "span_id": "cd" * 8})
text = _bake(registry, "application/openmetrics-text; version=1.0.0", False, None)[0].decode()
print(sum(line.startswith("llm_tokens_total{") for line in text.splitlines()))
print([line for line in text.splitlines() if "other" in line and line.startswith("llm_tokens_total{")][0])
print(text.count("# {"))
"""


def test_label_sets_are_bounded_in_the_files_too(home: Path, tmp_path: Path) -> None:
    """Nothing can be taken out of prometheus_client's files: past ten times the cap what is new is `other`, and no warning is printed."""
    folder = tmp_path / "prometheus"
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", CAPPED], env=environ(home, PROMETHEUS_MULTIPROC_DIR=folder), cwd=ROOT,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    series, other, exemplars = done.stdout.splitlines()
    assert int(series) == 5 + 10 * 5 + 1
    assert " 145.0 #" in other
    assert int(exemplars) <= 5
