"""Where spans go by `OTEL_EXPORTER_OTLP_*`: the path that is or is not added, the port that fits the protocol, and a try with no span."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator, Mapping
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from spanline.cli.asking import TIMEOUT_S, Asker, Unreachable, shown
from spanline.cli.checks import Finding
from spanline.cli.probes import AREA, Probe

_SPANS_GO_ON = "The application and its lineage are not affected; only spans are lost."
_OWN, _ALL = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"


class Target(NamedTuple):
    """Where spans go, by the rules of OpenTelemetry: the variable, what it says, what becomes of it."""

    variable: str
    given: str
    url: str
    grpc: bool


def target(environ: Mapping[str, str]) -> Target | None:
    """The endpoint of spans; None when none is set.

    Source: OpenTelemetry, OTLP exporter configuration: the general variable gets `/v1/traces` added, the one of traces is taken as it is.
    """
    protocol = environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or environ.get("OTEL_EXPORTER_OTLP_PROTOCOL") or ""
    grpc = protocol.strip() == "grpc"
    if own := environ.get(_OWN, "").strip():
        return Target(_OWN, own, own, grpc)
    if base := environ.get(_ALL, "").strip():
        return Target(_ALL, base, base if grpc else f"{base.rstrip('/')}/v1/traces", grpc)
    return None


def otlp(found: Target, environ: Mapping[str, str]) -> Probe:
    """What is wrong with the address, and whether it takes spans. An empty request is sent: it holds no span."""

    def ask(asker: Asker) -> Iterator[Finding]:
        name = f"{found.variable} ({shown(found.given)})"
        parts = urlsplit(found.given)
        try:
            port = parts.port
        except ValueError:
            yield _broken(f"{name} has no valid port", "a port is a number to 65535; the Collector has 4318 for HTTP, 4317 for gRPC")
            return
        if found.grpc:
            if port == 4318:
                yield _broken(
                    f"{name}: 4318 is the port of OTLP over HTTP, and the protocol is grpc",
                    "take port 4317, or OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf",
                )
            _connect(found.given)
            yield Finding(AREA, "ok", f"{name} takes connections (gRPC; no more was asked)")
            return
        if parts.scheme not in {"http", "https"}:
            plain = re.sub(r"[^/@]*@", "", found.given)
            rest = plain.partition("://")[2] or plain
            yield _broken(f"{found.variable} ({plain}) has no http:// or https:// before it", f"write http://{rest}")
            return
        if found.variable == _ALL and re.search(r"/v1/(traces|metrics|logs)/?\Z", parts.path):
            yield _broken(
                f"{name} has a path, and /v1/traces is added to it: spans go to {shown(found.url)}",
                f"give the base alone, or name it in {_OWN}, to which nothing is added",
            )
            return
        if found.variable == _OWN and parts.path in {"", "/"}:
            yield _broken(
                f"{name} has no path, and to this variable none is added: spans go to {shown(found.given)}",
                f"write {shown(found.given).rstrip('/')}/v1/traces, or name the base in {_ALL}",
            )
            return
        try:
            answer = asker.post(found.url, b"", {"content-type": "application/x-protobuf", **_headers(environ)})
        except Unreachable as reason:
            hint = (
                "4317 is the port of gRPC: take 4318, or OTEL_EXPORTER_OTLP_PROTOCOL=grpc"
                if port == 4317
                else f"is the Collector running, and is the address right? {_SPANS_GO_ON}"
            )
            yield _broken(f"{name} does not answer: {reason}", hint)
            return
        if answer.status == 200 and not answer.is_page:
            yield Finding(AREA, "ok", f"{name} takes spans at {shown(found.url)}")
        elif answer.status in {401, 403}:
            yield _broken(f"{name} refuses us (status {answer.status})", "set OTEL_EXPORTER_OTLP_HEADERS as it wants them")
        elif answer.status in {404, 405} or answer.is_page:
            yield _broken(
                f"{shown(found.url)} answers with {answer.word}: it takes no spans there",
                f"is it a Collector or Jaeger (port 4318), and is the path right? {_SPANS_GO_ON}",
            )
        else:
            yield _broken(f"{shown(found.url)} answers with {answer.word}", f"look at its log. {_SPANS_GO_ON}")

    return ask


def _connect(endpoint: str) -> None:
    parts = urlsplit(endpoint if "//" in endpoint else f"//{endpoint}")
    try:
        socket.create_connection((parts.hostname or "", parts.port or 4317), TIMEOUT_S).close()
    except OSError as error:
        raise Unreachable(error.strerror.lower() if error.strerror else type(error).__name__) from error


def _headers(environ: Mapping[str, str]) -> dict[str, str]:
    """`key=value` pairs, percent-encoded. Source: OpenTelemetry, OTLP exporter configuration."""
    text = environ.get("OTEL_EXPORTER_OTLP_TRACES_HEADERS") or environ.get("OTEL_EXPORTER_OTLP_HEADERS") or ""
    pairs = (pair.partition("=") for pair in text.split(","))
    return {unquote(key.strip()).lower(): unquote(value.strip()) for key, equals, value in pairs if equals and key.strip()}


def _broken(message: str, hint: str) -> Finding:
    return Finding(AREA, "broken", message, hint)
