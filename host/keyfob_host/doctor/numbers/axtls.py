"""axTLS's errors: the TLS of MicroPython on ESP8266, and of old Arduino cores.

Numbers as in axTLS's ``ssl/ssl.h`` and ``ssl/crypto_misc.h``; the names in quotes are those
that MicroPython (``extmod/modtls_axtls.c``) raises with them. An alert that the broker sends
comes out as its number below zero, and a refused certificate as -512 and a small number; the
MicroPython build does not verify, so the latter is met in other firmware only.
"""

from __future__ import annotations

from keyfob_host.doctor.meaning import Entry, Meaning, meaning
from keyfob_host.doctor.numbers import alerts

SOURCE = "axTLS, the TLS of MicroPython on ESP8266"

_PEER = "tls.damaged-record tcp.wrong-port"
_LOST = (
    "client-certificate.unknown-ca client-certificate.expired client-certificate.key-mismatch "
    "tcp.closed-by-peer tcp.wrong-port tls.heap-too-small store.truncated clock.broker-behind "
    "client-certificate.revoked client-certificate.wrong-usage mqtt.same-client-id tcp.silent"
)
_TABLE: dict[int, Entry] = {
    -1: ("NOT_OK", "something failed, without detail", _LOST),
    -2: ("DEAD", "the connection is dead: the other end closed it, or sent an alert before", _LOST),
    -3: ("CLOSE_NOTIFY", "the other end closed the connection in good order",
         "mqtt.same-client-id authorization.cloud-policy traffic.keep-alive"),
    -4: ("EAGAIN", "nothing is wrong: it has to be called again", ""),
    -256: ("CONN_LOST", "the connection was closed or reset, and axTLS did not read why", _LOST),
    -257: ("RECORD_OVERFLOW", "a record of the broker's is larger than the board's buffer",
           "tls.chain-over-buffer"),
    -258: ("SOCK_SETUP_FAILURE", "the socket could not be made", "tcp.listener-down"),
    -260: ("INVALID_HANDSHAKE", "a handshake message is wrong, or not for this moment", _PEER),
    -261: ("INVALID_PROT_MSG", "what came is no TLS record", "tcp.wrong-port tls.damaged-record"),
    -262: ("INVALID_HMAC", "a record's MAC is wrong", "tls.damaged-record"),
    -263: ("INVALID_VERSION", "the broker chose a version of TLS that axTLS does not speak",
           "tls.version tcp.wrong-port"),
    -264: ("UNSUPPORTED_EXTENSION", "the broker answered an extension that was not offered", _PEER),
    -265: ("INVALID_SESSION", "the resumed session is another", ""),
    -266: ("NO_CIPHER", "the broker chose a cipher suite that axTLS does not have",
           "tls.no-shared-cipher"),
    -267: ("INVALID_CERT_HASH_ALG", "the broker asked for a certificate or signature that "
           "axTLS cannot make", "client-certificate.not-sent x509.weak-algorithm"),
    -268: ("BAD_CERTIFICATE", "a certificate cannot be read",
           "x509.weak-algorithm store.truncated"),
    -269: ("INVALID_KEY", "the private key cannot be used", "store.key-type store.wrong-form"),
    -271: ("FINISHED_INVALID", "the two ends did not see the same handshake", "tls.damaged-record"),
    -272: ("NO_CERT_DEFINED", "a certificate is needed and none is set",
           "client-certificate.not-sent"),
    -273: ("NO_CLIENT_RENOG", "the broker wants to renegotiate", ""),
    -274: ("NOT_SUPPORTED", "this build of axTLS lacks what was asked for", "tls.no-shared-cipher"),
}  # fmt: skip
_X509: dict[int, Entry] = {
    -1: ("X509_NOT_OK", "a certificate cannot be read", "store.wrong-form store.truncated"),
    -2: ("X509_VFY_ERROR_NO_TRUSTED_CERT", "no trust anchor fits",
         "x509.wrong-anchor x509.missing-intermediate"),
    -3: ("X509_VFY_ERROR_BAD_SIGNATURE", "a certificate's signature is wrong", "x509.wrong-anchor"),
    -4: ("X509_VFY_ERROR_NOT_YET_VALID", "a certificate is not valid yet",
         "clock.board-never-set clock.issuer-ahead"),
    -5: ("X509_VFY_ERROR_EXPIRED", "a certificate has expired",
         "x509.broker-expired clock.board-ahead"),
    -6: ("X509_VFY_ERROR_SELF_SIGNED", "the certificate is self-signed and no trust anchor",
         "x509.wrong-anchor x509.same-subject-twice"),
    -7: ("X509_VFY_ERROR_INVALID_CHAIN", "the chain does not hold together",
         "x509.missing-intermediate"),
    -8: ("X509_VFY_ERROR_UNSUPPORTED_DIGEST", "a certificate is signed with an unknown hash",
         "x509.weak-algorithm"),
    -9: ("X509_INVALID_PRIV_KEY", "the private key cannot be read",
         "store.key-type store.wrong-form"),
    -10: ("X509_MAX_CERTS", "more certificates than axTLS holds", "tls.chain-over-buffer"),
    -11: ("X509_VFY_ERROR_BASIC_CONSTRAINT", "a CA of the chain is none",
          "x509.ca-without-ca-true"),
}  # fmt: skip
_X509_OFFSET = -512
_BY_NAME = {entry[0]: number for number, entry in _TABLE.items()}


def readings(number: int) -> list[Meaning]:
    """What axTLS means by ``number``, below zero."""
    if number in _TABLE:
        return [meaning(_TABLE[number], SOURCE, number=str(number))]
    if number - _X509_OFFSET in _X509:
        return [meaning(_X509[number - _X509_OFFSET], SOURCE, number=str(number))]
    if -128 < number < 0:
        return [
            Meaning(f"{one.name} ({number})", SOURCE, one.words, one.causes)
            for one in alerts.readings(-number, "broker")
        ]
    return []


def by_name(name: str) -> list[Meaning]:
    """The meaning of a name that MicroPython raises with it, as ``CONN_LOST``."""
    number = _BY_NAME.get(name)
    return [] if number is None else readings(number)
