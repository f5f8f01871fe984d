"""The ledger in PostgreSQL: it goes away and comes back, and both sides are killed in mid-transaction; every count is exact afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.stand import Load, Receiver, cli, environ, eventually, rest_delivered, serving
from tests.servers import stores
from tests.servers.child import child

pytestmark = pytest.mark.timeout(150)
IN_MID_TRANSACTION = "SELECT pid FROM pg_stat_activity WHERE datname = '{name}' AND wait_event_type = 'Lock'"
WRONG_COUNTS = """
SELECT count(*) FROM (SELECT artifact, role, sum(runs) AS told FROM uses GROUP BY 1, 2) AS tallies
FULL JOIN (SELECT artifact, role, count(*) AS there FROM edges GROUP BY 1, 2) AS rows USING (artifact, role) WHERE told IS DISTINCT FROM there
"""


class Server:
    """A PostgreSQL that commits to its log, as it does by default, and that can be killed and started again."""

    def __init__(self, postgres: stores.Postgres, stack: contextlib.ExitStack) -> None:
        self.postgres = postgres
        self._stack = stack
        self.folder = Path(postgres.psql("postgres", "SHOW data_directory"))
        postgres.psql("postgres", "ALTER ROLE spanline SET synchronous_commit = on")

    def away(self) -> None:
        """Every server process ends at once, as after a crash: what was not committed is gone."""
        pid = int((self.folder / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGQUIT)
        eventually(lambda: not self.up() and not (self.folder / "postmaster.pid").exists())

    def back(self) -> None:
        """The same server again; it recovers from its log."""
        command = [part.strip('"') for part in (self.folder / "postmaster.opts").read_text().split()]
        self._stack.enter_context(
            child(command, self.folder.parent, os.environ, "postgres again", self.up, user=stores._unprivileged(), stop="INT")
        )

    def up(self) -> bool:
        """Whether it takes connections."""
        where = ["-q", "-h", "127.0.0.1", "-p", str(self.postgres.port)]
        return subprocess.run([str(self.postgres.bin / "pg_isready"), *where], check=False).returncode == 0


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server for this file alone: others do not expect theirs to die."""
    with stores.postgres() as postgres, contextlib.ExitStack() as stack:
        yield Server(postgres, stack)


@pytest.fixture
def name(server: Server) -> str:
    """A database for each test, with the ledger's tables."""
    from spanline.ledger import Ledger

    made = server.postgres.create()
    Ledger.open(server.postgres.url(made)).close()
    return made


@contextlib.contextmanager
def locked(server: Server, name: str) -> Iterator[None]:
    """No transaction gets past its edges, which come after its runs and events: each that writes stands still in the middle."""
    postgres = server.postgres
    command = [str(postgres.bin / "psql"), "-qX", "-h", postgres.host, "-p", str(postgres.port), "-U", postgres.user, "-d", name]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert holder.stdin is not None
    try:
        holder.stdin.write(b"BEGIN;\nLOCK TABLE edges IN SHARE MODE;\n")
        holder.stdin.flush()
        held = "SELECT count(*) FROM pg_locks WHERE mode = 'ShareLock' AND relation = 'edges'::regclass AND granted"
        eventually(lambda: postgres.psql(name, held) == "1")
        yield
    finally:
        with contextlib.suppress(BrokenPipeError):
            holder.communicate(b"ROLLBACK;\n", 10)
        holder.kill()
        holder.wait()


def in_postgresql(server: Server, name: str) -> set[str]:
    """Run ids of the ledger, each there once, with counts that agree with its rows."""
    rows = server.postgres.psql(name, "SELECT run_id, (SELECT count(*) FROM events WHERE events.run = runs.run) FROM runs").split()
    runs = {str(uuid.UUID(row.split("|")[0].removeprefix("\\x"))) for row in rows}
    assert len(runs) == len(rows), "a run twice in the ledger"
    assert {row.split("|")[1] for row in rows} <= {"1"}, "not one event for each run"
    assert server.postgres.psql(name, WRONG_COUNTS) == "0", "a count that its rows do not bear out"
    return runs


def variables(home: Path, receiver: Receiver, server: Server, name: str, **more: object) -> dict[str, str]:
    return environ(home, receiver, SPANLINE_LEDGER_URL=server.postgres.url(name), **more)


def rest(home: Path, receiver: Receiver, server: Server, name: str) -> None:
    rest_delivered(home, receiver, SPANLINE_LEDGER_URL=server.postgres.url(name))


@pytest.mark.parametrize("relay", ["thread", "process"])
def test_it_goes_away_under_load_and_comes_back(relay: str, server: Server, name: str, home: Path, receiver: Receiver) -> None:
    """Requests are served, the other consumer is not held up, and the same app goes on by itself."""
    with serving("uvicorn", home, variables(home, receiver, server, name, SPANLINE_RELAY=relay)) as served:
        with Load(served.port, pause_s=0.05) as load:
            load.until(40)
            eventually(lambda: in_postgresql(server, name))
            server.away()
            away = len(load.runs)
            load.until(away + 100)
            # Others get what came meanwhile.
            eventually(lambda: set(load.runs[away : away + 100]) <= receiver.over())
            server.back()
            load.until(len(load.runs) + 40)
        assert load.failures == 0
        eventually(lambda: set(load.runs) <= in_postgresql(server, name), what="it did not go on by itself")
        served.end()
    rest(home, receiver, server, name)
    assert in_postgresql(server, name) == set(load.runs) == receiver.over()
    receiver.in_order()


def test_it_is_away_when_the_app_starts_and_when_it_stops(server: Server, name: str, home: Path, receiver: Receiver) -> None:
    server.away()
    try:
        with serving("uvicorn", home, variables(home, receiver, server, name)) as served:
            with Load(served.port) as load:
                load.until(40)
            eventually(lambda: set(load.runs) <= receiver.over())
            began = time.monotonic()
            served.end()
            assert time.monotonic() - began < 20, "a ledger that is away must not hold the end up"
    finally:
        server.back()
    rest(home, receiver, server, name)
    assert in_postgresql(server, name) == set(load.runs) == receiver.over()


def test_its_backend_is_killed_in_mid_transaction(server: Server, name: str, home: Path, receiver: Receiver) -> None:
    """`kill -9` of the process that serves our connection: PostgreSQL ends all the others too, and recovers."""
    with serving("uvicorn", home, variables(home, receiver, server, name)) as served:
        with Load(served.port, pause_s=0.05) as load:
            for _ in range(2):
                load.until(len(load.runs) + 30)
                with locked(server, name):
                    backend = int(eventually(lambda: server.postgres.psql(name, IN_MID_TRANSACTION.format(name=name))))
                    os.kill(backend, signal.SIGKILL)
                    eventually(lambda backend=backend: not Path(f"/proc/{backend}").exists())
                eventually(server.up)
        assert load.failures == 0
        eventually(lambda: set(load.runs) <= in_postgresql(server, name), what="it did not go on by itself")
        served.end()
    rest(home, receiver, server, name)
    assert in_postgresql(server, name) == set(load.runs) == receiver.over()


def test_we_are_killed_in_mid_transaction(server: Server, name: str, home: Path, receiver: Receiver) -> None:
    """What had been written of the batch is rolled back, and comes whole with the next start."""
    answered: list[str] = []
    for _ in range(2):
        with serving("uvicorn", home, variables(home, receiver, server, name)) as served:
            with locked(server, name), Load(served.port) as load:
                load.until(30)
                eventually(lambda: server.postgres.psql(name, IN_MID_TRANSACTION.format(name=name)))
                served.process.kill()
                served.process.wait()
            assert not set(load.runs) & in_postgresql(server, name)
            answered += load.runs
    rest(home, receiver, server, name)
    kept = in_postgresql(server, name)
    assert kept == receiver.over()
    # At each kill no more than the four that were being answered.
    assert len(set(answered) - kept) <= 2 * 4


def test_it_may_be_read_for_a_while_but_not_written(server: Server, name: str, home: Path, receiver: Receiver) -> None:
    """As during a fail-over: nothing is parked, since nothing is wrong with any event."""
    with serving("uvicorn", home, variables(home, receiver, server, name)) as served:
        with Load(served.port, pause_s=0.05) as load:
            load.until(30)
            eventually(lambda: in_postgresql(server, name))
            server.postgres.psql("postgres", f"ALTER DATABASE {name} SET default_transaction_read_only = on")
            cut = f"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = '{name}'"
            server.postgres.psql("postgres", cut)
            load.until(len(load.runs) + 60)
            server.postgres.psql("postgres", f"ALTER DATABASE {name} RESET default_transaction_read_only")
            server.postgres.psql("postgres", cut)
        assert load.failures == 0
        eventually(lambda: set(load.runs) <= in_postgresql(server, name), what="it did not go on by itself")
        served.end()
    assert json.loads(cli(home, "journal", "parked", "--json").stdout)["items"] == []
    assert in_postgresql(server, name) == set(load.runs)
