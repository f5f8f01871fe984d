"""From the pieces of one trace to its runs: local roots, the trace's owner, what belongs to whom (contract.md, "Identity")."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec

from spanline.convert.piece import CLIENT, CONSUMER, PRODUCER, SERVER, Piece, Resource, Root
from spanline.dialects.assemble import assemble
from spanline.dialects.reader import Reading
from spanline.identity import child_run_id, parse_tracestate_entry, run_id_of
from spanline.naming import offline_job, request_job, websocket_job
from spanline.record.redact import clean_documents
from spanline.record.run import Evaluation, JobRef, Outcome, RunRecord
from spanline.tracing.log_events import LogFact, joined
from spanline.tracing.record import root_job

_ABORTS = frozenset({"client_disconnected", "CancelledError", "asyncio.CancelledError", "asyncio.exceptions.CancelledError"})
_NOTHING = Root()


@dataclass(slots=True)
class Rules:
    """What holds for all runs of one call.

    Args:
        namespace: Job namespace; of runs that spanline itself recorded, theirs, unless it was asked for.
        namespace_asked: It was asked for by option.
        service: Stands for the name of every service, where it was asked for.
        base_url: Where run pages are reached.
        digest: Makes keyed digests.
    """

    namespace: str
    namespace_asked: bool
    service: str | None
    base_url: str | None
    digest: Callable[[str], str]


@dataclass(slots=True)
class _Run:
    """A local root with what belongs to it. With several stand-ins the root itself is lost."""

    root: Piece
    stand_ins: list[Piece] = field(default_factory=list[Piece])
    members: list[Piece] = field(default_factory=list[Piece])
    facts: list[LogFact] = field(default_factory=list[LogFact])
    evaluations: list[Evaluation] = field(default_factory=list[Evaluation])
    owner: bool = False
    outer: _Run | None = None
    record: RunRecord | None = None

    @property
    def entry(self) -> tuple[str, str] | None:
        return parse_tracestate_entry(self.root.root.entry) if self.root.root is not None and self.root.root.entry else None


def records_of(
    trace_id: bytes,
    pieces: Sequence[Piece],
    resources: Sequence[Resource],
    rules: Rules,
    *,
    repeated: Callable[[Reading], bool],
) -> tuple[list[RunRecord], list[Piece]]:
    """All runs of a trace, its owner first.

    Args:
        trace_id: 16 bytes.
        pieces: Of spans and log records, in any order; a span that is there twice counts once.
        resources: By number.
        rules: Of this call.
        repeated: Tells an operation that another trace reports too and that counts there.

    Returns:
        The records, and the log pieces that found no run.
    """
    names = [resource.service for resource in resources]
    spans = _once(pieces)
    runs, run_of = _partition(spans, names)
    logs = sorted((piece for piece in pieces if piece.is_log), key=lambda piece: (piece.started_ns, msgspec.msgpack.encode(piece)))
    left = _place(logs, runs, run_of)
    _settle_owner(runs, spans)
    for run in runs:
        parent = run.root.parent_id
        if parent is not None and parent in run_of and run_of[parent] is not run:
            run.outer = run_of[parent]
    _mark_across(runs)
    owner = next((run for run in runs if run.owner), None)
    made: list[RunRecord] = []
    for run in sorted(runs, key=lambda run: (not run.owner, run.root.started_ns, run.root.span_id or "")):
        run.record = _record(trace_id, run, resources, rules, repeated)
        made.append(run.record)
    for run in runs:
        assert run.record is not None
        if not run.owner:
            run.record.parent, run.record.root = _family(trace_id, run, owner)
    return made, left


def _once(pieces: Sequence[Piece]) -> dict[str, Piece]:
    """Spans by id, in the order of their start; of two exports of one span the one that ended later and says more."""
    best: dict[str, tuple[tuple[int, bytes], Piece]] = {}
    for piece in pieces:
        if piece.is_log or piece.span_id is None:
            continue
        rank = (piece.ended_ns, msgspec.msgpack.encode(piece))
        known = best.get(piece.span_id)
        if known is None or (rank[0], len(rank[1]), rank[1]) > (known[0][0], len(known[0][1]), known[0][1]):
            best[piece.span_id] = (rank, piece)
    return {span_id: piece for span_id, (_, piece) in sorted(best.items(), key=lambda item: (item[1][1].started_ns, item[0]))}


def _partition(spans: dict[str, Piece], names: Sequence[str]) -> tuple[list[_Run], dict[str, _Run]]:
    """The local roots, and the run of every span."""
    runs = {span_id: _Run(span) for span_id, span in spans.items() if _is_root(span, spans, names)}
    run_of: dict[str, _Run] = dict(runs)
    first: dict[str, _Run] = {}
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
                run = first[service] = runs[path[-1]] = _Run(spans[path[-1]])
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


def _settle_owner(runs: list[_Run], spans: dict[str, Piece]) -> None:
    """The trace's run belongs to the first local root that no other spanline service called."""
    free = [run for run in runs if run.entry is None]
    if free:
        winner = min(
            free,
            key=lambda run: (run.root.parent_id in spans, run.root.parent_id is not None, run.root.started_ns, run.root.span_id or ""),
        )
        winner.owner = True


def _precedence(run: _Run) -> tuple[bool, int, str]:
    return run.root.parent_id is not None, run.root.started_ns, run.root.span_id or ""


def _place(logs: list[Piece], runs: list[_Run], run_of: dict[str, _Run]) -> list[Piece]:
    """Put what log records say on the runs of their spans, else of their responses; details alone make a run."""
    if not logs:
        return []
    responses = {
        member.reading.operation.response_id: run for run in reversed(runs) for member in run.members if member.reading is not None
    }
    left: list[Piece] = []
    for log in sorted(logs, key=lambda log: log.reading is None):
        run = run_of.get(log.span_id or "") or (responses.get(log.response_id) if log.response_id else None)
        if run is None and runs:
            run = min(runs, key=_precedence)
        if run is None and log.reading is not None and log.span_id:
            # Its span was not sampled: the log record is all there is of the trace.
            run = run_of[log.span_id] = _Run(log)
            runs.append(run)
        if run is None:
            left.append(log)
            continue
        if log.evaluation is not None:
            run.evaluations.append(log.evaluation)
        else:
            run.facts.append(LogFact(log.span_id, log.response_id, log.reading, log.error_type))
    return left


def _record(trace_id: bytes, run: _Run, resources: Sequence[Resource], rules: Rules, repeated: Callable[[Reading], bool]) -> RunRecord:
    root, facts = run.root, run.root.root or _NOTHING
    resource = resources[root.resource]
    service = rules.service or resource.service
    lost = len(run.stand_ins) > 1
    readings = [_marked(member.reading, repeated) for member in run.members if member.reading is not None]
    if run.facts:
        readings = joined(readings, run.facts)
    number = int.from_bytes(trace_id)
    span_id = root.span_id or ""
    ended_ns = max((member.ended_ns for member in run.members), default=root.ended_ns) if lost else root.ended_ns
    outcome = _outcome(run, lost)
    record = RunRecord(
        run_id=run_id_of(number) if run.owner else child_run_id(number, int(span_id, 16)),
        trace_id=trace_id.hex(),
        span_id=span_id,
        namespace=rules.namespace if rules.namespace_asked else facts.namespace or rules.namespace,
        job=_job(service, facts, root, readings, lost=lost, renamed=rules.service is not None),
        service=service,
        started_ns=min(root.started_ns, *(piece.started_ns for piece in run.stand_ins)) if run.stand_ins else root.started_ns,
        ended_ns=max(ended_ns, root.started_ns),
        outcome=outcome,
        error_type=root.error_type if outcome != "COMPLETE" or not lost else None,
        live=not facts.is_job,
        environment=resource.environment,
        request_id=facts.request_id,
        http_status_code=facts.status,
        run_url=f"{rules.base_url}/r/{trace_id.hex()}" if rules.base_url else None,
        release=resource.release,
        evaluations=run.evaluations,
    )
    assemble(record, readings, (), 0)
    record.finite = not record.evaluations
    record.artifacts = [
        artifact if artifact.retrieval is None else clean_documents(artifact, rules.digest) for artifact in record.artifacts
    ]
    return record


def _marked(reading: Reading, repeated: Callable[[Reading], bool]) -> Reading:
    if repeated(reading):
        reading.operation.rollup = True
    return reading


def _outcome(run: _Run, lost: bool) -> Outcome:
    # Of a root that is lost the span that ended last says most: an error that left the run would have passed it.
    root = max(run.stand_ins, key=lambda piece: (piece.ended_ns, piece.span_id or "")) if lost else run.root
    status = root.root.status if root.root is not None else None
    if root.error_type in _ABORTS and (status is None or status < 500):
        return "ABORT"
    return "FAIL" if root.failed or (status or 0) >= 500 else "COMPLETE"


def _job(service: str, facts: Root, root: Piece, readings: list[Reading], *, lost: bool, renamed: bool) -> str:
    """The job's name: that of the live run where spanline recorded it, else by the contract's rule."""
    if facts.job is not None and not renamed:
        return facts.job
    if facts.is_job and facts.job is not None:
        # Ours: `<service>.<name>`; the service bears another name in this call.
        return offline_job(service, facts.job.partition(".")[2] or facts.job)
    if root.kind == SERVER and facts.websocket:
        return websocket_job(service, facts.route)
    if root.kind == SERVER and facts.method is not None:
        return request_job(service, facts.method, facts.route)
    return root_job(service, "" if lost else root.span_id or "", readings)


def _family(trace_id: bytes, run: _Run, owner: _Run | None) -> tuple[JobRef, JobRef]:
    """Parent and root of a child run, by what is in the input, else by the tracestate entry of the owner."""
    entry = run.entry
    if owner is not None and owner.record is not None:
        root = _ref(owner.record)
    else:
        assert entry is not None  # there is no owner only where all local roots bear one
        root = JobRef(run_id=run_id_of(int.from_bytes(trace_id)), namespace=entry[0], name=entry[1])
    outer = run.outer
    return (_ref(outer.record) if outer is not None and outer.record is not None else root), root


def _ref(record: RunRecord) -> JobRef:
    return JobRef(run_id=record.run_id, namespace=record.namespace, name=record.job)


def _mark_across(runs: list[_Run]) -> None:
    """Of runs of one trace that report the same response (a client and its gateway) the innermost that knows the usage counts."""
    if len(runs) < 2:
        return
    claims: dict[str, list[tuple[bool, int, str, _Run, Reading]]] = {}
    for run in runs:
        for member in run.members:
            reading = member.reading
            if reading is not None and reading.operation.response_id is not None and reading.operation.kind in ("inference", "embedding"):
                claim = (reading.operation.usage is not None, reading.started_ns, reading.operation.span_id, run, reading)
                claims.setdefault(reading.operation.response_id, []).append(claim)
    for several in claims.values():
        if len({id(claim[3]) for claim in several}) > 1:
            winner = max(several, key=lambda claim: claim[:3])[3]
            for *_, run, reading in several:
                if run is not winner:
                    reading.operation.rollup = True
