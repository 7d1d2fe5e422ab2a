"""A board's lock: one for all its names and all users, and who holds it is told to everybody."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from keyfob_rig import Keyfob
from usb_rig import CP2102, Adapter, UsbMachine, needs_namespace

from keyfob_host.boards import open_board
from keyfob_host.errors import KeyfobHostError
from keyfob_host.hil.lock import board_lock, check_not_held, holder_of, lock_path
from keyfob_host.home import Home
from keyfob_host.transport import open_transport
from keyfob_host.virtual import VirtualBoard

NOBODY = 65534
HOST = Path(__file__).parents[2] / "host"
HOLDER = f"""
import sys; sys.path.insert(0, {str(HOST)!r})
from pathlib import Path
from keyfob_host.hil.lock import board_lock
with board_lock(Path(sys.argv[1]), "the board"):
    print("held", flush=True)
    sys.stdin.read()
"""
Hold = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def hold() -> Iterator[Hold]:
    """Holds the lock of a path in a process of its own, which lives until the test ends."""
    processes: list[subprocess.Popen[str]] = []

    def start(path: Path, *, uid: int = 0) -> subprocess.Popen[str]:
        user = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"] if uid else []
        process = subprocess.Popen(
            [*user, sys.executable, "-c", HOLDER, str(path)], cwd="/",
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        processes.append(process)
        assert process.stdout is not None and process.stderr is not None
        if process.stdout.readline() != "held\n":
            said = process.stderr.read()
            if uid and "Permission denied" in said and "board" not in said:
                pytest.skip(f"the user nobody may not run this Python: {said.strip()}")
            raise AssertionError(said)
        return process

    yield start
    for process in processes:
        process.communicate()


# -- one lock for all names


def test_a_server_s_port_is_one_board_whatever_is_spoken_on_it(tmp_path: Path):
    home = Home(tmp_path)
    ways = ("rfc2217://LAB:4000?ign_set_control", "socket://lab:4000", "rfc2217://lab:4000")
    assert len({lock_path(home, name, way) for name, way in zip("abc", ways, strict=True)}) == 1
    assert lock_path(home, "a", "rfc2217://lab:4001") != lock_path(home, "a", ways[0])


@pytest.mark.parametrize("url", ["rfc2217://lab:99999", "socket://[::1", "rfc2217://"])
def test_an_address_that_is_none_is_left_to_who_connects(tmp_path: Path, url: str):
    with pytest.raises(KeyfobHostError) as caught:
        open_transport(open_board("esp32", url, home=Home(tmp_path)))
    assert caught.value.code.startswith("port.")


def test_a_virtual_board_is_one_by_its_name_and_by_its_ports(tmp_path: Path):
    home = Home(tmp_path / "home")
    board = VirtualBoard.up(home, powered=False)
    try:
        own = lock_path(home, board.name, None)
        info = board.info()
        for way in ("pty", "socket_url", "rfc2217_url"):
            assert lock_path(home, "mine", str(info[way])) == own
        real = os.path.realpath(str(info["pty"]))
        assert lock_path(home, "mine", real) == own
    finally:
        board.down()


@needs_namespace
def test_a_usb_board_stays_locked_when_its_port_is_numbered_anew(tmp_path: Path, hold: Hold):
    home = tmp_path / "home"
    home.mkdir()
    (home / "bench.toml").write_text('[board.one]\nkind = "esp32"\nusb_serial = "AAA"\n')
    bus = 1000 + os.getpid()  # no adapter of this machine is there, and no other run's
    for name in ("ttyUSB0", "ttyUSB7"):
        machine = UsbMachine(tmp_path / name, home, [Adapter(name, f"{bus}-1.7", CP2102, "AAA")])
        try:
            (free,) = machine.json("bench", "list")["boards"]
            assert (free["port"], free["held_by"]) == (f"/dev/{name}", "free")
            shared = lock_path(Home(home), "one", "/dev/ttyNONE").parent
            process = hold(shared / f"keyfob-usb-{bus}-1-7.lock")
            (held,) = machine.json("bench", "list")["boards"]
            assert held["held_by"].startswith(f"pid {process.pid}: ")
            refused = machine.run("monitor", "--board", "one", "--for", "1")
            assert "error  port.busy" in refused.stderr and f"pid {process.pid}" in refused.stderr
            process.communicate("")
        finally:
            machine.close()


# -- who holds it


def test_who_holds_it_is_told_to_others_and_not_to_itself(tmp_path: Path, hold: Hold):
    path = tmp_path / "board.lock"
    assert holder_of(path) is None
    process = hold(path)
    holder = holder_of(path)
    assert holder is not None and holder.pid == process.pid and not holder.is_ours
    with pytest.raises(KeyfobHostError) as caught:
        check_not_held(path, "kitchen")
    assert caught.value.code == "port.busy"
    assert f"pid {process.pid}: " in caught.value.evidence
    process.communicate("")
    with board_lock(path, "kitchen"):
        check_not_held(path, "kitchen")
        child = f"from keyfob_host.hil.lock import *\nfrom pathlib import Path\n" \
            f"check_not_held(Path({str(path)!r}), 'kitchen')"  # fmt: skip
        subprocess.run([sys.executable, "-c", child], check=True)
    assert holder_of(path) is None and not path.exists()


def test_to_look_at_a_lock_keeps_nobody_from_taking_it(tmp_path: Path):
    path = tmp_path / "board.lock"
    code = (
        "import sys\nfrom pathlib import Path\nfrom keyfob_host.hil.lock import holder_of\n"
        "print('looking', flush=True)\nwhile True: holder_of(Path(sys.argv[1]))\n"
    )
    looker = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert looker.stdout is not None and looker.stdout.readline() == "looking\n"
        for _ in range(200):
            with board_lock(path, "kitchen"):
                assert json.loads(path.read_text())["pid"] == os.getpid()
    finally:
        looker.kill()
        looker.communicate()


def test_a_note_that_makes_no_sense_is_no_error(tmp_path: Path, hold: Hold):
    path = tmp_path / "board.lock"
    hold(path)
    path.write_text('{"pid": "\x1b[2J"')
    holder = holder_of(path)
    assert holder is not None and holder.words == "a run that has just begun"


@pytest.mark.skipif(
    os.getuid() != 0 or shutil.which("setpriv") is None, reason="another user takes root, setpriv"
)
def test_another_user_of_the_machine_is_told_and_takes_over_what_was_left(hold: Hold):
    path = lock_path(Home(Path("/")), "x", f"/dev/ttyKEYFOB{os.getpid()}")
    try:
        process = hold(path, uid=NOBODY)
        with pytest.raises(KeyfobHostError) as caught, board_lock(path, "x"):
            pass
        assert caught.value.code == "board.in-use"
        assert f"pid {process.pid} (user nobody): " in caught.value.evidence
        process.kill()
        process.wait()
        assert path.stat().st_uid == NOBODY  # what a killed run leaves
        mine = hold(path)
        mine.kill()
        mine.wait()
        hold(path, uid=NOBODY).communicate("")
    finally:
        path.unlink(missing_ok=True)


# -- commands keep off what a suite has


def test_commands_refuse_a_board_that_a_suite_has_and_name_it(keyfob: Keyfob, hold: Hold):
    home = Home(keyfob.home)
    board = VirtualBoard.up(home, powered=False)
    try:
        process = hold(lock_path(home, board.name, None))
        (listed,) = keyfob.json("bench", "list")["boards"]
        assert listed["lock"]["pid"] == process.pid
        keyfob.json("ca", "init", "--no-passphrase")
        keyfob.json("cert", "device", "sensor-01")
        for command in (
            ("flash",), ("sync",), ("provision", "--identity", "sensor-01"),
            ("monitor", "--for", "1"),
        ):  # fmt: skip
            error = keyfob.error(*command)
            assert error["code"] == "port.busy", command
            assert f"pid {process.pid}: " in error["evidence"]
        (keyfob.home / "bench.toml").write_text(
            '[board.virtual-esp32]\nkind = "virtual-esp32"\nvirtual = true\n'
        )
        assert keyfob.error("bench", "power", "off", "virtual-esp32")["code"] == "port.busy"
    finally:
        board.down()


def test_of_two_commands_at_once_one_has_the_board(keyfob: Keyfob):
    board = VirtualBoard.up(Home(keyfob.home), powered=False)
    command = [sys.executable, "-m", "keyfob_host", "--json", "flash"]
    environment = {**os.environ, "KEYFOB_HOME": str(keyfob.home)}
    try:
        both = [
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        told = [json.loads(one.communicate(timeout=60)[0]) for one in both]
    finally:
        board.down()
    (refused,) = [one["error"] for one in told if "error" in one]
    (flashed,) = [one for one in told if "error" not in one]
    assert flashed["verified"] is True
    assert refused["code"] in ("port.busy", "board.in-use")
    assert "keyfob_host --json flash" in refused["evidence"] or "begun" in refused["evidence"]
