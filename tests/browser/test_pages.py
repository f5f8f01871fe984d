"""The pages in Chromium: readable wide, on a phone and in the dark; nothing from elsewhere; foreign names are text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.expected_conditions import staleness_of
from selenium.webdriver.support.ui import WebDriverWait

from spanline.ledger import Ledger
from spanline.server.app import build_app
from spanline.settings import Settings
from tests.browser.conftest import Browser
from tests.browser.incident import BAD, BUILD, events
from tests.browser.samples import TRACE, Fake, fee_run, hostile_run
from tests.ledger_events import foreign

pytestmark = [pytest.mark.browser, pytest.mark.slow]

Serve = Callable[[Any], str]
LOOKS = {"wide": (1280, False), "phone": (390, False), "dark": (1280, True), "phone-dark": (390, True)}
TOOLS = {
    "jaeger_url": "http://jaeger.example:16686", "grafana_url": "http://grafana.example", "tempo_datasource": "tempo",
    "marquez_url": "http://marquez.example", "repository_url": "https://git.example/acme/fees", "base_url": "http://127.0.0.1",
}  # fmt: skip


@pytest.fixture
def incident(serve: Serve, tmp_path: Path) -> Any:
    """The incident in a real ledger, served."""
    ledger = Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}")
    ledger.ingest(events())
    yield serve(build_app(ledger, Settings.resolve(TOOLS, {}), api=True, require_loopback=True))
    ledger.close()


@pytest.mark.parametrize("look", LOOKS)
def test_every_page_is_clean(browser: Browser, incident: str, look: str) -> None:
    browser.look(LOOKS[look][0], dark=LOOKS[look][1])
    for path, name in (
        (f"/r/{BAD}", "incident"),
        (f"/r/{BUILD}", "build"),
        ("/runs", "list"),
        ("/runs?job=none", "list-empty"),
        ("/r/nope", "not-found"),
        ("/r/a%20b", "bad-id"),
    ):
        browser.open(incident + path, f"{name}-{look}")


def test_the_first_screen_of_a_phone_names_the_answers(browser: Browser, incident: str) -> None:
    browser.look(390)
    browser.open(f"{incident}/r/{BAD}")
    last = browser.script("return document.querySelector('#answers').getBoundingClientRect().bottom")
    assert last < 1000
    assert browser.script("return document.querySelector('#conflicts').getBoundingClientRect().top") < 1100
    broken = """return [...document.querySelectorAll('#answers dt')].filter(e => {
        const range = document.createRange(); range.selectNodeContents(e); return range.getClientRects().length != 1 }).map(e => e.textContent)"""
    assert browser.script(broken) == [], "a question is one word on one line"


def test_a_list_of_foreign_runs_fits_on_a_phone(browser: Browser, serve: Serve, tmp_path: Path) -> None:
    """Their ids are no trace ids: dashed, and longer."""
    ledger = Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}")
    ledger.ingest([foreign(0, [("s3://lake", "fees")], [], kind="FAIL")])
    browser.look(390)
    browser.open(serve(build_app(ledger, Settings.resolve({}, {}), api=True, require_loopback=True)) + "/runs", "list-foreign-phone")
    assert len(browser.driver.find_elements(By.CSS_SELECTOR, "tbody tr.fail")) == 1
    ledger.close()


def test_dark_is_dark(browser: Browser, incident: str) -> None:
    colours: list[str] = []
    for dark in (False, True):
        browser.look(1280, dark=dark)
        browser.open(f"{incident}/r/{BAD}")
        colours.append(browser.script("return getComputedStyle(document.body).backgroundColor"))
    assert colours == ["rgb(251, 251, 250)", "rgb(19, 21, 24)"]


@pytest.mark.parametrize("dark", [False, True])
def test_text_stands_out_from_its_ground(browser: Browser, incident: str, dark: bool) -> None:
    """WCAG AA: 4.5 to 1 for all text, but for what is faded on purpose."""
    browser.look(1280, dark=dark)
    browser.open(f"{incident}/r/{BAD}")
    weak = browser.script("""
      const rgb = c => (c.match(/[\\d.]+/g) || []).map(Number);
      const lum = c => { const [r, g, b] = c.map(v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4); return .2126 * r + .7152 * g + .0722 * b };
      const ground = e => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c.length == 3 || c[3] == 1) return c } return [255, 255, 255] };
      const weak = [];
      for (const e of document.querySelectorAll("main *, header *")) {
        if (![...e.childNodes].some(n => n.nodeType == 3 && n.textContent.trim()) || e.closest("svg, details, .rollup")) continue;
        const a = lum(rgb(getComputedStyle(e).color)), b = lum(ground(e)), ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
        if (ratio < 4.5) weak.push([e.tagName, e.className, e.textContent.slice(0, 30), ratio]);
      }
      return weak""")
    assert weak == []


def test_links_out_are_the_configured_ones(browser: Browser, incident: str) -> None:
    browser.open(f"{incident}/r/{BAD}")
    found = {link.text.rstrip(" ↗"): link.get_attribute("href") for link in browser.driver.find_elements(By.CSS_SELECTOR, "nav.out a")}
    assert list(found) == ["Jaeger trace", "Grafana at this time", "Marquez job", "Code at this commit", "Marquez event"]
    assert found["Jaeger trace"] == f"http://jaeger.example:16686/trace/{BAD}"
    assert found["Marquez job"].startswith("http://marquez.example/lineage/job/rag-prod/fee-assistant.POST%20%2Fchat?")


def test_from_the_list_to_a_run_to_what_is_upstream_and_back(browser: Browser, incident: str) -> None:
    browser.open(f"{incident}/runs")
    browser.driver.find_element(By.NAME, "conflict").click()
    browser.follow(browser.driver.find_element(By.CSS_SELECTOR, "form.filter button"))
    rows = browser.driver.find_elements(By.CSS_SELECTOR, "tbody tr")
    assert len(rows) == 1
    browser.follow(rows[0].find_element(By.TAG_NAME, "a"))
    assert browser.driver.current_url.endswith(f"/r/{BAD[:8]}-{BAD[8:12]}-{BAD[12:16]}-{BAD[16:20]}-{BAD[20:]}")
    browser.follow(browser.driver.find_element(By.CSS_SELECTOR, "#upstream a"))
    assert "fee-assistant.build_index" in browser.text
    browser.follow(browser.driver.find_element(By.CSS_SELECTOR, "form[role=search] input"), "req-bad\n")
    assert browser.driver.current_url == f"{incident}/r/req-bad"
    browser.follow(browser.driver.find_element(By.CSS_SELECTOR, "a.tag"))
    assert browser.driver.find_element(By.NAME, "tag").get_attribute("value") == "case:4711"
    assert len(browser.driver.find_elements(By.CSS_SELECTOR, "tbody tr")) == 1
    browser.follow(browser.driver.find_element(By.LINK_TEXT, "Clear"))
    assert len(browser.driver.find_elements(By.CSS_SELECTOR, "tbody tr")) == 3
    assert browser.complaints(incident.removeprefix("http://")) == []


def test_the_trace_id_is_copied(browser: Browser, incident: str) -> None:
    browser.driver.execute_cdp_cmd("Browser.grantPermissions", {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]})
    browser.open(f"{incident}/r/{BAD}")
    button = browser.driver.find_element(By.CSS_SELECTOR, "button.copy")
    assert button.is_displayed()
    button.click()
    read = "const done = arguments[0]; navigator.clipboard.readText().then(done, e => done(String(e)))"
    assert browser.driver.execute_async_script(read) == BAD


@pytest.mark.parametrize("look", ["wide", "phone"])
def test_hostile_names_are_text(browser: Browser, serve: Serve, look: str) -> None:
    browser.look(LOOKS[look][0])
    url = serve(build_app(Fake.of(hostile_run()), Settings.resolve(TOOLS, {}), api=False, require_loopback=True))
    for path in (f"/r/{TRACE}", "/runs", "/runs?job=%3Cscript%3Ealert(1)%3C/script%3E"):
        browser.open(url + path, f"hostile-{path[1:5].strip('/?').replace('/', '-')}-{look}")
        assert browser.script("return document.querySelectorAll('img, iframe').length") == 0
        assert browser.script("return document.scripts.length") == 1
    assert "<script>alert(1)</script>" in browser.driver.find_element(By.CSS_SELECTOR, "tbody").text


def test_the_policy_holds(browser: Browser, incident: str) -> None:
    """Were a script to get into the page, it would not run, and nothing could be fetched or sent."""
    browser.open(f"{incident}/r/{BAD}")
    browser.script("const s = document.createElement('script'); s.textContent = 'window.pwned = 1'; document.body.append(s)")
    browser.script("const i = document.createElement('img'); i.src = 'http://127.0.0.1:9/x'; document.body.append(i)")
    assert browser.script("return window.pwned || null") is None
    failed = browser.driver.execute_async_script(
        "const done = arguments[0]; fetch('/runs').then(() => done('sent'), () => done('refused'))"
    )
    assert failed == "refused"
    assert any("Content Security Policy" in entry["message"] for entry in browser.driver.get_log("browser"))


def test_sign_in_and_where_it_leads(browser: Browser, serve: Serve) -> None:
    url = serve(build_app(Fake.of(fee_run()), Settings.resolve({"tokens": ("right",)}, {}), api=False, require_loopback=True))
    browser.open(f"{url}/r/{TRACE}", "sign-in")
    assert "fee-assistant" not in browser.text
    for token in ("wrong\n", "right\n"):
        field = browser.driver.find_element(By.NAME, "token")
        field.send_keys(token)
        WebDriverWait(browser.driver, 10).until(staleness_of(field))
    assert browser.driver.current_url == f"{url}/r/{TRACE}"
    assert "What made this answer" in browser.text
    browser.driver.find_element(By.LINK_TEXT, "Runs").click()
    assert "fee-assistant.POST /chat" in browser.text
    assert browser.script("return document.cookie") == ""


def test_pages_live_under_a_prefix(browser: Browser, serve: Serve) -> None:
    from starlette.applications import Starlette
    from starlette.routing import Mount

    pages = build_app(Fake.of(fee_run()), Settings.resolve({}, {}), api=False, require_loopback=True)
    url = serve(Starlette(routes=[Mount("/internal/rag", pages)]))
    browser.open(f"{url}/internal/rag/runs")
    browser.driver.find_element(By.CSS_SELECTOR, "tbody a").click()
    assert "What made this answer" in browser.text
    browser.driver.find_element(By.LINK_TEXT, "spanline").click()
    assert browser.driver.current_url == f"{url}/internal/rag/runs"
