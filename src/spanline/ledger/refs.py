"""References: what people type (contract.md, REF) to the runs, artifacts and releases that it means, and the nearest where it means none."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import cache
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import ColumnElement, Connection, and_, func, literal_column, or_, select

from spanline.errors import UnknownReference
from spanline.ledger.facts import Used
from spanline.ledger.given import among, keys_text
from spanline.ledger.lookup import MAX_VERSIONS, Row, chunks, resolve
from spanline.ledger.schema import artifacts, jobs, releases
from spanline.naming import clean, fit, is_alias, parse_ref
from spanline.record.artifact import NAMESPACES

_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}\Z")
_FEW = 2000
"""Names that are looked through for the nearest."""

_NOTHING: dict[str, Any] = {}


class Target(msgspec.Struct):
    """What a reference means: runs (the likeliest first), artifacts, or releases."""

    ref: str
    runs: list[Row] = []
    artifacts: list[Used] = []
    releases: list[int] = []


class _Label(NamedTuple):
    kind: str
    name: str
    version: str | None


def find(connection: Connection, text: str) -> Target:
    """What a reference means.

    Args:
        connection: For reading.
        text: `run:<id in any form>`, `kind:name@version`, `kind:name`, `release:service@name`, `code:repository@revision`,
            `namespace/name` of an OpenLineage dataset, or an id alone; after an artifact `#<digest>` means one of several digests, as in graphs.

    Raises:
        UnknownReference: It means nothing here; the message names the nearest.
        ValueError: It is no reference.
    """
    text = text.strip()
    if not text or len(text) > 1024 or "\x00" in text:
        raise ValueError("a reference is run:<id>, kind:name@version, kind:name or namespace/name")
    if text.startswith("run:"):
        rows = resolve(connection, text[4:]) if _ID.match(text[4:]) else []
        if rows:
            return Target(text, runs=rows)
        raise UnknownReference(f"no run, request or response with the id {clean(text[4:], 128)} is in this ledger")
    head, mark, digest = text.rpartition("#")
    if mark and head and (":" in digest or digest.lstrip("-").isdigit()):
        with suppress(UnknownReference, ValueError):
            found = [entry for entry in find(connection, head).artifacts if digest in (entry.digest, str(entry.key))]
            if found:
                return Target(text, artifacts=found)
    label = _parsed(text)
    if label is not None:
        found = artifacts_named(connection, label.kind, label.name, label.version)
        if not found and label.version is not None:
            # Names of others may hold an @ that begins no version.
            found = artifacts_named(connection, label.kind, f"{label.name}@{label.version}", None)
        keys = release_keys(connection, label.kind, label.name, label.version) if label.kind in ("release", "code") else []
        if found or keys:
            return Target(text, artifacts=found, releases=keys)
    found = _of_dataset(connection, text) if "/" in text else []
    if found:
        return Target(text, artifacts=found)
    rows = resolve(connection, text) if _ID.match(text) and (label is None or label.kind not in NAMESPACES) else []
    if rows:
        return Target(text, runs=rows)
    if label is None and "/" not in text and not _ID.match(text):
        raise ValueError(f"not a reference: {clean(text)!r}; expected run:<id>, kind:name@version, kind:name or namespace/name")
    raise UnknownReference(f"{clean(text)} is not known here{_suggestion(nearest(connection, text, label))}")


def artifacts_named(connection: Connection, kind: str, name: str, version: str | None) -> list[Used]:
    """All artifacts of a name: every version (or one), every digest, every namespace; the newest first."""
    query = select(artifacts).where(artifacts.c.kind == kind, artifacts.c.name == name)
    if version is not None:
        # An alias is no version: what bore it is known by name alone.
        query = query.where(artifacts.c.version == ("" if is_alias(version) else fit(version)))
    rows = connection.execute(query.order_by(artifacts.c.first_us.desc()).limit(MAX_VERSIONS))
    return [used_of(row) for row in rows]


def artifacts_by_key(connection: Connection, keys: Iterable[int]) -> dict[int, Used]:
    """Artifacts by their keys."""
    found: dict[int, Used] = {}
    dialect = connection.dialect.name
    for some in chunks(sorted(set(keys)), 2000):
        for row in connection.execute(_by_key(dialect), {"keys": keys_text(dialect, some)}):
            found[row.artifact] = used_of(row)
    return found


@cache
def _by_key(dialect: str) -> Any:
    return select(artifacts).where(among(dialect, artifacts.c.artifact, "keys"))


def same_content(connection: Connection, some: Sequence[Used]) -> dict[int, Used]:
    """Other artifacts that are the same thing: the same digest, or the same name and version of which one side has no digest."""
    known = {entry.key for entry in some}
    digests = sorted({entry.digest for entry in some if entry.digest})
    versioned = sorted({(entry.namespace, entry.name) for entry in some if entry.version})
    labels = {(entry.namespace, entry.name, entry.version): entry.digest for entry in some if entry.version}
    found: dict[int, Used] = {}
    for part in chunks(digests, 200):
        query = select(artifacts).where(artifacts.c.digest.in_(part), artifacts.c.digest != literal_column("''"))
        found.update((row.artifact, used_of(row)) for row in connection.execute(query.limit(_FEW)))
    for part in chunks(versioned, 100):
        query = select(artifacts).where(_datasets(part))
        for row in connection.execute(query.limit(_FEW)):
            digest = labels.get((row.namespace, row.name, row.version))
            if digest is not None and not (digest and row.digest):
                found[row.artifact] = used_of(row)
    return {key: entry for key, entry in found.items() if key not in known}


def used_of(row: Any) -> Used:
    """An artifact without the part it plays in a run."""
    return Used(row.kind, row.namespace, row.name, row.version, row.digest, row.artifact, 0, 0, _NOTHING, _NOTHING)


def release_keys(connection: Connection, kind: str, name: str, version: str | None) -> list[int]:
    """Keys of releases: `release:<service>@<service.version or image digest>`, `code:<repository or service>@<revision>`; the newest first."""
    query = select(releases.c.release)
    if kind == "release":
        if version is not None:
            query = query.where(or_(releases.c.name == version, releases.c.image_digest == version))
        query = query.where(releases.c.service == name)
    elif version is not None:
        # A revision is of one repository, however that is spelled.
        query = query.where(releases.c.code_revision == version)
    else:
        query = query.where(or_(releases.c.repository == name, releases.c.service == name))
    return list(connection.scalars(query.order_by(releases.c.first_us.desc()).limit(_FEW)))


def job_keys(connection: Connection, name: str) -> list[int]:
    """Keys of the jobs of a name, or of `namespace/name`.

    Raises:
        UnknownReference: There is none; the message names the nearest.
    """
    name = name.strip()
    found = list(connection.scalars(select(jobs.c.job).where(jobs.c.name == name)))
    if not found:
        parts = {name[place + 1 :]: name[:place] for place, sign in enumerate(name) if sign == "/"}
        named = connection.execute(select(jobs).where(jobs.c.name.in_(list(parts)[:64])))
        found = [row.job for row in named if parts[row.name] == row.namespace]
    if found:
        return found
    names = connection.scalars(select(jobs.c.name).distinct().order_by(jobs.c.name).limit(_FEW))
    raise UnknownReference(f"no run of a job {clean(name)!r} is in this ledger{_suggestion(_close(name, names))}")


def nearest(connection: Connection, text: str, label: _Label | None = None) -> list[str]:
    """References that are known and look like one that is not, the nearest first."""
    label = label or _parsed(text)
    if label is None:
        names = select(artifacts.c.kind, artifacts.c.name).distinct().order_by(artifacts.c.kind, artifacts.c.name).limit(_FEW)
        known = {f"{kind}:{name}": name for kind, name in connection.execute(names)}
        tail = text.rpartition("/")[2].partition("@")[0]
        return [next(ref for ref, name in known.items() if name == near) for near in _close(tail, known.values())]
    if label.kind == "release":
        query = select(releases.c.service, func.coalesce(releases.c.name, releases.c.image_digest)).distinct().limit(_FEW)
        return _close(text, [f"release:{service}@{name}" for service, name in connection.execute(query) if name])
    versions = select(artifacts.c.version).where(artifacts.c.kind == label.kind, artifacts.c.name == label.name)
    known = [version for version in connection.scalars(versions.order_by(artifacts.c.first_us.desc()).limit(_FEW)) if version]
    if known:
        near = _close(label.version or "", known) or known[:3]
        return [f"{label.kind}:{label.name}@{version}" for version in dict.fromkeys(near)]
    query = select(artifacts.c.kind, artifacts.c.name).distinct().order_by(artifacts.c.kind, artifacts.c.name).limit(_FEW)
    return _close(f"{label.kind}:{label.name}", [f"{kind}:{name}" for kind, name in connection.execute(query)])


def _parsed(text: str) -> _Label | None:
    try:
        return _Label(*parse_ref(text))
    except ValueError:
        return None


def _of_dataset(connection: Connection, text: str) -> list[Used]:
    """`namespace/name`: of all places to cut, the one with the longest namespace that is known."""
    cuts: list[tuple[str, str, str | None]] = []
    for place in [place for place, sign in enumerate(text) if sign == "/"][:64]:
        namespace, name = text[:place], text[place + 1 :]
        if namespace and name:
            cuts.append((namespace, name, None))
            head, at, version = name.rpartition("@")
            if at and head and version:
                cuts.append((namespace, head, version))
    found: list[Used] = []
    wanted = sorted({(namespace, name) for namespace, name, _ in cuts})
    if wanted:
        query = select(artifacts).where(_datasets(wanted))
        found = [used_of(row) for row in connection.execute(query.order_by(artifacts.c.first_us.desc()).limit(MAX_VERSIONS))]
    for namespace, name, version in sorted(cuts, key=lambda cut: (-len(cut[0]), -len(cut[1]))):
        meant = [entry for entry in found if (entry.namespace, entry.name) == (namespace, name) and version in (None, entry.version)]
        if meant:
            return meant
    return []


def _datasets(pairs: Iterable[tuple[str, str]]) -> ColumnElement[bool]:
    # One by one: for pairs in an IN, SQLite reads the whole table.
    return or_(*(and_(artifacts.c.namespace == namespace, artifacts.c.name == name) for namespace, name in pairs))


def _close(word: str, known: Iterable[str]) -> list[str]:
    by_fold = {name.casefold(): name for name in known}
    return [by_fold[near] for near in difflib.get_close_matches(word.casefold(), by_fold, 3, 0.5)]


def _suggestion(near: Sequence[str]) -> str:
    return f"; did you mean {' or '.join(near)}?" if near else "; `spanline artifacts` lists what is known"
