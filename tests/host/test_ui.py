"""What a terminal is shown: no name from a certificate, a board or a broker commands it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from rich.table import Table

from keyfob_host.errors import KeyfobHostError
from keyfob_host.ui import Ui

HOSTILE = "sensor\x1b[2J\x1b]0;owned\x07\r\x9b31m\u202egnp"


def test_nothing_that_a_command_shows_moves_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    ui = Ui()
    ui.step(HOSTILE)
    ui.result(HOSTILE, {})
    ui.error(KeyfobHostError("a.code", HOSTILE, evidence=HOSTILE, fix=HOSTILE))
    out, err = capsys.readouterr()
    for text in (out, err):
        assert "sensor\\x1b[2J" in text
        assert all(one == "\n" or one.isprintable() for one in text)


def test_a_mac_or_a_fingerprint_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    # rich has emoji called :ab:, :cd: and :m:.
    ui, mac = Ui(), "24:ab:c4:cd:ab:cd"
    table = Table()
    table.add_column()
    table.add_row(mac)
    ui.step(mac)
    ui.table(table)
    ui.error(KeyfobHostError("a.code", mac, evidence=mac, fix=mac))
    out, err = capsys.readouterr()
    assert (out.count(mac), err.count(mac)) == (1, 4)


def test_letters_that_the_output_s_encoding_lacks_are_spelled_out() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "keyfob_host", "doctor", "--explain", "-30592: \u00fcml\u00e4ut"],
        capture_output=True, timeout=60, check=False,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert rb"\xfcml\xe4ut" in done.stdout
