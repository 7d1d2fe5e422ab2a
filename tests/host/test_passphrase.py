"""Where passphrases come from, that they stay hidden, and how the CA's is changed."""

from __future__ import annotations

import json
import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from keyfob_rig import Keyfob, on_a_terminal

from keyfob_host.errors import ExitStatus

SECRET = "correct horse battery staple"


def run(home: Path, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, without a terminal."""
    return subprocess.run(
        [sys.executable, "-m", "keyfob_host", "--json", *arguments],
        capture_output=True, text=True, start_new_session=True,
        env={**os.environ, "KEYFOB_HOME": str(home)},
        **({"stdin": subprocess.DEVNULL} | options),
    )  # fmt: skip


def pipe(content: bytes) -> int:
    """The end of a pipe from which ``content`` is read; the writer has closed the other."""
    reading, writing = os.pipe()
    os.write(writing, content)
    os.close(writing)
    return reading


def code(done: subprocess.CompletedProcess[str]) -> str:
    assert SECRET not in done.stdout + done.stderr and "Traceback" not in done.stderr
    return str(json.loads(done.stdout)["error"]["code"])


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"", b"\nnext line\n"])
def test_a_descriptor_is_read_to_the_newline_or_the_end(tmp_path: Path, ending: bytes) -> None:
    reading = pipe(SECRET.encode() + ending)
    made = run(tmp_path / "h", "ca", "init", "--passphrase-fd", str(reading), pass_fds=(reading,))
    os.close(reading)
    assert made.returncode == 0, made.stderr
    key = (tmp_path / "h" / "ca" / "ca.key.pem").read_bytes()
    assert load_pem_private_key(key, SECRET.encode())


def test_standard_input_can_be_the_descriptor(tmp_path: Path) -> None:
    arguments = ("ca", "init", "--passphrase-fd", "0")
    made = run(tmp_path / "h", *arguments, stdin=None, input=SECRET + "\n")
    assert made.returncode == 0, made.stderr
    issued = run(tmp_path / "h", "cert", "device", "a", "--passphrase-fd", "0", stdin=None,
                 input=SECRET)  # fmt: skip
    assert issued.returncode == 0, issued.stderr


def test_descriptors_that_give_no_passphrase_are_told(tmp_path: Path) -> None:
    arguments = ("ca", "init", "--passphrase-fd")
    assert code(run(tmp_path / "h", *arguments, "97")) == "ca.passphrase-fd"
    for number in ("1", "2"):
        assert code(run(tmp_path / "h", *arguments, number)) == "ca.passphrase-fd"
    assert code(run(tmp_path / "h", *arguments, "0")) == "ca.passphrase-empty"
    long = run(tmp_path / "h", *arguments, "0", stdin=None, input=SECRET * 50)
    assert code(long) == "ca.passphrase-too-long"
    with Path(os.devnull).open("rb") as endless, Path("/dev/zero").open("rb") as zeros:
        assert code(run(tmp_path / "h", *arguments, "0", stdin=endless)) == "ca.passphrase-empty"
        assert code(run(tmp_path / "h", *arguments, "0", stdin=zeros)) == "ca.passphrase-too-long"
    both = run(tmp_path / "h", *arguments, "0", "--passphrase-env", "HOME")
    assert both.returncode == ExitStatus.USAGE
    assert not (tmp_path / "h" / "ca").exists()


def test_the_question_hides_what_is_typed_and_asks_until_both_agree(tmp_path: Path) -> None:
    typed = ["one thing\n", "another\n", f"{SECRET}\n", f"{SECRET}\n"]
    status, seen = on_a_terminal(tmp_path / "h", typed, "ca", "init")
    assert status == 0, seen
    assert "do not match" in seen
    assert all(text.strip() not in seen for text in typed)
    key = (tmp_path / "h" / "ca" / "ca.key.pem").read_bytes()
    assert load_pem_private_key(key, SECRET.encode())


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="there is no /proc here")
def test_no_process_shows_a_passphrase_to_others(tmp_path: Path) -> None:
    """What ``ps`` sees of the command while it waits for the second answer."""
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "keyfob_host", "ca", "init"],
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        env={**os.environ, "KEYFOB_HOME": str(tmp_path / "h")},
    )  # fmt: skip
    os.close(theirs)
    try:
        seen = until(ours, b":")
        os.write(ours, f"{SECRET}\n".encode())
        seen += until(ours, b":")
        arguments = Path(f"/proc/{child.pid}/cmdline").read_bytes()
        environment = Path(f"/proc/{child.pid}/environ").read_bytes()
        os.write(ours, b"\x04")
        child.wait(20)
    finally:
        child.kill()
        child.wait()
        os.close(ours)
    assert b"ca\0init" in arguments
    assert SECRET.encode() not in arguments + environment + seen


def until(descriptor: int, mark: bytes) -> bytes:
    """What is written to the terminal, up to a text that ends with ``mark``."""
    seen, deadline = b"", time.monotonic() + 20
    while not seen.rstrip(b" ").endswith(mark):
        assert time.monotonic() < deadline, seen
        if select.select([descriptor], [], [], 0.1)[0]:
            seen += os.read(descriptor, 4096)
    return seen


def test_the_ca_s_passphrase_can_be_changed_and_taken_away(
    keyfob: Keyfob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLD", SECRET)
    monkeypatch.setenv("NEW", "new words")
    before = keyfob.json("ca", "init", "--passphrase-env", "OLD")
    changed = keyfob.json(
        "ca", "passphrase", "--passphrase-env", "OLD", "--new-passphrase-env", "NEW"
    )
    assert changed["key_encrypted"]
    assert keyfob.json("ca", "show")["sha256"] == before["sha256"]
    key = keyfob.home / "ca" / "ca.key.pem"
    assert key.stat().st_mode & 0o777 == 0o600
    old = keyfob.error("cert", "device", "a", "--passphrase-env", "OLD")
    assert old["code"] == "cert.passphrase-wrong" and SECRET not in json.dumps(old)
    keyfob.json("cert", "device", "a", "--passphrase-env", "NEW")
    keyfob.json("ca", "passphrase", "--passphrase-env", "NEW", "--no-passphrase")
    assert load_pem_private_key(key.read_bytes(), None)
    assert key.stat().st_mode & 0o777 == 0o600
    keyfob.json("cert", "device", "b")
    keyfob.json("ca", "passphrase", "--new-passphrase-env", "OLD")
    keyfob.json("cert", "device", "c", "--passphrase-env", "OLD")


def test_a_passphrase_is_not_changed_without_the_old_one_or_a_new_one(
    keyfob: Keyfob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert keyfob.error("ca", "passphrase", "--no-passphrase")["code"] == "ca.missing"
    monkeypatch.setenv("OLD", SECRET)
    keyfob.json("ca", "init", "--passphrase-env", "OLD")
    key = keyfob.home / "ca" / "ca.key.pem"
    before = key.read_bytes()
    for arguments, expected in (
        (("--new-passphrase-env", "OLD"), "cert.passphrase-needed"),
        (("--passphrase-env", "PATH", "--no-passphrase"), "cert.passphrase-wrong"),
        (("--passphrase-env", "OLD"), "ca.passphrase-undecided"),
        (("--passphrase-env", "OLD", "--new-passphrase-env", "NOT_SET"), "ca.passphrase-empty"),
    ):
        assert keyfob.error("ca", "passphrase", *arguments)["code"] == expected
    assert key.read_bytes() == before


def test_on_a_terminal_old_and_new_passphrase_are_asked_for(tmp_path: Path) -> None:
    home = tmp_path / "h"
    status, seen = on_a_terminal(home, ["first words\n"] * 2, "ca", "init")
    assert status == 0, seen
    typed = ["first words\n", "second words\n", "second words\n"]
    status, seen = on_a_terminal(home, typed, "ca", "passphrase")
    assert status == 0 and "words" not in seen, seen
    assert load_pem_private_key((home / "ca" / "ca.key.pem").read_bytes(), b"second words")


def test_a_key_of_before_with_few_rounds_is_opened_and_gets_many(
    keyfob: Keyfob, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("the openssl program is not installed")
    monkeypatch.setenv("OLD", SECRET)
    keyfob.json("ca", "init", "--no-passphrase")
    key = keyfob.home / "ca" / "ca.key.pem"
    weak = ["openssl", "pkcs8", "-topk8", "-iter", "2048", "-passout", "env:OLD", "-in", str(key)]
    key.write_bytes(subprocess.run(weak, capture_output=True, check=True).stdout)
    assert rounds(key) == 2048
    keyfob.json("ca", "passphrase", "--passphrase-env", "OLD", "--new-passphrase-env", "OLD")
    assert rounds(key) == 600_000
    keyfob.json("cert", "device", "a", "--passphrase-env", "OLD")


def rounds(key: Path) -> int:
    """The first INTEGER of an encrypted key, which openssl shows in hexadecimal."""
    shown = subprocess.run(
        ["openssl", "asn1parse", "-in", str(key)], capture_output=True, text=True, check=True
    ).stdout
    return int(next(line for line in shown.splitlines() if "INTEGER" in line).split(":")[-1], 16)
