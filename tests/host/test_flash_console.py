"""Console lines and events, and the board's error table, from real files and pseudo terminals."""

from __future__ import annotations

import os
import pty
import time
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

from keyfob_host.console import Console, parse_event
from keyfob_host.device_errors import load_device_errors
from keyfob_host.errors import KeyfobHostError
from keyfob_host.serial_stream import open_stream


@pytest.mark.parametrize(
    ("line", "event"),
    [
        ('kf {"t":1,"ev":"boot"}', {"t": 1, "ev": "boot"}),
        ('>>> kf {"t":1,"ev":"boot"}', {"t": 1, "ev": "boot"}),  # behind a prompt
        ('kf {"t":1,"ev":"a","x":{"y":[1]}}', {"t": 1, "ev": "a", "x": {"y": [1]}}),
        ('kf {"t":1,"ev":"boot"', None),
        ('kf {"t":1}', None),
        ('kf {"t":1,"ev":7}', None),
        ("print('kf {\"t\":1}')", None),
        ('{"t":1,"ev":"boot"}', None),
        ("kf [1]", None),
        ('kf {"t":1e308,"ev":"boot"}', None),
        ('kf {"t":NaN,"ev":"boot"}', None),
        ('kf {"t":-1,"ev":"boot"}', None),
        ('kf {"t":true,"ev":"boot"}', None),
        ('kf {"t":"1","ev":"boot"}', None),
        ('kf {"t":9999999999999999999,"ev":"boot"}', None),
        ('kf {"t":1,"ev":"boot","x":' + "[" * 16_000, None),
        ('kf {"ev":"boot"}', {"ev": "boot"}),
        ("", None),
    ],
)
def test_an_event_is_a_line_of_its_prefix_and_whole_json(line: str, event: object):
    assert parse_event(line) == event


@pytest.fixture
def terminal() -> Iterator[tuple[int, str]]:
    """A pseudo terminal: its master's descriptor, its path."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    name = os.ttyname(slave)
    os.close(slave)
    yield master, name
    os.close(master)


def test_lines_are_put_together_from_pieces(terminal: tuple[int, str]):
    master, port = terminal
    with Console(port) as console:
        for piece in (b'kf {"t":1,', b'"ev":"o', b'ne"}\r', b"\nnext\n\xff\xfe\nrest"):
            os.write(master, piece)
            time.sleep(0.02)
        assert console.wait_event("one", timeout_s=5) == {"t": 1, "ev": "one"}
        console.wait_line("\ufffd", timeout_s=5)
        assert console.lines() == ['kf {"t":1,"ev":"one"}', "next", "\ufffd\ufffd"]
        with pytest.raises(KeyfobHostError) as caught:
            console.wait_line("never", timeout_s=0.1)
        assert "rest" in caught.value.evidence  # the unfinished line is evidence too


def test_noise_without_line_ends_does_not_fill_the_memory(terminal: tuple[int, str]):
    master, port = terminal
    with Console(port) as console:
        for _ in range(20):
            os.write(master, b"x" * 2000)
            time.sleep(0.01)
        os.write(master, b"\nend\n")
        console.wait_line("^end$", timeout_s=5)
        assert max(len(line) for line in console.lines()) < 32_768


def test_what_is_typed_reaches_the_board(terminal: tuple[int, str]):
    master, port = terminal
    with Console(port) as console:
        console.write("abc")
        assert os.read(master, 10) == b"abc"


def test_follow_gives_each_line_once_and_ends_in_time(terminal: tuple[int, str]):
    master, port = terminal
    with Console(port) as console:
        os.write(master, b"a\nb\n")
        console.wait_line("b", timeout_s=5)
        started = time.monotonic()
        assert list(console.follow(0.3)) == ["a", "b"]
        assert 0.25 < time.monotonic() - started < 5


def test_a_port_that_is_gone_is_told_at_once_by_everything_that_waits(tmp_path):
    master, slave = pty.openpty()
    # A name of its own, as a USB adapter has: the terminal's number is given to the next
    # process that asks for one, whose terminal would be opened in its place.
    port = tmp_path / "ttyUSB0"
    port.symlink_to(os.ttyname(slave))
    os.close(slave)
    with Console(str(port), reopen_timeout_s=0.2) as console:
        port.unlink()
        os.close(master)
        for wait in (
            lambda: console.wait_event("x", timeout_s=30),
            lambda: console.wait_line("x", timeout_s=30),
            lambda: list(console.follow(30)),
        ):
            with pytest.raises(KeyfobHostError, match=r"port\.unplugged"):
                wait()


@pytest.mark.parametrize("port", ["socket://127.0.0.1:1", "socket://nonsense", "socket://"])
def test_an_address_that_nobody_has_is_refused(port: str):
    with pytest.raises(KeyfobHostError, match=r"port\.refused"):
        open_stream(port)


GOOD = """# comment
net.down
  cause: No
    network.
  fix: plug it in
  source: none
  retry: wait
"""


def test_the_firmware_s_error_table_is_read():
    errors = load_device_errors()
    assert errors["clock.never-set"].retry == "wait"
    assert all(error.cause and error.fix for error in errors.values())


def test_a_value_may_go_on_in_the_next_line(tmp_path: Path):
    path = tmp_path / "errors.txt"
    path.write_text(GOOD)
    assert load_device_errors(path)["net.down"].cause == "No network."


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        ("  fix: plug it in\n", "", 2, "net.down has no fix"),
        ("retry: wait", "retry: maybe", 2, "'maybe'"),
        ("  source", "  sauce", 6, "sauce"),
        ("  cause: No\n", "  cause: No\n  cause: No\n", 4, "cause"),
        ("net.down\n", "net.down\nnet.up\n", 3, "net.up"),
        ("net.down", "Net Down", 2, "Net Down"),
        (GOOD, GOOD + "\n" + GOOD, 10, "net.down"),
    ],
)
def test_a_table_of_another_shape_is_refused_with_its_line(
    tmp_path: Path, old: str, new: str, line: int, says: str
):
    path = tmp_path / "errors.txt"
    assert old in GOOD
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(KeyfobHostError) as caught:
        load_device_errors(path)
    assert caught.value.code == "firmware.bad-errors-file"
    assert f"errors.txt:{line}: " in caught.value.evidence and says in caught.value.evidence
