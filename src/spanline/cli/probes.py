"""What `spanline doctor` asks each tool: not only whether something answers, but whether it is what it should be."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, cast
from urllib.parse import urlencode

from spanline.cli.asking import Answer, Asker, Unreachable, shown
from spanline.cli.checks import Finding, Level
from spanline.settings import Settings

Probe = Callable[[Asker], Iterator[Finding]]

AREA = "endpoints"
_NOBODY = "0" * 31 + "1"
_UNAFFECTED = "The application is not affected."
_WAITS = "Events wait in the journal, and nothing is lost: `spanline journal parked` shows what was refused."


def server(settings: Settings) -> Probe:
    """The central spanline server: is it one, and does it take our token."""
    url = settings.server_url or ""

    def ask(asker: Asker) -> Iterator[Finding]:
        name = f"SPANLINE_SERVER_URL ({shown(url)})"
        health = asker.get(f"{url}/healthz")
        if health.status >= 500:
            yield _broken(f"{name} answers with {health.word}", f"look at its log. {_WAITS}")
        elif health.mapping() != {"status": "ok"}:
            yield _broken(
                f"{name} answers with {health.word}, but is no `spanline serve`",
                "mend the address: without path, unless it is served under one",
            )
        else:
            token = {"authorization": f"Bearer {settings.tokens[0]}"} if settings.tokens else {}
            runs = asker.get(f"{url}/api/v1/runs?limit=1", token)
            if runs.status in {401, 403}:
                yield _broken(f"{name} refuses us (status {runs.status})", "set SPANLINE_TOKENS to one of the server's tokens, here too")
            elif runs.status != 200:
                yield _broken(f"{name} cannot read its ledger (status {runs.status})", "run `spanline doctor` on its host")
            else:
                yield _ok(f"{name} answers")

    return ask


def openlineage(name: str, base: str, headers: dict[str, str], endpoint: str) -> Probe:
    """A consumer of OpenLineage events. Nothing is sent to it."""

    def ask(asker: Asker) -> Iterator[Finding]:
        where = f"{name} ({shown(base)})"
        if re.search(r"/api/v\d+/lineage(/batch)?\Z", base):
            yield _broken(
                f"{where} has the path twice: events go to {shown(base)}/{endpoint.lstrip('/')}", "give the base alone; the path is added"
            )
            return
        answer = asker.get(f"{base}/api/v1/namespaces?limit=1", headers)
        listed = answer.mapping()
        if answer.status >= 500:
            yield _broken(f"{where} answers with {answer.word}", f"it is there and fails: look at its log and its database. {_WAITS}")
        elif answer.status in {401, 403}:
            yield _broken(f"{where} refuses us (status {answer.status})", "set OPENLINEAGE_API_KEY (or `auth` in openlineage.yml)")
        elif answer.status == 200 and listed is not None and "namespaces" in listed:
            yield _ok(f"{where} is a Marquez and answers")
        elif answer.is_page and answer.status < 400:
            yield _broken(
                f"{where} answers with a web page, so it is no API",
                "Marquez' API is at port 5000 by default; its web UI belongs into SPANLINE_MARQUEZ_URL",
            )
        else:
            yield _ok(f"{where} answers (no Marquez; what it takes shows in `spanline journal parked`)")

    return ask


def jaeger(url: str) -> Probe:
    """Jaeger's UI, for links."""

    def ask(asker: Asker) -> Iterator[Finding]:
        name = f"SPANLINE_JAEGER_URL ({shown(url)})"
        answer = asker.get(f"{url}/api/v3/services")
        if answer.status == 404 or answer.is_page:
            answer = asker.get(f"{url}/api/services")
        if answer.status < 400 and answer.mapping() is not None:
            yield _ok(f"{name} is a Jaeger and answers")
        elif answer.status in {401, 403}:
            yield _ok(f"{name} answers, to people who sign in")
        else:
            yield _broken(
                f"{name} answers with {answer.word} where Jaeger lists services",
                f"is it Jaeger's UI (port 16686 by default), with its path prefix? {_UNAFFECTED}",
            )

    return ask


def grafana(url: str) -> Probe:
    """Grafana, for links."""

    def ask(asker: Asker) -> Iterator[Finding]:
        name = f"SPANLINE_GRAFANA_URL ({shown(url)})"
        answer = asker.get(f"{url}/api/health")
        found = answer.mapping()
        if answer.status >= 500:
            yield _broken(f"{name} answers with {answer.word}", f"look at its log. {_UNAFFECTED}")
        elif found is not None and "database" in found:
            version = str(found.get("version") or "")
            yield _ok(f"{name} is a Grafana {version} and answers".replace("  ", " "))
            major = version.partition(".")[0]
            if major.isdigit() and int(major) < 12:
                yield Finding(
                    AREA,
                    "note",
                    f"Grafana {version} knows no external correlations",
                    "leave `correlations` out of the data source, or take Grafana 12 or later",
                )
        elif answer.status in {401, 403}:
            yield _ok(f"{name} answers, to people who sign in")
        else:
            yield _broken(
                f"{name} answers with {answer.word} where Grafana tells its health",
                f"mend the address, with its path prefix. {_UNAFFECTED}",
            )

    return ask


def marquez_ui(url: str) -> Probe:
    """Marquez' web UI, for links: not its API."""

    def ask(asker: Asker) -> Iterator[Finding]:
        name = f"SPANLINE_MARQUEZ_URL ({shown(url)})"
        answer = asker.get(f"{url}/")
        if answer.is_page and answer.status < 400:
            yield _ok(f"{name} answers")
        elif answer.status >= 500:
            yield _broken(f"{name} answers with {answer.word}", f"look at its log. {_UNAFFECTED}")
        else:
            yield _broken(
                f"{name} answers with {answer.word} and no web page",
                f"links need the web UI (port 3000 by default), not the API. {_UNAFFECTED}",
            )

    return ask


def base_url(url: str) -> Probe:
    """Where run pages are said to be: is spanline there."""

    def ask(asker: Asker) -> Iterator[Finding]:
        name = f"SPANLINE_BASE_URL ({shown(url)})"
        answer = asker.get(f"{url}/r/{_NOBODY}", {"accept": "application/json"})
        if _is_ours(answer) or answer.status in {302, 303, 307, 308}:
            yield _ok(f"{name} answers with run pages")
        elif answer.status >= 500:
            yield _broken(
                f"{name} answers with {answer.word}", "is the service behind it up? Links on traces, metrics and responses lead there."
            )
        else:
            hint = "it is the address under which the service, or `spanline serve`, is reached, with its path prefix and without /r; every link to a run begins with it"
            yield _broken(f"{name} answers with {answer.word} where a run page should be", hint)

    return ask


def prometheus(url: str) -> Probe:
    """Prometheus: does it keep exemplars, and does it have our metrics."""

    def ask(asker: Asker) -> Iterator[Finding]:
        name = f"SPANLINE_PROMETHEUS_URL ({shown(url)})"
        answer = asker.get(f"{url}/api/v1/status/flags")
        flags = _data(answer)
        if answer.status >= 500:
            yield _broken(f"{name} answers with {answer.word}", f"look at its log. {_UNAFFECTED}")
            return
        if flags is None:
            yield _broken(
                f"{name} answers with {answer.word} where Prometheus lists its flags",
                "mend the address; for others that speak its API this cannot be told",
            )
            return
        yield _ok(f"{name} is a Prometheus and answers")
        if "exemplar-storage" not in str(flags.get("enable-feature", "")).split(","):
            yield _broken(f"{name} keeps no exemplars: no dot in a graph leads to a run", "start it with --enable-feature=exemplar-storage")
            return
        found = _data(asker.get(f"{url}/api/v1/query?{urlencode({'query': 'count(last_over_time(llm_latency_seconds_count[1h]))'})}"))
        if found is not None and not found.get("result"):
            yield Finding(
                AREA,
                "note",
                f"{name} has no llm_latency_seconds of the last hour",
                "was there a request? Does it scrape the service's /metrics?",
            )

    return ask


def other(name: str, url: str) -> Probe:
    """Something of which it is only known that it should answer."""

    def ask(asker: Asker) -> Iterator[Finding]:
        answer = asker.get(url)
        if answer.status >= 500:
            yield _broken(f"{name} ({shown(url)}) answers with {answer.word}", f"look at its log. {_UNAFFECTED}")
        else:
            yield _ok(f"{name} ({shown(url)}) answers")

    return ask


def asked(asker: Asker, name: str, url: str, level: Level, probe: Probe) -> list[Finding]:
    """The findings of one probe; one when nothing answers."""
    found: list[Finding] = []
    try:
        found.extend(probe(asker))
    except Unreachable as reason:
        hint = "is it running, and is the address right? " + (
            _WAITS if level == "broken" else f"Links to it lead nowhere until then. {_UNAFFECTED}"
        )
        if level == "warn" and reason.unseen:
            hint = f"if browsers reach it and this host need not, all is well; else: {hint}"
        elif level == "warn":
            level = "broken"
        found.append(Finding(AREA, level, f"{name} ({shown(url)}) does not answer: {reason}", hint))
    return found


def _is_ours(answer: Answer) -> bool:
    """Our pages refuse an unknown id, or a reader whom they do not know, in their own way."""
    return answer.kind == "application/problem+json" and answer.status in {401, 403, 404, 501, 503}


def _data(answer: Answer) -> dict[str, Any] | None:
    """`data` of an answer of Prometheus' API."""
    found: object = (answer.mapping() or {}).get("data") if answer.status == 200 else None
    return cast("dict[str, Any]", found) if isinstance(found, dict) else None


def _ok(message: str) -> Finding:
    return Finding(AREA, "ok", message)


def _broken(message: str, hint: str) -> Finding:
    return Finding(AREA, "broken", message, hint)
