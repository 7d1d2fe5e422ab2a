"""Makes certificates for the verifier's tests, good ones and broken ones, on the host.

`cryptography` makes and signs all of them; what it refuses to make is edited in the
DER of what it made, and signed again with the issuer's key.
"""

from __future__ import annotations

import datetime
import functools
import inspect
import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW = datetime.datetime(2026, 11, 21, 12, tzinfo=datetime.timezone.utc)
NOW_S = int(NOW.timestamp())
DAY = datetime.timedelta(days=1)
SERVER_AUTH, CLIENT_AUTH = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH
HOST = "broker.keyfob.test"
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
Node = list  # [tag, content]: bytes, or nodes of a constructed element
Edit = Callable[[Node], None]


@dataclass
class Pair:
    """A certificate and its key."""

    der: bytes
    key: Key
    name: x509.Name

    @property
    def certificate(self) -> x509.Certificate:
        return x509.load_der_x509_certificate(self.der)

    def pin(self) -> bytes:
        """SHA-256 of its SubjectPublicKeyInfo."""
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        spki = self.key.public_key().public_bytes(serialization.Encoding.DER, form)
        digest = hashes.Hash(hashes.SHA256())
        digest.update(spki)
        return digest.finalize()


@functools.cache
def key(kind: str, number: int = 0) -> Key:
    """The same key for the same arguments: ``p256``, ``p384``, ``p521``, ``ed25519``,
    ``rsa2048`` …"""
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    if kind.startswith("rsa"):
        return rsa.generate_private_key(65537, int(kind[3:]))
    curves = {"p256": ec.SECP256R1, "p384": ec.SECP384R1, "p521": ec.SECP521R1}
    return ec.generate_private_key(curves[kind]())


def common_name(name: str) -> x509.Name:
    if not name:
        return x509.Name([])
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def san(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def key_usage(*names: str) -> x509.KeyUsage:
    every = inspect.signature(x509.KeyUsage).parameters
    return x509.KeyUsage(**{name: name in names for name in every})


@dataclass
class Recipe:
    """What one certificate says. ``sans``, ``usage`` and ``purposes`` None: no extension."""

    name: str | x509.Name = "end-entity"
    sans: Sequence[str | x509.GeneralName] | None = (HOST,)
    kind: str = "p256"
    number: int = 0
    is_ca: bool | None = False
    path_length: int | None = None
    usage: Sequence[str] | None = ("digital_signature",)
    purposes: Sequence[x509.ObjectIdentifier] | None = (SERVER_AUTH,)
    start: datetime.datetime = NOW - DAY
    end: datetime.datetime = NOW + 30 * DAY
    hash: hashes.HashAlgorithm | None = None
    pss: padding.PSS | None = None
    extra: Sequence[tuple[x509.ExtensionType, bool]] = ()
    edit: Edit | None = None
    serial: int | None = None
    has_key_ids: bool = True

    def sign(self, issuer: Pair | None = None) -> Pair:
        """By ``issuer``, or by itself."""
        own = key(self.kind, self.number)
        name = self.name if isinstance(self.name, x509.Name) else common_name(self.name)
        signer = issuer.key if issuer else own
        builder = x509.CertificateBuilder(
            issuer.name if issuer else name,
            name,
            own.public_key(),
            self.serial or x509.random_serial_number(),
            self.start,
            self.end,
        )
        for extension, is_critical in self._extensions(own, signer, bool(name)):
            builder = builder.add_extension(extension, is_critical)
        how = None if isinstance(signer, ed25519.Ed25519PrivateKey) else self.hash
        if how is None and not isinstance(signer, ed25519.Ed25519PrivateKey):
            how = hashes.SHA256()
        if how is not None and how.name == "sha1":
            return Pair(_sign_with_sha1(builder, signer), own, name)
        made = builder.sign(signer, how, rsa_padding=self.pss)
        der = made.public_bytes(serialization.Encoding.DER)
        return Pair(resign(der, signer, self.edit) if self.edit else der, own, name)

    def _extensions(self, own: Key, signer: Key, has_name: bool):
        if self.is_ca is not None:
            yield x509.BasicConstraints(self.is_ca, self.path_length if self.is_ca else None), True
        if self.usage is not None:
            yield key_usage(*self.usage), True
        if self.purposes is not None:
            yield x509.ExtendedKeyUsage(self.purposes), False
        if self.sans is not None:
            names = [san(each) if isinstance(each, str) else each for each in self.sans]
            yield x509.SubjectAlternativeName(names), not has_name
        if self.has_key_ids:
            yield x509.SubjectKeyIdentifier.from_public_key(own.public_key()), False
            yield x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False
        yield from self.extra


def authority(name: str = "anchor", **how) -> Recipe:
    """A CA's recipe."""
    how = {"end": NOW + 3650 * DAY, "usage": ("key_cert_sign", "crl_sign"), **how}
    return Recipe(name, **{"sans": None, "is_ca": True, "purposes": None, **how})


def constraints(permitted=(), excluded=()) -> tuple[x509.NameConstraints, bool]:
    return x509.NameConstraints(list(permitted) or None, list(excluded) or None), True


def _sign_with_sha1(builder: x509.CertificateBuilder, signer: Key) -> bytes:
    """`cryptography` makes none: sign it as SHA-256, and again under the other name."""
    der = builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
    sha1 = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05"
    if isinstance(signer, ec.EllipticCurvePrivateKey):
        sha1 = b"\x2a\x86\x48\xce\x3d\x04\x01"

    def rename(tbs: Node) -> None:
        tbs[1][2][1][0][1] = sha1

    return resign(der, signer, rename, hashes.SHA1())  # noqa: S303


def resign(der: bytes, signer: Key, edit: Edit, how: hashes.HashAlgorithm | None = None) -> bytes:
    """``der`` with its TBSCertificate edited and signed again, by SHA-256 if not said."""
    outer = decode(der)[0]
    tbs, algorithm, _ = outer[1]
    edit(tbs)
    algorithm[1] = tbs[1][2][1] if tbs[1][0][0] == 0xA0 else tbs[1][1][1]
    signature = sign_bytes(signer, encode([tbs]), how or hashes.SHA256())
    return encode([[0x30, [tbs, algorithm, [0x03, b"\0" + signature]]]])


def sign_bytes(signer: Key, data: bytes, how: hashes.HashAlgorithm) -> bytes:
    """A signature of ``data``; that of RSA is PKCS#1's."""
    if isinstance(signer, ec.EllipticCurvePrivateKey):
        return signer.sign(data, ec.ECDSA(how))
    if isinstance(signer, rsa.RSAPrivateKey):
        return signer.sign(data, padding.PKCS1v15(), how)
    return signer.sign(data)


def decode(der: bytes) -> list[Node]:
    """The elements of ``der`` as nodes; a constructed one has nodes for its content."""
    nodes = []
    while der:
        size, at = der[1], 2
        if size >= 0x80:
            at += size - 0x80
            size = int.from_bytes(der[2:at], "big")
        content = der[at : at + size]
        nodes.append([der[0], decode(content) if der[0] & 0x20 else content])
        der = der[at + size :]
    return nodes


def encode(nodes: list[Node]) -> bytes:
    der = b""
    for tag, content in nodes:
        body = content if isinstance(content, bytes) else encode(content)
        der += bytes([tag]) + length(len(body)) + body
    return der


def length(size: int) -> bytes:
    if size < 0x80:
        return bytes([size])
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([0x80 + len(octets)]) + octets


def extension_of(tbs: Node, oid: str) -> Node:
    """The node of one extension: [SEQUENCE, [OID, (critical,) value]]."""
    for extension in tbs[1][-1][1][0][1]:
        if _oid_text(extension[1][0][1]) == oid:
            return extension
    raise LookupError(oid)


def _oid_text(content: bytes) -> str:
    numbers = [content[0] // 40, content[0] % 40]
    number = 0
    for byte in content[1:]:
        number = number << 7 | byte & 0x7F
        if byte < 0x80:
            numbers.append(number)
            number = 0
    return ".".join(map(str, numbers))
