"""Request headers: the few that matter, read in one pass."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from spanline.settings import Settings

Headers = Iterable[tuple[bytes, bytes]]

_OTHERS = frozenset({b"host", b"user-agent"})

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}\Z")
"""A request id is kept as sent when it matches (contract.md, `spanline_trace`)."""


def is_request_id(value: bytes) -> bool:
    """Whether it may be kept as sent."""
    # Most are plain letters and digits; those with a dash or a dot are looked at.
    return (value.isalnum() and len(value) <= 128) or _REQUEST_ID.match(value) is not None


class HeaderReader:
    """Picks headers by name. Immutable: one serves all requests.

    Args:
        settings: Names of the request id, tenant, subject and session headers.
        propagation: Names of the headers that the propagator reads.
    """

    def __init__(self, settings: Settings, propagation: Iterable[str]) -> None:
        self.propagation = frozenset(name.lower().encode("latin-1") for name in propagation)
        self._propagation = {name: name.decode("latin-1") for name in self.propagation}
        facts = {
            "request_id": settings.request_id_header,
            "tenant": settings.tenant_header,
            "subject": settings.subject_header,
            "session": settings.session_header,
        }
        self._facts = {name.lower().encode("latin-1"): fact for fact, name in facts.items() if name}
        self._wanted = frozenset({*self.propagation, *self._facts, *_OTHERS})

    def read(self, headers: Headers) -> tuple[dict[str, list[str]], dict[str, str], dict[bytes, bytes]]:
        """Headers of one request.

        Returns:
            The carrier for the propagator (name to values; empty when none of its headers is there), the facts (`request_id`,
            `tenant`, `subject`, `session`), and `host` and `user-agent` as bytes.
        """
        carrier: dict[str, list[str]] = {}
        facts: dict[str, bytes] = {}
        others: dict[bytes, bytes] = {}
        wanted = self._wanted
        for name, value in headers:
            if name not in wanted:
                continue
            fact = self._facts.get(name)
            if fact is not None:
                facts[fact] = value
            key = self._propagation.get(name)
            if key is not None:
                carrier.setdefault(key, []).append(value.decode("latin-1"))
            elif name in _OTHERS:
                others[name] = value
        return carrier, _texts(facts), others

    def facts(self, headers: Headers) -> dict[str, str]:
        """The facts alone, where no span is made."""
        wanted = self._facts
        facts: dict[str, bytes] = {}
        for name, value in headers:
            if name in wanted:
                facts[wanted[name]] = value
        return _texts(facts)


def _texts(facts: dict[str, bytes]) -> dict[str, str]:
    texts: dict[str, str] = {}
    for fact, value in facts.items():
        if fact != "request_id":
            texts[fact] = value.decode("latin-1")
        elif is_request_id(value):
            texts[fact] = value.decode()
    return texts


def server_address(scope: Any, host: bytes | None) -> dict[str, str | int]:
    """`server.address` and `server.port` from the Host header, else from the server (HTTP semantic conventions)."""
    if host:
        name, colon, port = host.decode("latin-1").rpartition(":")
        if colon and port.isdigit() and len(port) < 6:
            return {"server.address": name.strip("[]"), "server.port": int(port)}
        return {"server.address": host.decode("latin-1").strip("[]")}
    server = scope.get("server")
    if server:
        address, port = server
        return {"server.address": address, "server.port": port} if port is not None else {"server.address": address}
    return {}
