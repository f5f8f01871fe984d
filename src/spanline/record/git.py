"""Git, read as files: the commit that is checked out and where it came from. No subprocess, which would cost a start 5 ms and more."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

_OBJECT = re.compile(r"(?:[0-9a-f]{40}|[0-9a-f]{64})\Z")
_SECTION = re.compile(r"\s*\[\s*([A-Za-z0-9.-]+)(?:\s+\"((?:[^\"\\]|\\.)*)\")?\s*\]\s*(.*)\Z")
_SCP = re.compile(r"(?:[^@/\s]+@)?([A-Za-z0-9._-]{2,}):(?!//)(.+)\Z")
_MAX_FILE = 8 << 20
_MAX_PARENTS = 64
_MAX_SYMBOLIC = 5


class Checkout(NamedTuple):
    """A working tree: its root, the commit checked out, and the web address of its repository."""

    root: Path
    revision: str | None
    repository: str | None


def find_checkout(start: Path) -> Checkout | None:
    """The working tree that holds `start`; None outside of one. Missing and broken files make parts None."""
    folder = Path(os.path.abspath(start))  # noqa: PTH100  (resolve() follows links out of the tree)
    for candidate in (folder, *folder.parents)[:_MAX_PARENTS]:
        git = _git_dir(candidate / ".git")
        if git is not None:
            common = _common_dir(git)
            return Checkout(candidate, _head(git, common), _remote(common))
    return None


def clean_url(url: str) -> str | None:
    """A repository's address as one for a browser, without credentials, query and `.git`; None for local paths.

    `git@github.com:org/repo.git` and `ssh://git@github.com:22/org/repo` are `https://github.com/org/repo`.
    """
    url = url.strip()
    if "://" not in url:
        scp = _SCP.match(url)
        # `C:\\repo` is a path: a host has at least two characters.
        if scp is None or "\\" in scp[2]:
            return None
        host, path, scheme = scp[1], scp[2], "https"
    else:
        try:
            parts = urlsplit(url.removeprefix("git+"))
            host, port = parts.hostname or "", parts.port
        except ValueError:
            return None
        if parts.scheme not in {"https", "http", "ssh", "git"}:
            return None
        scheme = "http" if parts.scheme == "http" else "https"
        if ":" in host:
            host = f"[{host}]"
        # A port of ssh or git says nothing of the web server's.
        if port is not None and parts.scheme in {"https", "http"}:
            host = f"{host}:{port}"
        path = parts.path
    path = path.strip("/").removesuffix(".git").rstrip("/")
    if not host or not path or not f"{host}{path}".isprintable() or " " in path:
        return None
    return f"{scheme}://{host}/{path}"


def _git_dir(dot_git: Path) -> Path | None:
    """The repository's folder: `.git` itself, or where a worktree's or submodule's `.git` file points."""
    if dot_git.is_dir():
        return dot_git if (dot_git / "HEAD").is_file() else None
    text = _read(dot_git)
    if text is None or not text.startswith("gitdir:"):
        return None
    target = dot_git.parent / text[len("gitdir:") :].strip()
    return target if (target / "HEAD").is_file() else None


def _common_dir(git: Path) -> Path:
    """Where refs and configuration are: a worktree shares those of its main repository."""
    text = _read(git / "commondir")
    return git / text.strip() if text and text.strip() else git


def _head(git: Path, common: Path) -> str | None:
    text = (_read(git / "HEAD") or "").strip()
    for _ in range(_MAX_SYMBOLIC):
        if not text.startswith("ref:"):
            return text if _OBJECT.match(text) else None
        ref = text[len("ref:") :].strip()
        if not ref.startswith("refs/") or ".." in ref or "\x00" in ref:
            return None
        text = (_read(git / ref) or _read(common / ref) or _packed(common, ref) or "").strip()
    return None


def _packed(common: Path, ref: str) -> str | None:
    text = _read(common / "packed-refs")
    for line in (text or "").splitlines():
        name, _, rest = line.partition(" ")
        if rest == ref:
            return name
    return None


def _remote(common: Path) -> str | None:
    """Address of `origin`, else of the first remote that has one for a browser."""
    remotes: dict[str, str] = {}
    remote: str | None = None
    for line in (_read(common / "config") or "").splitlines():
        section = _SECTION.match(line)
        if section is not None:
            remote = re.sub(r"\\(.)", r"\1", section[2] or "") if section[1].lower() == "remote" else None
            line = section[3]  # noqa: PLW2901
        key, equals, value = line.partition("=")
        if remote is not None and equals and key.strip().lower() == "url":
            address = clean_url(re.split(r"\s[#;]", value)[0].strip().strip('"'))
            if address is not None:
                remotes.setdefault(remote, address)
    return remotes.get("origin") or next(iter(remotes.values()), None)


def _read(path: Path) -> str | None:
    """Text of a small file; None when there is none that can be read."""
    try:
        if not path.is_file() or path.stat().st_size > _MAX_FILE:
            return None
        return path.read_bytes().decode("utf-8", "replace")
    except (OSError, ValueError):
        return None
