"""From the pieces of one trace to its runs: local roots, the trace's owner, what belongs to whom (contract.md, "Identity")."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from spanline.convert.piece import SERVER, Piece, Resource, Root
from spanline.convert.roots import LocalRun, content, mark_across, once, partition, place_logs, settle_owner
from spanline.dialects.assemble import assemble
from spanline.dialects.reading import Reading
from spanline.identity import child_run_id, run_id_of
from spanline.naming import offline_job, request_job, websocket_job
from spanline.record.redact import clean_documents
from spanline.record.run import JobRef, Outcome, RunRecord
from spanline.tracing.log_events import joined
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
    spans = once(pieces, resources)
    runs, run_of = partition(spans, names)
    logs = sorted((piece for piece in pieces if piece.is_log), key=lambda piece: (piece.started_ns, content(piece), names[piece.resource]))
    left = place_logs(logs, runs, run_of)
    settle_owner(runs, spans)
    for run in runs:
        parent = run.root.parent_id
        if parent is not None and parent in run_of and run_of[parent] is not run:
            run.outer = run_of[parent]
    mark_across(runs)
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


def _record(trace_id: bytes, run: LocalRun, resources: Sequence[Resource], rules: Rules, repeated: Callable[[Reading], bool]) -> RunRecord:
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
        evaluations=tuple(run.evaluations),
    )
    assemble(record, readings, (), 0)
    record.finite = not record.evaluations
    record.artifacts = clean_documents(record.artifacts, rules.digest)
    return record


def _marked(reading: Reading, repeated: Callable[[Reading], bool]) -> Reading:
    if repeated(reading):
        reading.operation.rollup = True
    return reading


def _outcome(run: LocalRun, lost: bool) -> Outcome:
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


def _family(trace_id: bytes, run: LocalRun, owner: LocalRun | None) -> tuple[JobRef, JobRef]:
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
