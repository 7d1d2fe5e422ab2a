"""The firmware's judgement of certificates, against mosquitto, under the unix MicroPython.

mbedTLS is the engine. Each refusal is met with certificates that are wrong in exactly
one point, and must come out as its own code. No virtual board: one process, a LittleFS
in memory.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from certificates import (
    CLIENT_AUTH,
    DAY,
    SERVER_AUTH,
    Pair,
    as_version_1,
    make_ca,
    make_crl,
    make_leaf,
)
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from firmware_bench import DEVICE_ID, Board, Mosquitto, mutual_tls

from keyfob_host.ntp import NtpServer

pytestmark = [
    pytest.mark.mosquitto,
    pytest.mark.skipif(shutil.which("mosquitto") is None, reason="mosquitto is not installed"),
]
NAMED = "use_identity_as_username true"
CA = make_ca()
OTHER = make_ca("other CA")
MID = make_ca("intermediate", issuer=CA)
NO_CA = make_leaf(CA, "not a CA", ("elsewhere.test",))
SHORT = make_ca("path length 0", path_length=0)
SHORT_MID = make_ca("one too many", issuer=SHORT)
SHORT_LOW = make_ca("two too many", issuer=SHORT_MID)


@pytest.fixture(scope="module")
def ntp() -> Iterator[NtpServer]:
    with NtpServer() as server:
        yield server


def server_cert(**how: object) -> Pair:
    return make_leaf(CA, "broker", ("localhost", "127.0.0.1"), **how)


def device_cert(ca: Pair = CA, **how: object) -> Pair:
    return make_leaf(ca, DEVICE_ID, **{"usage": CLIENT_AUTH, **how})


def outcome(
    folder: Path,
    ntp: NtpServer,
    server: Pair,
    *,
    host: str = "localhost",
    anchors: tuple[Pair, ...] = (CA,),
    client_ca: Pair = CA,
    device: Pair | None = None,
    lines: tuple[str, ...] = (),
) -> tuple[str, str]:
    """What the board's first attempt ends with: code and detail."""
    config = mutual_tls(folder / "broker", server, client_ca, *lines)
    with Mosquitto(folder / "broker", config) as broker, Board(folder / "board") as board:
        board.settle(host, broker.port, ntp.port)
        board.provision(list(anchors), device or device_cert(CA))
        return board.outcome()


ACCEPTED: dict[str, Callable[[], dict]] = {
    "dns-san": lambda: {"server": server_cert()},
    "ip-san": lambda: {"server": server_cert(), "host": "127.0.0.1"},
    "only-an-ip-san": lambda: {
        "server": make_leaf(CA, "b", ("127.0.0.1",)), "host": "127.0.0.1",
    },
    "intermediate": lambda: {"server": make_leaf(MID, "b", ("localhost",), below=(MID,))},
    "second-anchor": lambda: {"server": server_cert(), "anchors": (OTHER, CA)},
    "rsa-2048": lambda: {"server": server_cert(key=rsa.generate_private_key(65537, 2048))},
    "rsa-device": lambda: {
        "server": server_cert(), "device": device_cert(key=rsa.generate_private_key(65537, 2048)),
    },
}  # fmt: skip


@pytest.mark.parametrize("case", ACCEPTED)
def test_a_right_broker_is_connected_to(case: str, tmp_path: Path, ntp: NtpServer) -> None:
    assert outcome(tmp_path, ntp, **ACCEPTED[case]()) == ("mqtt.up", "")


REFUSED: dict[str, tuple[str, Callable[[], dict]]] = {
    "wrong-ca": ("x509.untrusted", lambda: {"server": make_leaf(OTHER, "b", ("localhost",))}),
    "self-signed": ("x509.untrusted", lambda: {"server": make_leaf(None, "b", ("localhost",))}),
    "intermediate-not-sent": (
        "x509.untrusted",
        lambda: {"server": make_leaf(MID, "b", ("localhost",))},
    ),
    "issuer-is-no-ca": (
        "x509.untrusted",
        lambda: {"server": make_leaf(NO_CA, "b", ("localhost",), below=(NO_CA,))},
    ),
    "path-too-long": (
        "x509.untrusted",
        lambda: {
            "server": make_leaf(SHORT_LOW, "b", ("localhost",), below=(SHORT_LOW, SHORT_MID)),
            "anchors": (SHORT,),
        },
    ),
    "wrong-name": ("x509.wrong-name", lambda: {"server": make_leaf(CA, "b", ("example.test",))}),
    "wrong-ip": (
        "x509.wrong-name",
        lambda: {"server": make_leaf(CA, "b", ("127.0.0.2",)), "host": "127.0.0.1"},
    ),
    "ip-only-in-common-name": (
        "x509.wrong-name",
        lambda: {"server": make_leaf(CA, "127.0.0.1", ("example.test",)), "host": "127.0.0.1"},
    ),
    "name-only-in-common-name": ("x509.no-san", lambda: {"server": make_leaf(CA, "localhost")}),
    "expired": ("x509.expired", lambda: {"server": server_cert(before=-3 * DAY, after=-DAY)}),
    "not-yet-valid": ("x509.not-yet-valid", lambda: {"server": server_cert(before=DAY)}),
    "client-eku": ("x509.wrong-usage", lambda: {"server": server_cert(usage=CLIENT_AUTH)}),
    "version-1": (
        "x509.not-v3",
        lambda: {"server": as_version_1(make_leaf(CA, "localhost", ("localhost",)), CA)},
    ),
    "version-1-anchor": (
        "store.bad-anchor",
        lambda: {"server": server_cert(), "anchors": (_ca_v1(),)},
    ),
    # These mbedTLS alone would take.
    "ca-for-clients-only": (
        "x509.wrong-usage",
        lambda: _below(x509.ExtendedKeyUsage([CLIENT_AUTH])),
    ),
    "ca-for-other-names": (
        "x509.name-not-permitted",
        lambda: _below(x509.NameConstraints([x509.DNSName("example.test")], None)),
    ),
    "any-usage-alone": (
        "x509.wrong-usage",
        lambda: {"server": server_cert(usage=ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE)},
    ),
    "its-own-trust-anchor": ("store.bad-anchor", lambda: _its_own_anchor()),
    "address-as-dns-name": (
        "x509.wrong-name",
        lambda: {
            "server": make_leaf(CA, "b", dns_names=("127.0.0.1",)),
            "host": "127.0.0.1",
        },
    ),
    "rsa-1024": (
        "x509.weak",
        lambda: {
            "server": server_cert(key=rsa.generate_private_key(65537, 1024)),  # noqa: S505
            "lines": (NAMED, "ciphers DEFAULT@SECLEVEL=0"),
        },
    ),
    "expired-anchor": ("store.anchor-expired", lambda: _below_expired_anchor()),
    "device-of-another-ca": (
        "tls.alert-unknown-ca",
        lambda: {"server": server_cert(), "device": device_cert(OTHER)},
    ),
    "device-expired": (
        "store.expired",
        lambda: {"server": server_cert(), "device": device_cert(before=-3 * DAY, after=-DAY)},
    ),
    "device-not-yet-valid": (
        "store.not-yet-valid",
        lambda: {"server": server_cert(), "device": device_cert(before=DAY)},
    ),
    "device-eku": (
        "store.wrong-usage",
        lambda: {"server": server_cert(), "device": device_cert(usage=SERVER_AUTH)},
    ),
    "device-key-of-another": (
        "store.key-mismatch",
        lambda: {
            "server": server_cert(),
            "device": Pair(device_cert().der, ec.generate_private_key(ec.SECP256R1())),
        },
    ),
    "device-without-common-name": (
        "mqtt.bad-credentials",
        lambda: {"server": server_cert(), "device": make_leaf(CA, None, usage=CLIENT_AUTH)},
    ),
    "device-without-user": (
        "mqtt.not-authorized",
        lambda: {"server": server_cert(), "lines": ("allow_anonymous false",)},
    ),
    "tls-1.3-only": (
        "tls.alert-protocol-version",
        lambda: {"server": server_cert(), "lines": (NAMED, "tls_version tlsv1.3")},
    ),
    "no-common-suite": (
        "tls.alert-handshake-failure",
        lambda: {"server": server_cert(), "lines": (NAMED, "ciphers DHE-RSA-AES128-SHA256")},
    ),
}


def _ca_v1() -> Pair:
    return Pair(as_version_1(CA, CA).der, CA.key)


def _below(extension: x509.ExtensionType) -> dict:
    """A broker below an intermediate with that extension."""
    mid = make_ca("intermediate", issuer=CA, extra=(extension,))
    return {"server": make_leaf(mid, "b", ("localhost",), below=(mid,))}


def _its_own_anchor() -> dict:
    server = server_cert()
    return {"server": server, "anchors": (server,)}


def _below_expired_anchor() -> dict:
    ca = make_ca("expired CA", after=-DAY / 2)
    return {"server": make_leaf(ca, "b", ("localhost",)), "anchors": (ca,)}


@pytest.mark.parametrize("case", REFUSED)
def test_each_fault_is_refused_by_its_own_code(case: str, tmp_path: Path, ntp: NtpServer) -> None:
    code, how = REFUSED[case]
    seen, detail = outcome(tmp_path, ntp, **how())
    assert seen == code, detail
    assert detail  # never a bare code


def test_a_revoked_device_is_told_so(tmp_path: Path, ntp: NtpServer) -> None:
    device = device_cert()
    (tmp_path / "crl.pem").write_bytes(make_crl(CA, device))
    lines = (NAMED, f"crlfile {tmp_path / 'crl.pem'}")
    code, _ = outcome(tmp_path, ntp, server_cert(), device=device, lines=lines)
    assert code == "tls.alert-certificate-revoked"


def test_the_evidence_of_a_wrong_name_shows_both_names(tmp_path: Path, ntp: NtpServer) -> None:
    server = make_leaf(CA, "b", ("example.test", "10.0.0.1"))
    _, detail = outcome(tmp_path, ntp, server)
    assert detail == "wanted localhost, certificate for example.test 10.0.0.1"


@pytest.mark.parametrize("key", ["p256", "rsa2048"])
def test_the_board_shows_its_intermediates_to_a_broker_that_knows_the_root_alone(
    tmp_path: Path, ntp: NtpServer, key: str
) -> None:
    low = make_ca("lower intermediate", issuer=MID)
    of = {"key": rsa.generate_private_key(65537, 2048)} if key == "rsa2048" else {}
    device = make_leaf(low, DEVICE_ID, usage=CLIENT_AUTH, below=(low, MID), **of)
    assert outcome(tmp_path, ntp, server_cert(), device=device) == ("mqtt.up", "")


def test_an_intermediate_of_the_board_that_cannot_be_read_is_told(
    tmp_path: Path, ntp: NtpServer
) -> None:
    # ecdsa-with-SHA256 with its last arc changed: a signature algorithm that nobody has.
    odd = MID.der.replace(bytes.fromhex("2a8648ce3d040302"), bytes.fromhex("2a8648ce3d04030f"))
    device = replace(device_cert(MID), issuers=(odd,))
    code, detail = outcome(tmp_path, ntp, server_cert(), device=device)
    assert (code, detail) == ("x509.bad-certificate", "cert1.der: invalid cert")


def test_a_broker_without_forward_secrecy_is_connected_to_where_that_was_asked_for(
    tmp_path: Path, ntp: NtpServer
) -> None:
    server = server_cert(key=rsa.generate_private_key(65537, 2048))
    lines = (NAMED, "tls_version tlsv1.2", "ciphers AES128-GCM-SHA256")
    config = mutual_tls(tmp_path / "broker", server, CA, *lines)
    with Mosquitto(tmp_path / "broker", config) as broker, Board(tmp_path / "board") as board:
        board.settle("localhost", broker.port, ntp.port)
        board.provision([CA], device_cert(CA))
        code, detail = board.outcome()
        settings = json.loads((board.folder / "keyfob.json").read_text())
        board.write_settings({**settings, "tls": {"rsa_exchange": 1}})
        assert board.outcome() == ("mqtt.up", "")
    assert (code, detail) == ("tls.alert-handshake-failure", "alert 40 from the broker")
