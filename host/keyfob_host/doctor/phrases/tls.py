"""What TLS libraries print in words: mbedTLS's verdicts, MicroPython's, Python's and OpenSSL's.

mbedTLS's are those of ``x509_crt.h`` 3.6 (X509_CRT_ERROR_INFO_LIST), which MicroPython raises
as a ValueError; MicroPython's own are ``extmod/modtls_mbedtls.c``'s and ``modtls_axtls.c``'s.
"""

from __future__ import annotations

from keyfob_host.doctor.meaning import meaning
from keyfob_host.doctor.numbers import openssl
from keyfob_host.doctor.phrase import Phrase, phrases

MBEDTLS_SOURCE = "mbedTLS's verdict on the broker's certificate"
MICROPYTHON_SOURCE = "MicroPython's tls module"
CLIENT_SOURCE = "a TLS client on this machine"

_CRL = "client-certificate.crl-overdue"
_USAGE = "x509.broker-wrong-usage"
_WEAK = "x509.weak-algorithm"

# mbedTLS gives all verdicts that hold, each on a line; the particular before the general.
_MBEDTLS = phrases(
    MBEDTLS_SOURCE,
    ("validity starts in the future", "the certificate is not valid yet by the board's clock",
     "clock.board-never-set clock.issuer-ahead"),
    ("validity has expired", "the certificate has expired by the board's clock",
     "x509.broker-expired clock.board-ahead"),
    ("does not match with the expected CN", "the name connected to is not in the certificate",
     "x509.name-not-in-san"),
    ("is not correctly signed by the trusted CA", "the chain leads to no trust anchor of the "
     "board", "x509.wrong-anchor x509.missing-intermediate x509.ca-without-ca-true "
     "x509.same-subject-twice"),
    ("has been revoked (is on a CRL)", "the certificate is on a CRL of the board's", ""),
    ("CRL is not correctly signed", "a CRL on the board is of another CA", _CRL),
    ("The CRL is expired", "a CRL on the board is past its nextUpdate", _CRL),
    ("The CRL is from the future", "a CRL on the board is not valid yet", "clock.board-never-set"),
    ("Certificate was missing", "the broker sent no certificate", "tcp.listener-down"),
    ("verification was skipped", "nobody was verified", "tls.not-verified"),
    ("does not match the keyUsage", "the key usage forbids what the key is used for", _USAGE),
    ("does not match the extendedKeyUsage", "the certificate is not for a TLS server", _USAGE),
    ("does not match the nsCertType", "the certificate is not for a TLS server", _USAGE),
    ("signed with an unacceptable hash", "the hash is too weak", _WEAK),
    ("signed with an unacceptable PK alg", "the kind of key is not taken", _WEAK),
    ("signed with an unacceptable key", "the key is too small, or on a curve that is not taken",
     _WEAK),
)  # fmt: skip
_MICROPYTHON = phrases(
    MICROPYTHON_SOURCE,
    ("CERT_REQUIRED requires server_hostname", "verification needs the name to verify",
     "tls.no-server-name"),
    ("ValueError: invalid cert", "a certificate on the board cannot be read",
     "store.wrong-form store.truncated"),
    ("ValueError: invalid key", "the private key on the board cannot be read",
     "store.wrong-form store.key-type store.truncated"),
    ("invalid cert", "a certificate on the board cannot be read",
     "store.wrong-form store.truncated"),
    ("invalid key", "the private key on the board cannot be read",
     "store.wrong-form store.key-type store.truncated"),
)  # fmt: skip
_ANCHOR = "x509.wrong-anchor x509.missing-intermediate x509.name-not-in-san x509.broker-expired"
_CLIENTS = phrases(
    CLIENT_SOURCE,
    ("CERTIFICATE_VERIFY_FAILED] certificate verify failed", "the broker's certificate was looked "
     "at and refused; what follows says why", _ANCHOR),
    ("CERTIFICATE_VERIFY_FAILED", "the broker's certificate was looked at and refused", _ANCHOR),
    ("Hostname mismatch, certificate is not valid", "the name connected to is not in the "
     "certificate", "x509.name-not-in-san"),
    ("IP address mismatch, certificate is not valid", "the address connected to is not in the "
     "certificate", "x509.name-not-in-san"),
    ("self signed certificate in certificate chain", "the chain ends with a CA that is not "
     "trusted here", "x509.wrong-anchor client-certificate.unknown-ca"),
    ("self signed certificate", "the certificate is its own issuer and not trusted",
     "x509.wrong-anchor x509.same-subject-twice"),
    ("Bad CA file", "the CA file cannot be read, or is not the broker's CA's",
     "store.wrong-form x509.wrong-anchor"),
)  # fmt: skip
_STATES = phrases(
    "a TLS server's handshake state",
    ("SR_KEY_EXCH", "the server waits for the client's key exchange, and the client gave up after "
     "the server's certificate: it refused that", "x509.wrong-anchor clock.board-never-set "
     "x509.name-not-in-san tls.chain-over-buffer x509.same-subject-twice"),
    ("SR_CLNT_HELLO", "the server waits for the first message of TLS", "tcp.wrong-port"),
    ("SR_CERT", "the server waits for the client's certificate", "client-certificate.not-sent"),
)  # fmt: skip
_VERIFY = tuple(
    Phrase(entry[0], meaning(entry, openssl.VERIFY_SOURCE))
    for _, entry in sorted(openssl.VERIFY.items(), key=lambda one: -len(one[1][0]))
)
_OPENSSL = tuple(
    Phrase(text, meaning(entry, openssl.SOURCE)) for text, entry in openssl.REASONS.items()
)
_LAST = phrases(
    "TLS",
    ("handshake failed", "the handshake ended; the other end's log says more",
     "x509.wrong-anchor clock.board-never-set client-certificate.not-sent tls.no-shared-cipher"),
    is_echo=True,
)  # fmt: skip

PHRASES = (*_MBEDTLS, *_MICROPYTHON, *_CLIENTS, *_STATES, *_VERIFY, *_OPENSSL, *_LAST)
