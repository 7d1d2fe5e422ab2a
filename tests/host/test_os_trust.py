"""The operating system's trust store: for real on Debian as root, elsewhere as dry runs."""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from filelock import FileLock
from keyfob_rig import Keyfob

from keyfob_host.errors import KeyfobHostError
from keyfob_host.pki import os_trust
from keyfob_host.pki.authority import Authority
from keyfob_host.pki.identity import Identity
from keyfob_host.pki.os_trust import Step, TrustStore, carry_out, check_trust_anchor, find_store

LOCAL, SYSTEM = Path("/usr/local/share/ca-certificates"), Path("/etc/ssl/certs")


def is_debian() -> bool:
    try:
        return find_store().folder == LOCAL and find_store().system == "Debian"
    except KeyfobHostError:
        return False


for_real = pytest.mark.skipif(
    os.geteuid() != 0 or not is_debian() or shutil.which("update-ca-certificates") is None,
    reason="changes the system's trust store: only as root on Debian, with ca-certificates",
)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.ephemeral("Throw-away CA of a keyfob test")


def state() -> dict[str, str]:
    """Every file and link of the system's store, and what it holds."""
    return {
        str(path): str(path.readlink()) if path.is_symlink() else path.read_bytes().hex()
        for folder in (LOCAL, SYSTEM)
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


@pytest.fixture
def store_alone() -> Iterator[None]:
    """Nobody else of these tests looks at the system's store or changes it meanwhile."""
    with FileLock(Path(tempfile.gettempdir()) / f"keyfob-trust-store-{os.getuid()}.lock"):
        yield


@pytest.fixture
def store_as_it_was(
    store_alone: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, str]]:
    """The system's store; what a test leaves changed of it is put back, file by file."""
    for variable in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(variable, raising=False)
    before = state()
    for folder in (LOCAL, SYSTEM):
        shutil.copytree(folder, tmp_path / folder.name, symlinks=True)
    yield before
    after = state()
    for path in map(Path, after.keys() - before.keys()):
        path.unlink()
    for path in (Path(name) for name, content in before.items() if after.get(name) != content):
        folder = LOCAL if path.is_relative_to(LOCAL) else SYSTEM
        saved = tmp_path / folder.name / path.relative_to(folder)
        new = path.with_name(path.name + ".keyfob")
        shutil.copy2(saved, new, follow_symlinks=False)
        new.replace(path)


def openssl_trusts(identity: Identity, tmp_path: Path) -> bool:
    (tmp_path / "cert.pem").write_bytes(identity.cert_pem())
    command = ["openssl", "verify", "-CApath", SYSTEM, tmp_path / "cert.pem"]
    by_path = subprocess.run(command, capture_output=True, text=True).returncode == 0
    command[2:4] = ["-CAfile", SYSTEM / "ca-certificates.crt"]
    by_file = subprocess.run(command, capture_output=True, text=True).returncode == 0
    assert by_path == by_file
    return by_path


def python_trusts(identity: Identity, tmp_path: Path) -> bool:
    """A handshake in memory with Python's default context, which loads the system's store."""
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    folder = identity.write(tmp_path / "server", force=True)
    server_context.load_cert_chain(folder / "chain.pem", folder / "key.pem")
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    # A Python that brings an OpenSSL of its own may look elsewhere: tell it where.
    paths = ssl.get_default_verify_paths()
    own = Path(paths.openssl_capath).resolve() == SYSTEM
    context = ssl.create_default_context(cafile=None if own else SYSTEM / "ca-certificates.crt")
    client = context.wrap_bio(to_client, to_server, server_hostname="broker.keyfob.test")
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLCertVerificationError:
                return False
    return client.version() is not None


@for_real
def test_after_install_openssl_and_python_trust_and_after_remove_no_longer(
    with_ca: Keyfob,
    tmp_path: Path,
    store_as_it_was: dict[str, str],
) -> None:
    broker = Authority.load(with_ca.home / "ca").issue_broker("broker.keyfob.test")
    assert not openssl_trusts(broker, tmp_path) and not python_trusts(broker, tmp_path)
    made = with_ca.json("ca", "trust", "install")
    assert made["changed"] and Path(made["file"]).parent == LOCAL
    sha256 = with_ca.json("ca", "show")["sha256"]
    assert sha256[:16] in made["file"] and "PRIVATE" not in Path(made["file"]).read_text()
    assert openssl_trusts(broker, tmp_path) and python_trusts(broker, tmp_path)
    assert not with_ca.json("ca", "trust", "install")["changed"]
    assert with_ca.json("ca", "trust", "remove")["changed"]
    assert not openssl_trusts(broker, tmp_path) and not python_trusts(broker, tmp_path)
    assert not with_ca.json("ca", "trust", "remove")["changed"]
    # The same files and the same bundle; what hooks of other programs made is not judged.
    bundle, after = str(SYSTEM / "ca-certificates.crt"), state()
    assert after.keys() == store_as_it_was.keys() and after[bundle] == store_as_it_was[bundle]


@for_real
def test_nothing_is_removed_that_is_another_certificate(
    with_ca: Keyfob,
    store_as_it_was: dict[str, str],
    authority: Authority,
) -> None:
    (command, *_) = with_ca.json("ca", "trust", "remove", "--dry-run")["commands"]
    file = Path(command.split()[-1])
    file.write_bytes(authority.cert_pem())
    for verb in ("install", "remove"):
        assert with_ca.error("ca", "trust", verb)["code"] == "trust.other-file"
    assert file.read_bytes() == authority.cert_pem()
    file.unlink()
    assert state() == store_as_it_was


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrustStore:
    """A store in a folder of the test's, for what happens when its program fails."""
    monkeypatch.setattr(os_trust.os, "geteuid", lambda: 0)
    (tmp_path / "anchors").mkdir()
    return TrustStore("Test", "apt-get install nothing", ("false",), ("false",),
                      folder=tmp_path / "anchors")  # fmt: skip


def test_when_the_system_s_program_fails_the_files_are_as_before(
    stand_in: TrustStore, authority: Authority, tmp_path: Path
) -> None:
    path = stand_in.path(authority.cert)
    assert path is not None and not stand_in.has(authority.cert)
    with pytest.raises(KeyfobHostError) as failed:
        carry_out(stand_in, stand_in.install_steps(authority.cert, tmp_path / "ca.pem"))
    assert failed.value.code == "trust.command-failed" and "false" in failed.value.fix
    assert not path.exists()
    path.write_bytes(authority.cert_pem())
    with pytest.raises(KeyfobHostError):
        carry_out(stand_in, stand_in.remove_steps(authority.cert, tmp_path / "ca.pem"))
    assert stand_in.has(authority.cert)


def test_a_missing_program_is_told_with_its_package(stand_in: TrustStore) -> None:
    with pytest.raises(KeyfobHostError) as missing:
        carry_out(stand_in, [Step(("keyfob-no-such-program",))])
    assert missing.value.code == "trust.tool-missing"
    assert missing.value.fix == "apt-get install nothing"


def test_without_root_the_commands_for_sudo_are_told(
    with_ca: Keyfob,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os_trust.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os_trust, "_os_release", lambda: {"ID": "debian"})
    monkeypatch.setattr(os_trust.shutil, "which", lambda *_, **__: "/usr/sbin/x")
    error = with_ca.error("ca", "trust", "install")
    assert error["code"] == "trust.not-root"
    first, second = error["fix"].split(" && ")
    cert = with_ca.home / "ca" / "ca.cert.pem"
    assert first.startswith(f"sudo install -D -m 0644 {cert} {LOCAL}/keyfob-")
    assert second == "sudo update-ca-certificates"


FEDORA, ARCH = "/etc/pki/ca-trust/source/anchors", "/etc/ca-certificates/trust-source/anchors"
SUSE = "/etc/pki/trust/anchors"
KEYCHAIN = "/Library/Keychains/System.keychain"


# From the manuals: update-ca-certificates(8), update-ca-trust(8) of Fedora and of Arch,
# security(1) of macOS, Microsoft's certutil reference.
@pytest.mark.parametrize(
    ("system", "release", "install", "remove"),
    [
        ("Linux", "debian", f"@{LOCAL}/*.crt update-ca-certificates",
         "*update-ca-certificates --fresh"),
        ("Linux", "linuxmint ubuntu debian", f"@{LOCAL}/*.crt update-ca-certificates",
         "*update-ca-certificates --fresh"),
        ("Linux", "fedora", f"@{FEDORA}/*.pem update-ca-trust extract", "*update-ca-trust extract"),
        ("Linux", "rocky rhel centos fedora", f"@{FEDORA}/*.pem update-ca-trust extract",
         "*update-ca-trust extract"),
        ("Linux", "manjaro arch", f"@{ARCH}/*.crt update-ca-trust", "*update-ca-trust"),
        ("Linux", "opensuse-leap suse opensuse", f"@{SUSE}/*.pem update-ca-certificates",
         "*update-ca-certificates --fresh"),
        ("Linux", "alpine", f"@{LOCAL}/*.crt update-ca-certificates",
         "*update-ca-certificates --fresh"),
        ("Darwin", "", f"security add-trusted-cert -d -r trustRoot -k {KEYCHAIN} FILE",
         f"security delete-certificate -Z SHA1 -t {KEYCHAIN}"),
        ("Windows", "", "certutil -addstore -f Root FILE", "certutil -delstore Root SHA1"),
    ],
)  # fmt: skip
def test_the_steps_are_those_of_the_system_s_manual(
    authority: Authority, system: str, release: str, install: str, remove: str
) -> None:
    first, *like = release.split() or [""]
    store = find_store(system, {"ID": first, "ID_LIKE": " ".join(like)})
    file = Path("/home/me/ca.pem")
    sha1 = authority.cert.fingerprint(hashes.SHA1()).hex()  # noqa: S303
    path = str(store.path(authority.cert))

    def expected(text: str, copy: str) -> list[str]:
        if text.startswith("@"):
            place, command = text[1:].split(" ", 1)
            assert Path(path).match(place)
            return [copy, command]
        if text.startswith("*"):
            return [copy, text[1:]]
        return [text.replace("FILE", str(file)).replace("SHA1", sha1)]

    steps = [str(one) for one in store.install_steps(authority.cert, file)]
    assert steps == expected(install, f"install -D -m 0644 {file} {path}")
    steps = [str(one) for one in store.remove_steps(authority.cert, file)]
    assert steps == expected(remove, f"rm {path}")


def test_an_unknown_system_is_told() -> None:
    for system, release in (("Linux", {"ID": "plan9"}), ("Linux", {}), ("AIX", {})):
        with pytest.raises(KeyfobHostError) as unknown:
            find_store(system, release)
        assert unknown.value.code == "trust.unknown-system"


def test_what_no_strict_store_would_take_is_refused(authority: Authority) -> None:
    check_trust_anchor(authority.cert)
    now = datetime.now(timezone.utc)
    old = Authority.ephemeral("Old", not_before=now - timedelta(9), not_after=now - timedelta(2))
    vectors = Path(__file__).parent.parent / "vectors"
    version1 = x509.load_pem_x509_certificate((vectors / "device-x509v1.pem").read_bytes())
    for cert, code in (
        (authority.issue_device("a").cert, "trust.not-a-ca"),
        (version1, "trust.not-a-ca"),
        (old.cert, "trust.expired"),
        (below(authority).cert, "trust.not-a-root"),
    ):
        with pytest.raises(KeyfobHostError) as refused:
            check_trust_anchor(cert)
        assert refused.value.code == code


def below(authority: Authority) -> Authority:
    """A CA certificate that another CA signed."""
    made = Authority.ephemeral("Below")
    extensions = [made.cert.extensions[index] for index in range(len(made.cert.extensions))]
    builder = (
        x509.CertificateBuilder()
        .subject_name(made.cert.subject)
        .issuer_name(authority.cert.subject)
        .public_key(made.cert.public_key())
        .serial_number(made.cert.serial_number)
        .not_valid_before(made.cert.not_valid_before_utc)
        .not_valid_after(made.cert.not_valid_after_utc)
    )
    for extension in extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    return Authority(cert=builder.sign(authority.key, hashes.SHA256()), key=made.key)


def test_a_dry_run_shows_the_commands_and_does_nothing(with_ca: Keyfob, store_alone: None) -> None:
    before = state() if LOCAL.exists() and SYSTEM.exists() else {}
    for verb in ("install", "remove"):
        status, out, err = with_ca.run("ca", "trust", verb, "--dry-run")
        if status:
            pytest.skip(f"no known trust store here: {err}")
        assert "as root:" in out
    assert (state() if before else {}) == before
