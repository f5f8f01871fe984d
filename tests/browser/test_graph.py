"""The graph of the run page in Chromium: reached and followed by keyboard, readable wide, on a phone and in the dark."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.expected_conditions import url_changes
from selenium.webdriver.support.ui import WebDriverWait

from spanline.ledger import Ledger
from spanline.server.app import build_app
from spanline.settings import Settings
from tests.browser.conftest import Browser
from tests.browser.graph_story import ANSWER, BUILD, events
from tests.browser.samples import TRACE, Fake, hostile_run
from tests.unit.test_server_graph import HOSTILE_GRAPH

pytestmark = [pytest.mark.browser, pytest.mark.slow]

Serve = Callable[[Any], str]
LOOKS = {"wide": (1280, False), "phone": (390, False), "dark": (1280, True), "phone-dark": (390, True)}


@pytest.fixture
def story(serve: Serve, tmp_path: Path) -> Any:
    """The story in a real ledger, served."""
    ledger = Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}")
    ledger.ingest(events())
    yield serve(build_app(ledger, Settings.resolve({}, {}), api=True, require_loopback=True))
    ledger.close()


def focused(browser: Browser) -> str:
    """The words of the graph's node that has the focus, empty when none has."""
    return browser.script("const at = document.activeElement; return at.closest('.graph') ? at.getAttribute('aria-label') || '' : ''")


def tab_to(browser: Browser, words: str) -> list[str]:
    """Press Tab until the node is reached; the nodes on the way."""
    way: list[str] = []
    for _ in range(80):
        browser.driver.switch_to.active_element.send_keys(Keys.TAB)
        if label := focused(browser):
            way.append(label)
            if words in label:
                return way
    pytest.fail(f"no Tab reaches {words}; the way: {way}")


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("run", [ANSWER, BUILD], ids=["answer", "build"])
def test_the_graph_is_readable(browser: Browser, story: str, look: str, run: str) -> None:
    browser.look(LOOKS[look][0], dark=LOOKS[look][1])
    browser.open(f"{story}/r/{run}", f"graph-{'answer' if run == ANSWER else 'build'}-{look}")
    boxes = browser.script("""
      const view = document.querySelector('.graph').getBoundingClientRect();
      return [...document.querySelectorAll('.graph .node')].map(node => { const r = node.querySelector('rect').getBoundingClientRect();
        const texts = [...node.querySelectorAll('text')].map(t => t.getBoundingClientRect());
        return {root: node.classList.contains('root'), seen: r.left >= view.left && r.right <= view.right, box: [r.left, r.top, r.right, r.bottom],
                out: texts.some(t => t.right > r.right || t.bottom > r.bottom + 1 || t.top < r.top)} })""")
    assert len(boxes) >= 5
    assert [box["seen"] for box in boxes if box["root"]] == [True], "the run of this page is in sight"
    assert not [box for box in boxes if box["out"]], "text leaves its box"
    for at, one in enumerate(boxes):
        for other in boxes[at + 1 :]:
            a, b = one["box"], other["box"]
            assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1], "boxes lie upon each other"


def test_tab_reaches_the_nodes_and_enter_follows(browser: Browser, story: str) -> None:
    browser.open(f"{story}/r/{ANSWER}")
    way = tab_to(browser, "index fees_corpus@build-7")
    assert focused(browser) == way[-1]
    ring = browser.script("return getComputedStyle(document.activeElement.querySelector('rect')).strokeWidth")
    assert ring == "4px", "the focus is seen"
    browser.follow(browser.driver.switch_to.active_element, Keys.ENTER)
    assert unquote(browser.driver.current_url).startswith(f"{story}/artifact?ref=index:fees_corpus@build-7")
    assert "fees_corpus@build-7" in browser.driver.find_element(By.TAG_NAME, "h1").text
    assert browser.complaints(story.removeprefix("http://")) == []


def test_from_a_run_to_the_runs_that_used_its_work(browser: Browser, story: str) -> None:
    browser.look(390)
    browser.open(f"{story}/r/{BUILD}")
    way = tab_to(browser, "14 runs · 2 failed of fee-assistant.POST /chat")
    assert "dataset warehouse.countries" in way[0], "from left to right"
    browser.follow(browser.driver.switch_to.active_element, Keys.ENTER)
    assert len(browser.driver.find_elements(By.CSS_SELECTOR, "tbody tr")) == 14
    browser.follow(browser.driver.find_element(By.CSS_SELECTOR, "tbody tr a"))
    assert "What made this answer" in browser.text
    assert browser.complaints(story.removeprefix("http://")) == []


def test_every_link_of_the_graph_leads_somewhere(browser: Browser, story: str) -> None:
    browser.open(f"{story}/r/{ANSWER}")
    links = browser.script(
        "return [...document.querySelectorAll('.graph a, #graph p a')].map(a => a.href.baseVal ?? a.getAttribute('href'))"
    )
    assert len(links) >= 6
    import httpx

    for link in links:
        reply = httpx.get(httpx.URL(f"{story}/r/{ANSWER}").join(link), headers={"accept": "text/html"})
        assert reply.status_code == 200, (link, reply.text[-300:])


@pytest.mark.parametrize("look", ["wide", "phone"])
def test_hostile_names_are_text(browser: Browser, serve: Serve, look: str) -> None:
    browser.look(LOOKS[look][0])
    ledger = Fake.of(hostile_run())
    ledger.graph = HOSTILE_GRAPH
    url = serve(build_app(ledger, Settings.resolve({}, {}), api=True, require_loopback=True))
    browser.open(f"{url}/r/{TRACE}", f"graph-hostile-{look}")
    assert browser.script("return document.querySelectorAll('.graph .node').length") == 3
    assert browser.script("return document.querySelectorAll('img, iframe, foreignObject').length") == 0
    assert browser.script("return document.scripts.length") == 1
    assert "<script>" in browser.script("return document.querySelector('.graph').textContent")


def test_the_graph_needs_no_script(browser: Browser, story: str) -> None:
    browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.driver.get(f"{story}/r/{ANSWER}")
    finally:
        browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    node = browser.driver.find_element(By.CSS_SELECTOR, ".graph a.runs, .graph a.run:not(.root)")
    here = browser.driver.current_url
    node.send_keys(Keys.ENTER)
    WebDriverWait(browser.driver, 10).until(url_changes(here))


@pytest.mark.parametrize("look", LOOKS)
def test_the_artifact_page_has_one_too(browser: Browser, story: str, look: str) -> None:
    browser.look(LOOKS[look][0], dark=LOOKS[look][1])
    browser.open(f"{story}/artifact?ref=index:fees_corpus@build-7", f"graph-artifact-{look}")
    assert browser.script("return document.querySelector('.graph .root').getAttribute('aria-label')").startswith(
        "index fees_corpus@build-7"
    )


@pytest.mark.parametrize("look", LOOKS)
def test_the_job_page(browser: Browser, story: str, look: str) -> None:
    browser.look(LOOKS[look][0], dark=LOOKS[look][1])
    browser.open(f"{story}/r/{BUILD}")
    browser.follow(browser.driver.find_element(By.CSS_SELECTOR, "#ids a[href*='job?']"))
    assert browser.driver.find_element(By.TAG_NAME, "h1").text == "fee-assistant.build_index"
    browser.open(f"{story}/job?namespace=rag-prod&name=fee-assistant.POST%20/chat", f"graph-job-{look}")
    assert len(browser.driver.find_elements(By.CSS_SELECTOR, "#runs tbody tr")) == 14
