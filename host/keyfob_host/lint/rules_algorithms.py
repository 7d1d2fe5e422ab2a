"""Rules for a certificate's key and for what it is signed with.

What Keyfob's verifier on boards takes (`keyfob.pki.algorithms` of the firmware): RSA of 2048 to
4096 bits, P-256, P-384; signatures with SHA-256 or SHA-384. MicroPython's mbedTLS takes larger
RSA keys, P-521 and SHA-512, but no RSASSA-PSS; mosquitto's OpenSSL (a device's certificate is
judged by that) nearly all that is not weak.
"""

from __future__ import annotations

from collections.abc import Iterator

from keyfob_host.lint.algorithms import (
    PSS,
    SIGNATURES,
    WEAK_HASHES,
    pss_parameters,
    signature_name,
)
from keyfob_host.lint.finding import Rule, Severity
from keyfob_host.lint.subjects import CertificateSubject as Subject

_E, _W, _N = Severity.ERROR, Severity.WARNING, Severity.NOTE
_MIN_RSA_BITS, _MAX_RSA_BITS = 2048, 4096
_MAX_EXPONENT_BYTES = 4
_BOARD_CURVES = ("p256", "p384")
_MBEDTLS_CURVES = (*_BOARD_CURVES, "p521")
_BOARD_HASHES = ("sha256", "sha384")
_PSS_WANTED = ("sha256, mask sha256, salt 32", "sha384, mask sha384, salt 48")


def _is_mbedtls(subject: Subject) -> bool:
    board = subject.context.board
    return board is not None and board.tls.engine == "mbedtls"


def _weak_key(subject: Subject) -> Iterator[str]:
    key = subject.cert.key
    if key.is_rsa and key.bits < _MIN_RSA_BITS:
        yield f"RSA of {key.bits} bits, want {_MIN_RSA_BITS} or more"
    if key.is_rsa and (key.exponent < 3 or not key.exponent & 1 or not key.is_odd):
        yield f"RSA with exponent {key.exponent}; exponent and modulus must be odd, 3 or more"
    if key.name in ("p192", "p224", "dsa"):
        yield f"{key.name}, want p256 or rsa2048"


def _key_for_boards(subject: Subject) -> Iterator[str]:
    key = subject.cert.key
    curves = _MBEDTLS_CURVES if _is_mbedtls(subject) else _BOARD_CURVES
    if key.wrong:
        yield key.wrong
    elif key.is_rsa and _is_mbedtls(subject):
        return  # whose numbers may be larger
    elif key.is_rsa:
        size = (key.exponent.bit_length() + 7) // 8
        if key.bits > _MAX_RSA_BITS or size > _MAX_EXPONENT_BYTES:
            yield f"RSA of {key.bits} bits, exponent of {size} bytes; at most {_MAX_RSA_BITS} and 4"
    elif key.name not in (*curves, "p192", "p224", "dsa"):
        yield f"{key.name}; boards verify RSA, {', '.join(curves)}"


def _weak_signature(subject: Subject) -> Iterator[str]:
    _, digest = SIGNATURES.get(subject.cert.algorithm, ("", ""))
    if not subject.cert.is_self_signed and digest in WEAK_HASHES:
        yield f"{signature_name(subject.cert.algorithm)}, want sha256"


def _own_weak_signature(subject: Subject) -> Iterator[str]:
    _, digest = SIGNATURES.get(subject.cert.algorithm, ("", ""))
    if subject.cert.is_self_signed and digest in WEAK_HASHES:
        yield f"{signature_name(subject.cert.algorithm)}, want sha256"


def _signature_for_boards(subject: Subject) -> Iterator[str]:
    cert = subject.cert
    kind, digest = SIGNATURES.get(cert.algorithm, ("", ""))
    if cert.is_self_signed or digest in WEAK_HASHES:
        return
    if cert.algorithm == PSS and _is_mbedtls(subject):
        yield "RSASSA-PSS, which MicroPython's mbedTLS is built without; want rsa with sha256"
        return
    if cert.algorithm == PSS:
        seen = pss_parameters(cert.der)
        if seen and seen not in _PSS_WANTED:
            yield f"PSS with {seen}; boards verify {' or '.join(_PSS_WANTED)}"
        return
    digests = (*_BOARD_HASHES, "sha512") if _is_mbedtls(subject) else _BOARD_HASHES
    if kind not in ("rsa", "ecdsa") or digest not in digests:
        yield f"{signature_name(cert.algorithm)}; boards verify RSA or ECDSA with " + ", ".join(
            digests
        )


def _pss(subject: Subject) -> Iterator[str]:
    cert = subject.cert
    if subject.context.board is None and cert.algorithm == PSS and not cert.is_self_signed:
        yield "RSASSA-PSS; want rsa with sha256"


RULES: tuple[Rule[Subject], ...] = (
    Rule("lint.key-weak", _E, "the key is too weak: boards and brokers refuse it", "{reissue}",
         _weak_key),
    Rule("lint.key-for-boards", _E, "boards cannot verify with this key", "{reissue}",
         _key_for_boards, ("broker", "ca")),
    Rule("lint.signature-weak", _E, "the signature's hash is broken: boards and brokers refuse it",
         "{reissue}", _weak_signature),
    Rule("lint.own-signature-weak", _N, "the trust anchor signed itself with a broken hash; "
         "nobody verifies that one", "{reissue}", _own_weak_signature),
    Rule("lint.signature-for-boards", _E, "boards cannot verify this signature", "{reissue}",
         _signature_for_boards, ("broker", "ca")),
    Rule("lint.signature-pss", _W, "Keyfob's own TLS engine verifies RSASSA-PSS, MicroPython's "
         "mbedTLS (ESP32) does not", "{reissue}", _pss, ("broker", "ca")),
)  # fmt: skip
