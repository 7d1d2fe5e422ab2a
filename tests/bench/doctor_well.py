"""Benches that are well, each in its own way: nothing may be found, and every rung holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from doctor_bench import (
    BOTH,
    BROKER,
    DAY,
    DEVICE,
    ESP32,
    ESP8266,
    USER,
    FaultBench,
    crl,
    issued,
    now,
    serve,
)

from keyfob_host.doctor.tap_daemon import start_tap, stop_tap
from keyfob_host.ntp import Mode
from keyfob_host.pki.authority import Authority
from keyfob_host.sync import sync_board


@dataclass(frozen=True)
class Well:
    """``make`` leaves a board that has booted, or boots."""

    name: str
    make: Callable[[FaultBench], None]
    kinds: tuple[str, ...] = BOTH


def _settings(**given: Any) -> Callable[[FaultBench], None]:
    return lambda bench: bench.provision(**given)


def _broker(*names: str, **how: Any) -> Callable[[FaultBench], None]:
    def make(bench: FaultBench) -> None:
        serve(bench, bench.authority.issue_broker(BROKER, names or None, **how))

    return make


def _below(bench: FaultBench, *, times: int) -> None:
    authority = bench.authority
    for _ in range(times):
        authority = authority.issue_intermediate()
    device = authority.issue_device(DEVICE)
    bench.serve(authority.issue_broker(BROKER))
    bench.keep(device)
    bench.provision(device)


def _by_address(bench: FaultBench) -> None:
    bench.serve(bench.authority.issue_broker(BROKER, [f"DNS:{BROKER}", "IP:127.0.0.1"]))
    bench.provision(broker=f"127.0.0.1:{bench.port}")


def _device_with(**how: Any) -> Callable[[FaultBench], None]:
    def make(bench: FaultBench) -> None:
        device = bench.authority.issue_device(DEVICE, **how)
        bench.keep(device)
        bench.provision(device)

    return make


def _fresh(bench: FaultBench) -> None:
    """Issued this moment, by a host that sets no date back."""
    moment = now() - timedelta(seconds=2)
    serve(bench, issued(bench, not_before=moment, not_after=moment + 30 * DAY))


def _two_anchors(bench: FaultBench) -> None:
    former = Authority.ephemeral("Former CA")
    bench.provision(replace(bench.device, anchors=(former.cert, *bench.device.anchors)))


def _broker_restarted(bench: FaultBench) -> None:
    bench.wait_console('"ev":"mqtt.up"')
    assert bench.broker is not None
    bench.broker.restart()
    bench.wait_console('"ev":"mqtt.down"')
    bench.wait_log("Sending SUBACK to sensor-01", 1)


def _wifi_lost(bench: FaultBench) -> None:
    bench.wait_console('"ev":"mqtt.up"')
    bench.virtual.wifi(False)
    bench.wait_console('"ev":"wifi.down"')
    bench.virtual.wifi(True)
    bench.wait_log("Sending SUBACK to sensor-01", 2)


def _time_late(bench: FaultBench) -> None:
    bench.ntp.mode = Mode.SILENT
    bench.reboot()
    bench.wait_console('"code":"clock.')
    bench.ntp.mode = Mode.OK
    bench.wait_console('"ev":"mqtt.up"')


def _second_time_server(bench: FaultBench) -> None:
    bench.provision(ntp=["ntp.keyfob.test:9", f"ntp.keyfob.test:{bench.ntp.port}"])
    bench.wait_console('"ev":"mqtt.up"')


def _slow_link(bench: FaultBench) -> None:
    bench.virtual.link("delay", delay_s=0.05, direction="both")
    bench.reboot()
    bench.wait_console('"ev":"publish"')


def _no_tap(bench: FaultBench) -> None:
    def back() -> None:
        target = ("127.0.0.1", bench.broker_port)
        start_tap(bench.home.broker_dir, "127.0.0.1", 0, target)

    stop_tap(bench.home.broker_dir)
    bench.stack.callback(back)
    bench.provision(broker=f"{BROKER}:{bench.broker_port}")


def _users_broker(bench: FaultBench) -> None:
    bench.serve_otherwise(USER)
    bench.reboot()


def _reset_twice(bench: FaultBench) -> None:
    bench.reboot()
    bench.wait_console('"ev":"wifi.up"')
    bench.reboot()


_PUBLISHES = {
    ESP32: """\
import asyncio
from keyfob.client import Client
from keyfob.events import emit


async def run(settings):
    topic = "devices/%s/large" % settings["device_id"]
    async with Client(settings) as client:
        await client.connected()
        while True:
            await client.publish(topic, b"x" * 2000)
            emit("publish", topic=topic, bytes=2000)
            await asyncio.sleep(1)
""",
    ESP8266: """\
from keyfob.blocking import BlockingClient
from keyfob.events import emit


def run(settings):
    client = BlockingClient(settings)
    while True:
        client.run_once(work)


def work(client):
    while True:
        client.publish("devices/sensor-01/large", b"x" * 500)
        emit("publish", topic="devices/sensor-01/large", bytes=500)
        client.receive(1000)
""",
}


def _large_payloads(bench: FaultBench) -> None:
    bench.app("large", _PUBLISHES[bench.kind])


def _keyfobs_engine(bench: FaultBench) -> None:
    """TLS 1.3 by Keyfob's own engine, on a board that has mbedTLS."""
    bench.stack.callback(sync_board, bench.ref, reset=False)
    sync_board(bench.ref, engine="keyfob", reset=False)
    bench.provision(extra={"tls.engine": "keyfob", "tls.versions": ["1.3"]})
    bench.wait_console('"ev":"mqtt.up"')


# On an ESP8266 MQTT 5 leaves the heap nothing to spare: some handshakes fail there, and are told.
_FIVE = {"broker.version": 5}
WELL = (
    Well("as it is", lambda bench: None),
    Well("revocation list", lambda bench: serve(bench, issued(bench), crl=crl(bench, DAY))),
    Well("broker RSA-2048", _broker(key_type="rsa2048")),
    Well("broker RSA-3072", _broker(key_type="rsa3072"), (ESP32,)),
    Well("device RSA-2048", _device_with(key_type="rsa2048"), (ESP32,)),
    Well("one intermediate", lambda bench: _below(bench, times=1)),
    Well("wildcard in SAN", _broker("DNS:*.keyfob.test")),
    Well("several names in SAN", _broker("DNS:other.keyfob.test", f"DNS:{BROKER}", "IP:::1")),
    Well("broker by IPv4 address", _by_address),
    Well("device's last two days", _device_with(days=2)),
    Well("issued this moment", _fresh),
    Well("two trust anchors", _two_anchors),
    Well("MQTT 5", _settings(extra=_FIVE), (ESP32,)),
    Well("MQTT 5 with session and will delay", _settings(
        extra={**_FIVE, "broker.session_expiry_s": 600, "broker.will_delay_s": 30}), (ESP32,)),
    Well("keep alive of 5 s", _settings(extra={"broker.keepalive_s": 5})),
    Well("large payloads", _large_payloads),
    Well("slow link", _slow_link),
    Well("no tap", _no_tap),
    Well("a mosquitto of the user's", _users_broker),
    Well("after a restart of the broker", _broker_restarted),
    Well("after a loss of Wi-Fi", _wifi_lost),
    Well("after two resets", _reset_twice),
    Well("time server that answers late", _time_late),
    Well("second of two time servers", _second_time_server),
    Well("TLS 1.3 by Keyfob's engine", _keyfobs_engine, (ESP32,)),
)  # fmt: skip


def well_of(kind: str) -> list[Well]:
    """Those for this kind of board."""
    return [well for well in WELL if kind in well.kinds]
