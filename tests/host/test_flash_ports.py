"""Serial ports that cannot be used: each case made with real devices, locks and users."""

from __future__ import annotations

import fcntl
import grp
import json
import os
import pty
import shutil
import subprocess
import sys
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.ports import check_port, holders, port_busy
from keyfob_host.serial_stream import open_stream

NOBODY = 65534
_HOST = Path(__file__).parents[2] / "host"

needs_root = pytest.mark.skipif(
    os.getuid() != 0 or shutil.which("setpriv") is None,
    reason="changing the user takes root and setpriv: root itself may open any port",
)


@pytest.fixture
def terminal() -> Iterator[str]:
    """The path of a pseudo terminal whose master this test holds and never reads."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    name = os.ttyname(slave)
    os.close(slave)
    yield name
    os.close(master)


@pytest.fixture
def held(terminal: str) -> Iterator[tuple[str, int]]:
    """The terminal, open and locked in another process: its path and that process's id."""
    code = (
        "import fcntl, os, sys\n"
        f"fd = os.open({terminal!r}, os.O_RDWR | os.O_NOCTTY)\n"
        "fcntl.flock(fd, fcntl.LOCK_EX)\nprint('held', flush=True)\nsys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout and process.stdout.readline() == "held\n"
    yield terminal, process.pid
    process.communicate()


def refused(port: str) -> KeyfobHostError:
    with pytest.raises(KeyfobHostError) as caught:
        check_port(port)
    assert caught.value.status == ExitStatus.HOST
    return caught.value


def test_a_port_that_is_free_passes_and_is_not_opened(terminal: str):
    check_port(terminal)
    assert holders(terminal) == []


def test_a_missing_port_is_told_with_the_ports_there_are():
    error = refused("/dev/ttyNOPE")
    assert error.code == "port.missing"
    assert "serial ports here:" in error.evidence


def test_a_file_is_no_port(tmp_path: Path):
    (tmp_path / "tty").touch()
    assert refused(str(tmp_path / "tty")).code == "port.not-a-port"


def test_a_port_held_by_another_program_is_told_with_its_name_and_pid(held: tuple[str, int]):
    port, pid = held
    error = refused(port)
    name = Path(f"/proc/{pid}/comm").read_text().strip()
    assert error.code == "port.busy"
    assert f"{name} (pid {pid})" in error.evidence
    assert error.fix.endswith(f"kill {pid}")


def test_the_process_behind_a_pseudo_terminal_is_not_its_user(terminal: str):
    # It is the board: it holds the master and, as many do, the slave as well.
    slave = os.open(terminal, os.O_RDWR | os.O_NOCTTY)
    try:
        assert holders(terminal) == []
    finally:
        os.close(slave)


def test_a_console_on_a_held_port_is_refused_with_the_holder(held: tuple[str, int]):
    port, pid = held
    with pytest.raises(KeyfobHostError) as caught:
        open_stream(port)
    assert (caught.value.code, f"pid {pid}" in caught.value.evidence) == ("port.busy", True)


def test_a_console_keeps_others_out(terminal: str):
    stream = open_stream(terminal)
    other = os.open(terminal, os.O_RDWR | os.O_NOCTTY)
    try:
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(other)
        stream.close()


def as_nobody(port: str, *, group_file: Path | None = None) -> dict[str, str]:
    """`check_port`'s error in a process of the user nobody, in ``group_file``'s groups."""
    code = (
        f"import json, sys; sys.path.insert(0, {str(_HOST)!r})\n"
        "from keyfob_host.ports import *\n"
        "try: check_port(sys.argv[1])\n"
        "except KeyfobHostError as error: print(json.dumps(error.as_dict()))\n"
    )
    command = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups",
               sys.executable, "-c", code, port]  # fmt: skip
    if group_file is not None:
        mount = f'mount --bind {group_file} /etc/group && exec "$@"'
        command = ["unshare", "--mount", "sh", "-c", mount, "sh", *command]
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", check=False)
    if "Permission denied" in done.stderr and "setpriv" in done.stderr:
        pytest.skip(f"the user nobody may not run this Python: {done.stderr.strip()}")
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip(f"no mount namespace of one's own here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    error: dict[str, str] = json.loads(done.stdout)
    return error


@needs_root
def test_without_permission_the_group_to_join_is_named(terminal: str):
    os.chown(terminal, 0, grp.getgrnam("dialout").gr_gid)
    Path(terminal).chmod(0o660)
    error = as_nobody(terminal)
    assert error["code"] == "port.no-permission"
    assert "group dialout" in error["evidence"]
    assert error["fix"] == "sudo usermod -aG dialout nobody, then log out and in again"


@needs_root
def test_a_member_whose_session_is_older_is_told_to_log_in_again(terminal: str, tmp_path: Path):
    os.chown(terminal, 0, grp.getgrnam("dialout").gr_gid)
    Path(terminal).chmod(0o660)
    groups = tmp_path / "group"
    groups.write_text(
        "".join(
            line.rstrip() + "nobody\n" if line.startswith("dialout:") else line
            for line in Path("/etc/group").read_text().splitlines(keepends=True)
        )
    )
    groups.chmod(0o644)
    error = as_nobody(terminal, group_file=groups)
    assert error["code"] == "port.no-permission"
    assert error["fix"].startswith("log out and in again")


@needs_root
def test_a_port_that_no_group_may_use_is_given_to_one(terminal: str):
    Path(terminal).chmod(0o000)
    error = as_nobody(terminal)
    assert error["code"] == "port.no-permission"
    assert error["fix"] == f"sudo chgrp dialout {terminal} && sudo chmod g+rw {terminal}"


def test_a_lock_by_an_unseen_process_names_the_program_that_can_see_it(terminal: str):
    error = port_busy(terminal)  # as a user who may not look into other users' processes
    assert error.fix == f"see who it is: sudo fuser -v {terminal}"
