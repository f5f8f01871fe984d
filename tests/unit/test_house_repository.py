"""The repository speaks of the project alone, and its papers are true."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import spanline

ROOT = Path(__file__).resolve().parents[2]
# Put together here, so that this file does not hold what it looks for.
REGISTRIES = re.compile(
    "|".join(map(re.escape, ("pypi" + ".org", "python" + "hosted.org", "npm" + "js.org", "npm" + "js.com", "crates" + ".io")))
)
MACHINE_PATHS = re.compile(r"(?<![\w./])/(?:work|root|home/[a-z]+|Users/[a-z]+)/(?!\.\.\.)[\w.-]")
BINARY = {".png", ".gz", ".ico", ".woff2", ".pb", ".bin", ".parquet", ".lance"}


def tracked() -> list[Path]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if done.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in done.stdout.decode().split("\0") if name]


def texts() -> list[tuple[str, str]]:
    return [(str(p.relative_to(ROOT)), p.read_text("utf-8", "replace")) for p in tracked() if p.is_file() and p.suffix not in BINARY]


def test_no_registry_host_is_named() -> None:
    assert [(name, match[0]) for name, text in texts() if (match := REGISTRIES.search(text))] == []


def test_no_path_of_a_machine_is_named() -> None:
    found = [(name, match[0]) for name, text in texts() if not name.startswith("tests/") if (match := MACHINE_PATHS.search(text))]
    assert found == []


@pytest.mark.parametrize("name", ["dev", "demo", "model"])
def test_every_pin_has_a_hash(name: str) -> None:
    text = (ROOT / "constraints" / f"{name}.txt").read_text()
    requirements = re.split(r"\n(?=[a-zA-Z0-9])", text.strip())
    assert requirements
    for requirement in requirements:
        assert re.match(r"[A-Za-z0-9._-]+==\S+", requirement), requirement[:80]
        assert "--hash=sha256:" in requirement, requirement[:80]
    assert "://" not in text


def test_demo_and_dev_agree() -> None:
    def pins(name: str) -> dict[str, str]:
        return dict(re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", (ROOT / "constraints" / f"{name}.txt").read_text(), re.MULTILINE))

    dev, demo = pins("dev"), pins("demo")
    assert {name: (version, demo[name]) for name, version in dev.items() if name in demo and demo[name] != version} == {}


def test_every_dependency_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [*project["project"]["dependencies"], *project["project"]["optional-dependencies"]["server"]]
    for group in ("build", "dev", "demo", "stores"):
        wanted += [entry for entry in project["dependency-groups"][group] if isinstance(entry, str)]
    pinned = "".join((ROOT / "constraints" / f"{name}.txt").read_text() for name in ("dev", "demo", "stores"))
    for entry in wanted:
        name = re.split(r"[<>=\[; ]", entry, maxsplit=1)[0]
        assert re.search(rf"^{re.escape(name)}==", pinned, re.MULTILINE), f"{name} is not pinned: make pins"


def test_readme_is_short_and_shows_code_early() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= 150
    assert lines.index("```python") < 30
    assert len((ROOT / "CONTRIBUTING.md").read_text().splitlines()) <= 80


def test_readme_links_lead_somewhere() -> None:
    for name in ("README.md", "CONTRIBUTING.md"):
        for target in re.findall(r"\]\(([^)#:]+)\)", (ROOT / name).read_text()):
            assert (ROOT / target).exists(), f"{name}: {target}"


def test_readme_names_commands_and_targets_that_exist() -> None:
    text = (ROOT / "README.md").read_text() + (ROOT / "CONTRIBUTING.md").read_text()
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE)) <= targets
    from spanline.cli.main import COMMANDS

    assert set(re.findall(r"(?:^|`)spanline ([a-z]+)", text, re.MULTILINE)) <= set(COMMANDS)


def test_readme_code_runs(tmp_path: Path) -> None:
    """The block as it stands: its app answers, and the trace of the answer is found by the command line."""
    block = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert block
    (tmp_path / "app.py").write_text(block[1])
    (tmp_path / "ask.py").write_text(
        "from fastapi.testclient import TestClient\n"
        "from app import app\n"
        "with TestClient(app, client=('127.0.0.1', 5000), base_url='http://127.0.0.1') as client:\n"
        "    reply = client.post('/chat', params={'question': 'fees'})\n"
        "    assert reply.status_code == 200, reply.text\n"
        "    print(reply.headers['x-trace-id'])\n"
    )
    env = {"SPANLINE_HOME": str(tmp_path / "home"), "PATH": "/usr/bin:/bin", "PYTHONPATH": f"{ROOT / 'src'}:{tmp_path}"}
    asked = subprocess.run([sys.executable, "ask.py"], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=50, check=False)
    assert asked.returncode == 0, asked.stderr
    trace_id = asked.stdout.split()[-1]
    assert re.fullmatch(r"[0-9a-f]{32}", trace_id)
    # The app's end waits five seconds for its ledger, which is new: on a busy host that is too short, and the next process reads on.
    command = [sys.executable, "-m", "spanline.cli"]
    subprocess.run([*command, "relay", "--once"], env=env, capture_output=True, timeout=50, check=False)
    told = subprocess.run([*command, "trace", trace_id], env=env, capture_output=True, text=True, timeout=50, check=False)
    assert told.returncode == 0, told.stderr
    for expected in ("fees@v7", "fees_corpus@commit:abc123", "openai/gpt-4o-2024-06-18", "fees@2026-11-01"):
        assert expected in told.stdout


def test_there_is_one_version() -> None:
    assert spanline.__version__ == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
