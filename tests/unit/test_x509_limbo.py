"""keyfob.pki by x509-limbo, the suite that verifiers of the web are compared with
(``tests/vectors/README.md``): each chain gets its verdict, or `TAKEN` or `REFUSED` say why not."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path

import pytest

from keyfob.errors import KeyfobError
from keyfob.pki import path

FILE = Path(__file__).resolve().parent.parent / "vectors" / "x509-limbo.json.gz"
with gzip.open(FILE, "rt", encoding="utf-8") as _file:
    CASES = {case["id"]: case for case in json.load(_file)}

_NO_CRL = "revocation is not checked"
_NO_DEPTH = "the suite's own limit, less than ours of 8 certificates"
_KEY_IDENTIFIER = "key identifiers help to find an issuer and prove nothing"
_ISSUER_MAY_NOT = "what a CA may issue on the web; nothing that is verified depends on it"
_COMMON_NAME = "the common name is not looked at: names are those of the SAN"
_SUFFIXES = "a list of public suffixes is no part of a board"

# Taken though the suite says no, with why.
TAKEN = {
    "crl::crlnumber-critical": _NO_CRL,
    "crl::crlnumber-missing": _NO_CRL,
    "crl::issuer-missing-crlsign": _NO_CRL,
    "crl::revoked-certificate-with-crl": _NO_CRL,
    "pathlen::max-chain-depth-0-exhausted": _NO_DEPTH,
    "pathlen::max-chain-depth-1-exhausted": _NO_DEPTH,
    "rfc5280::aki::cross-signed-root-missing-aki": _KEY_IDENTIFIER,
    "rfc5280::aki::intermediate-missing-aki": _KEY_IDENTIFIER,
    "rfc5280::aki::leaf-missing-aki": _KEY_IDENTIFIER,
    "rfc5280::ski::intermediate-missing-ski": _KEY_IDENTIFIER,
    "rfc5280::ski::root-missing-ski": _KEY_IDENTIFIER,
    "webpki::aki::root-with-aki-all-fields": _KEY_IDENTIFIER,
    "webpki::aki::root-with-aki-missing-keyidentifier": _KEY_IDENTIFIER,
    "webpki::aki::root-with-aki-ski-mismatch": _KEY_IDENTIFIER,
    "rfc5280::nc::invalid-dnsname-leading-period": "'.example.com' is read as OpenSSL reads it",
    "rfc5280::nc::permitted-dns-match-noncritical": "constraints count, critical or not",
    "rfc5280::root-non-critical-basic-constraints": "they count, critical or not",
    "rfc5280::san::underscore-dns": "such names are met inside of companies",
    "rfc5280::serial::zero": "a serial number is evidence here, and nothing else",
    "webpki::cn::case-mismatch": _COMMON_NAME,
    "webpki::cn::ipv4-hex-mismatch": _COMMON_NAME,
    "webpki::cn::ipv4-leading-zeros-mismatch": _COMMON_NAME,
    "webpki::cn::ipv6-non-rfc5952-mismatch": _COMMON_NAME,
    "webpki::cn::ipv6-uncompressed-mismatch": _COMMON_NAME,
    "webpki::cn::ipv6-uppercase-mismatch": _COMMON_NAME,
    "webpki::cn::not-in-san": _COMMON_NAME,
    "webpki::cn::punycode-not-in-san": _COMMON_NAME,
    "webpki::cn::utf8-vs-punycode-mismatch": _COMMON_NAME,
    "webpki::eku::ee-anyeku": "serverAuth stands beside it",
    "webpki::eku::ee-critical-eku": _ISSUER_MAY_NOT,
    "webpki::eku::ee-without-eku": "without the extension a key serves every purpose (RFC 5280)",
    "webpki::eku::root-has-eku": _ISSUER_MAY_NOT,
    "webpki::forbidden-rsa-key-not-divisible-by-8-in-leaf": _ISSUER_MAY_NOT,
    "webpki::forbidden-rsa-not-divisible-by-8-in-root": _ISSUER_MAY_NOT,
    "webpki::malformed-aia": "what is not critical and not needed is not read",
    "webpki::san::public-suffix-multi-label-wildcard-san": _SUFFIXES,
    "webpki::san::public-suffix-private-namespace-wildcard-san": _SUFFIXES,
    "webpki::san::san-critical-with-nonempty-subject": _ISSUER_MAY_NOT,
}
# Refused though the suite says yes, with the code.
REFUSED = {
    "cve::cve-2024-0567": "x509.chain-too-long",  # ten certificates; the limit is eight
    # A CA that is itself a server is refused on purpose.
    "pathlen::validation-ignores-pathlen-in-leaf": "x509.end-entity-is-ca",
    "rfc5280::ca-as-leaf": "x509.end-entity-is-ca",
}


def chain_of(case: dict, which: str = "chain") -> list[bytes]:
    """DER of each certificate; ``which``: "chain" or "anchors"."""
    return [base64.b64decode(text) for text in case[which]]


def verdict_on(case: dict) -> str:
    """The kind of the end-entity's key, or the code of the refusal."""
    try:
        chain, anchors = chain_of(case), chain_of(case, "anchors")
        return path.verify(chain, anchors, case["host"], case["at_s"]).key_kind
    except KeyfobError as error:
        return error.code


@pytest.mark.parametrize("name", CASES)
def test_chain_gets_the_verdict_of_x509_limbo(name: str) -> None:
    case = CASES[name]
    verdict = verdict_on(case)
    is_taken = not verdict.startswith("x509.")
    if name in REFUSED:
        assert case["is_valid"]
        assert verdict == REFUSED[name]
    elif name in TAKEN:
        assert not case["is_valid"]
        assert is_taken
    else:
        assert is_taken == case["is_valid"], verdict


def test_what_is_judged_otherwise_is_in_the_suite() -> None:
    assert set(CASES) >= set(TAKEN) | set(REFUSED)
