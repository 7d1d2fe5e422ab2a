"""The search for a path: everything of RFC 5280 section 6.1 but signatures and keys.

A part of `keyfob.pki.path`, which says what is checked; loaded while it searches.
"""

from micropython import const

from keyfob.errors import KeyfobError
from keyfob.pki.fields import Fields

_KEY_CERT_SIGN = const(0x04)
_SERVER_AUTH = b"\x2b\x06\x01\x05\x05\x07\x03\x01"
_ANY_USAGE = b"\x55\x1d\x25\x00"
_MAX_INTERMEDIATES = const(4)
_MAX_ISSUERS = const(64)
_MAX_COMPARISONS = const(2000)


def judge_end_entity(fields: Fields, now_s: int, usage: int) -> None:
    """Everything that needs no other certificate, but for its names and its key."""
    _judge(fields, now_s)
    if fields.is_ca:
        _refuse("x509.end-entity-is-ca", fields, "CA true, want false")
    # What only a CA may have: RFC 5280 sections 4.2.1.9 and 4.2.1.10.
    signs = fields.key_usage >= 0 and fields.key_usage & _KEY_CERT_SIGN
    if signs or fields.name_constraints is not None:
        text = "CA false, but key usage %02x or name constraints" % fields.key_usage
        _refuse("x509.end-entity-is-ca", fields, text)
    if not fields.key_usage & usage:
        text = "key usage %02x, want %02x" % (fields.key_usage, usage)
        _refuse("x509.wrong-usage", fields, text)
    _judge_purpose(fields, (_SERVER_AUTH,))


def _judge(fields: Fields, now_s: int) -> None:
    """What is asked of any certificate."""
    if fields.version != 3:
        _refuse("x509.not-v3", fields, "version %d, want 3" % fields.version)
    if fields.critical:
        from keyfob.pki.der import oid_text

        _refuse("x509.unknown-critical", fields, " ".join(map(oid_text, fields.critical)))
    if not fields.not_before_s <= now_s <= fields.not_after_s:
        from keyfob.pki.certificate import date_text

        dates = map(date_text, (fields.not_before_s, fields.not_after_s, now_s))
        code = "x509.expired" if now_s > fields.not_after_s else "x509.not-yet-valid"
        _refuse(code, fields, "valid from %s to %s, clock %s" % tuple(dates))


def _judge_purpose(fields: Fields, wanted: tuple) -> None:
    """The extended key usage, where there is one, has one of ``wanted``."""
    usages = fields.usages
    if usages is not None and not any(oid in usages for oid in wanted):
        from keyfob.pki.der import oid_text

        text = "for %s, want TLS servers" % " ".join(map(oid_text, usages))
        _refuse("x509.wrong-usage", fields, text)


def find(certificates: list, anchors, now_s: int, number: int) -> list:
    """The path of that ``number`` from 0 on: `Fields` from end-entity to trust anchor.

    ``anchors``: those that may matter, `Fields` too.

    Empty where there are no more and nothing was wrong with any issuer; otherwise the
    first such error is raised.
    """
    search = _Search(certificates, anchors, now_s)
    for path in search.paths():
        if not number:
            return path
        number -= 1
    if search.error:
        raise search.error
    return []


class _Search:
    def __init__(self, certificates: list, anchors, now_s: int) -> None:
        self.error: KeyfobError | None = None
        self._certificates = certificates
        self._now_s = now_s
        self._issuers = 0
        self._comparisons = _MAX_COMPARISONS
        self._anchors = anchors

    def paths(self):
        """All of them, depth first, the trust anchors of an issuer's name first; each list
        is good until the next.

        Those with another key than the key identifier asks for come last (RFC 4158 section
        3.5.12): each that is tried in vain costs the check of a signature.
        """
        anchors, certificates = self._anchors, self._certificates
        count = len(anchors) + len(certificates)
        path = certificates[:1]
        tried = [0]  # for each of the path: how many of all were tried as its issuer, twice
        while path:
            at = tried[-1]
            if at == 2 * count:
                path.pop()
                tried.pop()
                continue
            tried[-1] = at + 1
            is_last = at >= count
            at %= count
            is_anchor = at < len(anchors)
            issuer = anchors[at] if is_anchor else certificates[at - len(anchors)]
            if issuer.subject_name != path[-1].issuer_name or issuer in path:
                continue
            wanted, seen = path[-1].authority_key_id, issuer.key_id
            if is_last != (wanted is not None and seen is not None and wanted != seen):
                continue
            if not self._may_issue(issuer, path):
                continue
            if is_anchor:
                path.append(issuer)
                yield path
                path.pop()
            else:
                path.append(issuer)
                tried.append(0)

    def _may_issue(self, issuer: Fields, path: list) -> bool:
        self._issuers += 1
        if self._issuers > _MAX_ISSUERS:
            text = "%d issuers, limit %d" % (self._issuers, _MAX_ISSUERS)
            raise KeyfobError("x509.too-many-checks", text)
        try:
            self._judge_issuer(issuer, path)
        except KeyfobError as error:
            if error.code == "x509.too-many-checks":
                raise
            self.error = self.error or error
            return False
        return True

    def _judge_issuer(self, issuer: Fields, path: list) -> None:
        """Sections 6.1.3 and 6.1.4, from below."""
        _judge(issuer, self._now_s)
        if not issuer.is_ca:
            _refuse("x509.not-ca", issuer, "CA false, want true")
        if not issuer.key_usage & _KEY_CERT_SIGN:
            text = "key usage %02x, want %02x" % (issuer.key_usage, _KEY_CERT_SIGN)
            _refuse("x509.no-cert-sign", issuer, text)
        _judge_purpose(issuer, (_SERVER_AUTH, _ANY_USAGE))
        if not issuer.is_anchor and len(path) > _MAX_INTERMEDIATES:
            text = "%d intermediates, limit %d" % (len(path), _MAX_INTERMEDIATES)
            raise KeyfobError("x509.chain-too-long", text)
        # Self-issued intermediates neither count nor are constrained.
        below = path[:1] + [each for each in path[1:] if each.subject_name != each.issuer_name]
        if 0 <= issuer.path_length < len(below) - 1:
            text = "%d CAs below, limit %d" % (len(below) - 1, issuer.path_length)
            _refuse("x509.path-length", issuer, text)
        if issuer.name_constraints is not None:
            from keyfob.pki.constraints import NameConstraints

            constraints = NameConstraints(issuer)
            for fields in below:
                self._comparisons = constraints.check(fields, self._comparisons)


def _refuse(code: str, fields: Fields, text: str) -> None:
    from keyfob.pki.certificate import who

    raise KeyfobError(code, who(fields) + ": " + text)
