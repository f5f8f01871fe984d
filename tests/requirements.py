"""What a test needs that may be missing: skip with the command that would provide it, fail in CI."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("SPANLINE_SHARED") or Path(__file__).resolve().parents[2] / "shared")
"""The folder with the official OpenLineage schemas; beside the repository, or `SPANLINE_SHARED`."""


def require(name: str, hint: str) -> None:
    """Skip the test when a command or module is missing; fail it where `CI=true` (there all is provided).

    Args:
        name: A command on the path, or a module (`module:lancedb`).
        hint: What provides it, e.g. `make servers`.
    """
    found = importlib.util.find_spec(name[7:]) if name.startswith("module:") else shutil.which(name)
    if found is None:
        missing(f"{name.removeprefix('module:')} is missing: {hint}")


def shared(path: str) -> Path:
    """A file or folder of the shared material; skips the test with a word where it is missing, in CI too."""
    found = SHARED / path
    if not found.exists():
        pytest.skip(f"{path} is not beside the repository; set SPANLINE_SHARED to its folder")
    return found


def missing(reason: str) -> None:
    """Skip, or fail where `CI=true`."""
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(f"required in CI: {reason}", pytrace=False)
    pytest.skip(reason)


def server(name: str) -> Path:
    """A server or tool of `make servers` (`tests/servers/servers.toml`): its binary, or its folder of jars. Skips, or fails in CI.

    Args:
        name: A command (`jaeger`, `promtool`, `opa` …) or a Maven entry (`kafka`).
    """
    from tests.servers.cache import find, provider

    found = find(name)
    if found is None:
        missing(f"{name} is missing: make servers SERVERS={provider(name)}")
    assert found is not None
    return found
