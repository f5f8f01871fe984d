"""The stand-in's HTTP side, on a free loopback port."""

from __future__ import annotations

import gzip
import json
import threading
import zlib
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from tests.standins.openlineage.checks import Refused, read_event
from tests.standins.openlineage.model import State, merged
from tests.standins.openlineage.rules import write
from tests.standins.openlineage.times import java_uuid, parse_time
from tests.standins.openlineage.views import graph_view, job_view, run_view

Answer = tuple[int, Any]
Fault = tuple[int, str, bytes]
"""Status, content type and body that are answered in place of what the rules say."""

_PAGE = "<html> <head> <title>Error {0}</title> </head> <body><h2>HTTP ERROR {0}</h2> </body> </html>"
_READS = {"events", "jobs", "lineage", "namespaces"}


class StandIn(ThreadingHTTPServer):
    """The running stand-in. Context manager.

    `posts` holds what was posted to `/api/v1/lineage`, `fault` may answer in place of the rules.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.state = State()
        self.posts: list[dict[str, Any]] = []
        self.requests: list[tuple[str, str]] = []
        self.connections = 0
        self.fault: Callable[[str, dict[str, Any] | None], Fault | None] = lambda path, event: None
        self.lock = threading.Lock()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def url(self) -> str:
        """Base URL."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._thread.join(5)
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no error."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: StandIn  # pyright: ignore[reportIncompatibleVariableOverride]

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def do_POST(self) -> None:
        path = urlsplit(self.path).path
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        with self.server.lock:
            self.server.requests.append(("POST", self.path))
            if path != "/api/v1/lineage":
                self._fault_or(path, None, (404, _code(404, "HTTP 404 Not Found")))
                return
            if self.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
                self._send(415, _code(415, "HTTP 415 Unsupported Media Type"))
                return
            try:
                event = read_event(self._unpacked(body))
                if fault := self.server.fault(path, event):
                    self._send_raw(*fault)
                    return
                self.server.posts.append(json.loads(json.dumps(event)))
                write(self.server.state, _storable(event))
            except Refused as refused:
                if refused.body is None:
                    self._send_raw(refused.status, "text/html;charset=iso-8859-1", _PAGE.format(refused.status).encode())
                else:
                    self._send(refused.status, refused.body)
                return
        self._send(201, None)

    def do_GET(self) -> None:
        with self.server.lock:
            self.server.requests.append(("GET", self.path))
            url = urlsplit(self.path)
            segments = [unquote(segment) for segment in url.path.strip("/").split("/")]
            query = {name: values[0] for name, values in parse_qs(url.query).items()}
            known = segments[:2] == ["api", "v1"] and len(segments) > 2 and segments[2] in _READS
            answer = _read(self.server.state, segments[2:], query) if known else None
            self._fault_or(url.path, None, answer or (404, _code(404, "HTTP 404 Not Found")))

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        self._send(405, _code(405, "HTTP 405 Method Not Allowed"))

    def _unpacked(self, body: bytes) -> bytes:
        coding = self.headers.get("content-encoding")
        if coding == "gzip":
            try:
                return gzip.decompress(body)
            except (OSError, EOFError, zlib.error) as error:
                self.close_connection = True
                raise Refused(500, {"code": 500, "message": "There was an error processing your request."}) from error
        if coding is not None:
            raise Refused(500, {"code": 400, "message": "Unexpected character"})
        return body

    def _fault_or(self, path: str, event: dict[str, Any] | None, answer: Answer) -> None:
        if fault := self.server.fault(path, event):
            self._send_raw(*fault)
        else:
            self._send(*answer)

    def _send(self, status: int, body: Any) -> None:
        self._send_raw(status, "application/json", b"" if body is None else json.dumps(body).encode())

    def _send_raw(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        if body:
            self.send_header("content-type", content_type)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        return


def _read(state: State, path: list[str], query: dict[str, str]) -> Answer | None:
    match path:
        case ["namespaces"]:
            names = sorted({"default", *state.namespaces})
            return 200, {"namespaces": [{"name": name, "ownerName": "anonymous", "isHidden": False} for name in names]}
        case ["namespaces", namespace]:
            return (200, {"name": namespace}) if namespace in state.namespaces else _absent("Namespace", namespace)
        case ["namespaces", namespace, "jobs"]:
            jobs = [job_view(state, job) for job in state.jobs.values() if job.namespace == namespace]
            return 200, {"totalCount": len(jobs), "jobs": jobs}
        case ["namespaces", namespace, "jobs", name] | ["namespaces", namespace, "jobs", name, "runs"]:
            job = state.jobs.get((namespace, name))
            if job is None:
                return _absent("Job", name)
            if path[-1] != "runs" or len(path) == 4:
                return 200, job_view(state, job)
            runs = state.runs_of(job)
            return 200, {"runs": [run_view(run) for run in runs[: int(query.get("limit", 100))]], "totalCount": len(runs)}
        case ["jobs", "runs", run_id, *rest]:
            return _run(state, run_id, rest, query)
        case ["lineage"]:
            return _lineage(state, query)
        case ["events", "lineage"]:
            after, before = (parse_time(query[name]) for name in ("after", "before"))
            found = sorted(((at, event) for at, event in state.events if after <= at < before), key=lambda pair: -pair[0])
            return 200, {"totalCount": len(state.events), "events": [event for _, event in found]}
        case _:
            return None


def _run(state: State, run_id: str, rest: list[str], query: dict[str, str]) -> Answer | None:
    if len(run_id) != 36 or java_uuid(run_id) is None:
        return None
    if rest and query.get("type") is None:
        return 400, {"errors": ["query param type must not be null"]}
    run = state.runs.get(run_id.lower())
    if run is None:
        return _absent("Run", run_id)
    if not rest:
        return 200, run_view(run)
    facets = merged({"run": run.facets, "job": run.job_facets}.get(query["type"], []))
    return 200, {"runId": run.id, "facets": facets} if facets else None


def _lineage(state: State, query: dict[str, str]) -> Answer | None:
    node = query.get("nodeId")
    if node is None:
        return 400, {"errors": ["query param nodeId must not be null"]}
    graph = graph_view(state, node, int(query.get("depth", 20)))
    if graph is not None:
        return 200, graph
    kind, _, rest = node.partition(":")
    return _absent(kind.capitalize(), rest.partition(":")[2]) if kind in {"job", "dataset"} else None


def _storable(event: dict[str, Any]) -> dict[str, Any]:
    """A lone surrogate is stored as `?`."""
    text = json.dumps(event, ensure_ascii=False).encode("utf-8", "replace").decode()
    return json.loads(text)


def _absent(what: str, name: str) -> Answer:
    return 404, _code(404, f"{what} '{name}' not found.")


def _code(code: int, message: str) -> dict[str, Any]:
    return {"code": code, "message": message}
