"""keyfob.tls.chain: what the verify callback accepts of each certificate, and keeps of it."""

import binascii

from device_support import VECTORS

from keyfob.tls.chain import Chain, read_element
from keyfob.tls.evidence import of_chain


def der_of(name):
    text = ""
    with open(VECTORS + "/" + name) as file:
        for line in file:
            if not line.startswith("-----"):
                text += line.strip()
    return binascii.a2b_base64(text)


def chain():
    return Chain("broker.test", 1_800_000_000, None)


def test_a_certificate_of_version_1_is_refused_at_any_depth():
    for name in ("device-x509v1.pem", "broker-ca-v1.pem"):
        for depth in (0, 1):
            seen = chain()
            assert seen.see(memoryview(der_of(name)), depth) == -1
            assert seen.error.code == "x509.not-v3"
            assert seen.error.detail == "depth %d: version 1" % depth
            assert not seen.was_judged


def test_a_certificate_that_breaks_off_is_malformed():
    der = der_of("device-x509v1.pem")
    for size in range(len(der)):
        seen = chain()
        assert seen.see(memoryview(der)[:size], 0) == -1
        assert seen.error.code == "x509.malformed", size


def test_after_a_refusal_no_other_certificate_is_accepted():
    seen = chain()
    seen.see(memoryview(der_of("device-x509v1.pem")), 1)
    assert seen.see(b"", 0) == -1


def test_a_servers_key_usage_is_usual_in_its_shortest_form_and_without_keycertsign():
    # The last is of a length with a byte too many, which mbedTLS takes.
    for value, want in (
        (b"\x03\x02\x07\x80", True), (b"\x03\x03\x07\x00\x80", True),
        (b"\x03\x02\x01\x86", False), (b"\x03\x81\x02\x01\x86", False),
    ):  # fmt: skip
        seen = chain()
        seen.names = b"\x82\x0bbroker.test"
        assert seen._is_usual(memoryview(value), 0, {0x0F: (0, len(value))}) == want, value


def test_lengths_of_one_to_three_bytes():
    for size in (0, 1, 127, 128, 255, 256, 1000):
        if size < 128:
            head = bytes((4, size))
        elif size < 256:
            head = bytes((4, 0x81, size))
        else:
            head = bytes((4, 0x82, size >> 8, size & 255))
        der = b"\0" + head + bytes(size)
        assert read_element(der, 1, len(der), 4) == (1 + len(head), len(der))


class NoMemory:
    def __len__(self):
        raise MemoryError


def test_a_lack_of_memory_refuses_the_chain():
    seen = chain()
    assert seen.see(NoMemory(), 0) == -1
    assert seen.error.code == "tls.no-memory"


def test_evidence_of_a_chain_that_was_not_seen_names_what_was_wanted():
    assert of_chain(chain(), "x509.wrong-name") == "wanted broker.test, certificate for "
