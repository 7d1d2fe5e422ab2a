"""``keyfob provision --key-on-board``: the key is made on the board and never leaves it."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_private_key,
)
from key_on_board_rig import Bench, bench_with, public_of
from serial_tap import shows, taken, tapped
from tls_rig import no_collector  # noqa: F401

from keyfob_host.boards import open_board
from keyfob_host.data import data_path
from keyfob_host.errors import KeyfobHostError
from keyfob_host.flash.stand_in import esp8266_stand_in
from keyfob_host.home import Home
from keyfob_host.pki.authority import Authority
from keyfob_host.provision.provisioning import Settings, provision_board
from keyfob_host.sync import sync_board
from keyfob_host.transport import prompt
from keyfob_host.virtual import VirtualBoard

pytestmark = pytest.mark.mosquitto


@pytest.fixture(scope="module", params=["virtual-esp32", "virtual-esp8266"])
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    with bench_with(tmp_path_factory.mktemp("bench"), request.param) as made:
        yield made


def secret_of(der: bytes) -> bytes:
    """The scalar, as `cryptography` reads it."""
    key = load_der_private_key(der, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key.private_numbers().private_value.to_bytes(32, "big")


def test_the_key_never_leaves_the_board(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    with tapped(bench.ref, monkeypatch) as (ref, tap):
        report = bench.provision(ref, device_id="sensor-01")
        bench.connects("sensor-01", 0)
        passed = taken(tap)
    slot = bench.slot()
    assert sorted(slot) == ["ca.der", "cert.der", "key.der", "manifest.json"]
    # The clock is kept now and then, and may be on the way there.
    assert not [path for path in bench.files() if path.endswith(".new") and "/id/" in path]
    assert hashlib.sha256(slot["key.der"]).hexdigest() == report.digests["key.der"]
    cert = x509.load_der_x509_certificate(slot["cert.der"])
    point = cert.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    assert point == public_of(slot["key.der"])
    secret = secret_of(slot["key.der"])
    # The public key did pass, in the request: what is looked for would be seen.
    assert any(shows(point, part) for part in passed)
    assert not any(shows(secret, part) for part in passed)
    assert not shows(secret, bench.log().encode())
    for path in bench.home.root.rglob("*"):
        if path.is_file() and path.name != "flash.bin":
            assert not shows(secret, path.read_bytes()), path
    folder = Path(report.folder)
    assert sorted(path.name for path in folder.iterdir()) == [
        "ca.pem", "cert.pem", "chain.pem", "request.pem",
    ]  # fmt: skip
    assert (folder / "cert.pem").read_bytes() == cert.public_bytes(Encoding.PEM)


def test_nothing_is_renamed_from_one_folder_to_another(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut in the middle of that, LittleFS 2.11 hides another file until it is written to."""
    with tapped(bench.ref, monkeypatch) as (ref, tap):
        bench.provision(ref, device_id="sensor-01")
        sent = b"".join(taken(tap))
    renames = re.findall(rb"os\.rename\('([^']+)',\s*'([^']+)'\)", sent)
    assert renames
    assert all(Path(old.decode()).parent == Path(new.decode()).parent for old, new in renames)


def test_a_key_that_is_sent_is_seen_by_the_tap(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = bench.authority.issue_device("sensor-01")
    with tapped(bench.ref, monkeypatch) as (ref, tap):
        provision_board(ref, identity, bench.settings)
        passed = taken(tap)
    assert any(shows(secret_of(identity.key_der_for("keyfob")), part) for part in passed)


@pytest.mark.parametrize("size", [32, 33, 34])
def test_the_tap_sees_a_secret_in_each_spelling(size: int) -> None:
    secret = hashlib.sha256(b"secret").digest()
    around = bytes(size - 32) + secret + b"behind"
    packer = __import__("zlib").compressobj(9, wbits=-10)
    deflated = packer.compress(around) + packer.flush()
    for text in (
        around, around.hex().encode(), around.hex().upper().encode(), repr(around).encode(),
        base64.b64encode(around), base64.b64encode(deflated), base64.encodebytes(around * 3),
        b"xyz" + base64.b64encode(around), str(int.from_bytes(secret, "big")).encode(),
        b"".join(b"\\x%02x" % byte for byte in secret),
    ):  # fmt: skip
        assert shows(secret, b"_kf_w('" + text + b"')"), text
    assert not shows(secret, b"_kf_w('" + base64.b64encode(around[: size - 25]) + b"')")


def test_each_run_makes_another_key_in_the_other_slot(bench: Bench) -> None:
    keys, slots = [], []
    for _ in range(3):
        report = bench.provision(device_id="sensor-02")
        seen = len(bench.log())
        slots.append(report.slot)
        keys.append(bench.slot()["key.der"])
    assert len(set(keys)) == 3 and slots[0] == slots[2] != slots[1]
    if bench.ref.kind.chip == "esp8266":  # the other one was off to have its flash read
        bench.ref.virtual.reset()
    bench.connects("sensor-02", seen)


def test_without_an_id_the_device_is_called_by_its_serial_number(bench: Bench) -> None:
    seen = len(bench.log())
    report = bench.provision()
    text = bench.connects(report.device_id, seen)
    (boot,) = [line for line in text.splitlines() if '"ev":"boot"' in line][:1]
    assert json.loads(boot[boot.index("{") :])["device"] == report.device_id
    assert json.loads(bench.files()["/keyfob.json"])["device_id"] == report.device_id


def test_a_request_that_nobody_signs_leaves_the_identity_and_its_connection(bench: Bench) -> None:
    before = bench.provision(device_id="sensor-03")
    slot = bench.slot()

    def refuse(_request: object) -> Any:
        raise KeyfobHostError("ca.closed", "not today", fix="come again")

    with pytest.raises(KeyfobHostError, match="not today"):
        bench.provision(device_id="sensor-03", source=refuse)
    assert bench.slot() == slot
    seen = len(bench.log())
    assert bench.ref.virtual is not None
    bench.ref.virtual.reset()
    bench.connects("sensor-03", seen)
    after = bench.provision(device_id="sensor-03")
    assert after.slot != before.slot and bench.slot()["key.der"] != slot["key.der"]


@contextlib.contextmanager
def dead_boards_known(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A dead board is given up after 10 s; here it is known to be dead."""
    read_until = prompt.read_until

    def until(port: object, ending: bytes, _deadline: float) -> bytes:
        return read_until(port, ending, time.monotonic() + 1.0)

    with monkeypatch.context() as patch:
        patch.setattr(prompt, "read_until", until)
        patch.setattr(prompt, "READ_TIMEOUT_S", 1.0)
        yield


@pytest.mark.parametrize(
    "cuts",
    [(3, 18), pytest.param(tuple(range(1, 60, 2)), marks=pytest.mark.slow)],
    ids=["sample", "many"],
)
def test_power_cut_at_any_write_leaves_one_whole_identity(
    bench: Bench, cuts: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    virtual = bench.ref.virtual
    assert virtual is not None
    bench.provision(device_id="sensor-04")
    was_cut = 0
    for operations in cuts:
        old = bench.slot()
        virtual.flash_fault(operations)
        with dead_boards_known(monkeypatch), contextlib.suppress(KeyfobHostError):
            bench.provision(device_id="sensor-04")
        virtual.flash_fault(None)
        virtual.power(False)
        now = bench.slot()
        virtual.power(True)
        was_cut += now == old
        manifest = json.loads(now["manifest.json"])
        digests = {name: hashlib.sha256(now[name]).hexdigest() for name in manifest["files"]}
        assert digests == manifest["files"]
        cert = x509.load_der_x509_certificate(now["cert.der"])
        point = cert.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        assert point == public_of(now["key.der"])
    assert was_cut
    bench.provision(device_id="sensor-04")
    files = bench.files()
    assert not [path for path in files if path.endswith(".new")]


def test_an_esp8266_has_heap_to_spare_for_it(tmp_path: Path) -> None:
    text = (data_path("boards") / "virtual-esp8266.toml").read_text("utf-8")
    kind = tmp_path / "virtual-esp8266.toml"
    kind.write_text(text.replace("heap_bytes = 38912", "heap_bytes = 28672"), "utf-8")
    assert kind.read_text("utf-8") != text
    home, authority = Home(tmp_path / "home"), Authority.ephemeral()
    virtual = VirtualBoard.up(home, str(kind), "virtual-esp8266", powered=False)
    try:
        with Path(virtual.info()["flash"]).open("r+b") as flash:
            flash.write(esp8266_stand_in())
        virtual.power(True)
        ref = open_board(str(kind), home=home, name="virtual-esp8266")
        sync_board(ref, reset=False)
        bench = Bench(ref, home, authority, None, Settings(broker="broker.keyfob.test"))
        slots = [bench.provision(device_id="sensor-01").slot for _ in range(2)]
        assert slots == ["a", "b"]
    finally:
        virtual.down()
