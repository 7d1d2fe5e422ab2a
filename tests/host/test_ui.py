"""What a terminal is shown: no name from a certificate, a board or a broker commands it."""

from __future__ import annotations

import pytest

from keyfob_host.errors import KeyfobHostError
from keyfob_host.ui import Ui, plain

HOSTILE = "sensor\x1b[2J\x1b]0;owned\x07\r\x9b31m\u202egnp"


def test_control_characters_are_spelled_out_and_lines_stay() -> None:
    assert plain("two\nlines\tand a tab") == "two\nlines\tand a tab"
    assert plain("─ ümläut …") == "─ ümläut …"
    shown = plain(HOSTILE)
    assert shown.isprintable() and shown.startswith("sensor\\x1b[2J")


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
