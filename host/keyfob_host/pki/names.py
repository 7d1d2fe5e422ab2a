"""What may stand in a certificate as a name: device ids, broker names, SANs.

`check_*` judges and raises, `parse_san` turns text into a SAN entry. Whether a name
resolves, or whether its owner agrees, is not checked here.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

from cryptography import x509

from keyfob_host.errors import ExitStatus, KeyfobHostError

# ub-common-name, RFC 5280 appendix A.1. The ids below are ASCII, so bytes = characters.
MAX_COMMON_NAME = 64
MAX_CRL_URL = 255
_BOUNDS = {"country": 2, "state": 128, "locality": 128}
_PRINTABLE = {
    "country": ("[A-Z]{2}", "capital letters (ISO 3166)"),
    "serial_number": (r"[A-Za-z0-9 '()+,./:=?-]+", "of A-Z a-z 0-9 space '()+,-./:=?"),
}

# The host's own identity: the broker's ACL gives this user name every topic.
HOST_ID = "keyfob-host"

# An id becomes a folder, a subject, an MQTT user name, a client id and one topic
# level, so it has nothing that any of them reads as syntax: no / + # $, no spaces,
# no leading dot or hyphen.
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*")
_ID_RULE = "letters, digits and . _ : -, first a letter or digit, at most 64 characters"
_LABEL = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)")
# RFC 3986: a scheme, then the characters that need no percent-encoding, and percent.
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,31}:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]{1,255}")
_URL = re.compile(r"https?://[A-Za-z0-9.\[\]:-]+(/[A-Za-z0-9._~:/?@!$&'()*+,;=%-]*)?")


def is_id(text: str) -> bool:
    """Whether a device or a broker may be called so."""
    return bool(_ID.fullmatch(text)) and len(text) <= MAX_COMMON_NAME


def check_device_id(device_id: str) -> None:
    """Raise ``cert.bad-id`` unless ``device_id`` can be a CN, a user name and a topic level."""
    _check_id(device_id, "device id", "keyfob cert device sensor-01")
    _refuse_host(device_id)


def check_broker_name(name: str) -> None:
    """Raise ``cert.bad-id``, ``cert.reserved-id`` unless ``name`` can be a CN and a folder."""
    _check_id(name, "broker name", "keyfob cert broker broker.keyfob.test")
    _refuse_host(name)


def check_end_entity_name(common_name: str, *, is_device: bool) -> None:
    """Raise unless what a profile made of a good id or name is still good as a common name.

    mosquitto takes it for the user name, to which its ACL gives a topic level, and to that
    of the host every topic. Errors: ``cert.bad-id``, ``cert.reserved-id``.
    """
    if is_device:
        what = "common name, which is the device's user name and topic level"
        _check_id(common_name, what, 'common_name = "{name}" in the profile')
    _refuse_host(common_name)


def _refuse_host(name: str) -> None:
    if name.casefold() == HOST_ID:
        raise KeyfobHostError(
            "cert.reserved-id",
            f"{HOST_ID} is the host's own identity, with the right to write every topic",
            evidence=repr(name),
            fix="choose another id: keyfob cert device sensor-01",
            status=ExitStatus.IDENTITY,
        )


def _check_id(text: str, what: str, example: str) -> None:
    if is_id(text):
        return
    if not text:
        seen = "it is empty"
    elif len(text) > MAX_COMMON_NAME:
        seen = f"{text[:20]!r}… has {len(text)} characters"
    else:
        wrong = next(
            (c for c in text if not re.fullmatch(r"[A-Za-z0-9._:-]", c)),
            text[0],
        )
        seen = f"{wrong!r} in {text!r}"
    raise KeyfobHostError(
        "cert.bad-id",
        f"this cannot be a {what}: allowed are {_ID_RULE}",
        evidence=seen,
        fix=f"for example: {example}",
        status=ExitStatus.IDENTITY,
    )


def check_common_name(name: str) -> None:
    """Raise ``cert.bad-common-name`` unless ``name`` can be an authority's common name."""
    if name.strip() == name and 0 < len(name) <= MAX_COMMON_NAME and name.isprintable():
        return
    raise KeyfobHostError(
        "cert.bad-common-name",
        "a common name has 1 to 64 printable characters, and no space at either end",
        evidence=f"{name[:80]!r} ({len(name)} characters)",
        fix='keyfob ca init --common-name "My bench CA"',
        status=ExitStatus.IDENTITY,
    )


def check_subject_value(field: str, value: str) -> None:
    """Raise ``cert.bad-subject`` unless ``value`` can be this attribute of a subject.

    ``field``: as a profile names it. RFC 5280 appendix A.1: upper bounds in characters,
    and a PrintableString for country and serial number.
    """
    bound = _BOUNDS.get(field, MAX_COMMON_NAME)
    pattern, wanted = _PRINTABLE.get(field, (None, "printable, no space at either end"))
    is_good = value.isprintable() and value.strip() == value and 0 < len(value) <= bound
    if is_good and (pattern is None or re.fullmatch(pattern, value)):
        return
    raise KeyfobHostError(
        "cert.bad-subject",
        f"{field} of a subject must be 1 to {bound} characters, {wanted}",
        evidence=f"{value[:80]!r}: {len(value)} characters",
        fix="choose a shorter or plainer one, in [subject] of the profile or with --var",
        status=ExitStatus.IDENTITY,
    )


def check_crl_url(url: str) -> None:
    """Raise ``cert.bad-crl-url`` unless clients can fetch a CRL from ``url``.

    RFC 5280 section 4.2.1.13. Without TLS is as good: the CRL is signed, and fetching it
    over TLS would need the very check it is for.
    """
    if _URL.fullmatch(url) and len(url) <= MAX_CRL_URL:
        return
    raise KeyfobHostError(
        "cert.bad-crl-url",
        "a CRL distribution point is an address with http:// or https://",
        evidence=repr(url),
        fix='for example: crl_distribution_point = "http://ca.example.org/ca.crl"',
        status=ExitStatus.IDENTITY,
    )


def is_dns_name(text: str) -> bool:
    """Whether ``text`` is a host name (RFC 1123), without a wildcard and not an IPv4 address."""
    labels = text.split(".")
    # A last label of digits only would be read as (a part of) an IPv4 address.
    return (
        len(text) <= 253
        and all(_LABEL.fullmatch(label) for label in labels)
        and not labels[-1].isdigit()
    )


def parse_san(text: str) -> x509.GeneralName:
    """``DNS:name``, ``IP:address``, ``URI:uri``, a bare name or address as a SAN entry.

    A wildcard may only be the whole left-most label, before at least two more
    (RFC 9525 section 6.3). Error: ``cert.bad-san``.
    """
    kind, separator, rest = text.partition(":")
    kind = kind.upper()
    if separator and kind == "DNS":
        return _dns(rest, text)
    if separator and kind == "IP":
        return _ip(rest, text)
    if separator and kind == "URI":
        if not _URI.fullmatch(rest):
            raise _bad_san(text, "not a URI (RFC 3986)")
        return x509.UniformResourceIdentifier(rest)
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return _dns(text, text)
    return _ip(text, text)


def parse_sans(texts: Iterable[str]) -> list[x509.GeneralName]:
    """`parse_san` of each, without repetitions, in the order given."""
    return list(dict.fromkeys(parse_san(text) for text in texts))


def host_san(name: str) -> x509.GeneralName | None:
    """``name`` itself as a SAN entry, or None where it is neither DNS name nor IP address."""
    try:
        return parse_san(name)
    except KeyfobHostError:
        return None


def san_text(name: x509.GeneralName) -> str:
    """``DNS:…``, ``IP:…`` or ``URI:…``, as `parse_san` reads it."""
    if isinstance(name, x509.DNSName):
        return f"DNS:{name.value}"
    if isinstance(name, x509.IPAddress):
        return f"IP:{name.value}"
    if isinstance(name, x509.UniformResourceIdentifier):
        return f"URI:{name.value}"
    return f"{type(name).__name__}:{name.value}"


def same_name(one: x509.Name, other: x509.Name) -> bool:
    """Whether two distinguished names are one to a verifier.

    Case and white space do not count (RFC 5280 section 7.1), which is how OpenSSL
    compares; a path through two such certificates is taken for self-issued.
    """
    return _canonical(one) == _canonical(other)


def _canonical(name: x509.Name) -> list[tuple[str, str]]:
    return [
        (attribute.oid.dotted_string, " ".join(str(attribute.value).casefold().split()))
        for attribute in name
    ]


def _dns(value: str, text: str) -> x509.DNSName:
    host = value[2:] if value.startswith("*.") else value
    if not is_dns_name(host) or (host is not value and "." not in host):
        if not value.isascii() and value.isprintable():
            raise _bad_san(text, "a DNS name in a certificate is ASCII, as xn--… (RFC 5890)")
        raise _bad_san(text, "not a DNS name; a wildcard may only be the whole first label")
    return x509.DNSName(value.lower())


def _ip(value: str, text: str) -> x509.IPAddress:
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        raise _bad_san(text, "not an IPv4 or IPv6 address") from None
    if getattr(address, "scope_id", None) is not None:
        raise _bad_san(text, "a zone (%eth0) has a meaning on one machine only")
    return x509.IPAddress(address)


def _bad_san(text: str, why: str) -> KeyfobHostError:
    return KeyfobHostError(
        "cert.bad-san",
        f"this cannot be a subject alternative name: {why}",
        evidence=repr(text),
        fix="--san DNS:broker.example.org --san IP:192.0.2.7",
        status=ExitStatus.IDENTITY,
    )
