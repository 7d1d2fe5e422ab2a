"""What the last connection left, in a new one: asked for and sent again.

Imported by `keyfob.connection` if there is anything. MQTT 3.1.1 and 5.0, section 4.4.
"""

from keyfob.errors import KeyfobError
from keyfob.events import now_ms
from keyfob.mqtt import connack


async def resume(client) -> None:
    """After a CONNACK: ask again where the broker forgot, send what it has not acknowledged."""
    state = client.session
    if client.inboxes or client.unwanted:
        _ask(client, state.session_present)
    for outgoing in list(state.inflight):
        is_streamed = outgoing.size >= 0 and outgoing.payload
        if is_streamed or _resend(client, outgoing):
            await client.flush()
            state.check_open()
            outgoing.error = _resend(client, outgoing)
            if outgoing.error:
                # Not even into an empty buffer, or not to this broker.
                state.inflight.remove(outgoing)
                client.finish(outgoing)
            elif is_streamed:
                from keyfob.streamed import send_payload

                await send_payload(client, outgoing)


def _ask(client, is_known: bool) -> None:
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


def _resend(client, outgoing):
    """Put it again, with a payload that is read from its start; the error if that fails."""
    try:
        if outgoing.size >= 0 and outgoing.payload:
            from keyfob.streamed import rewind

            rewind(outgoing)
        if not connack.resend(client.session, now_ms(), outgoing):
            client.finish(outgoing)
    except KeyfobError as error:
        return error
    return None
