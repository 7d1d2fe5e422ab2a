"""Verify a server's certificate chain: RFC 5280 section 6.1, RFC 9525 for its name.

From the end-entity, which comes first, through intermediates in any order, to a trust
anchor. Each certificate of the path: version 3, valid at the time given, no critical
extension that is not processed, key and signature strong enough. Each issuer: a CA that
may sign certificates, its path length, name constraints and extended key usage (server
authentication, where it names any). The end-entity: no CA, key usage, extended key
usage, host name. Hard limits bound what a hostile chain can cost.

A trust anchor is a name and a key (section 6.1.1); here it comes as a certificate, and
what that says is honoured as if it were an intermediate's (RFC 5937): its validity, its
basic constraints and the rest. Only its signature is not looked at, since nobody has to
vouch for what the board was given. A certificate of a server is therefore never a
trust anchor: it is no CA.

Pins (SHA-256 of a SubjectPublicKeyInfo, RFC 7469 section 2.4) are asked for on top of
all that, never instead.

Not checked: revocation (neither CRL nor OCSP), certificate policies (critical ones are
refused), Signed Certificate Timestamps, that names are equal but for case or spaces
(they must be equal byte by byte), that the authority's key identifier matches (it is
evidence only), and that points lie on their curve where no signature is checked with
them.
"""

import hashlib

from micropython import const

from keyfob.errors import KeyfobError
from keyfob.pki.certificate import Certificate, date_text
from keyfob.pki.der import hex_text
from keyfob.pki.extensions import (
    DIGITAL_SIGNATURE,
    KEY_CERT_SIGN,
    Extensions,
    authority_key_id,
)
from keyfob.pki.names import check_host
from keyfob.pki.public_key import read_public_key
from keyfob.pki.signature import digest_for, scheme_of, verify_signature

_MAX_CERTIFICATES = const(8)
_MAX_BYTES = const(16_384)
_MAX_INTERMEDIATES = const(4)
_MAX_SIGNATURES = const(8)
_MAX_COMPARISONS = const(2000)


class EndEntity:
    """Who the peer is. ``key_kind``: "p256", "p384" or "rsa"; ``key``: the point, or
    (modulus, exponent), a copy. ``valid_until_s``: until when the whole path is valid,
    in Unix seconds."""

    def __init__(self, key_kind: str, key, valid_until_s: int) -> None:
        self.key_kind = key_kind
        self.key = key
        self.valid_until_s = valid_until_s


def verify(chain, anchors, host: str, now_s: int, usage: int = DIGITAL_SIGNATURE, pins=()):
    """The `EndEntity` of ``chain``, verified. For the parameters and errors see `steps`."""
    judging = steps(chain, anchors, host, now_s, usage, pins)
    end_entity = None
    while end_entity is None:
        end_entity = next(judging)
    return end_entity


def steps(chain, anchors, host: str, now_s: int, usage: int = DIGITAL_SIGNATURE, pins=()):
    """`verify` in steps: yields None before each signature check, the `EndEntity` at last.

    ``chain``: DER buffers as the server sent them. ``anchors``: DER buffers, in anything
    that can be gone over more than once; they are held one at a time. ``host``: DNS name
    or IP address. ``usage``: what the key must be allowed to do (`keyfob.pki.extensions`).
    ``pins``: SHA-256 digests, one of which must be of a key on the path.

    Errors: x509.* as ``errors.txt`` has them. Where several issuers were possible, the
    one of which most was right is reported.
    """
    certificates = _read_chain(chain)
    key_kind, key = _judge_end_entity(certificates[0], host, now_s, usage)
    search = _Search(certificates, anchors, now_s)
    for _ in search.run():
        yield None
    path = [certificates[index] for index in search.path]
    path.append(search.anchor)
    if pins:
        _check_pins(path, pins)
    yield EndEntity(key_kind, key, min(certificate.not_after_s for certificate in path))


def _read_chain(chain) -> list:
    size = sum(len(der) for der in chain)
    if not size:
        raise KeyfobError("x509.no-certificate", "%d certificates of 0 bytes" % len(chain))
    if size > _MAX_BYTES:
        raise KeyfobError("x509.chain-too-large", "%d bytes, limit %d" % (size, _MAX_BYTES))
    if len(chain) > _MAX_CERTIFICATES:
        raise KeyfobError(
            "x509.chain-too-long", "%d certificates, limit %d" % (len(chain), _MAX_CERTIFICATES)
        )
    return [Certificate(der) for der in chain]


def _judge_end_entity(certificate: Certificate, host: str, now_s: int, usage: int) -> tuple:
    """Everything that needs no other certificate; its (kind, key)."""
    who = _who(certificate)
    extensions = _judge(certificate, who, now_s)
    if extensions.is_ca:
        raise KeyfobError("x509.end-entity-is-ca", who + ": CA true, want false")
    if not extensions.key_usage & usage:
        raise KeyfobError(
            "x509.wrong-usage", "%s: key usage %02x, want %02x" % (who, extensions.key_usage, usage)
        )
    if not extensions.is_for_server(False):
        raise KeyfobError(
            "x509.wrong-usage", "%s: usage %s, want TLS server" % (who, extensions.usages_text())
        )
    check_host(certificate, host)
    return read_public_key(certificate.spki, who)


def _judge(certificate: Certificate, who: str, now_s: int) -> Extensions:
    """What is asked of any certificate."""
    if certificate.version != 3:
        raise KeyfobError("x509.not-v3", "%s: version %d" % (who, certificate.version))
    extensions = Extensions(certificate, who)
    if not certificate.not_before_s <= now_s <= certificate.not_after_s:
        dates = (certificate.not_before_s, certificate.not_after_s, now_s)
        raise KeyfobError(
            "x509.expired" if now_s > certificate.not_after_s else "x509.not-yet-valid",
            who + " is valid from %s to %s, clock %s" % tuple([date_text(date) for date in dates]),
        )
    return extensions


class _Search:
    """From the end-entity upwards, depth first; every step up costs a signature check."""

    def __init__(self, certificates: list, anchors, now_s: int) -> None:
        self.path = [0]  # indices of certificates, the end-entity first
        self.anchor: Certificate | None = None
        self._certificates = certificates
        self._anchors = anchors
        self._now_s = now_s
        self._error: KeyfobError | None = None
        self._signatures = 0
        self._comparisons = _MAX_COMPARISONS

    def run(self):
        """Find `path` and `anchor`; yields before each signature check."""
        certificates, path = self._certificates, self.path
        tried = [0]  # for each of the path: the last certificate tried as its issuer
        while True:
            top = certificates[path[-1]]
            if not tried[-1]:
                for der in self._anchors:
                    anchor = _read_anchor(der)
                    if anchor.subject_name != top.issuer_name:
                        continue
                    if (yield from self._try(anchor, "trust anchor " + _who(anchor))):
                        self.anchor = anchor
                        return
            index = self._next(top, tried[-1] + 1)
            if not index:
                error = self._keep(self._dead_end(top))
                path.pop()
                tried.pop()
                if not path:
                    raise error
                continue
            tried[-1] = index
            issuer = certificates[index]
            if (yield from self._try(issuer, _who(issuer))):
                path.append(index)
                tried.append(0)

    def _next(self, top: Certificate, index: int) -> int:
        """The next intermediate from ``index`` on that may have issued ``top``; 0: none."""
        for at in range(index, len(self._certificates)):
            if at in self.path or self._certificates[at].subject_name != top.issuer_name:
                continue
            if len(self.path) <= _MAX_INTERMEDIATES:
                return at
            counts = (len(self.path), _MAX_INTERMEDIATES)
            error = KeyfobError("x509.chain-too-long", "%d intermediates, limit %d" % counts)
            self._keep(error)
        return 0

    def _try(self, issuer: Certificate, who: str):
        """Whether ``issuer`` may have signed the path's last certificate, and did."""
        top = self._certificates[self.path[-1]]
        try:
            extensions = self._judge_issuer(issuer, who)
            _, key = read_public_key(issuer.spki, who)
            scheme = scheme_of(top.algorithm, _who(top))
            self._signatures += 1
            if self._signatures > _MAX_SIGNATURES:
                counts = (self._signatures, _MAX_SIGNATURES)
                raise KeyfobError("x509.too-many-checks", "%d signatures, limit %d" % counts)
            yield None
            digest = digest_for(scheme, top.tbs)
            if not verify_signature(scheme, key, digest, top.signature):
                _refuse_signature(top, who, extensions.key_id)
        except KeyfobError as error:
            if error.code == "x509.too-many-checks":
                raise
            self._keep(error)
            return False
        return True

    def _judge_issuer(self, issuer: Certificate, who: str) -> Extensions:
        """Everything but the signature: sections 6.1.3 and 6.1.4."""
        extensions = _judge(issuer, who, self._now_s)
        if not extensions.is_ca:
            raise KeyfobError("x509.not-ca", who + ": CA false, want true")
        if not extensions.key_usage & KEY_CERT_SIGN:
            usages = (who, extensions.key_usage, KEY_CERT_SIGN)
            raise KeyfobError("x509.no-cert-sign", "%s: key usage %02x, want %02x" % usages)
        if not extensions.is_for_server(True):
            raise KeyfobError(
                "x509.wrong-usage",
                "%s: usage %s, want TLS server" % (who, extensions.usages_text()),
            )
        below = [self._certificates[index] for index in self.path]
        # Self-issued intermediates neither count nor are constrained.
        below[1:] = [each for each in below[1:] if each.subject_name != each.issuer_name]
        if 0 <= extensions.path_length < len(below) - 1:
            lengths = (who, len(below) - 1, extensions.path_length)
            raise KeyfobError("x509.path-length", "%s: %d CAs below, limit %d" % lengths)
        if extensions.name_constraints is not None:
            from keyfob.pki.constraints import NameConstraints

            constraints = NameConstraints(extensions.name_constraints, who)
            for certificate in below:
                self._comparisons = constraints.check(certificate, self._comparisons)
        return extensions

    def _dead_end(self, top: Certificate) -> KeyfobError:
        texts = ", ".join([_who(_read_anchor(der)) for der in self._anchors])
        detail = "chain ends with issuer %r, trust anchors %s" % (top.issuer, texts)
        return KeyfobError("x509.untrusted", detail)

    def _keep(self, error: KeyfobError) -> KeyfobError:
        """Of this error and those before, the one of the candidate that came furthest."""
        if self._error is None or _rank(error) > _rank(self._error):
            self._error = error
        return self._error


def _rank(error: KeyfobError) -> int:
    if error.code == "x509.untrusted":
        return 0
    return 1 if error.code == "x509.bad-signature" else 2


def _who(certificate: Certificate) -> str:
    return repr(certificate.subject) if certificate.subject else "(no common name)"


def _read_anchor(der) -> Certificate:
    try:
        return Certificate(der)
    except KeyfobError as error:
        raise KeyfobError("x509.bad-anchor", error.detail)


def _refuse_signature(top: Certificate, who: str, key_id) -> None:
    wanted = authority_key_id(top)
    if wanted is None or key_id is None or wanted == key_id:
        raise KeyfobError("x509.bad-signature", "of %s, by the key of %s" % (_who(top), who))
    # Not the one that it asks for, but another of the same name.
    ids = (_who(top), hex_text(wanted), who, hex_text(key_id))
    raise KeyfobError("x509.untrusted", "%s is signed by key %s, %s has key %s" % ids)


def _check_pins(path: list, pins) -> None:
    seen = [hashlib.sha256(certificate.spki).digest() for certificate in path]
    for pin in pins:
        if pin in seen:
            return
    texts = [" ".join([hex_text(each) for each in digests]) for digests in (seen, pins)]
    raise KeyfobError("x509.not-pinned", "keys %s, pins %s" % tuple(texts))
