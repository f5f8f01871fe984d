"""Feast's own lineage page, in Chromium: a person finds the job, the index and what else made the answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.browser.conftest import Browser
from tests.servers import story
from tests.servers.child import eventually
from tests.servers.feast.server import feast

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]


def test_its_page_draws_our_graph(browser: Browser, tmp_path: Path, fresh_provider: None) -> None:
    with feast(ui=True) as server:
        config = tmp_path / "openlineage.json"
        config.write_text(json.dumps({"transport": {"type": "http", "url": server.url, "spanline": {"preset": "feast"}}}))
        told = story.play(tmp_path, openlineage_config=config)
        assert server.state(told.run_id) == "COMPLETE"
        browser.look(1600)
        browser.driver.get(f"{server.url}/p/spanline/lineage")
        datasets = {"fees@2026-11-01", "fees_corpus@commit:abc123", "fees@v7", "openai/gpt-4o-2024-06-18", "responses.fee-assistant"}
        try:
            eventually(lambda: all(name in browser.text for name in datasets), 60, "the graph is not drawn")
        finally:
            browser.picture("feast-lineage")
        browser.driver.find_element("xpath", "//button[normalize-space()='Jobs'] | //label[normalize-space()='Jobs']").click()
        jobs = {story.ASSISTANT, story.TOOLS, story.BUILD, story.BROKEN}
        try:
            eventually(lambda: all(name in browser.text for name in jobs), 30, "the jobs are not listed")
        finally:
            browser.picture("feast-jobs")
