"""One kept-alive HTTP/1.1 connection. A usual answer is read without the machinery of an HTTP library; any other goes through the standard one.

urllib3 connects (names, timeouts, TLS and its certificates). After that a request is one `send` and its answer one `recv`: a
tenth of the instructions, which a relay thread takes from the interpreter that serves requests.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import socket
import ssl
from collections.abc import Mapping
from typing import Any, cast

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util import parse_url

_CHUNK = 65536
_LONGEST_HEAD = 65536
_NEWLINE = b"\r\n"
_END = _NEWLINE + _NEWLINE
_UNUSUAL = (b"\r\ntransfer-encoding:", b"\r\ncontent-encoding:", b"\r\ncontent-type: text/html", b"\r\nconnection: close", b"\r\n ")

Answer = tuple[int, bytes, Mapping[str, str]]
"""Status, beginning of the body, and headers by small name (none of a usual answer: nobody asks for them)."""

_NONE: Mapping[str, str] = {}


class Connection:
    """A connection to one server; not shared by threads.

    Args:
        base: Any URL of the server.
        connect_s: Timeout of connecting. Unit: seconds.
        read_s: Timeout of each step of an answer. Unit: seconds.
        verify: Check the certificate of the other end.
        ca_file: Certificates to check it with, in place of the system's.
    """

    def __init__(self, base: str, *, connect_s: float, read_s: float, verify: bool = True, ca_file: str | None = None) -> None:
        url = parse_url(base)
        host = (url.host or "").strip("[]")
        self.authority = url.netloc or ""
        """Host and port, as the `Host` header has them."""
        if url.scheme == "https":
            required = ssl.CERT_REQUIRED if verify else ssl.CERT_NONE
            self._to: HTTPConnection = HTTPSConnection(host, url.port or 443, timeout=connect_s, cert_reqs=required, ca_certs=ca_file)
        else:
            self._to = HTTPConnection(host, url.port or 80, timeout=connect_s)
        self._read_s = read_s
        self._socket: socket.socket | None = None
        self.used = False
        """It has answered before, so that an error may be the end of an idle connection only."""

    def ask(self, head: bytes, body: bytes | None, most: int) -> Answer:
        """Send one request and read its answer; after an error the connection is closed, and the next request opens it anew.

        Args:
            head: What `request_head` made.
            body: The body; None for a request that has none.
            most: So much of the answer's body is read. Unit: bytes.

        Raises:
            OSError, http.client.HTTPException, urllib3.exceptions.HTTPError: No answer, or none that is HTTP.
        """
        try:
            sock = self._socket or self._connect()
            with contextlib.suppress(BrokenPipeError):  # It may have answered before it had read everything.
                sock.sendall(head + _NEWLINE if body is None else b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body))
            data = _head(sock)
            answer = _usual(data)
            if answer is None:
                answer, keep = _unusual(data, sock, head[: head.index(b" ")].decode(), most)
                if not keep:
                    self.close()
            self.used = self._socket is not None
            return answer
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close it; `ask` opens it again."""
        self._socket = None
        self.used = False
        self._to.close()

    def __del__(self) -> None:
        # Also of one that a forked child leaves to its parent: the child's copy of the descriptor goes.
        with contextlib.suppress(Exception):
            self._to.close()

    def _connect(self) -> socket.socket:
        self._to.connect()
        sock = self._to.sock
        assert sock is not None
        sock.settimeout(self._read_s)
        self._socket = sock
        return sock


def request_head(method: str, url: str, authority: str, headers: Mapping[str, str]) -> bytes:
    """Request line and headers, as far as all requests to a URL have the same; `content-length` and the empty line come after it.

    Raises:
        ValueError: A header that would break out of its line, or that HTTP has no letters for.
    """
    lines = [f"{method} {parse_url(url).request_uri} HTTP/1.1", f"host: {authority}", "accept-encoding: identity"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError("a header with a line break")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n"


def _head(sock: socket.socket) -> bytes:
    """What has come of an answer once its headers are there, or what is no headers."""
    data = sock.recv(_CHUNK)
    if not data:
        raise http.client.RemoteDisconnected("closed without an answer")
    while _END not in data and len(data) < _LONGEST_HEAD and data[:5] == b"HTTP/":
        more = sock.recv(_CHUNK)
        if not more:
            break
        data += more
    return data


def _usual(data: bytes) -> Answer | None:
    """An answer that is whole: 2xx, with a length (or 204), kept alive; None for any other."""
    if data[:10] != b"HTTP/1.1 2":
        return None
    head, _, body = data.partition(_END)
    head = head.lower()
    for sign in _UNUSUAL:
        if sign in head:
            return None
    status = data[9:12]
    _, found, rest = head.partition(b"\r\ncontent-length:")
    length = rest.partition(b"\r\n")[0].strip() if found else b"0" if status == b"204" else b""
    if not status.isdigit() or not length.isdigit() or len(body) != int(length) or b"\r\ncontent-length:" in rest:
        return None
    return int(status), body, _NONE


class _Rest(io.RawIOBase):
    """A socket, after what has been read of it."""

    def __init__(self, begun: bytes, sock: socket.socket) -> None:
        self._begun = begun
        self._socket = sock

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._begun:
            return self._socket.recv_into(buffer)
        size = min(len(buffer), len(self._begun))
        buffer[:size], self._begun = self._begun[:size], self._begun[size:]
        return size

    def makefile(self, mode: str) -> io.BufferedReader:
        """As `HTTPResponse` asks of a socket."""
        return io.BufferedReader(self)


def _unusual(begun: bytes, sock: socket.socket, method: str, most: int) -> tuple[Answer, bool]:
    """Any answer, by the standard library; and whether the connection can be used again."""
    response = http.client.HTTPResponse(cast(socket.socket, _Rest(begun, sock)), method=method)
    response.begin()
    body = response.read(most)
    if response.length and len(body) < most:
        raise http.client.IncompleteRead(body, response.length)
    whole = response.isclosed() or not response.read(1)
    headers = {name.lower(): value for name, value in response.getheaders()}
    return (response.status, body, headers), whole and not response.will_close
