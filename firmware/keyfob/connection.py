"""How a connection begins: CONNECT to CONNACK, what the last one left; and goodbye.

Imported by `keyfob.client` and `keyfob.blocking` for that. How one ends is in
`keyfob.backoff`.
"""

from micropython import const

from keyfob import drop
from keyfob.errors import KeyfobError
from keyfob.events import emit, emit_error, now_ms
from keyfob.mqtt import connect, make_session
from keyfob.mqtt.state import Outgoing, since
from keyfob.waiting import pause

_CONNACK_LIMIT_MS = const(15_000)
_POLL_MS = const(5)


async def establish(client, clean: bool = False) -> None:
    """Over ``client.stream``: everything said that has to be said first. Errors:
    mqtt.no-connack, and the broker's refusals."""
    broker = client.config["broker"]
    client.session = state = make_session(client.config, client.version, client.kept)
    more = {name: broker[name] for name in ("username", "password") if broker.get(name)}
    client_id = client.config["device_id"]
    connect.connect(state, now_ms(), client_id, broker["keepalive_s"], clean, client.will, **more)
    client.tx = memoryview(state.tx)
    await _read_connack(client)
    if client.uplink.on_trial:
        from keyfob import trial

        trial.confirm()
        client.uplink.on_trial = False
        del trial
        drop("trial", empties=True)
    client.session_present = state.session_present
    await _restore(client)
    # Told last, as the end of a connection is told only of one that is told here.
    emit(
        "mqtt.up",
        host=broker["host"],
        port=broker["port"],
        client_id=client_id,
        session_present=client.session_present,
    )


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


async def _restore(client) -> None:
    """Say that we are here, then ask and send again what the last connection left."""
    state = client.session
    is_known = state.session_present
    _publish_status(client, b"online")
    for inbox in client.inboxes:
        inbox.packet_id = 0
        inbox.is_granted = inbox.is_granted and is_known
    # What a broker forgot needs no UNSUBSCRIBE.
    client.unwanted = [
        wanted if isinstance(wanted, str) else wanted[1] for wanted in client.unwanted if is_known
    ]
    client.is_asking = bool(client.unwanted)
    for inbox in client.inboxes:
        client.is_asking = client.is_asking or not inbox.is_granted
    if client.is_asking:
        from keyfob.subscription import ask

        ask(client)
    for outgoing in list(state.inflight):
        await _resend(client, outgoing)
    await client.flush()


async def _resend(client, outgoing) -> None:
    state = client.session
    is_streamed = outgoing.size >= 0 and outgoing.payload
    if is_streamed:
        from keyfob.streamed import rewind

        await client.flush()
        try:
            rewind(outgoing)
        except KeyfobError as error:
            _give_up(client, outgoing, error)
            return
    try:
        is_out = connect.resend(state, now_ms(), outgoing)
    except KeyfobError:
        await client.flush()
        state.check_open()
        try:
            is_out = connect.resend(state, now_ms(), outgoing)
        except KeyfobError as error:
            # Not even into an empty buffer, or not to this broker.
            _give_up(client, outgoing, error)
            return
    if not is_out:
        client.finish(outgoing)
    elif is_streamed:
        from keyfob.streamed import send_payload

        await send_payload(client, outgoing)


def _give_up(client, outgoing, error: KeyfobError) -> None:
    client.session.inflight.remove(outgoing)
    outgoing.error = error
    client.finish(outgoing)


def _publish_status(client, payload: bytes) -> None:
    if client.will:
        status = Outgoing(client.status_topic, payload, 0, True)
        client.session.publish(now_ms(), status)


def leave(client) -> None:
    """Say goodbye."""
    try:
        _publish_status(client, b"offline")
        connect.disconnect(client.session)
        client.flush_now()
    except KeyfobError as error:
        emit_error(error)  # closing anyway; the will says offline instead
