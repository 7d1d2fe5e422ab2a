"""mbedTLS 3.6's errors: what MicroPython on ESP32 raises as ``OSError(-30592, 'MBEDTLS_…')``.

Numbers and names are those of ``include/mbedtls/*.h``. An error is a high-level number
(steps of 0x80), a low-level one (below 0x80), or their sum; here are the high-level ones of
TLS, X.509, public keys and PEM, the rest is in `keyfob_host.doctor.numbers.mbedtls_crypto`.
Older numbers, of mbedTLS 2.28, are in `keyfob_host.doctor.numbers.mbedtls_2`. Whether the
number came out of mbedTLS at all is not known here.
"""

from __future__ import annotations

from keyfob_host.doctor.meaning import Entry, Meaning
from keyfob_host.doctor.numbers.mbedtls_2 import FORMER
from keyfob_host.doctor.numbers.mbedtls_crypto import HIGH as _CRYPTO_HIGH
from keyfob_host.doctor.numbers.mbedtls_crypto import LOW

SOURCE = "mbedTLS 3.6, the TLS of MicroPython on ESP32 and of ESP-IDF"
_FORMER_SOURCE = "mbedTLS 2.28, in older firmware"
_PREFIX = "MBEDTLS_ERR_"
_STEP = 0x80

_MEMORY = "tls.heap-too-small firmware.out-of-memory"
_PEER = "tls.damaged-record tcp.wrong-port"
_OURS = "store.wrong-form store.truncated store.key-type"
_CLIENT = (
    "client-certificate.not-sent client-certificate.key-mismatch client-certificate.unknown-ca "
    "tls.version tls.no-shared-cipher client-certificate.expired clock.broker-behind "
    "client-certificate.revoked client-certificate.crl-overdue client-certificate.wrong-usage"
)
_VERIFY = (
    "x509.wrong-anchor clock.board-never-set x509.name-not-in-san x509.broker-expired "
    "x509.missing-intermediate x509.ca-without-ca-true clock.board-ahead clock.issuer-ahead "
    "x509.broker-wrong-usage x509.weak-algorithm"
)

_SSL: dict[int, Entry] = {
    0x5D80: ("SSL_CERTIFICATE_VERIFICATION_WITHOUT_HOSTNAME",
             "verification was asked for without the name to verify", "tls.no-server-name"),
    0x5E80: ("SSL_BAD_CONFIG", "the TLS settings contradict each other", ""),
    0x5F00: ("SSL_VERSION_MISMATCH", "saved TLS data is of another version", ""),
    0x6000: ("SSL_UNEXPECTED_CID", "a DTLS record has another connection identifier", ""),
    0x6480: ("SSL_EARLY_MESSAGE", "a handshake message came early; internal", _PEER),
    0x6500: ("SSL_ASYNC_IN_PROGRESS", "an operation is not finished; call again", ""),
    0x6580: ("SSL_CONTINUE_PROCESSING", "more is to be processed; internal", ""),
    0x6600: ("SSL_ILLEGAL_PARAMETER",
             "a handshake message contradicts itself or what was offered", _PEER),
    0x6680: ("SSL_NON_FATAL", "the other end sent a warning", ""),
    0x6700: ("SSL_UNEXPECTED_RECORD", "a record came that nobody waits for", _PEER),
    0x6780: ("SSL_CLIENT_RECONNECT", "a DTLS client connects again from the same port", ""),
    0x6800: ("SSL_TIMEOUT", "the other end did not answer in time", "tcp.silent"),
    0x6880: ("SSL_WANT_WRITE", "nothing is wrong: it has to be called again to write", ""),
    0x6900: ("SSL_WANT_READ", "nothing is wrong: it has to be called again to read", ""),
    0x6A00: ("SSL_BUFFER_TOO_SMALL", "a message is larger than the buffer for it",
             "tls.chain-over-buffer tls.heap-too-small"),
    0x6A80: ("SSL_HELLO_VERIFY_REQUIRED", "DTLS wants the hello once more with a cookie", ""),
    0x6B00: ("SSL_WAITING_SERVER_HELLO_RENEGO",
             "during a renegotiation another message came first", _PEER),
    0x6B80: ("SSL_COUNTER_WRAPPING", "too many messages for one connection; connect anew", ""),
    0x6C00: ("SSL_INTERNAL_ERROR", "the TLS library failed inside", _MEMORY),
    0x6C80: ("SSL_UNKNOWN_IDENTITY", "a pre-shared key's identity is not known", ""),
    0x6D00: ("SSL_PK_TYPE_MISMATCH", "the key is of another type than the cipher suite needs",
             "tls.no-shared-cipher"),
    0x6D80: ("SSL_SESSION_TICKET_EXPIRED", "a session ticket is too old; connect anew", ""),
    0x6E00: ("SSL_HANDSHAKE_FAILURE", "the two ends found nothing in common",
             "tls.no-shared-cipher tls.version client-certificate.not-sent"),
    0x6E80: ("SSL_BAD_PROTOCOL_VERSION", "the other end chose a version that is not allowed here",
             "tls.version tcp.wrong-port"),
    0x6F80: ("SSL_HW_ACCEL_FALLTHROUGH", "a hardware function left the data alone; internal", ""),
    0x7000: ("SSL_CRYPTO_IN_PROGRESS", "a calculation is not finished; call again", ""),
    0x7080: ("SSL_FEATURE_UNAVAILABLE", "this build of mbedTLS lacks what was asked for",
             "tls.no-shared-cipher tls.version"),
    0x7100: ("SSL_BAD_INPUT_DATA", "a TLS function was called with something it does not take",
             "tls.no-server-name"),
    0x7180: ("SSL_INVALID_MAC", "a record's MAC is wrong: changed on its way, or other keys",
             "tls.damaged-record"),
    0x7200: ("SSL_INVALID_RECORD", "what came is no TLS record, or one larger than the buffer",
             "tls.chain-over-buffer tcp.wrong-port tls.damaged-record"),
    0x7280: ("SSL_CONN_EOF", "the other end closed the connection without a word of TLS",
             "tcp.wrong-port tcp.closed-by-peer mqtt.same-client-id mqtt.too-many-connections "
             "traffic.keep-alive authorization.cloud-policy"),
    0x7300: ("SSL_DECODE_ERROR", "a handshake message cannot be read", _PEER),
    0x7400: ("SSL_NO_RNG", "TLS was set up without a random number generator", ""),
    0x7480: ("SSL_NO_CLIENT_CERTIFICATE",
             "as a server: the client sent no certificate", "client-certificate.not-sent"),
    0x7500: ("SSL_UNSUPPORTED_EXTENSION",
             "the broker answered an extension that was not offered", _PEER),
    0x7580: ("SSL_NO_APPLICATION_PROTOCOL", "no application protocol in common (ALPN)",
             "tls.alpn-refused"),
    0x7600: ("SSL_PRIVATE_KEY_REQUIRED", "a certificate is set and no private key",
             "client-certificate.key-mismatch store.truncated"),
    0x7680: ("SSL_CA_CHAIN_REQUIRED", "verification was asked for without a trust anchor",
             "x509.wrong-anchor store.truncated"),
    0x7700: ("SSL_UNEXPECTED_MESSAGE", "a message came that does not belong there", _PEER),
    0x7780: ("SSL_FATAL_ALERT_MESSAGE",
             "the broker ended the handshake with an alert; its log says why", _CLIENT),
    0x7800: ("SSL_UNRECOGNIZED_NAME", "the broker has no certificate for the name asked for",
             "tls.no-server-name"),
    0x7880: ("SSL_PEER_CLOSE_NOTIFY", "the other end closed the connection in good order",
             "mqtt.same-client-id authorization.cloud-policy traffic.keep-alive"),
    0x7A00: ("SSL_BAD_CERTIFICATE", "the broker's certificate cannot be used: unreadable, or not "
             "for a server", "x509.broker-wrong-usage x509.weak-algorithm x509.wrong-anchor"),
    0x7B00: ("SSL_RECEIVED_NEW_SESSION_TICKET", "nothing is wrong: a session ticket came", ""),
    0x7B80: ("SSL_CANNOT_READ_EARLY_DATA", "there is no early data to read", ""),
    0x7C00: ("SSL_RECEIVED_EARLY_DATA", "nothing is wrong: early data came", ""),
    0x7C80: ("SSL_CANNOT_WRITE_EARLY_DATA", "no early data can be sent", ""),
    0x7E80: ("SSL_CACHE_ENTRY_NOT_FOUND", "the session is not in the cache", ""),
    0x7F00: ("SSL_ALLOC_FAILED", "no memory for the TLS connection", _MEMORY),
    0x7F80: ("SSL_HW_ACCEL_FAILED", "a hardware function failed", ""),
}  # fmt: skip

_X509: dict[int, Entry] = {
    0x2080: ("X509_FEATURE_UNAVAILABLE", "this build cannot read what the certificate has",
             "x509.weak-algorithm"),
    0x2100: ("X509_UNKNOWN_OID", "a certificate names something unknown", "store.wrong-form"),
    0x2180: ("X509_INVALID_FORMAT", "what should be a certificate is none", _OURS),
    0x2200: ("X509_INVALID_VERSION", "the certificate's version cannot be read", _OURS),
    0x2280: ("X509_INVALID_SERIAL", "the certificate's serial number cannot be read", _OURS),
    0x2300: ("X509_INVALID_ALG", "the certificate's algorithm cannot be read",
             "x509.weak-algorithm store.truncated"),
    0x2380: ("X509_INVALID_NAME", "a name in the certificate cannot be read", _OURS),
    0x2400: ("X509_INVALID_DATE", "a date in the certificate cannot be read", _OURS),
    0x2480: ("X509_INVALID_SIGNATURE", "the certificate's signature cannot be read", _OURS),
    0x2500: ("X509_INVALID_EXTENSIONS", "an extension of the certificate cannot be read", _OURS),
    0x2580: ("X509_UNKNOWN_VERSION", "the certificate is of an unknown version", _OURS),
    0x2600: ("X509_UNKNOWN_SIG_ALG", "the certificate is signed in a way that is not known here",
             "x509.weak-algorithm"),
    0x2680: ("X509_SIG_MISMATCH", "a certificate names two signature algorithms",
             "store.truncated"),
    0x2700: ("X509_CERT_VERIFY_FAILED", "the broker's certificate was looked at and refused",
             _VERIFY),
    0x2780: ("X509_CERT_UNKNOWN_FORMAT", "neither PEM nor DER", _OURS),
    0x2800: ("X509_BAD_INPUT_DATA", "a function got no certificate to read", _OURS),
    0x2880: ("X509_ALLOC_FAILED", "no memory for a certificate", _MEMORY),
    0x2900: ("X509_FILE_IO_ERROR", "a certificate file cannot be read", "firmware.file-missing"),
    0x2980: ("X509_BUFFER_TOO_SMALL", "the buffer for a certificate's text is too small", ""),
    0x3000: ("X509_FATAL_ERROR", "verification itself failed; nothing was decided", _MEMORY),
}  # fmt: skip

_KEYS: dict[int, Entry] = {
    0x3880: ("PK_BUFFER_TOO_SMALL", "the buffer for a key or signature is too small", ""),
    0x3900: ("PK_SIG_LEN_MISMATCH", "a signature is shorter than its field",
             "client-certificate.key-mismatch"),
    0x3980: ("PK_FEATURE_UNAVAILABLE", "this build cannot use such a key", "store.key-type"),
    0x3A00: ("PK_UNKNOWN_NAMED_CURVE", "the key is on an elliptic curve that is not known here",
             "store.key-type x509.weak-algorithm"),
    0x3A80: ("PK_INVALID_ALG", "the key's algorithm cannot be read", _OURS),
    0x3B00: ("PK_INVALID_PUBKEY", "a public key cannot be read", _OURS),
    0x3B80: ("PK_PASSWORD_MISMATCH", "the private key is encrypted, and the password is another",
             "store.wrong-form"),
    0x3C00: ("PK_PASSWORD_REQUIRED", "the private key is encrypted", "store.wrong-form"),
    0x3C80: ("PK_UNKNOWN_PK_ALG", "the key is of a kind that is not known here",
             "store.key-type x509.weak-algorithm"),
    0x3D00: ("PK_KEY_INVALID_FORMAT", "what should be a private key is none", _OURS),
    0x3D80: ("PK_KEY_INVALID_VERSION", "the private key is of an unknown version", _OURS),
    0x3E00: ("PK_FILE_IO_ERROR", "a key file cannot be read", "firmware.file-missing"),
    0x3E80: ("PK_BAD_INPUT_DATA", "a function got no key to work with", _OURS),
    0x3F00: ("PK_TYPE_MISMATCH", "the key is of another type than this needs",
             "client-certificate.key-mismatch store.key-type"),
    0x3F80: ("PK_ALLOC_FAILED", "no memory for a key", _MEMORY),
    0x1080: ("PEM_NO_HEADER_FOOTER_PRESENT", "no PEM: the lines with five dashes are missing",
             "store.wrong-form store.truncated"),
    0x1100: ("PEM_INVALID_DATA", "the PEM text is damaged", "store.truncated store.wrong-form"),
    0x1180: ("PEM_ALLOC_FAILED", "no memory to read PEM", _MEMORY),
    0x1200: ("PEM_INVALID_ENC_IV", "an encrypted PEM has a damaged header", "store.wrong-form"),
    0x1280: ("PEM_UNKNOWN_ENC_ALG", "the PEM is encrypted in a way that is not known here",
             "store.wrong-form"),
    0x1300: ("PEM_PASSWORD_REQUIRED", "the PEM is encrypted", "store.wrong-form"),
    0x1380: ("PEM_PASSWORD_MISMATCH", "the PEM is encrypted, and the password is another",
             "store.wrong-form"),
    0x1400: ("PEM_FEATURE_UNAVAILABLE", "this build cannot decrypt PEM", "store.wrong-form"),
    0x1480: ("PEM_BAD_INPUT_DATA", "a function got no PEM to read", _OURS),
}  # fmt: skip

HIGH: dict[int, Entry] = {**_SSL, **_X509, **_KEYS, **_CRYPTO_HIGH}
BY_NAME = {_PREFIX + entry[0]: number for table in (HIGH, LOW) for number, entry in table.items()}


def is_error(number: int) -> bool:
    """Whether ``number`` (as it is raised, below zero) has a high-level part that has a name."""
    return -number & ~(_STEP - 1) in HIGH or -number & ~(_STEP - 1) in FORMER


def readings(number: int) -> list[Meaning]:
    """What mbedTLS means by ``number``, below zero; its name in 3.6 first, then in 2.28."""
    high, low = -number & ~(_STEP - 1), -number & (_STEP - 1)
    if not 0 < -number < 0x8000 or (high and not is_error(number)) or (not high and low not in LOW):
        return []
    shown = f"{number} = -0x{-number:04x}"
    below = LOW.get(low, ("", f"low-level error {low:#04x}, which has no name", ""))
    if not high:
        return [Meaning(f"{_PREFIX}{below[0]} ({shown})", SOURCE, below[1], _codes(below))]
    found = []
    for table, source in ((HIGH, SOURCE), (FORMER, _FORMER_SOURCE)):
        if high not in table:
            continue
        entry = table[high]
        if not low:
            found.append(Meaning(f"{_PREFIX}{entry[0]} ({shown})", source, entry[1], _codes(entry)))
            continue
        name = f"{_PREFIX}{entry[0]} + {_PREFIX}{below[0]}" if below[0] else _PREFIX + entry[0]
        words = f"{entry[1]}; beneath it: {below[1]}"
        # What failed beneath says more than where it did.
        causes = tuple(dict.fromkeys((*_codes(below), *_codes(entry))))
        found.append(Meaning(f"{name} ({shown})", source, words, causes))
    return found


def by_name(name: str) -> list[Meaning]:
    """The meaning of a name, as ``MBEDTLS_ERR_NET_CONN_RESET``, of 3.6."""
    number = BY_NAME.get(name)
    return [] if number is None else readings(-number)[:1]


def _codes(entry: Entry) -> tuple[str, ...]:
    return tuple(entry[2].split())
