"""Chromium, the pages behind a real HTTP server, and eyes for what the browser complains about."""

from __future__ import annotations

import base64
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import uvicorn
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.expected_conditions import staleness_of
from selenium.webdriver.support.ui import WebDriverWait

from tests.requirements import require

OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-default-apps", "--hide-scrollbars",
)  # fmt: skip
HINT = "make servers SERVERS=chromium"


@contextmanager
def serving(app: Any, port: int = 0) -> Iterator[str]:
    """`app` on 127.0.0.1, on any free port unless one is given; its base URL."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, name="pages", daemon=True)
    thread.start()
    deadline = time.monotonic() + 10
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.01)
    assert server.started
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)


class Browser:
    """One Chromium; every page it shows is checked for complaints and for requests to elsewhere."""

    def __init__(self, driver: webdriver.Chrome, shots: Path) -> None:
        self.driver = driver
        self.shots = shots

    def look(self, width: int, *, dark: bool = False) -> None:
        """A window of that width, in light or dark."""
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})

    def open(self, url: str, name: str = "") -> None:
        """Show a page, keep a picture of it, and fail on console errors, foreign requests and sideways scrolling."""
        self.complaints()
        self.driver.get(url)
        if name:
            self.picture(name)
        width = self.script("return [document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        assert width[0] <= width[1], f"scrolls sideways: {width}"
        assert self.complaints(urlsplit(url).netloc) == []

    def follow(self, element: WebElement, *keys: str) -> None:
        """Click, or press keys, and wait until the page that comes after is all there: a click comes back before the form is sent."""
        old = self.driver.find_element(By.TAG_NAME, "html")
        if keys:
            element.send_keys(*keys)
        else:
            element.click()
        WebDriverWait(self.driver, 10).until(staleness_of(old))
        WebDriverWait(self.driver, 10).until(lambda driver: driver.execute_script("return document.readyState") == "complete")

    def complaints(self, home: str = "") -> list[str]:
        """Console errors, and requests that went elsewhere than `home`, since the last call."""
        found = [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] in {"SEVERE", "WARNING"}]
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                target = urlsplit(message["params"]["request"]["url"])
                if target.scheme not in {"data", "about", "chrome"} and target.netloc != home:
                    found.append(f"request to {target.geturl()}")
        # A page that answers 401 or 404 says so in the console; that is the status, not a fault of the page.
        return [text for text in found if "the server responded with a status of 4" not in text]

    def picture(self, name: str) -> None:
        """The whole page as PNG."""
        size = self.driver.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 8000), "scale": 1}
        data = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})["data"]
        (self.shots / f"{name}.png").write_bytes(base64.b64decode(data))

    def script(self, code: str) -> Any:
        return self.driver.execute_script(code)

    @property
    def text(self) -> str:
        return self.script("return document.body.innerText")


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One Chromium for all tests, with a profile of its own. Pictures go to `SPANLINE_CACHE`/pictures where that is set."""
    require("chromium", HINT)
    require("chromedriver", HINT)
    options = webdriver.ChromeOptions()
    for option in (*OPTIONS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    import shutil

    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    cache = os.environ.get("SPANLINE_CACHE")
    shots = Path(cache) / "pictures" if cache else tmp_path_factory.mktemp("pictures")
    shots.mkdir(parents=True, exist_ok=True)
    try:
        yield Browser(driver, shots)
    finally:
        driver.quit()


@pytest.fixture
def browser(chromium: Browser) -> Browser:
    """The Chromium, wide, light and without cookies."""
    chromium.driver.delete_all_cookies()
    chromium.look(1280)
    return chromium


@pytest.fixture
def serve() -> Iterator[Callable[[Any], str]]:
    """Starts apps; they end with the test."""
    from contextlib import ExitStack

    with ExitStack() as stack:
        yield lambda app: stack.enter_context(serving(app))
