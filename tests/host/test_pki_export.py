"""Exports judged by who takes them: openssl, C and C++ compilers, ESP-IDF's NVS generator."""

from __future__ import annotations

import json
import os
import shutil
import stat
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from judges import needs_openssl, openssl
from keyfob_rig import Keyfob, secret_file

from keyfob_host.errors import KeyfobHostError
from keyfob_host.pki.authority import Authority
from keyfob_host.pki.export import Bundle, Files, export, pem_bundle
from keyfob_host.pki.identity import Identity

PASSPHRASE = b"correct horse"


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.ephemeral("Test CA")


@pytest.fixture(scope="module", params=["p256", "rsa2048"])
def device(authority: Authority, request: pytest.FixtureRequest) -> Identity:
    return authority.issue_device("sensor-01", key_type=request.param)


def write(folder: Path, files: Files) -> Path:
    """The files on disk; the only one's path, or the folder."""
    for name, (content, mode) in files.items():
        (folder / name).write_bytes(content)
        (folder / name).chmod(mode)
    return folder / name if len(files) == 1 else folder


def refusal(*arguments: object, **options: object) -> str:
    with pytest.raises(KeyfobHostError) as refused:
        export(*arguments, **options)  # type: ignore[arg-type]
    assert refused.value.fix
    return refused.value.code


def same_key(one: bytes | str, identity: Identity) -> bool:
    text = one.encode() if isinstance(one, str) else one
    key = serialization.load_pem_private_key(text[text.index(b"-----BEGIN") :], None)
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return key.public_key().public_bytes(*form) == identity.key.public_key().public_bytes(*form)


@pytest.mark.parametrize("form", ["pem", "der", "p12", "c-header", "nvs-csv"])
def test_the_key_goes_along_only_when_asked_for_and_then_with_mode_0600(
    device: Identity, form: str
) -> None:
    options = {"passphrase": PASSPHRASE} if form == "p12" else {}
    without = export(device, form, **options)  # type: ignore[arg-type]
    assert all(mode == 0o644 for _, mode in without.values())
    with_key = export(device, form, with_key=True, **options)  # type: ignore[arg-type]
    modes = [mode for name, (_, mode) in with_key.items() if len(with_key) == 1 or "key" in name]
    assert modes == [0o600]
    secret = device.key_der_for("axtls" if device.key.key_size > 1000 else "keyfob")
    shown = b"".join(content for content, _ in without.values())
    assert secret not in shown and b"PRIVATE" not in shown


@needs_openssl
def test_openssl_reads_each_pem_and_der_file(device: Identity, tmp_path: Path) -> None:
    write(tmp_path, export(device, "pem", with_key=True))
    write(tmp_path, export(device, "der", with_key=True))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "ca.der", "ca.pem", "cert.der", "cert.pem", "chain.pem", "key.der", "key.pem",
    ]  # fmt: skip
    openssl("verify", "-CAfile", tmp_path / "ca.pem", tmp_path / "cert.pem")
    for stem in ("ca", "cert"):
        text = openssl("x509", "-inform", "DER", "-in", tmp_path / f"{stem}.der")
        assert text.strip() in (tmp_path / f"{stem}.pem").read_text()
    assert same_key(openssl("pkey", "-inform", "DER", "-in", tmp_path / "key.der"), device)
    assert same_key(openssl("pkey", "-in", tmp_path / "key.pem"), device)


@needs_openssl
def test_a_pem_key_with_a_passphrase_is_encrypted_with_many_rounds(
    device: Identity, tmp_path: Path
) -> None:
    write(tmp_path, export(device, "pem", with_key=True, passphrase=PASSPHRASE))
    (tmp_path / "pass").write_bytes(PASSPHRASE)
    key = tmp_path / "key.pem"
    assert same_key(openssl("pkey", "-in", key, "-passin", f"file:{tmp_path}/pass"), device)
    asn1 = openssl("asn1parse", "-in", key)
    assert "PBKDF2" in asn1 and "hmacWithSHA256" in asn1 and "aes-256-cbc" in asn1
    assert f":{600_000:06X}" in asn1  # openssl prints the INTEGER in hexadecimal


@needs_openssl
def test_openssl_opens_the_p12_and_finds_key_chain_and_friendly_name(
    device: Identity, tmp_path: Path
) -> None:
    path = write(tmp_path, export(device, "p12", with_key=True, passphrase=PASSPHRASE))
    (tmp_path / "pass").write_bytes(PASSPHRASE)
    source = ("pkcs12", "-in", path, "-passin", f"file:{tmp_path}/pass")
    assert path.name == "sensor-01.p12"
    assert "AES-256-CBC, Iteration 600000" in openssl(*source, "-info", "-noout")
    leaf = openssl(*source, "-clcerts", "-nokeys")
    assert "friendlyName: sensor-01" in leaf and device.cert_pem().decode() in leaf
    assert device.ca_pem().decode() in openssl(*source, "-cacerts", "-nokeys")
    assert same_key(openssl(*source, "-nocerts", "-nodes"), device)
    wrong = subprocess.run(["openssl", "pkcs12", "-in", path, "-passin", "pass:no", "-noout"])
    assert wrong.returncode != 0


@needs_openssl
def test_a_legacy_p12_has_what_old_tools_know(device: Identity, tmp_path: Path) -> None:
    files = export(device, "p12", with_key=True, passphrase=PASSPHRASE, legacy=True)
    path = write(tmp_path, files)
    (tmp_path / "pass").write_bytes(PASSPHRASE)
    # openssl 1.1 has no -legacy: it reads these as they are.
    legacy = ["-legacy"] if "-legacy" in openssl_help("pkcs12") else []
    source = ("pkcs12", "-in", path, "-passin", f"file:{tmp_path}/pass", *legacy)
    info = openssl(*source, "-info", "-noout")
    assert "3-KeyTripleDES-CBC" in info and "AES" not in info
    assert same_key(openssl(*source, "-nocerts", "-nodes"), device)


def openssl_help(command: str) -> str:
    done = subprocess.run(["openssl", command, "-help"], capture_output=True, text=True)
    return done.stdout + done.stderr


def compiled(folder: Path, compiler: list[str], header: Path, expressions: list[str]) -> bytes:
    """What a program that includes the header (from two files) writes of it."""
    suffix = ".cpp" if "++" in compiler[0] else ".c"
    lines = "".join(f"    fwrite({one}, 1, {size}, stdout);\n" for one, size in expressions)
    main, other = folder / f"main{suffix}", folder / f"other{suffix}"
    main.write_text(
        f'#include <stdio.h>\n#include "{header.name}"\n#include "{header.name}"\n'
        f"int main(void) {{\n{lines}    return 0;\n}}\n"
    )
    other.write_text(f'#include "{header.name}"\nint other;\n')
    command = [*compiler, "-Wall", "-Wextra", "-Werror", "-pedantic", "-o", folder / "program"]
    done = subprocess.run([*command, main, other], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return subprocess.run([folder / "program"], capture_output=True, check=True).stdout


@pytest.mark.parametrize("compiler", [["gcc", "-std=c99"], ["g++", "-std=c++11"]], ids=["c", "c++"])
def test_a_c_header_compiles_to_the_bytes_of_the_certificates(
    device: Identity, tmp_path: Path, compiler: list[str]
) -> None:
    if shutil.which(compiler[0]) is None:
        pytest.skip(f"{compiler[0]} is not installed")
    header = write(tmp_path, export(device, "c-header", with_key=True))
    parts = [f"keyfob_{stem}_der" for stem in ("ca", "cert", "key")]
    names = [(name, f"{name}_len") for name in parts]
    assert compiled(tmp_path, compiler, header, names) == (
        device.anchors_der()[0] + device.cert_der() + traditional_der(device)
    )
    assert [int(one) for one in lengths(header)] == [
        len(device.anchors_der()[0]), len(device.cert_der()), len(traditional_der(device))
    ]  # fmt: skip
    header = write(
        tmp_path, export(device, "c-header", with_key=True, pem_string=True, prefix="my_")
    )
    parts = [f"my_{stem}_pem" for stem in ("ca", "cert", "key")]
    # sizeof counts the NUL, which mbedTLS wants counted.
    names = [(name, f"sizeof {name}") for name in parts]
    assert compiled(tmp_path, compiler, header, names).split(b"\0") == [
        device.ca_pem(), device.cert_pem(), device.key_pem(), b""
    ]  # fmt: skip


def lengths(header: Path) -> list[str]:
    return [
        line.split("=")[1].strip(" ;") for line in header.read_text().splitlines() if "_len" in line
    ]


def traditional_der(identity: Identity) -> bytes:
    form = serialization.PrivateFormat.TraditionalOpenSSL
    return identity.key.private_bytes(
        serialization.Encoding.DER, form, serialization.NoEncryption()
    )


def test_a_name_that_would_end_the_header_s_comment_does_not(authority: Authority) -> None:
    bundle = Bundle("*/ #error ../\nx /* ß", (), (authority.cert,))
    ((name, (content, _)),) = export(bundle, "c-header").items()
    assert "/" not in name and not name.startswith(".")
    comment, rest = content.decode("ascii").split("*/", 1)
    assert "#error" in comment and "#error" not in rest and comment.count("/*") == 1


def nvs_entries(image: bytes) -> dict[str, bytes]:
    """Blobs and strings of an NVS image, by Espressif's description of the format.

    Pages of 4096 bytes: header 32, bitmap 32, entries of 32. Types: 0x21 string,
    0x42 chunk of a blob, 0x48 index of a blob; the data follow their entry.
    """
    found: dict[str, bytes] = {}
    for page in range(0, len(image), 4096):
        at = page + 64
        while at < page + 4096 and image[at] != 0xFF:
            _, kind, span, _ = image[at : at + 4]
            key = image[at + 8 : at + 24].split(b"\0")[0].decode()
            if kind in (0x21, 0x42):
                (size,) = struct.unpack_from("<H", image, at + 24)
                found[key] = found.get(key, b"") + image[at + 32 : at + 32 + size]
            at += 32 * span
    return found


@pytest.mark.parametrize("pem_string", [False, True], ids=["der", "pem"])
def test_the_nvs_generator_makes_an_image_with_certificates_and_key(
    device: Identity, tmp_path: Path, pem_string: bool
) -> None:
    pytest.importorskip(
        "esp_idf_nvs_partition_gen", reason="esp-idf-nvs-partition-gen is not installed"
    )
    path = write(tmp_path, export(device, "nvs-csv", with_key=True, pem_string=pem_string))
    image = tmp_path / "nvs.bin"
    command = [sys.executable, "-m", "esp_idf_nvs_partition_gen", "generate", path, image, "0x6000"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and image.exists(), done.stdout + done.stderr
    found = nvs_entries(image.read_bytes())
    if pem_string:
        wanted = {"ca": device.ca_pem(), "cert": device.cert_pem(), "key": device.key_pem()}
        assert found == {key: text + b"\0" for key, text in wanted.items()}
    else:
        assert found == {
            "ca": device.anchors_der()[0], "cert": device.cert_der(),
            "key": traditional_der(device),
        }  # fmt: skip
    assert b"keyfob\0" in image.read_bytes()


def test_what_cannot_be_exported_is_refused(device: Identity, authority: Authority) -> None:
    anchor = Bundle("ca", (), (authority.cert,))
    assert refusal(anchor, "pem", with_key=True) == "export.no-key"
    assert refusal(device, "p12", with_key=True) == "export.passphrase-needed"
    assert refusal(device, "der", with_key=True, passphrase=b"x") == "export.passphrase-unused"
    assert refusal(device, "pem", passphrase=b"x") == "export.passphrase-unused"
    for prefix in ("", "1a", "a-b", "a b", "x" * 40):
        assert refusal(device, "c-header", prefix=prefix) == "export.bad-prefix"
    for namespace in ("", "a" * 16, "a,b", "ä"):
        assert refusal(device, "nvs-csv", namespace=namespace) == "export.bad-namespace"
    long = Bundle("many", (authority.cert,) * 12, ())
    assert refusal(long, "nvs-csv", pem_string=True) == "export.too-long"


def test_one_pem_file_holds_key_chain_and_anchors_in_that_order(device: Identity) -> None:
    content, mode = pem_bundle(export(device, "pem", with_key=True))
    assert mode == 0o600
    assert content == device.key_pem() + device.chain_pem() + device.ca_pem()


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def bench(with_ca: Keyfob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Keyfob:
    with_ca.json("cert", "device", "sensor-01")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return with_ca


def test_names_paths_and_the_ca_are_exported_into_this_folder(bench: Keyfob) -> None:
    made = bench.json("cert", "export", "sensor-01", "--format", "pem", "--with-key")
    assert made["files"] == [f"sensor-01-pem/{x}.pem" for x in ("cert", "chain", "ca", "key")]
    assert mode_of(Path("sensor-01-pem/key.pem")) == 0o600
    identity = Identity.read(bench.home / "certs" / "device" / "sensor-01")
    assert Path("sensor-01-pem/key.pem").read_bytes() == identity.key_pem()
    folder = bench.home / "certs" / "device" / "sensor-01"
    assert bench.json("cert", "export", folder, "--format", "c-header")["files"] == ["sensor-01.h"]
    assert bench.json("cert", "export", "ca", "--format", "der", "--out", "ca.der")["files"] == [
        "ca.der"
    ]
    made = bench.json("cert", "export", "ca", "--format", "nvs-csv", "--out", "new/")
    assert made["files"] == ["new/ca.csv"]
    made = bench.json("cert", "export", "ca.der", "--format", "pem", "--out", "again.pem")
    assert made["files"] == ["again.pem"] and not made["with_key"]
    assert Path("again.pem").read_bytes() == identity.ca_pem()


def test_a_key_is_not_opened_unless_it_is_asked_for(bench: Keyfob) -> None:
    (bench.home / "certs" / "device" / "sensor-01" / "key.pem").unlink()
    bench.json("cert", "export", "sensor-01", "--format", "der")
    error = bench.error("cert", "export", "sensor-01", "--format", "p12", "--with-key")
    assert error["code"] in ("file.missing", "cert.missing", "export.no-key")


def test_a_second_export_needs_force_and_leaves_other_files_alone(bench: Keyfob) -> None:
    command = ("cert", "export", "sensor-01", "--format", "der", "--out", "out", "--with-key")
    bench.json(*command)
    Path("out/notes.txt").write_text("mine")
    Path("out/ca.der").write_bytes(b"old")
    assert bench.error(*command)["code"] == "export.exists"
    assert Path("out/ca.der").read_bytes() == b"old"
    bench.json(*command, "--force")
    assert Path("out/ca.der").read_bytes() != b"old"
    assert Path("out/notes.txt").read_text() == "mine" and mode_of(Path("out/key.der")) == 0o600


def test_a_folder_of_the_name_does_not_hide_the_identity(bench: Keyfob) -> None:
    for name in ("sensor-01", "ca"):
        Path(name).mkdir()
        made = bench.json("cert", "export", name, "--format", "c-header", "--out", "a.h", "--force")
        assert made["name"] == name and f"Made by keyfob: {name}." in Path("a.h").read_text()


def test_an_intermediate_is_in_the_chain_and_the_root_alone_is_trusted(
    keyfob: Keyfob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    keyfob.json("ca", "init", "--no-passphrase", "--intermediate")
    keyfob.json("cert", "device", "a")
    keyfob.json("cert", "export", "a", "--format", "der", "--out", "a")
    assert sorted(path.name for path in Path("a").iterdir()) == ["ca.der", "cert.der", "cert1.der"]
    ca = x509.load_der_x509_certificate(Path("a/ca.der").read_bytes())
    issuing = x509.load_der_x509_certificate(Path("a/cert1.der").read_bytes())
    issuing.verify_directly_issued_by(ca)
    keyfob.json("cert", "export", "ca", "--format", "der", "--out", "b")
    assert Path("b/ca.der").read_bytes() == Path("a/ca.der").read_bytes()
    keyfob.json("cert", "export", keyfob.home / "ca" / "issuing", "--format", "pem", "--out", "c")
    assert sorted(path.name for path in Path("c").iterdir()) == ["ca.pem", "cert.pem", "chain.pem"]


def test_exports_that_make_no_sense_are_told(bench: Keyfob) -> None:
    for arguments, code in (
        (("ca", "--format", "pem", "--with-key"), "export.ca-key"),
        (("nobody", "--format", "pem"), "cert.unknown"),
        (("sensor-01", "--format", "der", "--out", "x.der"), "export.several-files"),
        (("sensor-01", "--format", "p12"), "export.passphrase-needed"),
        (("/nowhere/x.pem", "--format", "der"), "file.missing"),
    ):
        assert bench.error("cert", "export", *arguments)["code"] == code, arguments
    assert list(Path().iterdir()) == []


def test_without_a_ca_the_command_that_makes_one_is_told(keyfob: Keyfob) -> None:
    error = keyfob.error("cert", "export", "ca", "--format", "pem")
    assert (error["code"], error["fix"]) == ("ca.missing", "keyfob ca init")


def test_standard_output_takes_one_file_and_nothing_else(bench: Keyfob) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [sys.executable, "-m", "keyfob_host", "cert", "export", *arguments, "--out", "-"],
            capture_output=True, env={**os.environ, "KEYFOB_HOME": str(bench.home)},
        )  # fmt: skip

    identity = Identity.read(bench.home / "certs" / "device" / "sensor-01")
    pem = run("sensor-01", "--format", "pem")
    assert pem.returncode == 0 and pem.stdout == identity.chain_pem() + identity.ca_pem()
    der = run("ca", "--format", "der")
    assert x509.load_der_x509_certificate(der.stdout) == identity.anchors[0]
    assert b"export.several-files" in run("sensor-01", "--format", "der").stderr
    assert run("sensor-01", "--format", "pem", "--json").returncode == 2


def test_a_p12_takes_its_passphrase_from_a_file(bench: Keyfob, tmp_path: Path) -> None:
    file = secret_file(tmp_path, PASSPHRASE.decode() + "\n")
    made = bench.json(
        "cert", "export", "sensor-01", "--format", "p12", "--with-key", "--passphrase-file", file
    )
    assert made["files"] == ["sensor-01.p12"] and PASSPHRASE.decode() not in json.dumps(made)
    assert mode_of(Path("sensor-01.p12")) == 0o600
    content = Path("sensor-01.p12").read_bytes()
    loaded = serialization.pkcs12.load_pkcs12(content, PASSPHRASE)
    assert loaded.cert is not None and loaded.cert.friendly_name == b"sensor-01"
