"""What the linter's tests share: certificates broken in one place, and other verifiers.

The certificates come from `cryptography`, edited in their DER where it refuses to make them
(`x509_forge` of the device's tests); whoever judges beside the linter is OpenSSL, the
device's verifier, or `cryptography`'s.
"""

from __future__ import annotations

import base64
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509 import verification

UNIT = Path(__file__).parent.parent / "unit"
if str(UNIT) not in sys.path:
    sys.path.append(str(UNIT))

import device_support  # noqa: E402, F401 - puts the firmware on the path
import x509_loaded  # noqa: E402, F401
from x509_forge import HOST, NOW, NOW_S, Key, Pair  # noqa: E402

from keyfob.errors import KeyfobError  # noqa: E402
from keyfob.pki import path as device_path  # noqa: E402
from keyfob_host.boards import load_kind  # noqa: E402
from keyfob_host.lint import Context, Finding, Role, Severity, check  # noqa: E402

VECTORS = UNIT.parent / "vectors"


def pem(ders: Iterable[bytes], label: str = "CERTIFICATE") -> str:
    blocks = (base64.encodebytes(der).decode() for der in ders)
    return "".join(f"-----BEGIN {label}-----\n{body}-----END {label}-----\n" for body in blocks)


def key_pem(key: Key, form: str = "PKCS8") -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        getattr(serialization.PrivateFormat, form),
        serialization.NoEncryption(),
    )


def key_der(key: Key, form: str = "PKCS8") -> bytes:
    return key.private_bytes(
        serialization.Encoding.DER,
        getattr(serialization.PrivateFormat, form),
        serialization.NoEncryption(),
    )


def write(path: Path, content: bytes | str, mode: int = 0o644) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    path.chmod(mode)
    return path


def identity(
    folder: Path, chain: Sequence[Pair], anchors: Sequence[Pair], key: Key | None = None
) -> Path:
    """An identity's folder; its parent's name says whose it is. ``key``: None for none."""
    write(folder / "cert.pem", pem([chain[0].der]))
    write(folder / "chain.pem", pem([pair.der for pair in chain]))
    write(folder / "ca.pem", pem([pair.der for pair in anchors]))
    if key is not None:
        write(folder / "key.pem", key_pem(key), 0o600)
    return folder


def findings(
    *paths: Path,
    role: Role | None = None,
    host: str | None = None,
    board: str | None = None,
    at: object = NOW,
) -> list[Finding]:
    context = Context(at, host, load_kind(board) if board else None)  # type: ignore[arg-type]
    found = check(paths, context, role)
    for one in found:
        assert one.cause and one.evidence and one.fix and one.file, one
        assert "{" not in one.fix, one
    return found


def codes(*paths: Path, **how: object) -> list[str]:
    """Of all findings but what every fresh certificate of these tests would be told."""
    return [one.code for one in findings(*paths, **how)]  # type: ignore[arg-type]


def errors(found: Iterable[Finding]) -> list[str]:
    return [one.code for one in found if one.severity is Severity.ERROR]


def openssl_verify(
    folder: Path,
    chain: Sequence[Pair],
    anchors: Sequence[Pair],
    *options: str,
    purpose: str = "sslserver",
) -> str:
    """Why ``openssl verify`` refuses; "" if it does not. Without ``-x509_strict``."""
    end = write(folder / "end.pem", pem([chain[0].der]))
    trusted = write(folder / "anchors.pem", pem([pair.der for pair in anchors]))
    command = ["openssl", "verify", "-no-CApath", "-no-CAstore", "-purpose", purpose]
    command += ["-attime", str(NOW_S), "-CAfile", str(trusted), *options]
    if chain[1:]:
        below = write(folder / "below.pem", pem([pair.der for pair in chain[1:]]))
        command += ["-untrusted", str(below)]
    done = subprocess.run([*command, str(end)], capture_output=True, text=True, check=False)
    return "" if done.stdout.endswith(": OK\n") else done.stdout + done.stderr or "?"


def device_says(chain: Sequence[Pair], anchors: Sequence[Pair], host: str = HOST) -> str:
    """The code with which the device's verifier refuses; "" if it does not."""
    ders = [pair.der for pair in chain]
    try:
        device_path.verify(ders, [pair.der for pair in anchors], host, NOW_S)
    except KeyfobError as error:
        return str(error.code)
    return ""


def library_says(chain: Sequence[Pair], anchors: Sequence[Pair]) -> str:
    """Why `cryptography` refuses a client; "" if it does not."""
    store = verification.Store([pair.certificate for pair in anchors])
    policy = verification.PolicyBuilder().store(store).time(NOW.replace(tzinfo=None))
    try:
        below = [pair.certificate for pair in chain[1:]]
        policy.build_client_verifier().verify(chain[0].certificate, below)
    except (verification.VerificationError, x509.InvalidVersion) as error:
        return str(error)
    return ""
