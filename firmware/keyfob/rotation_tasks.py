"""`keyfob.rotation` for applications on asyncio: one task beside the application's own.

``await asyncio.gather(application(client), rotation_tasks.serve(client))``, where
``client`` is a `keyfob.client.Client`.
"""

import asyncio

from micropython import const

from keyfob import drop
from keyfob.errors import KeyfobError
from keyfob.events import emit_error

_LOOK_MS = const(1_000)


async def serve(client) -> None:
    """Take offers, tell the state on each connection, renew the certificate when it is due."""
    notes: dict = {}
    inbox = client.messages(_topic(client, "set"))
    await asyncio.gather(_take(client, notes, inbox), _look(client, notes, inbox))


async def _look(client, notes: dict, inbox) -> None:
    told = None  # the connection on which the state was told
    while True:
        await client.connected()
        now_s = client.clock.now_s()
        if client.stream is not told:
            told = client.stream
            if not notes.get("todo"):
                _work(client, notes, now_s)
            await _tell(client, notes, inbox)
        elif now_s >= notes["renew_s"]:
            await _tell(client, notes, inbox)
        await asyncio.sleep_ms(_LOOK_MS)


async def _take(client, notes: dict, inbox) -> None:
    async for message in inbox:
        if not notes:
            _work(client, notes, client.clock.now_s())
        from keyfob import rotation

        rotation.take(notes, message.payload)
        del rotation
        await _tell(client, notes, inbox)


async def _tell(client, notes: dict, inbox) -> None:
    """Do what is to be done, here where there is room for it, and tell the host."""
    from keyfob.rotation import due_request, state

    now_s = client.clock.now_s()
    request = due_request(notes, now_s)
    if notes.get("todo"):
        _work(client, notes, now_s)
        request = request or due_request(notes, now_s)
    told = state(notes)
    del due_request, state
    drop("rotation")
    if notes["slot"] and notes["slot"] != _slot():
        await _try(client, inbox)
        return
    if request:
        await _publish(client, "request", request)
    await _publish(client, "state", told)


def _work(client, notes: dict, now_s: int) -> None:
    from keyfob.rotation_work import work

    try:
        work(client.config, notes, now_s)
    except MemoryError as error:
        # The application goes on, and is connected; only its identity stays as it is.
        notes.setdefault("slot", "")
        notes.setdefault("renew_s", 1 << 40)
        emit_error(KeyfobError("rotate.no-memory", str(error)))
    finally:
        del work
        drop("rotation_work", "rotation_memory")


async def _try(client, inbox) -> None:
    """End the connection; the next one is with the identity on trial."""
    inbox.acknowledge()  # or the broker sends the message once more
    try:
        if client.is_connected():
            await client.flush()  # behind DISCONNECT nobody reads it
            from keyfob.connection import leave

            leave(client)
    except KeyfobError as error:
        emit_error(error)  # it is over already
    client.fail(KeyfobError("rotate.reconnecting", "finish"))


async def _publish(client, name: str, payload: bytes) -> None:
    try:
        await client.publish(_topic(client, name), payload, retain=True)
    except KeyfobError as error:
        emit_error(error)  # the application goes on


def _topic(client, name: str) -> str:
    return "devices/%s/identity/%s" % (client.config["device_id"], name)


def _slot() -> str:
    with open("/id/active") as file:
        return file.read(1)
