"""The ledger asked: ids, the JSON of a run, lists, conflicts, gaps, upstream. On SQLite and PostgreSQL."""

from __future__ import annotations

import uuid

import msgspec
import pytest

from spanline.record.artifact import Artifact
from spanline.record.run import Conflict, GuardrailOutcome, ModelUsage, Operation, Usage
from tests.ledger_events import CORPUS, JOB, MODEL, PROMPT, build, child_of, end, foreign, index, request, sha, start

KEYS = {
    "runId", "traceId", "job", "status", "startedAt", "endedAt", "durationSeconds", "artifacts", "operations", "usage", "guardrails",
    "evaluations", "conflicts", "gaps", "upstream", "links", "answers",
}  # fmt: skip


def test_every_form_of_an_id_leads_to_the_run(ledger):
    record = request(response_id="chatcmpl-1", request_id="req:1")
    ledger.ingest([end(record)])
    forms = (record.trace_id, record.trace_id.upper(), record.run_id, record.run_id.upper(), "req:1", "chatcmpl-1")
    assert {ledger.resolve(form) for form in forms} == {record.run_id}
    for unknown in ("f" * 32, "req:2", "REQ:1", "0" * 32, "x"):
        assert ledger.resolve(unknown) is None
        assert ledger.run(unknown) is None


def test_a_request_id_may_look_like_a_uuid(ledger):
    request_id = str(uuid.uuid4())
    record = request(request_id=request_id)
    ledger.ingest([end(record)])
    assert ledger.resolve(request_id) == record.run_id


def test_of_several_runs_with_one_response_id_the_newest_comes_first(ledger):
    records = [request(second, response_id="resp_1") for second in (2, 3, 1)]
    ledger.ingest([end(record) for record in records])
    assert ledger.run("resp_1")["runId"] == records[1].run_id
    assert ledger.run("resp_1")["others"] == [records[0].run_id, records[2].run_id]


def test_the_json_of_a_run(ledger):
    record = request(tags={"case": "4711"}, guardrails=[GuardrailOutcome(name="fee-schema", version="3", phase="output", outcome="fail")])
    ledger.ingest([end(record)])
    found = ledger.run(record.trace_id)
    assert set(found) >= KEYS
    assert (found["runId"], found["traceId"], found["job"], found["status"]) == (record.run_id, record.trace_id, JOB, "COMPLETE")
    assert found["durationSeconds"] == 0.5
    assert (found["requestId"], found["tags"], found["service"]) == (record.request_id, {"case": "4711"}, "fee-assistant")
    assert [operation["kind"] for operation in found["operations"]] == ["retrieval", "inference"]
    assert found["usage"] == {"inputTokens": 812, "outputTokens": 96}
    assert found["guardrails"] == [{"name": "fee-schema", "version": "3", "phase": "output", "outcome": "fail"}]
    retrieval = next(entry["retrieval"] for entry in found["artifacts"] if entry["kind"] == "index")
    assert retrieval == {"topK": 3, "hits": 2, "documents": [{"id": "fees/wire.md", "score": 0.9}, {"id": "fees/cards.md"}]}
    assert msgspec.json.encode(found)


def test_the_six_answers(ledger):
    record = request()
    ledger.ingest([end(record)])
    answers = ledger.run(record.run_id)["answers"]
    assert list(answers) == ["data", "model", "prompt", "index", "code", "release"]
    assert answers["data"] == [{"name": "fees", "version": "2026-11-01", "digest": None, "evidence": "declared"}]
    assert answers["model"] == [{"name": "openai/gpt-4o-2024-06-18", "version": None, "digest": None, "evidence": "observed"}]
    assert answers["prompt"] == [{"name": "fees", "version": "v7", "digest": sha("prompt v7"), "evidence": "observed"}]
    assert answers["index"] == [{"name": "fees_corpus", "version": "c1", "digest": sha("c1"), "evidence": "observed"}]
    assert answers["code"] == [{"name": "https://github.com/example/fees", "version": "a" * 40, "digest": None, "evidence": "observed"}]
    assert answers["release"] == [{"name": "fee-assistant", "version": "1.4.2", "digest": sha("image"), "evidence": "observed"}]


def test_what_an_artifact_is_made_of_is_data_too(ledger):
    record = request(0, index(made_of=("corpus:fees@2026-11-01", "model:e5@1", "nonsense")), PROMPT, MODEL)
    ledger.ingest([end(record)])
    assert ledger.run(record.run_id)["answers"]["data"] == [
        {"name": "fees", "version": "2026-11-01", "digest": None, "evidence": "declared"}
    ]


def test_a_run_speaks_for_the_runs_below_it(ledger):
    root = request(0, operations=[], artifacts=[], usage=None)
    by_model = [ModelUsage(provider="openai", model="gpt-4o", operation="inference", input_tokens=812, output_tokens=96)]
    child = child_of(root, "retriever", usage=Usage(input_tokens=812, output_tokens=96, by_model=by_model))
    grandchild = child_of(child, "reranker", operations=[Operation(span_id="9" * 16, kind="rerank")], usage=None, artifacts=[PROMPT])
    ledger.ingest([end(grandchild), end(child), end(root)])
    found = ledger.run(root.trace_id)
    assert found["runId"] == root.run_id
    assert [entry["runId"] for entry in found["children"]] == [child.run_id, grandchild.run_id]
    assert found["answers"]["index"][0]["name"] == "fees_corpus"
    assert found["usage"]["inputTokens"] == 812
    assert {operation["runId"] for operation in found["operations"]} == {child.run_id, grandchild.run_id}
    assert ledger.run(child.run_id)["parent"]["runId"] == root.run_id
    assert [entry["runId"] for entry in ledger.run(child.run_id)["children"]] == [grandchild.run_id]


def test_a_trace_whose_own_run_is_elsewhere_leads_to_what_is_here(ledger):
    root = request()
    child = child_of(root, "retriever")
    ledger.ingest([end(child)])
    assert ledger.resolve(root.trace_id) == child.run_id


def test_a_model_response_that_two_services_report_is_counted_once(ledger):
    root = request(0, response_id="chatcmpl-same")
    child = child_of(root, "gateway", response_id="chatcmpl-same")
    ledger.ingest([end(root), end(child)])
    assert ledger.run(root.run_id)["usage"] == {"inputTokens": 812, "outputTokens": 96}


def test_lists_are_paged_by_keyset(ledger):
    records = [request(second) for second in range(7)]
    ledger.ingest([end(record) for record in records])
    seen, after = [], None
    while True:
        page = ledger.runs(limit=3, after=after)
        seen += [item["runId"] for item in page["items"]]
        after = page["next"]
        if after is None:
            break
    assert seen == [record.run_id for record in reversed(records)]
    assert set(page["items"][0]) >= {"runId", "traceId", "job", "status", "startedAt", "durationSeconds", "release", "conflicts", "tags"}


def test_filters(ledger):
    other = Artifact(kind="prompt", name="fees", version="v8", digest=sha("prompt v8"))
    records = [
        request(0, tags={"case": "1", "url:x": "y"}),
        request(1, index(), other, MODEL, outcome="FAIL"),
        request(2, index("c2", "c2"), PROMPT, MODEL, outcome="ABORT", tags={"case": "1"}),
        request(3, job="fee-assistant.GET /tariffs"),
    ]
    ledger.ingest([end(record) for record in records])

    def found(**given):
        return [[record.run_id for record in records].index(item["runId"]) for item in ledger.runs(**given)["items"]]

    assert found(job=JOB) == [2, 1, 0]
    assert found(job="nobody") == []
    assert found(outcome="FAIL") == found(outcome="error") == [1]
    assert found(outcome="complete") == [3, 0]
    assert found(artifact="prompt:fees") == [3, 2, 1, 0]
    assert found(artifact="prompt:fees@v7") == [3, 2, 0]
    assert found(artifact="prompt:fees@v7", job=JOB, outcome="aborted") == [2]
    assert found(artifact="index:fees_corpus@c2", tag="case:1") == [2]
    assert found(artifact="prompts/fees@v7") == [3, 2, 0]
    assert found(artifact="prompts/fees") == [3, 2, 1, 0]
    assert found(artifact="index:unknown") == []
    assert found(artifact="release:another-service@1.4.2") == []
    with pytest.raises(ValueError, match="is a run"):
        found(artifact=f"run:{ledger.runs()['items'][0]['runId']}")
    assert found(artifact="release:fee-assistant@1.4.2") == [3, 2, 1, 0]
    assert found(artifact=f"code:fees@{'a' * 40}", limit=2) == [3, 2]
    assert found(tag="case:1") == found(tag="case=1") == [2, 0]
    assert found(tag="case:1", job=JOB, limit=1) == [2]
    assert found(conflict=True) == []
    assert found(conflict=False) == [3, 2, 1, 0]
    times = [item["startedAt"] for item in ledger.runs()["items"]]
    assert found(since=times[1], until=times[0]) == [2]
    for wrong in ({"outcome": "great"}, {"after": "x!"}, {"artifact": "fees"}, {"tag": "case"}, {"since": "now"}, {"limit": 0}):
        with pytest.raises(ValueError):
            ledger.runs(**wrong)


def test_the_same_label_with_another_digest_is_a_conflict(ledger):
    first, same, changed, again = (
        request(0), request(1), request(2, index(digest="rebuilt"), PROMPT, MODEL), request(3, index(digest="rebuilt"), PROMPT, MODEL),
    )  # fmt: skip
    assert ledger.ingest([end(first), end(same)]).conflicts == ()
    report = ledger.ingest([end(changed)])
    assert [(found.name, found.expected_digest, found.first_seen_run_id) for found in report.conflicts] == [
        ("fees_corpus", sha("c1"), first.run_id)
    ]
    assert ledger.ingest([end(again)]).conflicts == ()
    assert [item["runId"] for item in ledger.runs(conflict=True)["items"]] == [again.run_id, changed.run_id]
    (conflict,) = ledger.run(changed.run_id)["conflicts"]
    assert conflict["digest"] == sha("rebuilt")
    assert conflict["expectedDigest"] == sha("c1")
    assert conflict["firstSeenRunId"] == first.run_id
    assert not conflict["acknowledged"]
    (label,) = ledger.conflicts()["items"]
    assert (label["kind"], label["namespace"], label["name"], label["version"]) == ("index", "indexes", "fees_corpus", "c1")
    assert [(entry["digest"], entry["runs"]) for entry in label["digests"]] == [(sha("c1"), 2), (sha("rebuilt"), 2)]
    assert ledger.run(first.run_id)["conflicts"] == []


def test_an_accepted_digest_is_no_conflict_any_more(ledger):
    ledger.ingest([end(request(0)), end(request(1, index(digest="rebuilt"), PROMPT))])
    assert not ledger.acknowledge("index:fees_corpus@c1", sha("never seen"))
    assert not ledger.acknowledge("indexes/fees_corpus@c2", sha("rebuilt"))
    assert ledger.acknowledge("index:fees_corpus@c1", sha("rebuilt"))
    assert ledger.acknowledge("indexes/fees_corpus@c1", sha("rebuilt"))
    assert ledger.conflicts()["items"][0]["acknowledged"]
    later = request(2, index(digest="rebuilt"), PROMPT)
    assert ledger.ingest([end(later)]).conflicts == ()
    assert ledger.run(later.run_id)["conflicts"] == []
    with pytest.raises(ValueError, match="version"):
        ledger.acknowledge("index:fees_corpus", sha("rebuilt"))


def test_labels_of_another_namespace_and_aliases_do_not_conflict(ledger):
    ledger.ingest([
        end(request(0)),
        end(request(1, index(digest="staging"), namespace="rag-staging")),
        end(request(2, index("latest", "one"))),
        end(request(3, index("latest", "two"))),
        end(request(4, index(None, "three"))),
    ])  # fmt: skip
    assert ledger.conflicts()["items"] == []


def test_a_conflict_that_the_process_saw_is_kept_also_when_the_ledger_is_new(ledger):
    conflict = Conflict(
        kind="index", namespace="indexes", name="fees_corpus", version="c1", digest=sha("rebuilt"), expected_digest=sha("c1"),
        first_seen_run_id=str(uuid.uuid4()),
    )  # fmt: skip
    record = request(0, index(digest="rebuilt"), PROMPT, conflicts=[conflict])
    assert len(ledger.ingest([end(record)]).conflicts) == 1
    (found,) = ledger.run(record.run_id)["conflicts"]
    assert (found["expectedDigest"], found["firstSeenRunId"]) == (sha("c1"), conflict.first_seen_run_id)
    assert ledger.runs(conflict=True)["items"][0]["conflicts"] == 1
    assert ledger.run((request(1)).run_id) is None


def test_conflicts_are_paged(ledger):
    prompts = [Artifact(kind="prompt", name=f"p{number}", version="v1", digest=sha("a")) for number in range(5)]
    ledger.ingest([end(request(0, *prompts))])
    ledger.ingest([end(request(1, *(msgspec.structs.replace(prompt, digest=sha("b")) for prompt in prompts)))])
    first = ledger.conflicts(limit=3)
    rest = ledger.conflicts(limit=3, after=first["next"])
    assert {item["name"] for item in first["items"] + rest["items"]} == {f"p{number}" for number in range(5)}
    assert rest["next"] is None


def test_gaps(ledger):
    whole, lacking = request(0), request(1, MODEL)
    ledger.ingest([end(whole), end(lacking)])
    page = ledger.gaps()
    assert {item["runId"] for item in page["items"]} == {lacking.run_id}
    assert ["index" in item["missing"] for item in page["items"]] == [True, False]
    assert all(item["how"] for item in page["items"])
    # Which run made the index is asked when the run is looked at: an index built later may close it.
    assert [gap["missing"] for gap in ledger.run(whole.run_id)["gaps"]] == ["the run that made index:fees_corpus@c1, and so the data in it"]


def test_upstream_leads_from_the_answer_to_the_raw_data(ledger):
    raw = foreign(-300, [("postgres://core:5432", "core.fees")], [("datasets", "fee_export")])
    old = foreign(-900, [("postgres://core:5432", "old.fees")], [("datasets", "fee_export")])
    corpus = build(-200, [Artifact(kind="dataset", name="fee_export")], [CORPUS], job="fee-assistant.collect")
    built = build(-100, [CORPUS], [index()])
    elsewhere = build(-50, [CORPUS], [index("c2", "c2")])
    record = request(0)
    ledger.ingest([end(record), end(elsewhere), end(built), end(corpus), raw, old])
    found = ledger.run(record.run_id)
    chain = [(entry["job"], entry["join"], entry["evidence"]) for entry in found["upstream"]]
    assert chain == [
        ("fee-assistant.index", "version", "observed"),
        ("fee-assistant.collect", "version", "observed"),
        ("fees_raw", "time", "inferred"),
    ]
    assert found["upstream"][0]["runId"] == built.run_id
    assert [(entry["name"], entry["evidence"]) for entry in found["answers"]["data"]] == [
        ("fees", "declared"), ("fee_export", "observed"), ("core.fees", "inferred"),
    ]  # fmt: skip
    assert found["gaps"] == []


def test_an_index_is_found_by_its_digest_alone(ledger):
    built = build(-100, [CORPUS], [index("build-77")])
    record = request(0, index(None), PROMPT, MODEL)
    ledger.ingest([end(built), end(record)])
    (up,) = ledger.run(record.run_id)["upstream"]
    assert (up["runId"], up["join"], up["evidence"]) == (built.run_id, "digest", "observed")


def test_by_time_only_what_finished_before_and_nothing_that_says_it_is_another(ledger):
    before = foreign(-10, [], [("indexes", "fees_corpus")], job="a")
    failed = foreign(-5, [], [("indexes", "fees_corpus")], job="b", kind="FAIL")
    after = foreign(5, [], [("indexes", "fees_corpus")], job="c")
    record = request(0, index(None, None), PROMPT)
    ledger.ingest([before, failed, after, end(record)])
    assert [up["job"] for up in ledger.run(record.run_id)["upstream"]] == ["a"]
    silent = request(0, index("c1", "rebuilt"), PROMPT)
    ledger.ingest([end(build(-3, [CORPUS], [index("c1", "c1")])), end(silent)])
    assert [up["job"] for up in ledger.run(silent.run_id)["upstream"]] == ["a"]


def test_upstream_ends_in_cycles_and_at_depth_ten(ledger):
    circle = [
        foreign(-3, [("datasets", "b@1")], [("datasets", "a@1")], job="a"),
        foreign(-2, [("datasets", "a@1")], [("datasets", "b@1")], job="b"),
    ]
    chain = [foreign(-100 - n, [("datasets", f"d{n + 1}@1")], [("datasets", f"d{n}@1")], job=f"j{n}") for n in range(15)]
    first = request(0, Artifact(kind="dataset", name="a", version="1"))
    second = request(0, Artifact(kind="dataset", name="d0", version="1"))
    ledger.ingest([*circle, *chain, end(first), end(second)])
    assert [up["job"] for up in ledger.run(first.run_id)["upstream"]] == ["a", "b"]
    assert [up["depth"] for up in ledger.run(second.run_id)["upstream"]] == list(range(1, 11))


def test_artifacts_are_listed(ledger):
    ledger.ingest([end(request(0)), end(request(1, index("c2", "c2"), PROMPT))])
    page = ledger.artifacts(kind="index", name="fees_corpus")
    assert sorted(item["ref"] for item in page["items"]) == ["index:fees_corpus@c1", "index:fees_corpus@c2"]
    assert all(item["lastUsedAt"] for item in page["items"])
    seen, after = [], None
    while True:
        page = ledger.artifacts(limit=2, after=after)
        seen += [item["ref"] for item in page["items"]]
        after = page["next"]
        if after is None:
            break
    assert len(seen) == len(set(seen)) == 7


def test_a_run_that_only_started_is_running(ledger):
    record = request()
    ledger.ingest([start(record)])
    found = ledger.run(record.run_id)
    assert (found["status"], found["outcome"], found["endedAt"], found["durationSeconds"]) == ("RUNNING", None, None, None)
    ledger.ingest([end(record)])
    ledger.ingest([start(record)])
    assert ledger.run(record.run_id)["status"] == "COMPLETE"


def test_runs_of_a_person_and_a_tenant(ledger):
    people = [request(second, subject=f"hmac-sha256:k:{second % 2}", tenant="hmac-sha256:k:t", tags={"case": "1"}) for second in range(4)]
    ledger.ingest([end(record) for record in people])

    def found(**filters: str) -> list[str]:
        return [item["runId"] for item in ledger.runs(**filters)["items"]]

    assert found(subject="hmac-sha256:k:1") == [people[3].run_id, people[1].run_id]
    assert found(tenant="hmac-sha256:k:t", subject="hmac-sha256:k:0", tag="case:1") == [people[2].run_id, people[0].run_id]
    assert found(session="hmac-sha256:k:1") == []
