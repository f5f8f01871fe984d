"""Who may read: this machine, or whoever has a token."""

from __future__ import annotations

import hmac
import time

import httpx
import pytest

from spanline.server import access
from tests.browser.samples import TRACE, Fake, fee_run
from tests.unit.test_server_pages import HTML, client

TOKENS = ("first-token", "zweiter-schlüssel")


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1", "testclient"])
async def test_this_machine_may(peer: str) -> None:
    async with client(Fake.of(fee_run()), peer=peer) as http:
        assert (await http.get(f"/r/{TRACE}")).status_code == 200
        assert (await http.get("/runs")).status_code == 200


@pytest.mark.parametrize("peer", ["203.0.113.7", "10.0.0.1", "::2", "fe80::1%eth0", "", "localhost.evil.test", "::ffff:10.0.0.1"])
async def test_others_may_not(peer: str) -> None:
    async with client(Fake.of(fee_run()), peer=peer) as http:
        for path in (f"/r/{TRACE}", "/runs", "/r/nope", "/r/a b"):
            reply = await http.get(path)
            assert reply.status_code == 403
            assert reply.headers["content-type"] == "application/problem+json"
            assert "SPANLINE_TOKENS" in reply.text
        assert "SPANLINE_TOKENS" in (await http.get("/runs", headers=HTML)).text


@pytest.mark.parametrize("header", ["x-forwarded-for", "Forwarded", "X-Real-IP", "x-forwarded-host", "via", "cf-connecting-ip"])
async def test_a_proxy_on_this_machine_is_not_this_machine(header: str) -> None:
    async with client(Fake.of(fee_run())) as http:
        assert (await http.get(f"/r/{TRACE}", headers={header: "127.0.0.1"})).status_code == 403


@pytest.mark.parametrize(("host", "status"), [
    ("127.0.0.1:8000", 200), ("localhost", 200), ("[::1]:8000", 200), ("app", 200), ("app.localhost:80", 200), ("10.1.2.3", 200),
    ("evil.example.com", 403), ("localhost.evil.com:8000", 403), ("rag.acme.de.", 403),
])  # fmt: skip
async def test_a_public_host_name_is_not_this_machine(host: str, status: int) -> None:
    async with client(Fake.of(fee_run())) as http:
        assert (await http.get("/runs", headers={"host": host})).status_code == status


async def test_without_the_rule_all_may() -> None:
    async with client(Fake.of(fee_run()), peer="203.0.113.7", loopback=False) as http:
        assert (await http.get("/runs")).status_code == 200


@pytest.mark.parametrize("peer", ["127.0.0.1", "203.0.113.7"])
async def test_with_tokens_everybody_needs_one(peer: str) -> None:
    async with client(Fake.of(fee_run()), peer=peer, tokens=TOKENS) as http:
        for headers in (
            {},
            {"authorization": "Bearer wrong"},
            {"authorization": "Bearer "},
            {"authorization": "Basic first-token"},
            {"authorization": "first-token"},
        ):
            reply = await http.get(f"/r/{TRACE}", headers=headers)
            assert reply.status_code == 401
            assert reply.headers["www-authenticate"].startswith("Bearer")
            assert TRACE not in reply.text
        for token in TOKENS:
            assert (await http.get(f"/r/{TRACE}", headers={"authorization": f"bearer {token}".encode()})).status_code == 200


async def sign_in(http: httpx.AsyncClient, token: str, where: str) -> httpx.Response:
    return await http.post("/r/-/sign-in", data={"token": token, "next": where}, headers=HTML)


@pytest.mark.parametrize("given", ["first-token", "zweiter-schlüssel", "wrong", "first-tokeX", "f", ""])
async def test_tokens_are_compared_in_constant_time_and_all_of_them(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bytes] = []
    real = hmac.compare_digest

    def compare(one: bytes, other: bytes) -> bool:
        compared.append(other)
        return real(one, other)

    monkeypatch.setattr(access.hmac, "compare_digest", compare)
    async with client(Fake.of(fee_run()), tokens=TOKENS) as http:
        reply = await http.get(f"/r/{TRACE}", headers={"authorization": f"Bearer {given}".encode()})
    assert reply.status_code == (200 if given in TOKENS else 401)
    # Neither a right first letter nor a right first token ends it sooner.
    assert compared == [token.encode() for token in TOKENS]


async def test_a_browser_signs_in() -> None:
    async with client(Fake.of(fee_run()), peer="203.0.113.7", tokens=TOKENS) as http:
        form = await http.get(f"/r/{TRACE}", headers=HTML)
        assert form.status_code == 401
        assert f'name="next" value="r/{TRACE}"' in form.text
        assert 'action="../r/-/sign-in"' in form.text
        wrong = await sign_in(http, "nope", f"r/{TRACE}")
        assert wrong.status_code == 401
        assert "not one of" in wrong.text
        assert f'value="r/{TRACE}"' in wrong.text
        assert not http.cookies
        right = await sign_in(http, TOKENS[1], f"r/{TRACE}")
        assert right.status_code == 303
        assert httpx.URL("http://127.0.0.1/r/-/sign-in").join(right.headers["location"]).path == f"/r/{TRACE}"
        cookie = right.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "samesite=strict" in cookie.lower()
        assert not any(token in cookie for token in TOKENS)
        assert (await http.get(f"/r/{TRACE}", headers=HTML)).status_code == 200
        assert (await http.get("/runs", headers=HTML)).status_code == 200
        await http.post("/r/-/sign-out")
        assert (await http.get("/runs", headers=HTML)).status_code == 401


@pytest.mark.parametrize(
    "where",
    ["//evil.test", "https://evil.test", "/\\evil.test", "r/a/../../x", "r/x\r\nset-cookie: a=b", "runs?x", "javascript:alert(1)", ""],
)
async def test_sign_in_leads_to_our_pages_only(where: str) -> None:
    async with client(Fake.of(fee_run()), tokens=TOKENS) as http:
        assert (await sign_in(http, TOKENS[0], where)).headers["location"] == "../../runs"


async def test_a_cookie_ends_and_cannot_be_made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async with client(Fake.of(fee_run()), tokens=TOKENS) as http:
        await sign_in(http, TOKENS[0], "runs")
        value = http.cookies[access.COOKIE]
        expires, _, signature = value.partition(".")
        http.cookies.clear()
        for made_up in (
            f"{int(expires) + 60}.{signature}",
            f"{expires}.{'0' * 64}",
            f"{expires}.",
            f".{signature}",
            "x",
            f"٣{expires}.{signature}".encode().decode("latin-1"),
        ):
            assert (await http.get("/runs", headers={"cookie": f"{access.COOKIE}={made_up}".encode("latin-1")})).status_code == 401
        assert (await http.get("/runs", headers={"cookie": f"{access.COOKIE}={value}"})).status_code == 200
        now = time.time()
        monkeypatch.setattr(access.time, "time", lambda: now + access.SESSION_S + 5)
        assert (await http.get("/runs", headers={"cookie": f"{access.COOKIE}={value}"})).status_code == 401
    async with client(Fake.of(fee_run()), tokens=("other",)) as http:
        assert (await http.get("/runs", headers={"cookie": f"{access.COOKIE}={value}"})).status_code == 401


async def test_sign_in_takes_one_short_form() -> None:
    async with client(Fake.of(fee_run()), tokens=TOKENS) as http:
        assert (await http.post("/r/-/sign-in", content=b"token=" + b"x" * 9000)).status_code == 413
        assert (await http.get("/r/-/sign-in")).status_code in {400, 401, 405}
    async with client(Fake.of(fee_run())) as http:
        assert (await http.post("/r/-/sign-in", data={"token": ""})).status_code == 404
