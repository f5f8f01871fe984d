"""What Jaeger and Grafana are told: ids only, nothing that a name or an address could break, and the committed files are the generated ones."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import pytest
import yaml
from click.testing import CliRunner

from spanline.cli.main import main
from spanline.deploy.link_files import committed, link_files
from spanline.deploy.links import INCIDENT, Places, environment, jaeger_ui
from spanline.deploy.provisioning import Backends, dashboard_provider, datasources
from spanline.errors import ConfigurationError
from spanline.metrics.catalogue import CATALOGUE
from spanline.server import links as server_links
from spanline.settings import Settings
from tests.jaeger_links import resolve

ROOT = Path(__file__).resolve().parents[2]
HOSTILE = "svc.POST /a&b?c=d#e%2F../\"'<script>${HOME}#{traceID}@€ \n"
TRACE = "0af7651916cd43dd8448eb211c80319c"


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from strings(item)


def links_of(places: Places, kind: str, attributes: dict[str, str]) -> dict[str, str]:
    return dict(resolve(jaeger_ui(places), kind, attributes))


def test_the_committed_files_are_the_generated_ones() -> None:
    for path, text in committed().items():
        assert (ROOT / path).read_text("utf-8") == text, (
            f"{path}: write again with `spanline deploy links --write .` (or the deploy module)"
        )


@pytest.mark.parametrize("path", [path for path in committed() if path.endswith(".yaml")])
def test_grafana_links_carry_ids_only(path: str) -> None:
    """Some Grafana builds decode whole URLs, so that a name with a slash leads elsewhere: no name is in any link."""
    for text in strings(yaml.safe_load(committed()[path])):
        if text.startswith("http") and "$" in text:
            assert re.fullmatch(r"http://localhost:8008/r/\$\$\{__(value\.raw|data\.fields\.traceID)\}", text)


def test_no_dollar_is_left_for_grafana_to_expand() -> None:
    for text in strings(datasources(Places(), Backends(traces="tempo", loki="http://loki:3100"))):
        assert "$" not in text.replace("$$", "")


@pytest.mark.parametrize("traces", ["jaeger", "tempo"])
def test_every_data_source_that_is_named_is_there(traces: Any) -> None:
    document = datasources(Places(), Backends(traces=traces, loki="http://loki:3100"))
    uids = {source["uid"] for source in document["datasources"]}
    assert uids == {"prometheus", traces, "loki"}
    named = set(re.findall(r"'datasourceUid': '(\w+)'", str(document)))
    assert named == uids
    assert [source.get("isDefault") for source in document["datasources"]] == [True, None, None]


def test_an_exemplar_leads_to_its_trace_and_to_its_run() -> None:
    (prometheus, *_) = datasources(Places(base="https://runs.example/s"), Backends())["datasources"]
    assert prometheus["jsonData"]["exemplarTraceIdDestinations"] == [
        {"name": "trace_id", "datasourceUid": "jaeger", "urlDisplayLabel": "Trace in Jaeger"},
        {"name": "trace_id", "url": "https://runs.example/s/r/$${__value.raw}", "urlDisplayLabel": "Open run page"},
    ]


def test_trace_to_metrics_asks_for_metrics_that_there_are() -> None:
    (_, traces) = datasources(Places(), Backends())["datasources"]
    queries = " ".join(query["query"] for query in traces["jsonData"]["tracesToMetrics"]["queries"])
    names = set(re.findall(r"\b(?:llm|rag)_\w+", queries))
    known = {spec.name for spec in CATALOGUE} | {
        f"{spec.name}_{part}" for spec in CATALOGUE if spec.type == "histogram" for part in ("bucket", "count")
    }
    assert names <= known
    labels = {tag["value"] for tag in traces["jsonData"]["tracesToMetrics"]["tags"]}
    assert labels <= {label for spec in CATALOGUE for label in spec.labels}


def test_loki_finds_the_id_in_lines_of_both_loggers() -> None:
    (*_, loki) = datasources(Places(), Backends(loki="http://loki:3100"))["datasources"]
    (pattern,) = {field["matcherRegex"] for field in loki["jsonData"]["derivedFields"] if field["matcherType"] == "regex"}
    for line in (f"INFO trace_id={TRACE} span_id=1 x", f'{{"event": "x", "trace_id": "{TRACE}"}}', f'{{"trace_id":"{TRACE}"}}'):
        assert re.search(pattern, line)[1] == TRACE
    assert re.search(pattern, "trace_id=") is None


def test_jaeger_links_from_a_trace() -> None:
    found = links_of(Places(), "traces", {"traceID": TRACE.lstrip("0"), "startTime": "1795275338000000", "endTime": "1795275339000000"})
    assert found["Open run page"] == f"http://localhost:8008/r/{TRACE}"
    at = parse_qs(urlsplit(found["Grafana at this time"]).query)
    assert urlsplit(found["Grafana at this time"]).path == f"/d/{INCIDENT}"
    assert (at["from"], at["to"]) == (["2026-11-21T15:25:38.000Z"], ["2026-11-21T15:45:39.000Z"])


def test_a_hostile_job_name_stays_one_part_of_a_jaeger_link() -> None:
    found = links_of(Places(), "tags", {"openlineage.job.namespace": "prod/eu", "openlineage.job.name": HOSTILE})
    url = urlsplit(next(url for text, url in found.items() if text.startswith("Marquez job")))
    assert (url.scheme, url.netloc, url.fragment) == ("http", "localhost:3000", "")
    assert [unquote(part) for part in url.path.split("/")] == ["", "lineage", "job", "prod/eu", HOSTILE]
    assert parse_qs(url.query) == {"tableLevelNode": [f"job:prod/eu:{HOSTILE}"]}


def test_jaeger_leads_to_the_same_places_as_the_run_page() -> None:
    """The two are made by different code: from a trace, and from a run."""
    run = {
        "traceId": TRACE,
        "runId": f"{TRACE[:8]}-{TRACE[8:12]}-{TRACE[12:16]}-{TRACE[16:20]}-{TRACE[20:]}",
        "job": "fees.POST /chat",
        "namespace": "prod",
    }
    settings = Settings.resolve({}, environment(Places()))
    theirs = server_links.links(run, settings)
    ours = links_of(Places(), "tags", {"openlineage.job.namespace": "prod", "openlineage.job.name": "fees.POST /chat"})
    assert theirs["marquez"] in ours.values()
    assert theirs["self"] in links_of(Places(), "traces", {"traceID": TRACE, "startTime": "0", "endTime": "0"}).values()
    assert INCIDENT == server_links.INCIDENT_DASHBOARD


def test_a_link_without_its_attribute_is_not_shown() -> None:
    assert links_of(Places(), "tags", {"gen_ai.prompt.version": "v7"}) == {}
    (found,) = links_of(Places(), "tags", {"gen_ai.prompt.version": "v7", "gen_ai.prompt.name": "fees"}).values()
    assert found == "http://localhost:8008/runs?prompt=fees%40v7"


def test_what_is_not_there_is_not_linked() -> None:
    bare = Places(grafana=None, jaeger=None, marquez=None)
    assert environment(bare) == {"SPANLINE_BASE_URL": "http://localhost:8008"}
    assert not [text for text in strings(jaeger_ui(bare)) if "3000" in text or "3001" in text]
    assert environment(Places(), traces="tempo")["SPANLINE_TEMPO_DATASOURCE"] == "tempo"
    assert "SPANLINE_JAEGER_URL" not in environment(Places(), traces="tempo")


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)", "http://", "http://a b", "http://user:pass@host", "http://h/?q=1", "http://h/#x", "http://h/#{traceID}", "http://h/${HOME}",
        'http://h/"x', "http://h/\nmenu: 1", "//h", "http://h:999999", "http://h/../x y", "ftp://h", "",
    ],
)  # fmt: skip
def test_an_address_that_could_mean_something_else_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="base"):
        Places(base=url)
    assert CliRunner().invoke(main, ["deploy", "links", "--grafana", url or "x"]).exit_code == 1


def test_a_refused_address_shows_no_password() -> None:
    with pytest.raises(ConfigurationError, match=r"jaeger 'https://jaeger\.example'.*without user") as caught:
        Places(jaeger="https://ops:hunter2@jaeger.example")
    assert "hunter2" not in str(caught.value)


def test_good_addresses() -> None:
    assert Places(base="https://runs.example.com/team-a/").base == "https://runs.example.com/team-a"
    assert Places(base="http://[::1]:8008").base == "http://[::1]:8008"


def test_the_settings_take_what_they_are_told() -> None:
    for traces in ("jaeger", "tempo"):
        assert Settings.resolve({}, environment(Places(mlflow="http://localhost:5000"), traces=traces)).warnings == ()


def test_the_provider_points_where_boards_are_mounted() -> None:
    (provider,) = dashboard_provider()["providers"]
    assert provider["options"]["path"] == "/var/lib/grafana/dashboards/spanline"


def test_the_command_prints_all_and_is_json_for_programs(tmp_path: Path) -> None:
    options = ["--base-url", "https://runs.example", "--jaeger", "https://jaeger.example/"]
    done = CliRunner().invoke(main, ["deploy", "links", *options], env={"SPANLINE_GRAFANA_URL": "https://grafana.example"})
    assert done.exit_code == 0, done.output
    for expected in (
        "https://runs.example/r/$${__value.raw}",
        "SPANLINE_GRAFANA_URL=https://grafana.example",
        '"linkPatterns"',
        "exemplar-storage",
    ):
        assert expected in done.output
    assert "localhost:3000" not in done.output, "no Marquez was named"
    document = json.loads(CliRunner().invoke(main, ["deploy", "links", *options, "--json"]).stdout)
    assert document["environment"] == {"SPANLINE_BASE_URL": "https://runs.example", "SPANLINE_JAEGER_URL": "https://jaeger.example"}
    assert document["jaeger"] == jaeger_ui(Places(base="https://runs.example", jaeger="https://jaeger.example", grafana=None, marquez=None))


def test_the_command_writes_files(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["deploy", "links", "--traces", "tempo", "--loki", "http://loki:3100", "--write", str(tmp_path)])
    assert done.exit_code == 0, done.output
    written = {str(path.relative_to(tmp_path)): path.read_text() for path in tmp_path.rglob("*") if path.is_file()}
    assert written == link_files(Places(grafana=None, jaeger=None, marquez=None), Backends(traces="tempo", loki="http://loki:3100"))
    (tmp_path / "file").write_text("")
    assert CliRunner().invoke(main, ["deploy", "links", "--write", str(tmp_path / "file" / "x")]).exit_code != 0


def test_marks_of_percent_encoding_agree() -> None:
    """The test's own encoder is what browsers do: unreserved marks stay."""
    assert quote("a b/~!*'()", safe="!~*'()") == "a%20b%2F~!*'()"
