"""Instructions a request, counted by valgrind's callgrind: the same on a busy machine and on a calm one.

Requests are driven in-process (no socket, no load generator). After a warm-up the counting is switched on through client
requests; `fg` is what the serving thread executes while it serves, `total` is all threads of the process with everything
flushed. Kernel time and cache misses are not seen.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.apps import VARIANTS

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "benchmarks" / "build"


@dataclass(frozen=True)
class Result:
    """One variant, everything a request: instructions of the serving thread and of all threads, and what sink and disk got."""

    variant: str
    requests: int
    fg: float
    total: float
    kept: dict[str, float]

    def as_dict(self) -> dict[str, object]:
        """For the JSON file."""
        return asdict(self)


class BenchmarkError(Exception):
    """A measurement that could not be made; the message says what is missing."""


def shim() -> Path:
    """The compiled shim; built when missing or older than its source.

    Raises:
        BenchmarkError: No valgrind (with its headers) or no C compiler.
    """
    source, library = ROOT / "benchmarks" / "shim.c", BUILD / "shim.so"
    for tool, package in (("valgrind", "valgrind"), ("cc", "gcc")):
        if shutil.which(tool) is None:
            raise BenchmarkError(f"{tool} not found; on Debian: apt-get install {package}")
    if not library.exists() or library.stat().st_mtime < source.stat().st_mtime:
        BUILD.mkdir(parents=True, exist_ok=True)
        built = subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", library, source], check=False, capture_output=True, text=True)
        if built.returncode:
            raise BenchmarkError(f"cannot compile {source}:\n{built.stderr}")
    return library


def measure(variant: str, count: int, sink: str, keep: Path | None = None) -> Result:
    """Measure one variant over `count` requests in a process of its own.

    Args:
        variant: A key of `apps.VARIANTS`.
        count: Measured requests, after the warm-up.
        sink: Base URL of a running sink.
        keep: A folder for callgrind's own files (for callgrind_annotate), else they go.

    Raises:
        BenchmarkError: The process failed, or its output says nothing.
    """
    with tempfile.TemporaryDirectory(prefix="spanline-bench-") as folder:
        out = keep or Path(folder) / "callgrind"
        out.mkdir(parents=True, exist_ok=True)
        command = [
            "nice", "valgrind", "--tool=callgrind", "--instr-atstart=no", "--separate-threads=yes", f"--callgrind-out-file={out}/{variant}",
            sys.executable, "-m", "benchmarks.worker", variant, str(count), str(shim()), sink,
        ]  # fmt: skip
        done = subprocess.run(
            command, check=False, cwd=ROOT, env=_environment(variant, sink, Path(folder)), capture_output=True, text=True, timeout=1800
        )
        if done.returncode or not done.stdout.strip():
            raise BenchmarkError(f"{variant}: exit {done.returncode}\n{done.stderr[-4000:]}")
        fg, total = _instructions(out, variant)
        received = json.loads(done.stdout.splitlines()[-1])
        return Result(variant, count, fg / count, total / count, {name: value / count for name, value in sorted(received.items())})


def _environment(variant: str, sink: str, folder: Path) -> dict[str, str]:
    """A clean environment: nothing of `OTEL_*`, `SPANLINE_*` or `OPENLINEAGE_*` but what the variant says."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "SPANLINE_", "OPENLINEAGE_", "FASTAPI_"))}
    clean["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "src")])
    clean["PYTHONHASHSEED"] = "0"
    clean["OTEL_EXPORTER_OTLP_ENDPOINT"] = sink
    clean["SPANLINE_HOME"] = str(folder / "home")
    return {**clean, **VARIANTS[variant].environment}


def _instructions(folder: Path, variant: str) -> tuple[int, int]:
    """Sum of the dump files: (serving thread while serving, all threads).

    A dump at a mark holds the main thread; the other threads' counts are written when the process ends.
    """
    fg = total = 0
    for path in folder.glob(f"{variant}*"):
        text = path.read_text()
        totals = re.search(r"^totals: (\d+)", text, re.MULTILINE)
        if totals is None:
            continue
        trigger = re.search(r"^desc: Trigger: (.*)$", text, re.MULTILINE)
        thread = re.search(r"^thread: (\d+)", text, re.MULTILINE)
        mark = trigger.group(1) if trigger else ""
        main = thread is None or thread.group(1) == "1"
        marked = "serve" in mark or "flush" in mark
        if main and not marked:
            continue  # after the last mark
        total += int(totals.group(1))
        if main and "serve" in mark:
            fg += int(totals.group(1))
    if not fg:
        raise BenchmarkError(f"{variant}: callgrind counted nothing")
    return fg, total
