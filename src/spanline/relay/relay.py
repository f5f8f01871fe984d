"""The relay: one thread a consumer, in whichever process leads for it."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from spanline._guard import guard
from spanline.journal import cursors
from spanline.journal.reader import complete_end, segments
from spanline.journal.retention import KEEP_S, retain
from spanline.relay.consumer import Consumer
from spanline.relay.health import Health, Observer
from spanline.relay.policy import Policy
from spanline.relay.worker import Worker

HOUSE_S = 5.0
"""How often dead writers' segments are sealed and consumed ones removed."""

_POLL_S = 0.02


class Relay:
    """Carries a journal's events to its consumers: at least once, in order per run.

    Any number of relays may run on one journal, in one process or many: for each consumer one of them leads, and
    another takes over within about a second when it dies. Threads are daemons and start at `start()`, or at the first
    `wake()` in a forked child.

    Args:
        directory: The journal's folder.
        consumers: Who gets the events; names must differ.
        on_event: Told about what happens to each consumer.
        policy: When failed deliveries are tried again.
        max_bytes: Most disk the journal takes; beyond it old segments go, delivered or not.
        keep_s: How long delivered segments stay, for replays. Unit: seconds.
        on_drop: Called with `retention` for each event that went undelivered.

    Raises:
        ValueError: Two consumers of one name, or a name that cannot be a file name.
    """

    def __init__(
        self,
        directory: Path,
        consumers: Sequence[Consumer],
        *,
        on_event: Observer | None = None,
        policy: Policy | None = None,
        max_bytes: int = 512 << 20,
        keep_s: float = KEEP_S,
        on_drop: Callable[[str], None] | None = None,
    ) -> None:
        names = [consumer.name for consumer in consumers]
        if len(set(names)) != len(names):
            raise ValueError(f"consumers of one journal need different names: {', '.join(sorted(names))}")
        for name in names:
            cursors.path_of(directory, name)
        self._directory = directory
        self._consumers = tuple(consumers)
        self._on_event = on_event
        self._policy = policy or Policy()
        self._max_bytes = max_bytes
        self._keep_s = keep_s
        self._on_drop = on_drop
        self._reset()
        _forget_after_fork(self)

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._house = threading.Lock()
        self._house_at = 0.0
        self._workers: tuple[Worker, ...] = ()
        self._closed = False

    def start(self) -> None:
        """Register the consumers and start their threads; again after a fork or `close`."""
        with self._here():
            if self._workers:
                return
            self._closed = False
            started: list[Worker] = []
            for consumer in self._consumers:
                with guard("relay.register"):
                    cursors.register(self._directory, consumer.name)
                worker = Worker(self._directory, consumer, policy=self._policy, observer=self._on_event, keep_house=self._keep_house)
                try:
                    worker.start()
                except RuntimeError:
                    break  # The interpreter is shutting down: what is journalled is delivered by the next process.
                started.append(worker)
            self._workers = tuple(started)

    def wake(self) -> None:
        """The journal has grown. Cheap; called after each write."""
        if self._pid != os.getpid() or not self._workers:
            if not self._closed or self._pid != os.getpid():
                self.start()
            return
        for worker in self._workers:
            worker.wake()

    def flush(self, timeout_s: float) -> bool:
        """Wait until every consumer has got what was journalled before this call, whoever delivers it.

        Returns:
            False when the time was up first. A parked event counts as delivered.
        """
        deadline = time.monotonic() + timeout_s
        targets = {segment.name: complete_end(segment) for segment in segments(self._directory)}
        if not self._consumers or not targets:
            return True
        if not self._workers or self._pid != os.getpid():
            self.start()
        workers = self._workers
        for worker in workers:
            worker.hurry(True)
        try:
            while not self._reached(workers, targets):
                if time.monotonic() >= deadline:
                    return False
                time.sleep(min(_POLL_S, max(0.0, deadline - time.monotonic())))
            return True
        finally:
            for worker in workers:
                worker.hurry(False)

    def close(self, timeout_s: float) -> bool:
        """Flush within the deadline, then stop. What is left stays in the journal for the next process.

        Returns:
            Whether everything journalled was delivered, and every thread and consumer has ended.
        """
        deadline = time.monotonic() + timeout_s
        done = self.flush(timeout_s)
        with self._here():
            self._closed = True
            workers, self._workers = self._workers, ()
        for worker in workers:
            worker.stop()
        ended = [worker.join(max(0.2, deadline - time.monotonic())) for worker in workers]
        closed: list[bool] = []
        for consumer in self._consumers:
            with guard("relay.close"):
                closed.append(consumer.close(max(0.0, deadline - time.monotonic())))
        return done and all(ended) and all(closed)

    def health(self) -> dict[str, Health]:
        """Each consumer's numbers in this process."""
        return {worker.consumer.name: replace(worker.health) for worker in self._workers}

    def _reached(self, workers: Sequence[Worker], targets: dict[str, int]) -> bool:
        there = {segment.name for segment in segments(self._directory)}
        leading = {worker.consumer.name: worker for worker in workers if worker.health.leading}
        for consumer in self._consumers:
            worker = leading.get(consumer.name)
            offsets = worker.backlog.offsets if worker is not None else cursors.load(self._directory, consumer.name)
            if any(offsets.get(name, 0) < end for name, end in targets.items() if name in there):
                return False
        return True

    def _keep_house(self) -> None:
        now = time.monotonic()
        if now < self._house_at or not self._house.acquire(blocking=False):
            return
        try:
            self._house_at = now + HOUSE_S
            retain(self._directory, max_bytes=self._max_bytes, keep_s=self._keep_s, on_drop=self._on_drop)
        finally:
            self._house.release()

    def _here(self) -> threading.RLock:
        if self._pid != os.getpid():
            self._reset()
        return self._lock


def _forget_after_fork(relay: Relay) -> None:
    reference = weakref.ref(relay)

    def in_child() -> None:
        living = reference()
        if living is not None:
            # Threads do not survive a fork, and a lock may have been held by one of them.
            living._reset()  # pyright: ignore[reportPrivateUsage]

    os.register_at_fork(after_in_child=in_child)
