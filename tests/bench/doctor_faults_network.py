"""Faults between a board and its broker's answers: settings, Wi-Fi, ports, names, permissions."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from pathlib import Path

from doctor_bench import BROKER, DEVICE, ESP32, ESP8266, USER, WAIT_S, Fault, FaultBench, otherwise
from firmware_bench import Mosquitto

from keyfob_host.errors import KeyfobHostError
from keyfob_host.mqtt_host import HostClient

_SILENT_S = 21.0


def _plain_port(bench: FaultBench) -> None:
    bench.end_brokers()
    bench.other = Mosquitto(bench.folder / "other", ["allow_anonymous true"], bench.broker_port)
    bench.reboot()


def _no_wifi(bench: FaultBench) -> None:
    bench.virtual.wifi(False)
    bench.reboot()
    bench.wait_console('"code":"wifi.')


def _many(bench: FaultBench) -> None:
    bench.virtual.power(False)  # or it has the only place before somebody else can take it
    bench.serve_otherwise("use_identity_as_username true", "max_connections 1")
    bench.stack.enter_context(socket.create_connection(("127.0.0.1", bench.broker_port), 5))
    bench.mark()
    bench.virtual.power(True)


def denied(bench: FaultBench, *lines: str) -> None:
    """A broker that lets it in and takes none of its messages."""
    acl = bench.folder / "acl"
    acl.write_text("pattern read devices/%u/#\n")
    bench.serve_otherwise(
        "use_identity_as_username true", f"acl_file {acl}", "allow_anonymous false", *lines
    )
    bench.reboot()


def _powered_off(bench: FaultBench) -> None:
    bench.virtual.power(False)
    bench.stack.callback(lambda: bench.virtual.power(True))


def _same_client(bench: FaultBench) -> None:
    """Another of that name, which comes back as often as it is thrown out."""
    stop = threading.Event()

    def come_back() -> None:
        folder = bench.home.certs_dir / "device" / DEVICE
        while not stop.wait(0.2):
            client = HostClient(
                "127.0.0.1", bench.broker_port, folder, folder / "ca.pem", BROKER, client_id=DEVICE
            )
            with contextlib.suppress(KeyfobHostError), client:
                stop.wait(0.7)

    thread = threading.Thread(target=come_back, daemon=True)
    bench.stack.callback(thread.join, 20)
    bench.stack.callback(stop.set)
    thread.start()
    bench.reboot()
    bench.wait_log("already connected, closing old", 4)


_BUSY = {
    ESP32: """\
import asyncio, time
from keyfob.client import Client


def run(settings):
    return work(settings)


async def work(settings):
    async with Client(settings) as client:
        await client.connected()
        await asyncio.sleep(1)
        while True:
            time.sleep(9)
            await asyncio.sleep(1)
""",
    ESP8266: """\
import time
from keyfob.blocking import BlockingClient


def run(settings):
    client = BlockingClient(settings)
    while True:
        client.run_once(work)


def work(client):
    while True:
        client.receive(1000)
        time.sleep(9)
""",
}


def _busy(bench: FaultBench) -> None:
    bench.app("busy", _BUSY[bench.kind], extra={"broker.keepalive_s": 5})
    bench.wait_log("exceeded timeout", 1)


def _silent_peer(bench: FaultBench) -> None:
    bench.virtual.link("stall", at_byte=0, direction="both")
    bench.reboot()
    if bench.kind == ESP32:
        bench.wait_console('"code":"tls.')
        return
    # Keyfob's engine gives such a chip two minutes: it is told before they are over.
    bench.wait_console('"ev":"store.loaded"')
    log, end = Path(bench.virtual.info()["log"]), time.monotonic() + WAIT_S
    while time.time() - log.stat().st_mtime < _SILENT_S:
        assert time.monotonic() < end
        time.sleep(0.1)


FAULTS = (
    Fault("tls-1.3-only", 23, ("tls.version",), otherwise(USER, "tls_version tlsv1.3")),
    Fault("no-shared-cipher", 24, ("tls.no-shared-cipher",),
          otherwise(USER, "tls_version tlsv1.2", "ciphers DHE-RSA-AES128-SHA256")),
    Fault("plain-port", 29, ("tcp.wrong-port",), _plain_port),
    Fault("other-port", 29, ("tcp.wrong-port",),
          lambda bench: bench.provision(broker=f"{BROKER}:9")),
    Fault("no-such-name", 30, ("name.not-resolved",),
          lambda bench: bench.provision(broker="nowhere.invalid:8883")),
    Fault("not-mapped", 31, ("authorization.not-mapped",), otherwise("allow_anonymous false")),
    Fault("two-of-one-name", 32, ("mqtt.same-client-id",), _same_client),
    Fault("too-busy", 33, ("traffic.keep-alive",), _busy),
    Fault("denied-topic", 34, ("authorization.denied-topic",), denied),
    Fault("oversize", 35, ("traffic.packet-too-large",),
          otherwise(USER, "max_packet_size 100")),
    Fault("too-many-connections", 36, ("mqtt.too-many-connections",), _many),
    Fault("silent-peer", 37, ("tcp.silent",), _silent_peer),
    Fault("no-settings", None, ("settings.missing",),
          lambda bench: bench.edit("/keyfob.json", lambda _: None)),
    Fault("bad-setting", None, ("settings.missing",), lambda bench: bench.edit(
        "/keyfob.json", lambda one: one.replace(b'"tls"', b'"verify"'))),
    Fault("no-access-point", None, ("wifi.no-access-point",), _no_wifi),
    Fault("wifi-password", None, ("wifi.password",), lambda bench: bench.provision(
        wifi_ssid="keyfob-bench", wifi_password="not the password")),
    Fault("power-off", None, ("serial.no-answer",), _powered_off),
)  # fmt: skip
