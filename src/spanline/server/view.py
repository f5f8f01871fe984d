"""What the run page says, from the JSON of a run: plain values, ready for the template."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spanline.identity import trace_id_of
from spanline.server import parts, words
from spanline.server.links import job_of, links, marquez_event
from spanline.server.timeline import Timeline, timeline
from spanline.settings import Settings

QUESTIONS = ("data", "index", "prompt", "model", "code", "release")
LINK_NAMES = {
    "jaeger": "Jaeger trace", "grafana": "Grafana at this time", "marquez": "Marquez job", "mlflow": "MLflow", "repository": "Code at this commit",
}  # fmt: skip
_GUARDRAIL = ("phase", "outcome", "action", "score", "reason")


@dataclass(frozen=True, slots=True)
class View:
    """All of the page."""

    run_id: str
    job: str
    namespace: str
    status: str
    status_word: str
    http_status: str
    error: str
    trace_id: str
    started: str
    ended: str
    seconds: object
    alerts: list[tuple[str, str]]
    answers: list[tuple[str, list[parts.Thing], str]]
    conflicts: list[parts.Conflict]
    gaps: list[parts.Gap]
    timeline: Timeline
    retrieved: list[parts.Retrieved]
    guardrails: list[dict[str, str]]
    evaluations: list[dict[str, str]]
    artifacts: list[dict[str, Any]]
    usage: list[tuple[str, str]]
    upstream: list[dict[str, str]]
    made: list[dict[str, Any]] | None
    children: list[dict[str, str]]
    results: list[tuple[str, list[tuple[str, str]]]]
    links: list[tuple[str, str]]
    ids: list[tuple[str, str, bool]]
    tags: list[tuple[str, str]]
    others: list[str]
    raw: str
    facts: list[tuple[str, str]]


def view(run: Mapping[str, Any], settings: Settings) -> View:
    """The view of one run.

    Args:
        run: The JSON of a run (contract.md). Whatever is absent or odd in it is shown as unknown.
        settings: Where links lead.
    """
    conflicts = [parts.conflict_of(entry) for entry in words.entries(run.get("conflicts"))]
    open_labels = {(conflict.kind, conflict.label) for conflict in conflicts if not conflict.acknowledged}
    gaps = parts.gaps_of(run.get("gaps"))
    answers = words.mapping(run.get("answers"))
    status = words.text_of(run.get("status")).upper()
    namespace, job = job_of(run, settings)
    trace = trace_id_of(words.text_of(run.get("traceId")))
    out = [(LINK_NAMES[name], url) for name, url in links(run, settings).items() if name in LINK_NAMES]
    if event := marquez_event(run, settings):
        out.append(("Marquez event", event))
    return View(
        run_id=words.text_of(run.get("runId")),
        job=job or "unknown job",
        namespace=namespace,
        status=status if status in parts.STATUS else "UNKNOWN",
        status_word=parts.STATUS.get(status, words.cut(words.text_of(run.get("status")), 24) or "Unknown"),
        http_status=words.text_of(run.get("httpStatusCode")),
        error=words.text_of(run.get("errorType")),
        trace_id=f"{trace:032x}" if trace else words.text_of(run.get("traceId")),
        started=words.text_of(run.get("startedAt")),
        ended=words.text_of(run.get("endedAt")),
        seconds=run.get("durationSeconds"),
        alerts=parts.alerts_of(run),
        answers=[
            (question, parts.things(answers.get(question), question, open_labels), parts.how_to_close(question, gaps))
            for question in QUESTIONS
        ],
        conflicts=conflicts,
        gaps=gaps,
        timeline=timeline(run),
        retrieved=parts.retrieved(run),
        guardrails=[{**parts.texts(entry, _GUARDRAIL), "label": parts.label(entry)} for entry in words.entries(run.get("guardrails"))],
        evaluations=[parts.evaluation_of(entry) for entry in words.entries(run.get("evaluations"))],
        artifacts=[parts.artifact_of(entry, open_labels) for entry in words.entries(run.get("artifacts"))],
        usage=parts.usage_of(words.mapping(run.get("usage"))),
        upstream=[parts.upstream_of(entry) for entry in words.entries(run.get("upstream"))],
        made=parts.made_by(run),
        children=[parts.child_of(entry) for entry in words.entries(run.get("children"))],
        results=parts.results_of(run),
        links=out,
        ids=parts.ids_of(run, trace),
        tags=sorted((key, words.text_of(value)) for key, value in words.mapping(run.get("tags")).items()),
        others=parts.others_of(run.get("others")),
        raw=parts.raw(run),
        facts=parts.facts_of(run),
    )
