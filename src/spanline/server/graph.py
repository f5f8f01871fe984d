"""The picture of a lineage graph: boxes that are links and lines between them, ready for the template; no script."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from spanline._guard import guard
from spanline.errors import UnknownReference
from spanline.server import words
from spanline.server.graph_layout import HEIGHT, WIDTH, lay_out
from spanline.server.graph_pick import Node, Picked, pick
from spanline.server.parts import STATUS

DEPTH = 5
_COLUMNS = 25
"""Of text in a box, at 13 px."""


@dataclass(frozen=True, slots=True)
class Box:
    """One run or artifact.

    Attributes:
        x: Left edge, in pixels.
        y: Upper edge, in pixels.
        look: `run`, `runs` or `artifact`: what a link leads to.
        target: Run id, job or reference that the link leads to.
        head: The small line above: the kind and how it went.
        status: Status of a run, else empty.
        name: Name, as much as fits.
        tail: The line below: version and digest, or when.
        title: All of it, for screen readers and the mouse.
        root: The page is about this one.
        conflict: Its label stands for several digests.
    """

    x: float
    y: float
    look: str
    target: str
    head: str
    status: str
    name: str
    tail: str
    title: str
    root: bool
    conflict: bool


@dataclass(frozen=True, slots=True)
class Line:
    """From what was used to what was made.

    Attributes:
        path: SVG path data.
        role: `input`, `output` or `child`.
        inferred: Worked out, not seen.
    """

    path: str
    role: str
    inferred: bool


@dataclass(frozen=True, slots=True)
class Drawing:
    """The whole picture, in pixels."""

    ref: str
    depth: int
    width: int
    height: int
    box_width: int
    box_height: int
    boxes: list[Box]
    lines: list[Line]
    hidden: int
    cut: int
    truncated: bool
    inferred: bool


def drawing_of(lineage: Callable[..., dict[str, Any]], ref: str, *, conflicts: Collection[tuple[str, str]] = ()) -> Drawing | None:
    """The picture around a reference; None where there is nothing to draw, or it cannot be drawn: the page's tables say the same.

    Args:
        lineage: Asks the ledger. Blocks.
        ref: What it is about.
        conflicts: `(kind, name@version)` of the labels that stand for several digests.
    """
    with guard("server.graph"):
        try:
            answer = lineage(ref, direction="both", depth=DEPTH)
        except UnknownReference:
            return None
        return draw(answer, ref, conflicts=conflicts)
    return None


def draw(answer: Mapping[str, Any], ref: str, *, conflicts: Collection[tuple[str, str]] = ()) -> Drawing | None:
    """The picture of an answer of `lineage`; None where nothing hangs together, or no layout library is installed."""
    picked = pick(answer)
    if not picked.edges:
        return None
    place = {name: number for number, name in enumerate(picked.nodes)}
    try:
        layout = lay_out(len(place), [(place[str(edge["from"])], place[str(edge["to"])]) for edge in picked.edges])
    except ImportError:
        return None
    several = set(conflicts) | _several(picked)
    boxes = [
        _box(node, corner, root=name in picked.roots, conflict=(words.text_of(node.get("kind")), _label(node)) in several)
        for (name, node), corner in zip(picked.nodes.items(), layout.boxes, strict=True)
    ]
    lines = [Line(path, _role(edge), edge.get("evidence") == "inferred") for edge, path in zip(picked.edges, layout.lines, strict=True)]
    # Tab goes the way one reads: from left to right, from the top down.
    boxes.sort(key=lambda box: (box.x, box.y))
    inferred = any(line.inferred for line in lines)
    return Drawing(
        ref, DEPTH, layout.width, layout.height, WIDTH, HEIGHT, boxes, lines,
        hidden=picked.hidden, cut=picked.cut, truncated=picked.truncated, inferred=inferred,
    )  # fmt: skip


def _role(edge: Node) -> str:
    role = words.text_of(edge.get("role"))
    return role if role in {"input", "output", "child"} else "input"


def _label(node: Node) -> str:
    name, version = words.text_of(node.get("name")), words.text_of(node.get("version"))
    return f"{name}@{version}" if version else name


def _several(picked: Picked) -> set[tuple[str, str]]:
    """Labels of which the picture holds more than one digest."""
    digests: dict[tuple[str, str, str], set[object]] = {}
    for node in picked.nodes.values():
        if node.get("type") == "artifact" and node.get("version") and node.get("digest"):
            key = (words.text_of(node.get("kind")), _label(node), words.text_of(node.get("namespace")))
            digests.setdefault(key, set()).add(node["digest"])
    return {(kind, label) for (kind, label, _), found in digests.items() if len(found) > 1}


def _box(node: Node, corner: tuple[float, float], *, root: bool, conflict: bool) -> Box:
    kind, name = words.text_of(node.get("kind")), words.text_of(node.get("name"))
    status, look = "", words.text_of(node.get("type"))
    if look == "runs":
        (head, tail), target = _folded(words.entries(node.get("runs"))), name
        title = f"{head} of {name}, {tail}"
    elif look == "run":
        status = words.text_of(node.get("status")).upper()
        status = status if status in STATUS else "UNKNOWN"
        started = words.moment(node.get("startedAt"))
        head, tail = f"run · {STATUS.get(status, 'Unknown').lower()}", started.partition(".")[0]
        target = words.text_of(node.get("runId"))
        title = f"Run of {name}, {STATUS.get(status, 'Unknown').lower()}, started {started}"
    else:
        look, target = "artifact", words.text_of(node.get("id"))
        version, digest = words.text_of(node.get("version")), words.text_of(node.get("digest"))
        short = words.short_digest(digest)
        head = f"{kind} · version conflict" if conflict else kind
        tail = " · ".join(part for part in (words.revision(version), short) if part)
        if len(tail) > _COLUMNS + 6 and version and short:
            tail = f"{_fit(words.revision(version), _COLUMNS - 9)} · {short}"
        title = ", ".join(part for part in (f"{kind} {_label(node)}", f"in {words.text_of(node.get('namespace'))}", digest) if part)
        title += ", its label stands for several digests" if conflict else ""
    return Box(
        *corner, look=look, target=target, head=_fit(head, _COLUMNS + 6), status=status, name=_fit(name, _COLUMNS), tail=_fit(tail, _COLUMNS + 6),
        title=words.cut(words.visible(title), 400), root=root, conflict=conflict,
    )  # fmt: skip


def _folded(runs: list[Node]) -> tuple[str, str]:
    """`25 runs · 3 failed`, and from when to when."""
    failed = sum(1 for run in runs if words.text_of(run.get("status")).upper() == "FAIL")
    when = sorted(words.moment(run.get("startedAt"))[:16] for run in runs if run.get("startedAt"))
    times = f"{when[0]} – {when[-1][11:] if when[0][:10] == when[-1][:10] else when[-1][:10]}" if when else ""
    return f"{len(runs)} runs" + (f" · {failed} failed" if failed else ""), times


def _fit(text: str, columns: int) -> str:
    """`text` in so many columns, cut in the middle: names often differ at their ends only."""
    text = words.visible(words.cut(text, 400))
    if sum(map(_wide, text)) <= columns:
        return text
    half = columns // 2
    start = _take(text, half)
    end = _take(text[::-1], columns - half - 1)[::-1]
    return f"{start}…{end}"


def _take(text: str, columns: int) -> str:
    used = 0
    for at, character in enumerate(text):
        used += _wide(character)
        if used > columns:
            return text[:at]
    return text


def _wide(character: str) -> int:
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
