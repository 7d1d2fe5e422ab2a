"""The tap in front of real servers: every byte passes, and what was seen is told."""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from tap_rig import SECRET, WAIT_S, Server, connect, echo, over, talk
from tls_streams import Pki

from keyfob_host.doctor import tap as tap_module
from keyfob_host.doctor.tap import Tap
from keyfob_host.doctor.tap_capture import Capture, EventFile
from keyfob_host.errors import KeyfobHostError
from keyfob_host.relay import Fault

BIG = 10 << 20


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture
def tls_server(pki: Pki) -> Iterator[Server]:
    with echo(pki) as server:
        yield server


def send_random(sock: socket.socket, seed: int) -> str:
    """10 MB in pieces of every size, then FIN; their SHA-256."""
    random, digest, left = Random(seed), hashlib.sha256(), BIG
    while left:
        piece = random.randbytes(min(left, random.choice((1, 7, 100, 1460, 5000, 40_000))))
        sock.sendall(piece)
        digest.update(piece)
        left -= len(piece)
    sock.shutdown(socket.SHUT_WR)
    return digest.hexdigest()


def receive_all(sock: socket.socket, random: Random) -> tuple[str, int]:
    digest, count = hashlib.sha256(), 0
    while data := sock.recv(random.choice((1000, 5000, 65536))):
        digest.update(data)
        count += len(data)
    return digest.hexdigest(), count


def test_10_megabytes_pass_unchanged_both_ways_at_once_with_a_half_close() -> None:
    received: list[tuple[str, int]] = []
    sent: list[str] = []
    served = threading.Event()

    def serve(client: socket.socket) -> None:
        sender = threading.Thread(target=lambda: sent.append(send_random(client, 2)))
        sender.start()
        received.append(receive_all(client, Random(3)))
        sender.join()
        served.set()

    with Server(serve) as server, Tap(server.address) as tap, connect(tap.port) as sock:
        up: list[str] = []
        sender = threading.Thread(target=lambda: up.append(send_random(sock, 1)))
        sender.start()
        down = receive_all(sock, Random(4))
        sender.join()
        ended = over(tap)
        assert served.wait(60)
    assert received == [(up[0], BIG)]
    assert down == (sent[0], BIG)
    assert {event.sender for event in ended.events if event.what == "closed"} == {"board", "broker"}
    assert ended.find("not-tls", "board")


def test_a_good_handshake_is_told_from_opening_to_end(tls_server: Server, pki: Pki) -> None:
    seen: list[str] = []
    with Tap(tls_server.address, on_event=lambda event: seen.append(event.what)) as tap:
        assert talk(tap, pki) == SECRET
        ended = over(tap)
    assert seen == [event.what for event in ended.events]
    assert seen[0] == "opened" and seen[-1] == "summary"
    assert ended.verdict is not None and ended.verdict.is_well
    assert ended.verdict.ended_by == "board"
    shown = ended.find("certificate", "broker")
    assert shown is not None
    sent = ssl.PEM_cert_to_DER_cert((pki.folder / "broker" / "cert.pem").read_text())
    assert shown.certificates[0] == sent


def test_a_client_without_certificate_is_told_with_the_brokers_alert(
    tls_server: Server, pki: Pki
) -> None:
    with Tap(tls_server.address) as tap:
        with pytest.raises(ssl.SSLError):
            talk(tap, pki, identity=None)
        ended = over(tap)
    assert ended.alerts == [("broker", 40)]
    assert "the board sent none" in tap.report()


def test_nobody_behind_the_tap_is_told_and_resets_the_client() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = closed.getsockname()
    with Tap(address) as tap:
        with pytest.raises(ConnectionResetError), connect(tap.port) as sock:
            sock.recv(1)
        assert tap.wait(lambda ones: ones and ones[0].find("refused"), WAIT_S)
        assert str(address[1]) in tap.report()


def test_silence_is_told_once_a_pause() -> None:
    def serve(client: socket.socket) -> None:
        client.recv(1)

    with Server(serve) as server, Tap(server.address, silence_s=0.05) as tap:
        with connect(tap.port):
            assert tap.wait(lambda ones: ones and ones[0].find("silence"), WAIT_S)
        ended = over(tap)
    assert ended.verdict is not None and "before a byte" in ended.verdict.text


def test_a_fault_of_the_relay_below_works_through_a_tap(tls_server: Server, pki: Pki) -> None:
    with Tap(tls_server.address) as tap:
        tap.relay.fail(Fault("cut", "down", at_byte=300))
        with pytest.raises(OSError):
            talk(tap, pki)
        ended = over(tap)
    assert ended.find("server-hello") and not ended.find("server-hello-done")
    assert ended.verdict is not None and not ended.verdict.is_well


def test_a_reader_that_fails_stops_no_byte(
    tls_server: Server, pki: Pki, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_fact: object) -> str:
        raise RuntimeError("a defect")

    monkeypatch.setattr(
        tap_module, "in_words", lambda fact: fail(fact) if fact.what == "server-hello" else ""
    )
    with Tap(tls_server.address) as tap:
        assert talk(tap, pki) == SECRET
        assert over(tap).find("unread", "broker")


def test_many_connections_leave_a_bounded_number_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tap_module, "MOST_CONNECTIONS", 5)
    monkeypatch.setattr(tap_module, "_MOST_COUNTED", 5)
    with Server(lambda client: client.recv(1)) as server, Tap(server.address) as tap:
        for number in range(1, 21):
            with connect(tap.port) as sock:
                sock.sendall(b"x")
            over(tap, number)
        assert [one.number for one in tap.connections] == [16, 17, 18, 19, 20]
        assert len(tap.relay.connections) <= 6


# -- files


def test_files_hold_certificates_and_nothing_that_was_encrypted(
    tls_server: Server, pki: Pki, tmp_path: Path
) -> None:
    events, capture = EventFile(tmp_path / "e.jsonl"), Capture(tmp_path / "e.pcap")
    with Tap(
        tls_server.address,
        on_event=lambda event: events.write(event.as_dict()),
        capture=capture,
    ) as tap:
        assert talk(tap, pki) == SECRET
        # In clear to a TLS port: the tap sees the password, and does not keep it.
        with connect(tap.port) as sock:
            sock.sendall(b"\x10\x30\0\4MQTT\4\x42\0\x0a\0\0" + SECRET)
            with contextlib.suppress(OSError):
                sock.recv(100)
        over(tap, 2)
    events.close()
    capture.close()
    pcap = (tmp_path / "e.pcap").read_bytes()
    text = (tmp_path / "e.jsonl").read_bytes()
    der = ssl.PEM_cert_to_DER_cert((pki.folder / "broker" / "cert.pem").read_text())
    assert der in pcap
    for content in (pcap, text):
        assert SECRET not in content and b"PRIVATE" not in content
    lines = [json.loads(line) for line in text.splitlines()]
    assert {"client-hello", "certificate", "not-tls", "summary"} <= {one["what"] for one in lines}
    assert [oct((tmp_path / name).stat().st_mode & 0o777) for name in ("e.jsonl", "e.pcap")] == [
        "0o600", "0o600",
    ]  # fmt: skip
    up = streams_of(pcap)[0]
    assert up.startswith(b"\x16\x03\x01")  # the first record of the board, at its place
    at = 0
    bodies = []
    while at < len(up):
        kind, size = up[at], int.from_bytes(up[at + 3 : at + 5], "big")
        bodies.append((kind, up[at + 5 : at + 5 + size]))
        at += 5 + size
    protected = bodies[[kind for kind, _ in bodies].index(20) + 1 :]
    assert protected and all(not any(body) for _, body in protected)


def streams_of(pcap: bytes) -> list[bytes]:
    """What each sender of a pcap file sent, in TCP's order; lengths and checksums must be right."""
    magic, major, minor, _, _, _, link = struct.unpack("<IHHiIII", pcap[:24])
    assert (magic, major, minor, link) == (0xA1B23C4D, 2, 4, 101)
    at, found = 24, {}
    while at < len(pcap):
        _, _, size, original = struct.unpack("<IIII", pcap[at : at + 16])
        packet = pcap[at + 16 : at + 16 + size]
        assert size == original == int.from_bytes(packet[2:4], "big")
        assert folded(packet[:20]) == 0xFFFF
        assert folded(packet[12:20] + struct.pack(">BBH", 0, 6, size - 20) + packet[20:]) == 0xFFFF
        sport, dport, sequence = struct.unpack(">HHI", packet[20:28])
        stream = found.setdefault((sport, dport), [sequence + 1, b""])
        if not packet[33] & 2:  # SYN
            assert sequence == stream[0]
            stream[1] += packet[40:]
            stream[0] += size - 40 + (packet[33] & 1)
        at += 16 + size
    return [bytes(one[1]) for one in found.values()]


def folded(data: bytes) -> int:
    total = sum(
        int.from_bytes(data[at : at + 2].ljust(2, b"\0"), "big") for at in range(0, len(data), 2)
    )
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def test_a_full_event_file_begins_anew_and_keeps_the_one_before(tmp_path: Path) -> None:
    events = EventFile(tmp_path / "e.jsonl", most_bytes=1000)
    for number in range(200):
        events.write({"n": number})
    events.close()
    now, before = (tmp_path / "e.jsonl").read_text(), (tmp_path / "e.jsonl.1").read_text()
    assert len(now) <= 1000 and len(before) <= 1000
    numbers = [json.loads(line)["n"] for line in (before + now).splitlines()]
    assert numbers == list(range(numbers[0], 200))


def test_a_full_capture_ends_and_says_so(tmp_path: Path) -> None:
    capture = Capture(tmp_path / "e.pcap", most_bytes=1000)
    capture.opened(1, "127.0.0.1:5", ("127.0.0.1", 6))
    for _ in range(10):
        capture.sent(1, "board", bytes(200))
    capture.close()
    assert "is full" in capture.trouble
    assert (tmp_path / "e.pcap").stat().st_size <= 1000


def test_a_tap_cannot_listen_on_a_taken_port() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(KeyfobHostError, match="port-taken"),
    ):
        Tap(("127.0.0.1", 1), port=taken.getsockname()[1]).start()
