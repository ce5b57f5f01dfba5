"""The page in a real browser, driven by the WebDriver protocol over plain HTTP (W3C 2018)."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

import pytest
from anndata import AnnData

from vae4counts.inference import Run, write_report

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None, reason="needs chromium and chromedriver"
)
# whatever a browser does by itself is switched off: what is left to see are the page's requests
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync "
    "--disable-background-networking --disable-component-update --window-size=1200,900"
)
KEYS = {"right": "\ue014", "down": "\ue015", "escape": "\ue00c"}
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


class Browser:
    """A session of a browser."""

    def __init__(self, port: int, profile: Path) -> None:
        self.http = build_opener(ProxyHandler({}))
        self.base = f"http://127.0.0.1:{port}"
        options = {"binary": CHROMIUM, "args": [*FLAGS.split(), f"--user-data-dir={profile}"]}
        wanted = {
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }
        made = self.call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self.base += f"/session/{made['sessionId']}"

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = Request(self.base + path, data, headers, method=method)  # noqa: S310
        try:
            with self.http.open(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except HTTPError as error:
            with error:
                pytest.fail(f"{path}: {error.read().decode()[:500]}")

    def run(self, script: str) -> Any:
        return self.call("POST", "/execute/sync", {"script": script, "args": []})

    def log(self, kind: str) -> list[dict[str, Any]]:
        return self.call("POST", "/se/log", {"type": kind})

    def click(self, selector: str) -> None:
        found = self.call("POST", "/element", {"using": "css selector", "value": selector})
        self.call("POST", f"/element/{found[ELEMENT]}/click", {})

    def press(self, key: str) -> None:
        pressed = [{"type": kind, "value": KEYS[key]} for kind in ("keyDown", "keyUp")]
        self.call(
            "POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": pressed}]}
        )

    def move(self, left: float, top: float) -> None:
        step = {"type": "pointerMove", "x": round(left), "y": round(top), "origin": "viewport"}
        mouse = {
            "type": "pointer",
            "id": "mouse",
            "parameters": {"pointerType": "mouse"},
            "actions": [step],
        }
        self.call("POST", "/actions", {"actions": [mouse]})

    @property
    def says(self) -> list[str]:
        """What the page says of the chosen observation, line by line."""
        return self.run("return document.querySelector('output').innerText.split('\\n')")


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    with subprocess.Popen(  # noqa: S603
        [str(DRIVER), "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as driver:
        assert driver.stdout is not None
        started = (re.search(r"started successfully on port (\d+)", line) for line in driver.stdout)
        port = int(next(filter(None, started))[1])
        session = None
        try:
            session = Browser(port, tmp_path / "profile")
            yield session
        finally:
            if session is not None:
                session.call("DELETE", "")
            driver.terminate()


def test_a_page_to_point_at(run: Run, adata: AnnData, browser: Browser, tmp_path: Path) -> None:
    nasty = "</script><script>alert(1)</script>"
    adata.obs_names = [nasty, *adata.obs_names[1:]]
    write_report(run, adata, tmp_path / "report.html")
    page = (tmp_path / "report.html").as_uri()
    browser.log("performance")  # of the browser's own first page: not of interest
    browser.call("POST", "/url", {"url": page})
    browser.run("document.querySelector('canvas').scrollIntoView()")

    # it is drawn: points of both classes' colours, which are of full size somewhere
    data = browser.run("return JSON.parse(document.getElementById('map-data').textContent)")
    drawn = browser.run(
        "const c = document.querySelector('canvas'), d = c.getContext('2d')"
        ".getImageData(0, 0, c.width, c.height).data;"
        "let n = 0; for (let i = 3; i < d.length; i += 4) n += d[i] > 0; return n;"
    )
    assert drawn > 20 * adata.n_obs

    # pointed at, each observation is itself, with its label and its component
    assert browser.says == [""]
    box = browser.run("return document.querySelector('canvas').getBoundingClientRect().toJSON()")
    annotated = adata.copy()
    run.annotate(annotated)
    places = list(zip(data["x"], data["y"], strict=True))
    for i in (0, 17, 60):
        assert places.count(places[i]) == 1
        left = box["left"] + 14 + data["x"][i] / data["grid"] * (box["width"] - 28)
        top = box["top"] + box["height"] - 14 - data["y"][i] / data["grid"] * (box["height"] - 28)
        browser.move(left, top)
        row = annotated.obs.iloc[i]
        assert browser.says == [
            adata.obs_names[i],
            f"group: {row['group']}",
            f"component: {row['component']}",
        ]
    browser.move(5, 5)
    assert browser.says == [""]

    # so it is by keys
    browser.run("document.querySelector('canvas').focus()")
    browser.press("right")
    first = browser.says[0]
    assert first in adata.obs_names
    browser.press("right")
    second = browser.says[0]
    names = list(adata.obs_names)
    assert data["x"][names.index(second)] > data["x"][names.index(first)]
    browser.press("down")
    assert data["y"][names.index(browser.says[0])] < data["y"][names.index(second)]
    browser.press("escape")
    assert browser.says == [""]

    # coloured by component, and one of these made to stand out
    classes = "return [...document.querySelectorAll('.classes button')].map(b => b.innerText)"
    assert browser.run(classes) == ["a", "b"]
    browser.click("input[value='1']")
    assert browser.run(classes) == list(annotated.obs["component"].cat.categories)
    browser.click(".classes button")
    pressed = "return document.querySelector('.classes button').getAttribute('aria-pressed')"
    assert browser.run(pressed) == "true"

    # nothing went wrong, nothing but the page was asked for, nothing of the data was run
    assert browser.log("browser") == []
    asked = [
        message["params"]["request"]["url"]
        for entry in browser.log("performance")
        for message in [json.loads(entry["message"])["message"]]
        if message["method"] == "Network.requestWillBeSent"
    ]
    assert page in asked
    assert [url for url in asked if url != page and not url.startswith("data:")] == []


@pytest.mark.parametrize("width", [1200, 390])
def test_nothing_is_wider_than_the_screen(
    width: int, run: Run, adata: AnnData, browser: Browser, tmp_path: Path
) -> None:
    write_report(run, adata, tmp_path / "report.html")
    browser.call("POST", "/url", {"url": (tmp_path / "report.html").as_uri()})
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    command = {"cmd": "Emulation.setDeviceMetricsOverride", "params": size}
    browser.call("POST", "/goog/cdp/execute", command)
    assert browser.run("return innerWidth") == width
    assert browser.run("return document.documentElement.scrollWidth") <= width
    assert browser.run("return document.querySelector('canvas').clientWidth") > 0.5 * width


def test_the_browser_would_tell_of_errors(browser: Browser, tmp_path: Path) -> None:
    """The checks above can fail."""
    page = tmp_path / "bad.html"
    page.write_text("<script>console.error('bad')</script><img src='http://127.0.0.1:9/x.png'>")
    browser.call("POST", "/url", {"url": page.as_uri()})
    assert any("bad" in entry["message"] for entry in browser.log("browser"))
    assert any("127.0.0.1:9" in entry["message"] for entry in browser.log("performance"))
