"""A root with an intermediate below it: made, used without the root's key, judged by openssl."""

from __future__ import annotations

import stat
import subprocess
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509 import verification
from judges import code_of, needs_openssl, strict_verdict
from keyfob_rig import Keyfob, secret_file

from keyfob_host.errors import KeyfobHostError
from keyfob_host.home import Home
from keyfob_host.pki import bench
from keyfob_host.pki.authority import Authority
from keyfob_host.pki.ca_folder import KEY_FILE, clients_ca_path
from keyfob_host.pki.identity import Identity
from keyfob_host.pki.profiles import Profile, load_profile
from keyfob_host.pki.request import read_request
from keyfob_host.provision.identity import check_identity, slot_files

VECTOR = Path(__file__).parent.parent / "vectors" / "ecc508-csr.pem"


def root_profile() -> Profile:
    return load_profile("root", kind="authority")


@pytest.fixture(scope="module")
def root() -> Authority:
    return Authority.ephemeral("Root", profile=root_profile())


@pytest.fixture(scope="module")
def issuing(root: Authority) -> Authority:
    return root.issue_intermediate()


@pytest.fixture
def two(keyfob: Keyfob) -> Keyfob:
    keyfob.json("ca", "init", "--intermediate", "--no-passphrase")
    return keyfob


def openssl_verify(folder: Path, purpose: str, *options: str) -> str:
    """openssl's strict verdict on an identity, from its own files: "" for good."""
    return strict_verdict(folder / "ca.pem", folder / "cert.pem", "-purpose", purpose, *options)


def test_chain_has_end_entity_then_intermediate_and_the_root_is_what_is_trusted(
    root: Authority, issuing: Authority
) -> None:
    requested = issuing.issue_from_request(read_request(VECTOR.read_bytes()))
    for issued in (issuing.issue_broker("b.test"), issuing.issue_device("sensor-01"), requested):
        assert issued.anchors == (root.cert,)
        assert issued.intermediates == (issuing.cert,)
        chain = x509.load_pem_x509_certificates(issued.chain_pem())
        assert chain == [issued.cert, issuing.cert]
    assert set(slot_files(issuing.issue_device("sensor-01"), "mbedtls")) == {
        "ca.der", "cert.der", "cert1.der", "key.der",
    }  # fmt: skip


@needs_openssl
def test_openssl_accepts_the_chain_and_refuses_the_end_entity_alone(
    issuing: Authority, tmp_path: Path
) -> None:
    device = issuing.issue_device("sensor-01").write(tmp_path / "sensor-01")
    broker = issuing.issue_broker("b.test").write(tmp_path / "b.test")
    below = ("-untrusted", str(device / "chain.pem"))
    assert openssl_verify(device, "sslclient", *below) == ""
    assert openssl_verify(broker, "sslserver", *below, "-verify_hostname", "b.test") == ""
    assert "unable to get local issuer" in openssl_verify(device, "sslclient")


@needs_openssl
def test_path_lengths_and_usages_are_those_of_two_authorities(
    root: Authority, issuing: Authority, tmp_path: Path
) -> None:
    for made, wanted in ((root, "pathlen:1"), (issuing, "pathlen:0")):
        (tmp_path / "c.pem").write_bytes(made.cert_pem())
        done = subprocess.run(
            ["openssl", "x509", "-in", tmp_path / "c.pem", "-noout", "-text"],
            capture_output=True, text=True,
        )  # fmt: skip
        text = " ".join(done.stdout.split())
        assert f"Basic Constraints: critical CA:TRUE, {wanted}" in text
        assert "Key Usage: critical Certificate Sign, CRL Sign" in text
    assert issuing.cert.not_valid_after_utc <= root.cert.not_valid_after_utc


def test_cryptography_verifies_the_chain(root: Authority, issuing: Authority) -> None:
    builder = verification.PolicyBuilder().store(verification.Store([root.cert]))
    broker = issuing.issue_broker("b.test")
    verified = builder.build_server_verifier(x509.DNSName("b.test")).verify(
        broker.cert, list(broker.intermediates)
    )
    assert verified == [broker.cert, issuing.cert, root.cert]


def test_an_authority_without_room_has_no_intermediate(root: Authority) -> None:
    flat = Authority.ephemeral("Flat")  # path length 0
    deep = replace(load_profile("intermediate", kind="intermediate"), path_length=1)
    assert code_of(flat.issue_intermediate) == "ca.no-room-below"
    assert code_of(lambda: root.issue_intermediate(deep)) == "ca.no-room-below"
    assert code_of(root.issue_intermediate().issue_intermediate) == "ca.no-room-below"


def test_both_are_written_as_one_change_and_the_intermediate_is_loaded(tmp_path: Path) -> None:
    ca = tmp_path / "ca"
    below = load_profile("intermediate", kind="intermediate")
    made = Authority.create(ca, root_profile(), b"secret", issuing=below)
    assert sorted(str(one.relative_to(ca)) for one in ca.rglob("*.pem")) == [
        "ca.cert.pem", "ca.key.pem", "issuing/ca.cert.pem", "issuing/ca.key.pem",
        "issuing/chain.pem",
    ]  # fmt: skip
    for key in ca.rglob(KEY_FILE):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
        assert b"ENCRYPTED" in key.read_bytes()
    assert stat.S_IMODE((ca / "issuing").stat().st_mode) == 0o700
    loaded, root = Authority.load(ca, b"secret"), Authority.load_root(ca, b"secret")
    assert (loaded.cert, loaded.root) == (made.cert, root.cert)
    assert root.root is None
    assert x509.load_pem_x509_certificates(clients_ca_path(ca).read_bytes()) == [
        loaded.cert, root.cert,
    ]  # fmt: skip
    assert code_of(lambda: Authority.create(ca)) == "ca.exists"


def test_everything_but_a_new_intermediate_works_without_the_roots_key(
    two: Keyfob, tmp_path: Path
) -> None:
    key = two.home / "ca" / KEY_FILE
    shown = two.json("ca", "show")
    assert (shown["path_length"], shown["issuing"]["path_length"]) == (1, 0)
    assert shown["issuing"]["issuer"] == shown["subject"]
    key.rename(tmp_path / "offline.pem")
    assert two.json("ca", "show")["key_encrypted"] is None
    broker = two.json("cert", "broker", "b.test")
    device = two.json("cert", "device", "sensor-01")
    two.json("cert", "device", "--csr", VECTOR)
    assert broker["issuer"] == device["issuer"] == shown["issuing"]["subject"]
    identity = Identity.read(Path(device["folder"]))
    check_identity(identity, device_id="sensor-01")
    ca = x509.load_pem_x509_certificate((two.home / "ca" / "ca.cert.pem").read_bytes())
    bench.check_broker_identity(Identity.read(Path(broker["folder"])), ca, ["b.test"])
    assert bench.host_identity_fits(Home(two.home))
    error = two.error("ca", "intermediate", "--force")
    assert error["code"] == "ca.root-key-away" and str(key) in error["fix"]


def test_a_new_intermediate_signs_from_then_on_and_what_was_issued_stays_good(
    two: Keyfob,
) -> None:
    old = Identity.read(Path(two.json("cert", "device", "old")["folder"]))
    assert two.error("ca", "intermediate")["code"] == "ca.issuing-exists"
    shown = two.json("ca", "intermediate", "--force", "--days", "100")
    new = Identity.read(Path(two.json("cert", "device", "new")["folder"]))
    assert shown["issuing"]["days_left"] in (99, 100)
    assert new.intermediates != old.intermediates and new.anchors == old.anchors
    for identity in (old, new):
        check_identity(identity)


def test_the_passphrase_of_the_root_protects_a_new_intermediate_too(
    keyfob: Keyfob, tmp_path: Path
) -> None:
    secret = ("--passphrase-file", secret_file(tmp_path, "correct horse\n"))
    shown = keyfob.json("ca", "init", "--intermediate", *secret)
    assert shown["key_encrypted"] and shown["issuing"]["key_encrypted"]
    assert keyfob.error("cert", "device", "a")["code"] == "cert.passphrase-needed"
    assert keyfob.error("ca", "intermediate", "--force")["code"] == "cert.passphrase-needed"
    assert keyfob.json("ca", "intermediate", "--force", *secret)["issuing"]["key_encrypted"]
    keyfob.json("cert", "device", "a", *secret)


def test_after_a_change_of_the_passphrase_each_key_is_still_that_of_its_certificate(
    keyfob: Keyfob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = ("--passphrase-file", secret_file(tmp_path, "one\n"))
    keyfob.json("ca", "init", "--intermediate", *secret)
    monkeypatch.setenv("NEW", "two")
    keyfob.json("ca", "passphrase", *secret, "--new-passphrase-env", "NEW")
    keyfob.json("cert", "device", "a", "--passphrase-env", "NEW")
    assert Authority.load_root(keyfob.home / "ca", b"two").root is None


def test_an_intermediate_below_a_ca_made_without_one_is_refused(keyfob: Keyfob) -> None:
    assert keyfob.error("ca", "intermediate")["code"] == "ca.missing"
    keyfob.json("ca", "init", "--no-passphrase")
    error = keyfob.error("ca", "intermediate")
    assert error["code"] == "ca.no-room-below"
    assert "keyfob ca init --intermediate" in error["fix"]
    assert not (keyfob.home / "ca" / "issuing").exists()
    error = keyfob.error("ca", "init", "--intermediate", "--profile", "ca", "--no-passphrase",
                         "--force")  # fmt: skip
    assert error["code"] == "ca.no-room-below"


def test_an_intermediate_of_another_root_is_told(two: Keyfob, tmp_path: Path) -> None:
    other = Authority.ephemeral("Other root", profile=root_profile()).issue_intermediate()
    other.write_issuing(two.home / "ca", None, force=True)
    error = two.error("cert", "device", "a")
    assert error["code"] == "ca.issuing-mismatch" and "Other root" in error["evidence"]


def test_an_expired_intermediate_signs_nothing_and_says_how_to_go_on(root: Authority) -> None:
    start = root.cert.not_valid_before_utc
    old = root.issue_intermediate(not_before=start, not_after=start + timedelta(hours=1))
    with pytest.raises(KeyfobHostError) as refused:
        old.issue_device("sensor-01")
    assert refused.value.code == "ca.expired"
    assert "keyfob ca intermediate --force" in refused.value.fix


def test_people_are_told_to_take_the_roots_key_away(keyfob: Keyfob) -> None:
    status, out, _ = keyfob.run("ca", "init", "--intermediate", "--no-passphrase")
    assert status == 0
    assert "only a new intermediate needs the root's key" in out
    assert f"mv {keyfob.home / 'ca' / KEY_FILE} " in out
