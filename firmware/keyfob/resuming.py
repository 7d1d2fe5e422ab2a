"""What the last connection left, in a new one: asked for and sent again.

Imported by `keyfob.connection` if there is anything. MQTT 3.1.1 and 5.0, section 4.4.
"""

from keyfob.errors import KeyfobError
from keyfob.events import now_ms
from keyfob.mqtt import connack


async def resume(client) -> None:
    """After a CONNACK: ask again where the broker forgot, send what it has not acknowledged."""
    state = client.session
    is_known = state.session_present
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
        is_out = connack.resend(state, now_ms(), outgoing)
    except KeyfobError:
        await client.flush()
        state.check_open()
        try:
            is_out = connack.resend(state, now_ms(), outgoing)
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
