"""Faults of the board's certificate, key and memory, and of what the broker holds against it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from certificates import make_ca, make_leaf
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_private_key
from doctor_bench import (
    DAY,
    DAY_S,
    DEVICE,
    ESP8266,
    USER,
    Fault,
    FaultBench,
    clock_of,
    crl,
    issued,
    now,
    serve,
)

from keyfob_host.pki.authority import Authority
from keyfob_host.pki.identity import Identity


def _same_subject(bench: FaultBench) -> None:
    ca = make_ca(DEVICE)
    pair = make_leaf(ca, DEVICE, usage=x509.ExtendedKeyUsageOID.CLIENT_AUTH)
    bench.provision(
        Identity(cert=_read(pair.der), anchors=bench.device.anchors, key=_key(pair.key_der()))
    )


def _read(der: bytes) -> x509.Certificate:
    return x509.load_der_x509_certificate(der)


def _key(der: bytes) -> ec.EllipticCurvePrivateKey:
    key = load_der_private_key(der, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


def _revoked(bench: FaultBench) -> None:
    serve(bench, issued(bench), crl=crl(bench, DAY, bench.device.cert.serial_number))


def _overdue(bench: FaultBench) -> None:
    serve(bench, issued(bench), crl=crl(bench, -DAY))


def _foreign_device(bench: FaultBench) -> None:
    foreign = Authority.ephemeral("Somebody else's CA").issue_device(DEVICE)
    bench.provision(replace(foreign, anchors=bench.device.anchors))


def _device(**how: Any) -> Callable[[FaultBench], None]:
    def make(bench: FaultBench) -> None:
        times = {key: now() + value for key, value in how.items() if key.startswith("not_")}
        rest = {key: value for key, value in how.items() if key not in times}
        bench.provision(bench.authority.issue_device(DEVICE, **times, **rest))

    return make


def _edit(path: str, change: Callable[[bytes], bytes | None]) -> Callable[[FaultBench], None]:
    return lambda bench: bench.edit(path, change)


def _key_of_another(bench: FaultBench) -> None:
    bench.provision(replace(bench.device, key=ec.generate_private_key(ec.SECP256R1())))


def _pem_for_der(bench: FaultBench) -> None:
    """As an uploader that converts nothing leaves it, its hash right."""
    pem = bench.device.cert_pem()
    bench.edit("/id/SLOT/cert.der", lambda _: pem)

    def manifest(content: bytes) -> bytes:
        der = hashlib.sha256(bench.device.cert_der()).hexdigest()
        return content.replace(der.encode(), hashlib.sha256(pem).hexdigest().encode())

    bench.edit("/id/SLOT/manifest.json", manifest)


def _ca_not_reread(bench: FaultBench) -> None:
    """The next CA put into the broker's file, and SIGHUP instead of a restart."""
    next_ca = Authority.ephemeral("Next CA")
    device = next_ca.issue_device(DEVICE)
    with (bench.folder / "ca.pem").open("ab") as file:
        file.write(next_ca.cert_pem())
    assert bench.broker is not None
    bench.broker.reload()
    bench.keep(device)
    bench.provision(replace(device, anchors=bench.device.anchors))


def _clock(days: int) -> Callable[[FaultBench], None]:
    """A broker whose clock is so far ahead."""

    def make(bench: FaultBench) -> None:
        clock = clock_of(bench.folder / "other", days * DAY_S)
        bench.serve_otherwise(USER, environment=clock)
        bench.reboot()

    return make


# Takes what is free in small pieces, and lets go of every other one: there is room, in pieces.
_HOARDER = """\
import gc
from apps.sensor_small import run as run_app


def run(settings):
    gc.collect()
    hoard = []
    while gc.mem_free() > 8000:
        hoard.append(bytearray(200))
    for index in range(0, len(hoard), 2):
        hoard[index] = None
    gc.collect()
    run_app(settings)
    print(len(hoard))
"""


def _hoarder(bench: FaultBench) -> None:
    bench.app("hoarder", _HOARDER)
    bench.wait_console('"ev":"error"')


FAULTS = (
    Fault("same-subject", 8, ("x509.same-subject-twice",), _same_subject),
    Fault("device-of-another-ca", 12, ("client-certificate.unknown-ca",), _foreign_device, True),
    Fault("ca-not-reread", 12, ("client-certificate.unknown-ca",), _ca_not_reread),
    Fault("device-expired", 13, ("client-certificate.expired",),
          _device(not_before=-30 * DAY, not_after=-DAY)),
    Fault("broker-behind", 14, ("clock.broker-behind",), _clock(-9)),
    Fault("broker-ahead", None, ("clock.broker-ahead",), _clock(2500)),
    Fault("revoked", 15, ("client-certificate.revoked",), _revoked, True),
    Fault("crl-overdue", 16, ("client-certificate.crl-overdue",), _overdue),
    Fault("device-for-a-server", 17, ("client-certificate.wrong-usage",),
          _device(eku=("serverAuth",))),
    Fault("key-of-another", 19, ("client-certificate.key-mismatch",), _key_of_another),
    Fault("pem-for-der", 20, ("store.wrong-form",), _pem_for_der),
    Fault("cut-short", 22, ("store.truncated",), _edit("/id/SLOT/cert.der", lambda one: one[:200])),
    Fault("heap-in-pieces", 25, ("tls.heap-too-small",), _hoarder, kinds=(ESP8266,)),
)  # fmt: skip
