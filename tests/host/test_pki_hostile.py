"""What others chose, in a certificate or a file, does no harm when it is read and shown."""

from __future__ import annotations

import json
import shlex
import subprocess
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from keyfob_rig import Keyfob

from keyfob_host.errors import KeyfobHostError
from keyfob_host.pki.describe import describe, describe_text
from keyfob_host.pki.export import Bundle, export
from keyfob_host.pki.folder import write_folder
from keyfob_host.pki.identity import load_certs
from keyfob_host.pki.inventory_row import certificate_row

# Colours, the window's title, a clear screen, and the eight-bit form of the same.
CONTROLS = "a\x1b[31mb\x1b]0;c\x07\x9b2Jd"


def certificate(common_name: str, *sans: x509.GeneralName) -> x509.Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    now = datetime.now(timezone.utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(5)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=10))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    )
    if sans:
        builder = builder.add_extension(x509.SubjectAlternativeName(sans), critical=False)
    return builder.sign(key, hashes.SHA256())


def is_clean(text: str) -> bool:
    return all(one.isprintable() or one == "\n" for one in text)


def test_control_sequences_in_a_certificate_do_not_reach_the_terminal(
    keyfob: Keyfob, tmp_path: Path
) -> None:
    file = tmp_path / "foreign.pem"
    cert = certificate(CONTROLS, x509.DNSName("x\x1b[2Jy"))
    file.write_bytes(cert.public_bytes(Encoding.PEM))
    for command in (
        ("cert", "show", file),
        ("cert", "check", file),
        ("cert", "export", file, "--format", "pem", "--out", tmp_path / "out"),
    ):
        _, out, err = keyfob.run(*command)
        assert out and is_clean(out) and is_clean(err), command
    assert keyfob.json("cert", "show", file)["certificates"][0]["subject"].startswith("CN=a\x1b")


def test_control_sequences_in_a_request_do_not_reach_the_terminal(
    keyfob: Keyfob, tmp_path: Path
) -> None:
    file = tmp_path / "foreign.csr"
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, CONTROLS)])
    request = x509.CertificateSigningRequestBuilder().subject_name(name)
    signed = request.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    file.write_bytes(signed.public_bytes(Encoding.PEM))
    for command in (("cert", "check", file), ("cert", "device", "--csr", file)):
        _, out, err = keyfob.run(*command)
        assert is_clean(out) and is_clean(err) and "\\x1b" in out + err, command


def test_a_name_in_brackets_is_listed_as_it_stands(keyfob: Keyfob) -> None:
    name = "Bench [bold] [/red] CA"
    keyfob.json("ca", "init", "--no-passphrase", "--common-name", name)
    status, out, err = keyfob.run("cert", "list")
    assert (status, err) == (0, "") and name in out


def test_a_damaged_certificate_does_not_hide_the_others(with_ca: Keyfob) -> None:
    with_ca.json("cert", "device", "good")
    file = with_ca.home / "certs" / "device" / "good" / "cert.pem"
    cert = load_certs(file, "it")[0].public_bytes(Encoding.DER)
    place = with_ca.home / "certs" / "device" / "bad"
    place.mkdir()
    # The tag of the subject's common name: an OBJECT IDENTIFIER becomes something else.
    at = cert.rindex(bytes.fromhex("0603550403"))
    (place / "cert.pem").write_bytes(cert[:at] + b"\x1f" + cert[at + 1 :])
    found = with_ca.json("cert", "list", "--kind", "device")
    assert [one["name"] for one in found["certificates"]] == ["good"]
    assert len(found["not_read"]) == 1 and "bad/cert.pem" in found["not_read"][0]
    assert with_ca.error("cert", "show", place / "cert.pem")["code"] == "cert.unreadable"


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
@pytest.mark.parametrize("value", [0x00, 0x1F, 0x30, 0x7F, 0x80, 0xFF])
def test_every_byte_of_a_certificate_may_be_wrong(tmp_path: Path, value: int) -> None:
    good = certificate("sensor-01", x509.DNSName("sensor-01")).public_bytes(Encoding.DER)
    file = tmp_path / "x.der"
    refused = 0
    for at in range(len(good)):
        file.write_bytes(good[:at] + bytes([value]) + good[at + 1 :])
        try:
            (cert,) = load_certs(file, "the certificate")
        except KeyfobHostError as error:
            assert error.code == "cert.unreadable"
            refused += 1
            continue
        assert is_clean(describe_text(describe(cert)))
        certificate_row(cert, "device")
        export(Bundle("x", (cert,), ()), "c-header")
    assert 0 < refused < len(good)


def test_a_fix_can_be_pasted_where_a_path_has_spaces_and_worse(
    with_ca: Keyfob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "my bench; touch pwned"
    with_ca.home.rename(home)
    monkeypatch.setenv("KEYFOB_HOME", str(home))
    with_ca.json("cert", "device", "sensor-01")
    key = home / "certs" / "device" / "sensor-01" / "key.pem"
    key.chmod(0o644)
    export = ("cert", "export", "sensor-01", "--format", "pem", "--with-key", "--out", "-")
    status, out, _ = with_ca.run("--json", "cert", "renew", "sensor-01")
    told = json.loads(out)["error"]
    assert status != 0 and told["code"] == "cert.key-exposed"
    subprocess.run(["sh", "-c", told["fix"]], cwd=tmp_path, check=True)
    assert with_ca.run(*export)[0] == 0 and key.stat().st_mode & 0o777 == 0o600
    inventory = home / "certs" / "inventory.sqlite"
    inventory.write_bytes(b"this is no database, and long enough to be asked")
    told = with_ca.error("cert", "list")
    move, _, again = told["fix"].partition(" && ")
    assert told["code"] == "cert.inventory-damaged" and again == "keyfob cert list"
    subprocess.run(["sh", "-c", move], cwd=tmp_path, check=True)
    assert with_ca.json("cert", "list")["certificates"]
    assert not (tmp_path / "pwned").exists()


def test_a_lost_inventory_and_a_damaged_crl_are_not_mended_by_forgetting(with_ca: Keyfob) -> None:
    with_ca.json("cert", "device", "stolen")
    with_ca.json("cert", "revoke", "stolen")
    (with_ca.home / "certs" / "inventory.sqlite").unlink()
    (with_ca.home / "ca" / "crl.pem").write_text("damaged")
    told = with_ca.error("cert", "list")
    assert told["code"] == "cert.crl-unreadable" and "backup" in told["fix"]


def test_a_plan_s_exports_stay_in_their_folder_whatever_its_name(
    with_ca: Keyfob, tmp_path: Path
) -> None:
    plan = tmp_path / "...toml"  # its stem is ".."
    plan.write_text('[[device]]\nname = "sensor-01"\nexport = ["pem"]\n')
    out = Path(with_ca.json("cert", "make", plan)["out"])
    assert out.parent == with_ca.home / "exports" and out.name not in ("..", ".")
    assert not (with_ca.home / "device").exists()


def test_changing_the_passphrase_leaves_no_copy_of_the_key(
    with_ca: Keyfob, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = with_ca.home / "ca" / "ca.key.pem"
    remains = key.with_name(".ca.key.pem.k1ll3d")  # as `files.write_atomic` names it
    remains.write_bytes(key.read_bytes())
    monkeypatch.setenv("NEW", "words that are new")
    with_ca.json("ca", "passphrase", "--new-passphrase-env", "NEW")
    held = [path for path in (with_ca.home / "ca").iterdir() if b"PRIVATE KEY" in path.read_bytes()]
    assert held == [key] and b"ENCRYPTED" in key.read_bytes()


@pytest.mark.parametrize(
    "text",
    [
        "days = " + "9" * 6000,
        "days = " + "[" * 5000 + "]" * 5000,
        'kind = "device"\ndays = 1' + "0" * 400,
        "\x00",
    ],
    ids=["digits", "nesting", "range", "nul"],
)
def test_a_profile_without_measure_is_refused_with_its_file(
    with_ca: Keyfob, tmp_path: Path, text: str
) -> None:
    profile = tmp_path / "huge.toml"
    profile.write_text(text)
    refused = with_ca.error("cert", "device", "sensor-01", "--profile", profile)
    assert refused["code"].startswith("toml.") and "huge.toml" in refused["evidence"]


def test_what_is_no_certificate_is_called_what_it_is(with_ca: Keyfob) -> None:
    key = with_ca.home / "ca" / "ca.key.pem"
    told = with_ca.error("cert", "show", key)
    assert told["code"] == "cert.unreadable" and "it holds: PRIVATE KEY" in told["evidence"]
    status, out, _ = with_ca.run(*shlex.split(told["fix"].partition("keyfob ")[2]))
    assert status == 0 and "private key" in out


def test_writing_one_folder_leaves_the_beginnings_of_another_alone(tmp_path: Path) -> None:
    # What a writer of the identity "s.1-a" has under way; no process has the number 1000000000.
    other = tmp_path / ".s.1000000000-a.77-abcdefgh"
    own = tmp_path / ".s.1000000000-abcdefgh"
    for folder in (other, own):
        folder.mkdir()
    write_folder(tmp_path / "s", {"cert.pem": (b"x", 0o644)})
    assert other.exists() and not own.exists()


def test_a_certificate_that_nobody_could_use_is_not_written(with_ca: Keyfob) -> None:
    sans = [f"--san=n{number}.{'x' * 60}.example" for number in range(1000)]
    assert with_ca.error("cert", "broker", "broker.test", *sans)["code"] == "cert.too-large"
    assert not (with_ca.home / "certs" / "broker" / "broker.test").exists()


def test_a_foreign_ca_s_name_is_shown_clean_where_it_is_refused(
    keyfob: Keyfob, tmp_path: Path
) -> None:
    file = tmp_path / "foreign.pem"
    file.write_bytes(certificate(CONTROLS).public_bytes(Encoding.PEM))
    refused = keyfob.error("ca", "trust", "install", "--dry-run", "--cert", file)
    assert refused["code"] == "trust.not-a-ca" and is_clean(refused["evidence"])


@pytest.mark.parametrize(
    ("device_id", "prefix", "code"),
    [
        ("host", "keyfob-", "cert.reserved-id"),  # whose user name may write every topic
        ("HOST", "Keyfob-", "cert.reserved-id"),
        ("a", "other/", "cert.bad-id"),
        ("a", "+", "cert.bad-id"),
        ("a" * 60, "many-", "cert.bad-id"),
    ],
)
def test_no_profile_makes_a_user_name_that_is_no_device_s(
    with_ca: Keyfob, tmp_path: Path, device_id: str, prefix: str, code: str
) -> None:
    profile = tmp_path / "mine.toml"
    profile.write_text(
        'kind = "device"\nkey_type = "p256"\ndays = 10\nextended_key_usage = ["clientAuth"]\n'
        '[subject]\ncommon_name = "{prefix}{name}"\n'
    )
    issue = ("cert", "device", device_id, "--profile", profile, "--var")
    refused = with_ca.error(*issue, f"prefix={prefix}")
    assert refused["code"] in (code, "cert.bad-subject")
    assert not (with_ca.home / "certs" / "device" / device_id).exists()
    request = tmp_path / "x.csr"
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, device_id)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    signed = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    request.write_bytes(signed.public_bytes(Encoding.PEM))
    from_request = ("cert", "device", "--csr", request, *issue[3:])
    assert with_ca.error(*from_request, f"prefix={prefix}")["code"] == refused["code"]


def test_no_broker_has_the_host_s_name(with_ca: Keyfob, tmp_path: Path) -> None:
    profile = tmp_path / "both.toml"
    profile.write_text(
        'kind = "broker"\nkey_type = "p256"\ndays = 10\n'
        'extended_key_usage = ["serverAuth", "clientAuth"]\n'
        '[subject]\ncommon_name = "{cn}"\n[san]\ndns = ["broker.test"]\n[variables]\ncn = "x"\n'
    )
    for command in (
        ("cert", "broker", "keyfob-host", "--san", "broker.test"),
        ("cert", "broker", "b.test", "--profile", profile, "--var", "cn=keyfob-host"),
    ):
        assert with_ca.error(*command)["code"] == "cert.reserved-id"
