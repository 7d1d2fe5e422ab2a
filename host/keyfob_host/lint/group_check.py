"""One group of files that belong together: which certificate plays which role, and the rules.

A group is an identity's folder, a board's slot, a CA's folder, what a mosquitto.conf names, or
loose files. What is found goes into a `Report`; where files are found and read is not known here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from keyfob_host.lint import (
    rules_certificate,
    rules_crl,
    rules_form,
    rules_key,
    rules_path,
    rules_tls,
)
from keyfob_host.lint.certificate import Certificate, read_certificate
from keyfob_host.lint.finding import Context, Report, Role, Severity, apply
from keyfob_host.lint.fixes import reissue
from keyfob_host.lint.paths import possible
from keyfob_host.lint.private_keys import read_key
from keyfob_host.lint.reading import Item
from keyfob_host.lint.roles import looks_like_ca, role_by_usage
from keyfob_host.lint.rules import CERTIFICATE_RULES
from keyfob_host.lint.sources import Group, Source
from keyfob_host.lint.subjects import (
    CertificateSubject,
    ChainSubject,
    CrlSubject,
    FileSubject,
    KeySubject,
    ListedSubject,
    RequestSubject,
)
from keyfob_host.pki.keys import describe_key
from keyfob_host.printable import EVIDENCE_CHARS, printable


@dataclass(frozen=True)
class Placed:
    """A certificate in its file."""

    source: Source
    item: Item
    cert: Certificate


class GroupCheck:
    """``known``: what other groups had already, and is told once."""

    def __init__(
        self, group: Group, context: Context, role: Role | None, report: Report, known: set[object]
    ) -> None:
        self._group = group
        self._context = context
        self._role = role
        self._report = report
        self._known = known
        self._paths: dict[bytes, tuple[Certificate, ...]] = {}
        self.placed = [
            Placed(source, item, read_certificate(item.der))
            for source in group.sources
            if source.use not in ("key", "crl")
            for item in source.read.of_kind("certificate")
        ]

    def run(self, every: Sequence[GroupCheck]) -> None:
        """Add to the report. ``every``: those of all groups, this one included."""
        self._report.findings += self._group.unread
        if self._group.listener is not None:
            subject = rules_tls.ListenerSubject(
                str(self._group.path), self._group.listener.title, "broker", self._context,
                self._group.listener,
            )  # fmt: skip
            self._report.findings += apply(rules_tls.RULES, subject)
        for source in self._group.sources:
            self._check_file(source)
        ends = self.ends
        for placed in self.placed:
            self._check_certificate(placed, ends)
        for end in ends:
            if end.cert.is_readable:
                self._check_chain(end)
        for source in self._group.sources:
            for item in source.read.items:
                self._check_item(source, item, ends, every)

    def _is_new(self, *what: object) -> bool:
        is_new = what not in self._known
        self._known.add(what)
        return is_new

    def _check_file(self, source: Source) -> None:
        path = source.read.path
        if self._is_new("file", path.absolute(), source.use):
            subject = FileSubject(
                str(path), "", self._group.role, self._context, source.read, source.use,
                self._group.kind == "mosquitto",
            )  # fmt: skip
            self._report.findings += apply(rules_form.RULES, subject)
            if not source.read.items:
                self._tell(source, "nothing that can be read")

    # Who is what

    @cached_property
    def ends(self) -> list[Placed]:
        """The first certificate of each chain; of loose files, each file's that is no CA's."""
        if self._group.kind == "ca" or self._role == "ca":
            return []
        found: list[Placed] = []
        for source in self._group.sources:
            placed = [one for one in self.placed if one.source is source]
            if source.use in ("chain", "certificate"):
                if self._group.kind == "slot" and found:
                    continue
                found += placed[:1]
            elif source.use == "any":
                ends = [one for one in placed if not self._looks_like_ca(one.cert)]
                found += ends[:1]
        if not found and self._role in ("broker", "device"):
            # Whoever says that it is a broker's shall be told that it is a CA's.
            found = self.placed[:1]
        return found

    def _looks_like_ca(self, cert: Certificate) -> bool:
        return looks_like_ca(cert, (one.cert for one in self.placed))

    def _role_of(self, cert: Certificate) -> Role | None:
        """Of an end-entity: as said, as its place says, or as its usages do."""
        return self._group.role or self._role or role_by_usage(cert)

    def _roles(self, ends: Sequence[Placed]) -> set[Role | None]:
        return {self._role_of(end.cert) for end in ends}

    # Certificates

    def _check_certificate(self, placed: Placed, ends: Sequence[Placed]) -> None:
        cert, is_end = placed.cert, placed in ends
        role: Role | None = self._role_of(cert) if is_end else "ca"
        is_anchor = placed.source.use == "anchors"
        if not self._is_new("certificate", cert.der, role):
            return
        self._tell(placed.source, self._title(placed, role))
        if not is_end and self._is_aside(placed, ends):
            return  # not on the path: told as such, and nobody looks at it
        subject = CertificateSubject(
            str(placed.source.read.path), self._item(placed), role, self._context, cert, is_anchor,
            fixes=self._fixes(cert, role),
        )  # fmt: skip
        rules = CERTIFICATE_RULES if cert.is_readable else rules_certificate.RULES[:1]
        self._report.findings += apply(rules, subject)

    def _is_aside(self, placed: Placed, ends: Sequence[Placed]) -> bool:
        own = [end for end in ends if end.source is placed.source and end.cert.is_readable]
        return bool(own) and all(placed.cert not in self._path(end) for end in own)

    def _title(self, placed: Placed, role: Role | None) -> str:
        cert = placed.cert
        if not cert.is_readable:
            return "a certificate that cannot be read"
        kind = {"ca": "CA certificate", None: "certificate"}.get(role, f"{role}'s certificate")
        return f"{kind} {cert.title} ({cert.key.name}, until {str(cert.not_after)[:10]})"

    def _item(self, placed: Placed) -> str:
        cert, count = placed.cert, len(placed.source.read.items)
        title = cert.title if cert.is_readable else "a certificate"
        return f"{title} ({placed.item.number} of {count})" if count > 1 else title

    def _tell(self, source: Source, what: str) -> None:
        # A request's or a list's name may hold what would be a control sequence.
        self._report.checked.append((str(source.read.path), printable(what, limit=EVIDENCE_CHARS)))

    # Chains

    @cached_property
    def _anchors(self) -> list[Certificate]:
        """Trust anchors: as the place says, or of loose files the CAs that are self-signed."""
        listed = [one.cert for one in self.placed if one.source.use == "anchors"]
        if self._group.kind == "loose":
            listed = [
                one.cert for one in self.placed
                if one.cert.is_readable and self._looks_like_ca(one.cert)
                and one.cert.is_self_issued
            ]  # fmt: skip
        return [cert for cert in listed if cert.is_readable]

    @cached_property
    def _anchor_ders(self) -> frozenset[bytes]:
        return frozenset(cert.der for cert in self._anchors)

    def _sent(self, end: Placed) -> list[Placed]:
        """The certificates that go with an end-entity, in the order of its file (or files)."""
        if self._group.kind == "slot":
            return [one for one in self.placed if one.source.use == "chain"]
        return [one for one in self.placed if one.source is end.source]

    def _path(self, end: Placed) -> tuple[Certificate, ...]:
        """The way upwards: of several the one with the fewest errors, which boards look for."""
        path = self._paths.get(end.cert.der)
        if path is None:
            others = [one.cert for one in self.placed if one.cert.is_readable]
            own = [one.cert for one in self._sent(end) if one.cert.is_readable]
            found = list(possible(end.cert, self._anchors, [*own, *others], self._context.at))
            path = found[0]
            if len(found) > 1:
                path = min(found, key=lambda each: self._faults(end, each))
            self._paths[end.cert.der] = path
        return path

    def _faults(self, end: Placed, path: tuple[Certificate, ...]) -> tuple[bool, int]:
        subject = self._chain_subject(end, path)
        told = list(apply(rules_path.RULES, subject))
        for cert in path[1:]:
            issuer = CertificateSubject(
                "", "", "ca", self._context, cert, cert.der in self._anchor_ders,
                fixes=self._fixes(cert, "ca"),
            )  # fmt: skip
            told += apply(CERTIFICATE_RULES, issuer)
        return not subject.is_complete, sum(one.severity is Severity.ERROR for one in told)

    def _check_chain(self, end: Placed) -> None:
        if end.source.use == "certificate":
            self._check_companion(end)
            return  # chain.pem beside it is what is sent
        subject = self._chain_subject(end, self._path(end))
        ders = tuple(one.der for one in (*subject.sent, *subject.path))
        if self._is_new("chain", ders, subject.is_complete):
            self._report.findings += apply(rules_path.RULES, subject)

    def _chain_subject(self, end: Placed, path: tuple[Certificate, ...]) -> ChainSubject:
        sent = tuple(one.cert for one in self._sent(end) if one.cert.is_readable)
        anchors, role = tuple(self._anchors), self._role_of(end.cert)
        needs_anchor = bool(anchors) and self._group.kind != "mosquitto"
        # Who has a broker's trust anchors takes no other, though the broker sends it.
        ends_itself = path[-1].is_self_signed and not (needs_anchor and role == "broker")
        is_complete = len(path) > 1 and (path[-1].der in self._anchor_ders or ends_itself)
        return ChainSubject(
            str(end.source.read.path), f"chain of {end.cert.title}", role, self._context,
            sent, path, is_complete, anchors,
            tuple(one.cert for one in self.placed if one.cert.is_readable),
            needs_anchor, self._group.kind in ("identity", "slot"),
            fixes=self._fixes(end.cert, role),
        )  # fmt: skip

    def _check_companion(self, end: Placed) -> None:
        """cert.pem, which must be the first of chain.pem."""
        chains = [one for one in self.placed if one.source.use == "chain"]
        if chains and chains[0].cert.der != end.cert.der:
            subject = rules_tls.CompanionSubject(
                str(end.source.read.path), self._item(end), self._role_of(end.cert),
                self._context, end.cert, chains[0].cert,
                fixes=self._fixes(end.cert, self._role_of(end.cert)),
            )  # fmt: skip
            self._report.findings += apply(rules_tls.COMPANION_RULES, subject)

    # Keys, requests, revocation lists

    def _check_item(
        self, source: Source, item: Item, ends: Sequence[Placed], every: Sequence[GroupCheck]
    ) -> None:
        # What a list must be signed by depends on the configuration that names it.
        place = self._group.path if item.kind == "crl" else None
        if not self._is_new(item.kind, source.read.path.absolute(), item.number, place):
            return
        if item.kind == "key":
            self._check_key(source, item, ends)
        elif item.kind == "request":
            self._check_request(source, item)
        elif item.kind == "crl":
            self._check_crl(source, item, every)

    def _check_key(self, source: Source, item: Item, ends: Sequence[Placed]) -> None:
        key = read_key(item.der, header=item.header, pem_form=item.form)
        locked = ", encrypted" if key.is_encrypted else ""
        facts = ", ".join(one for one in (key.name, key.form) if one) or "unread"
        self._tell(source, f"private key ({facts}{locked})")
        roles = self._roles(ends)
        role = roles.pop() if len(roles) == 1 else self._group.role or self._role
        belongs = [end.cert for end in ends]
        if self._group.kind in ("loose", "ca"):
            belongs = [one.cert for one in self.placed]
        cert = belongs[0] if belongs else Certificate(b"")
        subject = KeySubject(
            str(source.read.path), "", role, self._context, key, source.read.mode,
            not source.read.is_pem, tuple(belongs), fixes=self._fixes(cert, role),
        )  # fmt: skip
        self._report.findings += apply(rules_key.KEY_RULES, subject)

    def _check_request(self, source: Source, item: Item) -> None:
        request = rules_key.load_request(item.der)
        title = "" if isinstance(request, str) else request.subject.rfc4514_string()
        kind = describe_key(rules_key.request_key(item.der))
        signed = ", signed with its own key" if rules_key.is_request_signed(request) else ""
        self._tell(source, f"certificate request {title} ({kind}{signed})")
        subject = RequestSubject(str(source.read.path), title, None, self._context, item.der)
        self._report.findings += apply(rules_key.REQUEST_RULES, subject)

    @cached_property
    def _lists(self) -> tuple[bytes, ...]:
        """Every revocation list of the group."""
        return tuple(
            item.der for source in self._group.sources for item in source.read.of_kind("crl")
        )

    def _check_crl(self, source: Source, item: Item, every: Sequence[GroupCheck]) -> None:
        found = rules_crl.load_crl(item.der)
        title = "" if isinstance(found, str) else f" of {found.issuer.rfc4514_string()}"
        count = 0 if isinstance(found, str) else len(found)
        self._tell(source, f"revocation list{title} ({count} revoked)")
        ends: dict[bytes, tuple[GroupCheck, Placed]] = {}
        authorities: dict[bytes, Certificate] = {}
        for one in every:
            for placed in one.placed:
                if placed in one.ends:
                    ends.setdefault(placed.cert.der, (one, placed))
                elif one is self or self._group.kind != "mosquitto":
                    # A broker has the CAs of its configuration only.
                    authorities[placed.cert.der] = placed.cert
        subject = CrlSubject(
            str(source.read.path), "", self._group.role, self._context, item.der,
            tuple(authorities.values()), self._lists,
        )  # fmt: skip
        self._report.findings += apply(rules_crl.RULES, subject)
        for one, end in ends.values():
            role = one._role_of(end.cert)
            listed = ListedSubject(
                str(end.source.read.path), one._item(end), role, self._context, item.der, end.cert,
                fixes=self._fixes(end.cert, role),
            )  # fmt: skip
            self._report.findings += apply(rules_crl.LISTED_RULES, listed)

    # Fixes

    def _fixes(self, cert: Certificate, role: Role | None) -> dict[str, str]:
        board = self._context.board
        anew = reissue(cert, role, self._context.host)
        key_type = board.tls.keys[0] if board else "p256"
        return {"reissue": anew, "reissue_key": f"{anew} --key-type {key_type}"}
