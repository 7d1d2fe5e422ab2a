"""A CA whose key is in a token: SoftHSM for real, openssl and python-pkcs11 as judges."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_der_public_key
from judges import needs_openssl, openssl
from keyfob_rig import Keyfob, secret_file

from keyfob_host.errors import KeyfobHostError
from keyfob_host.pki.keys import load_key
from keyfob_host.pki.pkcs11_uri import TokenUri, parse_uri

PIN = "pin-4321-of-a-test"
MODULES = (
    "/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so", "/usr/local/lib/softhsm/libsofthsm2.so",
    "/opt/homebrew/lib/softhsm/libsofthsm2.so",
)  # fmt: skip
MODULE = next((path for path in MODULES if Path(path).exists()), "")


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Tokens "keyfob", "fresh", twice "twin", in a folder of the test; answers python-pkcs11."""
    pkcs11 = pytest.importorskip("pkcs11", reason="python-pkcs11 is not installed")
    if not MODULE or shutil.which("softhsm2-util") is None:
        pytest.skip("SoftHSM is not installed: apt-get install softhsm2")
    folder = tmp_path_factory.mktemp("softhsm")
    (folder / "tokens").mkdir()
    (folder / "conf").write_text(f"directories.tokendir = {folder / 'tokens'}\nlog.level = ERROR\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTHSM2_CONF", str(folder / "conf"))
        for label in ("keyfob", "fresh", "twin", "twin"):
            command = ["softhsm2-util", "--init-token", "--free", "--label", label]
            subprocess.run(
                [*command, "--so-pin", "so-pin-of-a-test", "--pin", PIN],
                check=True, capture_output=True,
            )  # fmt: skip
        yield pkcs11
        pkcs11.unload(MODULE)


@pytest.fixture
def pin(tokens: Any, tmp_path: Path) -> tuple[str, Path]:
    return "--passphrase-file", secret_file(tmp_path, PIN + "\n")


def uri(name: str, token: str = "keyfob") -> str:  # noqa: S107 (a label)
    return f"pkcs11:token={token};object={name}?module-path={MODULE}"


def labels(pkcs11: Any) -> list[str]:
    """Of every private key in the token, by another session than the command's."""
    token = pkcs11.lib(MODULE).get_token(token_label="keyfob")
    kind = {pkcs11.Attribute.CLASS: pkcs11.ObjectClass.PRIVATE_KEY}
    with opened(pkcs11, token) as session:
        return [key.label for key in session.get_objects(kind)]


def opened(pkcs11: Any, token: Any, *, rw: bool = False) -> Any:
    try:
        return token.open(user_pin=PIN, rw=rw)
    except pkcs11.UserAlreadyLoggedIn:
        return token.open(rw=rw)


@needs_openssl
@pytest.mark.parametrize("key_type", ["p256", "rsa2048"])
def test_openssl_verifies_what_the_token_signed(
    keyfob: Keyfob, pin: tuple[str, Path], tmp_path: Path, key_type: str
) -> None:
    made = keyfob.json(
        "ca", "init", "--pkcs11", uri(f"ca-{key_type}"), "--key-type", key_type, *pin
    )
    assert made["key_type"] == key_type and made["key_in_token"]
    keyfob.json("cert", "device", "sensor-01", *pin)
    keyfob.json("cert", "broker", "broker.keyfob.test", *pin)
    ca = keyfob.home / "ca" / "ca.cert.pem"
    openssl("verify", "-x509_strict", "-CAfile", ca, ca)
    for name, purpose in (
        ("device/sensor-01", "sslclient"),
        ("broker/broker.keyfob.test", "sslserver"),
    ):
        cert = keyfob.home / "certs" / name / "cert.pem"
        openssl("verify", "-x509_strict", "-purpose", purpose, "-CAfile", ca, cert)
    keyfob.json("ca", "crl", *pin)
    crl = subprocess.run(
        ["openssl", "crl", "-in", keyfob.home / "ca" / "crl.pem", "-noout", "-CAfile", ca],
        capture_output=True, text=True,
    )  # fmt: skip
    assert crl.returncode == 0 and "verify OK" in crl.stdout + crl.stderr


def test_the_key_stays_in_the_token_and_the_pin_nowhere(
    keyfob: Keyfob, pin: tuple[str, Path], tokens: Any
) -> None:
    shown = ""
    for command in (("ca", "init", "--pkcs11", uri("stays")), ("cert", "device", "a")):
        shown += "".join(map(str, keyfob.run(*command, *pin)))
    assert PIN not in shown and "PRIVATE KEY" not in shown
    files = [path for path in (keyfob.home / "ca").rglob("*") if path.is_file()]
    assert sorted(path.name for path in files) == ["ca.cert.pem", "ca.key.pem"]
    for path in files:
        assert b"PRIVATE KEY" not in path.read_bytes() and PIN.encode() not in path.read_bytes()
    session = opened(tokens, tokens.lib(MODULE).get_token(token_label="keyfob"))
    key = session.get_key(object_class=tokens.ObjectClass.PRIVATE_KEY, label="stays")
    attribute = tokens.Attribute
    assert not key[attribute.EXTRACTABLE] and key[attribute.SENSITIVE]
    assert key[attribute.NEVER_EXTRACTABLE] and key[attribute.LOCAL]
    with pytest.raises(tokens.AttributeSensitive):
        _ = key[attribute.VALUE]
    session.close()
    with pytest.raises(KeyfobHostError) as stays:
        load_key(keyfob.home / "ca" / "ca.key.pem", "it", passphrase=PIN.encode()).private_numbers()
    assert stays.value.code == "pkcs11.key-stays"


def test_the_file_is_what_openssl_s_pkcs11_provider_reads(
    keyfob: Keyfob, pin: tuple[str, Path], tokens: Any
) -> None:
    core = pytest.importorskip("asn1crypto.core", reason="asn1crypto is not installed")
    keyfob.json("ca", "init", "--pkcs11", uri("provider"), *pin)
    first, *lines, last = (keyfob.home / "ca" / "ca.key.pem").read_text().splitlines()
    assert first == "-----BEGIN PKCS#11 PROVIDER URI-----" == last.replace("END", "BEGIN")
    fields = core.Sequence.load(base64.b64decode("".join(lines)), strict=True)
    assert isinstance(fields[0], core.VisibleString) and isinstance(fields[1], core.UTF8String)
    assert fields[0].native == "PKCS#11 Provider URI v1.0"
    found = parse_uri(fields[1].native)
    assert (found.token, found.object, found.module_path) == ("keyfob", "provider", MODULE)
    assert found.serial and found.id and "type=private" in fields[1].native


def test_a_key_that_is_there_can_be_used_and_is_not_replaced(
    keyfob: Keyfob, pin: tuple[str, Path], tokens: Any
) -> None:
    made = keyfob.json("ca", "init", "--pkcs11", uri("again"), *pin)
    error = keyfob.error("ca", "init", "--pkcs11", uri("again"), *pin, "--force")
    assert error["code"] == "pkcs11.key-exists" and "--existing-key" in error["fix"]
    same = keyfob.json("ca", "init", "--pkcs11", uri("again"), "--existing-key", *pin, "--force")
    assert same["sha256"] != made["sha256"] and labels(tokens).count("again") == 1
    # The subject has the key's identifier in it.
    assert same["subject"] == made["subject"]
    error = keyfob.error("ca", "init", "--pkcs11", uri("none"), "--existing-key", *pin, "--force")
    assert error["code"] == "pkcs11.key-missing" and "'again'" in error["evidence"]


def test_when_the_ca_cannot_be_written_its_key_is_removed_again(
    keyfob: Keyfob, pin: tuple[str, Path], tokens: Any, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("KEYFOB_HOME", str(tmp_path / "file" / "home"))
    assert keyfob.error("ca", "init", "--pkcs11", uri("left"), *pin)["code"] == "file.not-a-file"
    assert "left" not in labels(tokens)


@needs_openssl
def test_an_intermediate_below_a_token_s_root_has_a_passphrase_of_its_own(
    keyfob: Keyfob, pin: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BELOW", "words of the intermediate")
    root = ("ca", "init", "--profile", "root", "--pkcs11", uri("root"), *pin)
    assert keyfob.run(*root, "--intermediate")[0] == 2
    keyfob.json(*root)
    assert keyfob.error("ca", "intermediate", *pin)["code"] == "ca.passphrase-undecided"
    made = keyfob.json("ca", "intermediate", *pin, "--new-passphrase-env", "BELOW")
    assert made["key_in_token"] and not made["issuing"]["key_in_token"]
    keyfob.json("cert", "device", "a", "--passphrase-env", "BELOW")
    ca = keyfob.home / "ca"
    openssl(
        "verify", "-x509_strict", "-CAfile", ca / "ca.cert.pem",
        "-untrusted", ca / "issuing" / "ca.cert.pem", keyfob.home / "certs/device/a/cert.pem",
    )  # fmt: skip


def test_what_is_not_there_is_told_with_what_is(
    keyfob: Keyfob, pin: tuple[str, Path], tmp_path: Path
) -> None:
    def error(text: str, *arguments: str | Path) -> dict[str, Any]:
        return keyfob.error("ca", "init", "--pkcs11", text, *arguments)

    missing = error(uri("ca", token="other"), *pin)
    assert missing["code"] == "pkcs11.token-missing" and "'keyfob'" in missing["evidence"]
    assert f"SOFTHSM2_CONF {os.environ['SOFTHSM2_CONF']}" in missing["evidence"]
    twins = error(uri("ca", token="twin"), *pin)
    assert twins["code"] == "pkcs11.several-tokens" and "serial=" in twins["fix"]
    assert error(uri("ca"))["code"] == "pkcs11.pin-needed"
    no_module = error(uri("ca").replace(MODULE, "/nowhere/module.so"), *pin)
    assert no_module["code"] == "pkcs11.module-missing"
    (tmp_path / "text.so").write_text("not a library" * 99)
    no_library = error(uri("ca").replace(MODULE, str(tmp_path / "text.so")), *pin)
    assert no_library["code"] == "pkcs11.module-missing" and "ELF" in no_library["evidence"]
    assert not (keyfob.home / "ca").exists()


def test_a_private_key_without_its_public_key_is_told(
    keyfob: Keyfob, pin: tuple[str, Path], tokens: Any
) -> None:
    session = opened(tokens, tokens.lib(MODULE).get_token(token_label="keyfob"), rw=True)
    public, _ = session.generate_keypair(
        tokens.KeyType.RSA, 2048, store=True, label="half", id=b"h"
    )
    public.destroy()
    session.close()
    error = keyfob.error("ca", "init", "--pkcs11", uri("half"), "--existing-key", *pin)
    assert error["code"] == "pkcs11.no-public-key" and "--id 68" in error["fix"]


def test_two_keys_of_one_name_are_told_apart_by_their_ids(
    keyfob: Keyfob, pin: tuple[str, Path], tokens: Any
) -> None:
    session = opened(tokens, tokens.lib(MODULE).get_token(token_label="keyfob"), rw=True)
    curve = {tokens.Attribute.EC_PARAMS: tokens.ec.encode_named_curve_parameters("secp256r1")}
    parameters = session.create_domain_parameters(tokens.KeyType.EC, curve, local=True)
    for key_id in (b"one", b"two"):
        parameters.generate_keypair(store=True, label="pair", id=key_id)
    session.close()
    error = keyfob.error("ca", "init", "--pkcs11", uri("pair"), "--existing-key", *pin)
    assert error["code"] == "pkcs11.several-keys" and b"two".hex() in error["evidence"]
    chosen = uri("pair").replace("?", ";id=two?")
    assert keyfob.json("ca", "init", "--pkcs11", chosen, "--existing-key", *pin)["key_in_token"]


def test_a_key_that_the_token_would_give_away_is_noted(
    keyfob: Keyfob, pin: tuple[str, Path], tokens: Any
) -> None:
    session = opened(tokens, tokens.lib(MODULE).get_token(token_label="keyfob"), rw=True)
    session.generate_keypair(
        tokens.KeyType.RSA, 2048, store=True, label="open", id=b"open",
        private_template={tokens.Attribute.EXTRACTABLE: True},
    )  # fmt: skip
    session.close()
    arguments = ("ca", "init", "--pkcs11", uri("open"), "--existing-key", *pin)
    assert "CKA_EXTRACTABLE" in keyfob.run(*arguments)[2]
    assert "CKA_EXTRACTABLE" not in keyfob.run("ca", "init", "--pkcs11", uri("shut"), *pin)[2]


def test_a_module_that_does_not_start_is_told(tokens: Any, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "keyfob_host", "--json", "ca", "init", "--pkcs11", uri("x"),
         "--passphrase-fd", "0"],
        input=PIN, capture_output=True, text=True,
        env={**os.environ, "KEYFOB_HOME": str(tmp_path), "SOFTHSM2_CONF": "/nowhere/conf"},
    )  # fmt: skip
    error = json.loads(done.stdout)["error"]
    assert error["code"] == "pkcs11.failed" and "SOFTHSM2_CONF /nowhere/conf" in error["evidence"]


def test_a_wrong_pin_is_told_and_nothing_of_it_shown(
    keyfob: Keyfob, pin: tuple[str, Path], tmp_path: Path
) -> None:
    keyfob.json("ca", "init", "--pkcs11", uri("locked"), *pin)
    # In a process of its own: in this one the token already knows its user.
    for wrong in ("9999-wrong", "1"):
        done = subprocess.run(
            [sys.executable, "-m", "keyfob_host", "--json", "cert", "device", "a",
             "--passphrase-fd", "0"],
            input=wrong + "\n", capture_output=True, text=True,
            env={**os.environ, "KEYFOB_HOME": str(keyfob.home)},
        )  # fmt: skip
        error = json.loads(done.stdout)["error"]
        assert error["code"] == "pkcs11.pin-wrong" and "tr" in error["evidence"]
        assert wrong + "\n" not in done.stdout and "9999" not in done.stdout + done.stderr
    assert not (keyfob.home / "certs").exists()


def test_a_key_in_a_token_has_no_passphrase_to_change(
    keyfob: Keyfob, pin: tuple[str, Path]
) -> None:
    keyfob.json("ca", "init", "--pkcs11", uri("pin"), *pin)
    error = keyfob.error("ca", "passphrase", *pin, "--no-passphrase")
    assert error["code"] == "pkcs11.own-pin" and "--change-pin" in error["fix"]


def test_the_file_passes_the_lint(keyfob: Keyfob, pin: tuple[str, Path]) -> None:
    keyfob.json("ca", "init", "--pkcs11", uri("lint"), *pin)
    status, out, _ = keyfob.run("cert", "check", "ca")
    assert status == 0 and "in a PKCS#11 token" in out and "nothing wrong" in out


@pytest.mark.parametrize("kept", [slice(60), slice(90), slice(0, 300, 2)])
def test_a_damaged_file_is_told(keyfob: Keyfob, pin: tuple[str, Path], kept: slice) -> None:
    keyfob.json("ca", "init", "--pkcs11", uri(f"damaged-{os.urandom(4).hex()}"), *pin)
    file = keyfob.home / "ca" / "ca.key.pem"
    first, rest = file.read_text().split("\n", 1)
    file.write_text(f"{first}\n{rest[kept]}")
    assert keyfob.error("cert", "device", "a", *pin)["code"] == "pkcs11.bad-file"


def test_options_that_do_not_go_together_are_refused(keyfob: Keyfob, pin: tuple[str, Path]) -> None:
    assert keyfob.run("ca", "init", "--existing-key", *pin)[0] == 2
    assert keyfob.run("ca", "init", "--pkcs11", uri("x"), "--no-passphrase")[0] == 2
    assert not (keyfob.home / "ca").exists()


def test_without_python_pkcs11_what_to_install_is_told(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['pkcs11'] = None; from keyfob_host.cli import main; "
        "main(['--json', 'ca', 'init', '--passphrase-fd', '0', '--pkcs11', "
        "'pkcs11:token=a;object=b?module-path=/x.so'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input="1234\n", capture_output=True, text=True,
        env={**os.environ, "KEYFOB_HOME": str(tmp_path / "h")},
    )  # fmt: skip
    error = json.loads(done.stdout)["error"]
    assert error["code"] == "pkcs11.library-missing" and "keyfob[pkcs11]" in error["fix"]


# RFC 7512 section 3 has most of this one.
LONG = (
    "pkcs11:token=The%20Software%20PKCS%2311%20Softtoken;manufacturer=Snake%20Oil,%20Inc.;"
    "model=1.0;object=my-key;type=private;id=%69%95%3E%5C%F4%BD%EC%91"
    "?module-path=/mnt/libmypkcs11.so.1"
)


def test_a_uri_is_read_as_the_rfc_says_and_written_so_that_it_reads_the_same() -> None:
    found = parse_uri(LONG)
    assert found == TokenUri(
        module_path="/mnt/libmypkcs11.so.1", token="The Software PKCS#11 Softtoken",
        manufacturer="Snake Oil, Inc.", model="1.0", object="my-key",
        id=bytes.fromhex("69953e5cf4bdec91"),
    )  # fmt: skip
    assert parse_uri(str(found)) == found
    odd = TokenUri(module_path="/a b/ü;?&.so", token="a;b=c?d&e%f/g", object="ä\n", id=b"\0;")
    assert parse_uri(str(odd)) == odd


@pytest.mark.parametrize(
    "text",
    [
        "", "pkcs11:", "token=a;object=b", "http://example.org",
        "pkcs11:token=a?module-path=/x", "pkcs11:object=a?module-path=/x",
        "pkcs11:token=a;object=b", "pkcs11:token=a;object=b?module-path=",
        "pkcs11:token=a;object=b;type=public?module-path=/x",
        "pkcs11:token=a;token=b;object=b?module-path=/x",
        "pkcs11:token=a;object=%zz?module-path=/x", "pkcs11:token=a;object=%FF?module-path=/x",
        "pkcs11:token=a;object=b%00?module-path=/x",
        "pkcs11:token=a;slot-id=1;object=b?module-path=/x",
        "pkcs11:token=a;object=b?module-path=/x&module-name=y",
        "pkcs11:token=a;object=" + "b" * 3000 + "?module-path=/x",
    ],
)  # fmt: skip
def test_a_uri_that_means_something_else_is_refused(text: str) -> None:
    with pytest.raises(KeyfobHostError) as refused:
        parse_uri(text)
    assert refused.value.code == "pkcs11.bad-uri" and "--pkcs11 'pkcs11:" in refused.value.fix


@pytest.mark.parametrize("attribute", ["pin-value=12345", "PIN-VALUE=12345", "pin-source=file:/x"])
def test_a_pin_in_the_uri_is_refused_and_not_repeated(keyfob: Keyfob, attribute: str) -> None:
    for text in (f"pkcs11:token=a;object=b?module-path=/x&{attribute}", f"pkcs11:{attribute}"):
        status, out, err = keyfob.run("--json", "ca", "init", "--pkcs11", text)
        assert status and json.loads(out)["error"]["code"] == "pkcs11.pin-in-uri"
        assert "12345" not in out + err


def test_another_curve_than_those_of_boards_is_told(
    keyfob: Keyfob, pin: tuple[str, Path], tokens: Any
) -> None:
    session = opened(tokens, tokens.lib(MODULE).get_token(token_label="keyfob"), rw=True)
    curve = {tokens.Attribute.EC_PARAMS: tokens.ec.encode_named_curve_parameters("secp521r1")}
    parameters = session.create_domain_parameters(tokens.KeyType.EC, curve, local=True)
    parameters.generate_keypair(store=True, label="p521", id=b"p521")
    session.close()
    error = keyfob.error("ca", "init", "--pkcs11", uri("p521"), "--existing-key", *pin)
    assert error["code"] == "cert.key-type-unknown"


def test_the_certificate_has_the_token_s_public_key(
    keyfob: Keyfob, pin: tuple[str, Path], tokens: Any
) -> None:
    keyfob.json("ca", "init", "--pkcs11", uri("public"), *pin)
    cert = x509.load_pem_x509_certificate((keyfob.home / "ca" / "ca.cert.pem").read_bytes())
    session = opened(tokens, tokens.lib(MODULE).get_token(token_label="keyfob"))
    public = session.get_key(object_class=tokens.ObjectClass.PUBLIC_KEY, label="public")
    der = tokens.util.ec.encode_ec_public_key(public)
    session.close()
    assert load_der_public_key(der) == cert.public_key()


def pin_was_tried_in_vain(pkcs11: Any) -> bool:
    """As the token itself says (CKF_USER_PIN_COUNT_LOW)."""
    flags = pkcs11.lib(MODULE).get_token(token_label="fresh").flags
    return bool(flags & pkcs11.TokenFlag.USER_PIN_COUNT_LOW)


def test_no_passphrase_of_a_file_is_tried_as_a_token_s_pin(
    keyfob: Keyfob, pin: tuple[str, Path], tokens: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BELOW", "words of the intermediate")
    keyfob.json("ca", "init", "--profile", "root", "--pkcs11", uri("not-tried", "fresh"), *pin)
    keyfob.json("ca", "intermediate", *pin, "--new-passphrase-env", "BELOW")
    status, _, err = keyfob.run("ca", "crl", "--passphrase-env", "BELOW")
    assert status == 0 and "the key of the root stays locked" in err
    assert not pin_was_tried_in_vain(tokens)


def test_the_next_ca_of_a_rollover_can_be_in_the_token_too(
    keyfob: Keyfob, pin: tuple[str, Path], tokens: Any
) -> None:
    keyfob.json("ca", "init", "--pkcs11", uri("first"), *pin)
    keyfob.json("cert", "device", "sensor-01", *pin)
    keyfob.json("cert", "device", "sensor-02", *pin)
    keyfob.json("cert", "revoke", "sensor-02", *pin)
    refused = keyfob.error("ca", "rollover", "begin", "--no-passphrase")
    assert refused["code"] == "ca.rollover-token" and "--on-disk" in refused["fix"]
    taken = keyfob.error("ca", "rollover", "begin", "--pkcs11", uri("first"), *pin)
    assert taken["code"] == "pkcs11.key-exists"
    keyfob.json("ca", "rollover", "begin", "--pkcs11", uri("second"), *pin)
    again = keyfob.json("ca", "rollover", "begin", "--pkcs11", uri("third"), *pin)
    assert again["phase"] == "begun" and "third" not in labels(tokens)
    keyfob.json("ca", "rollover", "switch", *pin)
    assert all(one["signed"] for one in keyfob.json("ca", "crl", *pin)["crls"])
    keyfob.json("cert", "renew", "sensor-01", *pin)
    _, _, err = keyfob.run("ca", "rollover", "finish", *pin)
    assert "the former CA's key is in its token still" in err and "object=first" in err
    assert {"first", "second"} <= set(labels(tokens))
    assert keyfob.json("ca", "show")["key_in_token"]


def test_a_root_in_a_token_and_an_intermediate_roll_over_together(
    keyfob: Keyfob, pin: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BELOW", "words of the intermediate")
    below = ("--new-passphrase-env", "BELOW")
    keyfob.json("ca", "init", "--profile", "root", "--pkcs11", uri("root-1"), *pin)
    keyfob.json("ca", "intermediate", *pin, *below)
    keyfob.json("ca", "rollover", "begin", "--pkcs11", uri("root-2"), *pin, *below)
    keyfob.json("ca", "rollover", "switch")
    shown = keyfob.json("ca", "show")
    assert shown["key_in_token"] and shown["issuing"]["key_encrypted"]
    keyfob.json("cert", "device", "sensor-01", "--passphrase-env", "BELOW")
