"""Where the servers of the tests are: the table, the cache, and what is there. Standard library alone."""

from __future__ import annotations

import hashlib
import os
import shutil
import tomllib
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
TABLE: dict[str, dict[str, Any]] = tomllib.loads((HERE / "servers.toml").read_text(encoding="utf-8"))
"""`servers.toml`, by name."""


def cache() -> Path:
    """Folder of all servers: outside the checkout, and kept from one run to the next."""
    named = os.environ.get("SPANLINE_CACHE")
    return Path(named) if named else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "spanline"


def place(name: str) -> Path:
    """What `make servers` makes for a Go or Maven entry: a binary, a folder of jars. Named by version and content."""
    entry = TABLE[name]
    digest = hashlib.sha256()
    for file in sorted((HERE / name).iterdir()):
        if file.suffix in {".go", ".xml"} or file.name in {"go.mod", "go.sum"}:
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return cache() / entry["how"] / f"{name}-{entry['version']}-{digest.hexdigest()[:8]}"


def find(command: str) -> Path | None:
    """A command or folder of jars by name: `jaeger`, `promtool`, `kafka` …; None where it is missing.

    What is on the path serves for a Debian package, never for what is built: versions matter there.
    """
    for name, entry in TABLE.items():
        if entry["how"] in {"go", "maven"} and name == command:
            return place(name) if place(name).exists() else None
        if entry["how"] == "debian" and command in entry["commands"]:
            return _unpacked(entry.get("package", name), entry["commands"][command]) or _on_path(command, [])
        if entry["how"] == "system" and command in entry["packages"]:
            return _on_path(command, entry.get("also", []))
    return _on_path(command, [])


def provider(command: str) -> str:
    """The name in the table that provides a command."""
    for name, entry in TABLE.items():
        if command in {name, *entry.get("commands", {}), *entry.get("packages", {})}:
            return name
    return command


def _unpacked(package: str, file: str) -> Path | None:
    found = [folder / file for folder in (cache() / "debian").glob(f"{package}_*") if (folder / file).exists()]
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


def _on_path(command: str, also: list[str]) -> Path | None:
    for pattern in also:
        folders = sorted(Path("/").glob(pattern.lstrip("/")), key=lambda path: [int(part) for part in path.parts if part.isdigit()])
        for folder in reversed(folders):
            if (folder / command).exists():
                return folder / command
    found = shutil.which(command)
    return Path(found) if found else None
