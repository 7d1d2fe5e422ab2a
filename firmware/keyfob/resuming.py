"""What the last connection left, in a new one: asked for and sent again.

Imported by `keyfob.connection` if there is anything. MQTT 3.1.1 and 5.0, section 4.4.
"""

from micropython import const

from keyfob.errors import KeyfobError
from keyfob.events import now_ms
from keyfob.mqtt import connack
from keyfob.waiting import pause

_PUBCOMP = const(7)
_POLL_MS = const(5)


async def resume(client) -> None:
    """After a CONNACK: ask again where the broker forgot, send what it has not acknowledged."""
    state = client.session
    if client.inboxes or client.unwanted:
        _ask(client, state.session_present)
    sent: list = []  # of these the broker may take fewer at once than the last time
    for outgoing in list(state.inflight):
        if outgoing.awaits != _PUBCOMP:
            while _count(sent, state.inflight) >= state.window:
                await _read(client)
            sent.append(outgoing)
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


def _count(sent: list, inflight: list) -> int:
    """Section 4.9 of 5.0: until PUBACK, PUBCOMP, or a PUBREC that refuses."""
    return len([one for one in sent if one in inflight])


async def _read(client) -> None:
    """What comes, and what it wants sent. Errors: mqtt.no-puback, and what ends the
    connection."""
    read_now = getattr(client, "_read_now", None)
    if read_now:
        read_now()
        await client.flush()
        client.session.tick(now_ms())
        await pause(_POLL_MS)
    else:
        client._turn(_POLL_MS)


def _ask(client, is_known: bool) -> None:
    for inbox in client.inboxes:
        inbox.packet_id = 0
        inbox.is_granted = inbox.is_granted and is_known
    # What a broker forgot needs no UNSUBSCRIBE, and what is wanted again must have none.
    filters = [inbox.topic_filter for inbox in client.inboxes]
    unwanted = [one if isinstance(one, str) else one[1] for one in client.unwanted if is_known]
    client.unwanted = [one for one in unwanted if one not in filters]
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
