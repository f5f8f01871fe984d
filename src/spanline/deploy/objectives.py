"""Objectives: what share of events must be good, and how fast the budget of bad ones may burn."""

from __future__ import annotations

from typing import NamedTuple

from spanline.deploy.promql import RULE, seconds_bound, spec_of

_LATENCY = "llm_latency_seconds"


class Burn(NamedTuple):
    """A pair of windows: both must burn `factor` times faster than the budget allows."""

    severity: str
    factor: float
    long: str
    short: str


BURNS = (Burn("page", 14.4, "1h", "5m"), Burn("page", 6, "6h", "30m"), Burn("ticket", 3, "1d", "2h"), Burn("ticket", 1, "3d", "6h"))
"""Windows over a budget of 30 days: 2 % of it in an hour or 5 % in six wake somebody, 10 % in a day or in three can wait for the morning.

Source: the SRE workbook, chapter 5, "Multiwindow, Multi-Burn-Rate Alerts".
"""

WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")


class Objective(NamedTuple):
    """One objective, per service and the further labels in `by`.

    `metric` is the histogram's or counter's name and `part` of it is counted; `bad` and `total` are matchers. `within` (seconds)
    makes it one of latency: bad is then what took longer. `least` events must have been in the long window for an alert.
    """

    name: str
    alert: str
    target: float
    metric: str
    bad: str
    total: str
    by: tuple[str, ...] = ()
    within: float | None = None
    least: int = 20

    @property
    def budget(self) -> float:
        """Share that may be bad."""
        return round(1 - self.target, 9)

    @property
    def labels(self) -> tuple[str, ...]:
        """What the rules keep apart."""
        return ("job", *self.by)

    def ratio_name(self, window: str) -> str:
        """Name of the recorded share of bad events."""
        return f"{'_'.join(self.labels)}:{self.name}:bad_ratio_rate{window}"

    def events_name(self, window: str) -> str:
        """Name of the recorded number of events."""
        return f"{'_'.join(self.labels)}:{self.name}:events_increase{window}"

    def ratio(self, window: str) -> str:
        """Share of bad events in a window."""
        if self.within is None:
            return RULE.ratio(self.metric, self.bad, self.total, by=self.labels, part="count" if self._histogram else "", window=window)
        whole = RULE.rate(self.metric, self.total, by=self.labels, part="count", window=window)
        bound = f'le="{seconds_bound(spec_of(self.metric), self.within)}"'
        below = RULE.rate(self.metric, self.total, bound, by=self.labels, part="bucket", window=window)
        return f"1 - {below} / {whole}"

    def events(self, window: str) -> str:
        """Number of events in a window."""
        return RULE.increase(self.metric, self.total, by=self.labels, part="count" if self._histogram else "", window=window)

    def check(self) -> None:
        """An objective whose alert could never fire is a mistake.

        Raises:
            ValueError: At the fastest burn the threshold is above everything being bad.
        """
        highest = max(burn.factor for burn in BURNS) * self.budget
        if not 0 < highest < 1:
            raise ValueError(f"{self.name}: with a target of {self.target:g} a page would need a bad share of {highest:.0%}")

    @property
    def _histogram(self) -> bool:
        return spec_of(self.metric).type == "histogram"


ANSWERED = 'outcome!="aborted"'
"""Requests that count: who goes away is neither served well nor badly."""

OBJECTIVES = (
    Objective("llm_errors", "LlmErrorBudgetBurn", 0.995, _LATENCY, 'outcome="error"', ANSWERED),
    Objective("llm_latency", "LlmLatencyBudgetBurn", 0.95, _LATENCY, "", 'outcome="ok"', within=3.0),
    Objective("rag_empty", "RagEmptyRetrievalBudgetBurn", 0.95, "rag_retrievals_total", 'outcome="empty"', 'outcome!="error"', ("index_version",)),
    Objective("llm_guardrail", "LlmGuardrailBudgetBurn", 0.95, "llm_guardrail_outcomes_total", 'outcome=~"fail|error"', 'outcome!="skip"', ("guardrail",)),
)  # fmt: skip
"""What is promised unless somebody decides otherwise."""
