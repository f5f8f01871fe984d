"""A topic into a ledger: events a second and CPU an event of several members of one group. `python -m benchmarks.topic`.

A real Kafka and PostgreSQL on this machine; every run a START and an end, delivered before the members begin; each member a `spanline consume` process.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from benchmarks.scale import cpu_of
from spanline.identity import run_id_of
from spanline.ledger import Ledger
from spanline.record.run import Release
from tests.ledger_events import CORPUS, MODEL, PROMPT, end, index, request
from tests.servers.stores import Kafka, Postgres, kafka, postgres

PARTITIONS = 12


def events(runs: int) -> list[bytes]:
    """A terminal event of each run, as the relay sends it."""
    release = Release(release="1.0", code_revision="a" * 40)
    lines: list[bytes] = []
    for n in range(runs):
        ids = {"trace_id": f"{n + 1:032x}", "run_id": run_id_of(n + 1), "span_id": f"{n + 1:016x}", "response_id": f"chatcmpl-{n}"}
        lines.append(end(request(n / 10, index("c1", "c1"), PROMPT, MODEL, CORPUS, release=release, **ids)))
    return lines


def filled(broker: Kafka, lines: list[bytes]) -> str:
    """A topic with the events."""
    name = f"bench-{uuid.uuid4().hex[:8]}"
    admin = AdminClient({"bootstrap.servers": broker.bootstrap, "log_level": 2})
    for done in admin.create_topics([NewTopic(name, PARTITIONS, 1)]).values():
        done.result(20)
    producer = Producer({"bootstrap.servers": broker.bootstrap, "log_level": 2})
    for number, line in enumerate(lines):
        producer.produce(name, line, key=str(number))
        producer.poll(0)
    producer.flush(60)
    return name


def read(broker: Kafka, topic: str, url: str, members: int, wanted: int, folder: Path) -> tuple[float, float]:
    """All members at once: seconds from the first write to the last, CPU seconds of all members, their start included."""
    environ = {**os.environ, "SPANLINE_HOME": str(folder), "SPANLINE_LEDGER_URL": url, "SPANLINE_LEDGER_MAX_AGE": "1e9"}
    command = [sys.executable, "-m", "spanline.cli", "consume", f"kafka://{broker.bootstrap}/{topic}", "--json", "--every", "0.2"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    logs = [folder / f"{topic}-{number}.ndjson" for number in range(members)]
    processes: list[subprocess.Popen[bytes]] = []
    for log in logs:
        with log.open("wb") as out:
            processes.append(subprocess.Popen(command, env=environ, stdout=out))
    began = 0.0
    while True:
        told = [json.loads(log.read_bytes().splitlines()[-1]) for log in logs if log.read_bytes().endswith(b"}\n")]
        written = sum(each["written"] for each in told)
        now = time.monotonic()
        if written and not began:
            began, first = now, written
        if written >= wanted:
            break
        time.sleep(0.05)
    for process in processes:
        process.terminate()
        process.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return (now - began) * wanted / max(1, wanted - first), cpu


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.topic", description=__doc__)
    parser.add_argument("--runs", type=int, default=20_000)
    parser.add_argument("--members", type=int, nargs="+", default=[1, 2, 4])
    given = parser.parse_args()
    lines = events(given.runs)
    print("| ledger | members | events | events/s | CPU ms an event, members | CPU ms an event, PostgreSQL |\n|---|---|---|---|---|---|")
    with kafka() as broker, postgres() as server, tempfile.TemporaryDirectory() as folder:
        for kind, members in [("SQLite", 1), *(("PostgreSQL", number) for number in given.members)]:
            row(broker, server, kind, members, lines, Path(folder))


def row(broker: Kafka, server: Postgres, kind: str, members: int, lines: list[bytes], folder: Path) -> None:
    """Measure one, and see that nothing is there twice."""
    url = server.url(server.create()) if kind == "PostgreSQL" else f"sqlite:///{folder}/{uuid.uuid4().hex}.db"
    Ledger.open(url).close()
    before = cpu_of(server)
    seconds, cpu = read(broker, filled(broker, lines), url, members, len(lines), folder)
    database = f"{(cpu_of(server) - before) / len(lines) * 1e3:.2f}" if kind == "PostgreSQL" else ""
    ledger = Ledger.open(url)
    stored = ledger.stats()["runs"]
    ledger.close()
    assert stored == len(lines), f"{stored} runs of {len(lines)}"
    print(f"| {kind} | {members} | {len(lines):,} | {len(lines) / seconds:,.0f} | {cpu / len(lines) * 1e3:.2f} | {database} |", flush=True)


if __name__ == "__main__":
    main()
