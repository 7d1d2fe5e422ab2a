"""How a connection begins: CONNECT to CONNACK, and that we are here; and goodbye.

Imported by `keyfob.client` and `keyfob.blocking` for that. Of what it takes itself, nothing
stays longer than its own step. What the last connection left is in `keyfob.resuming`, how
one ends in `keyfob.backoff`.
"""

from micropython import const

from keyfob import drop
from keyfob.errors import KeyfobError
from keyfob.events import emit, emit_error, now_ms
from keyfob.mqtt.state import Outgoing, since
from keyfob.waiting import pause

_CONNACK_LIMIT_MS = const(15_000)
_POLL_MS = const(5)


async def establish(client, clean: bool = False) -> None:
    """Over ``client.stream``: everything said that has to be said first. Errors:
    mqtt.no-connack, and the broker's refusals."""
    broker, client_id = client.config["broker"], client.config["device_id"]
    try:
        client.session = state = _make_session(client.config, client.version, client.kept)
        from keyfob.mqtt import connect

        connect.connect(
            state, now_ms(), client_id, broker["keepalive_s"], clean, client.will,
            broker.get("username", ""), broker.get("password", ""),
        )  # fmt: skip
        del connect
        drop("mqtt.connect", "mqtt.granted")
        client.tx = memoryview(state.tx)
        await _read_connack(client)
        if client.uplink.on_trial:
            from keyfob import trial

            trial.confirm()
            client.uplink.on_trial = False
            del trial
            drop("trial", empties=True)
        client.session_present = state.session_present
        _publish_status(client, b"online")
        if client.inboxes or client.unwanted or state.inflight:
            from keyfob import resuming

            await resuming.resume(client)
            del resuming
        await client.flush()
    finally:
        drop("mqtt.connect", "mqtt.connack", "mqtt.granted", "resuming")
    # Told last, as the end of a connection is told only of one that is told here.
    emit(
        "mqtt.up",
        host=broker["host"],
        port=broker["port"],
        client_id=client_id,
        session_present=client.session_present,
    )


def _make_session(config: dict, version: int, kept):
    """A `keyfob.mqtt.session.Session` of that protocol version (4 or 5), with the state that
    was ``kept``."""
    limits = config["limits"]
    how = (limits["rx_bytes"], limits["tx_bytes"], limits["inflight"], kept)
    if version == 5:
        from keyfob.mqtt.session5 import Session5

        return Session5(*how, config)
    from keyfob.mqtt.session import Session

    return Session(*how)


async def _read_connack(client) -> None:
    # Looks now and then, as asyncio's own time limit takes more memory than all of this.
    state, stream, started_ms = client.session, client.stream, now_ms()
    client.flush_now()
    while not state.next_event():
        count = stream.read_now(state.room())
        if count:
            state.received(count)
            continue
        client.flush_now()
        if since(started_ms, now_ms()) > _CONNACK_LIMIT_MS:
            raise KeyfobError("mqtt.no-connack", "%d ms" % _CONNACK_LIMIT_MS)
        await pause(_POLL_MS)


def _publish_status(client, payload: bytes) -> None:
    if client.will:
        status = Outgoing(client.status_topic, payload, 0, True)
        client.session.publish(now_ms(), status)


def leave(client) -> None:
    """Say goodbye."""
    try:
        from keyfob.mqtt import connack

        _publish_status(client, b"offline")
        connack.disconnect(client.session)
        del connack
        drop("mqtt.connack")
        client.flush_now()
    except KeyfobError as error:
        emit_error(error)  # closing anyway; the will says offline instead
