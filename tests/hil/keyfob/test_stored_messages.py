"""The outbox: messages that wait for a broker over a loss of power, each whole and in its order."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.rung("traffic"), pytest.mark.needs("power")]

COUNT = 8
STORE = """
from keyfob import config
from keyfob.outbox import Outbox
box = Outbox(config.load()["outbox"])
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


def test_stored_messages_outlive_a_loss_of_power(board, broker, host_client, case) -> None:
    case.criterion(
        "What was stored before the power went arrives when there is a broker again: each "
        "message once, whole and in its order; nothing is left in the outbox."
    )
    topic = f"devices/{board.device_id}/stored"
    with board.repl() as repl:
        repl.exec(STORE % (COUNT, board.device_id), timeout_s=60)
    board.power(False)
    board.power(True)
    board.wait_event("mqtt.up")
    with board.repl() as repl:
        assert repl.exec(SEND, timeout_s=120).strip().endswith(b"0")
    for number in range(COUNT):
        payload = host_client.wait_message(topic).payload
        assert payload == b"%03d" % number + b"." * (number * 25)
