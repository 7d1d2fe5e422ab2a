"""Names that may and may not stand in a certificate."""

from __future__ import annotations

import ipaddress

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from keyfob_host.errors import KeyfobHostError
from keyfob_host.pki import names
from keyfob_host.pki.authority import Authority


@pytest.mark.parametrize(
    "device_id", ["a", "sensor-01", "24:0a:c4:00:01:10", "node_7.north", "A" * 64]
)
def test_device_ids_that_are_topic_levels_are_accepted(device_id: str) -> None:
    names.check_device_id(device_id)


@pytest.mark.parametrize(
    "device_id",
    ["", "a/b", "+", "#", "a#", "a b", "a\tb", "a\n", "$SYS", ".", "..", "-a", "_a", "é", "a\0",
     "A" * 65, "x" * 5000, "../../etc"],
)  # fmt: skip
def test_device_ids_that_would_break_topics_or_paths_are_refused(device_id: str) -> None:
    with pytest.raises(KeyfobHostError) as refused:
        names.check_device_id(device_id)
    assert refused.value.code == "cert.bad-id"
    assert len(refused.value.evidence) < 120


@pytest.mark.parametrize("device_id", ["keyfob-host", "KEYFOB-HOST"])
def test_the_hosts_own_name_is_no_device(device_id: str) -> None:
    with pytest.raises(KeyfobHostError) as refused:
        names.check_device_id(device_id)
    assert refused.value.code == "cert.reserved-id"


@given(st.text(max_size=80))
def test_an_accepted_id_never_holds_topic_or_path_syntax(text: str) -> None:
    try:
        names.check_device_id(text)
    except KeyfobHostError:
        return
    assert not set(text) & set("/+#$ \t\r\n\0\\")
    assert text not in (".", "..") and 1 <= len(text.encode()) <= 64


@pytest.mark.parametrize(
    ("text", "entry"),
    [
        ("broker.keyfob.test", x509.DNSName("broker.keyfob.test")),
        ("DNS:Broker.Keyfob.Test", x509.DNSName("broker.keyfob.test")),
        ("dns:localhost", x509.DNSName("localhost")),
        ("*.keyfob.test", x509.DNSName("*.keyfob.test")),
        ("xn--bcher-kva.example", x509.DNSName("xn--bcher-kva.example")),
        ("3com.example", x509.DNSName("3com.example")),
        ("192.0.2.7", x509.IPAddress(ipaddress.ip_address("192.0.2.7"))),
        ("IP:192.0.2.7", x509.IPAddress(ipaddress.ip_address("192.0.2.7"))),
        ("ip:2001:db8::1", x509.IPAddress(ipaddress.ip_address("2001:db8::1"))),
        ("::1", x509.IPAddress(ipaddress.ip_address("::1"))),
    ],
)
def test_sans_are_read_with_and_without_their_kind(text: str, entry: x509.GeneralName) -> None:
    assert names.parse_san(text) == entry


@pytest.mark.parametrize(
    "text",
    ["", "DNS:", "IP:", "a b", "-a.test", "a-.test", "a..b", ".a", "a.", "*", "*.test", "a.*.test",
     "a*.keyfob.test", "*.*.keyfob.test", "999.1.1.1", "192.0.2", "DNS:192.0.2.7", "IP:broker.test",
     "IP:192.0.2.7/24", "bücher.example", "under_score.test", "a" * 64 + ".test",
     ".".join(["a" * 60] * 5), "https://broker.test", "broker.test:8883", "URI:no scheme"],
)  # fmt: skip
def test_sans_that_no_verifier_would_match_are_refused(text: str) -> None:
    with pytest.raises(KeyfobHostError) as refused:
        names.parse_san(text)
    assert refused.value.code == "cert.bad-san"
    assert repr(text) in refused.value.evidence


def test_a_broker_name_goes_into_the_san_and_one_that_cannot_needs_another() -> None:
    authority = Authority.ephemeral("CA")

    def sans(name: str) -> list[str]:
        cert = authority.issue_broker(name).cert
        found = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return [names.san_text(one) for one in found]

    assert sans("broker.keyfob.test") == ["DNS:broker.keyfob.test"]
    assert sans("192.0.2.7") == ["IP:192.0.2.7"]
    with pytest.raises(KeyfobHostError) as refused:
        authority.issue_broker("my_broker")
    assert refused.value.code == "cert.no-san"
    assert authority.issue_broker("my_broker", ["a.test"]).name == "my_broker"


@pytest.mark.parametrize("name", ["", " x", "x ", "a\nb", "x" * 65, "\x7f"])
def test_common_names_that_cannot_be_shown_are_refused(name: str) -> None:
    with pytest.raises(KeyfobHostError) as refused:
        Authority.ephemeral(name)
    assert refused.value.code == "cert.bad-common-name"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("fe80::1%eth0", "zone"),
        ("IP:fe80::1%eth0", "zone"),
        ("bücher.example", "xn--"),
        ("DNS:*.bücher.example", "xn--"),
    ],
)
def test_addresses_and_names_that_a_certificate_cannot_hold_say_why(text: str, told: str) -> None:
    with pytest.raises(KeyfobHostError) as refused:
        names.parse_san(text)
    assert refused.value.code == "cert.bad-san" and told in refused.value.cause
