"""The bars: what is to be reached, and what is held."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.callgrind import Result
from benchmarks.parts import Part

MARGIN = 0.03
"""Scatter of the method."""


@dataclass(frozen=True)
class Bar:
    """A bar: what is measured, its value, the goal, and what is held: a change that makes it worse than that fails the gate.

    All are ratios. `at_least`: more is better. A bar without `held` is reported and not judged.
    """

    text: str
    value: float
    goal: float
    held: float | None
    at_least: bool = False

    def reaches(self, limit: float, margin: float = 0.0) -> bool:
        """Whether the value is within a limit."""
        return self.value >= limit * (1 - margin) if self.at_least else self.value <= limit * (1 + margin)

    @property
    def passed(self) -> bool:
        """Whether it is not worse than what is held, but for the margin."""
        return self.held is None or self.reaches(self.held, MARGIN)

    def __str__(self) -> str:
        word = "WORSE" if not self.passed else "goal " if self.reaches(self.goal) else "held "
        held = "–" if self.held is None else f"{self.held:.3g}"
        return f"{word}  {self.value:.3f}  (goal {self._sign} {self.goal:g}, held {held})  {self.text}"

    @property
    def _sign(self) -> str:
        return "≥" if self.at_least else "≤"

    def row(self) -> str:
        """A row of the table."""
        return f"| {self.text} | {self._sign} {self.goal:g} | {self.value:.3g} | {'yes' if self.reaches(self.goal) else 'not yet'} |"


def table(bars: Sequence[Bar]) -> str:
    """All bars as a markdown table."""
    return "\n".join(["| bar | goal | measured | reached |", "|---|---:|---:|---|", *(bar.row() for bar in bars)])


GATED = ("A", "E", "EC_excl", "EN_lean", "A_relay", "A_relayed", "S_metrics", "S_span", "S_nolineage", "S", "S_fast", "S_fast_relay")
"""Variants that the bars need."""


def of_requests(results: Mapping[str, Result]) -> list[Bar]:
    """The bars of instructions a request.

    Raises:
        KeyError: A variant of `GATED` was not measured.
    """
    bare, fair, lean, ours, fast = (results[name] for name in ("A", "EC_excl", "EN_lean", "S", "S_fast"))
    lineage = ours.total - results["S_nolineage"].total
    return [
        Bar("everything on, `SPANLINE_OTLP=fast`, relay outside: total / EC_excl", fast.total / fair.total, 0.50, 0.64),
        Bar("the same: total / EN_lean", fast.total / lean.total, 0.62, 0.80),
        Bar("the same: serving thread / EC_excl", fast.fg / fair.fg, 0.65, 0.95),
        Bar("the same with relay thread and SQLite ledger: total / EC_excl", results["S_fast_relay"].total / fair.total, 0.75, None),
        Bar("as it comes, stock encoder, relay outside: total / EC_excl", ours.total / fair.total, 0.85, 0.96),
        Bar("lineage on top of spans and metrics / E", lineage / results["E"].total, 0.04, 0.042),
        Bar(
            "1000 events a second relayed by a thread: serving thread / with none",
            results["A_relayed"].fg / results["A_relay"].fg,
            1.03,
            1.03,
        ),
        Bar("metrics only / A", results["S_metrics"].total / bare.total, 1.10, 1.12),
        Bar("one span only / A", results["S_span"].total / bare.total, 1.6, 2.0),
    ]


_HELD = {"event": 30.0, "otlp": 5.0, "delivery": 40.0}


def of_parts(parts: Sequence[Part]) -> list[Bar]:
    """The bars of single parts: how many times as much the official one costs."""
    return [Bar(f"{part.text}, instructions", part.ratio, part.goal, _HELD[part.name], at_least=True) for part in parts]
