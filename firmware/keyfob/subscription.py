"""Subscriptions: filters on their way to the broker, and its answers.

Imported by `keyfob.client` for a new filter, and when a broker has to be asked again.
"""

import asyncio

from micropython import const

from keyfob.errors import KeyfobError
from keyfob.events import emit_error, now_ms
from keyfob.inbox import Inbox
from keyfob.mqtt import subscribe as subscribing

_INBOX_MESSAGES = const(8)
_UNSUBACK = const(11)


def subscribe(client, topic_filter: str, qos: int, **how) -> Inbox:
    """See `keyfob.client.Client.messages`."""
    for inbox in client.inboxes:
        if inbox.topic_filter == topic_filter:
            return inbox
    subscribing.check_filter(topic_filter)
    client.check_fits(topic_filter, 0, how.get("properties"))
    bound = client.config["limits"].get("inbox", _INBOX_MESSAGES)
    inbox = Inbox(client, topic_filter, qos, bound)
    if how:
        _configure(inbox, **how)
    if topic_filter in client.unwanted:
        client.unwanted.remove(topic_filter)
    client.inboxes.append(inbox)
    client.forget_route()
    ask(client)
    return inbox


def _configure(
    inbox: Inbox,
    handler=None,
    stream: bool = False,
    no_local: bool = False,
    retain_as_published: bool = False,
    retain_handling: int = 0,
    identifier: int = 0,
    properties=None,
) -> None:
    """``retain_handling`` and the options beside it are those of MQTT 5.0 section 3.8.3.1,
    and mean nothing to a 3.1.1 broker."""
    inbox.options |= no_local << 2 | retain_as_published << 3 | retain_handling << 4
    inbox.takes_streams = stream
    if identifier:
        inbox.identifier = identifier
        properties = dict(properties or {})
        properties["subscription_identifier"] = [identifier]
    if properties:
        inbox.properties = properties
    if handler:
        inbox.task = asyncio.create_task(inbox.run(handler))


def unsubscribe(client, topic_filter: str) -> None:
    """See `keyfob.client.Client.unsubscribe`."""
    for inbox in client.inboxes:
        if inbox.topic_filter == topic_filter:
            client.inboxes.remove(inbox)
            client.forget_route()
            inbox.close()
            client.unwanted.append(topic_filter)
            ask(client)
            client.resume()
            return


def ask(client) -> None:
    """Put SUBSCRIBE and UNSUBSCRIBE for every filter that wants one."""
    client.is_asking = True
    if client.is_streaming or not client.stream:
        return
    state = client.session
    try:
        for inbox in client.inboxes:
            if not (inbox.is_granted or inbox.packet_id):
                inbox.packet_id = subscribing.subscribe(
                    state, now_ms(), inbox.topic_filter, inbox.options, inbox.properties
                ).packet_id
        for index, wanted in enumerate(client.unwanted):
            if isinstance(wanted, str):
                asked = subscribing.subscribe(state, now_ms(), wanted, -1)
                client.unwanted[index] = (asked.packet_id, wanted)
    except KeyfobError:
        return  # no connection, or no room in the buffer: asked again
    if state.tx_end:
        client.resume()
        client.flush_soon()


def answered(client, event: int) -> None:
    """A SUBACK or UNSUBACK came."""
    asked = client.session.outgoing
    if event == _UNSUBACK:
        client.unwanted = [one for one in client.unwanted if one[0] != asked.packet_id]
    is_asking = bool(client.unwanted)
    for inbox in client.inboxes:
        if inbox.packet_id == asked.packet_id:
            inbox.packet_id = 0
            inbox.is_granted = True  # or refused: not asked again on this connection
            try:
                subscribing.check_granted(inbox.topic_filter, asked.code)
            except KeyfobError as error:
                emit_error(error)
        is_asking = is_asking or not inbox.is_granted
    client.is_asking = is_asking
    client.settle()
