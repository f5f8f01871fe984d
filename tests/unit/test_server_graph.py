"""The picture of a lineage graph: nodes, lines, folding, cutting, and names that are text."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import httpx
import pytest

from spanline import _guard
from spanline.errors import UnknownReference
from spanline.server.app import build_app
from spanline.server.graph import draw, drawing_of
from spanline.server.graph_layout import HEIGHT, WIDTH, lay_out
from spanline.server.graph_pick import MAX_BOXES, MAX_LINES, pick
from spanline.settings import Settings
from tests.browser.samples import RUN, TRACE, Fake, fee_run

SVG = "{http://www.w3.org/2000/svg}"
EVIL = "</text></svg><script>alert(1)</script>\"'&\u202e\x00{{7*7}}"


def run_node(number: int, job: str = "svc.POST /chat", **more: Any) -> dict[str, Any]:
    id = f"00000000-0000-0000-0000-{number:012d}"
    return {
        "id": f"run:{id}", "type": "run", "kind": "run", "namespace": "prod", "name": job, "version": None, "digest": None, "runId": id,
        "status": "COMPLETE", "startedAt": f"2026-11-21T02:{number % 60:02d}:00.000Z", "release": None, "conflicts": 0, **more,
    }  # fmt: skip


def artifact(kind: str, name: str, version: str | None = "1", digest: str | None = None, id: str | None = None) -> dict[str, Any]:
    ref = f"{kind}:{name}@{version}" if version else f"{kind}:{name}"
    return {"id": id or ref, "type": "artifact", "kind": kind, "namespace": f"{kind}s", "name": name, "version": version, "digest": digest}


def edge(start: dict[str, Any], end: dict[str, Any], role: str = "input", evidence: str = "observed") -> dict[str, Any]:
    return {"from": start["id"], "to": end["id"], "role": role, "evidence": evidence}


def answer(root: dict[str, Any], nodes: list[dict[str, Any]], edges: list[dict[str, Any]], *, truncated: bool = False) -> dict[str, Any]:
    return {"root": root["id"], "roots": [root["id"]], "nodes": [root, *nodes], "edges": edges, "truncated": truncated}


def chain() -> dict[str, Any]:
    """Corpus → build → index → answer."""
    corpus, build, index, root = (
        artifact("corpus", "fees"),
        run_node(2, "svc.build"),
        artifact("index", "fees", "commit:abc", "sha256:" + "ab" * 32),
        run_node(1),
    )
    return answer(root, [corpus, build, index], [edge(corpus, build), edge(build, index, "output"), edge(index, root, evidence="inferred")])


_EVIL_RUN, _EVIL_ROOT = run_node(3, EVIL, status=EVIL, runId=EVIL), run_node(1, EVIL)
HOSTILE_GRAPH = answer(
    _EVIL_ROOT, [artifact(EVIL, EVIL, EVIL, EVIL), _EVIL_RUN],
    [edge(artifact(EVIL, EVIL, EVIL, EVIL), _EVIL_ROOT, EVIL, EVIL), edge(_EVIL_RUN, artifact(EVIL, EVIL, EVIL, EVIL), "output")],
)  # fmt: skip


async def picture(graph: dict[str, Any], *, api: bool = True) -> tuple[ET.Element, str]:
    """The graph's SVG as a browser that is strict about XML sees it, and the section's text."""
    ledger = Fake.of(fee_run())
    ledger.graph = graph
    transport = httpx.ASGITransport(build_app(ledger, Settings.resolve({}, {}), api=api, require_loopback=True), client=("127.0.0.1", 4000))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
        reply = await http.get(f"/r/{TRACE}", headers={"accept": "text/html"})
    assert reply.status_code == 200
    assert ledger.asked[-1] == ("lineage", {"ref": f"run:{RUN}", "direction": "both", "depth": 5})
    section = re.search(r'<section id="graph">(.*?)</section>', reply.text, re.DOTALL)
    assert section
    found = re.search(r'<div class="graph">\s*(<svg.*</svg>)\s*</div>', section[1], re.DOTALL)
    assert found
    return ET.fromstring(found[1].replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)), section[1]


async def test_nodes_are_links_and_lines_go_between_them() -> None:
    svg, text = await picture(chain())
    links = svg.findall(f"{SVG}a")
    assert [link.attrib["href"] for link in links] == [
        "../artifact?ref=corpus%3Afees%401", "../r/00000000-0000-0000-0000-000000000002", "../artifact?ref=index%3Afees%40commit%3Aabc",
        "../r/00000000-0000-0000-0000-000000000001",
    ]  # fmt: skip
    assert [link.findtext(f"{SVG}title") for link in links] == [link.attrib["aria-label"] for link in links]
    assert links[2].attrib["aria-label"] == f"index fees@commit:abc, in indexs, sha256:{'ab' * 32}"
    assert [link.attrib["class"] for link in links] == ["node artifact", "node run", "node artifact", "node run root"]
    assert links[3].attrib["aria-current"] == "page"
    lines = svg.findall(f"{SVG}g/{SVG}path")
    assert [line.attrib["class"] for line in lines] == ["line input", "line output", "line input inferred"]
    assert "dashed: worked out" in text
    assert f"../api/v1/lineage?ref=run%3A{RUN}&amp;depth=5" in text
    assert "style=" not in text
    assert "<script" not in text


async def test_a_line_begins_at_one_box_and_ends_at_the_next() -> None:
    svg, _ = await picture(chain())
    left = [float(link.find(f"{SVG}svg").attrib["x"]) for link in svg.findall(f"{SVG}a")]
    assert all(after >= before + WIDTH for before, after in pairwise(left))
    for line, (start, end) in zip(svg.findall(f"{SVG}g/{SVG}path"), pairwise(left), strict=True):
        numbers = [float(number) for number in re.findall(r"-?[\d.]+", line.attrib["d"])]
        assert numbers[0] == pytest.approx(start + WIDTH, abs=2)
        assert numbers[-2] == pytest.approx(end, abs=2)


async def test_in_an_app_there_is_no_artifact_page_to_lead_to() -> None:
    svg, text = await picture(chain(), api=False)
    assert [link.attrib["class"] for link in svg.findall(f"{SVG}a")] == ["node run", "node run root"]
    assert [node.attrib["class"] for node in svg.findall(f"{SVG}g")[1:]] == ["node artifact", "node artifact"]
    assert "api/v1" not in text


async def test_hostile_names_are_text() -> None:
    svg, text = await picture(HOSTILE_GRAPH)
    assert {element.tag.removeprefix(SVG) for element in svg.iter()} == {"svg", "defs", "marker", "g", "path", "a", "title", "rect", "text"}
    assert "<script" not in text
    assert "\u202e" not in text
    assert "49" not in "".join(svg.itertext())
    assert all(name in {"class", "href", "aria-label", "aria-current"} for link in svg.findall(f"{SVG}a") for name in link.attrib)
    assert "/r/%3C" not in text, "what is no id is no link"


def test_many_runs_of_a_job_are_one_box() -> None:
    index, build = artifact("index", "fees"), run_node(0, "svc.build")
    users = [run_node(n, status="FAIL" if n == 7 else "COMPLETE") for n in range(1, 26)]
    other = run_node(40, "svc.other")
    graph = answer(
        build, [index, *users, other], [edge(build, index, "output"), *(edge(index, user) for user in users), edge(index, other)]
    )
    drawing = draw(graph, "run:x")
    assert drawing is not None
    assert [(box.look, box.head) for box in drawing.boxes if box.look == "runs"] == [("runs", "25 runs · 1 failed")]
    assert len(drawing.boxes) == len(drawing.lines) + 1 == 4
    (fold,) = (box for box in drawing.boxes if box.look == "runs")
    assert (fold.target, fold.tail) == ("svc.POST /chat", "2026-11-21 02:01 – 02:25")


def test_runs_with_other_inputs_stay_apart() -> None:
    index, v7, v8, build = (
        artifact("index", "fees"),
        artifact("prompt", "fees", "v7"),
        artifact("prompt", "fees", "v8"),
        run_node(0, "svc.build"),
    )
    runs = [run_node(n) for n in range(1, 11)]
    edges = [
        edge(build, index, "output"),
        *(edge(index, run) for run in runs),
        *(edge(v7 if at < 6 else v8, run) for at, run in enumerate(runs)),
    ]
    picked = pick(answer(build, [index, v7, v8, *runs], edges))
    assert sorted(len(node["runs"]) for node in picked.nodes.values() if node["type"] == "runs") == [4, 6]


async def test_a_big_graph_is_cut_and_says_so() -> None:
    root = run_node(0)
    inputs = [artifact("dataset", f"table-{n}") for n in range(300)]
    _, text = await picture(answer(root, inputs, [edge(entry, root) for entry in inputs], truncated=True))
    assert text.count('class="node') == MAX_BOXES
    assert f"{301 - MAX_BOXES} more are not drawn." in text
    assert "There is more" in text
    assert "JSON of the graph" in text


def test_the_nearest_stay() -> None:
    nodes = [run_node(n, f"job-{n}") if n % 2 == 0 else artifact("dataset", f"d{n}") for n in range(100)]
    picked = pick(answer(nodes[0], nodes[1:], [edge(after, before) for before, after in pairwise(nodes)]))
    assert list(picked.nodes) == [node["id"] for node in nodes[:MAX_BOXES]]


def test_a_dense_graph_stays_bounded() -> None:
    runs, datasets = [run_node(n, f"job-{n}") for n in range(60)], [artifact("dataset", f"d{n}") for n in range(19)]
    graph = answer(runs[0], [*runs[1:], *datasets], [edge(entry, run) for run in runs for entry in datasets])
    picked, drawing = pick(graph), draw(graph, "run:x")
    assert {end for entry in picked.edges for end in (entry["from"], entry["to"])} == set(picked.nodes), "none hangs in the air"
    assert drawing is not None
    assert (len(drawing.boxes), len(drawing.lines)) == (MAX_BOXES, MAX_LINES)
    assert drawing.cut == 21 * 19 - MAX_LINES


def test_cycles_and_loops_end() -> None:
    a, b = run_node(0, "a"), artifact("dataset", "d")
    drawing = draw(answer(a, [b], [edge(a, b, "output"), edge(b, a), edge(a, a)]), "run:x")
    assert drawing is not None
    assert len(drawing.lines) == 2


def test_two_digests_of_a_label_are_marked() -> None:
    root, label = run_node(0), "index:fees@1"
    one, two = (
        artifact("index", "fees", digest="sha256:" + "a" * 64),
        artifact("index", "fees", digest="sha256:" + "b" * 64, id=f"{label}#sha256:{'b' * 64}"),
    )
    drawing = draw(answer(root, [one, two], [edge(one, root), edge(two, root)]), "run:x")
    assert drawing is not None
    assert [box.conflict for box in drawing.boxes] == [True, True, False]
    assert drawing.boxes[0].head == "index · version conflict"


def test_flows_are_left_out() -> None:
    root, flow, model = run_node(0), artifact("flow", "requests.svc", None), artifact("model", "openai/gpt-4o", None)
    assert set(pick(answer(root, [flow, model], [edge(flow, root), edge(model, root)])).nodes) == {root["id"], model["id"]}


@pytest.mark.parametrize(
    "graph", [{}, {"nodes": 3, "edges": "x"}, {"root": None, "roots": [1], "nodes": [{}], "edges": [{}]}, answer(run_node(0), [], [])]
)
def test_nothing_to_draw_is_no_picture(graph: dict[str, Any]) -> None:
    assert draw(graph, "run:x") is None


def test_a_run_that_the_graph_does_not_know_is_no_picture() -> None:
    def unknown(*_: object, **__: object) -> dict[str, Any]:
        raise UnknownReference("no")

    assert drawing_of(unknown, "run:x") is None


@pytest.mark.internal_errors
def test_a_failing_graph_never_costs_the_page() -> None:
    def broken(*_: object, **__: object) -> dict[str, Any]:
        raise RuntimeError("boom")

    assert drawing_of(broken, "run:x") is None
    assert _guard.internal_errors() == {"server.graph": 1}


def test_without_the_library_the_page_has_no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pygraphviz", None)
    assert draw(chain(), "run:x") is None


def test_long_and_wide_names_fit() -> None:
    root = run_node(0, "x" * 300)
    wide = artifact("index", "料金表" * 40, "v" * 100, "sha256:" + "c" * 64)
    drawing = draw(answer(root, [wide], [edge(wide, root)]), "run:x")
    assert drawing is not None
    assert [len(box.name) for box in drawing.boxes] == [13, 25]
    assert drawing.boxes[0].tail.endswith(" · cccccccccccc")


def test_many_threads_draw_at_once() -> None:
    lines = [(n // 2, n) for n in range(1, 20)]
    with ThreadPoolExecutor(8) as pool:
        layouts = list(pool.map(lambda _: lay_out(20, lines), range(32)))
    assert all(layout == layouts[0] for layout in layouts)
    assert layouts[0].height >= HEIGHT
