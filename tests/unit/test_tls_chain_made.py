"""keyfob.tls.chain and its evidence against certificates that `cryptography` made."""

from __future__ import annotations

import contextlib
import ipaddress
import random
from datetime import datetime, timedelta, timezone

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from keyfob.errors import KeyfobError
from keyfob.tls.chain import Chain
from keyfob.tls.evidence import of_chain

KEY = ec.generate_private_key(ec.SECP256R1())
START = datetime(2026, 1, 1, tzinfo=timezone.utc)
END = datetime(2027, 1, 1, tzinfo=timezone.utc)
NOW_S = int(datetime(2026, 6, 1, tzinfo=timezone.utc).timestamp())
BROKER = x509.DNSName("broker.test")


def name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "bench"),
            x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name),
        ]
    )


def make(
    subject: str = "broker",
    issuer: str = "authority",
    start: datetime = START,
    end: datetime = END,
    sans: tuple[x509.GeneralName, ...] = (BROKER,),
    *,
    critical: bool = False,
) -> bytes:
    builder = x509.CertificateBuilder(name(issuer), name(subject), KEY.public_key(), 5, start, end)
    builder = builder.add_extension(x509.BasicConstraints(False, None), True)
    if sans:
        builder = builder.add_extension(x509.SubjectAlternativeName(sans), critical)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


class Store:
    """An identity with two trust anchors, of which one is broken."""

    def names(self, stem: str) -> list[str]:
        return [stem + ".der", stem + "1.der"]

    def read(self, name: str) -> bytes:
        return make("anchor") if name == "ca.der" else b"broken"


def shown(*chain: bytes, now_s: int = NOW_S) -> Chain:
    """The chain after all of its certificates, end-entity first, were shown."""
    seen = Chain("broker.test", now_s, Store())
    for depth in reversed(range(len(chain))):
        seen.see(memoryview(chain[depth]), depth)
    return seen


def test_a_good_chain_is_accepted_and_was_judged() -> None:
    seen = shown(make(), make("authority", "top", sans=()))
    assert seen.error is None
    assert seen.was_judged


def test_only_the_end_entity_counts_as_judged() -> None:
    seen = Chain("broker.test", NOW_S, Store())
    assert seen.see(memoryview(make()), 1) == 0
    assert not seen.was_judged


@pytest.mark.parametrize(
    "sans", [(), (x509.RFC822Name("a@b.test"), x509.UniformResourceIdentifier("urn:x"))]
)
def test_an_end_entity_without_a_dns_name_or_ip_address_is_refused(
    sans: tuple[x509.GeneralName, ...],
) -> None:
    seen = shown(make(sans=sans), make("authority", sans=()))
    assert seen.error is not None
    assert (seen.error.code, seen.error.detail) == ("x509.no-san", "wanted broker.test")
    assert not seen.was_judged


@pytest.mark.parametrize("critical", [False, True])
def test_the_first_four_names_are_evidence_cut_at_64_bytes(critical: bool) -> None:
    sans = (
        x509.RFC822Name("a@b.test"),
        BROKER,
        x509.IPAddress(ipaddress.ip_address("192.0.2.1")),
        x509.DNSName("y" * 63 + ".test"),
        x509.UniformResourceIdentifier("urn:x"),
        x509.IPAddress(ipaddress.ip_address("::1")),
        x509.DNSName("five"),
    )
    assert of_chain(shown(make(sans=sans, critical=critical)), "x509.wrong-name") == (
        "wanted broker.test, certificate for broker.test 192.0.2.1 "
        + "y" * 63
        + ". 0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:1"
    )


@given(st.datetimes(datetime(1950, 1, 1), datetime(2400, 1, 1)), st.integers(1, 10**8))
@settings(max_examples=60, deadline=None)
def test_dates_that_do_not_fit_are_told_as_cryptography_wrote_them(
    start: datetime, length_s: int
) -> None:
    start = start.replace(microsecond=0, tzinfo=timezone.utc)
    end = start + timedelta(seconds=length_s)
    now_s = int(end.timestamp()) + 1
    if now_s < 0:
        return
    seen = shown(make(start=start, end=end), make("authority", sans=()), now_s=now_s)
    clock = end + timedelta(seconds=1)
    first, last, now = (f"{when:%Y-%m-%dT%H:%M:%SZ}" for when in (start, end, clock))
    want = f"'broker' is valid from {first} to {last}, clock {now}"
    assert of_chain(seen, "x509.expired") == want


def test_the_lowest_certificate_with_wrong_dates_is_told() -> None:
    late = START + timedelta(days=3000)
    above = make("authority", start=late, end=late + timedelta(days=1), sans=())
    text = of_chain(shown(make(), above), "x509.not-yet-valid")
    assert text.startswith("'authority' is valid from 2034-03-20T00:00:00Z to ")


def test_without_wrong_dates_the_names_are_evidence() -> None:
    assert of_chain(shown(make()), "x509.expired").startswith("wanted broker.test")


def test_an_untrusted_chain_tells_its_last_issuer_and_the_anchors() -> None:
    seen = shown(make(), make("authority", "x" * 64, sans=()))
    assert of_chain(seen, "x509.untrusted") == (
        f"chain ends with issuer {'x' * 64!r}, trust anchors 'anchor', ca1.der (x509.malformed)"
    )


def test_no_mutation_makes_the_callback_raise() -> None:
    whole, random_numbers = make(), random.Random(1)
    for _ in range(3000):
        der = bytearray(whole)
        for _ in range(random_numbers.randint(1, 4)):
            der[random_numbers.randrange(len(der))] = random_numbers.randrange(256)
        seen = shown(bytes(der))
        if seen.error:
            assert seen.error.code in ("x509.malformed", "x509.not-v3", "x509.no-san")
        else:
            assert seen.was_judged
        for code in ("x509.expired", "x509.untrusted", ""):
            with contextlib.suppress(KeyfobError):
                of_chain(seen, code)


@pytest.mark.parametrize(
    "time", [b"2601010000Z\0\0", b"260101000000+", b"260101000000\0"], ids=["short", "zone", "nul"]
)
def test_a_time_that_is_not_zulu_with_seconds_is_malformed(time: bytes) -> None:
    der = make().replace(b"260101000000Z", time)
    seen = shown(der)
    assert seen.error is not None
    assert seen.error.code == "x509.malformed"
