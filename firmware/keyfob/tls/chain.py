"""What the TLS engine's verify callback sees of the broker's chain.

RFC 5280 sections 4.1.2.1 (version) and 4.2.1.6 (SAN), RFC 6125 section 6.4.4. It is
stricter than mbedTLS in two points, keeps the evidence that mbedTLS's verdict
lacks, and proves that a chain was judged at all. Not checked here: signatures,
dates, names, usages, path length; those verdicts are the engine's.
"""

from keyfob.errors import KeyfobError
from keyfob.pki.certificate import Certificate, date_text


class Chain:
    """What the engine's verify callback saw: proof that it verifies, and evidence.

    The callback cannot make mbedTLS accept anything (its verdict is kept in flags that
    MicroPython does not hand out); it can only refuse more.
    """

    def __init__(self, host: str, now_s: int, identity) -> None:
        """``identity``: `keyfob.store.Identity`, whose trust anchors evidence may name."""
        self.error: KeyfobError | None = None
        self.was_judged = False
        self._host = host
        self._now_s = now_s
        self._identity = identity
        self._dates = ""
        self._issuer = ""
        self._top = -1
        self._names: list[str] = []

    def see(self, der: memoryview, depth: int) -> int:
        """Called for each certificate, trust anchor first; not 0 refuses the chain."""
        try:
            self._check(Certificate(der), depth)
        except KeyfobError as error:
            self.error = error
        except MemoryError:
            self.error = KeyfobError("tls.no-memory", "reading the broker's chain")
        return -1 if self.error else 0

    def _check(self, certificate: Certificate, depth: int) -> None:
        if certificate.version != 3:
            # mbedTLS would take a version 1 trust anchor for a CA: no basic constraints.
            raise KeyfobError("x509.not-v3", "depth %d: version %d" % (depth, certificate.version))
        first_s, last_s = certificate.not_before_s, certificate.not_after_s
        if not first_s <= self._now_s <= last_s:
            self._dates = "%r is valid from %s to %s, clock %s" % (
                certificate.subject,
                date_text(first_s),
                date_text(last_s),
                date_text(self._now_s),
            )
        if depth > self._top:
            self._top, self._issuer = depth, certificate.issuer
        if depth == 0:
            if not certificate.names:
                # mbedTLS would fall back to the common name; RFC 6125 section 6.4.4.
                raise KeyfobError("x509.no-san", "wanted " + self._host)
            self._names = certificate.names
            self.was_judged = True

    def evidence(self, code: str) -> str:
        """Seen against expected, for a chain refused with ``code``."""
        if code in ("x509.expired", "x509.not-yet-valid") and self._dates:
            return self._dates
        if code == "x509.untrusted":
            return "chain ends with issuer %r, trust anchors %s" % (self._issuer, self._anchors())
        return "wanted %s, certificate for %s" % (self._host, " ".join(self._names))

    def _anchors(self) -> str:
        texts = []
        for name in self._identity.names("ca"):
            try:
                texts.append(repr(Certificate(self._identity.read(name)).subject))
            except KeyfobError as error:
                texts.append("%s (%s)" % (name, error.code))
        return ", ".join(texts)
