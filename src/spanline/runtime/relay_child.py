"""The relay as a child process: what runs in the child. Its parent speaks on standard input and hears on standard output."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import signal
import sys
import threading
from typing import BinaryIO

from spanline._guard import guard
from spanline.relay.relay import Relay
from spanline.runtime.delivery import LedgerHolder, relay_of
from spanline.settings import Settings

TELL_S = 0.5
NICE = 5
ORPHAN_CLOSE_S = 1.0
"""How long a child whose parent was killed goes on, to deliver what is there. Unit: seconds."""


class Teller:
    """Adds up what the relay tells and writes it to the parent twice a second: one line of JSON `[[consumer, what, value], …]`.

    Args:
        out: The parent's end; whatever goes wrong there is the parent's matter.
    """

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._lock = threading.Lock()
        self._said: dict[tuple[str, str], float] = {}

    def observe(self, consumer: str, what: str, value: float) -> None:
        """As `spanline.relay.health.Observer`: counts are summed, levels replaced."""
        with self._lock:
            key = (consumer, what)
            self._said[key] = value + (self._said.get(key, 0) if what in {"sent", "retried", "dropped"} else 0)

    def drop(self, reason: str) -> None:
        """One event had to go undelivered."""
        with self._lock:
            key = ("", reason)
            self._said[key] = self._said.get(key, 0) + 1

    def tell(self) -> None:
        """Write what was gathered."""
        with self._lock:
            said, self._said = self._said, {}
        if said:
            with contextlib.suppress(OSError, ValueError):
                self._out.write(json.dumps([[*key, value] for key, value in said.items()]).encode() + b"\n")
                self._out.flush()


def main() -> None:
    """Relay until the parent says so, closes the pipe, or is gone."""
    # A terminal and some supervisors signal the whole group: the parent decides when this ends, by the pipe.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    # Where all cores are busy, requests go first: what is late here waits on the disk.
    with contextlib.suppress(OSError):
        os.nice(NICE)
    pipe = sys.stdin.buffer
    settings: Settings = pickle.load(pipe)  # noqa: S301  (written by our parent into our own pipe)
    parent = os.getppid()
    # Nothing but the teller writes to the parent: a transport that prints would break the lines.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    teller = Teller(out)
    holder = LedgerHolder(settings)
    relay = relay_of(settings, holder, observer=teller.observe, on_drop=teller.drop)
    if relay is None:
        return
    relay.start()
    ended = threading.Event()
    threading.Thread(target=_tell, args=(teller, ended, parent), name="spanline-tell", daemon=True).start()
    done = False
    with guard("relay.child"):
        done = _obey(relay, pipe)
    holder.close()
    ended.set()
    teller.tell()
    sys.stderr.flush()
    # A consumer that hangs in a thread must not keep the process.
    os._exit(0 if done else 1)


def _obey(relay: Relay, pipe: BinaryIO) -> bool:
    for line in pipe:
        word, _, seconds = line.decode().partition(" ")
        if word == "flush":
            threading.Thread(target=relay.flush, args=(float(seconds),), daemon=True).start()
        elif word == "close":
            return relay.close(float(seconds))
    return relay.close(ORPHAN_CLOSE_S)


def _tell(teller: Teller, ended: threading.Event, parent: int) -> None:
    while not ended.wait(TELL_S):
        teller.tell()
        if os.getppid() != parent:
            # A forked child of the parent may hold the pipe open.
            os._exit(1)
