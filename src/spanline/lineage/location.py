"""Locations: where the source code of a run stands."""

from __future__ import annotations

import re

import msgspec

from spanline.naming import MAX_NAME, cached, clean
from spanline.record.redact import URL

_SCP = re.compile(r"(?:[^@/:]+@)?([A-Za-z0-9.-]+\.[A-Za-z0-9.-]+):(?!//)([^:]+)\Z")
_PLAIN = re.compile(r"[A-Za-z0-9._~/+@-]*\Z")


class SourceLocation(msgspec.Struct, frozen=True):
    """Properties of the standard `sourceCodeLocation` facet, without producer."""

    url: str
    repo_url: str
    version: str | None
    path: str | None


@cached(256)
def source_location(repository: str | None, revision: str | None, path: str | None) -> SourceLocation | None:
    """Where the code is: the repository at the commit.

    Args:
        repository: `https://host/owner/name(.git)`, `ssh://…` or `git@host:owner/name.git`; a local path has no URL.
        revision: The commit, as hex.
        path: A file relative to the repository.

    Returns:
        None when no URL of at most 255 characters can be made (Marquez answers longer ones with 500).
    """
    web = _web_url(repository) if repository else None
    if web is None or len(web) > MAX_NAME:
        return None
    revision = revision if revision and _PLAIN.match(revision) else None
    path = path.lstrip("/") if path and _PLAIN.match(path) and ".." not in path else None
    url = web
    if revision:
        tree, blob = _routes(web)
        candidates = [f"{web}{blob}/{revision}/{path}"] if path else []
        candidates.append(f"{web}{tree}/{revision}")
        url = next((candidate for candidate in candidates if len(candidate) <= MAX_NAME), web)
    return SourceLocation(url, web, revision, path)


def _web_url(repository: str) -> str | None:
    repository = clean(repository, 4 * MAX_NAME).strip()
    scp = _SCP.match(repository)
    if scp is not None:
        host, path = scp.groups()
    else:
        match = URL.match(repository)
        if match is None or match[1].lower() not in {"https", "http", "ssh", "git", "git+https", "git+ssh"}:
            return None
        host, path = match[2].rpartition("@")[2], match[3]
        if match[1].lower() not in {"https", "http", "git+https"}:
            host = host.partition(":")[0]
        elif match[1].lower() == "http":
            return _joined("http", host, path)
    return _joined("https", host, path)


def _joined(scheme: str, host: str, path: str) -> str | None:
    path = path.strip("/").removesuffix(".git")
    if not host or not path or not re.fullmatch(r"[A-Za-z0-9.-]+(:\d+)?", host) or not _PLAIN.match(path):
        return None
    return f"{scheme}://{host}/{path}"


def _routes(web: str) -> tuple[str, str]:
    host = web.split("/", 3)[2]
    if "gitlab" in host:
        return "/-/tree", "/-/blob"
    if "bitbucket" in host:
        return "/src", "/src"
    return "/tree", "/blob"
