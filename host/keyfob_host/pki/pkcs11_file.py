"""The file that stands where a key would, when the key is in a token: its PKCS#11 URI.

It is the PEM that OpenSSL's pkcs11-provider reads too: ``PKCS#11 PROVIDER URI``, a
SEQUENCE of a description (VisibleString) and the URI (UTF8String). There is no secret in
it. Who can write it decides which module is loaded and which key signs.
"""

from __future__ import annotations

import base64
import binascii
import re

from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.pki import der
from keyfob_host.pki.pkcs11_key import TokenKey
from keyfob_host.pki.pkcs11_uri import TokenUri, parse_uri

_LABEL = "PKCS#11 PROVIDER URI"
_DESCRIPTION = b"PKCS#11 Provider URI v1.0"


def is_token_pem(content: bytes) -> bool:
    """Whether a key file says where a key is, and holds none itself."""
    return f"-----BEGIN {_LABEL}-----".encode() in content


def token_pem(key: TokenKey) -> bytes:
    """The file's content for a key in a token."""
    return der.pem(_LABEL, _encoded(str(key.uri)))


def read_token_pem(content: bytes, where: str) -> TokenUri:
    """The URI in a file's content; errors ``pkcs11.bad-file``, and those of `parse_uri`."""
    marks = f"-----BEGIN {_LABEL}-----(.*?)-----END ".encode()
    between = re.search(marks, content, re.DOTALL)
    try:
        encoded = base64.b64decode(between[1] if between else b"")
        uri = encoded[max(0, encoded.find(b"pkcs11:")) :].decode()
    except (binascii.Error, ValueError):
        encoded, uri = b"", ""
    # The description and both lengths are right where encoding again gives the same.
    if not uri or _encoded(uri) != encoded:
        raise KeyfobHostError(
            "pkcs11.bad-file",
            "the file that says in which token the key is, is damaged",
            evidence=f"{where}: {len(content)} bytes",
            fix="restore it from a backup",
            status=ExitStatus.IDENTITY,
        )
    return parse_uri(uri)


def _encoded(uri: str) -> bytes:
    description = der.tlv(der.VISIBLE_STRING, _DESCRIPTION)
    return der.sequence(description, der.tlv(der.UTF8_STRING, uri.encode()))
