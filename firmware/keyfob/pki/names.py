"""Whether a certificate is for the host that we connect to: RFC 9525, RFC 6125.

Only the subject alternative name counts, never the common name. A host that is an
IPv4 or IPv6 address needs that address, any other a DNS name: equal without regard to
case, or with a wildcard as the whole left-most label, which stands for exactly one
label, and has at least two labels behind it.

Not done: Unicode. Host and certificate carry A-labels, or they do not match.
"""

from micropython import const

from keyfob.errors import KeyfobError
from keyfob.pki.fields import Fields
from keyfob.pki.general_names import alternative_names

_DNS = const(0x82)
_IP = const(0x87)


def check_host(fields: Fields, host: str) -> None:
    """Errors: x509.no-san, x509.wrong-name."""
    address = address_of(host)
    wanted = host.lower().encode()
    if wanted[-1:] == b".":
        wanted = wanted[:-1]  # an absolute name; certificates never have the dot
    if not _is_host_name(wanted):
        wanted = b""
    has_names = False
    for tag, content in alternative_names(fields):
        if tag == _DNS:
            has_names = True
            if address is None and matches(bytes(content).lower(), wanted):
                return
        elif tag == _IP:
            has_names = True
            if address is not None and content == address:
                return
    if not has_names:
        raise KeyfobError("x509.no-san", "wanted " + host)
    from keyfob.pki.certificate import host_names

    names = " ".join(host_names(fields))
    raise KeyfobError("x509.wrong-name", "wanted %s, certificate for %s" % (host, names))


def matches(pattern: bytes, host: bytes) -> bool:
    """Whether ``pattern`` of a certificate is for ``host``; both in small letters."""
    if not host or pattern == host:
        return bool(host)
    dot = host.find(b".")
    return (
        pattern[:2] == b"*." and dot > 0 and host[dot:] == pattern[1:] and pattern.find(b".", 2) > 2
    )


def _is_host_name(name: bytes) -> bool:
    """Only letters, digits, hyphens, dots, and the underscore that some hosts have."""
    return all(0x61 <= byte <= 0x7A or 0x30 <= byte <= 0x39 or byte in b"-._" for byte in name)


def address_of(host: str):
    """The 4 or 16 bytes of an address in text; None for anything else."""
    if host.find(":") >= 0:
        return _address6_of(host)
    numbers = host.split(".")
    if len(numbers) != 4:
        return None
    for number in numbers:
        if not _is_number(number) or int(number) > 255:
            return None
    return bytes(int(number) for number in numbers)


def _is_number(text: str) -> bool:
    # No zeros in front: some resolvers take them for octal.
    if not 1 <= len(text) <= 3 or (text[:1] == "0" and text != "0"):
        return False
    return not text.strip("0123456789")


def _address6_of(host: str):
    """RFC 4291 section 2.2: groups, one ``::``, and perhaps an IPv4 address at the end."""
    tail = b""
    colon = host.rfind(":")
    if host.find(".") >= 0:
        embedded = address_of(host[colon + 1 :])
        if embedded is None:
            return None
        tail = embedded
        # What is in front of the address, without its colon unless that is of a "::".
        host = host[: colon + 1] if host[colon - 1 : colon] == ":" else host[:colon]
    gap = host.find("::")
    if gap < 0:
        head = _groups_of(host)
        return head + tail if head and len(head + tail) == 16 else None
    head = _groups_of(host[:gap]) if gap else b""
    rest = host[gap + 2 :]
    middle = _groups_of(rest) if rest else b""
    if head is None or middle is None:
        return None
    zeros = 16 - len(head) - len(middle) - len(tail)
    # "::" stands for at least one group.
    return head + bytes(zeros) + middle + tail if zeros >= 2 else None


def _groups_of(text: str):
    groups = bytearray()
    for group in text.lower().split(":"):
        if not 1 <= len(group) <= 4 or group.strip("0123456789abcdef"):
            return None
        value = int(group, 16)
        groups.append(value >> 8)
        groups.append(value & 0xFF)
    return bytes(groups)
