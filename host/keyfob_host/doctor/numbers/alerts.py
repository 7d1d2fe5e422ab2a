"""TLS alerts: what each says when the broker sends it, and when the board does.

Numbers and names are `keyfob_host.doctor.tls_numbers`; RFC 5246 section 7.2.2, RFC 8446
section 6.2, RFC 6066. Who sent an alert is half of its meaning: an alert that a broker logs,
or that OpenSSL reports as received by a server, came from the board.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from keyfob_host.doctor.meaning import Meaning
from keyfob_host.doctor.tls_numbers import ALERTS

SOURCE = "TLS (RFC 5246 section 7.2, RFC 8446 section 6)"

_PEER = "tls.damaged-record tcp.wrong-port"
_VERIFY = "x509.wrong-anchor x509.missing-intermediate x509.ca-without-ca-true"
# number: (sent by the broker: words, causes; sent by the board: words, causes)
_TABLE: dict[int, tuple[str, str, str, str]] = {
    0: ("the broker closes the connection in good order",
        "mqtt.same-client-id authorization.cloud-policy traffic.keep-alive",
        "the board closes the connection in good order", ""),
    10: ("the broker got a message that does not belong there", _PEER,
         "the board got a message that does not belong there", _PEER),
    20: ("the broker got a record whose MAC is wrong", _PEER,
         "the board got a record whose MAC is wrong", _PEER),
    21: ("the broker could not decrypt a record", _PEER,
         "the board could not decrypt a record", _PEER),
    22: ("the broker got a record that is too large", _PEER,
         "a record of the broker's is larger than the board's buffer", "tls.chain-over-buffer"),
    30: ("decompression failed", _PEER, "decompression failed", _PEER),
    40: ("the broker finds nothing in common, or misses the client certificate",
         "client-certificate.not-sent tls.no-shared-cipher tls.version",
         "the board finds nothing in common with the broker, or its own stack gave up",
         "tls.no-shared-cipher tls.version x509.wrong-anchor"),
    41: ("the broker sent the alert of SSL 3.0 for a missing certificate",
         "client-certificate.not-sent",
         "the board has no certificate to send", "client-certificate.not-sent"),
    42: ("the broker finds the board's certificate damaged or not valid yet",
         "clock.broker-behind client-certificate.unknown-ca store.truncated "
         "authorization.cloud-policy",
         "the board finds the broker's certificate bad, most often its name",
         "x509.name-not-in-san x509.broker-wrong-usage x509.wrong-anchor"),
    43: ("the broker does not take the board's certificate for a client's",
         "client-certificate.wrong-usage x509.weak-algorithm",
         "the board does not take the broker's certificate for a server's, or its key",
         "x509.broker-wrong-usage x509.weak-algorithm"),
    44: ("the board's certificate is revoked", "client-certificate.revoked",
         "the board holds the broker's certificate for revoked", ""),
    45: ("the board's certificate has expired, or the broker's revocation list has",
         "client-certificate.expired client-certificate.crl-overdue",
         "the broker's certificate has expired by the board's clock",
         "x509.broker-expired clock.board-ahead"),
    46: ("the broker refuses the board's certificate without saying why",
         "client-certificate.unknown-ca client-certificate.wrong-usage authorization.cloud-policy",
         "the board refuses the broker's certificate, most often as not valid yet",
         "clock.board-never-set clock.issuer-ahead x509.weak-algorithm x509.wrong-anchor"),
    47: ("the broker found a field that contradicts others", _PEER,
         "the board found a field that contradicts others", _PEER),
    48: ("the broker does not know the CA of the board's certificate",
         "client-certificate.unknown-ca x509.same-subject-twice x509.ca-without-ca-true",
         "the broker's chain does not lead to a trust anchor of the board",
         _VERIFY + " x509.same-subject-twice"),
    49: ("the certificate is good, and its owner may not come in",
         "authorization.cloud-policy authorization.not-mapped",
         "the board's own check refused the broker", "x509.wrong-anchor"),
    50: ("the broker could not read a message", _PEER, "the board could not read a message", _PEER),
    51: ("a signature of the board's is wrong: key and certificate do not belong together",
         "client-certificate.key-mismatch tls.damaged-record",
         "a signature of the broker's is wrong", "tls.damaged-record x509.wrong-anchor"),
    60: ("an alert of the time of export restrictions", "tls.no-shared-cipher",
         "an alert of the time of export restrictions", "tls.no-shared-cipher"),
    70: ("the broker does not speak a version of TLS that the board offers",
         "tls.version tcp.wrong-port",
         "the board does not speak the version that the broker chose", "tls.version"),
    71: ("the broker wants stronger ciphers or keys than the board offers",
         "tls.no-shared-cipher x509.weak-algorithm",
         "the board wants stronger ciphers or keys", "x509.weak-algorithm tls.no-shared-cipher"),
    80: ("the broker's TLS failed inside, often for lack of memory or randomness",
         "mqtt.broker-unavailable",
         "the board's TLS failed inside, mostly for lack of memory",
         "tls.heap-too-small firmware.out-of-memory"),
    86: ("the board tried an older version than both can speak", "tls.version",
         "the broker fell back to an older version", "tls.version"),
    90: ("the broker's side called it off", "", "the board's side called it off", ""),
    100: ("the broker does not renegotiate", "tls.damaged-record",
          "the board does not renegotiate", "tls.damaged-record"),
    109: ("the broker misses an extension of TLS 1.3", "tls.no-server-name tls.version",
          "the board misses an extension of TLS 1.3", "tls.version"),
    110: ("the broker got an extension that does not belong there", _PEER,
          "the broker answered an extension that the board did not send", _PEER),
    112: ("the broker has no certificate for the name asked for", "tls.no-server-name",
          "the board does not know the name", "tls.no-server-name"),
    115: ("the broker does not know the pre-shared key's identity", "",
          "the board does not know the pre-shared key's identity", ""),
    116: ("the broker wants a client certificate and got none", "client-certificate.not-sent",
          "the board wants a certificate and got none", ""),
    120: ("the broker speaks none of the protocols offered (ALPN)", "tls.alpn-refused",
          "the board wants another protocol (ALPN)", "tls.alpn-refused"),
}  # fmt: skip
_SPELLED = {name.replace("_", " "): number for number, name in ALERTS.items()}
# OpenSSL writes it so.
_SPELLED["user cancelled"] = 90
_SPELLING = re.compile("|".join(sorted(_SPELLED, key=len, reverse=True)))


def readings(number: int, sender: str = "") -> list[Meaning]:
    """What alert ``number`` means; ``sender`` is ``"broker"``, ``"board"`` or "" (both)."""
    if number not in ALERTS:
        return []
    from_broker, by_broker, from_board, by_board = _TABLE.get(
        number, ("the broker ended the handshake", "", "the board ended the handshake", "")
    )
    name = f"alert {number}, {ALERTS[number]}"
    found = []
    if sender != "board":
        found.append(
            Meaning(f"{name}, sent by the broker", SOURCE, from_broker, tuple(by_broker.split()))
        )
    if sender != "broker":
        found.append(
            Meaning(f"{name}, sent by the board", SOURCE, from_board, tuple(by_board.split()))
        )
    return found


def spelled(text: str) -> Iterator[tuple[int, int, int]]:
    """The alerts named in ``text`` (lower case): number, start and end of the name.

    Takes ``unknown_ca`` and ``unknown ca``; the longest name wins where one holds another.
    """
    for found in _SPELLING.finditer(text.replace("_", " ")):
        yield _SPELLED[found[0]], found.start(), found.end()


def number_of(name: str) -> int | None:
    """The number of an alert by its whole name, in any of its spellings."""
    return _SPELLED.get(name.lower().replace("_", " ").strip())
