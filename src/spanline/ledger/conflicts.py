"""Version conflicts: the same label with another digest than the first seen in its job namespace."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from sqlalchemy import Connection, insert, select, update

from spanline.errors import UnknownReference
from spanline.ledger.codec import digest64, uuid_bytes
from spanline.ledger.documents import text
from spanline.ledger.facts import Facts
from spanline.ledger.refs import find
from spanline.ledger.schema import label_digests, labels
from spanline.naming import fit, is_alias
from spanline.record.artifact import NAMESPACES
from spanline.record.run import Conflict

MAX_CACHED = 100_000


class Label(msgspec.Struct, frozen=True):
    """What must not change under a version."""

    job_namespace: str
    kind: str
    namespace: str
    name: str
    version: str

    @property
    def key(self) -> int:
        """Key in `labels`."""
        return digest64("label", self.job_namespace, self.kind, self.namespace, self.name, self.version)


class Sighting(msgspec.Struct):
    """A label with a digest on a run. `claimed` is what the run itself expected, when it saw the conflict already."""

    label: Label
    digest: str
    claimed: str | None = None
    claimed_run_id: bytes | None = None


class Flag(msgspec.Struct):
    """One conflict of a run; `new` the first time that anybody showed this digest."""

    label: Label
    digest: str
    expected: str
    first_run_id: bytes | None
    new: bool

    def conflict(self) -> Conflict:
        """As events and pages have it."""
        return Conflict(
            kind=self.label.kind, namespace=self.label.namespace, name=self.label.name, version=self.label.version, digest=self.digest,
            expected_digest=self.expected, first_seen_run_id=dashed(self.first_run_id) if self.first_run_id else None,
        )  # fmt: skip


class _State(msgspec.Struct):
    first: str
    digests: dict[str, bool]
    """Digest to whether it was acknowledged."""
    first_run_id: bytes | None


def dashed(run_id: bytes) -> str:
    """A run id as people see it."""
    h = run_id.hex()
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"


def sightings(facts: Facts) -> list[Sighting]:
    """The labels of a run that have a digest. Aliases are no labels, and flows have none."""
    namespace = facts.job[0]
    found: list[Sighting] = []
    for entry in facts.conflicts:
        kind, name, digest, expected = (text(entry.get(key)) for key in ("kind", "name", "digest", "expectedDigest"))
        version = text(entry.get("version"))
        if kind and name and digest and expected and version and not is_alias(version):
            where = text(entry.get("namespace")) or NAMESPACES.get(kind, "datasets")
            found.append(
                Sighting(
                    Label(namespace, kind, fit(where), fit(name), fit(version)),
                    fit(digest),
                    fit(expected),
                    uuid_bytes(entry.get("firstSeenRunId")),
                )
            )
    claimed = {(entry.label, entry.digest) for entry in found}
    for artifact in facts.artifacts:
        if artifact.version and artifact.digest and artifact.kind != "flow":
            label = Label(namespace, artifact.kind, artifact.namespace, artifact.name, artifact.version)
            if (label, artifact.digest) not in claimed:
                claimed.add((label, artifact.digest))
                found.append(Sighting(label, artifact.digest))
    return found


class Watch:
    """Finds conflicts at ingest. One for a ledger; used under the writer's lock."""

    def __init__(self) -> None:
        # First digests and acknowledgements are never taken back, so what was once right stays right.
        self._right: set[tuple[Label, str]] = set()
        self._pending: set[tuple[Label, str]] = set()

    def check(self, connection: Connection, seen: Iterable[tuple[bytes, int, Sighting]]) -> dict[bytes, list[Flag]]:
        """The conflicts of some runs.

        Args:
            connection: The writer's transaction.
            seen: `(run id, time in Unix microseconds, sighting)`, the earliest first: what comes first is right.
        """
        unknown = [entry for entry in seen if entry[2].claimed or (entry[2].label, entry[2].digest) not in self._right]
        if not unknown:
            return {}
        states = _load(connection, {entry[2].label for entry in unknown})
        new_labels: list[dict[str, Any]] = []
        new_digests: list[dict[str, Any]] = []
        conflicted: dict[int, int] = {}
        flags: dict[bytes, list[Flag]] = {}
        for run_id, at_us, sighting in unknown:
            label, digest = sighting.label, sighting.digest
            key, state = label.key, states.get(label)
            if state is None:
                first = sighting.claimed or digest
                first_run_id = sighting.claimed_run_id if sighting.claimed else run_id
                state = states[label] = _State(first, {first: False}, first_run_id)
                new_labels.append({
                    "label": key, "job_namespace": label.job_namespace, "kind": label.kind, "namespace": label.namespace,
                    "name": label.name, "version": label.version, "digest": first, "conflicted_us": 0,
                })  # fmt: skip
                new_digests.append(_digest_row(key, first, at_us, first_run_id))
            known = state.digests.get(digest)
            if known or (digest == state.first and not sighting.claimed):
                self._pending.add((label, digest))
                continue
            expected = sighting.claimed or state.first
            for other, other_run_id in ((digest, run_id), (expected, sighting.claimed_run_id)):
                if other not in state.digests:
                    state.digests[other] = False
                    new_digests.append(_digest_row(key, other, at_us, other_run_id))
                    conflicted[key] = max(conflicted.get(key, 1), at_us)
            flags.setdefault(run_id, []).append(Flag(label, digest, expected, state.first_run_id, known is None))
        if new_labels:
            connection.execute(insert(labels), new_labels)
        if new_digests:
            connection.execute(insert(label_digests), new_digests)
        for key, at_us in conflicted.items():
            connection.execute(update(labels).where(labels.c.label == key).values(conflicted_us=at_us))
        return flags

    def committed(self) -> None:
        """What was pending is in the ledger now."""
        if len(self._right) > MAX_CACHED:
            self._right.clear()
        self._right |= self._pending
        self._pending.clear()

    def rolled_back(self) -> None:
        """What was pending never was."""
        self._pending.clear()


def _load(connection: Connection, wanted: set[Label]) -> dict[Label, _State]:
    by_key = {label.key: label for label in wanted}
    states: dict[Label, _State] = {}
    keys = sorted(by_key)
    for start in range(0, len(keys), 500):
        some = keys[start : start + 500]
        for key, digest in connection.execute(select(labels.c.label, labels.c.digest).where(labels.c.label.in_(some))):
            states[by_key[key]] = _State(digest, {}, None)
        columns = (label_digests.c.label, label_digests.c.digest, label_digests.c.acknowledged_us, label_digests.c.first_run_id)
        for key, digest, acknowledged, run_id in connection.execute(select(*columns).where(label_digests.c.label.in_(some))):
            state = states.get(by_key[key])
            if state is not None:
                state.digests[digest] = acknowledged is not None
                if digest == state.first:
                    state.first_run_id = run_id
    return states


def _digest_row(key: int, digest: str, at_us: int, run_id: bytes | None) -> dict[str, Any]:
    return {"label": key, "digest": digest, "first_us": at_us, "first_run_id": run_id, "acknowledged_us": None}


def labels_of(connection: Connection, ref: str) -> list[int]:
    """Keys of the labels that `kind:name@version` or `namespace/name@version` means; none where it is not known.

    Raises:
        ValueError: It is none of a version.
    """
    name, at, version = ref.strip().rpartition("@")
    if not (at and name and version):
        raise ValueError(f"{ref} has no version: kind:name@version")
    try:
        known = {(entry.kind, entry.namespace, entry.name, entry.version) for entry in find(connection, ref).artifacts}
    except UnknownReference:
        return []
    found: list[int] = []
    for kind, namespace, plain, label in known:
        query = select(labels.c.label).where(labels.c.kind == kind, labels.c.name == plain)
        found += connection.scalars(query.where(labels.c.namespace == namespace, labels.c.version == label))
    return found
