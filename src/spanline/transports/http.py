"""The HTTP transport: the OpenLineage API over a kept-alive connection, one attempt an event."""

from __future__ import annotations

import email.utils
import gzip
import http.client
import json
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec
import urllib3

from spanline.errors import ConfigurationError, TransportError
from spanline.transports.base import BatchError, MalformedAnswer
from spanline.transports.connection import Answer, Connection, request_head
from spanline.transports.options import flag, mapping, number, text

ENDPOINT = "api/v1/lineage"
CONNECT_S = 2.0
READ_S = 10.0

_GZIP_LEVEL = 3
_ANSWER_BYTES = 256 * 1024
_LONGEST_WAIT_S = 3600.0

_encoder = msgspec.json.Encoder()


class HttpTransport:
    """Posts events to an OpenLineage consumer.

    No redirect is followed, and the relay decides what happens after a failure. The one exception: when a connection that was
    used before turns out to be dead (the other end closed it while it was idle, or after its last answer), the request is sent
    again at once on a new one.

    Args:
        url: Base of the consumer, `http://` or `https://`.
        endpoint: Path below it. Source: openlineage-python, `OPENLINEAGE_ENDPOINT`.
        api_key: Sent as a bearer token; never logged, never part of an error.
        headers: Further headers of every request.
        compress: gzip the body.
        verify: Check the certificate of the other end.
        ca_file: Certificates to check it with, in place of the system's.
        connect_s: Timeout of connecting. Unit: seconds.
        read_s: Timeout of the answer. Unit: seconds.
    """

    kind = "http"

    def __init__(
        self,
        url: str,
        *,
        endpoint: str = ENDPOINT,
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        compress: bool = False,
        verify: bool = True,
        ca_file: str | None = None,
        connect_s: float = CONNECT_S,
        read_s: float = READ_S,
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise ConfigurationError(f"transport url {url!r}: expected an http:// or https:// URL")
        self.base = url.rstrip("/")
        self.url = f"{self.base}/{endpoint.lstrip('/')}"
        self._headers = {"content-type": "application/json", "user-agent": "spanline", **(headers or {})}
        if api_key:
            self._headers["authorization"] = f"Bearer {api_key}"
        self.compress = compress
        self._verify = verify
        self._ca_file = ca_file
        self._connect_s = connect_s
        self._read_s = read_s
        self._connection: Connection | None = None
        self._heads: dict[tuple[str, str, bool], bytes] = {}
        self._pid = 0

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> HttpTransport:
        """From a transport of `openlineage.yml`. Source: openlineage-python, HttpConfig.

        Raises:
            ConfigurationError: A wrong or missing option.
        """
        verify = options.get("verify", True)
        seconds = number(options, "timeout", READ_S)
        return cls(
            text(options, "url"),
            endpoint=text(options, "endpoint", ENDPOINT),
            api_key=_api_key(mapping(options, "auth")),
            headers={str(key): str(value) for key, value in mapping(options, "custom_headers").items()},
            compress=_compression(options.get("compression")),
            verify=flag(options, "verify", True) if not isinstance(verify, str) else True,
            ca_file=verify if isinstance(verify, str) else None,
            connect_s=min(CONNECT_S, seconds),
            read_s=seconds,
        )

    def emit(self, event: Mapping[str, Any]) -> None:
        """Post one event.

        Raises:
            TransportError: Not answered with 2xx; `status` is None when there was no answer at all.
        """
        self._post(_encoder.encode(event))

    def emit_line(self, line: bytes) -> None:
        """Post one event as it stands in the journal.

        Raises:
            TransportError: Not answered with 2xx; `status` is None when there was no answer at all.
        """
        self._post(line)

    def emit_batch(self, events: Sequence[bytes | Mapping[str, Any]], *, key: str | None = None) -> None:
        """Post many events at once, to `<url>/batch` unless the URL ends so. Source: OpenLineage API 2.0.2, `POST /lineage/batch`.

        Args:
            events: Events, encoded or not.
            key: The array stands in an object under this key (OpenMetadata: `events`); None for the array alone.

        Raises:
            BatchError: Some were refused.
            TransportError: All were.
        """
        lines = [event if isinstance(event, bytes) else _encoder.encode(event) for event in events]
        body = b"[" + b",".join(lines) + b"]"
        if key is not None:
            body = b"{" + _encoder.encode(key) + b":" + body + b"}"
        url = self.url if self.url.endswith("/batch") else f"{self.url}/batch"
        failed, lasting = _failed_events(self._post(body, url), len(lines))
        if failed:
            raise BatchError("refused in a batch", failed=failed, status=422 if lasting else 503)

    def probe(self, path: str) -> tuple[int, bytes]:
        """GET a path below the base: status and the beginning of the answer.

        Raises:
            TransportError: No answer.
        """
        return self._request("GET", f"{self.base}/{path.lstrip('/')}", None)[:2]

    @property
    def headers(self) -> dict[str, str]:
        """Headers of every request; they may hold a secret."""
        return dict(self._headers)

    def close(self, timeout_s: float) -> bool:
        """Close the connections."""
        if self._connection is not None and self._pid == os.getpid():
            self._connection.close()
        self._connection = None
        return True

    def _post(self, body: bytes, url: str | None = None) -> bytes:
        if self.compress:
            body = gzip.compress(body, _GZIP_LEVEL, mtime=0)
        status, answer, answered = self._request("POST", url or self.url, body)
        if 200 <= status < 300:
            if answered.get("content-type", "").lower().startswith("text/html"):
                # A sign-in page or a web UI in front of the consumer; what it was sent is nowhere.
                raise TransportError(f"HTTP {status} with a web page: is the URL that of the API?")
            return answer
        raise TransportError(f"HTTP {status}", status=status, retry_after_s=retry_after_s(answered.get("retry-after")))

    def _request(self, method: str, url: str, body: bytes | None) -> Answer:
        try:
            connection = self._connected()
            key = (method, url, self.compress)
            head = self._heads.get(key)
            if head is None:
                head = self._heads[key] = self._head(method, url, connection.authority)
            reused = connection.used
            try:
                return connection.ask(head, body, _ANSWER_BYTES)
            except (urllib3.exceptions.HTTPError, OSError) as error:
                if not reused or not isinstance(error, ConnectionError):
                    raise
                return connection.ask(head, body, _ANSWER_BYTES)
        except (urllib3.exceptions.HTTPError, OSError, http.client.HTTPException, ValueError) as error:
            # The reason bears the kind of error only: urllib3's texts hold the URL, and that may hold a password.
            if _is_malformed(error):
                raise MalformedAnswer(f"malformed answer ({type(error).__name__})") from error
            raise TransportError(f"no answer ({type(error).__name__})") from error

    def _head(self, method: str, url: str, authority: str) -> bytes:
        encoded = {"content-encoding": "gzip"} if self.compress and method == "POST" else {}
        return request_head(method, url, authority, {**self._headers, **encoded})

    def _connected(self) -> Connection:
        # A forked child must not speak on the parent's connections.
        if self._connection is None or self._pid != os.getpid():
            self._connection = Connection(
                self.base, connect_s=self._connect_s, read_s=self._read_s, verify=self._verify, ca_file=self._ca_file
            )
            self._pid = os.getpid()
        return self._connection


def retry_after_s(value: str | None) -> float | None:
    """Seconds of a `Retry-After` header, given as seconds or as a date; None when it is neither. Source: RFC 9110 §10.2.3."""
    if not value:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return min(float(value), _LONGEST_WAIT_S)
    try:
        moment = email.utils.parsedate_to_datetime(value).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(0.0, moment - time.time()), _LONGEST_WAIT_S)


def _is_malformed(error: BaseException) -> bool:
    if isinstance(error, ConnectionError):
        return False
    return isinstance(error, http.client.HTTPException) and not isinstance(error, http.client.IncompleteRead)


def _failed_events(answer: bytes, count: int) -> tuple[tuple[int, ...], bool]:
    """Indexes of `failed_events` in the answer to a batch, and whether any of them is not `retriable`.

    No indexes when all were taken or the answer says nothing. Source: OpenLineage API 2.0.2, BatchResponse.
    """
    try:
        found: Any = json.loads(answer) if answer.strip() else None
    except ValueError:
        return (), False
    listed: Any = cast(dict[str, Any], found).get("failed_events") if isinstance(found, dict) else None
    failed: dict[int, bool] = {}
    for item in cast(list[Any], listed) if isinstance(listed, list) else ():
        entry = cast(dict[str, Any], item) if isinstance(item, dict) else {}
        index = entry.get("index")
        if isinstance(index, int) and 0 <= index < count:
            failed[index] = entry.get("retriable") is not True
    return tuple(sorted(failed)), any(failed.values())


def _api_key(auth: Mapping[str, Any]) -> str | None:
    if not auth:
        return None
    if auth.get("type") != "api_key":
        raise ConfigurationError(f"transport option auth.type {auth.get('type')!r}: expected 'api_key'")
    key = auth.get("apiKey", auth.get("api_key"))
    if not isinstance(key, str | int) or not key:
        raise ConfigurationError("transport option auth.apiKey: expected a string")
    return str(key)


def _compression(value: object) -> bool:
    if value in (None, "", "none"):
        return False
    if value == "gzip":
        return True
    raise ConfigurationError(f"transport option compression: expected gzip, got {value!r}")
