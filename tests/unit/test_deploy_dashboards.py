"""The committed boards are the generated ones, importable, complete, and their links carry ids only."""

from __future__ import annotations

import importlib
import json
import re
import warnings
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from spanline.deploy.generate import boards, drift, files
from spanline.deploy.promql import BOARD, RULE
from spanline.metrics.catalogue import CATALOGUE
from spanline.server.links import INCIDENT_DASHBOARD
from tests.requirements import require

ROOT = Path(__file__).resolve().parents[2]
BOARDS = boards()


def leaves(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict) and node:
        for key, value in node.items():
            yield from leaves(value, f"{path}.{key}")
    elif isinstance(node, list) and node:
        for place, value in enumerate(node):
            yield from leaves(value, f"{path}[{place}]")
    else:
        yield path, node


def expressions(board: dict[str, Any]) -> list[str]:
    return [value for path, value in leaves(board) if path.endswith(".expr")]


def test_the_committed_files_are_the_generated_ones() -> None:
    assert drift(ROOT) == [], "run: python -m spanline.deploy"
    committed = {path.name for path in (ROOT / "grafana-dashboards").glob("*.json")}
    assert committed == {Path(path).name for path in files() if path.startswith("grafana-dashboards/")}


def test_there_are_five_and_the_run_page_links_to_one_of_them() -> None:
    assert {board["title"] for board in BOARDS.values()} == {
        "LLM service", "Retrieval and versions", "Quality and guardrails", "Lineage health", "Incident",
    }  # fmt: skip
    assert INCIDENT_DASHBOARD in BOARDS


@pytest.mark.parametrize("uid", BOARDS)
def test_anybody_can_import_it(uid: str) -> None:
    board = BOARDS[uid]
    assert board["schemaVersion"] <= 42
    assert "id" not in board
    assert board["uid"] == uid
    assert re.fullmatch(r"[a-z0-9-]{1,40}", uid), "Grafana takes no longer uid"
    sources = {value for path, value in leaves(board) if path.endswith("datasource.uid")}
    assert sources <= {"${datasource}", "${traces}"}, "a data source of one installation"
    variables = {variable["name"] for variable in board["templating"]["list"]}
    assert {source[2:-1] for source in sources} <= variables
    used = set(re.findall(r"\$\{?(\w+)", json.dumps([board["panels"], board["annotations"], board["links"]])))
    assert {name for name in used if not name.startswith("__")} <= variables


@pytest.mark.parametrize("uid", BOARDS)
def test_panels_have_places_of_their_own(uid: str) -> None:
    panels = BOARDS[uid]["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        if panel["type"] not in {"row", "text"}:
            assert panel["description"], panel["title"]
            assert [target["refId"] for target in panel["targets"]] == list("ABCDEF"[: len(panel["targets"])])
    for one, other in combinations([panel["gridPos"] for panel in panels], 2):
        apart = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        assert apart or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]


def test_every_metric_is_on_some_board() -> None:
    asked = " ".join(expr for board in BOARDS.values() for expr in expressions(board))
    assert [spec.name for spec in CATALOGUE if not re.search(rf"\b{spec.name}(_bucket|_count|_sum)?\b", asked)] == []


@pytest.mark.parametrize("uid", BOARDS)
def test_links_carry_hex_ids_only(uid: str) -> None:
    """Some Grafana builds decode a link's whole URL: names with a slash or an ampersand would lead elsewhere."""
    urls = {value for path, value in leaves(BOARDS[uid]) if re.search(r"(^|\.)url$", path) and value}
    for url in urls:
        assert set(re.findall(r"\$\{([^}]+)\}", url)) <= {"links_base:raw", "jaeger_base:raw", "__value.raw"}, url
        assert "__value" not in url or re.search(r"/(r|trace)/\$\{__value\.raw\}$", url)


@pytest.mark.parametrize("uid", BOARDS)
def test_grafanas_own_model_knows_every_key(uid: str) -> None:
    """The SDK drops what it does not know, so that a misspelt key is lost on the way through it."""
    require("module:grafana_foundation_sdk", "make setup")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it asks for its newer model on import
        models = importlib.import_module("grafana_foundation_sdk.models.dashboard")
        encoder = importlib.import_module("grafana_foundation_sdk.cog.encoder").JSONEncoder
        importlib.import_module("grafana_foundation_sdk.cog.plugins").register_default_plugins()

        def through(board: dict[str, Any]) -> set[str]:
            return {path for path, _ in leaves(json.loads(json.dumps(models.Dashboard.from_json(board), cls=encoder)))}

        assert sorted({path for path, value in leaves(BOARDS[uid]) if value is not None} - through(BOARDS[uid])) == []
        misspelt = json.loads(json.dumps(BOARDS[uid]).replace('"gridPos"', '"gridpos"', 2).replace('"fieldConfig"', '"fieldconfig"', 2))
        assert len({path for path, value in leaves(misspelt) if value is not None} - through(misspelt)) >= 2


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: BOARD.select("llm_tokens"),
        lambda: BOARD.select("llm_tokens_total", 'modell="x"'),
        lambda: BOARD.select("llm_latency_seconds"),
        lambda: BOARD.select("llm_tokens_total", part="count"),
        lambda: RULE.rate("llm_tokens_total", by=("route",)),
        lambda: RULE.rate("llm_latency_seconds", by=("le",), part="count"),
    ],
)
def test_what_the_catalogue_does_not_have_cannot_be_asked_for(wrong: Any) -> None:
    with pytest.raises(ValueError):
        wrong()
