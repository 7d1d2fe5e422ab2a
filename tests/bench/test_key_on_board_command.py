"""``keyfob provision --key-on-board``: with a CA here, with one elsewhere, and with bad input."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from key_on_board_rig import Bench, bench_with, keyfob, on_board, public_of
from provision_bench import powered_board
from tls_rig import no_collector  # noqa: F401

from keyfob_host.errors import KeyfobHostError
from keyfob_host.pki.authority import Authority
from keyfob_host.provision.provisioning import Settings

pytestmark = pytest.mark.mosquitto


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with bench_with(tmp_path_factory.mktemp("cli"), "virtual-esp32") as made:
        yield made


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
