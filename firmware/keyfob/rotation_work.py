"""What a rotation does beside a connection: look at the flash, judge, finish, renew.

`work` is to be called before the first connection and whenever ``notes["todo"]`` says so; on
a small board only while there is no connection, since it takes most of the heap. In
``notes`` are

``todo``       "judge" (the offer in ``offer``), "finish" (its files are all there), "renew",
               "clear" (the flash failed), "look" (the slots may have changed); "" or none
``state``      what `keyfob.rotation.state` begins with, as text
``chunk``      bytes that a message may have at most
``plan``       the offer under way: (created_s, folder, {name: [size, bytes had]}), or None
``created_s``  of the newest identity on the board
``outcome``    of the last offer that failed, JSON; ``refused``: SHA-256 of that offer
``request``    a payload to be published on the topic of that name; none: no such key
``renew_s``    when a request is due, Unix seconds
``slot``       that the next connection is with, unless its trial is over by then

Not checked: what `keyfob.rotation_offer`, `keyfob.rotation_finish` and the store check.
"""

import gc
import json
import sys

from micropython import const

from keyfob import drop
from keyfob.errors import KeyfobError
from keyfob.events import emit
from keyfob.rotation import refuse, tell

ROOT = "/id"
_MAX_CHUNK_BYTES = const(1024)  # of a message, whatever the buffer takes
_PACKET_BYTES = const(16)  # of a PUBLISH, beside topic and payload, and some to spare
_DAY_S = const(86_400)
_MAX_DAMAGE = const(96)  # characters


def topic(config: dict, name: str) -> str:
    """Of ``set``, ``state`` or ``request``."""
    return "devices/%s/identity/%s" % (config["device_id"], name)


def work(config: dict, notes: dict, now_s: int, root: str = ROOT) -> None:
    """Do what ``todo`` says, and look at the flash. What fails is told by the next state.

    ``now_s``: Unix seconds; 0 before the clock is set, when nothing is to do. Raises
    MemoryError only.
    """
    todo = notes.pop("todo", "")
    offer = notes.pop("offer", b"")
    kept = list(sys.modules)
    room = config["limits"]["rx_bytes"] - len(topic(config, "set")) - _PACKET_BYTES
    notes["chunk"] = min(room, _MAX_CHUNK_BYTES)
    try:
        gc.collect()
        if todo == "judge":
            _judge(config["device_id"], notes, offer, now_s, root)
        elif todo == "finish":
            _finish(config["device_id"], notes, now_s, root)
        elif todo == "renew":
            from keyfob import renewal

            notes["renew_s"] = now_s + _DAY_S
            notes["request"] = renewal.request(root, config["device_id"])
        elif todo == "clear":
            from keyfob import rotation_slot

            rotation_slot.clear(root)
    except KeyfobError as error:
        refuse(notes, error, offer)
    except OSError as error:
        refuse(notes, KeyfobError("rotate.not-kept", str(error)), offer)
    except MemoryError as error:
        refuse(notes, KeyfobError("rotate.no-memory", "%s: %s" % (todo, error)), offer)
    _unload(kept)
    try:
        _look(notes, root)
    except (KeyfobError, OSError) as error:
        # The store tells the same of each attempt to connect.
        notes["state"] = _text({"damaged": str(error)[:_MAX_DAMAGE]}, notes)
    finally:
        _unload(kept)


def _judge(device_id: str, notes: dict, payload, now_s: int, root: str) -> None:
    from keyfob import rotation_slot as slots
    from keyfob.rotation_offer import check_offer, read_offer, verify

    slots.check_free(root)
    if payload == slots.stored_offer(root):
        if slots.is_complete(root, payload):
            _finish(device_id, notes, now_s, root)
        return  # otherwise it goes on where it was
    offer = read_offer(payload)
    check_offer(offer, device_id, slots.newest_s(root), now_s)
    verify(offer, slots.signers(root))
    # Where the active identity is damaged, the slot to be written is the one in use.
    slots.load_active(root).check()
    slots.begin(root, payload)
    emit("identity.offer", created_s=offer.created_s, files=sorted(offer.files))


def _finish(device_id: str, notes: dict, now_s: int, root: str) -> None:
    from keyfob import rotation_slot as slots
    from keyfob.rotation_finish import finish

    offer = slots.stored_offer(root)
    try:
        finish(root, device_id, now_s)
    except (KeyfobError, OSError) as error:
        slots.clear(root)
        if isinstance(error, OSError):
            error = KeyfobError("rotate.not-kept", str(error))
        refuse(notes, error, offer)


def _look(notes: dict, root: str) -> None:
    """What is on the flash, for the next connection."""
    from keyfob import renewal, trial
    from keyfob import rotation_slot as slots

    report = trial.take_report(root)
    if report:
        created_s = slots.created_s(root, report.get("slot"))
        tell(notes, "rolled-back", created_s, report.get("code"), report.get("detail"))
    notes["plan"] = None
    tried = slots.slot_on_trial(root)
    notes["slot"] = slot = tried or slots.active(root)
    notes["created_s"] = slots.newest_s(root)
    identity = slots.load(root, slot)
    offer = slots.stored_offer(root)
    if offer and not tried:
        notes["plan"] = slots.plan(root, offer)
    begins_s, ends_s = renewal.life(identity)
    if notes.get("renew_s", 0) < ends_s - (ends_s - begins_s) // 3:
        notes["renew_s"] = ends_s - (ends_s - begins_s) // 3
    if not tried:
        renewal.tidy(root, identity)
    told = {"slot": slot, "cert": identity.cert_sha256(), "not_after_s": ends_s}
    told["created_s"] = slots.created_s(root, slot)
    notes["state"] = _text(told, notes)


def _text(told: dict, notes: dict) -> str:
    told["chunk"] = notes["chunk"]
    return json.dumps(told, separators=(",", ":"))[:-1]


def _unload(kept: list) -> None:
    """Drop what came since then; what stood before, a connection may need."""
    names = [name for name in sys.modules if name not in kept]
    drop(*[name[7:] for name in names if name[:7] == "keyfob."])
