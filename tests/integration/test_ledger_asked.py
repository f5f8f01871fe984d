"""The questions over HTTP and on the command line: the same answers as the ledger itself gives."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result

from spanline.cli.main import main
from spanline.ledger import Ledger
from spanline.record.run import Evaluation, Release
from spanline.server.app import build_app
from spanline.settings import Settings
from tests.ledger_events import CORPUS, JOB, MODEL, PROMPT, build, end, foreign, index, request


def story() -> tuple[list[Any], list[Any]]:
    passed = [Evaluation(name="faithfulness", score=0.9, passed=True)]
    good = request(1, release=Release(release="1.4.2"), evaluations=passed)
    bad = request(2, index(digest="rebuilt"), PROMPT, MODEL, release=Release(release="1.5.0"), evaluations=passed)
    made = build(-10, [CORPUS], [index()], job="fees.index")
    raw = foreign(-20, [("s3://lake", "fees.csv")], [("corpora", "fees@2026-11-01")])
    return [raw, end(made), end(good), end(bad)], [good, bad, made]


@pytest.fixture
def filled(tmp_path: Path) -> Iterator[tuple[Ledger, str, list[Any]]]:
    url = f"sqlite:///{tmp_path}/ledger.db"
    ledger = Ledger.open(url)
    events, records = story()
    ledger.ingest(events)
    yield ledger, url, records
    ledger.close()


@pytest.fixture
async def http(filled: Any) -> Any:
    app = build_app(filled[0], Settings.resolve({}, {}), api=True, require_loopback=True)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
        yield client


def called(url: str, *arguments: str) -> Result:
    return CliRunner().invoke(main, [*arguments, "--ledger", url], catch_exceptions=False)


async def test_the_same_answer_in_python_over_http_and_on_the_command_line(http, filled):
    ledger, url, (good, bad, _) = filled
    asked = [
        (ledger.lineage("index:fees_corpus@c1"), "lineage", {"ref": "index:fees_corpus@c1"}, ["lineage", "index:fees_corpus@c1"]),
        (
            ledger.lineage(f"run:{good.run_id}", direction="up", depth=1), "lineage", {"ref": f"run:{good.run_id}", "direction": "up", "depth": 1},
            ["lineage", f"run:{good.run_id}", "--up", "--depth", "1"],
        ),
        (ledger.impact("s3://lake/fees.csv", limit=20), "impact", {"ref": "s3://lake/fees.csv", "limit": 20}, ["impact", "s3://lake/fees.csv"]),
        (ledger.diff(good.run_id, bad.run_id), "diff", {"a": good.run_id, "b": bad.run_id}, ["diff", good.run_id, bad.run_id]),
        (ledger.lastgood(JOB), "lastgood", {"job": JOB}, ["lastgood", "--job", JOB]),
        (ledger.artifacts(limit=20), "artifacts", {"limit": 20}, ["artifacts"]),
    ]  # fmt: skip
    for expected, path, query, command in asked:
        reply = await http.get(f"/api/v1/{path}", params=query)
        assert (reply.status_code, reply.json()) == (200, expected), path
        done = called(url, *command, "--json")
        assert (done.exit_code, json.loads(done.stdout)) == (0, expected), path
        told = called(url, *command)
        assert (told.exit_code, bool(told.stdout.strip())) == (0, True)


def test_what_people_read(filled):
    _, url, (good, bad, _) = filled
    up = called(url, "lineage", f"run:{good.trace_id}", "--up").stdout
    assert "s3://lake/fees.csv" in up
    assert "fees.index" in up
    assert "index:fees_corpus@c1" in up
    down = called(url, "lineage", "corpora/fees@2026-11-01", "--down").stdout
    assert good.run_id in down
    assert "went into" in down
    every = called(url, "lineage", "indexes/fees_corpus").stdout
    assert "made from" in every
    assert bad.run_id in every
    assert "was used by 2 runs" in called(url, "impact", "corpus:fees").stdout
    impact = called(url, "impact", "s3://lake/fees.csv").stdout
    assert "was used by 1 run\n" in impact
    assert "through what was made from it" in impact
    diff = called(url, "diff", good.run_id, bad.run_id).stdout
    assert "digest" in diff
    assert "index:fees_corpus" in diff
    lastgood = called(url, "lastgood", "--job", JOB).stdout
    assert lastgood.startswith("1.4.2")
    assert "refused  1.5.0  version conflict of index:fees_corpus@c1" in lastgood
    assert "index:fees_corpus@c1" in called(url, "artifacts", "--kind", "index").stdout


def test_both_ways_are_both(filled):
    _, url, (good, _, _) = filled
    ref = f"run:{good.run_id}"
    assert called(url, "lineage", ref, "--up", "--down", "--json").stdout == called(url, "lineage", ref, "--json").stdout


def test_runs_by_everything(filled):
    ledger, url, (good, bad, made) = filled
    ledger.ingest([end(request(9, tenant="hmac-sha256:k:1", subject="hmac-sha256:k:2", session="hmac-sha256:k:3"))])

    def listed(*options: str) -> list[str]:
        return [item["runId"] for item in json.loads(called(url, "runs", *options, "--json").stdout)["items"]]

    assert listed("--artifact", "indexes/fees_corpus@c1", "--until", "2026-09-21T14:13:25Z") == [bad.run_id, good.run_id, made.run_id]
    assert listed("--tenant", "hmac-sha256:k:1") == listed("--subject", "hmac-sha256:k:2") == listed("--session", "hmac-sha256:k:3") != []
    assert listed("--tenant", "hmac-sha256:k:2") == []
    assert listed("--since", "1s") == []
    assert len(listed("--since", "30000d")) == 5
    done = called(url, "runs", "--since", "yesterday")
    assert (done.exit_code, "15m" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("option", "value", "near"), [("--artifact", "prompt:fee@v7", "prompt:fees"), ("--job", "fee-assistant.POST /chet", JOB)]
)
def test_no_runs_of_a_slip_of_the_pen(filled, option, value, near):
    done = called(filled[1], "runs", option, value)
    assert (done.exit_code, done.stdout) == (0, "no runs\n")
    assert f"did you mean {near}" in done.stderr
    assert json.loads(called(filled[1], "runs", option, value, "--json").stdout) == {"items": [], "next": None}


def test_an_id_that_is_not_known_comes_with_what_to_try(filled):
    done = called(filled[1], "trace", "nope")
    assert (done.exit_code, done.stdout) == (4, "")
    assert done.stderr.startswith("nothing is known of nope\n")
    assert "spanline doctor" in done.stderr


@pytest.mark.parametrize(
    ("path", "status", "told"),
    [
        ("lineage", 400, "ref"),
        ("lineage?ref=index:fees_corpu", 404, "did you mean index:fees_corpus"),
        ("lineage?ref=run:nope", 404, "no run"),
        ("lineage?ref=a%20b", 400, "not a reference"),
        ("lineage?ref=index:fees_corpus&direction=left", 400, "up, down or both"),
        ("lineage?ref=index:fees_corpus&depth=-1", 400, "depth"),
        ("lineage?ref=index:fees_corpus&depth=1000", 400, "depth"),
        ("lineage?reff=index:fees_corpus", 400, "Did you mean ref?"),
        ("impact?ref=prompt:fees@v8", 404, "prompt:fees@v7"),
        ("impact?ref=prompt:fees@v7&after=zz", 400, "after"),
        ("impact?ref=prompt:fees@v7&limit=0", 400, "limit"),
        ("diff?a=x", 400, "b is missing"),
        ("diff?a=prompt:fees@v7&b=prompt:fees@v7", 400, "two runs"),
        ("diff?a=release:fee-assistant@1.4.2&b=release:fee-assistant@1.5", 404, "1.5.0"),
        ("lastgood?job=fee-assistant", 404, "fee-assistant.POST /chat"),
        ("lastgood", 400, "job"),
    ],
)
async def test_errors_say_what_to_do(http, path, status, told):
    reply = await http.get(f"/api/v1/{path}")
    assert reply.status_code == status
    assert reply.headers["content-type"] == "application/problem+json"
    assert told in reply.json()["title"] + reply.json()["detail"]


@pytest.mark.parametrize(
    "command", [["lineage", "prompt:fee@v7"], ["impact", "prompt:fee"], ["diff", "run:x", "run:y"], ["lastgood", "--job", "x"]]
)
def test_what_is_not_known_ends_with_four(filled, command):
    done = called(filled[1], *command)
    assert done.exit_code == 4
    assert done.stderr.strip()
    assert not done.stdout


def test_no_ledger_and_wrong_arguments(tmp_path, filled):
    assert called(f"sqlite:///{tmp_path}/none.db", "lineage", "prompt:fees").exit_code == 4
    assert not (tmp_path / "none.db").exists()
    assert called(filled[1], "diff", "prompt:fees@v7", "prompt:fees@v7").exit_code == 2
    assert called(filled[1], "lastgood").exit_code == 2


def test_no_good_release_ends_with_one(tmp_path):
    url = f"sqlite:///{tmp_path}/bad.db"
    ledger = Ledger.open(url)
    ledger.ingest([end(request(1, outcome="FAIL"))])
    ledger.close()
    assert called(url, "lastgood", "--job", JOB).exit_code == 1


def test_erase_asks_first(filled):
    ledger, url, _ = filled
    record = request(5, subject="hmac-sha256:k:1")
    ledger.ingest([end(record)])
    asked = CliRunner().invoke(main, ["erase", "subject", "hmac-sha256:k:1", "--ledger", url], input="n\n")
    assert asked.exit_code == 1
    assert ledger.resolve(record.run_id) is not None
    assert json.loads(called(url, "erase", "subject", "hmac-sha256:k:1", "--yes", "--json").stdout)["deleted"] == 1
    assert ledger.resolve(record.run_id) is None
