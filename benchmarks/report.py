"""Tables and bars over the results of one run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.apps import VARIANTS
from benchmarks.callgrind import Result

Results = Mapping[str, Result]

BEGIN, END = "<!-- begin: python -m benchmarks -->", "<!-- end -->"
"""Marks of the table in docs/performance.md."""

HEAD = (
    "id", "variant", "fg kI", "total kI", "fg/A", "total/A", "total/B", "fg/EC_excl", "total/EC_excl",
    "spans", "attributes", "OTLP bytes", "events", "runs",
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
                *(_kept(result, key) for key in ("spans", "attributes", "bytes", "events", "runs")),
            ]
        )
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _ratio(value: float, results: Results, base: str, which: str) -> str:
    other = results.get(base)
    return f"{value / getattr(other, which):.2f}" if other else ""


def _kept(result: Result, key: str) -> str:
    value = result.kept.get(key, 0.0)
    return f"{value:,.2f}".rstrip("0").rstrip(".") if value else "–"


@dataclass(frozen=True)
class Bar:
    """A bar: what is measured, its value, the goal, and what is held: above that a change made it worse. All are ratios."""

    text: str
    value: float
    goal: float
    held: float
    margin: float = 0.03

    @property
    def passed(self) -> bool:
        """Whether the value is within what is held and the margin (the method's own scatter)."""
        return self.value <= self.held * (1 + self.margin)

    def __str__(self) -> str:
        word = "WORSE" if not self.passed else "goal " if self.value <= self.goal * (1 + self.margin) else "held "
        return f"{word}  {self.value:.3f}  (goal {self.goal:.2f}, held {self.held:.2f})  {self.text}"


GATED = ("A", "E", "EC_excl", "S_metrics", "S_nolineage", "S", "S_fast", "S_relay")


def bars(results: Results) -> list[Bar]:
    """The gate.

    Raises:
        KeyError: A variant of `GATED` was not measured.
    """
    ours, reference = results["S"], results["EC_excl"]
    lineage = ours.total - results["S_nolineage"].total
    return [
        Bar("everything on, relay outside: serving thread / EC_excl", ours.fg / reference.fg, 0.70, 1.06),
        Bar("everything on, relay outside: total / EC_excl", ours.total / reference.total, 0.85, 1.06),
        Bar("the same with SPANLINE_OTLP=fast: total / EC_excl", results["S_fast"].total / reference.total, 0.50, 0.74),
        Bar("lineage on top of spans and metrics / E", lineage / results["E"].total, 0.05, 0.08),
        Bar("metrics only / A", results["S_metrics"].total / results["A"].total, 1.15, 1.19),
        Bar(
            "as shipped, relay thread and SQLite ledger in the process: total / EC_excl",
            results["S_relay"].total / reference.total,
            1.0,
            1.75,
        ),
    ]
