"""`spanline lineage`: what a run or an artifact was made from, and what was made from it, as a tree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import click

from spanline.cli.completing import refs
from spanline.cli.options import ask, json_option, ledger_option
from spanline.cli.text import Tree, bad, bold, faint, say, say_json, shown, status, warned

_MAX_LINES = 400


@click.command()
@click.argument("ref", shell_complete=refs)
@click.option("--up", is_flag=True, help="What it was made from.")
@click.option("--down", is_flag=True, help="What was made from it.")
@click.option("--depth", type=click.IntRange(0, 100), default=5, show_default=True, help="How many runs away.")
@ledger_option
@json_option
def lineage(ref: str, up: bool, down: bool, depth: int, ledger_url: str | None, as_json: bool) -> None:
    """Show what is upstream and downstream of REF, or one of them.

    REF is run:<id>, kind:name@version, kind:name (all versions) or namespace/name. Exit status 4 when it is not known.
    """
    direction = None if up == down else "up" if up else "down"
    graph = ask(ledger_url, lambda ledger: ledger.lineage(ref, direction=direction or "both", depth=depth))
    if as_json:
        say_json(graph)
        return
    for way in ("up", "down") if direction is None else (direction,):
        for line in tree_of(graph, way).lines():
            say(line)
    if graph.get("truncated"):
        say(faint("there is more: --depth shows what is farther away, `spanline impact` counts all runs of an artifact"))


def tree_of(graph: Mapping[str, Any], way: str) -> Tree:
    """One direction of a graph as a tree; what hangs on two branches is shown whole on the first."""
    from spanline.server import words

    nodes = {str(node.get("id")): node for node in words.entries(graph.get("nodes"))}
    start, end = ("to", "from") if way == "up" else ("from", "to")
    after: dict[str, list[dict[str, Any]]] = {}
    for edge in words.entries(graph.get("edges")):
        after.setdefault(str(edge.get(start)), []).append(edge)
    root = str(graph.get("root"))
    # A name of several versions is no node: they all hang on it.
    listed = graph.get("roots")
    roots = [str(name) for name in cast("list[object]", listed)] if isinstance(listed, list) else [root]
    tree = Tree(bold(f"{shown(root)} {'made from' if way == 'up' else 'went into'}"))
    shown_nodes: set[str] = set()
    left = _MAX_LINES

    def grow(branch: Tree, name: str) -> None:
        nonlocal left
        for edge in after.get(name, []):
            other = str(edge.get(end))
            if left <= 0 or other not in nodes:
                continue
            left -= 1
            again = other in shown_nodes
            child = branch.add(_line(nodes[other], edge) + (faint("  (see above)") if again and after.get(other) else ""))
            if not again:
                shown_nodes.add(other)
                grow(child, other)

    for name in (name for name in roots if name in nodes):
        shown_nodes.add(name)
        grow(tree if name == root else tree.add(_line(nodes[name], {})), name)
    if not tree.children:
        tree.add(faint("nothing that is known here"))
    if left <= 0:
        tree.add(faint("… and more (--json has all)"))
    return tree


def _line(node: Mapping[str, Any], edge: Mapping[str, Any]) -> str:
    from spanline.server import words

    known = [shown(edge.get("evidence")), f"by {shown(edge['join'])}" if edge.get("join") else ""]
    how = ", ".join(part for part in known if part and part != "observed")
    mark = f"  {warned(how)}" if how else ""
    if node.get("type") == "run":
        facts = f"{status(shown(node.get('status')))}  {faint(words.moment(node.get('startedAt')))}  {faint(shown(node.get('runId')))}"
        conflict = f"  {bad('conflict')}" if node.get("conflicts") else ""
        return f"{shown(node.get('name'))}  {facts}{conflict}{mark}"
    return f"{bold(shown(node.get('id')))}  {faint(shown(words.short_digest(node.get('digest'))))}{mark}".rstrip()
