"""The server's Certificate, streamed into a buffer for each certificate.

A chain may be larger than the record buffer, and larger than any piece of free memory.
"""

from micropython import const

from keyfob.errors import KeyfobError

_MAX_CERTIFICATES = const(6)
_MAX_CERTIFICATE_BYTES = const(4096)
_MAX_CHAIN_BYTES = const(12_288)

_CONTEXT = const(0)
_LIST = const(1)
_LENGTH = const(2)
_CERTIFICATE = const(3)
_EXTENSIONS = const(4)


class CertificateList:
    """The server's Certificate, RFC 5246 section 7.4.2 and RFC 8446 section 4.4.2.

    ``chain``: the certificates as sent, each a bytearray. Errors: tls.malformed,
    tls.message-too-large, and tls.unknown-extension for an extension, as none is asked for.
    """

    def __init__(self, is_13: bool) -> None:
        self.chain: list = []
        self._is_13 = is_13
        self._stage = _CONTEXT if is_13 else _LIST
        self._left = 0  # of the message
        self._listed = 0
        self._number = 0
        self._digits = 1 if is_13 else 3  # bytes of a number that are still to come
        self._at = 0

    def begin(self, size: int) -> None:
        """A message of ``size`` bytes begins."""
        self._left = size

    def feed(self, view: memoryview) -> None:
        """Its next bytes."""
        at = 0
        size = len(view)
        self._left -= size
        while at < size:
            if self._stage == _CERTIFICATE:
                certificate = self.chain[-1]
                count = min(size - at, len(certificate) - self._at)
                certificate[self._at : self._at + count] = view[at : at + count]
                self._at += count
                at += count
                if self._at == len(certificate):
                    self._expect(_EXTENSIONS, 2) if self._is_13 else self._expect(_LENGTH, 3)
            else:
                self._number = self._number << 8 | view[at]
                at += 1
                self._digits -= 1
                if not self._digits:
                    self._end_number(self._number, self._left + size - at)

    def end(self) -> None:
        """The message is complete."""
        if self._stage != _LENGTH or self._digits != 3:
            raise KeyfobError("tls.malformed", "Certificate ends within a certificate")

    def _expect(self, stage: int, digits: int) -> None:
        self._stage = stage
        self._digits = digits
        self._number = 0

    def _end_number(self, number: int, left: int) -> None:
        """``left``: bytes of the message behind the number."""
        stage = self._stage
        if stage == _CONTEXT:
            if number:
                raise KeyfobError("tls.malformed", "certificate_request_context of %d" % number)
            self._expect(_LIST, 3)
        elif stage == _LIST:
            if number != left:
                detail = "certificate_list of %d bytes, %d are there" % (number, left)
                raise KeyfobError("tls.malformed", detail)
            self._expect(_LENGTH, 3)
        elif stage == _LENGTH:
            self._begin_certificate(number, left)
            self._expect(_CERTIFICATE, 0)
            self._at = 0
        else:
            if number:
                raise KeyfobError("tls.unknown-extension", "%d bytes in Certificate" % number)
            self._expect(_LENGTH, 3)

    def _begin_certificate(self, size: int, left: int) -> None:
        if not 0 < size <= left:
            raise KeyfobError("tls.malformed", "certificate of %d bytes, %d left" % (size, left))
        self._listed += size
        if (
            size > _MAX_CERTIFICATE_BYTES
            or self._listed > _MAX_CHAIN_BYTES
            or len(self.chain) == _MAX_CERTIFICATES
        ):
            detail = "chain of %d certificates, %d bytes" % (len(self.chain) + 1, self._listed)
            raise KeyfobError("tls.message-too-large", detail)
        self.chain.append(bytearray(size))
