"""Which version of MQTT the device speaks in a case."""

from __future__ import annotations

import pytest
from traffic import CONNECTS_S

from keyfob_host.hil.bench import KEEPALIVE_S

NAMES = {4: "3.1.1", 5: "5.0"}


def speaking(wanted: int, request, device, scripted) -> int:
    """``wanted`` (4 or 5), once the device is connected with it; skips where it is not."""
    if wanted == 5 and device.knows("serial"):
        board = request.getfixturevalue("board")
        board.provision(extra={"broker.keepalive_s": KEEPALIVE_S, "broker.version": 5})
        scripted.mark()
    session = scripted.wait_session(CONNECTS_S)
    if session.version != wanted:
        pytest.skip(f"it speaks MQTT {NAMES[session.version]}, and this is about {NAMES[wanted]}")
    return wanted


@pytest.fixture(params=NAMES, ids=NAMES.values())
def version(request, device, scripted) -> int:
    """4 (MQTT 3.1.1) and 5 (5.0), each in turn: the device is connected with that one."""
    return speaking(request.param, request, device, scripted)


@pytest.fixture
def version_5(request, device, scripted) -> int:
    """The device is connected with MQTT 5.0."""
    return speaking(5, request, device, scripted)
