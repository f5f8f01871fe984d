"""The picture over the table of requests: instructions a request, the serving thread's part dark. An SVG without a library."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path

from benchmarks.apps import VARIANTS
from benchmarks.callgrind import Result

SHOWN = ("A", "B", "N", "EN_lean", "EC_excl", "S_fast", "S", "S_fast_relay", "F", "G")
_TEXT, _BAR, _LINE, _TOP = 480, 440, 22, 34
_OURS, _THEIRS = ("#1d4ed8", "#93b4f5"), ("#6b7280", "#d1d5db")


def draw(results: Mapping[str, Result], path: Path) -> None:
    """Draw those of `SHOWN` that were measured."""
    shown = [(name, results[name]) for name in SHOWN if name in results]
    if not shown:
        return
    scale = _BAR / max(result.total for _, result in shown)
    height = _TOP + _LINE * len(shown) + 8
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_TEXT + _BAR + 80} {height}" font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        '<text x="8" y="18" font-weight="bold">Million instructions a request; dark: on the thread that serves</text>',
    ]
    for number, (name, result) in enumerate(shown):
        top = _TOP + _LINE * number
        dark, light = _OURS if name.startswith("S") else _THEIRS
        parts += [
            f'<text x="{_TEXT - 8}" y="{top + 12}" text-anchor="end">{escape(f"{VARIANTS[name].title} ({name})")}</text>',
            f'<rect x="{_TEXT}" y="{top}" width="{result.total * scale:.1f}" height="16" fill="{light}"/>',
            f'<rect x="{_TEXT}" y="{top}" width="{result.fg * scale:.1f}" height="16" fill="{dark}"/>',
            f'<text x="{_TEXT + result.total * scale + 6:.1f}" y="{top + 12}">{result.total / 1e6:.2f}</text>',
        ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*parts, "</svg>", ""]))
