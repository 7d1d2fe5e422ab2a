"""What a rotation does beside a connection: look at the flash, judge, finish, renew.

`work` is to be called before the first connection and whenever ``notes["todo"]`` says so; on
a small board only while there is no connection, since it takes most of the heap. In
``notes`` are

``todo``       "judge" (the offer in ``offer``), "finish" (its files are all there), "renew",
               "clear" (the flash failed), "look" (the slots may have changed); "" or none
``state``      what `keyfob.rotation.state` begins with, as text
``message``    bytes that a message may have at most; ``chunk``: those of a chunk; both may
               be gone, and ``state``, once that was told
``plan``       the offer under way: (created_s, folder, {name: [size, bytes had]}), or None
``created_s``  of the newest identity on the board
``outcome``    of the last offer that failed, JSON; ``refused``: SHA-256 of that offer
``request``    a certificate request that was made, for `keyfob.rotation.due_request`; if it
               could not be made, there is ``no_request`` instead
``renew_s``    when it is due, Unix seconds
``slot``       that the next connection is with, unless its trial is over by then

Not checked: what `keyfob.rotation_offer`, `keyfob.rotation_finish` and the store check.
"""

import gc
import json
import os
import sys

from micropython import const

from keyfob import drop, plenty_bytes
from keyfob.errors import KeyfobError
from keyfob.events import emit
from keyfob.rotation_memory import unload

ROOT = "/id"
_MAX_MESSAGE_BYTES = const(1024)  # whatever the buffer takes
_SMALL_BYTES = const(2048)  # a buffer of less: beside it there is little room for a copy
_SMALL_CHUNK_BYTES = const(512)
_PACKET_BYTES = const(16)  # of a PUBLISH, beside topic and payload, and some to spare
_PARTIAL = const(1)
_COMPLETE = const(2)
_OUTCOME = "/outcome"  # below the root: what is to be told behind a reset
_MAX_OUTCOME = const(300)
_MAX_DAMAGE = const(96)  # characters


# Of a board that has no room to look at its flash.
_NOTHING = {"slot": "", "renew_s": 1 << 40, "created_s": 0}


def topic(config: dict, name: str) -> str:
    """Of ``set``, ``state`` or ``request``."""
    return "devices/%s/identity/%s" % (config["device_id"], name)


def work_between(client, notes: dict) -> None:
    """`work`, for a `keyfob.blocking.BlockingClient` between two connections, if there is
    anything to do. A small board is reset behind it."""
    is_boot = not notes
    if notes and not notes.get("todo"):
        return
    is_small = gc.mem_free() < plenty_bytes
    was_on_trial = _is_on_trial()
    if is_small and not is_boot and notes["todo"] == "finish":
        _reset()  # the files are there; what follows finds its heap in one piece then
    # What the connection took, and the next one will take again.
    drop(
        "backoff", "connection", "mqtt.connect", "mqtt.subscribe", "mqtt.session",
        "mqtt.session5", "mqtt.properties", "mqtt.granted", "mqtt.publish", "mqtt.acks",
        "rotation_blocking", "rotation",
    )  # fmt: skip
    kept = list(sys.modules)
    try:
        if not notes:
            _warm_up()
        work(client.config, notes, client.clock.now_s() if notes else 0)
    except MemoryError:
        # The application goes on; only its identity stays as it is. Nothing is said, which
        # would take memory, and what there is the prompt may want.
        notes.update(_NOTHING)
        unload(kept)
    # At boot there is work only for an offer that was complete, and only once.
    if is_small and (not is_boot or (_is_on_trial() and not was_on_trial)):
        # What was done is in flash. Without a heap in one piece there is no handshake, and on
        # the stack too much looks like a reference for one to come of collecting.
        _keep_outcome(notes)
        _reset()
    gc.collect()
    for name in notes:
        # Where what is dropped now was, it would be in the way of TLS's buffers.
        if isinstance(notes[name], str):
            notes[name] = "".join(notes[name].split("\n"))


def _reset() -> None:
    import machine

    machine.reset()


def _is_on_trial() -> bool:
    try:
        os.stat(ROOT + "/trial")
    except OSError:
        return False
    return True


def _keep_outcome(notes: dict) -> None:
    """For the state that the board tells behind a reset."""
    if notes.get("outcome"):
        try:
            with open(ROOT + _OUTCOME, "w") as file:
                file.write(notes["outcome"])
        except OSError:
            pass  # the host hears nothing, and asks again


def _warm_up() -> None:
    """Import everything once, while the heap is still in one piece: the names in a module stay
    on it for ever, wherever they come to lie."""
    kept = list(sys.modules)
    from keyfob import renewal, rotation, rotation_finish, rotation_offer, rotation_verify

    del renewal, rotation, rotation_finish, rotation_offer, rotation_verify
    unload(kept)


def work(config: dict, notes: dict, now_s: int, root: str = ROOT) -> None:
    """Do what ``todo`` says, and look at the flash. What fails is told by the next state.

    ``now_s``: Unix seconds; 0 before the clock is set, when nothing is to do. Raises
    MemoryError only.
    """
    todo = notes.pop("todo", "")
    offer = notes.pop("offer", b"")
    kept = list(sys.modules)
    room = config["limits"]["rx_bytes"]
    most = min(room - len(topic(config, "set")) - _PACKET_BYTES, _MAX_MESSAGE_BYTES)
    notes["message"] = most
    notes["chunk"] = most if room >= _SMALL_BYTES else min(most, _SMALL_CHUNK_BYTES)
    for name in _NOTHING:
        notes.setdefault(name, _NOTHING[name])
    notes.setdefault("state", _text({"damaged": "not looked at"}, notes))
    try:
        gc.collect()
        if todo == "judge":
            _judge(config["device_id"], notes, offer, now_s, root)
        elif todo == "finish" or (not todo and _is_complete(root)):
            _finish(config["device_id"], notes, now_s, root)
        elif todo == "renew":
            from keyfob.renewal import make_request

            notes["no_request"] = True
            make_request(root, config["device_id"])
            notes["no_request"] = False
        elif todo == "clear":
            from keyfob import rotation_slot

            rotation_slot.clear(root)
    except (KeyfobError, OSError, MemoryError) as error:
        unload(kept)
        _refuse(notes, error, offer, todo)
    unload(kept)
    try:
        _look(notes, root)
    except (KeyfobError, OSError) as error:
        # The store tells the same of each attempt to connect.
        notes["state"] = _text({"damaged": str(error)[:_MAX_DAMAGE]}, notes)
    finally:
        unload(kept)


def _judge(device_id: str, notes: dict, payload, now_s: int, root: str) -> None:
    kept = list(sys.modules)
    goes_on = _goes_on(payload, root)
    if goes_on:
        if goes_on == _COMPLETE:
            _finish(device_id, notes, now_s, root)
        return
    digest, signature = _read(device_id, payload, now_s, root)
    unload(kept)
    from keyfob.rotation_verify import verify

    verify(root, digest, signature)
    del verify
    unload(kept)
    from keyfob import rotation_slot as slots

    # Where the active identity is damaged, the slot to be written is the one in use.
    slots.load_active(root).check()
    slots.begin(root, payload)
    emit("identity.offer", created_s=slots.created_in(payload))


def _is_complete(root: str) -> bool:
    """Whether all of an offer came before a reset, or a cut of the power."""
    from keyfob import rotation_slot as slots

    offer = slots.stored_offer(root)
    return bool(offer) and not slots.slot_on_trial(root) and slots.is_complete(root, offer)


def _goes_on(payload, root: str) -> int:
    """Whether the offer is under way already, and complete."""
    from keyfob import rotation_slot as slots

    slots.check_free(root)
    if payload != slots.stored_offer(root):
        return 0
    return _COMPLETE if slots.is_complete(root, payload) else _PARTIAL


def _read(device_id: str, payload, now_s: int, root: str) -> tuple:
    from keyfob.rotation_offer import check_offer, read_offer
    from keyfob.rotation_slot import newest_s

    offer = read_offer(payload)
    check_offer(offer, device_id, newest_s(root), now_s)
    return offer.digest, offer.signature


def _finish(device_id: str, notes: dict, now_s: int, root: str) -> None:
    kept = list(sys.modules)
    try:
        from keyfob.rotation_finish import finish

        finish(root, device_id, now_s)
    except (KeyfobError, OSError, MemoryError) as error:
        failed = error
    else:
        return
    unload(kept)
    from keyfob import rotation_slot as slots

    offer = slots.stored_offer(root)
    slots.clear(root)
    _refuse(notes, failed, offer, "finish")


def _look(notes: dict, root: str) -> None:
    """What is on the flash, for the next connection."""
    from keyfob import renewal, trial
    from keyfob import rotation_slot as slots

    _take_outcome(notes, root)
    report = trial.take_report(root)
    if report:
        created_s = slots.created_s(root, report.get("slot"))
        from keyfob.rotation import tell

        tell(notes, "rolled-back", created_s, report.get("code"), report.get("detail"))
    notes["plan"] = None
    tried = slots.slot_on_trial(root)
    slot = tried or slots.active(root)
    notes["created_s"] = slots.newest_s(root)
    identity = slots.load(root, slot)
    offer = slots.stored_offer(root)
    if offer and not tried:
        notes["plan"] = slots.plan(root, offer)
    begins_s, ends_s = renewal.life(identity)
    due_s = ends_s - (ends_s - begins_s) // 3
    if notes["renew_s"] < due_s or not notes["slot"]:
        notes["renew_s"] = due_s
    notes["slot"] = slot
    request = renewal.waiting(root, identity)
    if request and not tried:
        notes["request"] = request
    told = {"slot": slot, "cert": identity.cert_sha256(), "not_after_s": ends_s}
    told["created_s"] = slots.created_s(root, slot)
    notes["state"] = _text(told, notes)


def _take_outcome(notes: dict, root: str) -> None:
    try:
        with open(root + _OUTCOME) as file:
            text = file.read(_MAX_OUTCOME)
        os.remove(root + _OUTCOME)
        outcome = json.loads(text)
        notes["no_request"] = outcome["code"] == "rotate.no-request"
        notes["outcome"] = text
    except (OSError, ValueError, UnicodeError, KeyError, TypeError):
        pass  # as nearly always, there is none


def _refuse(notes: dict, error, payload, doing: str = "") -> None:
    from keyfob.rotation import refuse

    if isinstance(error, OSError):
        error = KeyfobError("rotate.not-kept", str(error))
    elif isinstance(error, MemoryError):
        error = KeyfobError("rotate.no-memory", "%s: %s" % (doing, error))
    refuse(notes, error, payload)


def _text(told: dict, notes: dict) -> str:
    told["message"], told["chunk"] = notes["message"], notes["chunk"]
    return json.dumps(told, separators=(",", ":"))[:-1]
