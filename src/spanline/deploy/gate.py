"""Gate: what the ledger knows of a release, as the input of a release policy (deploy/policy/release.rego). It judges nothing itself."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, Protocol, cast

from spanline.times import rfc3339

SCHEMA = "https://spanline.dev/schemas/gate/1"
"""Which document this is; a policy refuses any other."""

PAGE = 500
_VERDICTS = ("pass", "fail", "error", "skip")
_BUILD = ("imageDigest", "codeRevision", "codeDirty")
_EVALUATION = ("name", "score", "label", "passed", "evaluator", "evaluatorVersion", "evalSet", "evalSetVersion", "evaluatedAt")


class Source(Protocol):
    """Where runs are: a `Ledger`, or a server that has one."""

    def runs(
        self, *, limit: int = 50, after: str | None = None, artifact: str | None = None, since: str | None = None, until: str | None = None
    ) -> dict[str, Any]:
        """A page of runs, newest first: `{"items", "next"}`."""
        ...

    def run(self, id: str) -> dict[str, Any] | None:
        """The JSON of a run; None when it is unknown."""
        ...


def gate_input(
    source: Source, *, service: str, release: str, image_digest: str | None = None, since: str | None = None, until: str | None = None,
    limit: int = 2000,
) -> dict[str, Any]:  # fmt: skip
    """All that a policy needs to judge a release. Every key is there, also when nothing is known.

    Args:
        source: Where runs are.
        service: Name of the service; runs of others that bear the same release are not counted.
        release: Version of the release (`service.version`).
        image_digest: The image that is to be released, `sha256:…`; the policy then wants runs of it.
        since: Only runs started at this time or later, RFC 3339.
        until: Only runs started before.
        limit: Most runs that are read, the newest first; `complete` says whether that were all.

    Raises:
        ValueError: A time is none.
        SpanlineError: The source does not answer.
    """
    listing = _Listing(source, f"release:{service}@{release}", since, until)
    facts = _Facts()
    for run_id in listing.ids(limit):
        found = source.run(run_id)
        if found is None:
            facts.unread.append(run_id)
        elif found.get("service") == service and found.get("status") != "RUNNING":
            facts.add(found)
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "generatedAt": rfc3339(time.time_ns()),
        "service": service,
        "release": release,
        "complete": listing.complete,
        **facts.document(),
    }
    chosen = {"imageDigest": image_digest, "since": since, "until": until}
    return document | {key: value for key, value in chosen.items() if value is not None}


class _Listing:
    """The ids of a release's runs, a page at a time."""

    def __init__(self, source: Source, artifact: str, since: str | None, until: str | None) -> None:
        self._source = source
        self._filters: dict[str, Any] = {"artifact": artifact, "since": since, "until": until}
        self.complete = False

    def ids(self, limit: int) -> Iterator[str]:
        after: str | None = None
        left = limit
        while left > 0:
            page = self._source.runs(limit=min(PAGE, left), after=after, **self._filters)
            items = _items(page.get("items"))
            yield from (str(item["runId"]) for item in items)
            left -= len(items)
            after = page.get("next")
            if after is None:
                self.complete = True
                return


class _Facts:
    """Sums over runs. What child runs of other services say is theirs: their entries bear a `runId`."""

    def __init__(self) -> None:
        self.unread: list[str] = []
        self._statuses = {"COMPLETE": 0, "FAIL": 0, "ABORT": 0}
        self._builds: dict[tuple[Any, ...], dict[str, Any]] = {}
        self._evaluations: list[dict[str, Any]] = []
        self._guardrails: dict[str, dict[str, int]] = {}
        self._conflicts: dict[tuple[Any, ...], dict[str, Any]] = {}
        self._gaps: dict[str, dict[str, Any]] = {}

    def add(self, run: Mapping[str, Any]) -> None:
        run_id = str(run["runId"])
        status = str(run.get("status"))
        self._statuses[status] = self._statuses.get(status, 0) + 1
        release = cast(Mapping[str, Any], run.get("release") or {})
        build = {key: release[key] for key in _BUILD if release.get(key) is not None}
        self._builds.setdefault(tuple(build.items()), {**build, "runs": 0})["runs"] += 1
        for entry in _own(run, "evaluations"):
            known = {key: entry[key] for key in _EVALUATION if entry.get(key) is not None}
            self._evaluations.append({**known, "runId": run_id})
        for entry in _own(run, "guardrails"):
            counts = self._guardrails.setdefault(str(entry.get("name")), dict.fromkeys(_VERDICTS, 0))
            outcome = str(entry.get("outcome"))
            # A verdict that nobody knows is not a pass.
            counts[outcome if outcome in counts else "error"] += 1
        for entry in _own(run, "conflicts"):
            label = {key: str(entry.get(key) or "") for key in ("kind", "namespace", "name", "version", "digest", "expectedDigest")}
            acknowledged = entry.get("acknowledged") is True
            one = self._conflicts.setdefault(tuple(label.values()), {**label, "acknowledged": acknowledged, "runId": run_id, "runs": 0})
            one["runs"] += 1
            one["acknowledged"] = one["acknowledged"] and acknowledged
        for entry in _own(run, "gaps"):
            missing = str(entry.get("missing"))
            self._gaps.setdefault(missing, {"missing": missing, "how": str(entry.get("how") or ""), "runs": 0, "runId": run_id})[
                "runs"
            ] += 1

    def document(self) -> dict[str, Any]:
        return {
            "runs": {"count": sum(self._statuses.values()), "failed": self._statuses["FAIL"], "aborted": self._statuses["ABORT"]},
            "unread": self.unread,
            "builds": list(self._builds.values()),
            "evaluations": self._evaluations,
            "guardrails": self._guardrails,
            "conflicts": list(self._conflicts.values()),
            "gaps": list(self._gaps.values()),
        }


def _own(run: Mapping[str, Any], key: str) -> Iterator[Mapping[str, Any]]:
    return (entry for entry in _items(run.get(key)) if "runId" not in entry)


def _items(value: Any) -> list[Mapping[str, Any]]:
    return cast(list[Mapping[str, Any]], value) if isinstance(value, list) else []
