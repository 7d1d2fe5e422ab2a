"""Certificate requests: those that openssl and a secure element made, and bytes that are none."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from judges import needs_openssl, openssl
from keyfob_rig import Keyfob

from keyfob_host.errors import KeyfobHostError
from keyfob_host.pki.authority import Authority
from keyfob_host.pki.identity import Identity, Requested, read_issued
from keyfob_host.pki.profiles import load_profile
from keyfob_host.pki.request import MAX_REQUEST_BYTES, read_request

pytestmark = needs_openssl
VECTOR = Path(__file__).parent.parent / "vectors" / "ecc508-csr.pem"
P256 = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.ephemeral("Request CA")


def made(folder: Path, *key: str, subject: str = "/CN=sensor-01", extensions: str = "") -> bytes:
    """A request by ``openssl req``; ``extensions`` are lines of its configuration."""
    conf = folder / "req.conf"
    conf.write_text(f"[req]\ndistinguished_name=dn\nreq_extensions=ext\n[dn]\n[ext]\n{extensions}")
    path = folder / "request.pem"
    openssl(
        "req", "-new", "-config", conf, *(key or P256), "-nodes", "-keyout", folder / "key.pem",
        "-subj", subject, "-out", path,
    )  # fmt: skip
    return path.read_bytes()


def refusal(content: bytes) -> KeyfobHostError:
    with pytest.raises(KeyfobHostError) as refused:
        read_request(content)
    assert refused.value.fix and refused.value.evidence
    return refused.value


def der(pem: bytes) -> bytes:
    return x509.load_pem_x509_csr(pem).public_bytes(Encoding.DER)


def test_a_secure_elements_request_gives_a_certificate_that_openssl_takes_from_a_client(
    authority: Authority, tmp_path: Path
) -> None:
    issued = authority.issue_from_request(read_request(VECTOR.read_bytes()), device_id="mymkr")
    folder = issued.write(tmp_path / "mymkr")
    openssl(
        "verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", folder / "ca.pem",
        folder / "cert.pem",
    )  # fmt: skip
    text = " ".join(openssl("x509", "-in", folder / "cert.pem", "-noout", "-text").split())
    assert "Version: 3 (0x2)" in text and "Subject: CN = mymkr " in text
    assert "Basic Constraints: critical CA:FALSE" in text
    assert "Key Usage: critical Digital Signature X509v3" in text
    assert "Extended Key Usage: TLS Web Client Authentication X509v3" in text
    assert "Subject Key Identifier" in text and "Authority Key Identifier" in text
    assert "Subject Alternative Name: DNS:mymkr" in text
    keys = [
        openssl(kind, "-in", path, "-noout", "-pubkey")
        for kind, path in (("req", VECTOR), ("x509", folder / "cert.pem"))
    ]
    assert keys[0] == keys[1]


def test_pem_der_and_the_old_label_are_read_alike(tmp_path: Path) -> None:
    pem = VECTOR.read_bytes()
    old = pem.replace(b"CERTIFICATE REQUEST", b"NEW CERTIFICATE REQUEST")
    text = tmp_path / "text.pem"
    openssl("req", "-in", VECTOR, "-text", "-out", text)
    for form in (pem, der(pem), old, text.read_bytes(), pem.replace(b"\n", b"\r\n")):
        assert read_request(form).name == "mymkr"


@pytest.mark.parametrize(
    ("key", "key_type"), [(P256, "p256"), (["-newkey", "rsa:2048"], "rsa2048")]
)
def test_keys_that_boards_have_are_taken(
    authority: Authority, tmp_path: Path, key: list[str], key_type: str
) -> None:
    request = read_request(made(tmp_path, *key))
    assert (request.name, request.key_type) == ("sensor-01", key_type)
    issued = authority.issue_from_request(request)
    assert issued.cert.public_key() == request.public_key
    usage = issued.cert.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature and not usage.key_encipherment


@pytest.mark.parametrize(
    ("key", "seen"),
    [
        (["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384"], "secp384r1"),
        (["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp256k1"], "secp256k1"),
        (["-newkey", "rsa:1024"], "rsa1024"),
        (["-newkey", "rsa:2048", "-pkeyopt", "rsa_keygen_pubexp:3"], "exponent 3"),
        (["-newkey", "ed25519"], "Ed25519"),
    ],
)
def test_other_keys_are_refused_and_named(tmp_path: Path, key: list[str], seen: str) -> None:
    error = refusal(made(tmp_path, *key))
    assert error.code == "cert.request-bad-key"
    assert seen in error.evidence and "p256" in error.evidence


def test_a_curve_spelled_out_is_named_in_the_certificate(
    authority: Authority, tmp_path: Path
) -> None:
    """RFC 5480 section 2.1.1 forbids the spelling; boards read the name alone."""
    request = read_request(made(tmp_path, *P256, "-pkeyopt", "ec_param_enc:explicit"))
    folder = authority.issue_from_request(request).write(tmp_path / "sensor-01")
    text = openssl("x509", "-in", folder / "cert.pem", "-noout", "-text")
    assert "ASN1 OID: prime256v1" in text and "Prime:" not in text


def test_a_point_off_the_curve_is_refused() -> None:
    whole = bytearray(der(VECTOR.read_bytes()))
    point = whole.index(bytes.fromhex("034200 04".replace(" ", ""))) + 4
    whole[point + 40] ^= 1
    assert refusal(bytes(whole)).code == "cert.request-bad-key"


def test_a_sha_1_signature_is_refused(tmp_path: Path) -> None:
    error = refusal(made(tmp_path, *P256, "-sha1"))
    assert error.code == "cert.request-weak-hash" and "sha1" in error.evidence


def test_a_signature_of_another_key_is_refused(tmp_path: Path) -> None:
    """Its last byte changed, and the name in it changed: nobody has shown the key."""
    whole = bytearray(der(VECTOR.read_bytes()))
    whole[-1] ^= 1
    assert refusal(bytes(whole)).code == "cert.request-bad-signature"
    renamed = der(VECTOR.read_bytes()).replace(b"mymkr", b"other")
    assert refusal(renamed).code == "cert.request-bad-signature"


@pytest.mark.parametrize(
    ("subject", "seen"),
    [("/", "subject ''"), ("/O=Acme", "O=Acme"), ("/CN=a/CN=b", "'a' and 'b'")],
)
def test_a_request_without_exactly_one_common_name_is_refused(
    tmp_path: Path, subject: str, seen: str
) -> None:
    error = refusal(made(tmp_path, subject=subject))
    assert error.code == "cert.request-no-name" and seen in error.evidence


@pytest.mark.parametrize(
    ("subject", "code"),
    [
        ("/CN=a b", "cert.bad-id"),
        ("/CN=devices\\/+", "cert.bad-id"),
        ("/CN=keyfob-host", "cert.reserved-id"),
    ],
)
def test_a_name_that_is_no_device_id_is_refused(
    authority: Authority, tmp_path: Path, subject: str, code: str
) -> None:
    request = read_request(made(tmp_path, subject=subject))
    with pytest.raises(KeyfobHostError) as refused:
        authority.issue_from_request(request)
    assert refused.value.code == code


def test_the_name_must_be_the_one_asked_for(authority: Authority) -> None:
    request = read_request(VECTOR.read_bytes())
    with pytest.raises(KeyfobHostError) as refused:
        authority.issue_from_request(request, device_id="sensor-01")
    assert refused.value.code == "cert.request-wrong-name"
    assert "'mymkr'" in refused.value.evidence and "'sensor-01'" in refused.value.evidence


def test_a_key_that_board_or_profile_does_not_take_is_refused(
    authority: Authority, tmp_path: Path
) -> None:
    request = read_request(made(tmp_path, "-newkey", "rsa:2048"))
    mine = tmp_path / "mine.toml"
    mine.write_text(
        'kind = "device"\nkey_type = "p256"\ndays = 9\nextended_key_usage = ["clientAuth"]\n'
        'request_keys = ["p256"]\n[subject]\ncommon_name = "{name}"\n'
    )
    for asked in ({"keys": ["p256"]}, {"profile": load_profile(mine)}):
        with pytest.raises(KeyfobHostError) as refused:
            authority.issue_from_request(request, **asked)  # type: ignore[arg-type]
        assert refused.value.code == "cert.request-bad-key"
        assert "rsa2048; taken: p256" in refused.value.evidence


def test_what_a_request_asks_for_is_told_and_not_given(
    authority: Authority, tmp_path: Path
) -> None:
    extensions = (
        "basicConstraints=critical,CA:TRUE,pathlen:3\n"
        "keyUsage=keyCertSign\nextendedKeyUsage=serverAuth,codeSigning\n"
        "subjectAltName=DNS:broker.keyfob.test,IP:192.0.2.7,email:a@b.test\n"
        "1.2.3.4=DER:0500\n"
    )
    subject = "/O=Acme/CN=sensor-01/OU=Lab\x1b[2J"
    request = read_request(made(tmp_path, subject=subject, extensions=extensions))
    told = "; ".join(request.not_taken_over)
    for part in (
        "subject O=Acme", "subject OU=Lab\\x1b[2J", "basicConstraints CA:TRUE", "keyUsage",
        "extendedKeyUsage serverAuth, codeSigning",
        "subjectAltName DNS:broker.keyfob.test, IP:192.0.2.7", "extension 1.2.3.4",
    ):  # fmt: skip
        assert part in told
    cert = authority.issue_from_request(request).cert
    assert cert.subject.rfc4514_string() == "CN=sensor-01"
    get = cert.extensions.get_extension_for_class
    assert not get(x509.BasicConstraints).value.ca
    assert not get(x509.KeyUsage).value.key_cert_sign
    assert list(get(x509.ExtendedKeyUsage).value) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert list(get(x509.SubjectAlternativeName).value) == [x509.DNSName("sensor-01")]
    assert len(cert.extensions) == 6


def test_a_challenge_password_is_never_shown() -> None:
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sensor-01")])
    )
    password = x509.ObjectIdentifier("1.2.840.113549.1.9.7")
    key = ec.generate_private_key(ec.SECP256R1())
    signed = builder.add_attribute(password, b"open sesame").sign(key, SHA384())
    request = read_request(signed.public_bytes(Encoding.DER))
    assert request.not_taken_over == ("a challenge password",)


def test_a_request_with_the_authoritys_own_key_is_refused(authority: Authority) -> None:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sensor-01")])
    csr = x509.CertificateSigningRequestBuilder().subject_name(name).sign(authority.key, SHA384())
    with pytest.raises(KeyfobHostError) as refused:
        authority.issue_from_request(read_request(csr.public_bytes(Encoding.PEM)))
    assert refused.value.code == "cert.request-bad-key"
    assert "Request CA" in refused.value.evidence


def test_what_is_no_request_is_told_as_what_it_is(authority: Authority, tmp_path: Path) -> None:
    pem = made(tmp_path)
    for content, seen in (
        (b"", "0 bytes"),
        (b"hello", "5 bytes"),
        (pem[:200], "bytes"),
        (der(pem)[:-5], "bytes"),
        (der(pem) + b"\0", "bytes"),
        (authority.cert_pem(), "CERTIFICATE"),
        (pem + pem, "CERTIFICATE REQUEST, CERTIFICATE REQUEST"),
    ):
        error = refusal(content)
        assert error.code == "cert.request-unreadable" and seen in error.evidence
    error = refusal((tmp_path / "key.pem").read_bytes() + pem)
    assert error.code == "cert.request-unreadable" and "private key" in error.cause
    assert refusal(bytes(MAX_REQUEST_BYTES + 1)).code == "cert.request-too-large"


def test_without_its_key_it_is_read_as_requested_and_not_as_identity(
    authority: Authority, tmp_path: Path
) -> None:
    folder = authority.issue_from_request(read_request(VECTOR.read_bytes())).write(tmp_path / "m")
    assert sorted(one.name for one in folder.iterdir()) == [
        "ca.pem", "cert.pem", "chain.pem", "request.pem",
    ]  # fmt: skip
    found = read_issued(folder)
    assert isinstance(found, Requested) and found.request.name == found.name == "mymkr"
    with pytest.raises(KeyfobHostError) as refused:
        Identity.read(folder)
    assert refused.value.code == "cert.key-elsewhere"
    assert "request.pem and no key.pem" in refused.value.evidence
    (folder / "request.pem").write_bytes(made(tmp_path, subject="/CN=mymkr"))
    with pytest.raises(KeyfobHostError) as refused:
        read_issued(folder)
    assert refused.value.code == "cert.key-mismatch"


def check_refused_or_harmless(content: bytes) -> None:
    """A bit that says how many bits of the signature are unused, for one, changes nothing."""
    try:
        found = read_request(content)
    except KeyfobHostError:
        return
    original = read_request(VECTOR.read_bytes())
    assert (found.name, found.public_key, found.not_taken_over) == (
        original.name, original.public_key, original.not_taken_over,
    )  # fmt: skip


@settings(
    deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
@given(
    st.lists(
        st.tuples(st.integers(0, 204), st.sampled_from(["set", "drop", "insert"]), st.binary()),
        min_size=1, max_size=4,
    )
)  # fmt: skip
def test_a_changed_request_is_refused_and_nothing_else_happens(
    changes: list[tuple[int, str, bytes]],
) -> None:
    content = bytearray(der(VECTOR.read_bytes()))
    for place, how, more in changes:
        place = min(place, len(content))
        taken = len(more) if how == "set" else 1 if how == "drop" else 0
        content[place : place + taken] = b"" if how == "drop" else more
    check_refused_or_harmless(bytes(content))


def test_a_request_with_any_bit_changed_is_refused() -> None:
    whole = der(VECTOR.read_bytes())
    for place in range(len(whole)):
        for bit in range(8):
            changed = bytearray(whole)
            changed[place] ^= 1 << bit
            check_refused_or_harmless(bytes(changed))


def test_the_command_takes_a_file_and_standard_input(
    with_ca: Keyfob, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = with_ca.json("cert", "device", "--csr", VECTOR)
    assert (shown["name"], shown["key_type"], shown["sans"]) == ("mymkr", "p256", ["DNS:mymkr"])
    assert shown["not_taken_over"] == []
    assert not (Path(shown["folder"]) / "key.pem").exists()
    assert with_ca.error("cert", "device", "--csr", VECTOR)["code"] == "cert.exists"
    with VECTOR.open() as file:
        monkeypatch.setattr("sys.stdin", file)
        again = with_ca.json("cert", "device", "mymkr", "--csr", "-", "--force")
    assert again["serial"] != shown["serial"]
    wrong = with_ca.error("cert", "device", "other", "--csr", VECTOR, "--force")
    assert wrong["code"] == "cert.request-wrong-name"
    assert with_ca.error("cert", "device", "--csr", "/nowhere")["code"] == "file.missing"


def test_the_command_tells_what_it_did_not_take_over(with_ca: Keyfob, tmp_path: Path) -> None:
    path = tmp_path / "asks.pem"
    path.write_bytes(made(tmp_path, extensions="basicConstraints=CA:TRUE\n"))
    status, out, err = with_ca.run("cert", "device", "--csr", path)
    assert status == 0
    assert "not taken over from the request: basicConstraints CA:TRUE" in err
    assert "no key: it stays where the request was made" in out


def test_the_command_refuses_options_that_do_not_go_with_a_request(with_ca: Keyfob) -> None:
    for arguments in (("--key-type", "p256", "--csr", VECTOR), ()):
        status, _, _ = with_ca.run("cert", "device", *arguments)
        assert status == 2
