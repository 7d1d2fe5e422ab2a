"""The scripted broker, with paho-mqtt, mosquitto's tools and hand-written packets as devices."""

from __future__ import annotations

import shutil
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from scripted_rig import CONNECT_4, CONNECT_5, WAIT_S, Rig, scripted

from keyfob_host.doctor.tap import Tap
from keyfob_host.hil.backoff_shape import classify
from keyfob_host.hil.evidence import BenchFailure
from keyfob_host.hil.scripted import broker as scripted_broker
from keyfob_host.hil.scripted.rules import Rule

needs_mosquitto = pytest.mark.skipif(
    shutil.which("mosquitto_sub") is None, reason="mosquitto's tools are not installed"
)
VERSIONS = [4, 5]
CONNACK_4, CONNACK_5 = bytes.fromhex("20020000"), bytes.fromhex("2003000000")


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with scripted(tmp_path) as made:
        yield made


# -- an honest broker


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_paho_publishes_and_is_sent_to(rig: Rig, version: int, qos: int) -> None:
    device = rig.paho(version)
    assert device.wait(device.reasons) == 0
    device.client.subscribe("to/+", qos)
    assert device.wait(device.granted) == [qos]
    assert rig.broker.subscriptions() == {"to/+": qos}
    device.client.publish("from/device", b"a reading", qos).wait_for_publish(WAIT_S)
    seen = rig.broker.wait_packet("PUBLISH", timeout_s=WAIT_S)
    assert (seen.packet.topic, seen.packet.payload) == ("from/device", b"a reading")
    rig.broker.publish("to/device", b"x" * 40_000, qos, retain=True)
    message = device.wait(device.messages)
    assert (message.payload, message.qos, message.retain) == (b"x" * 40_000, qos, True)
    if qos:
        rig.broker.wait_packet("PUBACK" if qos == 1 else "PUBCOMP", timeout_s=WAIT_S)
    device.client.unsubscribe("to/+")
    rig.broker.wait_packet("UNSUBSCRIBE", timeout_s=WAIT_S)
    assert rig.broker.subscriptions() == {}
    device.stop()
    assert rig.broker.wait_closed(timeout_s=WAIT_S).end == "the device said DISCONNECT"


@needs_mosquitto
def test_properties_and_flags_arrive_at_mosquitto_sub(rig: Rig) -> None:
    run = rig.program(
        "mosquitto_sub", "-V", "5", "-t", "to/#", "-q", "1", "-C", "1",
        "-F", "%t|%p|%q|%r|%P|%C|%E",
    )  # fmt: skip
    rig.broker.wait_packet("SUBSCRIBE", timeout_s=WAIT_S)
    rig.broker.publish(
        "to/device", b"hello", 1, retain=True,
        properties={
            "user-property": [("a", "b"), ("c", "d")], "content-type": "text/plain",
            "message-expiry-interval": 77,
        },
    )  # fmt: skip
    assert run.communicate(timeout=WAIT_S)[0].strip() == "to/device|hello|1|1|a:b c:d|text/plain|77"


@needs_mosquitto
@pytest.mark.parametrize("version", ["311", "5"])
def test_mosquitto_pub_is_read(rig: Rig, version: str) -> None:
    extra = ["-D", "publish", "user-property", "k", "v"] if version == "5" else []
    run = rig.program(
        "mosquitto_pub", "-V", version, "-t", "a/b", "-m", "text", "-q", "2", "-r",
        "--will-topic", "w", "--will-payload", "gone", "-u", "user", "-P", "secret", *extra,
    )  # fmt: skip
    assert run.wait(WAIT_S) == 0, run.stdout and run.stdout.read()
    connect = rig.broker.wait_packet("CONNECT").packet
    assert (connect.client_id, connect.username, connect.has_password) == (
        "program-1",
        "user",
        True,
    )
    assert connect.will is not None
    assert (connect.will.topic, connect.will.payload) == ("w", b"gone")
    publish = rig.broker.wait_packet("PUBLISH").packet
    assert (publish.topic, publish.payload, publish.qos, publish.retain) == (
        "a/b",
        b"text",
        2,
        True,
    )
    assert publish.properties == ({"user-property": [("k", "v")]} if version == "5" else {})
    assert "secret" not in rig.broker.text()


@pytest.mark.parametrize("version", VERSIONS)
def test_session_is_present_exactly_where_it_was_kept(rig: Rig, version: int) -> None:
    for clean, present in [(False, False), (False, True), (True, False), (False, False)]:
        device = rig.paho(version, clean=clean)
        device.wait(device.reasons)
        assert device.sessions == [present]
        device.stop()
    rig.broker.session_present = True
    device = rig.paho(version, clean=True)
    device.wait(device.reasons)
    assert device.sessions == [True]


def test_second_connection_of_a_client_takes_over(rig: Rig) -> None:
    first = rig.raw(CONNECT_5)
    assert first.recv(100) == CONNACK_5
    assert rig.raw(CONNECT_5).recv(100) == CONNACK_5
    assert first.recv(100) == bytes.fromhex("e0028e00")  # DISCONNECT, session taken over
    assert first.recv(100) == b""


def test_pings_are_answered(rig: Rig) -> None:
    client = rig.raw(CONNECT_4 + bytes.fromhex("c000"))
    assert client.recv(4) == CONNACK_4
    assert client.recv(2) == bytes.fromhex("d000")


# -- rules


def test_withheld_connack_is_sent_after_so_many_times(rig: Rig) -> None:
    rule = rig.broker.withhold("CONNACK", times=2)
    for _ in range(2):
        client = rig.raw(CONNECT_4)
        rig.broker.wait_packet("CONNECT", timeout_s=WAIT_S)
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.close()
    assert rule.is_over
    assert rig.raw(CONNECT_4).recv(4) == CONNACK_4


@pytest.mark.parametrize(
    ("answer", "packet"),
    [
        ("PUBACK", "3205 0001 61 0001 "),
        ("PUBREC", "3405 0001 61 0001"),
        ("SUBACK", "8206 0001 0001 61 00"),
        ("UNSUBACK", "a205 0001 0001 61"),
        ("PINGRESP", "c000"),
    ],
)
def test_withheld_answer_is_not_sent_and_others_are(rig: Rig, answer: str, packet: str) -> None:
    rig.broker.withhold(answer, times=1)
    client = rig.raw(CONNECT_4 + bytes.fromhex(packet) + bytes.fromhex("6202 0009"))
    assert client.recv(4) == CONNACK_4
    assert client.recv(100) == bytes.fromhex("7002 0009")  # of the PUBREL behind it


@pytest.mark.parametrize(("version", "code", "told"), [(4, 3, 136), (4, 5, 135), (5, 0x88, 136)])
def test_refusing_connack_has_its_code(rig: Rig, version: int, code: int, told: int) -> None:
    rig.broker.refuse("CONNACK", code, times=1)
    device = rig.paho(version)
    assert device.wait(device.reasons) == told  # paho tells those of 3.1.1 as 5.0's
    assert device.wait(device.reasons, 2) == 0


def test_refusing_puback_and_suback_have_their_codes(rig: Rig) -> None:
    rig.broker.refuse("SUBACK", 0x87)
    rig.broker.refuse("PUBACK", 0x97, properties={"reason-string": "full"})
    device = rig.paho(5)
    device.wait(device.reasons)
    device.client.subscribe([("a", 1), ("b", 0)])
    assert device.wait(device.granted) == [0x87, 0x87]
    client = rig.raw(CONNECT_5 + bytes.fromhex("3206 0001 61 0001 00"))
    assert client.recv(5) == CONNACK_5
    assert client.recv(100) == bytes.fromhex("400b 0001 97 07 1f0004") + b"full"


def test_delayed_answer_comes_later(rig: Rig) -> None:
    rig.broker.delay("PINGRESP", 0.3)
    client = rig.raw(CONNECT_4 + bytes.fromhex("c000"))
    client.recv(4)
    began = time.monotonic()
    assert client.recv(2) == bytes.fromhex("d000")
    assert time.monotonic() - began > 0.2


@pytest.mark.parametrize("on", ["OPEN", "TLS", "CONNECT", "PUBLISH"])
def test_connection_ends_at_the_moment_it_is_told_to(rig: Rig, on: str) -> None:
    rig.broker.close(on, times=1)
    words = bytes.fromhex("3205 0001 61 0001")
    if on == "OPEN":
        with pytest.raises((ssl.SSLError, OSError)):
            rig.raw()
    else:
        client = rig.raw(CONNECT_4 + words)
        assert client.recv(4) == (CONNACK_4 if on == "PUBLISH" else b"")
        assert client.recv(100) == b""
    connection = rig.broker.wait_closed(rig.broker.connections[0], WAIT_S)
    assert connection.end == f"the script ended it at {on}"
    assert rig.raw(CONNECT_4).recv(4) == CONNACK_4


def test_connection_ends_after_the_answer_and_a_while(rig: Rig) -> None:
    rig.broker.close("CONNECT", answered=True, after_s=0.3)
    client = rig.raw(CONNECT_4 + bytes.fromhex("c000"))
    assert client.recv(4) == CONNACK_4
    assert client.recv(2) == bytes.fromhex("d000")
    assert client.recv(2) == b""


def test_skipped_packets_go_by(rig: Rig) -> None:
    rig.broker.close("PINGREQ", skip=2)
    client = rig.raw(CONNECT_4 + bytes.fromhex("c000c000c000"))
    assert client.recv(4) == CONNACK_4
    assert client.recv(2) + client.recv(2) == bytes.fromhex("d000d000")
    assert client.recv(2) == b""


def test_ways_of_ending_look_different_to_the_device(rig: Rig) -> None:
    # TLS 1.2, whose end without close_notify Python does not hide.
    def client() -> ssl.SSLSocket:
        made = rig.raw(CONNECT_5, ssl.TLSVersion.TLSv1_2)
        made.suppress_ragged_eofs = False
        assert made.recv(5) == CONNACK_5
        return made

    ended = client()
    rig.broker.disconnect("fin")
    assert ended.recv(1) == b""
    ended = client()
    rig.broker.disconnect("cut")
    with pytest.raises(ssl.SSLEOFError):
        ended.recv(1)
    ended = client()
    rig.broker.disconnect("reset")
    with pytest.raises(ConnectionResetError):
        socket.socket.recv(ended, 1)  # below TLS, where Python takes it for an end
    ended = client()
    rig.broker.disconnect("disconnect", 0x8B)
    assert ended.recv(10) == bytes.fromhex("e0028b00")
    assert ended.recv(1) == b""


def test_honest_takes_everything_back(rig: Rig) -> None:
    rig.broker.withhold("CONNACK")
    rig.broker.connack_properties = {"receive-maximum": 3}
    rig.broker.honest()
    assert rig.raw(CONNECT_5).recv(5) == CONNACK_5


@pytest.mark.parametrize(("deed", "on"), [("withhold", "PUBLISH"), ("close", "CONNACK")])
def test_rule_that_can_never_act_is_refused(deed: str, on: str) -> None:
    with pytest.raises(ValueError, match=on):
        Rule(deed, on)  # type: ignore[arg-type]


# -- TLS


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_records_are_cut_as_they_are_to_be(rig: Rig, version: ssl.TLSVersion) -> None:
    with Tap(("127.0.0.1", rig.broker.port)) as tap:
        direct, rig.broker.port = rig.broker.port, tap.port
        client = rig.raw(CONNECT_4, version)
        rig.broker.port = direct
        assert client.recv(4) == CONNACK_4
        side = tap.connections[0].conversation.sides["broker"]
        settled(lambda: side.data_records)
        for record_bytes, records in [(16384, 3), (1000, 41), (40_008, 3)]:
            before, got = side.data_records, 0
            rig.broker.publish("a", b"x" * 40_000, record_bytes=record_bytes)
            while got < 40_007:
                got += len(client.recv(50_000))
            assert settled(lambda: side.data_records) - before == records


def settled(number: Callable[[], int]) -> int:
    """``number()`` once it stays the same: the tap reads what it has sent on already."""
    found = -1
    while found != (found := number()):
        time.sleep(0.05)
    return found


# -- what it saw


def test_waits_are_from_end_to_beginning(rig: Rig) -> None:
    rig.broker.close("CONNECT")
    for pause_s in (0.3, 0.1, 0):
        client = rig.raw(CONNECT_4)
        assert client.recv(1) == b""
        rig.broker.wait_closed(timeout_s=WAIT_S)
        time.sleep(pause_s)
    first, second = rig.broker.waits()
    assert first >= 0.29
    assert 0.09 <= second < first
    rig.broker.mark()
    assert rig.broker.opened() == rig.broker.received() == rig.broker.waits() == []


def test_failed_wait_shows_what_happened(rig: Rig) -> None:
    rig.raw(CONNECT_4).recv(4)
    with pytest.raises(BenchFailure, match="came CONNECT 'raw'") as failed:
        rig.broker.wait_packet("SUBSCRIBE", timeout_s=0.05)
    assert "a SUBSCRIBE did not come to the scripted broker" in str(failed.value)


def test_no_more_is_kept_than_there_is_room_for(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scripted_broker, "MOST_BYTES", 10_000)
    message = bytes.fromhex("30a01f 0001 61") + bytes(4000 - 3)
    client = rig.raw(CONNECT_4 + 3 * message)
    while client.recv(100):
        pass
    assert "keeps" in rig.broker.wait_closed(timeout_s=WAIT_S).end
    assert sum(one.packet.size for one in rig.broker.packets) <= 10_000


def test_stop_ends_threads_and_frees_the_port(tmp_path: Path) -> None:
    before = {one.name for one in threading.enumerate()}
    with scripted(tmp_path) as rig:
        client, port = rig.raw(CONNECT_4), rig.broker.port
        client.recv(4)
    assert {one.name for one in threading.enumerate()} <= before
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=1)


# -- how other clients come back


@pytest.mark.slow
def test_paho_is_found_to_wait_exponentially(rig: Rig) -> None:
    rounds = []
    for _ in range(2):
        device = rig.paho(4)
        device.client.reconnect_delay_set(0.3, 60)  # type: ignore[arg-type]
        device.wait(device.reasons)
        rule = rig.broker.close("CONNECT", times=4)
        rig.broker.mark()
        rig.broker.disconnect()
        device.wait(device.reasons, 2, 30)
        assert rule.is_over
        rounds.append([1000 * wait for wait in rig.broker.waits()])
        device.stop()
    assert classify(rounds).shape == "exponential"


def test_paho_with_one_delay_is_found_to_wait_constantly(rig: Rig) -> None:
    device = rig.paho(5)
    device.client.reconnect_delay_set(0.4, 0.4)  # type: ignore[arg-type]
    device.wait(device.reasons)
    rig.broker.close("CONNECT", times=4)
    rig.broker.mark()
    rig.broker.disconnect()
    device.wait(device.reasons, 2)
    assert classify([[1000 * wait for wait in rig.broker.waits()]]).shape == "constant"


@needs_mosquitto
@pytest.mark.slow
def test_mosquitto_sub_is_found_to_wait_constantly(rig: Rig) -> None:
    rig.program("mosquitto_sub", "-t", "a")
    rig.broker.wait_session(WAIT_S)
    rig.broker.close("CONNECT", times=5)
    rig.broker.mark()
    rig.broker.disconnect()
    rig.broker.wait(lambda: len(rig.broker.waits()) >= 6 or None, 60, "six waits")
    assert classify([[1000 * wait for wait in rig.broker.waits()]]).shape == "constant"
