"""What a doctor could have seen, for the tests of its time line and its page.

The board's events and the broker's lines have the form of real ones (a virtual ESP32 and
mosquitto 2.0.11); the hostile texts are such as nobody should write.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from keyfob_host.boards import load_kind
from keyfob_host.doctor.ladder import Ladder, climb
from keyfob_host.doctor.page import Page
from keyfob_host.doctor.sightings import (
    BoardFiles,
    BoardSight,
    BrokerSight,
    Served,
    Sightings,
    log_line,
)
from keyfob_host.doctor.timeline import Timeline
from keyfob_host.doctor.timeline_gathering import line_up

NOW = datetime(2026, 11, 21, 12, 0, 10, 500_000, tzinfo=timezone.utc)
BOOT = datetime(2026, 11, 21, 12, 0, 5, 250_000, tzinfo=timezone.utc)
NAME = "broker.keyfob.test"

UP = (
    {"t": 0, "ev": "boot", "cause": "pwron", "version": "0.1.0", "device": "240ac4"},
    {"t": 100, "ev": "wifi.up", "ip": "192.168.4.2"},
    {"t": 200, "ev": "clock.set", "unix_s": int(BOOT.timestamp()), "server": "ntp.test:123"},
    {"t": 300, "ev": "store.loaded", "cert": "00" * 8, "slot": "a", "not_after_s": 1},
    {"t": 400, "ev": "tls.up", "host": NAME, "version": "TLSv1.2", "cipher": "AES"},
    {"t": 500, "ev": "mqtt.up", "client_id": "s1", "host": NAME, "port": 8883},
    {"t": 4600, "ev": "publish", "topic": "devices/s1/reading", "bytes": 3},
)
WRONG_NAME = {
    "t": 900, "ev": "error", "code": "x509.wrong-name", "next_ms": 60000, "retry": "stop",
    "detail": f"wanted {NAME}, certificate for other.keyfob.test",
}  # fmt: skip
LOG = (
    "1795262404: mosquitto version 2.0.11 running",
    "1795262406: New connection from 127.0.0.1:44494 on port 8883.",
    "1795262406: OpenSSL Error[0]: error:0A000412:SSL routines::sslv3 alert bad certificate",
    "1795262406: Client <unknown> disconnected: Protocol error.",
)
WIRE = (
    {"at": "2026-11-21T12:00:05.990Z", "connection": 4, "from": "board", "what": "opened",
     "text": "connects, from 127.0.0.1:59916"},
    {"at": "2026-11-21T12:00:06.010Z", "connection": 4, "from": "broker", "what": "server-hello",
     "text": "ServerHello: TLS 1.2"},
    {"at": "2026-11-21T12:00:06.130Z", "connection": 4, "from": "board", "what": "alert",
     "text": "alert 42 bad_certificate, fatal"},
)  # fmt: skip

MARKUP = "<script>document.title='owned'</script><img src=http://127.0.0.1:9/x onerror=alert(1)>"
QUOTES = "\"'><style>*{display:none}</style>&lt;"
CONTROL = "\x1b[2J\x1b]0;owned\x07 \u202egnp.exe\u2066 \u200b\x00 \u2028 \x85"
HOSTILE = (MARKUP, QUOTES, CONTROL)


def certificate(common_name: str) -> bytes:
    """A certificate of that subject, by itself, in DER."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name)
    made = made.public_key(key.public_key()).serial_number(1)
    made = made.not_valid_before(NOW - timedelta(days=1)).not_valid_after(NOW + timedelta(days=1))
    return made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def seen(
    *events: dict[str, Any], log: tuple[str, ...] = LOG, lines: tuple[str, ...] = (), **how: Any
) -> Sightings:
    """A virtual ESP32 that said these, and a broker that wrote that."""
    said = tuple(f"kf {json.dumps(one)}" for one in events)
    board = BoardSight(
        load_kind("virtual-esp32"), "kitchen", lines=(*lines, *said), events=events,
        booted_at=BOOT, state="running", files=BoardFiles(),
    )  # fmt: skip
    broker = BrokerSight(log=tuple(log_line(one) for one in log))
    return Sightings(
        now=NOW, board=replace(board, **how), broker=broker, host=NAME, port=8883,
        served=Served(NAME, 8883, "done", version="TLS 1.2", chain=(certificate(NAME),)),
    )  # fmt: skip


def diagnosed(
    sightings: Sightings, wire: tuple[dict[str, Any], ...] = WIRE
) -> tuple[Ladder, Timeline]:
    """As the command does it."""
    ladder = climb(sightings)
    return ladder, line_up(sightings, ladder.diagnosis, wire)


def page(sightings: Sightings, wire: tuple[dict[str, Any], ...] = WIRE) -> str:
    """The page of it."""
    ladder, timeline = diagnosed(sightings, wire)
    return Page(sightings, ladder, timeline, has_wire=bool(wire)).as_html()


def well() -> Sightings:
    """A board that told of everything."""
    return seen(*UP, log=LOG[:1])


def failing() -> Sightings:
    """A board that refuses the broker's certificate for its name."""
    return seen(*UP[:4], WRONG_NAME)


def hostile() -> Sightings:
    """The same, with peers that write what they like."""
    error = {**WRONG_NAME, "detail": " ".join(HOSTILE)}
    log = tuple(f"1795262406: {one}".replace("\n", " ") for one in HOSTILE)
    found = seen(*UP[:4], error, log=log, lines=(f"ValueError: {MARKUP}",))
    chain = (certificate("<b>CN\u202e</b>\x1b[2J"),)
    served = Served(NAME, 8883, "done", version="TLS 1.2", chain=chain)
    return replace(found, served=served)
