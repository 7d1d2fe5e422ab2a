"""`keyfob.rotation` for programs without asyncio; imported for each message that it is for.

    notes = {}
    work_between(client, notes)
    while not client.run_once(lambda client: serve(client, notes)):
        work_between(client, notes)

where ``work_between`` is that of `keyfob.rotation_work`, and ``serve`` subscribes to the topic
(there and not here, where an ESP8266's stack has not enough left), and calls `attend` at its
start, for each message of the topic ``devices/<id>/identity/set``, and from the time
``notes["renew_s"]`` on. Whoever imports either drops its module again, emptied.
"""

import gc

from keyfob import drop
from keyfob.errors import KeyfobError
from keyfob.events import emit_error


def attend(client, notes: dict, message=None) -> None:
    """Take ``message``, or look what is due; tell the host the state.

    Errors: rotate.reconnecting, where there is work to do before the next connection; those
    of subscribing and publishing.
    """
    if not message and notes["slot"] and notes["slot"] != _slot():
        notes["todo"] = "look"  # the trial ended
    gc.collect()  # so that what stays of this does not come to lie behind what goes
    try:
        _attend(client, notes, message)
    except MemoryError as error:
        # The application goes on, and is connected; only its identity stays as it is.
        emit_error(KeyfobError("rotate.no-memory", str(error)))
    if notes.get("todo"):
        client.disconnect()
        raise KeyfobError("rotate.reconnecting", notes["todo"])


def _attend(client, notes: dict, message) -> None:
    prefix = "devices/%s/identity/" % client.config["device_id"]
    now_s = client.clock.now_s()
    if not message and "state" not in notes and now_s < notes["renew_s"]:
        return  # it was told; the broker keeps it
    from keyfob import rotation

    if message:
        rotation.take(notes, message.payload)
        message.payload = b""
    request = rotation.due_request(notes, now_s)
    told = rotation.state(notes)
    del rotation
    drop("rotation", empties=True)  # before what publishing takes is loaded
    if request:
        client.publish(prefix + "request", request, retain=True)
    if told and notes.get("todo", "finish") == "finish":  # else there is nothing new to tell
        client.publish(prefix + "state", told, retain=True)
    if not (notes.get("plan") or notes.get("todo")):
        for name in ("state", "outcome", "plan", "message", "chunk"):
            notes.pop(name, None)  # some hundred bytes, which a handshake may want


def _slot() -> str:
    with open("/id/active") as file:
        return file.read(1)
