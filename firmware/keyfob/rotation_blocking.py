"""`keyfob.rotation` for programs without asyncio; imported for each message that it is for.

    notes = {}
    work(client, notes)
    while not client.run_once(lambda client: serve(client, notes)):
        work(client, notes)

where ``serve`` calls `attend` at its start and for each message of the topic
``devices/<id>/identity/set``, and `look` now and then.
"""

from keyfob import drop, rotation
from keyfob.errors import KeyfobError
from keyfob.events import emit_error


def attend(client, notes: dict, message=None) -> None:
    """Take ``message``, or begin a connection; tell the host the state.

    Errors: rotate.reconnecting, where `work` is to be called before the next connection;
    those of subscribing and publishing.
    """
    prefix = "devices/%s/identity/" % client.config["device_id"]
    try:
        if message:
            rotation.take(notes, message.payload)
        else:
            client.subscribe(prefix + "set")
            if _slot() != notes["slot"]:
                notes["todo"] = "look"  # the trial ended
            if "request" in notes:
                client.publish(prefix + "request", notes.pop("request"), retain=True)
        if notes.get("todo") not in ("judge", "look"):  # there is nothing new to tell
            client.publish(prefix + "state", rotation.state(notes), retain=True)
    except MemoryError as error:
        # The application goes on, and is connected; only its identity stays as it is.
        emit_error(KeyfobError("rotate.no-memory", str(error)))
    finally:
        _unload()
    look(client, notes)


def look(client, notes: dict) -> None:
    """Whether something wants the connection closed. Errors: rotate.reconnecting."""
    if client.clock.now_s() >= notes["renew_s"]:
        notes["todo"] = notes.get("todo") or "renew"
    if notes.get("todo"):
        client.disconnect()
        raise KeyfobError("rotate.reconnecting", notes["todo"])


def work(client, notes: dict) -> None:
    """What is to be done without a connection, if there is anything."""
    if notes.get("todo") or not notes:
        # What the connection took, and the next one will take again.
        drop(
            "backoff", "connection", "mqtt.connect", "mqtt.subscribe", "mqtt.session",
            "mqtt.session5", "mqtt.properties", "mqtt.publish", "mqtt.acks",
        )  # fmt: skip
        from keyfob.rotation_work import work as do

        do(client.config, notes, client.clock.now_s() if notes else 0)
        del do
        drop("rotation_work")
    _unload()


def _slot() -> str:
    with open("/id/active") as file:
        return file.read(1)


def _unload() -> None:
    drop("rotation_blocking", "rotation")
