"""The app of a variant for uvicorn (`BENCH_VARIANT`), and what feeds a journal in the background: `python -m benchmarks.served FOLDER RATE`."""

from __future__ import annotations

import os
import sys
import time
import warnings
from pathlib import Path

RELAYED = "A_relay"
"""Not a variant of its own row: the bare app, and a relay thread that sends what comes into a journal to the sink."""


def _relayed():
    from fastapi import FastAPI

    from benchmarks import workload
    from spanline.relay.consumer import TransportConsumer
    from spanline.relay.relay import Relay
    from spanline.transports.http import HttpTransport

    app = FastAPI()
    workload.bare(app)
    consumer = TransportConsumer("sink", HttpTransport(os.environ["BENCH_LINEAGE_URL"]), {"preset": "spanline", "batch": "none"})
    folder = Path(os.environ["SPANLINE_HOME"]) / "journal"
    folder.mkdir(parents=True, exist_ok=True)
    app.state.relay = Relay(folder, [consumer])
    app.state.relay.start()
    return app


def feed(folder: Path, rate: float, line: bytes) -> None:
    """Write so many events a second until ended."""
    from spanline.journal.writer import JournalWriter

    writer = JournalWriter(folder)
    began, written = time.monotonic(), 0
    while True:
        due = int((time.monotonic() - began) * rate)
        for _ in range(due - written):
            writer.write(line)
        written = due
        time.sleep(0.02)


if __name__ == "__main__":
    feed(Path(sys.argv[1]), float(sys.argv[2]), sys.stdin.buffer.readline().rstrip(b"\n"))
elif "BENCH_VARIANT" in os.environ:
    warnings.simplefilter("ignore")
    if os.environ["BENCH_VARIANT"] == RELAYED:
        app = _relayed()
    else:
        from benchmarks.apps import VARIANTS

        app = VARIANTS[os.environ["BENCH_VARIANT"]].build().app
