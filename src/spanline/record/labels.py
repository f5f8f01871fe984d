"""Labels: which digest a version label was first seen with, in this process and in its home folder."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from pathlib import Path

import msgspec

from spanline._guard import guard, warn_once_a_minute
from spanline.record.artifact import Artifact
from spanline.record.run import Conflict

MAX_LABELS = 100_000


class Label(msgspec.Struct, array_like=True):
    """One line of the labels file."""

    kind: str
    namespace: str
    name: str
    version: str
    digest: str
    run_id: str


class Labels:
    """First digest of each (kind, namespace, name, version) of one job namespace.

    Thread-safety: a lock around changes. The file is append-only, so that several processes of a home can share it; each reads it
    once at start. The ledger finds across hosts and processes what this misses.

    Args:
        path: File in the home folder; None keeps labels in memory only.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._first: dict[tuple[str, str, str, str], tuple[str, str]] = {}
        self._reported: set[tuple[str, str, str, str, str]] = set()
        self._lock = threading.Lock()
        with guard("labels.load"):
            self._load()

    def check(self, artifacts: Iterable[Artifact], run_id: str) -> tuple[tuple[Conflict, ...], tuple[Conflict, ...]]:
        """Compare with what was seen first.

        Returns:
            All conflicts of these artifacts, and those among them that are new (label and digest seen in conflict for the first time).
        """
        conflicts: list[Conflict] = []
        new: list[Conflict] = []
        for artifact in artifacts:
            if artifact.digest is None or artifact.version is None:
                continue
            namespace, _ = artifact.dataset
            key = (artifact.kind, namespace, artifact.name, artifact.version)
            first = self._first.get(key)
            if first is None:
                self._remember(key, artifact.digest, run_id)
                continue
            if first[0] == artifact.digest:
                continue
            conflict = Conflict(
                kind=artifact.kind, namespace=namespace, name=artifact.name, version=artifact.version,
                digest=artifact.digest, expected_digest=first[0], first_seen_run_id=first[1],
            )  # fmt: skip
            conflicts.append(conflict)
            if (*key, artifact.digest) not in self._reported and len(self._reported) < MAX_LABELS:
                self._reported.add((*key, artifact.digest))
                new.append(conflict)
        return tuple(conflicts), tuple(new)

    def _remember(self, key: tuple[str, str, str, str], digest: str, run_id: str) -> None:
        with self._lock:
            if key in self._first or len(self._first) >= MAX_LABELS:
                return
            self._first[key] = (digest, run_id)
        if self._path is None:
            return
        line = msgspec.json.encode(Label(*key, digest, run_id)) + b"\n"
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(file, line)
            finally:
                os.close(file)
        except OSError as error:
            warn_once_a_minute("labels.write", "spanline: cannot keep version labels in %s: %s", self._path, error.strerror)

    def _load(self) -> None:
        if self._path is None or not self._path.is_file():
            return
        decoder = msgspec.json.Decoder(Label)
        for line in self._path.read_bytes().splitlines()[:MAX_LABELS]:
            try:
                label = decoder.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue
            self._first.setdefault((label.kind, label.namespace, label.name, label.version), (label.digest, label.run_id))
