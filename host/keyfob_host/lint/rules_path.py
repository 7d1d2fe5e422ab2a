"""Rules for a chain: what a file sends, and the path it makes with the trust anchors.

RFC 5280 section 6.1, RFC 5246 section 7.4.2. Sizes and numbers are those of boards
(`keyfob.tls.sinks`, `keyfob.pki.path` and `keyfob.identity` of the firmware).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from keyfob_host.lint import name_constraints
from keyfob_host.lint.certificate import Certificate
from keyfob_host.lint.finding import Role, Rule, Severity
from keyfob_host.lint.paths import candidates, key_ids_agree
from keyfob_host.lint.rules_certificate import (
    ANY_PURPOSE,
    CLIENT_AUTH,
    PURPOSES,
    SERVER_AUTH,
    purposes_text,
)
from keyfob_host.lint.subjects import ChainSubject as Subject

_Judge = Callable[[Subject], Iterator[str]]
_E, _W, _N = Severity.ERROR, Severity.WARNING, Severity.NOTE
_MAX_INTERMEDIATES = 4
_MAX_SENT = 6
_MAX_STORED = 4
_MAX_FILE_BYTES = 4096
_MAX_CHAIN_BYTES = 12_288
# Smaller record buffers than this no board has; mosquitto sends a chain in one record.
_RECORD_BYTES = 4096


def _pool(subject: Subject) -> list[Certificate]:
    return [*subject.anchors, *subject.sent, *subject.others]


def _not_first(subject: Subject) -> Iterator[str]:
    first = subject.sent[0]
    if first.der != subject.path[0].der:
        yield f"first is {first.title}, want {subject.path[0].title}"


def _order(subject: Subject) -> Iterator[str]:
    sent = [cert.der for cert in subject.sent]
    places = [sent.index(cert.der) for cert in subject.path if cert.der in sent]
    if places[:1] == [0] and places != sorted(places):
        shown = ", ".join(subject.sent[at].title for at in sorted(places))
        wanted = ", ".join(subject.sent[at].title for at in places)
        yield f"in the file: {shown}; want: {wanted}"


def _root_sent(subject: Subject) -> Iterator[str]:
    above = [one.der for one in subject.path[1:] if subject.is_complete and one.is_self_signed]
    for cert in subject.sent:
        if cert.der in above:
            yield f"{cert.title}, {len(cert.der)} bytes in each handshake"


def _unrelated(subject: Subject) -> Iterator[str]:
    known = {cert.der for cert in subject.path}
    for cert in subject.sent:
        if cert.der not in known:
            yield f"{cert.title} issued none of the others"


def _repeated(subject: Subject) -> Iterator[str]:
    ders = [cert.der for cert in subject.sent]
    for der in dict.fromkeys(ders):
        if ders.count(der) > 1:
            yield f"{subject.sent[ders.index(der)].title}, {ders.count(der)} times"


def _missing_intermediate(subject: Subject) -> Iterator[str]:
    there = {cert.der for cert in (*subject.sent, *subject.anchors)}
    for cert in subject.path[1:]:
        if cert.der not in there and not cert.is_self_signed:
            yield f"{cert.title} is in another file; this one has {len(subject.sent)} certificates"


def _no_issuer(subject: Subject) -> Iterator[str]:
    last = subject.path[-1]
    if not subject.needs_anchor or subject.is_complete or _is_own_issuer(subject):
        return
    # Those of a circle issued each other, and are no way to a trust anchor.
    if not any(True for _ in _impostors(subject)):
        anchors = ", ".join(anchor.title for anchor in subject.anchors[:4]) or "none"
        yield f"{last.title}: issuer {last.issuer}; trust anchors: {anchors}"


def _is_own_issuer(subject: Subject) -> bool:
    return len(subject.path) == 1 and subject.path[0].is_self_issued


def _impostors(subject: Subject) -> Iterator[tuple[Certificate, Certificate, bool]]:
    """(certificate, one that has its issuer's name and did not sign it, whether key ids agree)."""
    last = subject.path[-1]
    if subject.is_complete or _is_own_issuer(subject):
        return
    others = [one for one in candidates(last, _pool(subject)) if last.is_signed_by(one) is False]
    if others:
        agreeing = next((one for one in others if key_ids_agree(last, one)), None)
        yield last, agreeing or others[0], agreeing is not None


def _same_name_issuer(subject: Subject) -> Iterator[str]:
    for cert, other, agrees in _impostors(subject):
        if not agrees:
            wanted = (cert.extensions.authority_key_id or b"").hex()[:16] or "another serial"
            seen = (other.extensions.key_id or b"").hex()[:16] or other.serial.hex()
            yield f"{cert.title} is signed by key {wanted}; {other.title} has key {seen}"


def _bad_signature(subject: Subject) -> Iterator[str]:
    for cert, other, agrees in _impostors(subject):
        if agrees:
            yield f"of {cert.title}, by the key of {other.title}"


def _links(subject: Subject) -> Iterator[tuple[Certificate, Certificate]]:
    yield from zip(subject.path, subject.path[1:], strict=False)


def _name_encoding(subject: Subject) -> Iterator[str]:
    for cert, issuer in _links(subject):
        if cert.issuer.der != issuer.subject.der:
            yield f"issuer {cert.issuer}, encoded {cert.issuer.der.hex()[:80]}; " + (
                f"subject {issuer.subject}, encoded {issuer.subject.der.hex()[:80]}"
            )


def _key_ids_differ(subject: Subject) -> Iterator[str]:
    for cert, issuer in _links(subject):
        if not key_ids_agree(cert, issuer):
            wanted = (cert.extensions.authority_key_id or b"").hex()
            serial = (cert.extensions.authority_serial or b"").hex()
            seen = (issuer.extensions.key_id or b"").hex()
            text = f"{cert.title} asks for key {wanted or '-'}, serial {serial or '-'}; "
            yield text + f"{issuer.title} has {seen or '-'}, {issuer.serial.hex()}"


def _same_subject(subject: Subject) -> Iterator[str]:
    if subject.path[0].extensions.authority_key_id is None:
        yield from _shared_names(subject)


def _same_subject_with_ids(subject: Subject) -> Iterator[str]:
    if subject.path[0].extensions.authority_key_id is not None:
        yield from _shared_names(subject)


def _shared_names(subject: Subject) -> Iterator[str]:
    first = subject.path[0]
    if first.is_self_issued and not first.is_self_signed and not first.is_ca:
        yield f"subject and issuer: {first.subject}"
        return
    for cert in subject.path[1:]:
        if cert.subject.attributes and cert.subject.is_like(first.subject) and not first.is_ca:
            yield f"both are {first.subject}"


def _self_signed(subject: Subject) -> Iterator[str]:
    if subject.path[0].is_self_signed:
        yield f"subject and issuer: {subject.path[0].subject}"


def _below(subject: Subject, at: int) -> tuple[Certificate, ...]:
    """Whom path length and name constraints of ``path[at]`` bind (RFC 5280 section 6.1.4)."""
    between = [cert for cert in subject.path[1:at] if not cert.is_self_issued]
    return (subject.path[0], *between)


def _path_length(subject: Subject) -> Iterator[str]:
    for at, issuer in enumerate(subject.path[1:], 1):
        limit, below = issuer.extensions.path_length, len(_below(subject, at)) - 1
        if limit is not None and below > limit:
            yield f"{issuer.title}: {below} CAs below, at most {limit}"


def _constraints(subject: Subject) -> Iterator[str]:
    for at, issuer in enumerate(subject.path[1:], 1):
        for cert in _below(subject, at):
            yield from name_constraints.violations(issuer, cert)


def _constraints_for_boards(subject: Subject) -> Iterator[str]:
    for at, issuer in enumerate(subject.path[1:], 1):
        for cert in _below(subject, at):
            yield from name_constraints.unprocessed(issuer, cert)


def _purpose_of_ca(wanted: str) -> _Judge:
    def judge(subject: Subject) -> Iterator[str]:
        for issuer in subject.path[1:]:
            seen = issuer.extensions.purposes
            if seen is not None and not {wanted, ANY_PURPOSE} & set(seen):
                text = purposes_text(seen)
                yield f"{issuer.title}: extended key usage: {text}; want {PURPOSES[wanted]}"

    return judge


def _outlives(subject: Subject) -> Iterator[str]:
    for cert, issuer in _links(subject):
        end, limit = cert.not_after.moment, issuer.not_after.moment
        if end and limit and end > limit:
            yield f"{cert.title} until {cert.not_after}; {issuer.title} until {issuer.not_after}"


def _too_long(subject: Subject) -> Iterator[str]:
    between = [cert for cert in subject.path[1:] if not cert.is_self_signed]
    if len(between) > _MAX_INTERMEDIATES:
        yield f"{len(between)} intermediates, at most {_MAX_INTERMEDIATES}"
    if len(subject.sent) > _MAX_SENT:
        yield f"{len(subject.sent)} certificates in the file, at most {_MAX_SENT}"


def _too_many_stored(subject: Subject) -> Iterator[str]:
    for what, certs in (("chain", subject.sent), ("trust anchors", subject.anchors)):
        if subject.is_stored and len(certs) > _MAX_STORED:
            yield f"{what}: {len(certs)} certificates, at most {_MAX_STORED}"


def _too_large(subject: Subject) -> Iterator[str]:
    stored = subject.anchors if subject.is_stored else ()
    for cert in (*subject.sent, *stored):
        if len(cert.der) > _MAX_FILE_BYTES:
            yield f"{cert.title}: {len(cert.der)} bytes, at most {_MAX_FILE_BYTES}"
    size = sum(len(cert.der) for cert in subject.sent)
    if size > _MAX_CHAIN_BYTES:
        yield f"{size} bytes in the file, at most {_MAX_CHAIN_BYTES}"


def _above_record(subject: Subject) -> Iterator[str]:
    size = sum(len(cert.der) + 3 for cert in subject.sent) + 7
    if size > _RECORD_BYTES:
        yield f"{size} bytes in one message; record buffers of {_RECORD_BYTES} bytes are common"


_REISSUE = "{reissue}"
_JOIN = "cat END-ENTITY.pem INTERMEDIATE.pem > {file}"
_SERVED: tuple[Role | None, ...] = ("broker", None)

RULES: tuple[Rule[Subject], ...] = (
    Rule("lint.not-first", _E, "the end-entity's certificate must be the first of the file",
         _JOIN, _not_first),
    Rule("lint.chain-order", _W, "each certificate must be followed by its issuer's; some boards "
         "look no further", _JOIN, _order),
    Rule("lint.root-sent", _N, "the trust anchor is in the chain; boards have it, and it costs "
         "them memory", "leave it out: " + _JOIN, _root_sent, _SERVED),
    Rule("lint.unrelated", _W, "a certificate of the file has nothing to do with the first",
         "leave it out: " + _JOIN, _unrelated),
    Rule("lint.repeated", _W, "a certificate is in the file more than once",
         "leave it out: " + _JOIN, _repeated),
    Rule("lint.missing-intermediate", _E, "an intermediate is missing from the chain: whoever has "
         "the trust anchor alone finds no way to it", _JOIN, _missing_intermediate),
    Rule("lint.no-issuer", _E, "no certificate at hand is the issuer's: an intermediate is missing "
         "from the chain, or these are the wrong trust anchors", "full chain: " + _JOIN
         + "; or issue anew: {reissue}", _no_issuer),
    Rule("lint.same-name-issuer", _E, "it was issued by another CA of the same name", _REISSUE,
         _same_name_issuer),
    Rule("lint.bad-signature", _E, "the signature is wrong: the certificate was changed, or "
         "another key signed it", _REISSUE, _bad_signature),
    Rule("lint.name-encoding", _E, "issuer and subject are the same to people and not byte for "
         "byte, as boards compare them", _REISSUE, _name_encoding, ("broker", None)),
    Rule("lint.key-ids-differ", _E, "the authority key identifier is not the issuer's: OpenSSL "
         "finds no issuer", _REISSUE, _key_ids_differ),
    Rule("lint.same-subject", _E, "the end-entity has its CA's name, so that verifiers take it for "
         "self-signed", _REISSUE, _same_subject),
    Rule("lint.same-subject", _W, "the end-entity has its CA's name, and verifiers that look at "
         "no key identifier take it for self-signed", _REISSUE, _same_subject_with_ids),
    Rule("lint.self-signed", _E, "the broker signed its certificate itself, and boards take no "
         "server's certificate as trust anchor", _REISSUE, _self_signed, ("broker",)),
    Rule("lint.self-signed", _W, "the certificate is self-signed; a broker would need it as CA "
         "file", _REISSUE, _self_signed, ("device", None)),
    Rule("lint.path-length", _E, "there are more CAs below a CA than it allows", _REISSUE,
         _path_length),
    Rule("lint.name-constraints", _E, "a name is none that the CA may issue for", _REISSUE,
         _constraints),
    Rule("lint.constraints-for-boards", _E, "the CA constrains names in a way that boards cannot "
         "judge, so that they refuse", _REISSUE, _constraints_for_boards, _SERVED),
    Rule("lint.purpose-of-ca", _E, "the CA may not issue for servers", _REISSUE,
         _purpose_of_ca(SERVER_AUTH), ("broker",)),
    Rule("lint.purpose-of-ca", _E, "the CA may not issue for clients", _REISSUE,
         _purpose_of_ca(CLIENT_AUTH), ("device",)),
    Rule("lint.outlives-issuer", _W, "the certificate is valid for longer than its issuer's",
         _REISSUE, _outlives),
    Rule("lint.chain-too-long", _E, "the chain is longer than boards verify", _REISSUE, _too_long,
         _SERVED),
    Rule("lint.too-many-stored", _E, "a board keeps fewer certificates of a kind", _JOIN,
         _too_many_stored, ("device",)),
    Rule("lint.too-large", _E, "a certificate or chain is larger than boards read", _REISSUE,
         _too_large),
    Rule("lint.above-record", _W, "the chain does not fit the record buffer of small boards: "
         "shorter chain, EC keys", "{reissue} --key-type p256", _above_record),
)  # fmt: skip
