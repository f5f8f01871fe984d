"""The release policy by the real OPA: its own tests, and its judgement of what `spanline deploy gate` says of a real ledger."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from spanline.cli.main import main
from spanline.ledger import Ledger
from spanline.record.run import Evaluation, GuardrailOutcome, Release, RunRecord
from tests.ledger_events import CORPUS, build, end, index, request, sha
from tests.requirements import server

ROOT = Path(__file__).resolve().parents[2]
POLICY = ROOT / "deploy" / "policy"
FAITHFUL = Evaluation(name="faithfulness", score=0.93, passed=True, evaluator="judge")
GUARDED = GuardrailOutcome(name="fee-answer", version="1", phase="output", outcome="pass")
RELEASE = "1.4.2"


def opa(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([server("opa"), *map(str, arguments)], capture_output=True, text=True, timeout=30, check=False)


def judged(document: Any, folder: Path, *more: str | Path) -> tuple[bool, list[str]]:
    """What the policy says of a document: allowed, and why not."""
    (folder / "input.json").write_text(json.dumps(document))
    done = opa("eval", "--data", POLICY, *more, "--input", folder / "input.json", "--format", "json", "data.spanline.release")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)["result"][0]["expressions"][0]["value"]
    assert answer["allow"] is (answer["deny"] == []), answer
    return answer["allow"], answer["deny"]


def ledger_of(folder: Path, *records: RunRecord) -> str:
    """A ledger with these runs, and with the job that made their index; its URL."""
    url = f"sqlite:///{folder / 'ledger.db'}"
    ledger = Ledger.open(url)
    try:
        report = ledger.ingest(
            [end(build(-60, [CORPUS], [index()], job="index-builder.fees", service="index-builder")), *(end(record) for record in records)]
        )
        assert not report.rejected
    finally:
        ledger.close()
    return url


def gate(url: str, *options: str, release: str = RELEASE) -> dict[str, Any]:
    done = CliRunner().invoke(main, ["deploy", "gate", "--service", "fee-assistant", "--release", release, "--ledger", url, *options])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def green(second: float = 0, **fields: Any) -> RunRecord:
    return request(second, **{"evaluations": [FAITHFUL], "guardrails": [GUARDED], **fields})


def test_the_policys_own_tests() -> None:
    done = opa("test", POLICY, "--verbose")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAIL" not in done.stdout
    assert done.stdout.count(": PASS") >= 23, done.stdout


def test_every_line_of_the_policy_is_tested() -> None:
    done = opa("test", POLICY, "--coverage", "--format=json")
    covered = json.loads(done.stdout)
    missed = {name: facts["not_covered"] for name, facts in covered["files"].items() if facts.get("not_covered")}
    assert not missed


def test_the_policy_is_strict_and_formatted() -> None:
    for arguments in (("check", "--strict", POLICY), ("fmt", "--fail", "--list", POLICY)):
        done = opa(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_green_release_is_allowed(tmp_path: Path) -> None:
    document = gate(ledger_of(tmp_path, *(green(second) for second in range(5))))
    assert document["runs"] == {"count": 5, "failed": 0, "aborted": 0}
    assert document["gaps"] == document["conflicts"] == []
    assert document["guardrails"] == {"fee-answer": {"pass": 5, "fail": 0, "error": 0, "skip": 0}}
    assert document["builds"] == [{"imageDigest": sha("image"), "codeRevision": "a" * 40, "runs": 5}]
    assert judged(document, tmp_path) == (True, [])


def test_without_evaluations_it_is_refused(tmp_path: Path) -> None:
    allowed, why = judged(gate(ledger_of(tmp_path, green(evaluations=[]))), tmp_path)
    assert not allowed
    assert why == ["no evaluation has passed"]


def test_one_red_evaluation_refuses_it(tmp_path: Path) -> None:
    red = green(3, evaluations=[Evaluation(name="faithfulness", score=0.2, passed=False)])
    allowed, why = judged(gate(ledger_of(tmp_path, green(), green(1), red)), tmp_path)
    assert not allowed
    assert why == [f"evaluation faithfulness failed on 1 of 3, such as run {red.run_id}"]


def test_a_version_conflict_refuses_it_until_it_is_accepted(tmp_path: Path) -> None:
    rebuilt = green(2, artifacts=[index(digest="rebuilt from staging"), *request().artifacts[1:]])
    url = ledger_of(tmp_path, green(), rebuilt)
    allowed, why = judged(gate(url), tmp_path)
    assert not allowed
    assert [line for line in why if line.startswith("index:fees_corpus@c1 is two things")], why
    assert rebuilt.run_id in why[0]

    accepted = CliRunner().invoke(main, ["conflicts", "ack", "index:fees_corpus@c1", sha("rebuilt from staging"), "--ledger", url])
    assert accepted.exit_code == 0, accepted.output
    # Accepted, the label is no conflict; that nobody told who made this build is still a gap.
    _, why = judged(gate(url), tmp_path)
    assert not [line for line in why if "two things" in line], why


def test_gaps_refuse_it_unless_they_are_accepted(tmp_path: Path) -> None:
    unknown = green(release=Release(release=RELEASE, image_digest=sha("image")))
    document = gate(ledger_of(tmp_path, unknown))
    allowed, why = judged(document, tmp_path)
    assert not allowed
    assert why == [f"the code revision is not known of 1 runs, such as {unknown.run_id}"]

    (tmp_path / "accepted.json").write_text(json.dumps({"release_limits": {"accepted_gaps": ["the code revision"]}}))
    mine = [file for file in POLICY.iterdir() if file.name != "limits.yaml"]
    arguments = [argument for file in mine for argument in ("--data", str(file))]
    (tmp_path / "input.json").write_text(json.dumps(document))
    done = opa("eval", *arguments, "--data", tmp_path / "accepted.json", "--input", tmp_path / "input.json", "data.spanline.release.allow")
    assert json.loads(done.stdout)["result"][0]["expressions"][0]["value"] is True


def test_failed_runs_and_guardrails_refuse_it(tmp_path: Path) -> None:
    failed = green(1, outcome="FAIL", error_type="TimeoutError", http_status_code=500)
    blocked = green(2, guardrails=[GuardrailOutcome(name="fee-answer", outcome="fail", action="flag")])
    _, why = judged(gate(ledger_of(tmp_path, green(), failed, blocked)), tmp_path)
    assert why == ["1 of 3 runs failed", "guardrail fee-answer: 1 of 3 failed"]


def test_a_release_that_nobody_tried_is_refused(tmp_path: Path) -> None:
    url = ledger_of(tmp_path, green())
    document = gate(url, release="9.9.9")
    assert document["runs"]["count"] == 0
    assert document["complete"] is True
    allowed, why = judged(document, tmp_path)
    assert not allowed
    assert "0 of at least 1 runs of release 9.9.9 are in the ledger" in why


def test_no_ledger_is_refused(tmp_path: Path) -> None:
    allowed, why = judged(gate(f"sqlite:///{tmp_path / 'nothing.db'}"), tmp_path)
    assert not allowed
    assert "no evaluation has passed" in why


def test_another_services_runs_do_not_count(tmp_path: Path) -> None:
    document = gate(ledger_of(tmp_path, green(), green(1, service="other", evaluations=[Evaluation(name="x", passed=False)])))
    assert document["runs"]["count"] == 1
    assert judged(document, tmp_path) == (True, [])


def test_the_image_must_be_the_one_that_was_tried(tmp_path: Path) -> None:
    url = ledger_of(tmp_path, green())
    assert judged(gate(url, "--image-digest", sha("image")), tmp_path) == (True, [])
    allowed, why = judged(gate(url, "--image-digest", sha("built again")), tmp_path)
    assert not allowed
    assert why == [f"no run of image {sha('built again')}: what was tried is not what is to be released"]


def test_what_was_not_read_is_not_judged(tmp_path: Path) -> None:
    document = gate(ledger_of(tmp_path, *(green(second) for second in range(4))), "--limit", "3")
    assert document["complete"] is False
    assert document["runs"]["count"] == 3
    _, why = judged(document, tmp_path)
    assert why == ["not all runs were read: raise --limit or narrow --since"]


@pytest.mark.parametrize("document", [None, {}, [], "", 0, {"allow": True}, {"schema": "https://spanline.dev/schemas/gate/1"}])
def test_anything_else_is_refused(tmp_path: Path, document: Any) -> None:
    allowed, why = judged(document, tmp_path)
    assert not allowed
    assert "the input is not what `spanline deploy gate` prints" in why


def mounted(folder: Path) -> Path:
    """The policy as a ConfigMap is mounted: links to a hidden folder."""
    hidden = folder / "policy" / "..2026_11_21"
    hidden.mkdir(parents=True)
    (folder / "policy" / "..data").symlink_to(hidden.name)
    for name in ("release.rego", "schema.rego", "limits.yaml"):
        (hidden / name).write_text((POLICY / name).read_text())
        (folder / "policy" / name).symlink_to(f"..data/{name}")
    return folder / "policy"


def gate_job() -> tuple[list[str], list[str]]:
    """The commands of the canary's gate: what asks, and what judges."""
    import yaml

    template = yaml.safe_load((ROOT / "deploy" / "canary" / "gate.yaml").read_text())
    pod = template["spec"]["metrics"][0]["provider"]["job"]["spec"]["template"]["spec"]
    return pod["initContainers"][0]["args"], pod["containers"][0]["args"]


@pytest.mark.timeout(90)
def test_the_canarys_gate_over_a_real_server(tmp_path: Path) -> None:
    """Both commands of the Job, word for word, against a `spanline serve` with tokens."""
    from tests.integration.test_cli_serve_and_relay import serving

    ask, judge = gate_job()
    policy = mounted(tmp_path)
    url = ledger_of(tmp_path, green())
    with serving(tmp_path / "home", "--ledger", url, SPANLINE_TOKENS="reader-token") as (base, _):

        def job(release: str, token: str = "reader-token") -> tuple[int, str]:
            file = tmp_path / f"input-{release}.json"
            words = {
                "{{args.service}}": "fee-assistant",
                "{{args.release}}": release,
                "{{args.server}}": base,
                "/gate/input.json": str(file),
            }
            command: Sequence[str] = [words.get(word, word) for word in ask]
            asked = subprocess.run(
                [sys.executable, "-m", "spanline.cli", *command], capture_output=True, text=True, timeout=30, check=False,
                env={"PATH": "/usr/bin", "SPANLINE_TOKENS": token, "SPANLINE_STATE": str(tmp_path / "state")},
            )  # fmt: skip
            if asked.returncode:
                return asked.returncode, asked.stderr
            done = opa(*(word.replace("=/policy", f"={policy}").replace("=/gate/input.json", f"={file}") for word in judge))
            return done.returncode, done.stdout + done.stderr

        assert job(RELEASE)[0] == 0, job(RELEASE)
        code, said = job("9.9.9")
        assert code != 0
        assert "0 of at least 1 runs of release 9.9.9" in said
        code, said = job(RELEASE, token="wrong")
        assert code != 0
        assert "SPANLINE_TOKENS" in said
        for file in policy.glob("*.rego"):
            file.unlink()
        assert job(RELEASE)[0] != 0, "without the policy nothing is allowed"
    code, said = job(RELEASE)
    assert code != 0
    assert "does not answer" in said
