"""The outbox: messages that wait for a broker over a loss of power, each whole and in its order."""

from __future__ import annotations

from collections.abc import Callable

import pytest

pytestmark = pytest.mark.rung("traffic")

COUNT = 8
STORE = """
from keyfob import config
from keyfob.outbox import Outbox
box = Outbox(config.load()["outbox"])
left = box.next()
while left:
    box.done(left[0])
    left = box.next()
for number in range(%d):
    box.put("devices/%s/stored", b"%%03d" %% number + b"." * (number * 25), 1, False)
"""
# For boards with as little memory as an ESP8266: without asyncio, and collected early.
SEND = """
import gc
from keyfob import config, drop
from keyfob.blocking import BlockingClient
gc.threshold(1024)
settings = config.load()
client = BlockingClient(settings)
del config
drop("config")
client.connect()
from keyfob.outbox import Outbox
box = Outbox(settings["outbox"])
message = box.next()
while message:
    client.publish(message[1], message[2], message[3])
    box.done(message[0])
    message = box.next()
client.disconnect()
print(box.count)
"""


@pytest.fixture
def stored(board) -> Callable[[], None]:
    """``stored()``: `COUNT` messages are in the board's outbox."""

    def store() -> None:
        with board.repl() as repl:
            repl.exec(STORE % (COUNT, board.device_id), timeout_s=60)

    return store


@pytest.fixture
def sent(board) -> Callable[[], None]:
    """``sent()``: the outbox is empty, its messages sent."""

    def send() -> None:
        with board.repl() as repl:
            assert repl.exec(SEND, timeout_s=120).strip().endswith(b"0")

    return send


def content(number: int) -> bytes:
    return b"%03d" % number + b"." * (number * 25)


@pytest.mark.needs("power")
def test_stored_messages_outlive_a_loss_of_power(board, host_client, case, stored, sent) -> None:
    case.criterion(
        "What was stored before the power went arrives when there is a broker again: each "
        "message once, whole and in its order; nothing is left in the outbox."
    )
    topic = f"devices/{board.device_id}/stored"
    stored()
    board.power(False)
    board.power(True)
    board.wait_event("mqtt.up")
    sent()
    for number in range(COUNT):
        assert host_client.wait_message(topic).payload == content(number)


@pytest.mark.needs("power-at-write")
@pytest.mark.parametrize("write", [2, 5])
def test_power_cut_while_they_are_sent_loses_none(
    board, host_client, case, stored, sent, write
) -> None:
    case.criterion(
        "Where the power goes while stored messages are sent, each arrives whole and in its "
        "order; the one that was on its way may arrive twice."
    )
    stored()
    board.cut_power_at_write(write)
    board.exec_until_cut(SEND)
    board.power(True)
    board.wait_event("mqtt.up")
    sent()
    arrived = []
    while not arrived or arrived[-1] != content(COUNT - 1):
        arrived.append(host_client.wait_message(f"devices/{board.device_id}/stored").payload)
    assert list(dict.fromkeys(arrived)) == [content(number) for number in range(COUNT)]
    assert len(arrived) <= COUNT + 1
    assert arrived == sorted(arrived)
