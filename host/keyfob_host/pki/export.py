"""Certificates and keys in the forms that other tools and other firmware take.

``pem``, ``der`` (named as in a board's slot), ``p12`` (PKCS#12, RFC 7292), ``c-header``
(arrays for Arduino, BearSSL, mbedTLS) and ``nvs-csv`` (input of ESP-IDF's
nvs_partition_gen). Nothing is written here: the answer is names, contents and modes,
and whatever holds a key has mode 0600. The key goes along only where it is asked for.
Dates, usages and the chain's signatures are not judged.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)

from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.files import KEY_MODE, PUBLIC_MODE
from keyfob_host.pki.identity import Identity, Issued, certs_pem
from keyfob_host.pki.keys import PrivateKey, key_pem
from keyfob_host.pki.template import common_name

Format = Literal["pem", "der", "p12", "c-header", "nvs-csv"]
FORMATS: tuple[Format, ...] = get_args(Format)

# name -> (content, mode), as `folder.write_folder` takes it.
Files = dict[str, tuple[bytes, int]]

# How often the passphrase is hashed for key and certificates. The file's MAC, against
# which a passphrase can be tried too, has 2048 rounds, which the library fixes: here
# only a long passphrase protects well.
_P12_ROUNDS = 600_000
# What tools that know only the old algorithms were made for.
_P12_LEGACY_ROUNDS = 2048

# nvs_flash.h: NVS_KEY_NAME_MAX_SIZE is 16 with the NUL, a string has 4000 bytes with it.
_NVS_NAME_MAX = 15
_NVS_STRING_MAX = 4000

_C_COLUMNS = 12


@dataclass(frozen=True)
class Bundle:
    """What is exported: ``chain`` is the end-entity and its intermediates, ``anchors`` whom
    it trusts. Either may be empty; ``key`` is the end-entity's, or None."""

    name: str
    chain: tuple[x509.Certificate, ...]
    anchors: tuple[x509.Certificate, ...]
    key: PrivateKey | None = None

    @property
    def stem(self) -> str:
        """`name` as the beginning of a file's name; a foreign common name may hold anything."""
        return re.sub(r"[^A-Za-z0-9._-]", "_", self.name).lstrip(".") or "certificate"

    @classmethod
    def of(cls, issued: Issued) -> Bundle:
        """What was issued, with its key where that is here."""
        chain = (issued.cert, *issued.intermediates)
        key = issued.key if isinstance(issued, Identity) else None
        return cls(issued.name, chain, issued.anchors, key)


def export(
    issued: Bundle | Issued,
    form: Format,
    *,
    with_key: bool = False,
    passphrase: bytes | None = None,
    legacy: bool = False,
    pem_string: bool = False,
    prefix: str = "keyfob_",
    namespace: str = "keyfob",
) -> Files:
    """``issued`` as ``form``: file name -> (content, mode).

    ``with_key``    the private key too
    ``passphrase``  encrypts a ``p12`` (which must have one) or the key of a ``pem``
    ``legacy``      ``p12`` with 3DES and SHA-1, for tools that know nothing newer
    ``pem_string``  ``c-header``, ``nvs-csv``: PEM text instead of DER
    ``prefix``      ``c-header``: what each identifier begins with
    ``namespace``   ``nvs-csv``: the NVS namespace

    Errors: ``export.no-key``, ``export.passphrase-needed``, ``export.passphrase-unused``,
    ``export.bad-prefix``, ``export.bad-namespace``, ``export.too-long``.
    """
    bundle = issued if isinstance(issued, Bundle) else Bundle.of(issued)
    key = _key(bundle) if with_key else None
    if passphrase is not None and (form not in ("pem", "p12") or (form == "pem" and key is None)):
        raise KeyfobHostError(
            "export.passphrase-unused",
            "there is nothing in this export that a passphrase could encrypt",
            evidence=f"format {form}, {'with' if with_key else 'without'} the key",
            fix="leave the passphrase out; to encrypt the key: --format p12 --with-key",
        )
    if form == "pem":
        return _pem(bundle, key, passphrase)
    if form == "der":
        mode = {True: KEY_MODE, False: PUBLIC_MODE}
        parts = _der_parts(bundle, key)
        return {f"{stem}.der": (der, mode[stem == "key"]) for stem, der in parts}
    mode_of_one = KEY_MODE if key is not None else PUBLIC_MODE
    if form == "p12":
        content = _p12(bundle, key, passphrase, legacy)
        return {f"{bundle.stem}.p12": (content, mode_of_one)}
    if form == "c-header":
        text = _c_header(bundle, key, pem_string, prefix)
        return {f"{bundle.stem}.h": (text.encode(), mode_of_one)}
    text = _nvs_csv(bundle, key, pem_string, namespace)
    return {f"{bundle.stem}.csv": (text.encode(), mode_of_one)}


def pem_bundle(files: Files) -> tuple[bytes, int]:
    """The files of a ``pem`` export as one: key, chain, anchors, as servers want it."""
    wanted = [files[name] for name in ("key.pem", "chain.pem", "ca.pem") if name in files]
    return b"".join(content for content, _ in wanted), min(mode for _, mode in wanted)


def _key(bundle: Bundle) -> PrivateKey:
    if bundle.key is not None:
        return bundle.key
    raise KeyfobHostError(
        "export.no-key",
        "there is no private key to export",
        evidence=f"{bundle.name}: certificates only",
        fix="leave --with-key out; a key made on the board stays on the board",
        status=ExitStatus.IDENTITY,
    )


def _pem(bundle: Bundle, key: PrivateKey | None, passphrase: bytes | None) -> Files:
    files: Files = {}
    if bundle.chain:
        files["cert.pem"] = (certs_pem(bundle.chain[:1]), PUBLIC_MODE)
        files["chain.pem"] = (certs_pem(bundle.chain), PUBLIC_MODE)
    if bundle.anchors:
        files["ca.pem"] = (certs_pem(bundle.anchors), PUBLIC_MODE)
    if key is not None:
        files["key.pem"] = (key_pem(key, passphrase), KEY_MODE)
    return files


def _der_parts(bundle: Bundle, key: PrivateKey | None) -> list[tuple[str, bytes]]:
    """``ca``, ``ca1`` …, ``cert``, ``cert1`` …, ``key``, as a board's slot names them."""
    parts = [
        (f"{stem}{number or ''}", cert.public_bytes(Encoding.DER))
        for stem, certs in (("ca", bundle.anchors), ("cert", bundle.chain))
        for number, cert in enumerate(certs)
    ]
    if key is not None:
        # SEC1 or PKCS#1: every TLS library for boards reads these, not all read PKCS#8.
        traditional = PrivateFormat.TraditionalOpenSSL
        parts.append(("key", key.private_bytes(Encoding.DER, traditional, NoEncryption())))
    return parts


def _pem_parts(bundle: Bundle, key: PrivateKey | None) -> list[tuple[str, str]]:
    """``ca``, ``cert`` (the whole chain) and ``key`` as PEM text."""
    parts = [("ca", certs_pem(bundle.anchors)), ("cert", certs_pem(bundle.chain))]
    if key is not None:
        parts.append(("key", key_pem(key)))
    return [(stem, text.decode()) for stem, text in parts if text]


def _p12(bundle: Bundle, key: PrivateKey | None, passphrase: bytes | None, legacy: bool) -> bytes:
    if passphrase is None:
        raise KeyfobHostError(
            "export.passphrase-needed",
            "a PKCS#12 file is encrypted, and no passphrase was given",
            evidence=f"{bundle.stem}.p12",
            fix="give --passphrase-file FILE, --passphrase-env VARIABLE or --passphrase-fd N, "
            "or run it in a terminal",
            status=ExitStatus.IDENTITY,
        )
    leaf = bundle.chain[0] if bundle.chain else None
    others = [
        pkcs12.PKCS12Certificate(cert, _friendly(cert))
        for cert in (*bundle.chain[1:], *bundle.anchors)
    ]
    return pkcs12.serialize_key_and_certificates(
        bundle.name.encode(), key, leaf, others, _p12_encryption(passphrase, legacy)
    )


def _p12_encryption(passphrase: bytes, legacy: bool) -> KeySerializationEncryption:
    builder = PrivateFormat.PKCS12.encryption_builder()
    if legacy:
        return (
            builder.kdf_rounds(_P12_LEGACY_ROUNDS)
            .key_cert_algorithm(pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC)
            .hmac_hash(SHA1())  # noqa: S303 (asked for with --legacy)
            .build(passphrase)
        )
    return (
        builder.kdf_rounds(_P12_ROUNDS)
        .key_cert_algorithm(pkcs12.PBES.PBESv2SHA256AndAES256CBC)
        .hmac_hash(SHA256())
        .build(passphrase)
    )


def _friendly(cert: x509.Certificate) -> bytes | None:
    return common_name(cert.subject).encode() or None


def _c_header(bundle: Bundle, key: PrivateKey | None, pem_string: bool, prefix: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,30}", prefix):
        raise KeyfobHostError(
            "export.bad-prefix",
            "this cannot begin a C identifier: letters, digits and _, not a digit first, "
            "at most 31 characters",
            evidence=repr(prefix),
            fix="--prefix keyfob_",
        )
    # The name is part of it: two headers in one program clash openly, none is skipped.
    guard = re.sub(r"[^A-Z0-9]", "_", f"{prefix}{bundle.name}_H".upper())
    lines = [*_c_comment(bundle, key), f"#ifndef {guard}", f"#define {guard}", ""]
    if pem_string:
        for stem, text in _pem_parts(bundle, key):
            rows = [f'    "{row}\\n"' for row in text.splitlines()]
            lines += [f"static const char {prefix}{stem}_pem[] =", *rows]
            lines[-1] += ";"
            lines.append("")
    else:
        # On boards that keep constants in RAM (ESP8266) the array is put into flash.
        lines += [
            "#ifdef ARDUINO",
            "#include <Arduino.h>",
            "#define KEYFOB_IN_FLASH PROGMEM",
            "#else",
            "#define KEYFOB_IN_FLASH",
            "#endif",
            "",
        ]
        for stem, der in _der_parts(bundle, key):
            name = f"{prefix}{stem}_der"
            lines += [
                f"static const unsigned char {name}[] KEYFOB_IN_FLASH = {{",
                *_c_bytes(der),
                "};",
                f"static const unsigned int {name}_len = {len(der)};",
                "",
            ]
        lines += ["#undef KEYFOB_IN_FLASH", ""]
    return "\n".join([*lines, "#endif", ""])


def _c_comment(bundle: Bundle, key: PrivateKey | None) -> Iterable[str]:
    yield f"/* Made by keyfob: {_in_comment(bundle.name)}."
    for what, certs in (("trust anchor", bundle.anchors), ("certificate", bundle.chain)):
        for cert in certs:
            subject = _in_comment(cert.subject.rfc4514_string())
            yield f" * {what}: {subject}, until {cert.not_valid_after_utc:%Y-%m-%d}"
    if key is not None:
        yield " * The private key is in this file: keep it out of version control."
    yield " */"


def _in_comment(text: str) -> str:
    """In ASCII, on one line, and without what would end the comment or begin another."""
    return ascii(text)[1:-1].replace("*/", "* /").replace("/*", "/ *")


def _c_bytes(content: bytes) -> Iterable[str]:
    for start in range(0, len(content), _C_COLUMNS):
        yield "    " + " ".join(f"0x{byte:02x}," for byte in content[start : start + _C_COLUMNS])


def _nvs_csv(bundle: Bundle, key: PrivateKey | None, pem_string: bool, namespace: str) -> str:
    if not re.fullmatch(rf"[A-Za-z0-9_.-]{{1,{_NVS_NAME_MAX}}}", namespace):
        raise KeyfobHostError(
            "export.bad-namespace",
            f"an NVS namespace has 1 to {_NVS_NAME_MAX} characters: letters, digits, _ . -",
            evidence=repr(namespace),
            fix="--namespace keyfob",
        )
    lines = ["key,type,encoding,value", f"{namespace},namespace,,"]
    if pem_string:
        for stem, text in _pem_parts(bundle, key):
            if len(text) + 1 > _NVS_STRING_MAX:
                raise KeyfobHostError(
                    "export.too-long",
                    f"the text of {stem!r} is longer than a string in NVS can be",
                    evidence=f"{len(text) + 1} bytes with its end, at most {_NVS_STRING_MAX}",
                    fix="leave --pem-string out: DER is half as long, and no string",
                )
            lines.append(f'{stem},data,string,"{text}"')
    else:
        for stem, der in _der_parts(bundle, key):
            lines.append(f"{stem},data,base64,{base64.b64encode(der).decode()}")
    return "\n".join([*lines, ""])
