"""An intermediate above the suite's own certificates, which its authority alone cannot issue."""

from __future__ import annotations

from dataclasses import replace

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from keyfob_host.pki.authority import Authority
from keyfob_host.pki.profiles import load_profile


def root_above() -> Authority:
    """A trust anchor that may have an intermediate below it."""
    profile = replace(load_profile("ca", kind="authority"), path_length=1)
    return Authority.ephemeral("Keyfob HIL root", profile=profile)


def intermediate_of(authority: Authority, root: Authority) -> x509.Certificate:
    """Name and key of ``authority`` in a certificate that ``root`` signed.

    What ``authority`` has issued then leads to ``root`` too, over this certificate.
    """
    own = authority.cert
    builder = x509.CertificateBuilder(
        root.cert.subject,
        own.subject,
        own.public_key(),
        x509.random_serial_number(),
        own.not_valid_before_utc,
        own.not_valid_after_utc,
    )
    for kind in (x509.BasicConstraints, x509.KeyUsage, x509.SubjectKeyIdentifier):
        extension = own.extensions.get_extension_for_class(kind)
        builder = builder.add_extension(extension.value, extension.critical)
    issuer_id = root.cert.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    authority_id = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_id)
    return builder.add_extension(authority_id, critical=False).sign(root.key, hashes.SHA256())
