"""keyfob.pki.certificate: two real certificates, and what is none.

The expected values are those that `openssl x509 -dates` prints for the same files.
"""

import binascii

from device_support import VECTORS, code_of

from keyfob.errors import KeyfobError
from keyfob.pki.certificate import Certificate, date_text
from keyfob.pki.reading import days_from_civil


def der_of(name):
    text = ""
    with open(VECTORS + "/" + name) as file:
        for line in file:
            if not line.startswith("-----"):
                text += line.strip()
    return binascii.a2b_base64(text)


def test_a_version_1_device_certificate_is_read():
    certificate = Certificate(der_of("device-x509v1.pem"))
    assert certificate.version == 1
    assert (certificate.not_before_s, certificate.not_after_s) == (1578245348, 1893605348)
    assert certificate.names == []
    assert certificate.subject == "ec2-3-14-3-112.us-east-2.compute.amazonaws.com"
    assert certificate.issuer == "Ip-172-31-34-43.us-east-2.compute.internal"


def test_a_version_1_ca_certificate_is_read():
    certificate = Certificate(der_of("broker-ca-v1.pem"))
    assert certificate.version == 1
    assert (certificate.not_before_s, certificate.not_after_s) == (1492929687, 1808289687)
    assert certificate.subject == certificate.issuer == ""  # it has no common name


def test_days_are_those_of_the_calendar():
    assert days_from_civil(1970, 1, 1) == 0
    assert days_from_civil(2000, 2, 29) == 11016
    assert days_from_civil(2000, 3, 1) == 11017
    assert days_from_civil(2038, 1, 19) == 24855  # 2**31 seconds
    assert days_from_civil(2100, 3, 1) - days_from_civil(2100, 2, 28) == 1


def test_times_are_told_as_dates():
    assert date_text(0) == "1970-01-01T00:00:00Z"
    assert date_text(951_782_399) == "2000-02-28T23:59:59Z"
    assert date_text(951_868_799) == "2000-02-29T23:59:59Z"
    assert date_text(1_709_251_199) == "2024-02-29T23:59:59Z"
    assert date_text(4_107_542_399) == "2100-02-28T23:59:59Z"
    assert date_text(4_107_542_400) == "2100-03-01T00:00:00Z"
    for day in range(0, 60_000, 97):
        year, month, number = date_text(day * 86_400)[:10].split("-")
        assert days_from_civil(int(year), int(month), int(number)) == day


def test_a_certificate_cut_anywhere_is_refused():
    der = der_of("device-x509v1.pem")
    for end in range(len(der)):
        assert code_of(Certificate, der[:end]) == "x509.malformed"


def test_changed_bytes_raise_nothing_but_our_own_error():
    der = der_of("broker-ca-v1.pem")
    refused = 0
    for index in range(0, 300):
        for value in (0x00, 0x30, 0x7F, 0x80, 0x84, 0xFF):
            changed = bytearray(der)
            changed[index] = value
            try:
                Certificate(changed)
            except KeyfobError as error:
                refused += 1
                assert error.code == "x509.malformed"
    assert refused > 100
