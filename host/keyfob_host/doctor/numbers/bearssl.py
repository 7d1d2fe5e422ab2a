"""BearSSL's errors: ``getLastSSLError()`` on ESP8266 Arduino, ``errorCode()`` on other Arduinos.

Numbers and names as in ``inc/bearssl_ssl.h`` and ``inc/bearssl_x509.h``; -1000 is the ESP8266
Arduino core's own. 256 and an alert: received from the broker; 512 and an alert: sent by the
board.
"""

from __future__ import annotations

from keyfob_host.doctor.meaning import Entry, Meaning, meaning
from keyfob_host.doctor.numbers import alerts

SOURCE = "BearSSL, the TLS of Arduino boards"

_PEER = "tls.damaged-record tcp.wrong-port"
_FORM = "x509.weak-algorithm store.truncated"
_RECEIVED, _SENT = 256, 512
_TABLE: dict[int, Entry] = {
    -1000: ("out of memory", "no memory for BearSSL's buffers", "tls.heap-too-small"),
    0: ("BR_ERR_OK", "no error so far; a connection that was never tried says so too", ""),
    1: ("BR_ERR_BAD_PARAM", "a function was called with something that it does not take", ""),
    2: ("BR_ERR_BAD_STATE", "a function was called at the wrong moment", ""),
    3: ("BR_ERR_UNSUPPORTED_VERSION", "the broker speaks a version of TLS that BearSSL does not, "
        "or no TLS", "tls.version tcp.wrong-port"),
    4: ("BR_ERR_BAD_VERSION", "a record is of another version than agreed", _PEER),
    5: ("BR_ERR_BAD_LENGTH", "a record's length cannot be", _PEER),
    6: ("BR_ERR_TOO_LARGE", "a record is larger than the receive buffer",
        "tls.chain-over-buffer"),
    7: ("BR_ERR_BAD_MAC", "a record's MAC is wrong", "tls.damaged-record"),
    8: ("BR_ERR_NO_RANDOM", "there is no randomness", ""),
    9: ("BR_ERR_UNKNOWN_TYPE", "what came is no TLS record", "tcp.wrong-port"),
    10: ("BR_ERR_UNEXPECTED", "a message came that does not belong there", _PEER),
    12: ("BR_ERR_BAD_CCS", "a ChangeCipherSpec is wrong", _PEER),
    13: ("BR_ERR_BAD_ALERT", "an alert has an odd length", _PEER),
    14: ("BR_ERR_BAD_HANDSHAKE", "a handshake message cannot be read", _PEER),
    15: ("BR_ERR_OVERSIZED_ID", "the session identifier is too long", _PEER),
    16: ("BR_ERR_BAD_CIPHER_SUITE", "the broker chose a cipher suite that was not offered",
         "tls.no-shared-cipher"),
    17: ("BR_ERR_BAD_COMPRESSION", "the broker wants compression", _PEER),
    18: ("BR_ERR_BAD_FRAGLEN", "the broker chose another fragment length",
         "tls.chain-over-buffer"),
    19: ("BR_ERR_BAD_SECRENEG", "secure renegotiation failed", _PEER),
    20: ("BR_ERR_EXTRA_EXTENSION", "the broker answered an extension that was not offered", _PEER),
    21: ("BR_ERR_BAD_SNI", "the broker's answer to the server name is wrong", "tls.no-server-name"),
    22: ("BR_ERR_BAD_HELLO_DONE", "the broker's ServerHelloDone is wrong", _PEER),
    23: ("BR_ERR_LIMIT_EXCEEDED", "the broker's key is larger than BearSSL takes",
         "tls.chain-over-buffer x509.weak-algorithm"),
    24: ("BR_ERR_BAD_FINISHED", "the two ends did not see the same handshake",
         "tls.damaged-record"),
    25: ("BR_ERR_RESUME_MISMATCH", "the resumed session is another", ""),
    26: ("BR_ERR_INVALID_ALGORITHM", "a curve, signature or hash that is not known here",
         "tls.no-shared-cipher x509.weak-algorithm"),
    27: ("BR_ERR_BAD_SIGNATURE", "a signature of the handshake is wrong",
         "tls.damaged-record client-certificate.key-mismatch"),
    28: ("BR_ERR_WRONG_KEY_USAGE", "the broker's key is of the wrong type or not for this",
         "tls.no-shared-cipher x509.broker-wrong-usage"),
    29: ("BR_ERR_NO_CLIENT_AUTH", "as a server: no valid client certificate came",
         "client-certificate.not-sent"),
    31: ("BR_ERR_IO", "the connection was closed or failed beneath TLS",
         "tcp.closed-by-peer tcp.wrong-port tcp.listener-down client-certificate.unknown-ca"),
    32: ("BR_ERR_X509_OK", "the certificate is good; no error", ""),
    33: ("BR_ERR_X509_INVALID_VALUE", "a value in a certificate cannot be", _FORM),
    34: ("BR_ERR_X509_TRUNCATED", "a certificate is cut short", "store.truncated"),
    35: ("BR_ERR_X509_EMPTY_CHAIN", "the broker sent no certificate", "tcp.listener-down"),
    36: ("BR_ERR_X509_INNER_TRUNC", "a certificate contradicts its lengths", _FORM),
    37: ("BR_ERR_X509_BAD_TAG_CLASS", "a certificate has a tag that is not known here", _FORM),
    38: ("BR_ERR_X509_BAD_TAG_VALUE", "a certificate has a tag that is not known here", _FORM),
    39: ("BR_ERR_X509_INDEFINITE_LENGTH", "a certificate is not DER", _FORM),
    40: ("BR_ERR_X509_EXTRA_ELEMENT", "a certificate has something too much", _FORM),
    41: ("BR_ERR_X509_UNEXPECTED", "a certificate has something in the wrong place", _FORM),
    42: ("BR_ERR_X509_NOT_CONSTRUCTED", "a certificate is not DER", _FORM),
    43: ("BR_ERR_X509_NOT_PRIMITIVE", "a certificate is not DER", _FORM),
    44: ("BR_ERR_X509_PARTIAL_BYTE", "a bit string has a broken byte", _FORM),
    45: ("BR_ERR_X509_BAD_BOOLEAN", "a boolean has a wrong length", _FORM),
    46: ("BR_ERR_X509_OVERFLOW", "a value is too large", _FORM),
    47: ("BR_ERR_X509_BAD_DN", "a name in a certificate cannot be read", _FORM),
    48: ("BR_ERR_X509_BAD_TIME", "a date in a certificate cannot be read", _FORM),
    49: ("BR_ERR_X509_UNSUPPORTED", "a certificate has what BearSSL does not take",
         "x509.weak-algorithm"),
    50: ("BR_ERR_X509_LIMIT_EXCEEDED", "a key or signature is larger than BearSSL takes",
         "x509.weak-algorithm"),
    51: ("BR_ERR_X509_WRONG_KEY_TYPE", "a key is of another type than expected",
         "tls.no-shared-cipher"),
    52: ("BR_ERR_X509_BAD_SIGNATURE", "a certificate's signature is wrong", "x509.wrong-anchor"),
    53: ("BR_ERR_X509_TIME_UNKNOWN", "the board does not know the time", "clock.board-never-set"),
    54: ("BR_ERR_X509_EXPIRED", "a certificate is expired or not yet valid by the board's clock",
         "clock.board-never-set x509.broker-expired clock.board-ahead clock.issuer-ahead"),
    55: ("BR_ERR_X509_DN_MISMATCH", "issuer and subject in the chain do not fit",
         "x509.missing-intermediate x509.wrong-anchor"),
    56: ("BR_ERR_X509_BAD_SERVER_NAME", "the name connected to is not in the certificate; an IP "
         "address never is for BearSSL", "x509.name-not-in-san"),
    57: ("BR_ERR_X509_CRITICAL_EXTENSION", "a certificate has a critical extension that is not "
         "known here", "x509.weak-algorithm"),
    58: ("BR_ERR_X509_NOT_CA", "a CA of the chain is none, or too deep",
         "x509.ca-without-ca-true"),
    59: ("BR_ERR_X509_FORBIDDEN_KEY_USAGE", "the key usage forbids what the key is used for",
         "x509.broker-wrong-usage x509.ca-without-ca-true"),
    60: ("BR_ERR_X509_WEAK_PUBLIC_KEY", "a key is too small", "x509.weak-algorithm"),
    62: ("BR_ERR_X509_NOT_TRUSTED", "the chain leads to no trust anchor of the board",
         "x509.wrong-anchor x509.missing-intermediate x509.same-subject-twice"),
}  # fmt: skip
_BY_NAME = {entry[0]: number for number, entry in _TABLE.items()}


def readings(number: int) -> list[Meaning]:
    """What BearSSL means by ``number``."""
    if number in _TABLE:
        return [meaning(_TABLE[number], SOURCE, number=str(number))]
    for offset, base, sender in ((_RECEIVED, "RECV", "broker"), (_SENT, "SEND", "board")):
        if 0 < number - offset < 256:
            return [
                Meaning(f"BR_ERR_{base}_FATAL_ALERT ({number}): {one.name}", SOURCE, one.words,
                        one.causes)
                for one in alerts.readings(number - offset, sender)
            ]  # fmt: skip
    return []


def by_name(name: str) -> list[Meaning]:
    """The meaning of a name, as ``BR_ERR_X509_EXPIRED``."""
    number = _BY_NAME.get(name)
    return [] if number is None else readings(number)
