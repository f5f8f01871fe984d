"""Facts of events: ours, others', merged, odd. No database."""

from __future__ import annotations

import json
from typing import Any

import pytest

from spanline.ledger.codec import Packer, pack, unpack
from spanline.ledger.documents import merge, read
from spanline.ledger.facts import STATUSES, facts_of
from spanline.ledger.gaps import gaps_of
from spanline.ledger.store import alike
from spanline.record.artifact import Artifact
from spanline.record.run import Evaluation, Release
from tests.ledger_events import CORPUS, MODEL, PROMPT, T0, build, end, foreign, index, request, start


def facts(*events: bytes | dict[str, Any]):
    return facts_of(merge(read(event).doc for event in events))


def test_a_terminal_event_holds_all():
    record = request(tenant="hmac-sha256:k:1", tags={"case": "4711"})
    found = facts(end(record))
    assert STATUSES[found.status] == "COMPLETE"
    assert (found.started_us, found.ended_us) == (T0 // 1000, T0 // 1000 + 500_000)
    assert found.trace_id == bytes.fromhex(record.trace_id)
    assert [(entry.ref, entry.digest != "", entry.evidence) for entry in found.artifacts if entry.kind in ("index", "corpus")] == [
        ("index:fees_corpus@c1", True, 0),
        ("corpus:fees@2026-11-01", False, 1),
    ]
    assert found.offline == 0
    assert facts(end(build(0, [CORPUS], [index()]))).offline == 1


def test_whether_a_later_event_of_a_process_is_a_job_is_not_known_without_its_job_facet():
    assert facts(end(build(0, [CORPUS], [index()]), job_facets=False)).offline is None
    assert facts(end(request(), job_facets=False)).offline == 0


@pytest.mark.parametrize(
    ("namespace", "name", "version", "expected"),
    [
        ("models", "openai/gpt-4o@2024-06-18", None, ("model", "openai/gpt-4o", "2024-06-18")),
        ("prompts", "fees@v7", "v7", ("prompt", "fees", "v7")),
        ("indexes", "fees@latest", None, ("index", "fees", "")),
        ("corpora", "fees", "2026-11-01", ("corpus", "fees", "2026-11-01")),
        ("datasets", "raw", None, ("dataset", "raw", "")),
        ("llm", "requests.svc", None, ("flow", "requests.svc", "")),
        ("s3://bucket", "people@example.org/x", None, ("dataset", "people@example.org/x", "")),
        ("postgres://db:5432", "core.fees", "snap-3", ("dataset", "core.fees", "snap-3")),
    ],
)
def test_datasets_of_others_become_artifacts_by_namespace(namespace, name, version, expected):
    event = foreign(0, [(namespace, name)], [], versions={name: version} if version else None)
    assert [(entry.kind, entry.name, entry.version) for entry in facts(event).artifacts] == [expected]


def test_events_merge_in_any_order():
    record = request()
    record.sequence = 0
    first = end(record)
    record.sequence, record.evaluations = 1, [Evaluation(name="faithfulness", score=0.4, passed=False)]
    second = end(record)
    for events in ([first, second, start(record)], [start(record), second, first], [second, start(record), first]):
        found = facts(*events)
        assert STATUSES[found.status] == "COMPLETE"
        assert found.ended_us == T0 // 1000 + 500_000
        assert [entry["name"] for entry in found.evaluations] == ["faithfulness"]
        assert len(found.artifacts) == 6


def test_a_later_facet_replaces_an_earlier_one_whole_and_silence_erases_nothing():
    run_id = "0199a1d2-0000-7000-8000-000000000001"
    early = foreign(0, [("corpora", "fees@1")], [], run_id=run_id, kind="START", spark={"a": 1, "b": 2}, nominalTime={"x": 1})
    late = foreign(1, [], [], run_id=run_id, spark={"a": 3})
    document = merge([late, early])
    assert document["run"]["facets"] == {"spark": {"a": 3}, "nominalTime": {"x": 1}}
    assert [dataset["name"] for dataset in document["inputs"]] == ["fees@1"]


def test_evaluations_of_two_events_stand_beside_each_other():
    record = request()
    record.evaluations = [Evaluation(name="a", score=1.0)]
    first = end(record)
    record.sequence, record.evaluations = 1, [Evaluation(name="b", score=0.0)]
    assert [entry["name"] for entry in facts(first, end(record)).evaluations] == ["a", "b"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"run": {"runId": "4711"}}, "UUID"),
        ({"run": None}, "UUID"),
        ({"job": {"namespace": "x"}}, "job"),
        ({"eventTime": "yesterday"}, "eventTime"),
        ({"eventType": "DONE"}, "eventType"),
    ],
)
def test_what_is_no_run_event_is_refused_with_a_reason(change, reason):
    with pytest.raises(ValueError, match=reason):
        read({**foreign(0, [], []), **change})


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b"null", b'"x"', b"[" * 100_000, b"\xff\xfe", b'{"run": {"runId": NaN}}'])
def test_broken_lines_are_refused(line):
    with pytest.raises(ValueError):
        read(line)


def test_odd_values_in_facets_are_left_out_and_nothing_else():
    event = json.loads(end(request()))
    facets = event["run"]["facets"]
    facets["spanline_operations"] = {"operations": [None, "x", {"kind": "inference", "responseId": 5}]}
    facets["spanline_release"] = "no object"
    facets["spanline_trace"]["tags"] = ["a"]
    facets["parent"] = {"run": {"runId": 7}}
    event["inputs"] += [None, {"namespace": 1}, {"namespace": "models", "name": "x\x00y", "facets": {"spanline_artifact": []}}]
    found = facts(event)
    assert [entry["kind"] for entry in found.operations] == ["inference"]
    assert found.release == {}
    assert found.parent_id is None
    assert "xy" in [entry.name for entry in found.artifacts]


def test_clock_nonsense_is_kept_within_what_a_key_holds():
    assert facts(foreign(0, [], []) | {"eventTime": "9999-12-31T23:59:59Z"}).started_us == (1 << 52) - 1
    assert facts(foreign(0, [], []) | {"eventTime": "0001-01-01T00:00:00Z"}).started_us == 0


def missing(*artifacts: Artifact, **fields: Any) -> str:
    return "; ".join(gap.missing for gap in gaps_of(facts(end(request(0, *artifacts, **fields)))))


def test_gaps_say_what_is_missing():
    assert missing() == ""
    assert "index" in missing(PROMPT, MODEL)
    assert "index" in missing(PROMPT, MODEL, index(None, None, evidence="inferred"))
    assert "prompt" in missing(index(), MODEL)
    assert "openai/gpt-4o" in missing(index(), PROMPT, Artifact(kind="model", name="openai/gpt-4o"))
    assert "version of index:fees_corpus" in missing(index(None, None), PROMPT, MODEL)
    assert missing(release=Release(release="1")) == "the code revision"
    assert missing(release=Release(code_revision="a" * 40)) == "the release"


def test_foreign_runs_have_no_gaps_of_ours():
    assert gaps_of(facts(foreign(0, [], []))) == []


def test_events_at_rest_are_small_and_whole():
    records = [request(number) for number in range(2)]
    first, line = (end(record) for record in records)
    text = alike(first) or b""
    packer = Packer(text)
    assert unpack(packer.pack(line), text) == line
    assert unpack(pack(line)) == line
    assert len(packer.pack(line)) < len(pack(line)) * 0.7 < len(line) * 0.2
    with pytest.raises(ValueError, match="damaged"):
        unpack(pack(line)[:-9])
    with pytest.raises(ValueError, match="unknown form"):
        unpack(b"\x63rest")


def test_what_events_say_alike_holds_no_people_and_no_ids():
    record = request(tenant="hmac-sha256:k:tenant", subject="hmac-sha256:k:subject", session="hmac-sha256:k:session", tags={"case": "4711"})
    text = (alike(end(record)) or b"").decode()
    for secret in (record.run_id, record.trace_id, record.request_id, "hmac-sha256", "4711", "wire.md", record.operations[1].response_id):
        assert str(secret) not in text
    assert PROMPT.digest is not None
    assert PROMPT.digest in text
