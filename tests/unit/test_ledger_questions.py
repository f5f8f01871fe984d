"""Lineage, impact, diff, last good and references, on ledgers filled by real events; SQLite and PostgreSQL."""

from __future__ import annotations

import uuid

import msgspec
import pytest

from spanline.errors import UnknownReference
from spanline.record.artifact import Artifact, Document, Retrieval
from spanline.record.run import Evaluation, GuardrailOutcome, Operation, Parameters, Release, Usage
from tests.ledger_events import CORPUS, JOB, MODEL, PROMPT, build, child_of, end, foreign, index, request, sha, start

RAW = Artifact(kind="dataset", name="raw_fees")


def chain():
    """Raw data → dbt → corpus → index → two answers; and an evaluation set that nobody used."""
    corpus = build(-20, [RAW], [CORPUS], job="fees.corpus")
    indexing = build(-10, [CORPUS, Artifact(kind="model", name="e5-small", version="1")], [index()], job="fees.index")
    answers = [request(second, index(), PROMPT, MODEL) for second in (1, 2)]
    raw = foreign(-30, [("postgres://db:5432", "core.fees")], [("datasets", "raw_fees")])
    return raw, corpus, indexing, answers


def fill(ledger):
    raw, corpus, indexing, answers = chain()
    ledger.ingest([raw, *(end(record) for record in (corpus, indexing, *answers))])
    return raw["run"]["runId"], corpus, indexing, answers


def ids(graph, kind="run"):
    return {node["id"] for node in graph["nodes"] if node["type"] == kind}


def pairs(graph):
    return {(edge["from"], edge["to"]) for edge in graph["edges"]}


def test_upstream_of_an_answer_reaches_the_raw_data(ledger):
    raw, corpus, indexing, answers = fill(ledger)
    graph = ledger.lineage(f"run:{answers[0].run_id}", direction="up")
    assert set(graph) == {"root", "roots", "nodes", "edges", "truncated"}
    assert graph["root"] == f"run:{answers[0].run_id}"
    assert ids(graph) == {f"run:{run}" for run in (raw, corpus.run_id, indexing.run_id, answers[0].run_id)}
    node = next(node for node in graph["nodes"] if node["id"] == "index:fees_corpus@c1")
    assert (node["type"], node["kind"], node["namespace"], node["name"], node["version"], node["digest"]) == (
        "artifact", "index", "indexes", "fees_corpus", "c1", sha("c1"),
    )  # fmt: skip
    assert pairs(graph) >= {
        ("postgres://db:5432/core.fees", f"run:{raw}"),
        (f"run:{raw}", "dataset:raw_fees"),
        ("dataset:raw_fees", f"run:{corpus.run_id}"),
        (f"run:{corpus.run_id}", "corpus:fees@2026-11-01"),
        ("corpus:fees@2026-11-01", f"run:{indexing.run_id}"),
        (f"run:{indexing.run_id}", "index:fees_corpus@c1"),
        ("index:fees_corpus@c1", f"run:{answers[0].run_id}"),
    }
    by_time = next(edge for edge in graph["edges"] if edge["to"] == "dataset:raw_fees")
    assert (by_time["role"], by_time["evidence"], by_time["join"]) == ("output", "inferred", "time")
    assert graph["truncated"] is False
    assert all({"from", "to", "role", "evidence"} <= set(edge) for edge in graph["edges"])
    known = {node["id"] for node in graph["nodes"]}
    assert all(edge["from"] in known and edge["to"] in known for edge in graph["edges"])


def test_downstream_of_the_raw_data_reaches_the_answers(ledger):
    raw, corpus, indexing, answers = fill(ledger)
    everything = {f"run:{run}" for run in (raw, corpus.run_id, indexing.run_id, *(record.run_id for record in answers))}
    assert ids(ledger.lineage("postgres://db:5432/core.fees", direction="down")) == everything
    assert ids(ledger.lineage(f"run:{raw}", direction="down")) == everything
    assert ids(ledger.lineage("dataset:raw_fees", direction="down")) == everything - {f"run:{raw}"}
    assert ids(ledger.lineage("dataset:raw_fees")) == everything
    assert ids(ledger.lineage("corpus:fees", direction="up")) == {f"run:{raw}", f"run:{corpus.run_id}"}


def test_a_direction_shows_that_side_only(ledger):
    _, _, indexing, _ = fill(ledger)
    run = f"run:{indexing.run_id}"
    up, down, both = (ledger.lineage(run, direction=direction) for direction in ("up", "down", "both"))
    index_ = next(node for node in ids(down, "artifact") if node.startswith("index:"))
    assert index_ not in ids(up, "artifact")
    assert "corpus:fees@2026-11-01" in ids(up, "artifact") - ids(down, "artifact")
    for graph, near, far in ((up, "to", "from"), (down, "from", "to")):
        reached, before = {run}, 0
        while before < len(reached):
            before = len(reached)
            reached |= {edge[far] for edge in graph["edges"] if edge[near] in reached}
        assert reached == {node["id"] for node in graph["nodes"]}
    assert {node["id"] for node in both["nodes"]} == {node["id"] for graph in (up, down) for node in graph["nodes"]}
    # What another run used beside it is on neither side.
    assert ids(ledger.lineage("prompt:fees@v7"), "artifact") == {"prompt:fees@v7", "flow:responses.fee-assistant"}


def test_depth_counts_runs_and_says_when_there_is_more(ledger):
    raw, corpus, indexing, answers = fill(ledger)
    answer = answers[0].run_id
    steps = [{f"run:{answer}"}]
    for run in (indexing.run_id, corpus.run_id, raw):
        steps.append(steps[-1] | {f"run:{run}"})
    for depth, expected in enumerate(steps):
        graph = ledger.lineage(f"run:{answer}", direction="up", depth=depth)
        assert ids(graph) == expected
        assert graph["truncated"] is (depth < 3)
    graph = ledger.lineage(f"run:{raw}", direction="down", depth=1)
    assert ids(graph) == {f"run:{raw}", f"run:{corpus.run_id}"}
    assert graph["truncated"] is True
    with pytest.raises(ValueError, match="depth"):
        ledger.lineage(f"run:{answer}", depth=101)
    with pytest.raises(ValueError, match="direction"):
        ledger.lineage(f"run:{answer}", direction="left")


def test_cycles_are_cut(ledger):
    a, b = Artifact(kind="dataset", name="a", version="1"), Artifact(kind="dataset", name="b", version="1")
    ledger.ingest([end(build(0, [a], [b], job="x.one")), end(build(1, [b], [a], job="x.two"))])
    for ref in ("dataset:a@1", "dataset:b"):
        graph = ledger.lineage(ref, depth=50)
        assert len(ids(graph)) == 2
        assert len(graph["edges"]) == 4
        assert graph["truncated"] is False
    assert {entry["ref"] for entry in ledger.impact("dataset:a@1")["artifacts"]} == {"dataset:b@1"}


def test_an_unversioned_dataset_leads_to_the_runs_that_saw_this_write(ledger):
    writes = [foreign(second, [], [("s3://lake", "fees")], job="load") for second in (0, 100)]
    reads = [foreign(second, [("s3://lake", "fees")], [], job="report") for second in (50, 150, 160)]
    ledger.ingest([*writes, *reads])
    first, second = (ids(ledger.lineage(f"run:{write['run']['runId']}", direction="down")) for write in writes)
    assert first == {f"run:{writes[0]['run']['runId']}", f"run:{reads[0]['run']['runId']}"}
    assert second == {f"run:{writes[1]['run']['runId']}", *(f"run:{read['run']['runId']}" for read in reads[1:])}


def test_a_trace_brings_the_runs_of_its_other_services(ledger):
    root = request(1, PROMPT, MODEL)
    below = child_of(root, "retriever", artifacts=[index()])
    ledger.ingest([end(root), end(below), end(build(0, [CORPUS], [index()]))])
    graph = ledger.lineage(root.trace_id, direction="up")
    assert {node["name"] for node in graph["nodes"] if node["type"] == "run"} == {JOB, "retriever.POST /search", "fee-assistant.index"}
    assert {edge["role"] for edge in graph["edges"]} == {"input", "output", "child"}


def test_many_runs_of_one_artifact_are_cut_and_said(ledger):
    ledger.ingest([end(request(second)) for second in range(30)])
    graph = ledger.lineage("prompt:fees@v7", direction="down")
    assert len(ids(graph)) == 25
    assert graph["truncated"] is True


def test_two_digests_of_one_label_are_two_nodes(ledger):
    ledger.ingest([end(request(0)), end(request(1, index(digest="rebuilt"), PROMPT, MODEL))])
    graph = ledger.lineage("index:fees_corpus@c1")
    indexes = [node for node in graph["nodes"] if node["kind"] == "index"]
    assert len(indexes) == 2
    for node in indexes:
        (found,) = ledger.lineage(f"index:fees_corpus@c1#{node['digest']}", depth=0)["nodes"]
        assert found["digest"] == node["digest"]
    assert {ledger.impact(f"index:fees_corpus@c1#{node['digest']}")["runs"]["count"] for node in indexes} == {1}
    assert len(ids(graph)) == 2


def test_impact(ledger):
    _raw, _corpus, _indexing, answers = fill(ledger)
    found = ledger.impact("index:fees_corpus@c1")
    assert {"ref", "runs", "jobs", "releases", "artifacts"} <= set(found)
    assert found["ref"] == "index:fees_corpus@c1"
    assert found["runs"]["count"] == 2
    assert "approximate" not in found["runs"]
    assert [item["runId"] for item in found["runs"]["items"]] == [record.run_id for record in reversed(answers)]
    assert found["runs"]["next"] is None
    assert [(entry["job"], entry["runs"], entry["direct"]) for entry in found["jobs"]] == [(JOB, 2, True)]
    assert [(entry["release"], entry["service"], entry["runs"]) for entry in found["releases"]] == [("1.4.2", "fee-assistant", 2)]
    assert found["artifacts"] == []


def test_impact_goes_on_through_what_was_made(ledger):
    _raw, corpus, indexing, _answers = fill(ledger)
    found = ledger.impact("datasets/raw_fees")
    assert [item["runId"] for item in found["runs"]["items"]] == [corpus.run_id]
    assert [(entry["ref"], entry["depth"], entry["runs"]) for entry in found["artifacts"]] == [
        ("corpus:fees@2026-11-01", 1, 1),
        ("index:fees_corpus@c1", 2, 2),
    ]
    assert {entry["job"]: entry["direct"] for entry in found["jobs"]} == {"fees.corpus": True, "fees.index": False, JOB: False}
    assert ledger.impact(f"run:{indexing.run_id}")["runs"]["count"] == 2


def test_impact_of_a_name_counts_each_run_once_and_is_paged(ledger):
    ledger.ingest([end(request(second, index(f"c{second % 3}", f"c{second % 3}"), index("extra", "e"), PROMPT)) for second in range(9)])
    found = ledger.impact("index:fees_corpus", limit=4)
    assert found["runs"]["count"] == 9
    seen = [item["runId"] for item in found["runs"]["items"]]
    while found["runs"]["next"]:
        found = ledger.impact("index:fees_corpus", limit=4, after=found["runs"]["next"])
        seen += [item["runId"] for item in found["runs"]["items"]]
    assert len(seen) == len(set(seen)) == 9


def test_impact_beyond_what_is_counted_is_approximate(ledger, monkeypatch):
    monkeypatch.setattr("spanline.ledger.impact.COUNTED", 5)
    ledger.ingest([end(request(second)) for second in range(7)])
    found = ledger.impact("prompt:fees@v7")["runs"]
    assert (found["count"], found["approximate"]) == (7, True)


def test_impact_of_a_release_and_a_revision(ledger):
    _raw, _corpus, _indexing, _answers = fill(ledger)
    for ref in ("release:fee-assistant@1.4.2", f"code:https://github.com/example/fees@{'a' * 40}"):
        found = ledger.impact(ref)
        assert found["runs"]["count"] == 4
        assert {entry["ref"] for entry in found["artifacts"]} == {"corpus:fees@2026-11-01", "index:fees_corpus@c1"}
        assert {entry["job"] for entry in found["jobs"]} >= {"fees.corpus", "fees.index"}


def test_tallies_follow_events_that_come_twice_and_in_any_order(ledger):
    record = request(1, PROMPT)
    for event in (start(record), end(record), start(record)):
        ledger.ingest([event])
    record.sequence, record.artifacts = 1, [index()]
    ledger.ingest([end(record)])
    assert ledger.impact("prompt:fees@v7")["runs"]["count"] == 1
    assert [entry["runs"] for entry in ledger.impact("prompt:fees@v7")["releases"]] == [1]
    assert ledger.impact("index:fees_corpus@c1")["runs"]["count"] == 1


def params(temperature, **more):
    return Operation(
        span_id="2" * 16,
        kind="inference",
        name="chat gpt-4o",
        response_id=uuid.uuid4().hex,
        parameters=Parameters(temperature=temperature, **more),
    )


def test_diff_of_two_runs(ledger):
    documents = Retrieval(top_k=5, documents=(Document(id="fees/wire.md"), Document(id="staging/draft.md")))
    good = request(1, index(), PROMPT, MODEL, CORPUS, operations=[params(0.2)], usage=Usage(input_tokens=800, output_tokens=90))
    bad = request(
        2, index("c2", "c2", retrieval=documents), msgspec.structs.replace(PROMPT, digest=sha("edited")), Artifact(kind="model", name="llama"),
        operations=[params(0.9, max_tokens=10)], usage=Usage(input_tokens=900, output_tokens=20), outcome="FAIL", ended_ns=None or request(2).started_ns + 3 * 10**9,
        release=Release(release="1.5.0", code_revision="b" * 40), guardrails=[GuardrailOutcome(name="fee-schema", outcome="fail", phase="output")],
    )  # fmt: skip
    ledger.ingest([end(good), end(bad)])
    found = ledger.diff(good.run_id, f"run:{bad.trace_id}")
    assert set(found) == {"a", "b", "changes", "parameters", "documents", "outcomes", "usage", "duration"}
    changes = {(entry["kind"], entry["name"]): entry for entry in found["changes"]}
    assert changes["index", "fees_corpus"] == {
        "kind": "index", "name": "fees_corpus", "change": "version", "a": {"version": "c1", "digest": sha("c1")}, "b": {"version": "c2", "digest": sha("c2")},
    }  # fmt: skip
    assert changes["prompt", "fees"]["change"] == "digest"
    assert (changes["model", "llama"]["change"], changes["model", "llama"]["a"]) == ("added", None)
    assert (changes["model", MODEL.name]["change"], changes["model", MODEL.name]["b"]) == ("removed", None)
    assert changes["corpus", "fees"]["change"] == "removed"
    assert changes["release", "fee-assistant"]["change"] == "version"
    assert changes["code", "fee-assistant"]["b"]["version"] == "b" * 40
    assert found["parameters"] == [
        {"name": "maxTokens", "a": None, "b": 10},
        {"name": "temperature", "a": 0.2, "b": 0.9},
        {"name": "topK", "a": 3, "b": 5},
    ]
    assert found["documents"] == {"added": ["staging/draft.md"], "removed": ["fees/cards.md"], "changed": [], "same": 1}
    assert (found["outcomes"]["a"]["status"], found["outcomes"]["b"]["status"]) == ("COMPLETE", "FAIL")
    assert found["outcomes"]["b"]["guardrails"] == {"fee-schema": "fail"}
    assert found["usage"]["difference"]["inputTokens"] == 100
    assert found["duration"] == {"a": 0.5, "b": 3.0, "difference": 2.5}


def test_a_run_and_itself_do_not_differ(ledger):
    record = request()
    ledger.ingest([end(record)])
    found = ledger.diff(record.run_id, record.request_id)
    assert (found["changes"], found["parameters"], found["documents"]["added"]) == ([], [], [])
    assert found["outcomes"]["same"] is True


def test_diff_of_two_releases_and_of_two_hours(ledger):
    old = [request(second, release=Release(release="1.4.2")) for second in range(3)]
    new = [request(3600 + second, index("c2", "c2"), PROMPT, release=Release(release="1.5.0"), outcome="FAIL") for second in range(2)]
    ledger.ingest([end(record) for record in (*old, *new)])
    hours = [f"2026-09-21T{hour:02}:13:00Z" for hour in (14, 15, 16)]
    for a, b in (
        ("release:fee-assistant@1.4.2", "release:fee-assistant@1.5.0"),
        (f"{hours[0]}/{hours[1]}", f"{hours[1]}/{hours[2]}"),
    ):
        found = ledger.diff(a, b, job=JOB)
        assert (found["a"]["runs"], found["b"]["runs"]) == (3, 2), found["a"]
        assert {(entry["kind"], entry["change"]) for entry in found["changes"]} == {
            ("index", "version"), ("model", "removed"), ("corpus", "removed"), ("release", "version"),
        }  # fmt: skip
        assert found["outcomes"]["b"]["statuses"] == {"FAIL": 2}
        assert found["duration"]["a"]["p50"] == 0.5


def test_what_cannot_be_compared_is_said(ledger):
    ledger.ingest([end(request())])
    with pytest.raises(ValueError, match="two runs"):
        ledger.diff("prompt:fees@v7", "prompt:fees@v7")
    with pytest.raises(ValueError, match="ends after"):
        ledger.diff("2026-01-02T00:00:00Z/2026-01-01T00:00:00Z", "x")
    with pytest.raises(UnknownReference, match=r"release:fee-assistant@1\.4\.2"):
        ledger.diff("release:fee-assistant@1.4.3", "release:fee-assistant@1.4.2")


def released(second, name, *artifacts, **fields):
    return request(second, *(artifacts or [index(), PROMPT, MODEL]), release=Release(release=name), **fields)


def test_the_last_good_release_is_the_newest_that_nothing_speaks_against(ledger):
    passed, failed = (Evaluation(name="faithfulness", score=0.9, passed=flag) for flag in (True, False))
    good = released(10, "1.1", evaluations=[passed])
    ledger.ingest([
        end(record)
        for record in (
            released(0, "1.0", evaluations=[passed]),
            good,
            released(11, "1.1"),
            released(20, "1.2", evaluations=[passed]),
            released(21, "1.2", index(digest="rebuilt"), PROMPT),
            released(30, "1.3", evaluations=[passed]),
            released(31, "1.3", evaluations=[failed]),
            released(40, "1.4"),
            # A rollback makes an old release no newer.
            released(50, "1.0"),
        )
    ])  # fmt: skip
    found = ledger.lastgood(JOB)
    assert {"job", "release", "run", "artifacts", "why", "refused"} <= set(found)
    assert (found["job"], found["release"], found["run"]) == (JOB, "1.1", good.run_id)
    assert {entry["ref"] for entry in found["artifacts"]} == {"index:fees_corpus@c1", "prompt:fees@v7", f"model:{MODEL.name}"}
    assert "faithfulness" in found["why"]
    reasons = {entry["release"]: entry["reason"] for entry in found["refused"]}
    assert list(reasons) == ["1.4", "1.3", "1.2"]
    assert "no evaluation" in reasons["1.4"]
    assert "faithfulness failed" in reasons["1.3"]
    assert "conflict of index:fees_corpus@c1" in reasons["1.2"]
    ledger.acknowledge("index:fees_corpus@c1", sha("rebuilt"))
    assert ledger.lastgood(f"rag-prod/{JOB}")["release"] == "1.2"


def test_without_evaluations_the_last_good_release_has_no_conflict_and_no_guardrail_failure(ledger):
    blocked = released(20, "1.2", guardrails=[GuardrailOutcome(name="fee-schema", outcome="fail", phase="output")])
    ledger.ingest([end(record) for record in (released(10, "1.1"), blocked, released(30, "1.3", outcome="FAIL"))])
    found = ledger.lastgood(JOB)
    assert found["release"] == "1.1"
    assert "no release of this job has an evaluation" in found["why"]
    assert {entry["release"]: entry["reason"][:9] for entry in found["refused"]} == {"1.3": "no run of", "1.2": "a guardra"}


def test_no_good_release(ledger):
    ledger.ingest([end(released(1, "1.0", outcome="FAIL"))])
    found = ledger.lastgood(JOB)
    assert (found["release"], found["run"], found["artifacts"]) == (None, None, [])
    assert found["why"]
    with pytest.raises(UnknownReference, match=r"did you mean fee-assistant\.POST /chat"):
        ledger.lastgood("fee-asistant.POST /chat")


@pytest.mark.parametrize(
    ("ref", "near"),
    [
        ("prompt:fee@v7", "prompt:fees"),
        ("prompt:fees@v8", "prompt:fees@v7"),
        ("promt:fees@v7", "prompt:fees"),
        ("indexes/fees_corpu", "index:fees_corpus"),
        ("nothing:like/it", "spanline artifacts"),
    ],
)
def test_an_unknown_reference_names_the_nearest(ledger, ref, near):
    ledger.ingest([end(request())])
    for ask in (ledger.lineage, ledger.impact):
        with pytest.raises(UnknownReference, match=near):
            ask(ref)


@pytest.mark.parametrize("ref", ["", "   ", "run:", "a b", "x" * 2000, "prompt:\x00", "run:a b"])
def test_what_is_no_reference_is_said(ledger, ref):
    with pytest.raises((ValueError, UnknownReference)):
        ledger.lineage(ref)


def test_references_with_odd_names(ledger):
    odd = "';DROP TABLE runs;--<b>@x"
    ledger.ingest([foreign(0, [("s3://a/b", "c/d@v1"), ("s3://a", "b/c/d"), ("n", odd)], [], versions={"c/d@v1": "v1"})])
    for ref, namespace in (("s3://a/b/c/d@v1", "s3://a/b"), ("s3://a/b/c/d", "s3://a/b"), (f"n/{odd}", "n"), (f"dataset:{odd}", "n")):
        graph = ledger.lineage(ref, depth=0)
        assert {node["namespace"] for node in graph["nodes"] if node["type"] == "artifact"} == {namespace}, ref


def test_lineage_of_a_release_is_asked_of_impact(ledger):
    ledger.ingest([end(request())])
    with pytest.raises(ValueError, match="impact"):
        ledger.lineage("release:fee-assistant@1.4.2")
