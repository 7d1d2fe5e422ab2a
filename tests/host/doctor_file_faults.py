"""Faults of the catalogue, each made in one place of a whole bench, provoked with mosquitto.

`ROWS` says which cause has to be told of each. Beside them stands what a board's console says.
"""

from __future__ import annotations

import socket
import ssl
import subprocess
from collections.abc import Callable
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from doctor_rig import CLIENT_AUTH, DAY, NAME, NOW, SERVER_AUTH, Folder, crl, make_ca, make_leaf

from keyfob_host.broker_probe import connect_packet
from keyfob_host.doctor.offline.examining import Examination

CONNACK = "20020000"
YEARS = 365 * DAY
CONSOLE = """\
ets Jul 29 2019 12:21:46\r
rst:0x1 (POWERON_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)\r
kf {"t":0,"ev":"boot","cause":"pwron","device":"51972a00","version":"0.1.0"}\r
kf {"t":104,"ev":"wifi.up","ip":"192.0.2.7"}\r
kf {"t":112,"ev":"clock.set","offset_ms":null,"server":"ntp.keyfob.test","unix_s":%d}\r
"""
FAILED = 'kf {"t":300,"ev":"error","code":"%s","detail":"","retry":"stop","next_ms":0}\r\n'
UP = 'kf {"t":298,"ev":"mqtt.up","client_id":"sensor-01","host":"h","port":8883}\r\n'


def once(folder: Folder, until: str = "rror", **how: object) -> None:
    """Run, connect once as the board of the folder does, and wait for the log."""
    with folder.run():
        folder.connect(**how)  # type: ignore[arg-type]
        folder.wait_for(until)


def issuer_ahead(folder: Folder) -> None:  # 2
    folder.broker = make_leaf(folder.ca, "broker", (NAME,), before=timedelta(hours=5))
    once(folder)


def broker_expired(folder: Folder) -> None:  # 3
    folder.broker = make_leaf(folder.ca, "broker", (NAME,), before=-9 * DAY, after=-DAY)
    once(folder)


def board_ahead(folder: Folder) -> None:  # 4
    with folder.run():
        s_client(folder, "-attime", str(int((NOW + 30 * YEARS).timestamp())))
        folder.wait_for("rror")


def board_behind(folder: Folder) -> None:  # 1
    with folder.run():
        s_client(folder, "-attime", "946684800")
        folder.wait_for("rror")


def s_client(folder: Folder, *more: str) -> None:
    own = folder.path / "device/sensor-01"
    subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{folder.port}", "-tls1_2",
         "-CAfile", str(own / "ca.pem"), "-cert", str(own / "cert.pem"),
         "-key", str(own / "key.pem"), "-verify_return_error", *more],
        input=b"", capture_output=True, timeout=30, check=False,
    )  # fmt: skip


def wrong_anchor(folder: Folder) -> None:  # 5
    folder.anchors = make_ca("old CA")
    once(folder, "unknown ca")


def missing_intermediate(folder: Folder) -> None:  # 6
    below = make_ca("issuing CA", issuer=folder.ca)
    folder.broker = make_leaf(below, "broker", (NAME,))
    folder.device = make_leaf(below, "sensor-01", usage=CLIENT_AUTH, below=(below,))
    once(folder, "unknown ca")


def ca_without_ca_true(folder: Folder) -> None:  # 7
    folder.ca = make_leaf(None, "bench CA", usage=None)
    folder.device = make_leaf(folder.ca, "sensor-01", usage=CLIENT_AUTH)
    folder.broker = make_leaf(folder.ca, "broker", (NAME,))
    once(folder)


def same_subject(folder: Folder) -> None:  # 8
    folder.device = make_leaf(folder.ca, "bench CA", usage=CLIENT_AUTH)
    once(folder, "verify failed")


def wrong_name(folder: Folder) -> None:  # 9
    folder.broker = make_leaf(folder.ca, "broker", ("other.keyfob.test",))
    once(folder, "bad certificate")


def none_sent(folder: Folder) -> None:  # 11
    folder.device = None
    with folder.run():
        for _ in range(2):
            folder.connect(folder.context())
        folder.wait_for("did not return")


def other_ca(folder: Folder) -> None:  # 12
    folder.device = make_leaf(make_ca("another CA"), "sensor-01", usage=CLIENT_AUTH)
    once(folder, "verify failed")


def other_ca_of_one_name(folder: Folder) -> None:  # 12
    folder.device = make_leaf(make_ca(), "sensor-01", usage=CLIENT_AUTH)
    once(folder, "verify failed")


def expired(folder: Folder) -> None:  # 13
    folder.device = make_leaf(
        folder.ca, "sensor-01", usage=CLIENT_AUTH, before=-9 * DAY, after=-DAY
    )
    once(folder, "verify failed")


def broker_behind(folder: Folder) -> None:  # 14
    folder.clock = NOW - 30 * DAY
    once(folder, "verify failed")


def revoked(folder: Folder) -> None:  # 15
    assert folder.device is not None
    folder.crl = crl(folder.ca, folder.device)
    once(folder, "verify failed")


def crl_overdue(folder: Folder) -> None:  # 16
    folder.crl = crl(folder.ca, ends=-DAY)
    once(folder, "verify failed")


def wrong_usage(folder: Folder) -> None:  # 17
    folder.device = make_leaf(folder.ca, "sensor-01", usage=SERVER_AUTH)
    once(folder, "verify failed")


def broker_wrong_usage(folder: Folder) -> None:  # 18
    folder.broker = make_leaf(folder.ca, "broker", (NAME,), usage=CLIENT_AUTH)
    once(folder)


def half_an_upload(folder: Folder) -> None:  # 19
    assert folder.device is not None
    with folder.run():
        pass
    other = make_leaf(folder.ca, "sensor-01", usage=CLIENT_AUTH)
    folder.write("device/sensor-01/key.pem", other.key_pem(), 0o600)


def breaks_off(folder: Folder) -> None:
    """A client that goes in the middle of the handshake, as boards without a usable key do."""
    out = ssl.MemoryBIO()
    with folder.run():
        hello = folder.context().wrap_bio(ssl.MemoryBIO(), out, server_hostname=NAME)
        with pytest.raises(ssl.SSLWantReadError):
            hello.do_handshake()
        with socket.create_connection(("127.0.0.1", folder.port), 10) as plain:
            plain.sendall(out.read())
            plain.recv(65536)
            plain.shutdown(socket.SHUT_WR)
            while plain.recv(65536):
                pass
        folder.wait_for("eof while")


def wrong_form(folder: Folder) -> None:  # 20
    breaks_off(folder)
    assert folder.device is not None
    slot(folder, folder.device.chain_pem(), folder.device.key_der())


def truncated(folder: Folder) -> None:  # 22
    breaks_off(folder)
    assert folder.device is not None
    slot(folder, folder.device.der[:-40], folder.device.key_der())


def slot(folder: Folder, cert: bytes, key: bytes) -> None:
    """What was read back from a board."""
    folder.write("board/id/a/cert.der", cert)
    folder.write("board/id/a/ca.der", folder.ca.der)
    folder.write("board/id/a/key.der", key, 0o600)


def tls13_only(folder: Folder) -> None:  # 23
    folder.more = ["tls_version tlsv1.3"]
    once(folder)


def no_shared_cipher(folder: Folder) -> None:  # 24
    made = folder.context(shows=folder.device)
    made.set_ciphers("AES128-SHA")
    once(folder, "no shared cipher", made=made)


def weak_key(folder: Folder) -> None:  # 27
    weak = rsa.generate_private_key(65537, 1024)  # noqa: S505
    folder.broker = make_leaf(folder.ca, "broker", (NAME,), key=weak)
    folder.fail_to_run()


def listener_down(folder: Folder) -> None:  # 28
    folder.broker.key = make_leaf(folder.ca, "broker", (NAME,)).key
    folder.fail_to_run()


def plain_to_tls(folder: Folder) -> None:  # 29
    with folder.run(), socket.create_connection(("127.0.0.1", folder.port), 10) as plain:
        plain.sendall(connect_packet("sensor-01"))
        folder.wait_for("rror")


def tls_to_plain(folder: Folder) -> None:  # 29
    folder.tls = False
    once(folder, "rotocol error")


def not_mapped(folder: Folder) -> None:  # 31
    folder.user = []
    once(folder, "not authorised")


def same_client_id(folder: Folder) -> None:  # 32
    with folder.run():
        links = []
        for _ in range(4):
            link = folder.open(folder.context(shows=folder.device))
            link.sendall(connect_packet("sensor-01"))
            assert link.recv(4).hex() == CONNACK
            links.append(link)
        for link in links:
            link.close()
        folder.wait_for("already connected")


def denied_topic(folder: Folder) -> None:  # 34
    acl = folder.write("acl", "pattern readwrite devices/%u/#\n")
    folder.more = [f"acl_file {acl}"]
    publish(folder, b"\x30\x0c\x00\x09elsewhere1", "Denied PUBLISH")


def too_large(folder: Folder) -> None:  # 35
    folder.more = ["max_packet_size 60"]
    body = b"\x00\x01t" + bytes(97)
    publish(folder, b"\x30" + bytes([len(body)]) + body, "oversize packet")


def publish(folder: Folder, packet: bytes, until: str) -> None:
    with folder.run(), folder.open(folder.context(shows=folder.device)) as link:
        link.sendall(connect_packet("sensor-01"))
        assert link.recv(4).hex() == CONNACK
        link.sendall(packet)
        folder.wait_for(until)


def too_many(folder: Folder) -> None:  # 36
    folder.more = ["max_connections 1"]
    with folder.run(), folder.open(folder.context(shows=folder.device)) as link:
        link.sendall(connect_packet("sensor-01"))
        assert link.recv(4).hex() == CONNACK
        folder.connect(client="sensor-02")
        folder.wait_for("max_connections")


Fault = Callable[[Folder], None]
ROWS: list[tuple[Fault, str]] = [
    (board_behind, "clock.board-never-set"),
    (issuer_ahead, "clock.issuer-ahead"),
    (broker_expired, "x509.broker-expired"),
    (board_ahead, "clock.board-ahead"),
    (wrong_anchor, "x509.wrong-anchor"),
    (missing_intermediate, "x509.missing-intermediate"),
    (ca_without_ca_true, "x509.ca-without-ca-true"),
    (same_subject, "x509.same-subject-twice"),
    (wrong_name, "x509.name-not-in-san"),
    (none_sent, "client-certificate.not-sent"),
    (other_ca, "client-certificate.unknown-ca"),
    (other_ca_of_one_name, "client-certificate.unknown-ca"),
    (expired, "client-certificate.expired"),
    (broker_behind, "clock.broker-behind"),
    (revoked, "client-certificate.revoked"),
    (crl_overdue, "client-certificate.crl-overdue"),
    (wrong_usage, "client-certificate.wrong-usage"),
    (broker_wrong_usage, "x509.broker-wrong-usage"),
    (half_an_upload, "client-certificate.key-mismatch"),
    (wrong_form, "store.wrong-form"),
    (truncated, "store.truncated"),
    (tls13_only, "tls.version"),
    (no_shared_cipher, "tls.no-shared-cipher"),
    (weak_key, "x509.weak-algorithm"),
    (listener_down, "tcp.listener-down"),
    (plain_to_tls, "tcp.wrong-port"),
    (tls_to_plain, "tcp.wrong-port"),
    (not_mapped, "authorization.not-mapped"),
    (same_client_id, "mqtt.same-client-id"),
    (denied_topic, "authorization.denied-topic"),
    (too_large, "traffic.packet-too-large"),
    (too_many, "mqtt.too-many-connections"),
]


def told(found: Examination) -> str:
    return "\n".join([*(one.as_text() for one in found.diagnoses), *found.notes])
