"""Two more pages of `spanline serve`: an artifact with all that it went into, and what differs between two runs or releases."""

from __future__ import annotations

from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from spanline.server import words
from spanline.server.asking import ask, paging, parameters, required
from spanline.server.graph import drawing_of
from spanline.server.parts import STATUS
from spanline.server.problems import json_response, prefers_html
from spanline.server.rendering import page
from spanline.server.source import Source

_MOST = 200
_OUTCOMES = {
    "status": "Outcome", "statuses": "Outcomes", "conflicts": "Conflicts", "guardrails": "Guardrails", "guardrailFailures": "Guardrail failures",
    "evaluations": "Evaluations", "errors": "Errors",
}  # fmt: skip


class Exploring:
    """The handlers of both pages; each answers JSON too, the same as the API."""

    def __init__(self, ledger: Source) -> None:
        self.ledger = ledger

    async def artifact(self, request: Request) -> Response:
        """`GET /artifact?ref=…`: versions, digests, who used it, what was made from it."""
        given = parameters(request, ("ref",))
        ref = required(given, "ref", "index:fees_corpus@commit:abc123")
        impact = await ask(self.ledger.impact, ref, **paging(given))
        if not prefers_html(request, default=True):
            return json_response(impact)
        linked = not ref.startswith(("release:", "code:"))
        graph = await ask(self.ledger.lineage, ref, direction="up", depth=1) if linked else {}
        picture = await run_in_threadpool(drawing_of, self.ledger.lineage, ref) if linked else None
        return await run_in_threadpool(page, request, "artifact.html", {**artifact_view(ref, impact, graph), "graph": picture})

    async def diff(self, request: Request) -> Response:
        """`GET /diff?a=…&b=…`: what differs between two runs, releases or time windows; without them, a form."""
        given = parameters(request, ("a", "b", "job"))
        sides = {name: given.get(name, "") for name in ("a", "b", "job")}
        if not given.get("a") or not given.get("b"):
            return await run_in_threadpool(page, request, "diff.html", {"sides": sides, "diff": None})
        found = await ask(self.ledger.diff, given["a"], given["b"], job=given.get("job"))
        if not prefers_html(request, default=True):
            return json_response(found)
        return await run_in_threadpool(page, request, "diff.html", {"sides": sides, "diff": diff_view(found)})


def artifact_view(ref: str, impact: dict[str, Any], graph: dict[str, Any]) -> dict[str, Any]:
    """What the page of an artifact says."""
    runs = words.mapping(impact.get("runs"))
    nodes = {str(node.get("id")): node for node in words.entries(graph.get("nodes"))}
    roots = [nodes[str(name)] for name in words.items(graph.get("roots")) if str(name) in nodes]
    makers = [
        {
            **words.mapping(nodes.get(str(edge.get("from")))),
            "how": edge.get("join"),
            "evidence": edge.get("evidence"),
            "made": nodes[str(edge.get("to"))],
        }
        for edge in words.entries(graph.get("edges"))
        if edge.get("role") == "output" and any(edge.get("to") == root.get("id") for root in roots)
    ]
    labels = [
        (root.get("kind"), root.get("namespace"), root.get("name"), root.get("version"))
        for root in roots
        if root.get("version") and root.get("digest")
    ]
    return {
        "ref": ref,
        "conflicts": sorted({f"{label[2]}@{label[3]}" for label in labels if labels.count(label) > 1}),
        "count": words.count(runs.get("count")),
        "approximate": runs.get("approximate") is True,
        "versions": [root for root in roots if root.get("type") == "artifact"][:_MOST],
        "makers": makers[:_MOST],
        "jobs": [_used(entry) for entry in words.entries(impact.get("jobs"))[:_MOST]],
        "releases": [_used(entry) for entry in words.entries(impact.get("releases"))[:_MOST]],
        "made": words.entries(impact.get("artifacts"))[:_MOST],
        "runs": [
            {**entry, "word": STATUS.get(words.text_of(entry.get("status")), "Unknown")} for entry in words.entries(runs.get("items"))
        ],
        "following": words.text_of(runs.get("next")),
    }


def _used(entry: dict[str, object]) -> dict[str, object]:
    name = words.text_of(entry.get("job")) or f"{words.text_of(entry.get('service'))}@{words.text_of(entry.get('release'))}"
    return {"job": "", "namespace": "", **entry, "label": name, "count": words.count(entry.get("runs"))}


def diff_view(found: dict[str, Any]) -> dict[str, Any]:
    """What the page of a comparison says: rows of `(what, a, b, bad)`."""
    rows: list[tuple[str, str, str, str]] = [
        (
            str(entry.get("change")),
            f"{words.text_of(entry.get('kind'))} {words.text_of(entry.get('name'))}",
            _version(entry.get("a")),
            _version(entry.get("b")),
        )
        for entry in words.entries(found.get("changes"))
    ]
    rows += [
        ("parameter", words.text_of(entry.get("name")), words.text_of(entry.get("a")), words.text_of(entry.get("b")))
        for entry in words.entries(found.get("parameters"))
    ]
    outcomes = words.mapping(found.get("outcomes"))
    for name, title in _OUTCOMES.items():
        a, b = (_plain(words.mapping(outcomes.get(side)).get(name)) for side in ("a", "b"))
        if a != b:
            rows.append(("outcome", title, a, b))
    usage = words.mapping(found.get("usage"))
    for name in words.mapping(usage.get("difference")):
        a, b = (_plain(words.mapping(usage.get(side)).get(name)) for side in ("a", "b"))
        if a != b:
            rows.append(("tokens", name, a, b))
    duration = words.mapping(found.get("duration"))
    rows.append(("took", "", words.duration(_seconds(duration.get("a"))), words.duration(_seconds(duration.get("b")))))
    documents = words.mapping(found.get("documents"))
    return {
        "a": words.mapping(found.get("a")),
        "b": words.mapping(found.get("b")),
        "rows": rows,
        "changed": bool(found.get("changes")),
        "documents": [
            (name, words.text_of(entry)) for name in ("added", "removed", "changed") for entry in words.items(documents.get(name))[:_MOST]
        ],
        "same": words.count(documents.get("same")),
    }


def _version(value: object) -> str:
    several = words.items(value) or ([value] if value else [])
    told = [words.mapping(entry) for entry in several[:5]]
    texts = [
        " ".join(part for part in (words.text_of(entry.get("version")), words.short_digest(entry.get("digest"))) if part) for entry in told
    ]
    return ", ".join(text or "no version" for text in texts) + (" …" if len(several) > len(told) else "")


def _plain(value: object) -> str:
    inside = words.mapping(value)
    if inside:
        return ", ".join(f"{name}: {_plain(entry)}" for name, entry in inside.items())
    listed = words.items(value)
    return ", ".join(words.text_of(entry) for entry in listed) if listed else words.text_of(value)


def _seconds(value: object) -> object:
    return words.mapping(value).get("p50", words.number_of(value))
