"""`make servers`: get every server of the table into the cache. Nothing that is there is made again; one failure stops no other."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.servers.cache import HERE, TABLE, cache, find, place

GO = (1, 26)
"""Oldest Go that builds them."""


class Failed(Exception):
    """Why one server is not there, in words; the log follows where a command failed."""


def main(names: list[str]) -> int:
    """Install these, or all. Returns the exit status: 1 where something is missing at the end."""
    unknown = sorted(set(names) - set(TABLE))
    if unknown:
        print(f"servers: no such server: {' '.join(unknown)}; there are {' '.join(TABLE)}", file=sys.stderr)
        return 2
    wanted = names or [name for name, entry in TABLE.items() if not entry.get("asked")]
    started = time.monotonic()
    failed: dict[str, str] = {}
    # Compilers take all cores: one lane for them, one for what waits for the network.
    lanes = [[name for name in wanted if (TABLE[name]["how"] == "go") == compiled] for compiled in (True, False)]
    threads = [threading.Thread(target=_lane, args=(lane, failed)) for lane in lanes if lane]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name, reason in failed.items():
        print(f"servers: {name} IS MISSING, its tests are skipped (and fail with CI=true): {reason}", file=sys.stderr)
    print(f"servers: {len(wanted) - len(failed)} of {len(wanted)} ready in {time.monotonic() - started:.0f} s, in {cache()}")
    return 1 if failed else 0


def _lane(names: list[str], failed: dict[str, str]) -> None:
    for name in names:
        entry = TABLE[name]
        try:
            if not (HERE / name).exists() and entry["how"] in {"go", "maven", "script"}:
                continue  # listed before its folder is there
            with _alone(name):
                HOW[entry["how"]](name, entry)
        except (Failed, OSError, subprocess.SubprocessError) as error:
            failed[name] = str(error)


def _go(name: str, entry: dict[str, Any]) -> None:
    target = place(name)
    if target.exists():
        return
    _check_go()
    package = entry.get("package", ".")
    environ = {"GOFLAGS": "-buildvcs=false -mod=readonly", "CGO_ENABLED": "0"}
    # The linker takes up to 3 GB for a moment; a low priority leaves the machine usable.
    nice = ["nice", "-n", "10"] if shutil.which("nice") else []
    with _progress(name, f"building {entry['version']}, some minutes"), _fresh(target) as new:
        _run([*nice, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", str(new), package], cwd=HERE / name, environ=environ)


def _check_go() -> None:
    if not shutil.which("go"):
        raise Failed(f"it is built by Go {GO[0]}.{GO[1]} or newer, and there is no go command")
    said = subprocess.run(["go", "env", "GOVERSION"], capture_output=True, text=True, check=True, cwd=HERE).stdout
    numbers = tuple(int(part) for part in said.strip().removeprefix("go").split("-")[0].split(".")[:2])
    if numbers < GO:
        raise Failed(f"it is built by Go {GO[0]}.{GO[1]} or newer; this is {said.strip()}")


def _debian(name: str, entry: dict[str, Any]) -> None:
    if all(find(command) for command in entry["commands"]):
        return
    package = entry.get("package", name)
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
        raise Failed(f"not on the path, and this is no Debian to take the package {package} from")
    with _progress(name, f"unpacking the Debian package {package}"), tempfile.TemporaryDirectory() as work:
        _apt_update()
        _run(["apt-get", "-q", "download", package], cwd=Path(work))
        file = next(Path(work).glob("*.deb"))
        with _fresh(cache() / "debian" / file.stem) as new:
            _run(["dpkg", "-x", str(file), str(new)])


def _system(name: str, entry: dict[str, Any]) -> None:
    missing = [package for command, package in entry["packages"].items() if not find(command)]
    if not missing:
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise Failed(f"install it; on Debian and Ubuntu: sudo apt-get install {' '.join(missing)}")
    with _progress(name, f"installing {' '.join(missing)}"), _no_services():
        _apt_update()
        _run(["apt-get", "install", "-q", "-y", "--no-install-recommends", *missing], environ={"DEBIAN_FRONTEND": "noninteractive"})


def _maven(name: str, entry: dict[str, Any]) -> None:
    target = place(name)
    if target.exists():
        return
    if not shutil.which("mvn"):
        raise Failed("its jars come through Maven, and there is no mvn command")
    plugin = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
    with _progress(name, f"fetching jars of {entry['version']}"), _fresh(target) as new:
        command = ["mvn", "-q", "-B", "-C", "-f", str(HERE / name / "pom.xml"), plugin]
        _run([*command, f"-DoutputDirectory={new}", "-DincludeScope=runtime"])


def _script(name: str, entry: dict[str, Any]) -> None:
    _run([str(HERE / name / "install"), str(cache())], quiet=False)


HOW: dict[str, Callable[[str, dict[str, Any]], None]] = {
    "go": _go, "debian": _debian, "system": _system, "maven": _maven, "script": _script,
}  # fmt: skip

_updated = threading.Lock()
_update_done = False


def _apt_update() -> None:
    """Once a run, and only where that is allowed: elsewhere the lists are what they are."""
    global _update_done
    with _updated:
        if os.geteuid() == 0 and not _update_done:
            _run(["apt-get", "-q", "update"])
            _update_done = True


@contextmanager
def _no_services() -> Iterator[None]:
    """Debian starts a service when its package is installed, unless this file says no."""
    policy = Path("/usr/sbin/policy-rc.d")
    if policy.exists():
        yield
        return
    policy.write_text("#!/bin/sh\nexit 101\n", encoding="ascii")
    policy.chmod(0o755)
    try:
        yield
    finally:
        policy.unlink(missing_ok=True)


def _run(command: list[str], *, cwd: Path | None = None, environ: dict[str, str] | None = None, quiet: bool = True) -> None:
    out = subprocess.PIPE if quiet else None
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, **(environ or {})}, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT if quiet else None,
        text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        tail = "\n".join((done.stdout or "").splitlines()[-15:])
        raise Failed(f"`{' '.join(command)}` ended with {done.returncode}\n{tail}")


@contextmanager
def _fresh(target: Path) -> Iterator[Path]:
    """A new path that becomes `target` when all went well: nothing half made is ever found."""
    target.parent.mkdir(parents=True, exist_ok=True)
    new = target.with_name(f"{target.name}.{os.getpid()}.new")
    try:
        yield new
        new.replace(target)
    finally:
        if new.is_dir():
            shutil.rmtree(new, ignore_errors=True)
        else:
            new.unlink(missing_ok=True)


@contextmanager
def _alone(name: str) -> Iterator[None]:
    """Two `make servers` at once make each server once."""
    folder = cache() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("w", encoding="ascii") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _progress(name: str, doing: str) -> Iterator[None]:
    print(f"servers: {name}: {doing}", flush=True)
    started = time.monotonic()
    yield
    print(f"servers: {name}: ready after {time.monotonic() - started:.0f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
