"""`spanline serve` before it serves: addresses, tokens, ports."""

from __future__ import annotations

import socket

import pytest
from click.testing import CliRunner

from spanline.cli.main import main
from spanline.cli.options import sqlite_file
from spanline.cli.serve import is_loopback, shown_url


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("0.0.0.0", False), ("::", False), ("", False), ("192.0.2.1", False)],
)
def test_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_off_loopback_without_tokens_is_refused() -> None:
    done = CliRunner().invoke(main, ["serve", "--host", "0.0.0.0", "--port", "0"])
    assert done.exit_code == 2
    assert "SPANLINE_TOKENS" in done.stderr


def test_an_occupied_port_is_named_with_what_to_do() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = CliRunner().invoke(main, ["serve", "--port", str(port)])
    assert done.exit_code == 1
    assert f"port {port} on 127.0.0.1 is taken" in done.stderr
    assert "--port 0" in done.stderr


def test_an_address_of_another_machine() -> None:
    done = CliRunner().invoke(main, ["serve", "--host", "192.0.2.1", "--port", "0"], env={"SPANLINE_TOKENS": "t"})
    assert done.exit_code == 1
    assert "cannot listen on 192.0.2.1" in done.stderr


def test_urls_are_shown_without_password() -> None:
    assert shown_url("postgresql://me:pw@db/spanline") == "postgresql://me:***@db/spanline"
    assert shown_url("sqlite:////var/lib/ledger.db") == "sqlite:////var/lib/ledger.db"


def test_the_file_of_a_sqlite_url() -> None:
    assert str(sqlite_file("sqlite:////var/lib/ledger.db?timeout=3")) == "/var/lib/ledger.db"
    assert sqlite_file("sqlite://") is None
    assert sqlite_file("postgresql://h/d") is None
