"""The doctor's page in a real browser."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "host"))

from browser_rig import CONTRASTS, LEAST_CONTRAST, Browser, browsing, needs_browser
from doctor_bench import BROKER, FaultBench, running
from doctor_seen import MARKUP, QUOTES, failing, hostile, page, seen, well
from virtual_rig import WAIT_S, wait_until

from keyfob_host.doctor.tap_daemon import EVENTS
from keyfob_host.virtual import VirtualBoard

needs_mosquitto = pytest.mark.skipif(
    shutil.which("mosquitto") is None, reason="mosquitto is not installed"
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browsing(tmp_path_factory.mktemp("profile")) as made:
        yield made


@needs_browser
def test_the_verdict_is_in_sight_and_the_page_asks_for_nothing(
    browser: Browser, tmp_path: Path
) -> None:
    address = browser.show(tmp_path, page(failing()))
    assert browser.one("h1").text.endswith("Broken: broker's certificate")
    for selector in ("h1", ".cause", ".names", ".compared", ".fix", ".ladder", ".time-line"):
        assert browser.one(selector).is_displayed(), selector
    assert browser.one("h1").rect["y"] < 200
    assert "x509.name-not-in-san" in browser.one(".names").text
    assert browser.asked_for(address) == [address]
    assert browser.complaints() == []


@needs_browser
def test_board_wire_and_broker_stand_side_by_side_in_the_order_of_time(
    browser: Browser, tmp_path: Path
) -> None:
    browser.show(tmp_path, page(failing()))
    heads = browser.all(".time-line thead th")
    assert [one.text for one in heads] == ["time (UTC)", "board", "wire", "broker"]
    boxes = [one.rect for one in heads]
    for left, right in pairwise(boxes):
        assert left["x"] + left["width"] <= right["x"] + 1
        assert left["width"] > 100 and left["y"] == right["y"]
    for name, head in zip(("board", "wire", "broker"), boxes[1:], strict=True):
        cells = browser.all(f".time-line td.{name}")
        assert cells and all(abs(one.rect["x"] - head["x"]) < 2 for one in cells)
    rows = browser.all(".time-line tbody th time")
    moments = [one.get_attribute("datetime") for one in rows]
    assert len(moments) > 6 and moments == sorted(moments)
    tops = [one.rect["y"] for one in rows]
    assert tops == sorted(tops)
    # The broker's lines of a second are level with what board and wire had in it.
    refused = browser.one(".time-line tr.failure th").rect["y"]
    cell = next(one for one in browser.all("td.broker") if "bad certificate" in one.text).rect
    assert cell["y"] <= refused <= cell["y"] + cell["height"]
    assert "the failure" in browser.one("#failure").text


@needs_browser
def test_what_peers_wrote_is_shown_as_text(browser: Browser, tmp_path: Path) -> None:
    browser.show(tmp_path, page(hostile()))
    assert browser.driver.title == "kitchen: broken: broker's certificate - Keyfob doctor"
    shown = browser.one(".time-line").text
    for wanted in (MARKUP[:40], QUOTES, "\\x1b[2J", "\\u202egnp.exe", "CN=\\<b\\>CN"):
        assert wanted in shown
    assert len(browser.all("script")) == 1 and not browser.all("img, iframe, object, embed")
    assert browser.complaints() == []


@needs_browser
def test_the_policy_stops_what_would_get_past_the_escaping(
    browser: Browser, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as trap:
        markup = MARKUP.replace("127.0.0.1:9", f"127.0.0.1:{trap.getsockname()[1]}")
        text = page(failing()).replace("</main>", f"{markup}<b style='color:red'>x</b></main>")
        browser.show(tmp_path, text)
        assert browser.driver.title != "owned"
        # The browser says which three it refused, and nobody came.
        refused = [one for one in browser.complaints() if "Content Security Policy" in one]
        assert len(refused) >= 3, refused
        trap.setblocking(False)
        with pytest.raises(BlockingIOError):
            trap.accept()


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_contrast_in_light_and_dark(
    browser: Browser, tmp_path: Path, scheme: str
) -> None:
    browser.scheme(scheme)
    grounds = set()
    for found, wire in (
        (failing(), True),
        (well(), True),
        (seen(*failing().board.events[:3]), False),
    ):
        browser.show(tmp_path, page(found) if wire else page(found, ()))
        contrasts = browser.driver.execute_script(CONTRASTS)
        assert len(contrasts) > 40
        assert [one for one in contrasts if one[0] < LEAST_CONTRAST] == []
        grounds.add(browser.one("body").value_of_css_property("background-color"))
    browser.scheme("light")
    assert len(grounds) == 1
    (ground,) = grounds
    assert ("243" in ground) == (scheme == "light")


@needs_browser
def test_the_page_has_landmarks_headings_and_table_heads(browser: Browser, tmp_path: Path) -> None:
    browser.show(tmp_path, page(failing()))
    assert browser.one("html").get_attribute("lang") == "en"
    assert [len(browser.all(one)) for one in ("header", "main", "footer", "h1")] == [1, 1, 1, 1]
    for region in browser.all("[aria-labelledby]"):
        assert browser.one(f"#{region.get_attribute('aria-labelledby')}").text
    assert all(one.get_attribute("scope") == "col" for one in browser.all(".time-line thead th"))
    assert all(one.get_attribute("scope") == "row" for one in browser.all(".time-line tbody th"))
    ids = [one.get_attribute("id") for one in browser.all("[id]")]
    assert len(ids) == len(set(ids))


@needs_browser
def test_the_fix_is_copied_by_its_button_and_selected(browser: Browser, tmp_path: Path) -> None:
    browser.show(tmp_path, page(failing()))
    button = browser.one("#copy")
    assert button.is_displayed()
    button.click()
    assert button.text in ("Copied", "Press Ctrl-C")
    selected = browser.driver.execute_script("return getSelection().toString()")
    assert selected.strip() == browser.one("#fix").text


@needs_browser
def test_without_script_and_on_a_small_screen_all_is_there(
    browser: Browser, tmp_path: Path
) -> None:
    browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    browser.driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True},
    )
    try:
        browser.show(tmp_path, page(failing()))
        assert not browser.one("#copy").is_displayed()
        for selector in ("h1", ".fix", ".ladder", ".time-line"):
            assert browser.one(selector).is_displayed()
        # The table alone may be wider: it scrolls in a box of its own.
        assert all(one.rect["width"] <= 390 for one in browser.all("body, .card, .fix, .wide"))
    finally:
        browser.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


# -- with a bench


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultBench]:
    with running(tmp_path_factory.mktemp("doctor")) as made:
        yield made


def keyfob(bench: FaultBench, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "keyfob_host", "doctor", *words], capture_output=True, text=True,
        timeout=60, check=False, env={**os.environ, "KEYFOB_HOME": str(bench.home.root)},
    )  # fmt: skip


@needs_mosquitto
@pytest.mark.mosquitto
def test_a_board_that_fails_is_found_by_its_name_and_written_to_a_page(
    bench: FaultBench, tmp_path: Path
) -> None:
    bench.restore()
    bench.serve(bench.authority.issue_broker("other.keyfob.test"))
    bench.reboot()
    bench.wait_console('"code":"x509.')
    tap = bench.home.broker_dir / EVENTS
    wait_until(lambda: "alert 42" in tap.read_text(), lambda: "the alert at the tap")
    target = tmp_path / "doctor.html"
    # Without a name it is the one board that is up.
    done = keyfob(bench, "--timeline", "--html", str(target))
    assert done.returncode == 6, done.stdout + done.stderr
    assert f"wrote {target}" in done.stderr and "listening to virtual-esp32" in done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith(">>")]
    assert len(lines) == 2 and "x509.wrong-name" in lines[0]
    text = target.read_text()
    assert "other.keyfob.test" in text and "bad_certificate" in text
    secrets = ["keyfob-bench-password", "PRIVATE KEY", bench.device.key_der_for("mbedtls").hex()]
    assert not any(one in text + done.stdout for one in secrets)

    told = json.loads(keyfob(bench, "virtual-esp32", "--json").stdout)
    entries = told["timeline"]["entries"]
    assert {one["source"] for one in entries} == {"board", "wire", "broker", "host"}
    assert [one["at"] for one in entries] == sorted(one["at"] for one in entries)
    assert sum(one["mark"] == "failure" for one in entries) == 1
    alert = next(one for one in entries if one["text"].startswith("alert 42"))
    assert (alert["source"], alert["from"]) == ("wire", "board")
    # One clock, though the board has been up for a second and the tap for longer.
    error = next(one for one in entries if one["mark"] == "failure")
    apart = datetime.fromisoformat(error["at"][:-1]) - datetime.fromisoformat(alert["at"][:-1])
    assert abs(apart) < timedelta(seconds=WAIT_S)


@needs_browser
@needs_mosquitto
@pytest.mark.mosquitto
@pytest.mark.slow
def test_the_page_of_a_board_that_is_well(
    bench: FaultBench, browser: Browser, tmp_path: Path
) -> None:
    bench.restore()
    bench.wait_console('"ev":"publish"')
    target = tmp_path / "well.html"
    done = keyfob(bench, "virtual-esp32", "--html", str(target))
    assert done.returncode == 0, done.stdout + done.stderr
    address = browser.show(tmp_path, target.read_text())
    assert browser.one("h1").text.endswith("All rungs hold")
    assert len(browser.all(".ladder .holds")) == len(browser.all(".ladder li")) == 14
    assert BROKER in browser.one(".ladder").text
    assert browser.asked_for(address) == [address] and browser.complaints() == []


@needs_mosquitto
@pytest.mark.mosquitto
@pytest.mark.slow
def test_of_two_boards_that_are_up_one_has_to_be_said(bench: FaultBench) -> None:
    second = VirtualBoard.up(bench.home, "virtual-esp32", "kitchen", powered=False)
    try:
        done = keyfob(bench, "--json")
        told = json.loads(done.stdout)["error"]
        assert (done.returncode, told["code"]) == (2, "doctor.which-board")
        assert "kitchen, virtual-esp32" in told["evidence"]
        off = json.loads(keyfob(bench, "kitchen", "--json").stdout)
        assert (off["board"], off["diagnosis"]["rung"]) == ("kitchen", "serial")
        near = json.loads(keyfob(bench, "kitchn", "--json").stdout)["error"]
        assert near["fix"] == "keyfob doctor kitchen"
    finally:
        second.down()
