"""Private keys: made, written as PEM, read back with their file's permissions checked.

Keys are P-256 or RSA, in PKCS#8, or in a PKCS#11 token. A key never appears in an
error's evidence.
"""

from __future__ import annotations

import stat
from pathlib import Path
from shlex import quote
from typing import Literal, get_args

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

from keyfob_host.errors import ExitStatus, KeyfobHostError, explain_os_error
from keyfob_host.files import read_bounded
from keyfob_host.pki.pkcs8 import encrypted_pem
from keyfob_host.pki.pkcs11_file import is_token_pem, read_token_pem, token_pem
from keyfob_host.pki.pkcs11_key import TokenKey
from keyfob_host.pki.pkcs11_token import Token

KeyType = Literal["p256", "rsa2048", "rsa3072", "rsa4096"]
KEY_TYPES: tuple[KeyType, ...] = get_args(KeyType)
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey


def generate_key(key_type: str) -> PrivateKey:
    """A new key of ``key_type``; error ``cert.key-type-unknown``."""
    if key_type == "p256":
        return ec.generate_private_key(ec.SECP256R1())
    if key_type in KEY_TYPES:
        bits = int(key_type.removeprefix("rsa"))
        return rsa.generate_private_key(public_exponent=65537, key_size=bits)
    raise KeyfobHostError(
        "cert.key-type-unknown",
        f"key type {key_type!r} is not one that boards and brokers share",
        evidence=f"known: {', '.join(KEY_TYPES)}",
        fix="--key-type p256",
        status=ExitStatus.IDENTITY,
    )


def describe_key(key: object) -> str:
    """``p256``, ``rsa2048``, or what else a foreign certificate's public key is."""
    if isinstance(key, ec.EllipticCurvePublicKey | ec.EllipticCurvePrivateKey):
        return "p256" if key.curve.name == "secp256r1" else key.curve.name
    if isinstance(key, rsa.RSAPublicKey | rsa.RSAPrivateKey):
        return f"rsa{key.key_size}"
    return type(key).__name__


def key_pem(key: PrivateKey, passphrase: bytes | None = None) -> bytes:
    """PKCS#8 PEM, encrypted (see `pkcs8`) when ``passphrase`` is given.

    For a key in a token: where it is (see `pkcs11_file`); the passphrase is its PIN then.
    """
    if isinstance(key, TokenKey):
        return token_pem(key)
    pkcs8, clear = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    if passphrase is None:
        return key.private_bytes(serialization.Encoding.PEM, pkcs8, clear)
    return encrypted_pem(key.private_bytes(serialization.Encoding.DER, pkcs8, clear), passphrase)


def load_key(path: Path, what: str, *, passphrase: bytes | None = None) -> PrivateKey:
    """The key in PEM file ``path``; ``what`` names it in errors, e.g. ``"the CA key"``.

    Errors: ``cert.key-exposed`` (others may read the file), ``cert.key-unreadable``,
    ``cert.passphrase-needed``, ``cert.passphrase-wrong``, ``file.*``; for a key in a
    token, whose PIN ``passphrase`` is then, those of `pkcs11_token`.
    """
    content = read_bounded(path, f"read {what}")
    _check_private(path, what)
    if is_token_pem(content):
        return Token(read_token_pem(content, str(path)), passphrase).find_key()
    try:
        key = serialization.load_pem_private_key(content, passphrase)
    except TypeError:
        if passphrase is None:
            raise _passphrase_needed(path, what) from None
        # A passphrase for a key that has none: nothing to unlock, so nothing to refuse.
        return load_key(path, what)
    except (ValueError, UnsupportedAlgorithm) as error:
        if passphrase is not None and b"ENCRYPTED" in content:
            raise KeyfobHostError(
                "cert.passphrase-wrong",
                f"the passphrase does not open {what}",
                evidence=str(path),
                fix="run the command again with the passphrase given when the key was made",
                status=ExitStatus.IDENTITY,
            ) from None
        raise KeyfobHostError(
            "cert.key-unreadable",
            f"{what} is not a private key in PEM, or is damaged",
            evidence=f"{path}: {len(content)} bytes: {_first_line(error)}",
            fix=f"openssl pkey -in {quote(str(path))} -noout -check",
            status=ExitStatus.IDENTITY,
        ) from None
    if not isinstance(key, PrivateKey):
        raise KeyfobHostError(
            "cert.key-type-unknown",
            f"{what} is of a type that keyfob does not use",
            evidence=f"{path}: {type(key).__name__}; known: {', '.join(KEY_TYPES)}",
            fix="make one that boards take: --key-type p256",
            status=ExitStatus.IDENTITY,
        )
    return key


def is_encrypted(path: Path) -> bool:
    """Whether the key in PEM file ``path`` needs a passphrase, or a PIN; errors ``file.*``."""
    content = read_bounded(path, "read the key")
    return b"ENCRYPTED" in content or is_token_pem(content)


def is_in_token(path: Path) -> bool:
    """Whether ``path`` says in which token the key is, and holds none; errors ``file.*``."""
    return is_token_pem(read_bounded(path, "read the key"))


def public_der(key: object) -> bytes:
    """SubjectPublicKeyInfo of a private or public key: equal bytes mean one key pair."""
    public = key.public_key() if isinstance(key, PrivateKey) else key
    if not isinstance(public, PublicKey):
        return b""
    return public.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def key_digest(key: CertificatePublicKeyTypes) -> str:
    """A public key's identifier in hex: RFC 5280 section 4.2.1.2, method 1."""
    return x509.SubjectKeyIdentifier.from_public_key(key).digest.hex()


def _check_private(path: Path, what: str) -> None:
    with explain_os_error(path, f"read {what}"):
        mode = path.stat().st_mode
    # Regular files only: a pipe from a password manager has no meaningful mode.
    if stat.S_ISREG(mode) and mode & 0o077:
        raise KeyfobHostError(
            "cert.key-exposed",
            f"{what} can be read by others on this machine",
            evidence=f"{path}: mode {stat.S_IMODE(mode):04o}, expected 0600",
            fix=f"chmod 600 {quote(str(path))}",
            status=ExitStatus.IDENTITY,
        )


def _passphrase_needed(path: Path, what: str) -> KeyfobHostError:
    return KeyfobHostError(
        "cert.passphrase-needed",
        f"{what} is encrypted and no passphrase was given",
        evidence=str(path),
        fix="give --passphrase-file FILE, --passphrase-env VARIABLE or --passphrase-fd N, "
        "or run it in a terminal",
        status=ExitStatus.IDENTITY,
    )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
