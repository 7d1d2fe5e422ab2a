"""What is wrong with the certificates, keys and lists, as causes of the catalogue.

Form, dates, usages, chains and keys are `keyfob_host.lint`'s to judge; here each of its errors
gets its cause by whose the file is, and what takes two ends is added: whether the broker's
``cafile`` takes the boards' certificates, the boards' anchors the broker's, and whether what
a tap saw served is what the file holds. `refuted` says which causes these files exclude.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from keyfob_host.doctor.diagnosis import Evidence, Source
from keyfob_host.doctor.offline.material import End, Material
from keyfob_host.doctor.offline.signs import Fact, shortened
from keyfob_host.doctor.offline.stamps import split
from keyfob_host.lint.certificate import Certificate
from keyfob_host.lint.finding import Context, Finding, Report, Role, Severity
from keyfob_host.lint.group_check import GroupCheck
from keyfob_host.lint.names import sans_text
from keyfob_host.lint.paths import build

_CLIENT = "client-certificate."
_NAME = "x509.name-not-in-san"
_CA = "x509.ca-without-ca-true"
_WEAK = "x509.weak-algorithm"
_FORM, _CUT, _DOWN = "store.wrong-form", "store.truncated", "tcp.listener-down"
# The linter's code: the cause where it is a broker's file, and where it is a board's.
_CAUSES: dict[str, tuple[str, str]] = {
    "expired": ("x509.broker-expired", _CLIENT + "expired"),
    "not-yet-valid": ("clock.issuer-ahead", "clock.issuer-ahead"),
    "dates-reversed": ("x509.broker-expired", _CLIENT + "expired"),
    "wrong-purpose": ("x509.broker-wrong-usage", _CLIENT + "wrong-usage"),
    "key-usage": ("x509.broker-wrong-usage", _CLIENT + "wrong-usage"),
    "end-entity-is-ca": ("x509.broker-wrong-usage", ""),
    "not-v3": (_CA, _CA),
    "not-ca": (_CA, _CA),
    "cannot-sign": (_CA, _CA),
    "same-subject": ("x509.same-subject-twice", "x509.same-subject-twice"),
    "host-not-covered": (_NAME, ""),
    "no-san": (_NAME, ""),
    "name-only-in-cn": (_NAME, ""),
    "address-in-cn": (_NAME, ""),
    "address-as-dns": (_NAME, ""),
    "wildcard": (_NAME, ""),
    "dns-name": (_NAME, ""),
    "key-mismatch": (_DOWN, _CLIENT + "key-mismatch"),
    "two-certificates": (_DOWN, _CLIENT + "key-mismatch"),
    "missing-intermediate": ("x509.missing-intermediate", _CLIENT + "unknown-ca"),
    "not-first": ("x509.missing-intermediate", _CLIENT + "unknown-ca"),
    "no-issuer": ("x509.missing-intermediate", _CLIENT + "unknown-ca"),
    "same-name-issuer": ("x509.wrong-anchor", _CLIENT + "unknown-ca"),
    "bad-signature": ("x509.wrong-anchor", _CLIENT + "unknown-ca"),
    "key-ids-differ": ("x509.wrong-anchor", _CLIENT + "unknown-ca"),
    "self-signed": ("x509.wrong-anchor", _CLIENT + "unknown-ca"),
    "end-entity-as-anchor": ("x509.wrong-anchor", "x509.wrong-anchor"),
    "key-weak": (_WEAK, _WEAK),
    "signature-weak": (_WEAK, _WEAK),
    "empty": (_DOWN, _CUT),
    "truncated": (_DOWN, _CUT),
    "pem-broken": (_DOWN, _CUT),
    "not-pem-or-der": (_DOWN, _FORM),
    "utf-16": (_DOWN, _FORM),
    "wrong-kind": (_DOWN, _FORM),
    "pem-named-der": ("", _FORM),
    "der-for-broker": (_DOWN, ""),
    "malformed": (_DOWN, _CUT),
    "trailing-bytes": (_DOWN, _FORM),
    "key-unreadable": (_DOWN, _FORM),
    "key-encrypted": (_DOWN, _FORM),
    "key-for-device": ("", "store.key-type"),
    "key-for-boards": (_WEAK, ""),
    "signature-for-boards": (_WEAK, ""),
    "chain-too-long": ("tls.chain-over-buffer", ""),
    "too-large": ("tls.chain-over-buffer", "tls.chain-over-buffer"),
    "above-record": ("tls.chain-over-buffer", ""),
    "crl-stale": (_CLIENT + "crl-overdue", _CLIENT + "crl-overdue"),
    "revoked": ("", _CLIENT + "revoked"),
    "no-common-name": ("", "authorization.not-mapped"),
    "tls-version": ("tls.version", ""),
    "crlf": ("", _FORM),
    "bom": ("", _FORM),
    "key-for-axtls": ("", "store.key-type"),
}  # fmt: skip


def judge(found: Material, context: Context) -> tuple[list[Fact], list[Finding], Report]:
    """Facts; errors of the linter that are no cause of the catalogue; all that it saw."""
    report = Report()
    known: set[object] = set()
    checks = [GroupCheck(one, context, None, report, known) for one in found.groups]
    for one in checks:
        one.run(checks)
    ends = {end.path: end for end in found.ends}
    roles: dict[str, Role | None] = {}
    for group in found.groups:
        for source in group.sources:
            path = str(source.read.path)
            end = ends.get(path)
            roles.setdefault(path, end.role if end else group.role)
    facts: list[Fact] = []
    rest: list[Finding] = []
    for finding in dict.fromkeys(report.findings):
        role, end = roles.get(finding.file), ends.get(finding.file)
        if _is_idle(finding, role, found):
            continue
        fact = _fact(finding, role, end, context.at, bool(found.cafile))
        if fact is not None:
            facts.append(fact)
        elif finding.severity is Severity.ERROR and finding.code[5:] not in _CAUSES:
            rest.append(finding)
    return facts, rest, report


def _is_idle(finding: Finding, role: Role | None, found: Material) -> bool:
    """Whether it is of a file that the broker, by its configuration, does not use."""
    if finding.code.startswith("lint.crl-"):
        return not found.is_asked(finding.file)
    if finding.code == "lint.revoked":
        return found.has_conf and not found.crlfiles
    return found.is_unused(finding.file, role)


def _fact(
    finding: Finding, role: Role | None, end: End | None, now: datetime, takes_boards: bool
) -> Fact | None:
    name = finding.code.removeprefix("lint.")
    if name not in _CAUSES:
        return None
    brokers, boards = _CAUSES[name]
    code = (brokers or boards) if role == "broker" else (boards or brokers)
    if code == _CLIENT + "unknown-ca" and takes_boards:
        return None  # whom the broker's cafile takes is what counts: `between_ends`
    is_error = finding.severity is Severity.ERROR
    if not is_error and finding.severity is Severity.NOTE and name != "key-for-axtls":
        return None
    who = ": ".join(one for one in (shortened(finding.file), finding.item) if one)
    seen, wanted = _compared(finding.evidence)
    source: Source = "broker" if role == "broker" or name.startswith("crl") else "board"
    text = f"{who}: {finding.cause}"
    if not wanted:
        text, seen = f"{text}: {seen}", ""
    since = until = None
    if end is not None and name == "expired":
        since = end.cert.not_after.moment
    elif end is not None and name == "not-yet-valid":
        until = end.cert.not_before.moment
    elif name == "crl-stale":
        since, _ = split(seen.removeprefix("nextUpdate "), now)
    return Fact(
        code, Evidence(source, text, None, seen, wanted), is_error, since, until,
        fills(end.role if end else role, end.cert if end else None, finding.file),
    )  # fmt: skip


def _compared(evidence: str) -> tuple[str, str]:
    """The linter's evidence as the two values: ``a; want b``, ``a, now b``, ``b wanted; a``."""
    wanted, found, seen = evidence.partition(" wanted; ")
    if found:
        return seen.removeprefix("names: "), wanted
    for between in ("; want ", ", want ", ", now ", "; trust anchors: ", ", at most "):
        seen, found, wanted = evidence.partition(between)
        if found:
            is_start = seen.startswith(("notBefore", "thisUpdate"))
            word = "earlier than " if is_start else "later than "
            return seen, f"{word if between == ', now ' else ''}{wanted}"
    return evidence, ""


def fills(role: Role | None, cert: Certificate | None, file: str) -> tuple[tuple[str, str], ...]:
    """What stands for the capitals of the catalogue's fixes."""
    name = cert.subject.common_name if cert is not None and cert.is_readable else ""
    found = [("FILE", file)]
    if name and all(one.isalnum() or one in "._:-" for one in name):
        found.append(("NAME", name) if role == "broker" else ("ID", name))
    return tuple(found)


def between_ends(found: Material, at: datetime) -> Iterator[Fact]:
    """What no file shows alone."""
    if found.cafile:
        for end in found.of_role("device"):
            yield from _taken_by_cafile(found, end, at)
    brokers = found.of_role("broker")
    for path, anchors in found.board_anchors:
        # With several benches in one folder, each board has its own broker.
        told = [list(_taken_by_board(found, end, path, anchors, at)) for end in brokers]
        if all(told):
            yield from (fact for one in told for fact in one)


def _taken_by_cafile(found: Material, end: End, at: datetime) -> Iterator[Fact]:
    if end.cert.is_self_issued and not end.cert.is_self_signed:
        return  # the linter tells of the name that it shares
    path = build(end.cert, found.cafile, [*end.sent[1:], *found.cafile], at)
    if _ends_in(path, found.cafile):
        return
    last = path[-1]
    cafile = shortened(found.cafile_path)
    evidence = Evidence(
        "board", f"{shortened(end.path)}: {end.cert.title} leads to no CA of {cafile}", None,
        f"issuer {last.issuer}{_key_of(last)}",
        ", ".join(f"{one.subject}{_id_of(one)}" for one in found.cafile[:4]),
    )  # fmt: skip
    yield Fact(_CLIENT + "unknown-ca", evidence, fills=fills("device", end.cert, end.path))


def _taken_by_board(
    found: Material, end: End, path: str, anchors: tuple[Certificate, ...], at: datetime
) -> Iterator[Fact]:
    if _ends_in(build(end.cert, anchors, [*end.sent[1:], *anchors], at), anchors):
        return
    others = [*end.sent[1:], *anchors, *found.everyone]
    longer = build(end.cert, anchors, others, at)
    code = "x509.missing-intermediate" if _ends_in(longer, anchors) else "x509.wrong-anchor"
    who = f"{shortened(end.path)}: {end.cert.title}"
    evidence = Evidence(
        "broker", f"{who} leads to no trust anchor of {shortened(path)}", None,
        f"issuer {end.sent[-1].issuer}{_key_of(end.sent[-1])}",
        ", ".join(f"{one.subject}{_id_of(one)}" for one in anchors[:4]),
    )  # fmt: skip
    yield Fact(code, evidence, fills=fills("broker", end.cert, end.path))


def _ends_in(path: Sequence[Certificate], anchors: Sequence[Certificate]) -> bool:
    known = {one.der for one in anchors}
    return path[-1].der in known


def _key_of(cert: Certificate) -> str:
    wanted = cert.extensions.authority_key_id
    return f" (key {wanted.hex()[:16]})" if wanted else ""


def _id_of(cert: Certificate) -> str:
    seen = cert.extensions.key_id
    return f" (key {seen.hex()[:16]})" if seen else ""


def not_reloaded(
    found: Material, served: dict[tuple[bytes, ...], datetime | None]
) -> Iterator[Fact]:
    """What the tap saw served, against the files of the broker."""
    files = {end.cert.der: end for end in found.of_role("broker")}
    if not files or not served:
        return
    chain, at = list(served.items())[-1]
    if chain[0] in files:
        return
    end = next(iter(files.values()))
    evidence = Evidence(
        "wire", f"the broker served another certificate than {shortened(end.path)} holds", at,
        f"sha256 {_sha256(chain[0])[:16]}", f"sha256 {end.cert.sha256[:16]}",
    )  # fmt: skip
    yield Fact("x509.broker-expired", evidence, False, fills=fills("broker", end.cert, end.path))


def _sha256(der: bytes) -> str:
    return Certificate(der).sha256


def broker_behind(found: Material, at: datetime, now: datetime) -> Iterator[Fact]:
    """Certificates of boards that begin after ``at``, the time in the broker's log."""
    for end in found.of_role("device"):
        start = end.cert.not_before.moment
        if start and at < start <= now:
            who = f"{shortened(end.path)}: {end.cert.title}"
            evidence = Evidence(
                "broker", f"{who} began after the time in the log", None,
                f"{at:%Y-%m-%dT%H:%M:%SZ} in the log", f"notBefore {end.cert.not_before} or later",
            )  # fmt: skip
            yield Fact(
                "clock.broker-behind", evidence, False, None, start,
                fills("device", end.cert, end.path),
            )  # fmt: skip


def against_board(found: Material, code: str, text: str, now: datetime) -> Iterator[Fact]:
    """The dates of a broker's certificate that is valid, against a board that refuses them."""
    for end in found.of_role("broker"):
        start, stop = end.cert.not_before.moment, end.cert.not_after.moment
        if start and stop and start <= now <= stop:
            evidence = Evidence(
                "broker", f"{shortened(end.path)}: {end.cert.title} {text} the board", None,
                f"valid from {end.cert.not_before} to {end.cert.not_after}",
                f"{now:%Y-%m-%dT%H:%M:%SZ}, which is between",
            )  # fmt: skip
            yield Fact(code, evidence, False)


def refuted(found: Material, host: str | None, facts: list[Fact]) -> set[str]:
    """Causes that these files exclude, so far as they are all there are."""
    wrong = {fact.code for fact in facts}
    excluded: set[str] = set()
    devices, brokers = found.of_role("device"), found.of_role("broker")
    if devices:
        excluded |= {
            _CLIENT + "expired", _CLIENT + "wrong-usage", "clock.broker-behind",
            _CLIENT + "key-mismatch", "x509.same-subject-twice",
        }  # fmt: skip
        if found.cafile:
            excluded |= {"x509.ca-without-ca-true"}
    if found.has_conf or found.has_crl:
        excluded.add(_CLIENT + "crl-overdue")
        if devices or not found.has_crl:
            excluded.add(_CLIENT + "revoked")
    if brokers:
        excluded |= {"x509.broker-expired", "x509.broker-wrong-usage"}
        if found.board_anchors:
            excluded |= {"x509.missing-intermediate", "x509.wrong-anchor"}
        if host:
            excluded.add(_NAME)
    if devices or brokers:
        excluded |= {"clock.issuer-ahead", _WEAK}
    return excluded - wrong


def names_of(found: Material) -> str:
    """The first name of the broker's certificate, "" without one."""
    for end in found.of_role("broker"):
        text = sans_text(end.cert.extensions.sans)
        if ":" in text:
            return text.split(", ")[0].partition(":")[2]
    return ""
