"""docs/dialects.md: what each dialect yields, by its table, and the score over the corpus. `python -m tests.dialect_page` writes it."""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

from spanline.dialects.genai import EVENTS, ROWS
from spanline.dialects.registry import CONVENTIONS, registry
from spanline.dialects.table import Dialect, Row
from tests.corpus import FACTS, GAPS, gap_of, recordings, verdicts

PAGE = Path(__file__).resolve().parents[1] / "docs" / "dialects.md"

MAX_KEYS = 5
_SHARED = frozenset(ROWS)

_HEAD = """\
# Dialects: what spanline reads from whose spans

This page is generated from the tables in `src/spanline/dialects` and from the recordings in `tests/data/corpus`
(`make corpus`). A span's attributes tell its dialect; where they are of a convention that many speak, or of none, its
instrumentation scope does. One trace mixes dialects. What is not in a table is not read, and does not leave.

Another package adds a dialect by an entry point of the group `spanline.dialects` that names a `Dialect` (or several):

```toml
[project.entry-points."spanline.dialects"]
acme = "acme.telemetry:DIALECT"
```
"""


def score() -> str:
    """The table of facts by instrumentation: right, and told apart what recordings do not hold."""
    right: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    gaps: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    wrong: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for verdict in verdicts():
        place = right if verdict.got is None else wrong if gap_of(verdict) is None else gaps
        place[verdict.instrumentation][verdict.fact] += 1
    names = sorted({*right, *gaps, *wrong})
    lines = ["| recordings of | files | spans | facts right | not recorded | wrong |", "|---|--:|--:|--:|--:|--:|"]
    for name in names:
        files = [recording for key, recording in recordings().items() if key.startswith(f"{name}/")]
        spans = sum(len(recording["spans"]) for recording in files)
        counts = [sum(place[name].values()) for place in (right, gaps, wrong)]
        lines.append(f"| {name.replace('__', ' ')} | {len(files)} | {spans} | {counts[0]} | {counts[1]} | {counts[2]} |")
    totals = [sum(sum(facts.values()) for facts in place.values()) for place in (right, gaps, wrong)]
    files, spans = len(recordings()), sum(len(recording["spans"]) for recording in recordings().values())
    lines.append(f"| **all** | {files} | {spans} | {totals[0]} | {totals[1]} | {totals[2]} |")
    lines += ["", "| fact | right | not recorded | wrong |", "|---|--:|--:|--:|"]
    for fact, _, _ in FACTS:
        counts = [sum(facts[fact] for facts in place.values()) for place in (right, gaps, wrong)]
        lines.append(f"| {fact} | {counts[0]} | {counts[1]} | {counts[2]} |")
    return "\n".join(lines)


def page() -> str:
    """The whole page."""
    parts = [
        _HEAD,
        "## Score over the corpus\n",
        f"{score()}\n",
        "## What instrumentations do not record\n",
        "\n".join(["| recordings of | scenario | facts | why |", "|---|---|---|---|", *_gaps()]) + "\n",
        "## Tables\n",
    ]
    parts += [_section(dialect) for dialect in registry().dialects]
    return "\n".join(parts)


def _gaps() -> list[str]:
    return [f"| `{gap.instrumentation}` | `{gap.scenario}` | {', '.join(gap.facts)} | {gap.reason} |" for gap in GAPS]


def _section(dialect: Dialect) -> str:
    told = [f"`{marker}`" for marker in dialect.markers]
    scopes = [f"`{scope}`" for scope in dialect.scopes]
    lines = [f"### {dialect.name}\n"]
    by = " or ".join(filter(None, [f"attributes {', '.join(told)}" if told else "", f"scopes {', '.join(scopes)}" if scopes else ""]))
    events = [f"`{event}`" for event in dialect.by_events]
    wide = ", a wide convention" if told and dialect.priority < CONVENTIONS else ""
    lines.append(f"Told by {by or 'events ' + ', '.join(events)} (priority {dialect.priority}{wide}).\n")
    own = dialect.rows if dialect.name == "otel_genai" else tuple(row for row in dialect.rows if row not in _SHARED)
    if len(own) < len(dialect.rows):
        lines.append("Its own rows, before those of otel_genai:\n" if own else "The rows of otel_genai.\n")
    if own:
        lines += ["| field | from | source |", "|---|---|---|", *_rows(own)]
    for event, table in sorted(dialect.events.items()):
        if EVENTS.get(event) is not table or dialect.name == "otel_genai":
            becomes = f"\nEvent `{event}` becomes: {table.becomes.replace('_', ' ')}\n"
            rows = table.table.rows if table.table.name == "event" else ()
            lines += [becomes, *(["| field | from | source |", "|---|---|---|", *_rows(rows)] if rows else [])]
    return "\n".join(lines) + "\n"


def _rows(rows: tuple[Row, ...]) -> list[str]:
    """Lines of a table; rows that differ in their key alone are one line."""
    lines: dict[tuple[str, str, str, str], list[str]] = {}
    for row in rows:
        notes = [f"for {', '.join(row.kinds)}"] if row.kinds else []
        notes += [f"in {row.unit}"] if row.unit != "s" else []
        notes += ["documented, not seen"] if row.documented else []
        field = "usage" if row.field == "*" else row.field
        lines.setdefault((field, row.path, "; ".join(notes), row.source), []).extend(row.keys)
    found: list[str] = []
    for (field, path, note, source), keys in lines.items():
        shown = keys if len(keys) <= MAX_KEYS else [*keys[: MAX_KEYS - 1], f"… {len(keys)} in all"]
        names = ", ".join(f"`{key}{f' → {path}' if path else ''}`" for key in shown)
        found.append(f"| {field} | {names}{f' ({note})' if note else ''} | {source} |")
    return found


if __name__ == "__main__":
    text = page()
    if "--check" not in sys.argv:
        PAGE.write_text(text, "utf-8")
    sys.stdout.write(score() + "\n")
