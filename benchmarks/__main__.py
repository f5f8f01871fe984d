"""Command line of the benchmarks; see docs/performance.md for what is measured."""

from __future__ import annotations

import argparse
import json
import platform
import sys
from importlib.metadata import version
from pathlib import Path

from benchmarks import report
from benchmarks.apps import VARIANTS
from benchmarks.callgrind import BUILD, BenchmarkError, Result, measure
from benchmarks.sink import Sink

PACKAGES = ("fastapi", "opentelemetry-sdk", "opentelemetry-instrumentation-fastapi", "prometheus-client", "msgspec")


def main() -> int:
    """Measure, print the table, write the JSON; with `--gate` judge it. Exit status 1: worse than what is held; 2: not measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--variants", help=f"a list of {','.join(VARIANTS)} (default: all)")
    parser.add_argument("--n", type=int, default=150, help="measured requests a variant (default 150; 250 for the record)")
    parser.add_argument("--gate", action="store_true", help="measure what the bars need and judge it")
    parser.add_argument("--json", type=Path, default=BUILD / "results.json", help="where the results go")
    parser.add_argument("--keep", type=Path, help="keep callgrind's files in this folder")
    parser.add_argument("--docs", type=Path, help="replace the table in this page")
    options = parser.parse_args()
    names = options.variants.split(",") if options.variants else list(report.GATED if options.gate else VARIANTS)
    if unknown := [name for name in names if name not in VARIANTS]:
        parser.error(f"unknown variant {', '.join(unknown)}; there are {', '.join(VARIANTS)}")
    results: dict[str, Result] = {}
    try:
        with Sink() as sink:
            for name in names:
                results[name] = measure(name, options.n, sink.url, options.keep)
                print(
                    f"{name}: fg {results[name].fg / 1e3:,.0f} kI, total {results[name].total / 1e3:,.0f} kI", file=sys.stderr, flush=True
                )
    except BenchmarkError as error:
        print(error, file=sys.stderr)
        return 2
    python = f"{platform.python_implementation()} {platform.python_version()}"
    setting = f"{python}, {', '.join(f'{name} {version(name)}' for name in PACKAGES)}, {options.n} requests after 40"
    print(f"{setting}\n\n{report.table(results)}")
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps({"setting": setting, "results": [result.as_dict() for result in results.values()]}, indent=1))
    if options.docs:
        page = options.docs.read_text()
        before, _, rest = page.partition(report.BEGIN)
        after = rest.partition(report.END)[2]
        options.docs.write_text(f"{before}{report.BEGIN}\n{setting}\n\n{report.table(results)}\n{report.END}{after}")
    if not options.gate:
        return 0
    judged = report.bars(results)
    print("\n" + "\n".join(map(str, judged)))
    return 0 if all(bar.passed for bar in judged) else 1


if __name__ == "__main__":
    sys.exit(main())
