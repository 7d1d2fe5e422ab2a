"""Broken messages by the hundred, in TLS 1.3's handshake and behind it: only `KeyfobError`,
never an open connection. More of them under CPython: tests/bench/test_tls13_parsers.py."""

import tls13_example
from device_support import IS_MICROPYTHON
from rfc8448 import octets
from test_tls13_late import Server, open_engine
from test_tls13_phases import Sealer, after_hello, split

from keyfob.errors import KeyfobError

COUNT = 30 if IS_MICROPYTHON else 20


class Chance:
    """Numbers that look like chance and are the same each time (Numerical Recipes' LCG)."""

    def __init__(self, seed):
        self._state = seed

    def below(self, limit):
        self._state = self._state * 1664525 + 1013904223 & 0xFFFFFFFF
        return (self._state >> 8) % limit


def broken(message, chance):
    """``message`` with some bytes changed, left out or put in; its length field often right."""
    changed = bytearray(message)
    for _ in range(1 + chance.below(4)):
        at = chance.below(len(changed))
        kind = chance.below(4)
        if kind == 0:
            changed[at] = chance.below(256)
        elif kind == 1:
            changed[at] = (0, 1, 127, 128, 255)[chance.below(5)]
        elif kind == 2:
            changed = changed[:at] + changed[at + chance.below(20) :]
        else:
            changed = changed[:at] + bytes(chance.below(20)) + changed[at:]
        if not changed:
            changed = bytearray(1)
    if chance.below(4):
        size = len(changed) - 4
        changed[1:4] = bytes((0, size >> 8 & 255, size & 255)) if size > 0 else b"\0\0\0"
    return changed


def refuses(call, *arguments):
    """Whether it ends with a `KeyfobError`; anything else is an error of the test."""
    try:
        call(*arguments)
    except KeyfobError:
        return True
    return False


def hello_record(chance):
    message = broken(octets("5.server-hello"), chance)
    return b"\x16\3\3" + len(message).to_bytes(2, "big") + message


def test_broken_server_hellos():
    chance = Chance(1)
    flight = octets("5.server-flight-record")
    for _ in range(COUNT):
        engine = None  # a board has no room for two
        engine = tls13_example.waiting_for_server_hello()
        record = hello_record(chance)
        if record == octets("5.server-hello-record"):
            continue
        if not refuses(tls13_example.give, engine, record):
            refuses(tls13_example.give, engine, flight)
        assert not engine.is_open


def test_broken_messages_of_the_flight():
    chance = Chance(2)
    messages = split(octets("5.server-flight"))
    for _ in range(COUNT):
        index = chance.below(len(messages))
        changed = broken(messages[index], chance)
        if changed == messages[index]:
            continue
        engine = sealer = None
        engine = after_hello()
        sealer = Sealer()
        flight = list(messages)
        flight[index] = changed
        for message in flight:
            if refuses(tls13_example.give, engine, sealer.record(message)):
                break
        assert not engine.is_open


def test_broken_messages_after_the_handshake():
    chance = Chance(3)
    for _ in range(COUNT):
        engine = server = None
        engine = open_engine()
        server = Server(engine)
        for message in (octets("3.ticket"), b"\x18\0\0\1\1", octets("6.certificate-request")):
            if refuses(server.send, 22, broken(message, chance)):
                break
        assert len(engine.late_message) <= 2100


def test_broken_records():
    chance = Chance(4)
    records = octets("5.server-hello-record") + octets("5.server-flight-record")
    for _ in range(COUNT):
        engine = None
        engine = tls13_example.waiting_for_server_hello()
        changed = broken(records, chance)
        if changed[: len(records)] == records:
            continue
        try:
            tls13_example.give(engine, changed)
        except KeyfobError:
            pass
        except AssertionError:  # the engine takes no more: it is done
            assert engine.is_open or engine.is_closed
            raise
        assert not engine.is_open
