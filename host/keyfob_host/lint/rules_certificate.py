"""Rules for one certificate: its form, dates, serial number and extensions.

RFC 5280 sections 4.1 and 4.2. ``error`` stands for what boards (`keyfob.pki` of the firmware,
mbedTLS) or mosquitto refuse.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

from keyfob_host.lint.certificate import duplicates
from keyfob_host.lint.extensions import (
    AUTHORITY_KEY_ID,
    BASIC_CONSTRAINTS,
    CRL_SIGN,
    DIGITAL_SIGNATURE,
    EXTENDED_KEY_USAGE,
    KEY_AGREEMENT,
    KEY_CERT_SIGN,
    KEY_ENCIPHERMENT,
    KEY_USAGE,
    NAME_CONSTRAINTS,
    SAN,
    SUBJECT_KEY_ID,
    USAGE_NAMES,
    extension_name,
)
from keyfob_host.lint.finding import Rule, Severity
from keyfob_host.lint.subjects import CertificateSubject as Subject

_Judge = Callable[[Subject], Iterator[str]]
_E, _W, _N = Severity.ERROR, Severity.WARNING, Severity.NOTE
SERVER_AUTH, CLIENT_AUTH = "1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"
ANY_PURPOSE = "2.5.29.37.0"
PURPOSES = {
    SERVER_AUTH: "serverAuth", CLIENT_AUTH: "clientAuth", ANY_PURPOSE: "anyExtendedKeyUsage",
    "1.3.6.1.5.5.7.3.3": "codeSigning", "1.3.6.1.5.5.7.3.4": "emailProtection",
    "1.3.6.1.5.5.7.3.8": "timeStamping", "1.3.6.1.5.5.7.3.9": "OCSPSigning",
}  # fmt: skip
# Critical extensions that are processed: by a board, and by mosquitto's OpenSSL.
_BOARD = (BASIC_CONSTRAINTS, KEY_USAGE, EXTENDED_KEY_USAGE, SAN, NAME_CONSTRAINTS)
_POLICY_CONSTRAINTS = "2.5.29.36"  # critical for a board, whatever it says
_OPENSSL = (*_BOARD, "2.5.29.31", "2.5.29.32", "2.5.29.33", _POLICY_CONSTRAINTS, "2.5.29.54")
_MAX_SERIAL_BYTES = 20
_MAX_SERVER_DAYS = 825
_FRESH = timedelta(hours=24)
_ABSURD_YEARS = 100
_NO_END_YEAR = 9999  # RFC 5280 section 4.1.2.5: a certificate without an end
_FIRST_YEAR = 2000  # where the clocks of boards begin


def _malformed(subject: Subject) -> Iterator[str]:
    yield from map(str, subject.cert.defects)


def _version(subject: Subject) -> Iterator[str]:
    if subject.cert.version != 3:
        count = len(subject.cert.extensions.all)
        yield f"version {subject.cert.version}, want 3; {count or 'no'} extensions"


def _serial_size(subject: Subject) -> Iterator[str]:
    content = subject.cert.serial
    if len(content) > _MAX_SERIAL_BYTES:
        yield f"{len(content)} bytes, at most {_MAX_SERIAL_BYTES}: {content.hex()}"
    if content[:1] >= b"\x80":
        yield f"negative: {content.hex()}"


def _serial_zero(subject: Subject) -> Iterator[str]:
    if subject.cert.serial and not any(subject.cert.serial):
        yield "0, want 1 or more"


def _time_form(subject: Subject) -> Iterator[str]:
    for name, time in (
        ("notBefore", subject.cert.not_before), ("notAfter", subject.cert.not_after)
    ):  # fmt: skip
        if time.wrong:
            yield f"{name} {time.wrong}"


def _dates_text(subject: Subject) -> str:
    cert = subject.cert
    return f"valid from {cert.not_before} to {cert.not_after}"


def _reversed(subject: Subject) -> Iterator[str]:
    start, end = subject.cert.not_before.moment, subject.cert.not_after.moment
    if start and end and start >= end:
        yield _dates_text(subject)


def _expired(subject: Subject) -> Iterator[str]:
    end = subject.cert.not_after.moment
    if end and subject.context.at > end:
        yield f"notAfter {subject.cert.not_after}, now {subject.context.at:%Y-%m-%dT%H:%M:%SZ}"


def _not_yet(subject: Subject) -> Iterator[str]:
    start = subject.cert.not_before.moment
    if start and subject.context.at < start:
        yield f"notBefore {subject.cert.not_before}, now {subject.context.at:%Y-%m-%dT%H:%M:%SZ}"


def _fresh(subject: Subject) -> Iterator[str]:
    start = subject.cert.not_before.moment
    if start and start <= subject.context.at < start + _FRESH:
        age = int((subject.context.at - start).total_seconds() // 60)
        yield f"notBefore {subject.cert.not_before}, {age // 60} h {age % 60} min ago, want 24 h"


def _long_validity(subject: Subject) -> Iterator[str]:
    start, end = subject.cert.not_before.moment, subject.cert.not_after.moment
    if start and end and (end - start).days > _MAX_SERVER_DAYS:
        yield f"{(end - start).days} days, at most {_MAX_SERVER_DAYS}"


def _absurd_dates(subject: Subject) -> Iterator[str]:
    start, end = subject.cert.not_before.moment, subject.cert.not_after.moment
    if start and end and end.year != _NO_END_YEAR:
        is_long = end.year - start.year > _ABSURD_YEARS
        if is_long or start.year < _FIRST_YEAR:
            yield _dates_text(subject)


def _duplicate(subject: Subject) -> Iterator[str]:
    yield from (f"{name}, more than once" for name in duplicates(subject.cert))


def _unprocessed(subject: Subject) -> Iterator[str]:
    processed = _OPENSSL if subject.role == "device" else _BOARD
    for oid, is_critical in subject.cert.extensions.all:
        if (is_critical or oid == _POLICY_CONSTRAINTS) and oid not in processed:
            seen = "critical" if is_critical else "taken as critical"
            yield f"{extension_name(oid)} is {seen}; want one that is processed"


def _is_stray(subject: Subject) -> bool:
    """An end-entity among trust anchors, issued by somebody else."""
    cert = subject.cert
    return subject.is_anchor and not cert.is_ca and not cert.is_self_issued


def _end_entity_as_anchor(subject: Subject) -> Iterator[str]:
    if _is_stray(subject):
        yield f"subject {subject.cert.subject}, issuer {subject.cert.issuer}"


def _not_ca(subject: Subject) -> Iterator[str]:
    if not subject.cert.is_ca and not _is_stray(subject):
        seen = "none" if subject.cert.extensions.is_ca is None else "CA:FALSE"
        yield f"basic constraints: {seen}, want CA:TRUE"


def _no_basic_constraints(subject: Subject) -> Iterator[str]:
    if subject.cert.extensions.is_ca is None:
        yield "basic constraints: none, want CA:FALSE"


def _is_ca(subject: Subject) -> Iterator[str]:
    if subject.cert.is_ca:
        yield "basic constraints: CA:TRUE, want CA:FALSE"


def _claims_of_ca(subject: Subject) -> Iterator[str]:
    if subject.cert.is_ca:
        return
    if KEY_CERT_SIGN in (subject.cert.extensions.key_usage or ()):
        yield f"key usage: {_usage_text(subject)}, with CA:FALSE"
    if subject.cert.extensions.criticality(NAME_CONSTRAINTS) is not None:
        yield "name constraints, with CA:FALSE"


def _not_critical(oid: str) -> _Judge:
    def judge(subject: Subject) -> Iterator[str]:
        if subject.cert.extensions.criticality(oid) is False:
            yield f"{extension_name(oid)} is not critical"

    return judge


def _usage_text(subject: Subject) -> str:
    usage = subject.cert.extensions.key_usage
    if usage is None:
        return "none"
    return ", ".join(USAGE_NAMES[bit] for bit in sorted(usage) if bit < len(USAGE_NAMES)) or "empty"


def _cannot_sign(subject: Subject) -> Iterator[str]:
    usage = subject.cert.extensions.key_usage
    if usage is not None and KEY_CERT_SIGN not in usage:
        yield f"key usage: {_usage_text(subject)}; want keyCertSign"


def _no_key_usage(subject: Subject) -> Iterator[str]:
    if subject.cert.version == 3 and subject.cert.extensions.key_usage is None:
        yield "key usage: none, want keyCertSign"


def _broker_usage(subject: Subject) -> Iterator[str]:
    usage = subject.cert.extensions.key_usage
    if usage is None or DIGITAL_SIGNATURE in usage:
        return
    if not (subject.cert.key.is_rsa and KEY_ENCIPHERMENT in usage):
        yield f"key usage: {_usage_text(subject)}; want digitalSignature"


def _only_encipherment(subject: Subject) -> Iterator[str]:
    usage = subject.cert.extensions.key_usage or frozenset()
    if subject.cert.key.is_rsa and KEY_ENCIPHERMENT in usage and DIGITAL_SIGNATURE not in usage:
        yield f"key usage: {_usage_text(subject)}; want digitalSignature too"


def _device_usage(subject: Subject) -> Iterator[str]:
    usage = subject.cert.extensions.key_usage
    if usage is not None and not usage & {DIGITAL_SIGNATURE, KEY_AGREEMENT}:
        yield f"key usage: {_usage_text(subject)}; want digitalSignature"


def _usage_of_ca(subject: Subject) -> Iterator[str]:
    usage = subject.cert.extensions.key_usage or frozenset()
    if subject.role == "broker" and KEY_CERT_SIGN in usage:
        return  # an error
    if usage & {KEY_CERT_SIGN, CRL_SIGN} and not subject.cert.is_ca:
        yield f"key usage: {_usage_text(subject)}, with CA:FALSE"


def purposes_text(purposes: tuple[str, ...] | None) -> str:
    """Of an extended key usage, for people."""
    return ", ".join(PURPOSES.get(oid, oid) for oid in purposes or ()) or "none"


def _wrong_purpose(wanted: str) -> _Judge:
    def judge(subject: Subject) -> Iterator[str]:
        seen = subject.cert.extensions.purposes
        if seen is not None and wanted not in seen:
            yield f"extended key usage: {purposes_text(seen)}; want {PURPOSES[wanted]}"

    return judge


def _no_purpose(subject: Subject) -> Iterator[str]:
    if subject.cert.extensions.purposes is None:
        wanted = {"broker": "serverAuth", "device": "clientAuth"}.get(str(subject.role), "one")
        yield f"extended key usage: none, want {wanted}"


def _no_key_ids(subject: Subject) -> Iterator[str]:
    cert = subject.cert
    there = [oid for oid, _ in cert.extensions.all]
    missing = []
    if SUBJECT_KEY_ID not in there:
        missing.append("subject key identifier")
    if AUTHORITY_KEY_ID not in there and not cert.is_self_issued:
        missing.append("authority key identifier")
    if cert.version == 3 and missing:
        yield f"missing: {', '.join(missing)}"


_REISSUE = "{reissue}"

RULES: tuple[Rule[Subject], ...] = (
    Rule("lint.malformed", _E, "the certificate is damaged or wrongly encoded", _REISSUE,
         _malformed),
    Rule("lint.not-v3", _E, "the certificate is not X.509 version 3, so that it has no "
         "extensions: boards and strict brokers refuse it", _REISSUE, _version),
    Rule("lint.serial", _E, "the serial number is none that RFC 5280 allows", _REISSUE,
         _serial_size),
    Rule("lint.serial-zero", _W, "the serial number is zero", _REISSUE, _serial_zero),
    Rule("lint.time-form", _E, "a date is not in the form that RFC 5280 asks for", _REISSUE,
         _time_form),
    Rule("lint.dates-reversed", _E, "the certificate ends before it begins", _REISSUE, _reversed),
    Rule("lint.expired", _E, "the certificate has expired", _REISSUE, _expired),
    Rule("lint.not-yet-valid", _E, "the certificate is not valid yet",
         "check this machine's clock: date -u; if it is right: {reissue}", _not_yet),
    Rule("lint.fresh", _W, "the certificate begins less than 24 hours ago: a board whose clock "
         "is behind refuses it", "wait, or set notBefore back: {reissue}", _fresh),
    Rule("lint.long-validity", _N, "a server's certificate this long-lived is refused by some "
         "systems", "{reissue} --days 397", _long_validity, ("broker",)),
    Rule("lint.absurd-dates", _W, "the dates cannot be meant so", _REISSUE, _absurd_dates),
    Rule("lint.duplicate-extension", _E, "an extension is there twice", _REISSUE, _duplicate),
    Rule("lint.unprocessed-critical", _E, "a critical extension is one that the verifier does "
         "not process, so it refuses the certificate", _REISSUE, _unprocessed),
    Rule("lint.not-ca", _E, "the certificate is no CA's, so nothing that its key signed is "
         "accepted", _REISSUE, _not_ca, ("ca",)),
    Rule("lint.end-entity-as-anchor", _E, "an end-entity's certificate stands where the CA's "
         "belongs", "put the CA's there: keyfob cert show ca", _end_entity_as_anchor, ("ca",)),
    Rule("lint.no-basic-constraints", _W, "the certificate does not say that it is no CA's",
         _REISSUE, _no_basic_constraints, ("broker", "device", None)),
    Rule("lint.end-entity-is-ca", _E, "a broker's certificate says that it is a CA's: boards "
         "refuse it", _REISSUE, _is_ca, ("broker",)),
    Rule("lint.end-entity-is-ca", _E, "a broker's certificate has what only a CA's may: boards "
         "refuse it", _REISSUE, _claims_of_ca, ("broker",)),
    Rule("lint.device-is-ca", _W, "a device's certificate says that it is a CA's: the device "
         "could sign others", _REISSUE, _is_ca, ("device",)),
    Rule("lint.basic-constraints-not-critical", _W, "strict verifiers refuse a CA whose basic "
         "constraints are not critical", _REISSUE, _not_critical(BASIC_CONSTRAINTS), ("ca",)),
    Rule("lint.cannot-sign", _E, "the CA's certificate does not allow it to sign others",
         _REISSUE, _cannot_sign, ("ca",)),
    Rule("lint.no-key-usage", _W, "the CA's certificate has no key usage, which strict verifiers "
         "ask for", _REISSUE, _no_key_usage, ("ca",)),
    Rule("lint.key-usage-not-critical", _N, "the key usage is not critical (RFC 5280 section "
         "4.2.1.3)", _REISSUE, _not_critical(KEY_USAGE), ("ca",)),
    Rule("lint.key-usage", _E, "the key may not sign a handshake", _REISSUE, _broker_usage,
         ("broker",)),
    Rule("lint.key-usage", _E, "the key may not sign a handshake", _REISSUE, _device_usage,
         ("device",)),
    Rule("lint.key-usage-rsa-only", _W, "the key is for the RSA key exchange alone, which TLS 1.3 "
         "and many clients no longer have", _REISSUE, _only_encipherment, ("broker",)),
    Rule("lint.key-usage-of-ca", _W, "the key usage is a CA's, and the certificate is not",
         _REISSUE, _usage_of_ca, ("broker", "device", None)),
    Rule("lint.wrong-purpose", _E, "the certificate is not for a server: boards refuse it",
         _REISSUE, _wrong_purpose(SERVER_AUTH), ("broker",)),
    Rule("lint.wrong-purpose", _E, "the certificate is not for a client: the broker refuses it",
         _REISSUE, _wrong_purpose(CLIENT_AUTH), ("device",)),
    Rule("lint.no-purpose", _W, "the certificate does not say what it is for (no extended key "
         "usage); strict verifiers refuse it", _REISSUE, _no_purpose, ("broker", "device", None)),
    Rule("lint.no-key-ids", _N, "key identifiers are missing, by which verifiers find the issuer",
         _REISSUE, _no_key_ids),
)  # fmt: skip
