"""Whatever stands where in an event: it is taken or refused with a reason, the others of its batch are taken, and what was taken can be read."""

from __future__ import annotations

import copy
import json
import random
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spanline.ledger import Ledger
from tests.foreign import RECORDED, decoded
from tests.ledger_events import CORPUS, MODEL, PROMPT, build, end, foreign, index, request

EVENTS = [
    *decoded(*RECORDED),
    *(json.loads(end(record)) for record in (request(0), request(1, index("c2", "c2"), PROMPT, MODEL), build(2, [CORPUS], [index()]))),
]
TEXTS = st.one_of(
    st.sampled_from(["", "\x00", "\ud800", "latest", "a@b@c", "%00", "x" * 3000, "9" * 400, "1e400", "-0"]), st.text(max_size=20)
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(1 << 66), 1 << 66), st.floats(allow_nan=False, allow_infinity=False), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    opened = Ledger.open(f"sqlite:///{tmp_path_factory.mktemp('ledger')}/ledger.db")
    yield opened
    opened.close()


def places(value: Any, where: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of all that is in a document."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield (*where, key)
        yield from places(inner, (*where, key))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data())
def test_any_value_anywhere(ledger: Ledger, data: st.DataObject) -> None:
    event = copy.deepcopy(data.draw(st.sampled_from(EVENTS)))
    for _ in range(data.draw(st.integers(1, 3))):
        # Mostly near the top: there are fewer places, and more is read of them.
        known = sorted(places(event), key=len)
        path = known[min(data.draw(st.integers(0, len(known) - 1)), data.draw(st.integers(0, len(known) - 1)))]
        owner = event
        for key in path[:-1]:
            owner = owner[key]
        owner[path[-1]] = data.draw(VALUES)
    good = foreign(0, [], [])
    report = ledger.ingest([json.dumps(good).encode(), json.dumps(event).encode()])
    assert all(entry.index == 1 and entry.reason for entry in report.rejected)
    assert ledger.run(good["run"]["runId"]) is not None
    if not report.rejected and "run" in event:
        run_id = event["run"]["runId"]
        assert ledger.run(run_id) is not None
        assert ledger.document(run_id) is not None
        ledger.lineage(f"run:{run_id}", depth=2)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 1 << 32), size=st.integers(1, 9))
def test_events_of_one_time_in_any_order(ledger: Ledger, seed: int, size: int) -> None:
    """Order of arrival decides nothing, also not between events that say the same time."""
    chance = random.Random(seed)
    some = []
    for n in range(size):
        kind = chance.choice(["START", "RUNNING", "OTHER", "COMPLETE", "FAIL", "ABORT"])
        event = foreign(chance.randint(0, 2), [], [("s3://lake", f"d{chance.randint(0, 2)}")], kind=kind, note={"n": n})
        event["job"]["facets"] = {"documentation": {"description": f"d{n}", **({"_deleted": True} if chance.random() < 0.2 else {})}}
        some.append(event)
    documents = []
    for _ in range(2):
        run_id = str(uuid.uuid4())
        chance.shuffle(some)
        for first in range(0, size, 2):
            ledger.ingest([{**event, "run": {**event["run"], "runId": run_id}} for event in some[first : first + 2]])
        document = ledger.document(run_id)
        documents.append((document["run"].pop("runId"), document, ledger.run(run_id)["outcome"])[1:])
    assert documents[0] == documents[1]
