"""``keyfob provision --key-on-board``: the key is made on the board and never leaves it."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from certificates import make_leaf
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_private_key,
)
from esp8266_rig import make_esp8266
from littlefs import LittleFS
from provision_bench import board_files, powered_board
from serial_tap import shows, taken, tapped
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
from virtual_rig import log, wait_until

from keyfob_host.boards import BoardRef, open_board
from keyfob_host.broker import MosquittoBroker
from keyfob_host.data import data_path
from keyfob_host.errors import KeyfobHostError
from keyfob_host.flash.stand_in import esp8266_stand_in
from keyfob_host.home import Home
from keyfob_host.ntp import NtpServer
from keyfob_host.pki.authority import Authority
from keyfob_host.provision.on_board import KeyChoice, OnBoardReport, provision_on_board
from keyfob_host.provision.provisioning import Settings, provision_board
from keyfob_host.sync import sync_board
from keyfob_host.transport import open_transport, prompt
from keyfob_host.virtual import VirtualBoard

NAME = "broker.keyfob.test"
HERE = Path(__file__).resolve().parent
pytestmark = pytest.mark.mosquitto


@dataclass
class Bench:
    """A board with Keyfob's firmware, and a CA, a broker and a time server for it."""

    ref: BoardRef
    home: Home
    authority: Authority
    broker: MosquittoBroker | None
    settings: Settings

    def provision(self, ref: BoardRef | None = None, **options: Any) -> OnBoardReport:
        """As the command does it; the board restarts."""
        given = {"choice": KeyChoice(), "source": self.authority.issue_from_request, **options}
        with open_transport(ref or self.ref) as board:
            report = provision_on_board(board, self.ref.kind, self.home, self.settings, **given)
            board.reset()
        return report

    def log(self) -> str:
        assert self.ref.virtual is not None
        return log(self.ref.virtual)

    def connects(self, device_id: str, seen: int) -> str:
        """Wait until the board is connected as ``device_id``; what it said since ``seen``."""
        up = f'"client_id":"{device_id}"'
        wait_until(lambda: up in self.log()[seen:], lambda: self.log()[seen:])
        return self.log()[seen:]

    def files(self) -> dict[str, bytes]:
        """All files in the board's flash, read by another LittleFS than its own."""
        if self.ref.kind.chip != "esp8266":
            return board_files(self.ref)
        assert self.ref.virtual is not None
        flash = Path(self.ref.virtual.info()["flash"]).read_bytes()
        blocks = 763  # from the first megabyte on, to the 20 KB that the SDK keeps
        fs = LittleFS(block_size=4096, block_count=blocks, mount=False)
        fs.context.buffer = bytearray(flash[0x100000 : 0x100000 + blocks * 4096])
        fs.mount()
        found: dict[str, bytes] = {}
        for root, _, names in fs.walk("/"):
            for name in names:
                path = f"{root.rstrip('/')}/{name}"
                with fs.open(path, "rb") as file:
                    found[path] = file.read()
        return found

    def slot(self) -> dict[str, bytes]:
        """Files of the active slot, by name."""
        files = self.files()
        folder = f"/id/{files['/id/active'].decode()}/"
        return {
            path.removeprefix(folder): content
            for path, content in files.items()
            if path.startswith(folder)
        }


@contextlib.contextmanager
def bench_with(folder: Path, kind: str) -> Iterator[Bench]:
    home = Home(folder / "home")
    authority = Authority.create(home.ca_dir)
    authority.issue_broker(NAME).write(home.certs_dir / "broker" / NAME)
    authority.issue_host().write(home.certs_dir / "device" / "keyfob-host")
    (folder / "ca.pem").write_bytes(authority.cert_pem())
    with contextlib.ExitStack() as stack:
        broker = stack.enter_context(
            MosquittoBroker(
                folder / "run", identity_dir=home.certs_dir / "broker" / NAME,
                ca_pem_path=folder / "ca.pem",
                host_identity_dir=home.certs_dir / "device" / "keyfob-host",
            )
        )  # fmt: skip
        ntp = stack.enter_context(NtpServer())
        if kind == "virtual-esp32":
            ref = stack.enter_context(powered_board(folder))
        else:
            stack.callback(make_esp8266(home).down)
            ref = open_board(kind, home=home)
        sync_board(ref, reset=False)
        settings = Settings(broker=f"{NAME}:{broker.port}", ntp=[f"ntp.keyfob.test:{ntp.port}"])
        yield Bench(ref, home, authority, broker, settings)


@pytest.fixture(scope="module", params=["virtual-esp32", "virtual-esp8266"])
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    with bench_with(tmp_path_factory.mktemp("bench"), request.param) as made:
        yield made


def secret_of(der: bytes) -> bytes:
    """The scalar, as `cryptography` reads it."""
    key = load_der_private_key(der, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key.private_numbers().private_value.to_bytes(32, "big")


def public_of(der: bytes) -> bytes:
    key = load_der_private_key(der, None)
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


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


# -- from the command line


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with bench_with(tmp_path_factory.mktemp("cli"), "virtual-esp32") as made:
        yield made


def keyfob(bench: Bench, *arguments: str | Path) -> tuple[int, dict[str, Any], str]:
    """Exit status, the JSON document, and everything printed."""
    run = subprocess.run(
        [sys.executable, "-m", "keyfob_host", "--json", *map(str, arguments)],
        env={**os.environ, "KEYFOB_HOME": str(bench.home.root)},
        capture_output=True, stdin=subprocess.DEVNULL, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "Traceback" not in run.stderr
    return run.returncode, json.loads(run.stdout or "{}"), run.stdout + run.stderr


def on_board(bench: Bench, *arguments: str | Path) -> tuple[int, dict[str, Any], str]:
    ntp = bench.settings.ntp[0]
    given = ("--broker", str(bench.settings.broker), "--ntp", ntp)
    return keyfob(bench, "provision", "--key-on-board", *given, *arguments)


def openssl(*arguments: str | Path) -> str:
    command = ["openssl", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def foreign_ca(folder: Path, request: Path, chain: Path) -> Path:
    """A CA of openssl's own, which signs ``request`` into ``chain``; its certificate."""
    key, own, config = folder / "ca.key", folder / "ca.pem", folder / "device.cnf"
    openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key)
    openssl("req", "-x509", "-new", "-key", key, "-subj", "/CN=Elsewhere", "-days", "9",
            "-out", own)  # fmt: skip
    config.write_text(
        "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n"
        "extendedKeyUsage=clientAuth\n"
    )
    openssl("x509", "-req", "-in", request, "-CA", own, "-CAkey", key, "-CAcreateserial",
            "-days", "8", "-extfile", config, "-out", chain)  # fmt: skip
    return own


def test_a_ca_elsewhere_signs_in_two_runs(cli: Bench, tmp_path: Path) -> None:
    request, chain = tmp_path / "request.pem", tmp_path / "chain.pem"
    status, first, output = on_board(cli, "--csr-out", request)
    assert status == 0, output
    assert f"--identity {first['device_id']}" in first["next"]
    assert first["next"].endswith("--chain chain.pem") and "csr-out" not in first["next"]
    said = openssl("req", "-in", request, "-verify", "-noout", "-subject")
    assert "verify OK" in said and f"CN = {first['device_id']}" in said
    own = foreign_ca(tmp_path, request, chain)

    status, refused, _ = on_board(cli, "--chain", chain)
    assert (status, refused["error"]["code"]) == (6, "provision.chain-broken")
    assert "--ca" in refused["error"]["fix"]

    status, report, output = on_board(cli, "--chain", chain, "--ca", own)
    assert status == 0, output
    slot = cli.slot()
    assert slot["ca.der"] == x509.load_pem_x509_certificate(own.read_bytes()).public_bytes(
        Encoding.DER
    )
    assert public_of(slot["key.der"]) in slot["cert.der"]
    assert report["sha256"]["key.der"] == hashlib.sha256(slot["key.der"]).hexdigest()

    status, again, _ = on_board(cli, "--chain", chain, "--ca", own)
    assert (status, again["error"]["code"]) == (5, "provision.no-key-waiting")


def test_a_certificate_for_another_key_is_refused(cli: Bench, tmp_path: Path) -> None:
    old, new, chain = tmp_path / "old.pem", tmp_path / "new.pem", tmp_path / "chain.pem"
    assert on_board(cli, "--csr-out", old, "--identity", "sensor-05")[0] == 0
    assert on_board(cli, "--csr-out", new, "--identity", "sensor-05")[0] == 0
    own = foreign_ca(tmp_path, old, chain)
    status, document, _ = on_board(cli, "--chain", chain, "--ca", own)
    assert (status, document["error"]["code"]) == (6, "provision.other-key")


def test_a_certificate_kept_here_goes_to_the_key_that_waits_for_it(
    cli: Bench, tmp_path: Path
) -> None:
    request = tmp_path / "request.pem"
    assert on_board(cli, "--csr-out", request, "--identity", "sensor-06")[0] == 0
    from keyfob_host.pki.request import read_request

    found = read_request(request.read_bytes())
    folder = cli.home.certs_dir / "device" / "sensor-06"
    cli.authority.issue_from_request(found).write(folder)
    kept = (folder / "cert.pem").read_bytes()
    status, _, output = on_board(cli, "--identity", "sensor-06")
    assert status == 0, output
    assert (folder / "cert.pem").read_bytes() == kept
    der = x509.load_pem_x509_certificate(kept).public_bytes(Encoding.DER)
    assert cli.slot()["cert.der"] == der


def test_a_certificate_revoked_while_it_waits_goes_to_no_board(cli: Bench, tmp_path: Path) -> None:
    request = tmp_path / "request.pem"
    assert on_board(cli, "--csr-out", request, "--identity", "sensor-11")[0] == 0
    status, _, output = keyfob(cli, "cert", "device", "--csr", request)
    assert status == 0, output
    folder = cli.home.certs_dir / "device" / "sensor-11"
    revoked = x509.load_pem_x509_certificate((folder / "cert.pem").read_bytes())
    status, _, output = keyfob(cli, "cert", "revoke", "sensor-11")
    assert status == 0, output
    status, _, output = on_board(cli, "--identity", "sensor-11")
    assert status == 0, output
    made = x509.load_der_x509_certificate(cli.slot()["cert.der"])
    assert made.public_key() != revoked.public_key()
    (cli.home.ca_dir / "crl.pem").unlink()  # of this bench's other tests, which have none


def test_a_renewed_certificate_goes_to_the_key_in_use(cli: Bench) -> None:
    assert on_board(cli, "--identity", "sensor-09")[0] == 0
    before = cli.slot()
    folder = cli.home.certs_dir / "device" / "sensor-09"
    status, _, output = keyfob(cli, "cert", "renew", "sensor-09")
    assert status == 0, output
    assert on_board(cli, "--identity", "sensor-09")[0] == 0
    after = cli.slot()
    assert after["key.der"] == before["key.der"] and after["cert.der"] != before["cert.der"]
    renewed = x509.load_pem_x509_certificate((folder / "cert.pem").read_bytes())
    assert after["cert.der"] == renewed.public_bytes(Encoding.DER)
    # Once it is on the board, the next run makes a new key again.
    assert on_board(cli, "--identity", "sensor-09")[0] == 0
    assert cli.slot()["key.der"] != after["key.der"]


def test_an_identity_whose_key_is_here_is_replaced_only_by_force(cli: Bench) -> None:
    folder = cli.home.certs_dir / "device" / "sensor-07"
    cli.authority.issue_device("sensor-07").write(folder)
    status, document, _ = on_board(cli, "--identity", "sensor-07")
    assert (status, document["error"]["code"]) == (6, "cert.exists")
    assert (folder / "key.pem").exists()
    assert on_board(cli, "--identity", "sensor-07", "--force")[0] == 0
    assert not (folder / "key.pem").exists()
    # And without the option there is no way to it by accident.
    status, document, _ = keyfob(cli, "provision", "--identity", "sensor-07")
    assert document["error"]["code"] == "cert.key-elsewhere"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--identity", "bad id"), "cert.bad-id"),
        (("--identity", "keyfob-host"), "cert.reserved-id"),
        (("--chain", "/nowhere.pem"), "file.missing"),
        (("--chain", "{ca}"), "provision.not-a-device"),
        (("--csr-out", "{ca}"), "provision.would-overwrite"),
        (("--slot", "0"), "provision.element-needs-engine"),
        (("--slot", "0", "--set", "tls.engine=keyfob"), "store.no-element"),
        (("--set", "broker.port=0"), "provision.settings-refused"),
    ],
)
def test_bad_input_gives_one_error_and_leaves_the_identity(
    cli: Bench, arguments: tuple[str, ...], code: str
) -> None:
    cli.provision(device_id="sensor-08")
    before = cli.slot()
    ca = cli.home.ca_dir / "ca.cert.pem"
    content = ca.read_bytes()
    given = [word.replace("{ca}", str(ca)) for word in arguments]
    _, document, output = on_board(cli, *given)
    assert document["error"]["code"] == code, output
    assert document["error"]["fix"]
    assert (cli.slot(), ca.read_bytes()) == (before, content)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--chain", "x"), ("--slot", "1"), ("--force",), ("--passphrase-env", "X"),
        ("--key-on-board", "--csr-out", "x", "--chain", "y"), ("--key-on-board", "--ca", "x"),
        ("--key-on-board", "--new-key"), ("--key-on-board", "--dry-run"),
        ("--key-on-board", "--identity", "./folder"), ("--key-on-board", "--slot", "128"),
    ],
)  # fmt: skip
def test_options_that_make_no_sense_together_are_told(
    cli: Bench, arguments: tuple[str, ...]
) -> None:
    status, _, output = keyfob(cli, "provision", *arguments)
    assert status == 2 and "--" in output


def test_a_board_whose_firmware_is_too_old_is_told_to_sync(tmp_path: Path) -> None:
    with powered_board(tmp_path) as ref:
        assert ref.virtual is not None
        home = ref.virtual.home
        bench = Bench(ref, home, Authority.create(home.ca_dir), None, Settings(broker="x"))
        with pytest.raises(KeyfobHostError) as caught:
            bench.provision(device_id="sensor-01")
        assert caught.value.code == "provision.firmware-too-old"
        assert caught.value.fix.startswith("keyfob sync")
        assert "/id/active" not in bench.files()


# -- secure elements


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
