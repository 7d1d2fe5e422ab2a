"""An identity judged for a board, and as the files that a board's slot holds.

Everything a broker or the board would refuse later is refused here, before the board
is touched: who the certificate names, that it chains to the trust anchors, its dates
and its usage, and that the board's TLS engine takes the key. That key and
certificate belong together is checked by `Identity.read`. Not judged: revocation, and
whether the broker's ACL knows the device.
"""

from __future__ import annotations

import contextlib
import itertools
import json
from datetime import datetime, timezone

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import ExtendedKeyUsageOID

from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.pki.identity import Identity, Issued

# What firmware/keyfob/store.py reads: no larger file, no longer chain, no further anchor.
MAX_FILE_BYTES = 4096
MAX_CERTIFICATES = 4

MANIFEST = "manifest.json"


def check_identity(
    identity: Issued, *, device_id: str | None = None, now: datetime | None = None
) -> None:
    """Refuse an identity that could not connect.

    ``device_id``: the name the certificate must carry, if one was asked for. Errors:
    ``provision.wrong-device``, ``provision.cert-expired``,
    ``provision.cert-not-yet-valid``, ``provision.wrong-usage``, ``provision.is-ca``,
    ``provision.bad-anchor``, ``provision.chain-broken``.
    """
    if device_id is not None and identity.name != device_id:
        raise _refused(
            "wrong-device", "the certificate names another device than the one asked for",
            f"certificate: CN {identity.name}; asked for: {device_id}", device_id,
        )  # fmt: skip
    moment = now or datetime.now(timezone.utc)
    for cert in (identity.cert, *identity.intermediates):
        _check_dates(cert, moment, identity.name)
    _check_usage(identity)
    _check_chain(identity, moment)


def slot_files(identity: Identity, engine: str) -> dict[str, bytes]:
    """`certificate_files` and ``key.der``, in DER: all of a slot but its manifest.

    Errors: ``cert.key-type-not-for-engine``, ``provision.chain-too-long``,
    ``provision.file-too-large``.
    """
    files = certificate_files(identity)
    files["key.der"] = identity.key_der_for(engine)
    return _bounded(files, identity.name)


def certificate_files(identity: Issued) -> dict[str, bytes]:
    """``ca.der``, ``ca1.der`` …, ``cert.der``, ``cert1.der`` …: all that is not secret.

    Errors: ``provision.chain-too-long``, ``provision.file-too-large``.
    """
    files: dict[str, bytes] = {}
    for stem, certs in (("ca", identity.anchors_der()), ("cert", identity.chain_der())):
        if len(certs) > MAX_CERTIFICATES:
            raise _refused(
                "chain-too-long",
                f"a board keeps {MAX_CERTIFICATES} certificates of a kind at most",
                f"{len(certs)} in {'ca' if stem == 'ca' else 'chain'}.pem", identity.name,
            )  # fmt: skip
        for number, der in enumerate(certs):
            files[f"{stem}{number or ''}.der"] = der
    return _bounded(files, identity.name)


def _bounded(files: dict[str, bytes], name: str) -> dict[str, bytes]:
    for file, content in files.items():
        if len(content) > MAX_FILE_BYTES:
            raise _refused(
                "file-too-large", f"{file} is larger than a board reads",
                f"{len(content)} bytes, at most {MAX_FILE_BYTES}", name,
            )  # fmt: skip
    return files


def manifest_text(device_id: str, created_s: int, digests: dict[str, str]) -> bytes:
    """``manifest.json``: whose identity it is, since when, and each file's SHA-256 (hex)."""
    manifest = {"device_id": device_id, "created_s": created_s, "files": digests}
    return json.dumps(manifest, separators=(",", ":")).encode()


def _check_dates(cert: x509.Certificate, moment: datetime, name: str) -> None:
    subject = cert.subject.rfc4514_string()
    if moment > cert.not_valid_after_utc:
        raise _refused(
            "cert-expired", "a certificate of this identity has expired",
            f"{subject}: notAfter {_text(cert.not_valid_after_utc)}, now {_text(moment)}", name,
        )  # fmt: skip
    if moment < cert.not_valid_before_utc:
        raise KeyfobHostError(
            "provision.cert-not-yet-valid", "a certificate of this identity is not valid yet",
            evidence=f"{subject}: notBefore {_text(cert.not_valid_before_utc)}, "
            f"now {_text(moment)}",
            fix=f"check this machine's clock: date -u; if it is right: "
            f"keyfob cert device {name} --force",
            status=ExitStatus.IDENTITY,
        )  # fmt: skip


def _check_usage(identity: Issued) -> None:
    """No CA; key usage digitalSignature; EKU clientAuth. RFC 5280 sections 4.2.1.3 and
    4.2.1.12: without the extension any usage is allowed."""
    if _is_ca(identity.cert):
        raise _refused(
            "is-ca", "the certificate is a CA's: who steals the board could issue certificates",
            f"{identity.cert.subject.rfc4514_string()}: basic constraints with CA:TRUE",
            identity.name,
        )  # fmt: skip
    with contextlib.suppress(x509.ExtensionNotFound):
        usage = identity.cert.extensions.get_extension_for_class(x509.KeyUsage).value
        if not usage.digital_signature:
            raise _refused(
                "wrong-usage", "the certificate's key may not sign, as a TLS client must",
                "key usage without digitalSignature", identity.name,
            )  # fmt: skip
    try:
        usages = identity.cert.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return
    allowed = {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
    if not allowed & set(usages):
        seen = ", ".join(usage._name for usage in usages)
        raise _refused(
            "wrong-usage", "the certificate is not for a client: the broker would refuse it",
            f"extended key usage: {seen}; needed: clientAuth", identity.name,
        )  # fmt: skip


def _check_chain(identity: Issued, moment: datetime) -> None:
    """Signatures from the end-entity up to one of ``ca.pem`` (RFC 5280 section 6.1, in part)."""
    current = identity.cert
    above = list(identity.intermediates)
    for below, cert in itertools.pairwise((current, *above)):
        if below.issuer != cert.subject:
            raise _refused(
                "chain-broken", "chain.pem is not in order, the device's certificate first and "
                "each one's issuer behind it",
                f"issuer {below.issuer.rfc4514_string()}, behind it "
                f"{cert.subject.rfc4514_string()}", identity.name,
            )  # fmt: skip
    for anchor in identity.anchors:
        if not _is_ca(anchor):
            raise _refused(
                "bad-anchor", "a trust anchor in ca.pem is no CA's certificate",
                f"{anchor.subject.rfc4514_string()}: basic constraints without CA:TRUE",
                identity.name,
            )  # fmt: skip
    while True:
        for anchor in identity.anchors:
            if _issued(current, anchor):
                _check_dates(anchor, moment, identity.name)
                return
        issuer = next((cert for cert in above if _issued(current, cert)), None)
        if issuer is None:
            anchors = "; ".join(one.subject.rfc4514_string() for one in identity.anchors)
            raise _refused(
                "chain-broken",
                "the certificate does not verify against the trust anchors in ca.pem",
                f"{current.subject.rfc4514_string()}: issuer {current.issuer.rfc4514_string()}; "
                f"ca.pem: {anchors}", identity.name,
            )  # fmt: skip
        _check_is_ca(issuer, identity.name)
        above.remove(issuer)
        current = issuer


def _issued(cert: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        cert.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _is_ca(cert: x509.Certificate) -> bool:
    try:
        return cert.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _check_is_ca(cert: x509.Certificate, name: str) -> None:
    if not _is_ca(cert):
        raise _refused(
            "chain-broken", "a certificate that is no CA's signed another one",
            f"{cert.subject.rfc4514_string()}: basic constraints without CA:TRUE", name,
        )  # fmt: skip


def _text(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}Z"


def _refused(reason: str, cause: str, evidence: str, name: str) -> KeyfobHostError:
    return KeyfobHostError(
        f"provision.{reason}", cause, evidence=evidence,
        fix=f"keyfob cert device {name} --force, then provision again",
        status=ExitStatus.IDENTITY,
    )  # fmt: skip
