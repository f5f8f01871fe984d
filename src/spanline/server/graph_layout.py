"""Where the boxes and lines of a graph go: Graphviz's `dot`, told sizes and numbers and never a name."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol, cast

WIDTH, HEIGHT = 216, 62
"""Of a box, in CSS pixels, which are Graphviz's points here."""

_MARGIN = 6
_INCH = 72

# Graphviz keeps state of its own for the whole process.
_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Layout:
    """Pixels from the top left corner.

    Attributes:
        width: Of the whole picture.
        height: Of the whole picture.
        boxes: Left and top of each box.
        lines: Path data of each line, in the order given.
    """

    width: int
    height: int
    boxes: list[tuple[float, float]]
    lines: list[str]


class _Item(Protocol):
    attr: Mapping[str, str]


class _Graph(Protocol):
    graph_attr: Mapping[str, str]

    def add_node(self, n: str) -> None: ...
    def add_edge(self, u: str, v: str, key: str) -> None: ...
    def layout(self, prog: str) -> None: ...
    def get_node(self, n: str) -> _Item: ...
    def get_edge(self, u: str, v: str, key: str) -> _Item: ...
    def close(self) -> None: ...


def lay_out(boxes: int, lines: Sequence[tuple[int, int]]) -> Layout:
    """Boxes of one size in ranks from left to right, lines around them.

    Args:
        boxes: How many.
        lines: From which box to which, by number.

    Raises:
        ImportError: Graphviz is not here (`pip install spanline[server]`).
        ValueError: Graphviz gave no answer that can be read.
    """
    with _lock:
        make: Any = import_module("pygraphviz").AGraph
        graph = cast(
            "_Graph",
            make(directed=True, strict=False, rankdir="LR", nodesep=f"{18 / _INCH:.3f}", ranksep=f"{52 / _INCH:.3f}", nslimit="3"),
        )
        try:
            shape: Any = cast("Any", graph).node_attr
            shape.update(shape="box", fixedsize="true", label="", width=f"{WIDTH / _INCH}", height=f"{HEIGHT / _INCH:.4f}")
            for number in range(boxes):
                graph.add_node(f"n{number}")
            for number, (start, end) in enumerate(lines):
                graph.add_edge(f"n{start}", f"n{end}", f"e{number}")
            graph.layout("dot")
            return _read(graph, boxes, lines)
        finally:
            graph.close()


def _read(graph: _Graph, boxes: int, lines: Sequence[tuple[int, int]]) -> Layout:
    left, bottom, right, top = _numbers(graph.graph_attr["bb"].split(","))

    def place(x: float, y: float) -> tuple[float, float]:
        """Graphviz counts from the bottom."""
        return round(x - left + _MARGIN, 1), round(top - y + _MARGIN, 1)

    corners: list[tuple[float, float]] = []
    for number in range(boxes):
        x, y = _numbers(graph.get_node(f"n{number}").attr["pos"].split(","))
        corners.append(place(x - WIDTH / 2, y + HEIGHT / 2))
    paths: list[str] = []
    for number, (start, end) in enumerate(lines):
        paths.append(_path(graph.get_edge(f"n{start}", f"n{end}", f"e{number}").attr["pos"], place))
    return Layout(round(right - left + 2 * _MARGIN), round(top - bottom + 2 * _MARGIN), corners, paths)


def _path(text: str, place: Callable[[float, float], tuple[float, float]]) -> str:
    """Path data of a spline: `e,X,Y x,y x,y …`, a start and then three points a curve; the tip is where the arrow ends."""
    tip: tuple[float, float] | None = None
    points: list[tuple[float, float]] = []
    for word in text.split():
        parts = word.split(",")
        if parts[0] in {"e", "s"}:
            if parts[0] == "e":
                x, y = _numbers(parts[1:])
                tip = place(x, y)
            continue
        x, y = _numbers(parts)
        points.append(place(x, y))
    if len(points) < 4 or len(points) % 3 != 1:
        raise ValueError("a line of the layout has no points")
    end = tip or points[-1]
    shown = [f"{x:g} {y:g}" for x, y in points]
    return f"M{shown[0]}C{' '.join(shown[1:])}L{end[0]:g} {end[1]:g}"


def _numbers(words: Iterable[str]) -> list[float]:
    return [float(word) for word in words]
