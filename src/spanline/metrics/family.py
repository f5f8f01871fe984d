"""Family: one metric with its label sets cached, cleaned and capped."""

from __future__ import annotations

import hashlib
import logging
import threading
import warnings
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from spanline.metrics.catalogue import CATALOGUE, MetricSpec
from spanline.metrics.instruments import ABSENT, Instrument, ticks
from spanline.metrics.shared import directory
from spanline.naming import clean

logger = logging.getLogger("spanline")

MAX_LABEL = 128
"""Characters of a label value."""

OTHER = "other"
_FILE_CAPS = 10
# The files of multi-process mode only grow: after so many times the cap what is new is counted together, as `other`.


def label(value: str) -> str:
    """A label value: no control characters or lone surrogates, at most 128 characters.

    What is longer ends in `~` and 12 hex of its digest, so that two long names do not become one.
    """
    cleaned = clean(value, len(value))
    if len(cleaned) <= MAX_LABEL:
        return cleaned
    return f"{cleaned[: MAX_LABEL - 13]}~{hashlib.sha256(cleaned.encode()).hexdigest()[:12]}"


class Family:
    """One metric of the catalogue in one registry.

    `get` is on the request path: one look-up and one store, no lock. Only a new label set takes the lock; at the cap it
    puts out the one idle longest, so that the newest, which an incident is about, is always there.
    """

    def __init__(self, spec: MetricSpec, metric: Counter | Gauge | Histogram | None) -> None:
        self.spec = spec
        self.cap = 0
        self._shared = directory() is not None
        self._evicted = 0
        self._metric = metric
        self._children: dict[tuple[str, ...], Instrument] = {}
        self._lock = threading.Lock()

    def get(self, *labels: str) -> Instrument:
        """The instrument of a label set; one that does nothing when somebody else took the metric's name."""
        found = self._children.get(labels)
        if found is None:
            return self._add(labels)
        found.used = next(ticks)
        return found

    def _add(self, labels: tuple[str, ...]) -> Instrument:
        if self._metric is None:
            return ABSENT
        # Cleaned values are the keys: wild ones come by here each time, and no large string is kept.
        cleaned = tuple(label(value) for value in labels)
        with self._lock:
            found = self._children.get(cleaned)
            if found is None:
                if len(self._children) >= self.cap > 0:
                    if self._shared and self._evicted >= _FILE_CAPS * self.cap:
                        cleaned = (OTHER,) * len(cleaned)
                        found = self._children.get(cleaned)
                        if found is not None:
                            return found
                    self._evict()
                child = self._metric.labels(*cleaned) if self.spec.labels else self._metric
                found = self._children[cleaned] = Instrument(child)
            found.used = next(ticks)
            return found

    def _evict(self) -> None:
        assert self._metric is not None
        idle = min(self._children, key=lambda key: self._children[key].used)
        self._children.pop(idle).forget()
        self._evicted += 1
        if not self._shared:
            self._metric.remove(*idle)
            return
        # In prometheus_client's multi-process mode the sample stays in the worker's file, and each call warns of that.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._metric.remove(*idle)


class Families:
    """All metrics of the catalogue in one registry; shared by all runtimes of the process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._all: dict[str, Family] = {}
        self.conflicts_seen: dict[tuple[str | None, ...], None] = {}
        self.lock = threading.Lock()
        for spec in CATALOGUE:
            if not spec.optional:
                self.family(spec)

    def family(self, spec: MetricSpec) -> Family:
        """The metric, registered at the first call."""
        with self.lock:
            found = self._all.get(spec.name)
            if found is None:
                found = self._all[spec.name] = Family(spec, self._register(spec))
            return found

    def cap(self, cap: int) -> None:
        """Allow `cap` label sets a metric; of several runtimes the most generous counts."""
        for family in self._all.values():
            family.cap = max(family.cap, cap)

    def _register(self, spec: MetricSpec) -> Counter | Gauge | Histogram | None:
        # prometheus_client puts a unit that the name does not end with behind it.
        unit = spec.unit if spec.family.endswith(f"_{spec.unit}") else ""
        make: Callable[..., Counter | Gauge | Histogram] = {"counter": Counter, "gauge": Gauge, "histogram": Histogram}[spec.type]
        more: dict[str, Any] = {"buckets": spec.buckets} if spec.buckets else {}
        if spec.type == "gauge":
            more["multiprocess_mode"] = spec.workers
        try:
            return make(spec.name, spec.help, spec.labels, unit=unit, registry=self._registry, **more)
        except ValueError:
            logger.warning(
                "spanline: the metric name %s is taken in this Prometheus registry; spanline does not report it. "
                "Give instrument() a registry= of its own, or rename the other metric", spec.name,
            )  # fmt: skip
            return None


_by_registry: WeakKeyDictionary[CollectorRegistry, Families] = WeakKeyDictionary()
_lock = threading.Lock()


def families_of(registry: CollectorRegistry) -> Families:
    """The instruments of a registry, made and registered at the first call."""
    with _lock:
        found = _by_registry.get(registry)
        if found is None:
            found = _by_registry[registry] = Families(registry)
        return found
