"""Guardrails of the real OpenAI Agents SDK, in an environment of its own: each is one outcome of its run, and nothing it said is kept."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from spanline.errors import ConfigurationError
from spanline.integrations import openai_agents
from spanline.testing.validation import validate_event
from tests.requirements import missing
from tests.servers.cache import cache

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "tests" / "servers" / "openai_agents" / "agent.py"
PASSES = [("fees-only", "input", "pass", None), ("no_numbers", "output", "pass", None)]
EXPECTED = {
    "passes": PASSES,
    "streamed": PASSES,
    "input": [("fees-only", "input", "fail", "block")],
    "output": [("no_numbers", "output", "fail", "block")],
    "breaks": [("broken", "input", "error", None)],
    "tool": [("no_staging", "tool", "pass", None), ("no_keys", "tool", "pass", None)],
    "tool-input": [("no_staging", "tool", "fail", "block")],
    "tool-output": [("no_staging", "tool", "pass", None), ("no_keys", "tool", "fail", "redact")],
    "tool-raises": [("no_staging", "tool", "pass", None), ("no_keys", "tool", "fail", "block")],
}
RAISED = [
    "input InputGuardrailTripwireTriggered", "output OutputGuardrailTripwireTriggered", "breaks KeyError",
    "tool-raises ToolOutputGuardrailTripwireTriggered",
]  # fmt: skip


def run(home: Path, *listeners: str) -> tuple[list[str], dict[str, dict[str, Any]]]:
    """What the script printed, and the facets of the last event of each job."""
    python = cache() / "openai-agents-0.24.0" / "bin" / "python"
    if not python.exists():
        missing("the OpenAI Agents SDK is missing: make servers SERVERS=openai_agents")
    environ = {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": str(ROOT / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [str(python), str(SCRIPT), str(home / "state"), *listeners],
        env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    facets: dict[str, dict[str, Any]] = {}
    for file in (home / "state").rglob("*.ndjson"):
        for line in file.read_text().splitlines():
            event = json.loads(line)
            if isinstance(event, dict) and event.get("eventType") == "COMPLETE":
                validate_event(event)
                assert "zzsecret" not in line
                facets[event["job"]["name"].removeprefix("svc.")] = event["run"].get("facets", {})
    return done.stdout.splitlines(), facets


def outcomes(facets: dict[str, Any]) -> list[tuple[str, str, str, str | None]]:
    found = facets.get("spanline_guardrails", {}).get("outcomes", [])
    return [(one["name"], one.get("phase"), one["outcome"], one.get("action")) for one in found]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("listeners", [(), ("openinference",)], ids=["alone", "beside openinference"])
def test_every_guardrail_is_one_outcome(tmp_path, listeners):
    printed, facets = run(tmp_path, *listeners)
    assert printed == RAISED
    assert {name: outcomes(facets[name]) for name in EXPECTED} == EXPECTED
    # Taken off again, the SDK is as it was.
    assert outcomes(facets["uninstrumented"]) == []
    (broken,) = [one for one in facets["breaks"]["spanline_operations"]["operations"] if one["kind"] == "guardrail"]
    assert broken["errorType"] == "KeyError"


def test_without_the_sdk_it_says_what_to_install():
    with pytest.raises(ConfigurationError, match=r"pip install 'spanline\[openai-agents\]'"):
        openai_agents.instrument()
