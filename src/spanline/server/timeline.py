"""The timeline of a run: where each operation's bar stands, in per cent of the run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from spanline.server import words

MAX_ROWS = 300
_MAX_DEPTH = 6
_MIN_WIDTH = 0.6


@dataclass(frozen=True, slots=True)
class Row:
    """One operation. `x`, `width` and `first_token` are per cent of the whole."""

    span_id: str
    kind: str
    name: str
    depth: int
    x: float
    width: float
    first_token: float | None
    duration: str
    ttft: str
    tokens: str
    model: str
    finish: str
    error: str
    rollup: bool
    service: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """All rows, the marks of the axis as (per cent, label), and how many operations are not shown."""

    rows: list[Row]
    marks: list[tuple[float, str]]
    hidden: int


def timeline(run: Mapping[str, object]) -> Timeline:
    """Lay out the operations of a run's JSON, in order of start, children below what encloses them."""
    operations = words.entries(run.get("operations"))
    spans = [_span(operation) for operation in operations]
    starts = [start for start, _ in spans if start is not None]
    ends = [end for _, end in spans if end is not None]
    begin, finish = words.nanos_of(run.get("startedAt")), words.nanos_of(run.get("endedAt"))
    first = min([*starts, begin] if begin is not None else starts, default=0)
    last = max([*ends, finish] if finish is not None else ends, default=first)
    whole = max(last - first, 1)
    order = sorted(range(len(operations)), key=lambda i: (spans[i][0] if spans[i][0] is not None else last, i))
    depths = _depths(operations)
    services = {words.text_of(child.get("runId")): words.text_of(child.get("service")) for child in words.entries(run.get("children"))}
    rows = [_row(operations[i], spans[i], first, whole, depths.get(i, 0), services) for i in order[:MAX_ROWS]]
    marks = [(part, words.duration(whole / 1e9 * part / 100)) for part in (0.0, 25.0, 50.0, 75.0, 100.0)] if rows else []
    dropped = words.number_of(run.get("operationsDropped")) or 0
    return Timeline(rows, marks, max(len(order) - MAX_ROWS, 0) + int(dropped))


def _span(operation: Mapping[str, object]) -> tuple[int | None, int | None]:
    start = words.nanos_of(operation.get("startedAt"))
    seconds = words.number_of(operation.get("durationSeconds")) or 0.0
    return start, start + int(seconds * 1e9) if start is not None else None


def _depths(operations: list[dict[str, object]]) -> dict[int, int]:
    """Depth of each operation; spans that are not operations do not count, cycles end."""
    place = {str(operation.get("spanId")): i for i, operation in enumerate(operations)}
    depths: dict[int, int] = {}
    for i in range(len(operations)):
        depth, at, seen = 0, i, {i}
        while (parent := place.get(str(operations[at].get("parentSpanId")))) is not None and parent not in seen and depth < _MAX_DEPTH:
            depth, at = depth + 1, parent
            seen.add(parent)
        depths[i] = depth
    return depths


def _row(
    operation: Mapping[str, object], span: tuple[int | None, int | None], first: int, whole: int, depth: int, services: Mapping[str, str]
) -> Row:
    start, end = span
    x = min(100 * ((start if start is not None else first) - first) / whole, 100 - _MIN_WIDTH)
    width = max(100 * ((end or 0) - (start or 0)) / whole, _MIN_WIDTH)
    ttft = words.number_of(operation.get("timeToFirstTokenSeconds"))
    usage = words.mapping(operation.get("usage"))
    tokens_in = words.count(usage.get("inputTokens") or usage.get("embeddingInputTokens"))
    tokens_out = words.count(usage.get("outputTokens"))
    kind = words.text_of(operation.get("kind")) or "other"
    return Row(
        span_id=words.text_of(operation.get("spanId")),
        kind=kind if kind.isalpha() else "other",
        name=words.cut(words.text_of(operation.get("name")) or kind, 120),
        depth=depth,
        x=round(x, 2),
        width=round(min(width, 100 - x), 2),
        first_token=round(min(x + 100 * ttft * 1e9 / whole, 100), 2) if ttft is not None else None,
        duration=words.duration(operation.get("durationSeconds")),
        ttft=words.duration(ttft),
        tokens=f"{tokens_in} → {tokens_out}" if tokens_out else tokens_in,
        model=words.text_of(operation.get("responseModel")) or words.text_of(operation.get("requestModel")),
        finish=", ".join(words.text_of(reason) for reason in words.items(operation.get("finishReasons")) if reason != "stop"),
        error=words.cut(words.text_of(operation.get("errorType")), 120),
        rollup=operation.get("rollup") is True,
        service=services.get(words.text_of(operation.get("runId")), ""),
    )
