"""PromQL from the catalogue: a metric, part or label that the catalogue does not have cannot be asked for."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from spanline.metrics.catalogue import BY_NAME, MetricSpec

Part = Literal["", "bucket", "count", "sum"]

TARGET_LABELS = frozenset({"job", "instance"})
"""What Prometheus itself puts on every series of a target."""

LOST = 'reason!~"thinned|incomplete"'
"""What a transport's own settings leave out (Marquez: rate limit, runs that touched less) is in the ledger, and meant."""

_MATCHER = re.compile(r"([a-z_]+)(?:=~|!~|!=|=)\"")


class PromQL(NamedTuple):
    """Expressions over the catalogue.

    `scope` is a matcher that every selector gets (a board's `job=~"$job"`), `window` the default range of rates.
    """

    scope: str = ""
    window: str = "$__rate_interval"

    def select(self, name: str, *matchers: str, part: Part = "") -> str:
        """A selector.

        Args:
            name: A metric of the catalogue.
            matchers: Such as `outcome="error"`.
            part: Of a histogram: `bucket`, `count` or `sum`.

        Raises:
            ValueError: The catalogue has no such metric or label.
        """
        spec = spec_of(name)
        if (spec.type == "histogram") != bool(part):
            raise ValueError(f"{name} is a {spec.type}: part {part!r} does not fit")
        extra = {"le"} if part == "bucket" else set[str]()
        for matcher in matchers:
            label = _MATCHER.match(matcher)
            _check(spec, label[1] if label else matcher, extra)
        inside = ",".join(filter(None, (self.scope, *matchers)))
        return f"{name}{'_' + part if part else ''}{{{inside}}}" if inside else f"{name}{'_' + part if part else ''}"

    def rate(self, name: str, *matchers: str, by: tuple[str, ...] = (), part: Part = "", window: str = "") -> str:
        """Sum of rates by labels. Unit: the metric's, a second."""
        return self._over("rate", name, matchers, by, part, window)

    def increase(self, name: str, *matchers: str, by: tuple[str, ...] = (), part: Part = "", window: str = "") -> str:
        """Sum of increases by labels. Unit: the metric's, in the window."""
        return self._over("increase", name, matchers, by, part, window)

    def quantile(self, q: float, name: str, *matchers: str, by: tuple[str, ...] = (), window: str = "") -> str:
        """A quantile of a histogram by labels."""
        return f"histogram_quantile({q:g}, {self.rate(name, *matchers, by=('le', *by), part='bucket', window=window)})"

    def counted(self, name: str, *matchers: str, by: tuple[str, ...] = ()) -> str:
        """Observations of a histogram a second, by a query whose exemplars lead to them.

        Exemplars are on buckets, not on the count; the greatest of the cumulative buckets is the count.
        """
        return f"max{_by(by)}({self.rate(name, *matchers, by=('le', *by), part='bucket')})"

    def mean(self, name: str, *matchers: str, by: tuple[str, ...] = (), window: str = "") -> str:
        """Mean of a histogram's observations by labels."""
        above = self.rate(name, *matchers, by=by, part="sum", window=window)
        return f"{above} / {self.rate(name, *matchers, by=by, part='count', window=window)}"

    def ratio(self, name: str, bad: str, total: str = "", *, by: tuple[str, ...] = (), part: Part = "", window: str = "") -> str:
        """Share of what matches `bad` in what matches `total` (all, if empty); 0 where nothing was bad yet.

        A label set appears with its first event only: without the zero a healthy service would have no ratio at all.
        """
        wanted = (total,) if total else ()
        whole = self.rate(name, *wanted, by=by, part=part, window=window)
        return f"({self.rate(name, bad, by=by, part=part, window=window)} or 0 * {whole}) / {whole}"

    def risen(self, name: str, *matchers: str, by: tuple[str, ...], window: str) -> str:
        """By how much counters rose in the window, also those that were born in it.

        `increase` sees no rise in a series that begins at 1, and ours begin with their first event.
        """
        series = self.select(name, *matchers)
        born = f"({series} unless {series} offset {window})"
        return f"{_sum(by)}((increase({series}[{window}]) > 0) or {born})"

    def _over(self, function: str, name: str, matchers: tuple[str, ...], by: tuple[str, ...], part: Part, window: str) -> str:
        spec = spec_of(name)
        for label in by:
            _check(spec, label, {"le"} if part == "bucket" else set())
        return f"{_sum(by)}({function}({self.select(name, *matchers, part=part)}[{window or self.window}]))"


BOARD = PromQL('job=~"$job"')
"""Expressions of dashboards: limited to the jobs that were chosen."""

RULE = PromQL()
"""Expressions of rules: all jobs."""


def spec_of(name: str) -> MetricSpec:
    """The metric in the catalogue.

    Raises:
        ValueError: There is none of that name.
    """
    if name not in BY_NAME:
        raise ValueError(f"the catalogue has no metric {name}")
    return BY_NAME[name]


def seconds_bound(spec: MetricSpec, threshold: float) -> str:
    """The `le` of a bucket, as prometheus_client writes it (`3.0`) and Prometheus 3 normalises it.

    Raises:
        ValueError: The histogram has no bucket with this bound, so that nobody could count what is below.
    """
    if threshold not in spec.buckets:
        raise ValueError(f"{spec.name} has no bucket {threshold:g}; it has {', '.join(f'{bound:g}' for bound in spec.buckets)}")
    return repr(float(threshold))


def _check(spec: MetricSpec, label: str, extra: set[str]) -> None:
    if label not in TARGET_LABELS and label not in spec.labels and label not in extra:
        raise ValueError(f"{spec.name} has no label {label}")


def _sum(by: tuple[str, ...]) -> str:
    return f"sum{_by(by)}"


def _by(labels: tuple[str, ...]) -> str:
    return f" by ({', '.join(labels)}) " if labels else ""
