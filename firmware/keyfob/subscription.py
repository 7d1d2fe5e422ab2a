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
_SUBSCRIBE = const(8)
_UNSUBACK = const(11)
_REFUSED = const(-1)  # in place of a packet identifier: not asked again on this connection
# What the next tick may find mended: no connection, no room in the buffer, no identifier.
_LATER = ("mqtt.not-connected", "mqtt.too-large", "mqtt.no-identifier")


def subscribe(client, topic_filter: str, qos: int, **how) -> Inbox:
    """See `keyfob.client.Client.messages`. Errors too: config.bad-value."""
    bound = client.config["limits"].get("inbox", _INBOX_MESSAGES)
    inbox = Inbox(client, topic_filter, qos, bound)
    handler = how.pop("handler", None)
    if how:
        _configure(inbox, **how)
    subscribing.check_filter(topic_filter, inbox.options)
    if inbox.takes_streams and client.version > 4:
        _check_streams(client.config["limits"])
    for known in client.inboxes:
        if known.topic_filter == topic_filter:
            _widen(client, known, inbox, handler, how)
            return known
    size = 0
    if inbox.properties and client.version > 4:
        from keyfob.mqtt.properties import encode

        size = len(encode(inbox.properties, _SUBSCRIBE))
    client.check_fits(topic_filter, size, None)
    if handler:
        inbox.task = asyncio.create_task(inbox.run(handler))
    if topic_filter in client.unwanted:
        client.unwanted.remove(topic_filter)
    client.inboxes.append(inbox)
    client.forget_route()
    ask(client)
    return inbox


def _widen(client, known: Inbox, wanted: Inbox, handler, how) -> None:
    """``known`` is asked for once more: with a higher QoS, for streams, for a handler that it
    had not. Whatever else is another than before is none of its. Errors: mqtt.bad-property."""
    is_same = known.options >> 2 == wanted.options >> 2 and known.properties == wanted.properties
    if (handler and known.task) or (how and not is_same):
        detail = "another handler" if is_same else "other options"
        raise KeyfobError("mqtt.bad-property", "%s of %s" % (detail, known.topic_filter))
    if handler:
        known.task = asyncio.create_task(known.run(handler))
    known.takes_streams = known.takes_streams or wanted.takes_streams
    more = (wanted.options & 3) - (known.options & 3)
    if more > 0:
        known.options += more
        known.is_granted, known.packet_id = False, 0
        ask(client)


def _check_streams(limits: dict) -> None:
    """Who takes streams must have told a 5.0 broker, which sends nothing larger than that."""
    if limits["packet_bytes"] <= limits["rx_bytes"]:
        detail = "limits.packet_bytes: %d, want more than limits.rx_bytes (%d) for streams"
        raise KeyfobError("config.bad-value", detail % (limits["packet_bytes"], limits["rx_bytes"]))


def _configure(
    inbox: Inbox,
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


def unsubscribe(client, topic_filter: str) -> None:
    """See `keyfob.client.Client.unsubscribe`."""
    for inbox in client.inboxes:
        if inbox.topic_filter == topic_filter:
            client.inboxes.remove(inbox)
            client.forget_route()
            inbox.close()
            if inbox.packet_id != _REFUSED:
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
                _ask_for(state, inbox)
        for index, wanted in enumerate(client.unwanted):
            if isinstance(wanted, str):
                asked = subscribing.subscribe(state, now_ms(), wanted, -1)
                client.unwanted[index] = (asked.packet_id, wanted)
    except KeyfobError:
        return  # no connection, or no room in the buffer: asked again
    client.is_asking = _is_asking(client)
    if state.tx_end:
        client.resume()
        client.flush_soon()


def _ask_for(state, inbox: Inbox) -> None:
    try:
        inbox.packet_id = subscribing.subscribe(
            state, now_ms(), inbox.topic_filter, inbox.options, inbox.properties
        ).packet_id
    except KeyfobError as error:
        if error.code in _LATER:
            raise
        inbox.packet_id = _REFUSED  # by what the broker said in its CONNACK
        emit_error(error)


def _is_asking(client) -> bool:
    for inbox in client.inboxes:
        if not inbox.is_granted and inbox.packet_id != _REFUSED:
            return True
    return bool(client.unwanted)


def answered(client, event: int) -> None:
    """A SUBACK or UNSUBACK came."""
    asked, inbox = client.session.outgoing, None
    doing = asked.topic
    if event == _UNSUBACK:
        doing = "UNSUBSCRIBE " + doing
        client.unwanted = [one for one in client.unwanted if one[0] != asked.packet_id]
    for one in client.inboxes:
        if one.packet_id == asked.packet_id:
            inbox = one
            inbox.packet_id = 0
            inbox.is_granted = True
    try:
        subscribing.check_granted(doing, asked.code, client.session.properties)
        if inbox and asked.code < inbox.options & 3:
            detail = "%s: QoS %d granted for %d" % (doing, asked.code, inbox.options & 3)
            emit_error(KeyfobError("mqtt.qos-not-supported", detail))
    except KeyfobError as error:
        if inbox:
            inbox.packet_id, inbox.is_granted = _REFUSED, False
        emit_error(error)
    client.is_asking = _is_asking(client)
    client.settle()
