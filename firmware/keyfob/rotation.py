"""Rotation: a new certificate or new trust anchors over MQTT, in use only if they connect.

Topics below ``devices/<id>/identity/``:

``set``      host to board, QoS 1: an offer, then its files in chunks; or ``state``, which
             has the board tell it once more
``state``    board to host, retained: JSON, what the board has, see `state`
``request``  board to host, retained: a certificate request, see `keyfob.renewal`

An offer is ``offer SIGNATURE\\nMANIFEST``: base64 of an ECDSA or RSA PKCS#1 v1.5 signature
with SHA-256 over ``keyfob identity 1\\n`` and the manifest, by the key of one of the board's
trust anchors, of an intermediate in its own chain (which issued its certificate), or by its
update key (``update.der`` in its slot, a SubjectPublicKeyInfo, where there is one). The
manifest is JSON: ``device_id``, ``created_s``, and ``files``, name to [size, SHA-256 in hex].
Files are a whole set of trust anchors (``ca.der``, ``ca1.der`` …), a whole chain
(``cert.der``, ``cert1.der`` …), an ``update.der``, or several of these; the board copies what
it is not sent from its present identity. It is never sent a key: a certificate is for the
board's present key, or for the one that it made for a renewal.

A chunk is ``chunk CREATED_S NAME OFFSET\\n`` and bytes. It is taken at the offset that the
state tells, and ignored elsewhere: that makes a second copy harmless, and lets an offer go on
where a reset or a lost link stopped it. Chunks go into the slot that is not in use. Behind the
last one the slot is checked as a whole and goes on trial (`keyfob.trial`).

Here is what a connection leaves room for on a small board, and no network: messages in,
payloads out. Everything else, judging signatures above all, is `keyfob.rotation_work`'s, most
often without a connection. `keyfob.rotation_blocking` and `keyfob.rotation_tasks` apply both.
``notes`` is a dict that their owner keeps; its keys are told in `keyfob.rotation_work`.

Not checked here: an offer, which is kept for `keyfob.rotation_work`; that the bytes of a file
are right, which its hash tells when all are there.
"""

import hashlib
import json

from micropython import const

from keyfob.errors import KeyfobError
from keyfob.events import emit

_MAX_DETAIL = const(96)  # characters, so that the state fits the smallest buffer
_MAX_MESSAGE_BYTES = const(1024)
_DAY_S = const(86_400)
_MAX_HEAD = const(64)  # bytes of a chunk's first line
_CREATED = b'"created_s":'


def take(notes: dict, payload) -> None:
    """A message of ``set`` came: what it wants done is in ``todo``, what is wrong with it in
    the next `state`."""
    try:
        most = notes.get("message", _MAX_MESSAGE_BYTES)
        if len(payload) > most:
            raise KeyfobError("rotate.too-large", "%d bytes, limit %d" % (len(payload), most))
        kind = bytes(payload[:6])
        if kind == b"offer ":
            # Not the one that was refused: the broker sends it again, or the host does.
            if hashlib.sha256(payload).digest() != notes.get("refused"):
                notes["offer"] = payload
                notes["todo"] = "judge"
        elif kind == b"chunk ":
            _take_chunk(notes, payload)
        elif payload == b"state":
            notes["todo"] = "" if "state" in notes else "look"
        else:
            raise KeyfobError("rotate.malformed", "%r, want offer or chunk" % kind)
    except KeyfobError as error:
        refuse(notes, error, payload)
    except OSError as error:
        notes["todo"] = "clear"
        refuse(notes, KeyfobError("rotate.not-kept", str(error)), payload)


def _take_chunk(notes: dict, payload) -> None:
    end = payload.find(b"\n", 0, _MAX_HEAD)
    words = payload[: max(0, end)].split(b" ")
    if len(words) != 4 or not (_is_number(words[1]) and _is_number(words[3])):
        raise KeyfobError("rotate.malformed", "%r, want chunk CREATED_S NAME OFFSET" % words[:4])
    made_s, offset = int(words[1]), int(words[3])
    plan = notes.get("plan")
    if not plan or plan[0] != made_s:
        if not plan and made_s <= notes["created_s"]:
            return  # a second copy of one that came before the offer was complete
        under_way_s = plan[0] if plan else 0
        raise KeyfobError("rotate.no-offer", "%d, under way is %d" % (made_s, under_way_s))
    _, folder, files = plan
    name = "".join(chr(byte) for byte in words[2])
    if name not in files:
        raise KeyfobError("rotate.unknown-file", name[:24])
    size, had = files[name]
    count = len(payload) - end - 1
    if not count or offset + count > size:
        what = (name, offset, count, size)
        raise KeyfobError("rotate.too-large", "%s: offset %d and %d bytes, size %d" % what)
    if offset == had:
        with open(folder + "/" + name, "ab") as file:
            file.write(memoryview(payload)[end + 1 :])
        files[name][1] = had + count
    if all(size == had for size, had in files.values()):
        notes["todo"] = "finish"


def _is_number(word: bytes) -> bool:
    return word.isdigit() and len(word) <= 10


def refuse(notes: dict, error: KeyfobError, payload) -> None:
    """What came in ``payload`` is refused: the event, and what the next `state` tells."""
    created_s = _number_in(payload)
    notes["refused"] = hashlib.sha256(payload).digest()
    emit("identity.refused", created_s=created_s, code=error.code, detail=error.detail)
    tell(notes, "refused", created_s, error.code, error.detail)


def tell(notes: dict, result: str, created_s: int, code: str, detail: str) -> None:
    """Have the next `state` tell the outcome of an offer."""
    outcome = {"result": result, "created_s": created_s, "code": code}
    outcome["detail"] = detail[:_MAX_DETAIL]
    notes["outcome"] = json.dumps(outcome)


def due_request(notes: dict, now_s: int):
    """The payload of ``request`` if that is to be published now, else None; ``todo`` becomes
    "renew" if it is to be made first."""
    if now_s < notes["renew_s"]:
        return None
    request = notes.pop("request", None)
    if request or notes.pop("no_request", False):
        notes["renew_s"] = now_s + _DAY_S
    else:
        notes["todo"] = notes.get("todo") or "renew"
    return request


def state(notes: dict) -> bytes:
    """The payload of ``state``, b"" if it is not known until somebody looks.

    JSON with ``slot``, ``cert`` (16 hex digits of the certificate's SHA-256), ``created_s`` and
    ``not_after_s`` of the active identity, or ``damaged``, what is wrong with it; ``message``,
    the most bytes that a message may have, and ``chunk``, the most of a chunk; ``todo``, what is
    about to be done without a connection; ``offer``, {``created_s``, ``had``: name to bytes} if
    one is under way; ``outcome``, {``result``: "refused" or "rolled-back", ``created_s``,
    ``code``, ``detail``} of the last one that failed.
    """
    text = notes.get("state", "")
    if not text:
        return b""
    if notes.get("todo"):
        text += ',"todo":"%s"' % notes["todo"]
    plan = notes.get("plan")
    if plan:
        had = ",".join('"%s":%d' % (name, plan[2][name][1]) for name in sorted(plan[2]))
        text += ',"offer":{"created_s":%d,"had":{%s}}' % (plan[0], had)
    if notes.get("outcome"):
        text += ',"outcome":' + notes["outcome"]
    return (text + "}").encode()


def _number_in(payload) -> int:
    """``created_s`` of an offer or a chunk, as far as it can be read; 0 if not.

    So that whoever sent it knows that the answer is for that; nothing else goes by it.
    """
    at = 6
    if payload[:6] != b"chunk ":
        at = payload.find(_CREATED) + len(_CREATED)
        if at < len(_CREATED):
            return 0
    end = at
    while end < len(payload) and end < at + 10 and 0x30 <= payload[end] <= 0x39:
        end += 1
    return int(payload[at:end]) if end > at else 0
