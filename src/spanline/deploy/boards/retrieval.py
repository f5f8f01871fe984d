"""Retrieval and versions: what retrievals find, and which versions are in use since when."""

from __future__ import annotations

from typing import Any

from spanline.deploy.dashboards import Row, dashboard
from spanline.deploy.panels import Query, stat, table, timeline, timeseries
from spanline.deploy.promql import BOARD

UID = "spanline-retrieval"

_USED = "llm_artifact_last_used_timestamp_seconds"
_IDLE_SECONDS = 300


def board() -> dict[str, Any]:
    """The board."""
    rows: list[Row] = [
        ("Retrieval", 8, _retrieval()),
        ("Which versions were in use", 7, [(24, _in_use("index", "Index versions")), (12, _in_use("prompt", "Prompt versions")), (12, _in_use("model", "Model versions"))]),
        ("Versions", 9, _versions()),
    ]  # fmt: skip
    what = (
        "Do retrievals find anything, and which versions of index, prompt and model answer? Lines mark new versions and version conflicts."
    )
    return dashboard(UID, "Retrieval and versions", what, rows, since="now-24h")


def _retrieval() -> list[tuple[int, dict[str, Any]]]:
    of = ("index_version",)
    hits = f"{BOARD.rate('rag_retrieval_hits_total', by=of)} / {BOARD.rate('rag_retrievals_total', _NO_ERROR, by=of)}"
    empty = BOARD.ratio("rag_retrievals_total", 'outcome="empty"', _NO_ERROR, by=of)
    slow = BOARD.quantile(0.95, "llm_operation_duration_seconds", 'operation="retrieval"', by=("job",))
    return [
        (8, timeseries("Documents a retrieval", "Mean number of documents found. A fall at a new index version: the rebuild lost something.", [Query(hits, "{{index_version}}")])),
        (8, timeseries("Empty retrievals", "Share of retrievals that found nothing; the model then answers from memory.", [Query(empty, "{{index_version}}")], unit="percentunit", threshold=0.05)),
        (8, timeseries("Retrievals", "By outcome; the dots say which outcome, and lead to the run.", [Query(BOARD.rate("rag_retrievals_total", by=("index_version", "outcome")), "{{index_version}} {{outcome}}", True)], unit="ops", stacked=True)),
        (8, timeseries("Duration of retrievals, p95", "Without the embedding of the question, where that is an operation of its own.", [Query(slow, "{{job}}", True)], unit="s")),
        (8, timeseries("Documents found", "By index version; the dots are single requests.", [Query(BOARD.rate("rag_retrieval_hits_total", by=of), "{{index_version}}", True)], stacked=True)),
        (8, timeseries("Embedding tokens", "Tokens of questions that were embedded, and of index builds.", [Query(BOARD.rate("llm_tokens_total", 'role="embedding"', by=("model",)), "{{model}}")])),
    ]  # fmt: skip


def _in_use(kind: str, title: str) -> dict[str, Any]:
    used = BOARD.select(_USED, f'kind="{kind}"')
    expr = f"(time() - max by (artifact) ({used})) < bool {_IDLE_SECONDS}"
    return timeline(
        title, "Green: used in the last five minutes. Two at once: a rollout, or a host that was left behind.", Query(expr, "{{artifact}}")
    )


def _versions() -> list[tuple[int, dict[str, Any]]]:
    last = f"1000 * max by (kind, artifact) ({BOARD.select(_USED)})"
    conflicts = f"sum by (kind) ({BOARD.select('spanline_version_conflicts_total')})"
    recent = f"sum({BOARD.risen('spanline_version_conflicts_total', by=('kind',), window='$__range')})"
    return [
        (14, table("Every version seen", "When each was last used, as long as the services that used it run.", Query(last), columns=[("kind", "Kind"), ("artifact", "Version")], unit="dateTimeAsLocal", value="Last used")),
        (4, stat("New version conflicts", "In the range shown: a known version came with other content. Which: `spanline conflicts`, or the link above.", Query(recent), steps=((None, "green"), (1, "red")))),
        (6, timeseries("Version conflicts", "Counted once a label and new content, since the services started.", [Query(conflicts, "{{kind}}")], empty="none")),
    ]  # fmt: skip


_NO_ERROR = 'outcome!="error"'
