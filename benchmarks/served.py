"""The app of a variant for uvicorn (`BENCH_VARIANT`), and what feeds a journal in the background: `python -m benchmarks.served FOLDER RATE`."""

from __future__ import annotations

import os
import sys
import time
import warnings
from pathlib import Path


def feed(folder: Path, rate: float, line: bytes) -> None:
    """Write so many events a second until ended, or left alone."""
    from spanline.journal.writer import JournalWriter

    writer = JournalWriter(folder)
    parent = os.getppid()
    began, written = time.monotonic(), 0
    while os.getppid() == parent:
        due = int((time.monotonic() - began) * rate)
        for _ in range(due - written):
            writer.write(line)
        written = due
        time.sleep(0.02)


if __name__ == "__main__":
    feed(Path(sys.argv[1]), float(sys.argv[2]), sys.stdin.buffer.readline().rstrip(b"\n"))
elif "BENCH_VARIANT" in os.environ:
    warnings.simplefilter("ignore")
    from benchmarks.apps import VARIANTS

    app = VARIANTS[os.environ["BENCH_VARIANT"]].build().app
