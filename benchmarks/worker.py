"""The measured process: builds one variant, warms it up, serves n requests between two marks, prints what came out as JSON."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import sys
import warnings
from collections import Counter

from benchmarks import workload
from benchmarks.apps import VARIANTS, Bench, as_under_load
from benchmarks.sink import stats

WARM_UP = 40


def _counts(bench: Bench, sink: str) -> Counter[str]:
    return Counter({**stats(sink), **bench.kept()})


async def measure(bench: Bench, count: int, shim: ctypes.CDLL, sink: str) -> dict[str, int]:
    """Serve `count` requests under instrumentation and flush inside it; the answer is what was received and kept meanwhile."""
    async with workload.lifespan(bench.app):
        await workload.drive(bench.app, WARM_UP)
        bench.flush()
        before = _counts(bench, sink)
        shim.bench_start()
        await workload.drive(bench.app, count)
        shim.bench_dump(b"serve")
        bench.flush()
        shim.bench_dump(b"flush")
        shim.bench_stop()
        after = _counts(bench, sink)
        after.subtract(before)
        print(json.dumps(after), flush=True)
        sys.stdout.flush()
        os._exit(0)  # the other threads' counts are written now, before any shutdown work of theirs


def main(name: str, count: int, shim: str, sink: str) -> None:
    """Run one variant; uvloop is used when it is installed, as uvicorn does."""
    warnings.simplefilter("ignore")
    if VARIANTS[name].loaded:
        as_under_load()
    bench = VARIANTS[name].build()
    try:
        import uvloop
    except ImportError:
        factory = None
    else:
        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(measure(bench, count, ctypes.CDLL(shim), sink))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4])
