"""The runs of one trace: which spans begin one, what belongs to whom, and whose the trace is (contract.md, "Identity")."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from spanline.convert.piece import CLIENT, CONSUMER, PRODUCER, SERVER, Piece, Resource, pack
from spanline.dialects.reading import Reading
from spanline.identity import parse_tracestate_entry
from spanline.record.run import MODEL_CALLS, Evaluation, RunRecord
from spanline.tracing.log_events import LogFact


@dataclass(slots=True)
class LocalRun:
    """A local root with what belongs to it. With several stand-ins the root itself is lost."""

    root: Piece
    stand_ins: list[Piece] = field(default_factory=list[Piece])
    members: list[Piece] = field(default_factory=list[Piece])
    facts: list[LogFact] = field(default_factory=list[LogFact])
    evaluations: list[Evaluation] = field(default_factory=list[Evaluation])
    owner: bool = False
    outer: LocalRun | None = None
    record: RunRecord | None = None

    @property
    def entry(self) -> tuple[str, str] | None:
        """`(namespace, job)` of the trace's owner, where another spanline service called."""
        return parse_tracestate_entry(self.root.root.entry) if self.root.root is not None and self.root.root.entry else None


def once(pieces: Sequence[Piece], resources: Sequence[Resource]) -> dict[str, Piece]:
    """Spans by id, in the order of their start; of two exports of one span the one that ended later and says more."""
    best: dict[str, Piece] = {}
    for piece in pieces:
        if piece.is_log or piece.span_id is None:
            continue
        known = best.get(piece.span_id)
        if known is None or _rank(piece, resources) > _rank(known, resources):
            best[piece.span_id] = piece
    return dict(sorted(best.items(), key=lambda item: (item[1].started_ns, item[0])))


def _rank(piece: Piece, resources: Sequence[Resource]) -> tuple[int, int, bytes, str]:
    text = content(piece)
    return piece.ended_ns, len(text), text, repr(resources[piece.resource])


def content(piece: Piece) -> bytes:
    """The piece without its resource's number, which depends on the order of the input."""
    return pack(msgspec.structs.replace(piece, resource=0))


def partition(spans: dict[str, Piece], names: Sequence[str]) -> tuple[list[LocalRun], dict[str, LocalRun]]:
    """The local roots, and the run of every span."""
    runs = {span_id: LocalRun(span) for span_id, span in spans.items() if _is_root(span, spans, names)}
    run_of: dict[str, LocalRun] = dict(runs)
    first: dict[str, LocalRun] = {}
    for run in runs.values():
        first.setdefault(names[run.root.resource], run)
    for span_id in spans:
        path: list[str] = []
        seen: set[str] = set()
        at: str | None = span_id
        while at is not None and at in spans and at not in run_of and at not in seen:
            path.append(at)
            seen.add(at)
            at = spans[at].parent_id
        run = run_of.get(at) if at is not None else None
        if run is None and path:
            # The parent was lost (or the spans are one another's parents): the run of this service, else a stand-in for it.
            service = names[spans[path[-1]].resource]
            run = first.get(service)
            if run is None:
                run = first[service] = runs[path[-1]] = LocalRun(spans[path[-1]])
            if run.root is spans[path[-1]] or run.stand_ins:
                run.stand_ins.append(spans[path[-1]])
        for step in path:
            assert run is not None
            run_of[step] = run
    for span_id, span in spans.items():
        run_of[span_id].members.append(span)
    return list(runs.values()), run_of


def _is_root(span: Piece, spans: dict[str, Piece], names: Sequence[str]) -> bool:
    """It begins a run: no parent, a parent in another process or service, or a `job()`."""
    if span.parent_id is None or span.remote or (span.root is not None and span.root.is_job):
        return True
    parent = spans.get(span.parent_id)
    serves = span.remote is None and span.kind in (SERVER, CONSUMER)
    if parent is None:
        return serves
    return names[parent.resource] != names[span.resource] or (serves and parent.kind in (CLIENT, PRODUCER))


def settle_owner(runs: list[LocalRun], spans: dict[str, Piece]) -> None:
    """The trace's run belongs to the first local root that no other spanline service called."""
    free = [run for run in runs if run.entry is None]
    if free:
        winner = min(
            free,
            key=lambda run: (run.root.parent_id in spans, run.root.parent_id is not None, run.root.started_ns, run.root.span_id or ""),
        )
        winner.owner = True


def _precedence(run: LocalRun) -> tuple[bool, int, str]:
    return run.root.parent_id is not None, run.root.started_ns, run.root.span_id or ""


def place_logs(logs: list[Piece], runs: list[LocalRun], run_of: dict[str, LocalRun]) -> list[Piece]:
    """Put what log records say on the runs of their spans, else of their responses; details alone make a run."""
    if not logs:
        return []
    responses = {
        member.reading.operation.response_id: run for run in reversed(runs) for member in run.members if member.reading is not None
    }
    left: list[Piece] = []
    for log in sorted(logs, key=lambda log: log.reading is None):
        by_span, by_response = run_of.get(log.span_id or ""), responses.get(log.response_id) if log.response_id else None
        # An evaluation may be made in another run than what it judges.
        run = (by_response or by_span) if log.evaluation is not None else (by_span or by_response)
        if run is None and runs:
            run = min(runs, key=_precedence)
        if run is None and log.reading is not None and log.span_id:
            # Its span was not sampled: the log record is all there is of the trace.
            run = run_of[log.span_id] = LocalRun(log)
            runs.append(run)
        if run is None:
            left.append(log)
            continue
        if log.evaluation is not None:
            run.evaluations.append(log.evaluation)
        else:
            if log.reading is not None and not log.reading.operation.span_id:
                log.reading.operation.span_id = run.root.span_id or ""
            run.facts.append(LogFact(log.span_id, log.response_id, log.reading, log.error_type))
    return left


def mark_across(runs: list[LocalRun]) -> None:
    """Of runs of one trace that report the same response (a client and its gateway) the innermost that knows the usage counts."""
    if len(runs) < 2:
        return
    claims: dict[str, list[tuple[bool, int, str, LocalRun, Reading]]] = {}
    for run in runs:
        for member in run.members:
            reading = member.reading
            if reading is not None and reading.operation.response_id is not None and reading.operation.kind in MODEL_CALLS:
                claim = (reading.operation.usage is not None, reading.started_ns, reading.operation.span_id, run, reading)
                claims.setdefault(reading.operation.response_id, []).append(claim)
    for several in claims.values():
        if len({id(claim[3]) for claim in several}) > 1:
            winner = max(several, key=lambda claim: claim[:3])[3]
            for *_, run, reading in several:
                if run is not winner:
                    reading.operation.rollup = True
