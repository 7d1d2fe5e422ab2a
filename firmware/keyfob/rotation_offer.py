"""An offer of a rotation: read strictly, and judged but for its signature.

The form is told in `keyfob.rotation`. What is signed begins with a text, so that no
certificate and no handshake is ever the same bytes. Private keys are never part of an offer.

Not checked here: the signature, which is `keyfob.rotation_verify`'s matter.
"""

import binascii
import hashlib
import json

from micropython import const

from keyfob.errors import KeyfobError
from keyfob.rotation_slot import MAX_OFFER_BYTES

_CONTEXT = b"keyfob identity 1\n"
_MAX_SIGNATURE = const(512)  # bytes: RSA-4096
_MAX_FILE_BYTES = const(4096)
_MAX_CERTIFICATES = const(4)
_AHEAD_S = const(86_400)


class Offer:
    """``device_id``, ``created_s`` (Unix seconds), ``files`` (name to [size, SHA-256 in hex]);
    ``signature``; ``digest``: SHA-256 of what it signs."""

    def __init__(self, signature: bytes, digest: bytes, fields: dict) -> None:
        self.signature = signature
        self.digest = digest
        self.device_id = fields["device_id"]
        self.created_s = fields["created_s"]
        self.files = fields["files"]


def read_offer(payload) -> Offer:
    """Errors: rotate.malformed, rotate.too-large, rotate.key-sent, rotate.unknown-file."""
    if len(payload) > MAX_OFFER_BYTES:
        detail = "%d bytes, limit %d" % (len(payload), MAX_OFFER_BYTES)
        raise KeyfobError("rotate.too-large", detail)
    end = payload.find(b"\n")
    try:
        if payload[:6] != b"offer " or end < 0 or payload[-1:] != b"}":
            raise ValueError("want offer SIGNATURE, a new line, and an object")
        signature = binascii.a2b_base64(payload[6:end])
        fields = json.loads(payload[end + 1 :].decode())
    except (ValueError, UnicodeError, RuntimeError) as error:  # RuntimeError: nested too deeply
        raise KeyfobError("rotate.malformed", str(error)[:64])
    _check_form(signature, fields)
    for name in fields["files"]:
        _check_file(name, fields["files"][name])
    for stem in ("ca", "cert"):
        _check_whole(stem, fields["files"])
    hashed = hashlib.sha256(_CONTEXT)
    hashed.update(memoryview(payload)[end + 1 :])
    return Offer(signature, hashed.digest(), fields)


def _check_form(signature: bytes, fields) -> None:
    is_right = isinstance(fields, dict) and len(fields) == 3 and len(signature) >= 8
    is_right = is_right and len(signature) <= _MAX_SIGNATURE
    is_right = is_right and isinstance(fields.get("device_id"), str)
    is_right = is_right and _is_count(fields.get("created_s"))
    is_right = is_right and isinstance(fields.get("files"), dict) and len(fields["files"]) > 0
    if not is_right:
        detail = "want a signature, device_id, created_s, files and nothing else"
        raise KeyfobError("rotate.malformed", detail)


def _check_file(name: str, given) -> None:
    if name == "key.der":
        raise KeyfobError("rotate.key-sent", "a private key stays where it was made")
    names = ["update.der"]
    for stem in ("ca", "cert"):
        names += ["%s%s.der" % (stem, number or "") for number in range(_MAX_CERTIFICATES)]
    if name not in names:
        raise KeyfobError("rotate.unknown-file", name[:24])
    if not isinstance(given, list) or len(given) != 2 or not _is_count(given[0]):
        raise KeyfobError("rotate.malformed", "%s: want [size, SHA-256 in hex]" % name)
    size, digest = given
    if not 0 < size <= _MAX_FILE_BYTES:
        raise KeyfobError("rotate.too-large", "%s: %d, limit %d" % (name, size, _MAX_FILE_BYTES))
    is_hex = isinstance(digest, str) and len(digest) == 64
    if not is_hex or digest.strip("0123456789abcdef"):
        raise KeyfobError("rotate.malformed", "%s: want [size, SHA-256 in hex]" % name)


def _check_whole(stem: str, files: dict) -> None:
    """A set has no gap: ca1.der comes with ca.der, and replaces all others."""
    count = len([name for name in files if name[: -len(".der")].rstrip("0123456789") == stem])
    for number in range(count):
        name = "%s%s.der" % (stem, number or "")
        if name not in files:
            raise KeyfobError("rotate.malformed", "%d files %s, no %s" % (count, stem, name))


def _is_count(value) -> bool:
    # bool is an int to Python; a number of 40 bits is more than any here.
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 40


def check_offer(offer: Offer, device_id: str, newest_s: int, now_s: int) -> None:
    """Judge all but the signature. ``newest_s``: the latest ``created_s`` on the board.

    Errors: rotate.wrong-device, rotate.replayed, rotate.from-the-future.
    """
    if offer.device_id != device_id:
        detail = "%s, this is %s" % (offer.device_id[:64], device_id)
        raise KeyfobError("rotate.wrong-device", detail)
    if offer.created_s <= newest_s:
        detail = "made at %d, the board has one of %d" % (offer.created_s, newest_s)
        raise KeyfobError("rotate.replayed", detail)
    if offer.created_s > now_s + _AHEAD_S:
        detail = "made at %d, clock %d" % (offer.created_s, now_s)
        raise KeyfobError("rotate.from-the-future", detail)
