"""Chains of certificates that the suite's own authority cannot issue: long, large, constrained."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from keyfob_host.pki.authority import Authority
from keyfob_host.pki.identity import Identity
from keyfob_host.pki.keys import generate_key
from keyfob_host.pki.names import host_san
from keyfob_host.pki.profiles import load_profile

_DAY = timedelta(days=1)
# Below IANA's private enterprise numbers, for nobody's use (RFC 5612); not critical.
_FILLING_OID = x509.ObjectIdentifier("1.3.6.1.4.1.32473.1")


def broker_below(
    names: Sequence[str],
    *,
    intermediates: int = 1,
    filling_bytes: int = 0,
    constraints: x509.NameConstraints | None = None,
) -> Identity:
    """A broker's identity so many intermediates below a new root, which is its only anchor.

    ``filling_bytes``: in an extension of each intermediate, as policies and their texts take
    them. ``constraints``: critical, of the first intermediate (RFC 5280 section 4.2.1.10).
    """
    profile = replace(load_profile("ca", kind="authority"), path_length=intermediates)
    root = upper = Authority.ephemeral("Keyfob HIL chain root", profile=profile)
    chain: list[x509.Certificate] = []
    for number in range(intermediates):
        room = intermediates - 1 - number
        upper = _below(upper, f"Keyfob HIL CA {number}", room, filling_bytes, constraints)
        constraints = None
        chain.insert(0, upper.cert)
    issued = upper.issue_broker(names[0], names)
    return replace(issued, intermediates=tuple(chain), anchors=(root.cert,))


def name_itself(host: str) -> x509.GeneralName:
    """The subtree of names that ``host`` alone is in."""
    name = host_san(host)
    assert name is not None
    if isinstance(name, x509.IPAddress):
        return x509.IPAddress(ipaddress.ip_network(host))
    return name


def names_of_others(host: str) -> x509.GeneralName:
    """A subtree of names of the same form, without ``host``."""
    if isinstance(host_san(host), x509.IPAddress):
        return x509.IPAddress(ipaddress.ip_network("198.51.100.0/24"))
    return x509.DNSName("example.org")


def _below(
    upper: Authority,
    name: str,
    room: int,
    filling_bytes: int,
    constraints: x509.NameConstraints | None,
) -> Authority:
    """An authority with ``room`` for others below it."""
    key = generate_key("p256")
    now = datetime.now(timezone.utc)
    upper_id = x509.SubjectKeyIdentifier.from_public_key(upper.cert.public_key())
    usage = upper.cert.extensions.get_extension_for_class(x509.KeyUsage)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
        .issuer_name(upper.cert.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + 365 * _DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=room), critical=True)
        .add_extension(usage.value, critical=usage.critical)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(upper_id),
            critical=False,
        )
    )
    if constraints is not None:
        builder = builder.add_extension(constraints, critical=True)
    if filling_bytes:
        filling = x509.UnrecognizedExtension(_FILLING_OID, bytes(filling_bytes))
        builder = builder.add_extension(filling, critical=False)
    return Authority(cert=builder.sign(upper.key, hashes.SHA256()), key=key)
