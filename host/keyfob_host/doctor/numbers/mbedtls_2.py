"""TLS errors of mbedTLS 2.28 whose numbers 3.6 gave up, or gave another meaning.

Met in firmware from before 2023 (ESP-IDF 4, older MicroPython and Arduino cores). Numbers and
names as in that version's ``include/mbedtls/ssl.h``.
"""

from __future__ import annotations

from keyfob_host.doctor.meaning import Entry

_PEER = "tls.damaged-record tcp.wrong-port"
_CHAIN = "x509.broker-wrong-usage x509.weak-algorithm x509.wrong-anchor"

FORMER: dict[int, Entry] = {
    0x5E00: ("SSL_CACHE_ENTRY_NOT_FOUND", "the session is not in the cache", ""),
    0x6600: ("SSL_INVALID_VERIFY_HASH", "no hash for the handshake's signature in common",
             "tls.no-shared-cipher"),
    0x6980: ("SSL_NO_USABLE_CIPHERSUITE", "no cipher suite is possible with this key",
             "tls.no-shared-cipher"),
    0x6E00: ("SSL_BAD_HS_NEW_SESSION_TICKET", "a session ticket cannot be read", _PEER),
    0x6E80: ("SSL_BAD_HS_PROTOCOL_VERSION",
             "the other end chose a version that is not allowed here",
             "tls.version tcp.wrong-port"),
    0x6F00: ("SSL_COMPRESSION_FAILED", "compression failed", ""),
    0x7300: ("SSL_UNKNOWN_CIPHER", "the broker chose a cipher suite that is not known here",
             "tls.no-shared-cipher"),
    0x7380: ("SSL_NO_CIPHER_CHOSEN", "no cipher suite in common", "tls.no-shared-cipher"),
    0x7500: ("SSL_CERTIFICATE_TOO_LARGE", "the board's own certificate is too large to send",
             "tls.chain-over-buffer"),
    0x7580: ("SSL_CERTIFICATE_REQUIRED", "a certificate is needed and none is set",
             "client-certificate.not-sent"),
    0x7800: ("SSL_PEER_VERIFY_FAILED", "the broker's certificate was refused",
             "x509.wrong-anchor clock.board-never-set x509.name-not-in-san"),
    0x7900: ("SSL_BAD_HS_CLIENT_HELLO", "a ClientHello cannot be read", _PEER),
    0x7980: ("SSL_BAD_HS_SERVER_HELLO", "the broker's ServerHello cannot be read, or chose what "
             "was not offered", "tls.version tls.no-shared-cipher tcp.wrong-port"),
    0x7A00: ("SSL_BAD_HS_CERTIFICATE", "the broker's certificate message cannot be used", _CHAIN),
    0x7A80: ("SSL_BAD_HS_CERTIFICATE_REQUEST", "the broker's certificate request cannot be read",
             _PEER),
    0x7B00: ("SSL_BAD_HS_SERVER_KEY_EXCHANGE", "the broker's key exchange cannot be used",
             "tls.no-shared-cipher tls.damaged-record"),
    0x7B80: ("SSL_BAD_HS_SERVER_HELLO_DONE", "the broker's ServerHelloDone is wrong", _PEER),
    0x7C00: ("SSL_BAD_HS_CLIENT_KEY_EXCHANGE", "the client's key exchange cannot be used", _PEER),
    0x7C80: ("SSL_BAD_HS_CLIENT_KEY_EXCHANGE_RP", "the client's public value cannot be read",
             _PEER),
    0x7D00: ("SSL_BAD_HS_CLIENT_KEY_EXCHANGE_CS", "the shared secret failed", _PEER),
    0x7D80: ("SSL_BAD_HS_CERTIFICATE_VERIFY", "the client's signature cannot be read",
             "client-certificate.key-mismatch"),
    0x7E00: ("SSL_BAD_HS_CHANGE_CIPHER_SPEC", "a ChangeCipherSpec is wrong", _PEER),
    0x7E80: ("SSL_BAD_HS_FINISHED", "the two ends did not see the same handshake", _PEER),
}  # fmt: skip
