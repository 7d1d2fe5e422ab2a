"""Rules for the names of a certificate: RFC 9525, RFC 5280 section 4.2.1.6.

Boards compare the host they connect to with the subject alternative names, never with the
common name; mosquitto makes a device's common name its user name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from keyfob_host.lint.extensions import SAN
from keyfob_host.lint.finding import Rule, Severity
from keyfob_host.lint.names import (
    DNS,
    IP,
    address_of,
    covers,
    is_host_name,
    is_wildcard_right,
    sans_text,
)
from keyfob_host.lint.subjects import CertificateSubject as Subject

_E, _W, _N = Severity.ERROR, Severity.WARNING, Severity.NOTE
_TOPIC_SYNTAX = re.compile(r"[/+#$]|[^\x21-\x7e]")
_MAX_COMMON_NAME = 64  # ub-common-name, RFC 5280 appendix A.1


def _common_name(subject: Subject) -> str:
    return subject.cert.subject.common_name


def _has_host_names(subject: Subject) -> bool:
    return any(tag in (DNS, IP) for tag, _ in subject.cert.extensions.sans or ())


def _is_a_host(text: str) -> bool:
    return address_of(text) is not None or ("." in text and is_host_name(text))


def _no_san(subject: Subject) -> Iterator[str]:
    if not _has_host_names(subject) and not _is_a_host(_common_name(subject)):
        yield f"names: {sans_text(subject.cert.extensions.sans)}; want DNS or IP"


def _name_only_in_cn(subject: Subject) -> Iterator[str]:
    name = _common_name(subject)
    if not _has_host_names(subject) and _is_a_host(name):
        yield f"CN={name}; names: {sans_text(subject.cert.extensions.sans)}"


def _no_san_of_any(subject: Subject) -> Iterator[str]:
    if not subject.cert.extensions.sans:
        yield f"names: none; CN={_common_name(subject) or '(none)'}"


def _no_san_of_device(subject: Subject) -> Iterator[str]:
    name = _common_name(subject)
    # An id with an underscore can be no DNS name, and is not asked to be one.
    if not subject.cert.extensions.sans and is_host_name(name) and "_" not in name:
        yield f"names: none; CN={name}"


def _address_not_in_san(subject: Subject) -> Iterator[str]:
    name = _common_name(subject)
    address = address_of(name)
    host, sans = subject.context.host, subject.cert.extensions.sans or ()
    if host is not None and covers(sans, host):
        return  # nobody connects to the address
    if address and _has_host_names(subject) and (IP, address) not in sans:
        yield f"CN={name}; names: {sans_text(sans)}"


def _cn_not_in_san(subject: Subject) -> Iterator[str]:
    name, sans = _common_name(subject), subject.cert.extensions.sans or ()
    if _has_host_names(subject) and "." in name and is_host_name(name) and not covers(sans, name):
        yield f"CN={name}; names: {sans_text(sans)}"


def _address_as_dns(subject: Subject) -> Iterator[str]:
    for text in _dns_names(subject):
        if address_of(text) is not None:
            yield f"DNS:{text}; want IP:{text}"


def _wildcard(subject: Subject) -> Iterator[str]:
    for text in _dns_names(subject):
        if "*" in text and not is_wildcard_right(text):
            yield f"DNS:{text}; want *.example.org: the whole first label, and two behind it"


def _no_host_name(subject: Subject) -> Iterator[str]:
    for text in _dns_names(subject):
        if "*" not in text and address_of(text) is None and not is_host_name(text):
            yield f"DNS:{text}"


def _dns_names(subject: Subject) -> Iterator[str]:
    for tag, content in subject.cert.extensions.sans or ():
        if tag == DNS:
            yield content.decode("latin-1")


def _host_not_covered(subject: Subject) -> Iterator[str]:
    host, sans = subject.context.host, subject.cert.extensions.sans or ()
    if host is not None and not covers(sans, host):
        yield f"{host} wanted; names: {sans_text(sans)}"


def _empty_subject(subject: Subject) -> Iterator[str]:
    if not subject.cert.subject.attributes:
        critical = subject.cert.extensions.criticality(SAN)
        if not critical:
            seen = "none" if critical is None else "not critical"
            yield f"subject: empty; subject alternative name: {seen}, want critical"


def _critical_beside_subject(subject: Subject) -> Iterator[str]:
    if subject.cert.subject.attributes and subject.cert.extensions.criticality(SAN):
        yield f"subject alternative name: critical; subject: {subject.cert.subject}"


def _no_issuer_name(subject: Subject) -> Iterator[str]:
    if not subject.cert.issuer.attributes:
        yield "issuer: empty"


def _no_common_name(subject: Subject) -> Iterator[str]:
    if not _common_name(subject):
        yield f"subject: {subject.cert.subject}"


def _user_name(subject: Subject) -> Iterator[str]:
    name = _common_name(subject)
    found = _TOPIC_SYNTAX.search(name)
    if found:
        yield f"{found.group()!r} in CN={name}"
    if len(name) > _MAX_COMMON_NAME:
        yield f"{len(name)} characters, at most {_MAX_COMMON_NAME}"


_REISSUE = "{reissue}"

RULES: tuple[Rule[Subject], ...] = (
    Rule("lint.no-san", _E, "a broker's certificate without a name or address in its subject "
         "alternative name is for no host", _REISSUE, _no_san, ("broker",)),
    Rule("lint.name-only-in-cn", _E, "the broker's name is in the common name alone, at which "
         "boards do not look", _REISSUE, _name_only_in_cn, ("broker",)),
    Rule("lint.no-san", _W, "the certificate has no subject alternative name; strict verifiers "
         "refuse it", _REISSUE, _no_san_of_any, (None,)),
    Rule("lint.no-san", _N, "some verifiers ask a device's certificate too for a subject "
         "alternative name", _REISSUE, _no_san_of_device, ("device",)),
    Rule("lint.address-in-cn", _E, "the broker's address is in the common name and not among the "
         "addresses of the subject alternative name", _REISSUE, _address_not_in_san, ("broker",)),
    Rule("lint.cn-not-in-san", _W, "the common name is a host's, and the subject alternative name "
         "does not have it: boards that connect to it refuse", _REISSUE, _cn_not_in_san,
         ("broker",)),
    Rule("lint.address-as-dns", _E, "an IP address stands where a DNS name belongs, and matches "
         "nothing there", _REISSUE, _address_as_dns, ("broker",)),
    Rule("lint.wildcard", _E, "a wildcard that RFC 9525 does not know matches no host", _REISSUE,
         _wildcard, ("broker",)),
    Rule("lint.dns-name", _E, "a DNS name is none, and matches no host", _REISSUE, _no_host_name,
         ("broker",)),
    Rule("lint.host-not-covered", _E, "the certificate is not for the host that boards connect to",
         _REISSUE, _host_not_covered, ("broker",)),
    Rule("lint.empty-subject", _E, "the subject is empty and the subject alternative name is not "
         "critical: boards refuse it", _REISSUE, _empty_subject,
         ("broker", "device", None)),
    Rule("lint.san-critical", _N, "the subject alternative name need not be critical where there "
         "is a subject (RFC 5280 section 4.2.1.6)", _REISSUE, _critical_beside_subject),
    Rule("lint.ca-without-subject", _E, "a CA without a subject cannot be anybody's issuer",
         _REISSUE, _empty_subject, ("ca",)),
    Rule("lint.no-issuer-name", _E, "the issuer is empty, so that no issuer is found", _REISSUE,
         _no_issuer_name),
    Rule("lint.no-common-name", _E, "a device without a common name has no user name at the "
         "broker: CONNACK 4", _REISSUE, _no_common_name, ("device",)),
    Rule("lint.no-common-name", _N, "the subject has no common name, by which people and logs "
         "tell certificates apart", _REISSUE, _no_common_name, ("ca", None)),
    Rule("lint.user-name", _W, "the common name becomes the user name and a level of topics, and "
         "has what they read as syntax", _REISSUE, _user_name, ("device",)),
)  # fmt: skip
