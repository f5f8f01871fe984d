"""Draw how the ledger's questions grow with its runs: `python -m benchmarks.ledger_plot figures.json docs/pictures/ledger-growth.svg`.

The figures are those of `python -m benchmarks.ledger --json`; CPU is drawn, which does not depend on what else the machine does.
"""

from __future__ import annotations

import json
import math
import sys
from html import escape
from pathlib import Path
from typing import Any

WIDTH, HEIGHT, LEFT, TOP, LEGEND = 280, 240, 70, 30, 215
BAR_MS = 50.0
LEAST_MS, MOST_MS = 0.5, 100.0
COLORS = ["#3d71d9", "#e0752d", "#3a9a5b", "#b877d9", "#c4162a", "#7a8a99", "#d9a514", "#1f9e9e"]
NAMES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}


def drawing(found: dict[str, Any]) -> str:
    """One panel a database, side by side: CPU p99 in milliseconds over the number of runs, both logarithmic."""
    sizes = [size["runs"] for size in next(iter(found.values()))["sizes"]]
    names = [question["name"] for question in next(iter(found.values()))["sizes"][0]["questions"]]
    low, high = math.log10(min(sizes)), math.log10(max(sizes))
    parts: list[str] = []
    for panel, (database, column) in enumerate(found.items()):
        left = LEFT + panel * (WIDTH + LEFT)

        def x(runs: int, left: int = left) -> float:
            return left + (math.log10(runs) - low) / (high - low) * WIDTH

        parts.append(f'<text x="{left}" y="{TOP - 12}" font-weight="bold">{NAMES[database]}</text>')
        for value in (0.5, 1, 2, 5, 10, 20, 50, 100):
            color = "#c4162a" if value == BAR_MS else "#dddddd"
            parts.append(f'<line x1="{left}" x2="{left + WIDTH}" y1="{_y(value):.1f}" y2="{_y(value):.1f}" stroke="{color}"/>')
            parts.append(f'<text x="{left - 5}" y="{_y(value) + 4:.1f}" text-anchor="end">{value:g}</text>')
        below = f'y="{TOP + HEIGHT + 18}" text-anchor="middle"'
        parts += [f'<text x="{x(size):.1f}" {below}>{10 ** round(math.log10(size)):,}</text>' for size in sizes]
        for number, name in enumerate(names):
            points = [(x(size["runs"]), _y(size["questions"][number]["cpu99"])) for size in column["sizes"]]
            line = " ".join(f"{across:.1f},{down:.1f}" for across, down in points)
            parts.append(
                f'<polyline points="{line}" fill="none" stroke-width="2" {_stroke(number)}><title>{escape(name)}</title></polyline>'
            )
    legend = LEFT + len(found) * (WIDTH + LEFT) - 20
    for number, name in enumerate(names):
        down = TOP + 8 + number * 17
        parts.append(f'<line x1="{legend}" x2="{legend + 22}" y1="{down - 4}" y2="{down - 4}" stroke-width="2" {_stroke(number)}/>')
        parts.append(f'<text x="{legend + 28}" y="{down}">{escape(name)}</text>')
    width, height = legend + LEGEND, TOP + HEIGHT + 30
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="11" fill="#1f2430">'
    )
    return "\n".join([head, '<rect width="100%" height="100%" fill="#ffffff"/>', *parts, "</svg>"]) + "\n"


def _y(ms: float) -> float:
    part = (math.log10(max(min(ms, MOST_MS), LEAST_MS)) - math.log10(LEAST_MS)) / (math.log10(MOST_MS) - math.log10(LEAST_MS))
    return TOP + HEIGHT * (1 - part)


def _stroke(number: int) -> str:
    dash = ' stroke-dasharray="5 3"' if number >= len(COLORS) else ""
    return f'stroke="{COLORS[number % len(COLORS)]}"{dash}'


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(drawing(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))), encoding="utf-8")
