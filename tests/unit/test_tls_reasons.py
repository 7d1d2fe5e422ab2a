"""keyfob.tls.reasons and keyfob.tls.chain: words, numbers and evidence.

The texts are mbedTLS's own (x509_crt.h, X509_CRT_ERROR_INFO_LIST); the bench tests
provoke most of them from the engine itself.
"""

from device_support import HERE  # noqa: F401 - puts the firmware on the path

from keyfob.tls import os_errors, reasons
from keyfob.tls.chain import Chain

TEXTS = {
    "The certificate validity has expired\n": "x509.expired",
    "The certificate validity starts in the future\n": "x509.not-yet-valid",
    "The certificate Common Name (CN) does not match with the expected CN\n": "x509.wrong-name",
    "The certificate is not correctly signed by the trusted CA\n": "x509.untrusted",
    "Usage does not match the keyUsage extension\n": "x509.wrong-usage",
    "Usage does not match the extendedKeyUsage extension\n": "x509.wrong-usage",
    "The certificate is signed with an unacceptable hash.\n": "x509.weak",
    "The certificate is signed with an unacceptable key (eg bad curve).\n": "x509.weak",
    "The certificate has been revoked (is on a CRL)\n": "x509.refused",
    "Other reason (can be used by verify callback)\n": "x509.refused",
}


class Anchors:
    """An identity whose only trust anchor cannot be read."""

    def names(self, stem):
        return [stem + ".der"]

    def read(self, name):
        return b"not DER"


def test_each_text_of_the_engine_has_a_code():
    for text in TEXTS:
        error = reasons.refusal(text, Chain("broker.test", 0, Anchors()))
        assert error.code == TEXTS[text], text
        want = "ca.der (x509.malformed)" if error.code == "x509.untrusted" else "broker.test"
        assert want in error.detail


def test_of_several_reasons_the_most_specific_is_told():
    untrusted = "The certificate is not correctly signed by the trusted CA\n"
    for text in TEXTS:
        if TEXTS[text] != "x509.refused":
            assert reasons.refusal(untrusted + text, Chain("x", 0, Anchors())).code == TEXTS[text]


def test_alerts_are_told_by_name_or_by_number():
    assert reasons.alert(48).code == "tls.alert-unknown-ca"
    assert reasons.alert(112).code == "tls.alert"
    assert "112" in reasons.alert(112).detail


NUMBERS = {
    12: "tls.no-memory", 104: "tls.reset", 32: "tls.reset", 113: "tls.unreachable",
    110: "tls.reset", 111: "tls.refused", -0x7280: "tls.closed",
    -0x7F00: "tls.no-memory", -0x7A00: "x509.wrong-usage", -0x6C00: "tls.failed", 999: "tls.failed",
    -0x2562: "x509.unknown-critical",
}  # fmt: skip


def test_numbers_become_codes_with_the_stage_as_evidence():
    for number in NUMBERS:
        error = os_errors.os_error(OSError(number, "text"), "connecting to x:1")
        assert error.code == NUMBERS[number], number
        assert error.detail == "connecting to x:1: %d text" % number
    assert os_errors.os_error(OSError(), "x").code == "tls.failed"


def test_what_breaks_a_standing_connection_needs_nobody_to_act():
    for doing in ("reading", "writing"):
        error = os_errors.os_error(OSError(-0x7780), doing)
        assert (error.code, error.detail) == ("tls.broken", doing + ": -30592")


def test_a_chain_that_cannot_be_read_is_refused():
    chain = Chain("broker.test", 1_800_000_000, Anchors())
    assert chain.see(b"\x30\x03\x02\x01\x00", 0) != 0
    assert chain.error.code == "x509.malformed"
    assert not chain.was_judged


def test_a_refused_chain_stays_refused():
    chain = Chain("broker.test", 1_800_000_000, Anchors())
    chain.see(b"", 1)
    first = chain.error
    assert chain.see(b"", 0) != 0 and first.code == "x509.malformed"
