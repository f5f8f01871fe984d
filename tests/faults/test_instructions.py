"""What a sick backend costs the serving thread, in instructions: nothing."""

from __future__ import annotations

import contextlib
import subprocess
import sys

import pytest

from benchmarks import callgrind
from benchmarks.sink import Sink
from tests.faults.stand import ROOT, Receiver
from tests.requirements import require

COUNT = 30
MEASURE = """
import sys
from dataclasses import replace
from benchmarks import apps, callgrind
environment = {"OPENLINEAGE_URL": sys.argv[1], "SPANLINE_OPENLINEAGE_PRESET": "openlineage"}
apps.VARIANTS["S_relay"] = replace(apps.VARIANTS["S_relay"], environment=environment)
print(callgrind.measure("S_relay", int(sys.argv[2]), sys.argv[3]).fg)
"""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")  # the sink's pipe
@pytest.mark.timeout(600)
def test_a_slow_backend_costs_the_serving_thread_no_instruction() -> None:
    """200 ms an answer beside an answer at once, the relay as a thread of the app: ±3 %. Both at the same time: instructions do not mind."""
    require("valgrind", "make servers SERVERS=valgrind")
    callgrind.shim()
    with contextlib.ExitStack() as stack:
        receivers = {"up": Receiver(), "slow": Receiver()}
        measuring: dict[str, subprocess.Popen[str]] = {}
        for mode, receiver in receivers.items():
            stack.callback(receiver.stop)
            receiver.mode = mode
            command = [sys.executable, "-c", MEASURE, receiver.url, str(COUNT), stack.enter_context(Sink()).url]
            measuring[mode] = stack.enter_context(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True))
        found = {mode: float(process.communicate()[0]) for mode, process in measuring.items()}
        assert all(len(receiver.over()) >= COUNT for receiver in receivers.values())
    print(found)
    assert found["slow"] == pytest.approx(found["up"], rel=0.03)
