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
refused, and constraints of them always), Signed Certificate Timestamps, that names are
equal but for case or spaces (they must be equal byte by byte), that the authority's key
identifier matches (an issuer that has it is tried first, and it is evidence), and that
points lie on their curve where no signature is checked with them.

The search, the algorithms, the signatures and the texts of errors are modules of their
own, which are here at the same time only where they must: each is unloaded behind its
part, if it was not loaded before.
"""

import hashlib
import sys

from micropython import const

from keyfob import unload
from keyfob.errors import KeyfobError

_DIGITAL_SIGNATURE = const(0x80)
_MAX_CERTIFICATES = const(8)
_MAX_BYTES = const(16_384)
_MAX_SIGNATURES = const(8)


class EndEntity:
    """Who the peer is. ``key_kind``: "p256", "p384" or "rsa"; ``key``: the point, or
    (modulus, exponent), a copy. ``valid_until_s``: until when the whole path is valid,
    in Unix seconds."""

    def __init__(self, key_kind: str, key, valid_until_s: int) -> None:
        self.key_kind = key_kind
        self.key = key
        self.valid_until_s = valid_until_s


def verify(chain, anchors, host: str, now_s: int, usage: int = _DIGITAL_SIGNATURE, pins=()):
    """The `EndEntity` of ``chain``, verified. For the parameters and errors see `steps`."""
    judging = steps(chain, anchors, host, now_s, usage, pins)
    end_entity = None
    while end_entity is None:
        end_entity = next(judging)
    return end_entity


def steps(chain, anchors, host: str, now_s: int, usage: int = _DIGITAL_SIGNATURE, pins=()):
    """`verify` in steps: None before each signature check and further search, then `EndEntity`.

    ``chain``: DER buffers as the server sent them, which must stay as they are.
    ``anchors``: DER buffers, in anything that can be gone over more than once. ``host``:
    DNS name or IP address. ``usage``: the bit of the key usage that the key exchange
    needs, digitalSignature or keyEncipherment (0x20). ``pins``: SHA-256 digests, one of
    which must be of a key on the path.

    Errors: x509.* as ``errors.txt`` has them. Where several issuers were possible, the
    one of which most was right is reported.
    """
    _check_size(chain)
    kept = _loaded()
    try:
        _judge_end_entity(chain[0], host, now_s, usage, kept)
        error = None
        wrong: list[tuple] = []  # jobs that failed, and would on any other path
        number = -1
        signatures = 0
        while True:
            number += 1
            if number:
                yield None  # a search may take as long as a signature's check
            try:
                path = _find(chain, anchors, now_s, number, kept)
            except KeyfobError as failed:
                raise _better(error, failed)
            _unload(kept, "keyfob.pki.der", "keyfob.pki.fields")
            if not path:
                raise error or _untrusted(chain, anchors)
            try:
                end_entity, jobs = _prepare(path)
            except KeyfobError as failed:
                error = _better(error, failed)
                continue
            digests = [hashlib.sha256(fields.spki).digest() for fields in path if pins]
            del path
            if any(job in wrong for job in jobs):
                continue
            scheme = 0
            # From the trust anchor down: what is signed by nobody we trust costs one check.
            while jobs:
                signatures += 1
                if signatures > _MAX_SIGNATURES:
                    counts = (signatures, _MAX_SIGNATURES)
                    raise KeyfobError("x509.too-many-checks", "%d signatures, limit %d" % counts)
                if jobs[-1][0] != scheme:
                    _unload(kept)
                yield None
                job = jobs.pop()
                scheme = job[0]
                at = len(jobs)
                if not _is_signed(*job):
                    wrong.append(job)
                    break
            else:
                if not pins or any(pin in digests for pin in pins):
                    break
                at = -1
            job = jobs = end_entity = None
            _unload(kept)  # the arithmetic, before the search is loaded once more
            error = _better(error, _refusal(chain, anchors, now_s, number, at, digests, pins))
    finally:
        _unload(kept)
    yield end_entity


def _check_size(chain) -> None:
    size = sum(len(der) for der in chain)
    if not chain:
        raise KeyfobError("x509.no-certificate", "0 certificates, want 1 or more")
    if len(chain) > _MAX_CERTIFICATES:
        counts = (len(chain), _MAX_CERTIFICATES)
        raise KeyfobError("x509.chain-too-long", "%d certificates, limit %d" % counts)
    if size > _MAX_BYTES:
        raise KeyfobError("x509.chain-too-large", "%d bytes, limit %d" % (size, _MAX_BYTES))


def _judge_end_entity(der, host: str, now_s: int, usage: int, kept: list) -> None:
    from keyfob.pki.reading import read

    fields = read(der)
    del read
    _unload(kept, "keyfob.pki.fields")
    from keyfob.pki.search import judge_end_entity

    judge_end_entity(fields, now_s, usage)
    del judge_end_entity
    _unload(kept, "keyfob.pki.der", "keyfob.pki.fields")
    from keyfob.pki.names import check_host

    check_host(fields, host)
    del check_host
    _unload(kept, "keyfob.pki.der", "keyfob.pki.fields")


def _find(chain, anchors, now_s: int, number: int, kept: list) -> list:
    from keyfob.pki.reading import read, read_anchors

    certificates = list(map(read, chain))
    anchors = read_anchors(anchors, certificates)
    del read, read_anchors
    _unload(kept, "keyfob.pki.fields")  # what read them, before the search is loaded
    from keyfob.pki.search import find

    return find(certificates, anchors, now_s, number)


def _prepare(path: list) -> tuple:
    """(the `EndEntity`, [(scheme, key, what is signed, signature) …] from it upwards)."""
    from keyfob.pki.algorithms import read_public_key, scheme_of

    kind, key = read_public_key(path[0])
    end_entity = EndEntity(kind, key, min([fields.not_after_s for fields in path]))
    jobs = []
    for at in range(len(path) - 1):
        fields = path[at]
        _, key = read_public_key(path[at + 1])
        jobs.append((scheme_of(fields), key, fields.tbs, fields.signature))
    return end_entity, jobs


def _is_signed(scheme: int, key, tbs, signature) -> bool:
    from keyfob.pki.signature import digest_for, verify_signature

    return verify_signature(scheme, key, digest_for(scheme, tbs), signature)


def _untrusted(chain, anchors) -> KeyfobError:
    from keyfob.pki.refusal import untrusted

    return untrusted(chain, anchors)


def _refusal(chain, anchors, now_s: int, number: int, at: int, digests, pins) -> KeyfobError:
    """``at``: whose signature on the path is wrong, -1 if they are all right."""
    from keyfob.pki import refusal

    if at < 0:
        return refusal.not_pinned(digests, pins)
    return refusal.not_signed(_find(chain, anchors, now_s, number, _loaded()), at)


def _better(error, other: KeyfobError) -> KeyfobError:
    """That of the candidate that came further; the first of equals."""
    return other if not error or _rank(other) > _rank(error) else error


def _rank(error: KeyfobError) -> int:
    if error.code == "x509.untrusted":
        return 0
    return 1 if error.code == "x509.bad-signature" else 2


def _loaded() -> list:
    return [n for n in sys.modules if n.startswith("keyfob.pki.") or n.startswith("keyfob.crypto.")]


def _unload(kept: list, *more: str) -> None:
    """Let go of the verifier's and the cryptography's modules other than ``kept``."""
    unload("keyfob.pki.", "keyfob.crypto.", but=kept + list(more) if more else kept)
