"""A board's supply: what each driver sends, and what it says when nothing is switched.

The relay's frames are those its maker publishes; uhubctl's words are its own, from the
program where it is installed and from its manual for hubs that no test has.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest
import serial
from keyfob_rig import Keyfob

from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.home import Home
from keyfob_host.power import PowerTable, open_power
from keyfob_host.power.program import Ended
from keyfob_host.power.uhubctl import refusal
from keyfob_host.virtual import VirtualBoard

KEYFOB = [sys.executable, "-m", "keyfob_host"]


def told(call: object) -> KeyfobHostError:
    assert callable(call)
    with pytest.raises(KeyfobHostError) as caught:
        call()
    assert caught.value.status == ExitStatus.HOST
    return caught.value


# -- a program


def command(off: tuple[str, ...], on: tuple[str, ...] = ("true",), **more: float) -> PowerTable:
    return PowerTable("command", off=off, on=on, **more)


def test_commands_cut_a_board_s_power_and_give_it_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEYFOB_HOME", str(tmp_path))
    board = VirtualBoard.up(Home(tmp_path))
    try:
        power = [*KEYFOB, "board", "power"]
        switch = open_power(command((*power, "off"), (*power, "on")))
        switch.off()
        assert board.info()["state"] == "off"
        switch.on()
        assert board.info()["state"] != "off"
    finally:
        board.down()


def test_no_shell_reads_a_command(tmp_path: Path) -> None:
    open_power(command(("touch", f"{tmp_path}/$HOME; true"))).off()
    assert (tmp_path / "$HOME; true").exists()


def test_a_command_that_fails_is_told_with_its_words_and_status() -> None:
    error = told(open_power(command(("sh", "-c", "echo no such plug >&2; exit 3"))).off)
    assert error.code == "power.command-failed"
    assert "status 3" in error.cause and "no such plug" in error.evidence


def test_a_command_that_is_not_there_is_told_with_its_name() -> None:
    error = told(open_power(command(("switch-of-nobody",))).off)
    assert error.code == "power.program-missing"
    assert "switch-of-nobody" in error.cause and "command -v switch-of-nobody" in error.fix


def test_a_command_that_never_ends_is_ended() -> None:
    error = told(open_power(command(("sleep", "3600"), timeout_s=1.0)).off)
    assert error.code == "power.program-silent" and "it was ended" in error.evidence


def test_a_cycle_that_is_interrupted_leaves_the_power_on(tmp_path: Path) -> None:
    log = tmp_path / "log"
    program = (
        "from keyfob_host.power import PowerTable, open_power\n"
        f"say = lambda word: ('sh', '-c', 'echo ' + word + ' >> {log}')\n"
        "open_power(PowerTable('command', off=say('off'), on=say('on'))).cycle(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL)
    end = time.monotonic() + 30
    while not log.exists() and time.monotonic() < end:
        time.sleep(0.02)
    # In its wait, or still in the command that switches: the outcome is the same.
    process.send_signal(signal.SIGINT)
    assert process.wait(30) != 0
    assert log.read_text().split() == ["off", "on"]


# -- a relay


@pytest.fixture
def relay() -> Iterator[tuple[int, str]]:
    """A pseudo terminal in the relay's place: what it is sent, and its path."""
    master, slave = os.openpty()
    tty.setraw(slave)
    yield master, os.ttyname(slave)
    os.close(slave)
    os.close(master)


def received(master: int) -> str:
    data = b""
    while len(data) < 4 and select.select([master], [], [], 5)[0]:
        data += os.read(master, 64)
    return data.hex(" ")


@pytest.mark.parametrize(
    ("channel", "contact", "on", "frame"),
    [
        (1, None, True, "a0 01 01 a2"),
        (1, None, False, "a0 01 00 a1"),
        (2, "normally-open", True, "a0 02 01 a3"),
        (2, "normally-open", False, "a0 02 00 a2"),
        (1, "normally-closed", True, "a0 01 00 a1"),
        (1, "normally-closed", False, "a0 01 01 a2"),
    ],
)
def test_a_relay_gets_the_frame_that_its_maker_publishes(
    relay: tuple[int, str], channel: int, contact: str | None, on: bool, frame: str
) -> None:
    master, path = relay
    table = PowerTable("relay", url=path, channel=channel, contact=contact)  # type: ignore[arg-type]
    switch = open_power(table)
    switch.on() if on else switch.off()
    assert received(master) == frame


def test_a_relay_that_switches_another_board_s_power_is_waited_for(relay: tuple[int, str]) -> None:
    master, path = relay
    other = serial.Serial(path, exclusive=True)
    waiting = threading.Thread(target=open_power(PowerTable("relay", url=path)).on)
    waiting.start()
    assert not select.select([master], [], [], 0.2)[0]
    other.close()
    assert received(master) == "a0 01 01 a2"
    waiting.join()


def test_a_relay_that_is_not_plugged_in_is_told_as_a_port() -> None:
    assert told(open_power(PowerTable("relay", url="/dev/ttyNOPE")).on).code == "port.missing"
    missing = told(open_power(PowerTable("relay", usb_serial="R1")).on)
    assert missing.code == "port.not-plugged-in" and "the relay" in missing.cause


# -- a hub

# As uhubctl's manual shows them, with this bench's places in them.
SWITCHED_OFF = """\
Current status for hub 1-1 [2001:f103 D-Link Corp. DUB-H7 BCD USB 2.00, 7 ports, ppps]
  Port 4: 0503 power highspeed enable connect [10c4:ea60 Silicon Labs CP2102 0001]
Sent power off request
New status for hub 1-1 [2001:f103 D-Link Corp. DUB-H7 BCD USB 2.00, 7 ports, ppps]
  Port 4: 0000 off
"""
NOT_PERMITTED = """\
No compatible devices detected!
There were permission problems while accessing USB.
Follow https://git.io/JIB2Z for a fix!
"""


def test_a_port_that_was_switched_is_no_error() -> None:
    assert refusal(Ended("uhubctl …", 0, SWITCHED_OFF), "1-1", 4, "off") is None


def test_a_port_that_still_has_power_is_told() -> None:
    still = SWITCHED_OFF.replace("0000 off", "0100 power")
    error = refusal(Ended("uhubctl …", 0, still), "1-1", 4, "off")
    assert error is not None and error.code == "power.not-switched"


def test_of_a_hub_that_is_two_both_halves_are_looked_at() -> None:
    still = SWITCHED_OFF.replace("0000 off", "02a0 power 5gbps Rx.Detect")
    for said in (still + SWITCHED_OFF, SWITCHED_OFF + still):
        error = refusal(Ended("uhubctl …", 0, said), "1-1", 4, "off")
        assert error is not None and error.code == "power.not-switched"


def test_a_user_who_may_not_is_given_a_rule_for_udev() -> None:
    error = refusal(Ended("uhubctl …", 1, NOT_PERMITTED), "1-1", 4, "off")
    assert error is not None and error.code == "power.no-permission"
    assert "/etc/udev/rules.d/" in error.fix
    # The pasted command is read by a shell as it was meant.
    rules = error.fix.partition(" | sudo tee")[0]
    shown = subprocess.run(["sh", "-c", rules], capture_output=True, text=True, check=True).stdout
    assert len(shown.splitlines()) == 2
    assert all(line.startswith('SUBSYSTEM=="usb", DRIVER=="hub", ') for line in shown.splitlines())
    assert shown.count('"') % 2 == 0 and r'"/bin/sh -c \"' in shown


@pytest.mark.skipif(shutil.which("uhubctl") is None, reason="uhubctl is not installed")
def test_without_such_a_hub_the_real_program_s_words_are_explained() -> None:
    error = told(open_power(PowerTable("uhubctl", hub="99-1", hub_port=4)).off)
    assert error.code in ("power.no-hub", "power.no-permission")
    assert "uhubctl -l 99-1 -p 4 -a off" in error.evidence
    assert "99-1" in error.cause


def test_without_uhubctl_it_is_told_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    error = told(open_power(PowerTable("uhubctl", hub="1-1", hub_port=4)).off)
    assert error.code == "power.program-missing" and error.fix.endswith("install uhubctl")


def test_uhubctl_is_called_for_one_port_of_one_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "uhubctl"
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/arguments\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    open_power(PowerTable("uhubctl", hub="1-1.2", hub_port=3)).on()
    assert (tmp_path / "arguments").read_text().split() == ["-l", "1-1.2", "-p", "3", "-a", "on"]


@pytest.mark.parametrize(
    ("location", "hub"),
    [("1-1.4", ("1-1", 4)), ("2-3", ("2", 3)), ("1-1.4.2:1.0", ("1-1.4", 2)), ("x", None)],
)
def test_hub_and_port_are_in_a_usb_location(location: str, hub: tuple[str, int] | None) -> None:
    table = PowerTable("uhubctl").at(location)
    assert (table.hub, table.hub_port) == (hub or (None, None))
    assert PowerTable("uhubctl", hub="3-1", hub_port=1).at(location).hub == "3-1"


# -- as a command


def test_bench_power_switches_by_the_bench_file(keyfob: Keyfob, tmp_path: Path) -> None:
    keyfob.home.mkdir(exist_ok=True)
    log = tmp_path / "log"
    (keyfob.home / "bench.toml").write_text(
        '[board.one]\nkind = "esp32"\nurl = "socket://127.0.0.1:9"\n'
        f'[board.one.power]\ndriver = "command"\n'
        f'off = ["sh", "-c", "echo off >> {log}"]\non = ["sh", "-c", "echo on >> {log}"]\n'
        '[board.two]\nkind = "esp32"\nlocation = "1-1"\n'
    )
    assert keyfob.json("bench", "power", "cycle", "one", "--off-s", "0") == {
        "board": "one", "power": "cycle",
    }  # fmt: skip
    assert log.read_text().split() == ["off", "on"]
    assert keyfob.error("bench", "power", "off", "two")["code"] == "bench.no-power"
    assert keyfob.error("bench", "power", "off", "none")["code"] == "bench.unknown-board"
