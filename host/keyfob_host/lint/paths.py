"""The path from an end-entity upwards: who issued whom, among the certificates at hand.

By name, and of several of one name by the signature, the key identifiers and the dates.
Nothing is judged here but what is needed to choose; rules judge the path that was found.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import islice

from keyfob_host.lint.certificate import Certificate

_MAX_PATH = 16
_MAX_PATHS = 32


def candidates(cert: Certificate, pool: Sequence[Certificate]) -> list[Certificate]:
    """Those of ``pool`` that have the name of its issuer, itself excluded."""
    return [
        other for other in pool
        if other.is_readable and other.der != cert.der and other.subject.is_like(cert.issuer)
    ]  # fmt: skip


def issuers_of(
    cert: Certificate, pool: Sequence[Certificate], at: datetime
) -> list[Certificate]:  # fmt: skip
    """Those of the `candidates` whose key signed it, each once, the fittest first."""
    signed = [other for other in candidates(cert, pool) if cert.is_signed_by(other) is not False]
    once = {other.der: other for other in signed}.values()
    return sorted(once, key=lambda other: _fitness(cert, other, at), reverse=True)


def _fitness(cert: Certificate, issuer: Certificate, at: datetime) -> tuple[bool, ...]:
    start, end = issuer.not_before.moment, issuer.not_after.moment
    return (
        start is not None and end is not None and start <= at <= end,
        issuer.is_ca,
        key_ids_agree(cert, issuer),
        issuer.is_self_signed,
    )


def key_ids_agree(cert: Certificate, issuer: Certificate) -> bool:
    """Whether the key that it asks for is the issuer's, as far as both say."""
    wanted, serial = cert.extensions.authority_key_id, cert.extensions.authority_serial
    seen = issuer.extensions.key_id
    if wanted is not None and seen is not None and wanted != seen:
        return False
    return serial is None or serial == issuer.serial


def build(
    end_entity: Certificate,
    anchors: Sequence[Certificate],
    others: Sequence[Certificate],
    at: datetime,
) -> tuple[Certificate, ...]:
    """From the end-entity upwards, to a trust anchor or as far as there are issuers.

    Of several ways the first of `possible` that ends at a trust anchor, or the first.
    """
    found = list(possible(end_entity, anchors, others, at))
    known = {anchor.der for anchor in anchors}
    return next((path for path in found if path[-1].der in known), found[0])


def possible(
    end_entity: Certificate,
    anchors: Sequence[Certificate],
    others: Sequence[Certificate],
    at: datetime,
) -> Iterator[tuple[Certificate, ...]]:
    """Every way upwards, the fittest issuers first; at most 32 of them.

    There are several where a CA's key has certificates of several issuers, as in a change
    of roots: one way may be as good as new and another end at nobody's trust anchor.
    """
    known = {anchor.der for anchor in anchors}
    issuers: dict[bytes, list[Certificate]] = {}

    def above(path: tuple[Certificate, ...]) -> list[Certificate]:
        last = path[-1]
        is_end = last.der in known or last.is_self_signed
        if len(path) == _MAX_PATH or (len(path) > 1 and is_end):
            return []
        if last.der not in issuers:
            issuers[last.der] = [
                *issuers_of(last, anchors, at),
                *(one for one in issuers_of(last, others, at) if one.der not in known),
            ]
        used = {cert.der for cert in path}
        return [one for one in issuers[last.der] if one.der not in used]

    def walk(path: tuple[Certificate, ...]) -> Iterator[tuple[Certificate, ...]]:
        further = above(path)
        if not further:
            yield path
        for issuer in further:
            yield from walk((*path, issuer))

    yield from islice(walk((end_entity,)), _MAX_PATHS)
