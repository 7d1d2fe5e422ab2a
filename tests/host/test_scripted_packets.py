"""The scripted broker's codec: against paho's bytes, the specifications' examples, and noise."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from scripted_rig import CONNECT_4, CONNECT_5

from keyfob_host.hil.scripted.packets import MalformedError, Packet, PacketReader, encode
from keyfob_host.hil.scripted.properties import (
    Reader,
    put_properties,
    put_variable,
    read_properties,
)


@given(st.lists(st.binary(max_size=40), max_size=6), st.sampled_from([b"", CONNECT_4, CONNECT_5]))
def test_whatever_comes_is_read_or_refused(pieces: list[bytes], first: bytes) -> None:
    reader = PacketReader()
    try:
        for piece in [first, *pieces]:
            for packet in reader.feed(piece):
                assert str(packet)
    except MalformedError as error:
        assert error.code >= 0x80


@given(st.binary(max_size=60), st.sampled_from([1, 3, 4, 5, 6, 7, 8, 10, 14, 15]), st.booleans())
def test_whatever_body_a_packet_has_is_read_or_refused(body: bytes, kind: int, is_5: bool) -> None:
    flags = {6: 2, 8: 2, 10: 2, 3: body[0] & 15 if body else 0}.get(kind, 0)
    reader = PacketReader()
    first = b"" if kind == 1 else CONNECT_5 if is_5 else CONNECT_4
    try:
        list(reader.feed(first + bytes([kind << 4 | flags, len(body)]) + body))
    except MalformedError as error:
        assert error.code >= 0x80


@given(st.integers(1, len(CONNECT_5) * 3))
def test_packets_are_the_same_in_whatever_pieces_they_come(size: int) -> None:
    words = CONNECT_5 + bytes.fromhex("8207 0001 00 0001 61 01 c000")
    whole = list(PacketReader().feed(words))
    assert [one.kind for one in whole] == ["CONNECT", "SUBSCRIBE", "PINGREQ"]
    reader, found = PacketReader(), []
    for at in range(0, len(words), size):
        found += reader.feed(words[at : at + size])
    assert found == whole


def test_properties_are_read_as_paho_writes_them() -> None:
    written = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    written.PayloadFormatIndicator = 1
    written.MessageExpiryInterval = 70_000
    written.ContentType = "text/plain"
    written.ResponseTopic = "answers"
    written.CorrelationData = b"\x00\xff"
    written.UserProperty = [("a", "ä"), ("a", "")]
    written.TopicAlias = 300
    assert read_properties(Reader(written.pack()), "PUBLISH") == {  # type: ignore[no-untyped-call]
        "payload-format-indicator": 1, "message-expiry-interval": 70_000,
        "content-type": "text/plain", "response-topic": "answers",
        "correlation-data": b"\x00\xff", "user-property": [("a", "ä"), ("a", "")],
        "topic-alias": 300,
    }  # fmt: skip


def test_properties_are_written_as_paho_reads_them() -> None:
    words = put_properties(
        {
            "session-expiry-interval": 70_000, "receive-maximum": 5, "maximum-qos": 1,
            "retain-available": 0, "maximum-packet-size": 1000, "topic-alias-maximum": 9,
            "assigned-client-identifier": "x", "reason-string": "so", "server-keep-alive": 77,
            "user-property": [("a", "b"), ("c", "d")], "authentication-data": b"\x00\x01",
            "authentication-method": "m",
        }
    )  # fmt: skip
    read = Properties(PacketTypes.CONNACK)  # type: ignore[no-untyped-call]
    assert read.unpack(words)[1] == len(words)  # type: ignore[no-untyped-call]
    assert read.json() == {  # type: ignore[no-untyped-call]
        "SessionExpiryInterval": 70_000, "ReceiveMaximum": 5, "MaximumQoS": 1,
        "RetainAvailable": 0, "MaximumPacketSize": 1000, "TopicAliasMaximum": 9,
        "AssignedClientIdentifier": "x", "ReasonString": "so", "ServerKeepAlive": 77,
        "UserProperty": [("a", "b"), ("c", "d")], "AuthenticationData": b"\x00\x01",
        "AuthenticationMethod": "m",
    }  # fmt: skip


# Table of section 1.5.5 of MQTT 5.0.
@pytest.mark.parametrize(
    ("value", "words"),
    [(0, "00"), (127, "7f"), (128, "8001"), (16_383, "ff7f"), (16_384, "808001"),
     (2_097_151, "ffff7f"), (2_097_152, "80808001"), (268_435_455, "ffffff7f")],
)  # fmt: skip
def test_variable_byte_integers_are_written_as_the_specification_has_them(
    value: int, words: str
) -> None:
    assert put_variable(value) == bytes.fromhex(words)


@pytest.mark.parametrize(
    ("packet", "version", "words"),
    [
        (Packet("CONNACK", session_present=True), 4, "20020100"),
        (Packet("PUBACK", packet_id=10), 4, "4002000a"),
        (Packet("PUBACK", packet_id=10), 5, "4002000a"),
        (Packet("PUBREL", packet_id=10), 4, "6202000a"),
        (Packet("UNSUBACK", packet_id=10, codes=(0,)), 4, "b002000a"),
        (Packet("UNSUBACK", packet_id=10, codes=(17,)), 5, "b004000a0011"),
        (Packet("PUBLISH", topic="a/b", payload=b"x", dup=True, qos=1, packet_id=10), 4,
         "3a08 0003612f62 000a 78"),
    ],
)  # fmt: skip
def test_packets_are_written_as_the_specification_has_them(
    packet: Packet, version: int, words: str
) -> None:
    assert encode(packet, version) == bytes.fromhex(words)
