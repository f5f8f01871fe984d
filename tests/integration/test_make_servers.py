"""`make servers` as a process: what is there stays, what fails is named and stops no other, the exit status tells."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
GO = """#!/bin/sh
[ "$1" = env ] && { echo go1.26.8; exit; }
echo "$PWD $*" >>"$CALLS"
while [ "$1" != -o ]; do shift; done
case "$PWD" in */opa) echo "no such module" >&2; exit 1;; esac
echo built >"$2"
"""


class Machine:
    """A machine of its own: its commands are those put into a folder, its cache is empty."""

    def __init__(self, folder: Path) -> None:
        self.bin, self.cache, self.calls = folder / "bin", folder / "cache", folder / "calls"
        self.bin.mkdir()
        self.calls.touch()
        for name in ("sh", "bash", "env", "dirname", "echo"):
            (self.bin / name).symlink_to(f"/bin/{name}" if Path(f"/bin/{name}").exists() else f"/usr/bin/{name}")

    def command(self, name: str, text: str) -> None:
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def servers(self, *names: str) -> subprocess.CompletedProcess[str]:
        environ = {"PATH": str(self.bin), "SPANLINE_CACHE": str(self.cache), "CALLS": str(self.calls), "HOME": os.environ["HOME"]}
        command = [sys.executable, "-m", "tests.servers.install", *names]
        return subprocess.run(command, cwd=REPOSITORY, env=environ, capture_output=True, text=True, check=False, timeout=50)

    def built(self) -> list[str]:
        return [Path(line.split()[0]).name for line in self.calls.read_text().splitlines()]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_nothing_is_made_twice(machine: Machine) -> None:
    machine.command("go", GO)
    first = machine.servers("jaeger", "collector")
    assert first.returncode == 0, first.stderr
    assert "servers: jaeger: building 2.13.0" in first.stdout
    assert "servers: 2 of 2 ready" in first.stdout
    assert sorted(path.name.rpartition("-")[0] for path in (machine.cache / "go").iterdir()) == ["collector-0.159.0", "jaeger-2.13.0"]
    second = machine.servers("jaeger", "collector")
    assert second.returncode == 0
    assert "building" not in second.stdout
    assert sorted(machine.built()) == ["collector", "jaeger"]


def test_one_failure_is_named_and_stops_no_other(machine: Machine) -> None:
    machine.command("go", GO)
    done = machine.servers("opa", "jaeger")
    assert done.returncode == 1
    assert "servers: opa IS MISSING" in done.stderr
    assert "no such module" in done.stderr
    assert "servers: 1 of 2 ready" in done.stdout
    # Nothing half made is left, so the next call tries again.
    assert [path.name.partition("-")[0] for path in (machine.cache / "go").iterdir()] == ["jaeger"]


def test_a_machine_without_tools_is_told_which(machine: Machine) -> None:
    done = machine.servers("jaeger", "kafka", "prometheus", "chromium")
    assert done.returncode == 1
    for word in ("Go 1.26 or newer", "no mvn command", "no Debian", "apt-get install chromium chromium-driver"):
        assert word in done.stderr
    assert "Traceback" not in done.stderr


def test_an_old_go_is_told(machine: Machine) -> None:
    machine.command("go", GO.replace("go1.26.8", "go1.21.1"))
    done = machine.servers("jaeger")
    assert done.returncode == 1
    assert "this is go1.21.1" in done.stderr


def test_an_unknown_name_lists_the_known(machine: Machine) -> None:
    done = machine.servers("jager")
    assert done.returncode == 2
    assert "no such server: jager; there are prometheus" in done.stderr
