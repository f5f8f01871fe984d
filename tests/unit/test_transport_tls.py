"""The HTTP transport over TLS: whose certificates it takes."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme

from spanline.errors import TransportError
from spanline.transports.http import HttpTransport

EVENT = {"eventType": "START", "run": {"runId": "4bf92f35-77b3-4da6-a3ce-929d0e0e4736"}}


@dataclass
class Consumer:
    port: int
    authority: Path
    bodies: list[bytes]


@pytest.fixture
def consumer(tmp_path: Path) -> Iterator[Consumer]:
    """A consumer whose certificate an authority of our own signed, for `localhost` alone."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    bodies: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(201)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that refuses the certificate hangs up."""

    server = Server(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield Consumer(server.server_port, tmp_path / "authority.pem", bodies)
    server.shutdown()
    server.server_close()
    thread.join(5)


def test_a_certificate_of_the_given_authority_is_taken(consumer: Consumer) -> None:
    transport = HttpTransport(f"https://localhost:{consumer.port}", ca_file=str(consumer.authority))
    for _ in range(3):
        transport.emit(EVENT)
    transport.close(1)
    assert len(consumer.bodies) == 3


@pytest.mark.parametrize(("host", "given"), [("localhost", False), ("127.0.0.1", True)], ids=["unknown authority", "another name"])
def test_any_other_certificate_is_refused_before_anything_is_sent(consumer: Consumer, host: str, given: bool) -> None:
    transport = HttpTransport(f"https://{host}:{consumer.port}", ca_file=str(consumer.authority) if given else None)
    with pytest.raises(TransportError, match="SSLCertVerificationError") as refused:
        transport.emit(EVENT)
    transport.close(1)
    assert refused.value.status is None
    assert consumer.bodies == []


def test_none_is_looked_at_where_the_configuration_says_so(consumer: Consumer) -> None:
    transport = HttpTransport.from_options({"url": f"https://127.0.0.1:{consumer.port}", "verify": False})
    transport.emit(EVENT)
    transport.close(1)
    assert len(consumer.bodies) == 1
