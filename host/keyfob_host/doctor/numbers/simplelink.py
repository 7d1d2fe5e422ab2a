"""TI SimpleLink's errors (CC3200, CC3220): what ``sl_Connect`` and Paho's wrapper give back.

Numbers and names as in the SDK's ``socket.h`` for CC3100 and CC3200. -300 less an alert's
number is that alert, received from the broker.
"""

from __future__ import annotations

from keyfob_host.doctor.meaning import Entry, Meaning, meaning
from keyfob_host.doctor.numbers import alerts

SOURCE = "TI SimpleLink, the network of CC3200 boards"

_FILE = "store.wrong-form store.truncated"
_ALERTS_FROM = -300
_TABLE: dict[int, Entry] = {
    -150: ("SL_ESEC_ASN_BEFORE_DATE_E", "a certificate is not valid yet",
           "clock.board-never-set clock.issuer-ahead"),
    -151: ("SL_ESEC_ASN_AFTER_DATE_E", "a certificate has expired",
           "x509.broker-expired clock.board-ahead"),
    -155: ("SL_ESEC_ASN_SIG_CONFIRM_E", "the CA on the board did not sign the broker's "
           "certificate", "x509.wrong-anchor x509.missing-intermediate"),
    -156: ("SL_ESEC_ASN_SIG_HASH_E", "a certificate is signed with an unknown hash",
           "x509.weak-algorithm"),
    -157: ("SL_ESEC_ASN_SIG_KEY_E", "a certificate is signed with an unknown kind of key",
           "x509.weak-algorithm tls.no-shared-cipher"),
    -245: ("SL_ESEC_NO_PEER_CERT", "the broker sent no certificate", "tcp.listener-down"),
    -257: ("SL_ESEC_NOT_CA_ERROR", "the CA's certificate is no CA's", "x509.ca-without-ca-true"),
    -291: ("SL_ESEC_MATCH_SUITE_ERROR", "no cipher suite in common", "tls.no-shared-cipher"),
    -450: ("SL_ESECGENERAL", "TLS failed, without detail", "x509.wrong-anchor"),
    -451: ("SL_ESECDECRYPT", "a record could not be decrypted", "tls.damaged-record"),
    -452: ("SL_ESECCLOSED", "the other end closed TLS", "tcp.closed-by-peer"),
    -453: ("SL_ESECSNOVERIFY", "connected, and the broker was not verified: no CA file is set",
           "tls.not-verified"),
    -454: ("SL_ESECNOCAFILE", "the CA file is not on the board", "firmware.file-missing"),
    -455: ("SL_ESECMEMORY", "no memory for TLS", "tls.heap-too-small"),
    -456: ("SL_ESECBADCAFILE", "the CA file cannot be read; it has to be DER", _FILE),
    -457: ("SL_ESECBADCERTFILE", "the certificate file cannot be read; it has to be DER", _FILE),
    -458: ("SL_ESECBADPRIVATEFILE", "the key file cannot be read; it has to be DER",
           _FILE + " store.key-type"),
    -459: ("SL_ESECBADDHFILE", "the Diffie-Hellman file cannot be read", _FILE),
    -460: ("SL_ESECT00MANYSSLOPENED", "all TLS sockets are in use", "tls.heap-too-small"),
    -461: ("SL_ESECDATEERROR", "connected, and the certificate's dates do not fit the board's "
           "clock", "clock.board-never-set x509.broker-expired clock.board-ahead"),
    -462: ("SL_ESECHANDSHAKETIMEDOUT", "the handshake took too long", "tcp.silent"),
}  # fmt: skip
_BY_NAME = {entry[0]: number for number, entry in _TABLE.items()}


def readings(number: int) -> list[Meaning]:
    """What SimpleLink means by ``number``, below zero."""
    if number in _TABLE:
        return [meaning(_TABLE[number], SOURCE, number=str(number))]
    if -420 < number < _ALERTS_FROM:
        return [
            Meaning(f"{one.name} ({number})", SOURCE, one.words, one.causes)
            for one in alerts.readings(_ALERTS_FROM - number, "broker")
        ]
    return []


def by_name(name: str) -> list[Meaning]:
    """The meaning of a name, as ``SL_ESECBADCAFILE``."""
    number = _BY_NAME.get(name)
    return [] if number is None else readings(number)
