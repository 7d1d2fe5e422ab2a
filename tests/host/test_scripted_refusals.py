"""Whom the scripted broker refuses: at the handshake, and for what a device does wrong."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from scripted_rig import CONNECT_4, CONNECT_5, HOST, WAIT_S, Rig, scripted

from keyfob_host.hil.scripted.packets import MOST_PACKET_BYTES
from keyfob_host.hil.scripted.properties import put_variable
from keyfob_host.pki.authority import Authority

CONNACK_5 = bytes.fromhex("2003000000")


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with scripted(tmp_path) as made:
        yield made


# -- the handshake


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_alert_of_the_device_has_its_name(rig: Rig, version: ssl.TLSVersion) -> None:
    foreign = rig.folder / "foreign.pem"
    foreign.write_bytes(Authority.ephemeral("Foreign").cert_pem())
    context = rig.context(anchors=foreign)
    context.minimum_version = context.maximum_version = version
    with (
        socket.create_connection((HOST, rig.broker.port)) as plain,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        context.wrap_socket(plain, server_hostname=HOST)
    assert rig.broker.wait_closed(timeout_s=WAIT_S).alert == "unknown_ca"


def test_client_of_another_ca_is_refused(rig: Rig) -> None:
    own = rig.context()
    assert own
    folder = Authority.ephemeral("Foreign").issue_device("device-1").write(rig.folder / "foreign")
    context = ssl.create_default_context(cafile=rig.folder / "device-1" / "ca.pem")
    context.load_cert_chain(folder / "chain.pem", folder / "key.pem")
    plain = socket.create_connection((HOST, rig.broker.port), timeout=WAIT_S)
    with pytest.raises(OSError), context.wrap_socket(plain, server_hostname=HOST) as client:
        client.recv(1)
    assert "CERTIFICATE_VERIFY_FAILED" in rig.broker.wait_closed(timeout_s=WAIT_S).tls_error


def test_client_without_a_certificate_is_refused(rig: Rig) -> None:
    rig.context()
    context = ssl.create_default_context(cafile=rig.folder / "device-1" / "ca.pem")
    plain = socket.create_connection((HOST, rig.broker.port), timeout=WAIT_S)
    with pytest.raises(OSError), context.wrap_socket(plain, server_hostname=HOST) as client:
        client.recv(1)
    assert "CERTIFICATE" in rig.broker.wait_closed(timeout_s=WAIT_S).tls_error


# -- what a device does wrong


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("c000", "PINGREQ before CONNECT"),
        ("100f 00044d515455 04 02 003c 0003726177", "protocol 'MQTU'"),
        ("100f 00044d515454 03 02 003c 0003726177", "version 3"),
        ("100f 00044d515454 04 03 003c 0003726177", "reserved connect flag"),
        ("1080808001", "packet of 2097157 bytes"),
        ("10ffffffff7f", "more than 4 bytes"),
        ("108f00 00044d515454 04 02 003c 0003726177", "more bytes than it needs"),
        ("1110", "CONNECT with flags 0001"),
    ],
)
def test_malformed_beginning_is_refused(rig: Rig, words: str, why: str) -> None:
    client = rig.raw(bytes.fromhex(words))
    while client.recv(100):
        pass
    assert why in rig.broker.wait_closed(timeout_s=WAIT_S).violation


@pytest.mark.parametrize(
    ("words", "why", "code"),
    [
        (CONNECT_5.hex(), "a second CONNECT", 0x82),
        ("2003000000", "packet type 2 from a client", 0x82),
        ("3806 0001 61 00 0000", "flags 1000", 0x81),
        ("3206 0001 61 0000 00", "packet identifier 0", 0x82),
        ("3004 0001 2b 00", "topic name '+'", 0x90),
        ("3007 0001 61 03 220005", "no property topic-alias-maximum", 0x82),
        ("3008 0001 61 04 0101 0101", "payload-format-indicator comes twice", 0x82),
        ("8207 0001 00 0001 61 03", "options 00000011", 0x81),
        ("8208 0001 00 0002 612b 00", "topic filter 'a+'", 0x8F),
        ("8203 0001 00", "without a topic filter", 0x82),
        ("c00100", "1 bytes behind the end", 0x81),
        ("3005 0002 c328 00", "not UTF-8", 0x81),
        ("3005 0002 6100 00", "U+0000", 0x81),
    ],
)
def test_violation_of_5_0_ends_with_its_reason(rig: Rig, words: str, why: str, code: int) -> None:
    client = rig.raw(CONNECT_5 + bytes.fromhex(words))
    assert client.recv(5) == CONNACK_5
    told = client.recv(100)
    assert told == bytes([0xE0, 2, code, 0])
    assert why in rig.broker.wait_closed(timeout_s=WAIT_S).violation


def test_packet_beyond_the_limit_is_refused_before_it_is_read(rig: Rig) -> None:
    head = bytes([0x30]) + put_variable(MOST_PACKET_BYTES)
    client = rig.raw(CONNECT_4 + head)
    while client.recv(100):
        pass
    assert "want at most" in rig.broker.wait_closed(timeout_s=WAIT_S).violation
