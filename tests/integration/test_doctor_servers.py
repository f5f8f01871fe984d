"""`spanline doctor` on real servers and on what stands at wrong addresses: it says which, and how to mend it; the app does not notice."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from fastapi import FastAPI
from fastapi.testclient import TestClient
from prometheus_client import CollectorRegistry

import spanline
from spanline.cli.main import main
from spanline.ledger import Ledger
from spanline.server.app import build_app
from spanline.settings import Settings
from tests.browser.conftest import serving
from tests.servers.child import free_port
from tests.servers.observability import Jaeger, prometheus

Answers = dict[str, tuple[int, str, str]]
HTML = (200, "text/html; charset=utf-8", "<!doctype html><title>Sign in</title>")


class Said(list[tuple[str, str, str]]):
    """Findings about endpoints: `(level, message, hint)`."""

    @property
    def levels(self) -> list[str]:
        return [level for level, _, _ in self]


def doctor(**env: str) -> Said:
    done = CliRunner().invoke(main, ["doctor", "--json"], env=env)
    document = json.loads(done.stdout)
    found = Said((check["level"], check["message"], check["hint"]) for check in document["checks"] if check["area"] == "endpoints")
    assert done.exit_code == (0 if document["ok"] else 1)
    assert all(hint for level, _, hint in found if level in {"warn", "broken"}), "whatever is wrong comes with what to do"
    return found


@contextmanager
def answering(answers: Answers | None = None, default: tuple[int, str, str] = (404, "text/plain", "")) -> Iterator[tuple[str, list[str]]]:
    """A server with given answers by path, and what it was asked. It stands for what cannot be had here, or for what is there by mistake."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("content-length") or 0))
            asked.append(f"{self.command} {self.path}")
            status, kind, body = (answers or {}).get(self.path.partition("?")[0], default)
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        do_GET = do_POST = answer

        def log_message(self, *_: Any, **__: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


# Prometheus ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("exemplars", [False, True])
def test_a_real_prometheus_with_and_without_exemplar_storage(tmp_path: Path, exemplars: bool) -> None:
    with prometheus(tmp_path, exemplars=exemplars) as server:
        found = doctor(SPANLINE_PROMETHEUS_URL=server.url)
    assert found[0][0] == "ok"
    if exemplars:
        assert found.levels == ["ok", "note"], "it has nothing of ours yet"
        assert "no llm_latency_seconds" in found[1][1]
    else:
        assert found.levels == ["ok", "broken"]
        assert "keeps no exemplars" in found[1][1]
        assert found[1][2] == "start it with --enable-feature=exemplar-storage"


# Jaeger and OTLP -----------------------------------------------------------------------------------------------------------


def test_a_real_jaeger_takes_spans_and_links(jaeger: Jaeger) -> None:
    found = doctor(SPANLINE_JAEGER_URL=jaeger.url, OTEL_EXPORTER_OTLP_ENDPOINT=jaeger.otlp_http)
    assert found.levels == ["ok", "ok"]
    assert found[0][1].endswith("/v1/traces")
    found = doctor(OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=f"{jaeger.otlp_http}/v1/traces")
    assert found.levels == ["ok"]
    found = doctor(OTEL_EXPORTER_OTLP_ENDPOINT=f"http://{jaeger.otlp_grpc}", OTEL_EXPORTER_OTLP_PROTOCOL="grpc")
    assert found.levels == ["ok"]


def test_an_otlp_endpoint_with_a_path_too_many_and_too_few(jaeger: Jaeger) -> None:
    """The two variables differ in what is added: both mistakes lose every span, silently."""
    ((level, message, hint),) = doctor(OTEL_EXPORTER_OTLP_ENDPOINT=f"{jaeger.otlp_http}/v1/traces")
    assert (level, message.endswith("/v1/traces/v1/traces")) == ("broken", True)
    assert "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" in hint
    ((level, message, hint),) = doctor(OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=jaeger.otlp_http)
    assert (level, "has no path" in message) == ("broken", True)
    assert f"write {jaeger.otlp_http}/v1/traces" in hint
    ((level, message, _),) = doctor(OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=f"{jaeger.otlp_http}/v1/trace")
    assert (level, "takes no spans there" in message) == ("broken", True)
    ((level, message, _),) = doctor(OTEL_EXPORTER_OTLP_ENDPOINT=jaeger.url)
    assert level == "broken", "the UI's port is not the one for spans"


def test_grpc_where_http_is_spoken(jaeger: Jaeger) -> None:
    ((level, _, _),) = doctor(OTEL_EXPORTER_OTLP_ENDPOINT=f"http://{jaeger.otlp_grpc}")
    assert level == "broken"
    ((level, _, hint),) = doctor(OTEL_EXPORTER_OTLP_ENDPOINT="127.0.0.1:4317")
    assert (level, hint) == ("broken", "write http://127.0.0.1:4317")
    found = doctor(OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:4318", OTEL_EXPORTER_OTLP_PROTOCOL="grpc")
    assert "4318 is the port of OTLP over HTTP" in found[0][1]


def test_a_jaeger_that_is_down() -> None:
    ((level, message, hint),) = doctor(SPANLINE_JAEGER_URL=f"http://127.0.0.1:{free_port()}")
    assert (level, message.endswith("does not answer: connection refused")) == ("broken", True)
    assert "The application is not affected." in hint


def test_otlp_headers_are_sent_and_never_shown() -> None:
    with answering(default=(401, "application/json", "{}")) as (url, asked):
        found = doctor(OTEL_EXPORTER_OTLP_ENDPOINT=url, OTEL_EXPORTER_OTLP_HEADERS="authorization=Bearer%20s3cret")
    assert found.levels == ["broken"]
    assert asked == ["POST /v1/traces"]
    assert "s3cret" not in str(found)


# Run pages -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Callable[..., str]]:
    from contextlib import ExitStack

    with ExitStack() as stack:
        ledger = Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}")
        stack.callback(ledger.close)
        yield lambda **settings: stack.enter_context(
            serving(build_app(ledger, Settings.resolve(settings, {}), api=True, require_loopback=not settings))
        )


def test_a_base_url_that_is_right(runs: Callable[..., str]) -> None:
    assert doctor(SPANLINE_BASE_URL=runs()).levels == ["ok"]
    assert doctor(SPANLINE_BASE_URL=runs(tokens=("t",))).levels == ["ok"]


@pytest.mark.parametrize(
    "answer", [HTML, (404, "text/html", "<h1>nginx</h1>"), (404, "application/json", '{"detail":"Not Found"}'), (200, "text/plain", "")]
)
def test_a_base_url_that_is_another_site(answer: tuple[int, str, str]) -> None:
    with answering(default=answer) as (url, _):
        ((level, message, hint),) = doctor(SPANLINE_BASE_URL=url)
    assert (level, "where a run page should be" in message) == ("broken", True)
    assert "path prefix" in hint


def test_a_base_url_with_the_path_of_a_page(runs: Callable[..., str]) -> None:
    ((level, _, hint),) = doctor(SPANLINE_BASE_URL=f"{runs()}/r")
    assert (level, "without /r" in hint) == ("broken", True)


def test_a_central_server(runs: Callable[..., str]) -> None:
    url = runs(tokens=("right",))
    assert doctor(SPANLINE_SERVER_URL=url, SPANLINE_TOKENS="right").levels == ["ok"]
    ((level, message, hint),) = doctor(SPANLINE_SERVER_URL=url, SPANLINE_TOKENS="wrong")
    assert (level, "refuses us" in message, "SPANLINE_TOKENS" in hint) == ("broken", True, True)
    with answering(default=HTML) as (other, _):
        ((level, message, _),) = doctor(SPANLINE_SERVER_URL=other)
    assert (level, "is no `spanline serve`" in message) == ("broken", True)


# Marquez and other consumers -----------------------------------------------------------------------------------------------

NAMESPACES = {"/api/v1/namespaces": (200, "application/json", '{"namespaces": [], "totalCount": 0}')}


@pytest.mark.parametrize(
    ("answers", "default", "level", "word"),
    [
        (NAMESPACES, (404, "text/plain", ""), "ok", "is a Marquez"),
        ({}, (500, "application/json", '{"code":500}'), "broken", "answers with status 500"),
        ({}, (500, "text/html", "<h1>Internal Server Error</h1>"), "broken", "answers with status 500 and a web page"),
        ({}, (502, "text/html", "<h1>Bad Gateway</h1>"), "broken", "answers with status 502"),
        ({}, HTML, "broken", "is no API"),
        ({}, (401, "application/json", "{}"), "broken", "refuses us"),
        ({}, (404, "application/json", "{}"), "ok", "no Marquez"),
    ],
)
def test_what_stands_at_openlineage_url(answers: Answers, default: tuple[int, str, str], level: str, word: str) -> None:
    with answering(answers, default) as (url, asked):
        ((found, message, _),) = doctor(OPENLINEAGE_URL=url)
    assert (found, word in message) == (level, True), message
    assert not [line for line in asked if line.startswith("POST")], "looking writes nothing"


def test_a_web_page_is_told_apart_with_the_port_to_take() -> None:
    with answering(default=HTML) as (url, _):
        ((_, _, hint),) = doctor(OPENLINEAGE_URL=url)
    assert "port 5000" in hint
    with answering(default=(404, "application/json", '{"code":404}')) as (url, _):
        ((level, message, hint),) = doctor(SPANLINE_MARQUEZ_URL=url)
    assert (level, "no web page" in message, "port 3000" in hint) == ("broken", True, True)


def test_a_url_that_has_the_path_already() -> None:
    ((level, message, _),) = doctor(OPENLINEAGE_URL="http://127.0.0.1:9/api/v1/lineage")
    assert (level, message.endswith("/api/v1/lineage/api/v1/lineage")) == ("broken", True)


def test_the_api_key_is_sent_and_never_shown(tmp_path: Path) -> None:
    with answering(default=(401, "text/plain", "")) as (url, _):
        assert "s3cret" not in str(doctor(OPENLINEAGE_URL=url, OPENLINEAGE_API_KEY="s3cret"))
        config = tmp_path / "openlineage.yml"
        config.write_text(json.dumps({"transport": {"type": "http", "url": url, "auth": {"type": "api_key", "apiKey": "s3cret"}}}))
        ((level, message, _),) = doctor(OPENLINEAGE_CONFIG=str(config))
    assert (level, message.startswith("openlineage.yml: openlineage (")) == ("broken", True)
    assert "s3cret" not in message


# Grafana -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "levels"),
    [
        ((200, "application/json", '{"database":"ok","version":"13.2.0"}'), ["ok"]),
        ((200, "application/json", '{"database":"ok","version":"11.1.0"}'), ["ok", "note"]),
        (HTML, ["broken"]), ((503, "application/json", '{"database":"failing"}'), ["broken"]), ((404, "text/plain", ""), ["broken"]),
    ],
)  # fmt: skip
def test_grafana(answer: tuple[int, str, str], levels: list[str]) -> None:
    with answering({"/api/health": answer}) as (url, _):
        assert doctor(SPANLINE_GRAFANA_URL=url).levels == levels


# Whatever is there ---------------------------------------------------------------------------------------------------------

EVERYTHING = ("SPANLINE_JAEGER_URL", "SPANLINE_GRAFANA_URL", "SPANLINE_MARQUEZ_URL", "SPANLINE_BASE_URL", "SPANLINE_PROMETHEUS_URL", "SPANLINE_MLFLOW_URL",
              "OPENLINEAGE_URL", "OTEL_EXPORTER_OTLP_ENDPOINT")  # fmt: skip


@pytest.mark.parametrize("body", ["", "null", "[1]", '"x"', "{" * 100_000, '{"data": "x"}', '{"data": {"enable-feature": 1}}', "\ud83d"])
def test_nonsense_breaks_nothing(body: str) -> None:
    with answering(default=(200, "application/json", body.encode("utf-8", "replace").decode())) as (url, _):
        assert len(doctor(**dict.fromkeys(EVERYTHING, url))) >= len(EVERYTHING)


def test_a_silent_server_costs_a_moment_only() -> None:
    """It takes connections and says nothing: all are asked at once, and the app is not kept waiting for long either."""
    import socket

    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(64)
        began = time.monotonic()
        found = doctor(**dict.fromkeys(EVERYTHING, f"http://127.0.0.1:{silent.getsockname()[1]}"))
        assert time.monotonic() - began < 15
    assert all("no answer within" in message for _, message, _ in found), found


@pytest.mark.usefixtures("fresh_provider")
@pytest.mark.parametrize("kind", ["down", "500", "html"])
def test_the_app_does_not_notice(kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Everything around it is wrong: answers come as ever, nothing is counted as an internal error, and the run is in the journal."""
    default = HTML if kind == "html" else (500, "text/plain", "oops")
    with answering(default=default) as (url, _):
        where = f"http://127.0.0.1:{free_port()}" if kind == "down" else url
        for name in EVERYTHING:
            monkeypatch.setenv(name, where)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
        app = FastAPI()
        runtime = spanline.instrument(app, service="fees", registry=CollectorRegistry(), home=tmp_path)

        @app.get("/chat")
        def chat() -> dict[str, str]:
            with spanline.inference("openai", "gpt-4o") as call:
                call.response(model="gpt-4o-1")
            return {"answer": "42"}

        with TestClient(app) as http_client:
            http_client.get("/chat")
            began = time.perf_counter()
            replies = [http_client.get("/chat") for _ in range(20)]
            took_s = time.perf_counter() - began
        runtime.close(2.0)
    assert {(reply.status_code, reply.text) for reply in replies} == {(200, '{"answer":"42"}')}
    assert took_s < 10.0
    lines = b"".join(path.read_bytes() for path in (tmp_path / "journal" / "fees").glob("*.ndjson*"))
    assert all(reply.headers["x-trace-id"].encode() in lines for reply in replies)


@pytest.mark.usefixtures("fresh_provider")
def test_a_collector_that_is_down_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    runtime = spanline.configure(service="fees", registry=CollectorRegistry())
    with spanline.job("build"):
        pass
    began = time.monotonic()
    assert not runtime.flush(0.3)
    assert not runtime.close(0.5)
    assert time.monotonic() - began < 8.0
