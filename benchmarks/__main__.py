"""Command line of the benchmarks; see docs/performance.md for what is measured."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import platform
import sys
import time
from dataclasses import asdict
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from benchmarks import bars, parts, plot, report, serving
from benchmarks.apps import VARIANTS
from benchmarks.callgrind import BUILD, BenchmarkError, Result, measure
from benchmarks.sink import Sink

PACKAGES = (
    "fastapi", "opentelemetry-sdk", "opentelemetry-instrumentation-fastapi", "prometheus-client", "msgspec", "openlineage-python", "uvicorn",
)  # fmt: skip
KINDS = {
    "requests": "instructions a request, by variant (ten minutes)",
    "parts": "instructions of single parts beside the official ones (one minute)",
    "serving": "requests a second and p99 over real sockets, for people (eight minutes)",
}


def main() -> int:
    """Measure, print the tables, write the JSON; with `--gate` judge. Exit status 1: worse than what is held; 2: not measured."""
    text = "; ".join(f"{name}: {what}" for name, what in KINDS.items())
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=f"{__doc__} {text}.")
    parser.add_argument("kinds", nargs="*", metavar="kind", help=f"{', '.join(KINDS)} (default: all)")
    parser.add_argument("--variants", help=f"a list of {','.join(VARIANTS)} (default: all)")
    parser.add_argument("--n", type=int, default=100, help="measured requests a variant (default 100)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each comparison of `serving` (default 5)")
    parser.add_argument("--gate", action="store_true", help="measure what the bars of instructions need and judge them")
    parser.add_argument("--json", type=Path, default=BUILD / "results.json", help="where the results go")
    parser.add_argument("--keep", type=Path, help="keep callgrind's files in this folder")
    parser.add_argument("--docs", type=Path, help="replace the tables in this page")
    options = parser.parse_args()
    kinds = options.kinds or (["requests", "parts"] if options.gate else list(KINDS))
    names = options.variants.split(",") if options.variants else list(bars.GATED if options.gate else VARIANTS)
    if unknown := [name for name in kinds if name not in KINDS]:
        parser.error(f"unknown kind {', '.join(unknown)}; there are {', '.join(KINDS)}")
    if unknown := [name for name in names if name not in VARIANTS]:
        parser.error(f"unknown variant {', '.join(unknown)}; there are {', '.join(VARIANTS)}")
    tables: dict[str, str] = {}
    found: dict[str, object] = {"setting": _setting()}
    judged: list[bars.Bar] = []
    try:
        if "requests" in kinds:
            results = _requests(names, options.n, options.keep)
            tables["requests"] = f"{_setting()}; {options.n} requests after 40.\n\n{report.table(results)}"
            if options.docs:
                plot.draw(results, options.docs.parent / "pictures" / "instructions.svg")
            found["requests"] = [result.as_dict() for result in results.values()]
            judged += bars.of_requests(results) if set(bars.GATED) <= results.keys() else []
        if "parts" in kinds:
            with Sink() as sink:
                measured = parts.measure(sink.url, options.keep)
            tables["parts"] = f"{_setting()}.\n\n{parts.table(measured)}"
            found["parts"] = [asdict(part) for part in measured]
            judged += bars.of_parts(measured)
        if "serving" in kinds:
            compared = serving.measure(options.rounds)
            tables["serving"] = f"{_setting()}.\n\n{serving.table(compared)}"
            found["serving"] = [asdict(each) for each in compared]
    except BenchmarkError as error:
        print(error, file=sys.stderr)
        return 2
    if judged:
        tables["bars"] = bars.table(judged)
    for name, table in tables.items():
        print(f"\n{table}")
        if options.docs:
            report.write(options.docs, name, table)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(found, indent=1))
    if not options.gate:
        return 0
    print("\n" + "\n".join(map(str, judged)))
    return 0 if all(bar.passed for bar in judged) else 1


def _requests(names: list[str], count: int, keep: Path | None) -> dict[str, Result]:
    results: dict[str, Result] = {}
    with Sink() as sink:
        for name in names:
            began = time.monotonic()
            result = results[name] = measure(name, count, sink.url, keep)
            took = time.monotonic() - began
            print(f"{name}: fg {result.fg / 1e3:,.0f} kI, total {result.total / 1e3:,.0f} kI ({took:.0f} s)", file=sys.stderr, flush=True)
    return results


def _setting() -> str:
    today = dt.datetime.now(tz=dt.UTC).date()
    python = f"{platform.python_implementation()} {platform.python_version()}"
    loop = "uvloop" if find_spec("uvloop") else "asyncio's loop"
    return f"{today}: {python}, {loop}, {', '.join(f'{name} {version(name)}' for name in PACKAGES)}"


if __name__ == "__main__":
    sys.exit(main())
