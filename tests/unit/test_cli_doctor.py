"""`spanline doctor`: what is configured, what answers, what is missing, in plain words."""

from __future__ import annotations

import http.server
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from spanline.cli.main import main


def doctor(**env: str) -> tuple[int, dict[str, Any]]:
    done = CliRunner().invoke(main, ["doctor", "--json"], env=env)
    return done.exit_code, json.loads(done.stdout)


def levels(document: dict[str, Any], area: str) -> list[tuple[str, str]]:
    return [(check["level"], check["message"]) for check in document["checks"] if check["area"] == area]


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def answering() -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(404 if self.path.startswith("/api/v1/") else 503)
            self.end_headers()

        def log_message(self, *_: object, **__: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_nothing_configured_is_healthy(tmp_path: Path) -> None:
    code, document = doctor(SPANLINE_HOME=str(tmp_path / "home"))
    assert (code, document["ok"]) == (0, True)
    assert not (tmp_path / "home").exists(), "looking makes nothing"
    assert levels(document, "delivery")[0] == ("ok", "no consumer besides the ledger: nothing goes over the network")


def test_settings_name_their_source_and_secrets_stay_secret() -> None:
    _, document = doctor(SPANLINE_SERVICE="fees", SPANLINE_TOKENS="s3cret", SPANLINE_HASH_KEY="s3cret", OTEL_TRACES_SAMPLER="traceidratio")
    assert ("ok", "service = fees (from SPANLINE_SERVICE)") in levels(document, "settings")
    assert ("ok", "tokens = (set) (from SPANLINE_TOKENS)") in levels(document, "settings")
    assert "s3cret" not in json.dumps(document)
    urls = ("OPENLINEAGE_URL", "SPANLINE_SERVER_URL", "SPANLINE_JAEGER_URL", "SPANLINE_BASE_URL", "SPANLINE_LEDGER_URL")
    assert "s3cret" not in json.dumps(doctor(**dict.fromkeys(urls, "http://user:s3cret@127.0.0.1:9"))[1])
    assert levels(document, "tracing")[0][0] == "note"


def test_allowed_content_is_warned_of(tmp_path: Path) -> None:
    code, document = doctor(SPANLINE_HOME=str(tmp_path), SPANLINE_SCRUB="true", SPANLINE_ALLOW="gen_ai.input.messages")
    assert code == 0
    assert ("warn", "span attributes that may be content leave: gen_ai.input.messages") in levels(document, "settings")


def test_unknown_and_wrong_settings_are_named_with_the_nearest() -> None:
    code, document = doctor(SPANLINE_LEDGRE_URL="x", SPANLINE_SAMPLING="some")
    assert code == 0
    messages = [message for level, message in levels(document, "settings") if level == "warn"]
    assert any("did you mean SPANLINE_LEDGER_URL?" in message for message in messages)
    assert any("SPANLINE_SAMPLING is 'some'" in message for message in messages)


def test_an_unwritable_state_folder_is_broken(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, document = doctor(SPANLINE_HOME=str(tmp_path / "file" / "home"))
    assert code == 1
    assert levels(document, "state")[0][0] == "broken"


def test_endpoints_that_answer_and_that_do_not(answering: str, free_port: int) -> None:
    code, document = doctor(OPENLINEAGE_URL=answering, SPANLINE_JAEGER_URL=f"http://127.0.0.1:{free_port}")
    assert code == 1
    assert {level for level, _ in levels(document, "endpoints")} == {"ok", "broken"}
    code, document = doctor(SPANLINE_JAEGER_URL="http://jaeger.invalid:16686")
    assert (code, [level for level, _ in levels(document, "endpoints")]) == (0, ["warn"]), "browsers may know this host"
    code, document = doctor(OPENLINEAGE_URL=f"http://user:pass@127.0.0.1:{free_port}")
    assert code == 1
    ((level, message),) = levels(document, "endpoints")
    assert level == "broken"
    assert "pass" not in message
    code, document = doctor(SPANLINE_SERVER_URL=answering)
    assert (code, levels(document, "endpoints")[0][0]) == (1, "broken")
    code, document = doctor(OPENLINEAGE_URL=f"http://127.0.0.1:{free_port}", OPENLINEAGE_DISABLED="true")
    assert (code, levels(document, "endpoints")) == (0, [])


def test_a_broken_transport_configuration_is_told(tmp_path: Path) -> None:
    config = tmp_path / "openlineage.yml"
    config.write_text("transport: {type: nonsense}")
    code, document = doctor(OPENLINEAGE_CONFIG=str(config))
    assert code == 1
    assert "nonsense" in levels(document, "delivery")[0][1]


@pytest.mark.parametrize(
    ("environ", "area", "words"),
    [
        ({"SPANLINE_LEDGER_URL": "mysql://host/runs"}, "ledger", "SQLite or PostgreSQL"),
        ({"SPANLINE_LEDGER_URL": "sqlite:////proc/nowhere/runs.db"}, "ledger", "no ledger can be made"),
        ({"OPENLINEAGE_URL": "http://127.0.0.1:9", "SPANLINE_OPENLINEAGE_PRESET": "marqez"}, "delivery", "unknown preset 'marqez'"),
        ({"SPANLINE_BASE_URL": "localhost:8000"}, "settings", "SPANLINE_BASE_URL is 'localhost:8000', expected an http:// or https:// URL"),
        ({"OPENLINEAGE_URL": "not a url"}, "settings", "it counts as not set"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:99999"}, "endpoints", "has no valid port"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "u:pass@127.0.0.1:4318"}, "endpoints", "(127.0.0.1:4318) has no http://"),
    ],
)
def test_what_is_set_wrongly_is_one_broken_thing_among_all_that_is_told(
    environ: dict[str, str], area: str, words: str, tmp_path: Path
) -> None:
    code, document = doctor(SPANLINE_HOME=str(tmp_path), **environ)
    assert code == 1
    (found,) = [check for check in document["checks"] if check["level"] == "broken" and check["area"] == area]
    assert words in found["message"]
    assert found["hint"]
    assert "u:pass" not in json.dumps(document)
    assert document["checks"][-1]["area"] == "packages"


def test_a_changed_journal_is_broken(tmp_path: Path) -> None:
    folder = tmp_path / "journal" / "fees"
    folder.mkdir(parents=True)
    (folder / "stranger.txt").write_text("?")
    code, document = doctor(SPANLINE_HOME=str(tmp_path))
    assert code == 1
    assert levels(document, "journal")[0] == ("broken", "fees: stranger.txt: not a file of this journal")


def test_a_corrupt_ledger_is_broken_and_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_bytes(b"this is no database, " * 500)
    code, document = doctor(SPANLINE_HOME=str(tmp_path))
    assert code == 1
    (check,) = [check for check in document["checks"] if check["area"] == "ledger"]
    assert check["level"] == "broken"
    assert "move" in check["hint"]


def test_for_people_there_is_a_last_line(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["doctor"], env={"SPANLINE_HOME": str(tmp_path)})
    assert done.exit_code == 0
    assert done.output.splitlines()[-1] == "nothing is broken"
