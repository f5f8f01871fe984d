"""PostgreSQL and Kafka as context managers: private ones, on free loopback ports, ready when they are yielded."""

from __future__ import annotations

import base64
import contextlib
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.requirements import server
from tests.servers.child import child, free_port, listens


@dataclass(frozen=True)
class Postgres:
    """A PostgreSQL of its own. Trusts everybody on the loopback interface; the password is for clients that insist on one."""

    host: str
    port: int
    user: str
    password: str
    bin: Path
    """Where `psql`, `createdb` … are."""

    def url(self, database: str, driver: str = "") -> str:
        """`postgresql[+driver]://…/database`."""
        return f"postgresql{'+' + driver if driver else ''}://{self.user}:{self.password}@{self.host}:{self.port}/{database}"

    def create(self, database: str = "") -> str:
        """A new, empty database. Returns its name."""
        name = database or f"test_{uuid.uuid4().hex[:12]}"
        self._run("createdb", name)
        return name

    def psql(self, database: str, statement: str) -> str:
        """What a statement answers: rows as lines, columns separated by `|`."""
        return self._run("psql", "-qtA", "-d", database, "-c", statement)

    def _run(self, command: str, *arguments: str) -> str:
        where = ["-h", self.host, "-p", str(self.port), "-U", self.user]
        done = subprocess.run([str(self.bin / command), *where, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@contextlib.contextmanager
def postgres(programs: Path | None = None) -> Iterator[Postgres]:
    """PostgreSQL in a temporary folder, as an ordinary user (it refuses root), without waiting for the disk.

    Args:
        programs: The folder of another PostgreSQL's programs, which an ordinary user can read.
    """
    programs = programs or server("postgres").parent
    who = _unprivileged()
    # Not in pytest's folder, which another user may not enter; and short: the path of a Unix socket has 107 bytes at most.
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    try:
        if who:
            os.chown(folder, who.pw_uid, who.pw_gid)
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
        environ |= {"HOME": str(folder), "LC_ALL": "C.UTF-8" if sys.platform == "linux" else "C"}
        drop: dict[str, Any] = {"user": who.pw_uid, "group": who.pw_gid, "extra_groups": []} if who else {}
        initdb = [str(programs / "initdb"), "-D", str(folder / "data"), "-U", "spanline", "-A", "trust", "-E", "UTF8", "--no-sync"]
        done = subprocess.run(initdb, cwd=folder, env=environ, capture_output=True, text=True, check=False, **drop)
        assert done.returncode == 0, done.stderr
        port = free_port()
        options = {
            "listen_addresses": "127.0.0.1", "unix_socket_directories": str(folder), "fsync": "off", "synchronous_commit": "off",
            "full_page_writes": "off", "timezone": "UTC",
        }  # fmt: skip
        command = [str(programs / "postgres"), "-D", str(folder / "data"), "-p", str(port)]
        command += [part for name, value in options.items() for part in ("-c", f"{name}={value}")]

        def ready() -> bool:
            return subprocess.run([str(programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)], check=False).returncode == 0

        with child(command, folder, environ, "postgres", ready, user=who, stop="INT"):
            yield Postgres("127.0.0.1", port, "spanline", "spanline", programs)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unprivileged() -> pwd.struct_passwd | None:
    """Who to become where we are root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise RuntimeError("root, and there is neither a user postgres nor nobody")


KAFKA = """process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{control}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{control}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={folder}/data
num.partitions=1
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
num.network.threads=1
num.io.threads=2
background.threads=2
log.cleaner.threads=1
log.cleaner.dedupe.buffer.size=2097152
auto.create.topics.enable=true
"""
LOG4J = """Configuration:
  status: ERROR
  appenders: {Console: {name: out, PatternLayout: {pattern: "%d %p %m (%c)%n"}}}
  Loggers: {Root: {level: WARN, AppenderRef: {ref: out}}}
"""


@dataclass(frozen=True)
class Kafka:
    """One Apache Kafka node, broker and controller, that makes topics when they are first written."""

    bootstrap: str
    """`host:port`."""


@contextlib.contextmanager
def kafka() -> Iterator[Kafka]:
    """Kafka in a temporary folder: ready after three seconds on a quiet machine."""
    jars, java = server("kafka"), server("java")
    folder = Path(tempfile.mkdtemp(prefix="kafka-"))
    try:
        port, control = free_port(), free_port()
        properties = folder / "server.properties"
        properties.write_text(KAFKA.format(port=port, control=control, folder=folder), encoding="ascii")
        (folder / "log4j2.yaml").write_text(LOG4J, encoding="ascii")
        # The first compiler alone halves the start on few cores.
        command = [
            str(java), "-Xms64m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.net.preferIPv4Stack=true",
            f"-Dlog4j2.configurationFile={folder / 'log4j2.yaml'}", f"-Dkafka.logs.dir={folder}", "-cp", f"{jars}/*",
        ]  # fmt: skip
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
        arguments = ["kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(properties)]
        formatted = subprocess.run([*command, *arguments], cwd=folder, capture_output=True, text=True, check=False)
        assert formatted.returncode == 0, formatted.stderr
        with child([*command, "kafka.Kafka", str(properties)], folder, dict(os.environ), "kafka", lambda: listens(port)):
            yield Kafka(f"127.0.0.1:{port}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
