"""X.509 v3 certificates assembled: RFC 5280 extensions for an authority and an end-entity.

What is signed is what is asked: dates and usages are arguments, so that test benches
can have expired or misused certificates. Names were checked by `names` before.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from keyfob_host.pki.keys import PrivateKey, PublicKey
from keyfob_host.pki.profiles import Subject

USAGE_OIDS = {
    "serverAuth": ExtendedKeyUsageOID.SERVER_AUTH,
    "clientAuth": ExtendedKeyUsageOID.CLIENT_AUTH,
}


def build_authority(
    key: PrivateKey,
    subject: x509.Name,
    not_before: datetime,
    not_after: datetime,
    *,
    path_length: int | None,
) -> x509.Certificate:
    """A self-signed CA certificate (RFC 5280 sections 4.2.1.3 and 4.2.1.9)."""
    public = key.public_key()
    usage = _key_usage(key_cert_sign=True, crl_sign=True)
    basic = x509.BasicConstraints(ca=True, path_length=path_length)
    return (
        _builder(subject, subject, public, not_before, not_after)
        .add_extension(basic, critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )


def build_end_entity(
    public: PublicKey,
    subject: x509.Name,
    not_before: datetime,
    not_after: datetime,
    *,
    issuer: x509.Certificate,
    issuer_key: PrivateKey,
    usages: Sequence[str],
    sans: Sequence[x509.GeneralName],
) -> x509.Certificate:
    """An end-entity certificate for ``public``, signed by ``issuer_key``.

    ``usages`` are names of `USAGE_OIDS`; with none there is no EKU extension. Key
    usage follows the key and its role: a signature always, encipherment for an RSA
    server (the RSA key exchange of TLS 1.2, which axTLS boards need).
    """
    is_rsa_server = not isinstance(public, ec.EllipticCurvePublicKey) and "serverAuth" in usages
    usage = _key_usage(digital_signature=True, key_encipherment=is_rsa_server)
    issuer_id = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    authority_id = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_id)
    builder = (
        _builder(subject, issuer.subject, public, not_before, not_after)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(authority_id, critical=False)
    )
    if usages:
        extended = x509.ExtendedKeyUsage([USAGE_OIDS[usage] for usage in usages])
        builder = builder.add_extension(extended, critical=False)
    if sans:
        builder = builder.add_extension(x509.SubjectAlternativeName(sans), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def subject_name(subject: Subject, **fields: str) -> x509.Name:
    """The profile's subject with its placeholders filled; values are UTF8String."""
    given = (
        (NameOID.COUNTRY_NAME, subject.country),
        (NameOID.ORGANIZATION_NAME, subject.organization),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, subject.organizational_unit),
        (NameOID.COMMON_NAME, subject.common_name.format(**fields)),
    )
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in given if value is not None])


def common_name(name: x509.Name) -> str:
    """The (last) common name, or "" where there is none."""
    values = [str(one.value) for one in name.get_attributes_for_oid(NameOID.COMMON_NAME)]
    return values[-1] if values else ""


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public: PublicKey,
    not_before: datetime,
    not_after: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        # Positive and at most 20 bytes, 159 random bits: RFC 5280 section 4.1.2.2.
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_after)
    )


def _key_usage(
    *,
    digital_signature: bool = False,
    key_encipherment: bool = False,
    key_cert_sign: bool = False,
    crl_sign: bool = False,
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_encipherment=key_encipherment,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
