"""Chromium without a window, driven by Selenium: what a page shows, asks for and complains of.

Where there is no browser the tests are skipped; tools/setup.py installs one on CI.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from virtual_rig import wait_until

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--window-size=1400,1000",
)  # fmt: skip
LEAST_CONTRAST = 4.5  # WCAG 2.2, 1.4.3, level AA
needs_browser = pytest.mark.skipif(
    not (BROWSER and DRIVER), reason="there is no chromium with its chromedriver here"
)

# Every text's own contrast with what is behind it, as WCAG 2.2 defines it.
CONTRASTS = """
const part = c => (c /= 255) <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4;
const read = text => text.match(/[\\d.]+/g).map(Number);
const light = ([r, g, b]) => .2126 * part(r) + .7152 * part(g) + .0722 * part(b);
const behind = node => {
  for (let one = node; one; one = one.parentElement) {
    const [r, g, b, a = 1] = read(getComputedStyle(one).backgroundColor);
    if (a > 0) return [r, g, b];
  }
  return [255, 255, 255];
};
const found = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const node = walker.currentNode.parentElement;
  if (!walker.currentNode.data.trim() || ["SCRIPT", "STYLE"].includes(node.tagName)) continue;
  const both = [light(read(getComputedStyle(node).color)), light(behind(node))].sort();
  const [low, high] = both[0] < both[1] ? both : [both[1], both[0]];
  found.push([(high + .05) / (low + .05), walker.currentNode.data.slice(0, 60)]);
}
return found;
"""

SETTLED = """
const frame = next => requestAnimationFrame(() => setTimeout(next));
frame(() => frame(arguments[0]));
"""


class Browser:
    """A browser with an empty profile, and what it was asked for and complained of."""

    def __init__(self, profile: Path) -> None:
        options = webdriver.ChromeOptions()
        options.binary_location = str(BROWSER)
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))

    def show(self, folder: Path, text: str) -> str:
        """Open the page from a file of its own; its address."""
        path = folder / "doctor.html"
        path.write_text(text, "utf-8")
        self.driver.get(path.as_uri())
        return path.as_uri()

    def asked_for(self, address: str) -> list[str]:
        """Every address that the page at ``address`` made the browser ask for, its own too."""
        logged = self.driver.get_log("performance")
        messages = [json.loads(one["message"])["message"] for one in logged]
        asked = [one["params"] for one in messages if one["method"] == "Network.requestWillBeSent"]
        # The browser's own first page may still be loading.
        return [one["request"]["url"] for one in asked if one["documentURL"] == address]

    def complaints(self) -> list[str]:
        return [one["message"] for one in self.driver.get_log("browser")]

    def one(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def click(self, element: WebElement) -> None:
        element.click()
        self.settle()

    def settle(self) -> None:
        """Wait for what an action left to be told: ``toggle``, ``close`` and ``hashchange`` come
        as tasks of their own, which a driver does not wait for."""
        self.driver.execute_async_script(SETTLED)

    def scheme(self, name: str) -> None:
        """``light`` or ``dark``."""
        media = {"features": [{"name": "prefers-color-scheme", "value": name}]}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)


@contextmanager
def browsing(profile: Path) -> Iterator[Browser]:
    """A browser whose processes are gone afterwards, all of them."""
    with pytest.MonkeyPatch.context() as environment:
        # Its driver is spoken to by HTTP on this machine.
        environment.setenv("no_proxy", "127.0.0.1,localhost")
        made = Browser(profile)
    try:
        yield made
    finally:
        ours = {*_below(made.driver.service.process.pid), *_with(str(profile))}
        made.driver.quit()
    wait_until(lambda: not ours & _running(), lambda: f"the end of {ours & _running()}")
    assert not _with(str(profile)), "the browser runs on"


def _below(pid: int) -> set[int]:
    """The process and all that it started."""
    try:
        words = (Path(f"/proc/{pid}/task/{pid}/children")).read_text().split()
    except OSError:
        return set()
    return {pid}.union(*(_below(int(one)) for one in words))


def _running() -> set[int]:
    return {int(one.name) for one in Path("/proc").glob("[0-9]*") if _command(one)}


def _with(text: str) -> set[int]:
    """The processes with this in their command line."""
    return {int(one.name) for one in Path("/proc").glob("[0-9]*") if text in _command(one)}


def _command(process: Path) -> str:
    try:
        return (process / "cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""  # it has just ended
