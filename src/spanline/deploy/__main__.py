"""`python -m spanline.deploy [--root DIR] [--grafana URL] [--runbooks URL] [--runs URL] [--jaeger URL]`: write dashboards and rules."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from spanline.deploy.generate import write
from spanline.deploy.rules import Bases


def main(arguments: list[str] | None = None) -> int:
    """Write the files and name them."""
    parser = argparse.ArgumentParser(prog="python -m spanline.deploy", description="Write dashboards and rules.")
    parser.add_argument("--root", type=Path, default=Path(), help="folder to write below (default: here)")
    parser.add_argument("--grafana", default=Bases().grafana, help="base URL of Grafana, for the links of alerts")
    parser.add_argument("--runbooks", default=Bases().runbooks, help="base URL of docs/runbooks, for the links of alerts")
    parser.add_argument("--runs", default=Bases().runs, help="base URL of run pages, for the links of dashboards")
    parser.add_argument("--jaeger", default=Bases().jaeger, help="base URL of Jaeger's pages, for the links of dashboards")
    given = parser.parse_args(arguments)
    for path in write(given.root, Bases(*(url.rstrip("/") for url in (given.grafana, given.runbooks, given.runs, given.jaeger)))):
        sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
