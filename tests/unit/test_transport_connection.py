"""The lean connection answers as an HTTP library does, whatever shape an answer has."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import os
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from spanline.errors import TransportError
from spanline.transports.connection import Connection, _unusual, _usual, request_head
from spanline.transports.http import HttpTransport


class Scripted:
    """A server that sends what it is told, in these pieces, to every request; `None` closes the connection."""

    def __init__(self, *pieces: bytes | None) -> None:
        self.pieces = pieces
        self.requests: list[bytes] = []
        self.connections = 0
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            with sock, contextlib.suppress(ConnectionError):
                self._serve(sock)

    def _serve(self, sock: socket.socket) -> None:
        while (request := _request(sock)) is not None:
            self.requests.append(request)
            for piece in self.pieces:
                if piece is None:
                    return
                sock.sendall(piece)

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(5)


def _request(sock: socket.socket) -> bytes | None:
    """One whole request; None at the end."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(65536)
        if not more:
            return None
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    found = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    length = int(found[0].split(b":")[1]) if found else 0
    while len(body) < length:
        body += sock.recv(65536)
    return head + b"\r\n\r\n" + body


@pytest.fixture
def scripted() -> Iterator[Callable[..., Scripted]]:
    made: list[Scripted] = []

    def make(*pieces: bytes | None) -> Scripted:
        made.append(Scripted(*pieces))
        return made[-1]

    yield make
    for server in made:
        server.close()


@pytest.fixture
def transport() -> Iterator[Callable[[str], HttpTransport]]:
    made: list[HttpTransport] = []

    def make(url: str, **options: Any) -> HttpTransport:
        made.append(HttpTransport(url, read_s=5.0, **options))
        return made[-1]

    yield make
    for each in made:
        each.close(1.0)


OK = b"HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n"
CHUNKED = b"HTTP/1.1 201 Created\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
TAKEN = [
    (OK,),
    (b"HTTP/1.1 204 No Content\r\n\r\n",),
    (b"HTTP/1.1 200 OK\r\nContent-Length:2\r\nConnection: keep-alive\r\n\r\n{}",),
    tuple(OK[place : place + 1] for place in range(len(OK))),
    (b"HTTP/1.1 200 OK\r\ncontent-length: 200000\r\n\r\n" + b"x" * 100_000, b"x" * 100_000),
    (CHUNKED,),
    (CHUNKED[:60], CHUNKED[60:]),
    (b"HTTP/1.1 100 Continue\r\n\r\n" + OK,),
]


@pytest.mark.parametrize("pieces", TAKEN)
def test_the_connection_is_kept(scripted: Callable[..., Scripted], transport: Callable[[str], HttpTransport], pieces: tuple[bytes]) -> None:
    server = scripted(*pieces)
    sender = transport(server.url)
    for _ in range(3):
        sender.emit_line(b'{"a": 1}')
    assert [request.partition(b"\r\n\r\n")[2] for request in server.requests] == [b'{"a": 1}'] * 3
    assert server.connections == 1


ONCE = [
    (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nConnection: close\r\n\r\n", None),
    (b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n", None),
    (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", None),
    (OK, None),
]


@pytest.mark.parametrize("pieces", ONCE)
def test_a_connection_that_the_other_end_closes(
    scripted: Callable[..., Scripted], transport: Callable[[str], HttpTransport], pieces: tuple[bytes]
) -> None:
    server = scripted(*pieces)
    sender = transport(server.url)
    for _ in range(3):
        sender.emit_line(b"{}")
    assert len(server.requests) == server.connections == 3


def test_more_than_an_answer_can_hold_closes_the_connection(
    scripted: Callable[..., Scripted], transport: Callable[[str], HttpTransport]
) -> None:
    server = scripted(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n" + b"x" * 1_000_000)
    sender = transport(server.url)
    assert sender.probe("a") == (200, b"x" * 256 * 1024)
    assert sender.probe("b")[0] == 200
    assert server.connections == 2


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 503 Away\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n", "HTTP 503"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\ncontent-length: 2\r\n\r\nhi", "HTTP 200 with a web page"),
        (b"HTTP/1.1 302 Found\r\nlocation: /login\r\ncontent-length: 0\r\n\r\n", "HTTP 302"),
        (b"HTTP/1.1 abc\r\n\r\n", "malformed answer"),
        (b"220 mail.example.com ESMTP\r\n", "malformed answer"),
    ],
)
def test_what_is_not_taken(
    scripted: Callable[..., Scripted], transport: Callable[[str], HttpTransport], answer: bytes, reason: str
) -> None:
    sender = transport(scripted(answer, None).url)
    with pytest.raises(TransportError, match=reason) as caught:
        sender.emit_line(b"{}")
    assert caught.value.retry_after_s == (7 if "503" in reason else None)


@pytest.mark.parametrize(
    "answer",
    [OK, *(pieces[0] for pieces in TAKEN if len(pieces) == 1), b"HTTP/1.1 202 Accepted\r\ncontent-length: 4\r\nx: y\r\n\r\nabcd"],
)
def test_a_usual_answer_is_what_the_library_reads(answer: bytes) -> None:
    usual = _usual(answer)
    one, other = socket.socketpair()
    with one, other:
        other.close()
        library, _ = _unusual(answer, one, "POST", 1 << 20)
    assert usual is None or usual[:2] == library[:2]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nx: y\r\n folded: 1\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 2x0 OK\r\ncontent-length: 0\r\n\r\n",
    ],
)
def test_what_is_not_usual(answer: bytes) -> None:
    assert _usual(answer) is None


def test_the_request(scripted: Callable[..., Scripted], transport: Callable[..., HttpTransport]) -> None:
    server = scripted(OK)
    sender = transport(f"{server.url}/base/", api_key="secret", headers={"x-tenant": "bank"}, compress=True)
    sender.emit_line(b'{"a": 1}')
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    line, *headers = head.decode().split("\r\n")
    assert line == "POST /base/api/v1/lineage HTTP/1.1"
    assert dict(header.split(": ", 1) for header in headers) == {
        "host": server.url.removeprefix("http://"), "accept-encoding": "identity", "content-type": "application/json",
        "user-agent": "spanline", "x-tenant": "bank", "authorization": "Bearer secret", "content-encoding": "gzip",
        "content-length": str(len(body)),
    }  # fmt: skip
    assert gzip.decompress(body) == b'{"a": 1}'


def test_a_header_cannot_break_out_of_its_line() -> None:
    with pytest.raises(ValueError, match="line break"):
        request_head("POST", "http://a/b", "a", {"x": "1\r\ny: 2"})
    with pytest.raises(TransportError, match="ValueError"):
        HttpTransport("http://127.0.0.1:1", headers={"x": "1\ny: 2"}).emit_line(b"{}")


@pytest.mark.parametrize(("url", "authority"), [("http://[::1]:8080/x", "[::1]:8080"), ("http://user:word@host/x", "host")])
def test_the_authority_has_no_password(url: str, authority: str) -> None:
    assert Connection(url, connect_s=1, read_s=1).authority == authority


def test_an_answer_before_the_request_was_read(transport: Callable[[str], HttpTransport]) -> None:
    """413 while the body is still being sent."""
    listening = socket.create_server(("127.0.0.1", 0))

    def refuse() -> None:
        sock, _ = listening.accept()
        sock.recv(1)
        sock.sendall(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(1 << 16):
            pass
        sock.close()

    thread = threading.Thread(target=refuse, daemon=True)
    thread.start()
    with pytest.raises(TransportError, match="HTTP 413"):
        transport(f"http://127.0.0.1:{listening.getsockname()[1]}").emit_line(os.urandom(1 << 20))
    thread.join(5)
    listening.close()


def test_what_was_cut_short_is_no_answer(scripted: Callable[..., Scripted], transport: Callable[[str], HttpTransport]) -> None:
    sender = transport(scripted(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc", None).url)
    with pytest.raises(TransportError, match=r"no answer \(IncompleteRead\)"):
        sender.emit_line(b"{}")
    assert issubclass(http.client.IncompleteRead, http.client.HTTPException)
