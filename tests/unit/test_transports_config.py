"""Which transports are configured, and how wrong configurations are named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from spanline.errors import ConfigurationError, TransportError
from spanline.settings import Settings
from spanline.transports.base import Transport, create, known
from spanline.transports.composite import CompositeTransport
from spanline.transports.config import configured, unnamed_config
from spanline.transports.file import FileTransport
from spanline.transports.http import HttpTransport


def resolve(**environ: str) -> list[tuple[str, Transport, dict[str, Any]]]:
    return configured(Settings.resolve({}, environ))


def from_yaml(path: Path, text: str, **environ: str) -> list[tuple[str, Transport, dict[str, Any]]]:
    path.write_text(text)
    return resolve(OPENLINEAGE_CONFIG=str(path), **environ)


def test_with_nothing_set_nothing_goes_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "openlineage.yml").write_text("transport: {type: http, url: 'http://other:5000'}")
    assert resolve() == []
    assert unnamed_config(Settings.resolve({}, {})) == tmp_path / "openlineage.yml"
    assert unnamed_config(Settings.resolve({}, {"OPENLINEAGE_CONFIG": "openlineage.yml"})) is None


def test_openlineage_url() -> None:
    ((name, transport, options),) = resolve(OPENLINEAGE_URL="http://marquez:5000/", OPENLINEAGE_API_KEY="secret")
    assert name == "openlineage"
    assert isinstance(transport, HttpTransport)
    assert transport.url == "http://marquez:5000/api/v1/lineage"
    assert options == {"preset": "auto"}
    ((_, transport, options),) = resolve(OPENLINEAGE_URL="https://x", OPENLINEAGE_ENDPOINT="in/here", SPANLINE_OPENLINEAGE_PRESET="marquez")
    assert isinstance(transport, HttpTransport)
    assert transport.url == "https://x/in/here"
    assert options == {"preset": "marquez"}


def test_a_central_server_is_no_openlineage_consumer() -> None:
    found = resolve(
        SPANLINE_SERVER_URL="http://central:8008", SPANLINE_TOKENS="one,two", OPENLINEAGE_URL="http://x", OPENLINEAGE_DISABLED="true"
    )
    ((name, transport, options),) = found
    assert name == "server"
    assert isinstance(transport, HttpTransport)
    assert transport.url == "http://central:8008/api/v1/lineage/batch"
    assert transport._headers["authorization"] == "Bearer one"
    assert options == {"preset": "spanline"}


def test_disabled_means_nothing() -> None:
    assert resolve(SPANLINE_SERVER_URL="http://central", OPENLINEAGE_URL="http://x", SPANLINE_DISABLED="1") == []


def test_a_file_beats_the_url(tmp_path: Path) -> None:
    ((name, transport, options),) = from_yaml(
        tmp_path / "openlineage.yml",
        """
transport:
  type: http
  url: https://backend:5000
  endpoint: api/v1/lineage
  timeout: 3
  verify: false
  compression: gzip
  auth: {type: api_key, apiKey: "123"}
  custom_headers: {x-team: fees}
  spanline: {preset: marquez, rate_per_second: 5}
""",
        OPENLINEAGE_URL="http://ignored",
    )
    assert name == "openlineage"
    assert isinstance(transport, HttpTransport)
    assert transport.base == "https://backend:5000"
    assert transport.compress
    assert transport._headers["x-team"] == "fees"
    assert transport._headers["authorization"] == "Bearer 123"
    assert options == {"preset": "marquez", "rate_per_second": 5}


def test_a_composites_children_are_consumers_of_their_own(tmp_path: Path) -> None:
    found = from_yaml(
        tmp_path / "openlineage.yml",
        f"""
transport:
  type: composite
  continue_on_failure: true
  transports:
    catalogue: {{type: async_http, url: "http://a", spanline: {{preset: data-rentgen}}}}
    "a file": {{type: file, log_file_path: {tmp_path}/events.ndjson, append: true}}
    nothing: {{type: noop}}
    more:
      type: composite
      transports:
        - {{type: console}}
        - {{type: console, name: catalogue}}
""",
    )
    assert [(name, transport.kind, options["preset"]) for name, transport, options in found] == [
        ("catalogue", "http", "data-rentgen"),
        ("a_file", "file", "openlineage"),
        ("more-1", "console", "openlineage"),
        ("catalogue-2", "console", "openlineage"),
    ]


def test_json_will_do(tmp_path: Path) -> None:
    path = tmp_path / "openlineage.json"
    assert from_yaml(path, json.dumps({"transport": {"type": "console"}}))[0][1].kind == "console"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("transport: {type: kinesis}", "unknown transport type 'kinesis'; known types: .*composite, console, file, http.*noop"),
        ("transport: {url: 'http://x'}", "expected a `type`"),
        ("transport: {type: http}", "option url: expected a string"),
        ("transport: {type: http, url: 'ftp://x'}", "expected an http:// or https:// URL"),
        ("transport: {type: http, url: 'http://x', timeout: soon}", "option timeout: expected a positive number"),
        ("transport: {type: http, url: 'http://x', auth: {type: jwt}}", "expected 'api_key'"),
        ("transport: {type: http, url: 'http://x', compression: zstd}", "expected gzip"),
        ("transport: {type: http, url: 'http://x', spanline: marquez}", "expected a mapping under `spanline`"),
        ("transport: {type: file}", "option log_file_path"),
        ("transport: {type: composite}", "option transports"),
        ("transport: http", "expected a mapping under `transport`"),
        ("[1, 2]", "expected a mapping with the key"),
        ("transport: {type: [", "not YAML"),
    ],
)
def test_wrong_files_are_named_with_what_was_expected(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as caught:
        from_yaml(tmp_path / "openlineage.yml", text)
    assert "openlineage.yml" in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        resolve(OPENLINEAGE_CONFIG=str(tmp_path / "none.yml"))


def test_the_known_types() -> None:
    assert {"http", "file", "console", "composite"} <= set(known())
    assert isinstance(create("composite", {"transports": [{"type": "console"}]}), CompositeTransport)
    assert isinstance(create("console", {}), Transport)


def test_the_file_transport_appends(tmp_path: Path) -> None:
    transport = FileTransport(tmp_path / "deep" / "events.ndjson")
    transport.emit({"n": 1})
    transport.emit({"n": 2, "text": "é"})
    lines = transport.path.read_text().splitlines()
    assert [json.loads(line)["n"] for line in lines] == [1, 2]
    assert transport.close(1)
    with pytest.raises(TransportError, match="Is a directory"):
        FileTransport(tmp_path).emit({})


def test_the_console_prints_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    create("console", {}).emit({"n": 1})
    assert capsys.readouterr().out == '{"n":1}\n'


def test_a_composite_sends_to_all_and_says_what_failed(tmp_path: Path) -> None:
    composite = CompositeTransport([FileTransport(tmp_path), FileTransport(tmp_path / "good")])
    with pytest.raises(TransportError, match="Is a directory"):
        composite.emit({"n": 1})
    assert (tmp_path / "good").read_text() == '{"n":1}\n'
    assert composite.close(1)
