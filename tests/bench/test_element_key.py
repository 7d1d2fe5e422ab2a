"""A key in a secure element, which signs and cannot be read."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest
from certificates import make_leaf
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from key_on_board_rig import bench_with, keyfob, on_board
from tls_rig import (
    BROKER,
    CA,
    TLS12,
    TLS13,
    Client,
    make_engine,
    no_collector,  # noqa: F401
)
from tls_tcp import Connection, s_server

from keyfob_host.data import data_path
from keyfob_host.sync import sync_board

HERE = Path(__file__).resolve().parent
pytestmark = pytest.mark.mosquitto


class ElementKey:
    """A key that `cryptography` keeps, as a driver for an element shows it."""

    kind = "p256"
    slot = 0

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = key
        self.signed = 0

    def public_key(self) -> bytes:
        return self._key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    def sign(self, scheme: int, digest: bytes) -> bytes:
        assert scheme == 0x0403
        self.signed += 1
        return self._key.sign(digest, ec.ECDSA(utils.Prehashed(hashes.SHA256())))

    def is_locked(self) -> bool:
        return True


@pytest.mark.parametrize("version", [TLS12, TLS13])
def test_a_handshake_with_a_key_that_cannot_be_read(version: int, tmp_path: Path) -> None:
    pair = make_leaf(CA, "sensor-01", usage=None)
    key = ElementKey(pair.key)
    verify = ("-Verify", "3", "-CAfile", str(tmp_path / "ca.pem"), "-verify_return_error")
    with s_server(tmp_path, BROKER, *verify) as server:
        engine = make_engine(client=Client(pair, key), versions=(version,))
        connection = Connection(engine, server.port)
        connection.open()
        connection.write(b"from the board\n")
        server.wait_for("from the board")
        connection.close()
        assert engine.version == version and key.signed == 1
        assert "CN=sensor-01" in server.said.replace(" ", "")


@pytest.mark.parametrize("version", ["1.2", pytest.param("1.3", marks=pytest.mark.slow)])
def test_a_board_connects_with_a_key_in_its_element(version: str, tmp_path: Path) -> None:
    with bench_with(tmp_path, "virtual-esp32") as bench:
        shutil.copytree(data_path("firmware"), tmp_path / "firmware")
        package = tmp_path / "firmware" / "keyfob_element" / "__init__.py"
        package.parent.mkdir()
        package.write_bytes((HERE / "element_driver.py").read_bytes())
        sync_board(bench.ref, source=tmp_path / "firmware", engine="keyfob")
        engine = ("--set", "tls.engine=keyfob", "--set", f'tls.versions=["{version}"]')
        given = ("--identity", "sensor-01", "--slot", "1", *engine)
        status, document, _ = on_board(bench, *given)
        assert (status, document["error"]["code"]) == (5, "store.element-unlocked")
        assert document["error"]["fix"] == "keyfob element lock"
        assert "/id/active" not in bench.files()
        status, document, _ = keyfob(bench, "element", "lock")
        assert (status, document["error"]["code"]) == (2, "element.not-confirmed")
        _, shown, _ = keyfob(bench, "element", "show")
        assert [slot["is_locked"] for slot in shown["slots"]] == [False, False]
        status, shown, _ = keyfob(bench, "element", "lock", "--yes")
        assert status == 0 and [slot["is_locked"] for slot in shown["slots"]] == [True, True]

        seen = len(bench.log())
        status, report, output = on_board(bench, *given)
        assert status == 0, output
        assert f"TLSv{version}" in bench.connects("sensor-01", seen)
        slot = bench.slot()
        assert slot["key.der"] == b"\x02\x01\x01" and report["element"] == 1
        _, shown, _ = keyfob(bench, "element", "show")
        cert = x509.load_der_x509_certificate(slot["cert.der"])
        point = cert.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        assert shown["slots"][1]["key_sha256"] == hashlib.sha256(point).hexdigest()

        # The key in use stays; another slot has another one.
        status, document, _ = on_board(bench, *given, "--new-key")
        assert document["error"]["code"] == "store.element-in-use"
        seen = len(bench.log())
        assert on_board(bench, "--identity", "sensor-01", "--slot", "0", *engine)[0] == 0
        bench.connects("sensor-01", seen)
        assert bench.slot()["key.der"] == b"\x02\x01\x00"
