"""The operating system's trust store: a CA certificate put in, and taken out again.

Each kind of system has its own way; `TrustStore` says in steps what would be done, so
that a dry run, the command for ``sudo`` and the deed are the same. What is put in is
named after the certificate's SHA-256, and nothing is taken out that is not that very
certificate. Only certificates are handled, never a key. Not reached: programs with a
store of their own (Firefox, Java, Python's certifi).
"""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from shlex import quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from keyfob_host.errors import ExitStatus, KeyfobHostError, explain_os_error
from keyfob_host.files import write_atomic
from keyfob_host.pki.identity import issued_by, load_certs
from keyfob_host.printable import printable

_KEYCHAIN = "/Library/Keychains/System.keychain"
# Where system programs are that an ordinary user's PATH leaves out.
_PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin", "/usr/local/sbin"))


@dataclass(frozen=True)
class Step:
    """One command as a person would type it; what does it here (None: it is run), and undoes it."""

    argv: tuple[str, ...]
    do: Callable[[], None] | None = None
    undo: Callable[[], None] | None = None

    def __str__(self) -> str:
        return shlex.join(self.argv)


@dataclass(frozen=True)
class TrustStore:
    """A store of files in ``folder`` that ``install`` and ``remove`` (commands) take up;
    without a folder the commands take the certificate's file (``{file}``) or its SHA-1."""

    system: str
    package: str
    install: tuple[str, ...]
    remove: tuple[str, ...]
    find: tuple[str, ...] = ()
    folder: Path | None = None
    suffix: str = ".crt"

    def path(self, cert: x509.Certificate) -> Path | None:
        """The file that `install_steps` makes."""
        if self.folder is None:
            return None
        return self.folder / f"keyfob-{_sha256(cert)[:16]}{self.suffix}"

    def has(self, cert: x509.Certificate) -> bool:
        """Whether this very certificate was put in by `install_steps`.

        Error ``trust.other-file``: the name is taken by something else.
        """
        path = self.path(cert)
        if path is None:
            found = subprocess.run(
                _filled(self.find, Path(), cert), capture_output=True, text=True, errors="replace"
            )
            seen = found.stdout.replace(" ", "").lower()
            return found.returncode == 0 and _sha1(cert) in seen
        with explain_os_error(path, "look into the trust store"):
            there = path.exists()
        if not there:
            return False
        if load_certs(path, "the file in the trust store") == [cert]:
            return True
        raise KeyfobHostError(
            "trust.other-file",
            "the trust store has another certificate under the name of this one",
            evidence=str(path),
            fix=f"openssl x509 -in {quote(str(path))} -noout -subject -issuer",
            status=ExitStatus.IDENTITY,
        )

    def install_steps(self, cert: x509.Certificate, file: Path) -> list[Step]:
        """What puts ``cert`` in, which stands in ``file``."""
        path = self.path(cert)
        steps = [Step(_filled(self.install, file, cert))]
        if path is not None:
            pem = cert.public_bytes(Encoding.PEM)
            copy = ("install", "-D", "-m", "0644", str(file), str(path))
            steps.insert(0, Step(copy, lambda: write_atomic(path, pem), path.unlink))
        return steps

    def remove_steps(self, cert: x509.Certificate, file: Path) -> list[Step]:
        """What takes ``cert`` out."""
        path = self.path(cert)
        steps = [Step(_filled(self.remove, file, cert))]
        if path is not None:
            pem = cert.public_bytes(Encoding.PEM)
            remove = ("rm", str(path))
            steps.insert(0, Step(remove, path.unlink, lambda: write_atomic(path, pem)))
        return steps


# By ID or ID_LIKE of os-release(5), or the name of the system.
_UPDATE = ("update-ca-certificates",)
# --fresh: otherwise the links to a certificate taken out stay behind.
_REFRESH = ("update-ca-certificates", "--fresh")
_DEBIAN = TrustStore(
    "Debian", "apt-get install ca-certificates", _UPDATE, _REFRESH,
    folder=Path("/usr/local/share/ca-certificates"),
)  # fmt: skip
_FEDORA = TrustStore(
    "Fedora", "dnf install ca-certificates",
    ("update-ca-trust", "extract"), ("update-ca-trust", "extract"),
    folder=Path("/etc/pki/ca-trust/source/anchors"), suffix=".pem",
)  # fmt: skip
_ARCH = TrustStore(
    "Arch", "pacman -S ca-certificates-utils",
    ("update-ca-trust",), ("update-ca-trust",),
    folder=Path("/etc/ca-certificates/trust-source/anchors"),
)  # fmt: skip
_SUSE = TrustStore(
    "SUSE", "zypper install ca-certificates", _UPDATE, _REFRESH,
    folder=Path("/etc/pki/trust/anchors"), suffix=".pem",
)  # fmt: skip
_ALPINE = TrustStore(
    "Alpine", "apk add ca-certificates", _UPDATE, _REFRESH,
    folder=Path("/usr/local/share/ca-certificates"),
)  # fmt: skip
_MACOS = TrustStore(
    "macOS", "xcode-select --install",
    ("security", "add-trusted-cert", "-d", "-r", "trustRoot", "-k", _KEYCHAIN, "{file}"),
    # -t: its trust settings too.
    ("security", "delete-certificate", "-Z", "{sha1}", "-t", _KEYCHAIN),
    find=("security", "find-certificate", "-a", "-Z", _KEYCHAIN),
)  # fmt: skip
_WINDOWS = TrustStore(
    "Windows", "certutil is a part of Windows",
    ("certutil", "-addstore", "-f", "Root", "{file}"),
    ("certutil", "-delstore", "Root", "{sha1}"),
    find=("certutil", "-store", "Root", "{sha1}"),
)  # fmt: skip
_STORES: Mapping[str, TrustStore] = {
    "debian": _DEBIAN, "ubuntu": _DEBIAN,
    "fedora": _FEDORA, "rhel": _FEDORA, "centos": _FEDORA,
    "arch": _ARCH, "suse": _SUSE, "opensuse": _SUSE, "alpine": _ALPINE,
    "darwin": _MACOS, "windows": _WINDOWS,
}  # fmt: skip


def find_store(
    system: str | None = None, os_release: Mapping[str, str] | None = None
) -> TrustStore:
    """The trust store of this machine, or of the one described; error ``trust.unknown-system``."""
    name = system or platform.system()
    words = [name.lower()]
    if name == "Linux":
        release = _os_release() if os_release is None else os_release
        words = [release.get("ID", ""), *release.get("ID_LIKE", "").split()]
    for word in words:
        if word in _STORES:
            return _STORES[word]
    raise KeyfobHostError(
        "trust.unknown-system",
        "keyfob does not know where this system keeps the CAs it trusts",
        evidence=f"{name}: {' '.join(words).strip() or 'no ID in /etc/os-release'}; "
        f"known: {', '.join(_STORES)}",
        fix="see the system's manual, then give it the file: keyfob cert export ca --format pem",
        status=ExitStatus.HOST,
    )


def check_trust_anchor(cert: x509.Certificate) -> None:
    """Refuse what a strict verifier would not take as a root (RFC 5280 section 4.2.1).

    Errors: ``trust.not-a-ca``, ``trust.not-a-root``, ``trust.expired``.
    """
    subject, issuer = (printable(name.rfc4514_string()) for name in (cert.subject, cert.issuer))
    fault = _not_a_ca(cert)
    if fault:
        raise _refused("not-a-ca", "this certificate is no CA's: it cannot vouch for others",
                       f"{subject}: {fault}")  # fmt: skip
    if not issued_by(cert, cert):
        raise _refused("not-a-root", "this CA is not a root: a trust store wants the one above it",
                       f"{subject}: issuer {issuer}")  # fmt: skip
    now = datetime.now(timezone.utc)
    if now > cert.not_valid_after_utc:
        raise _refused("expired", "this CA's certificate has expired",
                       f"{subject}: notAfter {cert.not_valid_after_utc:%Y-%m-%d}")  # fmt: skip


def carry_out(store: TrustStore, steps: list[Step]) -> None:
    """Do the steps; when one fails or is interrupted, the files are as they were before.

    Errors: ``trust.not-root`` (with the commands for sudo), ``trust.tool-missing``,
    ``trust.command-failed``, ``file.*``.
    """
    programs = [step.argv[0] for step in steps if step.do is None]
    missing = [name for name in programs if shutil.which(name, path=_PATH) is None]
    if missing:
        raise KeyfobHostError(
            "trust.tool-missing",
            f"{missing[0]} is not installed, which takes certificates into the trust store",
            evidence=store.system,
            fix=store.package,
            status=ExitStatus.HOST,
        )
    if hasattr(os, "geteuid") and os.geteuid() != 0:
        raise KeyfobHostError(
            "trust.not-root",
            "only root may change which CAs this system trusts",
            evidence=f"uid {os.geteuid()}",
            fix=" && ".join(f"sudo {step}" for step in steps),
            status=ExitStatus.HOST,
        )
    done: list[Step] = []
    try:
        for step in steps:
            if step.do is None:
                _run(step)
            else:
                with explain_os_error(step.argv[-1], "change the trust store"):
                    step.do()
            done.append(step)
    except BaseException:
        # What a file says must stay true: it is how `TrustStore.has` knows.
        for step in reversed(done):
            if step.undo is not None:
                step.undo()
        raise


def _run(step: Step) -> None:
    environment = {**os.environ, "PATH": _PATH}
    done = subprocess.run(
        step.argv, capture_output=True, text=True, errors="replace", env=environment
    )
    if done.returncode == 0:
        return
    words = (done.stderr or done.stdout).strip().splitlines()[-3:]
    raise KeyfobHostError(
        "trust.command-failed",
        f"{step.argv[0]} failed",
        evidence=f"exit status {done.returncode}: {' / '.join(words)[:300] or 'it said nothing'}",
        fix=f"run it to see all of it: {step}",
        status=ExitStatus.HOST,
    )


def _not_a_ca(cert: x509.Certificate) -> str:
    """Why it is none, or ""."""
    if cert.version is not x509.Version.v3:
        return f"X.509 v{cert.version.value + 1}, without extensions"
    try:
        basic = cert.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        return "no basic constraints"
    if not basic.ca:
        return "basic constraints CA:FALSE"
    try:
        usage = cert.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return ""
    return "" if usage.key_cert_sign else "key usage without keyCertSign"


def _refused(reason: str, cause: str, evidence: str) -> KeyfobHostError:
    return KeyfobHostError(
        f"trust.{reason}", cause, evidence=evidence,
        fix="make one that can be trusted: keyfob ca init", status=ExitStatus.IDENTITY,
    )  # fmt: skip


def _os_release() -> Mapping[str, str]:
    try:
        return platform.freedesktop_os_release()
    except OSError:
        return {}


def _filled(argv: tuple[str, ...], file: Path, cert: x509.Certificate) -> tuple[str, ...]:
    return tuple(word.format(file=file, sha1=_sha1(cert)) for word in argv)


def _sha256(cert: x509.Certificate) -> str:
    return cert.fingerprint(hashes.SHA256()).hex()


def _sha1(cert: x509.Certificate) -> str:
    # A name for the certificate in the two systems' own tools; nothing relies on it.
    return cert.fingerprint(hashes.SHA1()).hex()  # noqa: S303
