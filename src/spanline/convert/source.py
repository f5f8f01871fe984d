"""Source: a file or standard input, unpacked, told by its content, read request by request."""

from __future__ import annotations

import gzip
import io
import re
import zlib
from collections.abc import Callable
from typing import IO, cast

from spanline.convert.intake import Intake
from spanline.convert.large_json import requests
from spanline.convert.otlp_json import JsonReader, is_request
from spanline.convert.otlp_proto import ProtoReader
from spanline.convert.wire import looks_like_request

WHOLE = 16 << 20
"""Bytes of a line, or of a document of several lines, that is read at once; a larger one is read in pieces."""

_HEAD = 64
_JSON = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:\{\s*[\"}]|\[\s*[\{\]])")
_UNREADABLE = (EOFError, gzip.BadGzipFile, zlib.error, OSError)

Report = Callable[[int, str], None]
"""Told of what is broken: the line (of binary files the number of the request), and why; no content is in it."""


class _Rewound(io.RawIOBase):
    """A stream with its first bytes put back."""

    def __init__(self, head: bytes, rest: IO[bytes]) -> None:
        super().__init__()
        self._head = head
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(cast(bytearray, buffer))
        data = self._head[: len(view)] if self._head else self._rest.read(len(view))
        if self._head:
            self._head = self._head[len(data) :]
        view[: len(data)] = data
        return len(data)


class _Complaints:
    """One line a broken line, however many of its parts are broken."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self.number = 0
        self._reasons: list[str] = []

    def __call__(self, reason: str) -> None:
        self._reasons.append(reason)

    def settle(self) -> None:
        if self._reasons:
            more = f" (and {len(self._reasons) - 1} more)" if len(self._reasons) > 1 else ""
            self._report(self.number, self._reasons[0] + more)
            self._reasons = []


class Source:
    """Reads inputs into an intake.

    Args:
        intake: Takes spans and log records.
        whole: Bytes that are read at once.
    """

    def __init__(self, intake: Intake, whole: int = WHOLE) -> None:
        self._json = JsonReader(intake)
        self._proto = ProtoReader(intake, whole)
        self._whole = whole

    def read(self, raw: IO[bytes], report: Report) -> None:
        """Read one input to its end; what is broken is reported, the rest is taken."""
        complaints = _Complaints(report)
        try:
            head, stream = _unpacked(raw)
            if not head:
                return
            if _JSON.match(head):
                self._text(stream, complaints)
            elif head[0] < 8:
                self._delimited(stream, complaints)
            elif looks_like_request(head):
                complaints.number = 1
                self._proto.request(stream, None, complaints)
            else:
                self._text(stream, complaints)
        except _UNREADABLE as error:
            complaints.number += 1
            complaints(f"cannot be read to its end: {_cause(error)}")
        except ValueError as error:
            complaints(str(error))
        complaints.settle()

    def _delimited(self, stream: io.BufferedReader, complaints: _Complaints) -> None:
        """The Collector's form: length in 4 bytes, big endian, then a request."""
        while head := stream.read(4):
            complaints.number += 1
            if len(head) < 4:
                raise ValueError("protobuf that is cut off")
            size = int.from_bytes(head)
            if size > self._whole:
                self._proto.request(stream, size, complaints)
            else:
                body = stream.read(size)
                try:
                    self._proto.request(io.BytesIO(body), size, complaints)
                except ValueError as error:
                    complaints(str(error))
                if len(body) < size:
                    return
            complaints.settle()

    def _text(self, stream: io.BufferedReader, complaints: _Complaints) -> None:
        complaints.number = 1
        first = stream.readline(self._whole + 1).removeprefix(b"\xef\xbb\xbf")
        while first and not first.strip():
            complaints.number += 1
            first = stream.readline(self._whole + 1)
        if len(first) > self._whole:
            self._large(first, stream, complaints)
        elif first.rstrip().endswith((b"{", b"[", b",")):
            self._document(first, stream, complaints)
        elif first:
            self._lines(first, stream, complaints)

    def _document(self, first: bytes, stream: io.BufferedReader, complaints: _Complaints) -> None:
        """One request over several lines; lines of requests all the same, where the first one is cut off."""
        rest = stream.read(self._whole)
        if len(rest) == self._whole:
            self._large(first + rest, stream, complaints)
            return
        try:
            self._json.read(first + rest, complaints)
        except ValueError as error:
            lines = rest.splitlines()
            if any(is_request(line) for line in lines):
                self._lines(first, io.BytesIO(rest), complaints)
            else:
                complaints(str(error))

    def _lines(self, line: bytes, stream: IO[bytes], complaints: _Complaints) -> None:
        while line:
            if len(line) > self._whole and not line.endswith(b"\n"):
                self._large(line, stream, complaints)
                return
            if line.strip():
                try:
                    self._json.read(line, complaints)
                except ValueError as error:
                    complaints(str(error))
                complaints.settle()
            complaints.number += 1
            line = stream.readline(self._whole + 1)

    def _large(self, head: bytes, stream: IO[bytes], complaints: _Complaints) -> None:
        """What is too large to be read at once: in pieces, to the end of the input."""
        before = complaints.number - 1
        for line, text in requests(io.BufferedReader(_Rewound(head, stream), 1 << 20).read):
            complaints.number = before + line
            try:
                self._json.read(text, complaints)
            except ValueError as error:
                complaints(str(error))
            complaints.settle()


def _unpacked(raw: IO[bytes]) -> tuple[bytes, io.BufferedReader]:
    """The first bytes, and all of it; gzip is told by its content."""
    head = raw.read(_HEAD)
    stream: IO[bytes] = io.BufferedReader(_Rewound(head, raw), 1 << 20)
    if head.startswith(b"\x1f\x8b"):
        unpacked = gzip.GzipFile(fileobj=stream, mode="rb")
        head = unpacked.read(_HEAD)
        stream = io.BufferedReader(_Rewound(head, cast(IO[bytes], unpacked)), 1 << 20)
    return head, cast(io.BufferedReader, stream)


def _cause(error: Exception) -> str:
    """Why, without what was read."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return "gzip that is cut off" if isinstance(error, EOFError) else "gzip that is broken"
