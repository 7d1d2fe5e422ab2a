"""PKCS#11 URIs (RFC 7512): which token, which key in it, and the module that speaks to it.

Taken are the attributes that name a token (``token``, ``serial``, ``manufacturer``,
``model``) and a private key in it (``object``, ``id``, ``type``), and ``module-path``.
Any other attribute is refused, because it would mean something that is not looked at;
so is a PIN, which does not belong where it can be read. Whether any of it exists is
`pkcs11_token`'s to say.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes

from keyfob_host.errors import KeyfobHostError

# Longer than any URI of these attributes.
_MAX_CHARACTERS = 2048

_PATH = ("token", "serial", "manufacturer", "model", "object", "id", "type")
# Section 2.3: what pk11-path allows unescaped, beyond what quote() leaves anyway.
_SAFE = ":[]@!$'()*+,="
_EXAMPLE = "pkcs11:token=keyfob;object=ca?module-path=/usr/lib/softhsm/libsofthsm2.so"

# Where modules usually are; one that is here makes a better example.
_USUAL_MODULES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm2.so",
    "/opt/homebrew/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/libykcs11.so.2",
    "/usr/lib/x86_64-linux-gnu/opensc-pkcs11.so",
    "/usr/lib64/opensc-pkcs11.so",
    "/usr/lib/x86_64-linux-gnu/p11-kit-proxy.so",
)


@dataclass(frozen=True)
class TokenUri:
    """The URI's parts; "" or b"" where an attribute is not given."""

    module_path: str
    token: str = ""
    serial: str = ""
    manufacturer: str = ""
    model: str = ""
    object: str = ""
    id: bytes = b""

    def __str__(self) -> str:
        names = ("token", "serial", "manufacturer", "model", "object")
        given = [(name, getattr(self, name)) for name in names]
        path = [f"{name}={quote(value, safe=_SAFE)}" for name, value in given if value]
        if self.id:
            # Section 2.3: every byte of an id is percent-encoded.
            path.append("id=" + "".join(f"%{byte:02X}" for byte in self.id))
        path.append("type=private")
        return f"pkcs11:{';'.join(path)}?module-path={quote(self.module_path, safe=_SAFE + '/')}"


def parse_uri(text: str) -> TokenUri:
    """``text`` as a `TokenUri`; errors ``pkcs11.bad-uri``, ``pkcs11.pin-in-uri``."""
    # First of all, so that no other error shows the URI with the PIN in it.
    if re.search(r"pin-(value|source)\s*=", text, re.IGNORECASE):
        raise KeyfobHostError(
            "pkcs11.pin-in-uri",
            "a PIN, or where it is, does not belong into the URI, which is stored and "
            "which every user of this machine can see while the command runs",
            evidence="pin-value or pin-source in the URI",
            fix="leave it out and give --passphrase-file FILE, --passphrase-env VARIABLE or "
            "--passphrase-fd N; change a PIN that was typed there",
        )
    if len(text) > _MAX_CHARACTERS:
        raise _bad(f"{len(text)} characters", f"it has more than {_MAX_CHARACTERS} characters")
    scheme, colon, rest = text.partition(":")
    if not colon or scheme.lower() != "pkcs11":
        raise _bad(repr(text), "it does not begin with pkcs11:")
    path, _, query = rest.partition("?")
    found = _attributes(path, ";", _PATH, text)
    module = _attributes(query, "&", ("module-path",), text).get("module-path", b"")
    values = {name: _text(value, text) for name, value in found.items() if name != "id"}
    if values.pop("type", "private") != "private":
        raise _bad(repr(text), "type can only be private: it is the key that signs")
    if not {"token", "serial"} & values.keys():
        raise _bad(repr(text), "it names no token")
    if not {"object", "id"} & found.keys():
        raise _bad(repr(text), "it names no key (object or id)")
    if not module:
        raise _bad(repr(text), "it has no module-path, the library of the token's maker")
    return TokenUri(module_path=_text(module, text), id=found.get("id", b""), **values)


def _attributes(part: str, separator: str, known: tuple[str, ...], text: str) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for word in filter(None, part.split(separator)):
        name, equals, value = word.partition("=")
        if name not in known:
            raise _bad(repr(text), f"{name!r} is none of {', '.join(known)}")
        if name in found:
            raise _bad(repr(text), f"{name!r} stands there twice")
        if not equals or not value or re.search(r"%(?![0-9A-Fa-f]{2})", value):
            raise _bad(repr(text), f"{name!r} has no value, or one that is not percent-encoded")
        found[name] = unquote_to_bytes(value)
    return found


def _text(value: bytes, text: str) -> str:
    try:
        decoded = value.decode()
    except UnicodeDecodeError:
        raise _bad(repr(text), "a value is not UTF-8") from None
    if "\0" in decoded:
        raise _bad(repr(text), "a value has a NUL in it")
    return decoded


def _bad(evidence: str, why: str) -> KeyfobHostError:
    module = next((one for one in _USUAL_MODULES if Path(one).exists()), "")
    example = (
        _EXAMPLE.partition("module-path=")[0] + f"module-path={module}" if module else _EXAMPLE
    )
    return KeyfobHostError(
        "pkcs11.bad-uri",
        f"this PKCS#11 URI cannot be used: {why}",
        evidence=evidence,
        fix=f"keyfob ca init --pkcs11 '{example}'",
    )
