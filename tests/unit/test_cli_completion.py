"""Completion in a real bash, names from the ledger, and the nearest name for a wrong one."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from spanline.cli.main import COMMANDS, main
from spanline.journal.reader import Entry
from spanline.ledger import Ledger
from spanline.relay.parked import ParkedStore
from tests.ledger_events import JOB, end, index, request


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a ledger."""
    home = tmp_path_factory.mktemp("home")
    ledger = Ledger.open(f"sqlite:///{home}/ledger.db")
    ledger.ingest([end(request()), end(request(1, index("c2", "c2"))), end(request(2, job="fee-assistant.POST /search"))])
    ledger.close()
    return home


@pytest.fixture
def home(filled: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPANLINE_HOME", str(filled))
    return filled


def offered(*words: str) -> list[str]:
    """What is offered for the last word."""
    return [item.value for item in ShellComplete(main, {}, "spanline", "_SPANLINE_COMPLETE").get_completions(list(words[:-1]), words[-1])]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("ru",), ["runs"]),
        (("journal", "p"), ["parked"]),
        (("runs", "--out"), ["--outcome"]),
        (("runs", "--job", "fee"), [JOB, "fee-assistant.POST /search"]),
        (("runs", "--job", "fee-assistant.POST /s"), ["fee-assistant.POST /search"]),
        (("lastgood", "--job", ""), [JOB, "fee-assistant.POST /search"]),
        (("runs", "--prompt", ""), ["fees"]),
        (("runs", "--index", "fees_corpus@"), ["fees_corpus@c1", "fees_corpus@c2"]),
        (("impact", "pro"), ["prompt:"]),
        (("impact", "index:"), ["index:fees_corpus"]),
        (("lineage", "index:fees_corpus@c2"), ["index:fees_corpus@c2"]),
        (("diff", "prompt:fees@v7", "model:"), ["model:openai/gpt-4o-2024-06-18"]),
        (("conflicts", "ack", "prompt:f"), ["prompt:fees"]),
        (("impact", "index:' OR 1=1 --"), []),
        (("runs", "--ledger", "sqlite:////nowhere/at.all", "--job", ""), []),
        (("runs", "--ledger", "nonsense", "--job", ""), []),
    ],
)
def test_what_is_offered(home: Path, words: tuple[str, ...], found: list[str]) -> None:
    assert offered(*words) == found


def test_nothing_is_made_or_said_where_there_is_no_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SPANLINE_HOME", str(tmp_path))
    assert offered("runs", "--job", "") == []
    (tmp_path / "ledger.db").write_bytes(b"no database")
    assert offered("runs", "--job", "") == []
    monkeypatch.setenv("SPANLINE_SERVER_URL", "http://127.0.0.1:9")
    assert offered("runs", "--job", "") == []
    assert capfd.readouterr() == ("", "")
    assert [path.name for path in tmp_path.iterdir()] == ["ledger.db"]


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_a_real_bash_completes(home: Path, tmp_path: Path) -> None:
    program = tmp_path / "spanline"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m spanline.cli "$@"\n')
    program.chmod(0o755)
    script = f"""
        PATH={tmp_path}:$PATH
        source <(spanline completion bash)
        COMP_WORDS=(spanline runs --job 'fee-assistant.POST\\ /s'); COMP_CWORD=3; COMPREPLY=(); _spanline_completion spanline
        printf '%s\\n' "${{COMPREPLY[@]}}"
        COMP_WORDS=(spanline impact prompt:f); COMP_CWORD=2; COMPREPLY=(); _spanline_completion spanline
        printf '%s\\n' "${{COMPREPLY[@]}}" "${{COMP_WORDBREAKS//[^:]}}"
    """
    done = subprocess.run(["bash", "--norc", "-c", script], capture_output=True, text=True, check=False)
    assert (done.stdout.split("\n"), done.stderr) == (["fee-assistant.POST\\ /search", "prompt:fees", "", ""], "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts(shell: str) -> None:
    done = CliRunner().invoke(main, ["completion", shell])
    assert done.exit_code == 0
    assert f"_SPANLINE_COMPLETE={shell}_complete" in done.stdout


@pytest.mark.parametrize(
    ("command", "status", "told"),
    [
        (["rnus"], 2, "No such command 'rnus'. Did you mean 'runs'?"),
        (["runs", "--outcom", "FAIL"], 2, "--outcome"),
        (["runs", "--job", "fee-assitant.POST /chat"], 0, f"did you mean {JOB}"),
        (["runs", "--model", "openai/gpt-4o"], 0, "did you mean model:openai/gpt-4o-2024-06-18?"),
        (["runs", "--model", "a", "--prompt", "b"], 2, "at a time"),
        (["artifacts", "--kind", "promt"], 0, "did you mean prompt?"),
        (["artifacts", "--kind", "prompt", "--name", "fes"], 0, "did you mean prompt:fees"),
        (["impact", "prompt:fees@v8"], 4, "did you mean prompt:fees@v7?"),
        (["trace", "prompt:fees@v7"], 2, "`spanline lineage` or `impact`"),
    ],
)
def test_the_nearest_name(home: Path, command: list[str], status: int, told: str) -> None:
    done = CliRunner().invoke(main, command)
    assert (done.exit_code, told in done.output) == (status, True), done.output


def test_a_kind_is_a_shorter_way_to_name_an_artifact(home: Path) -> None:
    done = CliRunner().invoke(main, ["runs", "--index", "fees_corpus@c2", "--json"])
    assert len(json.loads(done.stdout)["items"]) == 1
    assert done.stderr == ""


LISTS = {"runs": (), "artifacts": (), "conflicts": (), "gaps": (), "impact": ("prompt:fees@v7",), "journal parked": ()}


@pytest.mark.parametrize("name", LISTS)
def test_every_list_has_json_and_pages(home: Path, name: str) -> None:
    """By keyset: pages of one are, in order, the whole."""
    for number in range(3):
        store = ParkedStore(home / "journal" / "fees", "marquez")
        if name == "journal parked" and store.count() < 3:
            store.add(
                Entry("s", 0, 1, b"{}"), status=422, reason=f"no {number}", attempts=1, parked_at=f"2026-11-21T12:00:0{number}.000000000Z"
            )

    def page(*options: str) -> dict[str, Any]:
        done = CliRunner().invoke(main, [*name.split(), *LISTS[name], "--json", *options])
        assert done.exit_code == 0, done.output
        found = json.loads(done.stdout)
        return found["runs"] if name == "impact" else found

    whole = page("--limit", "100")
    assert whole["next"] is None
    found, after = [], None
    while True:
        one = page("--limit", "1", *(["--after", str(after)] if after else []))
        found += one["items"]
        after = one["next"]
        if after is None:
            break
    assert found == whole["items"]
    assert found or name == "conflicts"


def test_every_command_that_answers_has_json() -> None:
    without = {"serve", "relay", "journal", "deploy", "completion", "convert"}
    for name in set(COMMANDS) - without:
        command = main.get_command(click.Context(main), name)
        assert command is not None
        assert any("--json" in param.opts for param in command.params), name
