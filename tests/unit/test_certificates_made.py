"""keyfob.pki.certificate against what `cryptography` made and reads."""

from __future__ import annotations

import ipaddress
from datetime import datetime, timedelta, timezone

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from keyfob.errors import KeyfobError
from keyfob.pki.certificate import Certificate

KEY = ec.generate_private_key(ec.SECP256R1())
NAME = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x")])


def make(start: datetime, end: datetime, sans: list[x509.GeneralName]) -> bytes:
    builder = x509.CertificateBuilder(NAME, NAME, KEY.public_key(), 5, start, end)
    builder = builder.add_extension(x509.BasicConstraints(False, None), True)
    if sans:
        builder = builder.add_extension(x509.SubjectAlternativeName(sans), False)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


@given(st.datetimes(datetime(1950, 1, 1), datetime(2400, 1, 1)), st.integers(1, 10**9))
@settings(max_examples=60, deadline=None)
def test_validity_is_read_as_cryptography_wrote_it(start: datetime, length_s: int) -> None:
    start = start.replace(microsecond=0, tzinfo=timezone.utc)
    end = start + timedelta(seconds=length_s)
    certificate = Certificate(make(start, end, []))
    assert certificate.version == 3
    assert certificate.issuer == certificate.subject == "x"
    assert certificate.not_before_s == int(start.timestamp())
    assert certificate.not_after_s == int(end.timestamp())


START = datetime(2026, 1, 1, tzinfo=timezone.utc)
END = datetime(2027, 1, 1, tzinfo=timezone.utc)
SANS = [
    x509.RFC822Name("a@b.test"),
    x509.DNSName("broker.test"),
    x509.IPAddress(ipaddress.ip_address("192.0.2.1")),
    x509.DNSName("y" * 63 + ".test"),
    x509.UniformResourceIdentifier("urn:x"),
    x509.DNSName("four"),
    x509.DNSName("five"),
]

WITH_NAMES = make(START, END, SANS)


def test_the_first_four_names_are_read_and_cut_at_64_bytes() -> None:
    names = Certificate(WITH_NAMES).names
    assert names == ["broker.test", "192.0.2.1", "y" * 63 + ".", "four"]


@pytest.mark.parametrize("other", [x509.RFC822Name("a@b.test"), x509.DirectoryName(NAME)])
def test_a_san_without_dns_name_or_address_has_no_names(other: x509.GeneralName) -> None:
    assert Certificate(make(START, END, [other])).names == []


@given(st.data())
@settings(max_examples=500, deadline=None)
def test_a_changed_certificate_raises_nothing_but_our_own_error(data: st.DataObject) -> None:
    der = bytearray(WITH_NAMES)
    for _ in range(data.draw(st.integers(1, 4))):
        der[data.draw(st.integers(0, len(der) - 1))] = data.draw(st.integers(0, 255))
    try:
        Certificate(bytes(der))
    except KeyfobError as error:
        assert error.code == "x509.malformed"
