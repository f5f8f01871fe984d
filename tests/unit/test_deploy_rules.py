"""Alerts are generated, can fire, have a runbook for 3 a.m. and cases of firing and not firing."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from spanline.cli.main import main
from spanline.deploy.generate import boards, files
from spanline.deploy.objectives import OBJECTIVES
from spanline.deploy.promql import RULE, seconds_bound, spec_of
from spanline.deploy.rules import Bases, alerts, rules
from spanline.metrics.catalogue import BY_NAME
from tests import alert_cases

ROOT = Path(__file__).resolve().parents[2]
RUNBOOKS = ROOT / "docs" / "runbooks"
NAMES = sorted({alert.name for alert in alerts()})
SECTIONS = ["What it means", "First look", "To the run behind it", "What to do", "Whom to wake"]


def test_the_committed_cases_are_the_written_ones() -> None:
    wanted = alert_cases.files()
    assert {path: text for path, text in wanted.items() if (ROOT / path).read_text() != text} == {}, "run: python -m tests.alert_cases"
    assert {path.name for path in (ROOT / alert_cases.FOLDER).glob("*.yml")} == {Path(path).name for path in wanted}


@pytest.mark.parametrize("name", NAMES)
def test_an_alert_has_cases_of_firing_and_not_firing(name: str) -> None:
    cases = alert_cases.CASES[name]
    assert {severity for case in cases for severity, _, _ in case.fires} == {alert.severity for alert in alerts() if alert.name == name}
    assert any(not case.fires for case in cases)


@pytest.mark.parametrize("name", NAMES)
def test_an_alert_has_a_runbook(name: str) -> None:
    text = (RUNBOOKS / f"{name}.md").read_text()
    assert text.startswith(f"# {name}\n")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == SECTIONS
    assert f"]({name}.md)" in (RUNBOOKS / "README.md").read_text()
    first = text.split("## First look")[1].split("\n## ")[0]
    assert "```promql" in first
    boards_named = set(re.findall(r"/d/([a-z-]+)", first))
    assert boards_named, "the board to open"
    assert boards_named <= set(boards())
    assert {alert.board for alert in alerts() if alert.name == name} <= boards_named
    assert "/r/" in text.split("## To the run behind it")[1].split("\n## ")[0]


def test_there_is_no_runbook_without_an_alert() -> None:
    assert {path.stem for path in RUNBOOKS.glob("*.md")} - {"README"} == set(NAMES)


@pytest.mark.parametrize("name", sorted(path.name for path in RUNBOOKS.glob("*.md")))
def test_runbooks_name_commands_metrics_and_pages_that_exist(name: str) -> None:
    from spanline.cli.main import COMMANDS

    text = (RUNBOOKS / name).read_text()
    assert set(re.findall(r"`spanline ([a-z]+)", text)) <= set(COMMANDS)
    asked = set(re.findall(r"\b(?:llm|rag|spanline)_[a-z_]+", " ".join(re.findall(r"```promql\n(.*?)```", text, re.DOTALL))))
    known = {metric + part for metric in BY_NAME for part in ("", "_bucket", "_count", "_sum")}
    recorded = {part for group in rules()["groups"] for rule in group["rules"] for part in rule.get("record", "").split(":")}
    assert asked - known - recorded == set()
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (RUNBOOKS / target).resolve().exists(), target


def test_links_go_where_they_are_told_to() -> None:
    text = files(
        Bases("https://grafana.example.org", "https://wiki.example.org/books", "https://runs.example.org", "https://jaeger.example.org")
    )
    document = yaml.safe_load(text["deploy/prometheus/rules/spanline.rules.yml"])
    for rule in document["groups"][-1]["rules"]:
        assert rule["annotations"]["runbook_url"] == f"https://wiki.example.org/books/{rule['alert']}.md"
        assert rule["annotations"]["dashboard_url"].startswith("https://grafana.example.org/d/spanline-")
    assert "localhost" not in "".join(text.values())


def test_an_alert_that_could_never_fire_is_refused() -> None:
    lax = OBJECTIVES[0]._replace(target=0.9)
    with pytest.raises(ValueError, match="144%"):
        rules(objectives=[lax])


def test_a_latency_objective_needs_a_bucket() -> None:
    with pytest.raises(ValueError, match="no bucket 4"):
        rules(objectives=[OBJECTIVES[1]._replace(within=4.0)])
    assert seconds_bound(spec_of("llm_latency_seconds"), 3) == "3.0"


def test_a_ratio_is_zero_where_nothing_was_bad_yet() -> None:
    assert " or 0 * " in RULE.ratio("rag_retrievals_total", 'outcome="empty"', window="5m")


def test_the_command_writes_boards_and_rules_for_given_addresses(tmp_path) -> None:
    given = [
        "deploy",
        "boards",
        "--write",
        str(tmp_path),
        "--base-url",
        "https://runs.example.org/",
        "--runbooks",
        "https://wiki.example.org",
    ]
    done = CliRunner().invoke(main, [*given, "--json"])
    assert done.exit_code == 0, done.output
    written = [Path(path) for path in json.loads(done.output)["written"]]
    assert {path.name for path in written} >= {"spanline-incident.json", "spanline.rules.yml"}
    text = "".join(path.read_text() for path in written)
    assert "https://wiki.example.org/LlmVersionConflict.md" in text
    assert "https://runs.example.org" in text
    (tmp_path / "file").touch()
    failed = CliRunner().invoke(main, ["deploy", "boards", "--write", str(tmp_path / "file" / "below")])
    assert failed.exit_code != 0
    assert "cannot be written" in failed.output
