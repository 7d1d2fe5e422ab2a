"""The path from an end-entity upwards: who issued whom, among the certificates at hand.

By name, and of several of one name by the signature, the key identifiers and the dates.
Nothing is judged here but what is needed to choose; rules judge the path that was found.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from keyfob_host.lint.certificate import Certificate

_MAX_PATH = 16


def candidates(cert: Certificate, pool: Sequence[Certificate]) -> list[Certificate]:
    """Those of ``pool`` that have the name of its issuer, itself excluded."""
    return [
        other for other in pool
        if other.is_readable and other.der != cert.der and other.subject.is_like(cert.issuer)
    ]  # fmt: skip


def issuer_of(
    cert: Certificate, pool: Sequence[Certificate], at: datetime
) -> Certificate | None:  # fmt: skip
    """The best of the `candidates` whose key signed it; None where there is none."""
    signed = [other for other in candidates(cert, pool) if cert.is_signed_by(other) is not False]
    return max(signed, key=lambda other: _fitness(cert, other, at), default=None)


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
    """From the end-entity upwards, to a trust anchor or as far as there are issuers."""
    path = [end_entity]
    known = {anchor.der for anchor in anchors}
    while len(path) < _MAX_PATH:
        last = path[-1]
        if len(path) > 1 and (last.der in known or last.is_self_signed):
            break
        used = {cert.der for cert in path}
        above = issuer_of(last, [one for one in anchors if one.der not in used], at)
        above = above or issuer_of(last, [one for one in others if one.der not in used], at)
        if above is None:
            break
        path.append(above)
    return tuple(path)
