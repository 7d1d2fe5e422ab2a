"""`keyfob.rotation` for programs without asyncio; imported for each message that it is for.

    notes = {}
    work_between(client, notes)
    while not client.run_once(serve, notes):
        work_between(client, notes)

where ``work_between`` is that of `keyfob.rotation_work`, and ``serve`` subscribes to the topic
``devices/<id>/identity/set``, and at its start, for each message of that topic, and from the
time ``notes["renew_s"]`` on does

    for topic, payload in attend(client, notes, message):
        client.publish(topic, payload, retain=True)

There and not here, because publishing goes deep, and an ESP8266's stack is small: what
`attend` needs of its own is on the heap meanwhile, as a generator's is. Whoever imports
either drops its module again, emptied.
"""

import gc

from keyfob import drop
from keyfob.errors import KeyfobError
from keyfob.events import emit_error


def attend(client, notes: dict, message=None):
    """Take ``message``, or look what is due: (topic, payload) of each that tells the host, to be
    published, retained, before the next is asked for.

    Errors: rotate.reconnecting, where there is work to do before the next connection; then
    the client has said goodbye.
    """
    if not message and notes["slot"] and notes["slot"] != _slot():
        notes["todo"] = "look"  # the trial ended
    gc.collect()  # so that what stays of this does not come to lie behind what goes
    prefix = "devices/%s/identity/" % client.config["device_id"]
    try:
        request, told = _take(client, notes, message)
    except MemoryError as error:
        # The application goes on, and is connected; only its identity stays as it is.
        emit_error(KeyfobError("rotate.no-memory", str(error)))
        request = told = None
    if request:
        yield prefix + "request", request
        request = None
    if told:
        yield prefix + "state", told
        told = None
        if not (notes.get("plan") or notes.get("todo")):
            for name in ("state", "outcome", "plan", "message", "chunk"):
                notes.pop(name, None)  # some hundred bytes, which a handshake may want
    if notes.get("todo"):
        client.disconnect()
        raise KeyfobError("rotate.reconnecting", notes["todo"])


def _take(client, notes: dict, message) -> tuple:
    """(payload of ``request``, payload of ``state``), each None if nothing is to be told."""
    now_s = client.clock.now_s()
    if not message and "state" not in notes and now_s < notes["renew_s"]:
        return None, None  # it was told; the broker keeps it
    from keyfob import rotation

    if message:
        rotation.take(notes, message.payload)
        message.payload = b""
    request = rotation.due_request(notes, now_s)
    told = rotation.state(notes)
    del rotation
    drop("rotation", empties=True)  # before what publishing takes is loaded
    # With anything else to do there is nothing new to tell.
    return request, told if notes.get("todo", "finish") == "finish" else b""


def _slot() -> str:
    with open("/id/active") as file:
        return file.read(1)
