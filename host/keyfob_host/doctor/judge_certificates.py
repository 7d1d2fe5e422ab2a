"""Telling apart what one error of a certificate can have as its cause, by what else was seen.

The broker's chain is held against the board's trust anchors and this host's clock, the board's
own certificate against what the broker takes clients by: its CA file, its revocation lists,
its clock. This host's clock is taken for the true one, and for the broker's too where the
broker is this bench's. Signatures are checked; a whole path is for `keyfob cert check`.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from keyfob_host.doctor.diagnosis import Confidence, Diagnosis, Evidence
from keyfob_host.doctor.sightings import Sightings
from keyfob_host.doctor.tls_certificates import describe_seen, is_for
from keyfob_host.pki.crl import next_update
from keyfob_host.pki.identity import issued_by, leads_to
from keyfob_host.pki.names import printable

_BOM = b"\xef\xbb\xbf"
_FAR_S = 86_400  # two clocks further apart than this are not both right
_REALLY = {
    "x509.expired": "x509.broker-expired", "store.expired": "client-certificate.expired",
    "store.anchor-expired": "x509.wrong-anchor",
}  # fmt: skip
_DATES = re.compile(r"valid from (\S{20}) to (\S{20}), clock (\S{20})")
_USAGES = {
    ExtendedKeyUsageOID.SERVER_AUTH: "serverAuth", ExtendedKeyUsageOID.CLIENT_AUTH: "clientAuth",
}  # fmt: skip


def server_certificate(seen: Sightings, error: Evidence, code: str) -> Diagnosis | None:
    """For ``x509.*`` of the board's: what is wrong with the broker's chain, or its clock."""
    chain = _certs(seen.served.chain if seen.served else ())
    if code in ("x509.expired", "x509.not-yet-valid"):
        return _dates(seen, error, code, chain[0] if chain else None)
    if code in ("x509.wrong-name", "x509.no-san"):
        return _name(seen, error, chain)
    if code == "x509.untrusted":
        return _trust(seen, error, chain)
    return None


def own_certificate(seen: Sightings, error: Evidence, code: str) -> Diagnosis | None:
    """For ``store.*`` of the board's: what is wrong with its own certificate, or its clock."""
    if code in ("store.expired", "store.not-yet-valid", "store.anchor-expired"):
        return _dates(seen, error, code, None)
    own = seen.board.files.cert
    if code.startswith(("x509.", "tls.bad-key")) and own and own.lstrip(_BOM)[:5] == b"-----":
        told = Evidence("host", "the board's cert.der begins as", seen.now, "PEM", "DER")
        return Diagnosis("store.wrong-form", "certain", (error, told))
    return None


def client_certificate(seen: Sightings, evidence: tuple[Evidence, ...]) -> Iterator[Diagnosis]:
    """Each reason for which this bench's broker refuses the board's certificate."""
    own, broker = seen.own, seen.broker
    if own is None or not broker.is_ours:
        return
    at = seen.now

    def found(code: str, text: str, was: str, wanted: str) -> Diagnosis:
        told = Evidence("host", text, at, was, wanted)
        return Diagnosis(code, "certain", (*evidence, told))

    for crl in broker.crls:
        ends, issuer = next_update(crl), _text(crl.issuer)
        if own.issuer == crl.issuer and crl.get_revoked_certificate_by_serial_number(
            own.serial_number
        ):
            text = f"the revocation list of {issuer} has the board's certificate"
            yield found("client-certificate.revoked", text, f"serial {own.serial_number:x}", "none")
        if ends < at:
            text = f"nextUpdate of the revocation list of {issuer}"
            yield found("client-certificate.crl-overdue", text, _day(ends), f"after {_day(at)}")
    if own.not_valid_after_utc < at:
        text = "notAfter of the board's certificate"
        yield found(
            "client-certificate.expired", text, _day(own.not_valid_after_utc), f"after {_day(at)}"
        )
    if own.not_valid_before_utc > at:
        text = "notBefore of the board's certificate"
        yield found(
            "clock.broker-behind", text, _day(own.not_valid_before_utc), f"before {_day(at)}"
        )
    usages = _usages(own)
    if usages and ExtendedKeyUsageOID.CLIENT_AUTH not in usages:
        yield found(
            "client-certificate.wrong-usage", "extended key usage of the board's certificate",
            ", ".join(_USAGES.get(one, one.dotted_string) for one in usages), "clientAuth",
        )  # fmt: skip
    if own.subject == own.issuer:
        text = "subject and issuer of the board's certificate are the same"
        yield found("x509.same-subject-twice", text, _text(own.subject), "two names")
    elif broker.clients_ca and not _leads_to_any((own, *seen.intermediates), broker.clients_ca):
        yield found(
            "client-certificate.unknown-ca", "issuer of the board's certificate, and the "
            "broker's CA file", _named(own.issuer, own), _anchors(broker.clients_ca),
        )  # fmt: skip


def _dates(
    seen: Sightings, error: Evidence, code: str, cert: x509.Certificate | None
) -> Diagnosis | None:
    """Whose clock is wrong, or whether none is."""
    is_past = code.endswith("expired")
    wrong_clock = "clock.board-ahead" if is_past else "clock.board-never-set"
    really = _REALLY.get(code, "clock.issuer-ahead")
    evidence = [error]
    limit, clock = _told_dates(error.text, is_past)
    if cert is not None:
        limit = cert.not_valid_after_utc if is_past else cert.not_valid_before_utc
    if limit is not None:
        what, way = ("notAfter", "after") if is_past else ("notBefore", "before")
        whose = "the broker's certificate" if code.startswith("x509.") else "its certificate"
        wanted = f"{way} {_day(seen.now)}"
        evidence.append(Evidence("host", f"{what} of {whose}", seen.now, _day(limit), wanted))
        if limit < seen.now if is_past else limit > seen.now:
            evidence += _renewed_on_disk(seen, cert) if cert is not None else ()
            return Diagnosis(really, "certain", tuple(evidence))
    ahead_s = seen.board.clock_ahead_s()
    if clock is not None and error.at is not None:
        ahead_s = (clock - error.at).total_seconds()
    if ahead_s is not None and abs(ahead_s) > _FAR_S:
        shown = f"{ahead_s / _FAR_S:+.1f} days from this host's"
        evidence.append(Evidence("board", "its clock", error.at, shown, "the same"))
        return Diagnosis(wrong_clock, "certain", tuple(evidence))
    if code == "x509.expired" and _is_any_past(seen):
        return Diagnosis(really, "likely", tuple(evidence), (wrong_clock,))
    return None


def _told_dates(detail: str, is_past: bool) -> tuple[datetime | None, datetime | None]:
    """The limit that the board saw broken, and its clock, as its error tells both."""
    found = _DATES.search(detail)
    if found is None:
        return None, None
    try:
        first, last, clock = (
            datetime.fromisoformat(one.replace("Z", "+00:00")) for one in found.groups()
        )
    except ValueError:
        return None, None
    return (last if is_past else first), clock


def _renewed_on_disk(seen: Sightings, served: x509.Certificate) -> Iterator[Evidence]:
    """The broker's file, where it is another certificate than the one it shows."""
    if seen.broker.chain and seen.broker.chain[0] != served:
        on_disk = seen.broker.chain[0]
        yield Evidence(
            "host", "the broker has not read its new certificate: notAfter shown, and in its file",
            seen.now, _day(served.not_valid_after_utc), _day(on_disk.not_valid_after_utc),
        )  # fmt: skip


def _is_any_past(seen: Sightings) -> bool:
    chain = _certs(seen.served.chain if seen.served else ())
    anchors = _certs(seen.board.files.anchors)
    return any(one.not_valid_after_utc < seen.now for one in (*chain, *anchors))


def _name(seen: Sightings, error: Evidence, chain: tuple[x509.Certificate, ...]) -> Diagnosis:
    evidence, confidence = [error], _sure(False)
    if chain and seen.host and seen.served:
        facts = describe_seen(seen.served.chain[0])
        if not is_for(facts, seen.host):
            shown = ", ".join(facts["sans"]) or "no SAN"
            text = "names of the certificate that the broker shows"
            evidence.append(Evidence("host", text, seen.now, shown, seen.host))
            confidence = _sure(True)
    return Diagnosis("x509.name-not-in-san", confidence, tuple(evidence))


def _trust(seen: Sightings, error: Evidence, chain: tuple[x509.Certificate, ...]) -> Diagnosis:
    anchors = _certs(seen.board.files.anchors)
    others = ("x509.missing-intermediate", "x509.ca-without-ca-true")
    if not chain or not anchors:
        return Diagnosis("x509.wrong-anchor", "likely", (error,), others)
    top = chain[-1]
    evidence = (
        error,
        Evidence(
            "host", "issuer at the end of the chain that the broker shows, and the board's anchors",
            seen.now, _named(top.issuer, top), _anchors(anchors),
        ),
    )  # fmt: skip
    if any(one.subject in {anchor.subject for anchor in anchors} for one in chain[:1]):
        return Diagnosis("x509.same-subject-twice", "certain", evidence)
    same_name = [anchor for anchor in anchors if anchor.subject == top.issuer]
    for anchor in same_name:
        if issued_by(top, anchor) and not _is_ca(anchor):
            return Diagnosis("x509.ca-without-ca-true", "certain", evidence)
    if any(not _is_ca(one) for one in chain[1:]):
        return Diagnosis("x509.ca-without-ca-true", "certain", evidence)
    if not same_name:
        below = [one for one in _known_intermediates(seen) if one.subject == top.issuer]
        if any(_leads_to_any((top, one), anchors) for one in below):
            return Diagnosis("x509.missing-intermediate", "certain", evidence)
        if top.issuer == top.subject or top.issuer in {
            one.issuer for one in seen.broker.clients_ca
        }:
            return Diagnosis("x509.wrong-anchor", "certain", evidence)
        return Diagnosis("x509.wrong-anchor", "likely", evidence, others[:1])
    # The right name and another key: a CA that was made anew.
    return Diagnosis("x509.wrong-anchor", "certain", evidence)


def _known_intermediates(seen: Sightings) -> Iterator[x509.Certificate]:
    """Those that this host has, though the broker may not send them."""
    yield from seen.broker.chain[1:]
    yield from seen.intermediates
    yield from (one for one in seen.broker.clients_ca if one.issuer != one.subject)


def _leads_to_any(chain: tuple[x509.Certificate, ...], anchors: Iterable[x509.Certificate]) -> bool:
    return any(leads_to(chain, anchor) for anchor in anchors)


def _is_ca(cert: x509.Certificate) -> bool:
    try:
        return cert.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, ValueError):
        return False


def _usages(cert: x509.Certificate) -> list[Any]:
    try:
        return list(cert.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except (x509.ExtensionNotFound, ValueError):
        return []


def _certs(ders: Iterable[bytes]) -> tuple[x509.Certificate, ...]:
    """Those that can be read."""
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for der in ders:
            try:
                found.append(x509.load_der_x509_certificate(der))
            except ValueError:
                continue
    return tuple(found)


def _anchors(anchors: Iterable[x509.Certificate]) -> str:
    return " or ".join(_named(one.subject, one) for one in anchors)


def _named(name: x509.Name, cert: x509.Certificate) -> str:
    """A name, and by what to tell two of that name apart: the key that signed or is meant."""
    return f"{_text(name)} (key {_key_of(name, cert)})"


def _text(name: x509.Name) -> str:
    return printable(name.rfc4514_string()) or "no name"


def _key_of(name: x509.Name, cert: x509.Certificate) -> str:
    try:
        if name == cert.subject:
            found = cert.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
        else:
            authority = cert.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
            found = authority.key_identifier or b""
        return found.hex()[:8] or "not named"
    except (x509.ExtensionNotFound, ValueError):
        return "not named"


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%MZ}"


def _sure(is_certain: bool) -> Confidence:
    return "certain" if is_certain else "likely"


def find_certificate(der: bytes | None) -> x509.Certificate | None:
    """One that can be read, else None."""
    return next(iter(_certs([der])), None) if der else None
