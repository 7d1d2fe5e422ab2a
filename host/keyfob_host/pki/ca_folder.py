"""Where a certificate authority is kept: ``ca/``, and ``ca/issuing/`` below a root.

``ca.cert.pem`` and ``ca.key.pem`` (0600, PKCS#8, encrypted when a passphrase was given)
are the root's. With an intermediate, ``issuing/`` has the same two of the CA that signs,
and ``chain.pem``: its certificate, then the root's. The root's key may then be taken
away: nothing but a new intermediate needs it.

While the bench goes over to another CA (`pki.rollover`), ``next/`` or ``previous/`` has all
that of the other one, and ``clients.pem`` the certificates of both.
"""

from __future__ import annotations

from pathlib import Path
from shlex import quote

from cryptography import x509

from keyfob_host.errors import ExitStatus, KeyfobHostError, explain_os_error
from keyfob_host.files import KEY_MODE, PUBLIC_MODE
from keyfob_host.pki.identity import certs_pem, load_certs
from keyfob_host.pki.keys import PrivateKey, key_pem, load_key, public_der

CERT_FILE = "ca.cert.pem"
KEY_FILE = "ca.key.pem"
CHAIN_FILE = "chain.pem"
ISSUING = "issuing"
NEXT = "next"
PREVIOUS = "previous"
CLIENTS_FILE = "clients.pem"


def signing_folder(folder: Path) -> Path:
    """Where the certificate and the key are that sign brokers and devices."""
    below = folder / ISSUING
    with explain_os_error(below, "look for the issuing CA"):
        return below if (below / CERT_FILE).exists() else folder


def signing_key_path(folder: Path) -> Path:
    """The key that signs brokers and devices."""
    return signing_folder(folder) / KEY_FILE


def clients_ca_path(folder: Path) -> Path:
    """What a broker checks its clients against: the root, and the intermediate if there is one.

    Boards send their chain. A client that does not is let in all the same, and OpenSSL adds
    to the broker's own chain what that lacks. During a rollover it is all that of two CAs.
    """
    both = folder / CLIENTS_FILE
    with explain_os_error(both, "look for the CA"):
        if both.exists():
            return both
    below = signing_folder(folder)
    return folder / CERT_FILE if below == folder else below / CHAIN_FILE


def refuse_existing(folder: Path) -> None:
    """Raise ``ca.exists`` where a CA would be overwritten."""
    with explain_os_error(folder, "look for a CA"):
        there = (folder / CERT_FILE).exists() or (folder / KEY_FILE).exists()
    if there:
        raise ca_exists(folder)


def load_ca_cert(folder: Path) -> x509.Certificate:
    """The root's certificate alone, which boards and brokers trust; error ``ca.missing``."""
    path = folder / CERT_FILE
    with explain_os_error(path, "look for the CA"):
        there = path.exists()
    if not there and (folder / KEY_FILE).exists():
        copies = sorted(folder.parent.glob("certs/*/[!.]*/ca.pem"))
        copy = str(copies[0]) if copies else "BACKUP"
        raise KeyfobHostError(
            "ca.missing",
            "the CA's certificate is gone, and its key is here",
            evidence=f"{path} is not there; each identity has a copy",
            fix=f"cp {quote(copy)} {quote(str(path))}",
            status=ExitStatus.IDENTITY,
        )
    if not there:
        raise KeyfobHostError(
            "ca.missing",
            "this bench has no certificate authority yet",
            evidence=f"{path} is not there",
            fix="keyfob ca init",
            status=ExitStatus.IDENTITY,
        )
    return load_certs(path, "the CA certificate")[0]


def trusted_certs(folder: Path) -> tuple[x509.Certificate, ...]:
    """The trust anchors: the root's certificate, and during a rollover the other root's."""
    return load_ca_cert(folder), *(load_ca_cert(other) for other in _others(folder))


def authority_certs(folder: Path) -> list[x509.Certificate]:
    """The certificate of every CA that is kept here, those that sign before their roots."""
    found = []
    for part in (folder, *_others(folder)):
        issuing = load_issuing_cert(part)
        found += [load_ca_cert(part)] if issuing is None else [issuing, load_ca_cert(part)]
    return found


def _others(folder: Path) -> list[Path]:
    """The folder of the other CA during a rollover."""
    with explain_os_error(folder, "look for another CA"):
        return [folder / name for name in (NEXT, PREVIOUS) if (folder / name / CERT_FILE).exists()]


def load_issuing_cert(folder: Path) -> x509.Certificate | None:
    """The intermediate's certificate, None where the root itself signs."""
    below = signing_folder(folder)
    if below == folder:
        return None
    return load_certs(below / CERT_FILE, "the issuing CA's certificate")[0]


def ca_exists(folder: Path) -> KeyfobHostError:
    """The error of `refuse_existing`."""
    return KeyfobHostError(
        "ca.exists",
        "this bench already has a certificate authority; "
        "a new one makes every certificate issued so far worthless",
        evidence=str(folder),
        fix="to use it: keyfob ca show; to replace it: keyfob ca init --force",
        status=ExitStatus.IDENTITY,
    )


def issuing_exists(folder: Path) -> KeyfobHostError:
    """There is an intermediate already, and another one was asked for."""
    return KeyfobHostError(
        "ca.issuing-exists",
        "this bench's CA already has an intermediate",
        evidence=str(folder / ISSUING),
        fix="to use it: keyfob ca show; to sign a new one with a new key: "
        "keyfob ca intermediate --force",
        status=ExitStatus.IDENTITY,
    )


def authority_files(
    cert: x509.Certificate,
    key: PrivateKey,
    root: x509.Certificate | None,
    passphrase: bytes | None,
) -> dict[str, tuple[bytes, int]]:
    """The files of an authority: name -> (content, mode). ``root``: that of an intermediate."""
    files = {
        CERT_FILE: (certs_pem((cert,)), PUBLIC_MODE),
        KEY_FILE: (key_pem(key, passphrase), KEY_MODE),
    }
    if root is not None:
        files[CHAIN_FILE] = (certs_pem((cert, root)), PUBLIC_MODE)
    return files


def load_authority_key(
    folder: Path, cert: x509.Certificate, what: str, passphrase: bytes | None
) -> PrivateKey:
    """The key of the authority ``cert`` in ``folder``.

    Errors: ``ca.key-mismatch``, and those of `keys.load_key`.
    """
    key = load_key(folder / KEY_FILE, what, passphrase=passphrase)
    if public_der(key) != public_der(cert.public_key()):
        raise KeyfobHostError(
            "ca.key-mismatch",
            "the CA's certificate and key do not belong together",
            evidence=f"{folder}: {CERT_FILE} holds another public key than {KEY_FILE}",
            fix="restore both files from one backup, or make a new CA: keyfob ca init --force",
            status=ExitStatus.IDENTITY,
        )
    return key
