"""Certificates for tests, good and bad, made with `cryptography` and by hand.

Independent of the product's own PKI, which refuses to make most of these.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW = datetime.now(timezone.utc).replace(microsecond=0)
DAY = timedelta(days=1)
SERVER_AUTH, CLIENT_AUTH = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass
class Pair:
    """A certificate and its key; ``issuers`` are the intermediates above, lowest first."""

    der: bytes
    key: Key
    issuers: tuple[bytes, ...] = ()

    @property
    def subject(self) -> x509.Name:
        return x509.load_der_x509_certificate(self.der).subject

    def chain_pem(self) -> bytes:
        certs = [x509.load_der_x509_certificate(der) for der in (self.der, *self.issuers)]
        return b"".join(cert.public_bytes(serialization.Encoding.PEM) for cert in certs)

    def key_pem(self) -> bytes:
        return self._key(serialization.Encoding.PEM)

    def key_der(self) -> bytes:
        return self._key(serialization.Encoding.DER)

    def _key(self, encoding: serialization.Encoding) -> bytes:
        form = serialization.PrivateFormat.TraditionalOpenSSL
        return self.key.private_bytes(encoding, form, serialization.NoEncryption())


def make_ca(
    name: str = "bench CA",
    *,
    issuer: Pair | None = None,
    after=365 * DAY,
    path_length=None,
    extra: tuple[x509.ExtensionType, ...] = (),
) -> Pair:
    """A CA: a trust anchor, or an intermediate below ``issuer``. ``extra``: more extensions,
    not critical."""
    key = ec.generate_private_key(ec.SECP256R1())
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    builder = _builder(_name(name), issuer.subject if issuer else _name(name), key, -DAY, after)
    builder = builder.add_extension(x509.BasicConstraints(True, path_length), True)
    builder = builder.add_extension(usage, True)
    for extension in extra:
        builder = builder.add_extension(extension, False)
    der = _sign(builder, issuer.key if issuer else key)
    issuers = (issuer.der, *issuer.issuers) if issuer and issuer.issuers else ()
    return Pair(der, key, issuers)


def make_leaf(
    ca: Pair | None,
    name: str | None,
    sans: tuple[str, ...] = (),
    *,
    dns_names: tuple[str, ...] = (),
    usage: x509.ObjectIdentifier | None = SERVER_AUTH,
    before: timedelta = -DAY,
    after: timedelta = 30 * DAY,
    key: Key | None = None,
    below: tuple[Pair, ...] = (),
    hash_algorithm: hashes.HashAlgorithm | None = None,
) -> Pair:
    """An end-entity certificate of ``ca``, or self-signed. ``dns_names``: names of the SAN,
    even if they are addresses. ``below``: what to send above it."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = (
        _name(name) if name else x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "x")])
    )
    builder = _builder(subject, ca.subject if ca else subject, key, before, after)
    if sans or dns_names:
        names = [*map(_san, sans), *map(x509.DNSName, dns_names)]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), False)
    if usage:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), False)
    der = _sign(builder, ca.key if ca else key, hash_algorithm)
    return Pair(der, key, tuple(pair.der for pair in below))


def as_version_1(pair: Pair, ca: Pair) -> Pair:
    """The same certificate as X.509 version 1: no extensions, no version field."""
    tbs = x509.load_der_x509_certificate(pair.der).tbs_certificate_bytes
    parts = [part for part in _elements(_content(tbs)) if part[0] not in (0xA0, 0xA3)]
    tbs = _element(0x30, b"".join(parts))
    assert isinstance(ca.key, ec.EllipticCurvePrivateKey)
    signature = ca.key.sign(tbs, ec.ECDSA(hashes.SHA256()))
    body = tbs + parts[1] + _element(0x03, b"\0" + signature)
    return Pair(_element(0x30, body), pair.key)


def make_crl(ca: Pair, *revoked: Pair) -> bytes:
    """A revocation list of ``ca`` in PEM."""
    builder = x509.CertificateRevocationListBuilder().issuer_name(ca.subject)
    builder = builder.last_update(NOW - DAY).next_update(NOW + DAY)
    for pair in revoked:
        serial = x509.load_der_x509_certificate(pair.der).serial_number
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(NOW - DAY)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(ca.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _builder(subject, issuer, key, before, after) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder(
        issuer, subject, key.public_key(), x509.random_serial_number()
    )
    return builder.not_valid_before(NOW + before).not_valid_after(NOW + after)


def _sign(builder, key, hash_algorithm=None) -> bytes:
    cert = builder.sign(key, hash_algorithm or hashes.SHA256())
    return cert.public_bytes(serialization.Encoding.DER)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _san(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _elements(content: bytes) -> list[bytes]:
    found = []
    while content:
        start, size = _header(content)
        found.append(content[: start + size])
        content = content[start + size :]
    return found


def _content(element: bytes) -> bytes:
    start, size = _header(element)
    return element[start : start + size]


def _header(element: bytes) -> tuple[int, int]:
    if element[1] < 0x80:
        return 2, element[1]
    count = element[1] & 0x7F
    return 2 + count, int.from_bytes(element[2 : 2 + count], "big")


def _element(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content
