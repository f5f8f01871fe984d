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
from collections.abc import Mapping, Sequence
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


_AT_THE_FLUSH = {"OTEL_BSP_SCHEDULE_DELAY": "600000"}
"""Spans leave when 512 are there and at the flush, not every five seconds: on a busy machine a run takes longer, and would have more exports."""


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


@dataclass(frozen=True)
class Count:
    """What one thread executed up to one mark; `label` is empty for what it did up to its process's end."""

    label: str
    main: bool
    instructions: int


def count(arguments: Sequence[str], environment: Mapping[str, str], out: Path) -> tuple[list[Count], str]:
    """Run `python -m arguments…` under callgrind; what it counted between its marks, and the last line it printed.

    Args:
        arguments: A module and its arguments; the module calls the shim's functions.
        environment: The process's, whole.
        out: Folder for callgrind's files; emptied of earlier ones of the same name.

    Raises:
        BenchmarkError: The process failed, or printed nothing.
    """
    out.mkdir(parents=True, exist_ok=True)
    for old in out.glob("counts*"):
        old.unlink()
    command = [
        "nice", "valgrind", "--fair-sched=yes", "--tool=callgrind", "--instr-atstart=no", "--separate-threads=yes", f"--callgrind-out-file={out}/counts",
        sys.executable, "-m", *arguments,
    ]  # fmt: skip
    done = subprocess.run(command, check=False, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=1800)
    if done.returncode or not done.stdout.strip():
        raise BenchmarkError(f"{' '.join(arguments)}: exit {done.returncode}\n{done.stderr[-4000:]}")
    found = [counted for path in sorted(out.glob("counts*")) if (counted := _counted(path.read_text())) is not None]
    return found, done.stdout.splitlines()[-1]


def measure(variant: str, requests: int, sink: str, keep: Path | None = None) -> Result:
    """Measure one variant over `requests` requests in a process of its own.

    Args:
        variant: A key of `apps.VARIANTS`.
        requests: Measured requests, after the warm-up.
        sink: Base URL of a running sink.
        keep: A folder for callgrind's own files (for callgrind_annotate), else they go.

    Raises:
        BenchmarkError: The process failed, or its output says nothing.
    """
    with tempfile.TemporaryDirectory(prefix="spanline-bench-") as folder:
        out = keep / variant if keep else Path(folder) / "callgrind"
        arguments = ["benchmarks.worker", variant, str(requests), str(shim()), sink]
        counts, said = count(arguments, environment(sink, Path(folder), {**_AT_THE_FLUSH, **VARIANTS[variant].environment}), out)
        # A dump at a mark holds the main thread; the other threads' counts are written when the process ends.
        fg = sum(each.instructions for each in counts if each.main and each.label == "serve")
        total = sum(each.instructions for each in counts if each.label or not each.main)
        if not fg:
            raise BenchmarkError(f"{variant}: callgrind counted nothing")
        return Result(variant, requests, fg / requests, total / requests, {k: v / requests for k, v in sorted(json.loads(said).items())})


def environment(sink: str, folder: Path, more: Mapping[str, str]) -> dict[str, str]:
    """A clean environment: nothing of `OTEL_*`, `SPANLINE_*` or `OPENLINEAGE_*` but what is given. `{sink}` is the sink's URL."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "SPANLINE_", "OPENLINEAGE_", "FASTAPI_"))}
    clean["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "src")])
    clean["PYTHONHASHSEED"] = "0"
    clean["OTEL_EXPORTER_OTLP_ENDPOINT"] = sink
    clean["SPANLINE_HOME"] = str(folder / "home")
    return {**clean, **{key: value.replace("{sink}", sink) for key, value in more.items()}}


def _counted(text: str) -> Count | None:
    """One file of callgrind's; None for the empty one of the process."""
    totals = re.search(r"^totals: (\d+)", text, re.MULTILINE)
    if totals is None:
        return None
    trigger = re.search(r"^desc: Trigger: Client Request: (.*)$", text, re.MULTILINE)
    thread = re.search(r"^thread: (\d+)", text, re.MULTILINE)
    return Count(trigger[1] if trigger else "", thread is None or thread[1] == "1", int(totals[1]))
