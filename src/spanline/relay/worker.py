"""One consumer's thread: leads, reads, delivers, moves the cursor."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from spanline._guard import guard, report, warn_once_a_minute
from spanline.errors import JournalError, TransportError
from spanline.journal import cursors
from spanline.journal.locks import LeaderLock
from spanline.journal.reader import Entry
from spanline.relay.backlog import Backlog
from spanline.relay.consumer import Consumer, DeliveryError
from spanline.relay.health import Health, Observer
from spanline.relay.parked import ParkedStore, run_id_of
from spanline.relay.policy import AGAIN_FOR_EVER, Policy, wait_s
from spanline.relay.suppress import suppressed
from spanline.times import rfc3339
from spanline.transports.base import BatchError, MalformedAnswer

TAKE_OVER_S = 1.0
_URGENT_S = 0.05
_IDLE_S = (0.05, 0.25)
_GATHER_S = 0.02
"""After a wake-up: so long events are gathered, since few large system calls cost an app's threads least."""
_TELL_S = 1.0
_SAVE_S = 0.05
"""While there is more to deliver the cursor is kept that often: a rename makes some file systems write to the disk."""
_POISON_PROBES = 3


class Worker:
    """Delivers a journal's events to one consumer, as long as it leads.

    Args:
        directory: The journal's folder.
        consumer: Who gets the events.
        policy: When to try again.
        observer: Told about what happens; see `spanline.relay.health.Observer`.
        keep_house: Called now and then while idle.
    """

    def __init__(
        self, directory: Path, consumer: Consumer, *, policy: Policy, observer: Observer | None, keep_house: Callable[[], None]
    ) -> None:
        self.consumer = consumer
        self.health = Health()
        self.backlog = Backlog(directory, consumer.name)
        self._directory = directory
        self._policy = policy
        self._observer = observer
        self._keep_house = keep_house
        self._lock = LeaderLock(directory / cursors.FOLDER / f"{consumer.name}.lock")
        self._parked = ParkedStore(directory, consumer.name)
        self._event = threading.Event()
        self._stop = threading.Event()
        self._urgent = False
        self._idle_s = _IDLE_S[0]
        self._told_at = 0.0
        self._attempts = 0
        self._probed = 0
        self._head: Entry | None = None
        self._solo = False
        self._thinned = 0
        self._unsaved = False
        self._saved_at = 0.0
        self._thread = threading.Thread(target=self._run, name=f"spanline-relay-{consumer.name}", daemon=True)

    def start(self) -> None:
        """Start the thread.

        Raises:
            RuntimeError: The interpreter is shutting down.
        """
        self._thread.start()

    def wake(self) -> None:
        """There is something new."""
        if self.health.leading and not self._event.is_set():
            self._event.set()

    def hurry(self, urgent: bool) -> None:
        """Somebody waits for the backlog to be empty (or no longer does)."""
        self._urgent = urgent
        if urgent:
            self._event.set()

    def stop(self) -> None:
        """End after what is being sent now."""
        self._stop.set()
        self._event.set()

    def join(self, timeout_s: float) -> bool:
        """Whether the thread has ended within the time."""
        self._thread.join(max(0.0, timeout_s))
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            with suppressed():
                while not self._stop.is_set():
                    with guard("relay.worker"):
                        try:
                            self._turn()
                        except OSError as error:
                            # No descriptors left, a folder that is gone: nothing of ours is wrong.
                            warn_once_a_minute("relay.disk", "spanline: relay cannot read %s (%s)", self._directory, error.strerror)
                            self._stop.wait(1.0)
                        continue
                    self._stop.wait(1.0)
        finally:
            if self.health.leading and self._lock.held():
                with guard("relay.save"):
                    self._save()
            self.health.leading = False
            self._lock.release()

    def _turn(self) -> None:
        if not self._lead():
            self._event.wait(_URGENT_S if self._urgent else TAKE_OVER_S)
            self._event.clear()
            if self._urgent:
                self._stop.wait(_URGENT_S)
            return
        if not self.backlog.pending and not self.backlog.fetch():
            self._save()
            self._tell()
            self._keep_house()
            self._idle()
            return
        self._idle_s = _IDLE_S[0]
        if self.backlog.pending:
            self._deliver()
        else:
            self.backlog.settle([])
        self._unsaved = True
        if time.monotonic() - self._saved_at >= _SAVE_S:
            self._save()
        self._tell()

    def _lead(self) -> bool:
        if self.health.leading and self._lock.held():
            return True
        self.health.leading = False
        try:
            if not self._lock.acquire():
                return False
            cursors.register(self._directory, self.consumer.name)
        except OSError as error:
            warn_once_a_minute("relay.lock", "spanline: relay cannot use %s (%s)", self._directory, error.strerror)
            return False
        self.backlog.load()
        self._parked_now(self._parked.count())
        self.health.leading = True
        return True

    def _idle(self) -> None:
        woken = self._event.wait(_URGENT_S if self._urgent else self._idle_s)
        self._event.clear()
        if woken:
            self._idle_s = _IDLE_S[0]
            if not self._urgent:
                self._stop.wait(_GATHER_S)
        else:
            self._idle_s = min(_IDLE_S[1], self._idle_s * 1.5)

    def _deliver(self) -> None:
        """One attempt at what is in hand, and what follows from its failure."""
        pending = self.backlog.pending
        batch = pending[:1] if self._solo else pending
        error = self._attempt(batch)
        if error is None:
            self._took(len(batch), pending[len(batch) :])
            return
        known = False
        if isinstance(error, DeliveryError):
            left = [batch[index] for index in error.undelivered] + pending[len(batch) :]
            if len(left) < len(pending):
                self._took(len(pending) - len(left), left)
            error = error.cause
            known = not isinstance(error, BatchError)
        if len(batch) > 1 and not known and _is_about_one(error):
            # One of many is what was refused: from here on one by one, until these are through.
            self._solo = True
            return
        self._failed(error)

    def _attempt(self, batch: Sequence[Entry]) -> TransportError | None:
        try:
            self.consumer.deliver(batch)
        except TransportError as error:
            return error
        except Exception as error:  # noqa: BLE001   A consumer's own mistake over one event must not keep the others from it.
            report(f"relay.{self.consumer.name}", error)
            return TransportError(f"internal error ({type(error).__name__})", status=500)
        return None

    def _took(self, count: int, left: list[Entry]) -> None:
        self.backlog.settle(left)
        thinned = getattr(self.consumer, "thinned", 0)
        sent = max(0, count - (thinned - self._thinned))
        self.health.dropped += thinned - self._thinned
        self._thinned = thinned
        self.health.sent += sent
        self._observe("sent", sent)
        self._solo = self._solo and bool(left)

    def _failed(self, error: TransportError) -> None:
        """The oldest event in hand was not taken: wait, or park it."""
        head = self.backlog.pending[0]
        if self._head is not head:
            self._head, self._attempts, self._probed = head, 0, 0
        self._attempts += 1
        self.health.last_error = error.reason
        wait = wait_s(error, self._attempts, self._policy)
        if wait is None or self._probed >= _POISON_PROBES:
            self._park(head, error)
            return
        self._observe("retried", 1)
        self._unsaved = True
        self._save()
        self._tell()
        self._stop.wait(wait)
        if self._stop.is_set() or self._attempts < self._policy.probe_after:
            return
        if error.status is None and not isinstance(error, MalformedAnswer):
            self._probed = self._probed + 1 if self._others_pass(head) else 0

    def _others_pass(self, head: Entry) -> bool:
        """Whether an event of another run is taken while this one, again and again, gets no answer."""
        if len(self.backlog.pending) < 2:
            self.backlog.fetch()
        run = run_id_of(head.line)
        other = next((entry for entry in self.backlog.pending[1:] if run_id_of(entry.line) != run), None)
        if other is None or self._attempt([other]) is not None:
            return False
        self._took(1, [entry for entry in self.backlog.pending if entry is not other])
        return True

    def _park(self, head: Entry, error: TransportError) -> None:
        try:
            gone = self._parked.add(
                head, status=error.status, reason=error.reason, attempts=self._attempts, parked_at=rfc3339(time.time_ns())
            )
        except (OSError, JournalError) as failure:
            # The event stays in the journal, so nothing is lost while the disk is full.
            warn_once_a_minute("relay.park", "spanline: cannot park an event in %s (%s)", self._directory, type(failure).__name__)
            self._stop.wait(TAKE_OVER_S)
            return
        warn_once_a_minute(
            f"relay.parked.{self.consumer.name}",
            "spanline: %s refused an event (%s); it is parked, see `spanline journal parked`",
            self.consumer.name, error.reason,
        )  # fmt: skip
        self.backlog.settle(self.backlog.pending[1:])
        self._solo = self._solo and bool(self.backlog.pending)
        if gone:
            self.health.dropped += gone
            self._observe("dropped", gone)
        self._parked_now(self.health.parked + 1 - gone)

    def _save(self) -> None:
        if not self._unsaved:
            return
        self._saved_at = time.monotonic()
        try:
            self.backlog.save()
            self._unsaved = False
        except OSError as error:
            # What was delivered since may be delivered again after a crash; nothing is lost.
            warn_once_a_minute("relay.cursor", "spanline: cannot keep the cursor in %s (%s)", self._directory, error.strerror)

    def _parked_now(self, count: int) -> None:
        self.health.parked = count
        self._observe("parked", count)

    def _tell(self) -> None:
        now = time.monotonic()
        self.health.torn = self.backlog.torn
        if self._observer is None or now - self._told_at < _TELL_S:
            return
        self._told_at = now
        self._observe("lag_seconds", self.backlog.lag_s())
        self._observe("backlog_bytes", self.backlog.size())

    def _observe(self, what: str, value: float) -> None:
        if self._observer is not None:
            with guard("relay.observer"):
                self._observer(self.consumer.name, what, value)


def _is_about_one(error: TransportError) -> bool:
    """Whether a batch may have failed because of one event in it, not because nobody takes anything now."""
    if isinstance(error, BatchError | MalformedAnswer):
        return True
    return error.status is not None and error.status not in AGAIN_FOR_EVER
