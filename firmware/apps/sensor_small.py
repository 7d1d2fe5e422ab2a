"""`apps.sensor` without asyncio, for a board with as little memory as an ESP8266."""

import gc
import json
import time

import machine
from micropython import const

from apps.sensor_core import Sensor
from keyfob import drop
from keyfob.blocking import BlockingClient
from keyfob.events import emit

_NO_MEMORY = "tls.no-memory"
_SHORT_ATTEMPTS = const(3)
_SHORT_FROM_THE_START = const(10)


def run(config: dict) -> None:
    """The application; it does not end. Errors: those of its settings (config.*)."""
    sensor = Sensor(config["app"])
    prefix = "devices/" + config["device_id"]
    client = BlockingClient(config)
    notes: dict = {}  # of `keyfob.rotation`
    for name in ("app", "wifi", "ntp", "outbox"):
        config.pop(name, None)  # nobody asks for them again, and a handshake wants the room
    _work(client, notes)
    while not client.run_once(_serve, sensor, prefix, notes):
        _work(client, notes)
        _mend_heap(client, notes)


def _mend_heap(client: BlockingClient, notes: dict) -> None:
    """Start again where memory is short because the heap has come to be in pieces, which it
    stays. Where no handshake since the reset came to its end, another may be no better, and
    the board is to be reached over its serial port: that waits for minutes. An identity on
    trial is not to be blamed for it, and its attempts are counted in flash."""
    gc.collect()
    if getattr(client.failure, "code", _NO_MEMORY) != _NO_MEMORY:
        notes["short"] = 0
        return
    notes["short"] = notes.get("short", 0) + 1
    most = _SHORT_ATTEMPTS if client.uplink.was_open else _SHORT_FROM_THE_START
    if client.uplink.on_trial or notes["short"] >= most:
        machine.reset()


def _serve(client: BlockingClient, sensor: Sensor, prefix: str, notes: dict) -> None:
    """One connection's life. Errors: what ends it."""
    # A session that was kept has what this program had granted.
    granted = notes["granted"] = notes.get("granted", 0) if client.session_present else 0
    for topic in ("/command", "/identity/set")[granted:]:
        client.subscribe(prefix + topic)
        notes["granted"] += 1
    _attend(client, notes)
    # Whoever sends more than one at a time would fill the heap; the host waits for answers.
    # What came while the board was away nobody waits for: that is taken before.
    client.single = prefix + "/identity/set"
    while True:
        if client.clock.now_s() >= notes["renew_s"]:
            _attend(client, notes)
        reading = sensor.read(client.clock.now_s())
        if reading:
            _publish(client, prefix + "/reading", reading)
        started_ms = time.ticks_ms()
        left_ms = sensor.state["period_s"] * 1000
        while left_ms > 0:
            message = client.receive(left_ms)
            notes["short"] = 0  # a connection that carries something has the room for it
            if message and message.topic != prefix + "/command":
                _attend(client, notes, message)
            elif message:
                is_due = sensor.obey(message)
                if is_due is not None:
                    _publish(client, prefix + "/state", sensor.state, retain=True)
                if is_due:
                    break
            spent_ms = time.ticks_diff(time.ticks_ms(), started_ms)
            left_ms = sensor.state["period_s"] * 1000 - spent_ms


def _work(client: BlockingClient, notes: dict) -> None:
    """What a new identity wants done without a connection; see `keyfob.rotation`."""
    if notes.get("todo") or not notes:
        from keyfob.rotation_work import work_between

        work_between(client, notes)
        del work_between
        drop("rotation_work", "rotation_memory", empties=True)


def _attend(client: BlockingClient, notes: dict, message=None) -> None:
    """New identities; see `keyfob.rotation`."""
    from keyfob.rotation_blocking import attend

    try:
        for topic, payload in attend(client, notes, message):
            client.publish(topic, payload, retain=True)
    finally:
        del attend
        drop("rotation_blocking", empties=True)


def _publish(client: BlockingClient, topic: str, fields: dict, retain: bool = False) -> None:
    payload = json.dumps(fields).encode()
    client.publish(topic, payload, retain=retain)
    emit("publish", topic=topic, bytes=len(payload))
