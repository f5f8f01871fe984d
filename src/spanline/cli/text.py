"""Text for people: colours on terminals only, foreign names without control characters, tables and trees."""

from __future__ import annotations

import json
import os
import shutil
import unicodedata
from collections.abc import Sequence
from typing import Any

import click

MAX_CELL = 60
"""Columns of one table cell at most; digests and ids are never longer than this."""


def say(text: str = "", *, err: bool = False) -> None:
    """Print one line; colours are left out where the output is no terminal or `NO_COLOR` is set (no-color.org)."""
    click.echo(text, err=err, color=False if os.environ.get("NO_COLOR") else None)


def say_json(document: Any) -> None:
    """Print one JSON document."""
    # Lone surrogates from elsewhere stay escaped, so that the output is always UTF-8.
    click.echo(json.dumps(document, indent=2, ensure_ascii=True))


def say_json_line(document: Any) -> None:
    """Print one JSON document of a stream, on one line."""
    click.echo(json.dumps(document, ensure_ascii=True))


def shown(value: object) -> str:
    """A foreign value on one line: what a terminal would act upon is written out."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else f"{value:.6g}" if isinstance(value, float) else str(value)
    if text.isascii() and text.isprintable():
        return text
    # Categories C*: controls, formats (direction marks, zero width), surrogates; Zl and Zp: line and paragraph separators.
    return "".join(f"\\u{ord(c):04x}" if unicodedata.category(c)[0] == "C" or unicodedata.category(c) in {"Zl", "Zp"} else c for c in text)


def bold(text: str) -> str:
    """Emphasised."""
    return click.style(text, bold=True)


def faint(text: str) -> str:
    """Of less weight."""
    return click.style(text, dim=True)


def good(text: str) -> str:
    """As it should be."""
    return click.style(text, fg="green")


def bad(text: str) -> str:
    """Something is wrong."""
    return click.style(text, fg="red", bold=True)


def warned(text: str) -> str:
    """Worth a look."""
    return click.style(text, fg="yellow")


def status(word: str) -> str:
    """An outcome in its colour."""
    return {"COMPLETE": good, "FAIL": bad, "ABORT": warned}.get(word, bold)(word)


def width(text: str) -> int:
    """Columns that `text` takes on a terminal."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in click.unstyle(text))


def cut(text: str, columns: int) -> str:
    """`text` without styles, shortened to `columns`."""
    if width(text) <= columns:
        return text
    kept = ""
    for c in text:
        if width(kept + c) > columns - 1:
            break
        kept += c
    return kept + "…"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table with aligned columns; the last one is not padded. Cells may bear styles."""
    widths = [min(MAX_CELL, max(width(row[i]) for row in (header, *rows))) for i in range(len(header))]
    lines = [faint(_row(header, widths))]
    lines += [_row(row, widths) for row in rows]
    return lines


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    last = len(cells) - 1
    padded = [cell if i == last else cell + " " * max(0, widths[i] - width(cell)) for i, cell in enumerate(cells)]
    return "  ".join(padded).rstrip()


def terminal_columns() -> int:
    """Width of the terminal; 100 where there is none."""
    return max(40, shutil.get_terminal_size((100, 24)).columns)


class Tree:
    """A tree of lines, drawn with box characters."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.children: list[Tree] = []

    def add(self, label: str) -> Tree:
        """Add a branch and return it."""
        child = Tree(label)
        self.children.append(child)
        return child

    def lines(self) -> list[str]:
        """The tree as lines of text."""
        found = [self.label]
        for index, child in enumerate(self.children):
            last = index == len(self.children) - 1
            for number, line in enumerate(child.lines()):
                found.append((("└─ " if last else "├─ ") if number == 0 else ("   " if last else "│  ")) + line)
        return found
