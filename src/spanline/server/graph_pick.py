"""What of a lineage graph goes into the picture: like runs folded into one box, the nearest boxes first, the rest counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from spanline.server import words

MAX_BOXES = 40
MAX_LINES = 80
"""Graphviz holds the interpreter while it lays out: forty boxes take 5 ms with 40 lines, 20 with 80, 70 with 120 (tangled ones)."""

FOLD = 4
"""So many runs of one job with the same inputs are one box."""

Node = dict[str, object]


@dataclass(slots=True)
class Picked:
    """The nodes and edges to draw.

    Attributes:
        nodes: By id, as the ledger has them; a folded one has `runs`, the nodes it stands for.
        edges: Between these nodes, each pair once.
        roots: Ids of the nodes that were asked for.
        hidden: How many nodes are left out.
        cut: How many lines between the nodes that stay are left out.
        truncated: The ledger itself stopped before the end.
    """

    nodes: dict[str, Node] = field(default_factory=dict[str, Node])
    edges: list[dict[str, object]] = field(default_factory=list[dict[str, object]])
    roots: list[str] = field(default_factory=list[str])
    hidden: int = 0
    cut: int = 0
    truncated: bool = False


def pick(answer: Mapping[str, Any]) -> Picked:
    """What to draw of an answer of `lineage`.

    Flows are left out: every run of a service has the same two, and they say nothing of what made an answer.
    """
    roots = [words.text_of(entry) for entry in words.items(answer.get("roots")) or [answer.get("root")]]
    nodes = {words.text_of(node.get("id")): node for node in words.entries(answer.get("nodes"))}
    nodes = {name: node for name, node in nodes.items() if node.get("kind") != "flow" or name in roots}
    edges = [edge for edge in words.entries(answer.get("edges")) if edge.get("from") in nodes and edge.get("to") in nodes]
    nodes, edges = _folded(nodes, edges, roots)
    kept = _nearest(nodes, edges, roots)
    shown = [edge for edge in edges if edge["from"] in kept and edge["to"] in kept]
    # The lines that the nodes were reached by go first, so that none hangs in the air.
    shown.sort(key=lambda edge: kept[str(edge["from"])] != edge["to"] and kept[str(edge["to"])] != edge["from"])
    return Picked(
        nodes={name: nodes[name] for name in kept},
        edges=shown[:MAX_LINES],
        roots=[name for name in roots if name in kept],
        hidden=len(nodes) - len(kept),
        cut=len(shown[MAX_LINES:]),
        truncated=answer.get("truncated") is True,
    )


def _folded(nodes: Mapping[str, Node], edges: list[dict[str, object]], roots: list[str]) -> tuple[dict[str, Node], list[dict[str, object]]]:
    """Runs of one job that used the same become one node, where there are several; each pair of nodes has one edge."""
    inputs: dict[str, list[str]] = {}
    for edge in edges:
        inputs.setdefault(str(edge["to"]), []).append(str(edge["from"]))
    alike: dict[tuple[object, ...], list[str]] = {}
    for name, node in nodes.items():
        if node.get("type") == "run" and name not in roots:
            key = (node.get("namespace"), node.get("name"), tuple(sorted(inputs.get(name, ()))))
            alike.setdefault(key, []).append(name)
    into: dict[str, str] = {}
    folded: dict[str, Node] = {}
    for number, names in enumerate(group for group in alike.values() if len(group) >= FOLD):
        first = nodes[names[0]]
        together: list[Node] = [nodes[name] for name in names]
        folded[f"fold:{number}"] = {**first, "id": f"fold:{number}", "type": "runs", "runs": together}
        into |= dict.fromkeys(names, f"fold:{number}")
    result: dict[str, Node] = {}
    for name, node in nodes.items():
        target = into.get(name, name)
        result.setdefault(target, folded.get(target, node))
    once: dict[tuple[str, str], dict[str, object]] = {}
    for edge in edges:
        start, end = (into.get(str(edge[side]), str(edge[side])) for side in ("from", "to"))
        if start != end:
            once.setdefault((start, end), {**edge, "from": start, "to": end})
    return result, list(once.values())


def _nearest(nodes: Mapping[str, Node], edges: list[dict[str, object]], roots: list[str]) -> dict[str, str]:
    """The nodes to keep and from which each was reached, step by step away from the roots, in neither direction rather than the other."""
    beside: dict[str, list[str]] = {}
    for edge in edges:
        start, end = str(edge["from"]), str(edge["to"])
        beside.setdefault(start, []).append(end)
        beside.setdefault(end, []).append(start)
    kept: dict[str, str] = {}
    level = dict.fromkeys([name for name in roots if name in nodes] or list(nodes)[:1], "")
    while level and len(kept) < MAX_BOXES:
        kept |= dict(list(level.items())[: MAX_BOXES - len(kept)])
        following: dict[str, str] = {}
        for at in level:
            for name in beside.get(at, ()):
                if name not in kept:
                    following.setdefault(name, at)
        level = following
    return kept
