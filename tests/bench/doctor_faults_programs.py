"""Faults that Keyfob's client has not by itself: users' programs, a cloud, nobody verified."""

from __future__ import annotations

import json

import doctor_programs
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from doctor_bench import BROKER, DEVICE, ESP32, ESP8266, USER, Fault, FaultBench, issued, no_tls_1_3
from virtual_rig import SerialConsole

from keyfob_host.pki.authority import Authority
from keyfob_host.pki.identity import Identity


def _program(bench: FaultBench, text: str, ends: str = ">>> ", **files: bytes) -> None:
    """It runs, and has come to its end."""
    slot = f"id/{bench.slot}"
    bench.run(text.format(port=bench.port, slot=slot), **files)
    bench.wait_console(ends, start="ets J")


def _without_clock(bench: FaultBench) -> None:
    _program(bench, doctor_programs.WITHOUT_CLOCK)


def _without_name(bench: FaultBench) -> None:
    _program(bench, doctor_programs.WITHOUT_NAME)


def _cloud(bench: FaultBench) -> None:
    """A cloud in the broker's place; its own certificate is one that the board takes."""
    bench.end_brokers()
    folder = bench.folder / "cloud"
    issued(bench, key_type="rsa2048").write(folder, force=True)
    (folder / "ca.pem").write_bytes(bench.authority.cert_pem())
    cloud = doctor_programs.Cloud(folder, bench.broker_port, BROKER)
    bench.stack.callback(cloud.stop)


def _nameless_at_cloud(bench: FaultBench) -> None:
    _cloud(bench)
    _program(bench, doctor_programs.BARE)


def _refused_by_cloud(bench: FaultBench) -> None:
    _cloud(bench)
    bench.reboot()
    bench.wait_console('"ev":"error"')


def _without_certificate(bench: FaultBench) -> None:
    _serve_rsa(bench, issued(bench, key_type="rsa2048"))
    _program(bench, doctor_programs.WITHOUT_CERTIFICATE)


def _serve_rsa(bench: FaultBench, identity: Identity) -> None:
    """RSA, since an ESP8266's own TLS has no other key exchange."""
    environment = no_tls_1_3(bench.folder / "other")
    bench.serve_otherwise(USER, identity=identity, environment=environment)


def _own_error(bench: FaultBench) -> None:
    bench.run("import time\ntime.sleep_ms(100)\nprint(temperature)\n")
    bench.wait_console(">>> ", start="ets J")


def _stopped_by_hand(bench: FaultBench) -> None:
    bench.wait_console('"ev":"publish"')
    with SerialConsole(bench.virtual) as console:
        console.send(b"\x03")
        console.read_until(b">>> ")


def _too_much(bench: FaultBench) -> None:
    bench.run(
        "def work():\n    held = []\n    while True:\n"
        "        held.append(bytearray(1000))\nwork()\n"
    )
    bench.wait_console(">>> ", start="ets J")


def _der(key: object, form: PrivateFormat) -> bytes:
    return key.private_bytes(Encoding.DER, form, NoEncryption())  # type: ignore[attr-defined]


def _elliptic(bench: FaultBench) -> None:
    bench.serve(issued(bench, key_type="rsa2048"))
    key = _der(bench.device.key, PrivateFormat.TraditionalOpenSSL)
    _program(bench, doctor_programs.WITH_PAIR, key_der=key, cert_der=bench.device.cert_der())


def _rsa_device(bench: FaultBench) -> Identity:
    return bench.authority.issue_device(DEVICE, key_type="rsa2048")


def _pkcs8(bench: FaultBench) -> None:
    bench.serve(issued(bench, key_type="rsa2048"))
    device = _rsa_device(bench)
    key = _der(device.key, PrivateFormat.PKCS8)
    _program(bench, doctor_programs.WITH_PAIR, key_der=key, cert_der=device.cert_der())


def _nobody_verified(bench: FaultBench, text: str = doctor_programs.NOBODY_VERIFIED) -> None:
    """A broker with somebody else's certificate, and a program that does not mind."""
    foreign = Authority.ephemeral("Somebody else's CA").issue_broker(BROKER, key_type="rsa2048")
    _serve_rsa(bench, foreign)
    device = _rsa_device(bench)
    assert isinstance(device.key, rsa.RSAPrivateKey)
    key = _der(device.key, PrivateFormat.TraditionalOpenSSL)
    _program(
        bench, text, "connected" if text == doctor_programs.STAYS else "published", key_der=key,
        cert_der=device.cert_der(),
    )  # fmt: skip


def _to_engine_of_port(settings: bytes) -> bytes:
    made = json.loads(settings)
    made["tls"] = {"engine": "mbedtls"}
    return json.dumps(made).encode()


def _hand_written_engine(bench: FaultBench) -> None:
    bench.edit("/keyfob.json", _to_engine_of_port)
    bench.wait_console('"code":"tls.')


FAULTS = (
    Fault("program-without-clock", 1, ("clock.board-never-set",), _without_clock, kinds=(ESP32,)),
    Fault("program-without-name", 10, ("tls.no-server-name",), _without_name, kinds=(ESP32,)),
    Fault("nameless-at-a-cloud", 10, ("tls.no-server-name",), _nameless_at_cloud),
    Fault("without-certificate", 11, ("client-certificate.not-sent",), _without_certificate),
    Fault("elliptic-key-for-axtls", 21, ("store.key-type",), _elliptic, kinds=(ESP8266,)),
    Fault("pkcs8-key-for-axtls", 21, ("store.key-type",), _pkcs8, kinds=(ESP8266,)),
    Fault("refused-by-a-cloud", 38, ("authorization.cloud-policy",), _refused_by_cloud),
    Fault("nobody-verified", 39, ("tls.not-verified",), _nobody_verified, kinds=(ESP8266,)),
    Fault(
        "nobody-verified-all-day",
        39,
        ("tls.not-verified",),
        lambda bench: _nobody_verified(bench, doctor_programs.STAYS),
        kinds=(ESP8266,),
    ),
    Fault("program-of-its-own", None, ("firmware.program-error",), _own_error),
    Fault("stopped-by-hand", None, ("firmware.program-stopped",), _stopped_by_hand),
    Fault("program-takes-all-memory", None, ("firmware.out-of-memory",), _too_much),
    Fault("engine-of-the-port", 39, ("tls.not-verified",), _hand_written_engine, kinds=(ESP8266,)),
)
