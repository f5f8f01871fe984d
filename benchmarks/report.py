"""The table of requests, and the page that all tables are written to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from benchmarks.apps import VARIANTS
from benchmarks.callgrind import Result

Results = Mapping[str, Result]


def write(page: Path, name: str, text: str) -> None:
    """Replace a section of a page: what stands between `<!-- begin: python -m benchmarks NAME -->` and the next `<!-- end -->`.

    Raises:
        ValueError: The page has no such section.
    """
    begin, end = f"<!-- begin: python -m benchmarks {name} -->", "<!-- end -->"
    before, mark, rest = page.read_text().partition(begin)
    if not mark:
        raise ValueError(f"{page} has no section {begin}")
    page.write_text(f"{before}{begin}\n{text}\n{end}{rest.partition(end)[2]}")


HEAD = (
    "id", "variant", "fg kI", "total kI", "fg/A", "total/A", "total/B", "fg/EC_excl", "total/EC_excl",
    "spans", "attributes", "OTLP bytes", "events", "runs", "posted",
)  # fmt: skip


def table(results: Results) -> str:
    """All results as a markdown table; ratios are to the comparators of the same run."""
    head = list(HEAD)
    rows = [head, ["---"] * 2 + ["---:"] * (len(head) - 2)]
    for name, result in results.items():
        rows.append(
            [
                name,
                VARIANTS[name].title,
                f"{result.fg / 1e3:,.0f}",
                f"{result.total / 1e3:,.0f}",
                _ratio(result.fg, results, "A", "fg"),
                _ratio(result.total, results, "A", "total"),
                _ratio(result.total, results, "B", "total"),
                _ratio(result.fg, results, "EC_excl", "fg"),
                _ratio(result.total, results, "EC_excl", "total"),
                *(_kept(result, key) for key in ("spans", "attributes", "bytes", "events", "runs", "posted")),
            ]
        )
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _ratio(value: float, results: Results, base: str, which: str) -> str:
    other = results.get(base)
    return f"{value / getattr(other, which):.2f}" if other else ""


def _kept(result: Result, key: str) -> str:
    value = result.kept.get(key, 0.0)
    return f"{value:,.2f}".rstrip("0").rstrip(".") if value else "–"
