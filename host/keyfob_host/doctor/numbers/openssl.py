"""OpenSSL's reasons and verify results, as mosquitto, ``openssl`` and Python's ssl print them.

``error:0A000418:SSL routines::tlsv1 alert unknown ca`` has the reason 0x418 in its number: 3.x
packs library (20 is SSL) and reason as 23 bits below, 1.1.1 as 12 bits below a function's.
Reasons from 1000 on are alerts that came. The text of each is OpenSSL's own. `REASONS` are
those that boards cause, by text, as versions agree on texts more than on numbers.
"""

from __future__ import annotations

from keyfob_host.doctor.meaning import Entry, Meaning, meaning

SOURCE = "OpenSSL, SSL library"
VERIFY_SOURCE = "OpenSSL, certificate verification"

_SSL_LIBRARY = 20
ALERT_REASONS = 1000
_ANCHOR = "x509.wrong-anchor x509.missing-intermediate client-certificate.unknown-ca"
_PEER = "tls.damaged-record tcp.wrong-port"
_CLIENT = (
    "client-certificate.unknown-ca client-certificate.expired clock.broker-behind "
    "client-certificate.revoked client-certificate.crl-overdue client-certificate.wrong-usage "
    "x509.same-subject-twice x509.ca-without-ca-true"
)
# text: words, causes
_REASONS: dict[str, tuple[str, str]] = {
    "certificate verify failed": ("a certificate was looked at and refused; in a broker's log it "
                                  "is the client's", _CLIENT),
    "peer did not return a certificate": ("the client sent no certificate, and one is required",
                                          "client-certificate.not-sent"),
    "no shared cipher": ("client and broker have no cipher suite in common",
                         "tls.no-shared-cipher"),
    "no suitable signature algorithm": ("no signature algorithm fits both", "tls.no-shared-cipher"),
    "no shared signature algorithms": ("no signature algorithm in common", "tls.no-shared-cipher"),
    "no suitable key share": ("no key exchange group in common", "tls.no-shared-cipher"),
    "no shared groups": ("no key exchange group in common", "tls.no-shared-cipher"),
    "no ciphers available": ("the settings leave no cipher suite", "tls.no-shared-cipher"),
    "no cipher match": ("the cipher list names none that there is", "tls.no-shared-cipher"),
    "unsupported protocol": ("the other end offers no version of TLS that is allowed here",
                             "tls.version"),
    "version too low": ("the other end offers too old a version of TLS", "tls.version"),
    "no protocols available": ("the settings leave no version of TLS", "tls.version"),
    "unknown protocol": ("what came is no TLS", "tcp.wrong-port tls.version"),
    "wrong version number": ("what came is no TLS, as from a plain port", "tcp.wrong-port"),
    "wrong ssl version": ("a record is of another version than agreed", _PEER),
    "packet length too long": ("what came is no TLS, or too large", "tcp.wrong-port"),
    "http request": ("plain HTTP came to a TLS port", "tcp.wrong-port"),
    "https proxy request": ("a proxy request came to a TLS port", "tcp.wrong-port"),
    "bad signature": ("the other end's signature is wrong: its key is not its certificate's",
                      "client-certificate.key-mismatch"),
    "digest check failed": ("the two ends did not see the same handshake", "tls.damaged-record"),
    "bad record type": ("what came is no TLS record of this moment", _PEER),
    "unexpected message": ("a message came that does not belong there", _PEER),
    "unexpected record": ("a record came that does not belong there", _PEER),
    "decryption failed or bad record mac": ("a record's MAC is wrong", _PEER),
    "length mismatch": ("a message contradicts its length", _PEER),
    "unexpected eof while reading": (
        "the other end closed the connection in the middle of TLS",
        "x509.wrong-anchor store.wrong-form tls.heap-too-small firmware.crash store.truncated "
        "tls.no-server-name wifi.weak-signal"),
    "ee key too small": ("the certificate's key is too small", "x509.weak-algorithm"),
    "ca key too small": ("the CA's key is too small", "x509.weak-algorithm"),
    "ca md too weak": ("a certificate is signed with too weak a hash", "x509.weak-algorithm"),
    "dh key too small": ("the Diffie-Hellman parameters are too small", "x509.weak-algorithm"),
    "key values mismatch": ("certificate and key do not belong together", "tcp.listener-down"),
    "no start line": ("a PEM file lacks its first line: DER, empty, or another kind",
                      "store.wrong-form tcp.listener-down"),
    "bad end line": ("a PEM file lacks its last line", "store.truncated"),
    "bad decrypt": ("a key file is encrypted, and the password is another",
                    "store.wrong-form tcp.listener-down"),
    "no certificate assigned": ("there is a key and no certificate", "tcp.listener-down"),
    "unsafe legacy renegotiation disabled": ("the other end's TLS library is too old",
                                             "tls.version"),
    "no application protocol": ("no application protocol in common (ALPN)", "tls.alpn-refused"),
    "no renegotiation": ("the other end does not renegotiate", "tls.damaged-record"),
    "too many warn alerts": ("the other end sends warnings only", "tls.damaged-record"),
    "asn1 encoding routines::too long": ("a certificate that came is cut short",
                                         "store.truncated"),
    "wrong tag": ("DER that came is of something else", "store.wrong-form store.truncated"),
}  # fmt: skip
REASONS: dict[str, Entry] = {text: (text, *rest) for text, rest in _REASONS.items()}
_NUMBERS = {
    123: "bad signature", 134: "certificate verify failed",
    149: "digest check failed", 156: "http request", 155: "https proxy request",
    185: "no cipher match", 191: "no protocols available", 193: "no shared cipher",
    198: "packet length too long", 199: "peer did not return a certificate",
    235: "no application protocol", 244: "unexpected message", 245: "unexpected record",
    252: "unknown protocol", 258: "unsupported protocol", 266: "wrong ssl version",
    267: "wrong version number", 281: "decryption failed or bad record mac",
    294: "unexpected eof while reading", 338: "unsafe legacy renegotiation disabled",
    339: "no renegotiation", 376: "no shared signature algorithms", 394: "dh key too small",
    396: "version too low", 397: "ca key too small", 398: "ca md too weak",
    399: "ee key too small", 101: "no suitable key share", 118: "no suitable signature algorithm",
    181: "no ciphers available", 177: "no certificate assigned", 159: "length mismatch",
    409: "too many warn alerts", 410: "no shared groups", 443: "bad record type",
}  # fmt: skip
VERIFY: dict[int, Entry] = {
    2: ("unable to get issuer certificate", "the issuer of a certificate is not at hand", _ANCHOR),
    3: ("unable to get certificate CRL", "a CRL is required, and there is none of this CA",
        "client-certificate.crl-overdue"),
    7: ("certificate signature failure", "a certificate's signature is wrong", _ANCHOR),
    9: ("certificate is not yet valid", "a certificate is not valid yet by this machine's clock",
        "clock.broker-behind clock.issuer-ahead"),
    10: ("certificate has expired", "a certificate has expired by this machine's clock",
         "client-certificate.expired x509.broker-expired"),
    11: ("CRL is not yet valid", "the CRL is from the future", "clock.broker-behind"),
    12: ("CRL has expired", "the CRL is past its nextUpdate", "client-certificate.crl-overdue"),
    18: ("self-signed certificate", "the certificate is its own issuer and not trusted",
         "x509.wrong-anchor x509.same-subject-twice client-certificate.unknown-ca"),
    19: ("self-signed certificate in certificate chain", "the chain ends with a CA that is not "
         "trusted here", _ANCHOR),
    20: ("unable to get local issuer certificate", "the issuer is not among the trusted CAs",
         _ANCHOR),
    21: ("unable to verify the first certificate", "one certificate came, and its issuer is not "
         "at hand", "x509.missing-intermediate x509.wrong-anchor client-certificate.unknown-ca"),
    22: ("certificate chain too long", "the chain has more certificates than are followed",
         "tls.chain-over-buffer"),
    23: ("certificate revoked", "the certificate is on the CRL", "client-certificate.revoked"),
    24: ("issuer certificate doesn't have a public key", "a CA of the chain is none (1.1.1), "
         "or has no usable key (3.x)", "x509.ca-without-ca-true"),
    25: ("path length constraint exceeded", "more CAs than a CA of the chain allows",
         "x509.ca-without-ca-true"),
    26: ("unsuitable certificate purpose", "the certificate is not for this: client or server",
         "client-certificate.wrong-usage x509.broker-wrong-usage"),
    32: ("key usage does not include certificate signing", "a CA's key may not sign certificates",
         "x509.ca-without-ca-true"),
    62: ("hostname mismatch", "the name connected to is not in the certificate",
         "x509.name-not-in-san"),
    64: ("IP address mismatch", "the address connected to is not in the certificate",
         "x509.name-not-in-san"),
    66: ("EE certificate key too weak", "the certificate's key is too small",
         "x509.weak-algorithm"),
    67: ("CA certificate key too weak", "the CA's key is too small", "x509.weak-algorithm"),
    68: ("CA signature digest algorithm too weak", "a certificate is signed with too weak a hash",
         "x509.weak-algorithm"),
    79: ("invalid CA certificate", "a CA of the chain is none", "x509.ca-without-ca-true"),
}  # fmt: skip


def unpacked(number: int) -> int | None:
    """The SSL reason in a packed error number, of 3.x or 1.1.1; None if it is another library's."""
    if number >> 23 == _SSL_LIBRARY:
        return number & 0x7FFFFF
    if number >> 24 == _SSL_LIBRARY:
        return number & 0xFFF
    return None


def by_reason(number: int) -> list[Meaning]:
    """What the SSL reason ``number`` means, if it is one that boards cause and no alert."""
    text = _NUMBERS.get(number)
    return [] if text is None else by_text(text)


def by_text(text: str) -> list[Meaning]:
    """What a reason's own text means."""
    return [meaning(REASONS[text], SOURCE)] if text in REASONS else []


def verify(number: int) -> list[Meaning]:
    """What ``verify error:num=…`` means."""
    if number not in VERIFY:
        return []
    return [meaning(VERIFY[number], VERIFY_SOURCE, number=f"verify error {number}")]
