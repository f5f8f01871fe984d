"""What a sick backend costs the serving thread, in instructions: nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks import apps, callgrind
from benchmarks.sink import Sink
from tests.faults.stand import Receiver
from tests.requirements import require

COUNT = 30


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")  # the sink's pipe
@pytest.mark.timeout(300)
def test_a_slow_backend_costs_the_serving_thread_no_instruction(monkeypatch: pytest.MonkeyPatch) -> None:
    """200 ms an answer beside an answer at once, the relay as a thread of the app: ±3 %."""
    require("valgrind", "make servers SERVERS=valgrind")
    found: dict[str, float] = {}
    for mode in ("up", "slow"):
        receiver = Receiver()
        receiver.mode = mode
        environment = {"OPENLINEAGE_URL": receiver.url, "SPANLINE_OPENLINEAGE_PRESET": "openlineage"}
        monkeypatch.setitem(apps.VARIANTS, "S_relay", replace(apps.VARIANTS["S_relay"], environment=environment))
        try:
            with Sink() as sink:
                found[mode] = callgrind.measure("S_relay", COUNT, sink.url).fg
        finally:
            receiver.stop()
        assert len(receiver.over()) >= COUNT
    print(found)
    assert found["slow"] == pytest.approx(found["up"], rel=0.03)
