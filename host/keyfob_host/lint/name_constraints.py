"""Name constraints of a CA, applied to what it issued: RFC 5280 section 4.2.1.10.

DNS names, addresses and permitted directory names are processed, as boards do it; of other
forms it is told that boards cannot judge them.
"""

from __future__ import annotations

from collections.abc import Iterator

from keyfob_host.lint.certificate import Certificate
from keyfob_host.lint.der import SEQUENCE, MalformedError, Walk
from keyfob_host.lint.names import DIRECTORY, DNS, IP, MAIL, general_name_text, has_empty_label

_EMAIL = "1.2.840.113549.1.9.1"


def violations(issuer: Certificate, cert: Certificate) -> Iterator[str]:
    """Names of ``cert`` that ``issuer`` may not issue for."""
    limits = issuer.extensions
    for tag, name in _names(cert):
        text = general_name_text(tag, name) if tag != DIRECTORY else str(cert.subject)
        for kind, base in limits.excluded:
            if kind == tag and tag in (DNS, IP) and _is_within(tag, name, base, is_excluded=True):
                yield f"{text}; {issuer.title} excludes {general_name_text(kind, base)}"
        permitted = [base for kind, base in limits.permitted if kind == tag]
        if tag not in (DNS, IP, DIRECTORY) or not permitted:
            continue
        if not any(_is_within(tag, name, base, is_excluded=False) for base in permitted):
            allowed = ", ".join(general_name_text(tag, base) for base in permitted[:4])
            yield f"{text}; {issuer.title} permits {allowed}"


def unprocessed(issuer: Certificate, cert: Certificate) -> Iterator[str]:
    """Names of ``cert`` that are constrained in a form that boards do not process."""
    excluded = {tag for tag, _ in issuer.extensions.excluded}
    constrained = excluded | {tag for tag, _ in issuer.extensions.permitted}
    for tag, name in _names(cert):
        is_known = tag in (DNS, IP) or (tag == DIRECTORY and DIRECTORY not in excluded)
        if tag in constrained and not is_known:
            yield f"{general_name_text(tag, name)}; constrained by {issuer.title}"


def _names(cert: Certificate) -> Iterator[tuple[int, bytes]]:
    yield from cert.extensions.sans or ()
    if cert.subject.attributes:
        yield DIRECTORY, cert.subject.der
    for oid, text in cert.subject.attributes:
        if oid == _EMAIL:
            yield MAIL, text.encode("utf-8", "replace")


def _is_within(tag: int, name: bytes, base: bytes, *, is_excluded: bool) -> bool:
    if tag == DNS:
        return _is_dns_within(name.lower(), base.lower(), is_excluded)
    if tag == IP:
        size = len(name)
        if len(base) != 2 * size:
            return False
        return all((name[at] ^ base[at]) & base[size + at] == 0 for at in range(size))
    return _content(name).startswith(_content(base))


def _is_dns_within(name: bytes, base: bytes, is_excluded: bool) -> bool:
    """A dot in front of the base asks for one label more. Of a wildcard all names are
    permitted, or one of them is excluded. What is no DNS name, for an empty label, is
    excluded and never permitted."""
    if has_empty_label(name):
        return is_excluded
    if is_excluded:
        base = base.lstrip(b".")
        if name.startswith(b"*.") and b"." in base and base.partition(b".")[2] == name[2:]:
            return True
    if not base or name == base:
        return True
    return name.endswith(base if base.startswith(b".") else b"." + base)


def _content(name: bytes) -> bytes:
    walk = Walk(name)
    try:
        return walk.content(walk.expect(walk.element(0, len(name)), SEQUENCE))
    except MalformedError:
        return name
