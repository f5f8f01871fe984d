"""Several workers, one scrape: prometheus_client's multi-process mode, with the exemplars that it leaves out.

Source: prometheus_client's documentation, "Multiprocess Mode (E.g. Gunicorn)". Each process keeps its newest exemplars in memory and
replaces one small file beside prometheus_client's own; whoever is scraped puts them on the samples of all.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, cast

import msgspec
from prometheus_client import CollectorRegistry, multiprocess
from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Exemplar

WRITE_S = 1.0
"""A process writes its exemplars at most that often."""

_Key = tuple[str, tuple[tuple[str, str], ...]]
_LIVE = re.compile(r"gauge_live[a-z]+_(\d+)\.db\Z")
_SUFFIX = ".exemplars.json"


class _Kept(msgspec.Struct, array_like=True):
    name: str
    labels: dict[str, str]
    exemplar: dict[str, str]
    value: float
    at: float


_decoder = msgspec.json.Decoder(list[_Kept])


def directory() -> Path | None:
    """`PROMETHEUS_MULTIPROC_DIR`, where prometheus_client keeps the values of all workers; None without it."""
    found = os.environ.get("PROMETHEUS_MULTIPROC_DIR") or os.environ.get("prometheus_multiproc_dir")  # noqa: SIM112  (its former spelling)
    return Path(found) if found else None


class _Store:
    """The newest exemplar of each sample of this process.

    Thread-safety: single assignments to a dict. Fork: a child begins with none.
    """

    def __init__(self) -> None:
        self.kept: dict[_Key, Exemplar] = {}
        self._written_at = 0.0
        self._lock = threading.Lock()
        self.changed = False

    def forget(self) -> None:
        """In a forked child."""
        self.__init__()

    def write(self, folder: Path, *, now: bool = False) -> None:
        """Replace this process's file, when something is new and it is time."""
        if not self.changed or (not now and time.monotonic() - self._written_at < WRITE_S):
            return
        with self._lock:
            self._written_at = time.monotonic()
            self.changed = False
            data = msgspec.json.encode(
                [
                    _Kept(name, dict(labels), e.labels, e.value, float(cast(Any, e.timestamp or 0.0)))
                    for (name, labels), e in list(self.kept.items())
                ]
            )
            path = folder / f"{os.getpid()}{_SUFFIX}"
            draft = path.with_suffix(".tmp")
            draft.write_bytes(data)
            draft.replace(path)


_store = _Store()
os.register_at_fork(after_in_child=_store.forget)


class Shared:
    """A value of prometheus_client in a file of this process, with the place for an exemplar that it lacks."""

    __slots__ = ("_key", "inc", "value")

    def __init__(self, value: Any) -> None:
        _, _, name, names, values, *_ = value._params
        self._key: _Key = (name, tuple(sorted(zip(names, values, strict=True))))
        self.value = value
        self.inc = value.inc

    def set_exemplar(self, exemplar: Exemplar) -> None:
        """Keep it; it is written with the next file."""
        _store.kept[self._key] = exemplar
        _store.changed = True

    def forget(self) -> None:
        """The sample is not counted any more."""
        _store.kept.pop(self._key, None)


def place(value: Any) -> Any:
    """Where values and exemplars of a sample go; None where this prometheus_client has no such place."""
    if not hasattr(value, "set_exemplar"):
        return None
    if getattr(value, "_multiprocess", False):
        return Shared(value) if isinstance(getattr(value, "_params", None), tuple) else None
    return value


def write() -> None:
    """Now and then, on a thread that serves nobody: write this process's exemplars."""
    folder = directory()
    if folder is not None and _store.changed:
        with contextlib.suppress(OSError):
            _store.write(folder)


def source(registry: CollectorRegistry) -> CollectorRegistry:
    """What a scrape reads: all workers' values where `PROMETHEUS_MULTIPROC_DIR` is set, else the registry."""
    folder = directory()
    if folder is None or not folder.is_dir():
        return registry
    with contextlib.suppress(OSError):
        _store.write(folder, now=True)
    everything = CollectorRegistry()
    everything.register(_Workers(folder))
    return everything


class _Workers:
    """Collects the values of all workers, with exemplars, without the gauges of those that are gone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def describe(self) -> Iterable[Metric]:
        """Nothing beforehand: what there is stands in the files."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All metrics."""
        for pid in {int(match[1]) for path in self._folder.iterdir() if (match := _LIVE.match(path.name)) and _gone(path, int(match[1]))}:
            # gunicorn has a hook for it (`child_exit`), uvicorn has none.
            with contextlib.suppress(FileNotFoundError):
                cast(Any, multiprocess).mark_process_dead(pid, str(self._folder))
        newest = self._exemplars()
        collector: Any = cast(Any, multiprocess).MultiProcessCollector(None, path=str(self._folder))
        for metric in collector.collect():
            metric.samples = [
                sample._replace(exemplar=kept) if (kept := newest.get((sample.name, tuple(sorted(sample.labels.items()))))) else sample
                for sample in metric.samples
            ]
            yield metric

    def _exemplars(self) -> dict[_Key, Exemplar]:
        newest: dict[_Key, _Kept] = {}
        for path in self._folder.glob(f"*{_SUFFIX}"):
            try:
                kept = _decoder.decode(path.read_bytes())
            except (OSError, msgspec.MsgspecError):
                continue
            for one in kept:
                key = (one.name, tuple(sorted(one.labels.items())))
                known = newest.get(key)
                if known is None or known.at < one.at:
                    newest[key] = one
        return {key: Exemplar(one.exemplar, one.value, one.at) for key, one in newest.items()}


def _gone(path: Path, pid: int) -> bool:
    """Whether the process that wrote a file is dead, also when its number is used again."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        uptime_s = float(Path("/proc/uptime").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return False
    if fields[0] in {"Z", "X"}:
        return True
    started = time.time() - uptime_s + int(fields[19]) / os.sysconf("SC_CLK_TCK")
    with contextlib.suppress(FileNotFoundError):
        return started > path.stat().st_mtime + 1
    return False
