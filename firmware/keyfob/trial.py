"""A slot on trial: used for a few attempts to connect, then made active or given up.

    trial.begin("b")      the inactive slot, whole, shall be tried by the next attempts
    trial.attempt()       one begins: its slot, counted in flash before it is tried
    trial.confirm()       the broker took it (CONNACK): it is the active slot from now on
    trial.failed(error)   it did not; whether the trial is over
    trial.take_report()   why the last trial was given up, told once

``/id/trial`` holds two bytes, the slot and the attempts left: ``b3``. A board that is reset
or hangs on the way comes back to its old identity, since the count went down before.
What decides is one rename, that of ``/id/active``; every file here is replaced by one.
``/id/trial.report`` keeps the reason until somebody takes it.

Who begins a trial wants the connection dropped afterwards, so that there is an attempt.
`keyfob.store` asks `attempt`, and says `failed` of the one before; `keyfob.connection` says
`confirm`. An attempt begins with the identity loaded: without Wi-Fi or time none is used up.

Not checked here: what is in the slot; `keyfob.store.load_slot` does that, before `begin`
and again at each attempt.
"""

import json
import os

from micropython import const

from keyfob.errors import KeyfobError
from keyfob.events import emit, emit_error

ROOT = "/id"
_ATTEMPTS = const(3)
_MAX_REPORT_BYTES = const(256)
_MAX_DETAIL = const(120)  # characters, of which JSON may make more bytes


def begin(slot: str, root: str = ROOT) -> None:
    """Try ``slot`` ("a" or "b") from the next attempt on. An older report is dropped.

    Errors: store.bad-trial (of the active slot, or of none), store.trial-not-kept.
    """
    active = _read(root + "/active", 1)
    if slot not in ("a", "b") or active not in ("a", "b") or slot == active:
        raise KeyfobError("store.bad-trial", "trial of %r, active %r" % (slot, active))
    _remove(root + "/trial.report")
    # Of a provisioning that was cut short; they belong to another identity.
    _remove("%s/%s/keyfob.json" % (root, slot))
    _write(root + "/trial", slot + str(_ATTEMPTS))


def attempt(root: str = ROOT) -> str:
    """The slot to be tried now, "" if there is none; one attempt less is left then.

    Where the count cannot be kept nothing is tried: the event error says so.
    """
    text = _read(root + "/trial", 2)
    if not text:
        return ""
    slot, left = text[:1], text[1:]
    if slot == _read(root + "/active", 1):
        _commit(slot, root)  # the power went after the rename
    elif slot not in ("a", "b") or left not in ("0", "1", "2", "3"):
        _give_up(slot, KeyfobError("store.bad-trial", "%s/trial: %r" % (root, text)), root)
    elif left == "0":
        detail = "%d attempts, the board was reset in each, or hung" % _ATTEMPTS
        _give_up(slot, KeyfobError("store.trial-cut-short", detail), root)
    else:
        try:
            _write(root + "/trial", slot + str(int(left) - 1))
            return slot
        except KeyfobError as error:
            emit_error(error)
    return ""


def confirm(root: str = ROOT) -> None:
    """The broker took the slot on trial: it becomes the active one.

    Event: store.committed {slot}. A flash that fails costs the trial, not the connection:
    the next attempt tries once more.
    """
    slot = _read(root + "/trial", 2)[:1]
    if not slot:
        return
    try:
        _write(root + "/active", slot)
    except KeyfobError as error:
        emit_error(error)
        return
    _commit(slot, root)


def failed(error: KeyfobError, root: str = ROOT) -> bool:
    """An attempt ended with ``error``; whether the trial is given up, which a failure of
    the *stop* kind does at once and the last one of the others.

    Event then: store.rolled-back {slot, code, detail}.
    """
    from keyfob.backoff import is_stop

    text = _read(root + "/trial", 2)
    if not text or not (text[1:] == "0" or is_stop(error.code)):
        return False
    _give_up(text[:1], error, root)
    return True


def report(root: str = ROOT):
    """Why the last trial was given up: {"slot", "code", "detail"}; None if it was not."""
    text = _read(root + "/trial.report", _MAX_REPORT_BYTES)
    try:
        # MicroPython before 1.26 takes a text that breaks off for one that is whole.
        return json.loads(text) if text[-1:] == "}" else None
    except ValueError:
        return None


def take_report(root: str = ROOT):
    """As `report`, and it is told no more."""
    found = report(root)
    _remove(root + "/trial.report")
    return found


def _commit(slot: str, root: str) -> None:
    _remove(root + "/trial.report")
    _remove(root + "/trial")
    emit("store.committed", slot=slot)


def _give_up(slot: str, error: KeyfobError, root: str) -> None:
    told = {"slot": slot, "code": error.code, "detail": error.detail[:_MAX_DETAIL]}
    text = json.dumps(told)
    if len(text) > _MAX_REPORT_BYTES:
        told["detail"] = ""
        text = json.dumps(told)
    try:
        # First: without the trial nobody would come here again.
        _write(root + "/trial.report", text)
    except KeyfobError as lost:
        emit_error(lost)
    _remove(root + "/trial")
    emit("store.rolled-back", slot=slot, code=error.code, detail=error.detail)


def _read(path: str, limit: int) -> str:
    """The text of a small file; "" where there is none, or one that is not text."""
    try:
        with open(path) as file:
            return file.read(limit)
    except (OSError, UnicodeError):
        return ""


def _write(path: str, text: str) -> None:
    new_path = path + ".new"
    try:
        with open(new_path, "w") as file:
            file.write(text)
        os.rename(new_path, path)
    except OSError as error:
        raise KeyfobError("store.trial-not-kept", "%s: %s" % (path, error))


def _remove(path: str) -> None:
    try:
        os.remove(path)
    except OSError:
        pass  # it was not there; a flash that fails is told by the next write
