"""Makes the offers for `test_rotation`: ``tests/vectors/rotation.txt``.

Certificates, keys and signatures are `cryptography`'s; manifests are put together here by
the words of ``firmware/keyfob/rotation.py``. Written by ``python tests/unit/rotation_cases.py``,
keys are drawn anew each time.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

FILE = Path(__file__).resolve().parent.parent / "vectors" / "rotation.txt"
DEVICE = "sensor-01"
CREATED_S = 1_795_000_000
UTC = datetime.timezone.utc
START = datetime.datetime(2026, 1, 1, tzinfo=UTC)
END = datetime.datetime(2046, 1, 1, tzinfo=UTC)
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def certificate(
    subject: str, key: Key, issuer: str, issuer_key: Key, *, is_ca: bool = False,
    end: datetime.datetime = END, usage: x509.ObjectIdentifier = ExtendedKeyUsageOID.CLIENT_AUTH,
) -> bytes:  # fmt: skip
    usages = dict.fromkeys(
        (
            "digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
            "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
        ), False,
    )  # fmt: skip
    usages["key_cert_sign" if is_ca else "digital_signature"] = True
    builder = x509.CertificateBuilder(
        name(issuer), name(subject), key.public_key(), x509.random_serial_number(), START, end
    )
    builder = builder.add_extension(x509.BasicConstraints(is_ca, None), True)
    builder = builder.add_extension(x509.KeyUsage(**usages), True)
    if not is_ca:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), False)
    return builder.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def sec1(key: Key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )  # fmt: skip


def offer(contents: dict[str, bytes], key: Key, **changes: Any) -> bytes:
    manifest: dict[str, Any] = {
        "device_id": DEVICE,
        "created_s": CREATED_S,
        "files": {
            one: [len(content), hashlib.sha256(content).hexdigest()]
            for one, content in contents.items()
        },
        **changes,
    }
    text = json.dumps(manifest, separators=(",", ":")).encode()
    signed = b"keyfob identity 1\n" + text
    if isinstance(key, rsa.RSAPrivateKey):
        signature = key.sign(signed, padding.PKCS1v15(), hashes.SHA256())
    else:
        signature = key.sign(signed, ec.ECDSA(hashes.SHA256()))
    return b"offer " + base64.b64encode(signature) + b"\n" + text


def main() -> None:
    keys: dict[str, Key] = {
        one: ec.generate_private_key(ec.SECP256R1())
        for one in ("ca", "stranger", "device", "new", "update", "below")
    }
    keys["p384"] = ec.generate_private_key(ec.SECP384R1())
    keys["rsa"] = rsa.generate_private_key(65537, 2048)
    contents = {
        one: certificate(f"CA {one}", keys[one], f"CA {one}", keys[one], is_ca=True)
        for one in ("ca", "stranger", "p384", "rsa")
    }
    contents["below"] = certificate("CA below", keys["below"], "CA ca", keys["ca"], is_ca=True)
    past = datetime.datetime(2026, 2, 1, tzinfo=UTC)
    server = ExtendedKeyUsageOID.SERVER_AUTH
    device, ca = keys["device"], keys["ca"]
    contents |= {
        "cert": certificate(DEVICE, device, "CA ca", ca),
        "next": certificate(DEVICE, device, "CA ca", ca),
        "of-new-key": certificate(DEVICE, keys["new"], "CA ca", ca),
        "of-below": certificate(DEVICE, device, "CA below", keys["below"]),
        "expired": certificate(DEVICE, device, "CA ca", ca, end=past),
        "server": certificate(DEVICE, device, "CA ca", ca, usage=server),
        "other-name": certificate("sensor-02", device, "CA ca", ca),
        "key": sec1(device),
        "key-new": sec1(keys["new"]),
        "update": keys["update"].public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        ),
    }  # fmt: skip
    cert = {"cert.der": contents["next"]}
    rows: list[list[Any]] = [
        # name, offer, {file of the offer: its content}, code
        [signer, offer(cert, keys[signer]), {"cert.der": "next"}, ""]
        for signer in ("ca", "rsa", "p384", "below", "update")
    ]
    rows.append(["stranger", offer(cert, keys["stranger"]), {}, "rotate.bad-signature"])
    for content, code in (
        ("of-new-key", "store.key-mismatch"), ("expired", "store.expired"),
        ("server", "store.wrong-usage"), ("other-name", "rotate.wrong-device"),
    ):  # fmt: skip
        made = offer({"cert.der": contents[content]}, ca)
        rows.append([content, made, {"cert.der": content}, code])
    anchors = {"ca.der": contents["ca"], "ca1.der": contents["rsa"]}
    rows.append(["anchors", offer(anchors, ca), {"ca.der": "ca", "ca1.der": "rsa"}, ""])
    both = {
        "ca.der": contents["rsa"], "cert.der": contents["of-below"],
        "cert1.der": contents["below"],
    }  # fmt: skip
    rows.append([
        "all", offer(both, ca),
        {"ca.der": "rsa", "cert.der": "of-below", "cert1.der": "below"}, "",
    ])  # fmt: skip
    digest = hashlib.sha256(contents["next"]).hexdigest()
    for one, changes, code in (
        ("other-device", {"device_id": "sensor-02"}, "rotate.wrong-device"),
        ("replayed", {"created_s": 1_794_000_000}, "rotate.replayed"),
        ("future", {"created_s": CREATED_S + 200_000}, "rotate.from-the-future"),
        ("key-sent", {"files": {"key.der": [121, digest]}}, "rotate.key-sent"),
        ("unknown", {"files": {"../active": [1, digest]}}, "rotate.unknown-file"),
        ("gap", {"files": {"ca1.der": [434, digest]}}, "rotate.malformed"),
        ("fifth", {"files": {"ca4.der": [434, digest]}}, "rotate.unknown-file"),
        ("large", {"files": {"cert.der": [4097, digest]}}, "rotate.too-large"),
        ("empty", {"files": {"cert.der": [0, digest]}}, "rotate.too-large"),
        ("no-hash", {"files": {"cert.der": [434, "00"]}}, "rotate.malformed"),
        ("no-files", {"files": {}}, "rotate.malformed"),
        ("more", {"more": 1}, "rotate.malformed"),
        ("true", {"created_s": True}, "rotate.malformed"),
        ("huge", {"created_s": 10**300}, "rotate.malformed"),
    ):
        rows.append([one, offer(cert, ca, **changes), {}, code])
    lines = [json.dumps({one: content.hex() for one, content in contents.items()})]
    lines += [json.dumps([one, made.decode(), files, code]) for one, made, files, code in rows]
    FILE.write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main()
