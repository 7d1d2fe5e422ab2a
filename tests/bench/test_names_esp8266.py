"""How many names the small application brings to an ESP8266's memory.

A name stays for good, in tables that double (py/qstr.c): behind 620 of them the next is one
of 640, which wants 4 KB in one piece whenever a module brings the name that is too many.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from esp8266_rig import booted_esp8266, run
from rotation_rig import rotation_rig
from virtual_rig import SerialConsole

from keyfob_host.home import Home
from keyfob_host.pki.renewal import renew
from keyfob_host.rotation.offer import certificate_files
from keyfob_host.virtual import micropython32

pytestmark = pytest.mark.mosquitto
MOST_NAMES = 620
COUNT = "import micropython\nmicropython.qstr_info()"


@pytest.fixture
def without_keyfob(tmp_path: Path) -> int:
    """Names that a bare virtual board keeps where a chip has them in flash."""
    try:
        micropython32.fetch()
    except micropython32.Unavailable as why:
        pytest.skip(f"no 32-bit MicroPython: {why}")
    board = booted_esp8266(Home(tmp_path / "bare"))
    try:
        return names(run(board, COUNT))
    finally:
        board.down()


def names(told: str) -> int:
    found = re.search(r"n_qstr=(\d+)", told)
    assert found, told
    return int(found[1])


@pytest.mark.parametrize("version", [pytest.param(4, marks=pytest.mark.slow), 5])
def test_they_fit_the_tables_before_the_large_one_through_a_rotation(
    tmp_path: Path, without_keyfob: int, version: int
) -> None:
    with rotation_rig(tmp_path, "virtual-esp8266", version=version) as rig:
        rig.deliver(rig.offer(certificate_files(renew(rig.authority, rig.device, new_key=False))))
        rig.relay.cut()
        rig.forget_events()
        rig.event("mqtt.up")
        rig.console.close()
        with SerialConsole(rig.virtual) as console:
            brought = names(console.run(COUNT).decode()) - without_keyfob
    assert brought < MOST_NAMES
