"""X.509 v3 certificates assembled: RFC 5280 extensions for an authority and an end-entity.

What is signed is what is asked: dates and usages are arguments, so that test benches
can have expired or misused certificates. Checked is what a profile's templates became;
the names they were filled with were checked by `names` before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.pki.keys import PrivateKey, PublicKey, public_der
from keyfob_host.pki.names import (
    check_crl_url,
    check_subject_value,
    host_san,
    parse_sans,
    same_name,
)
from keyfob_host.pki.profiles import San, Subject
from keyfob_host.pki.variables import fill

USAGE_OIDS = {
    "serverAuth": ExtendedKeyUsageOID.SERVER_AUTH,
    "clientAuth": ExtendedKeyUsageOID.CLIENT_AUTH,
}

# No certificate that a board, a broker or OpenSSL takes comes near.
_MAX_DER_BYTES = 64 << 10

# The fields of a profile's subject, in the order that a certificate has them.
_SUBJECT_OIDS = {
    "country": NameOID.COUNTRY_NAME,
    "state": NameOID.STATE_OR_PROVINCE_NAME,
    "locality": NameOID.LOCALITY_NAME,
    "organization": NameOID.ORGANIZATION_NAME,
    "organizational_unit": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "serial_number": NameOID.SERIAL_NUMBER,
    "common_name": NameOID.COMMON_NAME,
}


@dataclass(frozen=True)
class Signer:
    """Who signs: a certificate and its key."""

    cert: x509.Certificate
    key: PrivateKey


def build_authority(
    key: PrivateKey,
    subject: x509.Name,
    not_before: datetime,
    not_after: datetime,
    *,
    path_length: int | None,
    signer: Signer | None = None,
    crl_url: str | None = None,
) -> x509.Certificate:
    """A CA certificate (RFC 5280 sections 4.2.1.3 and 4.2.1.9), self-signed without ``signer``."""
    public = key.public_key()
    usage = _key_usage(key_cert_sign=True, crl_sign=True)
    basic = x509.BasicConstraints(ca=True, path_length=path_length)
    authority_id = (
        x509.AuthorityKeyIdentifier.from_issuer_public_key(public)
        if signer is None
        else authority_key_id(signer.cert)
    )
    builder = (
        begin_certificate(
            subject, signer.cert.subject if signer else subject, public, not_before, not_after
        )
        .add_extension(basic, critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(authority_id, critical=False)
    )
    return _with_crl(builder, crl_url).sign(signer.key if signer else key, hashes.SHA256())


def build_end_entity(
    public: PublicKey,
    subject: x509.Name,
    not_before: datetime,
    not_after: datetime,
    *,
    signer: Signer,
    usages: Sequence[str],
    sans: Sequence[x509.GeneralName],
    crl_url: str | None = None,
) -> x509.Certificate:
    """An end-entity certificate for ``public``, signed by ``signer``.

    ``usages`` are names of `USAGE_OIDS`; with none there is no EKU extension. Key
    usage follows the key and its role: a signature always, encipherment for an RSA
    server (the RSA key exchange of TLS 1.2, which axTLS boards need). Error
    ``cert.too-large``.
    """
    is_rsa_server = not isinstance(public, ec.EllipticCurvePublicKey) and "serverAuth" in usages
    usage = _key_usage(digital_signature=True, key_encipherment=is_rsa_server)
    builder = (
        begin_certificate(subject, signer.cert.subject, public, not_before, not_after)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(authority_key_id(signer.cert), critical=False)
    )
    if usages:
        extended = x509.ExtendedKeyUsage([USAGE_OIDS[usage] for usage in dict.fromkeys(usages)])
        builder = builder.add_extension(extended, critical=False)
    if sans:
        builder = builder.add_extension(x509.SubjectAlternativeName(sans), critical=False)
    cert = _with_crl(builder, crl_url).sign(signer.key, hashes.SHA256())
    check_size(cert)
    return cert


def subject_name(
    subject: Subject, fields: Mapping[str, str], *, common_name: str | None = None
) -> x509.Name:
    """The profile's subject with its placeholders filled; ``common_name`` instead of its own.

    Values are UTF8String, but for country and serial number. Error ``cert.bad-subject``.
    """
    attributes = []
    for name, oid in _SUBJECT_OIDS.items():
        template = getattr(subject, name)
        if template is not None:
            value = fill(template, fields)
            if name == "common_name" and common_name is not None:
                value = common_name
            check_subject_value(name, value)
            attributes.append(x509.NameAttribute(oid, value))
    return x509.Name(attributes)


def check_differs(
    subject: x509.Name, public: PublicKey, authorities: Iterable[x509.Certificate]
) -> None:
    """Raise unless subject and key are other ones than those of the ``authorities`` above.

    Errors: ``cert.same-subject``, ``cert.request-bad-key``.
    """
    for above in authorities:
        if same_name(subject, above.subject):
            raise KeyfobHostError(
                "cert.same-subject",
                "the certificate would have the same subject as the CA, "
                "and verifiers would take it for self-signed",
                evidence=f"both are {subject.rfc4514_string()}",
                fix="choose another name for the broker or device",
                status=ExitStatus.IDENTITY,
            )
        if public_der(public) == public_der(above.public_key()):
            raise KeyfobHostError(
                "cert.request-bad-key",
                "the request has the CA's own key, which is nobody else's",
                evidence=f"the key of {above.subject.rfc4514_string()}",
                fix="have the request made again with a key of the device's own",
                status=ExitStatus.IDENTITY,
            )


def check_size(cert: x509.Certificate) -> None:
    """Raise ``cert.too-large`` where nobody could use the certificate."""
    size = len(cert.public_bytes(Encoding.DER))
    if size > _MAX_DER_BYTES:
        raise KeyfobHostError(
            "cert.too-large",
            "the certificate is larger than any that a board or broker takes",
            evidence=f"{size} bytes, at most {_MAX_DER_BYTES}",
            fix="issue it with fewer names",
            status=ExitStatus.IDENTITY,
        )


def san_entries(san: San, name: str) -> list[x509.GeneralName]:
    """The profile's SANs for ``name``; ``name`` itself first where the profile wants it.

    Error ``cert.bad-san``.
    """
    own = host_san(name) if san.name else None
    entries = [] if own is None else [own]
    entries += parse_sans(fill(text, {"name": name}) for text in san.texts())
    return list(dict.fromkeys(entries))


def common_name(name: x509.Name) -> str:
    """The (last) common name, or "" where there is none."""
    values = [str(one.value) for one in name.get_attributes_for_oid(NameOID.COMMON_NAME)]
    return values[-1] if values else ""


def authority_key_id(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """What names ``issuer``'s key in what it signs: RFC 5280 section 4.2.1.1."""
    issuer_id = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_id)


def _with_crl(builder: x509.CertificateBuilder, url: str | None) -> x509.CertificateBuilder:
    """RFC 5280 section 4.2.1.13, or nothing."""
    if url is None:
        return builder
    check_crl_url(url)
    where = [x509.UniformResourceIdentifier(url)]
    point = x509.DistributionPoint(where, relative_name=None, reasons=None, crl_issuer=None)
    return builder.add_extension(x509.CRLDistributionPoints([point]), critical=False)


def begin_certificate(
    subject: x509.Name,
    issuer: x509.Name,
    public: PublicKey,
    not_before: datetime,
    not_after: datetime,
) -> x509.CertificateBuilder:
    """A certificate without extensions yet, with a serial number of its own."""
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
