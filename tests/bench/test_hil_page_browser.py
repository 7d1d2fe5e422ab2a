"""The page of a run in a real browser: matrix, choices, cells, plots, addresses, keyboard."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "host"))

from browser_rig import CONTRASTS, LEAST_CONTRAST, Browser, browsing, needs_browser
from hil_report_rig import MARKUP, all_passed, report, with_result
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from virtual_rig import wait_until

from keyfob_host.hil.report.data import Measure, Report, Text
from keyfob_host.hil.report.page import report_page

pytestmark = needs_browser
FAILED = "#board-1/keyfob/tls::test_another_name_is_refused"
WAITS = "#board-2/keyfob/recovery::test_waits_grow"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browsing(tmp_path_factory.mktemp("profile")) as made:
        yield made


@pytest.fixture(scope="module")
def fifty() -> str:
    before = all_passed(report(50, "20261120T101010Z"))
    return report_page(report(50), with_result(before, 4, verdict="fail"))


def show(browser: Browser, folder: Path, made: Report | str, address: str = "") -> str:
    """Open a report's page, at an address in it."""
    text = made if isinstance(made, str) else report_page(made)
    where = browser.show(folder, text)
    if address:
        browser.driver.get("about:blank")
        browser.driver.get(where + address)
    return where


def cell(browser: Browser, address: str) -> WebElement:
    return browser.one(f'#matrix a[href="{address}"]')


def press(browser: Browser, *keys: str) -> None:
    ActionChains(browser.driver).send_keys(*keys).perform()
    browser.settle()


def focused(browser: Browser) -> str:
    element = browser.driver.switch_to.active_element
    return str(element.get_attribute("hash") or element.get_attribute("id") or element.tag_name)


def choose(browser: Browser, kind: str) -> None:
    browser.click(browser.one(f'#filters input[value="{kind}"]'))


def shown_cells(browser: Browser) -> set[str]:
    shown = (
        "return [...document.querySelectorAll('#matrix td a')]"
        ".filter(one => one.checkVisibility({visibilityProperty: true})).map(one => one.hash)"
    )
    return set(browser.driver.execute_script(shown))


def test_fifty_boards_are_in_sight_and_nothing_is_asked_for(
    browser: Browser, tmp_path: Path, fifty: str
) -> None:
    address = show(browser, tmp_path, fifty)
    assert browser.one("h1").text.endswith("10 of 650 failed")
    assert browser.asked_for(address) == [address]
    assert browser.complaints() == []
    assert len(browser.all("#matrix thead th")) == 51 and len(shown_cells(browser)) == 650
    # The page is no wider than the window: the matrix scrolls in a box of its own.
    wide = "return [document.documentElement.scrollWidth, innerWidth]"
    page, window = browser.driver.execute_script(wide)
    assert page <= window
    head = browser.one("#matrix thead th:last-child div")
    assert head.rect["height"] > head.rect["width"] and "board-50" in head.text


def test_heads_and_case_names_stay_while_the_matrix_scrolls(
    browser: Browser, tmp_path: Path, fifty: str
) -> None:
    show(browser, tmp_path, fifty)
    head, name = browser.one("#matrix thead th:nth-child(40)"), browser.one("#matrix tbody th")
    row = browser.one("#matrix tbody tr:nth-child(2) th")
    scroll = "document.querySelector('#matrix').parentElement.scrollTo(1500, 400)"
    at = "return arguments[0].getBoundingClientRect()"
    top = browser.driver.execute_script(at, head)["y"]
    left = browser.driver.execute_script(at, row)["x"]
    browser.driver.execute_script(scroll)
    assert browser.driver.execute_script(at, head)["y"] == top
    assert browser.driver.execute_script(at, row)["x"] == left
    assert name.text == "keyfob boot"


@pytest.mark.parametrize(
    ("kind", "count"), [("failed", 10), ("warned", 20), ("skipped", 24), ("flaky", 1), ("all", 650)]
)
def test_a_choice_shows_its_cells_and_their_rows_and_columns_alone(
    browser: Browser, tmp_path: Path, fifty: str, kind: str, count: int
) -> None:
    show(browser, tmp_path, fifty)
    choose(browser, kind)
    shown = shown_cells(browser)
    assert len(shown) == count
    boards = {one.partition("/")[0] for one in shown}
    heads = [one for one in browser.all("#matrix thead th") if one.is_displayed()]
    assert len(heads) == 1 + len(boards)
    rows = [one for one in browser.all("#matrix tbody tr") if one.is_displayed()]
    cases = {one.partition("/")[2] for one in shown}
    parts = {one.partition("::")[0] for one in cases}
    assert len(rows) == len(cases) + len(parts)
    assert str(len(boards)) in browser.one("#shown").text
    assert browser.complaints() == []


def test_what_changed_since_the_run_before_is_a_choice(
    browser: Browser, tmp_path: Path, fifty: str
) -> None:
    show(browser, tmp_path, fifty)
    choose(browser, "changed")
    assert len(shown_cells(browser)) == 55
    mended = cell(browser, "#board-1/keyfob/tls::test_expired_certificate_is_refused")
    assert mended.is_displayed() and mended.text.split() == ["✓", "0.8", "was", "✗"]


def test_a_case_and_a_board_are_found_by_their_names(
    browser: Browser, tmp_path: Path, fifty: str
) -> None:
    show(browser, tmp_path, fifty)
    browser.one("#find").send_keys("waits GROW")
    assert len(shown_cells(browser)) == 50
    browser.one("#find").clear()
    browser.one("#find").send_keys("board-37")
    assert len(shown_cells(browser)) == 13
    browser.one("#find").send_keys("x")
    assert shown_cells(browser) == set()
    assert browser.one("#shown").text == "No result is of this kind."


def test_a_cell_opens_what_is_known_of_it_and_closes_again(
    browser: Browser, tmp_path: Path, fifty: str
) -> None:
    address = show(browser, tmp_path, fifty)
    assert not browser.one("#panel").is_displayed()
    browser.click(cell(browser, FAILED))
    panel = browser.one("#panel")
    assert panel.is_displayed() and browser.driver.current_url == address + FAILED
    for words in ("another name is refused", "failed on board-1", "Criterion:",
                  "x509.wrong-name was told after 2.5 s", "passed after 1.9 s",
                  "The certificate has another name.", "wanted broker.test"):  # fmt: skip
        assert words in panel.text, words
    rows = [one.text for one in browser.all(".events tbody tr")]
    assert rows[1].split()[:4] == ["1.204", "s", "+0.892", "s"] and "wifi.up" in rows[1]
    assert "code=x509.wrong-name" in browser.one(".events tr.error").text
    assert [one.text for one in browser.all("summary")] == [
        "The board's events 4", "board console 3 lines", "broker log 1 line",
    ]  # fmt: skip
    press(browser, Keys.ESCAPE)
    assert not panel.is_displayed() and browser.driver.current_url == address
    assert focused(browser) == FAILED


def test_a_text_is_made_when_it_is_unfolded(browser: Browser, tmp_path: Path) -> None:
    show(browser, tmp_path, report(), WAITS)
    assert browser.all("#panel pre") == []
    browser.click(browser.all("#panel summary")[-1])
    wait_until(lambda: browser.all("#panel pre") != [], lambda: "the text")
    assert browser.one("#panel pre").text.startswith("New connection from")


def test_attempts_are_told_one_by_one(browser: Browser, tmp_path: Path) -> None:
    show(browser, tmp_path, report(), "#board-1/keyfob/tls::test_verified_broker_is_talked_to")
    rows = [one.text for one in browser.all(".attempts tbody tr")]
    assert rows == ["1 ✗ failed 5.2 s nothing came within 5 s", "2 ✓ passed 3.7 s"]


def test_what_was_measured_is_plotted_with_axes_units_and_words(
    browser: Browser, tmp_path: Path
) -> None:
    show(browser, tmp_path, report(), WAITS)
    delays, heap = browser.all("#panel svg")
    assert delays.get_attribute("role") == "img"
    assert delays.get_attribute("aria-label") == (
        "waits between attempts: 6 values from 512 to 16,420 ms, median 3,060.5 ms"
    )
    texts = delays.text.split("\n")
    assert {"ms", "number of the value", "0", "20,000", "1", "6"} <= set(texts)
    points = browser.driver.execute_script(
        "return [...arguments[0].querySelectorAll('circle')].map(one => [+one.getAttribute('cx'),"
        "+one.getAttribute('cy')])", delays,
    )  # fmt: skip
    # Later is further right, and more is further up.
    assert len(points) == 6 and points == sorted(points)
    assert [one[1] for one in points] == sorted((one[1] for one in points), reverse=True)
    assert "jittered" in browser.one("#panel figcaption").text
    assert "bytes" in heap.text and delays.rect["width"] > 400 < heap.rect["width"]


@pytest.mark.parametrize(
    "values",
    [
        (7,),
        (3, 3, 3),
        (0, 0),
        (-5, 5),
        (-40.5,),
        (1e-9, 2e-9),
        (1e15, 3),
        (1e16, 1e16 + 4),
        tuple(range(999)),
    ],
)
def test_any_values_become_a_plot_inside_of_its_frame(
    browser: Browser, tmp_path: Path, values: tuple[float, ...]
) -> None:
    made = with_result(report(1), 0, measures=(Measure("x", "s", values), Measure("none", "s", ())))
    show(browser, tmp_path, made, "#board-1/keyfob/boot::test_board_says_that_it_boots")
    assert browser.complaints() == []
    frame = browser.driver.execute_script(
        "return [...document.querySelectorAll('svg circle, svg path, svg text')].map(one => {"
        "const a = one.getBoundingClientRect(), b = one.ownerSVGElement.getBoundingClientRect();"
        "return [a.left - b.left, a.top - b.top, b.right - a.right, b.bottom - a.bottom]})"
    )
    assert len(frame) > 4
    assert [
        sides for sides in frame if not all(side is not None and side >= -5 for side in sides)
    ] == []
    assert "none: no value" in browser.one("#panel").text


def test_the_address_of_a_cell_opens_it_and_back_leads_away(
    browser: Browser, tmp_path: Path
) -> None:
    show(browser, tmp_path, report(), WAITS)
    panel = browser.one("#panel")
    assert panel.is_displayed() and "waits grow" in panel.text
    browser.click(browser.one("#panel nav a"))
    assert "waits grow" in panel.text and "on board-1" in panel.text
    browser.driver.back()
    browser.settle()
    assert "on board-2" in panel.text
    browser.driver.execute_script("location.hash = '#cases'")
    browser.settle()
    assert not panel.is_displayed()
    for wrong in ("#board-9/none", "#%E0%A4%A", "#/"):
        show(browser, tmp_path, report(), wrong)
        assert not browser.one("#panel").is_displayed()
    assert browser.complaints() == []


def test_any_names_are_found_by_their_addresses(browser: Browser, tmp_path: Path) -> None:
    made = report(1)
    name, case = "räum 1/öst#2", 'keyfob/tls::test_x[a b-<"%]'
    made = replace(
        made, boards=(replace(made.boards[0], name=name),),
        cases=(replace(made.cases[0], id=case),),
        results=(replace(made.results[0], board=name, case=case),),
    )  # fmt: skip
    show(browser, tmp_path, made)
    browser.click(browser.one("#matrix td a"))
    assert browser.one("#panel").is_displayed() and name in browser.one("#panel").text


def test_the_matrix_is_walked_by_keyboard(browser: Browser, tmp_path: Path, fifty: str) -> None:
    show(browser, tmp_path, fifty)
    cells = "return document.querySelectorAll('#matrix td a[tabindex=\"0\"]').length"
    assert browser.driver.execute_script(cells) == 1
    region = browser.one("#matrix").find_element("xpath", "..")
    browser.driver.execute_script("arguments[0].focus()", region)
    press(browser, Keys.TAB)
    assert focused(browser) == "#board-1/keyfob/boot::test_board_says_that_it_boots"
    press(browser, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_DOWN)
    assert focused(browser) == "#board-3/keyfob/boot::test_boot_is_told_with_its_reason"
    press(browser, Keys.END)
    assert focused(browser).startswith("#board-50/")
    press(browser, Keys.HOME, Keys.ARROW_UP, Keys.ARROW_UP, Keys.ARROW_LEFT)
    assert focused(browser) == "#board-1/keyfob/boot::test_board_says_that_it_boots"
    press(browser, Keys.ARROW_DOWN, Keys.ENTER)
    assert "boot is told with its reason" in browser.one("#panel").text
    # A cell that has the focus is not under the heads that stay.
    press(browser, Keys.ESCAPE)
    press(browser, *[Keys.ARROW_DOWN] * 5, *[Keys.ARROW_RIGHT] * 30, *[Keys.ARROW_LEFT] * 25)
    reached = browser.driver.execute_script(
        "const one = document.activeElement, box = one.getBoundingClientRect();"
        "return one.contains(document.elementFromPoint(box.x + box.width / 2, box.y + 5))"
    )
    assert reached, focused(browser)


def test_the_arrows_step_over_what_is_not_shown(
    browser: Browser, tmp_path: Path, fifty: str
) -> None:
    show(browser, tmp_path, fifty)
    choose(browser, "failed")
    assert browser.driver.execute_script(
        "return document.querySelector('#matrix td a[tabindex=\"0\"]').checkVisibility()"
    )
    first = cell(browser, FAILED)
    browser.driver.execute_script("arguments[0].focus()", first)
    press(browser, Keys.ARROW_RIGHT)
    assert focused(browser) == "#board-41/keyfob/tls::test_another_name_is_refused"


def test_what_boards_and_brokers_wrote_does_not_run(browser: Browser, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as trap:
        said = MARKUP.replace("127.0.0.1:9", f"127.0.0.1:{trap.getsockname()[1]}")
        made = with_result(
            report(), 5, reason=said, warnings=(said,), evidence=(Text(said, said),),
            events=({"ev": said, "__proto__": {"x": said}, said: [said]},),
            measures=(Measure(said, said, (1, 2), said),),
            diagnosis={"code": said, "cause": said, "rungs": [{"name": said, "state": said}, 7],
                       "evidence": [{"source": said, "text": said}, None], "note": said},
        )  # fmt: skip
        made = replace(made, cases=tuple(replace(one, criterion=said) for one in made.cases))
        show(browser, tmp_path, made, FAILED)
        assert said in browser.one("#panel").text
        assert said in browser.one("#panel pre").text
        assert browser.driver.title.startswith("3 of 26 failed")
        assert browser.complaints() == []
        assert not browser.all("img, iframe, object, embed")
        trap.setblocking(False)
        with pytest.raises(BlockingIOError):
            trap.accept()


@pytest.mark.parametrize("found", [{}, {"code": None, "note": "was not done"}, {"rungs": 5},
                                   {"code": 7, "evidence": "x", "advice": ["a"]}])  # fmt: skip
def test_a_diagnosis_of_any_shape_leaves_the_rest_readable(
    browser: Browser, tmp_path: Path, found: dict[str, object]
) -> None:
    made = with_result(report(), 5, diagnosis=json.loads(json.dumps(found)))
    show(browser, tmp_path, made, FAILED)
    assert browser.complaints() == []
    assert "board console" in browser.one("#panel").text


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_its_contrast(browser: Browser, tmp_path: Path, scheme: str) -> None:
    before = with_result(all_passed(report(2, "20261120T101010Z")), 4, verdict="fail")
    text = report_page(report(), before)
    browser.scheme(scheme)
    try:
        for address in ("", FAILED, WAITS, "#board-2/keyfob/boot::test_no_file_is_left_behind"):
            show(browser, tmp_path, text, address)
            contrasts = browser.driver.execute_script(CONTRASTS)
            assert len(contrasts) > 100
            assert [one for one in contrasts if one[0] < LEAST_CONTRAST] == []
    finally:
        browser.scheme("light")


def test_without_script_the_matrix_is_there(browser: Browser, tmp_path: Path) -> None:
    browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.show(tmp_path, report_page(report()))
        assert not browser.one("#filters").is_displayed()
        assert cell(browser, FAILED).is_displayed()
        assert "no file is left behind" in browser.one("#matrix").text
    finally:
        browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_on_a_small_screen_nothing_is_wider_than_it(browser: Browser, tmp_path: Path) -> None:
    browser.driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True},
    )
    try:
        show(browser, tmp_path, report(), WAITS)
        boxes = browser.all("body, .card, .wide, #panel, #panel figure, #panel details")
        assert all(one.rect["width"] <= 390 for one in boxes)
    finally:
        browser.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_fifty_boards_fit_on_a_sheet(browser: Browser, tmp_path: Path, fifty: str) -> None:
    show(browser, tmp_path, fifty)
    media = {"media": "print"}
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    try:
        # A4 across, less its margins, at 96 dots an inch.
        assert browser.one("#matrix").rect["width"] <= (297 - 20) / 25.4 * 96
        assert len(shown_cells(browser)) == 650 and not browser.one("#filters").is_displayed()
    finally:
        browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_each_part_has_its_heading_and_each_name_is_there_once(
    browser: Browser, tmp_path: Path
) -> None:
    show(browser, tmp_path, report(), FAILED)
    assert [len(browser.all(one)) for one in ("header", "main", "footer", "h1")] == [1, 1, 1, 1]
    for region in browser.all("[aria-labelledby]"):
        label = browser.one(f"#{region.get_attribute('aria-labelledby')}")
        assert label.get_attribute("textContent")
    ids = [one.get_attribute("id") for one in browser.all("[id]")]
    assert len(ids) == len(set(ids))
