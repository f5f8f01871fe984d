"""Text for people: nothing foreign acts on a terminal, columns stand straight."""

from __future__ import annotations

import json
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from spanline.cli import text
from spanline.cli.main import COMMANDS, main
from spanline.cli.tree import tree_of

RUN = {
    "runId": "4bf92f35-77b3-4da6-a3ce-929d0e0e4736",
    "traceId": "4bf92f3577b34da6a3ce929d0e0e4736",
    "job": {"namespace": "rag-prod", "name": "fee-assistant.POST /chat"},
    "status": "COMPLETE",
    "startedAt": "2026-11-21T12:00:00.000000Z",
    "endedAt": "2026-11-21T12:00:01.000000Z",
    "durationSeconds": 1.0,
    "answers": {
        "data": [{"name": "fees", "version": "2026-11-01", "digest": "sha256:" + "9f" * 32, "evidence": "declared"}],
        "model": [{"name": "openai/gpt-4o-2024-06-18", "evidence": "observed"}],
        "prompt": [{"name": "fees", "version": "v7", "digest": "sha256:" + "ab" * 32, "evidence": "observed"}],
        "index": [{"name": "fees_corpus", "version": "commit:abc123"}],
        "code": [],
        "release": [],
    },
    "conflicts": [
        {
            "kind": "prompt", "namespace": "prompts", "name": "fees", "version": "v7", "digest": "sha256:" + "ab" * 32,
            "expectedDigest": "sha256:" + "cd" * 32, "firstSeenRunId": "11111111-77b3-4da6-a3ce-929d0e0e4736",
        }
    ],
    "gaps": [{"missing": "the code revision", "how": "ship the .git folder"}],
    "operations": [
        {"spanId": "a" * 16, "kind": "retrieval", "name": "retrieval fees_corpus", "startedAt": "2026-11-21T12:00:00.100000Z", "durationSeconds": 0.1},
        {
            "spanId": "b" * 16, "kind": "inference", "name": "chat gpt-4o", "responseModel": "gpt-4o-2024-06-18", "errorType": "RateLimitError",
            "startedAt": "2026-11-21T12:00:00.300000Z", "durationSeconds": 0.6, "usage": {"inputTokens": 812, "outputTokens": 96},
        },
    ],
    "usage": {"inputTokens": 812, "outputTokens": 96},
    "guardrails": [{"name": "fee-schema", "version": "3", "phase": "output", "outcome": "pass"}],
    "artifacts": [
        {
            "kind": "index", "name": "fees_corpus", "version": "commit:abc123", "role": "input", "ref": "index:fees_corpus@commit:abc123",
            "retrieval": {"hits": 2, "documents": [{"id": "staging/draft.md#1", "score": 0.87, "source": "staging/draft.md"}, {"id": "fees/sepa.md#4"}]},
        },
        {"kind": "index", "name": "empty", "ref": "index:empty", "retrieval": {"hits": 0}},
    ],
    "links": {"self": "http://127.0.0.1:8008/r/4bf92f3577b34da6a3ce929d0e0e4736"},
}  # fmt: skip


def test_the_tree_answers_first_and_names_conflicts_and_gaps() -> None:
    lines = [click.unstyle(line) for line in tree_of(RUN)]
    whole = "\n".join(lines)
    assert lines[0] == "COMPLETE  fee-assistant.POST /chat  1.00 s"
    assert lines[2] == "trace 4bf92f3577b34da6a3ce929d0e0e4736  run 4bf92f35-77b3-4da6-a3ce-929d0e0e4736"
    order = [
        whole.index(part)
        for part in (
            "what made this answer",
            "1 version conflict",
            "2 documents from index",
            "not known of this run",
            "2 operations",
            "guardrails",
            "links",
        )
    ]
    assert order == sorted(order)
    assert "prompt   fees@v7  abababababab, observed ← conflict" in whole
    assert "prompt:fees@v7  is abababababab, was cdcdcdcdcdcd, first seen in run 11111111-77b3-4da6-a3ce-929d0e0e4736" in whole
    assert "│  └─ the code revision\n│     └─ ship the .git folder" in whole
    assert "code     not known" in whole
    assert "│  ├─ staging/draft.md#1  0.87, staging/draft.md\n│  └─ fees/sepa.md#4\n├─ no documents from index:empty" in whole
    assert "RateLimitError" in whole
    assert "gpt-4o-2024-06-18, 812 → 96 tokens" in whole


@pytest.mark.parametrize(
    "broken", [{}, {"answers": None, "operations": "no", "conflicts": [1], "gaps": ["x"], "links": None, "job": "a.b", "others": [{}]}]
)
def test_the_tree_of_less_than_a_run(broken: dict[str, object]) -> None:
    assert tree_of(broken)


def test_what_a_terminal_would_act_upon_is_written_out() -> None:
    evil = "fees\x1b[2J\x1b]0;x\x07\n\t\u202egnp\u200b\ud800\x9b"
    assert text.shown(evil) == "fees\\u001b[2J\\u001b]0;x\\u0007\\u000a\\u0009\\u202egnp\\u200b\\ud800\\u009b"
    run = {
        **RUN,
        "status": evil,
        "answers": {"model": [{"name": evil}]},
        "operations": [{"name": evil, "kind": "tool", "errorType": evil}],
        "links": {"self": evil},
    }
    whole = "\n".join(click.unstyle(line) for line in tree_of(run))
    assert "\x1b" not in whole
    assert "\u202e" not in whole


def test_wide_and_combining_characters_keep_columns_straight() -> None:
    rows = [["日本", "x"], ["e\u0301a", "y"], [click.style("ab", fg="red"), "z"]]
    lines = [click.unstyle(line) for line in text.table(["name", "b"], rows)]
    assert [text.width(line[: line.rindex(line[-1])]) for line in lines] == [6, 6, 6, 6]
    assert text.cut("日本語", 5) == "日本…"


def test_colours_only_on_a_terminal_and_never_with_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    def hello() -> None:
        text.say(text.bad("red"))

    assert CliRunner().invoke(hello).output == "red\n"
    assert "\x1b[" in CliRunner().invoke(hello, color=True).output
    monkeypatch.setenv("NO_COLOR", "1")
    assert CliRunner().invoke(hello, color=True).output == "red\n"


def test_json_is_ascii_whatever_is_in_it() -> None:
    @click.command()
    def out() -> None:
        text.say_json({"name": "\ud800日"})

    printed = CliRunner().invoke(out).output
    assert printed.isascii()
    assert json.loads(printed) == {"name": "\ud800日"}


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help(name: str) -> None:
    done = CliRunner().invoke(main, [name, "--help"])
    assert done.exit_code == 0, done.output
    assert len(done.output.splitlines()) > 4


def test_usage_errors_are_2() -> None:
    assert CliRunner().invoke(main, ["no-such"]).exit_code == 2
    assert CliRunner().invoke(main, ["trace", "--no-such"]).exit_code == 2
    assert CliRunner().invoke(main, ["trace", "a b"]).exit_code == 2
    assert CliRunner().invoke(main, ["runs", "--since", "yesterday"]).exit_code == 2
    assert CliRunner().invoke(main, ["runs", "--tag", "case"]).exit_code == 2


def test_version() -> None:
    assert CliRunner().invoke(main, ["--version"]).output.startswith("spanline, version 0.")


def test_every_command_that_prints_for_people_takes_json() -> None:
    """All but `convert` and `completion`, which print what programs read."""

    def leaves(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
        if isinstance(command, click.Group):
            if command.invoke_without_command:
                yield name, command
            context = click.Context(command)
            for child in command.list_commands(context):
                below = command.get_command(context, child)
                assert below is not None
                yield from leaves(below, f"{name} {child}".strip())
        else:
            yield name, command

    found = dict(leaves(main, ""))
    assert {"trace", "conflicts ack", "relay", "relay replay", "journal ls", "deploy gate"} <= set(found)
    without = {name for name, command in found.items() if not any("--json" in option.opts for option in command.params)}
    assert without <= {"convert", "completion"}, without
