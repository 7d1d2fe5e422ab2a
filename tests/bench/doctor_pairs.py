"""Two faults at once: the one that is first on the ladder is told, and once mended, the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from doctor_bench import BROKER, DAY, DEVICE, USER, FaultBench, crl, issued, old
from doctor_faults_network import denied
from firmware_bench import Mosquitto

from keyfob_host.ntp import Mode
from keyfob_host.pki.authority import Authority
from keyfob_host.pki.identity import Identity


@dataclass(frozen=True)
class Pair:
    """``make`` seeds both, ``mend`` takes the first away; the codes of both verdicts."""

    name: str
    make: Callable[[FaultBench], None]
    first: str
    mend: Callable[[FaultBench], None]
    second: str
    is_quick: bool = False


def _foreign_device(bench: FaultBench) -> Identity:
    """A certificate that the broker does not take, with the trust anchors of the bench."""
    foreign = Authority.ephemeral("Somebody else's CA").issue_device(DEVICE)
    return replace(foreign, anchors=bench.device.anchors)


def _wifi(bench: FaultBench) -> None:
    bench.serve(issued(bench, **old()))
    bench.virtual.wifi(False)
    bench.reboot()
    bench.wait_console('"code":"wifi.')


def _wifi_again(bench: FaultBench) -> None:
    bench.virtual.wifi(True)
    bench.reboot()


def _clock(bench: FaultBench) -> None:
    bench.serve(issued(bench), crl=crl(bench, DAY, bench.device.cert.serial_number))
    bench.ntp.mode = Mode.SILENT
    bench.reboot()


def _clock_again(bench: FaultBench) -> None:
    bench.ntp.mode = Mode.OK
    bench.reboot()


def _settings(bench: FaultBench) -> None:
    bench.end_brokers()
    bench.other = Mosquitto(bench.folder / "other", ["allow_anonymous true"], bench.broker_port)
    bench.edit("/keyfob.json", lambda one: one.replace(b'"tls"', b'"verify"'))


def _power(bench: FaultBench) -> None:
    bench.ntp.mode = Mode.SILENT
    bench.virtual.power(False)
    bench.stack.callback(bench.virtual.power, True)


def _power_again(bench: FaultBench) -> None:
    bench.mark()
    bench.virtual.power(True)


def _store(bench: FaultBench) -> None:
    bench.serve(issued(bench, "other.keyfob.test"))
    bench.edit("/id/SLOT/cert.der", lambda one: one[:200])


def _name(bench: FaultBench) -> None:
    bench.provision(_foreign_device(bench), broker="nowhere.invalid:8883")


def _stopped(bench: FaultBench) -> None:
    bench.end_brokers()
    bench.reboot()


def _anonymous(bench: FaultBench) -> None:
    bench.serve_otherwise("allow_anonymous false")
    bench.reboot()


def _version(bench: FaultBench) -> None:
    denied(bench, "tls_version tlsv1.3")


def _anchor(bench: FaultBench) -> None:
    bench.serve(Authority.ephemeral("Another CA").issue_broker(BROKER))
    bench.provision(_foreign_device(bench))


def _anchor_again(bench: FaultBench) -> None:
    bench.serve(issued(bench))
    bench.reboot()


def _oversize(bench: FaultBench) -> None:
    bench.serve_otherwise(USER, "max_packet_size 100", identity=issued(bench, **old()))
    bench.reboot()


def _oversize_again(bench: FaultBench) -> None:
    bench.serve_otherwise(USER, "max_packet_size 100")
    bench.reboot()


PAIRS = (
    Pair("settings, then port", _settings, "settings.missing", lambda bench: bench.provision(),
         "tcp.wrong-port"),
    Pair("power, then clock", _power, "serial.no-answer", _power_again, "clock.no-ntp-answer"),
    Pair("Wi-Fi, then the broker's dates", _wifi, "wifi.no-access-point", _wifi_again,
         "x509.broker-expired"),
    Pair("clock, then revocation", _clock, "clock.no-ntp-answer", _clock_again,
         "client-certificate.revoked"),
    Pair("store, then the broker's name", _store, "store.truncated",
         lambda bench: bench.provision(), "x509.name-not-in-san"),
    Pair("name, then the board's CA", _name, "name.not-resolved",
         lambda bench: bench.provision(_foreign_device(bench)), "client-certificate.unknown-ca"),
    Pair("listener, then user", _stopped, "tcp.listener-down", _anonymous,
         "authorization.not-mapped"),
    Pair("TLS version, then topic", _version, "tls.version", denied,
         "authorization.denied-topic"),
    Pair("trust anchor, then the board's CA", _anchor, "x509.wrong-anchor", _anchor_again,
         "client-certificate.unknown-ca", True),
    Pair("the broker's dates, then packet size", _oversize, "x509.broker-expired",
         _oversize_again, "traffic.packet-too-large"),
)  # fmt: skip
