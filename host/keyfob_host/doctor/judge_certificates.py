"""Telling apart what one error of a certificate can have as its cause, by what else was seen.

What is wrong with a certificate, a path or a list `keyfob_host.lint` judges, and whether one
end takes the other's `keyfob_host.doctor.offline.certificates`, as they do for files; here
what was seen is put before them: the broker's chain with the board's trust anchors, the
board's own with the broker's CA file and revocation lists. This host's clock is taken for
the true one, and for the broker's too where the broker is this bench's.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from keyfob_host.doctor.catalogue import causes_of_device_code
from keyfob_host.doctor.diagnosis import Diagnosis, Evidence
from keyfob_host.doctor.offline.certificates import between_ends, judge
from keyfob_host.doctor.offline.material import End, Material
from keyfob_host.doctor.offline.signs import Fact
from keyfob_host.doctor.sightings import Sightings
from keyfob_host.lint.certificate import Certificate, read_certificate
from keyfob_host.lint.finding import Context, Role
from keyfob_host.lint.paths import build, candidates
from keyfob_host.lint.reading import FileRead, Item, Kind, take_apart
from keyfob_host.lint.sources import Group, Source
from keyfob_host.lint.subjects import Use

_FAR_S = 86_400  # two clocks further apart than this are not both right
_REALLY = {
    "x509.expired": "x509.broker-expired", "store.expired": "client-certificate.expired",
    "store.anchor-expired": "x509.wrong-anchor",
}  # fmt: skip
_DATES = re.compile(r"valid from (\S{20}) to (\S{20}), clock (\S{20})")
# What stands for files, as evidence names it.
_CHAIN, _ANCHORS, _OWN = "the broker's chain", "the board's CA file", "the board's chain"
_CAFILE, _CRL = "the broker's CA file", "the broker's revocation list"
_NAME, _WRONG_ANCHOR = "x509.name-not-in-san", "x509.wrong-anchor"
# Causes of a chain that the board finds no way through, those first that leave no other.
_UNTRUSTED = (
    "x509.same-subject-twice", "x509.ca-without-ca-true", "x509.missing-intermediate",
    _WRONG_ANCHOR,
)  # fmt: skip
# Causes for which a broker refuses a board, those first that leave no other.
_REFUSED = (
    "client-certificate.revoked", "client-certificate.crl-overdue", "client-certificate.expired",
    "clock.broker-behind", "client-certificate.wrong-usage", "x509.same-subject-twice",
    "client-certificate.unknown-ca",
)  # fmt: skip


def server_certificate(seen: Sightings, error: Evidence, code: str) -> Diagnosis | None:
    """For ``x509.*`` of the board's: what is wrong with the broker's chain, or its clock."""
    if not code.startswith("x509."):
        return None
    chain = _certs(seen.served.chain if seen.served else ())
    facts = _facts_of_server(seen, chain)
    if code in ("x509.expired", "x509.not-yet-valid"):
        return _dates(seen, error, code, chain, facts)
    if code in ("x509.wrong-name", "x509.no-san"):
        told = [fact.evidence for fact in facts if fact.code == _NAME]
        return Diagnosis(_NAME, "certain" if told else "likely", (error, *told))
    if code == "x509.untrusted":
        return _trust(seen, error, chain, facts)
    causes = causes_of_device_code(code)
    found = next((fact for fact in facts if fact.code in causes), None)
    return Diagnosis(found.code, "certain", (error, found.evidence)) if found else None


def own_certificate(seen: Sightings, error: Evidence, code: str) -> Diagnosis | None:
    """For ``store.*`` of the board's: what is wrong with its own certificate, or its clock."""
    if code in ("store.expired", "store.not-yet-valid", "store.anchor-expired"):
        return _dates(seen, error, code, (), ())
    if code.startswith(("x509.", "tls.bad-key")) and seen.board.files.cert:
        read = FileRead(Path("cert.der"))
        take_apart(seen.board.files.cert, read)
        if read.is_pem:
            told = Evidence("host", "the board's cert.der begins as", seen.now, "PEM", "DER")
            return Diagnosis("store.wrong-form", "certain", (error, told))
    return None


def client_certificate(seen: Sightings, evidence: tuple[Evidence, ...]) -> Iterator[Diagnosis]:
    """Each reason for which this bench's broker refuses the board's certificate."""
    if seen.own is None or not seen.broker.is_ours:
        return
    facts = _ordered(_facts_of_client(seen, seen.own), _REFUSED)
    for fact in facts:
        yield Diagnosis(
            fact.code, "certain" if fact.is_wrong else "likely", (*evidence, fact.evidence)
        )  # fmt: skip


def find_certificate(der: bytes | None) -> x509.Certificate | None:
    """One that can be read, else None."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return x509.load_der_x509_certificate(der) if der else None
    except ValueError:
        return None


# -- what was seen, before the judge of files


def _facts_of_server(seen: Sightings, chain: tuple[Certificate, ...]) -> list[Fact]:
    """Of the chain that the broker shows, for a board with these trust anchors."""
    anchors = _certs(seen.board.files.anchors)
    # Those too that this host has, though the broker may not send them.
    known = (*seen.broker.chain[1:], *seen.intermediates, *seen.broker.clients_ca)
    group = Group("mosquitto", Path("broker"), "broker")
    group.sources += _source(_CHAIN, "chain", "certificate", [one.der for one in chain])
    group.sources += _source(_ANCHORS, "anchors", "certificate", [one.der for one in anchors])
    found = Material([group], everyone=list(_certs(map(_der, known))))
    found.ends = _ends("broker", _CHAIN, chain)
    if anchors:
        found.board_anchors = [(_ANCHORS, anchors)]
    return _judged(seen, found)


def _facts_of_client(seen: Sightings, own: x509.Certificate) -> list[Fact]:
    """Of the board's chain, for a broker with this CA file and these lists."""
    chain = _certs(map(_der, (own, *seen.intermediates)))
    cafile = _certs(map(_der, seen.broker.clients_ca))
    group = Group("mosquitto", Path("broker"), "device")
    group.sources += _source(_OWN, "chain", "certificate", [one.der for one in chain])
    group.sources += _source(_CAFILE, "anchors", "certificate", [one.der for one in cafile])
    group.sources += _source(_CRL, "crl", "crl", [_der(one) for one in seen.broker.crls])
    found = Material([group], cafile=list(cafile), cafile_path=_CAFILE)
    found.ends = _ends("device", _OWN, chain)
    # This host's clock is the broker's, and the board's is not asked by the broker.
    return [
        replace(fact, code="clock.broker-behind") if fact.code == "clock.issuer-ahead" else fact
        for fact in _judged(seen, found)
    ]


def _judged(seen: Sightings, found: Material) -> list[Fact]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        facts, _, _ = judge(found, Context(seen.now, seen.host or None, seen.board.kind))
        facts += between_ends(found, seen.now)
    return [
        replace(fact, evidence=replace(fact.evidence, source="host", at=seen.now))
        for fact in facts
    ]  # fmt: skip


def _source(name: str, use: Use, kind: Kind, ders: Sequence[bytes]) -> list[Source]:
    """As a file, if there is anything for it."""
    read = FileRead(Path(name), is_pem=True)
    read.items = [Item(kind, der, number) for number, der in enumerate(ders, start=1)]
    return [Source(read, use)] if ders else []


def _ends(role: Role, name: str, chain: tuple[Certificate, ...]) -> list[End]:
    return [End(role, name, chain[0], chain)] if chain else []


def _der(one: x509.Certificate | x509.CertificateRevocationList) -> bytes:
    return one.public_bytes(Encoding.DER)


def _certs(ders: Iterable[bytes]) -> tuple[Certificate, ...]:
    """Those that can be read."""
    return tuple(one for one in map(read_certificate, ders) if one.is_readable)


def _ordered(facts: Iterable[Fact], codes: Sequence[str]) -> list[Fact]:
    """Those of ``codes``, in that order; what is wrong for some verifiers only comes last."""
    found = [fact for fact in facts if fact.code in codes]
    return sorted(found, key=lambda fact: (not fact.is_wrong, codes.index(fact.code)))


# -- the broker's chain, and clocks


def _dates(
    seen: Sightings,
    error: Evidence,
    code: str,
    chain: tuple[Certificate, ...],
    facts: Sequence[Fact],
) -> Diagnosis | None:
    """Whose clock is wrong, or whether none is."""
    is_past = code.endswith("expired")
    wrong_clock = "clock.board-ahead" if is_past else "clock.board-never-set"
    really = _REALLY.get(code, "clock.issuer-ahead")
    broken = [fact.evidence for fact in facts if fact.code == really]
    if broken:
        renewed = _renewed_on_disk(seen, chain)
        return Diagnosis(really, "certain", (error, *broken, *renewed))
    evidence = [error]
    limit, clock = _told_dates(error.text, is_past)
    if chain:
        limit = (chain[0].not_after if is_past else chain[0].not_before).moment
    if limit is not None:
        what, way = ("notAfter", "after") if is_past else ("notBefore", "before")
        whose = "the broker's certificate" if code.startswith("x509.") else "its certificate"
        wanted = f"{way} {_day(seen.now)}"
        evidence.append(Evidence("host", f"{what} of {whose}", seen.now, _day(limit), wanted))
        if limit < seen.now if is_past else limit > seen.now:
            return Diagnosis(really, "certain", tuple(evidence))
    ahead_s = seen.board.clock_ahead_s()
    if clock is not None and error.at is not None:
        ahead_s = (clock - error.at).total_seconds()
    if ahead_s is not None and abs(ahead_s) > _FAR_S:
        shown = f"{ahead_s / _FAR_S:+.1f} days from this host's"
        evidence.append(Evidence("board", "its clock", error.at, shown, "the same"))
        return Diagnosis(wrong_clock, "certain", tuple(evidence))
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


def _renewed_on_disk(seen: Sightings, served: tuple[Certificate, ...]) -> Iterator[Evidence]:
    """The broker's file, where it is another certificate than the one it shows."""
    on_disk = _certs(map(_der, seen.broker.chain[:1]))
    if served and on_disk and on_disk[0].der != served[0].der:
        yield Evidence(
            "host", "the broker has not read its new certificate: notAfter shown, and in its file",
            seen.now, str(served[0].not_after), str(on_disk[0].not_after),
        )  # fmt: skip


def _trust(
    seen: Sightings, error: Evidence, chain: tuple[Certificate, ...], facts: Sequence[Fact]
) -> Diagnosis:
    others = ("x509.missing-intermediate", "x509.ca-without-ca-true")
    found = _ordered(facts, _UNTRUSTED)
    if not found:
        return Diagnosis(_WRONG_ANCHOR, "likely", (error,), others)
    cause = found[0].code
    told = [fact.evidence for fact in found if fact.code == cause]
    if cause == _WRONG_ANCHOR and not _is_known_upwards(seen, chain):
        # An intermediate that nobody here has may stand between.
        return Diagnosis(cause, "likely", (error, *told), others[:1])
    return Diagnosis(cause, "certain", (error, *told))


def _is_known_upwards(seen: Sightings, chain: tuple[Certificate, ...]) -> bool:
    """Whether the chain ends at a root that is here, or a trust anchor has its issuer's name."""
    if not chain:
        return False
    anchors = _certs(seen.board.files.anchors)
    roots = _certs(map(_der, seen.broker.clients_ca))
    last = build(chain[0], anchors, [*chain[1:], *roots], seen.now)[-1]
    return last.is_self_signed or bool(candidates(last, anchors))


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%MZ}"
