"""A walk over DER that goes on where it can: X.690 sections 8 and 10.

Certificate libraries refuse the whole where one byte is wrong. Here what is not DER is
noted as a `Defect` with its offset, and only what leaves nothing to read is raised.
Content is not judged here, but for INTEGER and BOOLEAN.
"""

from __future__ import annotations

from dataclasses import dataclass, field

BOOLEAN, INTEGER, BIT_STRING, OCTET_STRING = 0x01, 0x02, 0x03, 0x04
NULL, OID, UTC_TIME, GENERALIZED_TIME = 0x05, 0x06, 0x17, 0x18
SEQUENCE, SET = 0x30, 0x31
_CONSTRUCTED = 0x20
_MULTI_BYTE_TAG = 0x1F
_MAX_LENGTH_BYTES = 4
_NAMES = {
    BOOLEAN: "BOOLEAN", INTEGER: "INTEGER", BIT_STRING: "BIT STRING", NULL: "NULL",
    OCTET_STRING: "OCTET STRING", OID: "OBJECT IDENTIFIER", UTC_TIME: "UTCTime",
    GENERALIZED_TIME: "GeneralizedTime", SEQUENCE: "SEQUENCE", SET: "SET",
}  # fmt: skip


@dataclass(frozen=True)
class Defect:
    """What is wrong, and at which byte of the DER."""

    offset: int
    what: str

    def __str__(self) -> str:
        return f"byte {self.offset}: {self.what}"


class MalformedError(Exception):
    """Nothing can be read from here on."""

    def __init__(self, offset: int, what: str) -> None:
        super().__init__(what)
        self.defect = Defect(offset, what)


@dataclass(frozen=True)
class Element:
    """Offsets: ``start`` of the tag, ``at`` of the content, ``end`` behind it."""

    tag: int
    start: int
    at: int
    end: int


@dataclass
class Walk:
    """Reads ``data``; ``defects`` are those met so far."""

    data: bytes
    defects: list[Defect] = field(default_factory=list)

    def note(self, offset: int, what: str) -> None:
        """Add a defect."""
        self.defects.append(Defect(offset, what))

    def element(self, at: int, end: int) -> Element:
        """The element at ``at``. Errors: `MalformedError` where it does not end before ``end``."""
        if end - at < 2:
            raise MalformedError(at, f"{end - at} bytes left, an element has at least 2")
        tag, size, start = self.data[at], self.data[at + 1], at + 2
        if tag & _MULTI_BYTE_TAG == _MULTI_BYTE_TAG:
            raise MalformedError(at, f"tag {tag:02x}, which nothing here has")
        if size == 0x80:
            raise MalformedError(at, "a length left open, which BER has and DER has not")
        if size > 0x80:
            count = size & 0x7F
            if count > _MAX_LENGTH_BYTES or start + count > end:
                raise MalformedError(at, f"a length of {count} bytes, {end - start} are left")
            size = int.from_bytes(self.data[start : start + count], "big")
            if size < 0x80 or size >> 8 * (count - 1) == 0:
                self.note(at, f"length {size} in {count} bytes, want the shortest form")
            start += count
        if start + size > end:
            raise MalformedError(at, f"{size} bytes of content, {end - start} are left")
        return Element(tag, at, start, start + size)

    def top(self) -> Element:
        """The SEQUENCE that is the whole of ``data``; bytes behind it are a defect."""
        found = self.expect(self.element(0, len(self.data)), SEQUENCE)
        if found.end < len(self.data):
            self.note(found.end, f"{len(self.data) - found.end} bytes behind the end")
        return found

    def children(self, parent: Element) -> list[Element]:
        """The elements of a constructed one's content."""
        if not parent.tag & _CONSTRUCTED:
            raise MalformedError(parent.start, f"{tag_name(parent.tag)}, which has no parts")
        found, at = [], parent.at
        while at < parent.end:
            found.append(self.element(at, parent.end))
            at = found[-1].end
        return found

    def expect(self, element: Element, tag: int) -> Element:
        """``element``, which must have ``tag``."""
        if element.tag != tag:
            raise MalformedError(
                element.start, f"{tag_name(element.tag)}, want {tag_name(tag)}"
            )  # fmt: skip
        return element

    def content(self, element: Element) -> bytes:
        """Its content."""
        return self.data[element.at : element.end]

    def whole(self, element: Element) -> bytes:
        """It with its header."""
        return self.data[element.start : element.end]

    def oid(self, element: Element) -> str:
        """``1.2.840…``"""
        content = self.content(self.expect(element, OID))
        if not content or content[-1] & 0x80:
            raise MalformedError(element.start, "an object identifier without an end")
        return oid_text(content)

    def integer(self, element: Element) -> int:
        """Its value; not in the shortest form is a defect."""
        content = self.content(self.expect(element, INTEGER))
        if not content:
            raise MalformedError(element.start, "an INTEGER of no byte")
        if len(content) > 1 and (content[0], content[1] >> 7) in ((0, 0), (0xFF, 1)):
            self.note(element.start, "an INTEGER with a byte more than it needs")
        return int.from_bytes(content, "big", signed=True)

    def boolean(self, element: Element) -> bool:
        """Its value; false, which is each default here, and a true other than ff are defects."""
        content = self.content(self.expect(element, BOOLEAN))
        if content != b"\xff":
            self.note(element.start, f"BOOLEAN {content.hex()}, want ff or none at all")
        return content not in (b"", b"\0")

    def bits(self, element: Element) -> bytes:
        """Whole bytes of a BIT STRING."""
        content = self.content(self.expect(element, BIT_STRING))
        if not content or content[0]:
            raise MalformedError(element.start, "a BIT STRING that is not of whole bytes")
        return content[1:]


def tag_name(tag: int) -> str:
    """How ASN.1 calls it."""
    return _NAMES.get(tag, f"tag {tag:02x}")


def oid_text(content: bytes) -> str:
    """The dotted form of an object identifier's content."""
    numbers, number = [], 0
    for byte in content:
        number = number << 7 | byte & 0x7F
        if byte < 0x80:
            numbers.append(number)
            number = 0
    first = min(numbers[0] // 40, 2)
    return ".".join(map(str, [first, numbers[0] - 40 * first, *numbers[1:]]))
