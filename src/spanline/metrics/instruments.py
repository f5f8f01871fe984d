"""Instruments: one label set of one metric, with the exemplar put in at little cost."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left
from collections.abc import Callable
from time import time
from typing import Any

from prometheus_client.samples import Exemplar as Sampled

from spanline.metrics.shared import Shared, place

Labels = dict[str, str] | None
"""Labels of an exemplar, checked by `spanline.metrics.exemplars`; None for no exemplar."""

ticks = itertools.count(1)


class Instrument:
    """One label set: prometheus_client's child, and when it was last asked for.

    prometheus_client checks an exemplar's labels at every call, by two regular expressions, which is three times the cost of
    the count. Ours are built from checked ids, so that values and exemplars are put where it would put them. Where a version of it
    has no such place, its own way is taken.
    """

    __slots__ = ("_bounds", "_buckets", "_sum", "_value", "child", "move", "used")

    def __init__(self, child: Any) -> None:
        self.child = child
        self.used = next(ticks)
        self._value = place(getattr(child, "_value", None))
        self._bounds: list[float] = list(getattr(child, "_upper_bounds", ()))
        self._buckets = [place(bucket) for bucket in getattr(child, "_buckets", ())]
        self._sum = place(getattr(child, "_sum", None))
        self.move: Callable[[float], object] = getattr(child if self._value is None else self._value, "inc", _nothing)
        """Move a gauge."""
        if None in self._buckets or len(self._buckets) != len(self._bounds) or self._sum is None:
            self._buckets = []

    def count(self, amount: float, labels: Labels = None) -> None:
        """Add to a counter; what is no count (negative, NaN) is left out."""
        if not 0 <= amount < math.inf:
            return
        value = self._value
        if value is None:
            self.child.inc(amount, labels)
            return
        value.inc(amount)
        if labels is not None:
            value.set_exemplar(Sampled(labels, amount, time()))

    def observe(self, value: float, labels: Labels = None) -> None:
        """Observe a value; one NaN would make the sum NaN for ever, so it is left out."""
        if not math.isfinite(value):
            return
        if not self._buckets:
            self.child.observe(value, labels)
            return
        self._sum.inc(value)
        bucket: Any = self._buckets[bisect_left(self._bounds, value)]
        bucket.inc(1)
        if labels is not None:
            bucket.set_exemplar(Sampled(labels, value, time()))

    def set(self, value: float) -> None:
        """Set a gauge."""
        self.child.set(value)

    def forget(self) -> None:
        """It is put out: its exemplars go."""
        for value in (self._value, *self._buckets):
            if isinstance(value, Shared):
                value.forget()


class Absent(Instrument):
    """Stands for an instrument whose name somebody else took: does nothing."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(None)

    def count(self, amount: float, labels: Labels = None) -> None:
        """Nothing."""

    def observe(self, value: float, labels: Labels = None) -> None:
        """Nothing."""

    def set(self, value: float) -> None:
        """Nothing."""


def _nothing(delta: float) -> None:
    pass


ABSENT = Absent()
