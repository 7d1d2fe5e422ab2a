"""Name constraints: RFC 5280 section 4.2.1.10. Imported when a CA has some.

DNS names, IP addresses and permitted directory names (compared byte by byte, from the
left) are processed. A certificate with a name of any other form that is constrained,
or below an excluded directory name, is refused: what cannot be judged is not passed.

Not constrained: the common name, which is never used as a host's name.
"""

from micropython import const

from keyfob.errors import KeyfobError
from keyfob.pki.certificate import general_name_text, who
from keyfob.pki.der import Reader, hex_text
from keyfob.pki.fields import Fields
from keyfob.pki.general_names import alternative_names, read_general_name

_SEQUENCE = const(0x30)
_PERMITTED = const(0xA0)
_EXCLUDED = const(0xA1)
_RFC822 = const(0x81)
_DNS = const(0x82)
_DIRECTORY = const(0xA4)
_IP = const(0x87)
_EMPTY_NAME = b"\x30\x00"
_EMAIL_OID = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x09\x01"


class NameConstraints:
    """Those of one CA."""

    def __init__(self, issuer: Fields) -> None:
        """``issuer``: has some. Errors: x509.malformed."""
        self._issuer = issuer
        self._subtrees: list[tuple] = []  # (whether excluded, tag, base)
        reader = Reader(issuer.name_constraints or b"")
        behind = reader.enter(_SEQUENCE)
        for tag in (_PERMITTED, _EXCLUDED):
            if reader.peek() == tag:
                outer = reader.enter(tag)
                self._read_subtree(reader, tag == _EXCLUDED)
                while reader.at < reader.end:
                    self._read_subtree(reader, tag == _EXCLUDED)
                reader.leave(outer)
        if not self._subtrees:
            reader.fail("name constraints without one")
        reader.leave(behind)
        reader.finish()

    def _read_subtree(self, reader: Reader, is_excluded: bool) -> None:
        outer = reader.enter(_SEQUENCE)
        tag, base = read_general_name(reader)
        reader.leave(outer)  # minimum and maximum are never there
        if tag == _IP:
            _check_mask(reader, base)
        elif tag == _DNS:
            base = bytes(base).lower()
            # One that is no name of hosts would exclude nothing.
            name = base[1:] if base[:1] == b"." else base
            if name.find(b"*") >= 0 or _has_empty_label(name):
                reader.fail("DNS name %r constrained" % base[:64])
        self._subtrees.append((is_excluded, tag, base))

    def check(self, fields: Fields, left: int) -> int:
        """Refuse the certificate for a name that the CA may not issue for.

        ``left``: how many more comparisons may be made; returns what is left of them.
        Errors: x509.name-not-permitted, x509.unsupported-constraint, x509.too-many-checks.
        """
        for tag, name in alternative_names(fields):
            left = self._check_name(tag, name, left)
        subject = fields.subject_name
        if subject != _EMPTY_NAME:
            left = self._check_name(_DIRECTORY, subject, left)
            if bytes(subject).find(_EMAIL_OID) >= 0:
                left = self._check_name(_RFC822, subject, left)
        return left

    def _check_name(self, tag: int, name, left: int) -> int:
        left -= len(self._subtrees)
        if left < 0:
            raise KeyfobError("x509.too-many-checks", "%s: %d name constraints too many" % (
                who(self._issuer), -left
            ))  # fmt: skip
        if tag == _DNS:
            name = bytes(name).lower()
        is_constrained = is_permitted = False
        for is_excluded, kind, base in self._subtrees:
            if kind != tag:
                continue
            if tag == _DNS:
                is_within = _is_dns_within(name, base, is_excluded)
            elif tag == _IP:
                is_within = _is_address_within(name, base)
            elif tag == _DIRECTORY and not is_excluded:
                is_within = _rdns(name)[: len(_rdns(base))] == _rdns(base)
            else:
                raise KeyfobError(
                    "x509.unsupported-constraint",
                    "%s constrains names of form %d, seen %s"
                    % (who(self._issuer), tag, hex_text(name)),
                )
            if is_excluded and is_within:
                self._refuse(tag, name, "excludes", base)
            if not is_excluded:
                is_constrained = True
                is_permitted = is_permitted or is_within
                last = base
        if is_constrained and not is_permitted:
            self._refuse(tag, name, "permits, among others,", last)
        return left

    def _refuse(self, tag: int, name, verb: str, base) -> None:
        texts = (
            general_name_text(tag, name),
            who(self._issuer),
            verb,
            general_name_text(tag, base),
        )
        raise KeyfobError("x509.name-not-permitted", "name %s; %s %s %s" % texts)


def _rdns(name) -> memoryview:
    """The content of a Name."""
    reader = Reader(name)
    content = reader.take(_SEQUENCE)
    reader.finish()
    return content


def _check_mask(reader: Reader, base) -> None:
    """An address and a mask of the same size, ones before zeros (RFC 4632)."""
    half = len(base) // 2
    if len(base) not in (8, 32):
        reader.fail("address and mask of %d bytes, want 8 or 32" % len(base))
    mask = int.from_bytes(base[half:], "big") ^ ((1 << 8 * half) - 1)
    if mask & (mask + 1):
        reader.fail("mask %s, want ones before zeros" % hex_text(base[half:]))


def _is_address_within(address, base) -> bool:
    size = len(address)
    if len(base) != 2 * size:
        return False
    return all((address[at] ^ base[at]) & base[size + at] == 0 for at in range(size))


def _is_dns_within(name: bytes, base: bytes, is_excluded: bool) -> bool:
    """Whether ``name`` is ``base`` with any number of labels more to the left.

    A dot in front of ``base``, which RFC 5280 has for URIs only but CAs use, asks for one
    label more. Of a wildcard all names are permitted, or one of them is excluded. What is
    no DNS name, for an empty label, is excluded and never permitted.
    """
    if _has_empty_label(name):
        return is_excluded
    if is_excluded:
        if base[:1] == b".":
            base = base[1:]
        if name[:2] == b"*." and base.find(b".") >= 0 and base[base.find(b".") :] == name[1:]:
            return True
    if not base or name == base:
        return True
    return name.endswith(base if base[:1] == b"." else b"." + base)


def _has_empty_label(name: bytes) -> bool:
    return name[:1] == b"." or name[-1:] == b"." or name.find(b"..") >= 0
