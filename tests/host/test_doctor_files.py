"""``keyfob doctor --files``: the right verdict from what real brokers and clients left behind.

Each fault is a row of the catalogue of failures, made in one place of a whole bench, provoked
with a real mosquitto. The verdict must be its row's, and nothing else may be found.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from doctor_rig import (
    CLIENT_AUTH,
    DAY,
    NAME,
    NOW,
    SERVER_AUTH,
    Folder,
    crl,
    make_ca,
    make_leaf,
)

from keyfob_host.broker_probe import connect_packet
from keyfob_host.doctor.offline.examining import Examination, examine
from keyfob_host.doctor.tap import Tap
from keyfob_host.errors import ExitStatus, KeyfobHostError

pytestmark = [
    pytest.mark.mosquitto,
    pytest.mark.skipif(
        shutil.which("mosquitto", path=os.environ["PATH"] + ":/usr/sbin") is None,
        reason="mosquitto is not installed",
    ),
]

CONNACK = "20020000"
YEARS = 365 * DAY


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


@pytest.mark.parametrize(("fault", "cause"), ROWS, ids=lambda one: getattr(one, "__name__", one))
def test_a_fault_is_told_from_the_files_and_nothing_else_is(
    tmp_path: Path, fault: Fault, cause: str
) -> None:
    folder = Folder(tmp_path / "bench")
    fault(folder)
    found = folder.examine(host=NAME)
    codes = [one.code for one in found.diagnoses]
    assert codes == [cause], f"{told(found)}\n{folder.log()}"
    assert not found.other


@pytest.mark.parametrize("stamps", ["epoch", "iso", "none"])
def test_a_bench_that_is_well_has_no_finding(tmp_path: Path, stamps: str) -> None:
    folder = Folder(tmp_path / "bench", stamps)
    folder.crl = crl(folder.ca)
    with folder.run():
        assert folder.connect() == CONNACK
        assert folder.connect() == CONNACK
    found = folder.examine(host=NAME)
    assert not found.diagnoses and not found.other and not found.notes, told(found)
    assert any("broker's log" in what for _, what in found.looked_at)


# Logs that no mosquitto of this bench writes: other versions, other loggers, the boards' own


CONSOLE = """\
ets Jul 29 2019 12:21:46\r
rst:0x1 (POWERON_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)\r
kf {"t":0,"ev":"boot","cause":"pwron","device":"51972a00","version":"0.1.0"}\r
kf {"t":104,"ev":"wifi.up","ip":"192.0.2.7"}\r
kf {"t":112,"ev":"clock.set","offset_ms":null,"server":"ntp.keyfob.test","unix_s":%d}\r
"""
FAILED = 'kf {"t":300,"ev":"error","code":"%s","detail":"","retry":"stop","next_ms":0}\r\n'
UP = 'kf {"t":298,"ev":"mqtt.up","client_id":"sensor-01","host":"h","port":8883}\r\n'


def written(tmp_path: Path, **files: str) -> Path:
    for name, text in files.items():
        (tmp_path / f"{name}.log").write_text(text)
    return tmp_path


def codes(folder: Path, **how: object) -> list[str]:
    found = examine([folder], NOW, **how)  # type: ignore[arg-type]
    return [one.code for one in found.diagnoses]


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("clock.never-set", "clock.board-never-set"),
        ("x509.wrong-name", "x509.name-not-in-san"),
        ("x509.untrusted", "x509.wrong-anchor"),
        ("tls.refused", "tcp.listener-down"),
        ("tls.name-not-found", "name.not-resolved"),
        ("tls.no-memory", "tls.heap-too-small"),
        ("tls.record-overflow", "tls.chain-over-buffer"),
        ("wifi.wrong-password", "wifi.password"),
        ("config.missing", "settings.missing"),
    ],
)
def test_a_boards_console_alone_is_enough(tmp_path: Path, code: str, cause: str) -> None:
    text = CONSOLE % NOW.timestamp() + FAILED % code
    assert cause in codes(written(tmp_path, console=text))[:1]


def test_what_a_board_came_past_is_over(tmp_path: Path) -> None:
    text = CONSOLE % NOW.timestamp() + FAILED % "tls.refused" + UP
    found = examine([written(tmp_path, console=text)], NOW)
    assert not found.diagnoses and [one.kind for one in found.past] == ["tls.refused"]


@pytest.mark.parametrize(
    ("clock", "cause"),
    [(NOW, "client-certificate.expired"), (NOW + 9 * YEARS, "clock.board-ahead")],
    ids=["now", "years-ahead"],
)
def test_a_board_that_fell_back_says_by_which_clock(
    tmp_path: Path, clock: datetime, cause: str
) -> None:
    """It is connected all the same, with its other identity."""
    detail = "cert.der: valid from 2020-01-01T00:00:00Z to 2020-02-01T00:00:00Z, clock "
    event = {"t": 290, "ev": "store.fallback", "code": "store.expired", "slot": "b"}
    event["detail"] = f"{detail}{clock:%Y-%m-%dT%H:%M:%SZ}"
    text = CONSOLE % NOW.timestamp() + f"kf {json.dumps(event)}\n" + UP
    assert codes(written(tmp_path, console=text)) == [cause]


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("ValueError: The certificate is not correctly signed by the trusted CA",
         "x509.wrong-anchor"),
        ("OSError: -202", "name.not-resolved"),
        ("ImportError: no module named 'umqtt'", "firmware.file-missing"),
        ("MemoryError: memory allocation failed, allocating 16717 bytes", "firmware.out-of-memory"),
        ("Brownout detector was triggered", "firmware.power"),
    ],
)  # fmt: skip
def test_tracebacks_and_boot_messages_are_read(tmp_path: Path, line: str, cause: str) -> None:
    text = f"MicroPython v1.28 on ESP32\nTraceback (most recent call last):\n{line}\n"
    assert codes(written(tmp_path, board=text))[:1] == [cause]


def test_a_program_that_was_stopped_by_hand_is_told_until_it_runs_again(tmp_path: Path) -> None:
    text = 'Traceback (most recent call last):\n  File "main.py", line 5\nKeyboardInterrupt: \n'
    assert codes(written(tmp_path, board=text)) == ["firmware.program-stopped"]
    again = 'kf {"t":0,"ev":"boot","cause":"soft","device":"240ac4b6d8c6","version":"0.1.0"}\n'
    assert codes(written(tmp_path, board=text + again)) == []


@pytest.mark.parametrize(
    "stamp",
    ["1795200000: ", "2026-11-20T18:40:00Z: ", "2026-11-20 18:40:00: ", "",
     "Nov 20 18:40:00 host mosquitto[4711]: 1795200000: "],
)  # fmt: skip
def test_a_brokers_log_is_read_in_each_form_of_time(tmp_path: Path, stamp: str) -> None:
    lines = (
        "mosquitto version 2.0.18 running",
        "New connection from 192.0.2.7:4711 on port 8883.",
        "OpenSSL Error[0]: error:0A0000C7:SSL routines::peer did not return a certificate",
        "Client <unknown> disconnected: Protocol error.",
    )
    folder = written(tmp_path, mosquitto="".join(f"{stamp}{line}\n" for line in lines))
    found = examine([folder], NOW)
    assert [one.code for one in found.diagnoses] == ["client-certificate.not-sent"]
    assert (found.diagnoses[0].evidence[0].at is not None) == bool(stamp)


def test_clocks_that_differ_are_told_and_lined_up(tmp_path: Path) -> None:
    broker = (
        f"{int(NOW.timestamp())}: New client connected from 192.0.2.7:1 as sensor-01 (p2, c1).\n"
    )
    folder = written(tmp_path, mosquitto=broker, console=CONSOLE % (NOW.timestamp() + 500) + UP)
    found = examine([folder], NOW)
    assert found.board_ahead_s == 500 and any("--board-ahead 500" in one for one in found.notes)
    again = examine([folder], NOW, board_ahead_s=500.0)
    assert again.board_ahead_s is None and not again.diagnoses


def test_a_board_of_years_to_come_is_ahead(tmp_path: Path) -> None:
    text = CONSOLE % (NOW + 30 * YEARS).timestamp() + FAILED % "x509.expired"
    assert codes(written(tmp_path, console=text)) == ["clock.board-ahead"]


def test_what_the_tap_saw_served_is_held_against_the_file(tmp_path: Path) -> None:
    """Renewed on disk, and not reloaded."""
    folder = Folder(tmp_path / "bench")
    folder.broker = make_leaf(folder.ca, "broker", (NAME,), before=-9 * DAY, after=-DAY)
    events: list[str] = []
    with folder.run(), Tap(
        ("127.0.0.1", folder.port), on_event=lambda one: events.append(json.dumps(one.as_dict()))
    ) as tap:  # fmt: skip
        folder.port = tap.port
        folder.connect()
        assert tap.wait(lambda ones: ones and not ones[0].alive, 20)
        folder.wait_for("rror")
    folder.broker = make_leaf(folder.ca, "broker", (NAME,), key=folder.broker.key)
    folder.write("server.crt", folder.broker.chain_pem())
    folder.write("tap.jsonl", "\n".join(events))
    found = folder.examine()
    assert [one.code for one in found.diagnoses] == ["x509.broker-expired"], told(found)
    shown = found.diagnoses[0].evidence
    assert {one.source for one in shown} == {"broker", "wire"}
    assert any("sha256" in one.seen and "sha256" in one.wanted for one in shown)


def test_a_configuration_from_elsewhere_finds_its_files_beside_it(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "bench")
    expired(folder)
    moved = tmp_path / "copied"
    shutil.move(folder.path, moved)
    conf = (moved / "mosquitto.conf").read_text()
    (moved / "mosquitto.conf").write_text(conf.replace(str(folder.path), "/etc/mosquitto/certs"))
    found = examine([moved], NOW + timedelta(minutes=1))
    assert [one.code for one in found.diagnoses] == ["client-certificate.expired"], told(found)
    (moved / "server.key").unlink()
    found = examine([moved], NOW + timedelta(minutes=1))
    assert any("keyfile /etc/mosquitto/certs/server.key" in one for one in found.notes)


# Whatever there is


def mixture(random: Random, folder: Path, pieces: list[bytes]) -> None:
    names = ["a.log", "b.pem", "c.conf", "tap.jsonl", "d.der", "noend", "key.pem", "e.txt", "f.crl"]
    for name in random.sample(names, random.randint(1, len(names))):
        content = bytearray(b"".join(random.choices(pieces, k=random.randint(1, 4))))
        for _ in range(random.randint(0, 6)):
            if content:
                at = random.randrange(len(content))
                content[at : at + random.randint(0, 9)] = random.randbytes(random.randint(0, 5))
        folder.joinpath(name).write_bytes(content[: random.choice((len(content), 700, 40))])


def survives(tmp_path: Path, seeds: range) -> None:
    folder = Folder(tmp_path / "bench")
    crl_overdue(folder)
    text = CONSOLE % NOW.timestamp() + FAILED % "x509.untrusted" + UP
    tap = '{"connection":1,"what":"summary","causes":["x509.wrong-anchor",7],"alert":[],"at":9}\n'
    chain = '{"connection":1,"what":"certificate","from":"broker","der":["MAA=",5],"at":"x"}\n'
    pieces = [path.read_bytes() for path in sorted(folder.path.rglob("*")) if path.is_file()]
    pieces += [text.encode(), tap.encode(), chain.encode(), b"\0\xff\xfe", folder.ca.der, b"[" * 99]
    assert folder.device is not None
    lines = (folder.device.key_pem() + folder.broker.key_pem()).decode().splitlines()
    lines = [line for line in lines if "-" not in line]
    secret = [line[at : at + 16] for line in lines for at in (0, 20, 40) if len(line) > at + 15]
    assert secret
    for seed in seeds:
        given = tmp_path / str(seed)
        given.mkdir()
        mixture(Random(seed), given, pieces)
        try:
            found = examine([given], NOW)
        except KeyfobHostError as refused:
            assert refused.code == "doctor.nothing-to-read", seed
        else:
            json.dumps(found.as_dict())
            shown = told(found)
            assert not any(piece in shown for piece in secret), seed
            assert all(c.isprintable() or c == "\n" for c in shown), seed
        shutil.rmtree(given)


def test_any_mixture_of_files_gets_an_answer(tmp_path: Path) -> None:
    survives(tmp_path, range(60))


@pytest.mark.slow
def test_many_mixtures_of_files_get_an_answer(tmp_path: Path) -> None:
    survives(tmp_path, range(1000, 4000))


# The command


def keyfob(*words: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "keyfob_host", "doctor", *words],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    return done


def test_the_command_names_cause_both_ends_and_a_fix(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "bench")
    expired(folder)
    done = keyfob("--files", str(folder.path), "--host", NAME)
    assert done.returncode == ExitStatus.IDENTITY, done.stdout + done.stderr
    assert (
        "client-certificate.expired" in done.stdout and "certificate verify failed" in done.stdout
    )
    assert "notAfter" in done.stdout and "keyfob cert renew sensor-01" in done.stdout
    told = json.loads(keyfob("--json", "--files", str(folder.path)).stdout)
    assert told["diagnoses"][0]["row"] == 13
    assert {one["source"] for one in told["diagnoses"][0]["evidence"]} == {"board", "broker"}
    # The files one by one, and judged before the certificate expired.
    names = [str(path) for path in folder.path.rglob("*") if path.is_file()]
    at = (NOW - 3 * DAY).isoformat()
    assert json.loads(keyfob("--json", "--files", *names).stdout)["diagnoses"][0]["row"] == 13
    assert (
        "client-certificate.expired (certain)" not in keyfob("--files", *names, "--at", at).stdout
    )


def test_the_command_says_when_nothing_is_wrong(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "bench")
    with folder.run():
        assert folder.connect() == CONNACK
    done = keyfob("--files", str(folder.path))
    assert done.returncode == 0 and "nothing wrong in what is there" in done.stdout
    assert "mosquitto's configuration" in done.stdout and "broker's log" in done.stdout


@pytest.mark.parametrize(
    ("words", "code", "status"),
    [
        (["nothing.log"], "file.missing", ExitStatus.INPUT),
        ([os.devnull], "doctor.nothing-to-read", ExitStatus.INPUT),
        ([".", "--at", "tomorrow"], "doctor.bad-time", ExitStatus.USAGE),
        ([".", "--host", "mqtts://h:8883"], "doctor.bad-host", ExitStatus.USAGE),
        ([".", "--board", "esp9"], "board.unknown-kind", ExitStatus.USAGE),
    ],
)
def test_a_wrong_word_is_told_with_what_is_right(words: list[str], code: str, status: int) -> None:
    done = keyfob("--json", "--files", *words)
    told = json.loads(done.stdout)["error"]
    assert (done.returncode, told["code"]) == (status, code) and told["fix"]
