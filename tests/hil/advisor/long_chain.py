"""A broker's identity whose certificates are as large as those of public brokers, or larger."""

from __future__ import annotations

from dataclasses import replace

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

_MOST_CERTIFICATES = 8  # more than that no public broker sends, and mbedTLS takes
_NAME_BYTES = 60  # of a SAN, about


def long_chain(authority, host: str, size: int):
    """An identity for ``host`` by ``authority``, its certificates together about ``size`` bytes.

    Behind the broker's own come those by which other CAs vouch for ``authority``, each for
    the one before it, as after a cross-signing. A device that trusts ``authority`` needs none
    of them; it has to take them in nevertheless. Beyond eight certificates the broker's own
    has names enough for the rest.
    """
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    own = authority.issue_broker(host, [host])
    subject, public, chain = authority.cert.subject, authority.cert.public_key(), []
    while _bytes(own, *chain) < size and len(chain) < _MOST_CERTIFICATES - 1:
        issuer = _name(len(chain) + 1)
        chain.append(_vouch(subject, public, issuer, key, authority.cert))
        subject, public = issuer, key.public_key()
    names = [host]
    while _bytes(own, *chain) < size:
        count = (size - _bytes(own, *chain)) // _NAME_BYTES + 1
        names += [f"name-{len(names) + at:03}.{'x' * 40}.example" for at in range(count)]
        own = authority.issue_broker(host, names)
    return replace(own, intermediates=tuple(chain))


def _vouch(subject, public, issuer, key, like):
    """A CA's certificate for ``subject``, signed by ``issuer``, with the dates of ``like``."""
    builder = x509.CertificateBuilder(
        issuer, subject, public, x509.random_serial_number(),
        like.not_valid_before_utc, like.not_valid_after_utc,
    )  # fmt: skip
    usage = x509.KeyUsage(
        digital_signature=False, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, key_cert_sign=True, crl_sign=True,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip
    owner = x509.SubjectKeyIdentifier.from_public_key(public)
    signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
    return (
        builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(owner, critical=False)
        .add_extension(signer, critical=False)
        .sign(key, hashes.SHA256())
    )


def _name(number: int) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "CH"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "A certification authority of some age"),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "Cross-signing department"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"Cross-signing authority {number}"),
        ]
    )


def _bytes(identity, *certs) -> int:
    ders = [identity.cert_der(), *(one.public_bytes(Encoding.DER) for one in certs)]
    return sum(map(len, ders))
