"""A run as a tree for a terminal: the answers first, then conflicts and gaps, then how it went."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from spanline.cli.text import Tree, bad, bold, cut, faint, good, shown, status, terminal_columns, warned, width
from spanline.server import words
from spanline.server.timeline import Row, timeline

ANSWERS = ("data", "model", "prompt", "index", "code", "release")
_BAR = 24
_MAX_OPERATIONS = 60
_MAX_ENTRIES = 12


def tree_of(run: Mapping[str, Any]) -> list[str]:
    """The JSON of a run (contract.md) as lines of text."""
    lines = _head(run)
    root = Tree("")
    for part in (
        _answers,
        _conflicts,
        _documents,
        _gaps,
        _operations,
        _guardrails,
        _evaluations,
        _usage,
        _artifacts,
        _upstream,
        _others,
        _links,
    ):
        part(run, root)
    return lines + root.lines()[1:]


def _head(run: Mapping[str, Any]) -> list[str]:
    name = _name_of(run.get("job"))
    namespace = words.mapping(run.get("job")).get("namespace") or run.get("namespace")
    took = words.duration(run.get("durationSeconds"))
    started = words.moment(run.get("startedAt"))
    ago = words.ago(run.get("startedAt"))
    first = "  ".join(part for part in (status(shown(run.get("status")) or "RUNNING"), bold(shown(name)), took) if part)
    when = f"{started} ({ago})" if ago else started
    ids = f"trace {shown(run.get('traceId'))}  run {shown(run.get('runId'))}"
    return [first, faint("  ".join(part for part in (when, f"namespace {shown(namespace)}" if namespace else "") if part)), faint(ids)]


def _answers(run: Mapping[str, Any], root: Tree) -> None:
    answers = words.mapping(run.get("answers"))
    conflicts = {
        (shown(c.get("kind")), shown(c.get("name")), shown(c.get("version")))
        for c in words.entries(run.get("conflicts"))
        if c.get("acknowledged") is not True
    }
    branch = root.add(bold("what made this answer"))
    for question in ANSWERS:
        items = words.entries(answers.get(question))
        if not items:
            branch.add(f"{question:<8} {warned('not known')}")
        for item in items[:_MAX_ENTRIES]:
            label = (question, shown(item.get("name")), shown(item.get("version")))
            kinds = {label, ("corpus", *label[1:]), ("dataset", *label[1:])} if question == "data" else {label}
            mark = bad(" ← conflict") if kinds & conflicts else ""
            branch.add(f"{question:<8} {_reference(item)}{mark}")
        _more(branch, len(items))


def _reference(item: Mapping[str, object]) -> str:
    version = item.get("version")
    text = bold(shown(item.get("name")) + (f"@{shown(version)}" if version else ""))
    details = [words.short_digest(item.get("digest")), shown(item.get("evidence"))]
    rest = ", ".join(shown(part) for part in details if part)
    return f"{text}  {faint(rest)}" if rest else text


def _conflicts(run: Mapping[str, Any], root: Tree) -> None:
    items = words.entries(run.get("conflicts"))
    if not items:
        return
    branch = root.add(bad(f"{len(items)} version conflict{'s' if len(items) > 1 else ''}"))
    for item in items[:_MAX_ENTRIES]:
        version = item.get("version")
        label = f"{shown(item.get('kind'))}:{shown(item.get('name'))}" + (f"@{shown(version)}" if version else "")
        first = f", first seen in run {shown(item.get('firstSeenRunId'))}" if item.get("firstSeenRunId") else ""
        told = f"is {shown(words.short_digest(item.get('digest')))}, was {shown(words.short_digest(item.get('expectedDigest')))}{first}"
        branch.add(f"{label}  {told}, acknowledged since" if item.get("acknowledged") is True else f"{bad(label)}  {told}")
    _more(branch, len(items))


def _documents(run: Mapping[str, Any], root: Tree) -> None:
    for index in words.entries(run.get("artifacts")):
        retrieval = words.mapping(index.get("retrieval"))
        items = words.entries(retrieval.get("documents"))
        hits = retrieval.get("hits")
        if not items and hits != 0:
            continue
        count = f"{len(items)} document{'' if len(items) == 1 else 's'}" if items else warned("no documents")
        branch = root.add(f"{bold(count)} from {shown(index.get('ref'))}")
        for item in items[:_MAX_ENTRIES]:
            facts = [shown(item.get("score")), shown(item.get("version")), shown(words.short_digest(item.get("digest")))]
            source = shown(item.get("source"))
            facts.append(source if source != shown(item.get("id")) else "")
            rest = ", ".join(fact for fact in facts if fact)
            branch.add(shown(item.get("id")) + (f"  {faint(rest)}" if rest else ""))
        _more(branch, len(items))


def _gaps(run: Mapping[str, Any], root: Tree) -> None:
    gaps = _values(run.get("gaps"))
    if not gaps:
        return
    branch = root.add(warned("not known of this run"))
    for gap in gaps[:_MAX_ENTRIES]:
        item = words.mapping(gap)
        line = branch.add(warned(shown(item.get("missing")) or shown(gap)))
        if item.get("how"):
            line.add(faint(shown(item.get("how"))))
    _more(branch, len(gaps))


def _operations(run: Mapping[str, Any], root: Tree) -> None:
    plan = timeline(run)
    if not plan.rows:
        return
    branch = root.add(bold(f"{len(plan.rows) + plan.hidden} operations"))
    room = max(20, min(48, terminal_columns() - _BAR - 40))
    for row in plan.rows[:_MAX_OPERATIONS]:
        name = cut("  " * row.depth + shown(row.name), room)
        facts = ", ".join(
            shown(fact)
            for fact in (row.model, row.tokens and f"{row.tokens} tokens", row.ttft and f"first token {row.ttft}", row.finish)
            if fact
        )
        error = f"  {bad(shown(row.error))}" if row.error else ""
        branch.add(f"{name}{' ' * (room - width(name))} {_bar(row)} {row.duration:>8}{f'  {faint(facts)}' if facts else ''}{error}")
    hidden = plan.hidden + max(0, len(plan.rows) - _MAX_OPERATIONS)
    if hidden:
        branch.add(faint(f"… and {hidden} more"))


def _bar(row: Row) -> str:
    start = min(_BAR - 1, round(row.x / 100 * _BAR))
    length = max(1, min(_BAR - start, round(row.width / 100 * _BAR)))
    return faint("·" * start) + "━" * length + faint("·" * (_BAR - start - length))


def _guardrails(run: Mapping[str, Any], root: Tree) -> None:
    items = words.entries(run.get("guardrails"))
    branch = root.add(bold("guardrails")) if items else None
    for item in items[:_MAX_ENTRIES] if branch else ():
        outcome = shown(item.get("outcome"))
        colour = good if outcome == "pass" else bad if outcome in {"fail", "error"} else warned
        version = f"@{shown(item.get('version'))}" if item.get("version") else ""
        action = f", {shown(item.get('action'))}" if item.get("action") else ""
        phase = f" on {shown(item.get('phase'))}" if item.get("phase") else ""
        if branch:
            branch.add(f"{shown(item.get('name'))}{version}{phase}: {colour(outcome)}{action}")


def _evaluations(run: Mapping[str, Any], root: Tree) -> None:
    items = words.entries(run.get("evaluations"))
    branch = root.add(bold("evaluations")) if items else None
    for item in items[:_MAX_ENTRIES] if branch else ():
        passed = item.get("passed")
        verdict = good("passed") if passed is True else bad("failed") if passed is False else ""
        facts = [verdict, shown(item.get("label")), shown(item.get("score")), shown(item.get("evaluator"))]
        if branch:
            branch.add(f"{shown(item.get('name'))}: {', '.join(fact for fact in facts if fact)}")


def _usage(run: Mapping[str, Any], root: Tree) -> None:
    usage = words.mapping(run.get("usage"))
    facts = [
        f"{words.count(usage.get(key))} {name}"
        for key, name in (
            ("inputTokens", "tokens in"), ("outputTokens", "out"), ("reasoningOutputTokens", "of them reasoning"),
            ("cacheReadInputTokens", "from cache"), ("embeddingInputTokens", "embedded"),
        )
        if usage.get(key) is not None
    ]  # fmt: skip
    cost = words.number_of(usage.get("costUsd"))
    if cost is not None:
        facts.append(f"US$ {cost:.6g}")
    if facts:
        root.add(f"{bold('usage')}  {', '.join(facts)}")


def _artifacts(run: Mapping[str, Any], root: Tree) -> None:
    items = [item for item in words.entries(run.get("artifacts")) if item.get("kind") != "flow"]
    branch = root.add(bold("artifacts")) if items else None
    for item in items[:_MAX_ENTRIES] if branch else ():
        role = "made" if item.get("role") == "output" else "used"
        if branch:
            branch.add(f"{role} {shown(item.get('kind')):<10} {_reference(item)}")
    if branch:
        _more(branch, len(items))


def _upstream(run: Mapping[str, Any], root: Tree) -> None:
    items = words.entries(run.get("upstream"))
    branch = root.add(bold("upstream")) if items else None
    for item in items[:_MAX_ENTRIES] if branch else ():
        made = words.text_of(item.get("ref")) or _name_of(item.get("artifact")) or words.text_of(item.get("name"))
        job = _name_of(item.get("job"))
        facts = [
            f"by {shown(job)}" if job else "", f"run {shown(item.get('runId'))}" if item.get("runId") else "",
            words.moment(item.get("endedAt") or item.get("startedAt")), shown(item.get("how")), shown(item.get("evidence")),
        ]  # fmt: skip
        if branch:
            branch.add(f"{shown(made)}  {faint(', '.join(fact for fact in facts if fact))}")
    if branch:
        _more(branch, len(items))


def _name_of(value: object) -> str:
    """The name in an object that has one, or the text itself."""
    return words.text_of(words.mapping(value).get("name")) or words.text_of(value)


def _others(run: Mapping[str, Any], root: Tree) -> None:
    others = _values(run.get("others"))
    if others:
        branch = root.add(bold("other runs with this id"))
        for other in others[:_MAX_ENTRIES]:
            branch.add(shown(words.mapping(other).get("runId") or other))
        _more(branch, len(others))


def _links(run: Mapping[str, Any], root: Tree) -> None:
    found = words.mapping(run.get("links"))
    branch = root.add(bold("links")) if found else None
    for name, url in found.items() if branch else ():
        if branch:
            branch.add(f"{name:<10} {shown(url)}")


def _values(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else []


def _more(branch: Tree, count: int) -> None:
    if count > _MAX_ENTRIES:
        branch.add(faint(f"… and {count - _MAX_ENTRIES} more (--json has all)"))
