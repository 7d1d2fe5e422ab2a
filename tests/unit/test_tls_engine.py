"""The engine's own promises, on both Pythons: buffers, steps, alerts, ends."""

import sys

import tls12_flight
from device_support import code_of, refusal
from tls12_flight import (
    HOST,
    NAMES,
    NOW_S,
    Shortcuts,
    give,
    new_engine,
    open_engine,
    record,
    refuses,
    sealed,
)

from keyfob.tls.engine import TLS12, TLS13, Engine

MESSAGES = tls12_flight.load()
ALERTS = (
    (40, "tls.alert-handshake-failure"),
    (120, "tls.alert-no-application-protocol"),
    (99, "tls.alert"),
)


def flight():
    return b"".join(record(22, MESSAGES[name]) for name in NAMES)


def read_all(engine):
    buffer = bytearray(64)
    found = b""
    while True:
        count = engine.read(memoryview(buffer))
        if not count:
            return found
        found += buffer[:count]


def put(engine, raw):
    """Into the engine what fits; how much did."""
    at = 0
    while at < len(raw):
        room = engine.room()
        count = min(len(room), len(raw) - at)
        if not count:
            break
        room[:count] = raw[at : at + count]
        engine.received(count)
        at += count
    return at


def test_hello_is_sent_in_steps_and_nothing_else_before_an_answer():
    engine = Engine(HOST, (), NOW_S, versions=(TLS12,))
    steps = 0
    while engine.step():
        steps += 1
    assert steps and not engine.is_open and not engine.step()
    hello = bytes(engine.tx())
    assert hello[:3] == b"\x16\3\1" and hello[5] == 1 and hello[9:11] == b"\3\3"
    assert hello[3] << 8 | hello[4] == len(hello) - 5
    engine.sent(len(hello))
    assert not len(engine.tx()) and not engine.step()
    assert len(engine.room()) == 5


def test_flight_is_answered_whatever_the_pieces():
    for chunk in (1, 3, 64, 10_000):
        with Shortcuts():
            engine = new_engine()
            sent = give(engine, flight(), chunk)
        assert (engine.version, engine.suite) == (TLS12, 0xC02B)
        kinds = []
        while sent:
            kinds.append(sent[0])
            sent = sent[5 + (sent[3] << 8 | sent[4]) :]
        # Certificate and ClientKeyExchange share a record; no key, no CertificateVerify.
        assert kinds == [22, 20, 22] and not engine.is_open


def test_messages_may_be_cut_anywhere():
    whole = b"".join(MESSAGES[name] for name in NAMES)
    for size in (1, 5, 90, 500):
        raw = b"".join(record(22, whole[at : at + size]) for at in range(0, len(whole), size))
        with Shortcuts():
            assert give(new_engine(), raw)


def test_there_is_no_engine_without_anchors_or_key_that_takes_a_chain():
    engine = new_engine()
    error = refusal(give, engine, flight())
    assert error.code[:5] == "x509."


def test_wrong_size_of_records_is_refused_before_anything_is_sent():
    for size in (0, 100, 1000, 8192):
        assert code_of(lambda size=size: new_engine(rx_bytes=size)) == "config.out-of-range"


def test_no_more_is_asked_for_than_the_record_has():
    engine, keys = open_engine()
    raw = sealed(keys, 23, b"hello")
    assert len(engine.room()) == 5
    engine.room()[:5] = raw[:5]
    engine.received(5)
    assert len(engine.room()) == len(raw) - 5
    engine.room()[:10] = raw[5:15]
    engine.received(10)
    assert len(engine.room()) == len(raw) - 15
    engine.room()[: len(raw) - 15] = raw[15:]
    engine.received(len(raw) - 15)
    assert not len(engine.room())
    buffer = bytearray(2)
    assert engine.read(memoryview(buffer)) == 2 and bytes(buffer) == b"he"
    assert read_all(engine) == b"llo" and len(engine.room()) == 5


def test_record_of_ours_is_one_that_their_keys_open():
    engine, _ = open_engine()
    keys = tls12_flight.GcmProtection(b"our key is here.", b"salt")
    for content in (b"x", b"y" * 512, bytes(700)):
        taken = engine.write(memoryview(content))
        assert taken == min(len(content), 512)
        assert engine.write(memoryview(b"more")) == 0  # one record at a time
        raw = bytearray(engine.tx())
        assert raw[:3] == b"\x17\3\3" and raw[3] << 8 | raw[4] == len(raw) - 5
        engine.sent(1)
        assert engine.write(memoryview(b"more")) == 0
        engine.sent(len(raw) - 1)
        kind, start, end = keys.open(raw[5:], len(raw) - 5, 23)
        assert kind == 23 and end - start == taken


def test_record_changed_anywhere_is_refused_and_the_alert_goes_out():
    for at in (0, 5, 12, 13, 17, 20, 33):
        engine, keys = open_engine()
        raw = bytearray(sealed(keys, 23, b"hello"))
        raw[at] ^= 1
        error = refusal(lambda engine=engine, raw=raw: (put(engine, raw), read_all(engine)))
        assert error.code in ("tls.bad-record-mac", "tls.unexpected-message")
        assert engine.error is error and len(engine.tx()) == 5 + 8 + 2 + 16
        assert not len(engine.room())
        for call in (engine.step, lambda engine=engine: read_all(engine), engine.ended):
            assert refusal(call) is error
        assert refusal(engine.write, memoryview(b"x")) is error


def test_alert_finds_room_behind_a_record_that_is_not_sent():
    engine, keys = open_engine()
    engine.write(memoryview(bytes(512)))
    pending = len(engine.tx())
    raw = bytearray(sealed(keys, 23, b"hello"))
    raw[-1] ^= 1
    refusal(lambda: (put(engine, raw), read_all(engine)))
    assert len(engine.tx()) == pending + 31


def test_alerts_by_name():
    for number, code in ALERTS:
        engine = new_engine()
        error = refusal(give, engine, record(21, bytes((2, number))))
        assert error.code == code and "alert %d" % number in error.detail
        assert not len(engine.tx())


def test_close_notify_and_truncation():
    engine, keys = open_engine()
    put(engine, sealed(keys, 21, b"\1\0"))
    assert read_all(engine) == b"" and engine.is_closed
    engine.ended()
    assert code_of(engine.write, memoryview(b"x")) == "tls.closed"
    engine.close()
    assert len(engine.tx()) == 31
    engine, keys = open_engine()
    put(engine, sealed(keys, 23, b"half"))
    assert read_all(engine) == b"half"
    assert code_of(engine.ended) == "tls.truncated"


def test_floods_end():
    for kind, content in ((23, b""), (21, b"\1\x70"), (22, bytes(4))):
        engine, keys = open_engine()

        def send_all(engine=engine, keys=keys, kind=kind, content=content):
            for _ in range(30):
                put(engine, sealed(keys, kind, content))
                read_all(engine)
                engine.sent(len(engine.tx()))

        assert code_of(send_all) == "tls.flood"


def test_versions_offered_are_those_asked_for():
    for versions, has_13 in (((TLS12,), False), ((TLS13, TLS12), True), ((TLS13,), True)):
        engine = Engine(HOST, (), NOW_S, versions=versions, tx_bytes=1000)
        while engine.step():
            pass
        assert (b"\x00\x2b\x00" in bytes(engine.tx())) == has_13


def test_broken_messages_and_records_are_refused():
    with Shortcuts():
        assert tls12_flight.fuzz_messages(MESSAGES, 1, 12)[1] > 1
        assert tls12_flight.fuzz_records(MESSAGES, 1, 12)[1] > 5
        engine = new_engine()
        assert not refuses(engine, flight(), 100)


class NoRoom:
    """In place of a module for whose import there is no memory."""

    def __getattr__(self, name):
        raise MemoryError("memory allocation failed")


def test_server_is_told_that_we_failed_where_not_even_the_words_for_it_fit():
    name = "keyfob.tls.alerts"
    before = sys.modules.get(name)
    engine = new_engine()
    give(engine, b"")  # the hello goes out
    end_handshake = engine._end_handshake

    def end_and_fill_up():
        end_handshake()  # which unloads what the handshake had
        sys.modules[name] = NoRoom()

    engine._end_handshake = end_and_fill_up
    try:
        code = code_of(give, engine, record(22, b"\x02\0\0\1x"))
    finally:
        sys.modules.pop(name, None)
        if before:
            sys.modules[name] = before
    assert code == "tls.malformed"
    assert bytes(engine.tx()) == b"\x15\3\1\0\2\2\x50"  # no version was chosen yet
